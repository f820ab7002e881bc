"""The rows behind two figures: where they lie, and what each finds on the other side; never a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

from kangshu.declarations import Pack, Reconciliation
from kangshu.lake import LakeEngine
from kangshu.quality.reconciling.model import FileRows, Partner, RowPlace, Side, SideRows
from kangshu.quality.reconciling.operations import ask, tables_of
from kangshu.quality.reconciling.queries import get_reconciliation
from kangshu.quality.reconciling.statements import NEAR_MONTHS, add_months, rows_sql
from kangshu.storage.database import Database

MOST_PLACES = 1000
_MOST_FILES = 500
"""So many files are listed one by one; more are the exception, and the counts are of all."""
DIFFERING = (Partner.NONE, Partner.ELSEWHERE, Partner.UNEQUAL, Partner.UNKNOWN)
"""Rows that may be the reason of a difference."""


async def differing_rows(
    database: Database,
    engine: LakeEngine,
    *,
    pack: Pack,
    reconciliation: str,
    institution: str,
    month: date,
    side: Side,
    partners: Sequence[Partner] = DIFFERING,
    after: tuple[int, int] | None = None,
    limit: int = 100,
) -> SideRows:
    """Return the rows of a cell on one side, by place: file and row.

    The counts are of all rows of the figure; `places` are a page (at most `limit`, 1000) of those that find
    one of `partners` on the other side by the pair's key. A pair without key has no partners: all rows
    are listed.

    Raises:
        ReconciliationNotFoundError: the pack declares no such pair.
    """
    pair = get_reconciliation(pack, reconciliation=reconciliation)
    month = month.replace(day=1)
    limit = min(max(1, limit), MOST_PLACES)
    months = (add_months(month, -NEAR_MONTHS), add_months(month, NEAR_MONTHS))
    async with database.connection() as connection:
        tables = await tables_of(connection, engine, pack=pack, pair=pair, months=months)
    wanted = partners if _has_key(pair) else (Partner.UNKNOWN,)
    statement = rows_sql(
        pair,
        side=side,
        tables=tables,
        institution=institution,
        month=month,
        partners=wanted,
        after=after,
        limit=limit + 1,
    )
    rows = await ask(engine, statement, pack=pack)
    counts = [row for row in rows if row["_row"] is None]
    return _side_rows(side, counts, [row for row in rows if row["_row"] is not None], limit=limit)


def _has_key(pair: Reconciliation) -> bool:
    return bool(pair.left.key) and len(pair.left.key) == len(pair.right.key)


def _side_rows(
    side: Side, counts: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]], *, limit: int
) -> SideRows:
    partners: Counter[Partner] = Counter()
    by_file: dict[int, Counter[Partner]] = {}
    for row in counts:
        partner = Partner(row["_partner"])
        partners[partner] += row["_rows"]
        by_file.setdefault(row["_file"], Counter())[partner] += row["_rows"]
    files = [FileRows(file=file, rows=count.total(), partners=dict(count)) for file, count in by_file.items()]
    places = [
        RowPlace(file=row["_file"], row=row["_row"], partner=Partner(row["_partner"]))
        for row in found[:limit]
    ]
    return SideRows(
        side=side,
        rows=partners.total(),
        partners=dict(partners),
        files=tuple(files[:_MOST_FILES]),
        places=tuple(places),
        next=(places[-1].file, places[-1].row) if len(found) > limit else None,
    )
