"""The tables of scores, of scoring sheets, and of shares for indicators and the EMR index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from kangshu.declarations import Dimension
from kangshu.quality.coverage import CoverageState
from kangshu.quality.model import Cell
from kangshu.quality.scoring.model import CellScore, InstitutionScore
from kangshu.quality.scoring.shares import ShareCount, ShareKind
from kangshu.quality.scoring.sheets import SheetCount
from kangshu.storage.database import Connection, Record

_CELL_COLUMNS = (
    "month",
    "dataset",
    "institution",
    "total",
    "dimensions",
    "rows",
    "rejected",
    "expected",
    "expected_rows",
    "state",
    "weight",
)
_INSTITUTION_COLUMNS = (
    "month",
    "institution",
    "total",
    "dimensions",
    "expected",
    "arrived",
    "rows",
    "rejected",
)
_SHEET_COLUMNS = ("file_id", "institution", "month", "scoring", "rows", "thousandths", "bands", "items")
_SHARE_COLUMNS = ("file_id", "institution", "month", "kind", "name", "aspect", "good", "total")


async def lock_months(connection: Connection, *, months: Sequence[date]) -> None:
    """Let nobody else put scores of these months before the transaction's end."""
    for month in sorted(months):
        # The number is arbitrary: it keeps these locks apart from others of the house.
        await connection.execute("SELECT pg_advisory_xact_lock(40007, $1)", month.year * 12 + month.month)


async def replace_scores(
    connection: Connection,
    *,
    month: date,
    institutions: Sequence[str] | None,
    cells: Iterable[CellScore],
    totals: Iterable[InstitutionScore],
) -> None:
    """Put the scores of a month and these institutions (None: all) in the place of what was kept of them."""
    for table in ("quality_cell_score", "quality_institution_score"):
        await connection.execute(
            f"DELETE FROM {table} WHERE month = $1 AND ($2::text[] IS NULL OR institution = ANY ($2))",
            month,
            institutions,
        )
    await connection.copy_records_to_table(
        "quality_cell_score", records=[_cell_record(cell) for cell in cells], columns=_CELL_COLUMNS
    )
    await connection.copy_records_to_table(
        "quality_institution_score",
        records=[_institution_record(total) for total in totals],
        columns=_INSTITUTION_COLUMNS,
    )


async def put_scored_month(connection: Connection, *, month: date, scored_at: date, digest: str) -> None:
    """Note that a month was scored as a whole, by the declarations with this digest."""
    await connection.execute(
        """INSERT INTO quality_scored_month (month, scored_at, digest) VALUES ($1, $2, $3)
           ON CONFLICT (month) DO UPDATE SET scored_at = excluded.scored_at, digest = excluded.digest""",
        month,
        scored_at,
        digest,
    )


async def list_scored_months(connection: Connection, *, first: date, last: date, digest: str) -> set[date]:
    """Return the months that were scored as a whole by the declarations with this digest."""
    rows = await connection.fetch(
        "SELECT month FROM quality_scored_month WHERE month BETWEEN $1 AND $2 AND digest = $3",
        first,
        last,
        digest,
    )
    return {row["month"] for row in rows}


async def list_cell_scores(
    connection: Connection,
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None,
    datasets: Sequence[str] | None,
) -> list[CellScore]:
    """Return kept scores of cells, the latest month first."""
    rows = await connection.fetch(
        """SELECT * FROM quality_cell_score
           WHERE month BETWEEN $1 AND $2 AND ($3::text[] IS NULL OR institution = ANY ($3))
             AND ($4::text[] IS NULL OR dataset = ANY ($4))
           ORDER BY month DESC, dataset, institution""",
        first,
        last,
        institutions,
        datasets,
    )
    return [_cell_score(row) for row in rows]


async def list_institution_scores(
    connection: Connection, *, first: date, last: date, institutions: Sequence[str] | None
) -> list[InstitutionScore]:
    """Return kept scores of institutions, the latest month first."""
    rows = await connection.fetch(
        """SELECT * FROM quality_institution_score
           WHERE month BETWEEN $1 AND $2 AND ($3::text[] IS NULL OR institution = ANY ($3))
           ORDER BY month DESC, institution""",
        first,
        last,
        institutions,
    )
    return [_institution_score(row) for row in rows]


