"""A person's rows: from every institution, newest first, in pages, exactly those that are live."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_samples import DAY_ONE, PACK, VISIT, Row, another, declared, make_rows, write_segment

from kangshu.declarations import FieldType
from kangshu.kernel.periods import Period
from kangshu.lake import (
    RowKey,
    SegmentLostError,
    compact,
    delete_retired,
    institutions_of,
    person_rows,
    supersede_file,
    writing,
)
from kangshu.lake import queries as lake_queries
from kangshu.lake.folder import relative
from kangshu.lake.reading import ReaderCache

database_test = pytest.mark.database


@database_test
def test_rows_come_from_every_institution_newest_first_with_undated_ones_last(database_run, lake):
    async def scenario(database):
        await lake.put(database, [Row(person=1, day=3), Row(person=2, day=9)], file=1, institution="H1")
        await lake.put(database, [Row(person=1, day=None), Row(person=1, day=7)], file=2, institution="H2")
        return await person_rows(database, lake.engine, pack=PACK, persons=[1])

    page = database_run(scenario)

    assert [(row.at, row.institution, row.file, row.row) for row in page.rows] == [
        (DAY_ONE + timedelta(days=7), "H2", 2, 3),
        (DAY_ONE + timedelta(days=3), "H1", 1, 2),
        (None, "H2", 2, 2),
    ]
    assert (page.total, page.institutions, page.datasets, page.next) == (
        3,
        {"H1": 1, "H2": 2},
        {"visit": 3},
        None,
    )


@database_test
def test_values_are_python_values_in_the_declared_order(database_run, lake):
    async def scenario(database):
        await lake.put(database, [Row(person=1, number=4)], file=1)
        return await person_rows(database, lake.engine, pack=PACK, persons=[1])

    values = database_run(scenario).rows[0].values

    assert list(values.items()) == [
        ("visit_number", "V1-4"),
        ("cost", Decimal("0.04")),
        ("visited_at", DAY_ONE),
        ("born_on", date(1980, 1, 1)),
        ("doses", 4),
        ("urgent", True),
        ("diagnoses", ["I10", "E11"]),
    ]


@database_test
def test_a_field_of_an_older_edition_stays_readable_after_the_present_ones(database_run, lake):
    reordered = replace(VISIT, fields=(declared("ward", FieldType.STRING), *VISIT.fields[3:0:-1]))
    pack = replace(PACK, datasets={"visit": reordered})

    async def scenario(database):
        await lake.put(database, [Row(person=1)], file=1)
        return await person_rows(database, lake.engine, pack=pack, persons=[1])

    values = database_run(scenario).rows[0].values

    assert list(values) == ["born_on", "visited_at", "cost", "visit_number", "doses", "urgent", "diagnoses"]


@database_test
def test_pages_together_are_the_whole_list_without_gap_or_repeat(database_run, lake):
    async def scenario(database):
        for file in (1, 2, 3):
            rows = [Row(person=1, day=day % 4 if day % 5 else None, number=day) for day in range(11)]
            await lake.put(database, rows, file=file, dataset=another("b") if file == 3 else VISIT)
        whole = await person_rows(database, lake.engine, pack=PACK, persons=[1])
        pages, before = [], None
        while True:
            page = await person_rows(database, lake.engine, pack=PACK, persons=[1], limit=4, before=before)
            pages.append(page)
            if page.next is None:
                return whole, pages
            before = RowKey.parse(page.next.token)

    whole, pages = database_run(scenario)

    assert [row.key for page in pages for row in page.rows] == [row.key for row in whole.rows]
    assert [len(page.rows) for page in pages] == [4] * 8 + [1]
    assert {page.total for page in pages} == {33}


@database_test
def test_rows_are_chosen_by_data_set_institution_and_period(database_run, lake):
    async def scenario(database):
        await lake.put(database, [Row(person=1, day=0), Row(person=1, day=40)], file=1, institution="H1")
        await lake.put(database, [Row(person=1, day=None), Row(person=1, day=1)], file=2, institution="H2")
        await lake.put(database, [Row(person=1, day=2)], file=3, dataset=another("other"))
        found = []
        for conditions in (
            {"datasets": ["other"]},
            {"institutions": ["H2"]},
            {"period": Period.parse("2026-01")},
            {"period": Period.parse("2026-02"), "institutions": ["H2"]},
            {"datasets": []},
        ):
            page = await person_rows(database, lake.engine, pack=PACK, persons=[1], **conditions)
            found.append(sorted((row.file, row.row) for row in page.rows))
        return found

    assert database_run(scenario) == [[(3, 2)], [(2, 2), (2, 3)], [(1, 2), (2, 3), (3, 2)], [], []]


@database_test
def test_the_numbers_of_one_human_being_are_read_together(database_run, lake):
    async def scenario(database):
        await lake.put(database, [Row(person=5), Row(person=900)], file=1)
        await lake.put(database, [Row(person=6), Row(person=5)], file=2)
        page = await person_rows(database, lake.engine, pack=PACK, persons=[900, 6])
        nobody = await person_rows(database, lake.engine, pack=PACK, persons=[])
        return sorted(row.person for row in page.rows), nobody.total

    assert database_run(scenario) == ([6, 900], 0)


@database_test
def test_nobody_is_found_among_rows_without_a_person(database_run, lake):
    async def scenario(database):
        await lake.put(database, [Row(person=None), Row(person=3)], file=1)
        return [
            (await person_rows(database, lake.engine, pack=PACK, persons=[person])).total
            for person in (0, -1, -(2**63), 3)
        ]

    assert database_run(scenario) == [0, 0, 0, 1]


@database_test
def test_superseded_rows_are_gone_before_and_after_compaction(database_run, lake):
    async def read(database):
        page = await person_rows(database, lake.engine, pack=PACK, persons=[1])
        places = await institutions_of(database, lake.engine, persons=[1])
        return sorted((row.file, row.row) for row in page.rows), places

    async def scenario(database):
        await lake.put(database, [Row(person=1)], file=1, institution="H1")
        await lake.put(database, [Row(person=1)], file=2, institution="H2")
        await lake.put(database, [Row(person=1)], file=3, institution="H3")
        async with database.transaction() as connection:
            await supersede_file(connection, file_id=2)
        first = await read(database)
        await compact(database, lake.engine, dataset="visit", everything=True)
        second = await read(database)
        async with database.transaction() as connection:
            await supersede_file(connection, file_id=3)
        return first, second, await read(database)

    first, second, third = database_run(scenario)

    assert first == second == ([(1, 2), (3, 2)], {"H1", "H3"})
    assert third == ([(1, 2)], {"H1"})


@database_test
def test_a_large_unsorted_file_gives_the_same_rows(database_run, lake, monkeypatch):
    monkeypatch.setattr(writing, "_SORTED_BYTES", 0)
    rows = make_rows(60_000, persons=977)

    async def scenario(database):
        await lake.put(database, rows, file=1)
        return await person_rows(database, lake.engine, pack=PACK, persons=[5], limit=1000)

    page = database_run(scenario)

    assert sorted(row.values["doses"] for row in page.rows) == [row.number for row in rows if row.person == 5]


@database_test
def test_a_file_that_is_gone_by_compaction_is_looked_for_again(database_run, lake, monkeypatch):
    stale = []
    real = lake_queries.store.list_segments

    async def scenario(database):
        for file in range(1, 4):
            await lake.put(database, [Row(person=1)], file=file)
        async with database.connection() as connection:
            stale.append(await real(connection, persons=[1]))
        await compact(database, lake.engine, dataset="visit", everything=True)
        await delete_retired(database, lake.engine, grace_seconds=0)

        async def once_stale(connection, **conditions):
            return stale.pop() if stale else await real(connection, **conditions)

        monkeypatch.setattr(lake_queries.store, "list_segments", once_stale)
        return await person_rows(database, lake.engine, pack=PACK, persons=[1])

    assert database_run(scenario).total == 3


@database_test
@pytest.mark.parametrize("fault", ["missing", "cut off", "a bit flipped"])
def test_a_lost_or_damaged_segment_is_an_error_that_names_it(database_run, lake, fault):
    async def scenario(database):
        await lake.put(database, make_rows(200), file=1)
        (path,) = lake.parquet_files()
        content = path.read_bytes()
        if fault == "missing":
            path.unlink()
        elif fault == "cut off":
            path.write_bytes(content[: len(content) // 2])
        else:
            middle = content.index(b"V1-", 100) if b"V1-" in content[100:] else len(content) // 3
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 0x40]) + content[middle + 1 :])
        for person in range(1, 51):
            await person_rows(database, lake.engine, pack=PACK, persons=[person])

    with pytest.raises(SegmentLostError):
        database_run(scenario)


@database_test
def test_files_read_by_a_person_page_can_be_deleted_for_good(database_run, lake):
    def open_deleted() -> int:
        links = [os.readlink(link.path) for link in os.scandir("/proc/self/fd") if os.path.islink(link.path)]
        return sum(link.endswith(".parquet (deleted)") for link in links)

    async def scenario(database):
        for file in range(1, 4):
            await lake.put(database, [Row(person=1)], file=file)
        await person_rows(database, lake.engine, pack=PACK, persons=[1])
        await compact(database, lake.engine, dataset="visit", everything=True)
        await delete_retired(database, lake.engine, grace_seconds=0)
        return open_deleted()

    assert database_run(scenario) == 0


def test_open_files_are_bounded(home):
    cache = ReaderCache(most_files=3)
    made = [write_segment(home, [Row(person=1)], file=file) for file in range(1, 8)]

    for segment in made:
        with cache.borrow(home / "lake", SimpleNamespace(path=relative(segment.path))):
            pass

    assert [path.name for path in cache._idle] == [segment.path.name for segment in made[-3:]]
    cache.close()
    assert not cache._idle


@given(
    at=st.none() | st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)),
    file=st.integers(min_value=0, max_value=2**62),
    row=st.integers(min_value=0, max_value=2**62),
)
def test_a_place_in_the_list_survives_being_a_link(at, file, row):
    key = RowKey(at=at, dataset="lab_result", file=file, row=row)

    assert RowKey.parse(key.token) == key


@pytest.mark.parametrize("token", ["", "x", "1~2~3~4", "1~a~3", "9999999999999999999~a~1~1", "~a~-1~1"])
def test_what_is_no_place_in_a_list_is_refused(token):
    with pytest.raises(ValueError, match="place"):
        RowKey.parse(token)
