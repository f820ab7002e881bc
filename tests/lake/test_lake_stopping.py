"""A query that takes too long is stopped, and the engine goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from kangshu.lake import Engine, QueryStoppedError

LONG = "SELECT count(*) FROM range(100000000) AS a(x), range(100000000) AS b(y) WHERE (x * y) % 7 = 3"


def test_a_query_is_stopped_after_its_time_and_the_next_one_is_answered(tmp_path: Path):
    with Engine(tmp_path, threads=1) as engine:
        with pytest.raises(QueryStoppedError):
            list(engine.query(LONG, seconds=0.2))

        (batch,) = engine.query("SELECT 1 AS one", seconds=30)

    assert batch.to_pylist() == [{"one": 1}]


def test_rows_that_nobody_fetches_in_time_are_not_waited_for(tmp_path: Path):
    with Engine(tmp_path, threads=1) as engine:
        rows = engine.query("SELECT x FROM range(1000000) AS r(x)", seconds=30)
        first = next(rows)
        rows.close()

        assert first.num_rows
        assert list(engine.query("SELECT 1 AS one"))
