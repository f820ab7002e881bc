"""Find a resident, state a purpose, read the record; everything on record, nothing personal in an address.

A search travels to its result sealed in a cookie, and so does the stated purpose. Each look at the
record asks `consent` anew, so each is in the audit and a right that was withdrawn ends at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from starlette.responses import Response

from kangshu.audit import RecordedEntry, list_for_person
from kangshu.consent import (
    AccessGrant,
    AccessRefusedError,
    ConsentError,
    Purpose,
    grant_read,
    purpose_title,
    purposes_for,
)
from kangshu.console import formats
from kangshu.console.acts import REVEAL, SEARCH, note
from kangshu.console.errors import PageNotFoundError
from kangshu.console.pages.audit import action_title, parse_day, purpose_text
from kangshu.console.pages.receipts import dataset_titles
from kangshu.console.paging import address
from kangshu.console.reach import choices, names
from kangshu.console.timeline import Reader, timeline
from kangshu.console.visits import Visit, page
from kangshu.identity import (
    Identifier,
    IdentifierKind,
    PersonSummary,
    SearchTooWideError,
    find_persons,
    get_person,
    list_identifiers,
)
from kangshu.kernel.periods import Period
from kangshu.lake import PersonRows, RowKey, person_rows
from kangshu.security.principals import Permission

_SEARCH_COOKIE = "kangshu_search"
_SEARCH_MINUTES = 30
_FOUND_MOST = 20
_OPEN_MINUTES = 30
"""As long as a grant is good: then the purpose is stated again."""
_PER_PAGE = 100
_PAGE_MOST = 500
_LOOKS = 60
_LOOKS_SHOWN = 12
_SAME_LOOK = timedelta(minutes=30)
_WORDS = ("number", "name", "birth_date", "institution", "local_number")
_CONDITIONS = ("number", "name", "birth_date", "local_number")
"""Those that the page names; an institution only says whose a local number is."""


@dataclass(frozen=True, kw_only=True)
class FoundRow:
    """One person found, masked."""

    id: int
    name: str
    sex: str
    birth: str
    age: str
    numbers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PurposeChoice:
    """A purpose to choose, with what it means."""

    value: str
    title: str
    text: str
    alarm: bool


@dataclass(frozen=True, kw_only=True)
class Opening:
    """That this session stated why it reads a person's record."""

    person: int
    purpose: Purpose
    reason: str
    until: datetime
    revealed: bool


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
class RecordFilters:
    """What of a record is shown."""

    dataset: str
    institution: str
    first: str
    last: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> RecordFilters:
        """Return the filters in the words of an address."""
        first, last = query.get("first", ""), query.get("last", "")
        return cls(
            dataset=query.get("dataset", ""),
            institution=query.get("institution", ""),
            first=first if parse_day(first) else "",
            last=last if parse_day(last) else "",
        )

    @property
    def words(self) -> dict[str, str]:
        """The filters as words of an address."""
        return {
            "dataset": self.dataset,
            "institution": self.institution,
            "first": self.first,
            "last": self.last,
        }

    @property
    def period(self) -> Period | None:
        """The days asked for; an end before its beginning is no limit."""
        first, last = parse_day(self.first), parse_day(self.last)
        start, end = first or date.min, (last or date.max - timedelta(days=1)) + timedelta(days=1)
        return Period(start=start, end=end) if (first or last) and start < end else None


# --- search ---


async def show_search(visit: Visit) -> Response:
    """Show the form and, if this session searched, what it found."""
    words = visit.pocket(_SEARCH_COOKIE) or {}
    found: list[PersonSummary] = []
    refusal = ""
    async with visit.services.database.connection() as connection:
        offered = await choices(visit, connection)
    if words:
        try:
            found = await _search(visit, words)
        except SearchTooWideError as error:
            refusal, words = visit.own(error.text), {}
    return visit.page(
        "persons.html",
        refusal=refusal,
        searched=[visit.say(f"persons.{name}") for name in _CONDITIONS if words.get(name)],
        found=[_found_row(visit, person) for person in found[:_FOUND_MOST]],
        more=len(found) > _FOUND_MOST,
        most=_FOUND_MOST,
        institution_choices=offered.pairs,
        only_institution=offered.only[0] if offered.only else "",
    )


