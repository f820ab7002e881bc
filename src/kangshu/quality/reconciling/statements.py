"""The SELECTs of a reconciliation, in DuckDB's SQL and plain enough for Spark; pure.

Names of ours begin with an underscore, as no field of a data set does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from kangshu.declarations import Dataset, Reconciliation, ReconciliationSide
from kangshu.quality.reconciling.model import MESSAGES, Partner, Side

NEAR_MONTHS = 3
"""So many months around are searched for the partner of a row (arbitrary: later bills are rare)."""
_EQUAL = 1e-9
"""Sums of decimals are exact; those of binary fractions depend on the order of adding."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """What stands after FROM for one side, and the data set that it is."""

    sql: str
    dataset: Dataset


def figures_sql(
    pair: Reconciliation,
    *,
    tables: tuple[Table, Table],
    months: tuple[date, date],
    institutions: Sequence[str] | None,
) -> str:
    """Return the SELECT of both figures by institution and month, from the first of `months` to the second.

    Its columns: `_institution, _month`, then for each side `_figure, _rows, _files` with 1 and 2 at the end.
    """
    left, right = (
        _side_sql(side, table, months=months, institutions=institutions)
        for side, table in zip((pair.left, pair.right), tables, strict=True)
    )
    columns = ", ".join(
        f"{name}.{column} AS {column}{number}"
        for number, name in ((1, "l"), (2, "r"))
        for column in ("_figure", "_rows", "_files")
    )
    return (
        "SELECT coalesce(l._institution, r._institution) AS _institution, "
        f"coalesce(l._month, r._month) AS _month, {columns} "
        f"FROM ({left}) l FULL OUTER JOIN ({right}) r "
        "ON l._institution = r._institution AND l._month = r._month"
    )


def touched_sql(side: ReconciliationSide, table: Table, *, files: Sequence[int]) -> str:
    """Return the SELECT of the institutions and months for which rows of `files` count."""
    numbers = ", ".join(map(str, files))
    return (
        f"SELECT DISTINCT _institution, {_month(side, table.dataset)} AS _month FROM {table.sql} AS t "
        f"WHERE _file IN ({numbers}) AND _institution IS NOT NULL "
        f"AND ({_day(side, table.dataset)}) IS NOT NULL{_where(side)}"
    )


def rows_sql(
    pair: Reconciliation,
    *,
    side: Side,
    tables: tuple[Table, Table],
    institution: str,
    month: date,
    partners: Sequence[Partner],
    after: tuple[int, int] | None,
    limit: int,
) -> str:
    """Return the SELECT of a cell's rows on one side, `_file, _row, _partner, _rows`, in order of these.

    Rows without `_row` count by file and by what is found on the other side; the others are the page.
    """
    wanted = ", ".join(f"'{partner.value}'" for partner in partners) or "NULL"
    beyond = f" AND (_file > {after[0]} OR (_file = {after[0]} AND _row > {after[1]}))" if after else ""
    return (
        f"{_judged_sql(pair, side=side, tables=tables, institution=institution, month=month)}, "
        f"page AS (SELECT _file, _row, _partner FROM judged WHERE _partner IN ({wanted}){beyond} "
        f"ORDER BY _file, _row LIMIT {limit}) "
        f"SELECT {_lane('_file')} AS _file, CAST(NULL AS BIGINT) AS _row, _partner, count(*) AS _rows "
        "FROM judged GROUP BY 1, 2, 3 UNION ALL SELECT _file, _row, _partner, 1 AS _rows FROM page "
        "ORDER BY _file, _row, _partner"
    )


def digest_of(pair: Reconciliation) -> bytes:
    """Return what changes when the figures of `pair` must be computed anew; a new tolerance needs none."""
    said = [
        part
        for side in (pair.left, pair.right)
        for part in (side.dataset, side.value, side.month, side.where)
    ]
    return hashlib.sha256("\0".join(said).encode()).digest()[:16]


def add_months(month: date, count: int) -> date:
    """Return the first day of the month that lies `count` months after `month`."""
    number = month.year * 12 + month.month - 1 + count
    return date(min(max(number // 12, 1), 9999), number % 12 + 1, 1)


def _side_sql(
    side: ReconciliationSide,
    table: Table,
    *,
    months: tuple[date, date],
    institutions: Sequence[str] | None,
) -> str:
    return (
        f"SELECT _institution, {_month(side, table.dataset)} AS _month, "
        f"CAST({side.value} AS DOUBLE) AS _figure, count(*) AS _rows, "
        f"array_agg(DISTINCT {_lane('_file')}) AS _files FROM {table.sql} AS t "
        f"WHERE {_within(side, table.dataset, months=months, institutions=institutions)} GROUP BY 1, 2"
    )


def _judged_sql(
    pair: Reconciliation, *, side: Side, tables: tuple[Table, Table], institution: str, month: date
) -> str:
    """Return the WITH of `judged`: `_file, _row, _partner` of a cell's rows on one side."""
    mine, theirs = (pair.left, pair.right) if side is Side.LEFT else (pair.right, pair.left)
    my_table, their_table = tables if side is Side.LEFT else (tables[1], tables[0])
    cell = _within(mine, my_table.dataset, months=(month, month), institutions=[institution])
    if not mine.key or len(mine.key) != len(theirs.key):
        return (
            f"WITH judged AS (SELECT _file, _row, '{Partner.UNKNOWN.value}' AS _partner "
            f"FROM {my_table.sql} AS t WHERE {cell})"
        )
    near = (add_months(month, -NEAR_MONTHS), add_months(month, NEAR_MONTHS))
    around = _within(theirs, their_table.dataset, months=near, institutions=[institution])
    names = [f"_k{place}" for place in range(len(mine.key))]
    by_name = ", ".join(names)
    # Only keys without NULL: what is missing belongs to nobody.
    keyed = " AND ".join(f"{name} IS NOT NULL" for name in names)
    here = f"{_month(theirs, their_table.dataset)} = DATE '{month.isoformat()}'"
    fit = " AND ".join(f"m.{name} = o.{name}" for name in names)
    own = " AND ".join(f"m.{name} = s.{name}" for name in names)
    return (
        f"WITH mine AS (SELECT _file, _row, {_keys(mine, names)} FROM {my_table.sql} AS t WHERE {cell}), "
        f"sums AS (SELECT {_keys(mine, names)}, CAST({mine.value} AS DOUBLE) AS _figure "
        f"FROM {my_table.sql} AS t WHERE {cell} GROUP BY {_positions(names)}), "
        f"others AS (SELECT {_keys(theirs, names)}, {here} AS _here, "
        f"CAST({theirs.value} AS DOUBLE) AS _figure FROM {their_table.sql} AS t "
        f"WHERE {around} GROUP BY {_positions([*names, '_here'])}), "
        f"near AS (SELECT {by_name}, max(CASE WHEN _here THEN 1 ELSE 0 END) AS _here, "
        f"max(CASE WHEN _here THEN _figure END) AS _figure FROM others WHERE {keyed} GROUP BY {by_name}), "
        f"judged AS (SELECT m._file, m._row, CASE WHEN o._here IS NULL THEN '{Partner.NONE.value}' "
        f"WHEN o._here = 0 THEN '{Partner.ELSEWHERE.value}' "
        f"WHEN abs(coalesce(s._figure, 0) - coalesce(o._figure, 0)) "
        f"<= {_EQUAL} * greatest(abs(coalesce(s._figure, 0)), abs(coalesce(o._figure, 0))) "
        f"THEN '{Partner.SAME.value}' ELSE '{Partner.UNEQUAL.value}' END AS _partner "
        f"FROM mine m LEFT JOIN near o ON {fit} LEFT JOIN sums s ON {own})"
    )


