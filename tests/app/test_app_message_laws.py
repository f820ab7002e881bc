"""Laws of the message lane: stored once, in order, wholly or not at all; refused alone; undone exactly.

Nobody in the messages exists (division 99).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from message_peers import acknowledged
from message_world import (
    HOSPITAL,
    OTHER_HOSPITAL,
    MessageWorld,
    admission,
    header,
    merge,
    open_message_world,
    patient,
    reader,
    report,
    unlike,
)

from kangshu import directory, identity, lake, records
from kangshu.app.maintenance import bring_messages_to_lake, prune_messages
from kangshu.app.messages.files import MessageFigures, MessageFile, take_message_files
from kangshu.app.messages.lane import MessageLane
from kangshu.app.messages.replaying import Replays
from kangshu.app.messages.room import Room
from kangshu.consent import Purpose, grant_read
from kangshu.declarations import BASE_PACK
from kangshu.intake.messages import (
    Message,
    MessageFormat,
    MessageResult,
    MessageState,
    get_message,
    list_prunings,
)
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import Text
from kangshu.mapping.hl7v2 import load_hl7v2
from kangshu.records import FhirRequest, State
from kangshu.security.principals import Principal, PrincipalKind, Reach, Role
from kangshu.storage.errors import DatabaseUnavailableError, StorageFullError

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def house(database_server: str) -> Iterator[MessageWorld]:
    with open_message_world(database_server) as world:
        yield world


def lane_with(house: MessageWorld, **tools: Any) -> MessageLane:
    """Return another lane on the same database."""
    return MessageLane(
        house.world.platform.database, replace(house.lane.tools, **tools), may_query=lambda _: True
    )


def take(lane: MessageLane, body: bytes, **more: Any) -> Any:
    return lane.take(body=body, format=MessageFormat.HL7V2, channel="test", principal=None, **more)


def message_of(house: MessageWorld, result: MessageResult) -> Message:
    assert result.message is not None

    async def look() -> Message:
        async with house.world.platform.database.connection() as connection:
            return await get_message(connection, message=result.message or 0)

    return house.world.run(look)


def execute(house: MessageWorld, statement: str) -> None:
    async def work() -> None:
        async with house.world.platform.database.connection() as connection:
            await connection.execute(statement)

    house.world.run(work)


def fetch(house: MessageWorld, query: str, *values: Any) -> Any:
    async def work() -> Any:
        async with house.world.platform.database.connection() as connection:
            return await connection.fetchval(query, *values)

    return house.world.run(work)


def stored(house: MessageWorld, control_id: str) -> int:
    """Return how often a message is kept as accepted."""
    query = "SELECT count(*) FROM intake_message WHERE control_id = $1 AND state = 'accepted'"
    return fetch(house, query, control_id)


# --- once -------------------------------------------------------------------------------------------------


def test_a_message_whose_sender_vanished_is_stored_once(house: MessageWorld):
    body = admission("VA-1", number="VA")

    async def scenario() -> MessageResult:
        asking = asyncio.create_task(take(house.lane, body))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return await take(house.lane, body)

    again = house.world.run(scenario)

    assert again.state is MessageState.DUPLICATE
    assert acknowledged(again.answer) == ("AA", "VA-1")
    assert stored(house, "VA-1") == 1


def test_two_lanes_that_take_the_same_message_at_the_same_moment_store_it_once(house: MessageWorld):
    lanes = [lane_with(house), lane_with(house), lane_with(house)]
    bodies = [admission(f"TL-{number}", number=f"TL{number % 5}") for number in range(40)]

    async def scenario() -> list[list[MessageResult]]:
        sets = [asyncio.gather(*(take(lane, body) for body in bodies)) for lane in lanes]
        return [list(one) for one in await asyncio.gather(*sets)]

    for results in zip(*house.world.run(scenario), strict=True):
        assert sorted(one.state for one in results) == ["accepted", "duplicate", "duplicate"]
        assert len({one.message for one in results}) == 1
        assert {acknowledged(one.answer)[0] for one in results} == {"AA"}
    assert fetch(house, "SELECT count(*) FROM intake_message WHERE control_id LIKE 'TL-%'") == len(bodies)


def test_a_file_of_messages_goes_in_while_the_same_messages_come_through_a_door(
    house: MessageWorld, tmp_path: Path
):
    bodies = [admission(f"FD-{number}", number=f"FD{number % 3}") for number in range(60)]
    path = tmp_path / "messages.hl7"
    path.write_bytes(b"".join(bodies))
    platform, figures = house.world.platform, MessageFigures()
    file = MessageFile(path=path, sender=None, received_by="hospital", received_at=platform.clock.now())

    async def scenario() -> list[MessageResult]:
        lane = lane_with(house)
        _, results = await asyncio.gather(
            take_message_files(platform, house.lane, [file], figures=figures),
            asyncio.gather(*(take(lane, body) for body in reversed(bodies))),
        )
        return list(results)

    results = house.world.run(scenario)

    by_door = sum(one.state is MessageState.ACCEPTED for one in results)
    assert figures.accepted + by_door == len(bodies)
    assert figures.duplicate + sum(one.state is MessageState.DUPLICATE for one in results) == len(bodies)


def test_of_two_contents_under_one_control_id_in_one_batch_the_first_stands(house: MessageWorld):
    first, other = admission("CF-1", number="CF"), admission("CF-1", number="CF", visit_number="V9")

    async def scenario() -> list[MessageResult]:
        return await asyncio.gather(*(take(house.lane, body) for body in (first, other, other, first)))

    results = house.world.run(scenario)

    assert [one.state.value for one in results] == ["accepted", "conflict", "conflict", "duplicate"]
    assert [acknowledged(one.answer)[0] for one in results] == ["AA", "AE", "AE", "AA"]
    assert results[1].message == results[2].message, "the same conflict is kept once"
    assert b"205" in results[1].answer, "table 0357: duplicate key identifier"


MACHINE = Principal(
    id="client:test", name="测试", kind=PrincipalKind.MACHINE, reaches=(Reach.institution(HOSPITAL),)
)


def test_two_lanes_that_create_what_does_not_exist_at_the_same_moment_create_one(house: MessageWorld):
    lanes = [lane_with(house), lane_with(house)]
    requests = [
        FhirRequest(
            method="create",
            body=b'{"resourceType":"Device","identifier":[{"system":"urn:test","value":"D%d"}]}' % number,
            type="Device",
            if_none_exist=f"identifier=urn:test|D{number}",
        )
        for number in range(10)
    ]

    async def scenario() -> list[Any]:
        writes = [lane.write_fhir(one, principal=MACHINE) for one in requests for lane in lanes * 2]
        return await asyncio.gather(*writes)

    answers = house.world.run(scenario)

    assert sorted(one.status for one in answers) == [200] * 30 + [201] * 10
    assert len({one.id for one in answers}) == 10


def test_a_refused_fhir_request_that_comes_twice_at_once_is_refused_twice(house: MessageWorld):
    request = FhirRequest(
        method="update",
        body=b'{"resourceType":"Observation","id":"none-such","status":"final","code":{"text":"t"}}',
        type="Observation",
        id="none-such",
        if_match=7,
        request_id="RF-1",
    )

    async def scenario() -> list[Any]:
        return await asyncio.gather(*(house.lane.write_fhir(request, principal=MACHINE) for _ in range(3)))

    assert [one.status for one in house.world.run(scenario)] == [412, 412, 412]


# --- in order ---------------------------------------------------------------------------------------------


def test_messages_of_one_patient_take_effect_in_their_order_over_two_lanes(house: MessageWorld):
    lanes = [lane_with(house), lane_with(house)]

    async def scenario() -> MessageResult:
        result = None
        for number in range(12):
            body = report(f"OR-{number}", filler="LOR", number="OR", status="C", value=f"{number}.10")
            noise = [take(lane, admission(f"ON-{number}-{at}", number="OR")) for at, lane in enumerate(lanes)]
            result, *_ = await asyncio.gather(take(lanes[number % 2], body), *noise)
        assert result is not None
        return result

    result = house.world.run(scenario)

    (observation,) = house.of_type(result, "Observation")
    content = house.read(observation)
    assert str(content["valueQuantity"]["value"]) == "11.10"
    assert content["meta"]["versionId"] == "12"


@pytest.mark.parametrize("room", [2000, 2], ids=["in line", "at the entrance"])
def test_what_came_after_a_message_that_was_not_stored_is_not_stored_before_it(
    house: MessageWorld, monkeypatch: pytest.MonkeyPatch, room: int
):
    monkeypatch.setattr("kangshu.app.messages.lane._ROOM_MESSAGES", room)
    monkeypatch.setattr("kangshu.app.messages.lane._BATCH_MOST", 2)
    lane, name = lane_with(house), f"NO{room}"
    bodies = [
        report(f"{name}-{n}", filler=f"L{name}", number=name, status="C", value=f"{n}.20") for n in range(9)
    ]

    async def scenario() -> list[Any]:
        takes = [take(lane, body) for body in bodies]
        return list(await asyncio.gather(*takes, return_exceptions=True))

    with failing_once(house, "records_resource"):
        failed = house.world.run(scenario)
    again = house.world.run(scenario)

    assert all(isinstance(one, StorageFullError) for one in failed)
    assert {one.state for one in again} == {MessageState.ACCEPTED}
    assert latest(house, again[-1]) == "8.20"
    assert (lane._room.inside, lane._room.inside_bytes) == (0, 0)


def test_a_message_that_meets_others_too_often_holds_up_its_own_sender_only(
    house: MessageWorld, monkeypatch: pytest.MonkeyPatch
):
    class BusyError(KangshuError):
        kind = Kind.BUSY

    monkeypatch.setattr("kangshu.app.messages.lane._BATCH_MOST", 1)
    spoil(monkeypatch, "99000199HELD", BusyError(Text(zh="忙", en="busy")))
    senders = ["99000199HELD", HOSPITAL, "99000199HELD", OTHER_HOSPITAL]

    async def scenario() -> list[Any]:
        takes = [
            take(house.lane, admission(f"HO-{n}", number="HO", sender=one)) for n, one in enumerate(senders)
        ]
        return list(await asyncio.gather(*takes, return_exceptions=True))

    results = house.world.run(scenario)

    assert [isinstance(one, BusyError) for one in results] == [True, False, True, False]


def test_whoever_waits_for_room_enters_in_turn_and_gives_it_back():
    async def scenario() -> None:
        room = Room(messages=3, size=100)
        entered: list[str] = []

        async def visit(name: str, size: int) -> None:
            await room.enter(size)
            entered.append(name)

        await visit("small", 60)
        tasks = [asyncio.create_task(visit(name, size)) for name, size in (("a", 60), ("b", 30), ("c", 30))]
        await asyncio.sleep(0)
        assert entered == ["small"], "the small one behind the large one does not overtake"
        tasks[0].cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert entered == ["small", "b"], "who gave up holds up nobody"
        room.leave(60)
        for _ in range(3):
            await asyncio.sleep(0)
        assert entered == ["small", "b", "c"]
        room.leave(30)
        room.leave(30)
        await visit("larger than all", 1000)
        assert (room.inside, room.inside_bytes) == (1, 1000)
        room.leave(1000)
        assert (room.inside, room.inside_bytes) == (0, 0)

    asyncio.run(scenario())


def test_the_lane_is_empty_after_everything_that_can_happen_in_it(house: MessageWorld):
    lane = lane_with(house)
    query = admission("RM-4", number="RM").replace(b"ADT^A04^ADT_A01", b"QBP^Q23^QBP_Q21")

    async def scenario() -> None:
        asking = asyncio.create_task(take(lane, admission("RM-1", number="RM")))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.gather(take(lane, admission("RM-2", number="RM")), take(lane, b"no message"))
        await take(lane, query)

    house.world.run(scenario)

    assert (lane._room.inside, lane._room.inside_bytes) == (0, 0)


# --- wholly or not at all ---------------------------------------------------------------------------------


@contextmanager
def failing(house: MessageWorld, table: str, *, code: str) -> Iterator[None]:
    """Let the database fail with a code whenever something is written to a table."""
    execute(
        house,
        f"""CREATE FUNCTION test_fail() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{code}'; END $$;
            CREATE TRIGGER test_fail BEFORE INSERT ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION test_fail()""",
    )
    try:
        yield
    finally:
        execute(house, "DROP FUNCTION test_fail() CASCADE")


@contextmanager
def failing_once(house: MessageWorld, table: str) -> Iterator[None]:
    """Let the disk be full the first time that something is written to a table."""
    execute(
        house,
        f"""CREATE SEQUENCE test_times;
            CREATE FUNCTION test_fail() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF nextval('test_times') = 1 THEN
            RAISE EXCEPTION 'as asked' USING ERRCODE = '53100'; END IF; RETURN NULL; END $$;
            CREATE TRIGGER test_fail BEFORE INSERT ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION test_fail()""",
    )
    try:
        yield
    finally:
        execute(house, "DROP FUNCTION test_fail() CASCADE; DROP SEQUENCE test_times")


@pytest.mark.parametrize("table", ["intake_message", "records_resource", "lake_staged", "audit_pending"])
def test_a_full_disk_stores_nothing_and_the_message_is_welcome_again(house: MessageWorld, table: str):
    body = report(f"FU-{table}", number="FU", filler=f"LFU-{table}")
    with failing(house, table, code="53100"), pytest.raises(StorageFullError):
        house.take(body)
    nothing = fetch(house, "SELECT count(*) FROM intake_message WHERE control_id = $1", f"FU-{table}")

    result = house.take(body)

    assert nothing == 0
    assert result.state is MessageState.ACCEPTED
    assert stored(house, f"FU-{table}") == 1


@pytest.mark.parametrize("code", ["53200", "58030", "25006"], ids=["memory", "disk", "read-only"])
def test_a_database_that_cannot_work_refuses_no_message(house: MessageWorld, code: str):
    body = admission(f"UW-{code}", number="UW")
    with failing(house, "records_resource", code=code), pytest.raises(DatabaseUnavailableError):
        house.take(body)

    assert house.take(body).state is MessageState.ACCEPTED
    assert stored(house, f"UW-{code}") == 1


class Spoilt:
    """A row mapper that fails at whatever it is given."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("测试甲 must not be told")


