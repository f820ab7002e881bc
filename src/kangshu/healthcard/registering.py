"""Register cards, one by one and in sets: the same document always gets the same card.

What exists is found by the digest of the document; who is new is looked for in the person index; the card's
row is added where the document still has none, so of two registrations at the same moment the second finds
the first one's card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from kangshu import identity
from kangshu.audit import Outcome, record
from kangshu.healthcard import store
from kangshu.healthcard.applying import Applied, Fault, Wrong, age_at, read_application, same_name
from kangshu.healthcard.errors import (
    ApplicationError,
    CardBusyError,
    CardStateError,
    CardUnknownError,
    FamilyFullError,
    GuardianNeededError,
    HolderDiffersError,
)
from kangshu.healthcard.model import (
    Application,
    Attribute,
    Batch,
    Caller,
    Card,
    EventKind,
    Holder,
    Registered,
    RowProblem,
    Status,
    Way,
)
from kangshu.healthcard.numbering import ISSUES_MOST, card_id, index_id
from kangshu.healthcard.office import Office, card_now, entry
from kangshu.kernel.texts import load_catalogue
from kangshu.mapping import IdentifierKind, Subject, SubjectIdentifier
from kangshu.storage.database import Connection, Record

# Each round waits for whoever was first, so a second one is rare.
_ROUNDS = 5
_CHUNK = 5000
_NOWHERE = "healthcard"  # the institution of what residents tell themselves

say = load_catalogue(__package__ or __name__)


async def register_card(
    connection: Connection, *, office: Office, application: Application, caller: Caller, now: datetime
) -> Registered:
    """Return the card of the document, made now if it has none; one made in advance becomes issued.

    Lost cards stay lost: the card is returned as it is. After a cancellation a new card is made.

    Raises:
        ApplicationError: a field is missing or wrong (`place`), or too little is told to know who it is.
        GuardianNeededError: the holder is a minor and no adult guardian with a card in force was named.
        FamilyFullError: the guardian has as many family cards as are allowed.
        HolderDiffersError: the document has a card under another name.
        CardBusyError: others kept changing the same card.
    """
    applied = _required(read_application(application, institution=caller.institution))
    guardian = await _guardian(connection, office, applied, now)
    (digest,) = office.document_digests([(applied.kind, applied.number)])
    for _ in range(_ROUNDS):
        held = await _held(connection, [digest])
        known = held.get(digest)
        if known is not None and known["id"] is not None:
            found = await _return(connection, office, applied, known, guardian, caller, now)
        else:
            found = await _make(connection, office, applied, digest, known, guardian, caller, now)
        if found is not None:
            return found
    raise CardBusyError(say["card_busy"])


async def register_cards(
    connection: Connection,
    *,
    office: Office,
    applications: Sequence[Application],
    caller: Caller,
    now: datetime,
) -> Batch:
    """Make the cards of a list, and return for each row its card or what is wrong with it.

    Rows of `Way.BATCH` are made in advance (not issued until claimed), others are issued at once; a row of a
    minor is always made in advance, as nobody can name a guardian here. Sent again nothing changes. One
    caller at a time creates persons in bulk; others wait for the end of its transaction.
    """
    linker = identity.Linker(office.keys, random=office.random, actor=caller.actor)
    cards: list[int | None] = []
    problems: dict[int, RowProblem] = {}
    created = 0
    for start in range(0, len(applications), _CHUNK):
        chunk = _Chunk.of(office, applications[start : start + _CHUNK], caller)
        created += await _register_chunk(connection, office, chunk, linker, caller, now)
        cards += chunk.cards
        problems.update({start + row: problem for row, problem in chunk.problems.items()})
    existing = sum(card is not None for card in cards) - created
    await record(
        connection,
        entries=[
            entry(
                caller,
                action="card.batch",
                now=now,
                detail={
                    "rows": len(applications),
                    "created": created,
                    "existing": existing,
                    "problems": len(problems),
                },
            )
        ],
    )
    return Batch(cards=tuple(cards), created=created, existing=existing, problems=problems)


async def make_formal(
    connection: Connection,
    *,
    office: Office,
    card: int,
    application: Application,
    caller: Caller,
    now: datetime,
) -> Registered:
    """Let a temporary card give way to the formal card of a document, and return that one.

    Both persons of the index are made one, unless they are already: the temporary card's holder has said who
    he is. The merge can be undone there.

    Raises:
        CardUnknownError: there is no such card.
        CardStateError: it is not temporary, or no longer in force.
        ApplicationError, GuardianNeededError, HolderDiffersError: as for `register_card`.
    """
    temporary, _ = await card_now(connection, office=office, card=card, now=now, locked=True)
    over = temporary.valid_until is not None and temporary.valid_until <= now
    if temporary.attribute is not Attribute.TEMPORARY or temporary.status is not Status.NORMAL or over:
        raise CardStateError(say["card_state"])
    if application.temporary:
        raise ApplicationError(say["field_wrong"], place="temporary")
    formal = await register_card(connection, office=office, application=application, caller=caller, now=now)
    await store.set_status(
        connection,
        card=card,
        status=Status.CANCELLED,
        expected=[Status.NORMAL],
        successor=formal.card.id,
    )
    await identity.merge_persons(
        connection,
        survivor=formal.card.person,
        absorbed=temporary.person,
        actor=caller.actor,
        reason="health card made formal",
        now=now,
    )
    await store.add_events(
        connection,
        cards=[card],
        kind=EventKind.FORMAL,
        actor=caller.actor,
        institution=caller.institution,
        now=now,
        other=formal.card.id,
    )
    await record(
        connection,
        entries=[
            entry(
                caller,
                action="card.formal",
                now=now,
                card=card,
                person=formal.card.person,
                detail={"formal": formal.card.id},
            )
        ],
    )
    settled, _ = await card_now(connection, office=office, card=formal.card.id, now=now)
    return Registered(card=settled, new=formal.new, claimed=formal.claimed)


def _required(applied: Applied | Wrong) -> Applied:
    if isinstance(applied, Wrong):
        raise ApplicationError(say[applied.fault.value], place=applied.place)
    return applied


def _is_minor(office: Office, applied: Applied, now: datetime) -> bool:
    birth = applied.birth_date
    return birth is not None and age_at(birth, office.today(now)) < office.settings.minor_below_years


async def _guardian(connection: Connection, office: Office, applied: Applied, now: datetime) -> Card | None:
    """Return the guardian's card where one is told or needed; it stays locked until the transaction's end."""
    told = applied.application.guardian
    needed = _is_minor(office, applied, now) and applied.application.way in office.settings.guardian_ways
    if told is None:
        # A temporary card is made where somebody must be helped now; who answers for him is asked later.
        if needed and not applied.application.temporary:
            raise GuardianNeededError(say["guardian_needed"], place="guardian")
        return None
    try:
        guardian, _ = await card_now(connection, office=office, card=told, now=now, locked=True)
    except CardUnknownError:
        raise GuardianNeededError(say["guardian_needed"], place="guardian") from None
    birth = guardian.holder.birth_date
    grown = birth is not None and age_at(birth, office.today(now)) >= office.settings.minor_below_years
    if guardian.status is not Status.NORMAL or guardian.attribute is not Attribute.FORMAL or not grown:
        raise GuardianNeededError(say["guardian_needed"], place="guardian")
    if applied.application.relation is None:
        raise ApplicationError(say["field_wrong"], place="relation")
    return guardian


async def _held(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, Record]:
    return {row["document"]: row for row in await store.find_documents(connection, documents=digests)}


async def _return(
    connection: Connection,
    office: Office,
    applied: Applied,
    known: Record,
    guardian: Card | None,
    caller: Caller,
    now: datetime,
) -> Registered | None:
    """Return the card that the document has; None where somebody changed it at the same moment."""
    holder, number, index = office.open_holder(known["sealed"], digest=known["card"])
    if not same_name(holder.name, applied.name):
        raise HolderDiffersError(say["holder_differs"])
    claimed = False
    if known["status"] == Status.NOT_ISSUED and applied.application.way is not Way.BATCH:
        claimed = await store.claim_card(
            connection,
            card=known["id"],
            way=applied.application.way,
            sealed=office.seal_holder(
                _completed(holder, applied), card_id=number, index_id=index, digest=known["card"]
            ),
            guardian=guardian.id if guardian else None,
            institution=caller.institution,
            now=now,
            today=office.today(now),
        )
        if not claimed:
            return None
        await store.add_events(
            connection,
            cards=[known["id"]],
            kind=EventKind.CLAIMED,
            actor=caller.actor,
            institution=caller.institution,
            now=now,
        )
    if guardian is not None:
        await _under_guardian(connection, office, known["id"], guardian, applied, now)
    card, _ = await card_now(connection, office=office, card=known["id"], now=now)
    await _trace(connection, card, caller, now, {"new": False, "claimed": claimed})
    return Registered(card=card, new=False, claimed=claimed)


async def _make(
    connection: Connection,
    office: Office,
    applied: Applied,
    digest: bytes,
    known: Record | None,
    guardian: Card | None,
    caller: Caller,
    now: datetime,
) -> Registered | None:
    """Return the new card; None where somebody else made one at the same moment."""
    (person,) = await identity.link_claims(
        connection,
        keys=office.keys,
        claims=[_subject(applied, caller)],
        now=now,
        origin=None,
        actor=caller.actor,
        random=office.random,
        correct=False,
    )
    if person is None:
        raise ApplicationError(say["person_unknown"], place="document_number")
    issue = known["issues"] if known else 0
    row = _row(
        office,
        applied,
        digest,
        person=person,
        issue=issue,
        guardian=guardian,
        now=now,
        in_advance=applied.application.way is Way.BATCH,
    )
    try:
        async with connection.transaction():
            added = await store.add_cards(
                connection, cards=[row], institution=caller.institution, now=now, today=office.today(now)
            )
    except store.CollisionError:
        return None
    if digest not in added:
        return None
    if guardian is not None:
        await _under_guardian(connection, office, added[digest], guardian, applied, now)
    card, _ = await card_now(connection, office=office, card=added[digest], now=now)
    await _trace(connection, card, caller, now, {"new": True, "claimed": False})
    return Registered(card=card, new=True, claimed=False)


async def _under_guardian(
    connection: Connection, office: Office, card: int, guardian: Card, applied: Applied, now: datetime
) -> None:
    relation = applied.application.relation
    assert relation is not None, "a guardian is told with the relation"
    members = await store.list_family(connection, card=guardian.id, ended=False)
    most = office.settings.family_most
    if card not in {row["member"] for row in members} and len(members) >= most:
        raise FamilyFullError(say("family_full", most=most))
    if card == guardian.id:
        raise GuardianNeededError(say["guardian_needed"], place="guardian")
    await store.add_family(
        connection, card=guardian.id, member=card, relation=relation, guardian=True, now=now
    )


async def _trace(
    connection: Connection, card: Card, caller: Caller, now: datetime, detail: dict[str, object]
) -> None:
    await record(
        connection,
        entries=[
            entry(
                caller,
                action="card.register",
                now=now,
                card=card.id,
                person=card.person,
                outcome=Outcome.DONE,
                detail=detail,
            )
        ],
    )


def _completed(holder: Holder, applied: Applied) -> Holder:
    """Return the holder with what the claim tells besides; document and name stay as they were."""
    application = applied.application
    return Holder(
        name=holder.name,
        document_type=holder.document_type,
        document_number=holder.document_number,
        sex=holder.sex or applied.sex,
        birth_date=holder.birth_date or applied.birth_date,
        nation=application.nation or holder.nation,
        phone=applied.phone or holder.phone,
        address=application.address or holder.address,
    )


def _subject(applied: Applied, caller: Caller) -> Subject:
    institution = caller.institution or _NOWHERE
    if applied.resident:
        told = SubjectIdentifier(kind=IdentifierKind.RESIDENT_NUMBER, issuer=None, value=applied.number)
    elif applied.local_number is not None:
        told = SubjectIdentifier(
            kind=IdentifierKind.LOCAL_NUMBER, issuer=institution, value=applied.local_number
        )
    else:
        told = SubjectIdentifier(kind=IdentifierKind.DOCUMENT, issuer=applied.kind, value=applied.number)
    return Subject(
        institution=institution,
        identifiers=(told,),
        name=applied.name,
        birth_date=applied.birth_date,
        sex=applied.sex,
        phone=applied.phone,
    )


def _row(
    office: Office,
    applied: Applied,
    digest: bytes,
    *,
    person: int,
    issue: int,
    guardian: Card | None,
    now: datetime,
    in_advance: bool,
) -> store.NewCard:
    """Return the row of a new card."""
    if issue > ISSUES_MOST:
        raise CardStateError(say["card_state"])
    root = office.ring.roots[0]
    index = index_id(
        office.settings.index_text,
        {
            "document_type": applied.kind,
            "document_number": applied.number,
            "name": applied.name,
            "sex": applied.sex or "",
            "birth_date": applied.birth_date.isoformat() if applied.birth_date else "",
        },
    )
    number = card_id(root.value, index, type_code=applied.kind, number=applied.number, issue=issue)
    (card_digest,) = office.card_digests([number])
    (index_digest,) = office.index_digests([index])
    temporary = applied.application.temporary
    holder = Holder(
        name=applied.name,
        document_type=applied.kind if applied.documented else None,
        document_number=applied.number if applied.documented else None,
        sex=applied.sex,
        birth_date=applied.birth_date,
        nation=applied.application.nation,
        phone=applied.phone,
        address=applied.application.address,
    )
    return store.NewCard(
        person=person,
        claimed_at=None if in_advance else now,
        valid_until=now + timedelta(days=office.settings.temporary_days) if temporary else None,
        guardian=guardian.id if guardian else None,
        root_version=root.version,
        issue=issue,
        status=Status.NOT_ISSUED if in_advance else Status.NORMAL,
        attribute=Attribute.TEMPORARY if temporary else Attribute.FORMAL,
        medium=applied.application.medium,
        way=applied.application.way,
        strong=applied.resident,
        document=digest,
        card=card_digest,
        index_id=index_digest,
        sealed=office.seal_holder(holder, card_id=number, index_id=index, digest=card_digest),
    )


# Sets

_PROBLEMS: Mapping[Fault, RowProblem] = {
    Fault.NAME: RowProblem.NAME_MISSING,
    Fault.DOCUMENT: RowProblem.DOCUMENT_UNREADABLE,
    Fault.DOCUMENT_MISSING: RowProblem.DOCUMENT_UNREADABLE,
    Fault.FIELD: RowProblem.FIELD_WRONG,
}


@dataclass(kw_only=True, eq=False)
class _Chunk:
    """Rows on their way: read, each with the digest of its document; `cards` and `problems` fill up."""

    rows: dict[int, Applied]
    digests: dict[int, bytes]
    cards: list[int | None]
    problems: dict[int, RowProblem]

    @classmethod
    def of(cls, office: Office, applications: Sequence[Application], caller: Caller) -> _Chunk:
        rows: dict[int, Applied] = {}
        problems: dict[int, RowProblem] = {}
        for place, application in enumerate(applications):
            found = read_application(application, institution=caller.institution)
            if isinstance(found, Wrong):
                problems[place] = _PROBLEMS[found.fault]
            else:
                rows[place] = found
        digests = office.document_digests((row.kind, row.number) for row in rows.values())
        return cls(
            rows=rows,
            digests=dict(zip(rows, digests, strict=True)),
            cards=[None] * len(applications),
            problems=problems,
        )


async def _register_chunk(
    connection: Connection,
    office: Office,
    chunk: _Chunk,
    linker: identity.Linker,
    caller: Caller,
    now: datetime,
) -> int:
    """Fill the chunk's cards and problems; return how many cards are new."""
    created = 0
    for _ in range(_ROUNDS):
        open_rows = _first_rows(chunk)
        if not open_rows:
            return created
        held = await _held(connection, list({chunk.digests[row] for row in open_rows}))
        _take_known(office, chunk, held)
        new = [row for row in open_rows if _is_open(chunk, row)]
        if not new:
            continue  # rows of the same documents follow
        created += await _add_rows(connection, office, chunk, new, held, linker, caller, now)
    if _first_rows(chunk):
        raise CardBusyError(say["card_busy"])
    return created


