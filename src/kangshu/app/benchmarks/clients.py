"""Clients of the benchmarks: plain sockets, so that the client costs as little as can be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import cycle
from pathlib import Path
from typing import Any

import orjson

_WARM_UP_SHARE = 20  # one in so many goes before and does not count


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a client saw."""

    elapsed: float
    cpu_seconds: float
    seconds: Sequence[float]
    failures: int
    addresses: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class MllpLoad:
    """Frames to send, and over how many connections."""

    port: int
    frames: Path
    connections: int


@dataclass(frozen=True, kw_only=True)
class FhirLoad:
    """Requests to send: creations of Observations about `patients`, or reads of `addresses`."""

    port: int
    token: str
    patients: Sequence[str]
    requests: int
    connections: int
    reads: bool
    addresses: Sequence[str] = field(default=())

    def parts(self) -> Mapping[str, Any]:
        """Return the fields by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def drive_mllp(load: MllpLoad) -> Served:
    """Send every frame and wait for its acknowledgement, on several connections at once."""
    frames = [text.encode() for text in orjson.loads(load.frames.read_bytes())]
    return asyncio.run(_drive_mllp(load, frames))


async def _drive_mllp(load: MllpLoad, frames: Sequence[bytes]) -> Served:
    async def connection(mine: Sequence[bytes]) -> tuple[list[float], int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        seconds: list[float] = []
        failures = 0
        for frame in mine:
            begun = time.perf_counter()
            writer.write(frame)
            answer = await reader.readuntil(b"\x1c\r")
            seconds.append(time.perf_counter() - begun)
            failures += b"MSA|AA" not in answer
        writer.close()
        return seconds, failures

    return await _measure(
        [frames[place :: load.connections] for place in range(load.connections)], connection
    )


def drive_fhir(load: FhirLoad) -> Served:
    """Send the requests and wait for each answer, on several connections at once."""
    return asyncio.run(_drive_fhir(load))


async def _drive_fhir(load: FhirLoad) -> Served:
    requests = _reads(load) if load.reads else _creations(load)
    addresses: list[str] = []

    async def connection(mine: Sequence[bytes]) -> tuple[list[float], int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        seconds: list[float] = []
        failures = 0
        for request in mine:
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _length(head)
            if length:
                await reader.readexactly(length)
            seconds.append(time.perf_counter() - begun)
            failures += head[9:10] != b"2"
            if not load.reads and (address := _address(head)):
                addresses.append(address)
        writer.close()
        return seconds, failures

    served = await _measure(
        [requests[place :: load.connections] for place in range(load.connections)], connection
    )
    return Served(
        **{**{one.name: getattr(served, one.name) for one in fields(served)}, "addresses": addresses}
    )


async def _measure(shares: Sequence[Sequence[bytes]], connection: Any) -> Served:
    first = [share[: len(share) // _WARM_UP_SHARE] for share in shares]
    rest = [share[len(share) // _WARM_UP_SHARE :] for share in shares]
    await asyncio.gather(*(connection(share) for share in first))
    begun, cpu = time.perf_counter(), time.process_time()
    found = await asyncio.gather(*(connection(share) for share in rest))
    return Served(
        elapsed=time.perf_counter() - begun,
        cpu_seconds=time.process_time() - cpu,
        seconds=[one for seconds, _ in found for one in seconds],
        failures=sum(failures for _, failures in found),
    )


def _creations(load: FhirLoad) -> list[bytes]:
    patients = cycle(load.patients)
    return [
        _request("POST", "/fhir/Observation", load.token, _observation(next(patients), number))
        for number in range(load.requests)
    ]


def _reads(load: FhirLoad) -> list[bytes]:
    addresses = cycle(load.addresses)
    return [_request("GET", next(addresses), load.token, b"") for _ in range(load.requests)]


def _request(method: str, path: str, token: str, body: bytes) -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: benchmark\r\nAuthorization: Bearer {token}\r\n"
        f"Accept: application/fhir+json\r\n"
    )
    if body:
        head += f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _observation(patient: str, number: int) -> bytes:
    """A laboratory result about a simulated person, a kilobyte long."""
    day = f"2026-{number % 11 + 1:02d}-{number % 28 + 1:02d}"
    return orjson.dumps(
        {
            "resourceType": "Observation",
            "status": "final",
            "category": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                            "code": "laboratory",
                            "display": "Laboratory",
                        }
                    ]
                }
            ],
            "identifier": [{"system": "urn:kangshu:benchmark", "value": f"R{number}"}],
            "code": {
                "coding": [{"system": "http://loinc.org", "code": "14647-2", "display": "总胆固醇"}],
                "text": "总胆固醇",
            },
            "subject": {"reference": patient, "type": "Patient"},
            "effectiveDateTime": f"{day}T08:{number % 60:02d}:00+08:00",
            "issued": "2026-11-02T10:15:00.000+08:00",
            "performer": [{"display": "检验科"}],
            "valueQuantity": {
                "value": 3 + number % 400 / 100,
                "unit": "mmol/L",
                "system": "http://unitsofmeasure.org",
                "code": "mmol/L",
            },
            "referenceRange": [
                {
                    "low": {"value": 2.8, "unit": "mmol/L"},
                    "high": {"value": 5.2, "unit": "mmol/L"},
                    "text": "2.80-5.20",
                }
            ],
            "note": [{"text": "模拟数据，不对应任何真实的人。" * 2}],
        }
    )


def _length(head: bytes) -> int:
    low = head.lower()
    at = low.find(b"content-length:")
    return int(low[at + 15 : low.index(b"\r\n", at)]) if at >= 0 else 0


def _address(head: bytes) -> str | None:
    low = head.lower()
    at = low.find(b"\r\nlocation:")
    if at < 0:
        return None
    url = head[at + 11 : head.index(b"\r\n", at + 2)].decode().strip()
    path = url[url.index("/fhir/") :]
    return path.partition("/_history")[0]
