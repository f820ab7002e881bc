"""Cells measured in a lake, kept, judged and pointed into; only what changed is written again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from plausibility_made_up import HOSPITAL, MAY, PACK, RESULT, RETURN, MadeUpLake, Row, months_before, pack_of

from kangshu.declarations import Expectation
from kangshu.lake import Engine
from kangshu.quality.model import Cell
from kangshu.quality.plausibility import (
    find_suspects,
    judge_cells,
    list_cell_figures,
    list_cell_findings,
    measure_cells,
)

pytestmark = pytest.mark.database

Scenario = Callable[[MadeUpLake], Awaitable[None]]
OTHER = "YH000002799010211A1009"


@pytest.fixture
def in_lake(database_run, tmp_path: Path) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def work(database) -> None:
            with Engine(tmp_path) as engine:
                await scenario(MadeUpLake(tmp_path, database, engine))

        database_run(work)

    return run


def results(count: int, *, month: date = MAY, seed: int = 0) -> list[Row]:
    """As many results, each of another patient, a fifth of them round."""
    return [
        Row(patient=seed * 100_000 + number, value=number + seed, day=month.replace(day=1 + number % 28))
        for number in range(count)
    ]


async def measured(
    world: MadeUpLake, months: list[date], *, institutions: list[str] | None = None
) -> list[Cell]:
    return await measure_cells(
        world.database, world.engine, pack=PACK, dataset="result", institutions=institutions, months=months
    )


async def figures(world: MadeUpLake) -> dict[tuple[str, int], dict[str, float]]:
    async with world.database.connection() as connection:
        found = await list_cell_figures(connection, first=date(2025, 1, 1), last=date(2027, 1, 1))
    return {(one.cell.institution, one.cell.month.month): dict(one.figures) for one in found}


def cell(month: int, institution: str = HOSPITAL) -> Cell:
    return Cell(month=date(2026, month, 1), dataset="result", institution=institution)


def test_a_cell_is_measured_and_what_did_not_change_is_not_told_again(in_lake: Callable[[Scenario], None]):
    async def scenario(world: MadeUpLake) -> None:
        await world.put(results(50), period="2026-05")

        assert await measured(world, [MAY]) == [cell(5)]
        assert await measured(world, [MAY]) == []
        assert await figures(world) == {(HOSPITAL, 5): {"rows": 50, "round_share": 0.2, "copied": 0}}

        await world.put(results(10, seed=1), period="2026-05")

        assert await measured(world, [MAY]) == [cell(5)]
        assert (await figures(world))[HOSPITAL, 5]["rows"] == 60

    in_lake(scenario)


def test_rows_count_for_the_month_of_their_file_else_of_their_event_else_for_the_last(
    in_lake: Callable[[Scenario], None],
):
    async def scenario(world: MadeUpLake) -> None:
        late = [Row(patient=1, value=1, day=date(2026, 6, 2))]
        await world.put(results(3) + late, period="2026-05")
        await world.put(
            [*results(2, month=date(2026, 1, 1)), *results(4, month=date(2026, 2, 1)),
             Row(patient=9, value=9, day=None)],
            period="2026-01..2026-03",
        )  # fmt: skip

        await measured(world, [date(2026, month, 1) for month in range(1, 7)])

        assert {month: one["rows"] for (_, month), one in (await figures(world)).items()} == {
            1: 2, 2: 4, 3: 1, 5: 4,
        }  # fmt: skip

    in_lake(scenario)


def test_a_superseded_file_counts_no_more_and_an_empty_cell_is_forgotten(in_lake: Callable[[Scenario], None]):
    async def scenario(world: MadeUpLake) -> None:
        first = await world.put(results(50), period="2026-05")
        await measured(world, [MAY])
        await world.put(results(20, month=date(2026, 4, 1)), period="2026-04", replaces=first)

        changed = await measured(world, [date(2026, 4, 1), MAY])

        assert changed == [cell(4), cell(5)]
        assert list(await figures(world)) == [(HOSPITAL, 4)]

    in_lake(scenario)


def test_only_the_institutions_named_are_measured(in_lake: Callable[[Scenario], None]):
    async def scenario(world: MadeUpLake) -> None:
        await world.put(results(5), period="2026-05")
        await world.put(results(6), period="2026-05", institution=OTHER)

        assert await measured(world, [MAY], institutions=[OTHER]) == [cell(5, OTHER)]
        assert await measured(world, [MAY], institutions=[]) == []
        assert await measured(world, [MAY]) == [cell(5)]

    in_lake(scenario)


def test_a_copied_month_looks_like_the_one_before_and_the_rows_are_pointed_at(
    in_lake: Callable[[Scenario], None],
):
    async def scenario(world: MadeUpLake) -> None:
        before = results(40, month=date(2026, 4, 1))
        copied = [replace(row, day=row.day.replace(month=5)) for row in before[:30] if row.day]
        await world.put(copied + results(10, seed=2), period="2026-05")
        await measured(world, [MAY])
        await world.put(before, period="2026-04")

        # April looks ahead: what arrives there changes the mark of May.
        assert await measured(world, [date(2026, 4, 1)]) == [cell(4), cell(5)]
        assert (await figures(world))[HOSPITAL, 5]["copied"] == 0.75
        async with world.database.transaction() as connection:
            await judge_cells(connection, pack=PACK, dataset="result", months=[MAY])
            found = await list_cell_findings(connection, first=MAY, last=MAY)
        assert [(one.rule, dict(one.figures)) for one in found] == [("RT903", {"now.copied": 0.75})]
        suspects = await find_suspects(
            world.database, world.engine, pack=PACK, cell=cell(5), rule="RT903", limit=5
        )
        assert suspects.rows == 30
        assert suspects.places == ((1, 2), (1, 3), (1, 4), (1, 5), (1, 6))

    in_lake(scenario)


def test_round_values_are_pointed_at_and_a_rule_without_suspects_points_at_nothing(
    in_lake: Callable[[Scenario], None],
):
    async def scenario(world: MadeUpLake) -> None:
        await world.put(results(10), period="2026-05")

        rounded = await find_suspects(world.database, world.engine, pack=PACK, cell=cell(5), rule="RT902")
        dropped = await find_suspects(world.database, world.engine, pack=PACK, cell=cell(5), rule="RT901")

        assert rounded.places == ((1, 2), (1, 7))
        assert (dropped.rows, dropped.places) == (0, ())

    in_lake(scenario)


def test_findings_come_and_go_with_the_figures(in_lake: Callable[[Scenario], None]):
    async def scenario(world: MadeUpLake) -> None:
        for month in months_before(date(2026, 4, 1), 4):
            await world.put(results(100, month=month, seed=month.month), period=f"{month:%Y-%m}")
        await world.put(results(30, seed=50), period="2026-05")
        months = months_before(MAY, 5)
        await measured(world, months)
        async with world.database.transaction() as connection:
            await judge_cells(connection, pack=PACK, dataset="result", months=months)
            found = await list_cell_findings(connection, first=MAY, last=MAY, datasets=["result"])

        assert [(one.cell, one.rule, dict(one.figures)) for one in found] == [
            (cell(5), "RT901", {"now.rows": 30, "usual.rows": 100})
        ]

        await world.put(results(60, seed=60), period="2026-05")
        await measured(world, [MAY])
        async with world.database.transaction() as connection:
            await judge_cells(connection, pack=PACK, dataset="result", months=[MAY])

            assert await list_cell_findings(connection, first=MAY, last=MAY) == []

    in_lake(scenario)


def test_the_statistics_that_expectations_name_are_measured_of_the_monthly_return(
    in_lake: Callable[[Scenario], None],
):
    async def scenario(world: MadeUpLake) -> None:
        pack = pack_of(RESULT, RETURN, expectations=[Expectation(dataset="result", statistic="tests")])
        await world.put([Row(patient=0, value=4100, day=MAY)], period="2026-05", dataset=RETURN)

        await measure_cells(
            world.database,
            world.engine,
            pack=pack,
            dataset="institution_month",
            institutions=None,
            months=[MAY],
        )

        assert await figures(world) == {(HOSPITAL, 5): {"rows": 1, "tests": 4100}}

    in_lake(scenario)


def test_what_arrives_later_for_an_earlier_month_changes_what_is_usual_since(
    in_lake: Callable[[Scenario], None],
):
    async def scenario(world: MadeUpLake) -> None:
        for month in (2, 3):
            day = date(2026, month, 1)
            await world.put(results(100, month=day, seed=month), period=f"{day:%Y-%m}")
        await world.put(results(30, seed=50), period="2026-05")
        await measured(world, months_before(MAY, 4))
        async with world.database.transaction() as connection:
            await judge_cells(connection, pack=PACK, dataset="result", months=months_before(MAY, 4))
            assert await list_cell_findings(connection, first=MAY, last=MAY) == []

        january = date(2026, 1, 1)
        await world.put(results(100, month=january, seed=1), period="2026-01")
        await measured(world, [january])
        async with world.database.transaction() as connection:
            await judge_cells(connection, pack=PACK, dataset="result", months=[january])
            found = await list_cell_findings(connection, first=MAY, last=MAY)

        assert [one.rule for one in found] == ["RT901"]

    in_lake(scenario)
