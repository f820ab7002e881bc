"""What can go wrong with telling somebody outside the console; no address and no text of theirs is in it.

KangshuError
  NoticeError
    MailServerError    unavailable  our own mail server does not answer: tried until it does
    MailRefusedError   busy         it did not take the letter: tried again, then given up
    HookFailedError    busy         the hook did not answer in time, or not with success: the same
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue(__package__ or __name__)


class NoticeError(KangshuError):
    """The root of what can go wrong with telling somebody."""


class MailServerError(NoticeError):
    """See that the mail server runs and takes our name and password."""

    kind: ClassVar[Kind] = Kind.UNAVAILABLE


class MailRefusedError(NoticeError):
    """See that the contact's mail address is right."""

    kind: ClassVar[Kind] = Kind.BUSY


class HookFailedError(NoticeError):
    """Ask the institution whether its hook runs."""

    kind: ClassVar[Kind] = Kind.BUSY
