"""PIX and PDQ: which numbers a person has, and who fits what is asked. Everybody here is synthetic."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from identity_reference import Claim
from test_identity_online import MOTHER, bring, local, subject, tell

from kangshu.identity import (
    IdentifierKind,
    PersonUnknownError,
    SearchTooWideError,
    SearchUnsupportedError,
    ToldMother,
    cross_references,
    known_issuers,
    merge_persons,
    note_mothers,
    search_demographics,
)
from kangshu.kernel.periods import Period
from kangshu.mapping import IdentifierKind as ToldKind
from kangshu.mapping import SubjectIdentifier
from kangshu.storage.database import Database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
JENNY = Claim(
    institution="TEST", local="T-439", name="JENNY TESTER", birth=date(1984, 1, 25), sex="2", phone="40930495"
)
INFANT = Claim(institution="TEST", local="T-440", birth=date(2014, 10, 1), sex="1")
FANG = subject(MOTHER, local("NID", "N-1"))


@pytest.fixture
def asked(database_run, keys):
    """Run `async fn(connection, ids)` where Fang, Jenny and her infant are known."""

    async def scenario(database: Database, work: Any) -> Any:
        async with database.transaction() as connection:
            fang, jenny, infant = await tell(connection, keys, [FANG, JENNY, INFANT])
            mother = ToldMother(child=infant or 0, institution="TEST", identifiers=(local("TEST", "T-439"),))
            await remember(connection, keys, mother)
            return await work(connection, {"fang": fang, "jenny": jenny, "infant": infant})

    return lambda work: database_run(lambda database: scenario(database, work))


async def remember(connection: Any, keys: Any, *mothers: ToldMother) -> None:
    await note_mothers(connection, keys=keys, mothers=mothers, now=NOW, random=secrets.token_bytes)


async def names(connection: Any, keys: Any, ids: dict[str, int], **words: Any) -> list[str]:
    found = await search_demographics(connection, keys=keys, **words)
    known = {number: name for name, number in ids.items()}
    return [known[one.person.id] for one in found]


@pytest.mark.database
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"name": "测试芳"}, ["fang"]),
        ({"name": "测试 芳"}, ["fang"]),
        ({"family": "测试", "given": "芳"}, ["fang"]),
        ({"family": "芳", "given": "测试"}, ["fang"]),
        ({"name": "jenny tester"}, ["jenny"]),
        ({"name": "Tester Jenny"}, ["jenny"]),
        ({"family": "Tester", "given": "Jenny"}, ["jenny"]),
        ({"family": "TESTER", "sex": "2"}, ["jenny"]),
        ({"family": "TESTER", "sex": "1"}, []),
        ({"given": "jenny"}, ["jenny"]),
        ({"family": "TESTER", "given": "JASON", "birth_date": Period.parse("1984")}, []),
        ({"family": "TESTER", "given": "JENNY", "birth_date": Period.parse("1984")}, ["jenny"]),
        ({"name": "无名氏"}, []),
        ({"birth_date": Period.parse("1984")}, ["jenny"]),
        ({"birth_date": Period.parse("1984-01")}, ["jenny"]),
        ({"birth_date": date(1984, 1, 25)}, ["jenny"]),
        ({"birth_date": Period.parse("1900")}, []),
        ({"birth_date": date(1984, 1, 25), "sex": "2"}, ["jenny"]),
        ({"birth_date": Period.parse("1980..2020")}, ["jenny", "fang", "infant"]),
        ({"birth_date": Period.parse("1980..2020"), "family": "测试"}, ["fang"]),
        ({"birth_date": Period.parse("1980..2020"), "given": "芳"}, ["fang"]),
        ({"birth_date": Period.parse("1980..2020"), "family": "芳"}, []),
        ({"birth_date": Period.parse("1980..2020"), "phone": "+86 138-0000-0001"}, ["fang"]),
        ({"birth_date": Period.parse("1980..2020"), "phone": "1"}, []),
        ({"name": "测试芳", "phone": "13900000000"}, []),
        ({"identifier": ("TEST", "T-439")}, ["jenny"]),
        ({"identifier": ("NID", "N-1")}, ["fang"]),
        ({"identifier": ("NID", "T-439")}, []),
        ({"identifier": ("TEST", "")}, []),
        ({"identifier": ("TEST", "T-439"), "name": "测试芳"}, []),
        ({"identifier": ("TEST", "T-439"), "birth_date": date(1984, 1, 25)}, ["jenny"]),
        ({"mother_identifier": ("TEST", "T-439")}, ["infant"]),
        ({"mother_family": "TESTER", "mother_given": "JENNY"}, ["infant"]),
        ({"mother_name": "JENNY TESTER"}, ["infant"]),
        ({"mother_name": "测试芳"}, []),
        ({"mother_identifier": ("TEST", "T-439"), "birth_date": date(2014, 10, 2)}, []),
    ],
)
def test_persons_are_found_by_everything_that_is_given(asked, keys, words, expected):
    assert asked(lambda connection, ids: names(connection, keys, ids, **words)) == expected


@pytest.mark.database
@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({}, SearchTooWideError),
        ({"sex": "2"}, SearchTooWideError),
        ({"phone": "13800000001"}, SearchTooWideError),
        ({"family": "测试"}, SearchTooWideError),
        ({"name": "测*"}, SearchUnsupportedError),
        ({"family": "TEST%"}, SearchUnsupportedError),
        ({"mother_given": "JEN*"}, SearchUnsupportedError),
        ({"name": "测试芳", "address": "somewhere"}, SearchUnsupportedError),
    ],
)
def test_what_cannot_be_searched_by_is_refused_not_answered_with_nobody(asked, keys, words, error):
    async def work(connection, _):
        with pytest.raises(error):
            await search_demographics(connection, keys=keys, **words)

    asked(work)


@pytest.mark.database
def test_a_candidate_comes_with_his_numbers_and_his_mother(asked, keys):
    async def work(connection, ids):
        (found,) = await search_demographics(connection, keys=keys, identifier=("TEST", "T-440"))
        assert [(one.kind, one.issuer, one.value) for one in found.identifiers] == [
            (IdentifierKind.LOCAL_NUMBER, "TEST", "T-440")
        ]
        assert found.mother.person == ids["jenny"]
        assert found.mother.name == "JENNY TESTER"
        assert found.mother.identifiers == (local("TEST", "T-439"),)
        (jenny,) = await search_demographics(connection, keys=keys, name="JENNY TESTER")
        assert jenny.mother is None

    asked(work)


@pytest.mark.database
def test_a_mother_who_is_not_known_yet_is_found_by_her_number_and_told_name_and_known_when_she_comes(
    asked, keys
):
    her = SubjectIdentifier(kind=ToldKind.LOCAL_NUMBER, issuer=None, value="77")

    async def work(connection, ids):
        told = ToldMother(child=ids["fang"], institution="Z", identifiers=(her,), name="测试老母")
        await remember(connection, keys, told)
        await remember(connection, keys, told)
        for words in ({"mother_identifier": ("Z", "77")}, {"mother_name": "测试老母"}):
            (found,) = await search_demographics(connection, keys=keys, **words)
            assert (found.person.id, found.mother.person, found.mother.name) == (
                ids["fang"],
                None,
                "测试老母",
            )
        (mother,) = await tell(connection, keys, [Claim(institution="Z", local="77", name="测试老母亲")])
        (found,) = await search_demographics(connection, keys=keys, mother_name="测试老母亲")
        assert (found.mother.person, found.mother.name) == (mother, "测试老母亲")
        assert "测试" not in repr(found.mother)

    asked(work)


@pytest.mark.database
def test_numbers_are_limited_to_the_domains_asked_for_and_who_has_none_is_left_out(asked, keys):
    async def work(connection, ids):
        for wanted, expected in (
            (["NID"], ["N-1"]),
            ([None], [MOTHER.resident]),
            ([None, "A"], [MOTHER.resident, "100"]),
        ):
            (found,) = await search_demographics(connection, keys=keys, name="测试芳", wanted_issuers=wanted)
            assert [one.value for one in found.identifiers] == expected
        assert await names(connection, keys, ids, name="JENNY TESTER", wanted_issuers=["NID"]) == []

    asked(work)


@pytest.mark.database
def test_cross_references_are_the_numbers_of_the_human_whatever_number_is_asked(asked, keys):
    async def work(connection, ids):
        everything = [MOTHER.resident, "100", "N-1"]
        for kind, issuer, value in (
            (ToldKind.LOCAL_NUMBER, "A", "100"),
            (ToldKind.LOCAL_NUMBER, "NID", "N-1"),
            (ToldKind.RESIDENT_NUMBER, None, MOTHER.resident),
        ):
            found = await cross_references(connection, keys=keys, issuer=issuer, value=value, kind=kind)
            assert [one.value for one in found] == everything
        assert [one.value for one in await references(connection, keys, wanted=["NID"])] == ["N-1"]
        assert await references(connection, keys, wanted=["OTHER"]) == []
        for issuer, value in (("A", "101"), ("B", "100"), ("A", "")):
            with pytest.raises(PersonUnknownError):
                await cross_references(connection, keys=keys, issuer=issuer, value=value)

    asked(work)


async def references(connection: Any, keys: Any, wanted: list[str | None]) -> Any:
    return await cross_references(connection, keys=keys, issuer="A", value="100", wanted_issuers=wanted)


@pytest.mark.database
def test_after_a_merge_searches_lead_to_the_survivor_with_all_numbers(asked, keys):
    async def work(connection, ids):
        await merge_persons(
            connection, survivor=ids["jenny"], absorbed=ids["fang"], actor="张三", reason="A40", now=NOW
        )
        found = await cross_references(connection, keys=keys, issuer="A", value="100")
        assert {(one.value, one.person) for one in found} == {
            ("T-439", ids["jenny"]),
            (MOTHER.resident, ids["fang"]),
            ("100", ids["fang"]),
            ("N-1", ids["fang"]),
        }
        for words in ({"name": "测试芳"}, {"identifier": ("A", "100")}, {"name": "JENNY TESTER"},
                      {"identifier": ("A", "100"), "name": "JENNY TESTER"}):  # fmt: skip
            (one,) = await search_demographics(connection, keys=keys, **words)
            assert (one.person.id, one.person.absorbed) == (ids["jenny"], (ids["fang"],))
        assert await names(connection, keys, ids, birth_date=MOTHER.birth) == []

    asked(work)


@pytest.mark.database
def test_a_former_name_still_finds(asked, keys):
    async def work(connection, ids):
        await tell(connection, keys, [replace(JENNY, name="JENNY NEWNAME")])
        for words in ({"name": "JENNY NEWNAME"}, {"family": "NEWNAME"}, {"name": "JENNY TESTER"}):
            assert await names(connection, keys, ids, **words) == ["jenny"]

    asked(work)


@pytest.mark.database
def test_pages_follow_one_another_without_gap_or_repetition(asked, keys):
    people = [replace(MOTHER, resident=None, institution="P", local=str(place)) for place in range(1, 24)]

    async def work(connection, ids):
        await tell(connection, keys, list(people))
        for words in (
            {"name": "测试芳"},
            {"birth_date": MOTHER.birth},
            {"birth_date": Period.parse("1990"), "phone": MOTHER.phone},
        ):
            pages, after = [], None
            while page := await search_demographics(connection, keys=keys, limit=5, after=after, **words):
                after = page[-1].person.id
                pages += [one.person.id for one in page]
            assert len(pages) == len(set(pages)) == 24

    asked(work)


@pytest.mark.database
def test_who_came_in_a_file_is_found_by_parts_of_the_name_too(asked, keys):
    async def work(connection, ids):
        (ids["other"],) = await bring(connection, keys, [Claim(institution="A", local="5", name="Ann Filer")])
        assert await names(connection, keys, ids, family="filer") == ["other"]
        await bring(connection, keys, [Claim(institution="A", local="6", sex="1")])
        (ids["late"],) = await bring(connection, keys, [Claim(institution="A", local="6", name="Bob Later")])
        assert await names(connection, keys, ids, given="BOB") == ["late"]

    asked(work)


@pytest.mark.database
def test_authorities_of_whom_messages_told_are_known(asked, keys):
    async def work(connection, _):
        return await known_issuers(connection, issuers=["TEST", "RANDOM", "NID", "A", "\ud800"])

    assert asked(work) == ["A", "NID", "TEST"]
