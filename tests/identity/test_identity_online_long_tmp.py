"""Subjects of messages are linked as files are, one after the other; what later messages tell is shown."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_reference import Claim, Region, table
from test_identity_laws import claims, number, partition, undone

from kangshu.identity import (
    EventKind,
    FormerFacts,
    Linker,
    LinkingBusyError,
    ReviewReason,
    count_persons,
    get_person,
    link_claims,
    linking,
    list_events,
    list_identifiers,
    list_persons,
    list_reviews,
    online,
    store,
)
from kangshu.mapping import IdentifierKind, Subject, SubjectIdentifier
from kangshu.storage.database import Database

__all__ = ["undone"]  # a fixture of the neighbour

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
MOTHER = Claim(
    resident=number(date(1990, 1, 1), 2),
    institution="A",
    local="100",
    name="测试芳",
    birth=date(1990, 1, 1),
    sex="2",
    phone="13800000001",
)
NEWBORN = replace(MOTHER, local="101", name="测试芳之女", birth=date(2026, 2, 1), phone=None)
common = settings(max_examples=700, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def subject(claim: Claim, *more: SubjectIdentifier) -> Subject:
    """Return the claim as a message tells it, the weakest number first."""
    kinds = {
        IdentifierKind.LOCAL_NUMBER: (None, claim.local),
        IdentifierKind.DOCUMENT: ("03", claim.passport),
        IdentifierKind.RESIDENT_NUMBER: (None, claim.resident),
    }
    told = [
        SubjectIdentifier(kind=kind, issuer=issuer, value=value)
        for kind, (issuer, value) in kinds.items()
        if value
    ]
    return Subject(
        institution=claim.institution or "",
        identifiers=(*told, *more),
        name=claim.name,
        birth_date=claim.birth,
        sex=claim.sex,
        phone=claim.phone,
    )


def local(issuer: str, value: str) -> SubjectIdentifier:
    return SubjectIdentifier(kind=IdentifierKind.LOCAL_NUMBER, issuer=issuer, value=value)


async def tell(connection: Any, keys: Any, told: list[Claim | Subject], **options: Any) -> list[int | None]:
    given = {"now": NOW, "origin": None, "actor": "message", "random": secrets.token_bytes, **options}
    subjects = [subject(one) if isinstance(one, Claim) else one for one in told]
    return await link_claims(connection, keys=keys, claims=subjects, **given)


async def bring(connection: Any, keys: Any, told: list[Claim]) -> list[int]:
    """Link each claim as a file of its own."""
    linked = [
        await Linker(keys, random=secrets.token_bytes).link(connection, table([claim]), now=NOW)
        for claim in told
    ]
    return [int(one.persons[0]) for one in linked]


async def everything(connection: Any) -> list[Any]:
    """Return all that is stored, persons by their order, and of sealed values only whether they are there."""
    tables = (
        """SELECT p.n, name_digest, resident, birth_date, sex, survivor, former_name,
               phone_sealed IS NULL AS no_phone, name_sealed IS NULL AS no_name
           FROM identity_person t JOIN p USING (id)""",
        """SELECT p.n, digest, variant, kind, disputed, issuer, sealed IS NULL AS no_value
           FROM identity_identifier t JOIN p ON p.id = t.person""",
        """SELECT p.n, o.n AS other, kind, reason, digest, issuer
           FROM identity_review t JOIN p ON p.id = t.person JOIN p o ON o.id = t.other""",
        "SELECT p.n, digest FROM identity_name_part t JOIN p ON p.id = t.person",
        "SELECT sum(persons) AS persons FROM identity_tally",
    )
    numbered = "WITH p AS (SELECT id, dense_rank() OVER (ORDER BY id) AS n FROM identity_person)"
    return [sorted(map(str, await connection.fetch(f"{numbered} {one}"))) for one in tables]


@pytest.mark.database
@common
@given(
    told=st.lists(claims, min_size=1, max_size=8), size=st.integers(1, 8), most=st.sampled_from([1, 2, 100])
)
def test_subjects_become_the_persons_that_files_make_of_them(undone, keys, told, size, most):
    async def by_message(connection: Any) -> Any:
        parts = [told[start : start + size] for start in range(0, len(told), size)]
        found = [person for part in parts for person in await tell(connection, keys, part, correct=False)]
        return found, await everything(connection)

    async def by_file(connection: Any) -> Any:
        return await bring(connection, keys, told), await everything(connection)

    with mock.patch.object(linking, "HOLDERS_MOST", most), mock.patch.object(online, "HOLDERS_MOST", most):
        messages, files = undone(by_message), undone(by_file)

    assert partition(messages[0]) == partition(files[0])
    assert messages[1] == files[1]


@pytest.mark.database
@common
@given(told=st.lists(st.tuples(claims, st.booleans()), min_size=1, max_size=8))
def test_both_lanes_together_do_what_the_rules_say_and_messages_are_news(undone, keys, told):
    region = Region(keys.lookup_key)
    expected = [region.tell(claim) if news else region.link_new([claim])[0] for claim, news in told]

    async def work(connection: Any) -> Any:
        persons: list[int | None] = []
        for claim, news in told:
            persons += await (tell if news else bring)(connection, keys, [claim])
        known = sorted({person for person in persons if person not in (None, -1)})
        summaries = await list_persons(connection, keys=keys, persons=known)
        events = {one: await list_events(connection, keys=keys, person=one) for one in known}
        return persons, summaries, events

    persons, summaries, events = undone(work)

    assert partition(persons) == partition(expected)
    twin = {person: model for person, model in zip(persons, expected, strict=True) if model}
    for found in summaries:
        model = twin[found.id]
        assert (found.birth_date, found.sex, found.phone) == (model.birth, model.sex, model.phone)
        assert (found.name if found.name != "无名氏" else None) == model.name
        assert found.resident_number == model.owned
        corrected = [one.former for one in reversed(events[found.id]) if one.kind is EventKind.CORRECTED]
        assert corrected == [
            FormerFacts(name=name, sex=sex, birth_date=birth, phone=phone)
            for name, sex, birth, phone in model.corrections
        ]


@pytest.mark.database
@common
@given(told=st.lists(claims, min_size=1, max_size=8), size=st.integers(1, 8))
def test_it_does_not_matter_how_many_subjects_come_at_once(undone, keys, told, size):
    async def work(connection: Any, size: int) -> Any:
        parts = [told[start : start + size] for start in range(0, len(told), size)]
        found = [person for part in parts for person in await tell(connection, keys, part)]
        known = [person for person in found if person is not None]
        return found, await list_persons(connection, keys=keys, persons=known)

    one_by_one = undone(lambda connection: work(connection, 1))
    together = undone(lambda connection: work(connection, size))

    assert partition(together[0]) == partition(one_by_one[0])
    assert [replace(one, id=0) for one in together[1]] == [replace(one, id=0) for one in one_by_one[1]]


class Messages:
    """A database in which a test tells subjects, one message each, and looks at the outcome."""

    def __init__(self, database: Database, keys: Any) -> None:
        self.database, self.keys = database, keys

    async def tell(self, *told: Claim | Subject, **options: Any) -> list[int | None]:
        return await self.database.run(lambda connection: tell(connection, self.keys, list(told), **options))

    async def person(self, person: int | None) -> Any:
        async with self.database.connection() as connection:
            return await get_person(connection, keys=self.keys, person=person or 0)

    async def numbers(self, person: int | None) -> list[tuple[Any, ...]]:
        async with self.database.connection() as connection:
            found = await list_identifiers(connection, keys=self.keys, person=person or 0)
        return [(one.kind.name, one.issuer, one.value) for one in found]

    async def reviews(self) -> list[tuple[Any, ...]]:
        async with self.database.connection() as connection:
            return [(one.person, one.other, one.reason) for one in await list_reviews(connection)]

    async def events(self, person: int | None) -> list[Any]:
        async with self.database.connection() as connection:
            return await list_events(connection, person=person or 0, keys=self.keys)


@pytest.fixture
def messages_run(database_run, keys):
    """Run `async fn(messages)` where nobody is known."""
    return lambda work: database_run(lambda database: work(Messages(database, keys)))


@pytest.mark.database
def test_numbers_of_several_authorities_are_kept_and_each_leads_to_the_person(messages_run):
    told = subject(MOTHER, local("NID", "N-1"), local("2.999.1", "7"))

    async def story(messages):
        (person,) = await messages.tell(told)
        assert await messages.numbers(person) == [
            ("RESIDENT_NUMBER", None, MOTHER.resident),
            ("LOCAL_NUMBER", "2.999.1", "7"),
            ("LOCAL_NUMBER", "A", "100"),
            ("LOCAL_NUMBER", "NID", "N-1"),
        ]
        bare = Subject(institution="B", identifiers=(local("NID", "N-1"), local("B", "9")))
        assert await messages.tell(bare) == [person]
        assert await messages.tell(Claim(institution="B", local="9")) == [person]
        assert await messages.reviews() == []

    messages_run(story)


@pytest.mark.database
def test_a_number_that_another_contradicts_makes_a_review(messages_run):
    stranger = Claim(institution="B", local="1", name="测试明", birth=date(1980, 1, 1), sex="1")

    async def story(messages):
        (person,) = await messages.tell(subject(MOTHER, local("NID", "N-1")))
        (other,) = await messages.tell(subject(stranger, local("NID", "N-1")))
        assert other != person
        assert await messages.reviews() == [(other, person, ReviewReason.CONTRADICTION)]
        assert await messages.tell(subject(stranger, local("NID", "N-1"))) == [other]
        assert len(await messages.reviews()) == 1

    messages_run(story)


@pytest.mark.database
def test_a_second_resident_number_in_one_message_is_kept_as_disputed(messages_run, keys):
    second = SubjectIdentifier(
        kind=IdentifierKind.RESIDENT_NUMBER, issuer=None, value=number(date(1990, 1, 1), 4)
    )

    async def story(messages):
        (person,) = await messages.tell(subject(MOTHER, second))
        async with messages.database.connection() as connection:
            found = await list_identifiers(connection, keys=keys, person=person)
        assert {(one.value, one.disputed) for one in found if one.issuer is None} == {
            (MOTHER.resident, False),
            (second.value, True),
        }
        (owner,) = await messages.tell(replace(MOTHER, resident=second.value, institution="B", local="1"))
        assert owner != person or (await messages.person(person)).resident_number == MOTHER.resident

    messages_run(story)


@pytest.mark.database
def test_issuer_and_number_cannot_be_cut_apart_in_two_ways(messages_run):
    async def story(messages):
        one = Subject(institution="A", identifiers=(local("urn:x", "y:1"),))
        other = Subject(institution="A", identifiers=(local("urn:x:y", "1"),))
        first, second = await messages.tell(one, other)
        assert first != second

    messages_run(story)


@pytest.mark.database
@pytest.mark.parametrize(
    ("news", "former"),
    [
        ({"name": "测试丽"}, FormerFacts(name="测试芳")),
        ({"phone": "13900000009"}, FormerFacts(phone="13800000001")),
        ({"sex": "1"}, FormerFacts(sex="2")),
        (
            {"name": "测试丽", "phone": "13900000009"},
            FormerFacts(name="测试芳", phone="13800000001"),
        ),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_what_a_later_message_tells_of_the_same_number_is_shown_and_what_was_is_kept(
    messages_run, news, former, together
):
    later = replace(MOTHER, **news)

    async def story(messages):
        if together:
            (person, same) = await messages.tell(MOTHER, later)
        else:
            ((person,), (same,)) = [await messages.tell(MOTHER), await messages.tell(later)]
        assert same == person
        known = await messages.person(person)
        assert (known.name, known.phone, known.sex) == (later.name, later.phone, later.sex)
        (event,) = await messages.events(person)
        assert (event.kind, event.former, event.actor) == (EventKind.CORRECTED, former, "message")
        assert "测试芳" not in repr(event)
        await messages.tell(later, later)
        assert len(await messages.events(person)) == 1

    messages_run(story)


@pytest.mark.database
def test_a_birth_date_is_corrected_unless_the_persons_own_number_tells_it(messages_run):
    slip = date(1990, 1, 11)

    async def story(messages):
        (numberless,) = await messages.tell(replace(MOTHER, resident=None))
        await messages.tell(replace(MOTHER, resident=None, birth=slip))
        assert (await messages.person(numberless)).birth_date == slip
        (owner,) = await messages.tell(replace(MOTHER, local="200"))
        await messages.tell(replace(MOTHER, local="200", birth=slip))
        assert (await messages.person(owner)).birth_date == MOTHER.birth

    messages_run(story)


@pytest.mark.database
@pytest.mark.parametrize("together", [True, False])
def test_name_today_and_birth_date_tomorrow_may_be_corrected(messages_run, together):
    bare = replace(MOTHER, resident=None)
    steps = [
        bare,
        replace(bare, name="测试丽"),
        replace(bare, name="测试丽", birth=date(1990, 1, 11)),
        replace(bare, birth=date(1990, 1, 11)),
    ]

    async def story(messages):
        persons = (
            await messages.tell(*steps) if together else [(await messages.tell(step))[0] for step in steps]
        )
        (last,) = await messages.tell(Claim(institution="A", local="100", birth=MOTHER.birth))
        assert {*persons, last} == {persons[0]}
        assert await messages.reviews() == []

    messages_run(story)


@pytest.mark.database
def test_another_humans_message_overwrites_nothing(messages_run):
    stranger = replace(MOTHER, resident=None, name="测试明", birth=date(1970, 1, 1))

    async def story(messages):
        (person,) = await messages.tell(MOTHER)
        (other,) = await messages.tell(stranger)
        assert other != person
        assert (await messages.person(person)).name == MOTHER.name
        assert await messages.reviews() == [(other, person, ReviewReason.CONTRADICTION)]

    messages_run(story)


@pytest.mark.database
def test_another_institutions_first_message_fills_but_does_not_overwrite(messages_run):
    elsewhere = replace(MOTHER, institution="B", local="9", name="测式芳", phone="13900000009")

    async def story(messages):
        (person,) = await messages.tell(replace(MOTHER, phone=None))
        assert await messages.tell(elsewhere) == [person]
        known = await messages.person(person)
        assert (known.name, known.phone) == (MOTHER.name, elsewhere.phone)

    messages_run(story)


@pytest.mark.database
def test_a_mothers_number_on_her_newborns_message_makes_two_persons_and_a_review(messages_run):
    async def story(messages):
        mother, newborn = await messages.tell(MOTHER, NEWBORN)
        assert mother != newborn
        assert (await messages.person(newborn)).resident_number is None
        assert await messages.reviews() == [(newborn, mother, ReviewReason.CONTRADICTION)]
        named = replace(NEWBORN, name="测试小雨")
        assert await messages.tell(named) == [newborn]
        assert (await messages.person(newborn)).name == "测试小雨"

    messages_run(story)


@pytest.mark.database
@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"name": "JON TESTER"}, True),
        ({"name": "JOHN TESTRE"}, True),
        ({"name": "JOAN TESTER", "sex": "2"}, False),
        ({"name": "JOSE TESTER"}, False),
        ({"name": "JON TESTER", "birth": date(1990, 1, 2)}, False),
    ],
)
def test_a_slip_in_a_latin_name_is_no_contradiction_where_no_birth_date_can_be_compared(
    messages_run, other, same
):
    john = Claim(institution="A", local="1", name="JOHN TESTER", sex="1")
    first = replace(john, birth=date(1980, 1, 1)) if "birth" in other else john

    async def story(messages):
        (person,) = await messages.tell(first)
        (found,) = await messages.tell(replace(john, **other))
        assert (found == person) is same

    messages_run(story)


@pytest.mark.database
def test_who_tells_too_little_is_nobody(messages_run):
    async def story(messages):
        assert await messages.tell(Subject(institution="A", identifiers=()), Subject(institution="A",
            identifiers=(local("A", "无"), local("A", "000")), name="无名氏")) == [None, None]  # fmt: skip
        assert await messages.tell() == []
        async with messages.database.connection() as connection:
            assert await count_persons(connection) == 0

    messages_run(story)


@pytest.mark.database
def test_a_number_that_a_program_fills_in_for_everybody_names_nobody(messages_run, monkeypatch):
    monkeypatch.setattr(online, "HOLDERS_MOST", 3)
    people = [
        Claim(institution="A", local="999999", name=f"测试{name}", birth=date(1990, 1, 1 + day), sex="1")
        for day, name in enumerate("甲乙丙丁戊己")
    ]

    async def story(messages):
        found = await messages.tell(*people, Claim(institution="A", local="999999"))
        assert len(set(found[:-1])) == 6
        assert found[-1] is None
        assert await messages.tell(*people[3:]) == found[3:6]

    messages_run(story)


@pytest.mark.database
@pytest.mark.parametrize(
    "hostile",
    [
        Subject(institution="A\0", identifiers=(local("I\0", "1\0"),), name="测\0试", phone="\0" * 9),
        Subject(institution="\ud800", identifiers=(local("\udfff", "\ud8001"),), name="\ud800芳"),
        Subject(institution="A" * 10**6, identifiers=(local("I", "9" * 10**6),), name="芳" * 10**6),
        Subject(institution="A", identifiers=tuple(local("I", str(place)) for place in range(1, 5_000))),
        Subject(institution="A", identifiers=(local("I", "'); DROP TABLE identity_person; --"),), sex="'"),
        Subject(
            institution="A",
            identifiers=(
                SubjectIdentifier(kind=IdentifierKind.DOCUMENT, issuer="no such kind", value="E12345678"),
                SubjectIdentifier(kind=IdentifierKind.RESIDENT_NUMBER, issuer=None, value="9901012026023"),
            ),
            name="?" * 50,
        ),
    ],
)  # fmt: skip
def test_whatever_a_subject_holds_it_is_linked_or_nobody(messages_run, hostile):
    async def story(messages):
        first = await messages.tell(hostile)
        assert await messages.tell(hostile, hostile) == first * 2
        if first != [None]:
            await messages.numbers(first[0])

    messages_run(story)


@pytest.mark.database
def test_eight_connections_that_tell_of_the_same_new_people_at_once_make_each_person_once(
    run, database_url, keys
):
    people = [
        replace(MOTHER, resident=number(date(1985, 5, 5), place), local=str(place), name=f"测试{name}")
        for place, name in enumerate("甲乙丙丁戊己庚辛壬癸" * 2, start=1)
    ]

    async def scenario():
        async with await Database.open(database_url, max_size=8) as database:
            messages = Messages(database, keys)
            results = await asyncio.gather(*(messages.tell(*people) for _ in range(8)))
            single = await asyncio.gather(
                *(messages.tell(replace(people[0], local=f"x{place // 8}")) for place in range(32))
            )
            async with database.connection() as connection:
                stored = await connection.fetchval("SELECT count(*) FROM identity_person")
                return results, single, stored, await count_persons(connection)

    results, single, stored, counted = run(scenario())

    assert all(result == results[0] for result in results)
    assert len(set(results[0])) == stored == counted == 20
    assert {person for one in single for person in one} == {results[0][0]}


@pytest.mark.database
def test_messages_and_a_file_that_bring_the_same_person_at_once_make_one(run, database_url, keys):
    async def scenario():
        async with await Database.open(database_url, max_size=4) as database:
            messages = Messages(database, keys)
            file = database.run(lambda connection: bring(connection, keys, [MOTHER]))
            found = await asyncio.gather(file, *(messages.tell(MOTHER) for _ in range(3)))
            async with database.connection() as connection:
                return found, await count_persons(connection)

    found, counted = run(scenario())

    assert counted == len({person for one in found for person in one}) == 1


@pytest.mark.database
def test_endless_collisions_end_in_a_clear_error(messages_run, monkeypatch):
    async def collide(*_: Any, **__: Any) -> Any:
        raise store.CollisionError

    monkeypatch.setattr(store, "add_new", collide)

    async def story(messages):
        with pytest.raises(LinkingBusyError):
            await messages.tell(MOTHER)

    messages_run(story)


@pytest.mark.database
def test_one_subject_takes_at_most_five_statements(messages_run):
    async def story(messages):
        async def counted(connection, claim):
            # A connection learns its types with the first statements.
            await tell(connection, messages.keys, [MOTHER, replace(MOTHER, phone="13900000000")])
            queries: list[str] = []
            with connection.query_logger(lambda record: queries.append(record.query)):
                await tell(connection, messages.keys, [claim])
            return queries

        named = replace(MOTHER, institution="B", name="TEST A", passport="E12345678")
        for claim in (MOTHER, NEWBORN, named, replace(MOTHER, phone="13700000000"), replace(named, sex="1")):
            queries = await messages.database.run(lambda connection, claim=claim: counted(connection, claim))
            assert 1 <= len(queries) <= 5, queries

    messages_run(story)


@pytest.mark.database
def test_the_tally_is_gathered_now_and_then_and_stays_right(messages_run):
    async def story(messages):
        for place in range(5):
            await messages.tell(Claim(institution="A", local=str(place + 1)), random=lambda size: bytes(size))
        async with messages.database.connection() as connection:
            assert await count_persons(connection) == 5
            assert await connection.fetchval("SELECT count(*) FROM identity_tally") == 1

    messages_run(story)