def _within(
    side: ReconciliationSide,
    dataset: Dataset,
    *,
    months: tuple[date, date],
    institutions: Sequence[str] | None,
) -> str:
    """Return the condition on rows: their month from the first of `months` to the second, whose, which."""
    first, end = months[0].isoformat(), add_months(months[1], 1).isoformat()
    if is_event_time(side, dataset):
        # Said of the bare column, row groups of other months are left out by their statistics.
        terms = [f"_at >= TIMESTAMP '{first} 00:00:00'", f"_at < TIMESTAMP '{end} 00:00:00'"]
    else:
        day = f"CAST({side.month} AS DATE)"
        terms = [f"{day} >= DATE '{first}'", f"{day} < DATE '{end}'"]
    terms.append("_institution IS NOT NULL")
    if institutions is not None:
        named = ", ".join(_literal(code) for code in institutions) or "NULL"
        terms.append(f"_institution IN ({named})")
    return " AND ".join(terms) + _where(side)


def is_event_time(side: ReconciliationSide, dataset: Dataset) -> bool:
    """Whether a row counts for the month of its event time, by which segments are known."""
    return side.month in ("_at", dataset.event_time)


def _where(side: ReconciliationSide) -> str:
    return f" AND ({side.where})" if side.where else ""


def _day(side: ReconciliationSide, dataset: Dataset) -> str:
    """Return the expression of the day for which a row counts; the event time has a column of its own."""
    return "_at" if is_event_time(side, dataset) else side.month


def _month(side: ReconciliationSide, dataset: Dataset) -> str:
    return f"CAST(date_trunc('month', CAST({_day(side, dataset)} AS DATE)) AS DATE)"


def _lane(column: str) -> str:
    return f"CASE WHEN {column} >= {MESSAGES} THEN {MESSAGES} ELSE {column} END"


def _keys(side: ReconciliationSide, names: Sequence[str]) -> str:
    return ", ".join(f"{expression} AS {name}" for expression, name in zip(side.key, names, strict=True))


def _positions(names: Sequence[str]) -> str:
    return ", ".join(str(place) for place in range(1, len(names) + 1))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
