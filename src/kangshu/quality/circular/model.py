"""The figures of a monthly circular (通报): plain values, so that an issued one is kept as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import msgspec

from kangshu.declarations import Dimension, Severity
from kangshu.kernel.texts import Text

_FEW = 10


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The month in figures; `mean` is that of the institutions' scores, None where there are none."""

    institutions: int
    expected: int
    arrived: int
    files: int
    rows: int
    rejected: int
    mean: float | None
    mean_before: float | None

    @property
    def accepted(self) -> int:
        """Rows that passed."""
        return self.rows - self.rejected

    @property
    def change(self) -> float | None:
        """The mean against that of the month before, in points."""
        if self.mean is None or self.mean_before is None:
            return None
        return (round(self.mean * 100) - round(self.mean_before * 100)) / 100


@dataclass(frozen=True, kw_only=True)
class RankLine:
    """One institution's place."""

    place: int
    tied: bool
    institution: str
    name: str
    total: float
    change: float | None
    climbed: int | None
    expected: int
    arrived: int
    rows: int
    rejected: int
    by_dimension: dict[Dimension, float]


@dataclass(frozen=True, kw_only=True)
class FindingLine:
    """A check's findings over the region."""

    dataset: str
    dataset_title: Text
    rule: str
    title: Text
    message: Text
    severity: Severity
    dimension: Dimension
    rows: int
    institutions: int


@dataclass(frozen=True, kw_only=True)
class CoverageLine:
    """What became of one expected data set, counted over institutions."""

    dataset: str
    title: Text
    expected: int
    on_time: int
    late: int
    incomplete: int
    missing: int

    @property
    def arrived(self) -> int:
        """Institutions of which anything came."""
        return self.expected - self.missing


@dataclass(frozen=True, kw_only=True)
class BalanceLine:
    """A declared pair of figures, over institutions; the figures are sums over those that gave both."""

    id: str
    title: Text
    institutions: int
    within: int
    over: int
    missing: int
    left: float
    right: float


@dataclass(frozen=True, kw_only=True)
class BandLine:
    """How many rows lie in a band of a scoring sheet."""

    title: Text
    rows: int


@dataclass(frozen=True, kw_only=True)
class SheetLine:
    """A scoring sheet over all rows of the month."""

    title: Text
    rows: int
    mean: float
    bands: tuple[BandLine, ...]


@dataclass(frozen=True, kw_only=True)
class ShareLine:
    """A declared indicator over the region."""

    id: str
    title: Text
    good: float
    total: float
    share: float | None


@dataclass(frozen=True, kw_only=True)
class ItemLine:
    """An item of the EMR data-quality index over the region."""

    item: str
    title: Text
    rows: int
    coefficient: float | None


@dataclass(frozen=True, kw_only=True)
class LoopLine:
    """How the tasks about this month went; `cleared` were closed in the month in which they were opened."""

    tasks: int
    closed: int
    cleared: int
    overdue: int
    escalated: int

    @property
    def cleared_rate(self) -> float | None:
        """The share of tasks cleared within the month."""
        return self.cleared / self.tasks if self.tasks else None


@dataclass(frozen=True, kw_only=True)
class Issue:
    """When a circular was issued, and the name of whoever did it."""

    month: date
    issued_at: datetime
    issued_by: str


@dataclass(frozen=True, kw_only=True)
class Circular:
    """A month's circular: a draft, or with `issue` the one that went out.

    One that is not `whole` has of the ranking only the lines that its reader may see.
    """

    month: date
    region: Text
    as_of: date
    headline: Headline
    by_dimension: dict[Dimension, float]
    ranking: tuple[RankLine, ...]
    findings: tuple[FindingLine, ...]
    coverage: tuple[CoverageLine, ...]
    sheets: tuple[SheetLine, ...] = ()
    indicators: tuple[ShareLine, ...] = ()
    emr: tuple[ItemLine, ...] = ()
    balances: tuple[BalanceLine, ...] = ()
    loop: LoopLine | None = None
    issue: Issue | None = None
    whole: bool = True

    @property
    def best(self) -> tuple[RankLine, ...]:
        """The first ten places; more institutions where the tenth is shared."""
        return tuple(line for line in self.ranking if line.place <= _FEW and self.whole)

    @property
    def worst(self) -> tuple[RankLine, ...]:
        """The ten lowest that are not among the best, the lowest first."""
        others = self.ranking[len(self.best) :] if self.whole else ()
        return tuple(reversed(others[-_FEW:]))

    def document(self) -> dict[str, Any]:
        """Return the circular as plain values, as it is kept; without its issue."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        del found["issue"]
        return found


def read_circular(document: Mapping[str, Any], *, issue: Issue | None) -> Circular:
    """Return the circular that `Circular.document` gave."""
    return replace(msgspec.convert({**document, "issue": None}, Circular), issue=issue)
