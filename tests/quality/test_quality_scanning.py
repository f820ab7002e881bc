"""The scan finds exactly the rows that break each rule. All rows are made up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanning_world import (
    ELSEWHERE,
    FUNCTIONS,
    PACK,
    RULES,
    TWINS,
    VISIT,
    Region,
    Row,
    ask_one_by_one,
    rows_sql,
    rule,
)

from kangshu.declarations import Look, Rule, Scope, load_pack
from kangshu.lake import Engine, LakeEngine, LakeError
from kangshu.quality.scanning import Scanned, compile_scan, places_of_bits, run_scan

KEY = [("_file", "ascending"), ("_institution", "ascending"), ("month", "ascending")]


class Once:
    """An engine with the platform's own DuckDB, kept open between examples."""

    def __init__(self, home: Path) -> None:
        self.engine = Engine(home, threads=1)
        self.asked: list[str] = []

    @property
    def name(self) -> str:
        return self.engine.name

    def table_sql(self, *, dataset: Any, segments: Any) -> str:
        return self.engine.table_sql(dataset=dataset, segments=segments)

    def query(self, sql: str, *, functions: str = "") -> Iterator[pa.RecordBatch]:
        self.asked.append(sql)
        yield from self.engine.query(sql, functions=functions)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Once]:
    home = tmp_path_factory.mktemp("scan")
    (home / "lake" / "temp").mkdir(parents=True, exist_ok=True)
    once = Once(home)
    yield once
    once.engine.close()


def scan(
    engine: LakeEngine, region: Region, rules: Sequence[Rule], *, files: Sequence[int] | None = None
) -> Scanned:
    compiled = compile_scan(
        pack=PACK, dataset=VISIT, rules=rules, table=region.table, source=region.table("visit", files)
    )
    return run_scan(engine, compiled, functions=FUNCTIONS)


def found(scanned: Scanned) -> dict[str, set[tuple[int, int]]]:
    """Return the failing rows by rule, out of the bits; each row stands once."""
    failing = scanned.failing
    keys = list(zip(failing["_file"].to_pylist(), failing["_row"].to_pylist(), strict=True))
    assert len(set(keys)) == len(keys)
    broken: dict[str, set[tuple[int, int]]] = {one.id: set() for one in scanned.scan.rules}
    for number, one in enumerate(scanned.scan.rules):
        words = failing[f"m{number // 62}"].to_pylist()
        broken[one.id] = {key for key, word in zip(keys, words, strict=True) if word >> (number % 62) & 1}
    return broken


def visit(file: int, row: int, **values: Any) -> Row:
    """A row of one institution for each odd and even file."""
    known = {
        "_person": row,
        "_institution": f"99{file % 2}",
        "_at": datetime(2026, 3, 5, 8),
        "number": f"V{row}",
        "begins": 1,
        "ends": 2,
        "cost": Decimal(1),
    } | values
    return (file, row, *known.values())


@st.composite
def regions(draw: st.DrawFn) -> Region:
    files = st.integers(1, 3)
    few = st.one_of(st.none(), st.integers(0, 3))
    numbers = st.sampled_from([None, "", "-", "A", "a", "B", "orders.rows"])
    moments = st.sampled_from([None, datetime(2026, 1, 31, 23), datetime(2026, 2, 1)])
    costs = st.one_of(st.none(), st.decimals(0, 9, places=2))
    places = st.sampled_from(["990", "991"])
    row = st.tuples(files, st.just(0), few, places, moments, numbers, few, few, costs)
    order = st.tuples(
        *(files, st.just(0), few, places, moments, numbers, st.sampled_from([None, "lab", "drug"]), few)
    )
    visits = draw(st.lists(row, max_size=9))
    orders = draw(st.lists(order, max_size=9))
    return Region(
        visits=[(one[0], number, *one[2:]) for number, one in enumerate(visits, 2)],
        orders=[(one[0], number, *one[2:]) for number, one in enumerate(orders, 2)],
    )


@given(region=regions())
@settings(max_examples=60)
def test_the_scan_finds_what_each_rule_asked_alone_of_each_row_finds(engine: Once, region: Region):
    scanned = scan(engine, region, RULES)

    assert found(scanned) == ask_one_by_one(region, RULES)


@given(region=regions())
@settings(max_examples=30)
def test_files_scanned_one_by_one_give_what_all_give_together(engine: Once, region: Region):
    whole = found(scan(engine, region, RULES))

    parts = [found(scan(engine, region, RULES, files=[file])) for file in (1, 2, 3)]

    assert {one.id: set().union(*(part[one.id] for part in parts)) for one in RULES} == whole


