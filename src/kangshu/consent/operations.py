"""Decide whether somebody may read a person's record, and put the decision on record first."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from kangshu import directory
from kangshu.audit import AuditEntry, Outcome, record
from kangshu.consent.errors import AccessRefusedError, ConsentError, ReasonMissingError
from kangshu.consent.model import _AUTHORITY, AccessGrant, Purpose, purpose_title
from kangshu.consent.policy import GRANT_TIME, REASON_MAXIMUM, REASON_MINIMUM, purposes_for
from kangshu.kernel.texts import load_catalogue
from kangshu.security.principals import Principal
from kangshu.storage.database import Connection

say = load_catalogue(__package__ or __name__)


class Whereabouts(Protocol):
    """Who can tell where a person was; consent does not know the records, so the app passes this in."""

    async def institutions_of(self, connection: Connection, *, person: int) -> AbstractSet[str]:
        """Return the codes of all institutions that hold rows or numbers of this person."""
        ...


async def grant_read(
    connection: Connection,
    *,
    principal: Principal,
    person: int,
    purpose: Purpose,
    now: datetime,
    whereabouts: Whereabouts,
    reason: str = "",
) -> AccessGrant:
    """Return the grant to read one person's record, for half an hour.

    The role must fit the purpose, and the person must have been at an institution within reach. An
    emergency needs no reach (break-glass) but a `reason`, and is flagged in the audit.

    Grant and refusal alike are written to the audit and committed before this returns or raises, so
    the connection must not be in a transaction: a refusal that is rolled back would leave no trace.

    Raises:
        AccessRefusedError: role, purpose or reach do not allow it.
        ReasonMissingError: an emergency without a reason.
    """
    if connection.is_in_transaction():
        raise ValueError("grant_read commits its own audit entry: call it outside a transaction")
    stated = " ".join(reason.split())
    refusal = await _refusal(connection, principal, person, purpose, stated, whereabouts)
    entry = _entry(principal, person, purpose, stated, refusal, now)
    await record(connection, entries=[entry])
    if refusal is not None:
        raise refusal.error
    return AccessGrant(
        principal=principal,
        person=person,
        purpose=purpose,
        granted_at=now,
        good_until=now + GRANT_TIME,
        authority=_AUTHORITY,
    )


@dataclass(frozen=True, kw_only=True)
class _Refusal:
    """Why not, as one word for the audit and as the error for the caller."""

    word: str
    error: ConsentError


async def _refusal(
    connection: Connection,
    principal: Principal,
    person: int,
    purpose: Purpose,
    reason: str,
    whereabouts: Whereabouts,
) -> _Refusal | None:
    allowed = purposes_for(principal)
    if not allowed:
        return _Refusal(word="role", error=AccessRefusedError(say["refused_role"]))
    if purpose not in allowed:
        title = purpose_title(purpose)
        text = say("refused_purpose", purpose=title.zh, purpose_en=title.en)
        return _Refusal(word="purpose", error=AccessRefusedError(text))
    if purpose is Purpose.EMERGENCY:
        if REASON_MINIMUM <= len(reason) <= REASON_MAXIMUM:
            return None
        text = say("refused_reason", minimum=REASON_MINIMUM, maximum=REASON_MAXIMUM)
        return _Refusal(word="reason", error=ReasonMissingError(text))
    if await _is_within_reach(connection, principal, person, whereabouts):
        return None
    return _Refusal(word="reach", error=AccessRefusedError(say["refused_reach"]))


async def _is_within_reach(
    connection: Connection, principal: Principal, person: int, whereabouts: Whereabouts
) -> bool:
    if principal.region_wide:
        return True
    institutions = await whereabouts.institutions_of(connection, person=person)
    # A department's people read whom their institution knows: rows do not tell departments apart reliably.
    if principal.institutions & institutions:
        return True
    if not principal.divisions:
        return False
    divisions = await directory.divisions_of(connection, codes=institutions)
    return any(principal.covers(division_code=code) for code in divisions.values())


def _entry(
    principal: Principal,
    person: int,
    purpose: Purpose,
    reason: str,
    refusal: _Refusal | None,
    now: datetime,
) -> AuditEntry:
    detail: dict[str, Any] = {}
    if purpose is Purpose.EMERGENCY:
        detail["emergency"] = True
    if reason:
        detail["reason"] = reason[:REASON_MAXIMUM]
    if refusal is not None:
        detail["refused_for"] = refusal.word
    return AuditEntry(
        at=now,
        actor=principal.id,
        actor_name=principal.name,
        action="person.read",
        purpose=purpose.value,
        person=person,
        resource=f"person/{person}",
        institution=min(principal.institutions, default=None),
        outcome=Outcome.REFUSED if refusal else Outcome.DONE,
        detail=detail,
    )
