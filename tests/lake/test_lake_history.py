"""Whatever is committed, replaced and merged, in whatever order: visible is what a simple model says."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_samples import PACK, VISIT, Lake, Row, write_segment

from kangshu.lake import (
    Engine,
    commit_file,
    compact,
    compaction,
    count_rows,
    delete_retired,
    live_segments,
    person_rows,
    supersede_file,
    sweep_orphans,
    writing,
)
from kangshu.storage.database import Database

pytestmark = pytest.mark.database

_rows = st.lists(
    st.builds(
        Row,
        person=st.none() | st.integers(min_value=1, max_value=6),
        day=st.none() | st.integers(min_value=0, max_value=9),
        number=st.integers(min_value=0, max_value=99),
    ),
    max_size=12,
)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), _rows),
        st.tuples(st.just("replace"), st.tuples(st.integers(min_value=0, max_value=20), _rows)),
        st.tuples(st.just("undo"), _rows),
        st.tuples(st.just("compact"), st.booleans()),
        st.tuples(st.just("delete"), st.none()),
        st.tuples(st.just("sweep"), st.none()),
    ),
    min_size=1,
    max_size=14,
)


@dataclass
class Model:
    """Files by number, and which of them are live."""

    files: dict[int, list[Row]] = field(default_factory=dict)
    live: set[int] = field(default_factory=set)

    def visible(self) -> Counter[tuple[int, int, int | None]]:
        return Counter(
            (file, place, row.person)
            for file in self.live
            for place, row in enumerate(self.files[file], start=2)
        )


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_steps)
def test_the_visible_rows_are_those_of_the_live_files(database_run, fixed_clock, steps):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        # Tiny sizes, so that a dozen rows already make segments, windows and unsorted files.
        patch.setattr(compaction, "segment_rows", lambda columns: 5)
        patch.setattr(compaction, "_LOWEST_RUNS", 3)
        patch.setattr(writing, "_SORTED_BYTES", 1500)

        async def scenario(database: Database) -> None:
            await _clear(database)
            with Engine(Path(folder), threads=1, memory_mib=128) as engine:
                lake, model = Lake(home=Path(folder), engine=engine), Model()
                for name, detail in steps:
                    await _do(database, lake, model, fixed_clock.now(), name, detail)
                    await _compare(database, lake, model)

        database_run(scenario)


async def _clear(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("TRUNCATE lake_file, lake_segment, lake_run, lake_dropped_row")


async def _do(database: Database, lake: Lake, model: Model, now, name: str, detail) -> None:
    if name == "commit":
        await _commit(database, lake, model, detail, replaces=None)
    elif name == "replace":
        place, rows = detail
        live = sorted(model.live)
        await _commit(database, lake, model, rows, replaces=live[place % len(live)] if live else None)
    elif name == "undo":
        write_segment(lake.home, detail, file=10_000)
    elif name == "compact":
        await compact(database, lake.engine, dataset="visit", everything=detail)
    elif name == "delete":
        await delete_retired(database, lake.engine, grace_seconds=0)
    else:
        async with database.transaction() as connection:
            # Our own process lives, so a grace far in the future stands for its death.
            await sweep_orphans(lake.home, connection, now=now, grace_seconds=-1e9)


async def _commit(
    database: Database, lake: Lake, model: Model, rows: list[Row], *, replaces: int | None
) -> None:
    number = len(model.files) + 1
    segment = write_segment(lake.home, rows, file=number)
    async with database.transaction() as connection:
        if replaces:
            await supersede_file(connection, file_id=replaces)
        await commit_file(
            connection, file_id=number, dataset="visit", institution="H1", period=None, segments=[segment]
        )
    model.files[number] = rows
    model.live = (model.live - {replaces}) | {number}


async def _compare(database: Database, lake: Lake, model: Model) -> None:
    async with database.connection() as connection:
        segments = await live_segments(connection)
        counts = await count_rows(connection)
    with lake.engine.connection() as duck:
        table = lake.engine.table_sql(dataset=VISIT, segments=segments)
        seen = Counter(duck.execute(f"SELECT _file, _row, _person FROM {table}").fetchall())
    expected = model.visible()
    assert seen == expected
    assert counts.get("visit", 0) == expected.total()
    for person in range(1, 7):
        page = await person_rows(database, lake.engine, pack=PACK, persons=[person])
        found = Counter((row.file, row.row, row.person) for row in page.rows)
        assert found == Counter({key: count for key, count in expected.items() if key[2] == person})
