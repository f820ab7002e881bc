"""Figures of cells, and what rules about cells found in them; frozen and pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from kangshu.declarations import Dataset, Dimension, Measure, Rule, Scope, Severity
from kangshu.kernel.texts import Text
from kangshu.quality.model import Cell

ROWS = Measure(name="rows", title=Text(zh="行数", en="rows"), sql="count(*)")
"""The measure that every cell has, whatever its data set declares."""

USUAL_MONTHS, USUAL_LEAST = 6, 3
PEERS_LEAST = 5
YEAR = 12

_DIGITS = 12  # of a figure: behind them, sums of floats differ by the order of the rows
_KIND_PLACES = 2  # of a WS 218 code: A1 general hospitals, A2 hospitals of Chinese medicine, C2 townships


@dataclass(frozen=True, kw_only=True)
class CellFigures:
    """The measures of one cell by name; one that could not be computed is absent."""

    cell: Cell
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CellFinding:
    """A rule about cells that does not hold, with the figures that decided (`now.rows`, `usual.rows`)."""

    cell: Cell
    rule: str
    severity: Severity
    dimension: Dimension
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """Rows at which a finding points: how many, and the places of the first of them as (file, row)."""

    rows: int
    places: tuple[tuple[int, int], ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class FilePlace:
    """Where a file's rows lie (`run` of the lake), and for which month they count.

    With `month` all of them count for it; without, each for the month of its own event, and for `last`
    where it has none.
    """

    file: int
    run: int
    month: date | None
    last: date | None


def measures_of(dataset: Dataset) -> tuple[Measure, ...]:
    """Return what is measured of a cell of `dataset`: the number of rows, and what the pack declares."""
    declared = tuple(measure for measure in dataset.measures if measure.name != ROWS.name)
    return (ROWS, *declared)


def cell_rules(dataset: Dataset) -> tuple[Rule, ...]:
    """Return the rules about cells of `dataset`."""
    return tuple(rule for rule in dataset.rules if rule.scope is Scope.CELL)


def tidy(value: float | None) -> float | None:
    """Return a figure as it is kept, in whatever order its rows were added up; None for what is no number."""
    if value is None or not math.isfinite(value):
        return None
    return value if value == int(value) else float(f"{value:.{_DIGITS}g}")


def kind_of(*, type_code: str | None, level: str | None) -> str | None:
    """Return what makes institutions peers: the first places of their WS 218 type, and their level."""
    return f"{type_code[:_KIND_PLACES]}/{level or ''}" if type_code else None


def add_months(month: date, count: int) -> date:
    """Return the first day of the month `count` months after that of `month`.

    >>> add_months(date(2026, 1, 1), -1)
    datetime.date(2025, 12, 1)
    """
    index = month.year * 12 + month.month - 1 + count
    return date(index // 12, index % 12 + 1, 1)


def touched_months(months: Iterable[date], measures: Sequence[Measure]) -> list[date]:
    """Return the months whose measures depend on rows of `months`: these, and those that look back."""
    wanted = {add_months(month, 0) for month in months}
    return sorted(wanted | {add_months(month, back) for month in wanted for back in looks_back(measures)})


def judged_months(months: Iterable[date], *, last: date | None) -> list[date]:
    """Return the months to judge when the figures of `months` changed: these, and later ones up to `last`.

    >>> [day.month for day in judged_months([date(2026, 1, 1)], last=date(2026, 3, 1))]
    [1, 2, 3]
    """
    own = {add_months(month, 0) for month in months}
    later = {add_months(month, ahead) for month in own for ahead in (*range(1, USUAL_MONTHS + 1), YEAR)}
    return sorted(own | {month for month in later if last is not None and month <= last})


def looks_back(measures: Iterable[Measure]) -> set[int]:
    """Return how many months back the measures look, beside their own month."""
    return {measure.months_back for measure in measures if measure.fingerprint}
