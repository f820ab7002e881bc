"""How much may be in the lane at once: messages and their bytes, entered in the order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """Lets messages in while there is room for them; who comes later waits, and nobody overtakes.

    What a message needs in memory is a multiple of its bytes, so bytes are counted as well as messages. One
    that is larger than the whole room goes in alone.
    """

    def __init__(self, *, messages: int, size: int) -> None:
        self._messages, self._size = messages, size
        self._inside = self._inside_bytes = 0
        self._outside: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def inside(self) -> int:
        """Messages that have entered and not left."""
        return self._inside

    @property
    def inside_bytes(self) -> int:
        """Their bytes."""
        return self._inside_bytes

    async def enter(self, size: int) -> None:
        """Return when there is room for a message of `size` bytes, which has entered then."""
        if not self._outside and self._fits(size):
            self._add(size)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outside.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                if turn.exception() is None:
                    self.leave(size)  # let in and gone at the same moment
            else:
                self._let_in()  # who waited behind it may fit
            raise

    def turn_away(self, error: Exception) -> None:
        """Let `enter` raise this for everybody who waits."""
        for _, turn in self._outside:
            if not turn.done():
                turn.set_exception(error)
                turn.exception()  # whoever waited and has gone is no defect to report
        self._outside.clear()

    def leave(self, size: int) -> None:
        """Give back the room of a message of `size` bytes."""
        self._inside -= 1
        self._inside_bytes -= size
        self._let_in()

    def _fits(self, size: int) -> bool:
        if not self._inside:
            return True
        return self._inside < self._messages and self._inside_bytes + size <= self._size

    def _add(self, size: int) -> None:
        self._inside += 1
        self._inside_bytes += size

    def _let_in(self) -> None:
        while self._outside:
            size, turn = self._outside[0]
            if not turn.done():
                if not self._fits(size):
                    return
                self._add(size)
                turn.set_result(None)
            self._outside.popleft()
