"""Splits, their undoing, and the index made anew out of what happened. Everybody here is synthetic."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_reference import Claim
from test_identity_laws import number, undone
from test_identity_online import MOTHER, bring, subject, tell

from kangshu.identity import (
    EventKind,
    KeptApartError,
    MergeUndoneError,
    PersonUnknownError,
    ReviewState,
    SplitFollowedError,
    SplitRefusedError,
    SplitUndoneError,
    SplitUnknownError,
    ToldFacts,
    check_index,
    decide_review,
    find_persons,
    get_person,
    list_events,
    list_identifiers,
    list_reviews,
    list_splits,
    match_subject,
    merge_persons,
    pairs_apart,
    persons_meaning,
    rebuild_index,
    split_person,
    undo_merge,
    undo_split,
)
from kangshu.identity.linkage import default_model
from kangshu.storage.database import Database

__all__ = ["undone"]  # a fixture of the neighbour

pytestmark = pytest.mark.database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
TWO_IN_ONE = [
    Claim(
        institution="A",
        local="1",
        resident=number(date(1985, 5, 5), 1),
        name="测试甲",
        birth=date(1985, 5, 5),
    ),
    Claim(
        institution="B",
        local="2",
        resident=number(date(1985, 5, 5), 1),
        name="测试甲",
        birth=date(1985, 5, 5),
    ),
    Claim(
        institution="C",
        local="3",
        resident=number(date(1985, 5, 5), 1),
        name="测试甲",
        birth=date(1985, 5, 5),
    ),
]


async def split(connection: Any, person: int, identifiers: list[str], **more: Any) -> Any:
    return await split_person(
        connection, person=person, identifiers=identifiers, actor="张三", reason="错并", now=NOW, **more
    )


async def key_of(connection: Any, keys: Any, person: int, value: str) -> str:
    return next(
        one.key for one in await list_identifiers(connection, keys=keys, person=person) if one.value == value
    )


@pytest.fixture
def linked(database_run, keys):
    """Run `async fn(connection, person)` where one person holds a number and three institutions' numbers."""

    async def scenario(database: Database, work: Any) -> Any:
        async with database.transaction() as connection:
            persons = await tell(connection, keys, TWO_IN_ONE)
            assert len(set(persons)) == 1
            return await work(connection, persons[0])

    return lambda work: database_run(lambda database: scenario(database, work))


def test_identifiers_taken_out_are_a_new_persons(linked, keys):
    async def work(connection, person):
        key = await key_of(connection, keys, person, "3")
        done = await split(
            connection,
            person,
            [key],
            facts=ToldFacts(name="测试乙", sex="2", phone="13800000009"),
            keys=keys,
            random=secrets.token_bytes,
        )

        assert (done.person, done.identifiers, done.undone_at) == (person, 1, None)
        new = await get_person(connection, keys=keys, person=done.created)
        assert (new.id, new.name, new.sex, new.phone) == (done.created, "测试乙", "2", "13800000009")
        assert [one.value for one in await list_identifiers(connection, keys=keys, person=new.id)] == ["3"]
        assert [one.id for one in await find_persons(connection, keys=keys, name="测试乙")] == [new.id]
        later = await tell(connection, keys, [Claim(institution="C", local="3", name="测试乙", sex="2")])
        assert later == [new.id]
        assert await list_splits(connection, person=person) == [done]
        for one, other in ((person, new.id), (new.id, person)):
            event = (await list_events(connection, person=one))[0 if one == person else -1]
            assert (event.kind, event.other, event.actor, event.reason, event.operation) == (
                EventKind.SEPARATED,
                other,
                "张三",
                "错并",
                done.id,
            )

    linked(work)


