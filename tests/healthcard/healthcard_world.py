"""People and offices for the tests of health cards.

All people are made up: their division codes (99xxxx) exist nowhere.
"""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

from kangshu import healthcard
from kangshu.healthcard import Application, Caller, Card, Office, ScanRequest, Way
from kangshu.standards.identifiers import resident_check_digit
from kangshu.storage.database import Connection

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
HOSPITAL = "990000000000000000A101"
OTHER_HOSPITAL = "990000000000000000A102"
WINDOW = Caller(actor="machine:a", actor_name="甲院窗口", institution=HOSPITAL, terminal="W01", role="window")
OTHER = Caller(
    actor="machine:b", actor_name="乙院窗口", institution=OTHER_HOSPITAL, terminal="W01", role="terminal"
)
HOLDER = Caller(actor="app", actor_name="小程序", role="terminal")


def number_of(serial: int, *, born: date = date(1990, 3, 7)) -> str:
    """Return a well-formed resident number of a division that does not exist."""
    first = f"990101{born:%Y%m%d}{serial:03d}"
    return first + resident_check_digit(first)


def fixed_random() -> Any:
    """Return a source of bytes that are never equal and always the same."""
    blocks = itertools.count(1)

    def random(length: int) -> bytes:
        return (next(blocks).to_bytes(8) * (length // 8 + 1))[:length]

    return random


async def office_of(connection: Connection, keys: Any, **changes: Any) -> Office:
    """Open an office; `changes` replace settings."""
    from dataclasses import replace

    settings = replace(healthcard.load_settings(), **changes)
    return await healthcard.open_office(
        connection, keys=keys, settings=settings, random=fixed_random(), now=NOW
    )


def adult(serial: int = 1, *, name: str = "测试甲", **more: Any) -> Application:
    """Return the application of somebody of 35 years."""
    values: dict[str, Any] = {
        "name": name,
        "document_type": "01",
        "document_number": number_of(serial),
        "phone": "19900001234",
        "way": Way.WINDOW,
        **more,
    }
    return Application(**values)


def child(serial: int = 1, *, born: date = date(2020, 5, 1), **more: Any) -> Application:
    """Return the application of somebody of five years."""
    return Application(
        name="测试小童",
        document_type="01",
        document_number=number_of(serial, born=born),
        way=Way.ONLINE,
        **more,
    )


async def register(
    connection: Connection, office: Office, application: Application, *, now: datetime = NOW
) -> Card:
    """Return the card of an application."""
    found = await healthcard.register_card(
        connection, office=office, application=application, caller=WINDOW, now=now
    )
    return found.card


async def dynamic(connection: Connection, office: Office, card: int, *, now: datetime = NOW) -> str:
    """Return the text of a dynamic code."""
    code = await healthcard.issue_code(connection, office=office, card=card, caller=HOLDER, now=now)
    return code.text


async def scan(
    connection: Connection,
    office: Office,
    text: str,
    *,
    caller: Caller = WINDOW,
    scene: str = "register",
    now: datetime = NOW + timedelta(seconds=5),
) -> healthcard.Scan:
    """Return what a code comes to."""
    return await healthcard.scan(
        connection, office=office, request=ScanRequest(text=text, scene=scene, caller=caller), now=now
    )


class FixedClockOf:
    """A clock that shows one moment."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment
