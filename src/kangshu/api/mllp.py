"""The MLLP door: HL7 v2 messages over TCP, several peers at once, none of which can harm another.

Answers go back in the order of the messages, only after `take` has said what they are. A peer that gets no
answer (the connection ends) repeats its message; that is the protocol's way to lose nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from kangshu.kernel.clock import Clock
from kangshu.standards.hl7v2 import (
    FrameFault,
    FrameFaultKind,
    FrameReader,
    acknowledge,
    acknowledgement_code,
    parse_header,
    serialise_frame,
    too_large,
)

MIB = 1024 * 1024
_SWEEP_SECONDS = 1.0
# A peer that sends more of these without one frame speaks another protocol.
_STRAY_BYTES = 64 * 1024
_FAULTS = 100
_FRAME_COST = 128  # bytes that a waiting frame takes beside its content, about

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """Who is at the other end of a connection."""

    address: str
    port: int
    encrypted: bool = False
    names: tuple[str, ...] = ()
    """The names in the peer's certificate, where the server asks for one and has checked it."""

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class MllpLimits:
    """What peers may use; all numbers are arbitrary and meant for a region's hundreds of senders."""

    connections: int = 1024
    connections_per_address: int = 128
    frame_bytes: int = 16 * MIB
    memory_bytes: int = 256 * MIB
    """Frames of all connections, half ones and those in work."""
    frames_in_work: int = 16
    """Frames of one connection that are with `take` at once; more wait unread."""
    answer_bytes: int = MIB
    """Answers that one peer has not read yet, before it is not heard any more."""
    idle_seconds: float = 3600.0
    """Between messages; a night ward may be silent for long, and an idle connection costs a few kilobytes."""
    frame_seconds: float = 120.0
    """From the first byte of a frame to its last."""
    answer_seconds: float = 60.0
    """For a peer to read its answers."""
    handshake_seconds: float = 10.0
    """For TLS to begin."""
    pause_seconds: float = 0.2
    """After which FS without CR ends a frame."""
    close_seconds: float = 10.0
    """For messages in work when the server stops."""


@dataclass(kw_only=True, slots=True)
class MllpCounters:
    """What has happened since the start, for metrics."""

    connections: int = 0
    """Connections open now."""
    accepted: int = 0
    bytes_received: int = 0
    frames: int = 0
    answers: int = 0
    held_bytes: int = 0
    """Bytes of frames kept now."""
    events: Counter[str] = field(default_factory=Counter)
    """By name: `refused` (too many connections), `idle`, `slow-frame`, `slow-reader`, `overload`, `failed`
    (take raised), `no-mllp`, and the kinds of `FrameFaultKind`."""


Take = Callable[[bytes, Peer], Awaitable[bytes]]
"""Does what is to be done with a message and returns its acknowledgement; empty where none is wanted."""


async def serve_mllp(
    *,
    host: str | None,
    port: int,
    take: Take,
    clock: Clock,
    limits: MllpLimits | None = None,
    tls: ssl.SSLContext | None = None,
) -> MllpServer:
    """Listen on `port` (0: any free one) and return the running server.

    `take` gets each message as it was between the frame's marks. Messages of one connection are handed to it
    in their order, up to `limits.frames_in_work` before the first is answered; answers leave in that order
    too. Where it raises, the connection ends without an answer. `clock` dates the refusals that the door
    itself writes.

    Raises:
        OSError: the port cannot be had.
    """
    server = MllpServer(take=take, clock=clock, limits=limits or MllpLimits())
    await server.listen(host=host, port=port, tls=tls)
    return server