def spoil(monkeypatch: pytest.MonkeyPatch, institution: str, error: Exception) -> None:
    """Let the storing of an institution's resources fail."""
    inner = records.store

    async def store(connection: Any, *, writes: Sequence[records.Write], now: Any) -> Any:
        if any(one.institution == institution for one in writes):
            raise error
        return await inner(connection, writes=writes, now=now)

    monkeypatch.setattr("kangshu.app.messages.storing.records.store", store)


def test_a_message_that_makes_the_transaction_fail_is_refused_alone(
    house: MessageWorld, monkeypatch: pytest.MonkeyPatch
):
    spoil(monkeypatch, "99000199POISON", RuntimeError("测试甲 must not be told"))
    bodies = [
        admission(f"PO-{number}", number="PO", sender="99000199POISON" if number == 3 else HOSPITAL)
        for number in range(8)
    ]

    async def scenario() -> list[MessageResult]:
        return await asyncio.gather(*(take(house.lane, body) for body in bodies))

    results = house.world.run(scenario)
    monkeypatch.undo()

    assert [number for number, one in enumerate(results) if one.state is not MessageState.ACCEPTED] == [3]
    assert results[3].state is MessageState.REFUSED
    assert acknowledged(results[3].answer) == ("AE", "PO-3")
    assert b"207" in results[3].answer
    assert "测试" not in str(results[3].reason)
    assert message_of(house, results[3]).body_kept
    assert house.take(bodies[3]).state is MessageState.ACCEPTED, "it is welcome after the fix"


