"""Messages become records: kept, linked, stored, staged, audited, and only then acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from message_world import (
    HOSPITAL,
    OTHER_HOSPITAL,
    MessageWorld,
    admission,
    header,
    merge,
    open_message_world,
    patient,
    report,
)

from kangshu import audit, identity, lake
from kangshu.app.maintenance import bring_messages_to_lake
from kangshu.intake.messages import MessageFormat, MessageState

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def house(database_server: str) -> Iterator[MessageWorld]:
    with open_message_world(database_server) as world:
        yield world


def _ack(result) -> dict[str, str]:
    lines = result.answer.decode().split("\r")
    found = {line[:3]: line for line in lines if line}
    return {
        "code": found["MSA"].split("|")[1],
        "control": found["MSA"].split("|")[2],
        "err": found.get("ERR", ""),
    }


def test_an_accepted_message_is_acknowledged_with_its_control_id(house: MessageWorld):
    result = house.take(admission("A-1"))

    assert result.state is MessageState.ACCEPTED
    assert _ack(result) == {"code": "AA", "control": "A-1", "err": ""}
    assert len(house.of_type(result, "Patient")) == 1
    assert len(house.of_type(result, "Encounter")) == 1


def test_the_same_message_again_is_acknowledged_again_and_stored_once(house: MessageWorld):
    first = house.take(admission("B-1", number="PB"))

    again = house.take(admission("B-1", number="PB"))

    assert again.state is MessageState.DUPLICATE
    assert again.message == first.message
    assert _ack(again)["code"] == "AA"


def test_two_copies_at_the_same_moment_are_stored_once(house: MessageWorld):
    body = admission("C-1", number="PC")

    async def both():
        takes = [house.lane.take(body=body, format=None, channel="test", principal=None) for _ in range(8)]
        return await asyncio.gather(*takes)

    results = house.world.run(both)

    assert sorted(one.state.value for one in results) == ["accepted"] + ["duplicate"] * 7
    assert {_ack(one)["code"] for one in results} == {"AA"}


def test_the_same_control_id_with_another_content_is_refused_and_shown(house: MessageWorld):
    house.take(admission("D-1", number="PD"))

    other = house.take(admission("D-1", number="PD", visit_number="V9"))

    assert other.state is MessageState.CONFLICT
    assert _ack(other)["code"] == "AE"
    assert other.place == "MSH-10"
    assert other.message is not None


def test_what_is_no_message_is_rejected_and_kept(house: MessageWorld):
    result = house.take(b"hello", format=MessageFormat.HL7V2)

    assert result.state is MessageState.REFUSED
    assert b"MSA|AR" in result.answer
    assert result.message is not None


def test_a_message_without_a_patient_number_is_refused_at_its_place(house: MessageWorld):
    body = "\r".join(
        [header("ADT^A04^ADT_A01", "E-1"), "EVN|A04|20260301", "PID|1||||测试乙||19700101|M", ""]
    )

    result = house.take(body.encode())

    assert result.state is MessageState.REFUSED
    assert result.place == "PID-3"
    assert _ack(result)["code"] == "AE"
    assert "测试乙" not in str(result.reason)


def test_a_corrected_result_is_a_new_version_that_says_so(house: MessageWorld):
    first = house.take(report("F-1", filler="LF"))
    (before,) = house.of_type(first, "Observation")

    second = house.take(report("F-2", filler="LF", status="C", value="6.10"))

    assert house.of_type(second, "Observation") == [before]
    content = house.read(before)
    assert content["status"] == "corrected"
    assert str(content["valueQuantity"]["value"]) == "6.10"
    assert content["meta"]["versionId"] == "2"


def test_a_cancelled_visit_is_cancelled(house: MessageWorld):
    house.take(admission("G-1", event="A01", number="PG", visit_number="VG"))

    result = house.take(admission("G-2", event="A11", number="PG", visit_number="VG"))

    (encounter,) = house.of_type(result, "Encounter")
    assert house.read(encounter)["status"] == "cancelled"


def test_a_report_does_not_overwrite_what_the_admission_said_of_the_visit(house: MessageWorld):
    first = house.take(admission("H-1", number="P1", visit_number="V1"))
    (encounter,) = house.of_type(first, "Encounter")
    before = house.read(encounter)

    house.take(report("H-2", filler="LH"))

    assert house.read(encounter) == before


def test_messages_of_two_hospitals_about_one_resident_are_about_one_person(house: MessageWorld):
    house.take(admission("I-1", number="PI", resident="990102197001011234"[:17] + "X", name="测试丙"))
    house.take(
        admission(
            "I-2", sender=OTHER_HOSPITAL, number="Q7", resident="990102197001011234"[:17] + "X", name="测试丙"
        )
    )

    async def scenario():
        async with house.world.platform.database.connection() as connection:
            keys = house.world.platform.keys
            one = await identity.find_persons(connection, keys=keys, local_number="PI", institution=HOSPITAL)
            two = await identity.find_persons(
                connection, keys=keys, local_number="Q7", institution=OTHER_HOSPITAL
            )
            return one, two

    one, two = house.world.run(scenario)
    assert one
    assert two


def test_a_merge_joins_the_two_numbers_of_a_hospital(house: MessageWorld):
    house.take(admission("J-1", number="J1", resident="", name="测试丁", birth="19800101"))
    house.take(admission("J-2", number="J2", resident="", name="测试戊", birth="19810101"))

    result = house.take(
        merge("J-3", survivor="J1", absorbed="J2", resident="", name="测试丁", birth="19800101")
    )

    assert result.state is MessageState.ACCEPTED

    async def scenario():
        async with house.world.platform.database.connection() as connection:
            keys = house.world.platform.keys
            (one,) = await identity.find_persons(
                connection, keys=keys, local_number="J1", institution=HOSPITAL
            )
            (two,) = await identity.find_persons(
                connection, keys=keys, local_number="J2", institution=HOSPITAL
            )
            groups = await identity.persons_meaning(connection, persons=[one.id, two.id])
            return one.id, two.id, groups

    one, two, groups = house.world.run(scenario)
    assert groups[one] == groups[two]


def test_rows_out_of_messages_reach_the_lake_once(house: MessageWorld):
    async def count() -> dict[str, int]:
        await bring_messages_to_lake(house.world.platform)
        async with house.world.platform.database.connection() as connection:
            return await lake.count_rows(connection)

    before = house.world.run(count).get("lab_result", 0)
    house.take(report("K-1", filler="LK"))
    house.take(report("K-1", filler="LK"))
    house.take(report("K-2", filler="LK", status="C", value="5.90"))

    assert house.world.run(count)["lab_result"] == before + 1


def test_every_message_is_on_the_audit_chain_with_its_person(house: MessageWorld):
    result = house.take(admission("L-1", number="PL"))

    async def scenario():
        async with house.world.platform.database.connection() as connection:
            return await audit.list_entries(connection, action="message.take", limit=5)

    entries = house.world.run(scenario)
    assert any(
        entry.resource == f"message/{result.message}" and entry.person is not None for entry in entries
    )


def test_messages_of_one_patient_take_effect_in_their_order_on_parallel_connections(house: MessageWorld):
    async def both():
        takes = [
            house.lane.take(
                body=report(f"M-{number}", filler="LM", status="C", value=f"{number}.00"),
                format=None,
                channel="test",
                principal=None,
            )
            for number in range(1, 9)
        ]
        return await asyncio.gather(*takes)

    results = house.world.run(both)

    (observation,) = house.of_type(results[-1], "Observation")
    assert str(house.read(observation)["valueQuantity"]["value"]) == "8.00"


def test_a_patient_segment_alone_is_enough_to_know_somebody(house: MessageWorld):
    body = "\r".join(
        [header("ADT^A28^ADT_A05", "N-1"), "EVN|A28|20260301", patient("PN", resident=""), "PV1|1|N", ""]
    )

    assert house.take(body.encode()).state is MessageState.ACCEPTED
