"""What can go wrong at the machine doors.

ApiError
  TokenNeededError      forbidden    ask /oauth/token for a token first (401)
  TokenRefusedError     incorrect    the token request is not as RFC 6749 has it (400)
  OutOfReachError       forbidden    act for your own institution
  UnknownDatasetError   not found    name a declared data set
  BodyRefusedError      incorrect    send one file, not empty, as the body
  BodyTooLargeError     incorrect    send less (413)
  BodyUnsupportedError  unsupported  send the file itself as the body, not a form (415)
  BodySlowError         incorrect    send the body without long pauses (408)
  BodiesBusyError       busy         too much is being received at this moment: send it again later (503)
  ParameterRefusedError incorrect    correct the parameter or header (400)
  FormatUnknownError    unsupported  ask for JSON or XML (406)
  RejectsMissingError   not found    nothing of this file was returned
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import Text, load_catalogue

say = load_catalogue(__package__ or __name__)


class ApiError(KangshuError):
    """Anything that the machine doors refuse. `status` overrides what the kind would give."""

    status: ClassVar[int | None] = None


class TokenNeededError(ApiError):
    """Send `Authorization: Bearer` with a token of `/oauth/token` that is still good."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN
    status: ClassVar[int | None] = 401

    def __init__(self) -> None:
        super().__init__(say["token_needed"])


class TokenRefusedError(ApiError):
    """Correct the token request; `code` is the word of RFC 6749, section 5.2."""

    kind: ClassVar[Kind] = Kind.INCORRECT
    status: ClassVar[int | None] = 400

    def __init__(self, text: Text, *, code: str) -> None:
        super().__init__(text)
        self.code = code


class OutOfReachError(ApiError):
    """Act for your own institution."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN


class UnknownDatasetError(ApiError):
    """Name a data set that the region pack declares."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class BodyRefusedError(ApiError):
    """Send one file that is not empty."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class BodyTooLargeError(ApiError):
    """Send less, or in parts."""

    kind: ClassVar[Kind] = Kind.INCORRECT
    status: ClassVar[int | None] = 413


class BodyUnsupportedError(ApiError):
    """Send the bytes of the file as the body of the request."""

    kind: ClassVar[Kind] = Kind.UNSUPPORTED


class RejectsMissingError(ApiError):
    """There is no list: no row of this file was returned, or the list was pruned."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class BodySlowError(ApiError):
    """Send the body without long pauses."""

    kind: ClassVar[Kind] = Kind.INCORRECT
    status: ClassVar[int | None] = 408


class BodiesBusyError(ApiError):
    """Send it again later: what is being received at this moment is as much as the memory is meant for."""

    kind: ClassVar[Kind] = Kind.BUSY
    status: ClassVar[int | None] = 503


class ParameterRefusedError(ApiError):
    """Correct the parameter or header that `place` names."""

    kind: ClassVar[Kind] = Kind.INCORRECT
    status: ClassVar[int | None] = 400


class FormatUnknownError(ApiError):
    """Ask for JSON or XML."""

    kind: ClassVar[Kind] = Kind.UNSUPPORTED
    status: ClassVar[int | None] = 406
