"""Accounts, sessions and machine clients as others see them; no secret is in any of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from kangshu.security.principals import Principal, PrincipalKind, Reach, Role


@dataclass(frozen=True, kw_only=True)
class Account:
    """A staff account. `name` is what one signs in with, `title` the person's own name."""

    name: str
    title: str
    roles: frozenset[Role]
    reaches: tuple[Reach, ...]
    active: bool
    second_factor: bool
    created_at: datetime
    password_set_at: datetime
    last_sign_in_at: datetime | None
    locked_until: datetime | None

    def is_locked(self, *, now: datetime) -> bool:
        """Return whether sign-in is refused for now after too many failures."""
        return self.locked_until is not None and self.locked_until > now

    @property
    def principal(self) -> Principal:
        """Who acts when this account is signed in."""
        return Principal(
            id=f"staff:{self.name}",
            name=self.title,
            kind=PrincipalKind.STAFF,
            roles=self.roles,
            reaches=self.reaches,
        )


@dataclass(frozen=True, kw_only=True)
class Session:
    """A signed-in browser."""

    principal: Principal
    opened_at: datetime
    seen_at: datetime


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """A second factor to be confirmed: show both once, keep neither."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Client:
    """A machine that acts for an institution."""

    id: str
    institution: str
    scopes: frozenset[str]
    active: bool
    created_at: datetime

    @property
    def principal(self) -> Principal:
        """Who acts when this machine calls, with all of its scopes."""
        return Principal(
            id=f"machine:{self.id}",
            name=self.id,
            kind=PrincipalKind.MACHINE,
            reaches=(Reach.institution(self.institution),),
            scopes=self.scopes,
        )


@dataclass(frozen=True, kw_only=True)
class Token:
    """A bearer token, given once; the platform keeps only its digest."""

    token: str = field(repr=False)
    scopes: frozenset[str]
    expires_at: datetime
