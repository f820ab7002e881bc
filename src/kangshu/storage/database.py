"""Connections and transactions, with failures that say what the caller can do.

    async with await Database.open(url) as database:
        async with database.transaction() as connection:
            await connection.execute(...)

`jsonb` columns are read and written as Python values. Moments (`timestamptz`) come back in UTC.
A database that went away is found again by itself: the next call after it is back works.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Self, TypeAlias, TypeVar

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from kangshu.kernel.texts import load_catalogue
from kangshu.storage.errors import DatabaseUnavailableError, StorageFullError, TransactionConflictError

Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy
Record: TypeAlias = asyncpg.Record
UniqueViolationError = asyncpg.UniqueViolationError
"""What a unique constraint raises; `.constraint_name` tells which."""
ForeignKeyViolationError = asyncpg.ForeignKeyViolationError
CheckViolationError = asyncpg.CheckViolationError

_T = TypeVar("_T")
_CONNECT_SECONDS = 15
_REVIVE_PAUSE_SECONDS = 5
_FIRST_PAUSE_SECONDS = 0.02

say = load_catalogue(__package__ or __name__)


class Database:
    """A pool of connections to one PostgreSQL database."""

    def __init__(self, pool: asyncpg.Pool, *, url: str, revive: Callable[[], object] | None) -> None:
        self._pool = pool
        self._revive = revive
        self._revive_lock = asyncio.Lock()
        self._revived_at = -float("inf")
        self.url = url

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        min_size: int = 1,
        max_size: int = 8,
        revive: Callable[[], object] | None = None,
    ) -> Self:
        """Return a pool on `url` that holds `min_size` open connections and makes at most `max_size`.

        `revive` is a plain function that starts the server again (`lambda: embedded.start(home)`); it is
        called in a thread when the server does not answer, at most once in five seconds.

        Raises:
            DatabaseUnavailableError: no connection can be made.
        """
        pool = asyncpg.create_pool(
            url,
            # asyncpg would keep the number up in the background, with a traceback in the log for each
            # attempt while the database is down; connections made on demand are enough.
            min_size=0,
            max_size=max_size,
            timeout=_CONNECT_SECONDS,
            init=_prepare,
            # A pool of old connections keeps the memory of the largest query each of them ever ran.
            max_inactive_connection_lifetime=300,
        )
        with _connecting():
            await pool
        database = cls(pool, url=url, revive=revive)
        try:
            await database._warm(min_size)
        except BaseException:
            pool.terminate()
            raise
        return database

    async def close(self) -> None:
        """Close every connection; those still in use are cut off after ten seconds."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout=10)
        except TimeoutError:
            self._pool.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection without a transaction: each statement stands for itself.

        Raises:
            DatabaseUnavailableError: none can be made, or it broke while in use.
            StorageFullError: the disk is full.
        """
        connection = await self._acquire()
        try:
            with _in_use(connection):
                yield connection
        finally:
            await self._give_back(connection)

    @asynccontextmanager
    async def transaction(
        self, *, readonly: bool = False, snapshot: bool = False
    ) -> AsyncIterator[Connection]:
        """Lend a connection in a transaction that is committed at the end and undone by any exception.

        With `snapshot` every statement sees the moment of the first one (REPEATABLE READ), else each sees
        what was committed before it began (READ COMMITTED).

        Raises:
            DatabaseUnavailableError: as for `connection`; after a break during the commit itself nobody
                knows whether it happened.
            StorageFullError: the disk is full; the transaction was undone.
        """
        isolation = "repeatable_read" if snapshot else "read_committed"
        async with (
            self.connection() as connection,
            connection.transaction(isolation=isolation, readonly=readonly),
        ):
            yield connection

    async def run(self, work: Callable[[Connection], Awaitable[_T]], *, retries: int = 5) -> _T:
        """Return what `work` returns, run in a transaction and, after a deadlock, run again from its start.

        `work` must therefore do nothing outside the database that may not happen twice.

        Raises:
            TransactionConflictError: every attempt collided.
        """
        for attempt in range(retries + 1):
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
                if attempt == retries:
                    raise TransactionConflictError(say("conflict", attempts=attempt + 1)) from error
            await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
        raise AssertionError("retries are not negative")

    async def _warm(self, count: int) -> None:
        opened = await asyncio.gather(*(self._acquire() for _ in range(count)), return_exceptions=True)
        for connection in opened:
            if not isinstance(connection, BaseException):
                await self._give_back(connection)
        for failure in opened:
            if isinstance(failure, BaseException):
                raise failure

    async def _give_back(self, connection: PoolConnectionProxy) -> None:
        # What was done with the connection is done, committed or undone; that it cannot be cleaned for the
        # next user any more is no failure of this one. The pool drops it.
        with suppress(
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,  # the server went away amid a statement, and asyncpg cannot reset
            OSError,
            TimeoutError,
        ):
            await self._pool.release(connection, timeout=_CONNECT_SECONDS)

    async def _acquire(self) -> PoolConnectionProxy:
        try:
            return await self._try_acquire()
        except DatabaseUnavailableError:
            if self._revive is None or not await self._bring_back(self._revive):
                raise
            return await self._try_acquire()

    async def _try_acquire(self) -> PoolConnectionProxy:
        with _connecting():
            return await self._pool.acquire(timeout=_CONNECT_SECONDS)

    async def _bring_back(self, revive: Callable[[], object]) -> bool:
        """Start the server again unless somebody just did; tell whether it is worth another try."""
        async with self._revive_lock:
            moment = asyncio.get_running_loop().time()
            if moment - self._revived_at > _REVIVE_PAUSE_SECONDS:
                await asyncio.to_thread(revive)
                self._revived_at = asyncio.get_running_loop().time()
            return True


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(data[1:]),
    )


@contextmanager
def _connecting() -> Iterator[None]:
    """Name the failures of making a connection."""
    try:
        yield
    except asyncpg.TooManyConnectionsError as error:
        raise DatabaseUnavailableError(say["too_busy"]) from error
    except (
        asyncpg.CannotConnectNowError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
    ) as error:
        raise DatabaseUnavailableError(say["unreachable"]) from error
    except asyncpg.DiskFullError as error:
        raise StorageFullError(say["full"]) from error
    except asyncpg.PostgresError as error:
        raise DatabaseUnavailableError(say("refused", code=_code(error))) from error
    except (OSError, TimeoutError) as error:
        raise DatabaseUnavailableError(say["unreachable"]) from error


def _code(error: asyncpg.PostgresError) -> str:
    return str(getattr(error, "sqlstate", None) or "?????")


@contextmanager
def _in_use(connection: PoolConnectionProxy) -> Iterator[None]:
    """Name the failures of a connection in use; what others raise in between passes unchanged."""
    try:
        yield
    except asyncpg.DiskFullError as error:
        raise StorageFullError(say["full"]) from error
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.CannotConnectNowError,
        asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError,
    ) as error:
        raise DatabaseUnavailableError(say["lost"]) from error
    except (
        asyncpg.InsufficientResourcesError,
        asyncpg.PostgresSystemError,
        asyncpg.ReadOnlySQLTransactionError,  # a standby that is not the primary (any more)
    ) as error:
        raise DatabaseUnavailableError(say("unwell", code=_code(error))) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        # asyncpg speaks of a closed or busy connection here; the caller's own OSError is none of ours.
        if _is_gone(connection):
            raise DatabaseUnavailableError(say["lost"]) from error
        raise


def _is_gone(connection: PoolConnectionProxy) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken the broken connection back already
        return True
