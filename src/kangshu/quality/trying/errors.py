"""What can go wrong when a rule is tried.

KangshuError
└── TrialError
    ├── TrialStoppedError   it took longer than it may: ask for less
    └── TrialFailedError    its process ended without an answer, as by memory: ask for less
"""

from __future__ import annotations

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue(__package__ or __name__)


class TrialError(KangshuError):
    """The root of this room's failures."""

    kind = Kind.INCORRECT


class TrialStoppedError(TrialError):
    """The trial took longer than the caller allowed; nothing was changed."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__(say("stopped", seconds=f"{seconds:g}"))


class TrialFailedError(TrialError):
    """The trial needed more memory than it may have, or its process ended otherwise."""

    def __init__(self) -> None:
        super().__init__(say["failed"])