def test_who_takes_the_resident_number_takes_its_birth_date_and_owns_it(linked, keys):
    async def work(connection, person):
        before = await get_person(connection, keys=keys, person=person)
        done = await split(
            connection, person, [await key_of(connection, keys, person, TWO_IN_ONE[0].resident or "")]
        )

        old, new = [await get_person(connection, keys=keys, person=one) for one in (person, done.created)]
        assert (old.resident_number, old.birth_date) == (None, before.birth_date)
        assert (new.resident_number, new.birth_date, new.name) == (
            TWO_IN_ONE[0].resident,
            before.birth_date,
            None,
        )
        await undo_split(connection, split=done.id, actor="李四", now=LATER)
        after = await get_person(connection, keys=keys, person=person)
        assert (after.resident_number, after.absorbed) == (before.resident_number, (done.created,))

    linked(work)


def test_what_records_told_goes_with_the_identifiers_and_finds_the_new_person(database_run, keys):
    first = Claim(
        institution="A", local="1", name="测试甲", birth=date(1985, 5, 5), sex="1", phone="13800000001"
    )
    other = Claim(
        institution="B", local="2", name="测试乙", birth=date(1991, 1, 7), sex="2", phone="13800000002"
    )

    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            one, two = await tell(connection, keys, [first, other], model=default_model())
            assert one is not None
            assert two is not None
            await connection.execute("UPDATE identity_identifier SET person = $1", one)
            await connection.execute("UPDATE identity_profile SET person = $1", one)
            await connection.execute("UPDATE identity_key SET person = $1", one)
            assert await connection.fetchval("SELECT count(*) FROM identity_profile") == 2
            done = await split(connection, one, [await key_of(connection, keys, one, "2")], keys=keys)

            found = await match_subject(
                connection,
                keys=keys,
                subject=subject(replace(other, institution="C", local="9", passport=None)),
                limit=5,
            )
            assert [match.person for match in found] == [done.created]
            held = await connection.fetch("SELECT person FROM identity_profile ORDER BY person")
            assert [row["person"] for row in held] == [one, done.created]

    database_run(scenario)


def test_an_undone_split_leaves_a_number_that_means_the_old_person(linked, keys):
    async def work(connection, person):
        before = await list_identifiers(connection, keys=keys, person=person)
        done = await split(connection, person, [await key_of(connection, keys, person, "2")])
        later = await tell(
            connection, keys, [Claim(institution="B", local="2"), Claim(institution="D", local="9")]
        )

        undone_split = await undo_split(connection, split=done.id, actor="李四", now=LATER)

        assert (undone_split.undone_at, undone_split.undone_by) == (LATER, "李四")
        assert later[0] == done.created
        assert await list_identifiers(connection, keys=keys, person=person) == before
        meaning = await persons_meaning(connection, persons=[done.created])
        assert meaning == {done.created: (person, done.created)}
        assert await pairs_apart(connection, persons=[person]) == set()
        with pytest.raises(SplitUndoneError):
            await undo_split(connection, split=done.id, actor="李四", now=LATER)

    linked(work)


def test_a_split_may_be_undone_beneath_a_later_one(linked, keys):
    async def work(connection, person):
        numbers = [await key_of(connection, keys, person, value) for value in ("2", "3")]
        first = await split(connection, person, numbers)
        second = await split(connection, first.created, [numbers[0]])

        await undo_split(connection, split=first.id, actor="李四", now=LATER)
        held = await list_identifiers(connection, keys=keys, person=second.created)
        assert [one.value for one in held] == ["2"]
        await undo_split(connection, split=second.id, actor="李四", now=LATER)

        held = await list_identifiers(connection, keys=keys, person=person)
        assert {(one.value, one.person) for one in held if one.value in ("2", "3")} == {
            ("2", person),
            ("3", person),
        }
        assert (await check_index(connection)).agrees

    linked(work)


def test_what_cannot_be_split_is_a_clear_error(linked, keys):
    async def work(connection, person):
        everything = [one.key for one in await list_identifiers(connection, keys=keys, person=person)]
        (stranger,) = await tell(connection, keys, [MOTHER])
        foreign = (await list_identifiers(connection, keys=keys, person=stranger))[0].key
        for wrong in ([], everything, [foreign], ["", "zz"], [everything[0], foreign]):
            with pytest.raises(SplitRefusedError):
                await split(connection, person, wrong)
        with pytest.raises(PersonUnknownError):
            await split(connection, 10**12, everything[:1])
        with pytest.raises(SplitUnknownError):
            await undo_split(connection, split=10**12, actor="李四", now=LATER)

    linked(work)


