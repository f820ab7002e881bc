"""What can go wrong with asking for somebody's data.

ConsentError
  AccessRefusedError       forbidden    role, purpose or reach do not allow it; the refusal is on record
  ReasonMissingError       incorrect    breaking the glass needs a reason; the attempt is on record
  WhereaboutsUnknownError  unavailable  it cannot be told now where the person was; the attempt is on record
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind


class ConsentError(KangshuError):
    """Anything this package refuses."""


class AccessRefusedError(ConsentError):
    """Choose a purpose that fits your role, or ask somebody within whose reach the person is."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN


class ReasonMissingError(ConsentError):
    """Say in a few words what the emergency is."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class WhereaboutsUnknownError(ConsentError):
    """Try again when what tells where people were can be read again."""

    kind: ClassVar[Kind] = Kind.UNAVAILABLE
