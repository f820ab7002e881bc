"""What scoring gives back: scores of cells and institutions, places in a ranking; frozen and pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from kangshu.declarations import Dimension
from kangshu.quality.coverage import CoverageState
from kangshu.quality.model import Cell


@dataclass(frozen=True, kw_only=True)
class CellScore:
    """The score (评分) of one data set of one institution in one month, 0 to 100 with two decimals, cut off.

    `by_dimension` has the dimensions that the data set is judged by. `expected` says that it should have come
    by now, or came early; what should and did not has no rows and no points. `weight` is the data
    set's in the institution's total.
    """

    cell: Cell
    total: float
    by_dimension: Mapping[Dimension, float] = field(default_factory=dict[Dimension, float])
    rows: int = 0
    rejected: int = 0
    expected: bool = False
    expected_rows: float | None = None
    state: CoverageState | None = None
    weight: float = 1.0

    @property
    def arrived(self) -> bool:
        """Whether anything came."""
        return self.rows > 0


@dataclass(frozen=True, kw_only=True)
class InstitutionScore:
    """The score of one institution in one month.

    `by_dimension` is over what arrived; what did not counts in `total` alone, as nothing. `expected` data
    sets should have come, `arrived` of them did. `rows` came, `rejected` of them were refused. `cells` are
    there where the score was computed, not where it was looked up.
    """

    institution: str
    month: date
    total: float
    by_dimension: Mapping[Dimension, float]
    expected: int
    arrived: int
    rows: int
    rejected: int
    cells: tuple[CellScore, ...] = ()

    @property
    def coverage(self) -> float | None:
        """The share of the expected data sets that arrived; None where none was expected."""
        return self.arrived / self.expected if self.expected else None


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A place in a ranking (名次): equal scores share it, and the next one is as many places lower.

    `change` is in points and `climbed` in places against the month before among the same institutions; None
    for one that had no score then.
    """

    place: int
    tied: bool
    score: InstitutionScore
    change: float | None = None
    climbed: int | None = None

    @property
    def institution(self) -> str:
        """Whose place it is."""
        return self.score.institution

    @property
    def total(self) -> float:
        """Its score."""
        return self.score.total

    @property
    def coverage(self) -> float | None:
        """The share of the expected data sets that arrived."""
        return self.score.coverage
