"""The statements that measure cells in the lake and judge their figures, in DuckDB's SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from kangshu.declarations import CellView, Measure, Rule, cell_names
from kangshu.quality.plausibility.model import (
    PEERS_LEAST,
    USUAL_LEAST,
    USUAL_MONTHS,
    YEAR,
    FilePlace,
    add_months,
    looks_back,
)

MONTH, INSTITUTION, KIND = "_month", "_institution", "_kind"
FIGURES = "cell_figures"
"""What the table of figures is called of which `judging_sql` asks."""


def measuring_sql(
    *,
    table: str,
    measures: Sequence[Measure],
    places: Iterable[FilePlace],
    months: Sequence[date],
    institutions: Sequence[str] | None,
) -> str:
    """Return the statement that gives the measures of cells: `_month`, `_institution`, one DOUBLE for each.

    `table` stands after FROM; `months` are those to measure, and earlier ones are read where a measure looks
    back.
    """
    rows = _rows_sql(table, places=places, institutions=institutions)
    plain = [f"CAST(({one.sql}) AS DOUBLE) AS {quoted(one.name)}" for one in measures if not one.fingerprint]
    shares = [
        f"CAST(count(*) FILTER (WHERE {quoted(one.name)}) AS DOUBLE) / count(*) AS {quoted(one.name)}"
        for one in measures
        if one.fingerprint
    ]
    wanted = ", ".join([MONTH, INSTITUTION, *plain, *shares])
    source = _marked_sql(rows, measures, months=months)
    return f"SELECT {wanted} FROM {source} AS marked GROUP BY {MONTH}, {INSTITUTION}"


def suspects_sql(
    *,
    table: str,
    measures: Sequence[Measure],
    places: Iterable[FilePlace],
    month: date,
    institution: str,
    suspects: str,
    limit: int,
) -> str:
    """Return the statement that gives the rows of one cell at which a finding points, and how many there are.

    The predicate may name the data set's fingerprints: each is whether the row stands in the earlier month.
    """
    rows = _rows_sql(table, places=places, institutions=[institution])
    source = _marked_sql(rows, [one for one in measures if one.fingerprint], months=[month])
    return (
        "SELECT _file, _row, total FROM (SELECT _file, _row, count(*) OVER () AS total FROM "
        f"(SELECT _file, _row, ({suspects}) AS hit FROM {source} AS marked) AS asked WHERE hit) AS found "
        f"ORDER BY _file, _row LIMIT {limit}"
    )


def judging_sql(*, measures: Sequence[str], rules: Sequence[Rule], months: Sequence[date]) -> str:
    """Return the statement that gives the cells in which a rule does not hold.

    Of the table `cell_figures` it wants `_month`, `_institution`, `_kind` and a column for each measure, over
    the months to judge and those they are compared with. It gives `_month`, `_institution`, `broken_0`,
    `broken_1` ... for each rule, and every figure that a rule names as `now.rows`.
    """
    named = dict.fromkeys(pair for rule in rules for pair in cell_names(rule.sql))
    # A rule that is NULL holds.
    broken = [f"coalesce(NOT ({rule.sql}), false) AS broken_{place}" for place, rule in enumerate(rules)]
    figures = [f"{view}.{quoted(name)} AS {quoted(f'{view}.{name}')}" for view, name in named]
    wanted = ", ".join([f"now.{MONTH}", f"now.{INSTITUTION}", *broken, *figures])
    judged = f"(SELECT * FROM {FIGURES} WHERE {MONTH} IN ({_days(months)}))"
    any_broken = " OR ".join(f"broken_{place}" for place in range(len(rules)))
    return f"""