def _is_open(chunk: _Chunk, row: int) -> bool:
    return chunk.cards[row] is None and row not in chunk.problems


def _first_rows(chunk: _Chunk) -> list[int]:
    """Return of each document without an answer the first row."""
    first: dict[bytes, int] = {}
    for row, digest in chunk.digests.items():
        if _is_open(chunk, row):
            first.setdefault(digest, row)
    return list(first.values())


def _take_known(office: Office, chunk: _Chunk, held: Mapping[bytes, Record]) -> None:
    """Answer every row whose document has a card."""
    names: dict[bytes, str] = {}
    for row, applied in chunk.rows.items():
        known = held.get(chunk.digests[row])
        if known is None or known["id"] is None or not _is_open(chunk, row):
            continue
        if chunk.digests[row] not in names:
            names[chunk.digests[row]] = office.open_holder(known["sealed"], digest=known["card"])[0].name
        _answer(chunk, row, known["id"], names[chunk.digests[row]], applied.name)


def _answer(chunk: _Chunk, row: int, card: int, held_name: str, name: str) -> None:
    if same_name(held_name, name):
        chunk.cards[row] = card
    else:
        chunk.problems[row] = RowProblem.HOLDER_DIFFERS


async def _add_rows(
    connection: Connection,
    office: Office,
    chunk: _Chunk,
    new: Sequence[int],
    held: Mapping[bytes, Record],
    linker: identity.Linker,
    caller: Caller,
    now: datetime,
) -> int:
    linked = await linker.link(connection, _claims([chunk.rows[row] for row in new], caller), now=now)
    rows: list[store.NewCard] = []
    for row, person in zip(new, linked.persons.tolist(), strict=True):
        if person < 0:
            chunk.problems[row] = RowProblem.PERSON_UNKNOWN
            continue
        applied, digest = chunk.rows[row], chunk.digests[row]
        minor = _is_minor(office, applied, now)
        rows.append(
            _row(
                office,
                applied,
                digest,
                person=person,
                issue=held[digest]["issues"] if digest in held else 0,
                guardian=None,
                now=now,
                in_advance=applied.application.way is Way.BATCH or minor,
            )
        )
    if not rows:
        return 0
    try:
        added = await store.add_cards(
            connection, cards=rows, institution=caller.institution, now=now, today=office.today(now)
        )
    except store.CollisionError:
        # The linker may not go back to a savepoint, so the whole list is sent again.
        raise CardBusyError(say["card_busy"]) from None
    first_names = {chunk.digests[row]: chunk.rows[row].name for row in new}
    for row, digest in chunk.digests.items():
        if digest in added and _is_open(chunk, row):
            _answer(chunk, row, added[digest], first_names[digest], chunk.rows[row].name)
    return len(added)


def _claims(rows: Sequence[Applied], caller: Caller) -> pa.Table:
    institution = caller.institution or _NOWHERE

    def strings(values: list[str | None]) -> pa.Array:
        return pa.array(values, pa.string())

    documents = [not row.resident and row.documented for row in rows]
    return pa.table(
        {
            "resident_number": strings([row.number if row.resident else None for row in rows]),
            "document_type": strings(
                [row.kind if told else None for row, told in zip(rows, documents, strict=True)]
            ),
            "document_number": strings(
                [row.number if told else None for row, told in zip(rows, documents, strict=True)]
            ),
            "institution": strings([institution] * len(rows)),
            "local_number": strings([row.local_number for row in rows]),
            "name": strings([row.name for row in rows]),
            "sex": strings([row.sex for row in rows]),
            "phone": strings([row.phone for row in rows]),
            "birth_date": pa.array([row.birth_date for row in rows], pa.date32()),
        }
    )
