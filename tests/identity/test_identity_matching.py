"""Who tells of a person in other words is found by weight: linked, shown to a human, or new.

All people are synthetic; the division 990101 does not exist.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from identity_reference import Claim, table
from test_identity_laws import number
from test_identity_online import subject

from kangshu.identity import (
    EventKind,
    Linker,
    ReviewReason,
    accounts_between,
    accounts_of,
    count_persons,
    default_model,
    get_account,
    link_claims,
    list_events,
    list_reviews,
    match_newcomers,
    match_subject,
    persons_meaning,
)
from kangshu.identity.errors import AccountUnknownError
from kangshu.identity.linkage import score
from kangshu.identity.matching import HOLDERS_MOST, Found, asked_of
from kangshu.storage.database import Database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
HERE = Claim(
    resident=number(date(1987, 6, 5), 2),
    institution="A",
    local="100",
    name="欧阳测试",
    birth=date(1987, 6, 5),
    sex="2",
    phone="13912345678",
)
THERE = replace(HERE, institution="B", local="B-7", resident=None)
pytestmark = pytest.mark.database


async def tell(database: Database, keys: Any, *told: Any, **options: Any) -> list[int | None]:
    subjects = [subject(one) if isinstance(one, Claim) else one for one in told]
    given = {"now": NOW, "origin": None, "actor": "message", "random": secrets.token_bytes}
    given |= {"model": default_model(), **options}
    return await database.run(lambda connection: link_claims(connection, keys=keys, claims=subjects, **given))


async def compare(database: Database, keys: Any) -> list[Any]:
    found = []
    while True:
        one = await database.run(
            lambda connection: match_newcomers(
                connection,
                keys=keys,
                model=default_model(),
                actor="match",
                now=NOW,
                random=secrets.token_bytes,
            )
        )
        if not one.more:
            return found
        found.append(one)


def test_who_comes_to_another_institution_without_a_number_is_linked_and_the_account_kept(database_run, keys):
    async def scenario(database: Database) -> None:
        (first,) = await tell(database, keys, HERE)
        (second,) = await tell(database, keys, THERE)
        (again,) = await tell(database, keys, THERE)
        assert first is not None

        assert first == second == again
        async with database.connection() as connection:
            (kept,) = await accounts_of(connection, persons=[first])
            events = await list_events(connection, person=first)
            assert (await get_account(connection, account=kept.id)) == kept
            with pytest.raises(AccountUnknownError):
                await get_account(connection, account=kept.id + 1)
        assert (kept.one, kept.other, kept.account.verdict.value) == (first, None, "link")
        assert kept.account.model == default_model().version
        assert (
            abs(kept.account.prior + sum(p.weight for p in kept.account.parts) - kept.account.weight) < 1e-9
        )
        assert EventKind.LINKED in [one.kind for one in events]

    database_run(scenario)


def test_two_in_one_batch_are_weighed_as_if_each_came_alone(database_run, keys):
    async def scenario(database: Database) -> None:
        first, second = await tell(database, keys, HERE, THERE)

        assert first == second

    database_run(scenario)


def test_asking_for_a_match_stores_nothing(database_run, keys):
    async def scenario(database: Database) -> None:
        (first,) = await tell(database, keys, HERE)
        async with database.connection() as connection:
            before = await connection.fetch("SELECT * FROM identity_key ORDER BY digest")
            matches = await match_subject(connection, keys=keys, subject=subject(THERE), limit=5)
            stranger = replace(THERE, name="甲乙", birth=date(1950, 2, 3), phone=None, local="9")
            nobody = await match_subject(connection, keys=keys, subject=subject(stranger), limit=5)

            assert [one.person for one in matches] == [first]
            assert nobody == []
            assert await connection.fetch("SELECT * FROM identity_key ORDER BY digest") == before
            assert await count_persons(connection) == 1

    database_run(scenario)


def test_who_is_unknown_is_linked_to_nobody(database_run, keys):
    async def scenario(database: Database) -> None:
        unknown = Claim(institution="A", local="1", name="无名氏", sex="1", resident=None, birth=None)
        first, second = await tell(database, keys, unknown, replace(unknown, local="2"))

        assert first != second

    database_run(scenario)


def test_a_newborn_and_twins_are_not_their_mother_nor_each_other(database_run, keys):
    async def scenario(database: Database) -> None:
        mother = replace(HERE, name="测试芳")
        child = replace(mother, name="测试芳之女", birth=date(2026, 2, 1), local="101", institution="B")
        other = replace(child, name="测试芳之子", sex="1", local="102")

        assert len(set(await tell(database, keys, mother, child, other))) == 3

    database_run(scenario)


def test_two_valid_numbers_that_differ_are_never_linked(database_run, keys):
    async def scenario(database: Database) -> None:
        twin = replace(HERE, resident=number(date(1987, 6, 5), 4), institution="B", local="8")

        first, second = await tell(database, keys, HERE, twin)

        assert first != second

    database_run(scenario)


def test_two_arrivals_of_one_new_person_at_the_same_moment_become_one(database_run, keys):
    async def scenario(database: Database) -> None:
        for round_ in range(5):
            name, day = f"欧阳测{'甲乙丙丁戊'[round_]}", date(1980 + round_, 4, 5)
            here = replace(
                HERE,
                resident=None,
                name=name,
                birth=day,
                phone=f"1391111000{round_}",
                local=f"A{round_}",
            )
            there = replace(here, institution="B", local=f"B{round_}")
            (alone, both) = await asyncio.gather(tell(database, keys, here), tell(database, keys, there))
            async with database.connection() as connection:
                (match, *_) = await match_subject(connection, keys=keys, subject=subject(here), limit=2)

            # Whatever the weights say of the two, the later saw the earlier: linked, or in review.
            if alone != both:
                async with database.connection() as connection:
                    reviews = await list_reviews(connection, person=alone[0])
                assert [one.reason for one in reviews] == [ReviewReason.POSSIBLE_MATCH]
            assert match.person in (*alone, *both)

    database_run(scenario)


def test_persons_of_files_are_compared_later_and_merged_with_their_account(database_run, keys):
    async def scenario(database: Database) -> None:
        (first,) = await tell(database, keys, HERE)
        assert first is not None

        async def bring(connection: Any) -> Any:
            linker = Linker(keys, random=secrets.token_bytes, origin=7)
            return await linker.link(connection, table([THERE]), now=NOW)

        second = int((await database.run(bring)).persons[0])
        assert second != first
        compared = await compare(database, keys)

        async with database.connection() as connection:
            assert sum(one.merged for one in compared) == 1
            assert (await persons_meaning(connection, persons=[second]))[second] == (first, second)
            (kept,) = await accounts_between(connection, one=first, other=second)
            assert kept.merge is not None
            assert await connection.fetch("SELECT * FROM identity_unmatched") == []
        assert await compare(database, keys) == []

    database_run(scenario)


def test_no_fact_stands_in_clear(database_run, keys):
    async def scenario(database: Database) -> None:
        await tell(database, keys, HERE, THERE)
        async with database.connection() as connection:
            rows = [
                str(tuple(row))
                for name in ("identity_profile", "identity_key", "identity_account", "identity_event")
                for row in await connection.fetch(f"SELECT * FROM {name}")
            ]

        assert not [
            row for row in rows for told in ("欧阳", "ouyang", HERE.resident, HERE.phone) if str(told) in row
        ]

    database_run(scenario)


def test_a_key_that_too_many_hold_finds_nobody_and_takes_nobody(keys):
    model = default_model()
    found = Found()
    profiles = [{"number": "same", "name": f"n{place}"} for place in range(HOLDERS_MOST + 5)]
    asked = asked_of(model, keys, profiles)
    stored = [found.learn(one, place + 1, place + 1)[1] for place, one in enumerate(asked)]

    variants = [variant for keys_ in stored for _, variant, _ in keys_]

    assert max(variants) < HOLDERS_MOST
    assert all(score(model, one, one).weight == score(model, one, one).weight for one in profiles[:1])
