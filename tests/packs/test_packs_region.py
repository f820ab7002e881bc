"""Every rule over other rows of the region, shown on rows that meet it and rows that break it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from looks_by_hand import breaches
from packs_rows import Cell, example, store

from kangshu.declarations import Dataset, Pack, Rule, Scope, load_pack
from kangshu.quality.scanning import compile_scan, run_scan

CASES = tomllib.loads(Path(__file__).with_name("region_cases.toml").read_text(encoding="utf-8"))
OWN = "own rows"
MOMENTS = {
    "prescription_item": "prescribed_at",
    "lab_report": "reported_at",
    "exam_report": "reported_at",
    "operation": "operated_at",
    "charge_item": "charged_at",
}
OF_A_STAY = MOMENTS | {"lab_report": "collected_at", "exam_report": "examined_at"}
DIVISIONS = {"division": "parent_code"}


@dataclass(frozen=True)
class Case:
    """A row, told by what differs from the example, with the region's other rows; whether the rule holds."""

    holds: bool
    row: Mapping[str, Cell] = field(default_factory=dict[str, Cell])
    others: Mapping[str, Sequence[Mapping[str, Cell]]] = field(
        default_factory=dict[str, Sequence[Mapping[str, Cell]]]
    )


@cache
def pack() -> Pack:
    return load_pack()


def region_rules() -> list[tuple[Dataset, Rule]]:
    return [
        (dataset, rule)
        for dataset in pack().datasets.values()
        for rule in dataset.rules
        if rule.scope is Scope.REGION and dataset.category != "sample"
    ]


def cases_of(dataset: Dataset, rule: Rule) -> list[Case]:
    told = CASES.get(dataset.name, {}).get(rule.id)
    if told:
        return [
            Case(holds=holds, row=case.get("row", {}), others=case.get("with", {}))
            for holds, key in ((True, "holds"), (False, "broken"))
            for case in told[key]
        ]
    return list(_shared(dataset, rule.id[-3:]))


def _shared(dataset: Dataset, number: str) -> Iterator[Case]:
    """The cases of rules that are the same in many data sets."""
    if number == "061":
        yield Case(holds=True)
        yield Case(holds=False, row={"_person": ""})
    if number == "062":
        other = {dataset.key[-1]: "2027-07-01" if dataset.name == "institution_month" else "77"}
        if dataset.name == "resident":
            other = {"patient_number": "77"}
        yield Case(holds=True, others={dataset.name: [other]})
        yield Case(holds=False, others={dataset.name: [{}]})
    if number == "064":
        code = str(example(dataset)["institution_code"])
        yield Case(holds=True)
        yield Case(holds=True, others={"institution": [{"institution_code": code}]})
        yield Case(holds=False, others={"institution": [{"institution_code": "another"}]})
    if number == "067":
        name = DIVISIONS.get(dataset.name, "division_code")
        yield Case(holds=True, row={name: "990102"}, others={"division": [{"division_code": "990102"}]})
        yield Case(holds=True, row={name: ""}, others={"division": [{"division_code": "990102"}]})
        yield Case(holds=False, row={name: "990999"}, others={"division": [{"division_code": "990102"}]})
    if dataset.name in MOMENTS:
        yield from _of_visits(dataset.name, number)


def _of_visits(dataset: str, number: str) -> Iterator[Case]:
    around = {
        "outpatient_visit": [
            {"visit_number": "O1", "visited_at": "2026-03-01 09:00:00"},
            {"visit_number": "O2", "visited_at": "2026-03-09 09:00:00"},
        ]
    }
    stay = {
        "record_number": "P1",
        "admitted_at": "2026-03-02 09:00:00",
        "discharged_at": "2026-03-09 09:00:00",
    }
    later = {
        "record_number": "P2",
        "admitted_at": "2026-06-02 09:00:00",
        "discharged_at": "2026-06-09 09:00:00",
    }
    if number == "065":
        at = MOMENTS[dataset]
        row = {"visit_number": "O9", at: "2026-03-05 09:00:00"}
        told = {"visit_number": "O9", "visit_kind": "2"}
        yield Case(holds=True, row=row)
        yield Case(holds=True, row=row | {"visit_number": "O2"}, others=around)
        yield Case(holds=True, row=row, others=around | {"diagnosis": [told]})
        yield Case(holds=True, row=row | {at: "2026-03-10 09:00:00"}, others=around)
        yield Case(holds=False, row=row, others=around)
    if number == "066":
        row = {"visit_number": "I1", "patient_number": "P1", OF_A_STAY[dataset]: "2026-03-05 09:00:00"}
        outside = row | {OF_A_STAY[dataset]: "2026-03-25 09:00:00"}
        told = [{"visit_number": "I1", "visit_kind": "2"}]
        yield Case(holds=True, row=outside, others={"front_page": [stay, later]})
        yield Case(holds=True, row=row, others={"diagnosis": told, "front_page": [stay, later]})
        yield Case(holds=True, row=outside, others={"diagnosis": told, "front_page": [stay]})
        yield Case(holds=False, row=outside, others={"diagnosis": told, "front_page": [stay, later]})
    if number == "068":
        row = {"visit_number": "O2", OF_A_STAY[dataset]: "2026-03-09 08:30:00"}
        yield Case(holds=True, row=row, others=around)
        yield Case(holds=False, row=row | {OF_A_STAY[dataset]: "2026-03-08 23:00:00"}, others=around)


