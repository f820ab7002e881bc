"""How fast health cards are scanned and made: a durable database, sealed rows, every act audited.

`--size` of `card-scan` is the number of cards there are; of `card-batch` the number that is made.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import date, timedelta

from kangshu import healthcard
from kangshu.app.benchmarks.model import Measurement, Stage, percentiles
from kangshu.app.benchmarks.surroundings import Watch, fresh_folder, fresh_platform, machine
from kangshu.app.platform import Platform
from kangshu.healthcard import Application, Caller, Code, CodeKind, Office, ScanDesk, ScanRequest, Way
from kangshu.standards.identifiers import resident_check_digit

_CONNECTIONS = 8
_SCANS_MOST = 50_000
_CODES = 1000
_CHUNK = 5000
_CALLER = Caller(
    actor="machine:benchmark",
    actor_name="benchmark",
    institution="990000000000000000A101",
    terminal="W01",
    role="window",
)
_FIRST_DAY = date(1940, 1, 1)


async def card_scan(size: int, stage: Stage) -> Measurement:
    """Scan fresh dynamic codes from eight connections, each waiting for its answer before the next."""
    with fresh_folder() as folder:
        async with fresh_platform(folder) as platform:
            office = await _office(platform)
            stage("cards")
            cards = await _make(platform, office, size, way=Way.WINDOW)
            stage("codes")
            made = time.perf_counter()
            texts = await _codes(platform, office, cards[:_SCANS_MOST])
            made = time.perf_counter() - made
            warm = len(texts) // 10
            desk = ScanDesk(platform.database, office=office, clock=platform.clock)
            stage("scans")
            await _scans(desk, texts[:warm])
            with Watch(platform.home) as watch:
                started = time.perf_counter()
                times = await _scans(desk, texts[warm:])
                seconds = time.perf_counter() - started
            await desk.close()
            async with platform.database.connection() as connection:
                figures = await healthcard.figures(
                    connection,
                    settings=office.settings,
                    since=platform.clock.now() - timedelta(days=1),
                    until=platform.clock.now() + timedelta(days=1),
                )
    assert watch.use is not None, "the watch has ended"
    assert not figures.refused_scans, "every scan of the benchmark is accepted"
    found = percentiles(times)
    return Measurement(
        value=round(len(times) / seconds),
        unit="scans/s",
        peak_mib=watch.use.peak_mib,
        conditions={
            "cards": len(cards),
            "connections": _CONNECTIONS,
            "scans": len(times),
            "scan": "a dynamic code of another card each time: decrypted, its use marked, merges followed, "
            "the holder opened and masked, audit written, committed durably; in the process, no network",
            **{f"{name}_ms": value for name, value in found.items()},
            "codes_made_per_second": round(len(texts) / made),
            "cpu_seconds": round(watch.use.cpu_seconds, 1),
            "server_cpu_seconds": round(watch.use.server_cpu_seconds, 1),
            **machine(),
        },
    )


async def card_batch(size: int, stage: Stage) -> Measurement:
    """Make the cards of a list of people whom nobody knows yet: persons linked, cards sealed, committed."""
    with fresh_folder() as folder:
        async with fresh_platform(folder) as platform:
            office = await _office(platform)
            stage("list")
            applications = _applications(size, way=Way.BATCH)
            stage("cards")
            with Watch(platform.home) as watch:
                started = time.perf_counter()
                await _register(platform, office, applications)
                seconds = time.perf_counter() - started
            stage("again")
            again = time.perf_counter()
            await _register(platform, office, applications)
            again = time.perf_counter() - again
    assert watch.use is not None, "the watch has ended"
    return Measurement(
        value=round(size / seconds),
        unit="cards/s",
        peak_mib=watch.use.peak_mib,
        conditions={
            "cards": size,
            "transaction": f"{_CHUNK} cards each, durable",
            "people": "unknown to the person index before",
            "again_per_second": round(size / again),
            "cpu_seconds": round(watch.use.cpu_seconds, 1),
            "server_cpu_seconds": round(watch.use.server_cpu_seconds, 1),
            **machine(),
        },
    )


async def _office(platform: Platform) -> Office:
    async with platform.database.transaction() as connection:
        return await healthcard.open_office(
            connection,
            keys=platform.keys,
            settings=healthcard.load_settings(),
            random=secrets.token_bytes,
            now=platform.clock.now(),
        )


async def _make(platform: Platform, office: Office, size: int, *, way: Way) -> list[int]:
    return await _register(platform, office, _applications(size, way=way))


async def _register(platform: Platform, office: Office, applications: Sequence[Application]) -> list[int]:
    cards: list[int] = []
    for start in range(0, len(applications), _CHUNK):
        async with platform.database.transaction() as connection:
            batch = await healthcard.register_cards(
                connection,
                office=office,
                applications=applications[start : start + _CHUNK],
                caller=_CALLER,
                now=platform.clock.now(),
            )
        assert not batch.problems, "every row of the benchmark is right"
        cards += [card for card in batch.cards if card is not None]
    return cards


def _applications(size: int, *, way: Way) -> list[Application]:
    return [
        Application(
            name=f"测试{_character(number)}{_character(number * 7 + 1)}",
            document_type="01",
            document_number=_number(number),
            phone=f"199{number % 100_000_000:08d}",
            way=way,
        )
        for number in range(size)
    ]


def _character(number: int) -> str:
    return chr(0x4E00 + number % 20_000)


def _number(number: int) -> str:
    day = _FIRST_DAY + timedelta(days=number % 20_000)
    first = f"99{number // 20_000 % 10_000:04d}{day:%Y%m%d}{number // 200_000_000 % 1000:03d}"
    return first + resident_check_digit(first)


async def _codes(platform: Platform, office: Office, cards: Sequence[int]) -> list[str]:
    """Return a fresh dynamic code of each card; they last longer than the benchmark."""
    texts: list[str] = []
    for start in range(0, len(cards), _CODES):
        requests = [(card, CodeKind.DYNAMIC, _CALLER) for card in cards[start : start + _CODES]]
        async with platform.database.transaction() as connection:
            codes = await healthcard.issue_codes(
                connection, office=office, requests=requests, now=platform.clock.now()
            )
        texts += [code.text for code in codes if isinstance(code, Code)]
    return texts


async def _scans(desk: ScanDesk, texts: Sequence[str]) -> list[float]:
    """Return the milliseconds of every scan."""
    times: list[float] = []
    waiting = iter(texts)

    async def terminal() -> None:
        for text in waiting:
            started = time.perf_counter()
            found = await desk.scan(ScanRequest(text=text, scene="register", caller=_CALLER))
            times.append((time.perf_counter() - started) * 1000)
            assert found.refusal is None, "a fresh code is accepted"

    await asyncio.gather(*(terminal() for _ in range(_CONNECTIONS)))
    return times
