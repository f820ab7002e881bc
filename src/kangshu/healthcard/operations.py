"""What holders, windows and institutions do with cards that exist: each with its event and its audit entry.

Every function writes in the caller's transaction. Cards that it changes are locked first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from kangshu.audit import Outcome, record
from kangshu.healthcard import store
from kangshu.healthcard.applying import age_at, is_relation, tidy_phone
from kangshu.healthcard.binding import binding_of, bound_text
from kangshu.healthcard.codes import read_code
from kangshu.healthcard.errors import (
    ApplicationError,
    BindingTakenError,
    BindingUnknownError,
    CardStateError,
    CardUnknownError,
    FamilyFullError,
)
from kangshu.healthcard.model import (
    Attribute,
    Binding,
    Caller,
    Card,
    EventKind,
    FamilyMember,
    Holder,
    HomeRegion,
    Refusal,
    Status,
    Use,
    UseOutcome,
)
from kangshu.healthcard.numbering import is_number
from kangshu.healthcard.office import Office, card_now, entry
from kangshu.healthcard.protocols import NationalIndex
from kangshu.kernel.texts import load_catalogue
from kangshu.standards.identifiers import division_prefix
from kangshu.storage.database import Connection

_REASON_MOST = 200
_VALUE_MOST = 200
_ISSUER_MOST = 64
_CODE_MOST = 32
_TERMINAL_MOST = 64
_ORDER_MOST = 128
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# Institutions' clocks go a little wrong.
_AHEAD = timedelta(minutes=5)

say = load_catalogue(__package__ or __name__)


async def report_loss(
    connection: Connection, *, office: Office, card: int, reason: str = "", caller: Caller, now: datetime
) -> Card:
    """Refuse the card's codes from now on, and return the card; reporting again changes nothing.

    Raises:
        CardUnknownError: there is no such card.
        CardStateError: it is cancelled or not issued yet.
        ApplicationError: the reason is too long.
    """
    return await _change_status(
        connection,
        office,
        card,
        to=Status.LOST,
        out_of=(Status.NORMAL,),
        kind=EventKind.LOSS_REPORTED,
        action="card.loss",
        reason=reason,
        caller=caller,
        now=now,
    )


async def lift_loss(
    connection: Connection, *, office: Office, card: int, reason: str = "", caller: Caller, now: datetime
) -> Card:
    """Accept the codes of a lost card again, and return the card; lifting again changes nothing.

    Raises:
        CardUnknownError, CardStateError, ApplicationError: as for `report_loss`.
    """
    return await _change_status(
        connection,
        office,
        card,
        to=Status.NORMAL,
        out_of=(Status.LOST,),
        kind=EventKind.LOSS_LIFTED,
        action="card.loss-lifted",
        reason=reason,
        caller=caller,
        now=now,
    )


async def cancel_card(
    connection: Connection, *, office: Office, card: int, reason: str = "", caller: Caller, now: datetime
) -> Card:
    """End the card for good, and return it; cancelling again changes nothing.

    What was bound to it is free again, and its family cards end. Who applies anew gets another card id.

    Raises:
        CardUnknownError, ApplicationError: as for `report_loss`.
    """
    cancelled = await _change_status(
        connection,
        office,
        card,
        to=Status.CANCELLED,
        out_of=(Status.NORMAL, Status.LOST, Status.MADE, Status.NOT_ISSUED),
        kind=EventKind.CANCELLED,
        action="card.cancel",
        reason=reason,
        caller=caller,
        now=now,
    )
    for row in await store.list_bindings(connection, cards=[card], limit=10_000):
        await store.end_binding(connection, binding=row["id"], now=now)
    for row in await store.list_family(connection, card=card, ended=False):
        await store.end_family(connection, card=card, member=row["member"], now=now)
    return cancelled


async def change_phone(
    connection: Connection, *, office: Office, card: int, phone: str, caller: Caller, now: datetime
) -> Card:
    """Keep another telephone number of the holder, and return the card.

    Raises:
        CardUnknownError: there is no such card.
        CardStateError: it is cancelled.
        ApplicationError: the number cannot be one.
    """
    tidy = tidy_phone(phone)
    if tidy is None:
        raise ApplicationError(say["field_wrong"], place="phone")
    found, revision = await card_now(connection, office=office, card=card, now=now, locked=True)
    if found.status is Status.CANCELLED:
        raise CardStateError(say["card_state"])
    (digest,) = office.card_digests([found.card_id])
    held = found.holder
    holder = Holder(
        name=held.name,
        document_type=held.document_type,
        document_number=held.document_number,
        sex=held.sex,
        birth_date=held.birth_date,
        nation=held.nation,
        phone=tidy,
        address=held.address,
    )
    sealed = office.seal_holder(holder, card_id=found.card_id, index_id=found.index_id, digest=digest)
    changed = await store.set_sealed(connection, card=card, sealed=sealed, revision=revision)
    assert changed, "the card is locked"
    await _note(
        connection, office, found, EventKind.PHONE_CHANGED, action="card.phone", caller=caller, now=now
    )
    return (await card_now(connection, office=office, card=card, now=now))[0]


async def expire_temporary(
    connection: Connection, *, office: Office, now: datetime, limit: int = 10_000
) -> int:
    """Cancel temporary cards whose time is over (their codes are refused from that moment anyway); return how
    many. For maintenance, as `maintain`."""
    expired = await store.expire_temporary(connection, now=now, limit=limit)
    if expired:
        await store.add_events(
            connection, cards=expired, kind=EventKind.EXPIRED, actor="system", institution=None, now=now
        )
        system = Caller(actor="system", actor_name="system")
        await record(
            connection,
            entries=[entry(system, action="card.expire", now=now, card=one) for one in expired],
        )
    return len(expired)


async def maintain(connection: Connection, *, office: Office, now: datetime) -> int:
    """Expire temporary cards, forget codes that are over, put counts together; return how many cards expired.

    For the hourly maintenance. What it leaves for want of time the next call does.
    """
    expired = await expire_temporary(connection, office=office, now=now)
    await store.prune_seen(connection, now=now - timedelta(minutes=5), limit=200_000)
    await store.put_together(connection)
    return expired


# Family


async def add_family_member(
    connection: Connection,
    *,
    office: Office,
    card: int,
    member: int,
    relation: str,
    caller: Caller,
    now: datetime,
) -> FamilyMember:
    """Let the holder of `card` show the card of a relative, and return the membership; told again it stays.

    `relation` is what the holder is to the relative (GB/T 4761).

    Raises:
        CardUnknownError: one of the cards does not exist.
        CardStateError: one is not in force, both are one, or the holder is a minor or his card temporary.
        FamilyFullError: there are as many members as are allowed.
        ApplicationError: the relation is no code.
    """
    if not is_relation(relation):
        raise ApplicationError(say["field_wrong"], place="relation")
    holder, _ = await card_now(connection, office=office, card=card, now=now, locked=True)
    other, _ = await card_now(connection, office=office, card=member, now=now)
    if card == member or holder.person == other.person:
        raise CardStateError(say["card_state"])
    if holder.attribute is not Attribute.FORMAL or _is_minor(office, holder, now):
        raise CardStateError(say["card_state"])
    if holder.status is not Status.NORMAL or other.status is not Status.NORMAL:
        raise CardStateError(say["card_state"])
    members = {row["member"] for row in await store.list_family(connection, card=card, ended=False)}
    most = office.settings.family_most
    if member not in members and len(members) >= most:
        raise FamilyFullError(say("family_full", most=most))
    row = await store.add_family(
        connection,
        card=card,
        member=member,
        relation=relation,
        guardian=_is_minor(office, other, now),
        now=now,
    )
    if member not in members:
        await _note(
            connection,
            office,
            holder,
            EventKind.FAMILY_ADDED,
            action="card.family",
            caller=caller,
            now=now,
            other=member,
        )
    return FamilyMember(**dict(row))


async def end_family_member(
    connection: Connection, *, office: Office, card: int, member: int, caller: Caller, now: datetime
) -> FamilyMember:
    """End a membership, and return it.

    Raises:
        CardUnknownError: there is no such card, or the other is no member of its family.
    """
    holder, _ = await card_now(connection, office=office, card=card, now=now, locked=True)
    row = await store.end_family(connection, card=card, member=member, now=now)
    if row is None:
        raise CardUnknownError(say["card_unknown"])
    await _note(
        connection,
        office,
        holder,
        EventKind.FAMILY_ENDED,
        action="card.family-ended",
        caller=caller,
        now=now,
        other=member,
    )
    return FamilyMember(**dict(row))


# Other codes


async def bind_code(
    connection: Connection,
    *,
    office: Office,
    card: int,
    system: str,
    value: str,
    issuer: str = "",
    caller: Caller,
    now: datetime,
) -> Binding:
    """Bind another code of the same holder to the card, and return the binding; told again it stays.

    `value` is the lasting number behind the code, not a dynamic one. An institution binds its own patient
    numbers only: where the system asks for an issuer and none is told, the caller's institution is it.

    Raises:
        CardUnknownError: there is no such card.
        CardStateError: it is not in force.
        ApplicationError: the system is not declared, the issuer is missing, or the value cannot be one.
        BindingTakenError: the value is bound to another card.
    """
    declared = office.settings.systems.get(system)
    if declared is None:
        raise ApplicationError(say["field_wrong"], place="system")
    issuer = _issuer(issuer, needed=declared.issuer, caller=caller)
    value = _text(value, "value", most=_VALUE_MOST)
    if not value:
        raise ApplicationError(say["field_wrong"], place="value")
    found, _ = await card_now(connection, office=office, card=card, now=now, locked=True)
    if found.status is not Status.NORMAL:
        raise CardStateError(say["card_state"])
    (digest,) = office.digests([bound_text(system, issuer, value)])
    row = await store.add_binding(
        connection,
        card=card,
        system=system,
        issuer=issuer,
        digest=digest,
        sealed=office.seal_text(value, beside=digest),
        counted=declared.counted,
        now=now,
    )
    if row is None:
        row = await store.find_binding(connection, digest=digest)
        if row is None or row["card"] != card:
            raise BindingTakenError(say["binding_taken"])
        return binding_of(office, row)
    await _note(
        connection,
        office,
        found,
        EventKind.BOUND,
        action="card.bind",
        caller=caller,
        now=now,
        detail={"system": system},
    )
    return binding_of(office, row)


async def unbind_code(
    connection: Connection, *, office: Office, binding: int, caller: Caller, now: datetime
) -> Binding:
    """End a binding, and return it.

    Raises:
        BindingUnknownError: there is none with this number, or it has ended.
    """
    row = await store.end_binding(connection, binding=binding, now=now)
    if row is None:
        raise BindingUnknownError(say["binding_unknown"])
    found, _ = await card_now(connection, office=office, card=row["card"], now=now)
    await _note(
        connection,
        office,
        found,
        EventKind.UNBOUND,
        action="card.unbind",
        caller=caller,
        now=now,
        detail={"system": row["system"]},
    )
    return binding_of(office, row)


def _issuer(text: str, *, needed: bool, caller: Caller) -> str:
    issuer = _text(text, "issuer", most=_ISSUER_MOST)
    if not needed:
        return issuer
    if not issuer:
        issuer = caller.institution or ""
    if not issuer or (caller.institution is not None and issuer != caller.institution):
        raise ApplicationError(say["field_wrong"], place="issuer")
    return issuer


# Use records


async def record_uses(
    connection: Connection, *, office: Office, uses: Sequence[Use], caller: Caller, now: datetime
) -> list[UseOutcome]:
    """Keep what the caller's institution tells of uses, and return what became of each.

    Told again nothing changes: two records are one where card, institution, scene, moment and order number
    are equal. A code is taken for its card even after it is over: the use was before. One bad record does
    not hold up the others.

    Raises:
        ApplicationError: the caller speaks for no institution.
    """
    if not caller.institution:
        raise ApplicationError(say["field_wrong"], place="institution")
    institution = caller.institution
    outcomes = [_judge(office, use, now) for use in uses]
    cards = await _cards_of_uses(connection, office, uses, outcomes)
    born = await store.registered_at(connection, cards=sorted(set(cards.values())))
    rows: dict[bytes, store.NewUse] = {}
    keys: dict[int, bytes] = {}
    wanted = [place for place, outcome in enumerate(outcomes) if outcome is UseOutcome.STORED]
    for place in wanted:
        if place not in cards:
            outcomes[place] = UseOutcome.CARD_UNKNOWN
        elif uses[place].used_at < born[cards[place]] - _AHEAD:
            outcomes[place] = UseOutcome.TIME_IMPOSSIBLE
    wanted = [place for place in wanted if outcomes[place] is UseOutcome.STORED]
    digests = office.digests([_use_text(cards[place], institution, uses[place], office) for place in wanted])
    for place, key in zip(wanted, digests, strict=True):
        keys[place] = key
        if key in rows:
            outcomes[place] = UseOutcome.KNOWN
        else:
            rows[key] = _use_row(office, key, cards[place], uses[place])
    if rows:
        new = await store.add_uses(
            connection,
            uses=list(rows.values()),
            institution=institution,
            now=now,
            zone=office.settings.zone.key,
        )
        for place, key in keys.items():
            if key not in new:
                outcomes[place] = UseOutcome.KNOWN
    await record(connection, entries=[_use_entry(outcomes, caller, now)])
    return outcomes


def _judge(office: Office, use: Use, now: datetime) -> UseOutcome:
    settings = office.settings
    if settings.scene_of(use.scene) is None:
        return UseOutcome.SCENE_UNKNOWN
    dictionaries: tuple[tuple[str | None, Mapping[str, object]], ...] = (
        (use.medium, settings.media),
        (use.terminal_type, settings.terminals),
        (use.cost_type, settings.cost_types),
        (use.visit_type, settings.visit_types),
    )
    if any(code is not None and code not in known for code, known in dictionaries):
        return UseOutcome.CODE_UNKNOWN
    texts = (
        (use.department, _TERMINAL_MOST),
        (use.terminal, _TERMINAL_MOST),
        (use.channel, _CODE_MOST),
        (use.order_number, _ORDER_MOST),
    )
    if any(text is not None and (len(text) > most or _CONTROL.search(text)) for text, most in texts):
        return UseOutcome.CODE_UNKNOWN
    if use.used_at.tzinfo is None or use.used_at > now + _AHEAD:
        return UseOutcome.TIME_IMPOSSIBLE
    return UseOutcome.STORED


async def _cards_of_uses(
    connection: Connection, office: Office, uses: Sequence[Use], outcomes: Sequence[UseOutcome]
) -> dict[int, int]:
    """Return the card of each use that tells one which exists."""
    told: dict[int, str] = {}
    numbers: dict[int, int] = {}
    code_keys = [key.value for key in office.ring.codes]
    for place, (use, outcome) in enumerate(zip(uses, outcomes, strict=True)):
        if outcome is not UseOutcome.STORED:
            continue
        if use.card is not None:
            numbers[place] = use.card
        elif use.card_id is not None:
            told[place] = use.card_id.upper() if len(use.card_id) <= _VALUE_MOST else ""
        elif use.code is not None:
            read = read_code(use.code, code_keys=code_keys, zone=office.settings.zone)
            told[place] = "" if isinstance(read, Refusal) else read.card_id
    digests = dict(zip(told, office.card_digests(told.values()), strict=True))
    found = await store.find_by_card(connection, digests=list(set(digests.values())))
    cards = {place: found[digest] for place, digest in digests.items() if digest in found}
    asked = [number for number in set(numbers.values()) if 0 < number < 1 << 63]
    there = await store.registered_at(connection, cards=asked) if asked else {}
    cards.update((place, number) for place, number in numbers.items() if number in there)
    return cards


def _use_text(card: int, institution: str, use: Use, office: Office) -> str:
    scene = office.settings.scene_of(use.scene)
    assert scene is not None, "the use was judged"
    moment = int(use.used_at.timestamp())
    return f"healthcard-use:{card}:{institution}:{scene.key}:{moment}:{use.order_number or ''}"


def _use_row(office: Office, key: bytes, card: int, use: Use) -> store.NewUse:
    scene = office.settings.scene_of(use.scene)
    assert scene is not None, "the use was judged"
    return store.NewUse(
        key=key,
        card=card,
        used_at=use.used_at,
        off_card=use.medium not in office.settings.on_card,
        scene=scene.key,
        medium=use.medium,
        department=use.department,
        terminal=use.terminal,
        terminal_type=use.terminal_type,
        channel=use.channel,
        cost_type=use.cost_type,
        visit_type=use.visit_type,
    )


def _use_entry(outcomes: Sequence[UseOutcome], caller: Caller, now: datetime):
    counts = {str(kind): outcomes.count(kind) for kind in UseOutcome if kind in outcomes}
    refused = bool(outcomes) and not {UseOutcome.STORED, UseOutcome.KNOWN} & set(outcomes)
    return entry(
        caller,
        action="card.use",
        now=now,
        outcome=Outcome.REFUSED if refused else Outcome.DONE,
        detail=dict(counts),
    )


# Regions


async def cross_region(
    connection: Connection,
    *,
    office: Office,
    index_id: str,
    caller: Caller,
    now: datetime,
    national: NationalIndex | None = None,
) -> HomeRegion:
    """Return where an index id is at home: here, where the national index once told, or where it tells now.

    Raises:
        ApplicationError: it does not have the form of an index id.
    """
    index_id = index_id.strip().upper() if len(index_id) <= _VALUE_MOST else ""
    if not is_number(index_id):
        raise ApplicationError(say["field_wrong"], place="index_id")
    (digest,) = office.index_digests([index_id])
    here = await store.has_index(connection, index_id=digest)
    region = office.settings.region if here else await store.find_home(connection, index_id=digest)
    if region is None and national is not None:
        region = await national.home_of(index_id)
        if region is not None:
            await note_home_regions(connection, office=office, homes=[(index_id, region)], now=now)
    await record(
        connection,
        entries=[
            entry(
                caller,
                action="card.region",
                now=now,
                outcome=Outcome.DONE if region else Outcome.REFUSED,
                detail={"here": here, "known": region is not None},
            )
        ],
    )
    return HomeRegion(region=region, here=here)


async def note_home_regions(
    connection: Connection, *, office: Office, homes: Sequence[tuple[str, str]], now: datetime
) -> int:
    """Remember where index ids are at home, as the national index tells it; return how many were kept.

    Raises:
        ApplicationError: an index id or a division code does not have its form.
    """
    for index, region in homes:
        if not is_number(index):
            raise ApplicationError(say["field_wrong"], place="index_id")
        try:
            division_prefix(region)
        except ValueError:
            raise ApplicationError(say["field_wrong"], place="region") from None
    if not homes:
        return 0
    digests = office.index_digests(index for index, _ in homes)
    return await store.add_homes(
        connection, indexes=digests, regions=[region for _, region in homes], now=now
    )


# Helpers


async def _change_status(
    connection: Connection,
    office: Office,
    card: int,
    *,
    to: Status,
    out_of: Sequence[Status],
    kind: EventKind,
    action: str,
    reason: str,
    caller: Caller,
    now: datetime,
) -> Card:
    reason = _text(reason, "reason", most=_REASON_MOST)
    found, _ = await card_now(connection, office=office, card=card, now=now, locked=True)
    if found.status is to:
        return found
    if found.status not in out_of:
        raise CardStateError(say["card_state"])
    changed = await store.set_status(connection, card=card, status=to, expected=list(out_of))
    assert changed, "the card is locked"
    await _note(connection, office, found, kind, action=action, caller=caller, now=now, reason=reason)
    return (await card_now(connection, office=office, card=card, now=now))[0]


async def _note(
    connection: Connection,
    office: Office,
    card: Card,
    kind: EventKind,
    *,
    action: str,
    caller: Caller,
    now: datetime,
    other: int | None = None,
    reason: str = "",
    detail: dict[str, object] | None = None,
) -> None:
    (digest,) = office.card_digests([card.card_id])
    await store.add_events(
        connection,
        cards=[card.id],
        kind=kind,
        actor=caller.actor,
        institution=caller.institution,
        now=now,
        other=other,
        reason=office.seal_text(reason, beside=digest) if reason else None,
    )
    await record(
        connection,
        entries=[
            entry(caller, action=action, now=now, card=card.id, person=card.person, detail=detail or {})
        ],
    )


def _text(text: str, place: str, *, most: int) -> str:
    text = text.strip()
    if len(text) > most or _CONTROL.search(text):
        raise ApplicationError(say["field_wrong"], place=place)
    return text


def _is_minor(office: Office, card: Card, now: datetime) -> bool:
    birth = card.holder.birth_date
    return birth is not None and age_at(birth, office.today(now)) < office.settings.minor_below_years
