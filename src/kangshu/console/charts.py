"""The geometry of the charts: from figures to rectangles; the drawing is in `_parts.html`.

Widths are in percent of the plot and heights in pixels, so that a chart fills any width while its text
keeps its size. Each chart on a page stands beside a table of the same figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

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
