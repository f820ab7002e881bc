"""The SQL of plausibility: figures of cells, findings about them, and where the rows of cells lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import pyarrow as pa

from kangshu.declarations import Dimension, Severity
from kangshu.quality.model import Cell
from kangshu.quality.plausibility.model import CellFigures, CellFinding, FilePlace
from kangshu.storage.database import Connection


async def list_places(
    connection: Connection, *, dataset: str, institutions: Sequence[str] | None, months: Sequence[date]
) -> list[FilePlace]:
    """Return the live files that hold rows of these cells, and where they lie.

    Rows from messages count for the month of their event wherever they lie, so their files are all named.
    """
    rows = await connection.fetch(
        """WITH wanted AS (
             SELECT DISTINCT file_id FROM quality_unit
             WHERE dataset = $1 AND month = ANY($2::date[])
               AND ($3::text[] IS NULL OR institution = ANY($3)))
           SELECT f.file_id, f.run_id, f.period_start, f.period_end FROM lake_file f
           WHERE f.dataset = $1 AND f.run_id IS NOT NULL AND f.superseded_at IS NULL
             AND (f.source = 'message' OR f.file_id IN (SELECT file_id FROM wanted))
           ORDER BY f.file_id""",
        dataset,
        months,
        institutions,
    )
    return [_place(row["file_id"], row["run_id"], row["period_start"], row["period_end"]) for row in rows]


def _place(file: int, run: int, start: date | None, end: date | None) -> FilePlace:
    if start is None or end is None:
        return FilePlace(file=file, run=run, month=None, last=None)
    first, last = start.replace(day=1), date.fromordinal(end.toordinal() - 1).replace(day=1)
    return FilePlace(file=file, run=run, month=first if first == last else None, last=last)


async def put_figures(connection: Connection, *, cells: Sequence[CellFigures]) -> list[Cell]:
    """Keep the figures of cells and return those cells whose figures are new or changed."""
    rows = await connection.fetch(
        """INSERT INTO quality_measure AS kept (month, dataset, institution, figures)
           SELECT * FROM unnest($1::date[], $2::text[], $3::text[], $4::jsonb[])
           ON CONFLICT (dataset, month, institution) DO UPDATE SET figures = excluded.figures
           WHERE kept.figures IS DISTINCT FROM excluded.figures
           RETURNING month, dataset, institution""",
        [one.cell.month for one in cells],
        [one.cell.dataset for one in cells],
        [one.cell.institution for one in cells],
        [dict(one.figures) for one in cells],
    )
    return [_cell(row) for row in rows]


async def drop_figures(
    connection: Connection,
    *,
    dataset: str,
    months: Sequence[date],
    institutions: Sequence[str] | None,
    kept: Sequence[Cell],
) -> list[Cell]:
    """Forget the figures of cells that hold nothing any more, and what was found in them; return them."""
    rows = await connection.fetch(
        """WITH kept AS (SELECT * FROM unnest($4::date[], $5::text[]) AS kept (month, institution)),
             gone AS (
               DELETE FROM quality_measure m WHERE dataset = $1 AND month = ANY($2::date[])
                 AND ($3::text[] IS NULL OR institution = ANY($3))
                 AND NOT EXISTS (
                   SELECT 1 FROM kept k WHERE k.month = m.month AND k.institution = m.institution)
               RETURNING month, dataset, institution),
             findings AS (
               DELETE FROM quality_cell_finding f USING gone g
               WHERE f.dataset = g.dataset AND f.month = g.month AND f.institution = g.institution)
           SELECT * FROM gone""",
        dataset,
        months,
        institutions,
        [cell.month for cell in kept],
        [cell.institution for cell in kept],
    )
    return [_cell(row) for row in rows]


async def find_last_month(connection: Connection, *, dataset: str) -> date | None:
    """Return the latest month of which there are figures."""
    found = await connection.fetchval("SELECT max(month) FROM quality_measure WHERE dataset = $1", dataset)
    return found if isinstance(found, date) else None


async def list_figures(
    connection: Connection,
    *,
    first: date,
    last: date,
    datasets: Sequence[str] | None,
    institutions: Sequence[str] | None,
) -> list[CellFigures]:
    rows = await connection.fetch(
        """SELECT month, dataset, institution, figures FROM quality_measure
           WHERE month BETWEEN $1 AND $2 AND ($3::text[] IS NULL OR dataset = ANY($3))
             AND ($4::text[] IS NULL OR institution = ANY($4))
           ORDER BY month, dataset, institution""",
        first,
        last,
        datasets,
        institutions,
    )
    return [CellFigures(cell=_cell(row), figures=row["figures"]) for row in rows]


async def figures_table(
    connection: Connection, *, dataset: str, months: Sequence[date], measures: Sequence[str]
) -> pa.Table:
    """Return the figures of all institutions in these months: `_month`, `_institution`, and the measures."""
    columns = ", ".join(
        f"array_agg((figures->>${place})::float8 ORDER BY month, institution)"
        for place, _ in enumerate(measures, 3)
    )
    row = await connection.fetchrow(
        f"""SELECT array_agg(month ORDER BY month, institution),
                   array_agg(institution ORDER BY month, institution),
                   {columns} FROM quality_measure WHERE dataset = $1 AND month = ANY($2::date[])""",
        dataset,
        months,
        *measures,
    )
    assert row is not None, "an aggregate has one row"
    names = ("_month", "_institution", *measures)
    kinds = (pa.date32(), pa.string(), *(pa.float64() for _ in measures))
    return pa.table(
        {name: pa.array(values or [], kind) for name, kind, values in zip(names, kinds, row, strict=True)}
    )


async def replace_findings(
    connection: Connection, *, dataset: str, months: Sequence[date], findings: Sequence[CellFinding]
) -> None:
    """Keep `findings` as all that rules about cells found in these months; what stands stays untouched."""
    keys = (
        [one.cell.month for one in findings],
        [one.cell.institution for one in findings],
        [one.rule for one in findings],
    )
    await connection.execute(
        """DELETE FROM quality_cell_finding f WHERE dataset = $1 AND month = ANY($2::date[])
             AND NOT EXISTS (
               SELECT 1 FROM unnest($3::date[], $4::text[], $5::text[]) AS kept (month, institution, rule)
               WHERE kept.month = f.month AND kept.institution = f.institution AND kept.rule = f.rule)""",
        dataset,
        months,
        *keys,
    )
    await connection.execute(
        """INSERT INTO quality_cell_finding AS kept
             (dataset, month, institution, rule, severity, dimension, figures)
           SELECT $1, * FROM unnest($2::date[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[])
           ON CONFLICT (dataset, month, institution, rule) DO UPDATE
           SET severity = excluded.severity, dimension = excluded.dimension, figures = excluded.figures
           WHERE (kept.severity, kept.dimension, kept.figures)
             IS DISTINCT FROM (excluded.severity, excluded.dimension, excluded.figures)""",
        dataset,
        *keys,
        [one.severity.value for one in findings],
        [one.dimension.value for one in findings],
        [dict(one.figures) for one in findings],
    )


async def list_findings(
    connection: Connection,
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None,
    datasets: Sequence[str] | None,
) -> list[CellFinding]:
    rows = await connection.fetch(
        """SELECT * FROM quality_cell_finding
           WHERE month BETWEEN $1 AND $2 AND ($3::text[] IS NULL OR institution = ANY($3))
             AND ($4::text[] IS NULL OR dataset = ANY($4))
           ORDER BY month DESC, dataset, institution, rule""",
        first,
        last,
        institutions,
        datasets,
    )
    return [
        CellFinding(
            cell=_cell(row),
            rule=row["rule"],
            severity=Severity(row["severity"]),
            dimension=Dimension(row["dimension"]),
            figures=row["figures"],
        )
        for row in rows
    ]


def _cell(row: Mapping[str, object]) -> Cell:
    month, dataset, institution = row["month"], row["dataset"], row["institution"]
    assert isinstance(month, date), "a cell has a month"
    assert isinstance(dataset, str), "a cell has a data set"
    assert isinstance(institution, str), "a cell has an institution"
    return Cell(month=month, dataset=dataset, institution=institution)
