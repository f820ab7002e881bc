"""The only SQL on the balances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from kangshu.storage.database import Connection

# Arbitrary, but the same in every process: the first half of the advisory locks of reconciliations.
_LOCK_SPACE = 0x7265636F


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one row of the table says."""

    institution: str
    month: date
    left: float | None
    right: float | None
    left_rows: int
    right_rows: int
    left_files: tuple[int, ...]
    right_files: tuple[int, ...]


async def lock(connection: Connection, *, reconciliation: str) -> None:
    """Let no other computation of this pair begin before the end of the transaction.

    So whoever stores later also read the manifest later, and an older answer never covers a newer one.
    """
    await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK_SPACE, reconciliation)


async def replace(
    connection: Connection,
    *,
    reconciliation: str,
    declared: bytes,
    first: date,
    last: date,
    institutions: Sequence[str] | None,
    figures: Sequence[Figures],
    now: datetime,
) -> None:
    """Put `figures` in the place of all that is stored of those months and institutions."""
    await connection.execute(
        """DELETE FROM quality_balance WHERE reconciliation = $1 AND month BETWEEN $2 AND $3
           AND ($4::text[] IS NULL OR institution = ANY($4))""",
        reconciliation,
        first,
        last,
        list(institutions) if institutions is not None else None,
    )
    await connection.executemany(
        """INSERT INTO quality_balance (reconciliation, institution, month, left_figure, right_figure,
               left_rows, right_rows, left_files, right_files, declared, computed_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        [
            (
                reconciliation,
                one.institution,
                one.month,
                one.left,
                one.right,
                one.left_rows,
                one.right_rows,
                list(one.left_files),
                list(one.right_files),
                declared,
                now,
            )
            for one in figures
        ],
    )


async def list_cells_of_files(
    connection: Connection, *, reconciliation: str, files: Sequence[int]
) -> list[tuple[str, date]]:
    """Return the institutions and months whose stored figures were made of rows of `files`."""
    rows = await connection.fetch(
        """SELECT institution, month FROM quality_balance
           WHERE reconciliation = $1 AND (left_files && $2::bigint[] OR right_files && $2::bigint[])""",
        reconciliation,
        list(files),
    )
    return [(row["institution"], row["month"]) for row in rows]


async def list_balances(
    connection: Connection,
    *,
    declared: Mapping[str, bytes],
    first: date,
    last: date,
    institutions: Sequence[str] | None,
) -> list[Any]:
    """Return what is stored of the pairs in `declared`, as they are declared now, in order of the key."""
    return await connection.fetch(
        """SELECT b.* FROM quality_balance b
           JOIN unnest($1::text[], $2::bytea[]) AS d (reconciliation, declared)
             ON b.reconciliation = d.reconciliation AND b.declared = d.declared
           WHERE b.month BETWEEN $3 AND $4 AND ($5::text[] IS NULL OR b.institution = ANY($5))
           ORDER BY b.month, b.reconciliation, b.institution""",
        list(declared),
        list(declared.values()),
        first,
        last,
        list(institutions) if institutions is not None else None,
    )


async def list_months(connection: Connection, *, institutions: Sequence[str] | None) -> list[date]:
    """Return the months of which anything is stored, the latest first."""
    rows = await connection.fetch(
        """SELECT DISTINCT month FROM quality_balance
           WHERE ($1::text[] IS NULL OR institution = ANY($1)) ORDER BY month DESC""",
        list(institutions) if institutions is not None else None,
    )
    return [row["month"] for row in rows]
