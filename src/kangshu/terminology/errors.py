"""What can go wrong with terminology.

TerminologyError
  UnknownValueSetError   not found   name a code table that the pack declares
  CodeListRefusedError   incorrect   correct the row or heading that `place` names
  EditionConflictError   conflict    another edition of the system is in force from the same day
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind


class TerminologyError(KangshuError):
    """Anything this package refuses."""


class UnknownValueSetError(TerminologyError):
    """Name a code table that the pack declares."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class CodeListRefusedError(TerminologyError):
    """Correct the list at the place named; nothing of it was loaded."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class EditionConflictError(TerminologyError):
    """Give the edition another first day, or load the other edition again with another one."""

    kind: ClassVar[Kind] = Kind.CONFLICT
