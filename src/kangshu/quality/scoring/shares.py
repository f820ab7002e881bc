"""Shares of rows: declared quality indicators (质控指标) and aspects of the EMR data-quality index; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction

import numpy as np

from kangshu.declarations import Dataset, EmrItem, QualityIndicator, Scoring, Severity
from kangshu.intake import Finding, Share
from kangshu.quality.scoring.sheets import Rows, SheetCount, union

_SHARE_DIGITS = 6

Unit = tuple[str, date]
"""An institution and the first day of a month."""

_NO_ROWS: Rows = np.empty(0, np.int64)


class ShareKind(StrEnum):
    """What a share belongs to."""

    INDICATOR = "indicator"
    EMR = "emr"


class Aspect(StrEnum):
    """An aspect (方面) of an item of the EMR data-quality index."""

    CONSISTENCY = "consistency"  # 一致性
    REQUIRED = "required"  # 完整性, 必填项
    EXPECTED = "expected"  # 完整性, 应填项
    LINKAGE = "linkage"  # 整合性
    TIMELINESS = "timeliness"  # 及时性


class Combination(StrEnum):
    """How an item's coefficient is made of the shares of its aspects."""

    MEAN = "mean"
    PRODUCT = "product"


@dataclass(frozen=True, kw_only=True)
class ShareCount:
    """`good` of `total` rows of an institution and month; `aspect` is empty for an indicator."""

    kind: ShareKind
    name: str
    aspect: str
    institution: str
    month: date
    good: int
    total: int

    @property
    def share(self) -> float | None:
        """The share to six decimals, or None where there are no rows to speak of."""
        return float(round(Fraction(self.good, self.total), _SHARE_DIGITS)) if self.total else None


@dataclass(frozen=True, kw_only=True)
class IndicatorValue:
    """A declared indicator over a month: `good` out of `total` rows, or one figure against another.

    `share` is their quotient, None where there is nothing to divide by. `institution` is empty for all
    together.
    """

    indicator: QualityIndicator
    month: date
    institution: str
    good: float
    total: float

    @property
    def share(self) -> float | None:
        """The quotient to six decimals."""
        return round(self.good / self.total, _SHARE_DIGITS) if self.total else None


@dataclass(frozen=True, kw_only=True)
class EmrCoefficient:
    """The coefficient of one item: of the shares of its aspects; None where there are no rows."""

    item: str
    institution: str
    month: date
    rows: int
    aspects: Mapping[Aspect, float | None]
    coefficient: float | None


@dataclass(frozen=True, kw_only=True)
class AmongRows:
    """The accepted rows of a file's institution and month that an indicator is about, by number."""

    indicator: str
    unit: Unit
    rows: Rows


@dataclass(frozen=True, kw_only=True)
class AspectCount:
    """How many accepted rows of a file's institution and month meet an aspect, out of how many."""

    item: str
    aspect: Aspect
    unit: Unit
    good: int
    total: int


def count_indicators(
    *,
    indicators: Iterable[QualityIndicator],
    scorings: Iterable[Scoring],
    dataset: Dataset,
    shares: Sequence[Share],
    findings: Sequence[Finding],
    sheets: Iterable[SheetCount],
    among: Iterable[AmongRows] = (),
) -> list[ShareCount]:
    """Return the declared indicators over one file, for each institution and month that it holds.

    `sheets` are those of this file, `among` the rows that indicators with such a predicate are about. Those
    about a reconciliation's figures are none of a file's and are left out.
    """
    declared = frozenset(rule.id for rule in dataset.rules)
    by_unit: dict[Unit, list[Finding]] = {}
    for finding in findings:
        by_unit.setdefault((finding.institution, finding.month), []).append(finding)
    chosen = {(one.indicator, one.unit): one.rows for one in among}
    by_sheet = {(one.scoring, one.institution, one.month): one for one in sheets}
    scoring_of = {one.name: one for one in scorings}
    counts: list[ShareCount] = []
    for indicator in indicators:
        if indicator.dataset != dataset.name or indicator.reconciliation:
            continue
        for share in shares:
            unit = share.institution, share.month
            if indicator.scoring:
                sheet = by_sheet.get((indicator.scoring, *unit))
                scoring = scoring_of.get(indicator.scoring)
                reached = _reached(sheet, scoring, indicator.band) if sheet and scoring else 0
                good, total = reached, sheet.rows if sheet else share.rows
            else:
                wrong = _wrong_rows(indicator, by_unit.get(unit, ()), declared)
                about = chosen.get((indicator.id, unit), _NO_ROWS) if indicator.among else None
                total = share.rows if about is None else len(about)
                hit = len(wrong) if about is None else int(np.count_nonzero(np.isin(about, wrong)))
                good = max(total - hit, 0)
            counts.append(_count(ShareKind.INDICATOR, indicator.id, "", unit, good, total))
    return counts


