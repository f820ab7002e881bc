"""Rows from messages: in the lake after the flush, replaced and withdrawn by key; nobody here is real."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_samples import PACK, VISIT, Lake, Row, another

from kangshu.declarations import FieldType
from kangshu.lake import (
    Engine,
    FileSource,
    LakeFullError,
    StagedRow,
    compact,
    compaction,
    count_rows,
    delete_retired,
    flush_staged,
    institutions_of,
    list_files,
    live_segments,
    person_rows,
    stage_rows,
    staging,
    writing,
)
from kangshu.lake.packing import pack_rows, row_table, unpack_rows
from kangshu.storage.database import Database

AT = datetime(2026, 3, 2, 9, 30)


def staged(
    key: str, *, person: int | None = 1, number: int = 0, dataset: str = "visit", **more: Any
) -> StagedRow:
    values: dict[str, Any] | None = {
        "visit_number": key,
        "cost": Decimal("12.50"),
        "visited_at": AT,
        "born_on": date(1980, 1, 1),
        "doses": number,
        "urgent": True,
        "diagnoses": ["I10", None, "E11"],
    }
    if more.pop("withdrawn", False):
        values = None
    return StagedRow(
        dataset=dataset, institution="H1", person=person, at=AT, values=values, key=key, message=7, **more
    )


async def stage(database: Database, *rows: StagedRow) -> None:
    async with database.transaction() as connection:
        await stage_rows(connection, rows=rows)


async def read_all(database: Database, engine: Engine) -> Counter[tuple[Any, ...]]:
    async with database.connection() as connection:
        segments = await live_segments(connection, dataset="visit")
    with engine.connection() as duck:
        table = engine.table_sql(dataset=VISIT, segments=segments)
        return Counter(duck.execute(f"SELECT visit_number, doses, _person FROM {table}").fetchall())


@pytest.mark.database
def test_a_staged_row_is_in_the_lake_after_the_flush_with_every_value(database_run, lake):
    async def scenario(database):
        await stage(database, staged("Encounter/1", person=5, number=3))
        before = await read_all(database, lake.engine)
        taken = await flush_staged(database, lake.engine, pack=PACK)
        page = await person_rows(database, lake.engine, pack=PACK, persons=[5])
        async with database.connection() as connection:
            waiting = await staging(connection)
            files = await list_files(connection)
        return before, taken, page, waiting, files

    before, taken, page, waiting, files = database_run(scenario)

    assert before == Counter()
    assert (taken, waiting.rows, waiting.since) == (1, 0, None)
    row = page.rows[0]
    assert (row.at, row.institution, row.from_message) == (AT, "H1", True)
    assert dict(row.values) == {
        "visit_number": "Encounter/1",
        "cost": Decimal("12.50"),
        "visited_at": AT,
        "born_on": date(1980, 1, 1),
        "doses": 3,
        "urgent": True,
        "diagnoses": ["I10", None, "E11"],
    }
    assert [(one.source, one.rows, one.institution) for one in files] == [(FileSource.MESSAGE, 1, "")]


@pytest.mark.database
def test_a_correction_takes_the_place_of_a_row_that_was_flushed(database_run, lake):
    async def scenario(database):
        await stage(database, staged("Encounter/1", number=1), staged("Encounter/2", number=2))
        await flush_staged(database, lake.engine, pack=PACK)
        await stage(database, staged("Encounter/1", number=9, person=4))
        await flush_staged(database, lake.engine, pack=PACK)
        old = await person_rows(database, lake.engine, pack=PACK, persons=[1])
        new = await person_rows(database, lake.engine, pack=PACK, persons=[4])
        async with database.connection() as connection:
            counts = await count_rows(connection)
        return await read_all(database, lake.engine), old.total, new.total, counts

    rows, old, new, counts = database_run(scenario)

    assert rows == Counter({("Encounter/1", 9, 4): 1, ("Encounter/2", 2, 1): 1})
    assert (old, new, counts) == (1, 1, {"visit": 2})


@pytest.mark.database
def test_a_withdrawn_row_leaves_whether_it_was_flushed_or_not(database_run, lake):
    async def scenario(database):
        await stage(database, staged("Encounter/1"), staged("Encounter/2"))
        await flush_staged(database, lake.engine, pack=PACK)
        await stage(database, staged("Encounter/1", withdrawn=True))
        await stage(database, staged("Encounter/3"), staged("Encounter/3", withdrawn=True))
        await stage(database, staged("Encounter/4", withdrawn=True))
        await flush_staged(database, lake.engine, pack=PACK)
        return await read_all(database, lake.engine)

    assert database_run(scenario) == Counter({("Encounter/2", 0, 1): 1})


@pytest.mark.database
def test_one_key_may_give_rows_of_two_data_sets(database_run, lake):
    pack = replace(PACK, datasets={"visit": VISIT, "stay": another("stay")})

    async def scenario(database):
        await stage(database, staged("Encounter/1"), staged("Encounter/1", dataset="stay"))
        await flush_staged(database, lake.engine, pack=pack)
        await stage(database, staged("Encounter/1", dataset="stay", withdrawn=True))
        await flush_staged(database, lake.engine, pack=pack)
        async with database.connection() as connection:
            return await count_rows(connection)

    assert database_run(scenario) == {"stay": 0, "visit": 1}


async def stage_and_fail(database):
    async with database.transaction() as connection:
        await stage_rows(connection, rows=[staged("Encounter/1")])
        raise RuntimeError


@pytest.mark.database
def test_what_was_rolled_back_is_never_flushed(database_run, lake):
    async def scenario(database):
        with pytest.raises(RuntimeError):
            await stage_and_fail(database)
        taken = await flush_staged(database, lake.engine, pack=PACK)
        return taken, lake.parquet_files()

    assert database_run(scenario) == (0, [])


@pytest.mark.database
def test_the_timeline_can_leave_out_rows_from_messages(database_run, lake):
    async def scenario(database):
        await lake.put(database, [Row(person=1, number=4)], institution="H2")
        await stage(database, staged("Encounter/1", person=1))
        await flush_staged(database, lake.engine, pack=PACK)
        await compact(database, lake.engine, dataset="visit", everything=True)
        every = await person_rows(database, lake.engine, pack=PACK, persons=[1])
        some = await person_rows(database, lake.engine, pack=PACK, persons=[1], exclude_messages=True)
        return every, some, await institutions_of(database, lake.engine, persons=[1])

    every, some, institutions = database_run(scenario)

    assert [row.from_message for row in every.rows] == [True, False]
    assert (some.total, [row.institution for row in some.rows]) == (1, ["H2"])
    assert institutions == {"H1", "H2"}


@pytest.mark.database
def test_rows_of_a_data_set_that_is_no_longer_declared_wait(database_run, lake):
    async def scenario(database):
        await stage(database, staged("Encounter/1", dataset="bygone"), staged("Encounter/2"))
        taken = await flush_staged(database, lake.engine, pack=PACK)
        async with database.connection() as connection:
            waiting = await staging(connection)
        later = replace(PACK, datasets={"bygone": another("bygone")})
        return taken, waiting.rows, await flush_staged(database, lake.engine, pack=later)

    assert database_run(scenario) == (1, 1, 1)


@pytest.mark.database
def test_a_full_disk_leaves_the_rows_staged(database_run, lake, monkeypatch):
    async def scenario(database):
        await stage(database, staged("Encounter/1"))
        with monkeypatch.context() as patch:
            patch.setattr(writing._File, "finish", _fail_for_lack_of_room)
            with pytest.raises(LakeFullError):
                await flush_staged(database, lake.engine, pack=PACK)
        left = lake.parquet_files()
        await flush_staged(database, lake.engine, pack=PACK)
        return left, await read_all(database, lake.engine)

    assert database_run(scenario) == ([], Counter({("Encounter/1", 0, 1): 1}))


def _fail_for_lack_of_room(file: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.database
def test_a_large_backlog_is_flushed_in_portions_in_order(database_run, lake):
    async def scenario(database):
        for number in range(30):
            await stage(database, *(staged(f"Encounter/{one}", number=number) for one in range(5)))
        taken = await flush_staged(database, lake.engine, pack=PACK, most_rows=12)
        return taken, await read_all(database, lake.engine)

    taken, rows = database_run(scenario)

    assert taken == 150
    assert rows == Counter({(f"Encounter/{one}", 29, 1): 1 for one in range(5)})


@pytest.mark.database
def test_two_flushes_at_once_take_every_row_once(database_run, lake):
    async def scenario(database):
        for number in range(8):
            await stage(database, *(staged(f"Encounter/{number}-{one}") for one in range(20)))
        taken = await asyncio.gather(
            *(flush_staged(database, lake.engine, pack=PACK, most_rows=25) for _ in range(4))
        )
        return sum(taken), await read_all(database, lake.engine)

    taken, rows = database_run(scenario)

    assert taken == 160
    assert rows.total() == 160
    assert set(rows.values()) == {1}


# Values

_values = st.fixed_dictionaries(
    {},
    optional={
        "visit_number": st.text(max_size=20),
        "cost": st.decimals(min_value=-9999, max_value=9999, places=2),
        "visited_at": st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)),
        "born_on": st.dates(min_value=date(1900, 1, 1)),
        "doses": st.integers(min_value=-(2**62), max_value=2**62),
        "urgent": st.booleans(),
        "diagnoses": st.lists(st.none() | st.text(max_size=10), max_size=3),
    },
)


@given(rows=st.lists(st.tuples(_values, st.none() | st.integers(min_value=1, max_value=2**40)), max_size=8))
def test_packing_and_typing_lose_nothing(rows):
    given_rows = [
        replace(staged(f"Encounter/{place}", person=person), values=values)
        for place, (values, person) in enumerate(rows)
    ]

    back = unpack_rows(pack_rows(given_rows), dataset="visit")
    table = row_table(back, dataset=VISIT, file_id=3).to_pylist()

    assert [row["_person"] for row in table] == [person for _, person in rows]
    for row, (values, _) in zip(table, rows, strict=True):
        assert {name: row[name] for name in values} == values
        assert all(row[one.name] is None for one in VISIT.fields if one.name not in values)


def test_a_value_that_the_present_edition_cannot_hold_is_left_out():
    narrow = replace(
        VISIT,
        fields=tuple(
            replace(one, type=FieldType.DATE) if one.name == "visit_number" else replace(one, scale=1)
            for one in VISIT.fields
        ),
    )
    rows = unpack_rows(pack_rows([staged("Encounter/1")]), dataset="visit")
    rows = [replace(rows[0], values={**(rows[0].values or {}), "cost": "12.55", "gone": "x"})]

    made = row_table(rows, dataset=narrow, file_id=3).to_pylist()[0]

    assert (made["visit_number"], made["cost"], made["doses"]) == (None, None, 0)


# Any order

_KEYS = [f"Encounter/{number}" for number in range(6)]
_steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("stage"),
            st.lists(
                st.tuples(
                    st.sampled_from(_KEYS),
                    st.none() | st.integers(min_value=1, max_value=4),
                    st.integers(min_value=0, max_value=99),
                    st.booleans(),
                ),
                max_size=8,
            ),
        ),
        st.tuples(st.just("flush"), st.integers(min_value=1, max_value=9)),
        st.tuples(st.just("compact"), st.booleans()),
        st.tuples(st.just("delete"), st.none()),
        st.tuples(st.just("file"), st.integers(min_value=1, max_value=4)),
    ),
    min_size=1,
    max_size=16,
)


@dataclass
class Model:
    """What each resource says at present, what was flushed of it, and rows that senders' files brought."""

    staged: dict[str, tuple[Any, ...] | None] = field(default_factory=dict)
    visible: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    files: Counter[tuple[Any, ...]] = field(default_factory=Counter)

    def flush(self) -> None:
        for key, row in self.staged.items():
            if row is None:
                self.visible.pop(key, None)
            else:
                self.visible[key] = row
        self.staged = {}

    def rows(self) -> Counter[tuple[Any, ...]]:
        return Counter(self.visible.values()) + self.files


