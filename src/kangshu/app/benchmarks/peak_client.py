"""The residents' apps at the peak hour: signed requests at a fixed rate over HTTP, whatever the answers do.

Requests fall due by the clock, not by the last answer, and each is timed from the moment it was due: a server
that stands still for a second is charged for all who would have asked in it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from kangshu.security.signing import Procedure, sign, signed_text

_PATH = "/cards/dynamic-code"
_GRACE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class PeakLoad:
    """How many requests, how fast, over how many connections, for which cards, signed with which keys."""

    port: int
    keys: Sequence[tuple[str, str]]
    cards: Sequence[str]
    requests: int
    rate: float
    connections: int


@dataclass(frozen=True, kw_only=True)
class PeakServed:
    """What the apps saw; `statuses` counts answers by status, `late` requests that were sent late by us."""

    elapsed: float
    cpu_seconds: float
    milliseconds: Sequence[float]
    statuses: dict[int, int]
    late: int


def drive_peak(load: PeakLoad) -> PeakServed:
    """Send the requests as they fall due and return what came back."""
    import uvloop

    return uvloop.run(_drive(load))


async def _drive(load: PeakLoad) -> PeakServed:
    signers = [_Signer(key, secret) for key, secret in load.keys]
    bodies = [orjson.dumps({"healthCardId": card}) for card in load.cards]
    times: list[float] = []
    statuses: dict[int, int] = {}
    late = 0
    turn = iter(range(load.requests))
    begun = time.perf_counter() + _GRACE_SECONDS
    cpu = time.process_time()

    async def connection() -> None:
        nonlocal late
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        for number in turn:
            due = begun + number / load.rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            elif wait < -0.01:
                late += 1
            signer = signers[number % len(signers)]
            writer.write(signer.request(bodies[number % len(bodies)]))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            times.append((time.perf_counter() - due) * 1000)
            status = int(head[9:12])
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(connection() for _ in range(load.connections)))
    return PeakServed(
        elapsed=time.perf_counter() - begun,
        cpu_seconds=time.process_time() - cpu,
        milliseconds=times,
        statuses=statuses,
        late=late,
    )


class _Signer:
    """Signs as `docs/health-card.md` says."""

    def __init__(self, key: str, secret: str) -> None:
        self._key, self._secret = key, secret.encode()
        self._nonce, self._number = secrets.token_urlsafe(12), 0

    def request(self, body: bytes) -> bytes:
        moment = str(time.time_ns() // 1_000_000)
        self._number += 1
        nonce = f"{self._nonce}{self._number:08x}"
        text = signed_text(
            method="POST", path=_PATH, query="", key=self._key, time=moment, nonce=nonce, body=body
        )
        signature = sign(Procedure.HMAC_SM3, secret=self._secret, text=text)
        head = (
            f"POST {_PATH} HTTP/1.1\r\nHost: benchmark\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nX-Kangshu-Key: {self._key}\r\nX-Kangshu-Time: {moment}\r\n"
            f"X-Kangshu-Nonce: {nonce}\r\nX-Kangshu-Signature: {signature}\r\n\r\n"
        )
        return head.encode() + body


def _length(head: bytes) -> int:
    low = head.lower()
    at = low.find(b"content-length:")
    return int(low[at + 15 : low.index(b"\r\n", at)]) if at >= 0 else 0
