"""Announce what happened inside the transaction in which it happened, and deliver it afterwards.

An announcement stands if and only if its transaction does. A `Dispatcher` hands it to the topic's handler
at least once; what the handler writes with the connection it is given happens exactly once, because the
announcement leaves the table in the same transaction. Failures are tried again later and later; after
the last attempt the announcement is a dead letter, which stays visible until somebody retries it.

Announcements with the same `key` are delivered one after the other in the order of their announcement, as
far as their transactions did not overlap. A dead letter does not hold up those after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import asyncpg

from kangshu.kernel.clock import Clock
from kangshu.storage.database import Connection, Database, Record
from kangshu.storage.errors import DatabaseUnavailableError, StorageFullError
from kangshu.storage.patience import REPAIR_PAUSE, describe, needs_repair, pause_after

_IDLE_SECONDS = 0.5
_UNAVAILABLE_SECONDS = 2.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """Something that happened; `attempts` counts deliveries begun, `error` tells of the last failed one."""

    id: int
    topic: str
    key: str | None
    payload: dict[str, Any]
    announced_at: datetime
    attempts: int
    error: str | None


Handler: TypeAlias = Callable[[Connection, Announcement], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """How much is on its way: `oldest_at` is the moment of the oldest announcement still waiting."""

    waiting: int
    dead: int
    oldest_at: datetime | None


async def announce(
    connection: Connection, *, topic: str, payload: Mapping[str, Any], key: str | None = None
) -> int:
    """Announce in the caller's transaction; return the announcement's number.

    `payload` becomes JSON. It names things by number and code and never carries a personal value.
    """
    number = await connection.fetchval(
        "INSERT INTO storage_outbox (topic, key, payload) VALUES ($1, $2, $3) RETURNING id",
        topic,
        key,
        dict(payload),
    )
    assert number is not None, "RETURNING gives the row's number"
    return number


async def list_dead(connection: Connection, *, limit: int = 100) -> list[Announcement]:
    """Return announcements that were given up, oldest first."""
    rows = await connection.fetch("SELECT * FROM storage_outbox WHERE dead ORDER BY id LIMIT $1", limit)
    return [_announcement(row) for row in rows]


async def retry_dead(connection: Connection, *, ids: Sequence[int] | None = None) -> int:
    """Put dead letters (all, or those of `ids`) back on their way; return how many."""
    status = await connection.execute(
        """UPDATE storage_outbox SET dead = false, attempts = 0, next_at = NULL
           WHERE dead AND ($1::bigint[] IS NULL OR id = ANY ($1))""",
        None if ids is None else list(ids),
    )
    return int(status.split()[-1])


async def get_backlog(connection: Connection) -> Backlog:
    """Return how much waits and how much was given up."""
    row = await connection.fetchrow(
        """SELECT count(*) FILTER (WHERE NOT dead) AS waiting, count(*) FILTER (WHERE dead) AS dead,
                  min(announced_at) FILTER (WHERE NOT dead) AS oldest_at FROM storage_outbox"""
    )
    assert row is not None, "an aggregate without GROUP BY gives one row"
    return Backlog(waiting=row["waiting"], dead=row["dead"], oldest_at=row["oldest_at"])


class Dispatcher:
    """Delivers announcements to one handler per topic; several may run, in several processes.

    A handler gets the connection of the delivering transaction and writes with it. What it raises undoes
    what it wrote, and the announcement comes again. Topics without handler here are left for others.
    """

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        clock: Clock,
        *,
        batch: int = 100,
        max_attempts: int = 10,
        lease_seconds: float = 300,
    ) -> None:
        self._database = database
        self._handlers = dict(handlers)
        self._clock = clock
        self._batch = batch
        self._max_attempts = max_attempts
        self._lease = timedelta(seconds=lease_seconds)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Tell a running dispatcher of this process that there is something now."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, also across failures of the database."""
        while not stop.is_set():
            try:
                busy = await self.deliver()
                pause = 0.0 if busy else _IDLE_SECONDS
            except (DatabaseUnavailableError, StorageFullError):
                pause = _UNAVAILABLE_SECONDS
            if pause:
                self._wake.clear()
                await wait_for_any(stop, self._wake, seconds=pause)

    async def deliver(self) -> int:
        """Try what is due, one batch; return how many announcements were tried.

        What failed before is tried alone: it takes no innocent announcement along when it fells the process.
        """
        return await self._deliver(first_time=False, limit=1) + await self._deliver(
            first_time=True, limit=self._batch
        )

    async def _deliver(self, *, first_time: bool, limit: int) -> int:
        # The attempt is counted before it is made, so that a delivery that kills the process counts too.
        async with self._database.transaction() as connection:
            if not first_time:
                await self._bury(connection)
            claimed = await self._claim(connection, first_time=first_time, limit=limit)
        if claimed:
            await self._database.run(lambda connection: self._hand_over(connection, claimed))
        return len(claimed)

    async def _bury(self, connection: Connection) -> None:
        """Give up what used up its attempts without any of them coming to an end."""
        await connection.execute(
            """UPDATE storage_outbox SET dead = true, error = coalesce(error, 'Interrupted')
               WHERE NOT dead AND topic = ANY ($1) AND attempts >= $2 AND next_at <= $3""",
            list(self._handlers),
            self._max_attempts,
            self._clock.now(),
        )

    async def _claim(self, connection: Connection, *, first_time: bool, limit: int) -> list[int]:
        now = self._clock.now()
        rows = await connection.fetch(
            """WITH due AS (
                 SELECT o.id FROM storage_outbox o
                 WHERE NOT o.dead AND o.topic = ANY ($1) AND (o.attempts = 0) = $2
                   AND (o.next_at IS NULL OR o.next_at <= $3)
                   AND (o.key IS NULL OR NOT EXISTS (
                         SELECT 1 FROM storage_outbox e WHERE e.key = o.key AND e.id < o.id AND NOT e.dead))
                 ORDER BY o.id LIMIT $4 FOR UPDATE OF o SKIP LOCKED)
               UPDATE storage_outbox o SET attempts = attempts + 1, next_at = $5
               FROM due WHERE o.id = due.id RETURNING o.id""",
            list(self._handlers),
            first_time,
            now,
            limit,
            now + self._lease,
        )
        return sorted(row["id"] for row in rows)

    async def _hand_over(self, connection: Connection, ids: Sequence[int]) -> None:
        rows = await connection.fetch(
            """SELECT * FROM storage_outbox WHERE id = ANY ($1) AND NOT dead
               ORDER BY id FOR UPDATE SKIP LOCKED""",
            ids,
        )
        delivered: list[int] = []
        for row in rows:
            announcement = _announcement(row)
            await connection.execute("SAVEPOINT delivery")
            try:
                await self._handlers[announcement.topic](connection, announcement)
                await connection.execute("RELEASE SAVEPOINT delivery")
            except (DatabaseUnavailableError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                raise
            except Exception as error:  # whatever a handler raises is that delivery's failure
                if connection.is_closed():
                    raise
                await connection.execute("ROLLBACK TO SAVEPOINT delivery; RELEASE SAVEPOINT delivery")
                await self._put_off(connection, announcement, error)
            else:
                delivered.append(announcement.id)
        await connection.execute("DELETE FROM storage_outbox WHERE id = ANY ($1)", delivered)

    async def _put_off(self, connection: Connection, announcement: Announcement, error: Exception) -> None:
        _logger.warning(
            "announcement %d (%s) failed at attempt %d: %s",
            announcement.id,
            announcement.topic,
            announcement.attempts,
            describe(error),
        )
        blameless = needs_repair(error)
        attempts = announcement.attempts - blameless
        await connection.execute(
            "UPDATE storage_outbox SET attempts = $2, dead = $3, next_at = $4, error = $5 WHERE id = $1",
            announcement.id,
            attempts,
            attempts >= self._max_attempts,
            self._clock.now() + (REPAIR_PAUSE if blameless else pause_after(attempts)),
            describe(error),
        )


async def wait_for_any(*events: asyncio.Event, seconds: float) -> None:
    """Wait until one of `events` is set or the time is over."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


def _announcement(row: Record) -> Announcement:
    return Announcement(
        id=row["id"],
        topic=row["topic"],
        key=row["key"],
        payload=row["payload"],
        announced_at=row["announced_at"],
        attempts=row["attempts"],
        error=row["error"],
    )
