"""Messages of a simulated hospital, and a lane that takes them in; nobody in them exists (division 99)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zlib import crc32

from app_world import World, open_world

from kangshu import records
from kangshu.app.messages.lane import MessageLane
from kangshu.app.messages.opening import open_lane
from kangshu.consent import Purpose, grant_read
from kangshu.intake.messages import MessageFormat, MessageResult
from kangshu.security.principals import Principal, PrincipalKind, Reach, Role

HOSPITAL = "99000101599010211A1001"
OTHER_HOSPITAL = "99000102699010211A1001"
RESIDENT = "990102196805121016"
NAME = "测试甲"


def header(kind: str, control_id: str, *, sender: str = HOSPITAL, version: str = "2.4") -> str:
    """Return MSH."""
    return (
        f"MSH|^~\\&|HIS|{sender}|KANGSHU|REGION|20260301083000||{kind}|{control_id}|P|{version}"
        "||||||UNICODE UTF-8"
    )


def patient(
    number: str = "P1",
    *,
    sender: str = HOSPITAL,
    resident: str = RESIDENT,
    name: str = NAME,
    birth: str = "19680512",
    sex: str = "M",
) -> str:
    """Return PID."""
    numbers = [f"{number}^^^{sender}^PI"]
    if resident:
        numbers.append(f"{resident}^^^^NI")
    return f"PID|1||{'~'.join(numbers)}||{name}||{birth}|{sex}"


def unlike(key: str) -> dict[str, str]:
    """Return name, birth and sex of a human whom nothing makes alike to those of other keys."""
    number = crc32(key.encode())
    characters = "安柏朝德恩方谷海江康林明宁平青若山棠文星雁云泽竹"
    name = "".join(characters[(number >> shift) % len(characters)] for shift in (0, 8, 16))
    born = date(1940, 1, 1) + timedelta(days=number % 25_000)
    return {"name": f"测{name}", "birth": f"{born:%Y%m%d}", "sex": "MF"[number >> 20 & 1]}


def visit(number: str = "V1", *, kind: str = "O", at: str = "20260301083000") -> str:
    """Return PV1."""
    return f"PV1|1|{kind}|0100||||D1^测试医生|||||||||||{'|'}{number}^^^^VN" + "|" * 25 + at


def admission(
    control_id: str, *, event: str = "A04", number: str = "P1", visit_number: str = "V1", **person: Any
) -> bytes:
    """Return an ADT."""
    sender = person.get("sender", HOSPITAL)
    lines = [
        header(f"ADT^{event}^ADT_A01", control_id, sender=sender),
        f"EVN|{event}|20260301083000",
        patient(number, **person),
        visit(visit_number),
        "DG1|1||I10^原发性高血压^I10||20260301083000|F",
    ]
    return _bytes(lines)


def report(
    control_id: str,
    *,
    status: str = "F",
    value: str = "7.30",
    number: str = "P1",
    filler: str = "L1",
    visit_number: str = "V1",
    **person: Any,
) -> bytes:
    """Return an ORU with one result; without a visit where that has no number."""
    sender = person.get("sender", HOSPITAL)
    lines = [
        header("ORU^R01^ORU_R01", control_id, sender=sender),
        patient(number, **person),
        *([visit(visit_number)] if visit_number else []),
        f"OBR|1||{filler}^LIS|LIPID^血脂|||20260301083000|||||||||||||||20260301093000||LAB|{status}",
        f"OBX|1|NM|14647-2^总胆固醇^LN|1|{value}|mmol/L|2.80-5.20|H|||{status}|||20260301093000",
    ]
    return _bytes(lines)


def merge(control_id: str, *, survivor: str, absorbed: str, sender: str = HOSPITAL, **person: Any) -> bytes:
    """Return an A40."""
    lines = [
        header("ADT^A40^ADT_A39", control_id, sender=sender),
        "EVN|A40|20260301083000",
        patient(survivor, sender=sender, **person),
        f"MRG|{absorbed}^^^{sender}^PI",
    ]
    return _bytes(lines)


def _bytes(lines: Sequence[str]) -> bytes:
    return ("\r".join(lines) + "\r").encode()


def reader(institution: str = HOSPITAL) -> Principal:
    """Return a clinician of an institution."""
    return Principal(
        id="staff:test",
        name="测试医生",
        kind=PrincipalKind.STAFF,
        roles=frozenset({Role.CLINICIAN}),
        reaches=(Reach.institution(institution),),
    )


@dataclass(frozen=True)
class MessageWorld:
    """A platform and its lane."""

    world: World
    lane: MessageLane

    def take(self, body: bytes, *, format: MessageFormat | None = None, **more: Any) -> MessageResult:  # noqa: A002
        """Take one message in."""
        return self.world.run(
            lambda: self.lane.take(body=body, format=format, channel="test", principal=None, **more)
        )

    def read(self, reference: str) -> dict[str, Any]:
        """Return a stored resource, read by a clinician of the hospital."""
        from kangshu.standards import fhir

        kind, _, identity = reference.partition("/")

        async def scenario() -> dict[str, Any]:
            now = self.world.platform.clock.now()
            async with self.world.platform.database.connection() as connection:
                (sealed,) = await records.read_many(connection, requests=[(kind, identity)])
                assert sealed is not None
                grant = None
                if sealed.person is not None:
                    grant = await grant_read(
                        connection,
                        principal=reader(sealed.institution),
                        person=sealed.person,
                        purpose=Purpose.TREATMENT,
                        now=now,
                        whereabouts=_Everywhere(sealed.institution),
                    )
                return fhir.loads(sealed.open(grant=grant, now=now))

        return self.world.run(scenario)

    @property
    def everywhere(self) -> _Everywhere:
        """Whereabouts that know everybody at the hospital."""
        return _Everywhere(HOSPITAL)

    def of_type(self, result: MessageResult, kind: str) -> list[str]:
        """Return the resources of a type that a message made."""
        return [one for one in result.resources if one.startswith(f"{kind}/")]


class _Everywhere:
    def __init__(self, institution: str) -> None:
        self._institution = institution

    async def institutions_of(self, connection: object, *, person: int) -> set[str]:
        del connection, person
        return {self._institution}


@contextmanager
def open_message_world(server_url: str) -> Iterator[MessageWorld]:
    """Open a platform with an empty index and its lane."""
    with open_world(server_url) as world:
        yield MessageWorld(world=world, lane=open_lane(world.platform))
