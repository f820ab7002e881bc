"""Coverage out of what arrived: who owes what, since when, and how corrections are remembered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest
from plausibility_made_up import HOSPITAL, MAY, RESULT, RETURN, months_before, pack_of, put_unit

from kangshu.declarations import Expectation
from kangshu.directory import load_institutions
from kangshu.quality.coverage import Basis, Coverage, CoverageState, coverage, note_arrival
from kangshu.quality.model import Cell
from kangshu.storage.database import Connection

pytestmark = pytest.mark.database

TOWNSHIP = "YH000012999010211C2201"
ASKED = Expectation(dataset="result", types=("A",), due_days=10)
ALL_LATE = date(2026, 12, 31)


def listed(code: str, **more: object) -> dict[str, object]:
    return {"institution_code": code, "name": "虚构", "type": code[17:21], "level": "3", **more}


async def seen(
    connection: Connection,
    *,
    now: date = ALL_LATE,
    first: date = MAY,
    asked: Sequence[Expectation] = (ASKED,),
    institutions: Sequence[str] | None = None,
) -> list[Coverage]:
    return await coverage(
        connection,
        pack=pack_of(RESULT, RETURN, expectations=asked),
        first=first,
        last=MAY,
        now=now,
        institutions=institutions,
    )


def test_those_whom_an_expectation_names_owe_every_month_they_were_open(database_run):
    async def scenario(database):
        async with database.transaction() as connection:
            closed = listed("YH000003999010211A1005", opened_on=date(2026, 6, 1))
            await load_institutions(connection, rows=[listed(HOSPITAL), listed(TOWNSHIP), closed])

            found = await seen(connection, first=date(2026, 4, 1))
            strict = await seen(connection, asked=[Expectation(dataset="result", levels=("1",))])
            nobody = await seen(connection, institutions=[TOWNSHIP])

        assert [(one.cell.month.month, one.cell.institution) for one in found] == [
            (5, HOSPITAL),
            (4, HOSPITAL),
        ]
        assert {one.state for one in found} == {CoverageState.MISSING}
        assert strict == nobody == []

    database_run(scenario)


def test_the_first_expectation_that_names_an_institution_counts(database_run):
    async def scenario(database):
        async with database.transaction() as connection:
            await load_institutions(connection, rows=[listed(HOSPITAL)])

            found = await seen(connection, asked=[ASKED, Expectation(dataset="result", due_days=20)])

        assert [one.due for one in found] == [date(2026, 6, 10)]

    database_run(scenario)


def test_the_usual_is_the_median_of_three_months_at_least_and_a_tie_lies_between(database_run):
    async def scenario(database):
        async with database.transaction() as connection:
            await load_institutions(connection, rows=[listed(HOSPITAL)])
            for number, (month, rows) in enumerate(
                zip(months_before(date(2026, 4, 1), 4), (100, 300, 200, 900), strict=True)
            ):
                await put_unit(connection, file=number + 1, month=month, rows=rows)
            await put_unit(connection, file=9, month=MAY, rows=200)

            two, whole = await seen(connection, first=date(2026, 3, 1)), await seen(connection)

        assert [(one.expected_rows, one.basis) for one in whole] == [(250, Basis.USUAL)]
        assert whole[0].state is CoverageState.ON_TIME  # 200 are four fifths of 250
        assert [one.expected_rows for one in two] == [250, 200, None]

    database_run(scenario)


def test_the_season_of_last_year_tells_how_much_is_expected(database_run):
    async def scenario(database):
        async with database.transaction() as connection:
            await load_institutions(connection, rows=[listed(HOSPITAL)])
            await put_unit(connection, file=1, month=date(2025, 5, 1), rows=100)
            for number, month in enumerate(months_before(date(2026, 4, 1), 3)):
                await put_unit(connection, file=number + 2, month=month, rows=1000)
            await put_unit(connection, file=9, month=MAY, rows=90)

            found = await seen(connection)

        assert [(one.rows, one.expected_rows, one.basis) for one in found] == [(90, 100, Basis.LAST_YEAR)]
        assert found[0].state is CoverageState.ON_TIME

    database_run(scenario)


def test_what_the_institution_reported_is_what_it_owes(database_run):
    async def scenario(database):
        async with database.transaction() as connection:
            await load_institutions(connection, rows=[listed(HOSPITAL)])
            await put_unit(connection, file=1, month=MAY, rows=60)
            await connection.execute(
                "INSERT INTO quality_measure VALUES ($1, 'institution_month', $2, $3)",
                MAY,
                HOSPITAL,
                {"rows": 1, "tests": 100},
            )

            found = await seen(connection, asked=[Expectation(dataset="result", statistic="tests")])

        assert [(one.expected_rows, one.basis, one.state) for one in found] == [
            (100, Basis.REPORTED, CoverageState.INCOMPLETE)
        ]

    database_run(scenario)


def test_rows_of_several_files_add_up_and_the_day_is_that_of_the_region(database_run):
    async def scenario(database):
        async with database.transaction() as connection:
            await load_institutions(connection, rows=[listed(HOSPITAL)])
            # 23:30 on 10 June in China
            await put_unit(
                connection, file=1, month=MAY, rows=5, received_at=datetime(2026, 6, 10, 15, 30, tzinfo=UTC)
            )
            # 00:30 on 11 June in China
            await put_unit(
                connection, file=2, month=date(2026, 4, 1), rows=5,
                received_at=datetime(2026, 5, 10, 16, 30, tzinfo=UTC),
            )  # fmt: skip

            may, april = await seen(connection, first=date(2026, 4, 1))

        assert (may.state, may.rows, may.first_arrival) == (
            CoverageState.ON_TIME, 5, datetime(2026, 6, 10, 15, 30, tzinfo=UTC),
        )  # fmt: skip
        assert april.state is CoverageState.LATE

    database_run(scenario)


def test_a_correction_is_remembered_as_what_it_is(database_run):
    early, corrected = datetime(2026, 6, 2, 4, tzinfo=UTC), datetime(2026, 7, 1, 4, tzinfo=UTC)

    async def scenario(database):
        async with database.transaction() as connection:
            await load_institutions(connection, rows=[listed(HOSPITAL)])
            await put_unit(connection, file=1, month=MAY, rows=90, received_at=early)
            await note_arrival(connection, file=1)
            await connection.execute("DELETE FROM quality_unit WHERE file_id = 1")
            await put_unit(connection, file=2, month=MAY, rows=80, received_at=corrected)
            await note_arrival(connection, file=2, replaces=[1])
            await note_arrival(connection, file=2, replaces=[1])

            found = await seen(connection)

        assert [(one.state, one.rows, one.first_arrival, one.last_arrival) for one in found] == [
            (CoverageState.ON_TIME, 80, early, corrected)
        ]
        assert found[0].cell == Cell(month=MAY, dataset="result", institution=HOSPITAL)

    database_run(scenario)


def test_a_file_that_was_withdrawn_leaves_its_month_missing(database_run):
    async def scenario(database):
        async with database.transaction() as connection:
            await load_institutions(connection, rows=[listed(HOSPITAL)])
            await put_unit(
                connection, file=1, month=MAY, rows=90, received_at=datetime(2026, 6, 2, tzinfo=UTC)
            )
            await note_arrival(connection, file=1)
            await connection.execute("DELETE FROM quality_unit WHERE file_id = 1")
            await put_unit(connection, file=2, month=date(2026, 4, 1), rows=90)
            await note_arrival(connection, file=2, replaces=[1])

            found = await seen(connection)

        assert [(one.state, one.rows) for one in found] == [(CoverageState.MISSING, 0)]

    database_run(scenario)


def test_nothing_expected_is_nothing_to_tell(database_run):
    async def scenario(database):
        async with database.connection() as connection:
            assert await seen(connection, asked=[]) == []
            assert await seen(connection) == []

    database_run(scenario)


def test_a_file_none_of_whose_rows_passed_has_brought_nothing(database_run):
    async def scenario(database):
        async with database.transaction() as connection:
            await load_institutions(connection, rows=[listed(HOSPITAL)])
            await put_unit(connection, file=1, month=MAY, rows=90)
            await connection.execute("UPDATE quality_unit SET rejected = rows")
            await note_arrival(connection, file=1)

            found = await seen(connection)

        assert [(one.state, one.rows, one.first_arrival) for one in found] == [
            (CoverageState.MISSING, 0, None)
        ]

    database_run(scenario)
