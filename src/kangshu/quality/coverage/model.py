"""What should have arrived and what became of it: states of cells by dates and rows; frozen and pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from math import sqrt

from kangshu.declarations import Expectation
from kangshu.quality.model import Cell
from kangshu.quality.plausibility import add_months

USUAL_MONTHS, USUAL_LEAST = 6, 3
_CHANCE = 3.0  # standard deviations of a count that follows Poisson


class CoverageState(StrEnum):
    """What became of a cell that is expected."""

    ON_TIME = "on-time"  # as many rows as expected stood by the day they were due
    LATE = "late"  # they do, but came after that day
    INCOMPLETE = "incomplete"  # the day is over and there are too few
    MISSING = "missing"  # the day is over and there are none
    NOT_DUE = "not-due"  # the day is to come, or nothing is expected


class Basis(StrEnum):
    """What the expected number of rows follows from."""

    REPORTED = "reported"  # the institution's own monthly return
    LAST_YEAR = "last-year"  # the same month a year before: the season
    USUAL = "usual"  # the median of the six months before, of three at least


@dataclass(frozen=True, kw_only=True)
class Expected:
    """How many rows a cell should have, and what that follows from."""

    rows: float
    basis: Basis


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How many rows of a cell stood at the end of a day on which that changed."""

    day: date
    rows: int


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """What has arrived of a cell: the rows that stand now, and how many stood day by day."""

    rows: int = 0
    standings: Sequence[Standing] = ()
    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Whether what a cell should hold has arrived (覆盖情况), as of some day.

    `rows` have arrived, also those that were rejected in a file of which others passed. `expected_rows` is
    None where nothing is known to compare with: then any row is enough. `timeliness` is 1 for what was
    complete on the day `due`, falls to 0 over the days that the pack grants, and is None where there is
    nothing to judge yet.
    """

    cell: Cell
    rows: int
    expected_rows: float | None
    basis: Basis | None
    due: date
    first_arrival: datetime | None
    last_arrival: datetime | None
    state: CoverageState
    timeliness: float | None


def due_day(*, month: date, expectation: Expectation) -> date:
    """Return the last day on which data of `month` are in time.

    >>> due_day(month=date(2026, 2, 1), expectation=Expectation(dataset="birth", due_days=10))
    datetime.date(2026, 3, 10)
    """
    return add_months(month, 1) + timedelta(days=expectation.due_days - 1)


def expected_rows(*, reported: float | None, last_year: float | None, usual: float | None) -> Expected | None:
    """Return how many rows there should be, or None where nothing is known to tell it by.

    What the institution itself has reported goes before all. Of last year's month and the usual the lower
    one counts, so that neither the season nor growth makes a month look incomplete.
    """
    if reported is not None:
        return Expected(rows=reported, basis=Basis.REPORTED)
    if last_year is not None and (usual is None or last_year <= usual):
        return Expected(rows=last_year, basis=Basis.LAST_YEAR)
    return None if usual is None else Expected(rows=usual, basis=Basis.USUAL)


def needed_rows(*, expectation: Expectation, expected: Expected | None) -> float:
    """Return from how many rows on a cell is complete; 0 where one is enough.

    What an institution has reported is exact. What follows from other months is an estimate: three times its
    chance deviation (the square root of a count) is left to chance.
    """
    if expected is None:
        return 0.0
    needed = expectation.least_share * expected.rows
    if expected.basis is Basis.REPORTED:
        return needed
    return max(0.0, min(needed, expected.rows - _CHANCE * sqrt(expected.rows)))


def assess(
    *, cell: Cell, expectation: Expectation, expected: Expected | None, arrived: Arrived, now: date
) -> Coverage:
    """Return what became of a cell that `expectation` asks for, as of the day `now`.

    More rows, or the same rows earlier, never make it worse.
    """
    due = due_day(month=cell.month, expectation=expectation)
    state = _state(expectation, expected, arrived, due=due, now=now)
    judged = state is not CoverageState.NOT_DUE
    return Coverage(
        cell=cell,
        rows=arrived.rows,
        expected_rows=expected.rows if expected else None,
        basis=expected.basis if expected else None,
        due=due,
        first_arrival=arrived.first,
        last_arrival=arrived.last,
        state=state,
        timeliness=_timeliness(expectation, expected, arrived, due=due) if judged else None,
    )


def _state(
    expectation: Expectation, expected: Expected | None, arrived: Arrived, *, due: date, now: date
) -> CoverageState:
    if _share(arrived.rows, expectation, expected) >= 1:
        complete = next(
            (one.day for one in arrived.standings if _share(one.rows, expectation, expected) >= 1), due
        )
        return CoverageState.ON_TIME if complete <= due else CoverageState.LATE
    nothing_expected = expected is not None and expected.rows <= 0
    if now <= due or nothing_expected:
        return CoverageState.NOT_DUE
    return CoverageState.INCOMPLETE if arrived.rows else CoverageState.MISSING


def _timeliness(expectation: Expectation, expected: Expected | None, arrived: Arrived, *, due: date) -> float:
    """Return the best that stood at any time: what share of the rows needed, worth what on that day."""
    return max(
        (
            _share(one.rows, expectation, expected) * _worth(one.day, due, expectation)
            for one in arrived.standings
        ),
        default=0.0,
    )


def _share(rows: int, expectation: Expectation, expected: Expected | None) -> float:
    """Return how much of the rows needed there is, at most 1."""
    if rows <= 0:
        return 0.0
    needed = needed_rows(expectation=expectation, expected=expected)
    return min(1.0, rows / needed) if needed > 0 else 1.0


def _worth(day: date, due: date, expectation: Expectation) -> float:
    if day <= due:
        return 1.0
    return max(0.0, 1 - (day - due).days / expectation.late_days) if expectation.late_days > 0 else 0.0