def test_a_message_that_the_platform_cannot_read_by_its_own_fault_is_kept_and_refused(house: MessageWorld):
    lane = lane_with(house, rows=Spoilt())
    body = admission("SP-1", number="SP")

    result = house.world.run(lambda: take(lane, body))

    assert acknowledged(result.answer) == ("AE", "SP-1")
    assert "测试" not in str(result.reason)
    assert message_of(house, result).body_kept
    assert house.take(body).state is MessageState.ACCEPTED


def test_a_passing_failure_refuses_no_message(house: MessageWorld, monkeypatch: pytest.MonkeyPatch):
    class BusyError(KangshuError):
        kind = Kind.BUSY

    spoil(monkeypatch, "99000199BUSY", BusyError(Text(zh="忙", en="busy")))
    body = admission("BU-1", number="BU", sender="99000199BUSY")

    with pytest.raises(BusyError):
        house.take(body)
    monkeypatch.undo()

    assert fetch(house, "SELECT count(*) FROM intake_message WHERE control_id = 'BU-1'") == 0
    assert house.take(body).state is MessageState.ACCEPTED


def test_a_sender_whose_first_transaction_failed_is_in_the_directory_after_the_second(house: MessageWorld):
    sender, body = "99000199FIRST", admission("FI-1", number="FI", sender="99000199FIRST")
    with failing(house, "records_resource", code="53100"), pytest.raises(StorageFullError):
        house.take(body)

    house.take(body)

    async def look() -> Any:
        async with house.world.platform.database.connection() as connection:
            return await directory.find_institution(connection, code=sender)

    assert house.world.run(look) is not None


