"""Synthetic messages for the tests of `intake.messages`: nobody in them exists, codes begin with 99."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kangshu.intake.messages import MessageFormat, MessageState, NewMessage, digest_of
from kangshu.kernel.texts import Text
from kangshu.security.principals import Principal, PrincipalKind, Reach, Role

HOSPITAL = "99010100000000010A1000"
OTHER = "99020100000000030A1000"
NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # 12:00 in the region
WHY = Text(zh="PID-3 必填", en="PID-3 must be filled in")


def adt(control_id: str = "1", *, name: str = "测试^甲", sender: str = HOSPITAL) -> bytes:
    """Return an admission of somebody who does not exist."""
    return (
        f"MSH|^~\\&|HIS|{sender}|KANGSHU|990000|20260302120000||ADT^A01|{control_id}|P|2.5.1\r"
        f"PID|1||P0001^^^{sender}||{name}||19800101|M\rPV1|1|I|内科^301^02\r"
    ).encode()


def new(control_id: str | None = "1", *, body: bytes | None = None, **more: Any) -> NewMessage:
    """Return a message to keep, accepted unless `more` says otherwise."""
    content = adt(control_id or "") if body is None else body
    made = NewMessage(
        sender=HOSPITAL,
        control_id=control_id,
        digest=digest_of(content),
        format=MessageFormat.HL7V2,
        type="ADT^A01",
        version="2.5.1",
        channel="mllp",
        received_at=NOON,
        received_by="machine:kc-test",
        state=MessageState.ACCEPTED,
        body=content,
        peer="192.0.2.7",
        persons=(12,),
        resources=2,
    )
    return replace(made, **more)


def refused(control_id: str | None = "1", **more: Any) -> NewMessage:
    """Return a message to keep that was refused."""
    return new(
        control_id,
        **{
            "state": MessageState.REFUSED,
            "place": "PID-3",
            "reason": WHY,
            "persons": (),
            "resources": 0,
            **more,
        },
    )


def staff(*roles: Role) -> Principal:
    """Return a synthetic member of the staff who reaches over the region."""
    return Principal(
        id="staff:test",
        name="测试员",
        kind=PrincipalKind.STAFF,
        roles=frozenset(roles),
        reaches=(Reach.region(),),
    )
