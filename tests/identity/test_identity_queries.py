"""Persons are found by what is known of them, shown in clear, and reviews are decided once."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest
from identity_reference import Claim, table

from kangshu.identity import (
    EventKind,
    IdentifierKind,
    Linker,
    PersonUnknownError,
    ReviewDecidedError,
    ReviewState,
    ReviewUnknownError,
    SearchTooWideError,
    count_created,
    count_open_reviews,
    count_persons,
    decide_review,
    find_persons,
    get_person,
    get_review,
    list_events,
    list_identifiers,
    list_persons,
    list_reviews,
)
from kangshu.kernel.periods import Period
from kangshu.security.errors import SealBrokenError
from kangshu.standards.identifiers import resident_check_digit

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
FIRST = "99010119900101002"
FANG = Claim(
    resident=FIRST + resident_check_digit(FIRST),
    passport="E12345678",
    institution="A",
    local="100",
    name="买买提·测试",
    birth=date(1990, 1, 1),
    sex="2",
    phone="13800000001",
)
MING = Claim(institution="A", local="200", name="测试明", birth=date(1980, 1, 1), sex="1")
OTHER_MING = replace(MING, institution="B", local="300", birth=date(1970, 1, 1))


@pytest.fixture
def asked(database_run, keys):
    """Run `async fn(connection, persons)` where three people are known, `persons` being their ids."""

    async def scenario(database, work):
        async with database.transaction() as connection:
            linker = Linker(keys, random=secrets.token_bytes, origin=7)
            linked = await linker.link(connection, table([FANG, MING, OTHER_MING]), now=NOW)
            return await work(connection, linked.persons.tolist())

    return lambda work: database_run(lambda database: scenario(database, work))


@pytest.mark.database
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"resident_number": FANG.resident}, [0]),
        ({"resident_number": FANG.resident[:6] + FANG.resident[8:17]}, [0]),
        ({"resident_number": FANG.resident.replace("990101", "９９０１０１ ")}, [0]),
        ({"resident_number": FANG.resident, "name": "买买提•测试"}, [0]),
        ({"resident_number": FANG.resident, "name": "测试明"}, []),
        ({"resident_number": FANG.resident, "birth_date": date(1990, 1, 2)}, []),
        ({"resident_number": FIRST + "?"}, []),
        ({"document_number": "e12345678"}, [0]),
        ({"document_number": "E12345678", "document_type": "03"}, [0]),
        ({"document_number": "E12345678", "document_type": "04"}, []),
        ({"document_number": FANG.resident}, [0]),
        ({"local_number": "100", "institution": "A"}, [0]),
        ({"local_number": "100", "institution": "B"}, []),
        ({"local_number": "100"}, []),
        ({"name": "测试 明"}, [1, 2]),
        ({"name": "测试明", "birth_date": date(1970, 1, 1)}, [2]),
        ({"name": "测试明", "limit": 1}, [1]),
        ({"name": "无名氏"}, []),
        ({"name": "nobody"}, []),
    ],
)
def test_persons_are_found_by_what_is_known_of_them(asked, keys, words, expected):
    async def work(connection, persons):
        found = await find_persons(connection, keys=keys, **words)
        ids = {person: place for place, person in enumerate(persons)}
        # Ids of one call ascend by digest, not by row.
        return sorted(ids[summary.id] for summary in found)

    found = asked(work)

    if "limit" in words:
        assert len(found) == words["limit"]
    else:
        assert found == expected


@pytest.mark.database
@pytest.mark.parametrize("words", [{}, {"birth_date": date(1990, 1, 1)}, {"institution": "A"}])
def test_a_search_by_what_many_share_is_refused(asked, keys, words):
    async def work(connection, _):
        with pytest.raises(SearchTooWideError):
            await find_persons(connection, keys=keys, **words)

    asked(work)


@pytest.mark.database
def test_a_person_is_shown_whole_and_without_values_in_its_repr(asked, keys):
    async def work(connection, persons):
        return await get_person(connection, keys=keys, person=persons[0])

    found = asked(work)

    assert (found.name, found.sex, found.birth_date) == (FANG.name, "2", FANG.birth)
    assert (found.resident_number, found.phone) == (FANG.resident, FANG.phone)
    assert (found.created_at, found.origin) == (NOW, 7)
    for value in (FANG.name, FANG.resident, FANG.phone, "1990"):
        assert value not in repr(found)


@pytest.mark.database
def test_identifiers_are_listed_the_strongest_first(asked, keys):
    async def work(connection, persons):
        return await list_identifiers(connection, keys=keys, person=persons[0])

    found = asked(work)

    assert [(one.kind, one.issuer, one.value) for one in found] == [
        (IdentifierKind.RESIDENT_NUMBER, None, FANG.resident),
        (IdentifierKind.DOCUMENT, "03", FANG.passport),
        (IdentifierKind.LOCAL_NUMBER, "A", FANG.local),
    ]
    assert FANG.resident not in repr(found)


@pytest.mark.database
def test_somebody_who_does_not_exist_is_an_error_for_one_and_absent_among_many(asked, keys):
    async def work(connection, persons):
        with pytest.raises(PersonUnknownError):
            await get_person(connection, keys=keys, person=10**9)
        with pytest.raises(PersonUnknownError):
            await list_identifiers(connection, keys=keys, person=10**9)
        found = await list_persons(connection, keys=keys, persons=[persons[1], 10**9])
        assert [summary.id for summary in found] == [persons[1]]

    asked(work)


@pytest.mark.database
@pytest.mark.parametrize(
    "statement",
    [
        """UPDATE identity_person SET name_sealed = (SELECT name_sealed FROM identity_person WHERE id = {1})
           WHERE id = {0}""",
        "UPDATE identity_person SET name_digest = 1",
        "UPDATE identity_identifier SET sealed = set_byte(sealed, 18, get_byte(sealed, 18) # 1)",
    ],
)
def test_a_changed_or_exchanged_sealed_value_is_found_when_it_is_opened(asked, keys, statement):
    async def work(connection, persons):
        await connection.execute(statement.format(*persons))
        with pytest.raises(SealBrokenError) as caught:
            await get_person(connection, keys=keys, person=persons[0])
        assert FANG.name not in str(caught.value)

    asked(work)


@pytest.mark.database
def test_persons_are_counted_in_all_and_by_day(asked, keys):
    async def work(connection, _):
        later = Linker(keys, random=secrets.token_bytes)
        await later.link(connection, table([replace(MING, local="400")]), now=NOW + timedelta(days=1))
        days = await count_created(connection, period=Period.parse("2026-03"))
        none = await count_created(connection, period=Period.parse("2026-04"))
        return await count_persons(connection), days, none

    total, days, none = asked(work)

    assert total == 4
    assert [(count.day, count.persons) for count in days] == [(date(2026, 3, 2), 3), (date(2026, 3, 3), 1)]
    assert none == []


@pytest.mark.database
def test_a_review_is_decided_once_and_both_persons_tell_of_it(asked, keys):
    async def work(connection, persons):
        linker = Linker(keys, random=secrets.token_bytes)
        await linker.link(connection, table([replace(MING, name="别人", birth=date(2000, 1, 1))]), now=NOW)
        (entry,) = await list_reviews(connection, person=persons[1])
        assert (entry.other, entry.issuer, entry.state) == (persons[1], "A", ReviewState.OPEN)
        assert await count_open_reviews(connection) == 1

        decided = await decide_review(
            connection, review=entry.id, same=False, actor="张三", now=NOW, note="看过"
        )

        assert (decided.state, decided.decided_by) == (ReviewState.DIFFERENT, "张三")
        assert await get_review(connection, review=entry.id) == decided
        assert await list_reviews(connection) == []
        assert await list_reviews(connection, state=None, before=entry.id + 1) == [decided]
        assert await list_reviews(connection, state=None, before=entry.id) == []
        for person in (entry.person, entry.other):
            (event,) = await list_events(connection, person=person)
            assert (event.kind, event.actor) == (EventKind.REVIEWED, "张三")
        with pytest.raises(ReviewDecidedError):
            await decide_review(connection, review=entry.id, same=True, actor="李四", now=NOW)

    asked(work)


@pytest.mark.database
def test_a_review_that_does_not_exist_is_an_error(asked):
    async def work(connection, _):
        with pytest.raises(ReviewUnknownError):
            await get_review(connection, review=1)
        with pytest.raises(ReviewUnknownError):
            await decide_review(connection, review=1, same=True, actor="张三", now=NOW)

    asked(work)


@pytest.mark.database
@pytest.mark.parametrize("statement", ["DELETE FROM identity_event", "UPDATE identity_event SET actor = 'x'"])
def test_what_happened_cannot_be_changed(asked, statement):
    async def work(connection, _):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await connection.execute(statement)

    asked(work)
