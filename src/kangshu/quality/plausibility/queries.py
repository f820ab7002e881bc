"""Reads of plausibility: figures of cells, findings about them, and the rows at which a finding points."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date

import pyarrow as pa

from kangshu.declarations import Pack, functions_sql
from kangshu.lake import LakeEngine
from kangshu.quality.model import Cell, find_rule
from kangshu.quality.plausibility import store
from kangshu.quality.plausibility.locating import locate
from kangshu.quality.plausibility.model import CellFigures, CellFinding, Suspects, measures_of
from kangshu.quality.plausibility.statements import read_back, suspects_sql
from kangshu.storage.database import Connection, Database

_MOST_SUSPECTS = 10_000


async def list_cell_findings(
    connection: Connection,
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
) -> list[CellFinding]:
    """Return what rules about cells found in the months `first` to `last`, both included, newest first."""
    return await store.list_findings(
        connection, first=first, last=last, institutions=institutions, datasets=datasets
    )


async def list_cell_figures(
    connection: Connection,
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
) -> list[CellFigures]:
    """Return the figures of the cells in the months `first` to `last`, both included, oldest first."""
    return await store.list_figures(
        connection, first=first, last=last, datasets=datasets, institutions=institutions
    )


async def find_suspects(
    database: Database, engine: LakeEngine, *, pack: Pack, cell: Cell, rule: str, limit: int = 1000
) -> Suspects:
    """Return the rows of `cell` at which a finding of `rule` points, at most `limit` (10,000) places.

    None where the rule points at no rows: the figure as a whole is wrong.

    Raises:
        KeyError: the pack has no such data set.
        LakeError: what the lake's engine raises, see `LakeEngine.query`.
    """
    dataset = pack.dataset(cell.dataset)
    declared = find_rule(dataset=dataset, rule=rule)
    if declared is None or not declared.suspects:
        return Suspects(rows=0, places=())
    measures = measures_of(dataset)
    async with database.connection() as connection:
        places, segments = await locate(
            connection,
            dataset=dataset.name,
            institutions=[cell.institution],
            months=read_back(measures, [cell.month]),
        )
    statement = suspects_sql(
        table=engine.table_sql(dataset=dataset, segments=segments),
        measures=measures,
        places=places,
        month=cell.month,
        institution=cell.institution,
        suspects=declared.suspects,
        limit=min(max(limit, 1), _MOST_SUSPECTS),
    )
    return await asyncio.to_thread(_read_suspects, engine, statement, functions_sql(pack))


def _read_suspects(engine: LakeEngine, statement: str, functions: str) -> Suspects:
    batches = list(engine.query(statement, functions=functions))
    table = pa.Table.from_batches(batches) if batches else None
    if table is None or not table.num_rows:
        return Suspects(rows=0, places=())
    places = zip(table["_file"].to_pylist(), table["_row"].to_pylist(), strict=True)
    return Suspects(rows=table["total"][0].as_py(), places=tuple(places))
