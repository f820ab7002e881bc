"""The formulas of scores, in whole numbers: who computes them again gets the very same figure; pure.

README.md states them with an example worked by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import lcm

from kangshu.declarations import (
    Band,
    Dataset,
    Dimension,
    Obligation,
    Scope,
    ScoreSettings,
    Severity,
)
from kangshu.quality.coverage import Coverage, CoverageState
from kangshu.quality.model import CellTally, DimensionTally, FindingCount
from kangshu.quality.plausibility import CellFinding
from kangshu.quality.scoring.model import CellScore, InstitutionScore

ALL_SCOPES = frozenset(Scope)
HOME_SCOPES = frozenset({Scope.ROW, Scope.FILE})
"""What can be judged from one file alone, at home as on the platform."""

_HUNDREDTHS = 100 * 100
_NOTHING = DimensionTally()
_POINT_DIGITS = 4


@lru_cache(maxsize=4096)
def exact(number: float) -> Fraction:
    """Return the decimal number that a declaration means: 0.3 is three tenths."""
    return Fraction(str(number))


class CellScorer:
    """Scores cells of one data set; what the settings say is worked out once.

    Judged are the dimensions that the data set has rules of `scopes` for, and those of its fields' checks.
    """

    def __init__(
        self, *, settings: ScoreSettings, dataset: Dataset, scopes: Iterable[Scope] = ALL_SCOPES
    ) -> None:
        judged = frozenset(scopes)
        rules = [rule for rule in dataset.rules if rule.scope in judged]
        self.dimensions = _dimensions(dataset, {rule.dimension for rule in rules})
        self._cell_rules = Counter(rule.dimension for rule in rules if rule.scope is Scope.CELL)
        self._timely = tuple(
            one for one in Dimension if one in self.dimensions or one is Dimension.TIMELINESS
        )
        self._weights = {dims: _whole_weights(settings, dims) for dims in (self.dimensions, self._timely)}
        warning = exact(settings.warning_weight)
        self._warning, self._unit = warning.numerator, warning.denominator
        self.dataset_weight = weight_of(settings=settings, dataset=dataset.name)

    def score(
        self,
        *,
        tally: CellTally,
        cell_findings: Iterable[CellFinding] = (),
        coverage: Coverage | None = None,
    ) -> CellScore:
        """Return the cell's score."""
        rates = self._rates(tally, cell_findings, coverage)
        numerator, denominator = self._mean(rates)
        return CellScore(
            cell=tally.cell,
            total=_hundredths(numerator, denominator),
            by_dimension={dimension: _hundredths(*rate) for dimension, rate in rates.items()},
            rows=tally.rows,
            rejected=tally.rejected,
            expected=coverage is not None,
            expected_rows=coverage.expected_rows if coverage else None,
            state=coverage.state if coverage else None,
            weight=self.dataset_weight,
        )

    def share(
        self,
        *,
        tally: CellTally,
        cell_findings: Iterable[CellFinding] = (),
        coverage: Coverage | None = None,
    ) -> Fraction:
        """Return the cell's exact total between 0 and 1, before it is cut to two decimals."""
        return Fraction(*self._mean(self._rates(tally, cell_findings, coverage)))

    def points(
        self,
        *,
        dimension: Dimension,
        severity: Severity,
        sole: int,
        tally: CellTally,
        cell_findings: Iterable[CellFinding] = (),
        coverage: Coverage | None = None,
    ) -> Fraction:
        """Return by how many points the total rises if `sole` rows get right in `dimension`."""
        weights = self._weights[self._judged(coverage)]
        if not tally.rows or dimension not in weights or _is_measured(dimension, coverage):
            return Fraction(0)
        weight = Fraction(weights[dimension], sum(weights.values()))
        each = Fraction(1) if severity is Severity.ERROR else Fraction(self._warning, self._unit)
        return 100 * weight * each * Fraction(sole, tally.rows) * self._whole(dimension, cell_findings)

    def cell_points(
        self,
        *,
        finding: CellFinding,
        tally: CellTally,
        cell_findings: Iterable[CellFinding],
        coverage: Coverage | None = None,
    ) -> Fraction:
        """Return by how many points the total rises if one finding about the cell as a whole goes away."""
        findings = list(cell_findings)
        left = [one for one in findings if one.rule != finding.rule]
        after = self.share(tally=tally, cell_findings=left, coverage=coverage)
        return 100 * (after - self.share(tally=tally, cell_findings=findings, coverage=coverage))

    def _rates(
        self, tally: CellTally, cell_findings: Iterable[CellFinding], coverage: Coverage | None
    ) -> dict[Dimension, tuple[int, int]]:
        """Return each dimension's rate as numerator and denominator."""
        found = list(cell_findings)
        rates: dict[Dimension, tuple[int, int]] = {}
        base = self._unit * tally.rows
        for dimension in self._judged(coverage):
            if _is_measured(dimension, coverage):
                assert coverage is not None, "measured by it"
                measured = min(max(exact(coverage.timeliness or 0), Fraction(0)), Fraction(1))
                rates[dimension] = (measured.numerator, measured.denominator) if tally.rows else (0, 1)
            elif not base:
                rates[dimension] = (0, 1)
            else:
                counts = tally.by_dimension.get(dimension, _NOTHING)
                good = max(base - self._unit * counts.errors - self._warning * counts.warnings, 0)
                whole = self._whole(dimension, found) if found else None
                if whole is None or whole == 1:
                    rates[dimension] = (good, base)
                else:
                    rates[dimension] = (good * whole.numerator, base * whole.denominator)
        return rates

    def _mean(self, rates: Mapping[Dimension, tuple[int, int]]) -> tuple[int, int]:
        # Most dimensions share one denominator, so that few products are needed.
        weights = self._weights[tuple(rates)]
        sums: dict[int, int] = {}
        for dimension, (numerator, denominator) in rates.items():
            sums[denominator] = sums.get(denominator, 0) + numerator * weights[dimension]
        total, common = 0, 1
        for denominator, numerator in sums.items():
            total, common = total * denominator + numerator * common, common * denominator
        return total, common * (sum(weights.values()) or 1)

    def _judged(self, coverage: Coverage | None) -> tuple[Dimension, ...]:
        return self._timely if _is_measured(Dimension.TIMELINESS, coverage) else self.dimensions

    def _whole(self, dimension: Dimension, findings: Iterable[CellFinding]) -> Fraction:
        """Return the share of the rules about the cell as a whole that hold in this dimension."""
        rules = self._cell_rules.get(dimension, 0)
        if not rules:
            return Fraction(1)
        broken = {one.rule: one.severity for one in findings if one.dimension is dimension}
        errors = sum(severity is Severity.ERROR for severity in broken.values())
        lost = self._unit * errors + self._warning * (len(broken) - errors)
        return max(Fraction(self._unit * rules - lost, self._unit * rules), Fraction(0))


