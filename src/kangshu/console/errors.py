"""What can go wrong at the console's own door.

ConsoleError
  SignInNeededError   forbidden    sign in first (the door answers with the sign-in page)
  ForeignFormError    forbidden    a form from another site, or from a session that has ended
  FormTooLargeError   incorrect    no form of ours is that large
  UploadRefusedError  incorrect    the upload is empty, too large, or not one file
  PageNotFoundError   not found    nothing of that name
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue(__package__ or __name__)


class ConsoleError(KangshuError):
    """Anything that the console itself refuses."""


class SignInNeededError(ConsoleError):
    """Sign in; then the page that was asked for opens."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN

    def __init__(self) -> None:
        super().__init__(say["flash.expired"])


class ForeignFormError(ConsoleError):
    """Open the page again and send its form from there; nothing was done."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN


class FormTooLargeError(ConsoleError):
    """Send less."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class UploadRefusedError(ConsoleError):
    """Choose one file that is not empty and within the limit."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class PageNotFoundError(ConsoleError):
    """Name something that exists and lies within reach."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND

    def __init__(self) -> None:
        super().__init__(say["failure.not_found_text"])
