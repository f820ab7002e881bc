"""Every rule over a month as a whole, shown on figures that meet it and figures that break it; measures."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import duckdb
import pytest
from packs_rows import Cell, example, store

from kangshu.declarations import CellView, Dataset, Pack, Rule, Scope, cell_names, load_pack, measures_sql

CASES = tomllib.loads(Path(__file__).with_name("cell_cases.toml").read_text(encoding="utf-8"))
SHARED: Mapping[str, Mapping[str, list[dict[str, float]]]] = {
    # The number of rows has fallen, has risen.
    "081": {
        "holds": [
            {"now.rows": 7000, "usual.rows": 10000, "spread.rows": 100},
            {"now.rows": 2, "usual.rows": 10, "spread.rows": 1},
            {"now.rows": 4000, "usual.rows": 10000, "spread.rows": 100, "last_year.rows": 4500},
            {"now.rows": 3},
        ],
        "broken": [
            {"now.rows": 3000, "usual.rows": 10000, "spread.rows": 100},
            {"now.rows": 3000, "usual.rows": 10000, "spread.rows": 100, "last_year.rows": 9000},
        ],
    },
    "082": {
        "holds": [
            {"now.rows": 15000, "usual.rows": 10000, "spread.rows": 100},
            {"now.rows": 25000, "usual.rows": 10000, "spread.rows": 100, "last_year.rows": 24000},
        ],
        "broken": [{"now.rows": 30000, "usual.rows": 10000, "spread.rows": 100}],
    },
    # The month before was sent again.
    "083": {
        "holds": [{"now.rows": 100, "now.copied": 0.05}, {"now.rows": 10, "now.copied": 1.0}],
        "broken": [{"now.rows": 100, "now.copied": 0.9, "usual.copied": 0.05}],
    },
    # Many rows differ by their number alone.
    "091": {
        "holds": [{"now.rows": 100, "now.repeated": 0.02}, {"now.rows": 10, "now.repeated": 0.5}],
        "broken": [{"now.rows": 100, "now.repeated": 0.4, "usual.repeated": 0.02}],
    },
}


@cache
def pack() -> Pack:
    return load_pack()


def cell_rules() -> list[tuple[Dataset, Rule]]:
    return [
        (dataset, rule)
        for dataset in pack().datasets.values()
        for rule in dataset.rules
        if rule.scope is Scope.CELL
    ]


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(pack().functions)
        yield connection


def _holds(
    engine: duckdb.DuckDBPyConnection, dataset: Dataset, rule: Rule, figures: dict[str, float]
) -> bool:
    names = ["rows", *(measure.name for measure in dataset.measures)]
    views = ", ".join(
        "(SELECT "
        + ", ".join(f'{figures.get(f"{view}.{name}", "NULL")}::DOUBLE AS "{name}"' for name in names)
        + f') AS "{view}"'
        for view in CellView
    )
    answer = engine.execute(f"SELECT ({rule.sql}) IS NOT FALSE FROM {views}").fetchone()
    assert answer is not None, "one row"
    return bool(answer[0])


@pytest.mark.parametrize(("dataset", "rule"), cell_rules(), ids=[rule.id for _, rule in cell_rules()])
def test_a_rule_holds_for_plausible_months_and_for_no_other(
    engine: duckdb.DuckDBPyConnection, dataset: Dataset, rule: Rule
):
    cases = CASES.get(dataset.name, {}).get(rule.id) or SHARED[rule.id[-3:]]
    known = {f"{view}.{name}" for view, name in cell_names(rule.sql)}

    assert cases["holds"]
    assert cases["broken"]
    assert {name for case in (*cases["holds"], *cases["broken"]) for name in case} <= known | {"now.rows"}
    assert all(_holds(engine, dataset, rule, figures) for figures in cases["holds"])
    assert not any(_holds(engine, dataset, rule, figures) for figures in cases["broken"])


@pytest.mark.parametrize(
    "rule", [rule for _, rule in cell_rules()], ids=[rule.id for _, rule in cell_rules()]
)
def test_a_month_of_which_nothing_is_known_is_not_called_wrong(engine: duckdb.DuckDBPyConnection, rule: Rule):
    dataset = next(one for one in pack().datasets.values() if rule in one.rules)

    assert _holds(engine, dataset, rule, {})


def test_cases_are_told_of_rules_that_there_are():
    known = {(dataset.name, rule.id) for dataset, rule in cell_rules()}

    assert {(name, rule) for name, rules in CASES.items() for rule in rules} <= known


@pytest.mark.parametrize("name", sorted(one.name for one in pack().datasets.values() if one.measures))
def test_measures_are_figures_of_rows_and_unknown_where_there_are_none(
    engine: duckdb.DuckDBPyConnection, name: str
):
    dataset = pack().dataset(name)
    rows: list[dict[str, Cell]] = [example(dataset) for _ in range(3)]
    store(engine, dataset, rows, table="filled")
    store(engine, dataset, [], table="empty")

    some = engine.execute(f"SELECT {measures_sql(dataset)} FROM filled").fetchone()
    none = engine.execute(f"SELECT {measures_sql(dataset)} FROM empty").fetchone()

    assert some is not None
    assert some[0] == 3
    assert all(figure is None or figure == figure for figure in some)
    assert none is not None
    assert none[0] == 0


def test_what_a_rule_about_months_names_is_told_once_each():
    sql = "now.rows >= 0.5 * usual.rows or now.rows < 3 or 'peers.rows' = '' or last_year.mean > 1"

    assert cell_names(sql) == (
        (CellView.NOW, "rows"),
        (CellView.USUAL, "rows"),
        (CellView.LAST_YEAR, "mean"),
    )