@given(region=regions())
@settings(max_examples=20)
def test_care_changes_nothing_where_all_can_be_computed(engine: Once, region: Region):
    quick = scan(engine, region, RULES)

    careful = Scanned(quick.scan, list(engine.query(quick.scan.careful_sql, functions=FUNCTIONS)))

    assert found(careful) == found(quick)
    assert careful.totals.sort_by(KEY).equals(quick.totals.sort_by(KEY))


@given(region=regions())
@settings(max_examples=40)
def test_totals_counts_findings_and_failing_rows_add_up(engine: Once, region: Region):
    scanned = scan(engine, region, RULES)

    place = {row[:2]: (row[3], row[4] and date(row[4].year, row[4].month, 1)) for row in region.visits}
    expected = Counter(
        (place[key][0], place[key][1], rule_id) for rule_id, keys in found(scanned).items() for key in keys
    )
    counts = scanned.counts().to_pylist()
    assert {(one["_institution"], one["month"], one["rule"]): one["rows"] for one in counts} == expected
    findings = list(scanned.findings())
    assert {
        (one.file, one.institution, one.month, one.rule.id, row)
        for one in findings
        for row in one.rows.tolist()
    } == {(key[0], *place[key], rule_id, key[1]) for rule_id, keys in found(scanned).items() for key in keys}
    assert all(np.all(np.diff(one.rows) > 0) for one in findings)
    totals = scanned.totals.to_pylist()
    assert {(one["_file"], one["_institution"], one["month"]): one["rows"] for one in totals} == Counter(
        (key[0], *value) for key, value in place.items()
    )
    assert sum(one["failing"] for one in totals) == len(set().union(*found(scanned).values()))
    assert sum(one["applied.sized"] for one in totals) == sum((row[6] or 0) > 1 for row in region.visits)


@pytest.mark.parametrize("careful", [False, True])
def test_a_rule_that_is_null_holds(engine: Once, careful: bool):
    region = Region(visits=[visit(1, 2, begins=None), visit(1, 3, begins=9)])
    rules = [rule("order", "begins <= ends")]
    if careful:
        rules.append(rule("overflow", "CAST(cost * 9999999 AS DECIMAL(9, 2)) > 0"))

    assert found(scan(engine, region, rules))["order"] == {(1, 3)}


def test_a_rule_that_cannot_be_computed_for_a_row_is_broken_by_that_row_alone(engine: Once):
    huge = 9_223_372_036_854_775_807
    region = Region(visits=[visit(1, 2, begins=huge), visit(1, 3), visit(1, 4, begins=huge, ends=3)])
    rules = [
        rule("sum", "begins + ends > 0"),
        rule("plain", "ends = 2"),
        rule("some", "begins + ends > 0", applies="ends = 3"),
        rule("who", "begins > 0", applies="begins + ends > 0"),
        rule("twice", "(begins + ends) * (begins + ends) > 0"),
    ]

    scanned = scan(engine, region, rules)

    assert found(scanned) == {
        "sum": {(1, 2), (1, 4)},
        "plain": {(1, 4)},
        "some": {(1, 4)},
        "who": set(),
        "twice": {(1, 2), (1, 4)},
    }
    assert scanned.totals["applied.who"].to_pylist() == [3]


def test_a_window_that_cannot_be_computed_for_a_row_leaves_the_others_their_verdicts(engine: Once):
    huge = 9_223_372_036_854_775_807
    region = Region(visits=[visit(1, 2), visit(1, 3, begins=huge), visit(1, 4, begins=3), visit(1, 5)])
    over = "OVER (PARTITION BY ends ORDER BY _file, _row)"
    look = Look(name="same", dataset="visit", on=(("ends", "ends"),))
    rules = [
        rule("falls", f"begins + ends >= lag(begins + ends) {over}", scope=Scope.REGION),
        rule("sum", f"begins + lag(begins, 1, 0) {over} > 0", scope=Scope.REGION, applies="_row < 5"),
        rule("look", f"begins * same.rows >= first(same.rows - 3) {over}", scope=Scope.REGION, looks=(look,)),
        rule("text", "begins - ends < 2 /* over ( */ OR number = 'over ('"),
    ]

    whole = found(scan(engine, region, rules))

    assert whole == {
        "falls": {(1, 3), (1, 5)},
        "sum": {(1, 3), (1, 4)},
        "look": {(1, 3)},
        "text": {(1, 3)},
    }
    assert found(scan(engine, region, rules, files=[1])) == whole


