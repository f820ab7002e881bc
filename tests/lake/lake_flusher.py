"""A process that stages rows of resources and flushes them without end, until its test kills it.

    python lake_flusher.py URL HOME FIRST_VERSION

It says on its output what was staged, after the commit returned: `KEY VERSION`. A version that is divisible
by seven takes the row back.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from lake_samples import PACK

from kangshu.lake import Engine, StagedRow, compact, compaction, delete_retired, flush_staged, stage_rows
from kangshu.storage.database import Database

KEYS = 20
_STEP = 7  # keys of one message, so that different messages meet the same resources


def is_withdrawn(version: int) -> bool:
    return version % 7 == 0


def keys_of(version: int) -> list[int]:
    """The resources of which the message of this number tells."""
    return [(version + number) % KEYS for number in range(_STEP)]


def row_of(key: int, version: int) -> StagedRow:
    values: dict[str, Any] = {"visit_number": f"Encounter/{key}", "doses": version}
    return StagedRow(
        dataset="visit",
        institution="H1",
        person=1 + key % 5,
        at=datetime(2026, 3, 2),
        values=None if is_withdrawn(version) else values,
        key=f"Encounter/{key}",
        message=version,
    )


async def work(url: str, home: Path, first: int) -> None:
    async with await Database.open(url) as database:
        with Engine(home, threads=1, memory_mib=128) as engine:
            say("ready")
            await asyncio.gather(stage_without_end(database, first), flush_without_end(database, engine))


async def stage_without_end(database: Database, first: int) -> None:
    version = first
    while True:
        keys = keys_of(version)
        async with database.transaction() as connection:
            await stage_rows(connection, rows=[row_of(key, version) for key in keys])
        say(*(f"{key} {version}" for key in keys))
        version += 1
        await asyncio.sleep(0)


async def flush_without_end(database: Database, engine: Engine) -> None:
    while True:
        await flush_staged(database, engine, pack=PACK, most_rows=20)
        await compact(database, engine, dataset="visit")
        await delete_retired(database, engine, grace_seconds=0)
        await asyncio.sleep(0)


def say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    # Tiny sizes, so that much happens in a short life.
    compaction.segment_rows = lambda columns: 10
    compaction._LOWEST_RUNS = 3
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
