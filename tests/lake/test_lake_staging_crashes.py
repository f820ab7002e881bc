"""Kill -9 at any moment loses no staged row, doubles none, and brings no withdrawn one back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lake_flusher import KEYS, is_withdrawn, keys_of
from lake_samples import PACK, VISIT

from kangshu.lake import Engine, delete_retired, flush_staged, live_segments, sweep_orphans
from kangshu.lake.folder import relative
from kangshu.storage.database import Database

pytestmark = pytest.mark.database


def work_until_killed(url: str, home: Path, *, first: int, after: int, seconds: float) -> dict[int, set[int]]:
    """Let a process say so many lines, then kill it; return the versions each key may have, 0 as before."""
    command = [sys.executable, str(Path(__file__).with_name("lake_flusher.py")), url, str(home), str(first)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(1 + after)]
        time.sleep(seconds)
        process.kill()
        said += process.stdout.readlines()
    pairs = [line.split() for line in said if line.endswith("\n") and " " in line]
    told: dict[int, int] = {}
    for key, version in pairs:
        told[int(key)] = int(version)
    # Of the last message perhaps not every key was told, and one more may have been committed.
    last = max(told.values(), default=first - 1)
    if last >= first:
        told |= dict.fromkeys(keys_of(last), last)
    more = keys_of(last + 1)
    return {key: {told.get(key, 0)} | ({last + 1} if key in more else set()) for key in range(KEYS)}


async def recover(database: Database, home: Path) -> dict[int, int]:
    """Flush what is left, sweep, and return the version of each resource that the lake holds."""
    with Engine(home, threads=1, memory_mib=128) as engine:
        await flush_staged(database, engine, pack=PACK)
        await delete_retired(database, engine, grace_seconds=0)
        async with database.transaction() as connection:
            await sweep_orphans(home, connection, now=datetime.now(UTC))
        async with database.connection() as connection:
            segments = await live_segments(connection, dataset="visit")
            paths = {row["path"] for row in await connection.fetch("SELECT path FROM lake_segment")}
            keys = await connection.fetchval("SELECT count(*) FROM lake_message_row")
        with engine.connection() as duck:
            table = engine.table_sql(dataset=VISIT, segments=segments)
            rows = duck.execute(f"SELECT visit_number, doses FROM {table}").fetchall()
    held = {int(number.split("/")[1]): version for number, version in rows}
    assert len(held) == len(rows) == keys, "no resource has two rows"
    assert {relative(path) for path in (home / "lake" / "segments").rglob("*.parquet")} == paths
    return held


def crash_again_and_again(database_url, run, home: Path, *, rounds: int) -> None:
    moments = random.Random(20260302)
    # What each resource may be at; 0 is no row.
    told: dict[int, set[int]] = {key: {0} for key in range(KEYS)}

    async def check() -> None:
        async with await Database.open(database_url) as database:
            held = await recover(database, home)
        for key in range(KEYS):
            seen = held.get(key)
            assert seen in {None if is_withdrawn(one) else one for one in told[key]}
            told[key] = {seen or 0}

    for number in range(rounds):
        more = work_until_killed(
            database_url,
            home,
            first=1 + number * 10_000,
            after=moments.randint(0, 60),
            seconds=moments.uniform(0, 0.1),
        )
        for key, versions in more.items():
            told[key] = versions if 0 not in versions else told[key] | (versions - {0})
        run(check())
    assert any(told.values())


def test_killed_at_a_few_random_moments_while_flushing(database_url, run, home):
    crash_again_and_again(database_url, run, home, rounds=4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_fifty_random_moments_while_flushing(database_url, run, home):
    crash_again_and_again(database_url, run, home, rounds=50)
