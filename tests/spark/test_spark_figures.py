"""Reconciliations and the catalogue on Spark and on DuckDB: equal figures, equal rows; nobody exists."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from spark_twin import TwinEngine

from conftest import Region
from kangshu.declarations import load_pack
from kangshu.quality.catalogue import refresh
from kangshu.quality.reconciling import Partner, Side, differing_rows, reconcile

pytestmark = pytest.mark.database

PACK = load_pack()
NOW = datetime(2026, 3, 3, 8, tzinfo=UTC)
MONTHS = date(2026, 1, 1), date(2026, 2, 1)


@pytest.mark.parametrize("pair", [pair.id for pair in PACK.quality.reconciliations])
def test_both_figures_and_the_rows_behind_them_are_the_same(region: Region, pair: str):
    platform, twin = region.platform, region.twin

    async def scenario() -> None:
        first, last = MONTHS
        balances = await reconcile(
            platform.database, twin, pack=PACK, first=first, last=last, now=NOW, ids=[pair]
        )
        assert balances
        worst = min(balances, key=lambda one: one.rank)
        for side in Side:
            told = await differing_rows(
                platform.database,
                twin,
                pack=PACK,
                reconciliation=pair,
                institution=worst.institution,
                month=worst.month,
                side=side,
                partners=list(Partner),
                limit=1000,
            )
            assert told.rows == (worst.left_rows if side is Side.LEFT else worst.right_rows)

    region.runner.run(scenario())


class Estimating:
    """Both engines for all that is counted; estimates are each engine's own, and only Spark's are asked."""

    def __init__(self, twin: TwinEngine) -> None:
        self._twin = twin
        self.name = twin.name

    def table_sql(self, **more: Any) -> str:
        return self._twin.table_sql(**more)

    def query(self, sql: str, *, functions: str = "") -> Iterator[pa.RecordBatch]:
        engine = self._twin.spark if "approx_count_distinct" in sql else self._twin
        return engine.query(sql, functions=functions)


@pytest.mark.parametrize("name", ["lab_result", "front_page", "institution_month"])
def test_what_the_catalogue_counts_is_the_same(region: Region, name: str):
    platform = region.platform

    async def scenario() -> None:
        (done,) = await refresh(
            platform.database, Estimating(region.twin), pack=PACK, now=NOW, datasets=[name], force=True
        )
        assert done.columns == len(PACK.dataset(name).fields)

    region.runner.run(scenario())