@pytest.mark.database
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_steps)
def test_whatever_the_order_the_lake_holds_what_each_resource_last_said(database_run, steps):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        # Tiny sizes, so that a dozen rows already make segments and windows.
        patch.setattr(compaction, "segment_rows", lambda columns: 5)
        patch.setattr(compaction, "_LOWEST_RUNS", 3)
        patch.setattr(writing, "_SORTED_BYTES", 1500)

        async def scenario(database: Database) -> None:
            await _clear(database)
            with Engine(Path(folder), threads=1, memory_mib=128) as engine:
                lake, model = Lake(home=Path(folder), engine=engine), Model()
                for name, detail in steps:
                    await _do(database, lake, model, name, detail)
                    await _compare(database, lake, model)

        database_run(scenario)


async def _clear(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "TRUNCATE lake_file, lake_segment, lake_run, lake_dropped_row, lake_message_row, lake_staged"
        )


async def _do(database: Database, lake: Lake, model: Model, name: str, detail: Any) -> None:
    if name == "stage":
        await stage(
            database,
            *(
                staged(key, person=person, number=number, withdrawn=gone)
                for key, person, number, gone in detail
            ),
        )
        for key, person, number, gone in detail:
            model.staged[key] = None if gone else (key, number, person)
    elif name == "flush":
        await flush_staged(database, lake.engine, pack=PACK, most_rows=detail)
        model.flush()
    elif name == "compact":
        await compact(database, lake.engine, dataset="visit", everything=detail)
    elif name == "delete":
        await delete_retired(database, lake.engine, grace_seconds=0)
    else:
        file = await lake.put(database, [Row(person=detail, number=detail)])
        model.files[(f"V{file}-{detail}", detail, detail)] += 1


async def _compare(database: Database, lake: Lake, model: Model) -> None:
    expected = model.rows()
    assert await read_all(database, lake.engine) == expected
    async with database.connection() as connection:
        counts = await count_rows(connection)
        waiting = await connection.fetchval("SELECT count(*) FROM lake_message_row")
    assert counts.get("visit", 0) == expected.total()
    assert waiting == len(model.visible)
    for person in range(1, 5):
        page = await person_rows(database, lake.engine, pack=PACK, persons=[person])
        found = Counter((row.values["visit_number"], row.values["doses"], row.person) for row in page.rows)
        assert found == Counter({row: count for row, count in expected.items() if row[2] == person})
        files = await person_rows(database, lake.engine, pack=PACK, persons=[person], exclude_messages=True)
        assert files.total == sum(count for row, count in model.files.items() if row[2] == person)