def test_what_cannot_be_computed_in_a_look_belongs_to_nobody(engine: Once):
    look = Look(
        name="next",
        dataset="visit",
        on=(("begins + ends", "ends"),),
        where="ends * ends > 0",
    )
    huge = 9_223_372_036_854_775_807
    region = Region(
        visits=[
            visit(1, 2, begins=huge),
            visit(1, 3, begins=0),
            visit(1, 4, begins=0, ends=huge),
            visit(1, 5),
        ]
    )

    rules = [rule("next", "next.rows > 0", scope=Scope.REGION, looks=(look,))]

    assert found(scan(engine, region, rules)) == {"next": {(1, 2), (1, 4), (1, 5)}}


def test_a_source_that_is_not_there_is_the_engines_error(engine: Once):
    compiled = compile_scan(
        pack=PACK, dataset=VISIT, rules=RULES[:1], table=lambda _name: "nowhere", source="nowhere"
    )

    with pytest.raises(LakeError):
        run_scan(engine, compiled, functions=FUNCTIONS)


def test_more_rules_than_a_word_has_bits_are_told_apart(engine: Once):
    region = Region(visits=[visit(1, row, begins=row) for row in range(2, 160)])
    rules = [rule(f"not-{number}", f"begins <> {number}") for number in range(130)]
    rules += [rule(f"some-{number}", "begins > 0", applies=f"begins = {number}") for number in range(70)]
    rules += [rule("once", scope=Scope.FILE, unique=("ends",))]

    scanned = scan(engine, region, rules)

    assert scanned.scan.words == 4
    broken = found(scanned)
    assert all(broken[f"not-{number}"] == {(1, number)} for number in range(2, 130))
    assert broken["once"] == {(1, row) for row in range(3, 160)}
    assert [scanned.totals[f"applied.some-{number}"][0].as_py() for number in (1, 2, 69)] == [0, 1, 1]
    words = [scanned.failing[f"m{word}"].to_numpy() for word in range(4)]
    assert {number: len(places) for number, places in places_of_bits(words, count=201)} == {
        **dict.fromkeys(range(2, 130), 1),
        200: 157,
    }


def test_a_person_in_two_institutions_at_the_same_time_is_found_in_both(engine: Once):
    region = Region(
        visits=[
            visit(1, 2, _person=7, begins=1, ends=5),
            visit(2, 2, _person=7, begins=4, ends=9),
            visit(2, 3, _person=7, begins=9, ends=9),
            visit(1, 3, _person=None, begins=1, ends=5),
            visit(2, 4, _person=None, begins=1, ends=5),
        ]
    )
    rules = [rule("elsewhere", "elsewhere.rows = 0", scope=Scope.REGION, looks=(ELSEWHERE,))]

    assert found(scan(engine, region, rules))["elsewhere"] == {(1, 2), (2, 2)}
    assert found(scan(engine, region, rules, files=[2]))["elsewhere"] == {(2, 2)}


def test_a_row_looks_at_itself_where_nothing_forbids_it(engine: Once):
    region = Region(visits=[visit(1, 2), visit(1, 3, number=None)])

    scanned = scan(engine, region, [rule("twins", "twins.rows = 0", scope=Scope.REGION, looks=(TWINS,))])

    assert found(scanned)["twins"] == {(1, 2)}


def test_a_scan_of_no_rows_finds_nothing(engine: Once):
    scanned = scan(engine, Region(visits=[]), RULES)

    assert scanned.totals.num_rows == scanned.failing.num_rows == scanned.counts().num_rows == 0
    assert list(scanned.findings()) == []


def test_a_scan_is_one_statement_and_careful_only_where_it_must(engine: Once):
    engine.asked.clear()

    scan(engine, Region(visits=[visit(1, 2)]), RULES)

    assert len(engine.asked) == 1
    assert "TRY" not in engine.asked[0]


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [rule("same", "true"), rule("same", "false")],
        [rule("cell", "now.rows > 0", scope=Scope.CELL)],
    ],
)
def test_what_is_no_scan_is_refused(rules: list[Rule]):
    region = Region(visits=[])

    with pytest.raises(ValueError, match="rule"):
        compile_scan(pack=PACK, dataset=VISIT, rules=rules, table=region.table, source=region.table("visit"))


@pytest.mark.parametrize("name", sorted(load_pack().datasets))
def test_all_rules_of_the_built_in_pack_are_one_statement_for_each_data_set(engine: Once, name: str):
    pack = load_pack()
    rules = [one for one in pack.dataset(name).rules if one.scope is not Scope.CELL]

    def empty(other: str) -> str:
        return rows_sql(pack.dataset(other), [])

    compiled = compile_scan(
        pack=pack,
        dataset=pack.dataset(name),
        rules=rules,
        table=empty,
        source=f"(SELECT * FROM {empty(name)} AS rows_of_files WHERE _file IN (1))",
    )

    for sql in (compiled.sql, compiled.careful_sql):
        assert sum(len(batch) for batch in engine.query(sql, functions=pack.functions)) == 0
