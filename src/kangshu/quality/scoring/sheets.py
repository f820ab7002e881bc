"""Scoring sheets (评分表): the points of each row by declared items, as for the front page's 76; pure.

A row loses an item's points once, however much is wrong with it; a group never loses more than its own
points. A row that could not be read at all has none. Points are counted in thousandths, which are whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from kangshu.declarations import Dataset, Scoring, Severity
from kangshu.intake import Finding, Share
from kangshu.quality.scoring.formulas import exact

THOUSAND = 1000

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SheetCount:
    """What a sheet says of the rows of one institution and month.

    `thousandths` is the sum of the rows' points. `bands` counts rows by band, the best first and last those
    below every band; `items` counts for each item, in the sheet's order, the rows that lost its points.
    """

    scoring: str
    institution: str
    month: date
    rows: int
    thousandths: int
    bands: tuple[int, ...]
    items: tuple[int, ...]

    @property
    def mean(self) -> float | None:
        """The rows' mean of points with two decimals, cut off; None where there are no rows."""
        return self.thousandths // (self.rows * 10) / 100 if self.rows else None


def count_sheet(
    *, scoring: Scoring, dataset: Dataset, shares: Sequence[Share], findings: Sequence[Finding]
) -> list[SheetCount]:
    """Return what the sheet says of a file's rows, for each institution and month that it holds."""
    sheet = _Sheet(scoring, dataset)
    by_share: dict[tuple[str, date], list[Finding]] = {}
    for finding in findings:
        by_share.setdefault((finding.institution, finding.month), []).append(finding)
    return [sheet.count(share, by_share.get((share.institution, share.month), [])) for share in shares]


def add_sheets(counts: Iterable[SheetCount]) -> list[SheetCount]:
    """Return one count for each sheet, institution and month, as if all rows had come in one file."""
    sums: dict[tuple[str, str, date], list[SheetCount]] = {}
    for count in counts:
        sums.setdefault((count.scoring, count.institution, count.month), []).append(count)
    return [
        SheetCount(
            scoring=scoring,
            institution=institution,
            month=month,
            rows=sum(part.rows for part in parts),
            thousandths=sum(part.thousandths for part in parts),
            bands=_add(part.bands for part in parts),
            items=_add(part.items for part in parts),
        )
        for (scoring, institution, month), parts in sorted(sums.items())
    ]


def row_points(
    *, scoring: Scoring, dataset: Dataset, findings: Sequence[Finding]
) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Return the rows that the findings name, ascending, and the thousandths of points that each has left."""
    rows, left, _ = _Sheet(scoring, dataset).judge(findings)
    return rows, left


def union(parts: Iterable[Rows]) -> Rows:
    """Return the rows that are in any of the parts, ascending, each once.

    Sorting is five times as fast as `numpy.unique`, which counts by a hash table (measured, a million rows).
    """
    arrays = list(parts)
    if len(arrays) < 2:
        return arrays[0] if arrays else np.empty(0, np.int64)
    rows = np.concatenate(arrays)
    rows.sort()
    first = np.ones(len(rows), bool)
    np.not_equal(rows[1:], rows[:-1], out=first[1:])
    return rows[first]


class _Sheet:
    """A sheet made ready: whole points, and the items that each check belongs to."""

    def __init__(self, scoring: Scoring, dataset: Dataset) -> None:
        self.name = scoring.name
        self._declared = frozenset(rule.id for rule in dataset.rules)
        self._groups = [
            (_whole(group.points), [_whole(item.points) for item in group.items]) for group in scoring.groups
        ]
        self.full = sum(cap for cap, _ in self._groups)
        items = [item for group in scoring.groups for item in group.items]
        self._of_rule: dict[str, list[int]] = {}
        self._of_field: dict[str, list[int]] = {}
        for number, item in enumerate(items):
            for rule in item.rules:
                self._of_rule.setdefault(rule, []).append(number)
            for field in item.fields:
                self._of_field.setdefault(field, []).append(number)
        self.items = len(items)
        self._least = sorted((_whole(band.least) for band in scoring.bands), reverse=True)

    def count(self, share: Share, findings: Sequence[Finding]) -> SheetCount:
        _, left, hits = self.judge(findings)
        clean = share.rows - len(left)
        bands = self._count_bands(left)
        best = next((place for place, least in enumerate(self._least) if self.full >= least), len(bands) - 1)
        bands[best] += clean
        return SheetCount(
            scoring=self.name,
            institution=share.institution,
            month=share.month,
            rows=share.rows,
            thousandths=int(left.sum()) + clean * self.full,
            bands=tuple(bands),
            items=tuple(hits),
        )

    def judge(self, findings: Sequence[Finding]) -> tuple[Rows, npt.NDArray[np.int64], list[int]]:
        """Return the rows found fault with, the points they have left, and how many rows lost each item."""
        if not findings:
            return np.empty(0, np.int64), np.empty(0, np.int64), [0] * self.items
        rows = union(finding.rows for finding in findings)
        lost_items = np.zeros((self.items, len(rows)), bool)
        unreadable = np.zeros(len(rows), bool)
        for finding in findings:
            places = np.searchsorted(rows, finding.rows)
            if finding.rule not in self._declared and not finding.field:
                unreadable[places] |= finding.severity is Severity.ERROR
            for number in self._items_of(finding):
                lost_items[number, places] = True
        left = self._points_left(lost_items)
        left[unreadable] = 0
        return rows, left, [int(hits) for hits in np.count_nonzero(lost_items, axis=1)]

    def _items_of(self, finding: Finding) -> Sequence[int]:
        if finding.rule in self._declared:
            return self._of_rule.get(finding.rule, ())
        return self._of_field.get(finding.field, ())

    def _points_left(self, lost_items: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        left = np.zeros(lost_items.shape[1], np.int64)
        number = 0
        for cap, items in self._groups:
            lost = np.zeros(len(left), np.int64)
            for points in items:
                lost += points * lost_items[number]
                number += 1
            left += cap - np.minimum(lost, cap)
        return left

    def _count_bands(self, left: npt.NDArray[np.int64]) -> list[int]:
        """Return how many rows lie in each band, the best first, and last how many in none."""
        reached = [int(np.count_nonzero(left >= least)) for least in self._least]
        counts = [upper - lower for upper, lower in zip(reached, [0, *reached], strict=False)]
        return [*counts, len(left) - (reached[-1] if reached else 0)]


def _whole(points: float) -> int:
    return int(exact(points) * THOUSAND // 1 if points >= 0 else Fraction(0))


def _add(parts: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    # An older count may know fewer items than the present sheet.
    columns = list(parts)
    width = max(len(part) for part in columns)
    return tuple(sum(part[place] for part in columns if place < len(part)) for place in range(width))
