"""A process that works on a lake without end, until its test kills it.

    python lake_crasher.py URL HOME FIRST_NUMBER

It says on its output what was committed, after the commit returned: `in N` and `out N`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from lake_samples import make_rows, write_segment

from kangshu.lake import Engine, commit_file, compact, compaction, delete_retired, supersede_file, writing
from kangshu.storage.database import Database


def rows_of(number: int) -> int:
    """How many rows the file of this number has."""
    return 50 + number % 7 * 40


async def work(url: str, home: Path, first: int) -> None:
    async with await Database.open(url) as database:
        with Engine(home, threads=1, memory_mib=128) as engine:
            say("ready")
            await asyncio.gather(
                commit_without_end(database, home, first), compact_without_end(database, engine)
            )


async def commit_without_end(database: Database, home: Path, first: int) -> None:
    number = first
    while True:
        segment = write_segment(home, make_rows(rows_of(number)), file=number)
        replaced = number - 2 if number % 3 == 0 and number - 2 >= first else None
        async with database.transaction() as connection:
            if replaced:
                await supersede_file(connection, file_id=replaced)
            await commit_file(
                connection, file_id=number, dataset="visit", institution="H1", period=None, segments=[segment]
            )
        say(f"in {number}", *([f"out {replaced}"] if replaced else []))
        number += 1
        await asyncio.sleep(0)


async def compact_without_end(database: Database, engine: Engine) -> None:
    while True:
        await compact(database, engine, dataset="visit")
        await delete_retired(database, engine, grace_seconds=0)
        await asyncio.sleep(0)


def say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    # Tiny sizes, so that much happens in a short life.
    compaction.segment_rows = lambda columns: 100
    compaction._LOWEST_RUNS = 3
    writing._SORTED_BYTES = 20_000
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
