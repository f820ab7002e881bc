"""Decide whether somebody may read a person's record, and put the decision on record first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from kangshu import directory
from kangshu.audit import AuditEntry, Outcome, record
from kangshu.consent.errors import (
    AccessRefusedError,
    ConsentError,
    ReasonMissingError,
    WhereaboutsUnknownError,
)
from kangshu.consent.model import _AUTHORITY, AccessGrant, Purpose, purpose_title
from kangshu.consent.policy import GRANT_TIME, REASON_MAXIMUM, REASON_MINIMUM, purposes_for
from kangshu.kernel.errors import KangshuError
from kangshu.kernel.texts import load_catalogue
from kangshu.security.principals import Principal
from kangshu.storage.database import Connection

say = load_catalogue(__package__ or __name__)


class Whereabouts(Protocol):
    """Who can tell where a person was; consent does not know the records, so the app passes this in."""

    async def institutions_of(self, connection: Connection, *, person: int) -> AbstractSet[str]:
        """Return the codes of all institutions that hold rows or numbers of this person."""
        ...


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """What somebody wants to read, to be decided among others.

    `known_institutions` are institutions that are known to hold something about the person, as those of the
    resource that is to be read; where they are within reach, nobody else is asked. An empty set is no claim.
    `what` names what is to be read by kind and number (`Observation/17`), for the audit.
    """

    principal: Principal
    person: int
    purpose: Purpose
    reason: str = field(default="", repr=False)
    known_institutions: frozenset[str] = frozenset()
    what: str = ""


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
    refusal = _unfit(principal, purpose, stated)
    if refusal is None and purpose is not Purpose.EMERGENCY:
        refusal = await _out_of_reach(connection, principal, person, whereabouts)
    entry = _entry(principal, person, purpose, stated, refusal, now)
    await record(connection, entries=[entry])
    if refusal is not None:
        raise refusal.error
    return _grant(principal, person, purpose, now)


async def grant_reads(
    connection: Connection,
    *,
    requests: Sequence[ReadRequest],
    now: datetime,
    whereabouts: Whereabouts,
) -> list[AccessGrant | ConsentError]:
    """Return for each request a grant or why there is none, in their order.

    Each is decided as `grant_read` does, and each has its entry in the audit; all entries are written and
    committed at once before this returns, so the connection must not be in a transaction. Where it cannot be
    told where a person was, those who need to know are refused, and nobody else.
    """
    if connection.is_in_transaction():
        raise ValueError("grant_reads commits its own audit entries: call it outside a transaction")
    if not requests:
        return []
    stated = [" ".join(request.reason.split()) for request in requests]
    refusals = [
        _unfit(request.principal, request.purpose, reason)
        for request, reason in zip(requests, stated, strict=True)
    ]
    fit = [place for place, refusal in enumerate(refusals) if refusal is None]
    for place, refusal in (await _all_out_of_reach(connection, requests, fit, whereabouts)).items():
        refusals[place] = refusal
    await record(
        connection,
        entries=[
            _entry(
                request.principal, request.person, request.purpose, reason, refusal, now, what=request.what
            )
            for request, reason, refusal in zip(requests, stated, refusals, strict=True)
        ],
    )
    return [
        refusal.error if refusal else _grant(request.principal, request.person, request.purpose, now)
        for request, refusal in zip(requests, refusals, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class UnlinkedRead:
    """A read of something that should be about a person, while nobody knows about whom.

    `institution` sent it; `what` names it by kind and number.
    """

    principal: Principal
    institution: str
    purpose: Purpose
    reason: str = field(default="", repr=False)
    what: str = ""


async def allow_unlinked(
    connection: Connection, *, requests: Sequence[UnlinkedRead], now: datetime
) -> list[ConsentError | None]:
    """Return for each request None, or why it is refused: such things are for whom their sender is in reach.

    All decisions are written to the audit and committed before this returns.
    """
    if not requests:
        return []
    stated = [" ".join(request.reason.split()) for request in requests]
    refusals = [
        _unfit(request.principal, request.purpose, reason)
        for request, reason in zip(requests, stated, strict=True)
    ]
    senders = {
        place: frozenset({request.institution})
        for place, request in enumerate(requests)
        if refusals[place] is None and not _is_plainly_within(request.principal, {request.institution})
    }
    for place in await _not_covered(connection, requests, senders):
        refusals[place] = _Refusal(word="reach", error=AccessRefusedError(say["refused_reach"]))
    entries = [
        replace(
            _entry(request.principal, None, request.purpose, reason, refusal, now),
            action="unlinked.read",
            resource=request.what or None,
        )
        for request, reason, refusal in zip(requests, stated, refusals, strict=True)
    ]
    await record(connection, entries=entries)
    return [refusal.error if refusal else None for refusal in refusals]


def _grant(principal: Principal, person: int, purpose: Purpose, now: datetime) -> AccessGrant:
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


def _unfit(principal: Principal, purpose: Purpose, reason: str) -> _Refusal | None:
    """Return why role, purpose or reason do not allow it, wherever the person was."""
    allowed = purposes_for(principal)
    if not allowed:
        return _Refusal(word="role", error=AccessRefusedError(say["refused_role"]))
    if purpose not in allowed:
        title = purpose_title(purpose)
        text = say("refused_purpose", purpose=title.zh, purpose_en=title.en)
        return _Refusal(word="purpose", error=AccessRefusedError(text))
    if purpose is Purpose.EMERGENCY and not REASON_MINIMUM <= len(reason) <= REASON_MAXIMUM:
        text = say("refused_reason", minimum=REASON_MINIMUM, maximum=REASON_MAXIMUM)
        return _Refusal(word="reason", error=ReasonMissingError(text))
    return None


async def _out_of_reach(
    connection: Connection, principal: Principal, person: int, whereabouts: Whereabouts
) -> _Refusal | None:
    if await _is_within_reach(connection, principal, person, whereabouts):
        return None
    return _Refusal(word="reach", error=AccessRefusedError(say["refused_reach"]))


async def _all_out_of_reach(
    connection: Connection,
    requests: Sequence[ReadRequest],
    fit: Iterable[int],
    whereabouts: Whereabouts,
) -> dict[int, _Refusal]:
    """Return those of the requests, by place, whose person was nowhere within reach."""
    asking = [place for place in fit if requests[place].purpose is not Purpose.EMERGENCY]
    known = {place: requests[place].known_institutions for place in asking}
    open_ = [place for place in asking if not _is_plainly_within(requests[place].principal, known[place])]
    open_ = await _not_covered(connection, requests, {place: known[place] for place in open_})
    refusals: dict[int, _Refusal] = {}
    found: dict[int, AbstractSet[str] | None] = {}
    for person in dict.fromkeys(requests[place].person for place in open_):
        found[person] = await _where(connection, person, whereabouts)
    held: dict[int, AbstractSet[str]] = {}
    for place in open_:
        institutions = found[requests[place].person]
        if institutions is None:
            refusals[place] = _Refusal(
                word="whereabouts", error=WhereaboutsUnknownError(say["whereabouts_unknown"])
            )
        elif not _is_plainly_within(requests[place].principal, institutions):
            held[place] = institutions
    for place in await _not_covered(connection, requests, held):
        refusals[place] = _Refusal(word="reach", error=AccessRefusedError(say["refused_reach"]))
    return refusals


async def _where(connection: Connection, person: int, whereabouts: Whereabouts) -> AbstractSet[str] | None:
    try:
        return await whereabouts.institutions_of(connection, person=person)
    except KangshuError:  # a lost file, say; what is no known failure ends the whole call
        return None


def _is_plainly_within(principal: Principal, institutions: AbstractSet[str]) -> bool:
    # A department's people read whom their institution knows: rows do not tell departments apart reliably.
    return principal.region_wide or bool(principal.institutions & institutions)


async def _not_covered(
    connection: Connection,
    requests: Sequence[ReadRequest] | Sequence[UnlinkedRead],
    places: Mapping[int, AbstractSet[str]],
) -> list[int]:
    """Return those of the requests none of whose institutions lies in a division within reach."""
    wanted: set[str] = set()
    for place, institutions in places.items():
        if requests[place].principal.divisions:
            wanted |= institutions
    if not wanted:
        return list(places)
    divisions = await directory.divisions_of(connection, codes=wanted)
    return [
        place
        for place, institutions in places.items()
        if not any(
            requests[place].principal.covers(division_code=divisions.get(code)) for code in institutions
        )
    ]


async def _is_within_reach(
    connection: Connection, principal: Principal, person: int, whereabouts: Whereabouts
) -> bool:
    if principal.region_wide:
        return True
    institutions = await whereabouts.institutions_of(connection, person=person)
    if _is_plainly_within(principal, institutions):
        return True
    if not principal.divisions:
        return False
    divisions = await directory.divisions_of(connection, codes=institutions)
    return any(principal.covers(division_code=code) for code in divisions.values())


def _entry(
    principal: Principal,
    person: int | None,
    purpose: Purpose,
    reason: str,
    refusal: _Refusal | None,
    now: datetime,
    what: str = "",
) -> AuditEntry:
    detail: dict[str, Any] = {"what": what} if what else {}
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
