"""Findings, cells and their tallies: what scores, rankings and warnings are made of; frozen and pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from kangshu.declarations import Dataset, Dimension, Rule, Severity

FIELD_DIMENSIONS: Mapping[str, Dimension] = {"required": Dimension.COMPLETENESS}
"""Dimensions of the checks of single fields; those that are not named here measure validity."""


class Origin(StrEnum):
    """Who looked: the check on arrival, which an institution can run at home, or the rules over the lake."""

    ARRIVAL = "arrival"
    REGION = "region"


@dataclass(frozen=True, kw_only=True, order=True)
class Cell:
    """One data set of one institution in one month (its first day): what a score is about."""

    month: date
    dataset: str
    institution: str


@dataclass(frozen=True, kw_only=True)
class FindingCount:
    """How many rows of a file's cell one check found; `sole` of them broke nothing else of the dimension."""

    cell: Cell
    file: int
    rule: str
    field: str
    origin: Origin
    severity: Severity
    dimension: Dimension
    rows: int
    sole: int


@dataclass(frozen=True, kw_only=True)
class DimensionTally:
    """Rows in which checks of a dimension found errors, and rows in which they found warnings only."""

    errors: int = 0
    warnings: int = 0


@dataclass(frozen=True, kw_only=True)
class CellTally:
    """What a cell holds: rows = accepted + `rejected`, and the rows that each dimension's checks found.

    `whole` counts rows with any finding. `files` are those that stand, `last_arrival` is when the latest of
    them came.
    """

    cell: Cell
    rows: int
    rejected: int
    files: int
    last_arrival: datetime
    whole: DimensionTally = field(default_factory=DimensionTally)
    by_dimension: Mapping[Dimension, DimensionTally] = field(default_factory=dict[Dimension, DimensionTally])

    @property
    def accepted(self) -> int:
        """Rows that passed."""
        return self.rows - self.rejected


def dimension_of(*, dataset: Dataset, rule: str) -> Dimension:
    """Return the dimension that a check measures: the declared rule's, or that of a check of one field."""
    declared = find_rule(dataset=dataset, rule=rule)
    return declared.dimension if declared else FIELD_DIMENSIONS.get(rule, Dimension.VALIDITY)


def find_rule(*, dataset: Dataset, rule: str) -> Rule | None:
    """Return the declared rule with the id `rule`; None for the checks of single fields."""
    return next((declared for declared in dataset.rules if declared.id == rule), None)
