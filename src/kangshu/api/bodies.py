"""Bodies of requests in memory: each bounded, all of them together bounded, and none waited for for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from kangshu.api.errors import BodiesBusyError, BodySlowError, BodyTooLargeError, say


class Bodies:
    """Reads bodies into memory. One process has one of these for all its doors."""

    def __init__(
        self, *, most_in_all: int = 256 << 20, idle_seconds: float = 30.0, seconds: float = 600.0
    ) -> None:
        self._most_in_all, self._idle_seconds, self._seconds = most_in_all, idle_seconds, seconds
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes of all bodies that are in memory now."""
        return self._held

    @asynccontextmanager
    async def lend(self, request: Request, *, most: int) -> AsyncIterator[bytes]:
        """Give the whole body, which counts as being in memory until the block ends.

        Raises:
            BodyTooLargeError: it is, or says that it will be, longer than `most` bytes.
            BodiesBusyError: there is no room for it beside the others.
            BodySlowError: nothing came for a while, or the whole took too long.
            ClientDisconnect: the client went away.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced[:20]) > most:
            raise BodyTooLargeError(say["body_too_large"])
        chunks: list[bytes] = []
        taken = 0
        try:
            async for chunk in self._chunks(request):
                taken += len(chunk)
                self._held += len(chunk)
                if taken > most:
                    raise BodyTooLargeError(say["body_too_large"])
                if self._held > self._most_in_all:
                    raise BodiesBusyError(say["bodies_busy"])
                chunks.append(chunk)
            yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
        finally:
            self._held -= taken

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds
        more = True
        while more:
            try:
                async with asyncio.timeout_at(min(loop.time() + self._idle_seconds, end)):
                    message = await request.receive()
            except TimeoutError:
                raise BodySlowError(say["body_slow"]) from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk
