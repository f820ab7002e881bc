"""What the door keeps between requests: the office of cards, the desk that gathers scans and codes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from kangshu.healthcard import Caller, Code, CodeKind, Office, Scan, ScanDesk, ScanRequest, card_numbers
from kangshu.kernel.clock import Clock
from kangshu.storage.database import Database

_NUMBERS_MOST = 200_000


class Desk:
    """Opens the office at the first request, and remembers which card an id names: that never changes."""

    def __init__(
        self, *, database: Database, clock: Clock, open_office: Callable[[], Awaitable[Office]]
    ) -> None:
        self._database, self._clock, self._open_office = database, clock, open_office
        self._opening = asyncio.Lock()
        self._open: tuple[Office, ScanDesk] | None = None
        self._numbers: OrderedDict[str, int] = OrderedDict()

    async def office(self) -> Office:
        """Return the office, opened once."""
        if self._open is None:
            async with self._opening:
                if self._open is None:
                    office = await self._open_office()
                    self._open = office, ScanDesk(self._database, office=office, clock=self._clock)
        return self._open[0]

    async def number(self, card_id: str) -> int | None:
        """Return the number of a card, None where there is no such card."""
        name = card_id.upper()
        number = self._numbers.get(name)
        if number is None:
            office = await self.office()
            async with self._database.connection() as connection:
                found = await card_numbers(connection, office=office, card_ids=[name])
            number = found.get(name)
            if number is None:
                return None
            self._numbers[name] = number
            if len(self._numbers) > _NUMBERS_MOST:
                self._numbers.popitem(last=False)
        return number

    async def issue(self, card: int, kind: CodeKind, caller: Caller) -> Code:
        """Return a code of a card, made together with those that others ask for in the same moment."""
        return await self._desk.issue(card, kind, caller)

    async def scan(self, request: ScanRequest) -> Scan:
        """Return what a scan comes to, likewise."""
        return await self._desk.scan(request)

    @property
    def _desk(self) -> ScanDesk:
        assert self._open is not None, "the office is opened before any operation"
        return self._open[1]
