"""Announcements: they stand with their transaction, arrive at least once, and never vanish silently."""

from __future__ import annotations

import asyncio
import errno

import pytest

from kangshu.storage import outbox
from kangshu.storage.outbox import Dispatcher

pytestmark = pytest.mark.database


async def _announce(database, *payloads, topic="record.stored", key=None):
    async with database.transaction() as connection:
        for payload in payloads:
            await outbox.announce(connection, topic=topic, payload=payload, key=key)


async def _fetch(database, query, *values):
    async with database.connection() as connection:
        return [tuple(row) for row in await connection.fetch(query, *values)]


def keeping(seen: list):
    async def handler(connection, announcement):
        seen.append(announcement.payload["n"])

    return handler


def test_an_announcement_stands_only_with_its_transaction(database_run, fixed_clock):
    seen: list[int] = []

    async def undone(database):
        async with database.transaction() as connection:
            await outbox.announce(connection, topic="record.stored", payload={"n": 1})
            raise ZeroDivisionError

    async def scenario(database):
        with pytest.raises(ZeroDivisionError):
            await undone(database)
        await _announce(database, {"n": 2})
        return await Dispatcher(database, {"record.stored": keeping(seen)}, fixed_clock).deliver()

    assert database_run(scenario) == 1
    assert seen == [2]


def test_what_a_handler_writes_happens_once_with_the_delivery(database_run, fixed_clock):
    async def write(connection, announcement):
        await connection.execute("INSERT INTO heard VALUES ($1)", announcement.payload["n"])

    async def scenario(database):
        await _fetch(database, "CREATE TABLE heard (n int)")
        await _announce(database, *({"n": n} for n in range(250)))
        dispatchers = [
            Dispatcher(database, {"record.stored": write}, fixed_clock, batch=20) for _ in range(3)
        ]

        async def drain(dispatcher):
            while await dispatcher.deliver():
                pass

        await asyncio.gather(*map(drain, dispatchers))
        return await _fetch(database, "SELECT count(*), count(DISTINCT n) FROM heard")

    assert database_run(scenario) == [(250, 250)]


def test_a_failing_delivery_harms_no_other_and_comes_again_later(database_run, fixed_clock):
    seen: list[int] = []

    async def moody(connection, announcement):
        await connection.execute("INSERT INTO heard VALUES ($1)", announcement.payload["n"])
        if announcement.payload["n"] == 2 and announcement.attempts < 3:
            raise RuntimeError("not today")
        seen.append(announcement.payload["n"])

    async def scenario(database):
        await _fetch(database, "CREATE TABLE heard (n int)")
        await _announce(database, {"n": 1}, {"n": 2}, {"n": 3})
        dispatcher = Dispatcher(database, {"record.stored": moody}, fixed_clock)
        tried = [await dispatcher.deliver(), await dispatcher.deliver()]
        for _ in range(3):
            fixed_clock.advance(seconds=5)
            tried.append(await dispatcher.deliver())
        return tried, await _fetch(database, "SELECT n FROM heard ORDER BY n")

    tried, heard = database_run(scenario)

    assert tried == [3, 0, 1, 1, 0]
    assert seen == [1, 3, 2]
    assert heard == [(1,), (2,), (3,)]


def test_a_handler_that_spoils_its_transaction_is_a_failure_like_others(database_run, fixed_clock):
    async def spoil(connection, announcement):
        try:
            await connection.execute("SELECT nonsense")
        except Exception:  # noqa: BLE001 - the mistake under test: it hides the failure
            return

    async def scenario(database):
        await _announce(database, {"n": 1})
        await Dispatcher(database, {"record.stored": spoil}, fixed_clock, max_attempts=1).deliver()
        async with database.connection() as connection:
            return [(dead.error, dead.attempts) for dead in await outbox.list_dead(connection)]

    assert database_run(scenario) == [("InFailedSQLTransactionError", 1)]


