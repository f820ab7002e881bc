"""What becomes of an open task when its cell is looked at again; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from kangshu.declarations import Grade
from kangshu.quality.rectifying.judging import raised_deadline, rank_of
from kangshu.quality.rectifying.model import Act, Cause, Closing, Judgement, Standing, Task, TaskState
from kangshu.quality.rectifying.stepping import Step, take


@dataclass(frozen=True, kw_only=True)
class Response:
    """A task with the figures of now, and the steps that led there; without steps only figures are new."""

    task: Task
    steps: tuple[Step, ...] = ()

    def did(self, act: Act) -> bool:
        """Return whether a step of this kind was taken."""
        return any(step.event.act is act for step in self.steps)


def respond(
    *,
    task: Task,
    standing: Standing,
    judgement: Judgement | None,
    grades: Sequence[Grade],
    today: date,
    now: datetime,
) -> Response:
    """Return what becomes of the task.

    No grade applies any more: it is closed as cured. A more serious one applies: it is raised. The
    institution sent anew, or said so, and the cause is still there: it is re-checked. Else the figures
    alone are renewed. A file that came after the figures were taken stands for the word that it was sent.
    """
    sent_anew = _is_later(standing.last_arrival, task.last_arrival)
    detail = {"before": task.before.document(), "after": standing.figures.document()}
    steps: list[Step] = []
    current = replace(task, now=standing.figures, last_arrival=standing.last_arrival or task.last_arrival)

    def go(act: Act, told: dict[str, Any], closing: Closing | None = None, **changes: Any) -> None:
        nonlocal current
        step = take(task=current, act=act, at=now, detail=told, closing=closing, **changes)
        steps.append(step)
        current = step.task

    if sent_anew and current.state is not TaskState.RESENT:
        go(Act.SUBMIT, {"by": "file"})
    if judgement is None and _is_cure(task, standing):
        go(Act.CLOSE, {**detail, "as": Closing.CURED.value}, Closing.CURED)
        return Response(task=current, steps=tuple(steps))
    if current.state is TaskState.RESENT:
        go(Act.RECHECK, {**detail, "new_file": sent_anew})
    if judgement is not None:
        if judgement.rank < rank_of(grade=task.grade, grades=grades):
            go(
                Act.RAISE,
                {**detail, "from": task.grade, "to": judgement.grade},
                grade=judgement.grade,
                causes=judgement.causes,
                deadline=raised_deadline(task=task, judgement=judgement, today=today),
                escalate_days=judgement.escalate_days,
            )
        else:
            current = replace(current, causes=judgement.causes)
    return Response(task=current, steps=tuple(steps))


def _is_cure(task: Task, standing: Standing) -> bool:
    """Rows that are gone are no cure, but for a task about missing ones that need not come any more."""
    return standing.figures.rows > 0 or (Cause.MISSING in task.causes and standing.missing_since is None)


def _is_later(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one > other)
