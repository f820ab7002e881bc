"""Share the messages of files among processes, so that two cores work: dealt by patient, in their order.

What is about one patient of one sender goes to the same process, and takes effect in its order. A message
about two patients (a merge) waits until everything before it is done, and everything after it waits for it.
"""

from __future__ import annotations

import asyncio
import pickle
import re
import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kangshu.app.errors import EnvironmentFaultError, say
from kangshu.app.messages.lane import MessageLane
from kangshu.app.messages.model import Arrival, Prepared
from kangshu.intake.messages import MessageFormat, MessageResult

_BATCH_MESSAGES = 250
_BATCH_BYTES = 8 << 20
_BATCHES_WAITING = 2
_LENGTH_BYTES = 8
_PID = re.compile(rb"[\r\n]PID[^\r\n]")
_MERGE = re.compile(rb"[\r\n]MRG[^\r\n]")

Told = Callable[[object, MessageResult], None]
"""Hears what became of a message, with the mark under which it was handed in."""


@dataclass(slots=True, eq=False)
class _Batch:
    marks: list[object]
    arrivals: list[Arrival]
    size: int = 0


class Team:
    """Takes messages in; `put` returns when there is room, `settle` when all is stored."""

    def __init__(self, hands: Sequence[_Hand], told: Told) -> None:
        self._hands = hands
        self._told = told
        self._open = [_Batch([], []) for _ in hands]
        self._queues: list[asyncio.Queue[_Batch]] = [asyncio.Queue(_BATCHES_WAITING) for _ in hands]
        self._tasks = [asyncio.create_task(self._work(place)) for place in range(len(hands))]

    async def put(self, mark: object, arrival: Arrival) -> None:
        """Hand a message in; what went wrong with earlier ones is raised here.

        Raises:
            DatabaseUnavailableError: messages were not stored.
        """
        place = self._place_of(arrival)
        if place is None:
            await self.settle()
            await self._add(0, mark, arrival)
            await self.settle()
        else:
            await self._add(place, mark, arrival)

    async def settle(self) -> None:
        """Return when every message handed in is stored, or refused."""
        for place in range(len(self._hands)):
            await self._flush(place)
        for queue in self._queues:
            await self._while_working(queue.join())

    async def close(self) -> None:
        """End the work, whatever is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for hand in self._hands:
            await hand.close()

    def _place_of(self, arrival: Arrival) -> int | None:
        """Return whose turn a message is, or None where everybody has to wait for it."""
        body = arrival.body
        if len(self._hands) == 1:
            return 0
        if arrival.format is MessageFormat.HL7V2:
            if _MERGE.search(body):
                return None
            return zlib.crc32(_patient_of(body)) % len(self._hands)
        if arrival.format is MessageFormat.FHIR and b'"PUT"' not in body and b'"transaction"' in body:
            return zlib.crc32(body) % len(self._hands)  # everything in it is new: no order to keep
        return 0

    async def _add(self, place: int, mark: object, arrival: Arrival) -> None:
        batch = self._open[place]
        batch.marks.append(mark)
        batch.arrivals.append(arrival)
        batch.size += len(arrival.body)
        if len(batch.marks) >= _BATCH_MESSAGES or batch.size >= _BATCH_BYTES:
            await self._flush(place)

    async def _flush(self, place: int) -> None:
        batch, self._open[place] = self._open[place], _Batch([], [])
        if batch.marks:
            await self._while_working(self._queues[place].put(batch))

    async def _while_working(self, waiting: object) -> None:
        """Wait for something, but not for ever where the work has fallen over."""
        task = asyncio.ensure_future(waiting)  # type: ignore[arg-type]
        done, _ = await asyncio.wait([task, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return
        task.cancel()
        for fallen in done:
            fallen.result()  # raises what happened

    async def _work(self, place: int) -> None:
        queue, hand = self._queues[place], self._hands[place]
        async for batch, results in hand.work(queue):
            for mark, result in zip(batch.marks, results, strict=True):
                self._told(mark, result)
            queue.task_done()


class _Hand(ABC):
    """One who works on batches, in their order."""

    @abstractmethod
    def work(self, queue: asyncio.Queue[_Batch]) -> AsyncIterator[tuple[_Batch, Sequence[MessageResult]]]:
        """Yield each batch with what became of its messages."""

    async def close(self) -> None:  # noqa: B027 - nothing to end here
        """End."""


class Here(_Hand):
    """This process: the next batch is read while one is stored."""

    def __init__(self, lane: MessageLane) -> None:
        self._lane = lane

    async def work(
        self, queue: asyncio.Queue[_Batch]
    ) -> AsyncIterator[tuple[_Batch, Sequence[MessageResult]]]:
        """Yield each batch with what became of its messages."""
        batch = await queue.get()
        prepared = await self._read(batch)
        while True:
            storing = asyncio.create_task(self._lane.store_many(prepared))
            coming = asyncio.create_task(queue.get())
            await asyncio.wait([storing, coming], return_when=asyncio.FIRST_COMPLETED)
            read = asyncio.create_task(self._read(coming.result())) if coming.done() else None
            yield batch, [outcome.result for outcome in await storing]
            batch = await coming
            prepared = await (read or asyncio.create_task(self._read(batch)))

    async def _read(self, batch: _Batch) -> list[Prepared]:
        return await asyncio.to_thread(self._lane.read_many, batch.arrivals)


class There(_Hand):
    """A further process, which has a lane of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def work(
        self, queue: asyncio.Queue[_Batch]
    ) -> AsyncIterator[tuple[_Batch, Sequence[MessageResult]]]:
        """Yield each batch with what became of its messages."""
        while True:
            batch = await queue.get()
            yield batch, await self._ask(batch.arrivals)

    async def _ask(self, arrivals: list[Arrival]) -> Sequence[MessageResult]:
        assert self._process.stdin is not None, "started with pipes"
        assert self._process.stdout is not None, "started with pipes"
        try:
            self._process.stdin.write(framed(arrivals))
            await self._process.stdin.drain()
            length = int.from_bytes(await self._process.stdout.readexactly(_LENGTH_BYTES))
            # What comes back was written by our own child.
            answer = pickle.loads(await self._process.stdout.readexactly(length))  # noqa: S301
        except (OSError, asyncio.IncompleteReadError) as error:
            raise EnvironmentFaultError(say["worker_fell"]) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()


@asynccontextmanager
async def open_team(lane: MessageLane, *, home: Path, hands: int, told: Told) -> AsyncIterator[Team]:
    """Lend a team of so many processes, this one among them; all is stored when the block ends well."""
    workers: list[_Hand] = [Here(lane)]
    for _ in range(1, hands):
        workers.append(There(await _start(home)))
    team = Team(workers, told)
    try:
        yield team
        await team.settle()
    finally:
        await team.close()


def framed(content: object) -> bytes:
    """Return something as the processes of a team send it to each other."""
    data = pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(_LENGTH_BYTES) + data


async def _start(home: Path) -> asyncio.subprocess.Process:
    words = ("-m", "kangshu.app.messages.worker", str(home))
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, *words, stdin=pipe, stdout=pipe)


def _patient_of(body: bytes) -> bytes:
    """Return the beginning of PID-3 as it is written: equal for messages about one patient of one program.

    A number that is written in two ways by one sender is two here; then the order is that of the processes.
    """
    found = _PID.search(body)
    if found is None:
        return b""
    separator = body[found.end() - 1 : found.end()]
    fields = body[found.end() : found.end() + 400].split(separator, 3)
    return fields[2].split(b"^", 1)[0].split(b"~", 1)[0] if len(fields) > 2 else b""
