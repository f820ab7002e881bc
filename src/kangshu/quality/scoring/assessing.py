"""The common report about a file: findings and scores, the same at home and on the platform; pure.

It is made of what the checks found in the file and of declarations, and of nothing else: no name, no time,
no place. So two reports about one file are equal byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

from kangshu.declarations import Dataset, Dimension, Pack, Scoring, Severity
from kangshu.intake import Examined, Finding, reason_text
from kangshu.kernel.texts import Text
from kangshu.quality.model import Cell, CellTally, find_rule
from kangshu.quality.scoring.formulas import HOME_SCOPES, CellScorer, rounded_points
from kangshu.quality.scoring.model import CellScore
from kangshu.quality.scoring.sheets import Rows, SheetCount, add_sheets, count_sheet, union
from kangshu.quality.weighing import weigh

_FIRST_ROWS = 10
_SHARE_DIGITS = 6
# A report about a file says nothing of when and where: these stand where the values ask for something.
_ANY_MONTH = date(1, 1, 1)
_NO_TIME = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class AssessedFinding:
    """One check's finding in a file: its rows, and what mending it is worth in points of the file's total."""

    rule: str
    field: str
    title: Text
    severity: Severity
    dimension: Dimension
    rows: int
    share: float
    message: Text
    first_rows: tuple[int, ...]
    points: float

    def document(self) -> dict[str, Any]:
        """Return the finding as plain values, in a fixed order."""
        return {
            "rule": self.rule,
            "field": self.field,
            "title": self.title.zh,
            "title_en": self.title.en,
            "severity": str(self.severity),
            "dimension": str(self.dimension),
            "rows": self.rows,
            "share": self.share,
            "message": self.message.zh,
            "message_en": self.message.en,
            "first_rows": list(self.first_rows),
            "points": self.points,
        }


@dataclass(frozen=True, kw_only=True)
class SheetResult:
    """What a scoring sheet says of the file: mean of points, and rows by band."""

    scoring: Scoring
    count: SheetCount

    def document(self) -> dict[str, Any]:
        """Return the result as plain values, in a fixed order."""
        bands = sorted(self.scoring.bands, key=lambda band: -band.least)
        names = [band.name for band in bands]
        if not bands or bands[-1].least > 0:
            names.append("below")
        return {
            "title": self.scoring.title.zh,
            "title_en": self.scoring.title.en,
            "mean": self.count.mean,
            "bands": dict(zip(names, self.count.bands, strict=False)),
        }


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What is said about one file: rows = accepted + `rejected`; what is worth most to mend comes first."""

    dataset: Dataset
    rows: int
    rejected: int
    score: CellScore
    findings: tuple[AssessedFinding, ...]
    sheets: tuple[SheetResult, ...]

    @property
    def accepted(self) -> int:
        """Rows that passed."""
        return self.rows - self.rejected

    def document(self) -> dict[str, Any]:
        """Return the report as plain values, in a fixed order and rounded in one way."""
        dimensions = self.score.by_dimension
        return {
            "dataset": self.dataset.name,
            "edition": self.dataset.edition,
            "rows": self.rows,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "scores": {
                "total": self.score.total,
                "dimensions": {str(one): dimensions[one] for one in Dimension if one in dimensions},
                "sheets": {sheet.scoring.name: sheet.document() for sheet in self.sheets},
            },
            "findings": [finding.document() for finding in self.findings],
        }


