"""Rows from messages: noted in the message's transaction, brought to Parquet by a flush a little later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from kangshu.declarations import Dataset, Pack
from kangshu.lake import store
from kangshu.lake.compaction import discard
from kangshu.lake.engine import Engine
from kangshu.lake.errors import naming_disk_faults
from kangshu.lake.folder import new_segment_path
from kangshu.lake.model import FileSource, SegmentFile, StagedRow, Staging
from kangshu.lake.packing import key_digest, pack_rows, row_table, unpack_rows
from kangshu.lake.schema import lake_schema
from kangshu.lake.writing import SegmentWriter
from kangshu.storage.database import Connection, Database

# The rows of one flush are in memory at once: some 100 MB of the widest data set.
_MOST_ROWS = 50_000


async def stage_rows(connection: Connection, *, rows: Sequence[StagedRow]) -> None:
    """Note rows that messages gave, in the caller's transaction, with one statement for all of them.

    They are in the lake after the next flush. Of two rows with one data set and key the later takes the place
    of the earlier one, whether that was flushed or not; one without values takes it away. The caller sees to
    it that transactions about the same resource come one after the other (locks on the resource do).
    """
    if not rows:
        return
    of = attrgetter("dataset")
    portions = [(dataset, list(some)) for dataset, some in groupby(sorted(rows, key=of), key=of)]
    await store.insert_staged(
        connection, portions=[(dataset, len(some), pack_rows(some)) for dataset, some in portions]
    )


async def staging(connection: Connection) -> Staging:
    """Return how many rows wait for a flush, and since when."""
    return await store.read_staging(connection)


async def flush_staged(database: Database, engine: Engine, *, pack: Pack, most_rows: int = _MOST_ROWS) -> int:
    """Bring everything staged into the lake and return how many staged rows were taken.

    Each portion is one transaction: a file with the new rows, the places of the replaced and withdrawn ones,
    and the staged rows gone. Killed anywhere, a portion has happened or not. Data sets that somebody else is
    flushing are passed over, and rows of data sets that the pack no longer declares wait.

    Raises:
        LakeFullError: the disk is full; what was not flushed is still staged.
    """
    async with database.connection() as connection:
        names = await store.list_staged_datasets(connection)
    taken = 0
    for name in names:
        if name in pack.datasets:
            while portion := await _flush_portion(
                database, engine, dataset=pack.datasets[name], most_rows=most_rows
            ):
                taken += portion
    return taken


async def _flush_portion(database: Database, engine: Engine, *, dataset: Dataset, most_rows: int) -> int:
    written: list[SegmentFile] = []
    committing = False
    try:
        async with database.transaction() as connection:
            if not await store.try_lock_flush(connection, dataset=dataset.name):
                return 0
            bodies = await store.read_staged(connection, dataset=dataset.name, most_rows=most_rows)
            if not bodies:
                return 0
            taken, latest = await asyncio.to_thread(_latest, list(bodies.values()), dataset.name)
            await _put(connection, engine, dataset=dataset, latest=latest, written=written)
            await store.delete_staged(connection, staged=list(bodies))
            committing = True
        return taken
    except BaseException:
        # Once the commit has begun (and was then interrupted, or its answer lost) nobody knows whether it
        # happened: the sweep finds out.
        if not committing:
            discard(written)
        raise


def _latest(bodies: Sequence[bytes], dataset: str) -> tuple[int, dict[bytes, StagedRow]]:
    """Return how many rows were staged, and the last one for each key."""
    rows = [row for body in bodies for row in unpack_rows(body, dataset=dataset)]
    return len(rows), {key_digest(dataset=dataset, key=row.key): row for row in rows}


async def _put(
    connection: Connection,
    engine: Engine,
    *,
    dataset: Dataset,
    latest: dict[bytes, StagedRow],
    written: list[SegmentFile],
) -> None:
    fresh = {key: row for key, row in latest.items() if row.values is not None}
    file_id = await store.next_message_file(connection) if fresh else 0
    if fresh:
        written.append(await asyncio.to_thread(_write, engine, dataset, list(fresh.values()), file_id))
    await store.lock_commit(connection)
    await store.lock_files(connection, dataset=dataset.name)
    await store.drop_message_rows(connection, keys=list(latest))
    if fresh:
        run_id = await store.insert_run(connection, dataset=dataset.name, segments=written)
        await store.insert_file(
            connection,
            file_id=file_id,
            dataset=dataset.name,
            institution="",
            period=None,
            rows=len(fresh),
            run_id=run_id,
            source=FileSource.MESSAGE,
        )
        await store.insert_message_rows(
            connection,
            file_id=file_id,
            rows=[
                (key, place, row.person, row.message)
                for place, (key, row) in enumerate(fresh.items(), start=1)
            ],
        )


def _write(engine: Engine, dataset: Dataset, rows: Sequence[StagedRow], file_id: int) -> SegmentFile:
    with naming_disk_faults(f"segments/{dataset.name}"):
        path = new_segment_path(home=engine.lake.parent, dataset=dataset.name)
    with SegmentWriter(path, lake_schema(dataset)) as writer:
        writer.write(row_table(rows, dataset=dataset, file_id=file_id))
        return writer.close()
