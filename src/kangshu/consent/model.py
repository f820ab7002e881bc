"""Purposes, and the grant without which nobody's record can be read."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from datetime import datetime
from enum import StrEnum
from typing import NoReturn

from kangshu.consent.errors import AccessRefusedError
from kangshu.kernel.texts import Text, load_catalogue
from kangshu.security.principals import Principal

say = load_catalogue(__package__ or __name__)


class Purpose(StrEnum):
    """Why somebody wants to read a person's record (个人信息保护法, article 6)."""

    TREATMENT = "treatment"
    QUALITY = "quality"
    RESIDENT_REQUEST = "resident-request"
    EMERGENCY = "emergency"
    ADMINISTRATION = "administration"


def purpose_title(purpose: Purpose) -> Text:
    """Return what the purpose is called."""
    return say[f"purpose_{purpose.replace('-', '_')}"]


# Whoever holds this object can make grants, and only `operations` of this package takes it.
_AUTHORITY = object()


@dataclass(frozen=True, kw_only=True)
class AccessGrant:
    """That this principal may read this person's record for this purpose, for a while.

    Only `grant_read` makes one, after a decision that is on record; building, copying with changes
    and unpickling one are refused. A function that reads a person's data takes a grant and calls
    `require`, so it cannot forget to ask.
    """

    principal: Principal
    person: int
    purpose: Purpose
    granted_at: datetime
    good_until: datetime
    authority: InitVar[object]

    def __post_init__(self, authority: object) -> None:
        if authority is not _AUTHORITY:
            raise TypeError("only consent.grant_read makes grants")

    @property
    def flagged(self) -> bool:
        """Whether the glass was broken, so that somebody will review it."""
        return self.purpose is Purpose.EMERGENCY

    def require(self, *, person: int, now: datetime) -> None:
        """Do nothing if the grant is for this person and not over.

        Raises:
            AccessRefusedError: it is for somebody else, or over.
        """
        if person != self.person:
            raise AccessRefusedError(say["grant_elsewhere"])
        if not self.granted_at <= now < self.good_until:
            raise AccessRefusedError(say["grant_over"])

    def __reduce__(self) -> NoReturn:
        raise TypeError("a grant is neither copied nor stored: ask for a new one")
