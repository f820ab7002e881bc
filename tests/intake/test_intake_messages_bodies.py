"""Bodies: packed, opened under guard and on record, masked for others, pruned when their time is over."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages_made_up import HOSPITAL, NOON, OTHER, adt, new, refused, staff

from kangshu.audit import list_entries, list_for_person
from kangshu.intake.messages import (
    BODY_READ,
    BodyPrunedError,
    MessageFilter,
    MessageFormat,
    MessageNotFoundError,
    find_known,
    get_message,
    list_prunings,
    list_replayable,
    open_body,
    open_masked,
    prune_bodies,
    readable_body,
    record_messages,
)
from kangshu.intake.messages.masking import mask_body
from kangshu.intake.messages.packing import pack, unpack
from kangshu.security.errors import NotPermittedError
from kangshu.security.principals import Role

CENTRE = staff(Role.CENTRE_STAFF)
DAY = timedelta(days=1)


async def keep(database, *messages):
    async with database.transaction() as connection:
        return await record_messages(connection, messages=messages)


async def opened(database, number, *, principal=CENTRE, **more):
    async with database.transaction() as connection:
        return await open_body(
            connection, principal=principal, message=number, now=NOON, purpose="quality", **more
        )


@given(bodies=st.lists(st.binary(max_size=200), max_size=20))
def test_bodies_come_out_of_their_blocks_as_they_went_in(bodies):
    packed = pack([new(None, body=body) for body in bodies])

    blocks = [unpack(block.content, size=block.bytes) for block in packed.blocks]

    assert [
        blocks[block - 1][offset : offset + len(body)]
        for body, block, offset in zip(bodies, packed.block_of, packed.offset_of, strict=True)
    ] == bodies
    assert sum(block.messages for block in packed.blocks) == len(bodies)


def test_a_block_holds_at_most_a_mebibyte_or_one_message():
    bodies = [b"a" * (600 << 10), b"b" * (600 << 10), b"c" * (3 << 20), b"d", b"e" * 10]

    packed = pack([new(None, body=body) for body in bodies])

    assert packed.block_of == [1, 2, 3, 4, 4]
    assert [block.bytes for block in packed.blocks] == [600 << 10, 600 << 10, 3 << 20, 11]


@pytest.mark.database
def test_a_body_is_opened_as_it_came_and_the_residents_see_who_looked(database_run):
    async def scenario(database):
        _, number, _ = await keep(database, new("1"), new("2", persons=(7, 9)), new("3"))
        found = await opened(database, number, institutions=[HOSPITAL])
        async with database.connection() as connection:
            return number, found, [await list_for_person(connection, person=one) for one in (7, 9, 12)]

    number, found, (seven, nine, twelve) = database_run(scenario)

    assert found.body == adt("2")
    assert found.message.id == number
    assert "测试" not in repr(found)
    for looks in (seven, nine):
        assert [(one.action, one.actor, one.purpose, one.resource) for one in looks] == [
            (BODY_READ, "staff:test", "quality", f"message/{number}")
        ]
    assert twelve == []


@pytest.mark.database
def test_a_look_at_a_message_about_nobody_is_on_record_too(database_run):
    async def scenario(database):
        (number,) = await keep(database, refused("1"))
        await opened(database, number)
        async with database.connection() as connection:
            return await list_entries(connection, action=BODY_READ)

    entries = database_run(scenario)

    assert [(one.person, one.institution) for one in entries] == [(None, HOSPITAL)]


@pytest.mark.database
@pytest.mark.parametrize(
    "role", [Role.ADMINISTRATOR, Role.AUDITOR, Role.STATISTICIAN, Role.CLINICIAN, Role.DESK]
)
def test_who_may_not_both_see_messages_and_read_records_opens_no_body(database_run, role):
    async def scenario(database):
        (number,) = await keep(database, new("1"))
        with pytest.raises(NotPermittedError):
            await opened(database, number, principal=staff(role))
        async with database.connection() as connection:
            return await list_entries(connection, action=BODY_READ)

    assert database_run(scenario) == []


@pytest.mark.database
def test_a_body_of_another_sender_is_not_found(database_run):
    async def scenario(database):
        (number,) = await keep(database, new("1"))
        with pytest.raises(MessageNotFoundError):
            await opened(database, number, institutions=[OTHER])
        async with database.connection() as connection:
            with pytest.raises(MessageNotFoundError):
                await open_masked(connection, principal=CENTRE, message=number, institutions=[OTHER])

    database_run(scenario)


@pytest.mark.database
def test_an_administrator_sees_the_shape_of_a_message_and_nothing_of_it(database_run):
    async def scenario(database):
        (number,) = await keep(database, new("1"))
        async with database.connection() as connection:
            shape = await open_masked(connection, principal=staff(Role.ADMINISTRATOR), message=number)
            with pytest.raises(NotPermittedError):
                await open_masked(connection, principal=staff(Role.DESK), message=number)
        return shape

    shape = database_run(scenario)

    assert shape.startswith("MSH|^~\\&|HIS|")
    assert "\nPID|0||x0000^^^00000000000000000x0000||〇〇^〇||00000000|x\n" in shape


def test_the_shape_of_an_hl7_message_keeps_segments_and_header_and_no_value():
    header = "MSH|^~\\&|HIS|H01|K|R|20260302||ADT^A01|7|P|2.5.1"
    body = f"{header}\rPID|1||P01^^^H01||测试^甲||19800101|M\rZZ9|秘\r"

    assert mask_body(body.encode(), format=MessageFormat.HL7V2, most=1000).split("\n") == [
        header,
        "PID|0||x00^^^x00||〇〇^〇||00000000|x",
        "ZZ9|〇",
        "",
    ]


def test_the_shape_of_json_and_xml_keeps_names_and_no_value():
    resource = {"resourceType": "Patient", "name": [{"text": '测"试'}], "active": True, "n": 12.5, "张": None}
    xml = '<?xml version="1.0"?><Patient xmlns="http://x"><name value="测试"/>甲<!-- 乙 --></Patient>'

    json_shape = mask_body(
        json.dumps(resource, ensure_ascii=False).encode(), format=MessageFormat.FHIR, most=1000
    )
    xml_shape = mask_body(xml.encode(), format=MessageFormat.CDA, most=1000)

    assert json_shape == (
        '{"resourceType": "xxxxxxx", "name": [{"text": "〇\\"〇"}], "active": true, "n": 00.0, "〇": null}'
    )
    assert xml_shape == (
        '<?xml version="0.0"?><Patient xmlns="xxxx://x"><name value="〇〇"/>〇<!-- 〇 --></Patient>'
    )


SECRET = st.text(st.sampled_from("ab12张三"), min_size=1, max_size=30)


@given(secret=SECRET, format_=st.sampled_from(MessageFormat))
def test_no_value_survives_masking(secret, format_):
    bodies = {
        MessageFormat.HL7V2: f"MSH|^~\\&|A|B\rPID|||{secret}^{secret}~{secret}|\r{secret}|\r",
        MessageFormat.FHIR: json.dumps({"resourceType": secret, "a": [secret, {"b": secret}]}),
        MessageFormat.CDA: f"<a b=\"{secret}\" c='{secret}'>{secret}<d/>{secret}</a>",
        MessageFormat.UNKNOWN: secret,
    }

    shape = mask_body(bodies[format_].encode(), format=format_, most=10_000)

    assert not any(one in shape for one in "23张三")
    assert len(secret) < 3 or secret not in shape


@given(
    body=st.binary(max_size=300)
    | st.text(st.sampled_from("\"\\{}<>/='&| \nMSHPID01x:"), max_size=300).map(str.encode),
    format_=st.sampled_from(MessageFormat),
)
def test_anything_can_be_masked_and_shown_within_bounds(body, format_):
    for shown in (mask_body(body, format=format_, most=50), readable_body(body, most=50)):
        assert len(shown) <= 50
        assert all(one.isprintable() or one in "\n\t" for one in shown)


@pytest.mark.parametrize(
    "piece", ['"', '"\\', '\\"', "<", "<a ", '<a b="', "a =", "<a a    ", "{", "MSH|", "\n"]
)
def test_masking_is_quick_whatever_is_repeated(piece):
    body = (piece * 40_000).encode()[:60_000]

    for format_ in MessageFormat:
        for start in (b"", b"{", b"<", b"MSH|"):
            mask_body(start + body, format=format_, most=60_000)


def test_a_message_in_gbk_is_shown_in_characters():
    body = "MSH|^~\\&|HIS\rPID|||测试".encode("gb18030")

    assert "测试" in readable_body(body, most=1000)
    assert "〇〇" in mask_body(body, format=MessageFormat.HL7V2, most=1000)


@pytest.mark.database
def test_bodies_whose_time_is_over_go_and_what_went_is_on_record(database_run):
    async def scenario(database):
        (old,) = await keep(database, refused("1", received_at=NOON - 200 * DAY))
        (older,) = await keep(database, new("2", received_at=NOON - 300 * DAY))
        (fresh,) = await keep(database, refused("3", received_at=NOON - 10 * DAY))
        run = await prune_bodies(database, before=NOON - 180 * DAY, now=NOON)
        again = await prune_bodies(database, before=NOON - 180 * DAY, now=NOON)
        with pytest.raises(BodyPrunedError):
            await opened(database, old)
        async with database.connection() as connection:
            return (
                run,
                again,
                await list_prunings(connection),
                [(await get_message(connection, message=one)).body_kept for one in (old, older, fresh)],
                (await find_known(connection, keys=[new("2").key]))[0],
                await open_masked(connection, principal=CENTRE, message=old),
                (fresh, await list_replayable(connection, wanted=MessageFilter())),
            )

    run, again, prunings, kept, known, shape, (fresh, waiting) = database_run(scenario)

    assert (run.bodies, run.bytes) == (2, len(adt("1")) + len(adt("2")))
    assert (run.oldest, run.newest) == (NOON - 300 * DAY, NOON - 200 * DAY)
    assert (run.pruned_at, run.before) == (NOON, NOON - 180 * DAY)
    assert again is None
    assert prunings == [run]
    assert kept == [False, False, True]
    assert known is not None, "a repeat after the pruning is still a repeat"
    assert shape is None
    assert waiting == [fresh]


@pytest.mark.database
def test_pruning_takes_many_small_steps_and_writes_one_record(database_run, monkeypatch):
    from kangshu.intake.messages import operations

    monkeypatch.setattr(operations, "_PRUNE_STEP", 2)

    async def scenario(database):
        for number in range(7):
            await keep(database, new(str(number), received_at=NOON - 200 * DAY))
        await keep(database, new("fresh"))
        run = await prune_bodies(database, before=NOON - 180 * DAY, now=NOON)
        async with database.connection() as connection:
            return run, await list_prunings(connection)

    run, prunings = database_run(scenario)

    assert run.bodies == 7
    assert len(prunings) == 1


@pytest.mark.database
def test_a_second_pruning_at_the_same_moment_does_nothing(database_run):
    async def scenario(database):
        await keep(database, new("1", received_at=NOON - 200 * DAY))
        async with database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('intake_message', 2))")
            beside = await prune_bodies(database, before=NOON, now=NOON)
        return beside, await prune_bodies(database, before=NOON, now=NOON)

    beside, alone = database_run(scenario)

    assert beside is None
    assert alone.bodies == 1
