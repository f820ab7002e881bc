"""Messages are kept once, whatever is sent again, in what order and at the same moment."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messages_made_up import HOSPITAL, NOON, OTHER, WHY, adt, new, refused

from kangshu.intake.messages import (
    MessageFilter,
    MessageFormat,
    MessageKey,
    MessageRaceError,
    MessageState,
    NewMessage,
    digest_of,
    find_known,
    get_message,
    list_messages,
    note_repeats,
    record_messages,
)
from kangshu.storage.database import Connection, Database

pytestmark = pytest.mark.database


async def keep(database: Database, *messages: NewMessage) -> list[int]:
    async with database.transaction() as connection:
        return await record_messages(connection, messages=messages)


async def known(database: Database, message: NewMessage):
    async with database.connection() as connection:
        return (await find_known(connection, keys=[message.key]))[0]


async def everything(connection: Connection) -> list:
    return await list_messages(connection, wanted=MessageFilter(), limit=1000)


def test_a_message_is_shown_as_it_came(database_run):
    async def scenario(database):
        (number,) = await keep(database, new(application="HIS"))
        async with database.connection() as connection:
            return number, await get_message(connection, message=number)

    number, message = database_run(scenario)

    assert message.id == number
    assert (message.sender, message.application, message.control_id) == (HOSPITAL, "HIS", "1")
    assert (message.format, message.type, message.version) == (MessageFormat.HL7V2, "ADT^A01", "2.5.1")
    assert (message.channel, message.peer, message.received_by) == ("mllp", "192.0.2.7", "machine:kc-test")
    assert (message.state, message.place, message.reason) == (MessageState.ACCEPTED, None, None)
    assert (message.persons, message.resources, message.bytes) == ((12,), 2, len(adt("1")))
    assert (message.received_at, message.repeats, message.replays) == (NOON, 0, 0)
    assert message.superseded_by is None
    assert message.body_kept


def test_what_nobody_sent_before_is_not_known(database_run):
    async def scenario(database):
        await keep(database, new("1"))
        return [
            await known(database, message)
            for message in (
                new("2"),
                new("1", sender=OTHER),
                new("1", application="LIS"),
                new(None, body=b"another document"),
            )
        ]

    assert database_run(scenario) == [None, None, None, None]


def test_the_same_message_again_is_known_as_accepted(database_run):
    async def scenario(database):
        (number,) = await keep(database, new("1"))
        return number, await known(database, new("1"))

    number, found = database_run(scenario)

    assert (found.message, found.state, found.same_content) == (number, MessageState.ACCEPTED, True)
    assert (found.kept_as, found.resources, found.acknowledged) == (number, 2, 1)


def test_a_message_without_control_id_is_known_by_its_content_alone(database_run):
    async def scenario(database):
        (number,) = await keep(database, new(None, body=b"<ClinicalDocument/>"))
        return number, [
            await known(database, new(None, body=b"<ClinicalDocument/>")),
            await known(database, new("", body=b"<ClinicalDocument/>")),
            await known(database, new(None, body=b"<ClinicalDocument />")),
        ]

    number, (same, empty, other) = database_run(scenario)

    assert (same.message, same.state, same.same_content) == (number, MessageState.ACCEPTED, True)
    assert empty == same
    assert other is None


def test_the_same_control_id_with_other_content_is_a_conflict_and_is_kept(database_run):
    changed = new("1", body=adt("1", name="测试^乙"))

    async def scenario(database):
        (number,) = await keep(database, new("1"))
        before = await known(database, changed)
        conflict = replace(changed, state=MessageState.CONFLICT, place="MSH-10", reason=WHY)
        (kept,) = await keep(database, conflict)
        again = await known(database, changed)
        (kept_again,) = await keep(database, conflict)
        async with database.connection() as connection:
            return number, before, kept, again, kept_again, await get_message(connection, message=kept)

    number, before, kept, again, kept_again, message = database_run(scenario)

    assert (before.message, before.state, before.same_content) == (number, MessageState.ACCEPTED, False)
    assert before.kept_as is None
    assert (again.message, again.state, again.same_content) == (number, MessageState.ACCEPTED, False)
    assert again.kept_as == kept == kept_again
    assert (message.state, message.place, message.reason) == (MessageState.CONFLICT, "MSH-10", WHY)
    assert message.repeats == 1


def test_a_refused_message_that_comes_again_may_try_again(database_run):
    async def scenario(database):
        (number,) = await keep(database, refused("1"))
        found = await known(database, new("1"))
        (again,) = await keep(database, refused("1", received_at=NOON + timedelta(hours=1)))
        async with database.connection() as connection:
            return number, found, again, await everything(connection)

    number, found, again, messages = database_run(scenario)

    assert (found.message, found.state, found.same_content) == (number, MessageState.REFUSED, True)
    assert (found.place, found.reason) == ("PID-3", WHY)
    assert again == number
    assert [(one.id, one.repeats, one.last_repeat_at) for one in messages] == [
        (number, 1, NOON + timedelta(hours=1))
    ]


def test_a_refused_message_without_control_id_becomes_the_accepted_one(database_run):
    async def scenario(database):
        (number,) = await keep(database, refused(None, body=b"<a/>"))
        (again,) = await keep(database, new(None, body=b"<a/>"))
        async with database.connection() as connection:
            return number, again, await everything(connection)

    number, again, messages = database_run(scenario)

    assert again == number
    assert [(one.state, one.place, one.reason) for one in messages] == [(MessageState.ACCEPTED, None, None)]
    assert messages[0].persons == (12,)


def test_a_corrected_message_under_the_same_control_id_supersedes_the_refused_one(database_run):
    async def scenario(database):
        (wrong,) = await keep(database, refused("1", body=adt("1", name="")))
        found = await known(database, new("1"))
        (right,) = await keep(database, new("1"))
        async with database.connection() as connection:
            shown = await get_message(connection, message=wrong)
            waiting = await list_messages(connection, wanted=MessageFilter(state=MessageState.REFUSED))
            over = await list_messages(connection, wanted=MessageFilter(state=MessageState.SUPERSEDED))
        return found, wrong, right, shown, waiting, over

    found, wrong, right, shown, waiting, over = database_run(scenario)

    assert found is None
    assert (shown.state, shown.superseded_by) == (MessageState.SUPERSEDED, right)
    assert waiting == []
    assert [one.id for one in over] == [wrong]


def test_a_superseded_content_that_comes_again_is_a_conflict(database_run):
    wrong = refused("1", body=adt("1", name=""))

    async def scenario(database):
        (number,) = await keep(database, wrong)
        (right,) = await keep(database, new("1"))
        found = await known(database, wrong)
        (kept,) = await keep(database, replace(wrong, state=MessageState.CONFLICT))
        async with database.connection() as connection:
            return number, right, found, kept, await get_message(connection, message=kept)

    number, right, found, kept, message = database_run(scenario)

    assert (found.message, found.state, found.same_content) == (right, MessageState.ACCEPTED, False)
    assert found.kept_as == kept == number
    assert message.state is MessageState.CONFLICT


def test_numbers_follow_the_order_of_arrival_not_that_of_the_keys(database_run):
    batch = [new(control_id) for control_id in ("9", "3", "7", "1", "5")]

    async def scenario(database):
        numbers = await keep(database, *batch)
        async with database.connection() as connection:
            return numbers, {one.id: one.control_id for one in await everything(connection)}

    numbers, control_ids = database_run(scenario)

    assert numbers == sorted(numbers)
    assert [control_ids[number] for number in numbers] == ["9", "3", "7", "1", "5"]


def test_known_messages_in_a_batch_are_found_at_their_places(database_run):
    async def scenario(database):
        numbers = await keep(database, new("1"), new("2"), refused("3"))
        async with database.connection() as connection:
            keys = [new(one).key for one in ("9", "3", "1", "8", "1", "2")]
            return numbers, await find_known(connection, keys=keys)

    (one, two, three), found = database_run(scenario)

    assert [known and known.message for known in found] == [None, three, one, None, one, two]


def test_an_empty_batch_asks_nothing(database_run):
    async def scenario(database):
        async with database.transaction() as connection:
            await note_repeats(connection, messages=[], now=NOON)
            return await find_known(connection, keys=[]), await record_messages(connection, messages=[])

    assert database_run(scenario) == ([], [])


def test_equal_refused_messages_of_one_batch_are_kept_once(database_run):
    async def scenario(database):
        numbers = await keep(database, refused("1"), new("2"), refused("1"), refused("1"))
        async with database.connection() as connection:
            return numbers, {one.id: one.repeats for one in await everything(connection)}

    numbers, repeats = database_run(scenario)

    assert numbers[0] == numbers[2] == numbers[3]
    assert repeats == {numbers[0]: 2, numbers[1]: 0}


def test_a_batch_cannot_accept_two_messages_under_one_control_id(database_run):
    async def scenario(database):
        with pytest.raises(ValueError, match="one control id"):
            await keep(database, new("1"), new("1", body=adt("1", name="测试^乙")))
        async with database.connection() as connection:
            return await everything(connection)

    assert database_run(scenario) == []


def test_repeats_are_counted_and_nothing_is_stored_for_them(database_run):
    later = NOON + timedelta(minutes=5)

    async def scenario(database):
        one, two = await keep(database, new("1"), new("2"))
        async with database.transaction() as connection:
            await note_repeats(connection, messages=[two, one, two], now=later)
        async with database.connection() as connection:
            found = (await find_known(connection, keys=[new("2").key]))[0]
            return found, [(m.control_id, m.repeats, m.last_repeat_at) for m in await everything(connection)]

    found, messages = database_run(scenario)

    assert found.acknowledged == 3
    assert sorted(messages) == [("1", 1, later), ("2", 2, later)]


@pytest.mark.parametrize("control_id", ["1", None])
def test_of_two_copies_at_the_same_moment_one_is_told_to_look_again(database_run, control_id):
    message = new(control_id, body=adt("1"))

    async def scenario(database):
        looked, stored = asyncio.Event(), asyncio.Event()

        async def first():
            async with database.transaction() as connection:
                assert await find_known(connection, keys=[message.key]) == [None]
                await looked.wait()
                await record_messages(connection, messages=[message])
                stored.set()
                await asyncio.sleep(0.1)  # the other one waits for this commit

        async def second():
            async with database.transaction() as connection:
                assert await find_known(connection, keys=[message.key]) == [None]
                looked.set()
                await stored.wait()
                await record_messages(connection, messages=[new("2"), message])

        outcomes = await asyncio.gather(first(), second(), return_exceptions=True)
        async with database.connection() as connection:
            return outcomes, await everything(connection), await find_known(connection, keys=[message.key])

    (won, lost), messages, (found,) = database_run(scenario)

    assert won is None
    assert isinstance(lost, MessageRaceError)
    assert len(messages) == 1, "the loser's transaction left nothing, not even its other message"
    assert (found.message, found.same_content) == (messages[0].id, True)


def test_a_copy_whose_twin_was_undone_is_stored(database_run):
    async def scenario(database):
        stored = asyncio.Event()

        async def undone():
            async with database.transaction() as connection:
                await record_messages(connection, messages=[new("1")])
                stored.set()
                await asyncio.sleep(0.1)
                raise RuntimeError("the transaction fails for another reason")

        async def second():
            await stored.wait()
            return await keep(database, new("1"))

        failure, numbers = await asyncio.gather(undone(), second(), return_exceptions=True)
        async with database.connection() as connection:
            return failure, numbers, [one.id for one in await everything(connection)]

    failure, numbers, kept = database_run(scenario)

    assert isinstance(failure, RuntimeError)
    assert numbers == kept


def test_many_senders_of_the_same_messages_at_once_store_each_once_and_nobody_waits_in_a_circle(database_run):
    messages = [new(str(number)) for number in range(30)]

    async def deliver(database: Database, batch: list[NewMessage]) -> None:
        async def work(connection: Connection) -> None:
            found = await find_known(connection, keys=[one.key for one in batch])
            fresh = [one for one, before in zip(batch, found, strict=True) if before is None]
            await record_messages(connection, messages=fresh)
            repeats = [before.message for before in found if before is not None]
            await note_repeats(connection, messages=repeats, now=NOON)

        for _ in range(50):
            try:
                return await database.run(work, retries=0)
            except MessageRaceError:
                continue
        raise AssertionError("a repeat finds its message in the end")

    async def scenario(database):
        # Each in an order of its own: whoever locked in that order would meet the others in a circle.
        orders = [messages, messages[::-1], messages[15:] + messages[:15], messages[::3] + messages[1::3]]
        await asyncio.gather(*(deliver(database, list(order)) for order in orders))
        async with database.connection() as connection:
            return await everything(connection)

    kept = database_run(scenario)

    assert sorted(int(one.control_id) for one in kept) == list(range(30))
    assert sum(one.repeats for one in kept) == sum(
        len(order) for order in (messages, messages, messages[::3], messages[1::3])
    )


def test_a_refused_message_that_is_accepted_after_all_stands_beside_and_is_superseded(database_run):
    async def scenario(database):
        (wrong,) = await keep(database, refused("1"))
        (right,) = await keep(database, new("1"))
        found = await known(database, new("1"))
        async with database.connection() as connection:
            return wrong, right, found, await get_message(connection, message=wrong)

    wrong, right, found, shown = database_run(scenario)

    assert (found.message, found.kept_as, found.state) == (right, right, MessageState.ACCEPTED)
    assert (shown.id, shown.state, shown.superseded_by) == (wrong, MessageState.SUPERSEDED, right)


def test_a_message_that_is_refused_here_and_accepted_there_is_accepted(database_run):
    async def scenario(database):
        (number,) = await keep(database, refused(None, body=b"<a/>"))
        async with database.transaction() as connection:
            await record_messages(connection, messages=[new(None, body=b"<a/>")])
        with pytest.raises(MessageRaceError):
            await keep(database, refused(None, body=b"<a/>"))
        async with database.connection() as connection:
            return await get_message(connection, message=number)

    assert database_run(scenario).state is MessageState.ACCEPTED


HOSTILE = st.text(
    st.characters(exclude_categories=[]) | st.sampled_from("\x00\ud800\n\u202e\t'\"\\{}"), max_size=40
) | st.sampled_from(["x" * 100_000, "\x00" * 500, "医" * 3000])


@given(name=HOSTILE, body=st.binary(max_size=50))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_that_senders_put_into_names_is_kept_and_known_again(database_run, name, body):
    message = refused(
        name,
        sender=name,
        application=name,
        type=name,
        version=name,
        place=name,
        peer=name,
        received_by=name,
        body=body,
    )

    async def scenario(database):
        (number,) = await keep(database, message)
        found = await known(database, message)
        async with database.connection() as connection:
            return number, found, await get_message(connection, message=number)

    number, found, shown = database_run(scenario)

    assert found.message == number
    assert len(shown.control_id) < 130
    assert shown.control_id.isprintable()


def test_different_names_that_do_not_print_stay_different(database_run):
    async def scenario(database):
        await keep(database, new("a\x00b"))
        return await known(database, new("a\x01b", body=adt("a\x00b"))), await known(database, new("a\x00b"))

    other, same = database_run(scenario)

    assert other is None
    assert same is not None


def test_a_residents_number_as_control_id_is_not_kept_in_clear(database_run):
    number = "990101198001010012"  # fictional: no division begins with 99
    from kangshu.standards.identifiers import resident_check_digit

    number = number[:17] + resident_check_digit(number[:17])

    async def scenario(database):
        await keep(database, new(f"DOC-{number}"))
        found = await known(database, new(f"DOC-{number}"))
        async with database.connection() as connection:
            rows = await connection.fetch("SELECT message::text FROM intake_message AS message")
        return found, str([row[0] for row in rows])

    found, rows = database_run(scenario)

    assert found is not None
    assert number not in rows
    assert number[6:14] not in rows


def test_nothing_of_a_body_is_in_the_tables_in_clear(database_run):
    async def scenario(database):
        await keep(database, refused("1", body=adt("1", name="独特姓^独特名")))
        async with database.connection() as connection:
            rows = await connection.fetch("SELECT message::text FROM intake_message AS message")
            deltas = await connection.fetch("SELECT delta::text FROM intake_message_delta AS delta")
        return str([row[0] for row in [*rows, *deltas]])

    text = database_run(scenario)

    assert "独特" not in text
    assert "P0001" not in text
    assert "19800101" not in text


def test_the_digest_is_sixteen_bytes_and_tells_contents_apart():
    assert len(digest_of(b"")) == 16
    assert digest_of(b"a") != digest_of(b"b")
    assert MessageKey(sender="a", control_id=None, digest=digest_of(b"a")).application == ""
