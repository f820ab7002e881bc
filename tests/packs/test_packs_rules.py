"""Every rule of the base pack, shown on rows that meet it and rows that break it (`rule_cases.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
import pytest
from packs_rows import Cell, example, store

from kangshu.declarations import Dataset, Pack, Rule, Scope, load_pack

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


def put(engine: duckdb.DuckDBPyConnection, dataset: Dataset, rows: Sequence[Mapping[str, Cell]]) -> None:
    """Put the rows into a table of the data set's name, numbered from 0."""
    numbered = [{**row, "_row": str(number)} for number, row in enumerate(rows)]
    store(engine, dataset, numbered, table=dataset.name)


@pytest.mark.parametrize("name", sorted(pack().datasets))
def test_each_rule_holds_for_good_rows_and_for_no_bad_row(engine: duckdb.DuckDBPyConnection, name: str):
    dataset = pack().dataset(name)
    cases = list(cases_of(name))
    put(engine, dataset, [example(dataset) | dict(case.cells) for case in cases])

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
    put(engine, dataset, [example(dataset)])

    broken = [
        rule.id
        for rule in row_rules(dataset)
        if engine.execute(f'SELECT ({rule.sql}) IS FALSE FROM "{dataset.name}"').fetchall() == [(True,)]
    ]

    assert not broken


def test_rule_ids_are_used_once_in_the_whole_pack():
    ids = [rule.id for dataset in pack().datasets.values() for rule in dataset.rules]

    assert len(ids) == len(set(ids))


def test_the_front_page_has_all_its_rules_but_two_that_fields_carry_and_one_that_is_a_reconciliation():
    ids = {rule.id for rule in pack().dataset("front_page").rules}

    assert {f"FP{n:03d}" for n in range(3, 55) if n != 48} <= ids
    assert "FP048" in {one.id for one in pack().quality.reconciliations}
