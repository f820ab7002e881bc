"""What can go wrong with the directory.

DirectoryError
  InstitutionUnknownError    not found    name an institution that is listed
  InstitutionCodeRefusedError incorrect   this cannot be the code of an institution
  DirectoryRowRefusedError   incorrect    correct the row of the list
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind


class DirectoryError(KangshuError):
    """Anything this package refuses."""


class InstitutionUnknownError(DirectoryError):
    """Name an institution that is in the directory."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class InstitutionCodeRefusedError(DirectoryError):
    """Give the institution's code, at most 64 visible characters."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class DirectoryRowRefusedError(DirectoryError):
    """Correct the row that `place` names; nothing of the list was loaded."""

    kind: ClassVar[Kind] = Kind.INCORRECT
