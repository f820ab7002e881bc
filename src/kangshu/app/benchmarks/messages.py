"""How fast messages become records: out of files, over MLLP, over FHIR; with so many persons known before.

`--size` is the number of persons in the index. What is sent is the same at every size, so that the growth
is seen. Clients run in a process of their own, on the same machine.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from kangshu import lake
from kangshu.app.benchmarks.clients import FhirLoad, MllpLoad, Served, drive_fhir, drive_mllp
from kangshu.app.benchmarks.lanes import take_one
from kangshu.app.benchmarks.model import Measurement, Stage, percentiles
from kangshu.app.benchmarks.surroundings import Use, Watch, elsewhere, fresh_folder, fresh_platform, machine
from kangshu.app.maintenance import bring_messages_to_lake
from kangshu.app.memory import spare_collector
from kangshu.app.messages.files import MessageFigures, MessageFile, take_message_files
from kangshu.app.messages.lane import MessageLane
from kangshu.app.messages.mllp import mllp_door
from kangshu.app.messages.opening import open_lane
from kangshu.app.platform import Platform
from kangshu.app.serving import background, serving
from kangshu.intake.messages import MessageResult
from kangshu.security import operations as security
from kangshu.simulation import write_bundles, write_messages, write_registrations
from kangshu.standards import hl7v2

_MESSAGES = 30_000
_MLLP_MESSAGES = 12_000
_FHIR_REQUESTS = 12_000
_BUNDLE_RESOURCES = 60_000
_CONNECTIONS = 8
_HANDS = 2  # processes that share files of messages
_HOSPITAL = "YH000002699010211A1001"
"""The sender of the simulated messages."""


async def hl7_files(size: int, stage: Stage) -> Measurement:
    """Take in a file of HL7 v2 messages: parse, person, records, lake, audit."""
    with fresh_folder() as folder:
        async with peopled(folder, size, stage) as platform:
            file = folder / "messages.hl7"
            stage(f"{_MESSAGES:,} messages")
            await elsewhere(write_messages, file, messages=_MESSAGES, persons=size)
            lane = open_lane(platform)
            spare_collector()
            figures = MessageFigures()
            stage("intake")
            with Watch(platform.home) as watch:
                await take_message_files(
                    platform, lane, [_file(platform, file)], figures=figures, hands=_HANDS
                )
                await bring_messages_to_lake(platform)
            async with platform.database.connection() as connection:
                rows = await lake.count_rows(connection)
    assert watch.use is not None, "the watch has ended"
    assert figures.accepted == _MESSAGES, f"accepted {figures.accepted} of {_MESSAGES}"
    return _rate(
        figures.messages,
        watch.use,
        "messages/s",
        persons=size,
        resources=figures.resources,
        lake_rows={name: count for name, count in rows.items() if name != "resident"},
        bytes=file_size(file),
    )


def _file(platform: Platform, path: Path) -> MessageFile:
    return MessageFile(path=path, sender=_HOSPITAL, received_by="benchmark", received_at=platform.clock.now())


def file_size(path: Path) -> int | None:
    """Return the size of a file that may be gone already."""
    return path.stat().st_size if path.exists() else None


async def mllp(size: int, stage: Stage) -> Measurement:
    """Send HL7 v2 messages over MLLP on eight connections, each waiting for its acknowledgement."""
    with fresh_folder() as folder:
        async with peopled(folder, size, stage) as platform:
            file = folder / "messages.hl7"
            await elsewhere(write_messages, file, messages=_MLLP_MESSAGES, persons=size)
            frames = folder / "frames"
            await asyncio.to_thread(_frame, file, frames)
            lane = open_lane(platform)
            spare_collector()
            stage("MLLP")
            async with background(platform), mllp_door(platform, lane, port=0) as port:
                with Watch(platform.home) as watch:
                    served = await elsewhere(
                        drive_mllp, MllpLoad(port=port, frames=frames, connections=_CONNECTIONS)
                    )
    assert watch.use is not None, "the watch has ended"
    return _served(served, watch.use, "messages/s", persons=size)


async def fhir_create(size: int, stage: Stage) -> Measurement:
    """Create Observations over HTTP on eight connections, authorised, audited, durable."""
    return await _fhir(size, stage, reads=False)


async def fhir_read(size: int, stage: Stage) -> Measurement:
    """Read resources by id over HTTP on eight connections, authorised and audited."""
    return await _fhir(size, stage, reads=True)


async def bundles(size: int, stage: Stage) -> Measurement:
    """Take in files of transaction Bundles, as Synthea writes them: one life in each."""
    with fresh_folder() as folder:
        async with peopled(folder, size, stage) as platform:
            lives = folder / "bundles"
            stage("bundles")
            resources = await elsewhere(write_bundles, lives, resources=_BUNDLE_RESOURCES, persons=size)
            files = sorted(lives.iterdir())
            lane = open_lane(platform)
            spare_collector()
            figures = MessageFigures()
            with Watch(platform.home) as watch:
                await take_message_files(
                    platform,
                    lane,
                    [_file(platform, file) for file in files],
                    figures=figures,
                    hands=_HANDS,
                )
    assert watch.use is not None, "the watch has ended"
    assert figures.accepted == len(files), (
        f"accepted {figures.accepted} of {len(files)}: {figures.rejections[:1]}"
    )
    return _rate(resources, watch.use, "resources/s", persons=size, files=len(files))


async def _fhir(size: int, stage: Stage, *, reads: bool) -> Measurement:
    with fresh_folder() as folder:
        async with peopled(folder, size, stage) as platform:
            lane = open_lane(platform)
            async with platform.database.transaction() as connection:
                client_id, secret = await security.create_client(
                    connection,
                    institution=_HOSPITAL,
                    scopes=["messages.write", "records.read"],
                    now=platform.clock.now(),
                    random=secrets.token_bytes,
                )
                token = await security.issue_token(
                    connection,
                    client_id=client_id,
                    secret=secret,
                    scopes=[],
                    now=platform.clock.now(),
                    random=secrets.token_bytes,
                )
            patients = await _patients(platform, lane, folder, size)
            spare_collector()
            stage("HTTP")
            async with background(platform), serving(platform, lane, port=0) as port:
                load = FhirLoad(
                    port=port,
                    token=token.token,
                    patients=patients,
                    requests=_FHIR_REQUESTS,
                    connections=_CONNECTIONS,
                    reads=False,
                )
                if reads:
                    created = await elsewhere(drive_fhir, load)
                    load = FhirLoad(**{**load.parts(), "reads": True, "addresses": created.addresses})
                with Watch(platform.home) as watch:
                    served = await elsewhere(drive_fhir, load)
    assert watch.use is not None, "the watch has ended"
    return _served(served, watch.use, "requests/s", persons=size)


async def _patients(platform: Platform, lane: MessageLane, folder: Path, size: int) -> list[str]:
    """Bring a thousand of the known people in as Patients and return their addresses."""
    file = folder / "patients.hl7"
    await elsewhere(write_messages, file, messages=2_000, persons=size)
    found: dict[str, None] = {}

    def listen(result: MessageResult) -> None:
        found.update({one: None for one in result.resources if one.startswith("Patient/")})

    await take_message_files(platform, lane, [_file(platform, file)], figures=MessageFigures(), listen=listen)
    return list(found)


@asynccontextmanager
async def peopled(folder: Path, size: int, stage: Stage) -> AsyncIterator[Platform]:
    """Open a platform that knows so many persons."""
    residents = folder / "resident.parquet"
    stage(f"{size:,} residents")
    await elsewhere(write_registrations, residents, persons=size)
    async with fresh_platform(folder) as platform:
        await take_one(platform, residents)
        yield platform


def _frame(source: Path, target: Path) -> None:
    frames = [hl7v2.serialise_frame(piece.data) for piece in hl7v2.split(source.read_bytes())]
    target.write_bytes(orjson.dumps([frame.decode() for frame in frames]))


def _rate(done: int, use: Use, unit: str, **more: object) -> Measurement:
    return Measurement(
        value=round(done / use.seconds),
        unit=unit,
        peak_mib=use.peak_mib,
        conditions={
            "seconds": round(use.seconds, 2),
            "cpu_us_each": round(use.cpu_seconds / done * 1e6),
            "server_cpu_us_each": round(use.server_cpu_seconds / done * 1e6),
            "server_peak_mib": use.server_peak_mib,
            "commit": "durable; database on the same machine",
            **more,
            **machine(),
        },
    )


def _served(served: Served, use: Use, unit: str, **more: object) -> Measurement:
    assert not served.failures, f"{served.failures} requests failed"
    found = percentiles([seconds * 1000 for seconds in served.seconds])
    return Measurement(
        value=round(len(served.seconds) / served.elapsed),
        unit=unit,
        **found,
        peak_mib=use.peak_mib,
        conditions={
            "percentiles": "ms from request to answer, measured by the client",
            "requests": len(served.seconds),
            "connections": _CONNECTIONS,
            "client_cpu_us_each": round(served.cpu_seconds / len(served.seconds) * 1e6),
            "cpu_us_each": round(use.cpu_seconds / len(served.seconds) * 1e6),
            "server_cpu_us_each": round(use.server_cpu_seconds / len(served.seconds) * 1e6),
            "server_peak_mib": use.server_peak_mib,
            "commit": "durable; database and client on the same machine",
            **more,
            **machine(),
        },
    )