def test_a_dead_letter_is_visible_without_foreign_text_and_can_be_retried(database_run, fixed_clock):
    seen: list[int] = []

    async def refuse(connection, announcement):
        raise ValueError("a name from somebody's record")

    async def scenario(database):
        await _announce(database, {"n": 1})
        failing = Dispatcher(database, {"record.stored": refuse}, fixed_clock, max_attempts=2)
        for _ in range(3):
            await failing.deliver()
            fixed_clock.advance(minutes=1)
        async with database.connection() as connection:
            dead = await outbox.list_dead(connection)
            backlog = await outbox.get_backlog(connection)
            again = await outbox.retry_dead(connection, ids=[dead[0].id])
        await Dispatcher(database, {"record.stored": keeping(seen)}, fixed_clock).deliver()
        async with database.connection() as connection:
            return dead, backlog, again, await outbox.get_backlog(connection)

    dead, backlog, again, after = database_run(scenario)

    assert [(letter.payload, letter.attempts, letter.error) for letter in dead] == [
        ({"n": 1}, 2, "ValueError")
    ]
    assert (backlog.waiting, backlog.dead) == (0, 1)
    assert (again, seen) == (1, [1])
    assert (after.waiting, after.dead) == (0, 0)


def test_announcements_of_one_key_keep_their_order_even_across_failures(database_run, fixed_clock):
    seen: list[int] = []

    async def fail_first_time(connection, announcement):
        if announcement.payload["n"] == 1 and announcement.attempts == 1:
            raise RuntimeError
        seen.append(announcement.payload["n"])

    async def scenario(database):
        await _announce(database, {"n": 1}, {"n": 2}, {"n": 3}, key="person 7")
        await _announce(database, {"n": 100}, key="person 8")
        dispatcher = Dispatcher(database, {"record.stored": fail_first_time}, fixed_clock)
        for _ in range(6):
            await dispatcher.deliver()
            fixed_clock.advance(seconds=3)

    database_run(scenario)

    assert seen == [100, 1, 2, 3]


def test_an_announcement_that_fells_the_process_each_time_is_given_up(database_run, fixed_clock):
    class ProcessEndedError(BaseException):
        pass

    async def fell(connection, announcement):
        raise ProcessEndedError

    async def scenario(database):
        await _announce(database, {"n": 1})
        dispatcher = Dispatcher(
            database, {"record.stored": fell}, fixed_clock, max_attempts=3, lease_seconds=60
        )
        ends = 0
        for _ in range(6):
            try:
                await dispatcher.deliver()
            except ProcessEndedError:
                ends += 1
            fixed_clock.advance(seconds=61)
        async with database.connection() as connection:
            return ends, [dead.error for dead in await outbox.list_dead(connection)]

    assert database_run(scenario) == (3, ["Interrupted"])


def test_topics_without_handler_wait_for_their_own_dispatcher(database_run, fixed_clock):
    async def scenario(database):
        await _announce(database, {"n": 1}, topic="quality.scored")
        await Dispatcher(database, {"record.stored": keeping([])}, fixed_clock).deliver()
        async with database.connection() as connection:
            return (await outbox.get_backlog(connection)).waiting

    assert database_run(scenario) == 1


def test_a_running_dispatcher_wakes_delivers_and_stops(database_run, fixed_clock):
    seen: list[int] = []

    async def scenario(database):
        stop = asyncio.Event()
        dispatcher = Dispatcher(database, {"record.stored": keeping(seen)}, fixed_clock)
        running = asyncio.create_task(dispatcher.run(stop))
        await _announce(database, {"n": 1})
        dispatcher.wake()
        async with asyncio.timeout(20):
            while not seen:
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.wait_for(running, timeout=10)

    database_run(scenario)

    assert seen == [1]


def test_a_delivery_that_fails_for_its_environment_does_not_count(database_run, fixed_clock):
    seen: list[int] = []

    async def find_disk_full(connection, announcement):
        if len(seen) < 4:
            seen.append(announcement.attempts)
            raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario(database):
        await _announce(database, {"n": 1})
        dispatcher = Dispatcher(database, {"record.stored": find_disk_full}, fixed_clock, max_attempts=2)
        for _ in range(5):
            await dispatcher.deliver()
            fixed_clock.advance(seconds=30)
        async with database.connection() as connection:
            return await outbox.get_backlog(connection)

    backlog = database_run(scenario)

    assert seen == [1] * 4
    assert (backlog.waiting, backlog.dead) == (0, 0)
