"""The geometry of the charts: from figures to rectangles; the drawing is in `_parts.html`.

Widths are in percent of the plot and heights in pixels, so that a chart fills any width while its text
keeps its size. Each chart on a page stands beside a table of the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil, floor, isfinite, log10

_TOP = 10.0
_FOOT = 24.0
_GAP = 0.34
"""Share of a day's slot that stays free between two columns (by eye)."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A line of the value axis."""

    value: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Day:
    """What one column shows: rows accepted and rejected on a day, and where a click leads."""

    label: str
    title: str
    accepted: int
    rejected: int
    href: str


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its slot (for pointing) and its two parts, the rejected on top of the accepted."""

    slot_x: float
    slot_width: float
    x: float
    width: float
    middle: float
    accepted_y: float
    accepted_height: float
    rejected_y: float
    rejected_height: float
    label: str
    title: str
    href: str


@dataclass(frozen=True, kw_only=True)
class DayColumns:
    """A chart of stacked columns, one per day."""

    height: int
    top: float
    plot_height: float
    ticks: tuple[Tick, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, kw_only=True)
class BarRow:
    """A horizontal bar of two parts; widths in percent of the longest bar."""

    accepted_width: float
    rejected_width: float


def nice_ticks(highest: int, *, steps: int = 4) -> tuple[float, ...]:
    """Return round values from 0 to at least `highest` (a count), about `steps` of them above 0.

    >>> nice_ticks(8_700)
    (0.0, 2500.0, 5000.0, 7500.0, 10000.0)
    """
    if highest <= 0:
        return (0.0, 1.0)
    rough = highest / steps
    size = 10 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * (1 - 1e-9))
    step = max(1.0, step)
    return tuple(step * index for index in range(ceil(highest / step - 1e-9) + 1))


def day_columns(days: Sequence[Day], *, height: int = 220, labels: int = 7) -> DayColumns:
    """Return the geometry for `days` in order; about `labels` of them carry their label, the last always."""
    plot = height - _TOP - _FOOT
    ticks = nice_ticks(max((day.accepted + day.rejected for day in days), default=0))
    scale = plot / ticks[-1]
    every = max(1, ceil(len(days) / labels))
    slot = 100 / max(1, len(days))
    columns = tuple(
        _column(day, index=index, slot=slot, base=_TOP + plot, scale=scale)
        if (len(days) - 1 - index) % every == 0
        else _column(_unlabelled(day), index=index, slot=slot, base=_TOP + plot, scale=scale)
        for index, day in enumerate(days)
    )
    return DayColumns(
        height=height,
        top=_TOP,
        plot_height=plot,
        ticks=tuple(Tick(value=value, y=round(_TOP + plot - value * scale, 1)) for value in ticks),
        columns=columns,
    )


def _unlabelled(day: Day) -> Day:
    return Day(label="", title=day.title, accepted=day.accepted, rejected=day.rejected, href=day.href)


def _column(day: Day, *, index: int, slot: float, base: float, scale: float) -> Column:
    accepted, rejected = _visible(day.accepted * scale), _visible(day.rejected * scale)
    return Column(
        slot_x=round(index * slot, 3),
        slot_width=round(slot, 3),
        x=round((index + _GAP / 2) * slot, 3),
        width=round(slot * (1 - _GAP), 3),
        middle=round((index + 0.5) * slot, 3),
        accepted_y=round(base - accepted, 1),
        accepted_height=accepted,
        rejected_y=round(base - accepted - rejected, 1),
        rejected_height=rejected,
        label=day.label,
        title=day.title,
        href=day.href,
    )


def _visible(height: float) -> float:
    """What is not zero stays visible: at least a pixel and a half."""
    return round(max(1.5, height), 1) if height > 0 else 0.0


def bar_rows(parts: Sequence[tuple[int, int]]) -> tuple[BarRow, ...]:
    """Return one bar per pair of accepted and rejected, all on the scale of the longest."""
    longest = max((accepted + rejected for accepted, rejected in parts), default=0) or 1
    return tuple(
        BarRow(
            accepted_width=round(100 * accepted / longest, 2),
            rejected_width=round(max(0.4, 100 * rejected / longest), 2) if rejected else 0.0,
        )
        for accepted, rejected in parts
    )


def heat(value: float, highest: float) -> int:
    """Return a shade from 0 (nothing) to 5 (the most), by the square root: small ones stay tellable."""
    if value <= 0 or highest <= 0:
        return 0
    return max(1, min(5, ceil(5 * (value / highest) ** 0.5)))


# --- years ---


@dataclass(frozen=True, kw_only=True)
class YearBar:
    """A year to choose: how much there is of it, and its bar in percent of the fullest year."""

    year: int
    count: int
    height: float
    href: str
    current: bool


_YEARS_MOST = 130
"""Longer lives than that are errors in a date; their years without anything are left out."""


def year_bars(counts: Mapping[int, int], *, chosen: int, href: Callable[[int], str]) -> list[YearBar]:
    """Return the years, the newest first; those between in which nothing was are there too."""
    if not counts and not chosen:
        return []
    known = {**counts, **({chosen: counts.get(chosen, 0)} if chosen else {})}
    first, last = min(known), max(known)
    years = range(last, first - 1, -1) if last - first < _YEARS_MOST else sorted(known, reverse=True)
    most = max(known.values(), default=0) or 1
    return [
        YearBar(
            year=year,
            count=known.get(year, 0),
            height=round(max(6.0, 100 * known[year] / most), 1) if known.get(year) else 0.0,
            href=href(year),
            current=year == chosen,
        )
        for year in years
    ]


# --- values over time ---

_MARGIN = 4.0
"""Percent of the width that stays free at either end, so that a mark and its figure fit."""
_LABELLED = 8
"""So many values carry their figure; of more only the last, the lowest and the highest: a phone is narrow."""
_LARGEST = 1e15
"""Beyond this a value is an error of its sender; it is in the table, not in the picture."""


@dataclass(frozen=True, kw_only=True)
class TrendValue:
    """One value of a series: `side` says where it lies, `tentative` that it may still change."""

    at: datetime
    number: float
    low: float | None
    high: float | None
    side: str
    tentative: bool
    title: str


@dataclass(frozen=True, kw_only=True)
class TrendMark:
    """Where a value lies: `x` in percent, `y` in pixels; `label` is its figure, where there is room."""

    x: float
    y: float
    side: str
    tentative: bool
    title: str
    label: str
    above: bool


@dataclass(frozen=True, kw_only=True)
class TrendLine:
    """From one value to the next."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, kw_only=True)
