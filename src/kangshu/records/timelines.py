"""A person's timeline: what is stored and what came in bulk, in one order, newest first.

Two sources are read with one place in common. Rows of the lake become entries through the mapping of their
data set; nothing is stored twice, and rows that messages gave are left out, as the messages' own resources
are there. A row that is a visit may tell diagnoses and operations as well (a discharge front page): these are
entries of their own. Such rows are few for one person and read as a whole; all others page by page.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from heapq import nsmallest
from operator import attrgetter
from typing import Any, Literal, NamedTuple, Protocol

from kangshu.consent import AccessGrant
from kangshu.declarations import Dataset, Pack
from kangshu.kernel.periods import Period
from kangshu.lake import Engine, PersonRow, RowKey, person_rows
from kangshu.records.content import parse, unpack
from kangshu.records.errors import SearchRefusedError, say
from kangshu.records.facts import facts_of, measures_with, state_of
from kangshu.records.marks import mark_of
from kangshu.records.model import (
    Facts,
    Kind,
    Measure,
    State,
    TimelineEntry,
    TimelinePage,
    Trend,
    TrendPoint,
    day_bounds,
    require,
)
from kangshu.records.moments import LOCAL
from kangshu.records.store import Shown, count_shown, list_marked, list_shown
from kangshu.records.summary import NUMBERS, kind_of, span_told
from kangshu.storage.database import Database, Record

PAGE_MOST = 500
POINTS_MOST = 1000
_ROWS_AT_ONCE = 5000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local time without zone, as in the lake
_MICROSECOND = timedelta(microseconds=1)
_KINDS = {number: kind for kind, number in NUMBERS.items()}
_MEASURED = ("Observation",)
_TOKEN = re.compile(
    r"(-?\d{1,18}|)~([a-c])~([A-Za-z][A-Za-z0-9_]{0,63})~([A-Za-z0-9.-]{1,64})~(\d{1,19})~(\d{1,6})"
)
# After every type, and after every data set: these are plain letters.
_AFTER_ALL = "~"


class RowMapper(Protocol):
    """What makes resources of rows; `mapping.rows` has it."""

    def to_resources(
        self,
        *,
        dataset: str,
        values: Mapping[str, Any],
        institution: str,
        key: str,
        patient: str,
        linked: bool = True,
    ) -> Sequence[Mapping[str, Any]]:
        """Return the resources that a row is, the one that it is about first."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """A place in the order: newest first, undated last; then stored resources, rows that are several
    entries, other rows; then by type or data set, and by id or file, row and number in the row."""

    at: datetime | None
    source: str  # "a", "b", "c"
    name: str
    id: str
    row: int = 0
    number: int = 0

    @property
    def order(self) -> tuple[Any, ...]:
        """What ascending order puts newest first."""
        undated = self.at is None
        moment = 0 if self.at is None else -_microseconds(self.at)
        if self.source == "a":
            return undated, moment, self.source, self.name, self.id
        return undated, moment, self.source, self.name, -int(self.id), self.row, self.number

    @property
    def token(self) -> str:
        moment = "" if self.at is None else str(_microseconds(self.at))
        return f"{moment}~{self.source}~{self.name}~{self.id}~{self.row}~{self.number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Placed:
    place: _Place
    entry: TimelineEntry


async def timeline(
    database: Database,
    engine: Engine,
    *,
    grant: AccessGrant | None,
    pack: Pack,
    rows: RowMapper,
    persons: Sequence[int],
    now: datetime,
    kinds: Sequence[Kind] | None = None,
    institutions: Sequence[str] | None = None,
    since: date | None = None,
    until: date | None = None,
    limit: int = 100,
    before: str | None = None,
) -> TimelinePage:
    """Return a page of what happened to a person, newest first, undated entries last.

    `persons` are all numbers of the person, `grant` is for one of them. `since` and `until` (exclusive) are
    days here; what has no date is in no span of days. A page has at most `limit` entries (500); `before` is
    the `next` of the page before.

    Raises:
        GrantMissingError: there is no grant.
        AccessRefusedError: the grant is for somebody else, or over.
        SearchRefusedError: `before` is no place in a timeline.
        SegmentLostError: a file of the lake is missing or damaged.
    """
    if not persons or _is_empty(since, until):
        return TimelinePage(entries=(), total=0, kinds={}, institutions={}, years={}, next=None)
    require(grant, person=persons[0], same_person=frozenset(persons), now=now)
    reader = _Reader(
        database=database,
        engine=engine,
        pack=pack,
        rows=rows,
        persons=persons,
        kinds=None if kinds is None else frozenset(kinds),
        institutions=institutions,
        since=since,
        until=until,
        limit=min(max(limit, 1), PAGE_MOST),
        after=None if before is None else _parse_place(before),
    )
    return await reader.read()


async def trend(
    database: Database,
    engine: Engine,
    *,
    grant: AccessGrant | None,
    pack: Pack,
    rows: RowMapper,
    persons: Sequence[int],
    code: str,
    now: datetime,
    since: date | None = None,
    until: date | None = None,
    limit: int = 200,
) -> Trend:
    """Return the numeric values of one laboratory item or vital sign over time, the oldest first.

    `code` is the item's code as entries of the timeline tell it, whatever its system. Values that were
    withdrawn or cancelled are left out, and so are those that are no number (`<0.1`). At most `limit`
    (1000), the newest.

    Raises:
        GrantMissingError: there is no grant.
        AccessRefusedError: the grant is for somebody else, or over.
        SegmentLostError: a file of the lake is missing or damaged.
    """
    if not persons or _is_empty(since, until):
        return Trend(code=code, title=None, points=(), complete=True)
    require(grant, person=persons[0], same_person=frozenset(persons), now=now)
    limit = min(max(limit, 1), POINTS_MOST)
    first, last = day_bounds(since, until)
    async with database.connection() as connection:
        # Twice as many: some only seem to have the code, and some are withdrawn.
        found = await list_marked(
            connection,
            persons=persons,
            types=_MEASURED,
            mask=mark_of("code", code),
            since=first,
            until=last,
            limit=limit * 2,
        )
    told = [_Told(parse(unpack(row["content"])), *_origin_of_stored(row)) for row in found]
    told += await _rows_with_code(database, engine, pack, rows, persons, code, since, until)
    points = sorted(_points(told, code), key=lambda pair: (pair[1].at, pair[1].source, pair[1].reference))
    kept = points[-limit:]
    return Trend(
        code=code,
        title=next((title for title, _ in reversed(kept) if title), None),
        points=tuple(point for _, point in kept),
        complete=len(points) == len(kept) and len(found) < limit * 2,
    )


class _Told(NamedTuple):
    """A measurement, and where it comes from."""

    resource: Mapping[str, Any]
    at: datetime
    institution: str
    source: Literal["record", "row"]
    reference: str


def _points(told: Iterable[_Told], code: str) -> Iterator[tuple[str | None, TrendPoint]]:
    for one in told:
        state = state_of(one.resource)
        if state in (State.CANCELLED, State.WITHDRAWN):
            continue
        for measure in measures_with(one.resource, code):
            if measure.number is not None:
                yield measure.title, _point(one, measure, state)


def _point(one: _Told, measure: Measure, state: State) -> TrendPoint:
    assert measure.number is not None, "only numbers are points"
    return TrendPoint(
        at=one.at,
        number=measure.number,
        unit=measure.unit,
        low=measure.low,
        high=measure.high,
        flag=measure.flag,
        state=state,
        institution=one.institution,
        source=one.source,
        reference=one.reference,
    )


def _origin_of_stored(row: Record) -> tuple[datetime, str, Literal["record"], str]:
    return _local(row["at"]), row["institution"], "record", f"{row['type']}/{row['id']}"


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """What fits the filter on all pages, as it is counted."""

    kinds: Counter[Kind] = field(default_factory=Counter[Kind])
    institutions: Counter[str] = field(default_factory=Counter[str])
    years: Counter[int] = field(default_factory=Counter[int])

    def add(self, kind: Kind, institution: str, year: int | None, entries: int) -> None:
        self.kinds[kind] += entries
        self.institutions[institution] += entries
        if year is not None:
            self.years[year] += entries


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """One page being read."""

    database: Database
    engine: Engine
    pack: Pack
    rows: RowMapper
    persons: Sequence[int]
    kinds: frozenset[Kind] | None
    institutions: Sequence[str] | None
    since: date | None
    until: date | None
    limit: int
    after: _Place | None

    async def read(self) -> TimelinePage:
        counts = _Counts()
        placed = await self._stored(counts)
        placed += await self._single_rows(counts)
        placed += await self._rows_of_several(counts)
        page = nsmallest(self.limit + 1, placed, key=attrgetter("place.order"))
        shown = page[: self.limit]
        return TimelinePage(
            entries=tuple(one.entry for one in shown),
            total=counts.kinds.total(),
            kinds={kind: counts.kinds[kind] for kind in Kind if counts.kinds[kind]},
            institutions=dict(sorted(counts.institutions.items())),
            years=dict(sorted(counts.years.items(), reverse=True)),
            next=shown[-1].place.token if len(page) > self.limit else None,
        )

    async def _stored(self, counts: _Counts) -> list[_Placed]:
        since, until = day_bounds(self.since, self.until)
        shown = Shown(
            persons=self.persons,
            kinds=None if self.kinds is None else [NUMBERS[kind] for kind in self.kinds],
            institutions=self.institutions,
            since=since,
            until=until,
        )
        async with self.database.connection() as connection:
            counted = await count_shown(connection, shown=shown)
            found = await list_shown(
                connection, shown=shown, after=self._after_stored(), limit=self.limit + 1
            )
        for row in counted:
            counts.add(_KINDS[row["kind"]], row["institution"], row["year"], row["entries"])
        placed: list[_Placed] = []
        for row in found:
            at = None if row["at"] is None else _local(row["at"])
            entry = stored_entry(row, parse(unpack(row["content"])), at=at)
            if entry is not None:
                placed.append(
                    _Placed(place=_Place(at=at, source="a", name=row["type"], id=row["id"]), entry=entry)
                )
        return placed

    def _after_stored(self) -> tuple[datetime | None, str, str] | None:
        after = self.after
        if after is None:
            return None
        at = None if after.at is None else after.at.replace(tzinfo=LOCAL)
        return (at, after.name, after.id) if after.source == "a" else (at, _AFTER_ALL, "")

    async def _single_rows(self, counts: _Counts) -> list[_Placed]:
        names = {
            name: kind
            for name, dataset in self.pack.datasets.items()
            if not _is_several(dataset) and (kind := _kind_of_rows(dataset)) and self._wants(kind)
        }
        if not names:
            return []
        page = await person_rows(
            self.database,
            self.engine,
            pack=self.pack,
            persons=self.persons,
            datasets=sorted(names),
            institutions=self.institutions,
            period=_period(self.since, self.until),
            exclude_messages=True,
            limit=self.limit + 1,
            before=self._after_rows(),
        )
        for name, count in page.datasets.items():
            counts.kinds[names[name]] += count
        counts.institutions.update(page.institutions)
        counts.years.update(page.years)
        return [self._single(row, names[row.dataset]) for row in page.rows]

    def _single(self, row: PersonRow, kind: Kind) -> _Placed:
        made = _resources_of(self.rows, row, linked=False)
        facts = facts_of(made[0]["resourceType"], made[0]) if made else None
        place = _Place(at=row.at, source="c", name=row.dataset, id=str(row.file), row=row.row)
        # Counted by its data set's kind, so it is shown as that, whatever the row itself may seem.
        facts = Facts(kind=kind, title=None) if facts is None else replace(facts, kind=kind)
        return _Placed(place=place, entry=_row_entry(row, facts, at=row.at, number=0))

    def _after_rows(self) -> RowKey | None:
        after = self.after
        if after is None:
            return None
        if after.source == "c":
            return RowKey(at=after.at, dataset=after.name, file=int(after.id), row=after.row)
        return RowKey(at=after.at, dataset="", file=0, row=0)

    async def _rows_of_several(self, counts: _Counts) -> list[_Placed]:
        names = sorted(name for name, dataset in self.pack.datasets.items() if _is_several(dataset))
        placed: list[_Placed] = []
        before: RowKey | None = None
        while names:
            page = await person_rows(
                self.database,
                self.engine,
                pack=self.pack,
                persons=self.persons,
                datasets=names,
                institutions=self.institutions,
                exclude_messages=True,
                limit=_ROWS_AT_ONCE,
                before=before,
            )
            for row in page.rows:
                placed += self._several(row)
            before = page.next
            if before is None:
                break
        period = _period(self.since, self.until)
        fitting = [
            one
            for one in placed
            if self._wants(one.entry.kind)
            and (period is None or (one.place.at is not None and one.place.at.date() in period))
        ]
        for one in fitting:
            at = one.place.at
            counts.add(one.entry.kind, one.entry.institution, None if at is None else at.year, 1)
        if self.after is None:
            return fitting
        return [one for one in fitting if one.place.order > self.after.order]

    def _several(self, row: PersonRow) -> Iterator[_Placed]:
        made = _resources_of(self.rows, row, linked=True)
        for number, resource in enumerate(made):
            type_ = resource["resourceType"]
            facts = facts_of(type_, resource)
            if facts is None or (number and type_ == made[0]["resourceType"]):
                continue
            span = span_told(type_, resource)
            at = _local(span.start) if span else row.at
            place = _Place(at=at, source="b", name=row.dataset, id=str(row.file), row=row.row, number=number)
            entry = _row_entry(row, facts, at=at, number=number)
            yield _Placed(place=place, entry=entry)

    def _wants(self, kind: Kind) -> bool:
        return self.kinds is None or kind in self.kinds


async def _rows_with_code(
    database: Database,
    engine: Engine,
    pack: Pack,
    rows: RowMapper,
    persons: Sequence[int],
    code: str,
    since: date | None,
    until: date | None,
) -> list[_Told]:
    """Return the measurements that rows are which hold the code anywhere; only those are mapped."""
    names = sorted(name for name, one in pack.datasets.items() if one.fhir and one.fhir[0].type in _MEASURED)
    told: list[_Told] = []
    before: RowKey | None = None
    while names:
        page = await person_rows(
            database,
            engine,
            pack=pack,
            persons=persons,
            datasets=names,
            period=_period(since, until),
            exclude_messages=True,
            limit=_ROWS_AT_ONCE,
            before=before,
        )
        for row in page.rows:
            if row.at is None or code not in row.values.values():
                continue
            for made in _resources_of(rows, row, linked=False)[:1]:
                told.append(_Told(made, row.at, row.institution, "row", _reference_of(row)))
        before = page.next
        if before is None:
            break
    return told


def _resources_of(rows: RowMapper, row: PersonRow, *, linked: bool) -> Sequence[Mapping[str, Any]]:
    return rows.to_resources(
        dataset=row.dataset,
        values=row.values,
        institution=row.institution,
        key=f"{row.file}-{row.row}",
        patient=str(row.person),
        linked=linked,
    )


def _reference_of(row: PersonRow, number: int = 0) -> str:
    return f"{row.dataset}/{row.file}/{row.row}" + (f"/{number}" if number else "")


def _period(since: date | None, until: date | None) -> Period | None:
    if since is None and until is None:
        return None
    return Period(start=since or date.min, end=until or date.max)


def _is_empty(since: date | None, until: date | None) -> bool:
    return since is not None and until is not None and since >= until


def _local(moment: datetime) -> datetime:
    return moment.astimezone(LOCAL).replace(tzinfo=None)


def _is_several(dataset: Dataset) -> bool:
    """Tell whether a row of the data set is a visit that tells of other things as well."""
    types = [resource.type for resource in dataset.fhir]
    return (
        bool(types)
        and types[0] == "Encounter"
        and any(kind_of(one, {}) for one in types if one != "Encounter")
    )


def _kind_of_rows(dataset: Dataset) -> Kind | None:
    """Return what rows of the data set are; other, where it has no mapping."""
    if not dataset.fhir:
        return Kind.OTHER
    anchor = dataset.fhir[0]
    said = [{"code": constant.value} for constant in anchor.constants if isinstance(constant.value, str)]
    return kind_of(anchor.type, {"category": [{"coding": said}]})


def stored_entry(
    row: Record | Mapping[str, Any], resource: Mapping[str, Any], *, at: datetime | None
) -> TimelineEntry | None:
    """Return the entry that a stored resource is; None where a timeline shows nothing of its kind.

    `row` tells what the resource is known by (type, id, version, person, institution, message).
    """
    type_ = row["type"]
    facts = facts_of(type_, resource)
    if facts is None:
        return None
    span = span_told(type_, resource)
    return _entry(
        facts,
        at=at,
        whole_day=span.whole_day if span else False,
        institution=row["institution"],
        person=row["person"],
        source="record",
        reference=f"{type_}/{row['id']}",
        version=row["version"],
        message=row["message"],
    )


def _row_entry(row: PersonRow, facts: Facts, *, at: datetime | None, number: int) -> TimelineEntry:
    midnight = at is not None and (at.hour, at.minute, at.second) == (0, 0, 0)
    return _entry(
        facts,
        at=at,
        whole_day=midnight,
        institution=row.institution,
        person=row.person,
        source="row",
        reference=_reference_of(row, number),
        dataset=row.dataset,
        row=row,
    )


def _entry(facts: Facts, **more: Any) -> TimelineEntry:
    measure = facts.measure
    return TimelineEntry(
        kind=facts.kind,
        title=facts.title,
        code=facts.code,
        system=facts.system,
        value=measure.value,
        number=measure.number,
        unit=measure.unit,
        low=measure.low,
        high=measure.high,
        usual=measure.usual,
        flag=measure.flag,
        parts=facts.parts,
        status=facts.status,
        state=facts.state,
        details=facts.details,
        document=facts.document,
        visit=facts.visit,
        **more,
    )


def _parse_place(token: str) -> _Place:
    found = _TOKEN.fullmatch(token)
    try:
        if not found:
            raise ValueError("not a place")
        at = _EPOCH + int(found[1]) * _MICROSECOND if found[1] else None
        place = _Place(
            at=at, source=found[2], name=found[3], id=found[4], row=int(found[5]), number=int(found[6])
        )
        place.order  # noqa: B018 - a file's number must be one
    except (ValueError, OverflowError):
        raise SearchRefusedError(say["timeline_place"], place="before") from None
    return place


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
