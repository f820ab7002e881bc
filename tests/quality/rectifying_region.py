"""Standings, grades and people for the tests of tasks; no institution in it exists (divisions 99xxxx)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from kangshu.declarations import Grade, Severity
from kangshu.kernel.texts import Text
from kangshu.quality import Cell
from kangshu.quality.rectifying import Figures, Standing, StandingFinding
from kangshu.security.principals import Principal, PrincipalKind, Reach, Role

HOSPITAL = "99010100000000010A1000"
OTHER = "99020100000000030A1000"
MONTH = date(2026, 3, 1)
NOW = datetime(2026, 4, 11, 2, 0, tzinfo=UTC)  # 10:00 on a Saturday in the region
SENT = datetime(2026, 4, 9, 2, 0, tzinfo=UTC)

GRADES = (
    Grade(
        name="red", title=Text(zh="红色", en="red"), score_below=60, missing_days=20, days=5, escalate_days=3
    ),
    Grade(name="orange", title=Text(zh="橙色", en="orange"), score_below=75, share_at_least=0.3, days=10),
    Grade(name="yellow", title=Text(zh="黄色", en="yellow"), score_below=90, missing_days=1, days=15),
)


def person(name: str, role: Role, reach: Reach) -> Principal:
    """Return a member of the staff who was let in."""
    return Principal(
        id=f"staff:{name}",
        name=name,
        kind=PrincipalKind.STAFF,
        roles=frozenset({role}),
        reaches=(reach,),
    )


CENTRE = person("centre", Role.CENTRE_STAFF, Reach.region())
CITY = person("city", Role.CENTRE_STAFF, Reach.division("990200"))
SENDER = person("hospital", Role.INSTITUTION_IT, Reach.institution(HOSPITAL))
STRANGER = person("stranger", Role.INSTITUTION_IT, Reach.institution(OTHER))
STATISTICIAN = person("statistics", Role.STATISTICIAN, Reach.region())


def cell(*, institution: str = HOSPITAL, dataset: str = "front_page", month: date = MONTH) -> Cell:
    """Return a cell."""
    return Cell(month=month, dataset=dataset, institution=institution)


def finding(rule: str = "FP001", rows: int = 10, **more: Any) -> StandingFinding:
    """Return a finding that is worth a tenth of a point a row."""
    values = {"field": "", "severity": Severity.ERROR, "points": rows / 10}
    return StandingFinding(rule=rule, rows=rows, **{**values, **more})


def standing(
    score: float | None = 70.0,
    *,
    rows: int = 100,
    findings: tuple[StandingFinding, ...] = (),
    sent: datetime | None = SENT,
    due: date | None = None,
    **where: Any,
) -> Standing:
    """Return how a cell stands."""
    wrong = max((one.rows for one in findings), default=0)
    return Standing(
        cell=cell(**where),
        figures=Figures(score=score, rows=rows, rejected=wrong, wrong=wrong),
        findings=findings,
        missing_since=due,
        last_arrival=sent if rows else None,
    )


def missing(due: date = date(2026, 4, 10), **where: Any) -> Standing:
    """Return a cell of which nothing came."""
    return standing(None, rows=0, due=due, **where)
