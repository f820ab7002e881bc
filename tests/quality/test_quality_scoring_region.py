"""Scores of a region in its database: computed, kept, ranked; figures over the lake. All is made up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures_world import Region
from scoring_made_up import (
    DATASET,
    HOSPITAL,
    MARCH,
    NOON,
    RULES,
    examined,
    finding,
    pack,
    tally_of,
    text,
)
from test_quality_scoring_sheets import SHEET

from kangshu.declarations import EmrItem, Expectation, Pack, QualityIndicator, Scope
from kangshu.directory import load_institutions
from kangshu.intake import Examined, Share
from kangshu.lake import Engine
from kangshu.quality import file_findings
from kangshu.quality.operations import record_file, replace_region_findings
from kangshu.quality.scoring import (
    Combination,
    emr_index,
    indicators,
    institution_scores,
    kept_cells,
    kept_scores,
    ranking,
    refresh_figures,
    refresh_scores,
    score_cell,
    scores,
    sheet_scores,
)
from kangshu.storage.database import Connection

pytestmark = pytest.mark.database

Run = Callable[[Callable[[Region], Awaitable[None]]], None]

APRIL_ELEVENTH = date(2026, 4, 11)
SILENT = "99000101599010211A1002"
STRANGER = "99000101599010211A1003"
FEBRUARY = date(2026, 2, 1)


def declared(*datasets: str) -> Pack:
    """A pack that expects these data sets of every hospital."""
    made = pack(SHEET)
    return replace(
        made,
        quality=replace(
            made.quality,
            expectations=tuple(Expectation(dataset=name, types=("A",)) for name in datasets),
            indicators=(
                QualityIndicator(id="I1", title=text("一"), dataset="visit", rules=("K1", "K2")),
                QualityIndicator(
                    id="I2", title=text("二"), dataset="visit", rules=("L1",), among="name = 'x'"
                ),
                QualityIndicator(
                    id="I3", title=text("三"), dataset="visit", scoring="sheet", band="excellent"
                ),
            ),
            emr_items=(
                EmrItem(
                    id="E1",
                    title=text("项"),
                    dataset="visit",
                    consistency="name IN ('x', 'y')",
                    timeliness="day >= DATE '2026-03-10'",
                    linkage=("L1",),
                ),
            ),
        ),
    )


@pytest.fixture
def region_run(database_run: Any, tmp_path: Path) -> Run:
    """Run a scenario with a region of its own."""

    def run(work: Callable[[Region], Awaitable[None]]) -> None:
        async def scenario(database: Any) -> None:
            with Engine(tmp_path / "home", threads=2, memory_mib=256) as engine:
                await work(Region(tmp_path / "home", database, engine))

        database_run(scenario)

    return run


async def listed(connection: Connection, *codes: str) -> None:
    rows = [{"institution_code": code, "name": "虚构医院", "type": "A1", "level": "3"} for code in codes]
    await load_institutions(connection, rows=rows)


async def recorded(connection: Connection, file: int, found: Examined) -> None:
    await record_file(connection, file=file, dataset=DATASET, examined=found, received_at=NOON)


async def computed(connection: Connection, made: Pack, *, codes: Sequence[str] | None = None):
    return await institution_scores(
        connection, pack=made, first=MARCH, last=MARCH, now=APRIL_ELEVENTH, institutions=codes
    )


def test_who_owes_and_sent_nothing_is_last_with_nothing_and_who_owes_nothing_is_judged_by_what_came(
    database_run: Any,
):
    made = declared("visit")

    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            await listed(connection, HOSPITAL, SILENT)
            await recorded(connection, 1, examined(finding("C1", [1]), rows=10))
            await recorded(connection, 2, examined(rows=5, institution=STRANGER))

            places = await ranking(connection, pack=made, month=MARCH, now=APRIL_ELEVENTH)

        assert [(one.place, one.institution, one.total, one.coverage) for one in places] == [
            (1, STRANGER, 100.0, None),
            (2, HOSPITAL, 97.0, 1.0),
            (3, SILENT, 0.0, 0.0),
        ]

    database_run(scenario)


def test_a_month_in_which_nothing_came_and_nothing_was_due_has_no_ranking(database_run: Any):
    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            assert await ranking(connection, pack=declared(), month=MARCH, now=APRIL_ELEVENTH) == []
            await refresh_scores(connection, pack=declared(), first=FEBRUARY, last=MARCH, now=APRIL_ELEVENTH)
            assert await ranking(connection, pack=declared(), month=MARCH, now=APRIL_ELEVENTH) == []

    database_run(scenario)


def test_what_is_kept_is_what_is_computed(database_run: Any):
    made = declared("visit")

    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            await listed(connection, HOSPITAL, SILENT)
            await recorded(connection, 1, examined(finding("C1", [1]), finding("K2", [3]), rows=7))
            await refresh_scores(connection, pack=made, first=MARCH, last=MARCH, now=APRIL_ELEVENTH)

            whole = {"pack": made, "first": MARCH, "last": MARCH, "now": APRIL_ELEVENTH}
            kept = await kept_scores(connection, **whole)
            fresh = await computed(connection, made)
            cells = await kept_cells(connection, **whole)

            assert kept == [replace(one, cells=()) for one in fresh]
            assert cells == await scores(connection, **whole)

    database_run(scenario)


def test_a_new_file_changes_the_kept_score_of_its_institution_alone(database_run: Any):
    made = declared("visit")

    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            await listed(connection, HOSPITAL, SILENT)
            await recorded(connection, 1, examined(finding("C1", range(1, 6)), rows=10))
            await refresh_scores(connection, pack=made, first=MARCH, last=MARCH, now=APRIL_ELEVENTH)
            await recorded(connection, 2, examined(rows=10, institution=SILENT))
            await recorded(connection, 3, examined(rows=10))

            await refresh_scores(
                connection,
                pack=made,
                first=MARCH,
                last=MARCH,
                now=APRIL_ELEVENTH,
                institutions=[HOSPITAL],
            )

            kept = await kept_scores(connection, pack=made, first=MARCH, last=MARCH, now=APRIL_ELEVENTH)
        assert [(one.institution, one.total, one.rows) for one in kept] == [
            (HOSPITAL, 92.5, 20),
            (SILENT, 0.0, 0),
        ]

    database_run(scenario)


def test_scores_kept_by_other_weights_hold_no_longer(database_run: Any):
    made = declared()
    weighty = replace(
        made,
        quality=replace(made.quality, score=replace(made.quality.score, dimensions={"completeness": 1})),
    )

    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            await recorded(connection, 1, examined(finding("C1", [1]), rows=2))
            # Of a month that was never kept all is kept, whoever is asked for.
            span = {"first": MARCH, "last": MARCH, "now": APRIL_ELEVENTH}
            await refresh_scores(connection, pack=made, institutions=[SILENT], **span)
            (before,) = await kept_scores(connection, pack=made, **span)

            (after,) = await kept_scores(connection, pack=weighty, **span)

        assert (before.total, after.total) == (83.33, 50.0)

    database_run(scenario)


def test_a_change_is_against_the_month_before(database_run: Any):
    made = declared()

    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            await recorded(
                connection, 1, examined(finding("C1", [1], month=FEBRUARY), rows=2, month=FEBRUARY)
            )
            await recorded(connection, 2, examined(finding("C1", [1]), rows=4))

            (only,) = await ranking(connection, pack=made, month=MARCH, now=APRIL_ELEVENTH, dataset="visit")

        assert (only.total, only.change, only.climbed) == (91.66, 8.33, 0)  # a quarter, a half of 30 in 90

    database_run(scenario)


def test_a_data_set_that_the_pack_no_longer_has_is_no_part_of_a_score(database_run: Any):
    made = replace(declared(), datasets={})

    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            await recorded(connection, 1, examined(rows=2))

            assert await computed(connection, made) == []

    database_run(scenario)


def test_a_kept_score_is_computed_again_from_the_places_of_its_findings_alone(database_run: Any):
    made = declared()
    chance = np.random.default_rng(11)
    names = [rule.id for rule in RULES if rule.scope is not Scope.CELL]

    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            findings = [
                finding(name, chance.integers(1, 500, size=int(chance.integers(1, 300)))) for name in names
            ]
            await recorded(connection, 1, examined(*findings, rows=500))
            await refresh_scores(connection, pack=made, first=MARCH, last=MARCH, now=APRIL_ELEVENTH)
            (kept,) = await kept_cells(connection, pack=made, first=MARCH, last=MARCH, now=APRIL_ELEVENTH)

            shares, places = await file_findings(connection, file=1)

        rows = sum(share.rows for share in shares)
        again = score_cell(settings=made.quality.score, dataset=DATASET, tally=tally_of(places, rows=rows))
        assert (kept.total, kept.by_dimension) == (again.total, again.by_dimension)

    database_run(scenario)


def visit(name: str | None, day: int = 10) -> dict[str, Any]:
    at = datetime(2026, 3, day)
    return {"_at": at, "name": name, "day": at.date()}


def test_sheets_indicators_and_emr_items_are_counted_over_a_file(region_run: Run):
    made = declared()

    async def scenario(region: Region) -> None:
        # Rows 2 to 6 arrived; row 6 was refused and is not in the lake.
        file = await region.put(
            DATASET, [visit("x"), visit("x", 9), visit("y"), visit(None)], institution=HOSPITAL
        )
        found = examined(finding("K1", [6]), finding("K2", [3]), rows=5)
        async with region.database.transaction() as connection:
            await recorded(connection, file, found)
            await replace_region_findings(
                connection,
                dataset=DATASET,
                files=[file],
                rules=[rule.id for rule in RULES if rule.id == "L1"],
                findings={file: [finding("L1", [3, 5])]},
            )

        await refresh_figures(region.database, region.engine, pack=made, dataset="visit", files=[file])

        async with region.database.connection() as connection:
            (sheet,) = await sheet_scores(connection, first=MARCH, last=MARCH)
            shares = await indicators(connection, pack=made, first=MARCH, last=MARCH)
            (item,) = await emr_index(connection, first=MARCH, last=MARCH)
            (product,) = await emr_index(
                connection, first=MARCH, last=MARCH, combination=Combination.PRODUCT, together=True
            )
        assert (sheet.rows, sheet.thousandths, sheet.bands) == (5, 494_000, (4, 1, 0))
        assert [(one.indicator.id, one.good, one.total, one.share) for one in shares] == [
            ("I1", 3, 5, 0.6),
            ("I2", 1, 2, 0.5),
            ("I3", 4, 5, 0.8),
        ]
        assert item.aspects == {"consistency": 0.75, "linkage": 0.5, "timeliness": 0.75}
        assert item.coefficient == 0.666667
        assert (product.institution, product.coefficient) == ("", 0.28125)

    region_run(scenario)


def test_rows_of_a_file_of_two_months_count_for_their_own(region_run: Run):
    made = declared()

    async def scenario(region: Region) -> None:
        file = await region.put(
            DATASET, [visit("x"), {**visit("x"), "_at": datetime(2026, 2, 3)}, visit(None)],
            institution=HOSPITAL, period="2026-02..2026-03",
        )  # fmt: skip
        parts = Examined(
            shares=(
                Share(institution=HOSPITAL, month=FEBRUARY, rows=1, rejected=0),
                Share(institution=HOSPITAL, month=MARCH, rows=2, rejected=0),
            ),
            findings=(),
            filled={},
        )
        async with region.database.transaction() as connection:
            await recorded(connection, file, parts)

        await refresh_figures(region.database, region.engine, pack=made, dataset="visit", files=[file])

        async with region.database.connection() as connection:
            about = await indicators(connection, pack=made, first=FEBRUARY, last=MARCH)
            items = await emr_index(connection, first=FEBRUARY, last=MARCH)
        assert [(one.month, one.total) for one in about if one.indicator.id == "I2"] == [
            (MARCH, 1),
            (FEBRUARY, 1),
        ]
        assert sorted((one.month, one.rows) for one in items) == [(FEBRUARY, 1), (MARCH, 2)]

    region_run(scenario)


def test_figures_of_a_file_that_counts_no_longer_are_gone(region_run: Run):
    made = declared()

    async def scenario(region: Region) -> None:
        file = await region.put(DATASET, [visit("x")], institution=HOSPITAL)
        async with region.database.transaction() as connection:
            await recorded(connection, file, examined(rows=1))
        await refresh_figures(region.database, region.engine, pack=made, dataset="visit", files=[file])
        async with region.database.transaction() as connection:
            await record_file(
                connection,
                file=file + 1,
                dataset=DATASET,
                examined=examined(rows=1),
                received_at=datetime(2026, 4, 6, tzinfo=UTC),
                replaces=[file],
            )

        await refresh_figures(region.database, region.engine, pack=made, dataset="visit", files=[file])

        async with region.database.connection() as connection:
            assert await sheet_scores(connection, first=MARCH, last=MARCH) == []

    region_run(scenario)
