"""Runs are merged into sorted ones; what is visible never changes, whoever does what meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_samples import PACK, VISIT, Lake, Row, another, declared, make_rows

from kangshu.declarations import FieldType
from kangshu.lake import (
    CompactionLostError,
    LakeFullError,
    compact,
    compaction,
    count_rows,
    delete_retired,
    list_files,
    live_segments,
    operations,
    person_rows,
    supersede_file,
    writing,
)
from kangshu.lake.compaction import plan_merge, rows_that_fit
from kangshu.lake.model import Run
from kangshu.lake.schema import lake_shape, segment_rows
from kangshu.storage.database import Database

database_test = pytest.mark.database
SHAPE = lake_shape(VISIT)
BASE = 4 * segment_rows(len(SHAPE))


def run_of(number: int, rows: int, *, dead: int = 0, is_sorted: bool = True, shape=SHAPE) -> Run:
    return Run(id=number, shape=shape, is_sorted=is_sorted, rows=rows, dead_rows=dead)


async def visible(database: Database, lake: Lake) -> Counter[tuple[int, int]]:
    async with database.connection() as connection:
        segments = await live_segments(connection, dataset="visit")
    with lake.engine.connection() as duck:
        table = lake.engine.table_sql(dataset=VISIT, segments=segments)
        return Counter(duck.execute(f"SELECT _file, _row FROM {table}").fetchall())


async def supersede(database: Database, file: int) -> None:
    async with database.transaction() as connection:
        await supersede_file(connection, file_id=file)


def test_few_small_runs_are_left_alone():
    assert plan_merge([run_of(number, 1000) for number in range(7)]) == []


def test_eight_small_runs_become_one():
    assert plan_merge([run_of(number, 1000 + number) for number in range(8)]) == list(range(8))


def test_two_runs_of_a_higher_tier_become_one_and_smaller_ones_come_along():
    runs = [run_of(1, 2 * BASE), run_of(2, 3 * BASE), run_of(3, 10), run_of(4, 50 * BASE)]

    assert sorted(plan_merge(runs)) == [1, 2, 3]


def test_a_merge_takes_the_next_run_along_when_the_result_would_meet_it():
    runs = [run_of(1, BASE), run_of(2, BASE), run_of(3, 2 * BASE), run_of(4, 7 * BASE), run_of(5, 16 * BASE)]

    assert sorted(plan_merge(runs)) == [1, 2, 3, 4]


def test_a_large_unsorted_file_is_sorted_without_waiting():
    assert plan_merge([run_of(1, 10 * BASE, is_sorted=False), run_of(2, 5)]) == [1, 2]


def test_a_run_with_many_superseded_rows_is_rewritten():
    assert plan_merge([run_of(1, 1000, dead=299), run_of(2, BASE)]) == []
    assert plan_merge([run_of(1, 1000, dead=300), run_of(2, BASE)]) == [1]


def test_editions_that_disagree_about_a_type_stay_apart():
    other = (*SHAPE[:-1], (SHAPE[-1][0], "VARCHAR"))
    runs = [run_of(number, 1000, shape=other if number % 2 else SHAPE) for number in range(16)]

    assert plan_merge(runs) == list(range(0, 16, 2))


def test_everything_becomes_one_run_and_then_rests():
    assert sorted(plan_merge([run_of(1, BASE), run_of(2, 5)], everything=True)) == [1, 2]
    assert plan_merge([run_of(1, BASE)], everything=True) == []
    assert plan_merge([run_of(1, BASE, dead=1)], everything=True) == [1]


def test_runs_of_the_last_size_are_merged_no_more_unless_unsorted():
    last = compaction._LAST_SIZE

    assert plan_merge([run_of(number, last + number) for number in range(9)]) == []
    assert plan_merge([run_of(1, 5), run_of(2, last, is_sorted=False), run_of(3, last)]) == [2, 1]


@given(sizes=st.lists(st.integers(min_value=1, max_value=3_000_000), min_size=1, max_size=200))
def test_however_files_arrive_the_number_of_runs_stays_logarithmic(sizes: list[int]):
    runs: list[Run] = []
    for number, rows in enumerate(sizes):
        runs.append(run_of(number, rows))
        while chosen := plan_merge(runs):
            merged = sum(run.rows for run in runs if run.id in chosen)
            runs = [run for run in runs if run.id not in chosen] + [run_of(1000 + len(chosen), merged)]

    assert len(runs) <= 7 + (sum(sizes) // BASE).bit_length()


@given(
    counts=st.lists(st.integers(min_value=1, max_value=30), min_size=1, max_size=30),
    filled=st.integers(min_value=0, max_value=40),
)
def test_a_segment_ends_with_a_whole_person_or_at_twice_its_size(counts: list[int], filled: int):
    persons = np.repeat(np.arange(1, len(counts) + 1, dtype=np.int64), counts)
    wanted = 20

    fit = rows_that_fit(persons, filled=filled, last=1, wanted=wanted)

    assert filled + fit <= max(2 * wanted, filled)
    whole = fit in (0, len(persons)) or persons[fit - 1] != persons[fit]
    assert whole or filled + fit == 2 * wanted
    assert fit or filled >= wanted


@database_test
def test_many_files_become_sorted_segments_with_the_same_rows(database_run, lake, monkeypatch):
    monkeypatch.setattr(compaction, "segment_rows", lambda columns: 500)

    async def scenario(database):
        for file in range(1, 13):
            rows = [*make_rows(300 + file, persons=97, step=file), Row(person=None, day=None)]
            await lake.put(database, rows, file=file)
        before = await visible(database, lake)
        done = await compact(database, lake.engine, dataset="visit", everything=True)
        async with database.connection() as connection:
            segments = await live_segments(connection)
        return before, await visible(database, lake), done, segments

    before, after, done, segments = database_run(scenario)

    assert after == before
    assert (done.runs, done.rows, done.dropped_rows) == (12, before.total(), 0)
    assert done.segments == len(segments) > 3
    assert all(segment.is_sorted and not segment.has_filter for segment in segments)
    persons = [pq.read_table(lake.engine.lake / segment.path)["_person"].to_pylist() for segment in segments]
    in_order = [person for part in persons for person in part]
    assert in_order[:-12] == sorted(in_order[:-12])
    assert in_order[-12:] == [None] * 12
    assert all(part[-1] != other[0] for part, other in pairwise(persons))


@database_test
def test_an_unsorted_file_is_sorted_by_the_first_compaction(database_run, lake, monkeypatch):
    monkeypatch.setattr(writing, "_SORTED_BYTES", 0)

    async def scenario(database):
        await lake.put(database, make_rows(40_000, persons=9973), file=1)
        done = await compact(database, lake.engine, dataset="visit")
        page = await person_rows(database, lake.engine, pack=PACK, persons=[17])
        again = await compact(database, lake.engine, dataset="visit")
        return done, page.total, again.merges

    done, total, again = database_run(scenario)

    assert (done.runs, done.rows, total, again) == (1, 40_000, 4, 0)


@database_test
def test_rows_of_superseded_files_are_left_out_and_the_record_stays(database_run, lake):
    async def scenario(database):
        for file in range(1, 5):
            await lake.put(database, make_rows(10), file=file)
        await supersede(database, 2)
        done = await compact(database, lake.engine, dataset="visit", everything=True)
        async with database.connection() as connection:
            stored = sum(segment.rows for segment in await live_segments(connection))
            return done.dropped_rows, stored, await count_rows(connection), await list_files(connection)

    dropped, stored, counts, files = database_run(scenario)

    assert (dropped, stored, counts) == (10, 30, {"visit": 30})
    assert [(file.id, file.rows) for file in files] == [(4, 10), (3, 10), (2, 10), (1, 10)]


@database_test
def test_runs_without_a_live_row_simply_go(database_run, lake):
    async def scenario(database):
        for file in (1, 2):
            await lake.put(database, make_rows(10), file=file)
            await supersede(database, file)
        await compact(database, lake.engine, dataset="visit")
        removed = await delete_retired(database, lake.engine, grace_seconds=0)
        async with database.connection() as connection:
            return removed, await live_segments(connection)

    assert database_run(scenario) == (2, [])
    assert lake.parquet_files() == []


@database_test
def test_a_file_superseded_during_the_merge_stays_superseded(database_run, lake, monkeypatch):
    real = operations.merge
    monkeypatch.setattr(operations, "_MOST_MERGES", 1)

    async def scenario(database):
        for file in range(1, 4):
            await lake.put(database, make_rows(10), file=file)
        loop = asyncio.get_running_loop()

        def merge_slowly(*args, **named):
            done = real(*args, **named)
            asyncio.run_coroutine_threadsafe(supersede(database, 2), loop).result(timeout=20)
            return done

        monkeypatch.setattr(operations, "merge", merge_slowly)
        await compact(database, lake.engine, dataset="visit", everything=True)
        first = await visible(database, lake)
        monkeypatch.setattr(operations, "merge", real)
        again = await compact(database, lake.engine, dataset="visit", everything=True)
        return first, await visible(database, lake), again.dropped_rows

    first, second, dropped = database_run(scenario)

    assert {file for file, _ in first} == {file for file, _ in second} == {1, 3}
    assert first == second
    assert dropped == 10


@database_test
def test_a_file_committed_during_the_merge_is_not_lost(database_run, lake, monkeypatch):
    real = operations.merge

    async def scenario(database):
        for file in range(1, 4):
            await lake.put(database, make_rows(10), file=file)
        loop = asyncio.get_running_loop()

        def merge_slowly(*args, **named):
            done = real(*args, **named)
            late = lake.put(database, make_rows(7), file=9)
            asyncio.run_coroutine_threadsafe(late, loop).result(timeout=20)
            monkeypatch.setattr(operations, "merge", real)
            return done

        monkeypatch.setattr(operations, "merge", merge_slowly)
        await compact(database, lake.engine, dataset="visit", everything=True)
        return await visible(database, lake)

    assert Counter(file for file, _ in database_run(scenario)) == {1: 10, 2: 10, 3: 10, 9: 7}


@database_test
def test_two_compactions_of_one_data_set_do_not_meet(database_run, lake, monkeypatch):
    real = operations.merge

    async def scenario(database):
        for file in range(1, 4):
            await lake.put(database, make_rows(10), file=file)
        loop = asyncio.get_running_loop()
        second = []

        def merge_slowly(*args, **named):
            if not second:
                other = compact(database, lake.engine, dataset="visit", everything=True)
                second.append(asyncio.run_coroutine_threadsafe(other, loop).result(timeout=20))
            return real(*args, **named)

        monkeypatch.setattr(operations, "merge", merge_slowly)
        first = await compact(database, lake.engine, dataset="visit", everything=True)
        third = await compact(database, lake.engine, dataset="visit", everything=True)
        return first.busy, second[0].busy, third.busy

    assert database_run(scenario) == (False, True, False)


@database_test
def test_a_swap_of_runs_that_are_no_longer_live_changes_nothing(database_run, lake, monkeypatch):
    real = operations.merge

    async def scenario(database):
        for file in range(1, 4):
            await lake.put(database, make_rows(10), file=file)
        loop = asyncio.get_running_loop()

        async def retire_one():
            async with database.connection() as connection:
                await connection.execute("UPDATE lake_run SET retired_at = now() WHERE run_id = 1")

        def merge_slowly(*args, **named):
            done = real(*args, **named)
            asyncio.run_coroutine_threadsafe(retire_one(), loop).result(timeout=20)
            return done

        monkeypatch.setattr(operations, "merge", merge_slowly)
        with pytest.raises(CompactionLostError):
            await compact(database, lake.engine, dataset="visit", everything=True)
        async with database.connection() as connection:
            return await live_segments(connection)

    segments = database_run(scenario)

    assert [segment.rows for segment in segments] == [10, 10]
    assert len(lake.parquet_files()) == 3


@database_test
def test_a_merge_that_finds_the_disk_full_leaves_everything_as_it_was(database_run, lake, monkeypatch):
    monkeypatch.setattr(compaction, "segment_rows", lambda columns: 100)
    real = writing.sync_folder
    calls: list[int] = []

    def full_at_the_second(folder):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(folder)

    async def scenario(database):
        for file in range(1, 4):
            await lake.put(database, make_rows(100), file=file)
        before = lake.parquet_files()
        monkeypatch.setattr(writing, "sync_folder", full_at_the_second)
        with pytest.raises(LakeFullError):
            await compact(database, lake.engine, dataset="visit", everything=True)
        return before, await visible(database, lake)

    before, rows = database_run(scenario)

    assert rows.total() == 300
    assert lake.parquet_files() == before


@database_test
def test_editions_are_merged_by_name(database_run, lake):
    newer = replace(VISIT, fields=(*VISIT.fields[:3], declared("ward", FieldType.STRING)))
    from lake_samples import SOME_PERIOD, rows_table

    from kangshu.lake import SegmentWriter, commit_file, lake_schema, new_segment_path

    async def put_newer(database):
        table = rows_table([Row(person=1, number=9)], file=2, institution="H1")
        table = table.select(lake_schema(VISIT).names[:8]).append_column("ward", [["W3"]])
        with SegmentWriter(new_segment_path(home=lake.home, dataset="visit"), lake_schema(newer)) as writer:
            writer.write(table)
            segment = writer.close()
        async with database.transaction() as connection:
            await commit_file(
                connection,
                file_id=2,
                dataset="visit",
                institution="H1",
                period=SOME_PERIOD,
                segments=[segment],
            )

    async def scenario(database):
        await lake.put(database, [Row(person=1, number=4)], file=1)
        await put_newer(database)
        done = await compact(database, lake.engine, dataset="visit", everything=True)
        return done, await person_rows(database, lake.engine, pack=PACK, persons=[1])

    done, page = database_run(scenario)

    assert (done.runs, done.segments) == (2, 1)
    old, new = sorted(page.rows, key=lambda row: row.file)
    assert (old.values["ward"], old.values["doses"]) == (None, 4)
    assert (new.values["ward"], new.values["doses"]) == ("W3", None)


@database_test
def test_retired_files_stay_for_the_grace(database_run, lake):
    async def scenario(database):
        for file in range(1, 4):
            await lake.put(database, make_rows(10), file=file)
        await compact(database, lake.engine, dataset="visit", everything=True)
        kept = await delete_retired(database, lake.engine, grace_seconds=3600), len(lake.parquet_files())
        gone = await delete_retired(database, lake.engine, grace_seconds=0), len(lake.parquet_files())
        again = await delete_retired(database, lake.engine, grace_seconds=0)
        return kept, gone, again, await visible(database, lake)

    kept, gone, again, rows = database_run(scenario)

    assert (kept, gone, again) == ((0, 4), (3, 1), 0)
    assert rows.total() == 30


@database_test
def test_data_sets_are_compacted_on_their_own(database_run, lake):
    async def scenario(database):
        for file in range(1, 10):
            await lake.put(database, make_rows(5), file=file, dataset=another("other") if file % 2 else VISIT)
        done = await compact(database, lake.engine, dataset="visit", everything=True)
        nothing = await compact(database, lake.engine, dataset="unheard_of")
        async with database.connection() as connection:
            return done.runs, nothing, len(await live_segments(connection, dataset="other"))

    runs, nothing, others = database_run(scenario)

    assert (runs, nothing.merges, others) == (4, 0, 5)
