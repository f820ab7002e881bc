"""One signed request after its checks: who asks, what, on whose behalf."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from kangshu.api.cards import policy
from kangshu.api.cards.calls import Call
from kangshu.api.cards.desk import Desk
from kangshu.api.cards.errors import CardMissError, TooManyError
from kangshu.api.cards.limits import Buckets
from kangshu.api.errors import say
from kangshu.api.services import Services
from kangshu.healthcard import Caller, Office
from kangshu.security.principals import Permission
from kangshu.security.signing import SigningKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A call that its key may make."""

    services: Services
    key: SigningKey
    call: Any
    now: datetime
    misses: Buckets
    office: Office
    desk: Desk

    @property
    def caller(self) -> Caller:
        """Who asks, as the cards know it."""
        principal = self.key.principal
        return Caller(
            actor=principal.id,
            actor_name=principal.name,
            institution=self.key.institution,
            terminal=self.call.terminal or "",
            role=self.call.role,
        )

    def require_guesses_left(self) -> None:
        """Do nothing unless this institution has asked for too many cards that are none.

        Raises:
            TooManyError: it must wait.
        """
        if not self.misses.has(self.key.institution):
            raise TooManyError(say["cards_guessing"])

    def miss(self) -> CardMissError:
        """Count a question that led to no card, and return the one answer to all of them."""
        self.misses.take(self.key.institution)
        return CardMissError(say["cards_unknown"])


Handler = Callable[[Asked], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One address of the interface: what it takes, who may call it, who answers.

    `name` is what public health card services call it, empty where they have none; `guessed` says that it
    could be used to guess. The answer's members are named in `gives`, each with a word about it.
    """

    path: str
    name: str
    title: str
    about: str
    call: type[Call]
    may: Permission | None = None
    scope: str = ""
    answer: Handler
    guessed: bool = False
    body_most: int = policy.BODY_MOST
    example: Mapping[str, Any]
    gives: Mapping[str, str]

    def decode(self, body: bytes) -> Call:
        """Return the body as a call.

        Raises:
            msgspec.DecodeError: it is none.
        """
        return msgspec.json.decode(body, type=self.call)
