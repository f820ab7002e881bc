"""Which grade applies to a cell and why, by when to mend it, when the next higher body is told; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from kangshu.declarations import Grade, Severity
from kangshu.intake import ZONE
from kangshu.quality.rectifying.model import Cause, Judgement, Standing, Task
from kangshu.quality.rectifying.policy import ESCALATIONS_MOST


def local_day(now: datetime) -> date:
    """Return the day it is by the region's wall clock: deadlines are days there."""
    return now.astimezone(ZoneInfo(ZONE)).date()


def judge(*, standing: Standing, grades: Sequence[Grade], today: date) -> Judgement | None:
    """Return the most serious grade that applies, with all its causes; None where none does.

    A share is that of one finding of errors in the rows of the cell; warnings count in the score only.
    """
    for rank, grade in enumerate(grades):
        causes = tuple(_causes(standing, grade, today))
        if causes:
            return Judgement(
                grade=grade.name,
                rank=rank,
                causes=causes,
                days=grade.days,
                escalate_days=grade.escalate_days,
            )
    return None


def _causes(standing: Standing, grade: Grade, today: date) -> list[Cause]:
    figures = standing.figures
    causes: list[Cause] = []
    if grade.score_below is not None and figures.score is not None and figures.score < grade.score_below:
        causes.append(Cause.SCORE)
    if grade.share_at_least is not None and figures.rows:
        most = max((one.rows for one in standing.findings if one.severity is Severity.ERROR), default=0)
        if most and most >= grade.share_at_least * figures.rows:
            causes.append(Cause.SHARE)
    since = standing.missing_since
    if grade.missing_days is not None and since is not None:
        late = (today - since).days >= grade.missing_days
        causes += [Cause.MISSING] if late else []
    return causes


def rank_of(*, grade: str, grades: Sequence[Grade]) -> int:
    """Return how serious a grade is, 0 the most; one that is declared no longer comes after all."""
    return next((rank for rank, one in enumerate(grades) if one.name == grade), len(grades))


def deadline_of(*, judgement: Judgement, today: date) -> date:
    """Return the last day for a task opened today."""
    return today + timedelta(days=judgement.days)


def raised_deadline(*, task: Task, judgement: Judgement, today: date) -> date:
    """Return the last day for a task that got worse: never later than it was."""
    return min(task.deadline, deadline_of(judgement=judgement, today=today))


def escalation_due(*, task: Task, today: date) -> bool:
    """Return whether the next higher body is to be told (again one higher) of a task that is not mended.

    That is so `escalate_days` after the deadline, and as long again after each telling.
    """
    if not task.is_open or task.escalations >= ESCALATIONS_MOST:
        return False
    return today >= task.deadline + timedelta(days=task.escalate_days * (task.escalations + 1))
