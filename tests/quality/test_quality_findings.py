"""The core: findings are kept row by row, and every figure is their sum; all institutions are made up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.declarations import Dimension, Severity, load_pack
from kangshu.intake import Examined, Finding, Share
from kangshu.quality import (
    Origin,
    add_up,
    file_findings,
    finding_rows,
    forget_files,
    list_findings,
    list_months,
    list_tallies,
    record_file,
    replace_region_findings,
    weigh,
)
from kangshu.quality.places import decode, encode
from kangshu.storage.database import Connection, Database

PACK = load_pack()
PAGES = PACK.datasets["front_page"]
CLINIC = "99000101599010211A1001"
OTHER = "99000102699010211A1001"
MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
NOON = datetime(2026, 4, 5, 12, tzinfo=UTC)

# FP003 validity, FP004 and FP005 consistency: errors; FP010 and FP035 plausibility: warnings.
CHECKS = (
    ("FP003", "resident_number", Severity.ERROR),
    ("FP004", "resident_number", Severity.ERROR),
    ("FP005", "resident_number", Severity.ERROR),
    ("FP010", "admission_weight", Severity.WARNING),
    ("FP035", "age_years", Severity.WARNING),
    ("required", "sex", Severity.ERROR),
    ("type", "birth_date", Severity.ERROR),
)
DIMENSIONS = {
    "FP003": "validity",
    "FP004": "consistency",
    "FP005": "consistency",
    "FP010": "plausibility",
    "FP035": "plausibility",
    "required": "completeness",
    "type": "validity",
}


def found(rule: str, rows: Sequence[int], *, institution: str = CLINIC, month: date = MARCH) -> Finding:
    name, severity = next((field, severity) for one, field, severity in CHECKS if one == rule)
    return Finding(
        rule=rule,
        field=name,
        severity=severity,
        institution=institution,
        month=month,
        rows=np.array(sorted(rows), np.int64),
    )


def share(rows: int, rejected: int, *, institution: str = CLINIC, month: date = MARCH) -> Share:
    return Share(institution=institution, month=month, rows=rows, rejected=rejected)


@given(st.sets(st.integers(1, 1 << 40), max_size=300))
def test_places_give_back_the_rows_that_were_put_in(rows: set[int]):
    numbers = np.array(sorted(rows), np.int64)

    assert decode(encode(numbers)).tolist() == numbers.tolist()


@given(st.lists(st.sets(st.integers(1, 30), min_size=1), min_size=len(CHECKS), max_size=len(CHECKS)))
def test_figures_are_what_counting_row_by_row_gives(sets: list[set[int]]):
    hits = {check[0]: rows for check, rows in zip(CHECKS, sets, strict=True)}

    weighed = weigh([found(rule, list(rows)) for rule, rows in hits.items()], dataset=PAGES)

    for finding, sole in zip(weighed.findings, weighed.sole, strict=True):
        others = [
            rows
            for rule, rows in hits.items()
            if rule != finding.rule and DIMENSIONS[rule] == DIMENSIONS[finding.rule]
        ]
        assert sole == len(hits[finding.rule].difference(*others))
    errors = set().union(*(hits[rule] for rule, _, severity in CHECKS if severity is Severity.ERROR))
    assert weighed.whole.errors == len(errors)
    assert weighed.whole.warnings == len(set().union(*sets) - errors)
    for dimension, tally in weighed.by_dimension.items():
        own = [rows for rule, rows in hits.items() if DIMENSIONS[rule] == dimension]
        assert tally.errors + tally.warnings == len(set().union(*own))


async def keep(
    connection: Connection,
    file: int,
    *findings: Finding,
    shares: Sequence[Share] = (share(10, 3),),
    replaces: Sequence[int] = (),
) -> None:
    await record_file(
        connection,
        file=file,
        dataset=PAGES,
        examined=Examined(shares=tuple(shares), findings=findings, filled={}),
        received_at=NOON,
        replaces=replaces,
    )


@pytest.mark.database
def test_what_is_kept_of_a_file_comes_back_row_by_row(database_run):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await keep(
                connection,
                7,
                found("FP003", [2, 5]),
                found("required", [9], institution=OTHER, month=APRIL),
                shares=[share(10, 2), share(4, 1, institution=OTHER, month=APRIL)],
            )

            shares, findings = await file_findings(connection, file=7)
            rows = await finding_rows(
                connection, file=7, institution=CLINIC, month=MARCH, rule="FP003", field="resident_number"
            )
            months = await list_months(connection)

        assert shares == [share(10, 2), share(4, 1, institution=OTHER, month=APRIL)]
        assert [(one.rule, one.institution, one.rows.tolist()) for one in findings] == [
            ("FP003", CLINIC, [2, 5]),
            ("required", OTHER, [9]),
        ]
        assert rows.tolist() == [2, 5]
        assert months == [APRIL, MARCH]

    database_run(scenario)


@pytest.mark.database
def test_cells_add_up_over_files_and_a_new_file_takes_the_old_ones_place(database_run):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await keep(connection, 1, found("FP003", [2, 3]), found("FP035", [3, 4]))
            await keep(connection, 2, found("FP003", [8]), found("FP004", [8]))
            both = await list_tallies(connection, first=MARCH, last=MARCH)
            counts = add_up(await list_findings(connection, first=MARCH, last=MARCH))
            await keep(connection, 3, shares=[share(6, 0)], replaces=[1])
            after = await list_tallies(connection, first=MARCH, last=MARCH)
            await forget_files(connection, files=[2, 3])
            nothing = await list_tallies(connection, first=MARCH, last=MARCH)

        (cell,) = both
        assert (cell.rows, cell.accepted, cell.rejected, cell.files) == (20, 14, 6, 2)
        assert (cell.whole.errors, cell.whole.warnings) == (3, 1)
        assert cell.by_dimension[Dimension.VALIDITY].errors == 3
        assert cell.by_dimension[Dimension.PLAUSIBILITY].warnings == 2
        assert [(one.rule, one.rows, one.sole) for one in counts] == [
            ("FP003", 3, 3),
            ("FP035", 2, 2),
            ("FP004", 1, 1),
        ]
        assert [(one.rows, one.rejected, one.whole.errors) for one in after] == [(16, 3, 1)]
        assert nothing == []

    database_run(scenario)


@pytest.mark.database
def test_findings_of_the_region_join_those_on_arrival_and_are_replaced_alone(database_run):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await keep(connection, 1, found("FP003", [2]), found("FP004", [2, 3]))
            for rows in ([3, 4], [4]):
                await replace_region_findings(
                    connection,
                    dataset=PAGES,
                    files=[1, 99],
                    rules=["FP005"],
                    findings={1: [found("FP005", rows)], 99: [found("FP005", [1])]},
                )
            counts = await list_findings(connection, first=MARCH, last=MARCH)
            (cell,) = await list_tallies(connection, first=MARCH, last=MARCH)
            _, arrival = await file_findings(connection, file=1, origin=Origin.ARRIVAL)

        assert {(one.rule, one.origin, one.rows, one.sole) for one in counts} == {
            ("FP003", Origin.ARRIVAL, 1, 1),
            ("FP004", Origin.ARRIVAL, 2, 2),
            ("FP005", Origin.REGION, 1, 1),
        }
        assert cell.by_dimension[Dimension.CONSISTENCY].errors == 3
        assert cell.whole.errors == 3
        assert [one.rule for one in arrival] == ["FP003", "FP004"]

    database_run(scenario)


@pytest.mark.database
def test_rows_out_of_messages_get_their_units_from_the_rules_over_the_lake(database_run):
    first_message_file = 1 << 62

    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            for rows in (5, 4):
                await replace_region_findings(
                    connection,
                    dataset=PAGES,
                    files=[first_message_file],
                    rules=["FP005"],
                    findings={first_message_file: [found("FP005", [1])]},
                    shares={first_message_file: [share(rows, 0)]},
                    received_at=NOON,
                )
            return await list_tallies(connection, first=MARCH, last=MARCH)

    (cell,) = database_run(scenario)
    assert (cell.rows, cell.files, cell.whole.errors) == (4, 1, 1)