async def take_search(visit: Visit) -> Response:
    """Seal what is searched for into a cookie and lead to the result."""
    words = {name: visit.form.get(name, "").strip() for name in _WORDS}
    if not words["local_number"]:
        words["institution"] = ""  # an institution alone, offered by the form, is no condition
    response = visit.go("/console/persons")
    if words["number"] or words["name"] or (words["local_number"] and words["institution"]):
        visit.put_pocket(response, _SEARCH_COOKIE, words, minutes=_SEARCH_MINUTES, path="/console/persons")
        return response
    async with visit.services.database.connection() as connection:
        offered = await choices(visit, connection)
    return visit.page(
        "persons.html",
        status=422,
        refusal=visit.say("persons.too_little"),
        searched=[],
        found=[],
        more=False,
        most=_FOUND_MOST,
        institution_choices=offered.pairs,
        only_institution=offered.only[0] if offered.only else "",
    )


async def clear_search(visit: Visit) -> Response:
    """Forget what was searched for."""
    response = visit.go("/console/persons")
    response.delete_cookie(_SEARCH_COOKIE, path="/console/persons")
    return response


async def _search(visit: Visit, words: Mapping[str, Any]) -> list[PersonSummary]:
    """Return whom the words mean, and put on record that somebody searched, not for whom."""
    async with visit.services.database.transaction() as connection:
        found = await find_persons(
            connection,
            keys=visit.services.keys,
            name=words.get("name") or None,
            resident_number=words.get("number") or None,
            document_number=words.get("number") or None,
            local_number=words.get("local_number") or None,
            institution=words.get("institution") or None,
            birth_date=parse_day(words.get("birth_date") or ""),
            limit=_FOUND_MOST + 1,
        )
        conditions = [name for name in _WORDS if words.get(name)]
        await note(
            connection, visit, SEARCH, resource="persons", detail={"by": conditions, "found": len(found)}
        )
    return found


def _found_row(visit: Visit, person: PersonSummary) -> FoundRow:
    return FoundRow(
        id=person.id,
        name=formats.mask_name(person.name),
        sex=_sex(visit, person.sex),
        birth=formats.mask_birth(person.birth_date),
        age=formats.age(person.birth_date, today=_today(visit), language=visit.language),
        numbers=(formats.mask_number(person.resident_number),) if person.resident_number else (),
    )


# --- the record ---


async def show_person(visit: Visit) -> Response:
    """Show the record if this session has stated a purpose that consent accepts; else ask for one."""
    person = _person_id(visit)
    opening = _opening(visit, person)
    if opening is None:
        return await _ask(visit, person)
    try:
        async with visit.services.database.connection() as connection:
            grant = await grant_read(
                connection,
                principal=visit.staff,
                person=person,
                purpose=opening.purpose,
                now=visit.now,
                whereabouts=visit.services.whereabouts,
                reason=opening.reason,
            )
    except ConsentError as refusal:
        status = 403 if isinstance(refusal, AccessRefusedError) else 422
        response = await _ask(
            visit, person, refusal=visit.own(refusal.text), chosen=opening.purpose, status=status
        )
        response.delete_cookie(_cookie(person), path=_path(person))
        return response
    return await _record_page(visit, grant, opening)


