"""Compute both figures over the lake and keep them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from kangshu.declarations import Pack, Reconciliation, ReconciliationSide, functions_sql
from kangshu.lake import LakeEngine, live_segments
from kangshu.quality.reconciling import store
from kangshu.quality.reconciling.model import Balance, finite
from kangshu.quality.reconciling.queries import balance_of
from kangshu.quality.reconciling.statements import (
    Table,
    add_months,
    digest_of,
    figures_sql,
    is_event_time,
    touched_sql,
)
from kangshu.storage.database import Connection, Database


async def reconcile(
    database: Database,
    engine: LakeEngine,
    *,
    pack: Pack,
    first: date,
    last: date,
    now: datetime,
    institutions: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
) -> list[Balance]:
    """Compute, store and return the balances of the months `first` to `last` (both included).

    One statement over the lake for each pair, whose answer replaces what was stored of these months and
    institutions (None: all). `ids` narrows it to some pairs. Pairs are done one after the other: what was
    done before a failure stands.
    """
    found: list[Balance] = []
    months = (first.replace(day=1), last.replace(day=1))
    for pair in pack.quality.reconciliations:
        if ids is None or pair.id in ids:
            found += await _reconcile(
                database, engine, pack=pack, pair=pair, months=months, institutions=institutions, now=now
            )
    return found


async def reconcile_files(
    database: Database, engine: LakeEngine, *, pack: Pack, dataset: str, files: Sequence[int], now: datetime
) -> list[Balance]:
    """Compute anew what `files` of `dataset` have a part in, and return it.

    Name a file together with those that it superseded: rows that are gone are found by what was computed of
    them. Costs the institutions and months of these files, not the whole month. Files made of messages may
    be named; the place that a corrected message's row leaves is not looked for: a full run finds it.
    """
    found: list[Balance] = []
    for pair in pack.quality.reconciliations:
        sides = [side for side in (pair.left, pair.right) if side.dataset == dataset]
        cells = await _touched(database, engine, pack=pack, pair=pair, sides=sides, files=files)
        if not cells:
            continue
        months = sorted({month for _, month in cells})
        found += await _reconcile(
            database,
            engine,
            pack=pack,
            pair=pair,
            months=(months[0], months[-1]),
            institutions=sorted({institution for institution, _ in cells}),
            now=now,
        )
    return found


async def _reconcile(
    database: Database,
    engine: LakeEngine,
    *,
    pack: Pack,
    pair: Reconciliation,
    months: tuple[date, date],
    institutions: Sequence[str] | None,
    now: datetime,
) -> list[Balance]:
    async with database.transaction() as connection:
        await store.lock(connection, reconciliation=pair.id)
        tables = await tables_of(connection, engine, pack=pack, pair=pair, months=months)
        statement = figures_sql(pair, tables=tables, months=months, institutions=institutions)
        rows = await ask(engine, statement, pack=pack)
        figures = [_figures(row) for row in rows]
        await store.replace(
            connection,
            reconciliation=pair.id,
            declared=digest_of(pair),
            first=months[0],
            last=months[1],
            institutions=institutions,
            figures=figures,
            now=now,
        )
    balances = [balance_of(pair, one, computed_at=now) for one in figures]
    return sorted(balances, key=lambda one: (one.month, one.institution))


async def _touched(
    database: Database,
    engine: LakeEngine,
    *,
    pack: Pack,
    pair: Reconciliation,
    sides: Sequence[ReconciliationSide],
    files: Sequence[int],
) -> set[tuple[str, date]]:
    """Return the institutions and months of which these files' rows are, or were, a part."""
    if not sides or not files:
        return set()
    async with database.connection() as connection:
        cells = set(await store.list_cells_of_files(connection, reconciliation=pair.id, files=files))
        dataset = sides[0].dataset
        segments = await live_segments(connection, dataset=dataset, files=files)
    declared = pack.dataset(dataset)
    table = Table(sql=engine.table_sql(dataset=declared, segments=segments), dataset=declared)
    for side in sides:
        rows = await ask(engine, touched_sql(side, table, files=files), pack=pack)
        cells.update((row["_institution"], row["_month"]) for row in rows)
    return cells


async def tables_of(
    connection: Connection,
    engine: LakeEngine,
    *,
    pack: Pack,
    pair: Reconciliation,
    months: tuple[date, date],
) -> tuple[Table, Table]:
    """Return what to read for either side, without segments that certainly hold no row of `months`."""
    found: list[Table] = []
    for side in (pair.left, pair.right):
        dataset = pack.dataset(side.dataset)
        segments = await live_segments(connection, dataset=side.dataset)
        if is_event_time(side, dataset):
            begin, end = months[0], add_months(months[1], 1)
            segments = [
                segment
                for segment in segments
                if segment.min_at is None
                or segment.max_at is None
                or (segment.min_at.date() < end and segment.max_at.date() >= begin)
            ]
        found.append(Table(sql=engine.table_sql(dataset=dataset, segments=segments), dataset=dataset))
    return found[0], found[1]


async def ask(engine: LakeEngine, statement: str, *, pack: Pack) -> list[dict[str, Any]]:
    """Return the rows of a SELECT whose answer is small, computed in a thread."""

    def read() -> list[dict[str, Any]]:
        batches = engine.query(statement, functions=functions_sql(pack))
        return [row for batch in batches for row in batch.to_pylist()]

    return await asyncio.to_thread(read)


def _figures(row: dict[str, Any]) -> store.Figures:
    return store.Figures(
        institution=row["_institution"],
        month=row["_month"],
        left=finite(row["_figure1"]),
        right=finite(row["_figure2"]),
        left_rows=row["_rows1"] or 0,
        right_rows=row["_rows2"] or 0,
        left_files=tuple(sorted(row["_files1"] or ())),
        right_files=tuple(sorted(row["_files2"] or ())),
    )