def score_cell(
    *,
    settings: ScoreSettings,
    dataset: Dataset,
    tally: CellTally,
    cell_findings: Iterable[CellFinding] = (),
    coverage: Coverage | None = None,
) -> CellScore:
    """Return the score of one cell; for many cells keep a `CellScorer` for each data set."""
    scorer = CellScorer(settings=settings, dataset=dataset)
    return scorer.score(tally=tally, cell_findings=cell_findings, coverage=coverage)


def score_missing(*, settings: ScoreSettings, coverage: Coverage) -> CellScore:
    """Return the score of a cell that did not arrive: nothing, if it should have come by now."""
    return CellScore(
        cell=coverage.cell,
        total=0.0,
        expected=coverage.state is not CoverageState.NOT_DUE,
        expected_rows=coverage.expected_rows,
        state=coverage.state,
        weight=weight_of(settings=settings, dataset=coverage.cell.dataset),
    )


def points_of(
    finding: FindingCount,
    tally: CellTally,
    *,
    settings: ScoreSettings,
    dataset: Dataset,
    cell_findings: Iterable[CellFinding] = (),
    coverage: Coverage | None = None,
) -> float:
    """Return what mending this one finding is worth in points of its cell's total, to four decimals.

    It counts the rows in which nothing else of the dimension is wrong; so it is never more than what
    mending brings, and less where a warning lies hidden under the error.
    """
    scorer = CellScorer(settings=settings, dataset=dataset)
    return rounded_points(
        scorer.points(
            dimension=finding.dimension,
            severity=finding.severity,
            sole=finding.sole,
            tally=tally,
            cell_findings=cell_findings,
            coverage=coverage,
        )
    )


