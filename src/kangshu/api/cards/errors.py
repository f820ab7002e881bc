"""What can go wrong at the door of health cards.

ApiError
  CallRefusedError   incorrect    a member of the body is missing or has another form; `place` names it
  CardMissError      not found    no card is known under this: always the same answer, whatever the reason
  CodeRefusedError   conflict     the code is genuine and not accepted; `word` says why
  TooManyError       busy         ask less often (429)
  ForeignNameError   forbidden    act in the name of your own institution
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.api.errors import ApiError
from kangshu.kernel.errors import Kind
from kangshu.kernel.texts import Text


class CallRefusedError(ApiError):
    """Correct the member of the body that `place` names."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class CardMissError(ApiError):
    """No card is known under this; unknown, altered and foreign look the same."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class CodeRefusedError(ApiError):
    """Ask the holder for a new code, or send him to the window: `word` is expired, dynamic-needed ..."""

    kind: ClassVar[Kind] = Kind.CONFLICT

    def __init__(self, text: Text, *, word: str, place: str | None = None) -> None:
        super().__init__(text, place=place)
        self.word = word


class TooManyError(ApiError):
    """Ask less often."""

    kind: ClassVar[Kind] = Kind.BUSY


class ForeignNameError(ApiError):
    """Act in the name of your own institution only."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN
