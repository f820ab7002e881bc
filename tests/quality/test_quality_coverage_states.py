"""States of cells by dates and rows, and the laws they obey."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.declarations import Expectation
from kangshu.quality.coverage import (
    Arrived,
    Basis,
    Coverage,
    CoverageState,
    Expected,
    Standing,
    assess,
    due_day,
    expected_rows,
)
from kangshu.quality.model import Cell

MAY = date(2026, 5, 1)
DUE = date(2026, 6, 10)
AFTER_ALL = date(2026, 9, 1)
CELL = Cell(month=MAY, dataset="result", institution="YH000001999010211A1001")
ASKED = Expectation(dataset="result", due_days=10, late_days=30, least_share=0.8)
THOUSAND = Expected(rows=1000, basis=Basis.REPORTED)

ORDER = [CoverageState.MISSING, CoverageState.INCOMPLETE, CoverageState.LATE, CoverageState.ON_TIME]


def seen(
    *arrivals: tuple[date, int], now: date = AFTER_ALL, expected: Expected | None = THOUSAND
) -> Coverage:
    """The cell's coverage after so many rows came on these days; a negative number was taken away."""
    standings: list[Standing] = []
    rows = 0
    for day, count in sorted(arrivals):
        rows += count
        standings.append(Standing(day=day, rows=rows))
    arrived = Arrived(rows=rows, standings=standings)
    return assess(cell=CELL, expectation=ASKED, expected=expected, arrived=arrived, now=now)


@pytest.mark.parametrize(
    ("month", "days", "due"),
    [
        (date(2026, 5, 1), 10, date(2026, 6, 10)),
        (date(2026, 12, 1), 10, date(2027, 1, 10)),
        (date(2026, 1, 1), 31, date(2026, 3, 3)),
    ],
)
def test_data_are_due_so_many_days_after_the_month(month: date, days: int, due: date):
    assert due_day(month=month, expectation=Expectation(dataset="result", due_days=days)) == due


def test_what_is_complete_on_the_due_day_is_in_time_and_a_day_later_it_is_late():
    on_the_day, a_day_later = seen((DUE, 1000)), seen((DUE + timedelta(days=1), 1000))

    assert (on_the_day.state, on_the_day.timeliness) == (CoverageState.ON_TIME, 1.0)
    assert a_day_later.state is CoverageState.LATE
    assert a_day_later.timeliness == pytest.approx(29 / 30)


def test_thirty_days_late_are_worth_nothing():
    assert seen((DUE + timedelta(days=30), 1000)).timeliness == 0
    assert seen((DUE + timedelta(days=60), 1000)).timeliness == 0


def test_before_the_due_day_nothing_is_missing_and_after_it_is():
    assert seen(now=DUE).state is CoverageState.NOT_DUE
    assert seen(now=DUE).timeliness is None
    assert seen((date(2026, 6, 1), 300), now=DUE).state is CoverageState.NOT_DUE
    assert seen(now=DUE + timedelta(days=1)).state is CoverageState.MISSING
    assert seen(now=DUE + timedelta(days=1)).timeliness == 0


def test_what_is_complete_early_is_in_time_at_once():
    assert seen((date(2026, 6, 1), 900), now=date(2026, 6, 2)).state is CoverageState.ON_TIME


def test_four_fifths_of_the_expected_rows_are_enough_and_one_row_less_is_not():
    assert seen((DUE, 800)).state is CoverageState.ON_TIME
    short = seen((DUE, 799))
    assert short.state is CoverageState.INCOMPLETE
    assert short.timeliness == pytest.approx(799 / 800)


def test_rows_that_complete_a_month_later_make_it_late_and_not_missing():
    part = seen((DUE, 400), (DUE + timedelta(days=15), 600))

    assert part.state is CoverageState.LATE
    assert part.timeliness == 0.5  # both count half: 400 of 800 in time, all of them half the days late


def test_a_correction_after_the_due_day_does_not_make_a_month_late():
    corrected = DUE + timedelta(days=20)

    assert seen((DUE, 1000), (corrected, 0)).state is CoverageState.ON_TIME


def test_what_was_there_in_time_and_was_taken_back_is_incomplete_now():
    assert seen((DUE, 1000), (DUE + timedelta(days=5), -900)).state is CoverageState.INCOMPLETE


def test_a_closed_month_of_which_nothing_is_expected_is_not_missing():
    nothing = Expected(rows=0, basis=Basis.REPORTED)

    assert seen(expected=nothing).state is CoverageState.NOT_DUE
    assert seen((DUE, 3), expected=nothing).state is CoverageState.ON_TIME