class Interrupted:
    """A database whose transactions are committed, but whose callers never hear of it."""

    def __init__(self, inner: Any, error: BaseException) -> None:
        self._inner, self._error = inner, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @asynccontextmanager
    async def transaction(self, **more: Any) -> AsyncIterator[Any]:
        async with self._inner.transaction(**more) as connection:
            yield connection
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailableError(Text(zh="断", en="lost")),
        asyncio.CancelledError(),
        RuntimeError("unforeseen"),
    ],
    ids=["lost", "cancelled", "unforeseen"],
)
def test_a_flush_that_is_interrupted_at_its_commit_keeps_the_file_that_the_manifest_may_name(
    database_server: str, error: BaseException
):
    with open_message_world(database_server) as house:
        house.take(report("FL-1", filler="LFL"))
        platform = house.world.platform
        cut = replace(platform, database=Interrupted(platform.database, error))

        async def scenario() -> Any:
            with pytest.raises(type(error)):
                await bring_messages_to_lake(cut)
            await bring_messages_to_lake(platform)
            async with platform.database.connection() as connection:
                return await lake.live_segments(connection), await lake.count_rows(connection)

        segments, rows = house.world.run(scenario)

        assert rows["lab_result"] == 1
        assert all((platform.home / "lake" / one.path).exists() for one in segments)


