"""Nonces of many requests in one statement: each request waits for the next group, a millisecond or two."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from kangshu.kernel.clock import Clock
from kangshu.security.signing import Envelope
from kangshu.security.signing_keys import forget_nonces, spend_nonces
from kangshu.storage.database import Connection, Database

_MOST_AT_ONCE = 500
_FORGET_EVERY = timedelta(seconds=60)


class NonceBook:
    """Tells whether a request is new, across all processes: the book lies in the database."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._waiting: list[tuple[Envelope, asyncio.Future[bool]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._forgotten_at = clock.now()

    async def spend(self, envelope: Envelope) -> bool:
        """Return whether the request's nonce was never seen; from now on it was.

        Raises:
            DatabaseUnavailableError: nobody knows, so the request must not be carried out.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((envelope, answer))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await answer

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            try:
                async with self._database.connection() as connection:
                    fresh = await spend_nonces(connection, envelopes=[envelope for envelope, _ in group])
                    await self._forget(connection)
            except Exception as error:  # noqa: BLE001 - whatever it was, each of those who wait hears it
                for _, answer in group:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), new in zip(group, fresh, strict=True):
                if not answer.done():
                    answer.set_result(new)

    async def _forget(self, connection: Connection) -> None:
        now = self._clock.now()
        if now - self._forgotten_at > _FORGET_EVERY:
            self._forgotten_at = now
            await forget_nonces(connection, now=now)