class TrendBand:
    """The reference range that came with the values over which it stretches."""

    x: float
    width: float
    y: float
    height: float


@dataclass(frozen=True, kw_only=True)
class TimeTick:
    """A point of the time axis."""

    x: float
    label: str


@dataclass(frozen=True, kw_only=True)
class TrendChart:
    """A chart of values over time with the reference band behind them."""

    height: int
    top: float
    plot_height: float
    ticks: tuple[Tick, ...]
    times: tuple[TimeTick, ...]
    bands: tuple[TrendBand, ...]
    lines: tuple[TrendLine, ...]
    marks: tuple[TrendMark, ...]


def round_ticks(lowest: float, highest: float, *, steps: int = 4) -> tuple[float, ...]:
    """Return round values that reach from below `lowest` to above `highest`, about `steps` apart.

    >>> round_ticks(3.9, 7.2)
    (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    """
    span = highest - lowest
    if span <= max(abs(lowest), abs(highest)) * 1e-9:
        span = max(abs(highest) * 0.2, 1.0 if highest == 0 else abs(highest) * 0.2)
        lowest, highest = lowest - span / 2, highest + span / 2
    rough = span / steps
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * (1 - 1e-9))
    first, last = floor(lowest / step + 1e-9), ceil(highest / step - 1e-9)
    return tuple(_plain(step * number, step) for number in range(first, last + 1))


def trend_chart(values: Sequence[TrendValue], *, height: int = 240) -> TrendChart | None:
    """Return the geometry for `values`, the oldest first; None where none can be drawn."""
    drawn = [value for value in values if isfinite(value.number) and abs(value.number) < _LARGEST]
    if not drawn:
        return None
    limits = [
        limit
        for value in drawn
        for limit in (value.low, value.high)
        if limit is not None and isfinite(limit) and abs(limit) < _LARGEST
    ]
    numbers = [value.number for value in drawn]
    ticks = round_ticks(min(numbers + limits), max(numbers + limits))
    plot = height - _TOP - _FOOT
    bottom, span = ticks[0], ticks[-1] - ticks[0]

    def y(number: float) -> float:
        return round(_TOP + plot * (1 - (number - bottom) / span), 1)

    places = _places([value.at for value in drawn])
    xs = [places.x(value.at) for value in drawn]
    return TrendChart(
        height=height,
        top=_TOP,
        plot_height=plot,
        ticks=tuple(Tick(value=tick, y=y(tick)) for tick in ticks),
        times=places.ticks(),
        bands=tuple(_bands(drawn, xs, y, _TOP + plot)),
        lines=tuple(
            TrendLine(x1=x1, y1=y(one.number), x2=x2, y2=y(other.number))
            for (x1, one), (x2, other) in pairwise(zip(xs, drawn, strict=True))
        ),
        marks=tuple(_marks(drawn, xs, y)),
    )


