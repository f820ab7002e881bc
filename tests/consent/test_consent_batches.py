"""Many requests to read, decided at once as they would be one by one. All people are synthetic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kangshu import audit, directory
from kangshu.consent import (
    AccessGrant,
    AccessRefusedError,
    ConsentError,
    Purpose,
    ReadRequest,
    WhereaboutsUnknownError,
    grant_read,
    grant_reads,
)
from kangshu.kernel.errors import KangshuError
from kangshu.kernel.texts import Text
from kangshu.security.principals import SYSTEM, Principal, PrincipalKind, Reach, Role
from kangshu.storage.database import Connection, Database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
_PLACES = {"CITY": "990102", "TOWN": "990103001", "OTHER": "990200"}
_WHERE = {1: {"CITY", "TOWN"}, 2: {"OTHER"}, 3: set[str]()}


class _Known:
    """Whereabouts of three persons; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def institutions_of(self, connection: Connection, *, person: int) -> set[str]:
        self.asked.append(person)
        if person == 4:
            raise KangshuError(Text(zh="文件丢失", en="a file is lost"))
        return _WHERE.get(person, set())


def _staff(role: Role, *reaches: str) -> Principal:
    return Principal(
        id=f"staff:{role}",
        name="某人（虚构）",
        kind=PrincipalKind.STAFF,
        roles=frozenset({role}),
        reaches=tuple(Reach.parse(reach) for reach in reaches),
    )


CLINICIAN = _staff(Role.CLINICIAN, "institution:CITY")
_PRINCIPALS = (
    CLINICIAN,
    _staff(Role.CLINICIAN, "institution:OTHER"),
    _staff(Role.CENTRE_STAFF, "division:990103"),
    _staff(Role.CENTRE_STAFF, "region"),
    _staff(Role.AUDITOR, "region"),
    SYSTEM,
)


def _ask(person: int, **more: Any) -> ReadRequest:
    return ReadRequest(**({"principal": CLINICIAN, "person": person, "purpose": Purpose.TREATMENT} | more))


@pytest.fixture
def on_connection(database_run) -> Callable[[Callable[[Connection], Awaitable[Any]]], Any]:
    """Run `async fn(connection)` with a directory of three institutions, outside a transaction."""

    def run_on_connection(work: Callable[[Connection], Awaitable[Any]]) -> Any:
        async def scenario(database: Database) -> Any:
            async with database.connection() as connection:
                rows = [
                    {"institution_code": code, "name": code, "division_code": division}
                    for code, division in _PLACES.items()
                ]
                await directory.load_institutions(connection, rows=rows)
                return await work(connection)

        return database_run(scenario)

    return run_on_connection


@pytest.mark.database
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(
        st.tuples(
            st.sampled_from(_PRINCIPALS),
            st.integers(min_value=1, max_value=3),
            st.sampled_from(Purpose),
            st.sampled_from(["", "昏迷送诊，需核对过敏史"]),
        ),
        max_size=12,
    )
)
def test_many_are_decided_as_one_by_one_and_leave_the_same_trace(on_connection, asked):
    requests = [
        ReadRequest(principal=principal, person=person, purpose=purpose, reason=reason)
        for principal, person, purpose, reason in asked
    ]

    async def alone(connection: Connection, request: ReadRequest) -> AccessGrant | ConsentError:
        try:
            return await grant_read(
                connection,
                principal=request.principal,
                person=request.person,
                purpose=request.purpose,
                reason=request.reason,
                now=NOW,
                whereabouts=_Known(),
            )
        except ConsentError as refused:
            return refused

    async def trace(connection: Connection, since: int) -> list[Any]:
        rows = await connection.fetch(
            "SELECT actor, purpose, person, outcome, detail FROM audit_pending ORDER BY id OFFSET $1", since
        )
        return [tuple(row) for row in rows]

    async def scenario(connection: Connection) -> tuple[Any, ...]:
        before = await connection.fetchval("SELECT count(*) FROM audit_pending")
        one_by_one = [await alone(connection, request) for request in requests]
        first = await trace(connection, before)
        together = await grant_reads(connection, requests=requests, now=NOW, whereabouts=_Known())
        return one_by_one, together, first, await trace(connection, before + len(first))

    one_by_one, together, first, second = on_connection(scenario)

    assert [_seen(one) for one in together] == [_seen(one) for one in one_by_one]
    assert first == second
    assert len(second) == len(requests)


