"""The table of issued circulars, and sums over findings for the next one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from kangshu.storage.database import Connection, Record


async def insert_circular(
    connection: Connection, *, month: date, issued_at: datetime, issued_by: str, figures: Mapping[str, Any]
) -> bool:
    """Keep an issued circular; return whether it is the month's first."""
    done = await connection.fetchval(
        """INSERT INTO quality_circular (month, issued_at, issued_by, figures) VALUES ($1, $2, $3, $4)
           ON CONFLICT (month) DO NOTHING RETURNING true""",
        month,
        issued_at,
        issued_by,
        dict(figures),
    )
    return bool(done)


async def find_circular(connection: Connection, *, month: date) -> Record | None:
    """Return the month's issued circular."""
    return await connection.fetchrow("SELECT * FROM quality_circular WHERE month = $1", month)


async def list_circulars(connection: Connection) -> list[Record]:
    """Return when circulars were issued, the latest month first."""
    return await connection.fetch(
        "SELECT month, issued_at, issued_by FROM quality_circular ORDER BY month DESC"
    )


async def add_up_month(connection: Connection, *, month: date) -> Record:
    """Return the files, rows and refused rows of a month."""
    row = await connection.fetchrow(
        """SELECT count(DISTINCT file_id) AS files, coalesce(sum(rows), 0)::bigint AS rows,
                  coalesce(sum(rejected), 0)::bigint AS rejected
           FROM quality_unit WHERE month = $1""",
        month,
    )
    assert row is not None, "an aggregate has one row"
    return row


async def list_frequent(connection: Connection, *, month: date, limit: int) -> list[Record]:
    """Return the checks that found most rows in a month, with the number of institutions."""
    return await connection.fetch(
        """SELECT unit.dataset, rule, field, severity, dimension, sum(finding.rows)::bigint AS rows,
                  count(DISTINCT unit.institution) AS institutions
           FROM quality_unit AS unit JOIN quality_finding AS finding USING (file_id, institution, month)
           WHERE unit.month = $1
           GROUP BY unit.dataset, rule, field, severity, dimension
           ORDER BY sum(finding.rows) DESC, unit.dataset, rule, field LIMIT $2""",
        month,
        limit,
    )