async def take_purpose(visit: Visit) -> Response:
    """Seal the stated purpose into a cookie; whether it suffices is decided as the record is opened."""
    person = _person_id(visit)
    stated = visit.form.get("purpose", "")
    if stated not in {purpose.value for purpose in purposes_for(visit.staff)}:
        return await _ask(visit, person, refusal=visit.say("open.choose"), status=422)
    response = visit.go(_path(person))
    opening = Opening(
        person=person,
        purpose=Purpose(stated),
        reason=visit.form.get("reason", "").strip(),
        until=visit.now + timedelta(minutes=_OPEN_MINUTES),
        revealed=False,
    )
    _keep(visit, response, opening)
    return response


async def reveal(visit: Visit) -> Response:
    """Show identifiers from now on, and put that on record."""
    return await _set_revealed(visit, revealed=True)


async def hide(visit: Visit) -> Response:
    """Mask identifiers again."""
    return await _set_revealed(visit, revealed=False)


async def close(visit: Visit) -> Response:
    """End this look: the next one asks for a purpose again."""
    person = _person_id(visit)
    response = visit.go("/console/persons", flash="flash.closed")
    response.delete_cookie(_cookie(person), path=_path(person))
    return response


async def _set_revealed(visit: Visit, *, revealed: bool) -> Response:
    person = _person_id(visit)
    opening = _opening(visit, person)
    response = visit.go(_path(person))
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
    changed = Opening(
        person=person,
        purpose=opening.purpose,
        reason=opening.reason,
        until=opening.until,
        revealed=revealed,
    )
    _keep(visit, response, changed)
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
        found=_found_row(visit, found),
        purposes=purposes,
        chosen=chosen,
        refusal=refusal,
        reason_purposes=Purpose.EMERGENCY.value,
        asks_reason=any(purpose.alarm for purpose in purposes),
    )


async def _record_page(visit: Visit, grant: AccessGrant, opening: Opening) -> Response:
    services, person = visit.services, grant.person
    grant.require(person=person, now=visit.now)
    filters = RecordFilters.of(visit.query)
    async with services.database.connection() as connection:
        summary = await get_person(connection, keys=services.keys, person=person)
        identifiers = await list_identifiers(connection, keys=services.keys, person=person)
        looks = await list_for_person(connection, person=person, limit=_LOOKS)
    rows = await _rows(visit, person, filters)
    everything = (
        rows if filters == RecordFilters.of({}) else await _rows(visit, person, RecordFilters.of({}), limit=1)
    )
    async with services.database.connection() as connection:
        codes = {*everything.institutions, *(look.institution for look in looks)}
        codes |= {one.issuer for one in identifiers if one.kind is IdentifierKind.LOCAL_NUMBER}
        institution_names = await names(connection, codes)
    titles = dataset_titles(visit)
    reader = Reader(
        pack=services.pack,
        language=visit.language,
        institution_names=institution_names,
        revealed=opening.revealed,
        birth_date=summary.birth_date,
        yes=visit.say("person.yes"),
        no=visit.say("person.no"),
    )
    path = _path(person)
    older = {**filters.words, "before": rows.next.token} if rows.next else None
    return visit.page(
        "person.html",
        person_id=person,
        purpose_title=visit.own(purpose_title(grant.purpose)),
        alarm=grant.flagged,
        until=opening.until,
        revealed=opening.revealed,
        identity=_identity(visit, summary, identifiers, institution_names, revealed=opening.revealed),
        total=rows.total,
        total_all=everything.total,
        institutions_all=len(everything.institutions),
        filters=filters,
        filtered=any(filters.words.values()),
        dataset_choices=[
            (name, f"{titles.get(name, name)} ({formats.number(count)})")
            for name, count in everything.datasets.items()
        ],
        institution_choices=[
            (code, f"{institution_names.get(code, code)} ({formats.number(count)})")
            for code, count in everything.institutions.items()
        ],
        days=timeline(rows.rows, reader=reader),
        newer=address(path, filters.words) if visit.query.get("before") else None,
        older=address(path, older) if older else None,
        looks=_looks(visit, looks, institution_names),
    )


