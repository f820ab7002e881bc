"""Losses, phones, families, other codes, use records, regions and figures. No person is real."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest
from healthcard_world import (
    HOLDER,
    HOSPITAL,
    NOW,
    OTHER,
    OTHER_HOSPITAL,
    WINDOW,
    adult,
    child,
    dynamic,
    office_of,
    register,
    scan,
)

from kangshu import audit, healthcard, identity
from kangshu.healthcard import (
    ApplicationError,
    BindingTakenError,
    CardStateError,
    CardUnknownError,
    FamilyFullError,
    Refusal,
    Status,
    Use,
    UseOutcome,
    Way,
)
from kangshu.storage.database import Database

pytestmark = pytest.mark.database


def test_each_act_is_an_event_and_on_record(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            act: dict[str, Any] = {"office": office, "card": card.id, "caller": WINDOW, "now": NOW}
            await healthcard.change_phone(connection, phone="199 1111 2222", **act)
            await healthcard.report_loss(connection, reason="手机遗失", **act)
            await healthcard.report_loss(connection, reason="手机遗失", **act)
            await healthcard.lift_loss(connection, **act)
            await healthcard.cancel_card(connection, **act)
            await healthcard.cancel_card(connection, **act)
            events = await healthcard.history_of(connection, card=card.id, office=office)
            ended = await healthcard.get_card(connection, office=office, card=card.id)
            with pytest.raises(CardStateError):
                await healthcard.change_phone(connection, phone="19911112222", **act)
            with pytest.raises(ApplicationError):
                await healthcard.report_loss(connection, reason="长" * 201, **act)
            with pytest.raises(CardUnknownError):
                await healthcard.report_loss(connection, **{**act, "card": 999})
        assert [(str(one.kind), one.reason) for one in events] == [
            ("cancelled", None),
            ("loss-lifted", None),
            ("loss-reported", "手机遗失"),
            ("phone-changed", None),
        ]
        assert (ended.status, ended.holder.phone) == (Status.CANCELLED, "19911112222")
        async with database.connection() as connection:
            entries = await audit.list_entries(connection, person=card.person, limit=50)
        assert [one.action for one in entries] == [
            "card.cancel", "card.loss-lifted", "card.loss", "card.phone", "card.register",
        ]  # fmt: skip

    database_run(scenario)


def test_family_cards_are_bounded_also_where_two_arrive_at_once(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys, family_most=2)
            me, *others = [await register(connection, office, adult(n, name=f"甲{n}")) for n in range(1, 6)]

        async def add(member: int) -> object:
            async with database.transaction() as connection:
                return await healthcard.add_family_member(
                    connection,
                    office=office,
                    card=me.id,
                    member=member,
                    relation="20",
                    caller=HOLDER,
                    now=NOW,
                )

        found = await asyncio.gather(*(add(one.id) for one in others), return_exceptions=True)
        assert sum(isinstance(one, FamilyFullError) for one in found) == 2
        async with database.transaction() as connection:
            members = await healthcard.list_family(connection, card=me.id)
            assert len(members) == 2
            ended = await healthcard.end_family_member(
                connection, office=office, card=me.id, member=members[0].member, caller=HOLDER, now=NOW
            )
            assert ended.ended_at == NOW
            with pytest.raises(CardUnknownError):
                await healthcard.end_family_member(
                    connection, office=office, card=me.id, member=members[0].member, caller=HOLDER, now=NOW
                )
        assert not isinstance(await add(ended.member), Exception)

    database_run(scenario)


def test_a_minor_and_oneself_are_no_family_holders(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            mother = await register(connection, office, adult(2, name="测试母"))
            kid = await register(connection, office, child(guardian=mother.id, relation="52"))
            act: dict[str, Any] = {"office": office, "relation": "30", "caller": HOLDER, "now": NOW}
            for card, member in ((kid.id, mother.id), (mother.id, mother.id)):
                with pytest.raises(CardStateError):
                    await healthcard.add_family_member(connection, card=card, member=member, **act)
            with pytest.raises(ApplicationError):
                await healthcard.add_family_member(
                    connection, card=mother.id, member=kid.id, **{**act, "relation": "mother"}
                )

    database_run(scenario)


def test_a_bound_code_leads_to_the_card_and_to_one_only(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            one = await register(connection, office, adult())
            two = await register(connection, office, adult(2, name="测试乙"))
            bind: dict[str, Any] = {
                "office": office,
                "system": "insurance",
                "value": "Y990000123456",
                "caller": WINDOW,
                "now": NOW,
            }
            first = await healthcard.bind_code(connection, card=one.id, **bind)
            assert first.masked == "*********3456"
            assert (await healthcard.bind_code(connection, card=one.id, **bind)).id == first.id
            with pytest.raises(BindingTakenError):
                await healthcard.bind_code(connection, card=two.id, **bind)
            with pytest.raises(ApplicationError):
                await healthcard.bind_code(connection, card=one.id, **{**bind, "system": "lottery"})
            ask: dict[str, Any] = {"office": office, "caller": WINDOW, "now": NOW}
            found = await healthcard.resolve_code(connection, text="Y990000123456", system="insurance", **ask)
            assert found is not None
            assert found.id == one.id
            assert await healthcard.resolve_code(connection, text="Y99", system="insurance", **ask) is None
            assert await healthcard.resolve_code(connection, text="Y99", system="lottery", **ask) is None
            text = await dynamic(connection, office, one.id)
            own = await healthcard.resolve_code(connection, text=text, **ask)
            assert own is not None
            assert own.id == one.id
            screen = await healthcard.code_screen(
                connection, office=office, card=one.id, caller=HOLDER, now=NOW
            )
            assert [binding.system for binding in screen.bindings] == ["insurance"]
            await healthcard.unbind_code(connection, office=office, binding=first.id, caller=WINDOW, now=NOW)
            moved = await healthcard.bind_code(connection, card=two.id, **bind)
            assert moved.card == two.id

    database_run(scenario)


def test_an_institution_binds_and_resolves_its_own_patient_numbers_only(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            binding = await healthcard.bind_code(
                connection, office=office, card=card.id, system="patient", value="P-1", caller=WINDOW, now=NOW
            )
            assert binding.issuer == HOSPITAL
            with pytest.raises(ApplicationError):
                await healthcard.bind_code(
                    connection,
                    office=office,
                    card=card.id,
                    system="patient",
                    value="P-1",
                    issuer=HOSPITAL,
                    caller=OTHER,
                    now=NOW,
                )
            ask: dict[str, Any] = {"office": office, "text": "P-1", "system": "patient", "now": NOW}
            assert await healthcard.resolve_code(connection, caller=WINDOW, **ask) is not None
            assert await healthcard.resolve_code(connection, caller=OTHER, **ask) is None
            assert await healthcard.resolve_code(connection, caller=OTHER, issuer=HOSPITAL, **ask) is None

    database_run(scenario)


def test_a_dynamic_code_of_another_system_is_read_by_its_resolver(database_run: Any, keys: Any):
    class Insurance:
        async def lasting_number(self, text: str) -> str | None:
            return "Y990000123456" if text == "token" else None

    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            await healthcard.bind_code(
                connection,
                office=office,
                card=card.id,
                system="insurance",
                value="Y990000123456",
                caller=WINDOW,
                now=NOW,
            )
            ask: dict[str, Any] = {
                "office": office,
                "system": "insurance",
                "caller": WINDOW,
                "now": NOW,
                "resolvers": {"insurance": Insurance()},
            }
            found = await healthcard.resolve_code(connection, text="token", **ask)
            assert found is not None
            assert found.id == card.id
            assert await healthcard.resolve_code(connection, text="Y990000123456", **ask) is None

    database_run(scenario)


def test_bindings_of_a_merged_person_are_shown_with_the_survivors(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            one = await register(connection, office, adult(1))
            two = await register(connection, office, adult(2))
            await healthcard.bind_code(
                connection, office=office, card=one.id, system="insurance", value="Y9900001", caller=WINDOW,
                now=NOW,
            )  # fmt: skip
            await identity.merge_persons(
                connection, survivor=two.person, absorbed=one.person, actor="t", reason="t", now=NOW
            )
            assert len(await healthcard.list_bindings(connection, office=office, card=two.id)) == 1
            found = await healthcard.resolve_code(
                connection, office=office, text="Y9900001", system="insurance", caller=WINDOW, now=NOW
            )
            assert found is not None
            assert found.id == two.id

    database_run(scenario)


def test_a_use_record_told_again_changes_nothing(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            code = await dynamic(connection, office, card.id)
        told: dict[str, Any] = {
            "scene": "register",
            "used_at": NOW,
            "order_number": "R1",
            "visit_type": "O",
        }
        first, by_code, other = (
            Use(card_id=card.card_id.lower(), **told),
            Use(code=code, **{**told, "scene": "10101"}),
            Use(card=card.id, **{**told, "order_number": "R2"}, medium="31"),
        )

        async def tell(*uses: Use, caller: healthcard.Caller = WINDOW) -> list[UseOutcome]:
            async with database.transaction() as connection:
                return await healthcard.record_uses(
                    connection, office=office, uses=uses, caller=caller, now=NOW + timedelta(hours=1)
                )

        stored, known = UseOutcome.STORED, UseOutcome.KNOWN
        assert await tell(first, by_code, other) == [stored, known, stored]
        assert await tell(first, by_code, other) == [known, known, known]
        # Another institution's record is its own.
        assert await tell(first, caller=OTHER) == [stored]
        everywhere = await asyncio.gather(
            *(tell(Use(card=card.id, scene="pay", used_at=NOW, order_number="R3")) for _ in range(5))
        )
        assert sorted(everywhere) == [[known]] * 4 + [[stored]]
        async with database.connection() as connection:
            uses = await healthcard.list_uses(connection, card=card.id)
            rows = await connection.fetchval("SELECT sum(uses) FROM healthcard_use_tally")
        assert len(uses) == rows == 4
        assert sum(use.off_card for use in uses) == 1

    database_run(scenario)


def test_a_bad_use_record_does_not_hold_up_the_others(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            good: dict[str, Any] = {"card": card.id, "scene": "register", "used_at": NOW}
            wrong = [
                ({"card": 9999}, UseOutcome.CARD_UNKNOWN),
                ({"card": 1 << 80}, UseOutcome.CARD_UNKNOWN),
                ({"card": None, "card_id": "Z" * 10_000}, UseOutcome.CARD_UNKNOWN),
                ({"card": None, "code": "nonsense"}, UseOutcome.CARD_UNKNOWN),
                ({"card": None}, UseOutcome.CARD_UNKNOWN),
                ({"scene": "nowhere"}, UseOutcome.SCENE_UNKNOWN),
                ({"medium": "77"}, UseOutcome.CODE_UNKNOWN),
                ({"visit_type": "?"}, UseOutcome.CODE_UNKNOWN),
                ({"terminal": "x" * 1000}, UseOutcome.CODE_UNKNOWN),
                ({"order_number": "a\x00b"}, UseOutcome.CODE_UNKNOWN),
                ({"used_at": NOW + timedelta(days=1)}, UseOutcome.TIME_IMPOSSIBLE),
                ({"used_at": NOW - timedelta(days=900)}, UseOutcome.TIME_IMPOSSIBLE),
                ({"used_at": NOW.replace(tzinfo=None)}, UseOutcome.TIME_IMPOSSIBLE),
            ]
            uses = [Use(**{**good, **change}) for change, _ in wrong] + [Use(**good)]
            outcomes = await healthcard.record_uses(
                connection, office=office, uses=uses, caller=WINDOW, now=NOW
            )
            assert outcomes == [*(outcome for _, outcome in wrong), UseOutcome.STORED]
            with pytest.raises(ApplicationError):
                await healthcard.record_uses(connection, office=office, uses=uses, caller=HOLDER, now=NOW)

    database_run(scenario)


def test_an_index_id_is_at_home_here_elsewhere_or_nowhere(database_run: Any, keys: Any):
    class National:
        asked = 0

        async def home_of(self, index_id: str) -> str | None:
            self.asked += 1
            return "980000" if index_id.startswith("A") else None

    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            national = National()
            ask: dict[str, Any] = {"office": office, "caller": WINDOW, "now": NOW, "national": national}
            here = await healthcard.cross_region(connection, index_id=card.index_id.lower(), **ask)
            assert (here.region, here.here) == ("990000", True)
            for _ in range(2):
                there = await healthcard.cross_region(connection, index_id="A" * 64, **ask)
                assert (there.region, there.here) == ("980000", False)
            assert national.asked == 1
            nowhere = await healthcard.cross_region(connection, index_id="B" * 64, **ask)
            assert (nowhere.region, nowhere.here) == (None, False)
            for wrong in ("", "G" * 64, "A" * 100_000):
                with pytest.raises(ApplicationError):
                    await healthcard.cross_region(connection, index_id=wrong, **ask)
            with pytest.raises(ApplicationError):
                await healthcard.note_home_regions(
                    connection, office=office, homes=[("A" * 64, "nowhere")], now=NOW
                )

    database_run(scenario)


def test_the_figures_count_what_happened_and_stay_when_counts_are_put_together(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            one = await register(connection, office, adult(1, name="甲一"))
            two = await register(connection, office, adult(2, name="甲二"))
            rows = [adult(n, name=f"甲{n}", way=Way.BATCH) for n in (3, 4)]
            await healthcard.register_cards(
                connection, office=office, applications=rows, caller=OTHER, now=NOW
            )
            await register(connection, office, adult(3, name="甲3", way=Way.ONLINE))
            await healthcard.cancel_card(connection, office=office, card=two.id, caller=WINDOW, now=NOW)
            for system, value in (("insurance", "Y9900001"), ("patient", "P1")):
                await healthcard.bind_code(
                    connection, office=office, card=one.id, system=system, value=value, caller=WINDOW, now=NOW
                )
            uses = [
                Use(card=one.id, scene="register", used_at=NOW),
                Use(card=one.id, scene="pay", used_at=NOW),
                Use(card=one.id, scene="collect", used_at=NOW, medium="31"),
                # Half past midnight in the region is the day before in UTC.
                Use(card=one.id, scene="pay", used_at=NOW.replace(hour=16) + timedelta(minutes=30)),
            ]
            await healthcard.record_uses(
                connection, office=office, uses=uses, caller=WINDOW, now=NOW + timedelta(days=1)
            )
            await scan(connection, office, one.card_id + ":1")
            await scan(connection, office, two.card_id + ":1", caller=OTHER)
            span: dict[str, Any] = {
                "settings": office.settings,
                "since": NOW - timedelta(days=1),
                "until": NOW + timedelta(days=2),
            }
            found = await healthcard.figures(connection, **span)
            assert found.cards == 4
            assert found.issued == 3
            assert found.issued_by_day == ((date(2026, 3, 2), 3),)
            assert found.by_status[Status.NORMAL] == 2
            assert found.by_status[Status.NOT_ISSUED] == 1
            assert found.by_status[Status.CANCELLED] == 1
            assert (found.by_way[Way.WINDOW], found.by_way[Way.BATCH], found.by_way[Way.ONLINE]) == (2, 1, 1)
            assert (found.use_count, found.off_card_rate) == (4, 0.25)
            assert [(use.day.day, use.scene, use.uses) for use in found.uses] == [
                (2, "collect", 1), (2, "pay", 1), (2, "register", 1), (3, "pay", 1),
            ]  # fmt: skip
            (coverage,) = found.coverage
            assert coverage.institution == HOSPITAL
            assert coverage.scenes == ("register", "pay")
            assert coverage.share == 2 / len(office.settings.scenes)
            assert (found.fused_cards, found.fusion_rate) == (1, 0.5)
            assert found.claim_rate == 2 / 3
            assert (found.scans, dict(found.refused_scans)) == (2, {Refusal.CANCELLED: 1})
            assert found.scans_by_institution == {HOSPITAL: (1, 0), OTHER_HOSPITAL: (1, 1)}
            rows_before = await connection.fetchval("SELECT count(*) FROM healthcard_card_tally")
            await healthcard.maintain(connection, office=office, now=NOW)
            rows_after = await connection.fetchval("SELECT count(*) FROM healthcard_card_tally")
            assert rows_after < rows_before
            assert await healthcard.figures(connection, **span) == found
            mine = await healthcard.figures(connection, institutions=[OTHER_HOSPITAL], **span)
            assert (mine.cards, mine.use_count, mine.scans, mine.fused_cards) == (2, 0, 1, 0)
            nobody = await healthcard.figures(connection, institution="nowhere", **span)
            assert (nobody.cards, nobody.off_card_rate, nobody.fusion_rate, nobody.claim_rate) == (
                0, None, None, None,
            )  # fmt: skip

    database_run(scenario)
