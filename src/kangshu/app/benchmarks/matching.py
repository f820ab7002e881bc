"""Matching single records against the person index: one at a time, and many over several connections.

The index is filled with simulated registrations as files and the job after them do it; the records asked
about are later registrations of the same people and of strangers. Nothing is tuned to the seed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from kangshu import identity
from kangshu.app.benchmarks.model import Measurement, Stage, percentiles
from kangshu.app.benchmarks.surroundings import elsewhere, fresh_folder, fresh_platform, machine
from kangshu.app.platform import Platform
from kangshu.mapping import IdentifierKind, Subject, SubjectIdentifier
from kangshu.security.keys import load_or_create
from kangshu.simulation import simulate_registrations
from kangshu.storage.database import Database

SEED = 20_267
_NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
_ASKED = 2_000
_STREAM = 12_000
_PROCESSES, _CONNECTIONS, _BATCH = 2, 2, 40
_CHUNK = 2_000


async def match_one(size: int, stage: Stage) -> Measurement:
    """Ask for one record at a time in an index of `size` registrations, then link each, durably."""
    with fresh_folder() as folder:
        async with fresh_platform(folder) as platform:
            later = await _filled(platform, size, _ASKED, stage)
            stage("matching")
            asked: list[float] = []
            async with platform.database.connection() as connection:
                for subject in later:
                    started = time.perf_counter()
                    await identity.match_subject(connection, keys=platform.keys, subject=subject, limit=5)
                    asked.append(1000 * (time.perf_counter() - started))
                persons = await identity.count_persons(connection)
            stage("linking")
            linked: list[float] = []
            for subject in later:
                started = time.perf_counter()
                await _link(platform.database, platform.keys, [subject])
                linked.append(1000 * (time.perf_counter() - started))
    match, link = percentiles(asked[_ASKED // 10 :]), percentiles(linked[_ASKED // 10 :])
    return Measurement(
        value=match["p99"],
        unit="ms to match one record (99th percentile)",
        p50=match["p50"],
        p95=match["p95"],
        p99=match["p99"],
        conditions={
            "registrations": size,
            "persons": persons,
            "asked": len(later),
            "linked_p50": link["p50"],
            "linked_p95": link["p95"],
            "linked_p99": link["p99"],
            "linked": "decided, inserted, event and account written, committed durably",
            "seed": SEED,
            **machine(),
        },
    )


async def link_online(size: int, stage: Stage) -> Measurement:
    """Link a stream of records from several processes and connections into an index of `size`."""
    with fresh_folder() as folder:
        async with fresh_platform(folder) as platform:
            later = await _filled(platform, size, _STREAM, stage)
            stage("linking")
            started = time.perf_counter()
            parts = await asyncio.gather(
                *(
                    elsewhere(_stream, platform.database.url, folder / "home" / "keys", later[n::_PROCESSES])
                    for n in range(_PROCESSES)
                )
            )
            seconds = time.perf_counter() - started
    busy = max(parts)
    return Measurement(
        value=round(len(later) / busy),
        unit="records a second, durable",
        conditions={
            "registrations": size,
            "records": len(later),
            "processes": _PROCESSES,
            "connections": _PROCESSES * _CONNECTIONS,
            "records_a_transaction": _BATCH,
            "seconds_with_start_of_processes": round(seconds, 1),
            "seed": SEED,
            **machine(),
        },
    )


async def _filled(platform: Platform, size: int, more: int, stage: Stage) -> list[Subject]:
    """Fill the index with `size` registrations and return `more` later ones."""
    stage(f"{size:,} registrations")
    made = await elsewhere(simulate_registrations, records=size + more, seed=SEED)
    table = made.table.drop_columns(["record"])
    stage("the index")
    keys, model = platform.keys, identity.default_model()
    linker = identity.Linker(keys, random=secrets.token_bytes, actor="bench")
    for start in range(0, size, 50_000):
        part = _claims(table.slice(start, min(50_000, size - start)))
        async with platform.database.transaction() as connection:
            await linker.link(connection, part, now=_NOW)
    while True:
        async with platform.database.transaction() as connection:
            done = await identity.match_newcomers(
                connection,
                keys=keys,
                model=model,
                actor="bench",
                now=_NOW,
                random=secrets.token_bytes,
                most=_CHUNK,
            )
        if not done.more:
            break
    return [_subject(row) for row in table.slice(size, more).to_pylist()]


def _claims(table: pa.Table) -> pa.Table:
    return table.set_column(
        table.column_names.index("birth_date"), "birth_date", table["birth_date"].cast(pa.date32())
    )


def _subject(row: dict[str, Any]) -> Subject:
    told = (
        (IdentifierKind.RESIDENT_NUMBER, None, row["resident_number"]),
        (IdentifierKind.DOCUMENT, row["document_type"], row["document_number"]),
        (IdentifierKind.LOCAL_NUMBER, row["institution"], row["local_number"]),
    )
    return Subject(
        institution=row["institution"] or "",
        identifiers=tuple(
            SubjectIdentifier(kind=kind, issuer=issuer, value=value) for kind, issuer, value in told if value
        ),
        name=row["name"],
        birth_date=row["birth_date"],
        sex=row["sex"],
        phone=row["phone"],
        address=row["address"],
    )


def _stream(url: str, keys: Path, subjects: Sequence[Subject]) -> float:
    return asyncio.run(_link_stream(url, keys, subjects))


async def _link_stream(url: str, folder: Path, subjects: Sequence[Subject]) -> float:
    keys = load_or_create(folder, random=secrets.token_bytes)
    identity.default_model()
    async with await Database.open(url, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as database:
        waiting = iter([subjects[at : at + _BATCH] for at in range(0, len(subjects), _BATCH)])

        async def work() -> None:
            for batch in waiting:
                await _link(database, keys, batch)

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(_CONNECTIONS)))
        return time.perf_counter() - started


async def _link(database: Database, keys: Any, subjects: Sequence[Subject]) -> None:
    await database.run(
        lambda connection: identity.link_claims(
            connection,
            keys=keys,
            claims=subjects,
            now=_NOW,
            origin=None,
            actor="bench",
            random=secrets.token_bytes,
            model=identity.default_model(),
        )
    )