async def _rows(visit: Visit, person: int, filters: RecordFilters, *, limit: int | None = None) -> PersonRows:
    size = visit.query.get("size", "")
    asked = int(size) if size.isascii() and size.isdigit() and len(size) < 5 else _PER_PAGE
    return await person_rows(
        visit.services.database,
        visit.services.engine,
        pack=visit.services.pack,
        persons=[person],
        datasets=[filters.dataset] if filters.dataset else None,
        institutions=[filters.institution] if filters.institution else None,
        period=filters.period,
        limit=limit or min(max(asked, 1), _PAGE_MOST),
        before=_row_key(visit.query.get("before")) if limit is None else None,
    )


def _identity(
    visit: Visit,
    person: PersonSummary,
    identifiers: Sequence[Identifier],
    institution_names: Mapping[str, str],
    *,
    revealed: bool,
) -> IdentityView:
    birth = person.birth_date.isoformat() if person.birth_date else "—"
    titled = [
        (
            one.kind,
            TitledNumber(
                title=_number_title(visit, one, institution_names),
                value=one.value if revealed else formats.mask_number(one.value),
            ),
        )
        for one in identifiers
        if one.value
    ]
    numbers = [number for kind, number in titled if kind is not IdentifierKind.LOCAL_NUMBER]
    if person.phone:
        shown = person.phone if revealed else formats.mask_phone(person.phone)
        numbers.append(TitledNumber(title=visit.say("person.phone"), value=shown))
    return IdentityView(
        name=(person.name or "—") if revealed else formats.mask_name(person.name),
        sex=_sex(visit, person.sex),
        age=formats.age(person.birth_date, today=_today(visit), language=visit.language),
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


def _opening(visit: Visit, person: int) -> Opening | None:
    content = visit.pocket(_cookie(person))
    if content is None or content["person"] != person:
        return None
    return Opening(
        person=person,
        purpose=Purpose(content["purpose"]),
        reason=content["reason"],
        until=datetime.fromtimestamp(content["until"], tz=UTC),
        revealed=content["revealed"],
    )


def _keep(visit: Visit, response: Response, opening: Opening) -> None:
    minutes = max(1, round((opening.until - visit.now).total_seconds() / 60))
    content = {
        "person": opening.person,
        "purpose": opening.purpose.value,
        "reason": opening.reason,
        "until": int(opening.until.timestamp()),
        "revealed": opening.revealed,
    }
    visit.put_pocket(response, _cookie(opening.person), content, minutes=minutes, path=_path(opening.person))


def _cookie(person: int) -> str:
    return f"kangshu_open_{person}"


def _path(person: int) -> str:
    return f"/console/persons/{person}"


def _person_id(visit: Visit) -> int:
    text = visit.request.path_params["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise PageNotFoundError
    return int(text)


def _row_key(token: str | None) -> RowKey | None:
    try:
        return RowKey.parse(token) if token else None
    except ValueError:
        return None


def _sex(visit: Visit, code: str | None) -> str:
    table = visit.services.pack.codes.get("sex")
    title = table.titles().get(code or "") if table else None
    return visit.own(title) if title else "—"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _today(visit: Visit) -> date:
    return visit.now.astimezone(visit.services.zone).date()


routes = [
    page("/persons", show_search, may=Permission.FIND_PERSONS),
    page("/persons", take_search, may=Permission.FIND_PERSONS, method="POST"),
    page("/persons/clear", clear_search, may=Permission.FIND_PERSONS, method="POST"),
    page("/persons/{id}", show_person, may=Permission.READ_RECORDS),
    page("/persons/{id}/open", take_purpose, may=Permission.READ_RECORDS, method="POST"),
    page("/persons/{id}/reveal", reveal, may=Permission.READ_RECORDS, method="POST"),
    page("/persons/{id}/hide", hide, may=Permission.READ_RECORDS, method="POST"),
    page("/persons/{id}/close", close, may=Permission.READ_RECORDS, method="POST"),
]
