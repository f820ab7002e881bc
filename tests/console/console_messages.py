"""Synthetic messages for the tests of the console: nobody in them exists, codes begin with 99."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from console_world import HOSPITAL, NOW

from kangshu.app.platform import Platform
from kangshu.intake.messages import (
    MessageFormat,
    MessageState,
    NewMessage,
    ReplayOutcome,
    digest_of,
    record_messages,
)
from kangshu.kernel.texts import Text
from kangshu.security.principals import Principal

WHY = Text(zh="患者标识必填", en="a patient identifier is required")


def message(number: int, *, sender: str = HOSPITAL, **more: Any) -> NewMessage:
    """Return a synthetic message; nobody in it exists."""
    body = (
        f"MSH|^~\\&|HIS|{sender}|KANGSHU||20260318101500||ADT^A01|K{number}|P|2.5.1\r"
        f"PID|1||P{number:06d}^^^{sender}||虚构^人物{number}||19800101|M\rPV1|1|I|内科^301\r"
    ).encode()
    made = NewMessage(
        sender=sender,
        control_id=f"K{number}",
        digest=digest_of(body),
        format=MessageFormat.HL7V2,
        type="ADT^A01",
        version="2.5.1",
        channel="mllp",
        received_at=NOW - timedelta(minutes=number),
        received_by="machine:kc-test",
        state=MessageState.ACCEPTED,
        body=body,
        application="HIS",
        peer="192.0.2.7",
        persons=(41,),
        resources=3,
    )
    return replace(made, **more)


def refused(number: int, **more: Any) -> NewMessage:
    """Return a synthetic message that was refused."""
    told = {"state": MessageState.REFUSED, "place": "PID-3", "reason": WHY, "persons": (), "resources": 0}
    return message(number, **{**told, **more})


async def keep(platform: Platform, *messages: NewMessage) -> list[int]:
    """Keep messages and return their numbers."""
    async with platform.database.transaction() as connection:
        return await record_messages(connection, messages=messages)


class Replayer:
    """Remembers what it was asked to try again, and accepts every second one."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.by: list[str] = []

    async def __call__(self, *, messages: Sequence[int], principal: Principal) -> ReplayOutcome:
        self.asked.append(list(messages))
        self.by.append(principal.id)
        return ReplayOutcome(accepted=(len(messages) + 1) // 2, refused=len(messages) // 2)


def live_messages(now: datetime) -> list[NewMessage]:
    """Return what a hospital sent in the last hours: mostly good, some refused, one in conflict."""
    long_line = "OBX|1|TX|18748-4^影像诊断^LN||" + "虚构的检查所见，" * 120 + "||||||F"
    made = [
        message(1, received_at=now),
        refused(2, received_at=now - timedelta(minutes=3)),
        refused(
            3,
            received_at=now - timedelta(hours=1),
            type="ORU^R01",
            place="OBX[1]-5",
            body=message(3).body + long_line.encode() + b"\r",
        ),
        message(
            4,
            received_at=now - timedelta(hours=2),
            state=MessageState.CONFLICT,
            place="MSH-10",
            reason=WHY,
        ),
        refused(
            5,
            received_at=now - timedelta(hours=3),
            format=MessageFormat.FHIR,
            type="Bundle/transaction",
            place="Bundle.entry[3].resource.birthDate",
            control_id="urn:uuid:7a2f0c52-6f8f-4b62-9a2c-0d4c8a5a1b11",
            channel="http",
            body=b'{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}]}',
        ),
    ]
    return made + [message(number, received_at=now - timedelta(hours=number)) for number in range(6, 40)]
