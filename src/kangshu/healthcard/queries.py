"""Look cards up, show what belongs to them, and count them.

Cards come back with their holder in clear text; what may be shown of it is `view_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from types import MappingProxyType

from kangshu import identity
from kangshu.audit import Outcome, record
from kangshu.healthcard import store
from kangshu.healthcard.binding import binding_of, find_bound
from kangshu.healthcard.codes import read_code
from kangshu.healthcard.errors import CardUnknownError
from kangshu.healthcard.model import (
    Attribute,
    Binding,
    Caller,
    Card,
    CardEvent,
    CodeScreen,
    Coverage,
    DayUse,
    EventKind,
    FamilyMember,
    Figures,
    Refusal,
    Status,
    StoredUse,
    Way,
)
from kangshu.healthcard.office import Office, card_now, entry
from kangshu.healthcard.protocols import Resolver
from kangshu.healthcard.scanning import issue_code
from kangshu.healthcard.settings import CardSettings
from kangshu.kernel.texts import load_catalogue
from kangshu.standards.identifiers import DocumentKind, read_document_number
from kangshu.storage.database import Connection

LIMIT_MOST = 1000
_TEXT_MOST = 300
_NOBODY: Mapping[str, Resolver] = MappingProxyType({})

say = load_catalogue(__package__ or __name__)


async def card_numbers(connection: Connection, *, office: Office, card_ids: Sequence[str]) -> dict[str, int]:
    """Return the numbers of those of these card ids that there are; nothing of a card is opened."""
    digests = office.card_digests(card_ids)
    known = await store.find_by_card(connection, digests=digests)
    return {one: known[digest] for one, digest in zip(card_ids, digests, strict=True) if digest in known}


async def find_card(
    connection: Connection,
    *,
    office: Office,
    card: int | None = None,
    card_id: str | None = None,
    document_type: str | None = None,
    document_number: str | None = None,
    now: datetime | None = None,
) -> Card | None:
    """Return the card with this number, this card id, or of this document; None where there is none.

    Of a document the card in force is returned, else the one that was cancelled last. `Card.active` is
    weighed at `now`, or at the moment of the last act.
    """
    number = card
    if number is None and card_id is not None:
        number = await _by_card_id(connection, office, card_id)
    elif number is None and document_type is not None and document_number is not None:
        number = await _by_document(connection, office, document_type, document_number)
    if number is None or not 0 < number < 1 << 63:
        return None
    rows = await store.get_cards(connection, cards=[number], now=now or office.latest)
    return office.card_of(rows[0]) if rows else None


async def get_card(connection: Connection, *, office: Office, card: int, now: datetime | None = None) -> Card:
    """Return the card with this number.

    Raises:
        CardUnknownError: there is none.
    """
    found = await find_card(connection, office=office, card=card, now=now)
    if found is None:
        raise CardUnknownError(say["card_unknown"])
    return found


async def cards_of(
    connection: Connection, *, office: Office, person: int, now: datetime | None = None
) -> list[Card]:
    """Return the cards of a person and of all that mean the same human, the newest first."""
    meaning = await identity.persons_meaning(connection, persons=[person])
    everybody = meaning.get(person, (person,))
    numbers = await store.cards_of_persons(connection, persons=list(everybody))
    rows = await store.get_cards(connection, cards=numbers, now=now or office.latest)
    return [office.card_of(row) for row in reversed(rows)]


async def history_of(
    connection: Connection, *, card: int, office: Office | None = None, limit: int = 200
) -> list[CardEvent]:
    """Return what happened to the card after it was made, the newest first; reasons only with the office."""
    rows = await store.list_events(connection, card=card, limit=min(max(limit, 1), LIMIT_MOST))
    beside = None
    if office is not None and any(row["reason"] for row in rows):
        found = await find_card(connection, office=office, card=card)
        beside = office.card_digests([found.card_id])[0] if found else None
    return [
        CardEvent(
            card=row["card"],
            at=row["at"],
            kind=EventKind(row["kind"]),
            actor=row["actor"],
            institution=row["institution"],
            reason=office.open_text(row["reason"], beside=beside)
            if office is not None and beside is not None and row["reason"]
            else None,
        )
        for row in rows
    ]


async def list_family(connection: Connection, *, card: int) -> list[FamilyMember]:
    """Return the family cards that the holder ever had, in their order."""
    return [FamilyMember(**dict(row)) for row in await store.list_family(connection, card=card)]


async def list_uses(connection: Connection, *, card: int, limit: int = 100) -> list[StoredUse]:
    """Return the last uses of the card, the newest first."""
    rows = await store.list_uses(connection, cards=[card], limit=min(max(limit, 1), LIMIT_MOST))
    return [StoredUse(**dict(row)) for row in rows]


async def list_bindings(connection: Connection, *, office: Office, card: int) -> list[Binding]:
    """Return the other codes that are bound to the card, or to a card of whom it was merged with."""
    found = await find_card(connection, office=office, card=card)
    if found is None:
        return []
    others = await cards_of(connection, office=office, person=found.person)
    numbers = sorted({card, *(one.id for one in others)})
    rows = await store.list_bindings(connection, cards=numbers, limit=LIMIT_MOST)
    return [binding_of(office, row) for row in rows]


async def resolve_code(
    connection: Connection,
    *,
    office: Office,
    text: str,
    system: str | None = None,
    issuer: str = "",
    caller: Caller,
    now: datetime,
    resolvers: Mapping[str, Resolver] = _NOBODY,
) -> Card | None:
    """Return the card that a code stands for: one of our own, or a bound number of another system.

    Of a person with several cards the one that stands for him is returned. Dynamic codes of other systems are
    read by their `resolvers`. A code of ours must be genuine and in time; it is not used up by this. Found
    or not, it is on record.
    """
    number = await _resolve(connection, office, text, system, issuer, caller, now, resolvers)
    found = await find_card(connection, office=office, card=number, now=now) if number else None
    if found is not None and (found.active is None or found.status is not Status.NORMAL):
        found = None
    elif found is not None and found.active != found.id:
        found = await find_card(connection, office=office, card=found.active, now=now)
    await record(
        connection,
        entries=[
            entry(
                caller,
                action="card.resolve",
                now=now,
                card=found.id if found else None,
                person=found.person if found else None,
                outcome=Outcome.DONE if found else Outcome.REFUSED,
                detail={"system": system if system in office.settings.systems else "card"},
            )
        ],
    )
    return found


async def code_screen(
    connection: Connection, *, office: Office, card: int, caller: Caller, now: datetime
) -> CodeScreen:
    """Return a fresh dynamic code of the card and what else it stands for, for one screen.

    Raises:
        CardUnknownError, CardStateError: as for `issue_code`.
    """
    code = await issue_code(connection, office=office, card=card, caller=caller, now=now)
    found, _ = await card_now(connection, office=office, card=card, now=now)
    bindings = await list_bindings(connection, office=office, card=card)
    return CodeScreen(card=found, code=code, bindings=tuple(bindings))


async def figures(
    connection: Connection,
    *,
    settings: CardSettings,
    since: datetime,
    until: datetime,
    institution: str | None = None,
    institutions: Sequence[str] | None = None,
) -> Figures:
    """Return what the dashboard shows of the days from `since` to before `until`, by the region's calendar.

    Days count whole: that of `since` is the first, that of the last instant before `until` the last. With
    institutions, cards are those they registered, uses and scans those they made; None is the region.
    """
    chosen = [institution] if institution is not None else institutions
    chosen = list(chosen) if chosen is not None else None
    first = since.astimezone(settings.zone).date()
    last = until.astimezone(settings.zone)
    end = last.date() if last.time() == time.min else _next(last)
    cards = await store.sum_cards(connection, institutions=chosen)
    issued = await store.sum_issued(connection, since=first, until=end, institutions=chosen)
    use_rows = await store.sum_uses(connection, since=first, until=end, institutions=chosen)
    scan_rows = await store.sum_scans(connection, since=first, until=end, institutions=chosen)
    fused = await store.count_fused(connection, institutions=chosen)
    uses = tuple(DayUse(**dict(row)) for row in use_rows)
    count = sum(use.uses for use in uses)
    in_force = sum(row["cards"] for row in cards if row["status"] == Status.NORMAL)
    living = sum(row["cards"] for row in cards if row["status"] != Status.CANCELLED)
    claimed = sum(row["cards"] for row in cards if row["status"] != Status.CANCELLED and row["claimed"])
    refused: dict[Refusal, int] = {}
    by_institution: dict[str, tuple[int, int]] = {}
    for row in scan_rows:
        scans, away = by_institution.get(row["institution"], (0, 0))
        if row["refusal"]:
            refusal = Refusal(row["refusal"])
            refused[refusal] = refused.get(refusal, 0) + row["scans"]
            away += row["scans"]
        by_institution[row["institution"]] = (scans + row["scans"], away)
    return Figures(
        since=since,
        until=until,
        cards=sum(row["cards"] for row in cards),
        issued=sum(row["cards"] for row in issued),
        by_status={one: sum(row["cards"] for row in cards if row["status"] == one) for one in Status},
        by_attribute={
            one: sum(row["cards"] for row in cards if row["attribute"] == one) for one in Attribute
        },
        by_way={one: sum(row["cards"] for row in cards if row["way"] == one) for one in Way},
        issued_by_day=tuple((row["day"], row["cards"]) for row in issued),
        uses=uses,
        coverage=_coverage(settings, uses),
        use_count=count,
        off_card_rate=sum(use.off_card for use in uses) / count if count else None,
        fused_cards=fused,
        fusion_rate=fused / in_force if in_force else None,
        claim_rate=claimed / living if living else None,
        family_members=await store.count_members(connection, institutions=chosen),
        scans=sum(row["scans"] for row in scan_rows),
        refused_scans=refused,
        scans_by_institution=by_institution,
    )


def _next(moment: datetime) -> date:
    return moment.date() + timedelta(days=1)


def _coverage(settings: CardSettings, uses: Sequence[DayUse]) -> tuple[Coverage, ...]:
    """Return in which of the declared scenes each institution used the card itself."""
    covered: dict[str, set[str]] = {}
    for use in uses:
        scenes = covered.setdefault(use.institution, set())
        if use.uses > use.off_card and use.scene in settings.scenes:
            scenes.add(use.scene)
    return tuple(
        Coverage(
            institution=institution,
            scenes=tuple(key for key in settings.scenes if key in scenes),
            share=len(scenes) / len(settings.scenes),
        )
        for institution, scenes in sorted(covered.items())
    )


async def _by_card_id(connection: Connection, office: Office, card_id: str) -> int | None:
    if len(card_id) > _TEXT_MOST:
        return None
    (digest,) = office.card_digests([card_id.strip().upper()])
    return (await store.find_by_card(connection, digests=[digest])).get(digest)


async def _by_document(connection: Connection, office: Office, kind: str, text: str) -> int | None:
    try:
        known = DocumentKind(kind)
    except ValueError:
        return None
    number = read_document_number(known, text) if len(text) <= _TEXT_MOST else None
    if number is None:
        return None
    (digest,) = office.document_digests([(str(known), number)])
    return await store.find_by_document(connection, document=digest)


async def _resolve(
    connection: Connection,
    office: Office,
    text: str,
    system: str | None,
    issuer: str,
    caller: Caller,
    now: datetime,
    resolvers: Mapping[str, Resolver],
) -> int | None:
    if len(text) > _TEXT_MOST:
        return None
    if system is None or system == "card":
        return await _own(connection, office, text, now)
    declared = office.settings.systems.get(system)
    if declared is None:
        return None
    value: str | None = text.strip()
    if system in resolvers:
        value = await resolvers[system].lasting_number(text)
    if not value:
        return None
    if declared.issuer:
        # An institution resolves its own patient numbers, nobody else's.
        issuer = issuer.strip() or caller.institution or ""
        if caller.institution is not None and issuer != caller.institution:
            return None
    return await find_bound(connection, office=office, system=system, issuer=issuer, value=value)


async def _own(connection: Connection, office: Office, text: str, now: datetime) -> int | None:
    read = read_code(text, code_keys=office.ring.code_keys(now), zone=office.settings.zone)
    if isinstance(read, Refusal) or (read.expires_at is not None and read.expires_at <= now):
        return None
    (digest,) = office.card_digests([read.card_id])
    return (await store.find_by_card(connection, digests=[digest])).get(digest)
