"""Merges point, move nothing and are undone exactly. Everybody here is synthetic."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_reference import Claim
from test_identity_laws import undone
from test_identity_online import MOTHER, bring, local, subject, tell

from kangshu.identity import (
    EventKind,
    MergeUndoneError,
    MergeUnknownError,
    PersonUnknownError,
    ReviewDecidedError,
    ReviewReason,
    ReviewState,
    ReviewUnknownError,
    find_persons,
    get_merge_of,
    get_person,
    get_review,
    list_events,
    list_identifiers,
    list_merges,
    list_persons,
    list_reviews,
    merge_persons,
    merge_reviewed,
    persons_meaning,
    undo_merge,
)
from kangshu.mapping import Subject
from kangshu.storage.database import Database

__all__ = ["undone"]  # a fixture of the neighbour

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
UNKNOWN = Claim(institution="A", local="900", name="无名氏", sex="2")
MISTAKEN = Claim(institution="A", local="901", name="测试明", birth=date(1971, 7, 7), sex="2")


async def merge(connection: Any, survivor: int, absorbed: int) -> Any:
    return await merge_persons(
        connection, survivor=survivor, absorbed=absorbed, actor="张三", reason="A40", now=NOW
    )


async def undo(connection: Any, merge_id: int) -> Any:
    return await undo_merge(connection, merge=merge_id, actor="李四", now=LATER)


@pytest.fixture
def people(database_run, keys):
    """Run `async fn(connection, persons)` where some people are known, `persons` being their ids."""

    async def scenario(database: Database, work: Any) -> Any:
        async with database.transaction() as connection:
            named = [Claim(institution="B", local=str(place), name=f"测试{name}", birth=date(1980, 1, place))
                     for place, name in enumerate("甲乙丙", start=1)]  # fmt: skip
            persons = await tell(connection, keys, [MOTHER, UNKNOWN, MISTAKEN, *named])
            return await work(connection, persons)

    return lambda work: database_run(lambda database: scenario(database, work))


@pytest.mark.database
def test_the_survivor_stands_for_both_and_shows_what_either_told(people, keys):
    async def work(connection, persons):
        mother, unknown, *_ = persons
        await merge(connection, unknown, mother)

        assert await persons_meaning(connection, persons=[mother, unknown, 10**12]) == {
            mother: (unknown, mother),
            unknown: (unknown, mother),
            10**12: (10**12,),
        }
        for person in (mother, unknown):
            shown = await get_person(connection, keys=keys, person=person)
            assert (shown.id, shown.absorbed) == (unknown, (mother,))
            assert (shown.resident_number, shown.phone) == (MOTHER.resident, MOTHER.phone)
            assert {one.value for one in await list_identifiers(connection, keys=keys, person=person)} == {
                MOTHER.resident,
                "100",
                "900",
            }
        (listed,) = await list_persons(connection, keys=keys, persons=[mother, unknown])
        (found,) = await find_persons(connection, keys=keys, name=MOTHER.name)
        assert listed == found == shown

    people(work)


@pytest.mark.database
def test_a_merge_and_its_undo_are_on_record_for_both(people):
    async def work(connection, persons):
        mother, unknown, *_ = persons
        done = await merge(connection, mother, unknown)
        assert (done.survivor, done.absorbed, done.actor, done.reason) == (mother, unknown, "张三", "A40")
        assert await get_merge_of(connection, absorbed=unknown) == done

        undone_merge = await undo(connection, done.id)

        assert undone_merge == replace(done, undone_at=LATER, undone_by="李四")
        for person, other in ((mother, unknown), (unknown, mother)):
            assert await list_merges(connection, person=person) == [undone_merge]
            events = await list_events(connection, person=person)
            assert [(one.kind, one.other, one.actor) for one in events] == [
                (EventKind.SPLIT, other, "李四"),
                (EventKind.MERGED, other, "张三"),
            ]
        with pytest.raises(MergeUnknownError):
            await get_merge_of(connection, absorbed=unknown)

    people(work)


@pytest.mark.database
def test_merging_who_is_one_already_does_nothing(people):
    async def work(connection, persons):
        one, other, third, *_ = persons
        await merge(connection, one, other)
        await merge(connection, one, third)
        assert await merge(connection, other, one) is None
        assert await merge(connection, other, third) is None
        assert await merge(connection, one, one) is None

    people(work)


@pytest.mark.database
def test_chains_lead_to_their_end(people):
    async def work(connection, persons):
        first, second, third, fourth, *_ = persons
        await merge(connection, second, first)
        done = await merge(connection, third, first)  # whoever absorbed the first is meant
        assert (done.survivor, done.absorbed) == (third, second)
        await merge(connection, fourth, third)
        meaning = await persons_meaning(connection, persons=[first])
        assert meaning == {first: (fourth, *sorted((first, second, third)))}

        await undo(connection, done.id)

        meaning = await persons_meaning(connection, persons=[first, second, third, fourth])
        assert meaning[first] == meaning[second] == (second, first)
        assert meaning[third] == meaning[fourth] == (fourth, third)

    people(work)


@pytest.mark.database
def test_what_cannot_be_merged_or_undone_is_a_clear_error(people):
    async def work(connection, persons):
        with pytest.raises(PersonUnknownError):
            await merge(connection, persons[0], 10**12)
        with pytest.raises(MergeUnknownError):
            await undo(connection, 10**12)
        done = await merge(connection, persons[0], persons[1])
        await undo(connection, done.id)
        with pytest.raises(MergeUndoneError):
            await undo(connection, done.id)

    people(work)


steps = st.lists(
    st.tuples(st.sampled_from(["merge", "merge", "undo"]), st.integers(0, 5), st.integers(0, 5)), max_size=14
)


class Forest:
    """The model: who was merged into whom by which merge; whatever is connected is one human."""

    def __init__(self) -> None:
        self.into: dict[int, tuple[int, int]] = {}

    def root(self, person: int) -> int:
        return self.root(self.into[person][0]) if person in self.into else person

    def meaning(self, person: int) -> set[int]:
        return {other for other in range(6) if self.root(other) == self.root(person)}


@pytest.mark.database
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_any_sequence_of_merges_and_undos_means_what_a_simple_model_says(undone, keys, steps):
    async def work(connection: Any) -> None:
        told = [Claim(institution="A", local=str(place + 1)) for place in range(6)]
        persons = await tell(connection, keys, told)
        places = {person: place for place, person in enumerate(persons)}
        forest, merges = Forest(), []
        for step, one, other in steps:
            if step == "merge":
                before = await pointers(connection)
                done = await merge(connection, persons[one], persons[other])
                assert (done is None) == (forest.root(one) == forest.root(other))
                if done is None:
                    continue
                assert (places[done.survivor], places[done.absorbed]) == (
                    forest.root(one),
                    forest.root(other),
                )
                async with connection.transaction():  # its undo brings back what was, and is then forgotten
                    await undo(connection, done.id)
                    assert await pointers(connection) == before
                    done = await merge(connection, persons[one], persons[other])
                forest.into[forest.root(other)] = (forest.root(one), done.id)
                merges.append(done.id)
            elif merges:
                merge_id = merges[one % len(merges)]
                active = [place for place, edge in forest.into.items() if edge[1] == merge_id]
                if active:
                    await undo(connection, merge_id)
                    del forest.into[active[0]]
                else:
                    with pytest.raises(MergeUndoneError):
                        await undo(connection, merge_id)
            await check(connection, persons, places, forest)

    undone(work)


async def pointers(connection: Any) -> list[Any]:
    return await connection.fetch("SELECT id, survivor FROM identity_person ORDER BY id")


async def check(connection: Any, persons: Any, places: dict[int, int], forest: Forest) -> None:
    meaning = await persons_meaning(connection, persons=persons)
    for place, person in enumerate(persons):
        found = [places[one] for one in meaning[person]]
        assert found[0] == forest.root(place)
        assert (set(found), len(found)) == (forest.meaning(place), len(set(found)))


@pytest.mark.database
def test_a_later_message_with_the_absorbed_number_is_not_lost(people, keys):
    async def work(connection, persons):
        mother, unknown, mistaken, *_ = persons
        await merge(connection, mother, unknown)
        await merge(connection, mother, mistaken)

        bare = Subject(institution="A", identifiers=(local("A", "901"),))
        as_before = subject(MISTAKEN)
        as_survivor = subject(replace(MOTHER, local="901"))
        without_number = subject(replace(MOTHER, resident=None, local="901"))
        found = await tell(connection, keys, [bare, as_before, as_survivor, without_number])

        meaning = await persons_meaning(connection, persons=[one for one in found if one])
        assert set(meaning.values()) == {(mother, *sorted((unknown, mistaken)))}
        assert found[:2] == [mistaken, mistaken]
        assert await list_reviews(connection) == []
        files = await bring(
            connection, keys, [MISTAKEN, replace(MOTHER, resident=None, local="901", phone=None)]
        )
        assert set(files) <= {mother, mistaken}
        assert await list_reviews(connection) == []

    people(work)  # fmt: skip


@pytest.mark.database
@pytest.mark.parametrize("lane", ["message", "file"])
def test_both_lanes_know_a_merged_persons_number_by_the_survivors_facts(people, keys, lane):
    claim = replace(MOTHER, resident=None, local=MISTAKEN.local, phone=None)

    async def work(connection, persons):
        mother, _, mistaken, *_ = persons
        await merge(connection, mother, mistaken)
        told = tell if lane == "message" else bring
        assert await told(connection, keys, [claim]) == [mother]
        assert await told(connection, keys, [claim]) == [mother]
        assert await told(connection, keys, [MISTAKEN]) == [mistaken]
        assert await list_reviews(connection) == []

    people(work)


@pytest.mark.database
def test_a_review_is_answered_by_a_merge_and_open_again_after_its_undo(people, keys):
    async def work(connection, persons):
        mother, *_ = persons
        (here,) = await tell(connection, keys, [replace(MOTHER, resident=None, institution="C", local="1")])
        await tell(connection, keys, [replace(MOTHER, institution="C", local="1")])
        (entry,) = await list_reviews(connection)
        assert {entry.person, entry.other} == {mother, here}
        assert entry.reason is ReviewReason.POSSIBLE_DUPLICATE
        with pytest.raises(ReviewUnknownError):
            await merge_reviewed(connection, review=entry.id, survivor=persons[1], actor="张三", now=NOW)

        done = await merge_reviewed(
            connection, review=entry.id, survivor=mother, actor="张三", now=NOW, note="看过"
        )

        answered = await get_review(connection, review=entry.id)
        assert (answered.state, answered.decided_by) == (ReviewState.SAME, "张三")
        assert (done.survivor, done.absorbed, done.reason) == (mother, here, "看过")
        with pytest.raises(ReviewDecidedError):
            await merge_reviewed(connection, review=entry.id, survivor=mother, actor="张三", now=NOW)
        await undo(connection, done.id)
        assert await get_review(connection, review=entry.id) == entry

    people(work)


@pytest.mark.database
def test_a_review_of_persons_merged_meanwhile_is_answered_all_the_same(people, keys):
    async def work(connection, persons):
        mother, *_ = persons
        (here,) = await tell(connection, keys, [replace(MOTHER, resident=None, institution="C", local="1")])
        await merge(connection, mother, here)
        other = replace(
            MOTHER, resident=None, institution="C", local="1", name="测试明", birth=date(1970, 1, 1)
        )
        await tell(connection, keys, [other])
        (entry,) = await list_reviews(connection)
        await connection.execute("UPDATE identity_review SET person = $1, other = $2", mother, here)
        assert (
            await merge_reviewed(connection, review=entry.id, survivor=mother, actor="张三", now=NOW) is None
        )
        assert (await get_review(connection, review=entry.id)).state is ReviewState.SAME

    people(work)  # fmt: skip


@pytest.mark.database
def test_merges_of_the_same_persons_at_once_make_no_circle(run, database_url, keys):
    async def scenario():
        async with await Database.open(database_url, max_size=8) as database:
            told = [Claim(institution="A", local=str(place + 1)) for place in range(4)]
            persons = await database.run(lambda connection: tell(connection, keys, told))
            pairs = [(one, other) for one in persons for other in persons if one != other]

            async def one_merge(pair):
                return await database.run(lambda connection: merge(connection, *pair), retries=10)

            done = await asyncio.gather(*(one_merge(pair) for pair in pairs))
            async with database.connection() as connection:
                return persons, done, await persons_meaning(connection, persons=persons)

    persons, done, meaning = run(scenario())

    assert len([one for one in done if one]) == 3
    assert len(set(meaning.values())) == 1
    assert set(meaning[persons[0]]) == set(persons)
