"""The peak of a province: residents ask for their dynamic code, 7 million times an hour, over HTTP.

`--size` is the number of requests: they come at 1,944 a second, so 583,200 are the five minutes of the goal.
Every request is signed, its nonce is spent in the database, the code is made and the audit entry committed
durably before the answer leaves. The clients run in a process of their own on the same machine.
"""

from __future__ import annotations

import secrets

from kangshu import audit
from kangshu.app.benchmarks.model import Measurement, Stage, percentiles
from kangshu.app.benchmarks.peak_client import PeakLoad, PeakServed, drive_peak
from kangshu.app.benchmarks.surroundings import Use, Watch, elsewhere, fresh_folder, fresh_platform, machine
from kangshu.app.cards import Offices
from kangshu.app.memory import spare_collector
from kangshu.app.messages.opening import open_lane
from kangshu.app.platform import Platform
from kangshu.app.serving import background, serving
from kangshu.healthcard import (
    Application,
    Caller,
    Code,
    CodeKind,
    Office,
    Way,
    issue_codes,
    register_cards,
)
from kangshu.security import operations as security
from kangshu.security import signing_keys
from kangshu.standards.identifiers import resident_check_digit

RATE = 7_000_000 / 3600
_CARDS = 10_000
_AT_ONCE = 5_000
_CONNECTIONS = 64
_APPS = 4
_OPERATOR = "99000000000000099A1000"
"""The fictional operator of the provincial app."""


async def result_peak(size: int, stage: Stage) -> Measurement:
    """Ask for dynamic codes at the rate of the peak hour."""
    with fresh_folder() as folder:
        async with fresh_platform(folder) as platform:
            office = await Offices(platform)()
            stage(f"{_CARDS:,} cards")
            cards = await _cards(platform, office)
            keys = [await _key(platform) for _ in range(_APPS)]
            before = await _audited(platform)
            spare_collector()
            stage(f"{size:,} requests")
            async with background(platform), serving(platform, open_lane(platform), port=0) as port:
                load = PeakLoad(
                    port=port,
                    keys=keys,
                    cards=cards,
                    requests=size,
                    rate=RATE,
                    connections=_CONNECTIONS,
                )
                with Watch(platform.home) as watch:
                    served = await elsewhere(drive_peak, load)
            assert watch.use is not None, "the watch has ended"
            stage("audit chain")
            audited = await _audited(platform) - before
    return _measurement(served, watch.use, audited=audited, requests=size)


async def _cards(platform: Platform, office: Office) -> list[str]:
    """Register fictional residents and return the ids of their cards."""
    caller = Caller(actor="system", actor_name="benchmark")
    ids: list[str] = []
    for start in range(0, _CARDS, _AT_ONCE):
        applications = [_application(number) for number in range(start, start + _AT_ONCE)]
        now = platform.clock.now()
        async with platform.database.transaction() as connection:
            batch = await register_cards(
                connection, office=office, applications=applications, caller=caller, now=now
            )
            made = [(number, CodeKind.STATIC, caller) for number in batch.cards if number is not None]
            codes = await issue_codes(connection, office=office, requests=made, now=now)
        for code in codes:
            assert isinstance(code, Code), "every fictional resident has a card"
            ids.append(code.text.partition(":")[0])
    return ids


def _application(number: int) -> Application:
    """Return a fictional resident: divisions 99xxxx exist nowhere."""
    born = f"{1950 + number // 1000 % 50}{number // 83 % 12 + 1:02d}{number % 28 + 1:02d}"
    head = f"990101{born}{number % 1000:03d}"
    return Application(
        name=f"测试{number}",
        document_type="01",
        document_number=head + resident_check_digit(head),
        way=Way.ONLINE,
    )


async def _key(platform: Platform) -> tuple[str, str]:
    now = platform.clock.now()
    async with platform.database.transaction() as connection:
        client_id, _ = await security.create_client(
            connection, institution=_OPERATOR, scopes=["cards.hold"], now=now, random=secrets.token_bytes
        )
        return await signing_keys.make_signing_key(
            connection, keys=platform.keys, client_id=client_id, now=now, random=secrets.token_bytes
        )


async def _audited(platform: Platform) -> int:
    """Return how many entries the audit chain holds, after walking it."""
    walked = await audit.verify(
        platform.database, keys=platform.keys, anchor=platform.anchor, now=platform.clock.now()
    )
    assert walked.intact, "the chain of the benchmark is whole"
    return walked.entries


def _measurement(served: PeakServed, use: Use, *, audited: int, requests: int) -> Measurement:
    done = len(served.milliseconds)
    failures = requests - served.statuses.get(200, 0)
    return Measurement(
        value=round(done / served.elapsed, 1),
        unit="requests/s",
        **percentiles(served.milliseconds),
        peak_mib=use.peak_mib,
        conditions={
            "percentiles": "ms from the moment a request was due to its answer, measured by the client",
            "asked_per_second": round(RATE, 1),
            "seconds": round(served.elapsed, 1),
            "requests": requests,
            "errors": failures,
            "statuses": {str(status): count for status, count in served.statuses.items()},
            "sent_late_by_client": served.late,
            "connections": _CONNECTIONS,
            "signing_keys": _APPS,
            "cards": _CARDS,
            "audit_entries": audited,
            "client_cpu_us_each": round(served.cpu_seconds / done * 1e6),
            "cpu_us_each": round(use.cpu_seconds / done * 1e6),
            "server_cpu_us_each": round(use.server_cpu_seconds / done * 1e6),
            "server_peak_mib": use.server_peak_mib,
            "commit": "durable with its audit entry; database and client on the same machine",
            **machine(),
        },
    )
