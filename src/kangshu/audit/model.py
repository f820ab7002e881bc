"""What an entry says, and the one form in which it is digested.

The canonical form is described in this package's README; whoever has it can check the chain without us.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

FIRST_PREVIOUS = bytes(32)
"""What the first entry's link takes for its predecessor's."""

_LONGEST_TEXT = 2000  # arbitrary; far above every name and address of a resource
_LONGEST_DETAIL = 16_000
_VERSION = b"kangshu-audit-1\n"


class Outcome(StrEnum):
    """What became of the act."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """Who did what, when, why, to whose data, with what outcome.

    `actor` is the principal's id and `actor_name` how people know it. `action` is a word of the acting
    package (`person.read`); `resource` names what was acted upon by kind and number, never by content.
    `person` is the resident concerned, where there is one. `detail` is JSON; no values out of records.
    Control characters NUL and broken surrogates are replaced, over-long texts cut and marked with `…`.
    """

    at: datetime
    actor: str
    actor_name: str
    action: str
    purpose: str | None = None
    person: int | None = None
    resource: str | None = None
    institution: str | None = None
    outcome: str = Outcome.DONE
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("an entry's moment has a time zone")
        if not self.actor or not self.action:
            raise ValueError("an entry has an actor and an action")
        for name in ("actor", "actor_name", "action", "purpose", "resource", "institution", "outcome"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _clean(str(value)))
        if len(self.detail_text) > _LONGEST_DETAIL:
            raise ValueError("an entry's detail has at most 16,000 characters")

    @property
    def detail_text(self) -> str:
        """The detail as it is stored and digested: JSON, keys sorted, ASCII, no spaces."""
        return json.dumps(dict(self.detail), sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class RecordedEntry(AuditEntry):
    """An entry as the platform holds it; `chain` is its number, or `None` until it is sealed."""

    chain: int | None


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last link of the chain: how many entries there are and the digest that covers them all."""

    chain: int
    hash: bytes

    @property
    def signed_bytes(self) -> bytes:
        """What the head's authentication code is made of."""
        return b"kangshu-audit-head-1\n" + self.chain.to_bytes(8, "big") + self.hash


EMPTY = Head(chain=0, hash=FIRST_PREVIOUS)


def canonical_form(
    *,
    chain: int,
    at: datetime,
    actor: str,
    actor_name: str,
    action: str,
    purpose: str | None,
    person: int | None,
    resource: str | None,
    institution: str | None,
    outcome: str,
    detail: str,
) -> bytes:
    r"""Return the bytes of one entry that go into its link; different entries give different bytes.

    >>> form = canonical_form(
    ...     chain=7, at=datetime(2026, 3, 2, tzinfo=UTC), actor="staff:1", actor_name="甲", action="x",
    ...     purpose=None, person=12, resource="", institution=None, outcome="done", detail="{}")
    >>> form[-28:]
    b'1:x\n-\n2:12\n0:\n-\n4:done\n2:{}\n'
    """
    values = (
        str(chain),
        at.astimezone(UTC).isoformat(timespec="microseconds"),
        actor,
        actor_name,
        action,
        purpose,
        None if person is None else str(person),
        resource,
        institution,
        outcome,
        detail,
    )
    parts = [_VERSION]
    for value in values:
        if value is None:
            parts.append(b"-\n")
        else:
            data = value.encode()
            parts.append(b"%d:%b\n" % (len(data), data))
    return b"".join(parts)


def _clean(text: str) -> str:
    # PostgreSQL stores neither NUL nor surrogates; an entry must not be lost for a strange sign-in name.
    safe = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return safe if len(safe) <= _LONGEST_TEXT else safe[: _LONGEST_TEXT - 1] + "…"