def test_a_connection_that_cannot_be_given_back_does_not_hide_what_happened(
    house: MessageWorld, monkeypatch: pytest.MonkeyPatch
):
    inner = asyncpg.Pool.release

    async def release(pool: Any, connection: Any, **more: Any) -> None:
        await inner(pool, connection, **more)
        raise asyncpg.InternalClientError("another operation is in progress")

    monkeypatch.setattr(asyncpg.Pool, "release", release)

    assert house.take(admission("GB-1", number="GB")).state is MessageState.ACCEPTED


# --- replay -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mistaken(house: MessageWorld, tmp_path_factory: pytest.TempPathFactory) -> MessageLane:
    """A lane whose declarations look for the patient's number in the wrong fields."""
    folder = tmp_path_factory.mktemp("pack") / "hl7v2"
    shutil.copytree(BASE_PACK / "hl7v2", folder)
    path = folder / "segments_patient.toml"
    text = path.read_text(encoding="utf-8")
    assert 'person = ["PID-3", "PID-2", "PID-4"]' in text
    path.write_text(text.replace('person = ["PID-3", ', "person = ["), encoding="utf-8")
    return lane_with(house, hl7v2=load_hl7v2(folder, authorities=house.lane.tools.authorities))


OPERATOR = Principal(
    id="staff:operator",
    name="测试运维",
    kind=PrincipalKind.STAFF,
    roles=frozenset({Role.INSTITUTION_IT}),
    reaches=(Reach.institution(HOSPITAL),),
)


def refuse(house: MessageWorld, lane: MessageLane, bodies: Sequence[bytes]) -> list[int]:
    async def scenario() -> list[int]:
        found: list[int] = []
        for body in bodies:
            result = await take(lane, body)
            assert result.state is MessageState.REFUSED
            assert result.message is not None
            found.append(result.message)
        return found

    return house.world.run(scenario)


def replay(house: MessageWorld, messages: Sequence[int]) -> Any:
    replays = Replays(house.world.platform.database, house.lane)
    return house.world.run(lambda: replays(messages=messages, principal=OPERATOR))


def latest(house: MessageWorld, result: MessageResult) -> str:
    (observation,) = house.of_type(result, "Observation")
    return str(house.read(observation)["valueQuantity"]["value"])


def test_after_the_declaration_is_mended_refused_messages_are_taken_in_in_their_order(
    house: MessageWorld, mistaken: MessageLane
):
    bodies = [report(f"RP-{n}", number="RP", filler="LRP", status="C", value=f"{n}.50") for n in range(9)]
    messages = refuse(house, mistaken, bodies)

    outcome = replay(house, [messages[n] for n in (8, 3, 0, 5, 1, 7, 2, 6, 4)])

    assert (outcome.accepted, outcome.refused, outcome.left) == (9, 0, 0)
    again = house.take(bodies[8])
    assert again.state is MessageState.DUPLICATE
    (observation,) = house.of_type(
        house.take(report("RP-9", number="RP", filler="LRP", value="9")), "Observation"
    )
    assert house.read(observation)["meta"]["versionId"] == "10"


