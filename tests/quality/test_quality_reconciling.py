"""Reconciliation: figures agree with counts by hand and lead to the rows behind them; all is made up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest
from figures_world import (
    APRIL,
    CHARGE,
    COSTS,
    DISCHARGES,
    MARCH,
    NOW,
    PACK,
    RETURN,
    STAY,
    Region,
    charge,
    monthly,
    stay,
)
from hypothesis import given
from hypothesis import strategies as st

from kangshu.declarations import Pack, QualitySettings
from kangshu.lake import Engine, QueryRefusedError
from kangshu.quality.reconciling import (
    MESSAGES,
    Balance,
    Partner,
    ReconciliationNotFoundError,
    Side,
    SideRows,
    State,
    differing_rows,
    list_balances,
    list_months,
    reconcile,
    reconcile_files,
    weigh,
)

Run = Callable[[Callable[[Region], Awaitable[None]]], None]
figures = st.one_of(st.none(), st.floats(-1e12, 1e12), st.integers(-1000, 1000).map(float))


@pytest.fixture
def region_run(database_run: Any, tmp_path: Path) -> Run:
    """Run a scenario with a region of its own."""

    def run(work: Callable[[Region], Awaitable[None]]) -> None:
        async def scenario(database: Any) -> None:
            with Engine(tmp_path / "home", threads=2, memory_mib=256) as engine:
                await work(Region(tmp_path / "home", database, engine))

        database_run(scenario)

    return run


async def balances(
    region: Region, *, pack: Pack = PACK, first: date = MARCH, last: date = APRIL
) -> dict[tuple[str, str, date], Balance]:
    found = await reconcile(region.database, region.engine, pack=pack, first=first, last=last, now=NOW)
    return {(one.id, one.institution, one.month): one for one in found}


async def stored(region: Region, **more: Any) -> dict[tuple[str, str, date], Balance]:
    async with region.database.connection() as connection:
        found = await list_balances(connection, pack=PACK, first=MARCH, last=APRIL, **more)
    return {(one.id, one.institution, one.month): one for one in found}


async def rows_of(
    region: Region, side: Side, *, pair: str = "RC2", month: date = MARCH, **more: Any
) -> SideRows:
    return await differing_rows(
        region.database,
        region.engine,
        pack=PACK,
        reconciliation=pair,
        institution="H1",
        month=month,
        side=side,
        **more,
    )


@pytest.mark.parametrize(
    ("left", "right", "state"),
    [
        (71.0, 100.0, State.WITHIN),  # 0.29 of 100 in binary fractions is less than 29
        (70.99, 100.0, State.OVER),
        (129.0, 100.0, State.WITHIN),
        (129.01, 100.0, State.OVER),
        (2.0, 0.0, State.WITHIN),  # the absolute tolerance of 2 is the wider one
        (2.5, 0.0, State.OVER),
        (-71.0, -100.0, State.WITHIN),
        (None, 100.0, State.LEFT_MISSING),
        (100.0, None, State.RIGHT_MISSING),
        (None, 0.0, State.WITHIN),  # nothing is what was reported
        (0.0, None, State.WITHIN),
        (None, None, State.BOTH_MISSING),
    ],
)
def test_a_figure_at_the_edge_of_the_tolerance_is_within(
    left: float | None, right: float | None, state: State
):
    assert weigh(replace(DISCHARGES, relative=0.29, absolute=2), left=left, right=right)[0] is state


@given(figures, figures, st.floats(0, 1), st.floats(0, 1e6))
def test_a_wider_tolerance_never_makes_figures_differ(
    left: float | None, right: float | None, relative: float, absolute: float
):
    narrow = weigh(replace(DISCHARGES, relative=0, absolute=0), left=left, right=right)[0]
    wide, allowed = weigh(replace(DISCHARGES, relative=relative, absolute=absolute), left=left, right=right)

    assert allowed >= absolute
    assert wide is narrow or (narrow, wide) == (State.OVER, State.WITHIN)


@pytest.mark.database
def test_both_figures_are_those_counted_by_hand(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A"), stay("B"), stay("C", day="2026-04-01")])
        await region.put(STAY, [stay("D"), stay("E")], institution="H2")
        await region.put(RETURN, [monthly(2), monthly(5, month=APRIL)])
        await region.put(CHARGE, [charge("A", amount="9.50"), charge("B"), charge("B", amount="-3.00")])

        found = await balances(region)

        assert {key: (one.left, one.right, one.state) for key, one in found.items()} == {
            ("RC1", "H1", MARCH): (2, 2, State.WITHIN),
            ("RC1", "H1", APRIL): (1, 5, State.OVER),
            ("RC1", "H2", MARCH): (2, None, State.RIGHT_MISSING),
            ("RC2", "H1", MARCH): (20.0, 19.5, State.WITHIN),
            ("RC2", "H1", APRIL): (10.0, None, State.RIGHT_MISSING),
            ("RC2", "H2", MARCH): (20.0, None, State.RIGHT_MISSING),
        }
        one = found["RC1", "H1", APRIL]
        assert (one.difference, one.share, one.left_files, one.right_files) == (-4, -0.8, (1,), (3,))
        assert await stored(region) == found
        async with region.database.connection() as connection:
            assert await list_months(connection) == [APRIL, MARCH]
            assert await list_months(connection, institutions=["H2"]) == [MARCH]

    region_run(scenario)


@pytest.mark.database
def test_a_return_without_the_figure_is_a_missing_side(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(RETURN, [monthly(None)])
        await region.put(STAY, [stay("A")])

        found = (await balances(region))["RC1", "H1", MARCH]

        assert (found.state, found.left, found.right, found.right_rows) == (State.RIGHT_MISSING, 1, None, 1)

    region_run(scenario)


@pytest.mark.database
def test_rows_of_several_institutions_in_one_file_count_for_each(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A"), stay("B"), stay("C")], institutions=["H1", "H2", "H2"])

        found = await balances(region)

        assert (found["RC1", "H1", MARCH].left, found["RC1", "H2", MARCH].left) == (1, 2)

    region_run(scenario)


@pytest.mark.database
def test_a_new_file_costs_its_own_institutions_and_months(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A")])
        await region.put(STAY, [stay("B")], institution="H2")
        await balances(region)
        await region.put(STAY, [stay("C")], institution="H2")
        file = await region.put(STAY, [stay("D"), stay("E", day="2026-04-02")])

        done = await reconcile_files(
            region.database, region.engine, pack=PACK, dataset="stay", files=[file], now=NOW
        )

        assert {(one.id, one.institution, one.month, one.left) for one in done} == {
            ("RC1", "H1", MARCH, 2),
            ("RC1", "H1", APRIL, 1),
            ("RC2", "H1", MARCH, 20),
            ("RC2", "H1", APRIL, 10),
        }
        assert (await stored(region))["RC1", "H2", MARCH].left == 1, "another file's business"

    region_run(scenario)


@pytest.mark.database
def test_a_superseded_file_is_taken_out_where_its_rows_were(region_run: Run):
    async def scenario(region: Region) -> None:
        old = await region.put(STAY, [stay("A"), stay("B", day="2026-04-02")])
        await balances(region)
        new = await region.put(STAY, [stay("A"), stay("B")], replaces=old)

        await reconcile_files(
            region.database, region.engine, pack=PACK, dataset="stay", files=[new, old], now=NOW
        )

        found = await stored(region)
        assert found.keys() == {("RC1", "H1", MARCH), ("RC2", "H1", MARCH)}
        assert found["RC1", "H1", MARCH].left == 2
        assert found == await balances(region), "as if everything had been computed anew"

    region_run(scenario)


@pytest.mark.database
def test_rows_from_messages_count_once_and_as_they_are_now(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A")])
        await region.tell(STAY, {"Encounter/1": stay("B"), "Encounter/2": stay("C")})
        await region.tell(STAY, {"Encounter/1": stay("B", cost="15.00"), "Encounter/2": None})

        found = (await balances(region))["RC2", "H1", MARCH]

        assert (found.left, found.left_rows, found.left_files) == (25.0, 2, (1, MESSAGES))
        rows = await rows_of(region, Side.LEFT)
        assert [(one.from_messages, one.rows) for one in rows.files] == [(False, 1), (True, 1)]

    region_run(scenario)


@pytest.mark.database
def test_rows_tell_what_they_find_on_the_other_side(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(
            STAY, [stay("A"), stay("B", cost="20.00"), stay("C"), stay("D"), stay("E", cost="7.00")]
        )
        await region.put(
            CHARGE,
            [
                charge("A", amount="4.00"),
                charge("A", amount="6.00"),
                charge("B", amount="19.00"),
                charge("C", day="2026-04-20"),
                charge("X"),
                charge(None),
            ],
        )
        left, right = await rows_of(region, Side.LEFT), await rows_of(region, Side.RIGHT)

        assert left.partners == {
            Partner.SAME: 1,
            Partner.UNEQUAL: 1,
            Partner.ELSEWHERE: 1,
            Partner.NONE: 2,
        }
        assert [(one.file, one.row, one.partner) for one in left.places] == [
            (1, 3, Partner.UNEQUAL),
            (1, 4, Partner.ELSEWHERE),
            (1, 5, Partner.NONE),
            (1, 6, Partner.NONE),
        ]
        assert right.partners == {Partner.SAME: 2, Partner.UNEQUAL: 1, Partner.NONE: 2}
        assert [(one.file, one.row) for one in right.places] == [(2, 4), (2, 6), (2, 7)]
        same = await rows_of(region, Side.RIGHT, partners=[Partner.SAME])
        assert [one.row for one in same.places] == [2, 3]
        assert (await rows_of(region, Side.RIGHT, partners=[])).places == ()

    region_run(scenario)


@pytest.mark.database
def test_places_come_in_bounded_pages_that_hold_each_row_once(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay(f"S{number}") for number in range(7)])
        await region.put(STAY, [stay(f"T{number}") for number in range(6)])
        found, after = [], None

        for _ in range(5):
            page = await rows_of(region, Side.LEFT, after=after, limit=3)
            found += [(one.file, one.row) for one in page.places]
            after = page.next

        assert after is None
        assert found == [(1, row) for row in range(2, 9)] + [(2, row) for row in range(2, 8)]

    region_run(scenario)


@pytest.mark.database
def test_a_pair_without_key_lists_the_rows_of_either_side(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A"), stay("B")])
        await region.put(RETURN, [monthly(9)])

        left = await rows_of(region, Side.LEFT, pair="RC1")
        right = await rows_of(region, Side.RIGHT, pair="RC1")

        assert (left.rows, left.partners) == (2, {Partner.UNKNOWN: 2})
        assert [(one.file, one.row) for one in right.places] == [(2, 2)]

    region_run(scenario)


@pytest.mark.database
@pytest.mark.parametrize("seed", range(6))
def test_rows_behind_a_figure_add_up_to_it(region_run: Run, seed: int):
    """Law: rows = all partners together, the figure is that of exactly these rows, differences are theirs."""

    async def scenario(region: Region) -> None:
        chance = Random(seed)
        stays, charges = [], []
        for number in range(60):
            day = f"2026-0{chance.choice('345')}-1{number % 9}"
            if chance.random() < 0.8:
                stays.append(stay(f"S{number}", day=day, cost=f"{chance.randint(1, 9999) / 100}"))
            for _ in range(chance.randint(0, 3)):
                cost = stays[-1]["cost"] if stays and chance.random() < 0.3 else chance.randint(-5, 900)
                charges.append(charge(f"S{number}", day=day, amount=f"{cost}"))
        await region.put(STAY, stays[:20])
        await region.put(STAY, stays[20:])
        await region.put(CHARGE, charges)

        balance = (await balances(region))["RC2", "H1", MARCH]

        sums: dict[tuple[Side, bool], float] = {}
        for side, rows, name in ((Side.LEFT, stays, "cost"), (Side.RIGHT, charges, "amount")):
            told = await rows_of(region, side, partners=list(Partner), limit=1000)
            assert told.rows == sum(told.partners.values()) == sum(one.rows for one in told.files)
            assert told.rows == (balance.left_rows if side is Side.LEFT else balance.right_rows)
            for place in told.places:
                origin = rows if side is Side.RIGHT else (stays[:20] if place.file == 1 else stays[20:])
                key = side, place.partner is Partner.SAME
                sums[key] = sums.get(key, 0.0) + float(origin[place.row - 2][name])
        total = {side: sums.get((side, True), 0) + sums.get((side, False), 0) for side in Side}
        assert total[Side.LEFT] == pytest.approx(balance.left)
        assert total[Side.RIGHT] == pytest.approx(balance.right)
        assert sums.get((Side.LEFT, True), 0) == pytest.approx(sums.get((Side.RIGHT, True), 0))

    region_run(scenario)


@pytest.mark.database
def test_another_tolerance_needs_no_computing_and_another_figure_does(region_run: Run):
    def packed(*pairs: Any) -> Pack:
        return replace(PACK, quality=QualitySettings(reconciliations=tuple(pairs)))

    async def ask(region: Region, pack: Pack) -> Sequence[Balance]:
        async with region.database.connection() as connection:
            return await list_balances(connection, pack=pack, first=MARCH, last=MARCH)

    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A")])
        await region.put(RETURN, [monthly(2)])
        await balances(region)
        wide = packed(replace(DISCHARGES, relative=0.5))
        other = packed(replace(DISCHARGES, left=replace(DISCHARGES.left, value="count(cost)")))

        assert [one.state for one in await ask(region, packed(DISCHARGES))] == [State.OVER]
        assert [one.state for one in await ask(region, wide)] == [State.WITHIN]
        assert await ask(region, other) == []

    region_run(scenario)


@pytest.mark.database
def test_a_pair_that_cannot_be_computed_leaves_what_was_done(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A")])
        broken = replace(COSTS, left=replace(COSTS.left, value="sum(nothing)"))
        pack = replace(PACK, quality=QualitySettings(reconciliations=(DISCHARGES, broken)))

        with pytest.raises(QueryRefusedError):
            await balances(region, pack=pack)

        assert [key[0] for key in await stored(region)] == ["RC1"]

    region_run(scenario)


@pytest.mark.database
def test_an_unknown_pair_and_a_hostile_institution_are_no_trouble(region_run: Run):
    async def scenario(region: Region) -> None:
        await region.put(STAY, [stay("A")])

        with pytest.raises(ReconciliationNotFoundError):
            await rows_of(region, Side.LEFT, pair="RC9'; --")
        told = await differing_rows(
            region.database,
            region.engine,
            pack=PACK,
            reconciliation="RC2",
            institution="H1' OR '1'='1",
            month=MARCH,
            side=Side.LEFT,
        )
        assert told.rows == 0

    region_run(scenario)