def _seen(one: AccessGrant | ConsentError) -> tuple[Any, ...]:
    if isinstance(one, AccessGrant):
        return (one.principal.id, one.person, one.purpose, one.good_until)
    return (type(one), str(one))


@pytest.mark.database
def test_who_brings_the_institution_of_what_is_to_be_read_needs_no_question(on_connection):
    async def scenario(connection: Connection) -> tuple[Any, ...]:
        known = _Known()
        requests = [
            _ask(3, known_institutions=frozenset({"CITY"})),
            _ask(
                3,
                principal=_PRINCIPALS[2],
                purpose=Purpose.QUALITY,
                known_institutions=frozenset({"TOWN", "OTHER"}),
            ),
        ]
        granted = await grant_reads(connection, requests=requests, now=NOW, whereabouts=known)
        return [type(one) for one in granted], known.asked

    assert on_connection(scenario) == ([AccessGrant, AccessGrant], [])


@pytest.mark.database
def test_what_is_known_beforehand_does_not_take_the_place_of_the_role(on_connection):
    async def scenario(connection: Connection) -> Any:
        request = _ask(1, purpose=Purpose.QUALITY, known_institutions=frozenset({"CITY"}))
        (refused,) = await grant_reads(connection, requests=[request], now=NOW, whereabouts=_Known())
        return type(refused)

    assert on_connection(scenario) is AccessRefusedError


@pytest.mark.database
def test_each_person_is_asked_about_once(on_connection):
    async def scenario(connection: Connection) -> list[int]:
        known = _Known()
        requests = [_ask(1), _ask(2, known_institutions=frozenset({"OTHER"})), _ask(1), _ask(2)]
        await grant_reads(connection, requests=requests, now=NOW, whereabouts=known)
        return known.asked

    assert on_connection(scenario) == [1, 2]


@pytest.mark.database
def test_whose_whereabouts_cannot_be_told_is_refused_and_nobody_else(on_connection):
    async def scenario(connection: Connection) -> tuple[Any, ...]:
        requests = [_ask(4), _ask(1), _ask(4, known_institutions=frozenset({"CITY"}))]
        decided = await grant_reads(connection, requests=requests, now=NOW, whereabouts=_Known())
        entries = await audit.list_for_person(connection, person=4, limit=10)
        return [type(one) for one in decided], [(one.outcome, dict(one.detail)) for one in entries]

    decided, entries = on_connection(scenario)

    assert decided == [WhereaboutsUnknownError, AccessGrant, AccessGrant]
    assert entries == [("done", {}), ("refused", {"refused_for": "whereabouts"})]


@pytest.mark.database
def test_without_their_audit_entries_there_are_no_grants(on_connection, monkeypatch: pytest.MonkeyPatch):
    from kangshu.consent import operations

    async def fail(*_: Any, **__: Any) -> None:
        raise OSError("the audit cannot be written")

    monkeypatch.setattr(operations, "record", fail)

    async def scenario(connection: Connection) -> None:
        with pytest.raises(OSError, match="audit"):
            await grant_reads(connection, requests=[_ask(1)], now=NOW, whereabouts=_Known())

    on_connection(scenario)


@pytest.mark.database
def test_inside_a_transaction_nothing_is_decided_at_all(on_connection):
    async def scenario(connection: Connection) -> None:
        async with connection.transaction():
            with pytest.raises(ValueError, match="outside a transaction"):
                await grant_reads(connection, requests=[_ask(1)], now=NOW, whereabouts=_Known())
        assert await grant_reads(connection, requests=[], now=NOW, whereabouts=_Known()) == []

    on_connection(scenario)
