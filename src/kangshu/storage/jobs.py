"""Work that is done once, later, by whichever worker process is free, and survives the death of any of them.

    await enqueue(connection, kind="intake", payload={"file": 17}, unique_key="17")
    await Worker(database, {"intake": take_in}, clock).run(stop)

A worker takes a job on lease and renews the lease while it works. When the worker dies, the lease runs out
and the job is taken by another, from its start: handlers must bear that. One that must not happen twice ends
with `finish` in its last transaction: then the work and the job's end are one commit, and a worker that was
thought dead is refused. Failures are tried again later and later; after the last attempt the job is dead and
stays visible until somebody retries it. What fails for its environment (database down, disk full) is tried
every half minute and never given up. Leases are compared between machines: their clocks must agree to
within a few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from kangshu.kernel.clock import Clock
from kangshu.kernel.texts import load_catalogue
from kangshu.storage.database import Connection, Database, Record, UniqueViolationError
from kangshu.storage.errors import DatabaseUnavailableError, JobLostError, StorageFullError
from kangshu.storage.outbox import wait_for_any
from kangshu.storage.patience import REPAIR_PAUSE, describe, needs_repair, pause_after

_IDLE_SECONDS = 0.5
_UNAVAILABLE_SECONDS = 2.0

_logger = logging.getLogger(__name__)
say = load_catalogue(__package__ or __name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work; `attempts` counts those begun, `error` tells of the last failed one."""

    id: int
    kind: str
    unique_key: str | None
    payload: dict[str, Any]
    state: str
    enqueued_at: datetime
    not_before: datetime | None
    attempts: int
    error: str | None
    lease_token: uuid.UUID | None


