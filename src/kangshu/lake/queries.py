"""Reads of the lake: the manifest, and a person's rows."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from kangshu.declarations import Pack
from kangshu.kernel.periods import Period
from kangshu.lake import store
from kangshu.lake.engine import Engine
from kangshu.lake.errors import SegmentLostError, say
from kangshu.lake.filters import may_hold
from kangshu.lake.model import FileState, LakeFile, PersonRow, PersonRows, RowKey, Segment
from kangshu.lake.reading import FoundRow, RowFilter, by_segment, find_rows, read_values
from kangshu.storage.database import Connection, Database

_MOST_FILES = 1000
_MOST_ROWS = 5000
# A reader may meet a compaction whose old files are gone already; twice in a row is no coincidence.
_TRIES = 3


async def live_segments(
    connection: Connection,
    *,
    dataset: str | None = None,
    person: int | None = None,
    files: Sequence[int] | None = None,
) -> list[Segment]:
    """Return the segments to read for `dataset` (or all).

    Of those only that may hold rows about `person`, or rows of `files`: the rows of others lie there too.
    """
    return await store.list_segments(
        connection,
        datasets=None if dataset is None else [dataset],
        persons=None if person is None else [person],
        files=files,
    )


async def count_rows(connection: Connection) -> dict[str, int]:
    """Return the number of live rows of each data set that ever received a file."""
    return await store.count_rows(connection)


async def list_files(
    connection: Connection,
    *,
    dataset: str | None = None,
    institution: str | None = None,
    period: Period | None = None,
    state: FileState | None = None,
    files: Sequence[int] | None = None,
    limit: int = 100,
) -> list[LakeFile]:
    """Return files on record that fit, latest first, at most `limit` (1000); superseded ones too.

    `period` means files of exactly that period, `files` those with these numbers.
    """
    return await store.list_files(
        connection,
        dataset=dataset,
        institution=institution,
        period=period,
        state=state,
        files=files,
        limit=min(limit, _MOST_FILES),
    )


async def count_message_rows(connection: Connection, *, dataset: str) -> dict[int, int]:
    """Return the live rows of each file of the data set that was made of messages, those without left out."""
    return await store.count_message_rows(connection, dataset=dataset)


async def person_rows(
    database: Database,
    engine: Engine,
    *,
    pack: Pack,
    persons: Sequence[int],
    datasets: Sequence[str] | None = None,
    institutions: Sequence[str] | None = None,
    period: Period | None = None,
    exclude_messages: bool = False,
    limit: int = 100,
    before: RowKey | None = None,
) -> PersonRows:
    """Return a page of the rows about `persons` from all institutions, newest first, undated ones last.

    `persons` are the numbers that mean one human being. `period` takes rows whose event lies in it. A page
    has at most `limit` rows (5000); `before` is the `next` of the page before. Values are Python values
    by field, in the order that the present edition declares; a field that the row's edition lacked is
    absent. `exclude_messages` leaves out rows that messages gave: whoever shows the messages' own resources
    would show them twice.

    Whoever calls holds a grant: the lake does not ask who reads.

    Raises:
        SegmentLostError: a file that the manifest names is missing or damaged.
    """
    persons = [int(person) for person in persons]
    wanted = RowFilter(
        institutions=None if institutions is None else frozenset(institutions),
        period=period,
        exclude_messages=exclude_messages,
    )
    for attempt in range(1, _TRIES + 1):
        segments = await _segments_of(database, engine, persons=persons, datasets=datasets)
        near = [segment for segment in segments if wanted.may_match(segment)]
        try:
            return await asyncio.to_thread(
                _read_page, engine, pack, near, persons, wanted, min(limit, _MOST_ROWS), before
            )
        except FileNotFoundError as error:
            if attempt == _TRIES:
                raise SegmentLostError(say["lost"]) from error
    raise AssertionError("the last try returns or raises")


async def institutions_of(database: Database, engine: Engine, *, persons: Sequence[int]) -> frozenset[str]:
    """Return the codes of the institutions that have sent live rows about `persons`.

    Raises:
        SegmentLostError: a file that the manifest names is missing or damaged.
    """
    for attempt in range(1, _TRIES + 1):
        segments = await _segments_of(database, engine, persons=persons, datasets=None)
        try:
            found = await asyncio.to_thread(_find, engine, segments, persons, RowFilter())
            return frozenset(row.institution for row in found)
        except FileNotFoundError as error:
            if attempt == _TRIES:
                raise SegmentLostError(say["lost"]) from error
    raise AssertionError("the last try returns or raises")


async def _segments_of(
    database: Database, engine: Engine, *, persons: Sequence[int], datasets: Sequence[str] | None
) -> list[Segment]:
    """Return the segments that may hold rows about `persons`, as far as the manifest and filters tell."""
    async with database.connection() as connection:
        segments = await store.list_segments(connection, datasets=datasets, persons=persons)
        missing = engine.filters.missing([segment.id for segment in segments if segment.has_filter])
        if missing:
            filters = await store.list_filters(connection, segments=missing)
            for segment, filter_ in filters.items():
                engine.filters.put(segment, filter_)
    return [segment for segment in segments if _may_hold(engine, segment, persons)]


def _may_hold(engine: Engine, segment: Segment, persons: Sequence[int]) -> bool:
    filter_ = engine.filters.find(segment.id) if segment.has_filter else None
    return filter_ is None or may_hold(filter_, persons)


def _find(
    engine: Engine, segments: Sequence[Segment], persons: Sequence[int], wanted: RowFilter
) -> list[FoundRow]:
    def find(segment: Segment) -> list[FoundRow]:
        with engine.readers.borrow(engine.lake, segment) as reader:
            return find_rows(reader, segment, persons=persons, wanted=wanted)

    return [row for rows in engine.each(find, segments) for row in rows]


def _read_page(
    engine: Engine,
    pack: Pack,
    segments: Sequence[Segment],
    persons: Sequence[int],
    wanted: RowFilter,
    limit: int,
    before: RowKey | None,
) -> PersonRows:
    found = _find(engine, segments, persons, wanted)
    after = [row for row in found if before is None or row.key.order > before.order]
    page = heapq.nsmallest(limit, after, key=attrgetter("key.order"))
    return PersonRows(
        rows=tuple(_read_rows(engine, pack, page)),
        total=len(found),
        datasets=dict(sorted(Counter(row.segment.dataset for row in found).items())),
        institutions=dict(sorted(Counter(row.institution for row in found).items())),
        years=dict(Counter(row.key.at.year for row in found if row.key.at is not None)),
        next=page[-1].key if page and len(after) > len(page) else None,
    )


def _read_rows(engine: Engine, pack: Pack, page: Sequence[FoundRow]) -> list[PersonRow]:
    def read(rows: list[FoundRow]) -> list[PersonRow]:
        segment = rows[0].segment
        declared = pack.datasets.get(segment.dataset)
        order = [field.name for field in declared.fields] if declared else []
        with engine.readers.borrow(engine.lake, segment) as reader:
            return [_person_row(row, values) for row, values in read_values(reader, rows, order=order)]

    lists = engine.each(read, by_segment(page))
    return sorted((row for rows in lists for row in rows), key=attrgetter("key.order"))


def _person_row(row: FoundRow, values: dict[str, Any]) -> PersonRow:
    return PersonRow(
        person=row.person,
        dataset=row.key.dataset,
        institution=row.institution,
        at=row.key.at,
        file=row.key.file,
        row=row.key.row,
        values=values,
    )