def _marks(
    drawn: Sequence[TrendValue], xs: Sequence[float], y: Callable[[float], float]
) -> Iterator[TrendMark]:
    numbers = [value.number for value in drawn]
    told = {len(drawn) - 1, numbers.index(min(numbers)), numbers.index(max(numbers))}
    for place, (value, x) in enumerate(zip(drawn, xs, strict=True)):
        labelled = len(drawn) <= _LABELLED or place in told
        at = y(value.number)
        yield TrendMark(
            x=x,
            y=at,
            side=value.side,
            tentative=value.tentative,
            title=value.title,
            label=f"{value.number:g}" if labelled else "",
            above=at > _TOP + 16,
        )


def _bands(
    drawn: Sequence[TrendValue], xs: Sequence[float], y: Callable[[float], float], foot: float
) -> Iterator[TrendBand]:
    """Yield the reference ranges; each reaches half-way to the values with another one."""
    middles = [0.0, *((x1 + x2) / 2 for x1, x2 in pairwise(xs)), 100.0]
    start = 0
    for end in range(1, len(drawn) + 1):
        low, high = drawn[start].low, drawn[start].high
        if end < len(drawn) and (drawn[end].low, drawn[end].high) == (low, high):
            continue
        if low is not None or high is not None:
            top = _TOP if high is None else max(_TOP, y(high))
            below = foot if low is None else min(foot, y(low))
            if below > top:
                x, width = middles[start], middles[end] - middles[start]
                yield TrendBand(x=round(x, 2), width=round(width, 2), y=top, height=round(below - top, 1))
        start = end


@dataclass(frozen=True)
class _Places:
    """A span of time on the width of a plot."""

    first: datetime
    last: datetime

    def x(self, at: datetime) -> float:
        return round(_MARGIN + (100 - 2 * _MARGIN) * ((at - self.first) / (self.last - self.first)), 2)

    def ticks(self) -> tuple[TimeTick, ...]:
        """Return round moments: years, months or days, six or seven at most."""
        found: list[tuple[datetime, str]] = []
        days = (self.last - self.first).days
        if days > 3 * 365:
            every = max(1, ceil(days / 365 / 6))
            years = range(self.first.year + 1, self.last.year + 1)
            found = [(datetime(year, 1, 1), str(year)) for year in years if year % every == 0]  # noqa: DTZ001 - as given
        elif days > 120:
            every = next(step for step in (1, 2, 3, 6, 12) if days / 30 / step <= 6)
            months = range(self.first.year * 12 + self.first.month, self.last.year * 12 + self.last.month)
            found = [
                (datetime(month // 12, month % 12 + 1, 1), f"{month // 12}-{month % 12 + 1:02d}")  # noqa: DTZ001 - as given
                for month in months
                if month % every == 0
            ]
        else:
            every = max(1, ceil(days / 5))
            start = datetime(self.first.year, self.first.month, self.first.day)  # noqa: DTZ001 - as given
            moments = (start + timedelta(days=day) for day in range(0, days + 2, every))
            found = [(at, f"{at:%m-%d}") for at in moments]
        return tuple(
            TimeTick(x=self.x(at), label=label) for at, label in found if self.first <= at <= self.last
        )


def _places(moments: Sequence[datetime]) -> _Places:
    first, last = min(moments), max(moments)
    if last - first < timedelta(days=2):
        first, last = first - timedelta(days=1), last + timedelta(days=1)
    return _Places(first, last)


def _plain(value: float, step: float) -> float:
    """Return `value` without the noise of binary fractions, as many places as the step has."""
    return round(value, max(0, 2 - floor(log10(step)))) + 0.0
