"""The SQL of coverage: what arrived, when, and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple, TypeAlias

from kangshu.quality.coverage.model import USUAL_LEAST, USUAL_MONTHS, Arrived, Standing
from kangshu.quality.plausibility import add_months
from kangshu.storage.database import Connection

_YEAR = 12

Key: TypeAlias = tuple[date, str, str]
"""Month, data set and institution of a cell: a region has a hundred thousand, and these are quickly made."""


class History(NamedTuple):
    """Rows of a cell's institution and data set a year before, and usually; None where it is not known."""

    last_year: float | None
    usual: float | None


async def insert_arrivals(connection: Connection, *, file: int, replaces: Sequence[int]) -> None:
    """Remember that the units of `file` arrived, and that those of the files it replaces stand no longer.

    A file none of whose rows passed brings nothing.
    """
    await connection.execute(
        """INSERT INTO quality_arrival (file_id, month, dataset, institution, rows, received_at)
           SELECT file_id, month, dataset, institution, rows, received_at
           FROM quality_unit WHERE file_id = $1 AND rejected < rows
           ON CONFLICT (file_id, institution, month) DO NOTHING""",
        file,
    )
    if replaces:
        await connection.execute(
            """UPDATE quality_arrival a
               SET ended_at = greatest(a.received_at, (
                     SELECT min(u.received_at) FROM quality_unit u WHERE u.file_id = $1))
               WHERE a.file_id = ANY($2::bigint[]) AND a.file_id <> $1 AND a.ended_at IS NULL
                 AND EXISTS (SELECT 1 FROM quality_unit u WHERE u.file_id = $1)""",
            file,
            replaces,
        )


async def list_history(
    connection: Connection,
    *,
    months: Sequence[date],
    datasets: Sequence[str],
    institutions: Sequence[str] | None,
) -> dict[Key, History]:
    """Return what the cells of `months` are compared with."""
    back = (_YEAR, *range(1, USUAL_MONTHS + 1))
    past = sorted({add_months(month, -count) for month in months for count in back})
    rows = await connection.fetch(
        f"""WITH held AS (
              SELECT month, dataset, institution, sum(rows)::float8 AS rows FROM quality_unit
              WHERE month = ANY($2::date[]) AND dataset = ANY($3::text[]) AND rejected < rows
                AND ($4::text[] IS NULL OR institution = ANY($4))
              GROUP BY 1, 2, 3),
            wanted AS (SELECT unnest($1::date[]) AS month),
            compared AS (
              SELECT w.month, h.dataset, h.institution, h.rows,
                     h.month >= w.month - interval '{USUAL_MONTHS} months' AS near
              FROM wanted w JOIN held h
                ON h.month < w.month AND h.month >= w.month - interval '{USUAL_MONTHS} months'
                OR h.month = w.month - interval '1 year')
            SELECT month, dataset, institution, max(rows) FILTER (WHERE NOT near) AS last_year,
                   CASE WHEN count(*) FILTER (WHERE near) >= {USUAL_LEAST} THEN
                     percentile_cont(0.5) WITHIN GROUP (ORDER BY rows) FILTER (WHERE near) END AS usual
            FROM compared GROUP BY 1, 2, 3""",
        months,
        past,
        datasets,
        institutions,
    )
    return {
        (month, dataset, institution): History(last_year, usual)
        for month, dataset, institution, last_year, usual in rows
    }


async def list_arrived(
    connection: Connection,
    *,
    first: date,
    last: date,
    datasets: Sequence[str],
    institutions: Sequence[str] | None,
    zone: str,
) -> dict[Key, Arrived]:
    """Return what has arrived of the cells of the months `first` to `last`; days are those of `zone`.

    What stands but was never noted as an arrival counts as arrived when its file did.
    """
    rows = await connection.fetch(
        """WITH unit AS (
              SELECT * FROM quality_unit
              WHERE month BETWEEN $1 AND $2 AND dataset = ANY($3::text[]) AND rejected < rows
                AND ($4::text[] IS NULL OR institution = ANY($4))),
            arrival AS (
              SELECT * FROM quality_arrival
              WHERE month BETWEEN $1 AND $2 AND dataset = ANY($3::text[])
                AND ($4::text[] IS NULL OR institution = ANY($4))),
            step AS (
              SELECT month, dataset, institution, received_at AS at, rows, 0::bigint AS present FROM arrival
              UNION ALL
              SELECT month, dataset, institution, ended_at, -rows, 0 FROM arrival WHERE ended_at IS NOT NULL
              UNION ALL
              SELECT u.month, u.dataset, u.institution, u.received_at,
                     CASE WHEN a.file_id IS NULL THEN u.rows ELSE 0 END, u.rows
              FROM unit u LEFT JOIN arrival a USING (file_id, institution, month)),
            day AS (
              SELECT month, dataset, institution, (at AT TIME ZONE $5)::date AS day, sum(rows) AS rows,
                     sum(present) AS present, min(at) AS first, max(at) FILTER (WHERE present > 0) AS last
              FROM step GROUP BY 1, 2, 3, 4)
           SELECT month, dataset, institution, sum(present)::bigint AS rows, min(first) AS first,
                  max(last) AS last, array_agg(day ORDER BY day) AS days,
                  array_agg(rows::bigint ORDER BY day) AS changes
           FROM day GROUP BY 1, 2, 3""",
        first,
        last,
        datasets,
        institutions,
        zone,
    )
    return {
        (month, dataset, institution): _arrived(count, came, latest, days, changes)
        for month, dataset, institution, count, came, latest, days, changes in rows
    }


def _arrived(
    rows: int, first: datetime, last: datetime | None, days: Sequence[date], changes: Sequence[int]
) -> Arrived:
    standings: list[Standing] = []
    standing = 0
    for day, change in zip(days, changes, strict=True):
        standing += change
        standings.append(Standing(day=day, rows=standing))
    return Arrived(rows=rows, standings=standings, first=first, last=last or first)
