"""Periods: their labels read back, and the one around some days holds them."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.kernel.periods import Period

days = st.dates(min_value=date(1990, 1, 1), max_value=date(2099, 12, 31))


@pytest.mark.parametrize(
    ("label", "start", "end"),
    [
        ("2026", date(2026, 1, 1), date(2027, 1, 1)),
        ("2026-02", date(2026, 2, 1), date(2026, 3, 1)),
        ("2026-12", date(2026, 12, 1), date(2027, 1, 1)),
        ("2026-03-05", date(2026, 3, 5), date(2026, 3, 6)),
        ("2026-01..2026-03", date(2026, 1, 1), date(2026, 4, 1)),
    ],
)
def test_a_label_names_half_open_days(label: str, start: date, end: date):
    period = Period.parse(label)

    assert (period.start, period.end) == (start, end)
    assert period.label == label


@pytest.mark.parametrize(
    "label", ["", "26", "2026-13", "2026-02-30", "2026-1", "x", "2026-03\n", "２０２６", "0026", "9999-12-31"]
)
def test_what_is_no_period_is_refused(label: str):
    with pytest.raises(ValueError, match=r"."):
        Period.parse(label)


@given(first=days, length=st.integers(min_value=1, max_value=4000))
def test_every_label_reads_back(first: date, length: int):
    period = Period(start=first, end=first + timedelta(days=length))

    assert Period.parse(period.label) == period


@given(one=days, other=days)
def test_the_period_around_two_days_holds_both(one: date, other: date):
    period = Period.around(first=min(one, other), last=max(one, other))

    assert one in period
    assert other in period


def test_a_period_of_no_days_is_refused():
    with pytest.raises(ValueError, match="at least one day"):
        Period(start=date(2026, 1, 1), end=date(2026, 1, 1))