def test_of_a_new_institution_any_row_is_enough_and_none_is_missing():
    first = seen((DUE, 1), expected=None)

    assert (first.state, first.expected_rows, first.basis) == (CoverageState.ON_TIME, None, None)
    assert seen(expected=None).state is CoverageState.MISSING


def test_what_the_institution_reported_goes_before_all_and_the_lower_of_the_others_counts():
    assert expected_rows(reported=70, last_year=50, usual=90) == Expected(rows=70, basis=Basis.REPORTED)
    assert expected_rows(reported=0, last_year=50, usual=90) == Expected(rows=0, basis=Basis.REPORTED)
    assert expected_rows(reported=None, last_year=50, usual=90) == Expected(rows=50, basis=Basis.LAST_YEAR)
    assert expected_rows(reported=None, last_year=90, usual=50) == Expected(rows=50, basis=Basis.USUAL)
    assert expected_rows(reported=None, last_year=None, usual=50) == Expected(rows=50, basis=Basis.USUAL)
    assert expected_rows(reported=None, last_year=None, usual=None) is None


def test_of_what_is_estimated_three_deviations_are_left_to_chance():
    few, many = Expected(rows=16, basis=Basis.USUAL), Expected(rows=10_000, basis=Basis.LAST_YEAR)

    assert seen((DUE, 4), expected=few).state is CoverageState.ON_TIME  # 16 - 3 * 4
    assert seen((DUE, 3), expected=few).state is CoverageState.INCOMPLETE
    assert seen(expected=few).state is CoverageState.MISSING
    assert seen((DUE, 8_000), expected=many).state is CoverageState.ON_TIME
    assert seen((DUE, 7_999), expected=many).state is CoverageState.INCOMPLETE


def test_where_season_and_usual_are_equal_the_season_is_named():
    assert expected_rows(reported=None, last_year=50, usual=50) == Expected(rows=50, basis=Basis.LAST_YEAR)


days = st.integers(min_value=0, max_value=120).map(lambda number: MAY + timedelta(days=number))
arrivals = st.lists(st.tuples(days, st.integers(min_value=1, max_value=2000)), max_size=5)
expectations = st.one_of(
    st.none(),
    st.builds(Expected, rows=st.floats(min_value=0, max_value=3000), basis=st.sampled_from(Basis)),
)


def _worth(found: Coverage) -> tuple[int, float]:
    # What is not due yet may still become anything.
    if found.state is CoverageState.NOT_DUE:
        return 0, 0.0
    return ORDER.index(found.state), found.timeliness or 0.0


@given(came=arrivals, more=st.tuples(days, st.integers(min_value=1, max_value=2000)), expected=expectations)
def test_more_rows_never_make_coverage_worse(
    came: Sequence[tuple[date, int]], more: tuple[date, int], expected: Expected | None
):
    before, after = seen(*came, expected=expected), seen(*came, more, expected=expected)

    assert _worth(after)[0] >= _worth(before)[0]
    assert _worth(after)[1] >= _worth(before)[1]


@given(came=arrivals, sooner=st.integers(min_value=1, max_value=30), expected=expectations)
def test_the_same_rows_sooner_never_make_coverage_worse(
    came: Sequence[tuple[date, int]], sooner: int, expected: Expected | None
):
    earlier = [(day - timedelta(days=sooner), rows) for day, rows in came]

    before, after = seen(*came, expected=expected), seen(*earlier, expected=expected)

    assert _worth(after) >= _worth(before)


@given(came=arrivals, expected=expectations, later=st.integers(min_value=0, max_value=90))
def test_a_state_once_in_time_stays_so_while_the_rows_stand(
    came: Sequence[tuple[date, int]], expected: Expected | None, later: int
):
    now = max((day for day, _ in came), default=MAY)
    before = seen(*came, expected=expected, now=now)

    if before.state is CoverageState.ON_TIME:
        assert seen(*came, expected=expected, now=now + timedelta(days=later)).state is CoverageState.ON_TIME


@given(came=arrivals, expected=expectations, now=days)
def test_timeliness_is_a_share_and_all_of_it_is_for_what_came_in_time(
    came: Sequence[tuple[date, int]], expected: Expected | None, now: date
):
    found = seen(*came, expected=expected, now=now)

    assert found.timeliness is None or 0 <= found.timeliness <= 1
    assert (found.timeliness == 1) == (found.state is CoverageState.ON_TIME)
