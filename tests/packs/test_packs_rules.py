"""Every rule of the base pack, shown on rows that meet it and rows that break it (`rule_cases.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
import pytest

from kangshu.declarations import Dataset, Pack, Rule, Scope, duckdb_type, load_pack

CASES = tomllib.loads(Path(__file__).with_name("rule_cases.toml").read_text(encoding="utf-8"))

# The rules about persons are the same in every data set that has the common person fields; some leave out
# the last one, because a row there may belong to somebody without any number.
PERSON_CASES = ("number_valid", "birth_agrees", "sex_agrees", "document_whole", "some_number")
PERSON_RULES = {
    "resident": ("RS", 5),
    "outpatient_visit": ("OV", 5),
    "diagnosis": ("DG", 5),
    "prescription_item": ("PI", 5),
    "lab_report": ("LP", 5),
    "lab_result": ("LR", 4),
    "exam_report": ("ER", 5),
    "operation": ("OP", 5),
    "charge_item": ("CH", 4),
    "birth": ("BI", 4),
    "death": ("DE", 5),
    "immunization": ("IM", 5),
}
# A newborn's example has another number and birthday than the shared rows say.
NOT_SHARED = {("birth", "birth_agrees"), ("birth", "number_valid")}

Cell = str | list[str]


@dataclass(frozen=True)
class Case:
    """One row: the cells in which it differs from the example, and whether `rule` holds for it."""

    rule: str
    holds: bool
    cells: Mapping[str, Cell]


@cache
def pack() -> Pack:
    return load_pack()


def cases_of(dataset: str) -> Iterator[Case]:
    for rule, table in CASES.get(dataset, {}).items():
        yield from _cases(rule, table)
    prefix, number = PERSON_RULES.get(dataset, ("", 0))
    for n, name in enumerate(PERSON_CASES[:number], start=1):
        table = CASES["persons"][name]
        holds = [] if (dataset, name) in NOT_SHARED else table["holds"]
        yield from _cases(f"{prefix}{n:03d}", {"holds": holds, "broken": table["broken"]})


def _cases(rule: str, table: Mapping[str, list[dict[str, Cell]]]) -> Iterator[Case]:
    yield Case(rule=rule, holds=True, cells={})
    for holds, key in ((True, "holds"), (False, "broken")):
        for cells in table[key]:
            yield Case(rule=rule, holds=holds, cells=cells)


def row_rules(dataset: Dataset) -> list[Rule]:
    return [rule for rule in dataset.rules if rule.sql and rule.scope is Scope.ROW]


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(pack().functions)
        connection.execute("SET VARIABLE received_at = TIMESTAMP '2027-01-01 00:00:00'")
        yield connection


def example(dataset: Dataset) -> dict[str, Cell]:
    return {
        field.name: [field.example] if field.repeat > 1 else field.example
        for field in dataset.fields
        if field.example
    }


def store(engine: duckdb.DuckDBPyConnection, dataset: Dataset, rows: list[dict[str, Cell]]) -> None:
    """Put the rows into a table of the data set's name, typed as the lane types them."""
    columns = ", ".join(f'"{field.name}" {duckdb_type(field)}' for field in dataset.fields)
    engine.execute(f'CREATE OR REPLACE TABLE "{dataset.name}" (_row BIGINT, {columns})')
    values = [[number, *(_value(row.get(f.name)) for f in dataset.fields)] for number, row in enumerate(rows)]
    places = ", ".join("?" for _ in range(len(dataset.fields) + 1))
    engine.executemany(f'INSERT INTO "{dataset.name}" VALUES ({places})', values)


def _value(cell: Cell | None) -> Cell | list[str | None] | None:
    if isinstance(cell, list):
        return [entry or None for entry in cell]
    return cell or None


@pytest.mark.parametrize("name", sorted(pack().datasets))
def test_each_rule_holds_for_good_rows_and_for_no_bad_row(engine: duckdb.DuckDBPyConnection, name: str):
    dataset = pack().dataset(name)
    cases = list(cases_of(name))
    store(engine, dataset, [example(dataset) | dict(case.cells) for case in cases])

    answers = {
        rule.id: engine.execute(
            f'SELECT ({rule.sql}) IS NOT FALSE FROM "{dataset.name}" ORDER BY _row'
        ).fetchall()
        for rule in row_rules(dataset)
    }

    wrong = [case for n, case in enumerate(cases) if answers[case.rule][n][0] is not case.holds]
    assert not wrong


