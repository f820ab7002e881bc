"""What a cell says, what it fails, and that the fast way of finding out agrees with the slow one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kangshu.declarations import (
    Code,
    CodeTable,
    Dataset,
    Dimension,
    Field,
    FieldType,
    Obligation,
    Pack,
    Role,
    Rule,
    Scope,
    Severity,
    duckdb_type,
    load_pack,
)
from kangshu.intake import CheckedBatch, CheckEngine, Failure, FileCheck, compile_plan, recognise
from kangshu.intake.checking import SeenKeys
from kangshu.intake.columns import ColumnPlan, build_lists, check_column
from kangshu.intake.compiling import RuleQuery, compile_rules, row_rules
from kangshu.kernel.texts import Text
from kangshu.standards.tables import Batch, RaggedRow, RowFault, RowFaultKind

ARRIVED = datetime(2026, 3, 5, 12, 0)
SENDER, BRANCH = "H001", "H002"


def text(words: str) -> Text:
    return Text(zh=words, en=words)


def a_field(name: str, kind: str = "string", **more: Any) -> Field:
    more.setdefault("obligation", Obligation.OPTIONAL)
    return Field(name=name, title=text(f"{name} title"), type=FieldType(kind), **more)


def a_rule(number: str, sql: str, *fields: str, severity: str = "error", **more: Any) -> Rule:
    return Rule(
        id=number,
        severity=Severity(severity),
        dimension=Dimension.CONSISTENCY,
        scope=Scope.FILE if more.get("unique") else Scope.ROW,
        fields=fields,
        message=text(number),
        sql=sql,
        **more,
    )


REQUIRED = Obligation.REQUIRED
STAY = Dataset(
    name="stay",
    title=text("Stay"),
    edition="1",
    source="made for this test",
    category="clinical",
    description=text(""),
    valid_from=date(2026, 1, 1),
    absent_marks=("-", "—"),
    fields=(
        a_field("institution_code", length=4, exact_length=True, obligation=REQUIRED, role=Role.INSTITUTION),
        a_field("patient_number", length=12, obligation=REQUIRED, role=Role.LOCAL_NUMBER),
        a_field("patient_name", length=6, role=Role.NAME),
        a_field("sex", length=1, role=Role.SEX, value_set="sex"),
        a_field("born", "date", role=Role.BIRTH_DATE),
        a_field("admitted_at", "datetime", obligation=REQUIRED),
        a_field("days", "integer", length=3, minimum=0, maximum=400, obligation=REQUIRED),
        a_field("big", "integer"),
        a_field("serial", "integer", length=4),
        a_field("any_number", "integer"),
        a_field("cost", "decimal", length=8, scale=2, minimum=0),
        a_field("position", "decimal", length=20, scale=16),
        a_field("alive", "boolean"),
        a_field("ward", pattern=r"[A-Z]\d{2}"),
        a_field("note", length=5),
        a_field("grade", length=2, value_set="sample"),
        a_field("level", "integer", value_set="sex"),
        a_field("diagnosis", length=8, repeat=4),
        a_field("operated_at", "datetime", repeat=4),
    ),
    rules=(
        a_rule("R1", "admitted_at >= born", "born", "admitted_at"),
        a_rule("R2", "cost > 0 OR days = 0", "cost", "days", severity="warning"),
        a_rule("R3", "big * big >= 0", "big"),
        a_rule("R4", "sex <> '1' OR patient_name <> 'Anna'", "patient_name", "sex"),
        a_rule("R5", "not_after(admitted_at)", "admitted_at", severity="warning"),
        a_rule("R6", "list_max(operated_at) <= admitted_at + to_days(days::INTEGER)", "operated_at"),
        a_rule("R7", "coalesce(array_to_string(diagnosis, ' '), '') NOT LIKE '%Z%'", "diagnosis"),
        a_rule("U1", "", "patient_number", unique=("institution_code", "patient_number", "admitted_at")),
    ),
)
CODES = {
    "sex": CodeTable(
        name="sex",
        title=text("Sex"),
        edition="1",
        source="",
        codes=tuple(Code(code=code, title=text(code)) for code in "0129"),
    ),
    "sample": CodeTable(
        name="sample", title=text("Sample"), edition="1", source="", codes=(), complete=False
    ),
}
PACK = Pack(
    name="test",
    edition="1",
    title=text("test"),
    datasets={"stay": STAY},
    codes=CODES,
    functions="""
        CREATE OR REPLACE MACRO arrival() AS getvariable('received_at')::TIMESTAMP;
        CREATE OR REPLACE MACRO not_after(x) AS x <= arrival();
    """,
)
ENGINE = CheckEngine(pack=PACK)
GOOD = {
    "institution_code": SENDER,
    "patient_number": "P1",
    "patient_name": "Anna",
    "sex": "2",
    "born": "1968-05-12",
    "admitted_at": "2026-03-02 09:30:00",
    "days": "8",
    "cost": "12.50",
}


def a_batch(rows: Sequence[Mapping[str, str | None]], *, names: Sequence[str], first: int = 2) -> Batch:
    columns = {
        f"c{n}": pa.array([row.get(name) for row in rows], pa.string()) for n, name in enumerate(names)
    }
    numbers = pa.array(range(first, first + len(rows)), pa.int64())
    return Batch(table=pa.table({**columns, "_row": numbers}))


def a_check(names: Sequence[str], *, allowed: Sequence[str] | None = None) -> FileCheck:
    recognition = recognise(headings=names, pack=PACK, dataset="stay")
    plan = compile_plan(recognition=recognition, pack=PACK, allowed=allowed)
    return FileCheck(engine=ENGINE, plan=plan, received_at=ARRIVED)


def check_rows(
    *rows: Mapping[str, str | None], names: Sequence[str] | None = None, allowed: Sequence[str] | None = None
) -> CheckedBatch:
    """Check rows that differ from a good one as they say."""
    names = names or list(dict.fromkeys([*GOOD, *(name for row in rows for name in row)]))
    full = [{**GOOD, "patient_number": f"P{number}", **row} for number, row in enumerate(rows)]
    return a_check(names, allowed=allowed).check(a_batch(full, names=names))


def found(checked: CheckedBatch) -> list[tuple[int, str, str]]:
    return sorted((one.row, one.code, one.field) for one in checked.failures)


# One cell. A verdict is the value that the lake gets, or the check that fails.

AT = datetime(2024, 2, 3, 8, 30)
CELLS: list[tuple[str, str, Any]] = [
    # days
    ("born", "2024-02-03", date(2024, 2, 3)),
    ("born", "20240203", date(2024, 2, 3)),
    ("born", "2024/02/03", date(2024, 2, 3)),
    ("born", "2024.2.3", date(2024, 2, 3)),
    ("born", "2024年2月3日", date(2024, 2, 3)),
    ("born", "2024-02-29", date(2024, 2, 29)),
    ("born", "2024-02-03 00:00:00", date(2024, 2, 3)),
    ("born", "2024-02-03T00:00:00.000", date(2024, 2, 3)),
    ("born", "2024-02-03 08:30:00", "type"),
    ("born", "2024-02-30", "type"),
    ("born", "20240230", "type"),
    ("born", "2023-02-29", "type"),
    ("born", "2024-13-01", "type"),
    ("born", "2024-00-10", "type"),
    ("born", "2024-02-00", "type"),
    ("born", "2024-02/03", "type"),
    ("born", "2024-0２-03", "type"),
    ("born", "202402", "type"),
    ("born", "24-02-03", "type"),
    ("born", "12024-02-03", "type"),
    ("born", "0000-01-01", "type"),
    ("born", "1066-10-14", date(1066, 10, 14)),
    ("born", "2024-02-03 BC", "type"),
    ("born", "infinity", "type"),
    ("born", "epoch", "type"),
    ("born", "today", "type"),
    ("born", "45000", "type"),
    ("born", "-", None),
    ("born", "—", None),
    # moments
    ("admitted_at", "2024-02-03 08:30:00", AT),
    ("admitted_at", "2024-02-03T08:30:00", AT),
    ("admitted_at", "2024/02/03 08:30", AT),
    ("admitted_at", "2024-2-3 8:30", AT),
    ("admitted_at", "20240203083000", AT),
    ("admitted_at", "20240203 08:30:00", AT),
    ("admitted_at", "202402030830", AT),
    ("admitted_at", "2024年02月03日 08:30:00", AT),
    ("admitted_at", "2024-02-03 08:30:00.25", AT.replace(microsecond=250_000)),
    ("admitted_at", "2024-02-03T08:30:00+08:00", AT),
    ("admitted_at", "2024-02-03T00:30:00Z", AT),
    ("admitted_at", "2024-02-03", datetime(2024, 2, 3)),
    ("admitted_at", "20240203", datetime(2024, 2, 3)),
    ("admitted_at", "2024-02-30 08:30:00", "type"),
    ("admitted_at", "2024-02-03 24:00:00", "type"),
    ("admitted_at", "2024-02-03 08:60:00", "type"),
    ("admitted_at", "2024-02-03 08:30:60", "type"),
    ("admitted_at", "2024-02-03x08:30:00", "type"),
    ("admitted_at", "2024-02-03 08-30-00", "type"),
    ("admitted_at", "08:30:00", "type"),
    ("admitted_at", "now", "type"),
    # whole numbers
    ("days", "5", 5),
    ("days", "005", 5),
    ("days", "+5", 5),
    ("days", "5.0", 5),
    ("days", "-0", 0),
    ("days", "5.5", "type"),
    ("days", "4.9999999", "type"),
    ("days", "5.", "type"),
    ("days", "1e2", "type"),
    ("days", "1e999", "type"),
    ("days", "0x10", "type"),
    ("days", "0b1", "type"),
    ("days", "1_0", "type"),
    ("days", "５", "type"),
    ("days", "٥", "type"),
    ("days", " 5 ", "type"),
    ("days", "5天", "type"),
    ("days", "=1+1", "type"),
    ("days", "--5", "type"),
    ("days", "NaN", "type"),
    ("days", "401", "range"),
    ("days", "-1", "range"),
    ("days", "-", None),
    ("serial", "9999", 9999),
    ("serial", "09999", 9999),
    ("serial", "-9999", -9999),
    ("serial", "10000", "length"),
    ("any_number", "999999999999999999", 999_999_999_999_999_999),
    ("any_number", "1000000000000000000", "type"),
    ("any_number", "9223372036854775808", "type"),
    # decimals: eight digits, two of them after the point
    ("cost", "12.5", Decimal("12.50")),
    ("cost", "12.50", Decimal("12.50")),
    ("cost", "12.5000", Decimal("12.50")),
    ("cost", "012", Decimal("12.00")),
    ("cost", ".5", Decimal("0.50")),
    ("cost", "12.", Decimal("12.00")),
    ("cost", "1e2", Decimal("100.00")),
    ("cost", "5e-02", Decimal("0.05")),
    ("cost", "999999.99", Decimal("999999.99")),
    ("cost", "0.07", Decimal("0.07")),
    ("cost", "1.005", "type"),
    ("cost", "12.345", "type"),
    ("cost", "12.3400000000001", "type"),
    ("cost", "12.34000000000000000001", "type"),
    ("cost", "1000000.00", "type"),
    ("cost", "99999999999999999999", "type"),
    ("cost", "1e999", "type"),
    ("cost", "1.2.3", "type"),
    ("cost", ".", "type"),
    ("cost", "1,200.00", "type"),
    ("cost", "0x10", "type"),
    ("cost", "inf", "type"),
    ("cost", "１２", "type"),
    ("cost", "-0.01", "range"),
    ("cost", "-", None),
    ("position", "42.3523634523452512", Decimal("42.3523634523452512")),
    ("position", "-71.0837", Decimal("-71.0837000000000000")),
    ("position", "42.35236345234525121", "type"),
    ("position", "12345.0", "type"),
    # yes and no
    ("alive", "1", True),
    ("alive", "是", True),
    ("alive", "TRUE", True),
    ("alive", "n", False),
    ("alive", "否", False),
    ("alive", "2", "type"),
    ("alive", "-", None),
    # texts, which keep a mark of "none"
    ("note", "五个汉字啊", "五个汉字啊"),
    ("note", "六个汉字多了", "length"),
    ("note", "abcdef", "length"),
    ("note", "-", "-"),
    ("institution_code", "H001", "H001"),
    ("institution_code", "H01", "exact_length"),
    ("institution_code", "H00１2", "exact_length"),
    ("institution_code", "-", "exact_length"),
    ("ward", "A12", "A12"),
    ("ward", "A123", "pattern"),
    ("ward", "A１2", "pattern"),
    ("ward", "-", "-"),
    ("sex", "2", "2"),
    ("sex", "3", "domain"),
    ("sex", "-", "-"),
    ("grade", "x", "x"),
    ("grade", "xxx", "length"),
    ("level", "9", 9),
    ("level", "09", 9),
    ("level", "3", "domain"),
]


@pytest.mark.parametrize(("name", "cell", "verdict"), CELLS)
def test_a_cell_has_the_value_or_the_fault_that_the_table_says(name: str, cell: str, verdict: Any):
    checked = check_rows({name: cell}, names=list(dict.fromkeys([*GOOD, name])))

    if isinstance(verdict, str) and verdict != cell:
        assert [(one.code, one.field) for one in checked.failures if one.code[0].islower()] == [
            (verdict, name)
        ]
        assert checked.rejected == 1
    else:
        assert not [one for one in checked.failures if one.field == name and one.code[0].islower()]
        assert found(checked) == []
        assert checked.good[name].to_pylist() == [verdict]


@pytest.mark.parametrize("name", ["institution_code", "patient_number", "admitted_at", "days"])
def test_an_empty_required_cell_is_a_fault_of_its_own(name: str):
    assert found(check_rows({}, {name: None})) == [(3, "required", name)]


def test_a_row_with_several_faults_is_one_row_refused_and_every_reason_told():
    checked = check_rows({"sex": "7", "days": "x", "born": "2026-13-01"}, {})

    assert found(checked) == [(2, "domain", "sex"), (2, "type", "born"), (2, "type", "days")]
    assert (checked.rejected, checked.good["_row"].to_pylist()) == (1, [3])


def test_a_sender_reports_for_itself_and_its_branches_only():
    rows = ({}, {"institution_code": BRANCH}, {"institution_code": "H009"})

    assert found(check_rows(*rows, allowed=[SENDER, BRANCH])) == [(4, "institution", "institution_code")]
    assert found(check_rows(*rows, allowed=None)) == []
    assert len(found(check_rows(*rows, allowed=[]))) == 3


def test_the_directory_may_name_any_institution():
    directory = replace(STAY, category="directory")
    pack = replace(PACK, datasets={"stay": directory})
    recognition = recognise(headings=list(GOOD), pack=pack, dataset="stay")
    plan = compile_plan(recognition=recognition, pack=pack, allowed=[SENDER])

    checked = FileCheck(engine=ENGINE, plan=plan, received_at=None).check(
        a_batch([{**GOOD, "institution_code": "H009"}], names=list(GOOD))
    )

    assert checked.rejected == 0


def test_columns_that_the_data_set_does_not_know_are_passed_over():
    checked = check_rows({"remark": "whatever", "days": "9"})

    assert checked.rejected == 0
    assert "remark" not in checked.good.column_names
    assert checked.good["days"].to_pylist() == [9]


def test_repeated_columns_become_lists_with_every_value_in_its_place():
    rows = [
        {"diagnosis": "I10", "diagnosis_3": "E11", "operated_at_2": "2026-03-03 10:00:00"},
        {"diagnosis_2": "-"},
        {},
    ]

    checked = check_rows(*rows)

    assert checked.good["diagnosis"].to_pylist() == [["I10", None, "E11"], [None, "-"], None]
    assert checked.good["operated_at"].to_pylist() == [[None, datetime(2026, 3, 3, 10)], None, None]


def test_a_fault_in_a_repeated_column_names_its_repeat():
    checked = check_rows({"diagnosis": "I10", "diagnosis_3": "much too long"}, {"operated_at_2": "soon"})

    assert checked.failures == (
        Failure(row=2, code="length", field="diagnosis", repeat=3),
        Failure(row=3, code="type", field="operated_at", repeat=2),
    )


def test_a_rule_refuses_the_rows_that_break_it_and_a_missing_value_breaks_none():
    rows = [{}, {"born": "2026-03-03"}, {"born": None}, {"patient_name": "Anna", "sex": "1"}]

    assert found(check_rows(*rows)) == [(3, "R1", "born"), (5, "R4", "patient_name")]


def test_rules_see_lists_and_absent_columns_as_null():
    rows = [{"diagnosis_2": "Z99"}, {"operated_at_4": "2027-01-01 00:00"}]

    assert found(check_rows(*rows)) == [(2, "R7", "diagnosis"), (3, "R6", "operated_at")]


def test_a_rule_that_cannot_be_computed_refuses_its_row_and_no_other():
    checked = check_rows({"big": "3"}, {"big": "999999999999999999"}, {"big": "4", "born": "2026-03-03"})

    assert found(checked) == [(3, "R3", "big"), (4, "R1", "born")]


def test_warnings_are_counted_on_accepted_rows_only():
    rows = [{"cost": "0"}, {"cost": "0"}, {"cost": "0", "sex": "7"}, {"cost": "0", "days": "0"}, {}]

    checked = check_rows(*rows)

    assert checked.warned == Counter({"R2": 2})
    assert checked.rejected == 1


def test_a_rule_about_the_arrival_looks_at_each_files_own():
    later = {"admitted_at": "2026-04-01 00:00"}
    names = list(GOOD)
    plan = compile_plan(
        recognition=recognise(headings=names, pack=PACK, dataset="stay"), pack=PACK, allowed=None
    )
    batch = a_batch([{**GOOD, **later}], names=names)

    warned = [
        FileCheck(engine=ENGINE, plan=plan, received_at=moment).check(batch).warned["R5"]
        for moment in (ARRIVED, datetime(2026, 5, 1), None, ARRIVED)
    ]

    assert warned == [1, 0, 0, 1]


def test_of_rows_with_the_same_key_the_first_good_one_stays_also_across_batches():
    names = list(GOOD)
    check = a_check(names)
    first = a_batch([{**GOOD, "sex": "7"}, GOOD, GOOD, {**GOOD, "patient_number": "P2"}], names=names)
    second = a_batch(
        [{**GOOD, "patient_number": "P2"}, {**GOOD, "patient_number": "P3"}], names=names, first=6
    )

    one, two = check.check(first), check.check(second)

    assert found(one) == [(2, "domain", "sex"), (4, "U1", "institution_code")]
    assert one.good["_row"].to_pylist() == [3, 5]
    assert found(two) == [(6, "U1", "institution_code")]
    assert two.good["_row"].to_pylist() == [7]


@pytest.mark.parametrize("number", ["-", "—"])
def test_a_key_that_states_none_is_nobodys_double(number: str):
    assert found(check_rows({"patient_number": number}, {"patient_number": number})) == []


def test_rows_say_the_same_claim_when_all_about_the_person_agrees():
    rows = [
        {"patient_number": "P1", "note": "a"},
        {"patient_number": "P1", "note": "b", "admitted_at": "2026-03-03 10:00"},
        {"patient_number": "P1", "institution_code": BRANCH},
        {"patient_number": "P1", "patient_name": None, "days": "9", "admitted_at": "2026-03-04"},
    ]

    claims = check_rows(*rows).good["_claim"].to_pylist()

    assert claims[0] == claims[1]
    assert len(set(claims)) == 3, "the same number of two institutions is not the same person"


def test_unreadable_rows_are_refused_with_their_place():
    names = list(GOOD)
    batch = replace(
        a_batch([GOOD], names=names),
        ragged=(RaggedRow(row=7, expected=8, actual=3),),
        faults=(
            RowFault(row=8, kind=RowFaultKind.NUL, column=names.index("sex")),
            RowFault(row=9, kind=RowFaultKind.ROW_TOO_LONG),
        ),
    )

    checked = a_check(names).check(batch)

    assert found(checked) == [(7, "ragged", ""), (8, "nul", "sex"), (9, "row-too-long", "")]
    assert (checked.rejected, checked.good.num_rows) == (3, 1)


def test_a_batch_may_have_no_rows():
    names = list(GOOD)

    checked = a_check(names).check(
        replace(a_batch([], names=names), ragged=(RaggedRow(row=2, expected=8, actual=1),))
    )

    assert (checked.good.num_rows, checked.rejected) == (0, 1)
    assert checked.good.schema.names == ["_row", *names, "_claim"]


def test_every_rule_of_the_base_pack_can_be_asked_in_both_ways():
    pack = load_pack()
    with duckdb.connect() as engine:
        engine.execute(pack.functions)
        for dataset in pack.datasets.values():
            queries = compile_rules(dataset=dataset, functions=pack.functions)
            columns = ", ".join(f'"{field.name}" {duckdb_type(field)}' for field in dataset.fields)
            engine.execute(f"CREATE OR REPLACE TABLE batch ({columns}, _row BIGINT)")
            engine.execute("INSERT INTO batch (_row) VALUES (1)")
            for query in (queries.rows, queries.persons, queries.momentary):
                if query.rules or query.extra:
                    normal = engine.execute(query.sql).fetchall()
                    careful = engine.execute(query.careful_sql).fetchall()
                    assert len(normal) == len(careful) == 1


def test_rows_that_two_rules_cannot_be_computed_for_break_both():
    """What two rules share DuckDB computes once, outside of what would hold its failure back."""
    dataset = load_pack().datasets["front_page"]
    shared = "(total_cost * 1000000000000000000000000000000)"
    rules = tuple(
        replace(row_rules(dataset)[0], id=name, sql=f"{shared} {comparison} 0")
        for name, comparison in (("X1", ">"), ("X2", "<>"))
    )
    query = RuleQuery(rules=rules, fields=(dataset.field("total_cost"),), extra=("_row",))
    with duckdb.connect() as engine:
        engine.execute("CREATE TABLE batch (total_cost DECIMAL(18, 2), _row BIGINT)")
        engine.execute("INSERT INTO batch VALUES (1, 1), (1e14, 2)")
        with pytest.raises(duckdb.Error):
            engine.execute(query.sql).fetchall()
        assert engine.execute(query.careful_sql).fetchall() == [(1, True, True), (2, False, False)]


# The laws

ODD = st.text(st.sampled_from("0123456789 .-+eExT:/Z年月日是n１²\u00e9—"), min_size=1, max_size=20)
YEARS = st.dates(date(1700, 1, 1), date(2300, 1, 1))
MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(2300, 1, 1))
FORMS = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%Y-%d-%m")
TIME_FORMS = (
    *FORMS,
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y%m%d%H%M%S",
    "%Y%m%d %H:%M:%S",
    "%Y%m%d%H%M",
    "%Y-%m-%d %S:%M:%H",
)
CELLS_OF: dict[str, st.SearchStrategy[str]] = {
    "born": st.builds(lambda day, form: day.strftime(form), YEARS, st.sampled_from(FORMS)),
    "admitted_at": st.builds(lambda at, form: at.strftime(form), MOMENTS, st.sampled_from(TIME_FORMS)),
    "days": st.integers(-2000, 2000).map(str),
    "serial": st.integers(-20_000, 20_000).map(str),
    "any_number": st.integers(-(10**19), 10**19).map(str),
    "cost": st.decimals(-10, 10**7, places=3).map(str) | st.decimals(0, 10**6, places=2).map(str),
    "position": st.decimals(-180, 180, places=17).map(str) | st.decimals(-90, 90, places=5).map(str),
    "alive": st.sampled_from(["1", "0", "Y", "否", "2"]),
    "ward": st.sampled_from(["A12", "B07", "b07", "AA1"]),
    "note": st.text("ab汉字", min_size=1, max_size=7),
    "sex": st.sampled_from("01239"),
    "level": st.sampled_from(["0", "01", "9", "7", "1.0"]),
    "institution_code": st.sampled_from([SENDER, BRANCH, "H009", "H01", "H0０1"]),
}


def column_plan(name: str) -> ColumnPlan:
    names = [*GOOD, *(name for name in CELLS_OF if name not in GOOD)]
    plan = compile_plan(
        recognition=recognise(headings=names, pack=PACK, dataset="stay"), pack=PACK, allowed=[SENDER, BRANCH]
    )
    return next(one for one in plan.columns if one.field.name == name)


PLANS = {name: column_plan(name) for name in CELLS_OF}


def python_value(plan: ColumnPlan, cell: str) -> Any:
    """Return what one cell says by the definition, as the lake gives it back."""
    value, failed = plan.judge(cell)
    if plan.is_text:
        return cell
    if value is None or "length" in failed:
        return None
    if plan.field.type is FieldType.DECIMAL:
        return Decimal(value) / Decimal(10 ** (plan.field.scale or 0))
    return value


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_column_read_at_once_says_what_each_cell_says_by_itself(data: st.DataObject):
    name = data.draw(st.sampled_from(sorted(CELLS_OF)))
    plan = PLANS[name]
    usual = st.none() | CELLS_OF[name]
    cells = data.draw(st.lists(usual | st.sampled_from(["-", "—"]) | ODD, max_size=12) | st.lists(usual))
    # A slice in several pieces, as batches are.
    padding = data.draw(st.integers(0, 3))
    whole = pa.array([*["9"] * padding, *cells, "9"], pa.string()).slice(padding, len(cells))
    cut = data.draw(st.integers(0, len(cells)))
    column = pa.chunked_array([whole.slice(0, cut), whole.slice(cut)])

    typed, faults = check_column(plan, column)

    assert typed.type == plan.kind
    assert typed.to_pylist() == [None if cell is None else python_value(plan, cell) for cell in cells]
    expected = {(row, kind) for row, cell in enumerate(cells) if cell for kind in plan.judge(cell)[1]}
    expected |= {(row, "required") for row, cell in enumerate(cells) if cell is None and plan.required}
    assert {(int(row), fault.kind) for fault in faults for row in fault.rows} == expected
    assert sum(len(fault.rows) for fault in faults) == len(expected)


def test_text_that_lies_behind_a_null_is_not_read():
    text_of_all = pa.py_buffer(b"12x45")
    offsets = pa.py_buffer(np.array([0, 1, 3, 5], np.int32))
    column = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(bytes([0b101])), offsets, text_of_all])

    typed, faults = check_column(PLANS["days"], column)

    assert typed.to_pylist() == [1, None, 45]
    assert [fault.kind for fault in faults] == ["required"]


@given(
    columns=st.integers(1, 5).flatmap(
        lambda width: st.lists(st.lists(st.none() | st.integers(0, 9), min_size=width, max_size=width))
    ),
    chosen=st.sets(st.integers(1, 9), min_size=5, max_size=5),
)
def test_lists_hold_every_value_at_its_repeat_and_end_with_a_value(
    columns: list[list[int | None]], chosen: set[int]
):
    repeats = sorted(chosen)[: len(columns[0])] if columns else [1]
    by_repeat = {
        repeat: pa.array([row[n] for row in columns], pa.int64()) for n, repeat in enumerate(repeats)
    }

    lists = build_lists(by_repeat, pa.int64()).to_pylist()

    for row, values in zip(columns, lists, strict=True):
        held = {repeat: value for repeat, value in zip(repeats, row, strict=True) if value is not None}
        assert values is None if not held else values[-1] is not None
        assert {n: value for n, value in enumerate(values or [], start=1) if value is not None} == held


ROWS = st.fixed_dictionaries(
    {},
    optional={
        "institution_code": st.sampled_from([SENDER, BRANCH, "H009"]),
        "patient_number": st.sampled_from(["P1", "P2", "-"]),
        "patient_name": st.sampled_from(["Anna", "Bo"]),
        "sex": st.sampled_from(["1", "2", "7"]),
        "born": st.sampled_from(["1968-05-12", "20260303", "-", "x"]),
        "admitted_at": st.sampled_from(["2026-03-02 09:30", "2026-04-01", "x"]),
        "days": st.sampled_from(["0", "8", "500", "-"]),
        "big": st.sampled_from(["7", "999999999999999999"]),
        "cost": st.sampled_from(["0", "3.5", "3.555"]),
        "diagnosis_2": st.sampled_from(["I10", "Z99", "far too long"]),
        "operated_at": st.sampled_from(["2026-03-03 10:00", "2027-01-01", "-"]),
    },
)
NAMES = [*GOOD, "big", "diagnosis_2", "operated_at"]


def refused_slowly(rows: Sequence[Mapping[str, str | None]]) -> tuple[set[tuple[int, str]], Counter[str]]:
    """Judge one row after the other, cell by cell and rule by rule; return failures and warnings."""
    plan = a_check(NAMES, allowed=[SENDER, BRANCH])._plan
    failures: set[tuple[int, str]] = set()
    warned: Counter[str] = Counter()
    seen: set[tuple[Any, ...]] = set()
    for number, row in enumerate(rows, start=2):
        typed = {field.name: None for field in STAY.fields}
        failed: set[str] = set()
        for column in plan.columns:
            cell = row.get(NAMES[column.position])
            failed |= {"required"} if cell is None and column.required else set()
            if cell is not None:
                value = python_value(column, cell)
                failed |= set(column.judge(cell)[1])
                padded = [None] * (column.repeat - 1) + [value] if value is not None else None
                typed[column.field.name] = padded if column.field.repeat > 1 else value
        broken = rules_broken(typed)
        errors = {one.id for one in STAY.rules if one.severity is Severity.ERROR}
        failed |= broken & errors
        key = tuple(typed[name] for name in STAY.rules[-1].unique)
        if not failed and None not in key and "-" not in key:
            failed |= {"U1"} if key in seen else set()
            seen.add(key)
        failures |= {(number, code) for code in failed}
        warned.update({} if failed else broken - errors)
    return failures, warned


REFERENCE = duckdb.connect()
REFERENCE.execute(PACK.functions)
REFERENCE.execute(f"SET VARIABLE received_at = TIMESTAMP '{ARRIVED}'")


def rules_broken(typed: Mapping[str, Any]) -> set[str]:
    columns = ", ".join(f'?::{duckdb_type(field)} AS "{field.name}"' for field in STAY.fields)
    values = [typed[field.name] for field in STAY.fields]
    broken: set[str] = set()
    for rule in STAY.rules:
        if rule.sql:
            try:
                answer = REFERENCE.execute(f"SELECT {rule.sql} FROM (SELECT {columns})", values).fetchall()
            except duckdb.OutOfRangeException:
                answer = [(False,)]
            broken |= {rule.id} if answer == [(False,)] else set()
    return broken


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=8), cut=st.integers(0, 8))
@example(rows=[{"patient_number": "P1"}] * 3, cut=1)
def test_a_file_checked_in_batches_is_the_file_checked_row_by_row(
    rows: list[dict[str, str | None]], cut: int
):
    full = [{**GOOD, **row} for row in rows]
    check = a_check(NAMES, allowed=[SENDER, BRANCH])
    parts = [part for part in (full[:cut], full[cut:]) if part]

    checked, first = [], 2
    for part in parts:
        checked.append(check.check(a_batch(part, names=NAMES, first=first)))
        first += len(part)

    failures, warned = refused_slowly(full)
    assert {(one.row, one.code) for batch in checked for one in batch.failures} == failures
    assert sum((batch.warned for batch in checked), Counter()) == warned
    assert sum(batch.rejected for batch in checked) == len({row for row, _ in failures})
    accepted = [row for batch in checked for row in batch.good["_row"].to_pylist()]
    assert accepted == [row for row in range(2, 2 + len(full)) if row not in {one for one, _ in failures}]


@given(batches=st.lists(st.lists(st.integers(0, 12), max_size=20), max_size=8))
def test_seen_keys_tells_what_a_set_would_tell(batches: list[list[int]]):
    seen, known = SeenKeys(), set[int]()

    for batch in batches:
        expected = []
        for key in batch:
            expected.append(key in known)
            known.add(key)
        assert seen.add(np.array(batch, np.uint64)).tolist() == expected
