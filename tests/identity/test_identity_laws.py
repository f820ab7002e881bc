"""Linking obeys its rules, whatever arrives: compared with a plain model, and by laws."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, date, datetime
from typing import Any
from unittest import mock

import asyncpg
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_reference import Claim, Region, table

from kangshu.identity import Linker, ReviewReason, linking, list_identifiers, list_persons, list_reviews
from kangshu.security.sealing import digest_many
from kangshu.standards.identifiers import resident_check_digit

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
DAYS = [date(1985, 5, 5), date(1990, 1, 1), date(2026, 2, 1)]


def number(day: date, serial: int) -> str:
    first = f"990101{day:%Y%m%d}{serial:03d}"
    return first + resident_check_digit(first)


NUMBERS = [number(DAYS[0], 1), number(DAYS[0], 2), number(DAYS[1], 1)]


def maybe(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


claims = st.builds(
    Claim,
    resident=maybe(*NUMBERS),
    passport=maybe("E12345678"),
    institution=st.sampled_from(["A", "B"]),
    local=maybe("7", "8"),
    name=maybe("王芳", "李明", "王芳之女", "无名氏"),
    birth=maybe(*DAYS),
    sex=maybe("1", "2"),
    phone=maybe("13800000001", "13800000002"),
)
batches = st.lists(st.lists(claims, min_size=1, max_size=6), min_size=1, max_size=3)


@pytest.fixture
def undone(database_url: str) -> Iterator[Callable[[Callable[..., Coroutine[Any, Any, Any]]], Any]]:
    """Run `async fn(connection)` in a transaction that is undone, as often as wanted."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(database_url))

    def run(work: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
        async def scenario() -> Any:
            transaction = connection.transaction()
            await transaction.start()
            try:
                return await work(connection)
            finally:
                await transaction.rollback()

        return loop.run_until_complete(scenario())

    yield run
    loop.run_until_complete(connection.close())
    loop.close()


def partition(persons: Any) -> list[int]:
    """Return each person by the place of its first claim, so that ids do not matter."""
    first: dict[Any, int] = {}
    return [
        -1 if person in (-1, None) else first.setdefault(person, place)
        for place, person in enumerate(persons)
    ]


async def link(connection: Any, keys: Any, parts: list[list[Claim]], **options: Any) -> list[int]:
    linker = Linker(keys, random=secrets.token_bytes, **options)
    found = [await linker.link(connection, table(part), now=NOW) for part in parts]
    return np.concatenate([linked.persons for linked in found]).tolist()


common = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.database
@common
@given(parts=batches, most=st.sampled_from([2, 100]))
def test_linking_does_what_the_rules_say(undone, keys, parts, most):
    check_against_reference(undone, keys, parts, most)


@pytest.mark.database
@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=batches, most=st.sampled_from([2, 100]))
def test_linking_does_what_the_rules_say_at_length(undone, keys, parts, most):
    check_against_reference(undone, keys, parts, most)


def check_against_reference(undone: Any, keys: Any, parts: list[list[Claim]], most: int) -> None:
    """Compare everything that is stored; `most` is how many may hold a number that still says something."""
    region = Region(keys.lookup_key, holders_most=most)
    expected = [person for part in parts for person in region.link(part)]

    async def work(connection: Any) -> Any:
        with mock.patch.object(linking, "HOLDERS_MOST", most):
            persons = await link(connection, keys, parts)
        ids = sorted(set(persons) - {-1})
        return (
            persons,
            await list_persons(connection, keys=keys, persons=ids),
            {person: await list_identifiers(connection, keys=keys, person=person) for person in ids},
            await list_reviews(connection, limit=200),
            await connection.fetch("SELECT digest, variant, person, disputed FROM identity_identifier"),
        )

    persons, summaries, identifiers, reviews, holders = undone(work)

    assert partition(persons) == partition(expected)
    twin = {person: model for person, model in zip(persons, expected, strict=True) if person != -1}
    for found in summaries:
        model = twin[found.id]
        assert (found.birth_date, found.sex, found.phone) == (model.birth, model.sex, model.phone)
        assert (found.name if found.name != "无名氏" else None) == model.name
        assert found.resident_number == model.owned
    texts = list(region.holdings)
    named = dict(zip(digest_many(keys.lookup_key, texts), texts, strict=True))
    held = {(named[row["digest"]], row["variant"]): (twin[row["person"]], row["disputed"]) for row in holders}
    assert held == {
        (text, variant): (holding.person, holding.disputed)
        for text, holdings in region.holdings.items()
        for variant, holding in enumerate(holdings)
    }
    reasons = {ReviewReason.CONTRADICTION: "contradiction", ReviewReason.POSSIBLE_DUPLICATE: "duplicate"}
    assert sorted(
        (id(twin[review.person]), id(twin[review.other]), reasons[review.reason]) for review in reviews
    ) == sorted((id(person), id(other), reason) for person, other, reason in region.reviews)
    assert sum(map(len, identifiers.values())) == len(held)