@pytest.mark.parametrize("name", sorted(pack().datasets))
def test_each_row_rule_has_a_row_that_breaks_it(name: str):
    shown = {case.rule for case in cases_of(name) if not case.holds}

    assert shown == {rule.id for rule in row_rules(pack().dataset(name))}


@pytest.mark.parametrize("name", sorted(pack().datasets))
def test_the_example_row_meets_every_rule(engine: duckdb.DuckDBPyConnection, name: str):
    dataset = pack().dataset(name)
    store(engine, dataset, [example(dataset)])

    broken = [
        rule.id
        for rule in row_rules(dataset)
        if engine.execute(f'SELECT ({rule.sql}) IS FALSE FROM "{dataset.name}"').fetchall() == [(True,)]
    ]

    assert not broken


def test_rule_ids_are_used_once_in_the_whole_pack():
    ids = [rule.id for dataset in pack().datasets.values() for rule in dataset.rules]

    assert len(ids) == len(set(ids))


def test_the_front_page_has_all_its_rules_but_the_two_that_fields_carry():
    ids = {rule.id for rule in pack().dataset("front_page").rules}

    assert ids == {f"FP{n:03d}" for n in range(3, 55)}


# The regional rules are queries over the lake's tables: each row has _file, _row, _institution, _person.


def _region(engine: duckdb.DuckDBPyConnection, columns: str, rows: str) -> None:
    engine.execute(f"CREATE OR REPLACE TABLE front_page AS SELECT * FROM (VALUES {rows}) AS t({columns})")


def _answer(engine: duckdb.DuckDBPyConnection, rule_id: str) -> list[tuple[object, ...]]:
    rule = next(rule for rule in pack().dataset("front_page").rules if rule.id == rule_id)
    assert rule.scope is Scope.REGION
    return sorted(engine.execute(rule.sql).fetchall())


def test_stays_of_one_person_in_two_hospitals_may_touch_but_not_overlap(engine: duckdb.DuckDBPyConnection):
    _region(
        engine,
        "_file, _row, _institution, _person, admitted_at, discharged_at",
        """(1, 2, 'A', 7, TIMESTAMP '2026-03-01 08:00', TIMESTAMP '2026-03-05 10:00'),
           (2, 2, 'B', 7, TIMESTAMP '2026-03-04 08:00', TIMESTAMP '2026-03-06 10:00'),
           (3, 2, 'C', 7, TIMESTAMP '2026-03-06 10:00', TIMESTAMP '2026-03-09 10:00'),
           (2, 3, 'B', 8, TIMESTAMP '2026-03-04 08:00', TIMESTAMP '2026-03-06 10:00')""",
    )

    assert _answer(engine, "FP044") == [(1, 2), (2, 2)]


def test_a_very_long_or_very_dear_stay_is_looked_at_again(engine: duckdb.DuckDBPyConnection):
    engine.execute("""CREATE OR REPLACE TABLE front_page AS
        SELECT 1 AS _file, n AS _row, 'I63.900' AS principal_diagnosis_code,
            CASE WHEN n = 5 THEN 61 ELSE 10 END AS stay_days,
            CASE WHEN n = 5 THEN 61000 WHEN n = 9 THEN 900000 ELSE 10000 END AS total_cost
        FROM range(200) r(n)""")

    assert _answer(engine, "FP047") == [(1, 5), (1, 9)]


def test_front_pages_of_a_month_are_reconciled_with_the_monthly_return(engine: duckdb.DuckDBPyConnection):
    _region(
        engine,
        "_institution, discharged_at",
        """('A', TIMESTAMP '2026-03-01 08:00'), ('A', TIMESTAMP '2026-03-31 08:00'),
           ('B', TIMESTAMP '2026-03-09 08:00')""",
    )
    engine.execute("""CREATE OR REPLACE TABLE institution_month AS SELECT * FROM (VALUES
        ('A', DATE '2026-03-01', 2), ('B', DATE '2026-03-01', 5), ('C', DATE '2026-03-01', 4)
    ) AS t(_institution, month, discharges)""")

    assert [(row[0], *row[2:]) for row in _answer(engine, "FP048")] == [("B", 1, 5), ("C", 0, 4)]