Handler: TypeAlias = Callable[[Job], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class JobCount:
    """How many jobs of one kind are in each state; `oldest_at` tells of the oldest that waits."""

    kind: str
    waiting: int
    running: int
    dead: int
    oldest_at: datetime | None


async def enqueue(
    connection: Connection,
    *,
    kind: str,
    payload: Mapping[str, Any],
    unique_key: str | None = None,
    not_before: datetime | None = None,
) -> int | None:
    """Ask for work in the caller's transaction; return the job's number.

    Returns `None` where a job of the same kind and `unique_key` waits already: nothing is added. While such
    a job *runs*, another is added, and waits for that one's end. `payload` carries no personal value.
    """
    return await connection.fetchval(
        """INSERT INTO storage_job (kind, unique_key, payload, not_before) VALUES ($1, $2, $3, $4)
           ON CONFLICT (kind, unique_key) WHERE state = 'waiting' AND unique_key IS NOT NULL DO NOTHING
           RETURNING id""",
        kind,
        unique_key,
        dict(payload),
        not_before,
    )


async def finish(connection: Connection, *, job: Job) -> None:
    """End `job` in the caller's transaction.

    Raises:
        JobLostError: the lease ran out and the job belongs to another worker now: undo everything.
    """
    done = await connection.fetchval(
        "DELETE FROM storage_job WHERE id = $1 AND lease_token = $2 RETURNING id", job.id, job.lease_token
    )
    if done is None:
        raise JobLostError(say["job_lost"])


async def list_jobs(connection: Connection, *, state: str | None = None, limit: int = 100) -> list[Job]:
    """Return jobs, in `state` (waiting, running, dead) or in any, oldest first."""
    rows = await connection.fetch(
        "SELECT * FROM storage_job WHERE ($1::text IS NULL OR state = $1) ORDER BY id LIMIT $2", state, limit
    )
    return [_job(row) for row in rows]


async def list_dead(connection: Connection, *, limit: int = 100) -> list[Job]:
    """Return jobs that were given up, oldest first."""
    return await list_jobs(connection, state="dead", limit=limit)


async def retry_dead(connection: Connection, *, ids: Sequence[int] | None = None) -> int:
    """Let dead jobs (all, or those of `ids`) wait again; return how many.

    One whose kind and key wait already, or are dead several times, comes back once.
    """
    rows = await connection.fetch(
        """SELECT * FROM storage_job
           WHERE state = 'dead' AND ($1::bigint[] IS NULL OR id = ANY ($1)) ORDER BY id FOR UPDATE""",
        None if ids is None else list(ids),
    )
    count = 0
    for row in rows:
        await connection.execute("DELETE FROM storage_job WHERE id = $1", row["id"])
        job = _job(row)
        added = await enqueue(connection, kind=job.kind, payload=job.payload, unique_key=job.unique_key)
        count += added is not None
    return count


async def count_jobs(connection: Connection) -> list[JobCount]:
    """Return how many jobs there are per kind."""
    rows = await connection.fetch(
        """SELECT kind, count(*) FILTER (WHERE state = 'waiting') AS waiting,
                  count(*) FILTER (WHERE state = 'running') AS running,
                  count(*) FILTER (WHERE state = 'dead') AS dead,
                  min(enqueued_at) FILTER (WHERE state = 'waiting') AS oldest_at
           FROM storage_job GROUP BY kind ORDER BY kind"""
    )
    return [JobCount(**row) for row in rows]


class Worker:
    """Does jobs, up to `concurrency` at a time; several may run, in several processes.

    `lease_seconds` is how long a dead worker's job stays untouched. Handlers leave the event loop free
    (`asyncio.to_thread` for what computes), or the lease cannot be renewed in time.
    """

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        clock: Clock,
        lease_seconds: float = 60,
        *,
        concurrency: int = 1,
        max_attempts: int = 8,
    ) -> None:
        self._database = database
        self._handlers = dict(handlers)
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._concurrency = concurrency
        self._max_attempts = max_attempts
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Tell a running worker of this process that there is something now."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; jobs under way are then cut off and handed back at once."""
        lanes = [asyncio.create_task(self._lane(stop)) for _ in range(self._concurrency)]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopping, *lanes], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stopping, *lanes):
                task.cancel()
            ends = await asyncio.gather(*lanes, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _lane(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                pause = 0.0 if await self.run_one() else _IDLE_SECONDS
            except (DatabaseUnavailableError, StorageFullError):
                pause = _UNAVAILABLE_SECONDS
            if pause:
                self._wake.clear()
                await wait_for_any(stop, self._wake, seconds=pause)

    async def run_one(self) -> bool:
        """Do one job that is due, if there is one; tell whether there was."""
        job = await self._claim()
        if job is None:
            return False
        work = asyncio.ensure_future(self._handlers[job.kind](job))
        heartbeat = asyncio.create_task(self._keep_lease(job, work))
        try:
            await work
        except asyncio.CancelledError:
            await self._after_cut(job)
            if (task := asyncio.current_task()) and task.cancelling():
                raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is that job's failure
            await self._put_off(job, error)
        else:
            await self._end(job)
        finally:
            heartbeat.cancel()
            with suppress(asyncio.CancelledError):
                await heartbeat
        return True

    async def _claim(self) -> Job | None:
        now = self._clock.now()
        async with self._database.transaction() as connection:
            await self._bury(connection, now)
            row = await connection.fetchrow(
                """WITH due AS (
                     SELECT j.id FROM storage_job j
                     WHERE j.kind = ANY ($1)
                       AND (j.state = 'waiting' AND (j.not_before IS NULL OR j.not_before <= $2)
                            OR j.state = 'running' AND j.lease_until <= $2)
                       AND (j.unique_key IS NULL OR NOT EXISTS (
                             SELECT 1 FROM storage_job r WHERE r.kind = j.kind AND r.unique_key = j.unique_key
                               AND r.state = 'running' AND r.id <> j.id))
                     ORDER BY j.id LIMIT 1 FOR UPDATE OF j SKIP LOCKED)
                   UPDATE storage_job j SET state = 'running', attempts = attempts + 1,
                     lease_token = gen_random_uuid(), lease_until = $3
                   FROM due WHERE j.id = due.id RETURNING j.*""",
                list(self._handlers),
                now,
                self._lease_end(now),
            )
        return _job(row) if row else None

    async def _bury(self, connection: Connection, now: datetime) -> None:
        """Give up jobs that used up their attempts by killing their workers."""
        await connection.execute(
            """UPDATE storage_job SET state = 'dead', lease_token = NULL, lease_until = NULL,
                 error = coalesce(error, 'Interrupted')
               WHERE state = 'running' AND kind = ANY ($1) AND attempts >= $2 AND lease_until <= $3""",
            list(self._handlers),
            self._max_attempts,
            now,
        )

    async def _keep_lease(self, job: Job, work: asyncio.Future[None]) -> None:
        """Renew the lease three times in its length; stop the work when the job is another's by now."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            with suppress(DatabaseUnavailableError, StorageFullError):
                async with self._database.connection() as connection:
                    await connection.execute(
                        "UPDATE storage_job SET lease_until = $3 WHERE id = $1 AND lease_token = $2",
                        job.id,
                        job.lease_token,
                        self._lease_end(self._clock.now()),
                    )
                    # A job that is gone was finished, most likely by the very work we watch.
                    lost = await connection.fetchval(
                        "SELECT true FROM storage_job WHERE id = $1 AND lease_token IS DISTINCT FROM $2",
                        job.id,
                        job.lease_token,
                    )
                if lost:
                    work.cancel()
                    return

    def _lease_end(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._lease_seconds)

    async def _end(self, job: Job) -> None:
        # Gone already where the handler called `finish`; another's where the lease was lost.
        async with self._database.transaction() as connection:
            await self._delete(connection, job)

    async def _delete(self, connection: Connection, job: Job) -> None:
        await connection.execute(
            "DELETE FROM storage_job WHERE id = $1 AND lease_token = $2", job.id, job.lease_token
        )

    async def _put_off(self, job: Job, error: Exception) -> None:
        _logger.warning(
            "job %d (%s) failed at attempt %d: %s", job.id, job.kind, job.attempts, describe(error)
        )
        blameless = needs_repair(error)
        attempts = job.attempts - blameless
        await self._release(
            job,
            state="dead" if attempts >= self._max_attempts else "waiting",
            attempts=attempts,
            not_before=self._clock.now() + (REPAIR_PAUSE if blameless else pause_after(attempts)),
            error=describe(error),
        )

    async def _after_cut(self, job: Job) -> None:
        """Hand back a job that was cut off through no fault of its own, at once and uncounted."""
        with suppress(DatabaseUnavailableError, StorageFullError):  # the lease runs out then
            await self._release(
                job, state="waiting", attempts=job.attempts - 1, not_before=None, error=job.error
            )

    async def _release(
        self, job: Job, *, state: str, attempts: int, not_before: datetime | None, error: str | None
    ) -> None:
        statement = """
            UPDATE storage_job SET state = $3, attempts = $4, not_before = $5, error = $6,
              lease_token = NULL, lease_until = NULL
            WHERE id = $1 AND lease_token = $2"""
        async with self._database.transaction() as connection:
            try:
                async with connection.transaction():
                    await connection.execute(
                        statement, job.id, job.lease_token, state, attempts, not_before, error
                    )
            except UniqueViolationError:
                # A request with the same key waits meanwhile: it stands for this one too.
                await self._delete(connection, job)


def _job(row: Record) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        unique_key=row["unique_key"],
        payload=row["payload"],
        state=row["state"],
        enqueued_at=row["enqueued_at"],
        not_before=row["not_before"],
        attempts=row["attempts"],
        error=row["error"],
        lease_token=row["lease_token"],
    )
