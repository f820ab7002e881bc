"""A further process that takes messages in: `python -m kangshu.app.messages.worker HOME`, batches by pipe."""

from __future__ import annotations

import asyncio
import pickle
import sys
from pathlib import Path

from kangshu.app.memory import spare_collector
from kangshu.app.messages.dealing import framed
from kangshu.app.messages.opening import open_lane
from kangshu.app.platform import open_platform

_LENGTH_BYTES = 8


async def work(home: Path) -> None:
    """Answer batch after batch until the pipe ends."""
    async with open_platform(home) as platform:
        lane = open_lane(platform)
        spare_collector()
        while length := await asyncio.to_thread(sys.stdin.buffer.read, _LENGTH_BYTES):
            data = await asyncio.to_thread(sys.stdin.buffer.read, int.from_bytes(length))
            # The parent is this program; nobody else can write here.
            arrivals = pickle.loads(data)  # noqa: S301
            try:
                prepared = lane.read_many(arrivals)
                answer: object = [outcome.result for outcome in await lane.store_many(prepared)]
            except Exception as error:  # noqa: BLE001 - the parent raises it
                answer = error
            sys.stdout.buffer.write(framed(answer))
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