def test_a_split_whose_person_was_merged_since_is_not_undone_unseen(linked, keys):
    async def work(connection, person):
        done = await split(connection, person, [await key_of(connection, keys, person, "3")])
        (mother,) = await tell(connection, keys, [MOTHER])
        merge = await merge_persons(
            connection, survivor=mother, absorbed=done.created, actor="张三", reason="", now=NOW
        )
        with pytest.raises(SplitFollowedError):
            await undo_split(connection, split=done.id, actor="李四", now=LATER)
        assert merge is not None
        await undo_merge(connection, merge=merge.id, actor="李四", now=LATER)
        await undo_split(connection, split=done.id, actor="李四", now=LATER)

    linked(work)


def test_a_review_goes_with_the_identifier_it_is_about(linked, keys):
    async def work(connection, person):
        other = Claim(institution="C", local="3", name="测试乙", birth=date(1971, 1, 1))
        (stranger,) = await tell(connection, keys, [other])
        (before,) = await list_reviews(connection)
        done = await split(connection, person, [await key_of(connection, keys, person, "3")])
        (asked,) = await list_reviews(connection)
        assert {asked.person, asked.other} == {stranger, done.created}
        await undo_split(connection, split=done.id, actor="李四", now=LATER)
        assert await list_reviews(connection) == [before]

    linked(work)


def test_no_program_merges_whom_a_human_told_apart(linked, keys):
    async def work(connection, person):
        done = await split(connection, person, [await key_of(connection, keys, person, "3")])
        assert await pairs_apart(connection, persons=[done.created]) == {(person, done.created)}
        options = {"survivor": person, "absorbed": done.created, "reason": "", "now": NOW}
        with pytest.raises(KeptApartError):
            await merge_persons(connection, actor="matching", weight=20.0, model="abc", **options)
        merge = await merge_persons(connection, actor="张三", **options)
        assert merge is not None
        assert await pairs_apart(connection, persons=[person]) == set()
        await undo_merge(connection, merge=merge.id, actor="李四", now=LATER)
        assert await pairs_apart(connection, persons=[person]) == {(person, done.created)}

    linked(work)


def test_what_a_program_merged_and_a_human_took_back_no_program_merges_again(linked, keys):
    async def work(connection, person):
        (mother,) = await tell(connection, keys, [MOTHER])
        options = {"survivor": person, "absorbed": mother, "actor": "matching", "reason": "", "now": NOW}
        merge = await merge_persons(connection, weight=12.5, model="abc", **options)
        assert merge is not None
        assert (merge.weight, merge.model) == (12.5, "abc")
        event = (await list_events(connection, person=mother))[0]
        assert (event.weight, event.model, event.operation) == (12.5, "abc", merge.id)
        await undo_merge(connection, merge=merge.id, actor="李四", now=LATER)
        with pytest.raises(KeptApartError):
            await merge_persons(connection, weight=12.5, model="abd", **options)

    linked(work)


def test_a_review_that_ended_in_different_keeps_apart(linked, keys):
    async def work(connection, person):
        other = Claim(institution="C", local="3", name="测试乙", birth=date(1971, 1, 1))
        (stranger,) = await tell(connection, keys, [other])
        (entry,) = await list_reviews(connection)
        decided = await decide_review(
            connection, review=entry.id, same=False, actor="张三", now=NOW, note="两人"
        )
        assert decided.state is ReviewState.DIFFERENT
        assert await pairs_apart(connection, persons=[stranger]) == {(person, stranger)}

    linked(work)


