"""What was refused is listed and tried again, once; counts stay true whatever becomes of a message."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messages_made_up import HOSPITAL, NOON, OTHER, WHY, adt, new, refused, staff

from kangshu.audit import list_entries
from kangshu.intake.messages import (
    REPLAY,
    MessageFilter,
    MessageFormat,
    MessageNotFoundError,
    MessageRaceError,
    MessageSettledError,
    MessageState,
    count_found,
    count_messages,
    find_known,
    finish_replay,
    fold_counts,
    get_message,
    list_messages,
    list_replayable,
    note_repeats,
    open_for_replay,
    prune_bodies,
    queries,
    record_messages,
)
from kangshu.security.errors import NotPermittedError
from kangshu.security.principals import Role

pytestmark = pytest.mark.database

LATER = NOON + timedelta(hours=2)
IT = staff(Role.INSTITUTION_IT)


async def keep(database, *messages):
    async with database.transaction() as connection:
        return await record_messages(connection, messages=messages)


async def replay(database, number, outcome):
    async with database.transaction() as connection:
        await finish_replay(connection, message=number, outcome=outcome, now=LATER)


async def counts(database, *by, **more):
    async with database.connection() as connection:
        found = await count_messages(connection, by=by, **more)
    return {tuple(getattr(one, name) for name in by): (one.messages, one.repeats) for one in found}


def test_a_refused_message_that_can_be_read_now_is_accepted_under_its_number(database_run):
    async def scenario(database):
        (number,) = await keep(database, refused("1"))
        await replay(database, number, new("1"))
        async with database.connection() as connection:
            found = (await find_known(connection, keys=[new("1").key]))[0]
            return number, found, await get_message(connection, message=number)

    number, found, message = database_run(scenario)

    assert (found.message, found.state) == (number, MessageState.ACCEPTED)
    assert (message.state, message.place, message.reason) == (MessageState.ACCEPTED, None, None)
    assert (message.persons, message.resources) == ((12,), 2)
    assert (message.replays, message.last_replay_at, message.repeats) == (1, LATER, 0)
    assert message.received_at == NOON


def test_a_refused_message_that_is_refused_again_waits_with_its_new_reason(database_run):
    async def scenario(database):
        (number,) = await keep(database, refused("1"))
        await replay(database, number, refused("1", place="PV1-19"))
        async with database.connection() as connection:
            message = await get_message(connection, message=number)
            return number, message, await list_replayable(connection, wanted=MessageFilter())

    number, message, waiting = database_run(scenario)

    assert (message.state, message.place, message.reason) == (MessageState.REFUSED, "PV1-19", WHY)
    assert waiting == [number]


def test_only_a_refused_message_is_replayed(database_run):
    async def scenario(database):
        accepted, conflict = await keep(database, new("1"), refused("2", state=MessageState.CONFLICT))
        for number in (accepted, conflict):
            with pytest.raises(MessageSettledError):
                await replay(database, number, new("1"))
        with pytest.raises(MessageNotFoundError):
            await replay(database, 999, new("1"))

    database_run(scenario)


def test_a_replay_beside_a_corrected_message_must_look_again(database_run):
    async def scenario(database):
        (wrong,) = await keep(database, refused("1", body=adt("1", name="")))
        await keep(database, new("1"))
        with pytest.raises(MessageRaceError):
            await replay(database, wrong, new("1", body=adt("1", name="")))
        async with database.connection() as connection:
            return await get_message(connection, message=wrong)

    assert database_run(scenario).state is MessageState.SUPERSEDED


def test_of_two_replays_at_once_one_finds_it_settled(database_run):
    async def scenario(database):
        (number,) = await keep(database, refused("1"))
        outcomes = await asyncio.gather(
            replay(database, number, new("1")), replay(database, number, new("1")), return_exceptions=True
        )
        return outcomes, await counts(database, "state")

    outcomes, counted = database_run(scenario)

    assert sorted(type(one).__name__ for one in outcomes) == ["MessageSettledError", "NoneType"]
    assert counted == {(MessageState.ACCEPTED,): (1, 0)}


def test_what_can_be_replayed_is_what_waits_and_has_its_bytes(database_run):
    async def scenario(database):
        (old,) = await keep(database, refused("0", received_at=NOON - timedelta(days=200)))
        wanted = [
            *(await keep(database, refused("1"))),
            *(await keep(database, refused("2", received_at=LATER))),
        ]
        _, _, corrected, _, other = await keep(
            database,
            new("3"),
            refused("4", state=MessageState.CONFLICT),
            refused("5", body=adt("5", name="")),
            new("5"),
            refused("6", sender=OTHER, format=MessageFormat.FHIR),
        )
        await prune_bodies(database, before=NOON - timedelta(days=180), now=NOON)
        async with database.connection() as connection:

            async def listed(**more):
                return await list_replayable(connection, wanted=MessageFilter(**more))

            return (
                (old, wanted, corrected, other),
                await listed(institutions=[HOSPITAL]),
                await listed(),
                await listed(since=LATER),
                await listed(format=MessageFormat.FHIR),
                await list_replayable(connection, wanted=MessageFilter(), limit=1),
                await listed(institutions=[]),
            )

    (_, wanted, _, other), own, region, late, fhir, first, nobody = database_run(scenario)

    assert own == wanted
    assert region == [wanted[0], other, wanted[1]]
    assert late == [wanted[1]]
    assert fhir == [other]
    assert first == [wanted[0]]
    assert nobody == []


def test_bodies_for_a_replay_come_with_their_record_and_leave_a_trace(database_run):
    async def scenario(database):
        numbers = await keep(database, refused("1"), new("2"), refused("3"), refused("4"))
        await keep(database, new("4", body=adt("4", name="测试^丙")))
        async with database.transaction() as connection:
            opened = await open_for_replay(
                connection, principal=IT, messages=[*reversed(numbers), 999, -1, 1 << 70], now=LATER
            )
        async with database.connection() as connection:
            return numbers, opened, await list_entries(connection, action=REPLAY)

    numbers, opened, entries = database_run(scenario)

    assert [(one.message.id, one.body) for one in opened] == [
        (numbers[0], adt("1")),
        (numbers[2], adt("3")),
    ]
    assert [(one.actor, one.detail["messages"]) for one in entries] == [("staff:test", 2)]


def test_no_more_bodies_are_opened_for_a_replay_than_memory_has_room_for(database_run, monkeypatch):
    monkeypatch.setattr(queries, "_REPLAY_BYTES", 2 * len(adt("1")) + 10)

    async def scenario(database):
        large = refused("0", body=adt("0") * 3)
        numbers = await keep(database, *(refused(str(one)) for one in range(1, 5)), large)
        async with database.transaction() as connection:

            async def opened(messages):
                found = await open_for_replay(connection, principal=IT, messages=messages, now=LATER)
                return [numbers.index(one.message.id) for one in found]

            return await opened(numbers), await opened(numbers[4:]), await opened([])

    assert database_run(scenario) == ([0, 1], [4], [])


@pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.CLINICIAN, Role.AUDITOR])
def test_who_may_not_submit_messages_may_not_replay_them(database_run, role):
    async def scenario(database):
        numbers = await keep(database, refused("1"))
        async with database.transaction() as connection:
            with pytest.raises(NotPermittedError):
                await open_for_replay(connection, principal=staff(role), messages=numbers, now=LATER)

    database_run(scenario)


def test_lists_are_narrowed_by_everything_that_a_person_may_ask_for(database_run):
    async def scenario(database):
        numbers = await keep(
            database,
            new("A-1"),
            new("A-2", sender=OTHER, format=MessageFormat.FHIR, type="Bundle/transaction"),
            refused("B-1", received_at=LATER),
            refused("B_2", state=MessageState.CONFLICT, received_at=LATER),
        )
        name = dict(zip(numbers, ("a", "b", "c", "d"), strict=True))
        async with database.connection() as connection:

            async def listed(**more):
                wanted = MessageFilter(**more)
                found = await list_messages(connection, wanted=wanted)
                assert await count_found(connection, wanted=wanted) == len(found)
                return "".join(name[one.id] for one in found)

            return [
                await listed(),
                await listed(institutions=[OTHER]),
                await listed(institutions=[]),
                await listed(state=MessageState.ACCEPTED),
                await listed(state=MessageState.REFUSED),
                await listed(state=MessageState.CONFLICT),
                await listed(format=MessageFormat.FHIR),
                await listed(type="ADT^A01"),
                await listed(since=LATER),
                await listed(until=LATER),
                await listed(control_id="A-1"),
                await listed(control_id="A-"),
                await listed(search="A-"),
                await listed(search="B_"),
                await listed(search="%"),
                await count_found(connection, wanted=MessageFilter(), most=2),
            ]

    assert database_run(scenario) == [
        "dcba", "b", "", "ba", "c", "d", "b", "dca", "dc", "ba", "a", "", "ba", "d", "", 2,
    ]  # fmt: skip


def test_a_list_is_paged_without_gaps_also_where_many_arrived_at_one_moment(database_run):
    async def scenario(database):
        numbers = await keep(
            database,
            *(new(str(one), received_at=NOON + timedelta(seconds=one // 3)) for one in range(20)),
        )
        seen, before = [], None
        async with database.connection() as connection:
            while page := await list_messages(connection, wanted=MessageFilter(), before=before, limit=6):
                seen += [one.id for one in page]
                before = page[-1].id
            nothing = await list_messages(connection, wanted=MessageFilter(), before=1 << 70)
        return numbers, seen, nothing

    numbers, seen, nothing = database_run(scenario)

    assert seen == numbers[::-1]
    assert nothing == []


def test_messages_of_others_are_not_found(database_run):
    async def scenario(database):
        (number,) = await keep(database, new("1"))
        async with database.connection() as connection:
            for wrong in (number + 1, 0, -1, 1 << 70):
                with pytest.raises(MessageNotFoundError):
                    await get_message(connection, message=wrong)
            with pytest.raises(MessageNotFoundError):
                await get_message(connection, message=number, institutions=[OTHER])
            return await get_message(connection, message=number, institutions=[OTHER, HOSPITAL])

    assert database_run(scenario).control_id == "1"


def test_counts_follow_messages_through_repeats_replays_and_corrections(database_run):
    async def scenario(database):
        late = NOON.replace(hour=17)  # after midnight in the region
        one, two, three = await keep(
            database, new("1"), refused("2"), refused("3", sender=OTHER, received_at=late)
        )
        async with database.transaction() as connection:
            await note_repeats(connection, messages=[one, one, three], now=late)
        await keep(database, refused("2"))
        first = await counts(database, "day", "sender", "state")
        assert await fold_counts(database) > 0
        assert await fold_counts(database) == 0
        assert await counts(database, "day", "sender", "state") == first
        await replay(database, two, new("2"))
        second = await counts(database, "state")
        await fold_counts(database)
        assert await counts(database, "state") == second
        return (
            first,
            second,
            await counts(database, "format", institutions=[OTHER]),
            await counts(database, first=date(2026, 3, 3), last=date(2026, 3, 3)),
            await counts(database, last=date(2026, 3, 1)),
        )

    first, second, other, day, nothing = database_run(scenario)

    today, tomorrow = date(2026, 3, 2), date(2026, 3, 3)
    assert first == {
        (today, HOSPITAL, MessageState.ACCEPTED): (1, 0),
        (tomorrow, HOSPITAL, MessageState.ACCEPTED): (0, 2),
        (today, HOSPITAL, MessageState.REFUSED): (1, 1),
        (tomorrow, OTHER, MessageState.REFUSED): (1, 1),
    }
    assert second[(MessageState.ACCEPTED,)] == (2, 2)
    assert second[(MessageState.REFUSED,)] == (1, 2)
    assert other == {(MessageFormat.HL7V2,): (1, 1)}
    assert day == {(): (1, 3)}
    assert nothing == {(): (0, 0)}


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["new", "refused", "repeat", "replay", "fold"]), st.integers(min_value=0, max_value=4)
    ),
    max_size=12,
)


@given(acts=ACTS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_always_agree_with_what_is_on_record(database_run, acts):
    async def scenario(database):
        await database_clear(database)
        numbers: dict[int, int] = {}
        for act, which in acts:
            if act == "fold":
                await fold_counts(database)
            elif act == "repeat" and which in numbers:
                async with database.transaction() as connection:
                    await note_repeats(connection, messages=[numbers[which]], now=NOON)
            elif act == "replay" and which in numbers:
                with suppress(MessageSettledError, MessageRaceError):
                    await replay(database, numbers[which], new(str(which)))
            elif act in ("new", "refused"):
                make = new if act == "new" else refused
                with suppress(MessageRaceError):
                    (numbers[which],) = await keep(database, make(str(which)))
        async with database.connection() as connection:
            kept = await connection.fetch(
                """SELECT state, count(*) AS messages, sum(repeats)::bigint AS repeats
                   FROM intake_message GROUP BY 1"""
            )
        return {row["state"]: row["messages"] for row in kept}, await counts(database, "state")

    kept, counted = database_run(scenario)

    assert {state.value: messages for (state,), (messages, _) in counted.items() if messages} == kept


async def database_clear(database):
    async with database.transaction() as connection:
        await connection.execute("TRUNCATE intake_message, intake_message_delta, intake_message_day")
