"""What can go wrong with tasks.

QualityError
  RectifyingError
    TaskNotFoundError    not found    no task has this number, or it is out of reach, which looks the same
    TaskChangedError     conflict     somebody acted on the task meanwhile: look at it again
    StepRefusedError     conflict     the task's state does not allow this step
    ReasonNeededError    incorrect    say why
    DeadlineRefusedError incorrect    name a day from today on, within half a year
    ContactRefusedError  incorrect    the address is none, or not one that may be used
    ContactUnknownError  not found    nobody has set a contact for this code
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import Kind
from kangshu.kernel.texts import load_catalogue
from kangshu.quality.errors import QualityError

say = load_catalogue(__package__ or __name__)


class RectifyingError(QualityError):
    """The root of what can go wrong with tasks."""


class TaskNotFoundError(RectifyingError):
    """Name a task that exists and lies within reach."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class TaskChangedError(RectifyingError):
    """Look at the task again: somebody acted on it meanwhile."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class StepRefusedError(RectifyingError):
    """Look at the task again: its state does not allow this step."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class ReasonNeededError(RectifyingError):
    """Say why, in a sentence."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class DeadlineRefusedError(RectifyingError):
    """Name a day from today on, within half a year."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class ContactRefusedError(RectifyingError):
    """Give an e-mail address, or an http(s) address without a name and password in it."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class ContactUnknownError(RectifyingError):
    """Set a contact for this code first."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND
