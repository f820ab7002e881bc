"""Cells measured on several processes of Spark and on DuckDB, fingerprints and suspects too: equal figures.

The rows are those of a simulated region and, for each data set, a file of wrong ones. Nobody in them exists.
"""

from __future__ import annotations

from datetime import date

import pytest
from spark_region import Region

from kangshu.declarations import Scope, load_pack
from kangshu.quality.model import Cell
from kangshu.quality.plausibility import find_suspects, list_cell_figures, measure_cells, measures_of

pytestmark = pytest.mark.database

PACK = load_pack()
MONTHS = [date(2026, 1, 1), date(2026, 2, 1)]
MEASURED = [name for name, dataset in PACK.datasets.items() if dataset.measures]
POINTING = [
    (name, rule.id)
    for name, dataset in PACK.datasets.items()
    for rule in dataset.rules
    if rule.scope is Scope.CELL and rule.suspects
]


@pytest.mark.parametrize("name", MEASURED)
def test_every_cell_has_the_same_figures(region: Region, name: str):
    async def work() -> set[str]:
        database = region.platform.database
        await measure_cells(database, region.twin, pack=PACK, dataset=name, institutions=None, months=MONTHS)
        async with database.connection() as connection:
            cells = await list_cell_figures(connection, first=MONTHS[0], last=MONTHS[-1], datasets=[name])
        return {figure for one in cells for figure in one.figures}

    assert region.runner.run(work()) <= {measure.name for measure in measures_of(PACK.dataset(name))}


@pytest.mark.parametrize(("name", "rule"), POINTING)
def test_a_finding_points_at_the_same_rows(region: Region, name: str, rule: str):
    async def work() -> int:
        database = region.platform.database
        async with database.connection() as connection:
            cells = await list_cell_figures(connection, first=MONTHS[0], last=MONTHS[-1], datasets=[name])
        cell = max(cells, key=lambda one: one.figures["rows"]).cell if cells else None
        cell = cell or Cell(month=MONTHS[0], dataset=name, institution="nobody")
        found = await find_suspects(database, region.twin, pack=PACK, cell=cell, rule=rule)
        return found.rows

    assert region.runner.run(work()) >= 0