class MllpServer:
    """A running MLLP door."""

    def __init__(self, *, take: Take, clock: Clock, limits: MllpLimits) -> None:
        self.limits = limits
        self.counters = MllpCounters()
        self.port = 0
        """The port that is listened on."""
        self._take = take
        self._clock = clock
        self._connections: set[_Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[bytes]] = set()
        self._numbers = itertools.count(1)
        self._listener: asyncio.Server | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def listen(self, *, host: str | None, port: int, tls: ssl.SSLContext | None) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: _Connection(self),
            host,
            port,
            ssl=tls,
            backlog=256,
            # Before the handshake a connection is not known here, so nobody counts it.
            ssl_handshake_timeout=self.limits.handshake_seconds if tls else None,
        )
        self.port = int(self._listener.sockets[0].getsockname()[1])
        self._sweeping = loop.call_later(_SWEEP_SECONDS, self._sweep)

    async def close(self) -> None:
        """Stop: take no more, answer what is in work, end the connections."""
        if self._listener is not None:
            self._listener.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._connections):
            connection.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.limits.close_seconds)
        await asyncio.sleep(0)  # answers of the last tasks are written by their callbacks
        for connection in list(self._connections):
            connection.finish()
        deadline = asyncio.get_running_loop().time() + self.limits.close_seconds
        while self._connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def admit(self, connection: _Connection) -> bool:
        """Count a new connection, or say that there are too many."""
        address = connection.peer.address
        if (
            len(self._connections) >= self.limits.connections
            or self._addresses[address] >= self.limits.connections_per_address
        ):
            self.counters.events["refused"] += 1
            return False
        self._connections.add(connection)
        self._addresses[address] += 1
        self.counters.connections = len(self._connections)
        self.counters.accepted += 1
        return True

    def dismiss(self, connection: _Connection) -> None:
        """Forget a connection that has ended."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        address = connection.peer.address
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
        self.counters.connections = len(self._connections)

    def begin(self, frame: bytes, peer: Peer) -> asyncio.Task[bytes]:
        """Hand a message over; the task stays known until it is done, even if its connection ends."""
        self.counters.frames += 1
        task = asyncio.ensure_future(self._answer(frame, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def refusal(self, fault: FrameFault) -> bytes:
        """Return the acknowledgement of a frame that is too long; empty where the sender wants none."""
        header = parse_header(fault.head)
        code = acknowledgement_code(header, outcome="reject")
        if code is None:
            return b""
        now = self._clock.now()
        error = too_large(limit=self.limits.frame_bytes)
        return acknowledge(
            header,
            code=code,
            control_id=f"{now:%y%m%d%H%M%S}-{next(self._numbers)}",
            now=now,
            text=error.text,
            place=error.place,
            error_code=error.error_code,
        )

    def relieve(self) -> None:
        """End the connection that holds most, where all together hold too much."""
        if self.counters.held_bytes > self.limits.memory_bytes and self._connections:
            max(self._connections, key=lambda connection: connection.held).abort("overload")

    async def _answer(self, frame: bytes, peer: Peer) -> bytes:
        return await self._take(frame, peer)

    def _sweep(self) -> None:
        """End the connections whose peers have been silent or slow for too long."""
        loop = asyncio.get_running_loop()
        for connection in list(self._connections):
            connection.check(loop.time())
        self._sweeping = loop.call_later(_SWEEP_SECONDS, self._sweep)


class _Connection(asyncio.Protocol):
    """One peer: frames wait, are in work in their order, and are answered in their order."""

    def __init__(self, server: MllpServer) -> None:
        self.peer = Peer(address="", port=0)
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(limit=server.limits.frame_bytes)
        self._waiting: deque[bytes | FrameFault] = deque()
        self._working: deque[tuple[asyncio.Future[bytes], int]] = deque()
        self._waiting_bytes = 0
        self._working_bytes = 0
        self._counted = 0
        self._faults = 0
        self._active_at = self._begun_at = self._loop.time()
        self._blocked_at: float | None = None
        self._reading = True
        self._heard_all = False
        """What comes now is not read any more; what waits and what is in work is answered."""
        self._lingering = False
        """A refusal has been written; what comes is thrown away until the peer has read it and ends."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        """Bytes of this peer's frames."""
        return self._reader.held + self._waiting_bytes + self._working_bytes

    # --- What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A TCP or TLS transport has both directions; uvloop's are no subclass of asyncio's.
        self._transport = transport = cast(asyncio.Transport, transport)
        self.peer = _peer_of(transport)
        if not self._server.admit(self):
            self._heard_all = True
            transport.abort()
            return
        transport.set_write_buffer_limits(high=self._limits.answer_bytes)
        with contextlib.suppress(OSError, AttributeError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        if self._heard_all:
            return
        self._server.counters.bytes_received += len(data)
        was_within = self._reader.within
        self._add(self._reader.feed(data), was_within=was_within)
        if self._reader.stray > _STRAY_BYTES or self._faults > _FAULTS:
            self._end("no-mllp")
            return
        if self._reader.undecided:
            self._flush_later()
        self._advance()
        self._server.relieve()

    def eof_received(self) -> bool | None:
        """Go on writing to a peer that has said all; TLS has no half-closed connections."""
        if self._lingering:
            return None
        if not self._heard_all:
            self._heard_all = True
            self._add(self._reader.close(), was_within=False)
            self._advance()
        self._finish_if_done()
        return None if self.peer.encrypted else True

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_waiting()
        self._server.dismiss(self)
        self._transport = None

    def pause_writing(self) -> None:
        self._blocked_at = self._loop.time()
        self._read_or_not()

    def resume_writing(self) -> None:
        self._blocked_at = None
        self._advance()

    # --- What the server says

    def check(self, now: float) -> None:
        """End the connection where the peer has been silent or slow for too long."""
        if self._blocked_at is not None:
            if now - self._blocked_at > self._limits.answer_seconds:
                self.abort("slow-reader")
        elif self._working or self._waiting:
            self._active_at = self._begun_at = now
        elif self._reader.within:
            if now - self._begun_at > self._limits.frame_seconds:
                self._end("slow-frame")
        elif now - self._active_at > self._limits.idle_seconds:
            self._end("idle")

    def stop(self) -> None:
        """Read and begin nothing more; end at once where nothing is in work."""
        self._forget_waiting()
        self._read_or_not()
        self._finish_if_done()

    def finish(self) -> None:
        """End after what has been written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self, event: str | None = None) -> None:
        """End at once."""
        if event is not None:
            self._server.counters.events[event] += 1
        self._heard_all = True
        if self._transport is not None:
            self._transport.abort()

    # --- Frames in, answers out

    def _add(self, found: list[bytes | FrameFault], *, was_within: bool) -> None:
        events = self._server.counters.events
        for one in found:
            if isinstance(one, FrameFault):
                events[one.kind] += 1
                self._faults += 1
                if one.kind is FrameFaultKind.TOO_LONG:
                    self._waiting.append(one)
                continue
            self._faults = 0
            self._waiting.append(one)
            self._waiting_bytes += len(one) + _FRAME_COST
        if found:
            self._active_at = self._loop.time()
        if found or not was_within:
            self._begun_at = self._loop.time()
        self._count()

    def _advance(self) -> None:
        """Begin what may be begun, and read on if nothing is left waiting."""
        while self._waiting and self._may_begin(self._waiting[0]):
            one = self._waiting.popleft()
            if isinstance(one, FrameFault):
                self._refuse(one)
                break
            self._begin(one)
        self._read_or_not()

    def _may_begin(self, one: bytes | FrameFault) -> bool:
        if isinstance(one, FrameFault) or not self._working:
            return self._blocked_at is None
        room = self._working_bytes + len(one) <= self._limits.frame_bytes
        return room and len(self._working) < self._limits.frames_in_work and self._blocked_at is None

    def _begin(self, frame: bytes) -> None:
        self._waiting_bytes -= len(frame) + _FRAME_COST
        self._working_bytes += len(frame)
        task = self._server.begin(frame, self.peer)
        self._working.append((task, len(frame)))
        task.add_done_callback(self._settle)

    def _refuse(self, fault: FrameFault) -> None:
        """Answer a frame that is too long after all before it, and end: its rest would have to be read."""
        answer: asyncio.Future[bytes] = self._loop.create_future()
        answer.set_result(self._server.refusal(fault))
        self._working.append((answer, 0))
        self._forget_waiting()
        self._lingering = True
        self._settle()

    def _forget_waiting(self) -> None:
        """Read nothing more, and begin nothing of what was read."""
        self._heard_all = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
        self._waiting_bytes = 0
        self._reader.close()
        self._count()

    def _settle(self, _: object = None) -> None:
        """Write the answers that are ready and whose turn it is."""
        while self._working and self._working[0][0].done():
            task, size = self._working.popleft()
            self._working_bytes -= size
            if not self._write(task):
                break
        self._active_at = self._begun_at = self._loop.time()
        self._count()
        self._advance()
        self._finish_if_done()

    def _write(self, task: asyncio.Future[bytes]) -> bool:
        """Write one answer; where there is none because of a failure, end the connection."""
        if task.cancelled() or task.exception() is not None:
            self._fail(task)
            return False
        answer = task.result()
        if not answer or self._transport is None or self._transport.is_closing():
            return True
        try:
            frame = serialise_frame(answer)
        except ValueError:
            self._fail(task)
            return False
        self._transport.write(frame)
        self._server.counters.answers += 1
        return True

    def _fail(self, task: asyncio.Future[bytes]) -> None:
        error = None if task.cancelled() else task.exception()
        # The name only: the text of an unforeseen error might quote the message.
        log.error("no answer to %s: %s", self.peer, type(error).__name__)
        self._working_bytes -= sum(size for _, size in self._working)
        self._working.clear()
        self._forget_waiting()
        self._end("failed")

    def _end(self, event: str) -> None:
        """End after what has been written, and count why."""
        self._server.counters.events[event] += 1
        self._heard_all = True
        self._read_or_not()
        self.finish()

    def _finish_if_done(self) -> None:
        if not self._heard_all or self._working or self._waiting:
            return
        if not self._lingering:
            self.finish()
        elif self._transport is not None and self._timer is None and not self._transport.is_closing():
            # Ending now would reset the connection, and the peer might never see why.
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._timer = self._loop.call_later(self._limits.close_seconds, self.abort)

    def _read_or_not(self) -> None:
        """Stop reading while frames wait or answers are not read, and go on afterwards."""
        wanted = not self._waiting and self._blocked_at is None and (self._lingering or not self._heard_all)
        if self._transport is None or wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._begun_at = self._loop.time()
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _flush_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._limits.pause_seconds, self._flush)

    def _flush(self) -> None:
        self._timer = None
        if not self._heard_all:
            self._add(self._reader.flush(), was_within=True)
            self._advance()

    def _count(self) -> None:
        """Tell the server how many bytes are held."""
        held = self.held
        self._server.counters.held_bytes += held - self._counted
        self._counted = held


def _peer_of(transport: asyncio.Transport) -> Peer:
    name = transport.get_extra_info("peername") or ("", 0)
    session = transport.get_extra_info("ssl_object")
    certificate = (session.getpeercert() if session is not None else None) or {}
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    names += [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    return Peer(
        address=str(name[0]),
        port=int(name[1]),
        encrypted=session is not None,
        names=tuple(dict.fromkeys(names)),
    )
