"""A small data set with rules, findings and cells for tests of scores. Nothing in it is about anybody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

import numpy as np

from kangshu.declarations import (
    Band,
    Dataset,
    Dimension,
    Field,
    FieldType,
    Obligation,
    Pack,
    QualitySettings,
    Rule,
    Scope,
    ScoreSettings,
    Scoring,
    Severity,
)
from kangshu.intake import Examined, Finding, Share
from kangshu.kernel.texts import Text
from kangshu.quality.coverage import Coverage, CoverageState
from kangshu.quality.model import Cell, CellTally, DimensionTally
from kangshu.quality.plausibility import CellFinding
from kangshu.quality.weighing import weigh

MARCH = date(2026, 3, 1)
HOSPITAL = "99000101599010211A1001"
NOON = datetime(2026, 4, 5, 4, tzinfo=UTC)


def text(words: str) -> Text:
    return Text(zh=words, en=words)


def rule(
    name: str,
    dimension: Dimension,
    *,
    severity: Severity = Severity.ERROR,
    scope: Scope = Scope.ROW,
    fields: tuple[str, ...] = (),
) -> Rule:
    return Rule(
        id=name,
        severity=severity,
        dimension=dimension,
        scope=scope,
        fields=fields,
        message=text(f"mend {name}"),
        sql="true",
    )


RULES = (
    rule("C1", Dimension.COMPLETENESS, fields=("name",)),
    rule("C2", Dimension.COMPLETENESS, severity=Severity.WARNING, fields=("day",)),
    rule("K1", Dimension.CONSISTENCY, fields=("day", "name")),
    rule("K2", Dimension.CONSISTENCY, severity=Severity.WARNING),
    rule("L1", Dimension.LINKAGE, scope=Scope.REGION, severity=Severity.WARNING),
    rule("P1", Dimension.PLAUSIBILITY, scope=Scope.CELL, severity=Severity.WARNING),
    rule("P2", Dimension.PLAUSIBILITY, scope=Scope.CELL),
)

DATASET = Dataset(
    name="visit",
    title=text("就诊"),
    edition="1",
    source="made up",
    category="clinical",
    description=text(""),
    valid_from=date(2020, 1, 1),
    fields=(
        Field(
            name="name",
            title=Text(zh="姓名", en="Name"),
            type=FieldType.STRING,
            obligation=Obligation.REQUIRED,
        ),
        Field(
            name="day", title=Text(zh="日期", en="Day"), type=FieldType.DATE, obligation=Obligation.OPTIONAL
        ),
    ),
    rules=RULES,
    event_time="day",
)

SETTINGS = ScoreSettings(
    dimensions={
        "completeness": 30,
        "validity": 25,
        "consistency": 20,
        "linkage": 10,
        "timeliness": 10,
        "plausibility": 5,
    },
    datasets={"visit": 2},
    other_datasets=1,
    warning_weight=0.3,
    bands=(
        Band(name="good", title=text("良"), least=80),
        Band(name="excellent", title=text("优"), least=95),
    ),
)


def pack(*scorings: Scoring) -> Pack:
    return Pack(
        name="made-up",
        edition="1",
        title=text("made up"),
        datasets={DATASET.name: DATASET},
        quality=QualitySettings(score=SETTINGS, scorings=scorings),
    )


def cell(*, institution: str = HOSPITAL, month: date = MARCH, dataset: str = "visit") -> Cell:
    return Cell(month=month, dataset=dataset, institution=institution)


def arrival(
    *, state: CoverageState = CoverageState.ON_TIME, timeliness: float | None = 1.0, of: Cell | None = None
) -> Coverage:
    """Return what came of an expected cell."""
    return Coverage(
        cell=of or cell(),
        rows=0,
        expected_rows=None,
        basis=None,
        due=date(2026, 4, 10),
        first_arrival=None,
        last_arrival=None,
        state=state,
        timeliness=timeliness,
    )


def fault(name: str) -> CellFinding:
    """Return a finding of a rule about the cell as a whole."""
    declared = next(one for one in RULES if one.id == name)
    return CellFinding(
        cell=cell(), rule=name, severity=declared.severity, dimension=declared.dimension, figures={}
    )


def tally(
    *,
    rows: int,
    rejected: int = 0,
    dimensions: Mapping[Dimension, tuple[int, int]] | None = None,
    of: Cell | None = None,
) -> CellTally:
    """Return a tally; `dimensions` gives rows with errors and rows with warnings only."""
    return CellTally(
        cell=of or cell(),
        rows=rows,
        rejected=rejected,
        files=1,
        last_arrival=NOON,
        by_dimension={
            dimension: DimensionTally(errors=errors, warnings=warnings)
            for dimension, (errors, warnings) in (dimensions or {}).items()
        },
    )


def finding(
    name: str,
    rows: Iterable[int],
    *,
    field: str = "",
    severity: Severity | None = None,
    institution: str = HOSPITAL,
    month: date = MARCH,
) -> Finding:
    """Return a finding of a rule of the data set, or of a field's check."""
    declared = next((one for one in RULES if one.id == name), None)
    return Finding(
        rule=name,
        field=field or (declared.fields[0] if declared and declared.fields else ""),
        severity=severity or (declared.severity if declared else Severity.ERROR),
        institution=institution,
        month=month,
        rows=np.unique(np.array(list(rows), np.int64)),
    )


def examined(*findings: Finding, rows: int, institution: str = HOSPITAL, month: date = MARCH) -> Examined:
    """Return what was found in a file of one institution's month; who has an error is refused."""
    wrong = [one.rows for one in findings if one.severity is Severity.ERROR]
    rejected = len(np.unique(np.concatenate(wrong))) if wrong else 0
    share = Share(institution=institution, month=month, rows=rows, rejected=rejected)
    return Examined(shares=(share,), findings=findings, filled={})


def tally_of(findings: Iterable[Finding], *, rows: int) -> CellTally:
    """Return the tally that the core keeps of these findings."""
    found = list(findings)
    weighed = weigh(found, dataset=DATASET)
    return CellTally(
        cell=cell(),
        rows=rows,
        rejected=0,
        files=1,
        last_arrival=NOON,
        whole=weighed.whole,
        by_dimension=weighed.by_dimension,
    )
