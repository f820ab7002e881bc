"""Kill -9 at any moment leaves every file wholly in or wholly out, and nothing that a sweep does not find."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lake_crasher import rows_of
from lake_samples import VISIT, make_rows, write_segment

from kangshu.lake import Engine, FileState, commit_file, list_files, live_segments, sweep_orphans
from kangshu.lake.folder import relative
from kangshu.storage.database import Database

pytestmark = pytest.mark.database


async def sweep(database: Database, home: Path, *, now: datetime | None = None, grace_seconds: float = 3600):
    async with database.transaction() as connection:
        return await sweep_orphans(
            home, connection, now=now or datetime.now(UTC), grace_seconds=grace_seconds
        )


def work_until_killed(
    url: str, home: Path, *, first: int, after: int, seconds: float
) -> tuple[set[int], set[int]]:
    """Let a process say so many lines, then kill it; return which files it said to be in and out."""
    command = [sys.executable, str(Path(__file__).with_name("lake_crasher.py")), url, str(home), str(first)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(1 + after)]
        time.sleep(seconds)
        process.kill()
        said += process.stdout.readlines()
    words = [line.split() for line in said if line.endswith("\n") and " " in line]
    told_in = {int(number) for word, number in words if word == "in"}
    told_out = {int(number) for word, number in words if word == "out"}
    return told_in, told_out


async def check(database: Database, home: Path, told_in: set[int], told_out: set[int]) -> None:
    async with database.connection() as connection:
        files = await list_files(connection, limit=1000)
        segments = await live_segments(connection, dataset="visit")
        paths = {row["path"] for row in await connection.fetch("SELECT path FROM lake_segment")}
    live = {file.id for file in files if file.state is FileState.LIVE}
    with Engine(home, threads=1, memory_mib=128) as engine, engine.connection() as duck:
        table = engine.table_sql(dataset=VISIT, segments=segments)
        rows = Counter(dict(duck.execute(f"SELECT _file, count(*) FROM {table} GROUP BY 1").fetchall()))
    assert told_in <= {file.id for file in files}
    assert live.isdisjoint(told_out)
    assert rows == Counter({number: rows_of(number) for number in live})
    assert {relative(path) for path in (home / "lake" / "segments").rglob("*.parquet")} == paths
    assert list((home / "lake" / "incoming").iterdir()) == []


def crash_again_and_again(database_url, run, home: Path, *, rounds: int) -> None:
    moments = random.Random(20260302)
    told_in: set[int] = set()
    told_out: set[int] = set()

    async def recover() -> None:
        async with await Database.open(database_url) as database:
            await sweep(database, home)
            await check(database, home, told_in, told_out)

    for number in range(rounds):
        more_in, more_out = work_until_killed(
            database_url,
            home,
            first=1 + number * 1000,
            after=moments.randint(0, 16),
            seconds=moments.uniform(0, 0.05),
        )
        told_in |= more_in
        told_out |= more_out
        run(recover())
    assert told_in


def test_killed_at_a_few_random_moments(database_url, run, home):
    crash_again_and_again(database_url, run, home, rounds=4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_fifty_random_moments(database_url, run, home):
    crash_again_and_again(database_url, run, home, rounds=50)


def test_files_of_a_living_process_are_left_alone_for_the_grace(database_run, home):
    now = datetime.now(UTC)

    async def scenario(database):
        segment = write_segment(home, make_rows(5), file=1)
        young = await sweep(database, home, now=now, grace_seconds=3600)
        async with database.transaction() as connection:
            await commit_file(
                connection, file_id=1, dataset="visit", institution="H1", period=None, segments=[segment]
            )
        never = write_segment(home, make_rows(5), file=2)
        old = await sweep(database, home, now=now + timedelta(hours=2), grace_seconds=3600)
        return young.files, old.files, old.bytes == never.bytes, segment.path.exists(), never.path.exists()

    assert database_run(scenario) == (0, 1, True, True, False)


def test_a_sweep_waits_for_commits_and_gives_up_while_there_are_some(database_run, home, monkeypatch):
    monkeypatch.setattr("kangshu.lake.operations._SWEEP_PAUSE_SECONDS", 0.001)

    async def scenario(database):
        segment = write_segment(home, make_rows(5), file=1)
        later = datetime.now(UTC) + timedelta(days=9)
        async with database.transaction() as connection:
            await commit_file(
                connection, file_id=1, dataset="visit", institution="H1", period=None, segments=[segment]
            )
            during = await sweep(database, home, now=later)
        after = await sweep(database, home, now=later)
        return during.busy, after.busy, after.files, segment.path.exists()

    assert database_run(scenario) == (True, False, 0, True)


def test_what_a_dead_process_left_goes_at_once(database_run, home):
    program = f"""
import os, sys
from pathlib import Path
sys.path[:0] = {sys.path!r}
from lake_samples import make_rows, write_segment
from kangshu.lake import Engine, writing
home = Path({str(home)!r})
with Engine(home) as engine, engine.connection():
    (next((home / "lake" / "temp").iterdir()) / "spilled").write_bytes(b"x")
    write_segment(home, make_rows(5), file=1)
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    before = sorted(path.suffix for path in (home / "lake").rglob("*") if path.is_file())

    async def scenario(database):
        return await sweep(database, home)

    done = database_run(scenario)

    assert before == ["", ".lock", ".parquet"]
    assert done.files == 1
    assert [path for path in (home / "lake").rglob("*") if path.is_file()] == []
