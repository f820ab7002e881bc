"""Pictures whose figures can be trusted: heights, ticks, bars, shades."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.console.charts import (
    Day,
    TrendValue,
    bar_rows,
    day_columns,
    heat,
    nice_ticks,
    round_ticks,
    trend_chart,
    year_bars,
)

counts = st.integers(min_value=0, max_value=10**9)
days = st.lists(
    st.builds(lambda accepted, rejected: _day(accepted, rejected), counts, counts), min_size=1, max_size=62
)


def _day(accepted: int, rejected: int) -> Day:
    return Day(label="3/1", title="", accepted=accepted, rejected=rejected, href="/console/receipts")


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 1), (1, 1), (4, 4), (7, 8), (99, 100), (8_700, 10_000), (1_234_567, 1_500_000)]
)
def test_the_axis_ends_at_a_round_value_above_the_highest(highest: int, top: float):
    assert nice_ticks(highest)[-1] == top


@given(highest=st.integers(min_value=0, max_value=10**15))
def test_ticks_are_even_few_and_reach_the_highest(highest: int):
    ticks = nice_ticks(highest)

    assert ticks[0] == 0
    assert ticks[-1] >= highest * (1 - 1e-9)
    assert 2 <= len(ticks) <= 6
    assert len({round(later - earlier, 6) for earlier, later in pairwise(ticks)}) == 1


@given(days=days)
def test_columns_lie_side_by_side_within_the_plot(days: list[Day]):
    chart = day_columns(days)

    for column in chart.columns:
        assert column.slot_x <= column.x
        assert column.x + column.width <= column.slot_x + column.slot_width + 0.01
        assert column.rejected_y >= chart.top - 3
        assert column.accepted_y + column.accepted_height <= chart.top + chart.plot_height + 0.1
    assert chart.columns[-1].slot_x + chart.columns[-1].slot_width == pytest.approx(100, abs=0.1)


@given(days=days)
def test_what_is_not_zero_can_be_seen_and_what_is_zero_cannot(days: list[Day]):
    for day, column in zip(days, day_columns(days).columns, strict=True):
        assert (column.accepted_height > 0) == (day.accepted > 0)
        assert (column.rejected_height > 0) == (day.rejected > 0)


def test_heights_are_in_proportion_and_the_rejected_stand_on_the_accepted():
    chart = day_columns([_day(750, 250), _day(500, 0)])

    first, second = chart.columns
    assert first.accepted_height == pytest.approx(1.5 * second.accepted_height, abs=0.1)
    assert first.rejected_y + first.rejected_height == pytest.approx(first.accepted_y, abs=0.1)


def test_the_last_day_carries_its_label_and_only_a_few_others_do():
    labels = [column.label for column in day_columns([_day(1, 0)] * 31).columns]

    assert labels[-1] == "3/1"
    assert sum(bool(label) for label in labels) <= 7


def test_bars_share_one_scale():
    longest, half, tiny, none = bar_rows([(900, 100), (500, 0), (0, 1), (0, 0)])

    assert longest.accepted_width + longest.rejected_width == 100
    assert half.accepted_width == 50
    assert tiny.rejected_width > 0
    assert none.accepted_width == none.rejected_width == 0


def test_shades_tell_nothing_from_little_and_little_from_much():
    assert [heat(value, 100) for value in (0, 1, 10, 40, 100)] == [0, 1, 2, 4, 5]
    assert heat(5, 0) == 0


# --- years ---


def test_years_run_from_the_newest_without_a_gap_and_the_chosen_one_stays():
    bars = year_bars({2026: 10, 2023: 5}, chosen=2021, href=lambda year: f"?year={year}")

    assert [(bar.year, bar.count) for bar in bars] == [
        (2026, 10),
        (2025, 0),
        (2024, 0),
        (2023, 5),
        (2022, 0),
        (2021, 0),
    ]
    assert [bar.height for bar in bars] == [100, 0, 0, 50, 0, 0]
    assert [bar.year for bar in bars if bar.current] == [2021]


def test_a_date_that_is_an_error_does_not_make_a_thousand_years():
    assert len(year_bars({2026: 1, 1026: 1}, chosen=0, href=str)) == 2
    assert year_bars({}, chosen=0, href=str) == []


# --- values over time ---

START = datetime(2020, 3, 1, 8, 30)
numbers = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)
limits = st.none() | numbers
trend_values = st.lists(
    st.builds(
        lambda days, number, low, high: _value(number, days=days, low=low, high=high),
        st.integers(min_value=0, max_value=20_000),
        numbers,
        limits,
        limits,
    ),
    min_size=1,
    max_size=40,
).map(lambda values: sorted(values, key=lambda value: value.at))


def _value(
    number: float, *, days: int = 0, low: float | None = None, high: float | None = None, side: str = ""
) -> TrendValue:
    at = START + timedelta(days=days)
    return TrendValue(at=at, number=number, low=low, high=high, side=side, tentative=False, title="")


@given(low=numbers, high=numbers)
def test_the_ticks_of_values_are_even_few_and_hold_every_value(low: float, high: float):
    low, high = min(low, high), max(low, high)

    ticks = round_ticks(low, high)
    steps = [later - earlier for earlier, later in pairwise(ticks)]

    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + max(steps) * 1e-6
    assert ticks[-1] >= high - max(steps) * 1e-6
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


@given(values=trend_values)
def test_everything_lies_within_the_picture(values: list[TrendValue]):
    chart = trend_chart(values)

    assert chart is not None
    foot = chart.top + chart.plot_height
    assert len(chart.marks) == len(values)
    assert len(chart.lines) == len(values) - 1
    assert all(0 <= mark.x <= 100 for mark in chart.marks)
    assert all(chart.top - 0.2 <= mark.y <= foot + 0.2 for mark in chart.marks)
    assert all(0 <= tick.x <= 100 for tick in chart.times)
    assert len(chart.times) <= 8
    for band in chart.bands:
        assert 0 <= band.x <= band.x + band.width <= 100.01
        assert chart.top <= band.y <= band.y + band.height <= foot + 0.1


def test_higher_values_stand_higher_and_later_ones_further_right():
    chart = trend_chart([_value(5), _value(9, days=100), _value(7, days=200)])

    assert chart is not None
    first, second, third = chart.marks
    assert first.y > third.y > second.y
    assert first.x < second.x < third.x
    assert second.x - first.x == pytest.approx(third.x - second.x, abs=0.02)


def test_the_reference_band_lies_where_the_range_is_and_changes_with_it():
    chart = trend_chart(
        [
            _value(5, low=4, high=6),
            _value(5, days=10, low=4, high=6),
            _value(5, days=20, low=3),
            _value(5, days=30),
        ]
    )

    assert chart is not None
    both, lower = chart.bands
    y = {tick.value: tick.y for tick in chart.ticks}
    assert (both.y, both.y + both.height) == (y[6.0], y[4.0])
    assert (lower.y, lower.y + lower.height) == (chart.top, y[3.0])
    assert both.x + both.width == pytest.approx(lower.x, abs=0.01)


def test_one_value_stands_in_the_middle_and_none_makes_no_picture():
    alone = trend_chart([_value(5)])

    assert alone is not None
    assert alone.marks[0].x == 50
    assert trend_chart([]) is None


def test_a_monstrous_value_does_not_flatten_the_others():
    chart = trend_chart([_value(5), _value(float("inf"), days=1), _value(1e200, days=2), _value(6, days=3)])

    assert chart is not None
    assert len(chart.marks) == 2


def test_of_many_values_the_last_the_lowest_and_the_highest_carry_their_figure():
    chart = trend_chart([_value(number * 7 % 41, days=number * 9) for number in range(40)])

    assert chart is not None
    assert [mark.label for mark in chart.marks if mark.label] == ["0", "40", "27"]


@pytest.mark.parametrize(
    ("days", "labels"),
    [
        (12 * 365, ["2022", "2024", "2026", "2028", "2030", "2032"]),
        (300, ["2020-05", "2020-07", "2020-09", "2020-11"]),
        (20, ["03-05", "03-09", "03-13", "03-17", "03-21"]),
    ],
)
def test_the_time_axis_counts_years_months_or_days(days: int, labels: list[str]):
    chart = trend_chart([_value(5), _value(6, days=days)])

    assert chart is not None
    assert [tick.label for tick in chart.times] == labels
