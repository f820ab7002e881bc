"""Pictures whose figures can be trusted: heights, ticks, bars, shades."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.console.charts import Day, bar_rows, day_columns, heat, nice_ticks

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