def test_one_message_is_replayed_alone_and_only_once(house: MessageWorld, mistaken: MessageLane):
    (message,) = refuse(house, mistaken, [admission("RO-1", number="RO")])

    first, second = replay(house, [message]), replay(house, [message])

    assert (first.accepted, first.left) == (1, 0)
    assert (second.accepted, second.left) == (0, 1)
    assert stored(house, "RO-1") == 1


def test_two_operators_who_replay_at_the_same_moment_replay_once(house: MessageWorld, mistaken: MessageLane):
    messages = refuse(house, mistaken, [admission(f"RT-{n}", number="RT") for n in range(6)])
    replays = Replays(house.world.platform.database, house.lane)

    async def both() -> Any:
        return await asyncio.gather(*(replays(messages=messages, principal=OPERATOR) for _ in range(2)))

    outcomes = house.world.run(both)

    assert sum(one.accepted for one in outcomes) == len(messages)
    assert sum(one.refused for one in outcomes) == 0
    assert all(one.accepted + one.left == len(messages) for one in outcomes)


def test_a_replay_overwrites_nothing_that_a_later_message_said(house: MessageWorld, mistaken: MessageLane):
    old = report("RN-1", number="RN", filler="LRN", value="1.00")
    (message,) = refuse(house, mistaken, [old])
    newer = house.take(report("RN-2", number="RN", filler="LRN", status="C", value="2.00"))

    outcome = replay(house, [message])

    assert outcome.accepted == 1
    assert latest(house, newer) == "2.00"


def test_what_is_refused_again_stays_refused_and_the_others_are_replayed(
    house: MessageWorld, mistaken: MessageLane
):
    nobody = admission("RR-2", number="RR", resident="").replace(b"RR^^^" + HOSPITAL.encode() + b"^PI", b"")
    messages = refuse(
        house, mistaken, [admission("RR-1", number="RR"), nobody, admission("RR-3", number="RR")]
    )

    outcome = replay(house, messages)

    assert (outcome.accepted, outcome.refused) == (2, 1)


def test_a_bulk_replay_larger_than_memory_allows_goes_on_to_its_end(
    house: MessageWorld, mistaken: MessageLane, monkeypatch: pytest.MonkeyPatch
):
    messages = refuse(house, mistaken, [admission(f"RB-{n}", number="RB") for n in range(7)])
    monkeypatch.setattr("kangshu.intake.messages.queries._REPLAY_BYTES", 1000)

    outcome = replay(house, messages)

    assert (outcome.accepted, outcome.left) == (7, 0)


# --- retention --------------------------------------------------------------------------------------------


class Later:
    """A clock that goes some days ahead."""

    def __init__(self, inner: Any, days: int) -> None:
        self._inner, self._days = inner, days

    def now(self) -> Any:
        return self._inner.now() + timedelta(days=self._days)


def test_bytes_are_pruned_after_the_set_time_and_what_was_is_on_record(database_server: str, tmp_path: Path):
    with open_message_world(database_server) as house:
        body = report("PR-1", number="PR", filler="LPR")
        kept, refused = house.take(body), house.take(b"no message", format=MessageFormat.HL7V2)
        platform = house.world.platform
        days = platform.settings.message_days

        def prune(after: int) -> list[Any]:
            async def work() -> list[Any]:
                await prune_messages(replace(platform, clock=Later(platform.clock, after)))
                async with platform.database.connection() as connection:
                    return await list_prunings(connection)

            return house.world.run(work)

        early, late = prune(days - 1), prune(days + 1)

        assert early == []
        assert [(one.bodies, one.bytes) for one in late] == [(2, len(body) + len(b"no message"))]
        assert not message_of(house, kept).body_kept
        assert house.take(body).state is MessageState.DUPLICATE, "what came before is known without its bytes"
        assert latest(house, kept) == "7.30"
        assert replay(house, [refused.message or 0]).left == 1


# --- files ------------------------------------------------------------------------------------------------


def take_file(house: MessageWorld, path: Path) -> MessageFigures:
    platform, figures = house.world.platform, MessageFigures()
    file = MessageFile(path=path, sender=HOSPITAL, received_by="hospital", received_at=platform.clock.now())
    house.world.run(lambda: take_message_files(platform, house.lane, [file], figures=figures))
    return figures


