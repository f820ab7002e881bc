"""Resources to store in tests, and ways to store them; every person here is a number and nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from kangshu.consent import AccessGrant, Purpose, grant_read
from kangshu.records import Stored, Write, store
from kangshu.security.principals import SYSTEM
from kangshu.storage.database import Connection, Database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
LOINC = "http://loinc.org"
CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"
NUMBERS = "urn:kangshu:institution:H1:visit"


def visit(**more: Any) -> dict[str, Any]:
    """An outpatient visit."""
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "period": {"start": "2026-03-01T09:00:00+08:00", "end": "2026-03-01T09:20:00+08:00"},
    } | more


def result(number: int = 62, *, code: str = "1742-6", day: str = "2026-03-01", **more: Any) -> dict[str, Any]:
    """A laboratory result."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": CATEGORIES, "code": "laboratory"}]}],
        "code": {"coding": [{"system": LOINC, "code": code}], "text": "丙氨酸氨基转移酶"},
        "effectiveDateTime": f"{day}T10:00:00+08:00",
        "valueQuantity": {"value": number, "unit": "U/L"},
        "referenceRange": [{"low": {"value": 9}, "high": {"value": 50}}],
    } | more


def put(resource: dict[str, Any], id: str = "a", **more: Any) -> Write:  # noqa: A002
    """The write of a resource about person 1, from H1."""
    usual: dict[str, Any] = {"person": 1, "institution": "H1", "message": None}
    return Write(type=resource["resourceType"], id=id, resource=resource, **(usual | more))


def remove(type: str, id: str = "a", **more: Any) -> Write:  # noqa: A002
    """The deletion of a resource."""
    usual: dict[str, Any] = {"person": None, "institution": "H1", "message": None}
    return Write(type=type, id=id, resource={}, action="delete", **(usual | more))


async def keep(database: Database, *writes: Write, now: datetime = NOW) -> list[Stored]:
    """Store the writes in a transaction of their own."""
    async with database.transaction() as connection:
        return await store(connection, writes=writes, now=now)


async def granted(connection: Connection, person: int = 1, *, now: datetime = NOW) -> AccessGrant:
    """A grant for the system itself."""

    class Nowhere:
        async def institutions_of(self, connection: Connection, *, person: int) -> set[str]:
            return set()

    return await grant_read(
        connection,
        principal=SYSTEM,
        person=person,
        purpose=Purpose.ADMINISTRATION,
        now=now,
        whereabouts=Nowhere(),
    )


def outcomes(stored: Sequence[Stored]) -> list[tuple[str, int]]:
    """What became of the writes, in short."""
    return [(one.outcome.value, one.version) for one in stored]