def assess_file(*, dataset: Dataset, pack: Pack, examined: Examined) -> Assessment:
    """Return the report about a file of `dataset`, from what the checks on arrival found in it.

    Findings of rules that look beyond the file are left out: at home nobody could make them.
    """
    rules = {rule.id for rule in dataset.rules if rule.scope not in HOME_SCOPES}
    findings = [finding for finding in examined.findings if finding.rule not in rules]
    weighed = weigh(_over_file(findings), dataset=dataset)
    scorer = CellScorer(settings=pack.quality.score, dataset=dataset, scopes=HOME_SCOPES)
    tally = CellTally(
        cell=Cell(month=_ANY_MONTH, dataset=dataset.name, institution=""),
        rows=examined.rows,
        rejected=examined.rejected,
        files=1,
        last_arrival=_NO_TIME,
        whole=weighed.whole,
        by_dimension=weighed.by_dimension,
    )
    assessed = [
        AssessedFinding(
            rule=finding.rule,
            field=finding.field,
            title=title_of(dataset=dataset, rule=finding.rule, field=finding.field),
            severity=finding.severity,
            dimension=dimension,
            rows=len(finding.rows),
            share=_share(len(finding.rows), examined.rows),
            message=message_of(dataset=dataset, rule=finding.rule, field=finding.field),
            first_rows=tuple(finding.rows[:_FIRST_ROWS].tolist()),
            points=rounded_points(
                scorer.points(dimension=dimension, severity=finding.severity, sole=sole, tally=tally)
            ),
        )
        for finding, dimension, sole in zip(weighed.findings, weighed.dimensions, weighed.sole, strict=True)
    ]
    assessed.sort(key=lambda one: (-one.points, -one.rows, one.rule, one.field))
    return Assessment(
        dataset=dataset,
        rows=examined.rows,
        rejected=examined.rejected,
        score=scorer.score(tally=tally),
        findings=tuple(assessed),
        sheets=_sheets(pack, dataset, examined, findings),
    )


def title_of(*, dataset: Dataset, rule: str, field: str) -> Text:
    """Return the titles of the fields that a check is about, or the rule's id where it names none."""
    declared = find_rule(dataset=dataset, rule=rule)
    names = declared.fields or declared.unique if declared else (field,)
    known = {one.name: one.title for one in dataset.fields}
    titles = [known[name] for name in names if name in known]
    if not titles:
        return message_of(dataset=dataset, rule=rule, field=field) if declared is None else _same(rule)
    return Text(zh="、".join(title.zh for title in titles), en=", ".join(title.en for title in titles))


def message_of(*, dataset: Dataset, rule: str, field: str) -> Text:
    """Return what a finding tells the sender to do."""
    known = not field or any(one.name == field for one in dataset.fields)
    if not known and find_rule(dataset=dataset, rule=rule) is None:
        return _same(rule)  # a field that an older edition had
    return reason_text(rule=rule, field=field, dataset=dataset)


def _over_file(findings: Iterable[Finding]) -> list[Finding]:
    """Return one finding for each check, institutions and months taken together."""
    parts: dict[tuple[str, str, Severity], list[Rows]] = {}
    for finding in findings:
        parts.setdefault((finding.rule, finding.field, finding.severity), []).append(finding.rows)
    return [
        Finding(
            rule=rule,
            field=field,
            severity=severity,
            institution="",
            month=_ANY_MONTH,
            rows=union(arrays),
        )
        for (rule, field, severity), arrays in sorted(parts.items(), key=lambda part: part[0])
    ]


def _sheets(
    pack: Pack, dataset: Dataset, examined: Examined, findings: Sequence[Finding]
) -> tuple[SheetResult, ...]:
    results: list[SheetResult] = []
    for scoring in pack.quality.scorings:
        if scoring.dataset != dataset.name:
            continue
        counts = count_sheet(scoring=scoring, dataset=dataset, shares=examined.shares, findings=findings)
        whole = add_sheets(_anywhere(count) for count in counts)
        results += [SheetResult(scoring=scoring, count=count) for count in whole]
    return tuple(results)


def _anywhere(count: SheetCount) -> SheetCount:
    return SheetCount(
        scoring=count.scoring,
        institution="",
        month=_ANY_MONTH,
        rows=count.rows,
        thousandths=count.thousandths,
        bands=count.bands,
        items=count.items,
    )


def _share(rows: int, of: int) -> float:
    return float(round(Fraction(rows, of), _SHARE_DIGITS)) if of else 0.0


def _same(text: str) -> Text:
    return Text(zh=text, en=text)
