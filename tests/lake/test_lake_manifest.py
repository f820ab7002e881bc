"""Files come in whole with the caller's transaction, replace each other, and stay on record."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import duckdb
import pytest
from lake_samples import SOME_PERIOD, VISIT, Lake, Row, another, declared, make_rows, write_segment

from kangshu.declarations import FieldType
from kangshu.kernel.errors import Kind
from kangshu.kernel.periods import Period
from kangshu.lake import (
    FileCommittedError,
    FileNotLiveError,
    FileState,
    LakeFullError,
    commit_file,
    count_rows,
    list_files,
    live_segments,
    supersede_file,
)
from kangshu.storage.database import Database

pytestmark = pytest.mark.database


async def visible(database: Database, lake: Lake, *, dataset: Any = VISIT) -> Counter[tuple[int, int]]:
    """File and row number of every row that a statistic counts."""
    async with database.connection() as connection:
        segments = await live_segments(connection, dataset=dataset.name)
    with lake.engine.connection() as duck:
        table = lake.engine.table_sql(dataset=dataset, segments=segments)
        return Counter(duck.execute(f"SELECT _file, _row FROM {table}").fetchall())


async def supersede(database: Database, file: int) -> None:
    async with database.transaction() as connection:
        await supersede_file(connection, file_id=file)


def test_a_committed_file_is_seen_and_an_undone_one_is_not(database_run, lake):
    async def undone(database, segment):
        async with database.transaction() as connection:
            await commit_file(
                connection, file_id=2, dataset="visit", institution="H1", period=None, segments=[segment]
            )
            raise ZeroDivisionError

    async def scenario(database):
        await lake.put(database, make_rows(3), file=1)
        with pytest.raises(ZeroDivisionError):
            await undone(database, write_segment(lake.home, make_rows(5), file=2))
        return await visible(database, lake)

    assert database_run(scenario) == Counter({(1, 2): 1, (1, 3): 1, (1, 4): 1})


def test_the_same_number_twice_is_a_conflict(database_run, lake):
    async def scenario(database):
        await lake.put(database, make_rows(3), file=1)
        with pytest.raises(FileCommittedError) as caught:
            await lake.put(database, make_rows(3), file=1)
        return caught.value.kind, await visible(database, lake)

    kind, rows = database_run(scenario)

    assert kind is Kind.CONFLICT
    assert rows.total() == 3


def test_a_file_without_rows_is_on_record(database_run, lake):
    async def scenario(database):
        await lake.put(database, [], file=1)
        async with database.connection() as connection:
            return await list_files(connection), await live_segments(connection)

    files, segments = database_run(scenario)

    assert [(file.id, file.rows) for file in files] == [(1, 0)]
    assert segments == []


def test_a_superseded_file_disappears_from_every_read_and_stays_on_record(database_run, lake):
    async def scenario(database):
        await lake.put(database, make_rows(3), file=1)
        segment = write_segment(lake.home, make_rows(2), file=2)
        async with database.transaction() as connection:
            await supersede_file(connection, file_id=1)
            await commit_file(
                connection,
                file_id=2,
                dataset="visit",
                institution="H1",
                period=SOME_PERIOD,
                segments=[segment],
            )
        async with database.connection() as connection:
            return (
                await visible(database, lake),
                await count_rows(connection),
                {file.id: (file.state, file.rows) for file in await list_files(connection)},
            )

    rows, counts, files = database_run(scenario)

    assert rows == Counter({(2, 2): 1, (2, 3): 1})
    assert counts == {"visit": 2}
    assert files == {1: (FileState.SUPERSEDED, 3), 2: (FileState.LIVE, 2)}


def test_a_file_can_be_replaced_once(database_run, lake):
    async def scenario(database):
        await lake.put(database, make_rows(3), file=1)
        await supersede(database, 1)
        with pytest.raises(FileNotLiveError):
            await supersede(database, 1)
        with pytest.raises(FileNotLiveError):
            await supersede(database, 77)

    database_run(scenario)


def test_of_two_who_replace_the_same_file_the_later_is_refused(database_run, lake):
    async def replacing(database, started, go):
        async with database.transaction() as connection:
            started.set()
            await go.wait()
            await supersede_file(connection, file_id=1)
            await asyncio.sleep(0.05)

    async def scenario(database):
        await lake.put(database, make_rows(3), file=1)
        go, started = asyncio.Event(), [asyncio.Event(), asyncio.Event()]
        both = [asyncio.create_task(replacing(database, event, go)) for event in started]
        for event in started:
            await event.wait()
        go.set()
        return await asyncio.gather(*both, return_exceptions=True)

    outcome = database_run(scenario)

    assert sorted(type(result).__name__ for result in outcome) == ["FileNotLiveError", "NoneType"]


def test_files_are_listed_by_data_set_institution_period_and_state(database_run, lake):
    march = Period.parse("2026-03")

    async def scenario(database):
        await lake.put(database, make_rows(1), file=1, institution="H1")
        await lake.put(database, make_rows(1), file=2, institution="H2")
        await lake.put(database, make_rows(1), file=3, institution="H1", period=march)
        await lake.put(database, make_rows(1), file=4, institution="H1", dataset=another("other"))
        await lake.put(database, make_rows(1), file=5, institution="H1", period=None)
        await supersede(database, 1)
        async with database.connection() as connection:
            return [
                {file.id for file in await list_files(connection, **conditions)}
                for conditions in (
                    {"dataset": "visit"},
                    {"institution": "H2"},
                    {"period": march},
                    {"dataset": "visit", "institution": "H1", "state": FileState.LIVE},
                    {"state": FileState.SUPERSEDED},
                )
            ], (await list_files(connection, period=march))[0].period

    found, period = database_run(scenario)

    assert found == [{1, 2, 3, 5}, {2}, {3}, {3, 5}, {1}]
    assert period == march


def test_segments_are_pruned_by_the_range_of_persons(database_run, lake):
    async def scenario(database):
        await lake.put(database, [Row(person=1), Row(person=10)], file=1)
        await lake.put(database, [Row(person=20), Row(person=30)], file=2)
        await lake.put(database, [Row(person=None)], file=3)
        async with database.connection() as connection:
            return [
                len(await live_segments(connection, person=person)) for person in (5, 10, 15, 30, 31)
            ], len(await live_segments(connection))

    assert database_run(scenario) == ([1, 1, 0, 1, 0], 3)


def test_an_older_edition_is_read_in_the_present_columns_and_types(database_run, lake):
    fields = [field for field in VISIT.fields if field.name not in ("doses", "urgent")]
    newer = replace(
        VISIT,
        edition="2",
        fields=(*fields, declared("doses", FieldType.STRING), declared("ward", FieldType.STRING)),
    )

    async def scenario(database):
        await lake.put(database, [Row(person=1, number=5)], file=1)
        async with database.connection() as connection:
            segments = await live_segments(connection)
        with lake.engine.connection() as duck:
            table = lake.engine.table_sql(dataset=newer, segments=segments)
            return duck.execute(f"SELECT doses, ward, diagnoses FROM {table}").fetchall()

    assert database_run(scenario) == [("5", None, ["I10", "E11"])]


def test_a_data_set_without_files_is_an_empty_table(lake):
    with lake.engine.connection() as duck:
        table = lake.engine.table_sql(dataset=VISIT, segments=[])

        assert duck.execute(f"SELECT sum(doses), count(*) FROM {table}").fetchall() == [(None, 0)]


def test_sql_on_the_lake_reads_nothing_outside_of_it(lake, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n", encoding="utf-8")

    with lake.engine.connection() as duck, pytest.raises(Exception, match=r"(?i)permission|disabled"):
        duck.execute(f"SELECT * FROM read_csv('{secret}')")


@pytest.mark.parametrize(
    "fault",
    [
        duckdb.IOException("Could not write file: No space left on device"),
        duckdb.OutOfMemoryException("failed to offload data block: raise 'max_temp_directory_size'"),
    ],
)
def test_a_query_that_fills_the_disk_is_a_clear_error(lake, fault):
    with pytest.raises(LakeFullError), lake.engine.connection():
        raise fault


def test_other_faults_of_a_query_pass_unchanged(lake):
    with pytest.raises(duckdb.OutOfMemoryException), lake.engine.connection():
        raise duckdb.OutOfMemoryException("failed to pin block")
