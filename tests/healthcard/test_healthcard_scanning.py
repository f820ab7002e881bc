"""Codes at the terminals: genuine, replayed, expired, altered, foreign; merges under way; new keys.

No person is real.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from healthcard_world import (
    HOLDER,
    HOSPITAL,
    NOW,
    OTHER,
    OTHER_HOSPITAL,
    WINDOW,
    FixedClockOf,
    adult,
    dynamic,
    number_of,
    office_of,
    register,
    scan,
)

from kangshu import audit, healthcard, identity
from kangshu.healthcard import CardStateError, CodeKind, KeyKind, Refusal, ScanDesk, ScanRequest, Status
from kangshu.healthcard.settings import Reuse
from kangshu.storage.database import Database

pytestmark = pytest.mark.database
LATER = NOW + timedelta(minutes=1)


def test_a_scan_shows_the_least_that_the_role_needs(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            text = await dynamic(connection, office, card.id)
            found = await scan(connection, office, text)
            assert (found.refusal, found.card, found.active, found.person) == (
                None,
                card.id,
                card.id,
                card.person,
            )
            assert (found.card_id, found.index_id) == (card.card_id, card.index_id)
            assert found.view is not None
            assert found.view.name == "测试甲"
            assert found.view.document_number == "990101********0015"
            assert number_of(1) not in repr(found)
            text = await dynamic(connection, office, card.id, now=LATER)
            machine = await scan(connection, office, text, caller=OTHER, now=LATER)
            assert machine.view is not None
            assert (machine.view.name, machine.view.birth_date, machine.view.phone) == ("测**", "1990", None)

    database_run(scenario)


def test_every_scan_is_on_record_with_its_outcome(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            text = await dynamic(connection, office, card.id)
            await scan(connection, office, text)
            await scan(connection, office, text, caller=OTHER)
            await scan(connection, office, "nonsense", caller=OTHER)
        async with database.connection() as connection:
            entries = await audit.list_entries(connection, action="card.scan", limit=10)
        told = [(one.institution, one.outcome, one.person, one.detail.get("refusal")) for one in entries]
        assert sorted(told, key=str) == sorted(
            [
                (HOSPITAL, "done", card.person, None),
                (OTHER_HOSPITAL, "refused", card.person, "replayed"),
                (OTHER_HOSPITAL, "refused", None, "unreadable"),
            ],
            key=str,
        )
        assert text not in str(entries)

    database_run(scenario)


def test_a_dynamic_code_belongs_to_the_first_terminal(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            text = await dynamic(connection, office, card.id)
            first = await scan(connection, office, text)
            again = await scan(connection, office, text.lower(), scene="pay")
            stolen = await scan(connection, office, text, caller=OTHER)
            beside = await scan(connection, office, text, caller=replace(WINDOW, terminal="W02"))
        assert (first.refusal, first.repeated) == (None, False)
        assert (again.refusal, again.repeated) == (None, True)
        assert (stolen.refusal, stolen.view, stolen.card_id) == (Refusal.REPLAYED, None, None)
        assert beside.refusal is Refusal.REPLAYED

    database_run(scenario)


@pytest.mark.parametrize(
    ("reuse", "same", "other"),
    [(Reuse.NEVER, Refusal.REPLAYED, Refusal.REPLAYED), (Reuse.ANY, None, None)],
)
def test_who_may_repeat_a_code_is_a_setting(
    database_run: Any, keys: Any, reuse: Reuse, same: Refusal | None, other: Refusal | None
):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys, reuse=reuse)
            card = await register(connection, office, adult())
            text = await dynamic(connection, office, card.id)
            assert (await scan(connection, office, text)).refusal is None
            assert (await scan(connection, office, text)).refusal is same
            assert (await scan(connection, office, text, caller=OTHER)).refusal is other

    database_run(scenario)


def test_of_two_terminals_at_the_same_moment_one_has_the_code(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            texts = [
                await dynamic(connection, office, card.id, now=NOW + timedelta(seconds=n)) for n in range(12)
            ]

        async def everywhere(caller: healthcard.Caller, order: list[str]) -> dict[str, Refusal | None]:
            requests = [ScanRequest(text=text, scene="pay", caller=caller) for text in order]
            async with database.transaction() as connection:
                found = await healthcard.scan_all(
                    connection, office=office, requests=requests, now=NOW + timedelta(seconds=20)
                )
                return {text: one.refusal for text, one in zip(order, found, strict=True)}

        answers = await asyncio.gather(
            everywhere(WINDOW, texts),
            everywhere(OTHER, texts[::-1]),
            everywhere(replace(OTHER, terminal="W09"), texts),
        )
        for text in texts:
            assert sorted(str(one[text]) for one in answers) == ["None", "replayed", "replayed"]

    database_run(scenario)


def test_one_call_with_the_same_code_twice_gives_it_once(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            text = await dynamic(connection, office, card.id)
            requests = [
                ScanRequest(text=text, scene="pay", caller=caller) for caller in (WINDOW, OTHER, WINDOW)
            ]
            found = await healthcard.scan_all(connection, office=office, requests=requests, now=LATER)
        assert [one.refusal for one in found] == [None, Refusal.REPLAYED, None]
        assert [one.repeated for one in found] == [False, False, True]

    database_run(scenario)


def test_expired_altered_and_foreign_codes_are_refused(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            text = await dynamic(connection, office, card.id)
            end = NOW + timedelta(seconds=office.settings.dynamic_seconds)
            inside = await scan(connection, office, text, now=end - timedelta(seconds=1))
            assert inside.refusal is None
            assert (await scan(connection, office, text, now=end)).refusal is Refusal.EXPIRED
            altered = text[:70] + ("0" if text[70] != "0" else "1") + text[71:]
            assert (await scan(connection, office, altered)).refusal is Refusal.UNKNOWN
            foreign = "AB" * 32 + ":1"
            assert (await scan(connection, office, foreign)).refusal is Refusal.UNKNOWN
            for text in ("", "x", ":1", "AB" * 32, "\x00" * 70, "９" * 176, "F" * 100_000):
                assert (await scan(connection, office, text)).refusal is Refusal.UNREADABLE
            # Altered, foreign and made up are one answer to the bearer.
            assert Refusal.UNKNOWN.told_as == Refusal.UNREADABLE.told_as

    database_run(scenario)


def test_printed_codes_are_refused_where_the_scene_takes_none(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            static = await healthcard.issue_code(
                connection, office=office, card=card.id, kind=CodeKind.STATIC, caller=HOLDER, now=NOW
            )
            assert (static.text, static.expires_at) == (card.card_id + ":1", None)
            assert (await scan(connection, office, static.text)).refusal is None
            refused = await scan(connection, office, static.text, scene="pay")
            assert refused.refusal is Refusal.STATIC_REFUSED
            unknown = await scan(connection, office, static.text, scene="nowhere")
            assert unknown.refusal is Refusal.STATIC_REFUSED

    database_run(scenario)


def test_lost_and_cancelled_cards_are_refused(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
            text = await dynamic(connection, office, card.id)
            signed = await healthcard.issue_code(
                connection, office=office, card=card.id, kind=CodeKind.SIGNED, caller=HOLDER, now=NOW
            )
            lost = await healthcard.report_loss(
                connection, office=office, card=card.id, caller=WINDOW, now=NOW
            )
            assert lost.status is Status.LOST
            for code in (text, signed.text, card.card_id + ":1"):
                assert (await scan(connection, office, code)).refusal is Refusal.LOST
            with pytest.raises(CardStateError):
                await dynamic(connection, office, card.id)
            await healthcard.lift_loss(connection, office=office, card=card.id, caller=WINDOW, now=NOW)
            assert (await scan(connection, office, text)).refusal is None
            assert (await scan(connection, office, signed.text)).refusal is None
            await healthcard.cancel_card(connection, office=office, card=card.id, caller=WINDOW, now=NOW)
            fresh = (await scan(connection, office, text)).refusal
            assert fresh is Refusal.CANCELLED
            with pytest.raises(CardStateError):
                await healthcard.lift_loss(connection, office=office, card=card.id, caller=WINDOW, now=NOW)

    database_run(scenario)


def test_a_new_code_key_leaves_cards_and_codes_that_are_under_way_valid(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            elsewhere = await office_of(connection, keys)
            card = await register(connection, office, adult())
            old = await dynamic(connection, office, card.id)
            for kind in KeyKind:
                version = await healthcard.rotate_key(
                    connection, office=office, kind=kind, caller=WINDOW, now=NOW
                )
                assert version == 2
            new = await dynamic(connection, office, card.id)
            assert new != old
            assert (await scan(connection, office, old)).refusal is None
            assert (await scan(connection, office, new)).refusal is None
            # Another process learns of the key as soon as it meets a code that it cannot read.
            assert (await scan(connection, elsewhere, new)).refusal is None
            # The card keeps its number, and is found by its document as before.
            assert (await register(connection, office, adult())).card_id == card.card_id
            other = await register(connection, office, adult(2, name="测试乙"))
            assert (await scan(connection, office, other.card_id + ":1")).refusal is None
            # Long after, codes of the first key are no codes any more.
            late = NOW + timedelta(hours=3)
            ancient = await healthcard.open_office(
                connection, keys=keys, settings=office.settings, random=office.random, now=late
            )
            assert (await scan(connection, ancient, old, now=late)).refusal is Refusal.UNKNOWN
            assert len(office.sign_public_keys) == 2
            assert len(ancient.sign_public_keys) == 1

    database_run(scenario)


def test_a_root_key_that_the_province_assigns_is_taken(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys, index_text="{document_type}{document_number}")
            root = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
            await healthcard.import_key(
                connection, office=office, kind=KeyKind.ROOT, value=root, caller=WINDOW, now=NOW
            )
            card = await register(connection, office, adult())
            from kangshu.healthcard.numbering import document_of

            assert document_of(root, card.index_id, card.card_id) == ("01", number_of(1))
            for kind, wrong in ((KeyKind.ROOT, b"short"), (KeyKind.SIGN, bytes(32))):
                with pytest.raises(healthcard.CardKeysError):
                    await healthcard.import_key(
                        connection, office=office, kind=kind, value=wrong, caller=WINDOW, now=NOW
                    )
            stored = await connection.fetch("SELECT sealed FROM healthcard_key")
            assert all(root not in row["sealed"] for row in stored)

    database_run(scenario)


def test_after_a_merge_both_cards_lead_to_the_survivor_and_undo_restores_it(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            one = await register(connection, office, adult(1, name="测试甲"))
            two = await register(connection, office, adult(2, name="测试甲"))
            assert one.person != two.person
            merge = await identity.merge_persons(
                connection, survivor=two.person, absorbed=one.person, actor="t", reason="t", now=NOW
            )
            assert merge is not None
            first = await scan(connection, office, one.card_id + ":1")
            second = await scan(connection, office, two.card_id + ":1")
            assert (first.card, first.active, first.person) == (one.id, two.id, two.person)
            assert (second.card, second.active, second.person) == (two.id, two.id, two.person)
            assert first.index_id == second.index_id == two.index_id
            cards = await healthcard.cards_of(connection, office=office, person=one.person)
            assert [(card.id, card.active) for card in cards] == [(two.id, two.id), (one.id, two.id)]
            # A lost card of the survivor does not stand for anybody: the other one does.
            await healthcard.report_loss(connection, office=office, card=two.id, caller=WINDOW, now=NOW)
            third = await scan(connection, office, one.card_id + ":1")
            assert (third.refusal, third.active, third.person) == (None, one.id, two.person)
            await healthcard.lift_loss(connection, office=office, card=two.id, caller=WINDOW, now=NOW)
            await identity.undo_merge(connection, merge=merge.id, actor="t", now=NOW)
            back = await scan(connection, office, one.card_id + ":1")
            assert (back.active, back.person, back.index_id) == (one.id, one.person, one.index_id)

    database_run(scenario)


def test_a_merge_while_scans_are_under_way_is_seen_wholly_or_not_at_all(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            one = await register(connection, office, adult(1, name="测试甲"))
            two = await register(connection, office, adult(2, name="测试甲"))
        seen: set[tuple[int | None, int | None, str | None]] = set()
        stop = asyncio.Event()

        async def scans() -> None:
            while not stop.is_set():
                async with database.transaction() as connection:
                    found = await scan(connection, office, one.card_id + ":1")
                assert found.refusal is None
                seen.add((found.person, found.active, found.index_id))

        async def merges() -> None:
            for _ in range(8):
                async with database.transaction() as connection:
                    merge = await identity.merge_persons(
                        connection, survivor=two.person, absorbed=one.person, actor="t", reason="t", now=NOW
                    )
                    await asyncio.sleep(0.01)
                assert merge is not None
                await asyncio.sleep(0.01)
                async with database.transaction() as connection:
                    await identity.undo_merge(connection, merge=merge.id, actor="t", now=NOW)
            stop.set()

        await asyncio.gather(scans(), scans(), merges())
        assert seen == {
            (one.person, one.id, one.index_id),
            (two.person, two.id, two.index_id),
        }

    database_run(scenario)


def test_a_changed_row_does_not_open(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            one = await register(connection, office, adult(1))
            two = await register(connection, office, adult(2, name="测试乙"))
            await connection.execute(
                """UPDATE healthcard_card SET sealed = (SELECT sealed FROM healthcard_card WHERE id = $2)
                   WHERE id = $1""",
                one.id,
                two.id,
            )
            with pytest.raises(healthcard.CardKeysError) as caught:
                await scan(connection, office, one.card_id + ":1")
        assert "测试" not in str(caught.value)

    database_run(scenario)


def test_the_desk_gathers_what_arrives_together(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            cards = [
                await register(connection, office, adult(serial, name=f"甲{serial}"))
                for serial in range(1, 9)
            ]
        desk = ScanDesk(database, office=office, clock=FixedClockOf(NOW))
        codes = await asyncio.gather(*(desk.issue(card.id, CodeKind.DYNAMIC, HOLDER) for card in cards))
        found = await asyncio.gather(
            *(desk.scan(ScanRequest(text=code.text, scene="pay", caller=WINDOW)) for code in codes),
            desk.scan(ScanRequest(text="bad", scene="pay", caller=WINDOW)),
        )
        with pytest.raises(healthcard.CardUnknownError):
            await desk.issue(1 << 70, CodeKind.DYNAMIC, HOLDER)
        await desk.close()
        assert [one.card for one in found] == [*(card.id for card in cards), None]
        async with database.connection() as connection:
            entries = await audit.list_entries(connection, action="card.scan", limit=50)
        assert len(entries) == 9

    database_run(scenario)


def test_a_failing_transaction_is_told_to_everybody_who_waits(database_run: Any, keys: Any):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            office = await office_of(connection, keys)
            card = await register(connection, office, adult())
        async with database.connection() as connection:
            await connection.execute("ALTER TABLE audit_pending ADD CHECK (action <> 'card.scan') NOT VALID")
        desk = ScanDesk(database, office=office, clock=FixedClockOf(NOW))
        request = ScanRequest(text=card.card_id + ":1", scene="register", caller=WINDOW)
        answers = await asyncio.gather(desk.scan(request), desk.scan(request), return_exceptions=True)
        # No audit, no answer.
        assert all(isinstance(one, Exception) for one in answers)

    database_run(scenario)