steps = st.lists(
    st.tuples(
        st.sampled_from(["merge", "split", "split", "undo merge", "undo split", "tell"]),
        st.integers(0, 11),
        st.integers(0, 11),
        st.integers(1, 6),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_any_sequence_leaves_an_index_that_its_events_explain_and_every_undo_restores(undone, keys, steps):
    async def work(connection: Any) -> None:
        told = [
            Claim(institution=where, local=str(place), resident=number(date(1985, 5, 5), place), name="测试")
            for place in range(1, 5)
            for where in "AB"
        ]
        persons = sorted({one for one in await tell(connection, keys, told) if one})
        merges: list[int] = []
        splits: list[int] = []
        for place, (step, one, other, size) in enumerate(steps):
            person = persons[one % len(persons)]
            if step == "tell":
                claim = Claim(
                    institution="C", local=str(place + 1), resident=number(date(1985, 5, 5), one % 4 + 1)
                )
                await tell(connection, keys, [claim])
            elif step == "merge":
                options = {"survivor": person, "absorbed": persons[other % len(persons)], "now": NOW}
                before = await state(connection)
                done = await merge_persons(connection, actor="张三", reason="", **options)
                if done:
                    await undo_merge(connection, merge=done.id, actor="李四", now=LATER)
                    assert await state(connection) == before
                    done = await merge_persons(connection, actor="张三", reason="", **options)
                    assert done is not None
                    merges.append(done.id)
            elif step == "split":
                before = await state(connection)
                held = [row[0] for row in before["held"] if row[1] == person]
                if len(held) > 1:
                    chosen = held[: min(size, len(held) - 1)]
                    done = await split(connection, person, chosen)
                    await undo_split(connection, split=done.id, actor="李四", now=LATER)
                    assert without(await state(connection), done.created) == before
                    done = await split(connection, person, chosen)
                    splits.append(done.id)
                    persons.append(done.created)
            elif step == "undo merge" and merges:
                try:
                    await undo_merge(connection, merge=merges[one % len(merges)], actor="李四", now=LATER)
                except MergeUndoneError:
                    continue
            elif step == "undo split" and splits:
                try:
                    async with connection.transaction():
                        await undo_split(connection, split=splits[one % len(splits)], actor="李四", now=LATER)
                except (SplitUndoneError, SplitFollowedError):
                    continue
        assert (await check_index(connection)).agrees
        assert await owned_wrongly(connection) == []

    undone(work)


async def state(connection: Any) -> dict[str, Any]:
    """Return whose each holding is, whom each person means and owns, open reviews and pairs kept apart."""
    return {
        "held": [
            (f"{row['digest'].hex()}-{row['variant']}", row["person"], row["disputed"])
            for row in await connection.fetch(
                "SELECT digest, variant, person, disputed FROM identity_identifier ORDER BY 1, 2"
            )
        ],
        "persons": [
            tuple(row)
            for row in await connection.fetch(
                """SELECT id, survivor, resident, name_digest, birth_date, sex FROM identity_person
                   WHERE id NOT IN (SELECT created FROM identity_split WHERE undone_at IS NOT NULL)
                   ORDER BY id"""
            )
        ],
        "reviews": [
            tuple(row)
            for row in await connection.fetch(
                "SELECT id, person, other, state FROM identity_review ORDER BY id"
            )
        ],
        "apart": [
            tuple(row)
            for row in await connection.fetch(
                "SELECT one, other FROM identity_apart WHERE lifted_at IS NULL ORDER BY 1, 2"
            )
        ],
    }


def without(found: dict[str, Any], person: int) -> dict[str, Any]:
    return {**found, "persons": [row for row in found["persons"] if row[0] != person]}


async def owned_wrongly(connection: Any) -> list[Any]:
    """Return persons whose owned number is not the one they hold undisputed."""
    return await connection.fetch(
        """SELECT p.id FROM identity_person p LEFT JOIN identity_identifier i
               ON i.person = p.id AND i.kind = 1 AND NOT i.disputed
           WHERE (p.resident IS NULL) <> (i.digest IS NULL)"""
    )


def test_the_index_is_made_anew_out_of_its_events(database_run, keys):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            first, *_ = await tell(connection, keys, TWO_IN_ONE)
            assert first
            (mother,) = await bring(connection, keys, [MOTHER])
            done = await split(connection, first, [await key_of(connection, keys, first, "3")])
            await merge_persons(connection, survivor=mother, absorbed=first, actor="张三", reason="", now=NOW)
            right = await state(connection)
        async with database.transaction(snapshot=True) as connection:
            assert (await check_index(connection)).agrees
        async with database.transaction() as connection:
            await connection.execute("UPDATE identity_identifier SET person = $1", mother)
            await connection.execute("UPDATE identity_person SET survivor = NULL, resident = NULL")
        async with database.transaction(snapshot=True) as connection:
            found = await check_index(connection)
            assert (found.misplaced, found.misled, found.agrees) == (4, 1, False)
        async with database.transaction() as connection:
            assert (await rebuild_index(connection)).mended
        async with database.transaction(snapshot=True) as connection:
            assert (await check_index(connection)).agrees
            assert done.created in [row[1] for row in (await state(connection))["held"]]
            assert (await state(connection))["held"] == right["held"]
            assert [row[:2] for row in (await state(connection))["persons"]] == [
                row[:2] for row in right["persons"]
            ]

    database_run(scenario)


def test_holdings_that_no_event_explains_or_that_are_gone_are_counted(database_run, keys):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await tell(connection, keys, TWO_IN_ONE)
            await connection.execute("DELETE FROM identity_identifier WHERE issuer = 'A'")
            await connection.execute("ALTER TABLE identity_identifier DISABLE TRIGGER identity_linked_too")
            await connection.execute(
                """INSERT INTO identity_identifier (person, seen_at, kind, variant, disputed, digest)
                   SELECT id, now(), 3, 0, false, decode(repeat('01', 16), 'hex') FROM identity_person"""
            )
            found = await check_index(connection)
            assert (found.missing, found.unexplained, found.misplaced) == (1, 1, 0)

    database_run(scenario)


@pytest.mark.parametrize("table", ["identity_linked", "identity_moved", "identity_merge", "identity_split"])
def test_the_past_cannot_be_changed(database_run, keys, table):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            (person, *_) = await tell(connection, keys, TWO_IN_ONE)
            assert person
            (mother,) = await tell(connection, keys, [MOTHER])
            await split(connection, person, [await key_of(connection, keys, person, "3")])
            await merge_persons(connection, survivor=person, absorbed=mother, actor="a", reason="", now=NOW)
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET id = DEFAULT"):
            with pytest.raises(asyncpg.PostgresError):
                async with database.transaction() as connection:
                    await connection.execute(statement)

    database_run(scenario)


def test_one_persons_operations_wait_for_each_other_and_others_do_not(database_url, keys):
    async def scenario() -> None:
        async with await Database.open(database_url) as database:
            async with database.transaction() as connection:
                persons = await tell(
                    connection, keys, [Claim(institution="A", local=str(place)) for place in range(1, 6)]
                )
            one, two, three, four, five = persons
            waiting: asyncio.Task[Any] | None = None

            async def merge(survivor: Any, absorbed: Any) -> Any:
                async with database.transaction() as connection:
                    return await merge_persons(
                        connection, survivor=survivor, absorbed=absorbed, actor="张三", reason="", now=NOW
                    )

            async with database.transaction() as connection:
                await merge_persons(connection, survivor=one, absorbed=two, actor="张三", reason="", now=NOW)
                waiting = asyncio.create_task(merge(three, two))
                assert await asyncio.wait_for(merge(four, five), timeout=20)  # not held up
                assert not waiting.done()
            done = await waiting
            assert (done.survivor, done.absorbed) == (three, one)

    asyncio.run(scenario())


def test_of_two_splits_of_one_identifier_the_later_is_refused(database_url, keys):
    async def scenario() -> None:
        async with await Database.open(database_url) as database:
            async with database.transaction() as connection:
                person, *_ = await tell(connection, keys, TWO_IN_ONE)
                assert person
                key = await key_of(connection, keys, person, "3")

            async def take() -> Any:
                async with database.transaction() as connection:
                    return await split(connection, person, [key])

            found = await asyncio.gather(take(), take(), return_exceptions=True)
            assert sorted(type(one).__name__ for one in found) == ["PersonSplit", "SplitRefusedError"]

    asyncio.run(scenario())
