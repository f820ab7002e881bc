"""A small made-up region for tests of the scan: two data sets, their rows as SQL, and rules asked one by one.

All rows are synthetic; the asking is as plain as can be, to be held against what the scan compiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb

from kangshu.declarations import (
    Dataset,
    Dimension,
    Field,
    FieldType,
    Look,
    Obligation,
    Pack,
    Rule,
    Scope,
    Severity,
    duckdb_type,
)
from kangshu.kernel.texts import Text
from kangshu.lake import SYSTEM_COLUMNS

NOTHING = Text(zh="", en="")
FUNCTIONS = """
CREATE OR REPLACE MACRO given(x) AS x IS NOT NULL AND x NOT IN ('', '-');
CREATE OR REPLACE MACRO least_of(x, who) AS min(x) OVER (PARTITION BY who);
CREATE OR REPLACE MACRO is_least(x, who) AS x <= least_of(x, who) + 1;
"""

Row = tuple[Any, ...]


def field(name: str, kind: FieldType, *, length: int | None = None, scale: int | None = None) -> Field:
    return Field(
        name=name, title=NOTHING, type=kind, obligation=Obligation.OPTIONAL, length=length, scale=scale
    )


def rule(
    rule_id: str,
    sql: str = "",
    *,
    scope: Scope = Scope.ROW,
    unique: tuple[str, ...] = (),
    looks: tuple[Look, ...] = (),
    applies: str = "",
) -> Rule:
    return Rule(
        id=rule_id,
        severity=Severity.WARNING,
        dimension=Dimension.CONSISTENCY,
        scope=scope,
        fields=(),
        message=NOTHING,
        sql=sql,
        unique=unique,
        looks=looks,
        applies=applies,
    )


def dataset(name: str, *fields: Field) -> Dataset:
    return Dataset(
        name=name,
        title=NOTHING,
        edition="1",
        source="",
        category="test",
        description=NOTHING,
        valid_from=date(2020, 1, 1),
        fields=fields,
        rules=(),
        absent_marks=("-",),
    )


VISIT = dataset(
    "visit",
    field("number", FieldType.STRING),
    field("begins", FieldType.INTEGER),
    field("ends", FieldType.INTEGER),
    field("cost", FieldType.DECIMAL, length=10, scale=2),
)
ORDER = dataset(
    "order",
    field("visit_number", FieldType.STRING),
    field("kind", FieldType.STRING),
    field("low", FieldType.INTEGER),
)
PACK = Pack(
    name="test", edition="1", title=NOTHING, datasets={"visit": VISIT, "order": ORDER}, functions=FUNCTIONS
)


ORDERS = Look(
    name="orders",
    dataset="order",
    on=(("number", "visit_number"),),
    take=(("least", "min(low)"), ("kinds", "count(DISTINCT kind)")),
)
LABS = Look(name="labs", dataset="order", on=(("number", "visit_number"),), where="kind = 'lab' /* here.x */")
ELSEWHERE = Look(
    name="elsewhere",
    dataset="visit",
    on=(("_person", "_person"),),
    where="_institution <> here._institution AND begins < here.ends AND here.begins < ends",
)
DEARER = Look(
    name="dearer",
    dataset="visit",
    on=(("_institution", "_institution"), ("number", "number")),
    take=(("most", "max(cost)"),),
    where='cost > "here".cost',
)
TWINS = Look(name="twins", dataset="visit", on=(("upper(number)", "upper(number)"), ("cost", "cost")))

RULES = (
    rule("plain", "begins <= ends"),
    rule("function", "given(number)"),
    rule("sized", "cost < 5", applies="begins > 1"),
    rule("text", "number IS DISTINCT FROM 'orders.rows' AND number <> 'A' /* orders.rows */"),
    rule("once", scope=Scope.FILE, unique=("number",)),
    rule("pair-once", scope=Scope.FILE, unique=("number", "begins"), applies="cost > 1"),
    rule("once-in-region", scope=Scope.REGION, unique=("number", "cost")),
    rule("has-order", "orders.rows > 0", scope=Scope.REGION, looks=(ORDERS,)),
    rule("order-low", "orders.least <= begins AND orders.kinds < 3", scope=Scope.REGION, looks=(ORDERS,)),
    rule("labs", "labs.rows <= orders.ROWS - 1", scope=Scope.REGION, looks=(LABS, ORDERS)),
    rule("elsewhere", "elsewhere.rows = 0", scope=Scope.REGION, looks=(ELSEWHERE,)),
    rule(
        "dearer",
        "dearer.most < 2 AND dearer.rows < 3",
        scope=Scope.REGION,
        looks=(DEARER,),
        applies="number IS NOT NULL",
    ),
    rule("twins", "twins.rows < 2", scope=Scope.REGION, looks=(TWINS,)),
    rule(
        "sudden",
        "begins >= lag(begins) OVER (PARTITION BY _institution, number ORDER BY _file, _row)",
        scope=Scope.REGION,
    ),
    rule("usual", "cost <= 2 * avg(cost) OVER ()", scope=Scope.REGION, applies="ends > 0"),
    rule("least", "is_least(ends, _institution)", scope=Scope.REGION),
)


@dataclass(frozen=True, kw_only=True)
class Region:
    """Rows of both data sets: our columns first, then the fields in their order."""

    visits: Sequence[Row]
    orders: Sequence[Row] = ()

    def table(self, name: str, files: Sequence[int] | None = None) -> str:
        rows = self.visits if name == "visit" else self.orders
        return rows_sql(PACK.datasets[name], [row for row in rows if files is None or row[0] in files])


def rows_sql(declared: Dataset, rows: Sequence[Row]) -> str:
    columns = [*SYSTEM_COLUMNS, *((one.name, duckdb_type(one)) for one in declared.fields)]
    names = ", ".join(f'"{name}"' for name, _ in columns)
    lines = [
        f"({', '.join(f'CAST({literal(v)} AS {kind})' for v, (_, kind) in zip(row, columns, strict=True))})"
        for row in rows
    ]
    nothing = f"({', '.join(f'CAST(NULL AS {kind})' for _, kind in columns)})"
    values = ", ".join(lines or [nothing])
    return f"(SELECT * FROM (VALUES {values}) AS t({names}) WHERE {'true' if lines else 'false'})"


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int | Decimal):
        return str(value)
    text = value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)
    return "'" + text.replace("'", "''") + "'"


def ask_one_by_one(region: Region, rules: Sequence[Rule]) -> Mapping[str, set[tuple[int, int]]]:
    """Return for each rule the file and row of those who break it: a query for each rule and row."""
    with duckdb.connect() as engine:
        engine.execute(FUNCTIONS)
        return {one.id: set(_breaks(engine, region, one)) for one in rules}


def _breaks(engine: duckdb.DuckDBPyConnection, region: Region, one: Rule) -> list[tuple[int, int]]:
    own = region.table("visit")
    asked = [row for row in region.visits if not one.applies or _holds(engine, row, one.applies)]
    if one.unique:
        return _repeated(asked, one)
    if "OVER" in one.sql or "is_least" in one.sql:
        found = engine.execute(f"SELECT _file, _row FROM (SELECT *, ({one.sql}) AS v FROM {own}) WHERE NOT v")
        return [key for key in found.fetchall() if key in {row[:2] for row in asked}]
    return [row[:2] for row in asked if _verdict(engine, region, row, one) is False]


def _holds(engine: duckdb.DuckDBPyConnection, row: Row, sql: str) -> bool:
    return bool(engine.execute(f"SELECT ({sql}) FROM {rows_sql(VISIT, [row])}").fetchall()[0][0])


def _verdict(engine: duckdb.DuckDBPyConnection, region: Region, row: Row, one: Rule) -> bool | None:
    """Ask of one row, each look a structure of its name, as the declaration says."""
    mine = rows_sql(VISIT, [row])
    parts = [f"{mine} AS own_row"]
    for look in one.looks:
        equal = " AND ".join(
            f"({theirs}) IS NOT DISTINCT FROM (SELECT ({sql}) FROM {mine})"
            f" AND (SELECT ({sql}) FROM {mine}) IS NOT NULL"
            for sql, theirs in look.on
        )
        there = f"{region.table(look.dataset)} AS there, (SELECT here FROM {mine} AS here) AS own"
        taken = ", ".join(["'rows': count(*)", *(f"'{name}': ({sql})" for name, sql in look.take)])
        where = f"({equal}) AND ({look.where or 'true'})"
        parts.append(f'(SELECT {{{taken}}} AS "{look.name}" FROM {there} WHERE {where})')
    found = engine.execute(f"SELECT ({one.sql}) FROM {', '.join(parts)}").fetchall()
    return found[0][0]


def _repeated(rows: Sequence[Row], one: Rule) -> list[tuple[int, int]]:
    names = [*(name for name, _ in SYSTEM_COLUMNS), *(declared.name for declared in VISIT.fields)]
    seen: set[Row] = set()
    found: list[tuple[int, int]] = []
    for row in sorted(rows, key=lambda row: row[:2]):
        values = tuple(row[names.index(name)] for name in one.unique)
        if any(value is None or value == "-" for value in values):
            continue
        key = values if one.scope is Scope.REGION else (row[0], *values)
        if key in seen:
            found.append(row[:2])
        seen.add(key)
    return found
