"""Registering cards, one by one, in sets, and at the same moment. No person is real."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest
from healthcard_world import (
    HOSPITAL,
    NOW,
    OTHER,
    WINDOW,
    adult,
    child,
    dynamic,
    number_of,
    office_of,
    register,
    scan,
)

from kangshu import healthcard, identity
from kangshu.healthcard import (
    Application,
    ApplicationError,
    Attribute,
    CardStateError,
    FamilyFullError,
    GuardianNeededError,
    HolderDiffersError,
    Refusal,
    RowProblem,
    Status,
    Way,
)
from kangshu.storage.database import Database

pytestmark = pytest.mark.database


def test_reapplication_returns_the_same_card(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            first = await healthcard.register_card(
                connection, office=office, application=adult(), caller=WINDOW, now=NOW
            )
            again = await healthcard.register_card(
                connection,
                office=office,
                application=adult(name=" 测试甲 ", way=Way.ONLINE),
                caller=OTHER,
                now=NOW + timedelta(days=3),
            )
        assert first.new
        assert not again.new
        assert again.card == first.card
        assert first.card.status is Status.NORMAL
        assert first.card.active == first.card.id
        assert len(first.card.card_id) == len(first.card.index_id) == 64

    database_run(scenario)


def test_two_registrations_at_the_same_moment_make_one_card(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)

        async def one(number: int) -> healthcard.Registered:
            async with database.transaction() as connection:
                found = await healthcard.register_card(
                    connection, office=office, application=adult(), caller=WINDOW, now=NOW
                )
                await asyncio.sleep(0.01 * (number % 3))
                return found

        found = await asyncio.gather(*(one(number) for number in range(6)))
        assert len({one.card.id for one in found}) == 1
        assert sum(one.new for one in found) == 1
        async with database.connection() as connection:
            persons = await identity.count_persons(connection)
        assert persons == 1

    database_run(scenario)


def test_another_name_on_the_same_document_is_refused_without_a_word_about_the_card(
    database_run: Any, keys: Any
):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            await register(connection, office, adult())
            with pytest.raises(HolderDiffersError) as caught:
                await register(connection, office, adult(name="别名乙"))
        assert "测试甲" not in str(caught.value)
        assert number_of(1) not in str(caught.value)

    database_run(scenario)


def test_middle_dots_and_width_do_not_make_another_name(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            first = await register(connection, office, adult(name="阿不都·测试"))
            again = await register(connection, office, adult(name="阿不都•测试"))
        assert again.id == first.id

    database_run(scenario)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": "  "}, "name"),
        ({"name": "测" * 51}, "name"),
        ({"name": "测试\x00甲"}, "name"),
        ({"document_number": "990101199003070014"}, "document_number"),
        ({"document_number": None}, "document_number"),
        ({"document_number": "9" * 5000}, "document_number"),
        ({"document_type": "77"}, "document_type"),
        ({"document_type": None}, "document_type"),
        ({"sex": "male"}, "sex"),
        ({"phone": "call me"}, "phone"),
        ({"nation": "zhuang"}, "nation"),
        ({"birth_date": date(1991, 1, 1)}, "birth_date"),
        ({"address": "街" * 201}, "address"),
    ],
)
def test_a_wrong_application_is_refused_with_its_field(
    database_run: Any, keys: Any, change: dict[str, Any], place: str
):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            with pytest.raises(ApplicationError) as caught:
                await register(connection, office, adult(**change))
        assert caught.value.place == place

    database_run(scenario)


def test_a_passport_has_a_card_too(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(
                connection,
                office,
                Application(
                    name="ANNA TESTER",
                    document_type="03",
                    document_number="e 1234567 8",
                    birth_date=date(1980, 1, 2),
                    sex="2",
                    way=Way.WINDOW,
                ),
            )
            found = await healthcard.find_card(
                connection, office=office, document_type="03", document_number="E12345678"
            )
        assert found == card

    database_run(scenario)


def test_a_minor_needs_the_card_of_an_adult_guardian(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys, family_most=2)
            mother = await register(connection, office, adult(2, name="测试母"))
            with pytest.raises(GuardianNeededError):
                await register(connection, office, child())
            with pytest.raises(GuardianNeededError):
                await register(connection, office, child(guardian=9999, relation="52"))
            with pytest.raises(ApplicationError):
                await register(connection, office, child(guardian=mother.id))
            card = await register(connection, office, child(guardian=mother.id, relation="52"))
            assert card.guardian == mother.id
            (member,) = await healthcard.list_family(connection, card=mother.id)
            assert (member.member, member.guardian, member.relation) == (card.id, True, "52")
            # A minor is nobody's guardian.
            with pytest.raises(GuardianNeededError):
                await register(connection, office, child(2, guardian=card.id, relation="52"))
            # Told again it is the same child; a third one is more than the settings allow.
            again = await register(connection, office, child(guardian=mother.id, relation="52"))
            assert again.id == card.id
            await register(connection, office, child(3, guardian=mother.id, relation="52"))
            with pytest.raises(FamilyFullError):
                await register(connection, office, child(4, guardian=mother.id, relation="52"))

    database_run(scenario)


def test_a_lost_card_is_no_guardian(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            mother = await register(connection, office, adult(2, name="测试母"))
            await healthcard.report_loss(connection, office=office, card=mother.id, caller=WINDOW, now=NOW)
            with pytest.raises(GuardianNeededError):
                await register(connection, office, child(guardian=mother.id, relation="52"))

    database_run(scenario)


def _unknown(**more: Any) -> Application:
    return Application(name="无名氏", local_number="E-0007", temporary=True, way=Way.WINDOW, **more)


def test_a_temporary_card_expires(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, _unknown())
            assert card.attribute is Attribute.TEMPORARY
            assert card.valid_until == NOW + timedelta(days=30)
            again = await register(connection, office, _unknown())
            assert again.id == card.id
            text = card.card_id + ":9"
            assert (await scan(connection, office, text)).refusal is None
            # The suffix of formal cards is not this card's.
            assert (await scan(connection, office, card.card_id + ":1")).refusal is Refusal.UNKNOWN
            late = NOW + timedelta(days=30)
            assert (await scan(connection, office, text, now=late)).refusal is Refusal.CARD_EXPIRED
            with pytest.raises(CardStateError):
                await dynamic(connection, office, card.id, now=late)
            assert await healthcard.maintain(connection, office=office, now=late) == 1
            assert await healthcard.maintain(connection, office=office, now=late) == 0
            ended = await healthcard.get_card(connection, office=office, card=card.id)
            assert ended.status is Status.CANCELLED
            assert (await scan(connection, office, text, now=late)).refusal is Refusal.CANCELLED

    database_run(scenario)


def test_a_temporary_card_becomes_formal(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            temporary = await register(connection, office, _unknown())
            formal = await healthcard.make_formal(
                connection,
                office=office,
                card=temporary.id,
                application=adult(),
                caller=WINDOW,
                now=NOW,
            )
            old = await healthcard.get_card(connection, office=office, card=temporary.id)
            assert (old.status, old.successor) == (Status.CANCELLED, formal.card.id)
            assert old.person == formal.card.person
            assert old.active == formal.card.id
            with pytest.raises(CardStateError):
                await healthcard.make_formal(
                    connection,
                    office=office,
                    card=temporary.id,
                    application=adult(),
                    caller=WINDOW,
                    now=NOW,
                )
            kinds = [event.kind for event in await healthcard.history_of(connection, card=temporary.id)]
            assert kinds == [healthcard.EventKind.FORMAL]

    database_run(scenario)


def test_after_a_cancellation_the_old_code_stays_dead(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            old = await register(connection, office, adult())
            await healthcard.cancel_card(
                connection, office=office, card=old.id, reason="遗失", caller=WINDOW, now=NOW
            )
            new = await register(connection, office, adult())
            assert new.id != old.id
            assert new.card_id != old.card_id
            assert new.index_id == old.index_id
            assert new.person == old.person
            assert (await scan(connection, office, old.card_id + ":1")).refusal is Refusal.CANCELLED
            assert (await scan(connection, office, new.card_id + ":1")).refusal is None
            (event,) = await healthcard.history_of(connection, card=old.id, office=office)
            assert event.reason == "遗失"
            (hidden,) = await healthcard.history_of(connection, card=old.id)
            assert hidden.reason is None

    database_run(scenario)


def test_a_batch_makes_cards_in_advance_that_their_holders_claim(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            rows = [
                adult(1, name="甲一", way=Way.BATCH),
                adult(2, name="甲二", way=Way.BATCH),
                adult(1, name="甲一", way=Way.BATCH),
                adult(1, name="别人", way=Way.BATCH),
                adult(3, name="", way=Way.BATCH),
                adult(3, name="甲三", way=Way.BATCH, document_number="990101199003070000"),
                child(5),
                adult(4, name="甲四", way=Way.BATCH, phone="tel"),
            ]
            batch = await healthcard.register_cards(
                connection, office=office, applications=rows, caller=WINDOW, now=NOW
            )
            assert batch.created == 3
            assert batch.existing == 1
            assert batch.cards[0] == batch.cards[2] is not None
            assert batch.problems == {
                3: RowProblem.HOLDER_DIFFERS,
                4: RowProblem.NAME_MISSING,
                5: RowProblem.DOCUMENT_UNREADABLE,
                7: RowProblem.FIELD_WRONG,
            }
            again = await healthcard.register_cards(
                connection, office=office, applications=rows, caller=WINDOW, now=NOW
            )
            assert again.created == 0
            assert again.cards == batch.cards
            number = batch.cards[0]
            assert number is not None
            waiting = await healthcard.get_card(connection, office=office, card=number)
            assert waiting.status is Status.NOT_ISSUED
            text = waiting.card_id + ":1"
            assert (await scan(connection, office, text)).refusal is Refusal.NOT_ISSUED
            with pytest.raises(CardStateError):
                await dynamic(connection, office, number)
            claimed = await healthcard.register_card(
                connection,
                office=office,
                application=adult(1, name="甲一", way=Way.ONLINE, phone="19911112222"),
                caller=WINDOW,
                now=NOW,
            )
            assert claimed.claimed
            assert not claimed.new
            assert claimed.card.id == number
            assert claimed.card.card_id == waiting.card_id
            assert claimed.card.holder.phone == "19911112222"
            assert (await scan(connection, office, text)).refusal is None
            # A child's card from a list is handed out to a guardian only.
            with pytest.raises(GuardianNeededError):
                await register(connection, office, child(5))

    database_run(scenario)


def test_two_batches_at_the_same_moment_make_each_card_once(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
        rows = [adult(serial, name=f"甲{serial:03d}", way=Way.BATCH) for serial in range(1, 60)]

        async def one(applications: list[Application]) -> healthcard.Batch:
            async def work(connection: Any) -> healthcard.Batch:
                return await healthcard.register_cards(
                    connection, office=office, applications=applications, caller=WINDOW, now=NOW
                )

            return await database.run(work)

        one_way, other_way = await asyncio.gather(one(rows), one(list(reversed(rows))))
        assert one_way.created + other_way.created == len(rows)
        assert one_way.cards == tuple(reversed(other_way.cards))

    database_run(scenario)


def test_nothing_personal_stands_in_clear_in_the_database(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            mother = await register(connection, office, adult(2, name="测试母", address="测试路九号"))
            card = await register(connection, office, child(guardian=mother.id, relation="52"))
            await healthcard.bind_code(
                connection,
                office=office,
                card=mother.id,
                system="insurance",
                value="Y990000123456",
                caller=WINDOW,
                now=NOW,
            )
            await healthcard.change_phone(
                connection, office=office, card=mother.id, phone="19988887777", caller=WINDOW, now=NOW
            )
            await scan(connection, office, await dynamic(connection, office, mother.id))
            await healthcard.report_loss(
                connection, office=office, card=mother.id, reason="丢在测试广场", caller=WINDOW, now=NOW
            )
        async with database.connection() as connection:
            tables = await connection.fetch(
                """SELECT tablename FROM pg_tables WHERE tablename LIKE 'healthcard%'
                   OR tablename LIKE 'audit%'"""
            )
            stored = ""
            for row in tables:
                rows = await connection.fetch(f"SELECT t::text AS row FROM {row['tablename']} t")
                stored += "\n".join(one["row"] for one in rows)
        assert HOSPITAL in stored
        secrets = [
            "测试母", "测试小童", number_of(2), number_of(1, born=date(2020, 5, 1)), "19900001234",
            "19988887777", "测试路", "测试广场", "Y990000123456",
            mother.card_id, mother.index_id, card.card_id,
        ]  # fmt: skip
        for secret in secrets:
            assert secret not in stored
            assert secret.encode().hex() not in stored.lower()

    database_run(scenario)
