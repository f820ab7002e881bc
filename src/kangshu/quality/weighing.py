"""From findings to figures: the rows that each dimension's checks found, and what stands alone; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kangshu.declarations import Dataset, Dimension, Severity
from kangshu.intake import Finding
from kangshu.quality.model import DimensionTally, dimension_of


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """The findings of one unit: `sole` says how many rows of each break nothing else of its dimension."""

    findings: tuple[Finding, ...]
    dimensions: tuple[Dimension, ...]
    sole: tuple[int, ...]
    whole: DimensionTally
    by_dimension: Mapping[Dimension, DimensionTally]


def weigh(findings: Sequence[Finding], *, dataset: Dataset) -> Weighed:
    """Return what the findings of one file, institution and month amount to.

    A row is counted once in each dimension, and once in all: as an error if any check calls it one.
    """
    dimensions = tuple(dimension_of(dataset=dataset, rule=finding.rule) for finding in findings)
    grouped: defaultdict[Dimension, list[int]] = defaultdict(list)
    for number, dimension in enumerate(dimensions):
        grouped[dimension].append(number)
    sole = [0] * len(findings)
    for members in grouped.values():
        for number, alone in zip(members, _sole([findings[one] for one in members]), strict=True):
            sole[number] = alone
    return Weighed(
        findings=tuple(findings),
        dimensions=dimensions,
        sole=tuple(sole),
        whole=_tally(findings),
        by_dimension={
            dimension: _tally([findings[one] for one in members])
            for dimension, members in sorted(grouped.items())
        },
    )


def _tally(findings: Sequence[Finding]) -> DimensionTally:
    errors = _union(finding for finding in findings if finding.severity is Severity.ERROR)
    either = _union(findings)
    return DimensionTally(errors=len(errors), warnings=len(either) - len(errors))


def _union(findings: Iterable[Finding]) -> np.ndarray:
    parts = [finding.rows for finding in findings]
    if not parts:
        return np.empty(0, np.int64)
    return parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))


def _sole(findings: Sequence[Finding]) -> list[int]:
    """Return for each finding the rows that no other one of these has."""
    if len(findings) == 1:
        return [len(findings[0].rows)]
    rows, counts = np.unique(np.concatenate([finding.rows for finding in findings]), return_counts=True)
    alone = rows[counts == 1]
    return [int(np.isin(finding.rows, alone, assume_unique=True).sum()) for finding in findings]