SELECT * FROM (SELECT {wanted} FROM {judged} AS now
{_at(CellView.BEFORE, months=1)}
{_at(CellView.LAST_YEAR, months=YEAR)}
{_history(CellView.USUAL, "median", judged, measures)}
{_history(CellView.SPREAD, "mad", judged, measures)}
{_among(CellView.PEERS, "median", judged, measures)}
{_among(CellView.PEERS_SPREAD, "mad", judged, measures)}) AS answers
WHERE {any_broken} ORDER BY {MONTH}, {INSTITUTION}"""


def compared_months(months: Sequence[date]) -> list[date]:
    """Return the months whose figures are needed to judge `months`: these and what they are compared with."""
    back = {0, *range(1, USUAL_MONTHS + 1), YEAR}
    return sorted({add_months(month, -count) for month in months for count in back})


def read_back(measures: Iterable[Measure], months: Sequence[date]) -> list[date]:
    """Return the months whose rows must be read to measure `months`."""
    back = {0, *looks_back(measures)}
    return sorted({add_months(month, -count) for month in months for count in back})


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _rows_sql(table: str, *, places: Iterable[FilePlace], institutions: Sequence[str] | None) -> str:
    """Return the rows with their month. Rows of files that are not named have that of their event."""
    by_month: dict[tuple[date | None, date | None], list[int]] = {}
    for place in places:
        by_month.setdefault((place.month, place.last), []).append(place.file)
    # One list for each month: thousands of files as rows of VALUES take DuckDB seconds to read.
    held = ", ".join(
        f"({_day(month)}, {_day(last)}, [{', '.join(map(str, sorted(files)))}])"
        for (month, last), files in sorted(by_month.items(), key=lambda entry: entry[1])
    )
    own = "CAST(date_trunc('month', source._at) AS DATE)"
    where = "" if institutions is None else f" WHERE source._institution IN ({_texts(institutions)})"
    if not held:
        return f"(SELECT source.*, {own} AS {MONTH} FROM {table} AS source{where})"
    return (
        f"(SELECT source.*, coalesce(held.held_month, {own}, held.held_last) AS {MONTH} "
        f"FROM {table} AS source "
        "LEFT JOIN (SELECT held_month, held_last, unnest(held_files) AS held_file FROM "
        f"(VALUES {held}) AS listed(held_month, held_last, held_files)) AS held "
        f"ON source._file = held.held_file{where})"
    )


def _marked_sql(rows: str, measures: Sequence[Measure], *, months: Sequence[date]) -> str:
    """Return the rows of `months`, each with a mark for every fingerprint: whether it stood there before."""
    within = f"{MONTH} IN ({_days(months)})"
    prints = [measure for measure in measures if measure.fingerprint]
    if not prints:
        return f"(SELECT * FROM {rows} AS own WHERE {within})"
    marks, joins = [], []
    for number, measure in enumerate(prints):
        alias = f"earlier_{number}"
        keys = [f"({part}) AS key_{place}" for place, part in enumerate(measure.fingerprint)]
        back = _days(sorted({add_months(month, -measure.months_back) for month in months}))
        later = f"CAST({MONTH} + INTERVAL {measure.months_back} MONTH AS DATE)"
        joins.append(
            f"LEFT JOIN (SELECT DISTINCT {later} AS later, {INSTITUTION} AS sender, {', '.join(keys)} "
            f"FROM {rows} AS looked_{number} WHERE {MONTH} IN ({back})) AS {alias} "
            f"ON {alias}.later = own.{MONTH} AND {alias}.sender = own.{INSTITUTION} AND "
            + " AND ".join(
                f"{alias}.key_{place} IS NOT DISTINCT FROM own.print_{number}_{place}"
                for place in range(len(measure.fingerprint))
            )
        )
        marks.append(f"{alias}.sender IS NOT NULL AS {quoted(measure.name)}")
    parts = ", ".join(
        f"({part}) AS print_{number}_{place}"
        for number, measure in enumerate(prints)
        for place, part in enumerate(measure.fingerprint)
    )
    own = f"(SELECT *, {parts} FROM {rows} AS present WHERE {within})"
    return f"(SELECT own.*, {', '.join(marks)} FROM {own} AS own {' '.join(joins)})"


def _at(view: CellView, *, months: int) -> str:
    return (
        f"LEFT JOIN {FIGURES} AS {view} ON {view}.{INSTITUTION} = now.{INSTITUTION} "
        f"AND {view}.{MONTH} = now.{MONTH} - INTERVAL {months} MONTH"
    )


def _history(view: CellView, figure: str, judged: str, measures: Sequence[str]) -> str:
    """Return the join with the six months before the cell's."""
    figures = ", ".join(
        f"CASE WHEN count(past.{quoted(name)}) >= {USUAL_LEAST} THEN {figure}(past.{quoted(name)}) END "
        f"AS {quoted(name)}"
        for name in measures
    )
    return (
        f"LEFT JOIN (SELECT judged.{MONTH}, judged.{INSTITUTION}, {figures} FROM {judged} AS judged "
        f"JOIN {FIGURES} AS past ON past.{INSTITUTION} = judged.{INSTITUTION} "
        f"AND past.{MONTH} < judged.{MONTH} "
        f"AND past.{MONTH} >= judged.{MONTH} - INTERVAL {USUAL_MONTHS} MONTH GROUP BY 1, 2) AS {view} "
        f"ON {view}.{MONTH} = now.{MONTH} AND {view}.{INSTITUTION} = now.{INSTITUTION}"
    )


def _among(view: CellView, figure: str, judged: str, measures: Sequence[str]) -> str:
    """Return the join with the institutions of the same kind in the same month."""
    figures = ", ".join(
        f"CASE WHEN count({quoted(name)}) >= {PEERS_LEAST} THEN {figure}({quoted(name)}) END "
        f"AS {quoted(name)}"
        for name in measures
    )
    return (
        f"LEFT JOIN (SELECT {MONTH}, {KIND}, {figures} FROM {judged} AS judged GROUP BY 1, 2) AS {view} "
        f"ON {view}.{MONTH} = now.{MONTH} AND {view}.{KIND} = now.{KIND}"
    )


def _days(days: Sequence[date]) -> str:
    return ", ".join(_day(day) for day in days)


def _day(day: date | None) -> str:
    return "CAST(NULL AS DATE)" if day is None else f"DATE '{day.isoformat()}'"


def _texts(values: Sequence[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)
