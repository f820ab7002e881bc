"""One SELECT over the lake on DuckDB: what may be asked, and what a failure may say. All rows are made up."""

from __future__ import annotations

import pytest
from lake_samples import VISIT, Lake, Row

from kangshu.lake import (
    Engine,
    LakeEngine,
    LakeFullError,
    QueryFailedError,
    QueryRefusedError,
    live_segments,
    supersede_file,
)

FUNCTIONS = """
-- CREATE MACRO in a comment is no macro.
CREATE OR REPLACE MACRO twice(x) AS x * 2;
CREATE MACRO four_times(x) AS twice(twice(x));
"""


def ask(engine: LakeEngine, sql: str, functions: str = "") -> list[tuple[object, ...]]:
    return [
        tuple(row.values()) for batch in engine.query(sql, functions=functions) for row in batch.to_pylist()
    ]


def test_functions_of_one_query_are_unknown_to_the_next(lake: Lake):
    assert ask(lake.engine, "SELECT four_times(3)", FUNCTIONS) == [(12,)]

    with pytest.raises(QueryRefusedError, match="four_times"):
        ask(lake.engine, "SELECT four_times(3)")


def test_a_variable_is_set_for_one_query(lake: Lake):
    functions = FUNCTIONS + "SET VARIABLE received_at = TIMESTAMP '2026-01-02 03:04:05';"

    assert ask(lake.engine, "SELECT year(getvariable('received_at'))", functions) == [(2026,)]
    assert ask(lake.engine, "SELECT getvariable('received_at')") == [(None,)]


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "-- nothing",
        "SELECT 1; SELECT 2",
        "CREATE TABLE t (i INT)",
        "EXPLAIN SELECT 1",
        "SET VARIABLE a = 1",
    ],
)
def test_anything_but_one_select_is_refused(lake: Lake, sql: str):
    with pytest.raises(QueryRefusedError):
        ask(lake.engine, sql)


@pytest.mark.parametrize(
    "functions", ["CREATE TABLE t AS SELECT 1", "SET threads = 9", "CREATE MACRO a(x) AS x; SELECT 1"]
)
def test_functions_define_and_do_nothing_else(lake: Lake, functions: str):
    with pytest.raises(QueryRefusedError):
        ask(lake.engine, "SELECT 1", functions)


@pytest.mark.parametrize("first_bad", [0, 1_900_000])
def test_a_failure_tells_no_value_be_it_at_the_start_or_while_rows_flow(lake: Lake, first_bad: int):
    bad = f"CASE WHEN range >= {first_bad} THEN CAST('王小明' || range AS INTEGER) END"
    with pytest.raises(QueryFailedError, match="Conversion Error") as caught:
        for _ in lake.engine.query(f"SELECT {bad} FROM range(2000000)"):
            pass

    error: BaseException | None = caught.value
    while error:
        assert "王小明" not in str(error)
        error = error.__cause__ or error.__context__


def test_a_query_reads_nothing_outside_the_lake(lake: Lake):
    with pytest.raises((QueryRefusedError, QueryFailedError)):
        ask(lake.engine, "SELECT * FROM read_text('/etc/hostname')")


def test_many_rows_come_in_portions(lake: Lake):
    portions = [len(batch) for batch in lake.engine.query("SELECT range FROM range(1000000)")]

    assert sum(portions) == 1_000_000
    assert max(portions) <= 1 << 16


def test_a_spill_that_finds_no_room_says_so(tmp_path, monkeypatch):
    with Engine(tmp_path / "home", memory_mib=64) as engine:
        with engine.connection() as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
        monkeypatch.setattr("kangshu.lake.querying.is_disk_full", lambda error: True)
        with pytest.raises(LakeFullError):
            ask(engine, "SELECT CAST('x' || range AS INTEGER) FROM range(3)")


@pytest.mark.database
def test_superseded_rows_are_not_asked(database_run, lake: Lake):
    async def scenario(database):
        await lake.put(database, [Row(1, number=1), Row(2, number=2)])
        old = await lake.put(database, [Row(3, number=3)])
        async with database.transaction() as connection:
            await supersede_file(connection, file_id=old)
        async with database.connection() as connection:
            return await live_segments(connection, dataset="visit")

    table = lake.engine.table_sql(dataset=VISIT, segments=database_run(scenario))

    assert ask(lake.engine, f"SELECT count(*), sum(cost)::VARCHAR FROM {table}") == [(2, "0.03")]
