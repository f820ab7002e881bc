"""The review queue, second opinions, samples of automatic links and figures. Everybody here is synthetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_reference import Claim
from test_identity_online import MOTHER, tell

from kangshu.identity import (
    OpinionGivenError,
    PersonUnknownError,
    ReviewDecidedError,
    ReviewReason,
    ReviewState,
    ReviewUnknownError,
    SampleUnknownError,
    Seen,
    explain,
    false_link_estimate,
    get_review,
    give_opinion,
    judge_link,
    list_opinions,
    list_sampled,
    pairs_apart,
    persons_meaning,
    review_queue,
    review_statistics,
    sample_links,
)
from kangshu.identity.reviewing.estimating import estimate_false_links, interval
from kangshu.identity.reviewing.queue import value_of
from kangshu.storage.database import Database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)


async def everybody(connection: Any, *, persons: Sequence[int]) -> set[int]:
    """Everybody has clinical records."""
    return set(persons)


async def nobody(connection: Any, *, persons: Sequence[int]) -> set[int]:
    """Nobody has."""
    return set()


@pytest.fixture
def asked(database_run, keys):
    """Run `async fn(connection, entry)` where one review entry is open: two claims tell one local number."""

    async def scenario(database: Database, work: Any) -> Any:
        async with database.transaction() as connection:
            await tell(connection, keys, [MOTHER])
            await tell(
                connection,
                keys,
                [Claim(institution="A", local="100", name="测试乙", birth=date(1971, 1, 1), sex="1")],
            )
            (entry,) = await review_queue(connection)
            return await work(connection, entry.review)

    return lambda work: database_run(lambda database: scenario(database, work))


async def opine(connection: Any, entry: Any, actor: str, *, same: bool, **more: Any) -> Any:
    given_ = {"now": LATER, "records": everybody, **more}
    return await give_opinion(connection, review=entry.id, same=same, actor=actor, **given_)


@pytest.mark.database
def test_records_of_two_come_together_only_when_two_reviewers_say_so(asked):
    async def work(connection, entry):
        first = await opine(connection, entry, "甲", same=True, survivor=entry.other, note="像")
        assert (first.waits, first.merge) == (True, None)
        assert [one.mine for one in await review_queue(connection, actor="甲", second=True)] == [True]
        with pytest.raises(OpinionGivenError):
            async with connection.transaction():
                await opine(connection, entry, "甲", same=True)

        second = await opine(connection, entry, "乙", same=True)

        assert not second.waits
        assert second.merge.survivor == entry.other  # as the first one said
        assert second.review.state is ReviewState.SAME
        assert {one.actor for one in await list_opinions(connection, review=entry.id)} == {"甲", "乙"}
        with pytest.raises(ReviewDecidedError):
            await opine(connection, entry, "丙", same=False)

    asked(work)


@pytest.mark.database
def test_where_two_reviewers_disagree_a_third_decides(asked):
    async def work(connection, entry):
        assert (await opine(connection, entry, "甲", same=True)).waits
        assert (await opine(connection, entry, "乙", same=False)).waits
        third = await opine(connection, entry, "丙", same=False)
        assert (third.waits, third.review.state) == (False, ReviewState.DIFFERENT)
        assert await pairs_apart(connection, persons=[entry.person]) == {
            (min(entry.person, entry.other), max(entry.person, entry.other))
        }
        found = await review_statistics(connection, since=NOW, until=LATER + timedelta(days=1))
        assert (found.disputed, found.decided.different, found.hours_median) == (1, 1, 3.0)

    asked(work)


@pytest.mark.database
@pytest.mark.parametrize(("same", "records"), [(True, nobody), (True, None), (False, everybody)])
def test_one_opinion_is_enough_where_no_records_come_together(asked, same, records):
    async def work(connection, entry):
        said = await opine(connection, entry, "甲", same=same, records=records)
        assert (said.waits, said.merge is not None) == (False, same)
        meaning = await persons_meaning(connection, persons=[entry.person])
        assert (len(meaning[entry.person]) == 2) == same
        if same:
            assert said.merge.survivor == min(entry.person, entry.other)

    asked(work)


@pytest.mark.database
def test_who_opines_on_nothing_or_for_a_stranger_is_told_so(asked):
    async def work(connection, entry):
        with pytest.raises(ReviewUnknownError):
            await opine(connection, replace(entry, id=10**12), "甲", same=True)
        with pytest.raises(ReviewUnknownError):
            await opine(connection, entry, "甲", same=True, survivor=10**12)

    asked(work)


@pytest.mark.database
def test_the_queue_is_ordered_by_value_and_read_page_by_page(database_run, keys):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            for place in range(1, 8):
                first = Claim(institution="A", local=str(place), name="测试甲", birth=date(1980, 1, 1))
                await tell(connection, keys, [first])
                for more in range(place):
                    await tell(connection, keys, [replace(first, institution="B", local=f"{place}{more}1")])
                await tell(connection, keys, [replace(first, name="测试乙", birth=date(1971, 1, place))])
            whole = await review_queue(connection)
            assert len(whole) == 7
            values = [one.value for one in whole]
            assert values == sorted(values, reverse=True)
            pages, after = [], None
            while page := await review_queue(connection, after=after, limit=2):
                pages += page
                after = page[-1].cursor
            assert pages == whole
            for nonsense in ("", "x:y", "nan:1", "1e400:2", "1:" + "9" * 30, "-1:1"):
                assert await review_queue(connection, after=nonsense) == whole

    database_run(scenario)


def test_a_decision_is_worth_most_where_the_weight_says_least():
    def worth(weight: float) -> float:
        return value_of(reason=ReviewReason.POSSIBLE_MATCH, weight=weight, identifiers=4, clinical=False)

    assert worth(0.0) > worth(3.0) > worth(6.0) >= worth(60.0) > 0
    assert worth(3.0) == pytest.approx(worth(-3.0))


async def add_accounts(connection: Any, count: int) -> None:
    await connection.execute(
        """INSERT INTO identity_account (id, person, at, weight, prior, verdict, model, actor, parts, guards)
           SELECT nextval('identity_account_id'), n, now(), 9, -5, CASE WHEN n % 5 = 0 THEN 'possible'
               ELSE 'link' END, 'm', 'a', '[]', '{}' FROM generate_series(1, $1) n""",
        count,
    )


@pytest.mark.database
def test_links_are_drawn_once_judged_and_counted(database_run):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await add_accounts(connection, 50)
            nothing = await false_link_estimate(connection)
            assert (nothing.links, nothing.drawn, nothing.rate, nothing.low, nothing.high) == (
                40,
                0,
                None,
                0,
                1,
            )
            first = await sample_links(connection, size=30, seed=7, actor="甲", now=NOW)
            rest = await sample_links(connection, size=30, seed=8, actor="甲", now=NOW)
            assert (len(first), len(rest)) == (30, 10)
            seen = await list_sampled(connection, unjudged=True, limit=100)
            assert len({one.account for one in seen}) == 40
            for place, one in enumerate(seen):
                verdict = Seen.WRONG if place == 0 else Seen.UNSURE if place == 1 else Seen.RIGHT
                await judge_link(connection, sample=one.id, verdict=verdict, actor="乙", now=LATER)
            found = await false_link_estimate(connection)
            assert (found.right, found.wrong, found.unsure) == (38, 1, 1)
            assert found.rate == pytest.approx(1 / 39)
            assert (found.low, found.high) == (interval(1, 40)[0], interval(2, 40)[1])
            assert await list_sampled(connection, unjudged=True) == []
            with pytest.raises(SampleUnknownError):
                await judge_link(connection, sample=10**12, verdict=Seen.RIGHT, actor="乙", now=NOW)

    database_run(scenario)


# Clopper and Pearson's bounds as published tables have them (95 %).
@pytest.mark.parametrize(
    ("wrong", "checked", "low", "high"),
    [(0, 10, 0.0, 0.3085), (1, 10, 0.0025, 0.4450), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0)],
)
def test_the_interval_is_that_of_the_tables(wrong, checked, low, high):
    assert [round(bound, 4) for bound in interval(wrong, checked)] == [low, high]


@given(checked=st.integers(1, 400), data=st.data())
def test_the_interval_holds_the_rate_seen_and_mirrors(checked, data):
    wrong = data.draw(st.integers(0, checked))
    low, high = interval(wrong, checked)
    assert 0 <= low <= wrong / checked <= high <= 1
    mirrored = interval(checked - wrong, checked)
    assert math.isclose(1 - mirrored[1], low, abs_tol=1e-9)
    assert math.isclose(1 - mirrored[0], high, abs_tol=1e-9)


def test_more_wrong_than_checked_is_refused_and_nothing_checked_says_nothing():
    with pytest.raises(ValueError, match="checked"):
        interval(2, 1)
    assert interval(0, 0) == (0.0, 1.0)
    assert estimate_false_links(links=9, drawn=0, right=0, wrong=0, unsure=0).rate is None


@pytest.mark.database
def test_an_explanation_adds_up_and_is_the_same_both_ways(database_run, keys):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            one, other = await tell(
                connection,
                keys,
                [MOTHER, replace(MOTHER, resident=None, institution="B", local="9", phone="13900000000")],
            )
            assert one is not None
            assert other is not None
            found = await explain(connection, keys=keys, one=one, other=other)
            back = await explain(connection, keys=keys, one=other, other=one)
            account = found.account
            assert account.weight == pytest.approx(account.prior + sum(part.weight for part in account.parts))
            assert back.account.weight == pytest.approx(account.weight, abs=1e-9)
            assert (found.one.person.id, found.other.person.id) == (one, other)
            assert (found.same, found.apart, found.stored) == (False, False, ())
            assert {part.comparison for part in account.parts} == {
                comparison.name for comparison in found.model.comparisons
            }
            with pytest.raises(PersonUnknownError):
                await explain(connection, keys=keys, one=one, other=10**12)

    database_run(scenario)


@pytest.mark.database
def test_a_closed_entry_leaves_the_queue(asked):
    async def work(connection, entry):
        await opine(connection, entry, "甲", same=False)
        assert await review_queue(connection) == []
        assert (await get_review(connection, review=entry.id)).decided_by == "甲"

    asked(work)
