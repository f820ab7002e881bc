"""Changes of the lake: a file comes in, is replaced; runs are merged; what is left over goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from kangshu.kernel.periods import Period
from kangshu.lake import folder, store
from kangshu.lake.compaction import discard, merge, plan_merge
from kangshu.lake.engine import Engine
from kangshu.lake.errors import CompactionLostError, FileCommittedError, FileNotLiveError, say
from kangshu.lake.model import Compaction, Run, Segment, SegmentFile, Sweep
from kangshu.storage.database import Connection, Database

# A bound on the merges of one call, so that a defect of the plan cannot become an endless loop.
_MOST_MERGES = 100
_SWEEP_TRIES = 20
_SWEEP_PAUSE_SECONDS = 0.1
_RETIRED_AT_ONCE = 500


async def commit_file(
    connection: Connection,
    *,
    file_id: int,
    dataset: str,
    institution: str,
    period: Period | None,
    segments: Sequence[SegmentFile],
) -> int:
    """Put a file and its closed segments in the manifest, and return how many rows it has.

    From the commit of the caller's transaction the rows are read by everybody; before it, or without it, by
    nobody. Segments without rows are passed over; a file may have none.

    Raises:
        FileCommittedError: the number is on record already.
    """
    await store.lock_commit(connection)
    filled = [segment for segment in segments if segment.rows]
    rows = sum(segment.rows for segment in filled)
    run_id = await store.insert_run(connection, dataset=dataset, segments=filled) if filled else None
    done = await store.insert_file(
        connection,
        file_id=file_id,
        dataset=dataset,
        institution=institution,
        period=period,
        rows=rows,
        run_id=run_id,
    )
    if not done:
        raise FileCommittedError(say("committed", file=file_id))
    return rows


async def supersede_file(connection: Connection, *, file_id: int) -> None:
    """Take a file's rows out of every read from the commit on; the file stays on record.

    Of two transactions that replace the same file, the later one is refused: it saw an old state.

    Raises:
        FileNotLiveError: no live file has this number.
    """
    if not await store.mark_superseded(connection, file_id=file_id):
        raise FileNotLiveError(say("not_live", file=file_id))


def discard_segments(segments: Sequence[SegmentFile]) -> None:
    """Remove closed segments whose transaction was undone.

    Not when the connection broke during the commit: then nobody knows whether it happened, and the sweep
    decides.
    """
    discard(segments)


async def compact(
    database: Database, engine: Engine, *, dataset: str, everything: bool = False
) -> Compaction:
    """Merge what the plan names until the data set is in good order; see `compaction`.

    Readers and writers go on meanwhile. A file that is superseded during a merge stays superseded. Kill -9 at
    any moment leaves the manifest as it was or as it should become, and at most files for the sweep.

    Raises:
        LakeFullError: the disk has no room for the merged files; nothing was changed.
        CompactionLostError: the database went away meanwhile and somebody else merged; try again.
    """
    done = Compaction()
    async with database.connection() as connection:
        # The lock belongs to this connection. When it breaks, the swap on the same connection cannot happen.
        if not await store.try_lock_dataset(connection, dataset=dataset):
            return Compaction(busy=True)
        try:
            for _ in range(_MOST_MERGES):
                step = await _compact_once(connection, engine, dataset=dataset, everything=everything)
                if step is None:
                    break
                done = _sum(done, step)
        finally:
            if not connection.is_closed():
                await store.unlock_dataset(connection, dataset=dataset)
    return done


async def _compact_once(
    connection: Connection, engine: Engine, *, dataset: str, everything: bool
) -> Compaction | None:
    runs = await store.list_runs(connection, dataset=dataset)
    dead = [run for run in runs if run.dead_rows == run.rows]
    if dead:
        return await _swap(connection, dataset=dataset, runs=dead, sources=None, segments=[])
    chosen = set(plan_merge(runs, everything=everything))
    if not chosen:
        return None
    old = [run for run in runs if run.id in chosen]
    # What is dropped is taken from here, not from `runs`: this very state is what the merge leaves out.
    sources = await store.list_segments(connection, runs=[run.id for run in old])
    shapes = [run.shape for run in sorted(old, key=lambda run: -run.id)]
    written = await asyncio.to_thread(merge, engine, dataset=dataset, segments=sources, shapes=shapes)
    try:
        return await _swap(connection, dataset=dataset, runs=old, sources=sources, segments=written)
    except CompactionLostError:
        discard(written)
        raise


async def _swap(
    connection: Connection,
    *,
    dataset: str,
    runs: Sequence[Run],
    sources: Sequence[Segment] | None,
    segments: Sequence[SegmentFile],
) -> Compaction:
    """Put the merged segments in the place of `runs` in one transaction.

    What `sources` say is dropped was not copied; None means that nothing of the runs was.
    """
    ids = [run.id for run in runs]
    left_out = sorted({file for source in sources or () for file in source.dropped})
    rows_left_out = sorted({pair for source in sources or () for pair in source.dropped_rows})
    async with connection.transaction():
        await store.lock_commit(connection)
        await store.lock_files(connection, dataset=dataset)
        run_id = await store.insert_run(connection, dataset=dataset, segments=segments) if segments else None
        if not await store.retire_runs(connection, runs=ids):
            raise CompactionLostError(say["compaction_lost"])
        await store.forget_dropped_rows(
            connection, rows=rows_left_out, runs=[] if sources is not None else ids
        )
        await store.move_files(connection, runs=ids, left_out=left_out, run_id=run_id)
    rows = sum(segment.rows for segment in segments)
    return Compaction(
        merges=1,
        runs=len(ids),
        rows=rows,
        dropped_rows=sum(run.rows for run in runs) - rows,
        segments=len(segments),
    )


async def delete_retired(database: Database, engine: Engine, *, grace_seconds: float = 900) -> int:
    """Remove the files of runs that were merged longer than the grace ago, and return how many.

    The grace is for readers that looked at the manifest before. One that is later still finds the file
    missing and looks at the manifest again.
    """
    removed = 0
    while True:
        async with database.transaction() as connection:
            retired = await store.list_retired(
                connection, grace_seconds=grace_seconds, limit=_RETIRED_AT_ONCE
            )
        paths = [engine.lake / path for segments in retired.values() for path in segments]
        engine.readers.forget(paths)
        await asyncio.to_thread(_remove, paths)
        # Files first, then the record: killed in between, the next call finds the record and goes on.
        async with database.transaction() as connection:
            await store.delete_runs(connection, runs=list(retired))
        removed += len(paths)
        if len(retired) < _RETIRED_AT_ONCE:
            return removed


async def sweep_orphans(
    home: Path, connection: Connection, *, now: datetime, grace_seconds: float = 86_400
) -> Sweep:
    """Remove files that no manifest names: of processes that are gone at once, of others after the grace.

    Must run in a transaction of its own. It looks only while no commit is under way, so that a commit whose
    process just died is either seen or undone; while there are always some, it leaves everything alone.
    """
    assert connection.is_in_transaction(), "the lock that keeps commits out lasts as long as a transaction"
    lake = folder.lake_folder(home)
    older_than = now.timestamp() - grace_seconds
    left = await asyncio.to_thread(_list_left_over, lake, older_than)
    if left and not await _wait_for_commits(connection):
        return Sweep(busy=True)
    known = await store.list_known_paths(connection, paths=[folder.relative(path) for path in left])
    orphans = [path for path in left if folder.relative(path) not in known]
    size = await asyncio.to_thread(_remove, orphans)
    await asyncio.to_thread(folder.sweep_owners, lake)
    return Sweep(files=len(orphans), bytes=size)


async def _wait_for_commits(connection: Connection) -> bool:
    for _ in range(_SWEEP_TRIES):
        if await store.try_lock_sweep(connection):
            return True
        await asyncio.sleep(_SWEEP_PAUSE_SECONDS)
    return False


def _list_left_over(lake: Path, older_than: float) -> list[Path]:
    # The files are listed first: whoever made one of them had its lock by then.
    return [path for path in folder.list_parquet(lake) if folder.is_left_over(path, older_than=older_than)]


def _remove(paths: Sequence[Path]) -> int:
    size = 0
    for path in paths:
        try:
            size += path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            continue
    return size


def _sum(left: Compaction, right: Compaction) -> Compaction:
    return Compaction(
        merges=left.merges + right.merges,
        runs=left.runs + right.runs,
        rows=left.rows + right.rows,
        dropped_rows=left.dropped_rows + right.dropped_rows,
        segments=left.segments + right.segments,
    )