def _rows(dataset: Dataset, told: Sequence[Mapping[str, Cell]], *, file: int) -> list[dict[str, Cell]]:
    rows: list[dict[str, Cell]] = []
    for number, cells in enumerate(told, start=2):
        row = example(dataset) | {
            "_file": str(file),
            "_row": str(number),
            "_person": "1",
            "_institution": "one",
        }
        row |= cells
        rows.append(row | {"_at": row.get(dataset.event_time or "", "")})
    return rows


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(pack().functions)
        for dataset in pack().datasets.values():
            store(connection, dataset, [], table=dataset.name)
        yield connection


@pytest.mark.parametrize(("dataset", "rule"), region_rules(), ids=[rule.id for _, rule in region_rules()])
def test_a_rule_holds_where_it_should_and_nowhere_else(
    engine: duckdb.DuckDBPyConnection, dataset: Dataset, rule: Rule
):
    cases = cases_of(dataset, rule)
    assert {case.holds for case in cases} == {True, False}, "a good and a bad row each"

    wrong = [case for case in cases if _holds(engine, dataset, rule, case) is not case.holds]

    assert not wrong


def _holds(engine: duckdb.DuckDBPyConnection, dataset: Dataset, rule: Rule, case: Case) -> bool:
    named = {look.dataset for look in rule.looks} | {dataset.name} | set(case.others)
    own = _rows(dataset, [case.row], file=1)
    store(engine, dataset, own, table=OWN)
    for name in named:
        rows = _rows(pack().dataset(name), case.others.get(name, ()), file=9)
        if name == dataset.name:
            # What is told of the row itself holds for its likes too, unless they say otherwise.
            rows = [
                {**own[0], "_file": "9", "_row": str(number), **told}
                for number, told in enumerate(case.others.get(name, ()), start=2)
            ]
            rows = [*own, *rows]
        store(engine, pack().dataset(name), rows, table=name)
    found = breaches(engine, rule, own=f'"{OWN}"', table=lambda name: f'"{name}"')
    scanned = _scan(engine, dataset, rule)
    for name in named:
        store(engine, pack().dataset(name), [], table=name)
    assert scanned == found, "the quick way finds what the slow one does"
    return not found


def _scan(engine: duckdb.DuckDBPyConnection, dataset: Dataset, rule: Rule) -> list[tuple[int, int]]:
    """Return the breaches as the platform finds them."""
    scan = compile_scan(
        pack=pack(), dataset=dataset, rules=[rule], table=lambda name: f'"{name}"', source=f'"{OWN}"'
    )
    found = run_scan(Connected(engine), scan, functions="")
    return sorted((one.file, int(row)) for one in found.findings() for row in one.rows)


class Connected:
    """A connection with the functions on it, as an engine."""

    name = "duckdb"

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def table_sql(self, *, dataset: Dataset, segments: Sequence[object]) -> str:
        raise NotImplementedError("these rows are in tables")

    def query(self, sql: str, *, functions: str = "") -> Iterator[pa.RecordBatch]:
        yield from self._connection.execute(sql).to_arrow_reader()


def test_cases_are_told_of_rules_that_there_are():
    known = {(dataset.name, rule.id) for dataset, rule in region_rules()}

    assert {(name, rule) for name, rules in CASES.items() for rule in rules} <= known


def test_a_dear_stay_is_looked_at_again_where_there_are_enough_like_it(engine: duckdb.DuckDBPyConnection):
    dataset = pack().dataset("front_page")
    rule = next(rule for rule in dataset.rules if rule.id == "FP047")

    def dear(stays: int) -> list[tuple[int, int]]:
        store(engine, dataset, _rows(dataset, [{}], file=1), table="one stay")
        costs = "CASE n WHEN 5 THEN 900000 WHEN 9 THEN 90 ELSE 9000 + n * 10 END"
        engine.execute(
            f"""CREATE OR REPLACE TEMP TABLE front_page AS
            SELECT one.* REPLACE (n AS _row, 10 AS stay_days, {costs} AS total_cost)
            FROM "one stay" AS one, range({stays}) AS r(n)"""
        )
        return breaches(engine, rule, own='"front_page"', table=lambda name: f'"{name}"')

    found, unknown = dear(200), dear(99)
    store(engine, dataset, [], table="front_page")

    assert found == [(1, 5), (1, 9)]
    assert unknown == []
