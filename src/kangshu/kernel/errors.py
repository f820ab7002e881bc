"""The root of every error: what kind of failure, what to do, where; never a personal value.

KangshuError
  one subtree per package, drawn at the top of its errors.py; each class sets `kind`
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Self

from kangshu.kernel.texts import Text


class Kind(StrEnum):
    """What the caller can do about a failure; the doors map each kind once."""

    INCORRECT = "incorrect"  # correct the input
    FORBIDDEN = "forbidden"  # ask for the right
    NOT_FOUND = "not-found"  # name something that exists
    CONFLICT = "conflict"  # look at the present state first
    UNSUPPORTED = "unsupported"  # use another way
    UNAVAILABLE = "unavailable"  # repair the environment
    BUSY = "busy"  # try again later
    INTERRUPTED = "interrupted"  # try again now
    FAULT = "fault"  # a defect: report it


class KangshuError(Exception):
    """A failure that is expected to happen and has a remedy.

    `text` is one sentence for a person; `place` is where, in the caller's own notation
    (a file, `row 17`, `PID-7`). Neither ever carries a value out of somebody's record.
    """

    kind: ClassVar[Kind] = Kind.FAULT

    def __init__(self, text: Text, *, place: str | None = None) -> None:
        super().__init__(text, place)
        self.text = text
        self.place = place

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else str(self.text)

    def __reduce__(self) -> tuple[Any, ...]:
        # By default an exception is called with its arguments, and each class here has others.
        return type(self)._restored, (self.args, self.__dict__)

    @classmethod
    def _restored(cls, values: tuple[object, ...], state: dict[str, Any]) -> Self:
        error = cls.__new__(cls, *values)
        error.__dict__.update(state)
        return error