def count_emr(
    *,
    items: Iterable[EmrItem],
    dataset: Dataset,
    shares: Sequence[Share],
    findings: Sequence[Finding],
    aspects: Iterable[AspectCount],
) -> list[ShareCount]:
    """Return the aspects of the EMR items over one file's accepted rows, linkage from its findings."""
    counts = [
        _count(ShareKind.EMR, one.item, one.aspect.value, one.unit, one.good, one.total) for one in aspects
    ]
    for item in items:
        if item.dataset != dataset.name or not item.linkage:
            continue
        for share in shares:
            unit = share.institution, share.month
            own = [finding for finding in findings if (finding.institution, finding.month) == unit]
            refused = union(
                one.rows for one in own if one.severity is Severity.ERROR and not _is_region(dataset, one)
            )
            unlinked = np.setdiff1d(
                union(one.rows for one in own if one.rule in item.linkage), refused, assume_unique=True
            )
            good = max(share.accepted - len(unlinked), 0)
            counts.append(_count(ShareKind.EMR, item.id, Aspect.LINKAGE.value, unit, good, share.accepted))
    return counts


def coefficients(
    counts: Iterable[ShareCount], *, combination: Combination = Combination.MEAN
) -> list[EmrCoefficient]:
    """Return for each item, institution and month the mean or the product of the shares of its aspects."""
    grouped: dict[tuple[date, str, str], list[ShareCount]] = {}
    for one in counts:
        grouped.setdefault((one.month, one.institution, one.name), []).append(one)
    return [
        EmrCoefficient(
            item=item,
            institution=institution,
            month=month,
            rows=max(part.total for part in parts),
            aspects={
                aspect: next(part.share for part in parts if part.aspect == aspect)
                for aspect in Aspect
                if any(part.aspect == aspect for part in parts)
            },
            coefficient=_combine(parts, combination),
        )
        for (month, institution, item), parts in sorted(grouped.items())
    ]


def add_shares(counts: Iterable[ShareCount]) -> list[ShareCount]:
    """Return the counts over all institutions: one for each month, name and aspect, of no institution."""
    sums: dict[tuple[ShareKind, date, str, str], tuple[int, int]] = {}
    for one in counts:
        key = one.kind, one.month, one.name, one.aspect
        good, total = sums.get(key, (0, 0))
        sums[key] = good + one.good, total + one.total
    return [
        _count(kind, name, aspect, ("", month), good, total)
        for (kind, month, name, aspect), (good, total) in sorted(sums.items())
    ]


def _wrong_rows(indicator: QualityIndicator, findings: Iterable[Finding], declared: Collection[str]) -> Rows:
    """Return the rows with a finding of the indicator's rules or fields, and those that could not be read."""
    return union(
        finding.rows
        for finding in findings
        if (
            finding.rule in indicator.rules
            if finding.rule in declared
            else finding.field in indicator.fields
            or (not finding.field and finding.severity is Severity.ERROR)
        )
    )


def _reached(sheet: SheetCount, scoring: Scoring, name: str) -> int:
    bands = sorted(scoring.bands, key=lambda band: -band.least)
    place = next((number for number, band in enumerate(bands) if band.name == name), None)
    return 0 if place is None else sum(sheet.bands[: place + 1])


def _is_region(dataset: Dataset, finding: Finding) -> bool:
    return any(rule.id == finding.rule and rule.scope == "region" for rule in dataset.rules)


def _combine(parts: Sequence[ShareCount], combination: Combination) -> float | None:
    known = [Fraction(part.good, part.total) for part in parts if part.total]
    if not known:
        return None
    value = Fraction(1)
    if combination is Combination.PRODUCT:
        for one in known:
            value *= one
    else:
        value = sum(known, Fraction(0)) / len(known)
    return float(round(value, _SHARE_DIGITS))


def _count(kind: ShareKind, name: str, aspect: str, unit: Unit, good: int, total: int) -> ShareCount:
    return ShareCount(
        kind=kind,
        name=name,
        aspect=aspect,
        institution=unit[0],
        month=unit[1],
        good=min(good, total),
        total=total,
    )