@pytest.mark.database
@common
@given(parts=batches, data=st.data())
def test_the_order_of_the_rows_of_a_call_does_not_matter(undone, keys, parts, data):
    shuffled = [data.draw(st.permutations(list(range(len(part))))) for part in parts]

    straight = undone(lambda connection: link(connection, keys, parts))
    mixed = undone(
        lambda connection: link(
            connection,
            keys,
            [[part[row] for row in order] for part, order in zip(parts, shuffled, strict=True)],
        )
    )

    back: list[int] = []
    for part, order in zip(parts, shuffled, strict=True):
        found, mixed = mixed[: len(part)], mixed[len(part) :]
        back += [found[order.index(row)] for row in range(len(part))]
    assert partition(back) == partition(straight)


@st.composite
def consistent_claims(draw: st.DrawFn) -> list[tuple[int, Claim]]:
    """Claims about a few people: all of one person's agree and share an identifier that is no one else's."""
    found: list[tuple[int, Claim]] = []
    for person in range(draw(st.integers(1, 4))):
        whole = Claim(
            resident=number(DAYS[person % 3], 10 + person),
            passport=f"E0000000{person}",
            institution=draw(st.sampled_from(["A", "B"])),
            local=str(person + 1),
            name=f"测试{'甲乙丙丁'[person]}",
            birth=DAYS[person % 3],
            sex="1",
            phone=f"1380000000{person}",
        )
        anchor = draw(st.sampled_from(["resident", "passport", "local"]))
        for _ in range(draw(st.integers(1, 4))):
            optional = {"resident", "passport", "local", "name", "birth", "sex", "phone"} - {anchor}
            hidden = draw(st.sets(st.sampled_from(sorted(optional))))
            found.append((person, Claim(**{**vars(whole), **dict.fromkeys(hidden)})))
    return draw(st.permutations(found))


@pytest.mark.database
@common
@given(told=consistent_claims(), size=st.integers(1, 4))
def test_consistent_claims_give_the_persons_they_are_about_in_any_chunks(undone, keys, told, size):
    about, told = [person for person, _ in told], [claim for _, claim in told]
    chunks = [told[start : start + size] for start in range(0, len(told), size)]

    whole = undone(lambda connection: link(connection, keys, [told]))
    pieces = undone(lambda connection: link(connection, keys, chunks))

    assert partition(whole) == partition(pieces) == partition(about)


@pytest.mark.database
@common
@given(told=consistent_claims())
def test_consistent_claims_sent_again_change_nothing(undone, keys, told):
    async def twice(connection: Any) -> Any:
        first = await link(connection, keys, [[claim for _, claim in told]])
        before = await dump(connection)
        again = await link(connection, keys, [[claim for _, claim in told]])
        return first, again, before, await dump(connection)

    first, again, before, after = undone(twice)

    assert again == first
    assert after == before


async def dump(connection: Any) -> list[list[asyncpg.Record]]:
    names = ("identity_person", "identity_identifier", "identity_review", "identity_event", "identity_tally")
    return [await connection.fetch(f"SELECT * FROM {name} ORDER BY {name}::text") for name in names]
