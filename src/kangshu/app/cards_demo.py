"""Health cards in the demonstration: residents' cards, bound codes, families, scans and a month of uses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from kangshu import directory
from kangshu.app.cards import Offices
from kangshu.app.platform import Platform
from kangshu.healthcard import (
    Application,
    Caller,
    CodeKind,
    Office,
    ScanRequest,
    Use,
    Way,
    bind_code,
    issue_codes,
    record_uses,
    register_card,
    register_cards,
    report_loss,
    scan_all,
)
from kangshu.intake import ZONE
from kangshu.security.principals import Reach
from kangshu.standards.identifiers import resident_check_digit
from kangshu.storage.database import Connection

_CARDS = 600
_CLAIMED_SHARE = 0.76
_DAYS = 30
_INSTITUTIONS = 14
_SEED = 5
_STEPS = ("register", "consult", "examine", "collect", "pay")
_BATCH = 400
_SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许"
_GIVEN = ("明", "静怡", "建国", "丽华", "子轩", "秀英", "伟", "芳", "一诺", "浩然", "桂兰", "志强")


async def make_cards(platform: Platform) -> int:
    """Make cards and uses of fictional residents once; return how many cards there are now.

    The same seed tells the same story. Institutions differ: the first use the card in every scene, the last
    in one or two and often without it.
    """
    office = await Offices(platform)()
    now = platform.clock.now()
    async with platform.database.connection() as connection:
        found = await directory.list_institutions(connection, within=[Reach.region()], limit=200)
    places = [one.code for one in sorted(found, key=lambda one: (-(one.beds or 0), one.code))]
    places = places[:_INSTITUTIONS]
    if not places:
        return 0
    chance = np.random.default_rng(_SEED)
    applications = [_application(number, chance) for number in range(_CARDS)]
    async with platform.database.transaction() as connection:
        batch = await register_cards(
            connection,
            office=office,
            applications=applications,
            caller=_caller(None),
            now=now - timedelta(days=2 * _DAYS),
        )
        if batch.created == 0:
            return batch.existing
        cards = [card for card in batch.cards if card is not None]
        claimed = cards[: int(len(cards) * _CLAIMED_SHARE)]
        await _claim(connection, office, applications[: len(claimed)], places, now)
        await _bind(connection, office, claimed, now)
        await _use(connection, office, claimed, places, now, chance)
        await _scan(connection, office, claimed, places, now)
    return len(cards)


async def _claim(
    connection: Connection,
    office: Office,
    applications: Sequence[Application],
    places: Sequence[str],
    now: datetime,
) -> None:
    for number, application in enumerate(applications):
        at = now - timedelta(days=number % _DAYS, minutes=number % 400)
        await register_card(
            connection,
            office=office,
            application=Application(
                name=application.name,
                document_type=application.document_type,
                document_number=application.document_number,
                phone=application.phone,
                way=(Way.ONLINE, Way.WINDOW, Way.MACHINE)[number % 3],
            ),
            caller=_caller(places[number % len(places)]),
            now=at,
        )


async def _bind(connection: Connection, office: Office, cards: Sequence[int], now: datetime) -> None:
    for number, card in enumerate(cards):
        for place, system in enumerate(("insurance", "social-security")):
            if number % (2 + 3 * place) == 0:
                await bind_code(
                    connection,
                    office=office,
                    card=card,
                    system=system,
                    value=f"99{place}{number:09d}",
                    caller=_caller(None),
                    now=now,
                )


async def _use(
    connection: Connection,
    office: Office,
    cards: Sequence[int],
    places: Sequence[str],
    now: datetime,
    chance: np.random.Generator,
) -> None:
    """Tell a month of visits; more in the week than at its end."""
    zone = ZoneInfo(ZONE)
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    for rank, place in enumerate(places):
        steps = _STEPS[: max(1, len(_STEPS) - rank // 3)]
        uses: list[Use] = []
        for back in range(_DAYS):
            day = midnight - timedelta(days=back)
            visits = max(1, (18 - rank) // (3 if day.weekday() > 4 else 1))
            for visit in range(visits):
                begun = day + timedelta(hours=8, minutes=int(chance.integers(0, 480)))
                off_card = chance.random() < 0.03 + rank * 0.025
                card = cards[int(chance.integers(0, len(cards)))]
                uses += [
                    Use(
                        scene=scene,
                        used_at=begun + timedelta(minutes=25 * step),
                        card=card,
                        order_number=f"D{rank}-{back}-{visit}",
                        medium="99" if off_card and step else "11",
                    )
                    for step, scene in enumerate(steps)
                    if begun + timedelta(minutes=25 * step) < now
                ]
        for start in range(0, len(uses), _BATCH):
            await record_uses(
                connection,
                office=office,
                uses=uses[start : start + _BATCH],
                caller=_caller(place),
                now=now,
            )


async def _scan(
    connection: Connection, office: Office, cards: Sequence[int], places: Sequence[str], now: datetime
) -> None:
    """Scan codes, some of them over, lost, used elsewhere or made up."""
    shown, begun = cards[:120], now - timedelta(minutes=30)
    codes = await issue_codes(
        connection,
        office=office,
        requests=[(card, CodeKind.DYNAMIC, _caller(None)) for card in shown],
        now=begun,
    )
    texts = [getattr(code, "text", "") for code in codes]
    await report_loss(
        connection, office=office, card=shown[-1], reason="手机遗失", caller=_caller(places[0]), now=begun
    )
    requests = [
        ScanRequest(text=text, scene=_STEPS[number % 4], caller=_caller(places[number % len(places)]))
        for number, text in enumerate(texts)
    ]
    elsewhere = [ScanRequest(text=text, scene="register", caller=_caller(places[-1])) for text in texts[:9]]
    made_up = [
        ScanRequest(text=f"{number:064X}:1", scene="register", caller=_caller(places[1]))
        for number in range(4)
    ]
    await scan_all(connection, office=office, requests=requests, now=begun)
    await scan_all(connection, office=office, requests=[*elsewhere, *made_up], now=begun)
    late = begun + timedelta(seconds=office.settings.dynamic_seconds + 1)
    await scan_all(connection, office=office, requests=requests[20:32], now=late)


def _caller(institution: str | None) -> Caller:
    return Caller(
        actor="system", actor_name="demonstration", institution=institution, terminal="W1", role="window"
    )


def _application(number: int, chance: np.random.Generator) -> Application:
    """Return a grown-up fictional resident; divisions 99xxxx exist nowhere."""
    born = f"{1945 + number % 60}{number % 12 + 1:02d}{number % 28 + 1:02d}"
    head = f"990101{born}{number:03d}"
    surname = _SURNAMES[int(chance.integers(0, len(_SURNAMES)))]
    return Application(
        name=surname + _GIVEN[int(chance.integers(0, len(_GIVEN)))],
        document_type="01",
        document_number=head + resident_check_digit(head),
        phone=f"199{number:08d}",
        way=Way.BATCH,
    )
