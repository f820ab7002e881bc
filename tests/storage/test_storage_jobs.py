"""Jobs: done once, again after a death, given up in the open."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from kangshu.storage import jobs
from kangshu.storage.errors import JobLostError
from kangshu.storage.jobs import Worker

pytestmark = pytest.mark.database


async def _enqueue(database, kind="score", unique_key=None, not_before=None, **payload):
    async with database.transaction() as connection:
        return await jobs.enqueue(
            connection, kind=kind, payload=payload, unique_key=unique_key, not_before=not_before
        )


async def _states(database):
    async with database.connection() as connection:
        return [(job.payload.get("n"), job.state, job.attempts) for job in await jobs.list_jobs(connection)]


def keeping(seen: list):
    async def handler(job):
        seen.append(job.payload["n"])

    return handler


def test_jobs_are_done_in_order_and_leave_nothing_behind(database_run, fixed_clock):
    seen: list[int] = []

    async def scenario(database):
        for n in (1, 2, 3):
            await _enqueue(database, n=n)
        worker = Worker(database, {"score": keeping(seen)}, fixed_clock)
        done = [await worker.run_one() for _ in range(4)]
        return done, await _states(database)

    assert database_run(scenario) == ([True, True, True, False], [])
    assert seen == [1, 2, 3]


def test_a_second_request_while_one_waits_adds_nothing_but_while_one_runs_it_does(database_run, fixed_clock):
    seen: list[int] = []

    async def scenario(database):
        first = await _enqueue(database, unique_key="2026-03", n=1)
        folded = await _enqueue(database, unique_key="2026-03", n=2)
        other = Worker(database, {"score": keeping(seen)}, fixed_clock)
        meanwhile = []

        async def request_again(job):
            meanwhile.append(await _enqueue(database, unique_key="2026-03", n=3))
            meanwhile.append(await other.run_one())

        await Worker(database, {"score": request_again}, fixed_clock).run_one()
        await other.run_one()
        return first, folded, meanwhile

    first, folded, meanwhile = database_run(scenario)

    assert first is not None
    assert folded is None
    assert meanwhile[0] is not None
    assert meanwhile[1] is False, "two jobs of one key ran side by side"
    assert seen == [3]


def test_a_job_waits_for_its_time(database_run, fixed_clock):
    seen: list[int] = []

    async def scenario(database):
        await _enqueue(database, n=1, not_before=fixed_clock.moment.replace(hour=9))
        worker = Worker(database, {"score": keeping(seen)}, fixed_clock)
        early = await worker.run_one()
        fixed_clock.advance(hours=1)
        return early, await worker.run_one()

    assert database_run(scenario) == (False, True)


def test_a_failing_job_is_tried_later_and_later_then_given_up_in_the_open(database_run, fixed_clock):
    moments: list[float] = []
    begin = fixed_clock.moment

    async def refuse(job):
        moments.append((fixed_clock.moment - begin).total_seconds())
        raise ValueError("a name from somebody's record")

    async def scenario(database):
        await _enqueue(database, n=1)
        worker = Worker(database, {"score": refuse}, fixed_clock, max_attempts=4)
        for _ in range(40):
            await worker.run_one()
            fixed_clock.advance(seconds=1)
        async with database.connection() as connection:
            dead = await jobs.list_dead(connection)
            again = await jobs.retry_dead(connection)
            counts = await jobs.count_jobs(connection)
        return dead, again, counts

    dead, again, counts = database_run(scenario)

    assert moments == [0, 2, 6, 14]
    assert [(job.state, job.attempts, job.error) for job in dead] == [("dead", 4, "ValueError")]
    assert again == 1
    assert [(count.kind, count.waiting, count.dead) for count in counts] == [("score", 1, 0)]


def test_a_job_that_fails_for_its_environment_is_tried_again_and_never_given_up(database_run, fixed_clock):
    seen: list[int] = []

    async def scenario(database):
        async def find_disk_full(job):
            if len(seen) < 5:
                seen.append(job.attempts)
                raise OSError(errno.ENOSPC, "No space left on device")

        await _enqueue(database, n=1)
        worker = Worker(database, {"score": find_disk_full}, fixed_clock, max_attempts=2)
        for _ in range(6):
            await worker.run_one()
            fixed_clock.advance(seconds=30)
        return await _states(database)

    assert database_run(scenario) == []
    assert seen == [1] * 5


def test_a_failed_job_whose_key_was_asked_for_again_comes_back_once(database_run, fixed_clock):
    async def scenario(database):
        async def fail_after_new_request(job):
            await _enqueue(database, unique_key="k", n=2)
            raise RuntimeError

        await _enqueue(database, unique_key="k", n=1)
        await Worker(database, {"score": fail_after_new_request}, fixed_clock).run_one()
        return await _states(database)

    assert database_run(scenario) == [(2, "waiting", 0)]


def test_a_worker_that_lost_its_lease_cannot_finish(database_run, fixed_clock):
    seen: list[int] = []

    async def scenario(database):
        async def slow(job):
            fixed_clock.advance(seconds=61)
            await Worker(database, {"score": keeping(seen)}, fixed_clock).run_one()
            async with database.transaction() as connection:
                await connection.execute("INSERT INTO done_by VALUES ('slow')")
                with pytest.raises(JobLostError) as refusal:
                    await jobs.finish(connection, job=job)
                raise refusal.value

        async with database.connection() as connection:
            await connection.execute("CREATE TABLE done_by (who text)")
        await _enqueue(database, n=1)
        await Worker(database, {"score": slow}, fixed_clock, lease_seconds=60).run_one()
        async with database.connection() as connection:
            return await connection.fetchval("SELECT count(*) FROM done_by"), await _states(database)

    assert database_run(scenario) == (0, [])
    assert seen == [1]


def test_a_handler_may_finish_inside_its_own_transaction(database_run, fixed_clock):
    async def scenario(database):
        async def work(job):
            async with database.transaction() as connection:
                await jobs.finish(connection, job=job)

        await _enqueue(database, n=1)
        return await Worker(database, {"score": work}, fixed_clock).run_one(), await _states(database)

    assert database_run(scenario) == (True, [])


def test_a_stopped_worker_hands_its_job_back_uncounted(database_run, fixed_clock):
    async def scenario(database):
        began, stop = asyncio.Event(), asyncio.Event()

        async def endless(job):
            began.set()
            await asyncio.sleep(3600)

        await _enqueue(database, n=1)
        running = asyncio.create_task(Worker(database, {"score": endless}, fixed_clock).run(stop))
        await asyncio.wait_for(began.wait(), timeout=20)
        stop.set()
        await asyncio.wait_for(running, timeout=20)
        return await _states(database)

    assert database_run(scenario) == [(1, "waiting", 0)]


def test_the_lease_is_renewed_while_a_long_job_runs(database_run):
    class SystemClock:
        def now(self):
            from datetime import UTC, datetime

            return datetime.now(UTC)

    seen: list[int] = []

    async def scenario(database):
        async def long(job):
            await asyncio.sleep(1.5)
            seen.append(job.payload["n"])

        await _enqueue(database, n=1)
        handlers = {"score": long}
        first = asyncio.create_task(Worker(database, handlers, SystemClock(), lease_seconds=0.6).run_one())
        await asyncio.sleep(1.0)
        second = await Worker(database, handlers, SystemClock(), lease_seconds=0.6).run_one()
        await first
        return second

    assert database_run(scenario) is False
    assert seen == [1]


WORKER_PROGRAM = textwrap.dedent(
    """
    import asyncio, sys
    from datetime import UTC, datetime
    from kangshu.storage.database import Database
    from kangshu.storage.jobs import Worker

    class Clock:
        def now(self):
            return datetime.now(UTC)

    async def main(url):
        async with await Database.open(url) as database:
            async def work(job):
                async with database.transaction() as connection:
                    await connection.execute("INSERT INTO begun VALUES ($1)", job.attempts)
                if job.attempts == 1:
                    await asyncio.sleep(3600)
                async with database.transaction() as connection:
                    await connection.execute("INSERT INTO ended VALUES ($1)", job.attempts)
            stop = asyncio.Event()
            await Worker(database, {"score": work}, Clock(), lease_seconds=1).run(stop)

    asyncio.run(main(sys.argv[1]))
    """
)


def test_a_job_whose_worker_was_killed_with_9_runs_again(database_run, database_url):
    def start_worker():
        return subprocess.Popen([sys.executable, "-c", WORKER_PROGRAM, database_url])

    async def wait_for(database, table):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            async with database.connection() as connection:
                if rows := await connection.fetch(f"SELECT * FROM {table}"):
                    return [row[0] for row in rows]
            await asyncio.sleep(0.05)
        raise AssertionError(f"nothing in {table}")

    async def scenario(database):
        async with database.connection() as connection:
            await connection.execute("CREATE TABLE begun (attempt int); CREATE TABLE ended (attempt int)")
        await _enqueue(database, n=1)
        first = start_worker()
        await wait_for(database, "begun")
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        second = start_worker()
        try:
            return await wait_for(database, "ended")
        finally:
            second.kill()
            second.wait()

    assert database_run(scenario) == [2]