def rounded_points(points: Fraction) -> float:
    """Return points to four decimals."""
    return float(round(points, _POINT_DIGITS))


def weight_of(*, settings: ScoreSettings, dataset: str) -> float:
    """Return what a data set weighs in an institution's total."""
    return settings.datasets.get(dataset, settings.other_datasets)


def score_institution(cells: Sequence[CellScore]) -> InstitutionScore | None:
    """Return the score of one institution's month from all its cells; None where there is nothing to judge.

    The total is the weighted mean over the data sets expected of it, what did not arrive being 0; over
    those that it sent where nothing is expected of it.
    """
    expected = [cell for cell in cells if cell.expected]
    counted = expected or [cell for cell in cells if cell.arrived]
    if not counted:
        return None
    arrived = [cell for cell in counted if cell.arrived]
    first = counted[0].cell
    dimensions = [one for one in Dimension if any(one in cell.by_dimension for cell in arrived)]
    return InstitutionScore(
        institution=first.institution,
        month=first.month,
        total=_weighted_mean([(cell.total, cell.weight) for cell in counted]),
        by_dimension={
            dimension: _weighted_mean(
                [
                    (cell.by_dimension[dimension], cell.weight)
                    for cell in arrived
                    if dimension in cell.by_dimension
                ]
            )
            for dimension in dimensions
        },
        expected=len(expected),
        arrived=len([cell for cell in expected if cell.arrived]),
        rows=sum(cell.rows for cell in cells),
        rejected=sum(cell.rejected for cell in cells),
        cells=tuple(sorted(cells, key=lambda cell: cell.cell)),
    )


def band_of(total: float, *, bands: Iterable[Band]) -> Band | None:
    """Return the best band that `total` reaches, if any."""
    reached = [band for band in bands if total >= band.least]
    return max(reached, key=lambda band: band.least, default=None)


def _weighted_mean(parts: Sequence[tuple[float, float]]) -> float:
    """Return the mean of published scores by weight, cut to two decimals; equal weights where all are 0."""
    # Scores have two decimals, so they are whole hundredths.
    values = [round(value * 100) for value, _ in parts]
    weights = [exact(weight) for _, weight in parts]
    common = lcm(*(weight.denominator for weight in weights))
    whole = [int(weight * common) for weight in weights]
    if not sum(whole):
        whole = [1] * len(parts)
    weighted = sum(value * weight for value, weight in zip(values, whole, strict=True))
    return weighted // sum(whole) / 100


def _dimensions(dataset: Dataset, ruled: set[Dimension]) -> tuple[Dimension, ...]:
    judged = set(ruled)
    if dataset.fields:
        judged.add(Dimension.VALIDITY)
    if any(field.obligation is Obligation.REQUIRED for field in dataset.fields):
        judged.add(Dimension.COMPLETENESS)
    return tuple(dimension for dimension in Dimension if dimension in judged)


def _whole_weights(settings: ScoreSettings, dimensions: Sequence[Dimension]) -> dict[Dimension, int]:
    """Return the dimensions' weights as whole numbers; where none of them has one they weigh the same."""
    weights = {one: exact(settings.dimensions.get(one, 0)) for one in dimensions}
    common = lcm(*(weight.denominator for weight in weights.values()))
    if not any(weights.values()):
        return dict.fromkeys(dimensions, 1)
    return {one: int(weight * common) for one, weight in weights.items()}


def _is_measured(dimension: Dimension, coverage: Coverage | None) -> bool:
    return dimension is Dimension.TIMELINESS and coverage is not None and coverage.timeliness is not None


def _hundredths(numerator: int, denominator: int) -> float:
    return numerator * _HUNDREDTHS // denominator / 100
