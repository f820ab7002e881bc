"""Who may read whose record for what, and that every answer is on record. All people are synthetic."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu import audit, directory
from kangshu.consent import (
    AccessGrant,
    AccessRefusedError,
    ConsentError,
    Purpose,
    ReasonMissingError,
    grant_read,
    purpose_title,
    purposes_for,
)
from kangshu.security.principals import SYSTEM, Permission, Principal, PrincipalKind, Reach, Role
from kangshu.storage.database import Connection, Database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
PERSON = 4711
REASON = "昏迷送诊，需核对过敏史"
Scenario = Callable[[Callable[[Connection], Awaitable[Any]]], Any]


class _Known:
    """Whereabouts of one person who was at two institutions."""

    async def institutions_of(self, connection: Connection, *, person: int) -> set[str]:
        return {"CITY", "TOWN"} if person == PERSON else set()


def _staff(role: Role, *reaches: str) -> Principal:
    return Principal(
        id="staff:someone",
        name="某人（虚构）",
        kind=PrincipalKind.STAFF,
        roles=frozenset({role}),
        reaches=tuple(Reach.parse(reach) for reach in reaches),
    )


def _machine(*scopes: str, institution: str = "CITY") -> Principal:
    return Principal(
        id="machine:kc-1",
        name="kc-1",
        kind=PrincipalKind.MACHINE,
        reaches=(Reach.institution(institution),),
        scopes=frozenset(scopes),
    )


async def _ask(connection: Connection, principal: Principal, purpose: Purpose, **changes: Any) -> AccessGrant:
    given_ = {"person": PERSON, "now": NOW, "whereabouts": _Known(), "reason": ""} | changes
    return await grant_read(connection, principal=principal, purpose=purpose, **given_)


@pytest.fixture
def on_connection(database_run) -> Scenario:
    """Run `async fn(connection)` with a directory of three institutions, outside a transaction."""

    def run_on_connection(work: Callable[[Connection], Awaitable[Any]]) -> Any:
        async def scenario(database: Database) -> Any:
            async with database.connection() as connection:
                places = {"CITY": "990102", "TOWN": "990103001", "OTHER": "990200"}
                rows = [
                    {"institution_code": code, "name": code, "division_code": division}
                    for code, division in places.items()
                ]
                await directory.load_institutions(connection, rows=rows)
                return await work(connection)

        return database_run(scenario)

    return run_on_connection


async def _entries(connection: Connection) -> list[Any]:
    return list(await audit.list_for_person(connection, person=PERSON, limit=10))


@pytest.mark.database
@pytest.mark.parametrize(
    ("principal", "purpose", "granted"),
    [
        (_staff(Role.CLINICIAN, "institution:CITY"), Purpose.TREATMENT, True),
        (_staff(Role.CLINICIAN, "department:TOWN/03.01"), Purpose.TREATMENT, True),
        (_staff(Role.CLINICIAN, "institution:OTHER"), Purpose.TREATMENT, False),
        (_staff(Role.CLINICIAN, "department:OTHER/03.01"), Purpose.TREATMENT, False),
        (_staff(Role.CLINICIAN, "institution:CITY"), Purpose.QUALITY, False),
        (_staff(Role.INSTITUTION_IT, "institution:TOWN"), Purpose.QUALITY, True),
        (_staff(Role.INSTITUTION_IT, "institution:OTHER"), Purpose.QUALITY, False),
        (_staff(Role.INSTITUTION_IT, "institution:TOWN"), Purpose.TREATMENT, False),
        (_staff(Role.CENTRE_STAFF, "region"), Purpose.ADMINISTRATION, True),
        (_staff(Role.CENTRE_STAFF, "division:990100"), Purpose.QUALITY, True),
        (_staff(Role.CENTRE_STAFF, "division:990103"), Purpose.RESIDENT_REQUEST, True),
        (_staff(Role.CENTRE_STAFF, "division:990200"), Purpose.QUALITY, False),
        (_staff(Role.CENTRE_STAFF, "region"), Purpose.TREATMENT, False),
        (_staff(Role.DESK, "institution:CITY"), Purpose.RESIDENT_REQUEST, True),
        (_staff(Role.DESK, "institution:OTHER"), Purpose.RESIDENT_REQUEST, False),
        (_staff(Role.AUDITOR, "region"), Purpose.ADMINISTRATION, False),
        (_staff(Role.ADMINISTRATOR, "region"), Purpose.ADMINISTRATION, False),
        (_staff(Role.STATISTICIAN, "region"), Purpose.QUALITY, False),
        (_staff(Role.CENTRE_STAFF), Purpose.QUALITY, False),
        (_machine("records.read"), Purpose.TREATMENT, True),
        (_machine("records.read", institution="OTHER"), Purpose.TREATMENT, False),
        (_machine("datasets.write"), Purpose.TREATMENT, False),
        (_machine("records.read"), Purpose.EMERGENCY, False),
        (SYSTEM, Purpose.ADMINISTRATION, True),
        (SYSTEM, Purpose.EMERGENCY, False),
    ],
)
def test_role_purpose_and_reach_decide_and_the_answer_is_on_record(
    on_connection: Scenario, principal: Principal, purpose: Purpose, granted: bool
):
    async def scenario(connection: Connection) -> tuple[bool, list[Any]]:
        try:
            grant = await _ask(connection, principal, purpose, reason=REASON)
        except AccessRefusedError:
            return False, await _entries(connection)
        assert (grant.principal, grant.person, grant.purpose) == (principal, PERSON, purpose)
        assert not grant.flagged
        return True, await _entries(connection)

    outcome, entries = on_connection(scenario)

    assert outcome == granted
    (entry,) = entries
    assert (entry.actor, entry.action, entry.purpose) == (principal.id, "person.read", purpose)
    assert entry.outcome == ("done" if granted else "refused")
    assert ("refused_for" in entry.detail) == (not granted)


@pytest.mark.database
def test_a_clinician_breaks_the_glass_with_a_reason_and_it_is_flagged(on_connection: Scenario):
    stranger = _staff(Role.CLINICIAN, "institution:OTHER")

    async def scenario(connection: Connection) -> list[Any]:
        grant = await _ask(connection, stranger, Purpose.EMERGENCY, reason=f"  {REASON}\n")
        assert grant.flagged
        return await _entries(connection)

    (entry,) = on_connection(scenario)

    assert dict(entry.detail) == {"emergency": True, "reason": REASON}
    assert (entry.institution, entry.outcome) == ("OTHER", "done")


@pytest.mark.database
@pytest.mark.parametrize("reason", ["", "   \n ", "急", "急" * 501])
def test_breaking_the_glass_without_a_proper_reason_is_refused_and_on_record(
    on_connection: Scenario, reason: str
):
    clinician = _staff(Role.CLINICIAN, "institution:OTHER")

    async def scenario(connection: Connection) -> list[Any]:
        with pytest.raises(ReasonMissingError):
            await _ask(connection, clinician, Purpose.EMERGENCY, reason=reason)
        return await _entries(connection)

    (entry,) = on_connection(scenario)

    assert entry.outcome == "refused"
    assert entry.detail["refused_for"] == "reason"
    assert entry.detail["emergency"] is True


@pytest.mark.database
def test_somebody_who_was_nowhere_is_within_the_regions_reach_only(on_connection: Scenario):
    async def scenario(connection: Connection) -> None:
        with pytest.raises(AccessRefusedError):
            await _ask(connection, _staff(Role.CENTRE_STAFF, "division:99"), Purpose.QUALITY, person=1)
        assert await _ask(connection, _staff(Role.CENTRE_STAFF, "region"), Purpose.QUALITY, person=1)

    on_connection(scenario)


@pytest.mark.database
def test_inside_a_transaction_nothing_is_decided(on_connection: Scenario):
    async def scenario(connection: Connection) -> None:
        async with connection.transaction():
            with pytest.raises(ValueError, match="outside a transaction"):
                await _ask(connection, SYSTEM, Purpose.ADMINISTRATION)

    on_connection(scenario)


@pytest.mark.database
def test_without_an_audit_entry_there_is_no_grant(on_connection: Scenario, monkeypatch: pytest.MonkeyPatch):
    from kangshu.consent import operations

    async def fail(*_: Any, **__: Any) -> None:
        raise OSError("the audit cannot be written")

    monkeypatch.setattr(operations, "record", fail)

    async def scenario(connection: Connection) -> None:
        with pytest.raises(OSError, match="audit"):
            await _ask(connection, SYSTEM, Purpose.ADMINISTRATION)

    on_connection(scenario)


@pytest.mark.database
def test_where_the_person_was_cannot_be_told_there_is_no_grant(on_connection: Scenario):
    class Broken:
        async def institutions_of(self, connection: Connection, *, person: int) -> set[str]:
            raise OSError("nobody can tell")

    async def scenario(connection: Connection) -> None:
        with pytest.raises(OSError, match="nobody can tell"):
            await _ask(
                connection,
                _staff(Role.CLINICIAN, "institution:CITY"),
                Purpose.TREATMENT,
                whereabouts=Broken(),
            )

    on_connection(scenario)


@pytest.mark.database
def test_no_error_names_the_person_or_the_places(on_connection: Scenario):
    async def scenario(connection: Connection) -> str:
        with pytest.raises(ConsentError) as refused:
            await _ask(connection, _staff(Role.CLINICIAN, "institution:OTHER"), Purpose.TREATMENT)
        return str(refused.value)

    text = on_connection(scenario)

    for word in (str(PERSON), "CITY", "TOWN", "OTHER"):
        assert word not in text


@pytest.mark.database
def test_a_grant_cannot_be_made_changed_or_carried_away(on_connection: Scenario):
    async def scenario(connection: Connection) -> None:
        grant = await _ask(connection, SYSTEM, Purpose.ADMINISTRATION)
        fields = {field.name: getattr(grant, field.name) for field in dataclasses.fields(grant)}

        with pytest.raises(TypeError, match="grant_read"):
            AccessGrant(**fields, authority=object())
        with pytest.raises(TypeError):
            AccessGrant(**fields)  # pyright: ignore[reportCallIssue] - that is the point
        with pytest.raises((TypeError, ValueError)):
            dataclasses.replace(grant, person=1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            grant.person = 1  # pyright: ignore[reportAttributeAccessIssue] - that is the point
        for carry in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="neither copied"):
                carry(grant)
        assert not hasattr(grant, "authority")

    on_connection(scenario)


@pytest.mark.database
def test_a_grant_is_for_one_person_and_half_an_hour(on_connection: Scenario):
    async def scenario(connection: Connection) -> AccessGrant:
        return await _ask(connection, SYSTEM, Purpose.ADMINISTRATION)

    grant = on_connection(scenario)

    grant.require(person=PERSON, now=NOW)
    grant.require(person=PERSON, now=NOW + timedelta(minutes=29))
    for person, moment in (
        (PERSON + 1, NOW),
        (PERSON, NOW + timedelta(minutes=30)),
        (PERSON, NOW - timedelta(seconds=1)),
    ):
        with pytest.raises(AccessRefusedError):
            grant.require(person=person, now=moment)


@given(
    roles=st.sets(st.sampled_from(Role)),
    scopes=st.sets(st.sampled_from(["records.read", "persons.find", "datasets.write"])),
    kind=st.sampled_from([PrincipalKind.STAFF, PrincipalKind.MACHINE]),
)
def test_nobody_is_offered_a_purpose_without_the_permission_behind_it(
    roles: set[Role], scopes: set[str], kind: PrincipalKind
):
    principal = Principal(
        id="x", name="x", kind=kind, roles=frozenset(roles), scopes=frozenset(scopes), reaches=()
    )

    purposes = purposes_for(principal)

    assert not purposes or principal.may(Permission.READ_RECORDS)
    assert Purpose.EMERGENCY not in purposes or principal.may(Permission.BREAK_GLASS)
    assert len(set(purposes)) == len(purposes)


def test_every_purpose_has_a_name():
    for purpose in Purpose:
        assert purpose_title(purpose).zh
        assert purpose_title(purpose).en
