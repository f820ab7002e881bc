"""Everything that quality asks of the lake, on several processes of Spark and on DuckDB: equal numbers.

The rows are those of a simulated region and, for each data set, a file of wrong ones. Nobody in them exists.
"""

from __future__ import annotations

from datetime import date

import pytest
from spark_region import FIRST_WRONG_FILE

from conftest import Region
from kangshu.declarations import Dataset, Rule, Scope, functions_sql, load_pack, measures_sql
from kangshu.quality.scanning import Scan, compile_scan, run_scan

pytestmark = pytest.mark.database

PACK = load_pack()
FUNCTIONS = functions_sql(PACK)
MONTHS = [date(2026, 1, 1), date(2026, 2, 1)]
ASKED = [
    name
    for name, dataset in PACK.datasets.items()
    if any(rule.scope is not Scope.CELL for rule in dataset.rules)
]


NEED_A_SHAPE = frozenset({"MTR012", "MVS012", "MVS016", "OP066", "PO067"})
"""Rules about many rows together that rows wrong at random do not break; both engines are asked them too."""


def breakable(dataset: Dataset) -> set[str]:
    """Return the rules that some wrong row breaks; when a file came is not told to a scan of the lake."""
    return {
        rule.id
        for rule in rules_of(dataset)
        if rule.id not in NEED_A_SHAPE and "not_after_receipt" not in rule.sql
    }


def rules_of(dataset: Dataset) -> list[Rule]:
    return [rule for rule in dataset.rules if rule.scope is not Scope.CELL]


def scan_of(region: Region, name: str, *, files: str = "") -> Scan:
    source = region.table(name)
    if files:
        source = f"(SELECT * FROM {source} AS rows_of_files WHERE _file IN ({files}))"
    dataset = PACK.dataset(name)
    return compile_scan(
        pack=PACK, dataset=dataset, rules=rules_of(dataset), table=region.table, source=source
    )


@pytest.mark.parametrize("name", ASKED)
def test_every_rule_counts_and_finds_the_same_rows(region: Region, name: str):
    scanned = run_scan(region.twin, scan_of(region, name), functions=FUNCTIONS)

    found = {one.rule.id for one in scanned.findings()}
    assert scanned.totals.num_rows
    assert found >= breakable(PACK.dataset(name)), "each rule has something to find"


@pytest.mark.parametrize("name", ASKED)
def test_a_rule_that_cannot_be_computed_counts_the_same_rows(region: Region, name: str):
    careful = scan_of(region, name).careful_sql

    assert list(region.twin.query(careful, functions=FUNCTIONS))


@pytest.mark.parametrize("name", ASKED)
def test_one_file_among_all_is_judged_the_same(region: Region, name: str):
    number = FIRST_WRONG_FILE + list(PACK.datasets).index(name)

    scanned = run_scan(region.twin, scan_of(region, name, files=str(number)), functions=FUNCTIONS)

    assert set(scanned.totals["_file"].to_pylist()) == {number}


@pytest.mark.parametrize("name", [name for name, one in PACK.datasets.items() if one.measures])
def test_every_measure_of_a_month_is_the_same(region: Region, name: str):
    table = region.table(name)
    sql = (
        f"SELECT _institution, CAST(date_trunc('month', _at) AS DATE) AS _month, {measures_sql(PACK.dataset(name))} "
        f"FROM {table} AS t GROUP BY 1, 2"
    )

    assert list(region.twin.query(sql, functions=FUNCTIONS))
