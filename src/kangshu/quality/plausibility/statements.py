"""The statements that measure cells in the lake and judge their figures, in DuckDB's SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    whole: dict[date, list[int]] = {}
    rest: dict[date, list[int]] = {}
    for place in places:
        if place.month is not None:
            whole.setdefault(place.month, []).append(place.file)
        elif place.last is not None:
            rest.setdefault(place.last, []).append(place.file)
    own = "CAST(date_trunc('month', source._at) AS DATE)"
    # Lists of files rather than a table of them: each engine makes a set of a list, and reads it quickly.
    terms = [*_by_file(whole), own, *_by_file(rest)]
    month = f"coalesce({', '.join(terms)})" if len(terms) > 1 else own
    where = "" if institutions is None else f" WHERE source._institution IN ({_texts(institutions)})"
    return f"(SELECT source.*, {month} AS {MONTH} FROM {table} AS source{where})"


def _by_file(months: Mapping[date, Sequence[int]]) -> list[str]:
    """Return the expression that gives a file's month, none where no file has one."""
    if not months:
        return []
    cases = " ".join(
        f"WHEN source._file IN ({', '.join(map(str, sorted(files)))}) THEN {_day(month)}"
        for month, files in sorted(months.items())
    )
    return [f"CASE {cases} END"]


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


def _day(day: date) -> str:
    return f"DATE '{day.isoformat()}'"


def _texts(values: Sequence[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)
