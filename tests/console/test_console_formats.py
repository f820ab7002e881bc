"""Figures, moments and masks as people read them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.console import formats

CHINA = timezone(timedelta(hours=8))


@pytest.mark.parametrize(
    ("value", "chinese", "english"),
    [
        (0, "0", "0"),
        (9_999, "9,999", "9,999"),
        (10_000, "1万", "10k"),
        (125_000, "12.5万", "125k"),
        (66_000_000, "6600万", "66M"),
        (76_100_000_000, "761亿", "76.1B"),
        (0.5, "0.5", "0.5"),
    ],
)
def test_large_figures_are_short_in_the_readers_own_units(value: float, chinese: str, english: str):
    assert formats.compact(value, language="zh") == chinese
    assert formats.compact(value, language="en") == english


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "0%"),
        (10, 10, "100%"),
        (1, 0, "—"),
        (999_999, 1_000_000, "99.9%"),
        (1, 1_000_000, "<0.01%"),
        (1, 3, "33.3%"),
        (1, 400, "0.25%"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(part: int, whole: int, text: str):
    assert formats.percent(part, whole) == text


@given(part=st.integers(min_value=0, max_value=10**9), more=st.integers(min_value=0, max_value=10**9))
def test_only_nothing_is_0_percent_and_only_everything_is_100(part: int, more: int):
    text = formats.percent(part, part + more)

    if part + more:
        assert (text == "0%") == (part == 0)
        assert (text == "100%") == (more == 0)


def test_moments_are_told_in_the_regions_time():
    moment = datetime(2026, 3, 17, 23, 5, 9, tzinfo=UTC)

    assert formats.moment(moment, zone=CHINA) == "2026-03-18 07:05"
    assert formats.moment(moment, "second", zone=CHINA) == "2026-03-18 07:05:09"
    assert formats.moment(date(2026, 3, 18), "day", zone=CHINA) == "2026-03-18"


@pytest.mark.parametrize(
    ("name", "masked"),
    [("张伟", "张*"), ("欧阳建国", "欧***"), ("Anna Berg", "A***"), ("王", "王*"), (None, "—")],
)
def test_of_a_name_one_character_is_shown(name: str | None, masked: str):
    assert formats.mask_name(name) == masked


@given(value=st.text(min_size=1, max_size=40, alphabet="0123456789ABCXYZ"))
def test_a_masked_number_keeps_its_length_and_hides_most_of_it(value: str):
    masked = formats.mask_number(value)

    assert len(masked) == len(value)
    hidden = masked.count("*")
    assert hidden == len(value) or hidden >= 4


def test_a_resident_number_is_masked_as_the_rule_says():
    assert formats.mask_number("110101199003070011") == "110***********0011"
    assert formats.mask_phone("13800001234") == "138****1234"
    assert formats.mask_birth(date(1968, 5, 12)) == "1968-**-**"
    assert formats.mask_text("云泽省桐山区幸福路一号") == "云泽省****"


@pytest.mark.parametrize(
    ("birth", "chinese", "english"),
    [
        (date(1968, 5, 12), "57 岁", "57 y"),
        (date(2026, 1, 20), "1 月", "1 mo"),
        (date(2024, 3, 18), "2 岁", "2 y"),
        (date(2026, 3, 19), "—", "—"),
        (None, "—", "—"),
    ],
)
def test_age_is_in_completed_years_and_for_small_children_in_months(
    birth: date | None, chinese: str, english: str
):
    today = date(2026, 3, 18)

    assert formats.age(birth, today=today, language="zh") == chinese
    assert formats.age(birth, today=today, language="en") == english


def test_numbers_have_a_comma_after_three_digits():
    assert formats.number(1234567) == "1,234,567"
    assert formats.number(Decimal("1234.50")) == "1,234.50"
    assert formats.number(None) == "—"


@pytest.mark.parametrize(
    ("size", "text"), [(None, "—"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_file_sizes_are_told_in_binary_units(size: int | None, text: str):
    assert formats.file_size(size) == text


def test_weekdays_are_told_in_both_languages():
    assert formats.weekday(date(2026, 3, 18), language="zh") == "周三"
    assert formats.weekday(date(2026, 3, 18), language="en") == "Wed"