async def replace_figures(
    connection: Connection,
    *,
    files: Sequence[int],
    sheets: Iterable[tuple[int, SheetCount]],
    shares: Iterable[tuple[int, ShareCount]],
) -> None:
    """Put what was counted of files in the place of what was kept; what units no longer hold is left out."""
    units = {
        (row["file_id"], row["institution"], row["month"])
        for row in await connection.fetch(
            """SELECT file_id, institution, month FROM quality_unit WHERE file_id = ANY ($1)
               ORDER BY file_id, institution, month FOR KEY SHARE""",
            list(files),
        )
    }
    for table in ("quality_sheet", "quality_share"):
        await connection.execute(f"DELETE FROM {table} WHERE file_id = ANY ($1)", list(files))
    await connection.copy_records_to_table(
        "quality_sheet",
        records=[
            (
                file,
                one.institution,
                one.month,
                one.scoring,
                one.rows,
                one.thousandths,
                list(one.bands),
                list(one.items),
            )
            for file, one in sheets
            if (file, one.institution, one.month) in units
        ],
        columns=_SHEET_COLUMNS,
    )
    await connection.copy_records_to_table(
        "quality_share",
        records=[
            (file, one.institution, one.month, one.kind.value, one.name, one.aspect, one.good, one.total)
            for file, one in shares
            if (file, one.institution, one.month) in units
        ],
        columns=_SHARE_COLUMNS,
    )


async def list_sheets(
    connection: Connection, *, first: date, last: date, institutions: Sequence[str] | None
) -> list[SheetCount]:
    """Return what sheets say of files, the latest month first."""
    rows = await connection.fetch(
        """SELECT * FROM quality_sheet
           WHERE month BETWEEN $1 AND $2 AND ($3::text[] IS NULL OR institution = ANY ($3))
           ORDER BY month DESC, institution, file_id""",
        first,
        last,
        institutions,
    )
    return [
        SheetCount(
            scoring=row["scoring"],
            institution=row["institution"],
            month=row["month"],
            rows=row["rows"],
            thousandths=row["thousandths"],
            bands=tuple(row["bands"]),
            items=tuple(row["items"]),
        )
        for row in rows
    ]


async def add_up_shares(
    connection: Connection,
    *,
    kind: ShareKind,
    first: date,
    last: date,
    institutions: Sequence[str] | None,
) -> list[ShareCount]:
    """Return the shares of institutions and months, the latest month first."""
    rows = await connection.fetch(
        """SELECT institution, month, name, aspect, sum(good)::bigint AS good, sum(total)::bigint AS total
           FROM quality_share
           WHERE kind = $1 AND month BETWEEN $2 AND $3
             AND ($4::text[] IS NULL OR institution = ANY ($4))
           GROUP BY month, institution, name, aspect ORDER BY month DESC, institution, name, aspect""",
        kind.value,
        first,
        last,
        institutions,
    )
    return [
        ShareCount(
            kind=kind,
            name=row["name"],
            aspect=row["aspect"],
            institution=row["institution"],
            month=row["month"],
            good=row["good"],
            total=row["total"],
        )
        for row in rows
    ]


def _cell_record(score: CellScore) -> tuple[object, ...]:
    return (
        score.cell.month,
        score.cell.dataset,
        score.cell.institution,
        round(score.total * 100),
        _dimension_hundredths(score),
        score.rows,
        score.rejected,
        score.expected,
        score.expected_rows,
        score.state.value if score.state else None,
        score.weight,
    )


def _institution_record(score: InstitutionScore) -> tuple[object, ...]:
    return (
        score.month,
        score.institution,
        round(score.total * 100),
        _dimension_hundredths(score),
        score.expected,
        score.arrived,
        score.rows,
        score.rejected,
    )


def _dimension_hundredths(score: CellScore | InstitutionScore) -> dict[str, int]:
    return {dimension.value: round(points * 100) for dimension, points in score.by_dimension.items()}


def _by_dimension(row: Record) -> dict[Dimension, float]:
    kept = row["dimensions"]
    return {dimension: kept[dimension] / 100 for dimension in Dimension if dimension.value in kept}


def _cell_score(row: Record) -> CellScore:
    return CellScore(
        cell=Cell(month=row["month"], dataset=row["dataset"], institution=row["institution"]),
        total=row["total"] / 100,
        by_dimension=_by_dimension(row),
        rows=row["rows"],
        rejected=row["rejected"],
        expected=row["expected"],
        expected_rows=row["expected_rows"],
        state=CoverageState(row["state"]) if row["state"] else None,
        weight=row["weight"],
    )


def _institution_score(row: Record) -> InstitutionScore:
    return InstitutionScore(
        institution=row["institution"],
        month=row["month"],
        total=row["total"] / 100,
        by_dimension=_by_dimension(row),
        expected=row["expected"],
        arrived=row["arrived"],
        rows=row["rows"],
        rejected=row["rejected"],
    )
