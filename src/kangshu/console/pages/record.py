"""A resident's record: a purpose is stated, then the page shows a life; every look is on record.

The stated purpose travels sealed in a cookie. Each look at the record asks `consent` anew, so each is in the
audit and a right that was withdrawn ends at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.responses import Response

from kangshu.audit import RecordedEntry, list_for_person
from kangshu.consent import AccessRefusedError, ConsentError, Purpose, purpose_title, purposes_for
from kangshu.console import formats
from kangshu.console.acts import REVEAL, note
from kangshu.console.charts import YearBar, year_bars
from kangshu.console.openings import (
    Access,
    Known,
    Opening,
    begin_opening,
    end_opening,
    enter_record,
    frame_of,
    keep_opening,
    know,
    opening_of,
    person_of,
    record_path,
    sex_title,
    today,
)
from kangshu.console.pages.audit import action_title, purpose_text
from kangshu.console.pages.persons import found_row
from kangshu.console.paging import address
from kangshu.console.reach import names
from kangshu.console.record_reading import RecordFilters, RecordRead, read_record, reader_of
from kangshu.console.timeline import Reader, ShownEntry, Writer, timeline
from kangshu.console.visits import Visit, page
from kangshu.identity import (
    Identifier,
    IdentifierKind,
    PersonMerge,
    PersonSummary,
    get_person,
    list_merges,
)
from kangshu.records import Kind, kind_title
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_LOOKS = 60
_LOOKS_SHOWN = 12
_SAME_LOOK = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class PurposeChoice:
    """A purpose to choose, with what it means."""

    value: str
    title: str
    text: str
    alarm: bool


@dataclass(frozen=True, kw_only=True)
class TitledNumber:
    """An identifier with what it is."""

    title: str
    value: str


@dataclass(frozen=True, kw_only=True)
class IdentityView:
    """Who the record is about, masked or not."""

    name: str
    sex: str
    age: str
    birth: str
    numbers: tuple[TitledNumber, ...]
    local_numbers: tuple[TitledNumber, ...]
    """The numbers that institutions gave: often many, so the page folds them away."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """That somebody looked, once or several times in a row."""

    actor: str
    what: str
    purpose: str
    alarm: bool
    at: datetime
    institution: str


@dataclass(frozen=True, kw_only=True)
class KindChoice:
    """A kind of entry to look at alone, with how many there are; `kind` is empty for all of them."""

    kind: str
    title: str
    count: int
    href: str
    current: bool


@dataclass(frozen=True, kw_only=True)
class MergedNumber:
    """A number that was merged into the one of the page, and when."""

    person: int
    at: datetime | None


async def show_person(visit: Visit) -> Response:
    """Show the record if this session has stated a purpose that consent accepts; else ask for one."""
    person = person_of(visit)
    opening = opening_of(visit, person)
    if opening is None:
        return await _ask(visit, person)
    try:
        entered = await enter_record(visit)
    except ConsentError as refusal:
        status = 403 if isinstance(refusal, AccessRefusedError) else 422
        response = await _ask(
            visit, person, refusal=visit.own(refusal.text), chosen=opening.purpose, status=status
        )
        end_opening(response, person=person)
        return response
    return await _record_page(visit, entered) if isinstance(entered, Access) else entered


async def take_purpose(visit: Visit) -> Response:
    """Seal the stated purpose into a cookie; whether it suffices is decided as the record is opened."""
    person = person_of(visit)
    stated = visit.form.get("purpose", "")
    if stated not in {purpose.value for purpose in purposes_for(visit.staff)}:
        return await _ask(visit, person, refusal=visit.say("open.choose"), status=422)
    response = visit.go(record_path(person))
    begin_opening(
        visit,
        response,
        person=person,
        purpose=Purpose(stated),
        reason=visit.form.get("reason", "").strip(),
    )
    return response


async def reveal(visit: Visit) -> Response:
    """Show identifiers from now on, and put that on record."""
    return await _set_revealed(visit, revealed=True)


async def hide(visit: Visit) -> Response:
    """Mask identifiers again."""
    return await _set_revealed(visit, revealed=False)


async def close(visit: Visit) -> Response:
    """End this look: the next one asks for a purpose again."""
    response = visit.go("/console/persons", flash="flash.closed")
    end_opening(response, person=person_of(visit))
    return response


async def _set_revealed(visit: Visit, *, revealed: bool) -> Response:
    person = person_of(visit)
    opening = opening_of(visit, person)
    path, back = record_path(person), visit.form.get("back", "")
    response = visit.go(back if back.startswith((f"{path}/", f"{path}?")) else path)
    if opening is None:
        return response
    if revealed:
        async with visit.services.database.transaction() as connection:
            await note(
                connection,
                visit,
                REVEAL,
                person=person,
                purpose=opening.purpose.value,
                resource=f"person/{person}",
                institution=min(visit.staff.institutions, default=None),
            )
    keep_opening(
        visit,
        response,
        Opening(
            person=person,
            purpose=opening.purpose,
            reason=opening.reason,
            until=opening.until,
            revealed=revealed,
        ),
    )
    return response


async def _ask(
    visit: Visit,
    person: int,
    *,
    refusal: str = "",
    chosen: str = "",
    status: int = 200,
) -> Response:
    async with visit.services.database.connection() as connection:
        found = await get_person(connection, keys=visit.services.keys, person=person)
    if found.id != person:  # merged into another, who is asked for instead
        return visit.go(record_path(found.id))
    purposes = [
        PurposeChoice(
            value=purpose.value,
            title=_sentence(visit.own(purpose_title(purpose))),
            text=visit.say(f"open.about.{purpose}"),
            alarm=purpose is Purpose.EMERGENCY,
        )
        for purpose in purposes_for(visit.staff)
    ]
    return visit.page(
        "person_open.html",
        status=status,
        person_id=person,
        found=found_row(visit, found),
        purposes=purposes,
        chosen=chosen,
        refusal=refusal,
        reason_purposes=Purpose.EMERGENCY.value,
        asks_reason=any(purpose.alarm for purpose in purposes),
    )


async def _record_page(visit: Visit, access: Access) -> Response:
    services, filters = visit.services, RecordFilters.of(visit.query)
    known = await know(visit, access)
    async with services.database.connection() as connection:
        looks = await _looked(connection, access)
        merges = await list_merges(connection, person=access.person) if known.summary.absorbed else []
    read = await read_record(visit, access, filters)
    async with services.database.connection() as connection:
        codes = {*read.everything.institutions, *(look.institution for look in looks)}
        codes |= {one.issuer for one in known.identifiers if one.kind is IdentifierKind.LOCAL_NUMBER}
        institution_names = await names(connection, codes)
    reader = reader_of(visit, access, known, institution_names)
    path = access.path
    older = {**filters.words, "before": read.page.next} if read.page.next else None
    return visit.page(
        "person.html",
        frame=frame_of(visit, access, known),
        identity=_identity(visit, known, institution_names, revealed=access.opening.revealed),
        merged=_merged(known.summary, merges),
        allergies=_allergies(read, reader),
        total=read.page.total,
        total_all=read.everything.total,
        institutions_all=len(read.everything.institutions),
        filters=filters,
        filtered=any(filters.words.values()),
        kind_choices=_kind_choices(visit, path, filters, read),
        institution_choices=[
            (code, f"{institution_names.get(code, code)} ({formats.number(count)})")
            for code, count in sorted(read.institutions.items(), key=lambda one: -one[1])
        ],
        years=_years(path, filters, read),
        days=timeline(read.page.entries, reader=reader),
        newer=address(path, filters.words) if visit.query.get("before") else None,
        older=address(path, older) if older else None,
        looks=_looks(visit, looks, institution_names),
        may_see_messages=visit.staff.may(Permission.SEE_MESSAGES),
        may_see_receipts=visit.staff.may(Permission.SEE_RECEIPTS),
    )


def _kind_choices(visit: Visit, path: str, filters: RecordFilters, read: RecordRead) -> list[KindChoice]:
    """Return the kinds that there are; one that was chosen stays though nothing is left of it."""
    chosen = filters.kind
    counts = [("", visit.say("filter.any"), sum(read.kinds.values()))] + [
        (kind.value, visit.own(kind_title(kind)), read.kinds.get(kind, 0))
        for kind in Kind
        if read.kinds.get(kind) or kind.value == chosen
    ]
    return [
        KindChoice(
            kind=kind,
            title=title,
            count=count,
            href=address(path, {**filters.words, "kind": kind}),
            current=kind == chosen,
        )
        for kind, title, count in counts
    ]


def _years(path: str, filters: RecordFilters, read: RecordRead) -> list[YearBar]:
    def href(year: int) -> str:
        wanted = "" if filters.year == str(year) else str(year)  # the chosen one once more: all years again
        return address(path, {**filters.words, "year": wanted})

    return year_bars(read.years, chosen=int(filters.year or 0), href=href)


def _allergies(read: RecordRead, reader: Reader) -> list[ShownEntry]:
    """Return what a reader must not miss, whatever the filter."""
    writer = Writer(reader)
    return [entry for one in read.allergies if not (entry := writer.entry(one)).void]


def _merged(summary: PersonSummary, merges: Sequence[PersonMerge]) -> list[MergedNumber]:
    at = {merge.absorbed: merge.at for merge in merges if merge.undone_at is None}
    return [MergedNumber(person=one, at=at.get(one)) for one in summary.absorbed]


def _identity(
    visit: Visit, known: Known, institution_names: Mapping[str, str], *, revealed: bool
) -> IdentityView:
    person = known.summary
    birth = person.birth_date.isoformat() if person.birth_date else "—"
    titled = [
        (
            one.kind,
            TitledNumber(
                title=_number_title(visit, one, institution_names),
                value=one.value if revealed else formats.mask_number(one.value),
            ),
        )
        for one in known.identifiers
        if one.value
    ]
    numbers = [number for kind, number in titled if kind is not IdentifierKind.LOCAL_NUMBER]
    if person.phone:
        shown = person.phone if revealed else formats.mask_phone(person.phone)
        numbers.append(TitledNumber(title=visit.say("person.phone"), value=shown))
    return IdentityView(
        name=(person.name or "—") if revealed else formats.mask_name(person.name),
        sex=sex_title(visit, person.sex),
        age=formats.age(person.birth_date, today=today(visit), language=visit.language),
        birth=birth if revealed else formats.mask_birth(person.birth_date),
        numbers=tuple(numbers),
        local_numbers=tuple(number for kind, number in titled if kind is IdentifierKind.LOCAL_NUMBER),
    )


def _number_title(visit: Visit, identifier: Identifier, institution_names: Mapping[str, str]) -> str:
    if identifier.kind is IdentifierKind.RESIDENT_NUMBER:
        return visit.say("person.resident_number")
    issuer = identifier.issuer or ""
    if identifier.kind is IdentifierKind.DOCUMENT:
        table = visit.services.pack.codes.get("id_document")
        title = table.titles().get(issuer) if table else None
        return visit.own(title) if title else visit.say("person.numbers")
    return institution_names.get(issuer, issuer)


async def _looked(connection: Connection, access: Access) -> list[RecordedEntry]:
    """Return who looked at this human being, under whichever number, newest first."""
    found: list[RecordedEntry] = []
    for person in access.persons:
        found += await list_for_person(connection, person=person, limit=_LOOKS)
    return sorted(found, key=lambda entry: entry.at, reverse=True)[:_LOOKS]


def _looks(
    visit: Visit, entries: Sequence[RecordedEntry], institution_names: Mapping[str, str]
) -> list[Look]:
    """Return who looked, newest first; the pages of one look stand together as one line."""
    looks: list[Look] = []
    previous: RecordedEntry | None = None
    count = 0
    for entry in entries:
        together = (
            previous is not None
            and (entry.actor, entry.action, entry.purpose, entry.outcome)
            == (previous.actor, previous.action, previous.purpose, previous.outcome)
            and previous.at - entry.at <= _SAME_LOOK
        )
        previous, count = entry, count + 1 if together else 1
        look = _look(visit, entry, institution_names, count=count)
        if together:
            looks[-1] = Look(
                actor=look.actor,
                what=look.what,
                purpose=look.purpose,
                alarm=look.alarm,
                at=looks[-1].at,
                institution=look.institution,
            )
        else:
            looks.append(look)
    return looks[:_LOOKS_SHOWN]


def _look(visit: Visit, entry: RecordedEntry, institution_names: Mapping[str, str], *, count: int) -> Look:
    what = action_title(visit, entry.action)
    if entry.outcome != "done":
        what = f"{what} · {visit.say(f'outcome.{entry.outcome}')}"
    if count > 1:
        what = f"{what} · {visit.say('person.times', count=count)}"
    return Look(
        actor=entry.actor_name or entry.actor,
        what=what,
        purpose=purpose_text(visit, entry.purpose),
        alarm=entry.purpose == Purpose.EMERGENCY,
        at=entry.at,
        institution=institution_names.get(entry.institution or "", entry.institution or ""),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


routes = [
    page("/persons/{id}", show_person, may=Permission.READ_RECORDS),
    page("/persons/{id}/open", take_purpose, may=Permission.READ_RECORDS, method="POST"),
    page("/persons/{id}/reveal", reveal, may=Permission.READ_RECORDS, method="POST"),
    page("/persons/{id}/hide", hide, may=Permission.READ_RECORDS, method="POST"),
    page("/persons/{id}/close", close, may=Permission.READ_RECORDS, method="POST"),
]
