"""Who is taken for whom: stories with a few synthetic people, and what happens when things collide."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from identity_reference import Claim, table

from kangshu.identity import (
    IdentifierKind,
    Linker,
    LinkingBusyError,
    ReviewReason,
    count_persons,
    get_person,
    linking,
    list_events,
    list_identifiers,
    list_reviews,
    store,
)
from kangshu.standards.identifiers import resident_check_digit
from kangshu.storage.database import Database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)


def number(digits: str) -> str:
    return digits + resident_check_digit(digits)


MOTHER = Claim(
    resident=number("99010119900101002"),
    institution="A",
    local="100",
    name="测试芳",
    birth=date(1990, 1, 1),
    sex="2",
    phone="13800000001",
)
NEWBORN = replace(MOTHER, local="101", name="测试芳之女", birth=date(2026, 2, 1), phone=None)


class Region:
    """A database in which a test links claims and looks at the outcome."""

    def __init__(self, database: Database, keys) -> None:
        self.database, self.keys = database, keys

    async def link(self, *claims: Claim, **options) -> linking.Linked:
        linker = Linker(self.keys, random=secrets.token_bytes, **options)
        return await self.database.run(
            lambda connection: linker.link(connection, table(list(claims)), now=NOW)
        )

    async def person_of(self, claim: Claim) -> int:
        return int((await self.link(claim)).persons[0])

    async def person(self, person: int):
        async with self.database.connection() as connection:
            return await get_person(connection, keys=self.keys, person=person)

    async def identifiers(self, person: int) -> list[tuple]:
        async with self.database.connection() as connection:
            found = await list_identifiers(connection, keys=self.keys, person=person)
        return [(one.kind.name, one.issuer, one.value, one.disputed) for one in found]

    async def reviews(self) -> list[tuple]:
        async with self.database.connection() as connection:
            found = await list_reviews(connection)
        return [(one.person, one.other, one.kind.name, one.reason.name) for one in found]


@pytest.fixture
def region_run(database_run, keys):
    """Run `async fn(region)` on a region that knows nobody."""
    return lambda work: database_run(lambda database: work(Region(database, keys)))


@pytest.mark.database
def test_one_resident_number_with_the_same_birth_date_is_one_person_wherever_she_goes(region_run):
    async def story(region):
        first = await region.person_of(MOTHER)
        other = await region.person_of(replace(MOTHER, institution="B", local="9", name="测式芳"))
        assert other == first
        assert await region.identifiers(first) == [
            ("RESIDENT_NUMBER", None, MOTHER.resident, False),
            ("LOCAL_NUMBER", "A", "100", False),
            ("LOCAL_NUMBER", "B", "9", False),
        ]
        assert await region.person_of(Claim(institution="B", local="9")) == first
        assert await region.reviews() == []

    region_run(story)


@pytest.mark.database
@pytest.mark.parametrize("order", [(MOTHER, NEWBORN), (NEWBORN, MOTHER)])
@pytest.mark.parametrize("together", [True, False])
def test_a_mothers_number_on_her_newborns_record_makes_two_persons_and_a_review(region_run, order, together):
    async def story(region):
        if together:
            await region.link(*order)
        else:
            for claim in order:
                await region.link(claim)
        mother, newborn = await region.person_of(MOTHER), await region.person_of(NEWBORN)
        assert mother != newborn
        assert (await region.person(mother)).resident_number == MOTHER.resident
        assert (await region.person(newborn)).resident_number is None
        assert ("RESIDENT_NUMBER", None, MOTHER.resident, True) in await region.identifiers(newborn)
        ((person, other, kind, reason),) = await region.reviews()
        assert {person, other} == {mother, newborn}
        assert (kind, reason) == ("RESIDENT_NUMBER", "CONTRADICTION")

    region_run(story)


@pytest.mark.database
def test_the_newborns_own_number_is_attached_when_it_comes(region_run):
    own = number("99010120260201002")

    async def story(region):
        await region.link(MOTHER)
        newborn = await region.person_of(NEWBORN)
        assert await region.person_of(replace(NEWBORN, resident=own, name="测试小雨")) == newborn
        assert (await region.person(newborn)).resident_number == own

    region_run(story)


@pytest.mark.database
def test_a_resident_number_is_attached_to_the_person_of_the_institutions_number(region_run):
    async def story(region):
        first = await region.person_of(replace(MOTHER, resident=None))
        assert await region.person_of(MOTHER) == first
        assert (await region.person(first)).resident_number == MOTHER.resident

    region_run(story)


@pytest.mark.database
def test_an_institutions_number_with_another_resident_number_is_somebody_else(region_run):
    stranger = replace(MOTHER, resident=number("99010119900101004"))

    async def story(region):
        first, other = await region.person_of(MOTHER), await region.person_of(stranger)
        assert first != other
        assert await region.reviews() == [(other, first, "LOCAL_NUMBER", "CONTRADICTION")]
        assert await region.person_of(stranger) == other
        assert len(await region.reviews()) == 1

    region_run(story)


@pytest.mark.database
def test_two_persons_whom_a_later_claim_ties_together_are_reviewed_not_merged(region_run):
    async def story(region):
        here = await region.person_of(replace(MOTHER, resident=None))
        there = await region.person_of(replace(MOTHER, institution="B", local="9"))
        assert here != there
        assert await region.person_of(MOTHER) == there
        assert await region.reviews() == [(there, here, "LOCAL_NUMBER", "POSSIBLE_DUPLICATE")]

    region_run(story)


@pytest.mark.database
def test_a_slip_in_the_birth_date_is_settled_by_a_claim_in_which_name_date_and_number_fit(region_run):
    async def story(region):
        first = await region.person_of(replace(MOTHER, birth=date(1990, 1, 11)))
        assert (await region.person(first)).resident_number is None
        assert await region.person_of(MOTHER) == first
        known = await region.person(first)
        assert (known.resident_number, known.birth_date) == (MOTHER.resident, MOTHER.birth)
        assert await region.reviews() == []

    region_run(story)


@pytest.mark.database
def test_what_was_not_known_is_filled_and_what_is_known_stays(region_run):
    async def story(region):
        first = await region.person_of(Claim(institution="A", local="100"))
        unknown = await region.person(first)
        assert (unknown.name, unknown.birth_date, unknown.sex, unknown.phone) == (None, None, None, None)
        await region.link(MOTHER)
        await region.link(replace(MOTHER, name="另一名", phone="13900000000", sex="1"))
        known = await region.person(first)
        assert (known.name, known.birth_date, known.sex, known.phone) == (
            MOTHER.name,
            MOTHER.birth,
            "2",
            MOTHER.phone,
        )
        async with region.database.connection() as connection:
            (event,) = await list_events(connection, person=first)
        assert (event.kind.name, event.actor) == ("COMPLETED", "intake")

    region_run(story)


@pytest.mark.database
def test_without_any_number_name_birth_date_and_sex_at_one_institution_are_enough(region_run):
    bare = Claim(institution="A", name="测试芳", birth=date(1990, 1, 1), sex="2")

    async def story(region):
        first = await region.person_of(bare)
        assert await region.person_of(bare) == first
        assert await region.person_of(replace(bare, institution="B")) != first
        assert await region.person_of(replace(bare, sex=None)) == -1
        assert await region.person_of(Claim(institution="A", name="无名氏")) == -1
        assert [kind for kind, *_ in await region.identifiers(first)] == [IdentifierKind.DEMOGRAPHIC.name]

    region_run(story)


@pytest.mark.database
def test_a_15_digit_number_and_its_18_places_are_one(region_run):
    short = replace(MOTHER, resident=MOTHER.resident[:6] + MOTHER.resident[8:17], institution="B")

    async def story(region):
        assert await region.person_of(short) == await region.person_of(MOTHER)

    region_run(story)


@pytest.mark.database
def test_an_ill_formed_number_is_ignored_and_counted(region_run):
    async def story(region):
        linked = await region.link(replace(MOTHER, resident=MOTHER.resident[:17] + "?"), MOTHER)
        assert linked.invalid_numbers == 1
        assert linked.persons[0] == linked.persons[1]

    region_run(story)


@pytest.mark.database
def test_a_number_that_a_program_fills_in_for_everybody_names_nobody(region_run, monkeypatch):
    monkeypatch.setattr(linking, "HOLDERS_MOST", 3)
    people = [
        Claim(institution="A", local="999999", name=f"测试{name}", birth=date(1990, 1, 1 + day), sex="1")
        for day, name in enumerate("甲乙丙丁戊己")
    ]

    async def story(region):
        few = await region.link(*people[:3])
        assert few.created == 3
        many = await region.link(*people[3:], Claim(institution="A", local="999999"))
        assert many.persons[-1] == -1
        assert many.created == 3
        again = await region.link(*people[3:])
        assert (again.persons == many.persons[:3]).all()
        assert (again.created, again.reviews) == (0, 0)

    region_run(story)


@pytest.mark.database
def test_a_patient_who_comes_every_other_day_under_new_numbers_is_still_one_person(region_run):
    visits = [replace(MOTHER, local=f"visit {day}") for day in range(150)]

    async def story(region):
        linked = await region.link(*visits)
        assert (linked.created, linked.reviews) == (1, 0)
        assert len(set(linked.persons.tolist())) == 1
        assert (await region.person(int(linked.persons[0]))).resident_number == MOTHER.resident

    region_run(story)


@pytest.mark.database
def test_the_same_claim_twice_in_a_call_is_one_person(region_run):
    async def story(region):
        linked = await region.link(MOTHER, MOTHER, replace(MOTHER, name=" 测试芳 "))
        assert linked.created == 1
        assert len(set(linked.persons.tolist())) == 1

    region_run(story)


@pytest.mark.database
def test_no_claims_give_no_persons(region_run):
    async def story(region):
        linked = await region.link()
        assert len(linked.persons) == linked.created == 0

    region_run(story)


@pytest.mark.database
def test_what_an_undone_transaction_created_is_forgotten_by_the_linker(region_run):
    async def story(region):
        linker = Linker(region.keys, random=secrets.token_bytes)

        async def attempt(connection, *, fail: bool):
            first = await linker.link(connection, table([MOTHER]), now=NOW)
            again = await linker.link(connection, table([MOTHER, NEWBORN]), now=NOW)
            assert again.persons[0] == first.persons[0]
            if fail:
                raise KeyboardInterrupt
            return first

        with pytest.raises(KeyboardInterrupt):
            await region.database.run(lambda connection: attempt(connection, fail=True))
        kept = await region.database.run(lambda connection: attempt(connection, fail=False))
        assert await region.person(int(kept.persons[0]))
        async with region.database.connection() as connection:
            assert await count_persons(connection) == 2

    region_run(story)


def crowd(size: int) -> pa.Table:
    days = [date(1950 + place % 70, 1 + place % 12, 1 + place % 28) for place in range(size)]
    return table(
        [
            Claim(
                resident=number(f"990101{day:%Y%m%d}{place % 1000:03d}"),
                institution="A",
                local=str(place + 1),
                name=f"测试{place}",
                birth=day,
                sex="1",
            )
            for place, day in enumerate(days)
        ]
    )


@pytest.mark.database
@pytest.mark.parametrize("exclusive", [True, False])
def test_eight_files_that_bring_the_same_new_persons_at_once_make_each_person_once(
    run, database_url, keys, exclusive
):
    people = crowd(300)

    async def bring(database, order):
        async def file(connection):
            linker = Linker(keys, random=secrets.token_bytes, exclusive=exclusive)
            found = np.empty(len(order), dtype=np.int64)
            # Without the lock, chunks in another order would deadlock again and again: one chunk then.
            for rows in np.array_split(order, 4 if exclusive else 1):
                found[rows] = (await linker.link(connection, people.take(pa.array(rows)), now=NOW)).persons
            return found

        return await database.run(file, retries=20)

    async def scenario():
        async with await Database.open(database_url, max_size=8) as database:
            orders = [np.random.default_rng(seed).permutation(300) for seed in range(8)]
            results = await asyncio.gather(*(bring(database, order) for order in orders))
            async with database.connection() as connection:
                return (
                    results,
                    await count_persons(connection),
                    await connection.fetchval("SELECT count(*) FROM identity_person"),
                )

    results, counted, stored = run(scenario())

    assert all((result == results[0]).all() for result in results)
    assert len(set(results[0].tolist())) == counted == stored == 300


@pytest.mark.database
def test_facts_that_two_files_fill_at_once_are_filled_once(run, database_url, keys):
    async def scenario():
        async with await Database.open(database_url, max_size=2) as database:
            region = Region(database, keys)
            person = await region.person_of(Claim(institution="A", local="100"))
            other = replace(MOTHER, resident=number("99010119900101004"))
            found = await asyncio.gather(
                region.link(MOTHER, exclusive=False), region.link(other, exclusive=False)
            )
            owners = {int(linked.persons[0]) for linked in found}
            known = await region.person(person)
            return person, owners, known, await region.reviews()

    person, owners, known, reviews = run(scenario())

    assert person in owners
    assert len(owners) == 2
    assert known.resident_number in (MOTHER.resident, number("99010119900101004"))
    assert [reason for *_, reason in reviews] == [ReviewReason.CONTRADICTION.name]


@pytest.mark.database
def test_endless_collisions_end_in_a_clear_error(region_run, monkeypatch):
    async def collide(*_, **__):
        raise store.CollisionError

    monkeypatch.setattr(store, "add_identifiers", collide)

    async def story(region):
        with pytest.raises(LinkingBusyError):
            await region.link(MOTHER)
        async with region.database.connection() as connection:
            assert await count_persons(connection) == 0

    region_run(story)


@pytest.mark.database
def test_no_name_number_or_phone_stands_in_clear_anywhere_in_the_database(region_run):
    async def story(region):
        await region.link(
            MOTHER, NEWBORN, Claim(institution="A", name="测试芳", birth=date(1990, 1, 1), sex="2")
        )
        await region.link(replace(MOTHER, passport="E12345678"))
        secrets_ = [MOTHER.resident, MOTHER.name, NEWBORN.name, MOTHER.phone, "E12345678"]
        async with region.database.connection() as connection:
            tables = await connection.fetch(
                "SELECT relname FROM pg_class WHERE relname LIKE 'identity%' AND relkind = 'r'"
            )
            everything = ""
            for row in tables:
                name = row["relname"]
                everything += str(await connection.fetch(f"SELECT {name}::text AS line FROM {name}"))
        for secret in secrets_:
            assert secret not in everything
            assert secret.encode().hex() not in everything

    region_run(story)


@pytest.mark.database
def test_planner_settings_of_the_callers_transaction_are_as_before(region_run):
    async def story(region):
        async def file(connection):
            linker = Linker(region.keys, random=secrets.token_bytes)
            await linker.link(connection, table([MOTHER]), now=NOW)
            return [
                await connection.fetchval(f"SHOW enable_{kind}")
                for kind in ("hashjoin", "mergejoin", "bitmapscan")
            ]

        assert await region.database.run(file) == ["on", "on", "on"]

    region_run(story)