def test_a_file_of_countless_pieces_is_given_up_at_a_bound(
    house: MessageWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("kangshu.app.messages.files._REFUSED_MOST", 300)
    path = tmp_path / "pieces.hl7"
    path.write_bytes(b"MSH|^~\\&|\r" * 200_000)

    figures = take_file(house, path)

    assert figures.messages < 5000, "what is under way when the bound is met is a few batches"
    (bound,) = [one for one in figures.rejections if "more than 300 messages of the file" in one["reason_en"]]
    assert bound["place"].startswith("line ")


def test_a_file_with_more_messages_than_a_file_may_have_says_where_it_ended(
    house: MessageWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("kangshu.app.messages.files._MESSAGES_MOST", 5)
    path = tmp_path / "many.hl7"
    path.write_bytes(b"".join(admission(f"MY-{n}", number="MY") for n in range(8)))
    exact = tmp_path / "exact.hl7"
    exact.write_bytes(b"".join(admission(f"MX-{n}", number="MX") for n in range(5)))

    figures, whole = take_file(house, path), take_file(house, exact)

    assert (figures.accepted, figures.rejected) == (5, 1)
    assert "more than 5 messages" in figures.rejections[0]["reason_en"]
    assert (whole.accepted, whole.rejected) == (5, 0)


# --- any sequence -----------------------------------------------------------------------------------------

NUMBERS = ("1", "2", "3", "4")


class Lane(RuleBasedStateMachine):
    """Messages of a hospital's few patients in any order, against the simplest model of what is known."""

    house: MessageWorld
    runs = iter(range(10**9))

    @initialize()
    def begin(self) -> None:
        self.run = next(self.runs)
        self.count = 0
        self.visits: dict[str, dict[str, State]] = {number: {} for number in NUMBERS}
        self.results: dict[str, dict[str, str]] = {number: {} for number in NUMBERS}
        self.sent: list[bytes] = []
        self.merges: list[tuple[int, str, str]] = []
        for number in NUMBERS:
            lines = [header("ADT^A28^ADT_A05", self.control()), "EVN|A28|20260301083000"]
            self.send("\r".join([*lines, patient(**self.person(number))]).encode())
        self.persons = {number: self.find(number) for number in NUMBERS}

    def control(self) -> str:
        self.count += 1
        return f"R{self.run}-{self.count}"

    def person(self, number: str) -> dict[str, Any]:
        key = f"R{self.run}N{number}"
        return {"number": key, "resident": "", **unlike(key)}

    def send(self, body: bytes, *, state: MessageState = MessageState.ACCEPTED) -> None:
        result = self.house.take(body)
        assert result.state is state, result.reason
        if state is MessageState.ACCEPTED:
            self.sent.append(body)

    def find(self, number: str) -> int:
        platform = self.house.world.platform

        async def look() -> int:
            async with platform.database.connection() as connection:
                (found,) = await identity.find_persons(
                    connection,
                    keys=platform.keys,
                    local_number=f"R{self.run}N{number}",
                    institution=HOSPITAL,
                )
                return found.id

        return self.house.world.run(look)

    def group(self, number: str) -> set[str]:
        """Everybody who is the same as `number` by the merges that stand."""
        found, grown = {number}, True
        while grown:
            more = {one for _, a, b in self.merges for one in (a, b) if {a, b} & found}
            grown = not more <= found
            found |= more
        return found

    @rule(number=st.sampled_from(NUMBERS), visit=st.integers(1, 3))
    def admit(self, number: str, visit: int) -> None:
        key = f"R{self.run}V{number}-{visit}"
        self.send(admission(self.control(), visit_number=key, **self.person(number)))
        self.visits[number][key] = State.VALID

    @rule(number=st.sampled_from(NUMBERS), visit=st.integers(1, 3))
    def cancel(self, number: str, visit: int) -> None:
        key = f"R{self.run}V{number}-{visit}"
        self.send(admission(self.control(), event="A11", visit_number=key, **self.person(number)))
        self.visits[number][key] = State.CANCELLED

    @rule(
        number=st.sampled_from(NUMBERS),
        filler=st.integers(1, 2),
        status=st.sampled_from("FC"),
        value=st.integers(10, 99),
    )
    def tell(self, number: str, filler: int, status: str, value: int) -> None:
        self.send(self.result(number, filler, status, value))

    @rule(
        told=st.lists(
            st.tuples(st.sampled_from(NUMBERS), st.integers(1, 2), st.integers(10, 99)),
            min_size=2,
            max_size=9,
        )
    )
    def tell_at_once(self, told: list[tuple[str, int, int]]) -> None:
        bodies = [self.result(number, filler, "C", value) for number, filler, value in told]

        async def work() -> list[MessageResult]:
            return await asyncio.gather(*(take(self.house.lane, body) for body in bodies))

        assert {one.state for one in self.house.world.run(work)} == {MessageState.ACCEPTED}
        self.sent += bodies

    def result(self, number: str, filler: int, status: str, value: int) -> bytes:
        key = f"R{self.run}L{number}-{filler}"
        self.results[number][key] = f"{value}.0"
        return report(
            self.control(),
            filler=key,
            status=status,
            value=f"{value}.0",
            visit_number="",
            **self.person(number),
        )

    @rule()
    def flush(self) -> None:
        self.house.world.run(lambda: bring_messages_to_lake(self.house.world.platform))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.send(data.draw(st.sampled_from(self.sent)), state=MessageState.DUPLICATE)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def contradict(self, data: st.DataObject) -> None:
        body = data.draw(st.sampled_from(self.sent))
        self.send(body.replace(b"20260301083000", b"20260301083001", 1), state=MessageState.CONFLICT)

    @rule(survivor=st.sampled_from(NUMBERS), absorbed=st.sampled_from(NUMBERS))
    def join(self, survivor: str, absorbed: str) -> None:
        if survivor == absorbed:
            return
        known = absorbed in self.group(survivor)
        one, other = self.person(survivor), self.person(absorbed)
        body = merge(self.control(), survivor=one.pop("number"), absorbed=other["number"], **one)
        self.send(body)
        if not known:
            self.merges.append((self.last_merge(survivor), *self.edge(survivor)))

    def last_merge(self, number: str) -> int:
        return self.merge_of(number).id

    def merge_of(self, number: str) -> identity.PersonMerge:
        async def look() -> identity.PersonMerge:
            async with self.house.world.platform.database.connection() as connection:
                merges = await identity.list_merges(connection, person=self.persons[number])
                return max(merges, key=lambda one: one.id)

        return self.house.world.run(look)

    def edge(self, number: str) -> tuple[str, str]:
        found = self.merge_of(number)
        of = {person: number for number, person in self.persons.items()}
        return of[found.survivor], of[found.absorbed]

    @precondition(lambda self: self.merges)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        which = data.draw(st.integers(0, len(self.merges) - 1))
        number, _, _ = self.merges.pop(which)

        async def work() -> None:
            platform = self.house.world.platform
            async with platform.database.transaction() as connection:
                await identity.undo_merge(connection, merge=number, actor="test", now=platform.clock.now())

        self.house.world.run(work)

    @rule(number=st.sampled_from(NUMBERS))
    def look(self, number: str) -> None:
        self.compare(number)

    def teardown(self) -> None:
        if hasattr(self, "persons"):
            for number in NUMBERS:
                self.compare(number)

    def compare(self, number: str) -> None:
        """The timeline of whoever this is shows what was told of everybody he is, and nothing else."""
        group = self.group(number)
        visits, results = self.house.world.run(lambda: shown(self.house, self.persons[number]))
        assert visits == sorted(state for one in group for state in self.visits[one].values())
        assert results == sorted(value for one in group for value in self.results[one].values())


async def shown(house: MessageWorld, person: int) -> tuple[list[State], list[str]]:
    """Return the states of the visits and the values of the results on a person's timeline."""
    platform = house.world.platform
    now = platform.clock.now()

    class Here:
        async def institutions_of(self, connection: object, *, person: int) -> set[str]:
            del connection, person
            return {HOSPITAL}

    async with platform.database.connection() as connection:
        persons = (await identity.persons_meaning(connection, persons=[person]))[person]
        grant = await grant_read(
            connection,
            principal=reader(),
            person=persons[0],
            purpose=Purpose.TREATMENT,
            now=now,
            whereabouts=Here(),
        )
    page = await records.timeline(
        platform.database,
        platform.engine,
        grant=grant,
        pack=platform.pack,
        rows=house.lane.tools.rows,
        persons=persons,
        now=now,
        limit=500,
    )
    visits = [one.state for one in page.entries if one.kind is records.Kind.VISIT]
    results = [str(one.value) for one in page.entries if one.kind is records.Kind.LABORATORY and one.value]
    return sorted(visits), sorted(results)


def test_any_sequence_of_messages_repeats_corrections_merges_and_undoing_shows_what_was_told(
    house: MessageWorld,
):
    machine = type("LaneOfThisHouse", (Lane,), {"house": house})
    run_state_machine_as_test(machine, settings=settings(max_examples=12, stateful_step_count=25))
