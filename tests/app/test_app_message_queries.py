"""PIX and PDQ by HL7 v2 when persons are merged, and when that is undone. All people are synthetic."""

from __future__ import annotations

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
    reader,
)

from kangshu import identity
from kangshu.audit import list_entries

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def house(database_server: str) -> Iterator[MessageWorld]:
    with open_message_world(database_server) as world:
        yield world


def ask(house: MessageWorld, event: str, parameters: str) -> str:
    """Ask as somebody who may find persons, and return the answer."""
    lines = [
        header(f"QBP^{event}^QBP_Q21", f"Q-{event}", version="2.5"),
        f"QPD|IHE Query^^IHE|1|{parameters}",
        "RCP|I|10^RD",
        "",
    ]
    result = house.world.run(
        lambda: house.lane.take(
            body="\r".join(lines).encode(), format=None, channel="test", principal=reader()
        )
    )
    return result.answer.decode()


def pix(house: MessageWorld, number: str, *, sender: str = HOSPITAL, wanted: str = "") -> set[str]:
    """Return the numbers that PIX gives for one of a sender's, as `number of authority`."""
    answer = ask(house, "Q23", f"{number}^^^{sender}^PI" + (f"|^^^{wanted}" if wanted else ""))
    return {told for segment in _segments(answer, "PID") for told in _numbers(segment)}


def pdq(house: MessageWorld, parameters: str) -> list[set[str]]:
    """Return the numbers of each person that PDQ finds."""
    return [_numbers(segment) for segment in _segments(ask(house, "Q22", parameters), "PID")]


def _segments(answer: str, name: str) -> list[str]:
    return [line for line in answer.split("\r") if line.startswith(f"{name}|")]


def _numbers(segment: str) -> set[str]:
    numbers = (one.split("^") for one in segment.split("|")[3].split("~"))
    return {f"{one[0]} of {one[3].partition('&')[0]}" if len(one) > 3 else one[0] for one in numbers}


def own(house: MessageWorld, number: str) -> str:
    """Return the index's number of a sender's number's holder."""
    (found,) = (told for told in pix(house, number) if told.endswith(" of KANGSHU"))
    return found


def undo(house: MessageWorld, absorbed: str) -> None:
    async def scenario() -> None:
        platform = house.world.platform
        async with platform.database.transaction() as connection:
            found = await identity.get_merge_of(connection, absorbed=int(absorbed.partition(" ")[0]))
            await identity.undo_merge(
                connection, merge=found.id, actor="staff:test", now=platform.clock.now()
            )

    house.world.run(scenario)


def test_numbers_of_merged_persons_are_told_together_until_it_is_undone(house: MessageWorld):
    house.take(admission("A-1", number="MA", name="测试合甲", birth="19610101", resident=""))
    house.take(admission("A-2", number="MB", name="测试合乙", birth="19620202", resident=""))
    first, second = own(house, "MA"), own(house, "MB")
    assert first != second

    house.take(merge("A-3", survivor="MA", absorbed="MB", name="测试合甲", birth="19610101", resident=""))

    both = {f"MA of {HOSPITAL}", f"MB of {HOSPITAL}", first}
    assert pix(house, "MA") == pix(house, "MB") == both
    assert pdq(house, f"@PID.3.1^MB~@PID.3.4^{HOSPITAL}") == [both]
    assert pdq(house, "@PID.5.1^测~@PID.5.2^试合乙") == pdq(house, "@PID.5.1^测~@PID.5.2^试合甲") == [both]

    undo(house, second)

    assert pix(house, "MA") == {f"MA of {HOSPITAL}", first}
    assert pix(house, "MB") == {f"MB of {HOSPITAL}", second}
    assert pdq(house, "@PID.5.1^测~@PID.5.2^试合乙") == [{f"MB of {HOSPITAL}", second}]


def test_a_chain_of_merges_is_one_person_and_comes_apart_where_it_is_undone(house: MessageWorld):
    people = {"CA": "19710101", "CB": "19720202", "CC": "19730303"}
    for number, born in people.items():
        house.take(admission(f"C-{number}", number=number, name=f"测试链{number}", birth=born, resident=""))
    first, second, third = (own(house, number) for number in people)

    house.take(merge("C-1", survivor="CB", absorbed="CC", name="测试链CB", birth="19720202", resident=""))
    house.take(merge("C-2", survivor="CA", absorbed="CB", name="测试链CA", birth="19710101", resident=""))

    assert {own(house, number) for number in people} == {first}
    assert pix(house, "CC", wanted=HOSPITAL) == {f"{number} of {HOSPITAL}" for number in people}

    undo(house, second)

    assert own(house, "CA") == first
    assert own(house, "CB") == own(house, "CC") == second
    undo(house, third)
    assert [own(house, number) for number in people] == [first, second, third]


def test_a_number_that_arrives_for_the_absorbed_person_is_told_of_the_survivor(house: MessageWorld):
    resident = "990102198305051233"
    told = {"name": "测试后到", "birth": "19830505", "resident": resident}
    house.take(admission("L-1", number="LA", name="测试先到", birth="19630303", resident=""))
    house.take(admission("L-2", number="LB", **told))
    house.take(merge("L-3", survivor="LA", absorbed="LB", name="测试先到", birth="19630303", resident=""))

    house.take(admission("L-4", number="LC", sender=OTHER_HOSPITAL, **told))

    assert f"LA of {HOSPITAL}" in pix(house, "LC", sender=OTHER_HOSPITAL)
    assert pix(house, "LA", wanted=OTHER_HOSPITAL) == {f"LC of {OTHER_HOSPITAL}"}


def test_who_was_shown_is_on_record_under_the_number_that_stands_for_the_person(house: MessageWorld):
    house.take(admission("R-1", number="RA", name="测试录甲", birth="19810101", resident=""))
    house.take(admission("R-2", number="RB", name="测试录乙", birth="19820202", resident=""))
    first = own(house, "RA")
    house.take(merge("R-3", survivor="RA", absorbed="RB", name="测试录甲", birth="19810101", resident=""))
    pix(house, "RB")

    async def read() -> int | None:
        async with house.world.platform.database.connection() as connection:
            (entry,) = await list_entries(connection, action="person.query", limit=1)
            return entry.person

    assert house.world.run(read) == int(first.partition(" ")[0])
