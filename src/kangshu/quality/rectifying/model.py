"""Tasks to mend data (整改任务): their states and steps, and what they are about; frozen and pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from kangshu.declarations import Severity
from kangshu.quality.model import Cell


class TaskState(StrEnum):
    """How far a task is."""

    ISSUED = "issued"
    ACKNOWLEDGED = "acknowledged"  # the institution has read it
    RESENT = "resent"  # the institution has sent anew, or says so
    RECHECKED = "rechecked"  # looked at again: the cause is still there
    RETURNED = "returned"  # the centre gave it back with a reason
    ESCALATED = "escalated"  # not mended in time: the next higher body was told
    CLOSED = "closed"


class Act(StrEnum):
    """A step of a task."""

    OPEN = "open"
    ACKNOWLEDGE = "acknowledge"
    SUBMIT = "submit"
    RECHECK = "recheck"
    RAISE = "raise"  # it got worse: the grade is a more serious one now
    RETURN = "return"
    ESCALATE = "escalate"
    CLOSE = "close"


class Cause(StrEnum):
    """Why a grade applies."""

    SCORE = "score"
    SHARE = "share"
    MISSING = "missing"


class Way(StrEnum):
    """How somebody is told outside the console."""

    MAIL = "mail"
    HOOK = "hook"


class Closing(StrEnum):
    """How a task came to its end: the cause has gone, or the centre accepted what is."""

    CURED = "cured"
    ACCEPTED = "accepted"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a cell is like: `wrong` rows have errors; `score` is None where nothing has arrived."""

    score: float | None
    rows: int
    rejected: int
    wrong: int

    def document(self) -> dict[str, Any]:
        """Return the figures for an event's detail."""
        score = None if self.score is None else round(self.score, 4)
        return {"score": score, "rows": self.rows, "rejected": self.rejected, "wrong": self.wrong}


@dataclass(frozen=True, kw_only=True)
class StandingFinding:
    """One check's finding in a cell over all its files; `points` is what mending it is worth."""

    rule: str
    field: str
    severity: Severity
    rows: int
    points: float


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a cell stands now. `missing_since` is the day it was due, where nothing has arrived by now."""

    cell: Cell
    figures: Figures
    findings: tuple[StandingFinding, ...] = ()
    missing_since: date | None = None
    last_arrival: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The grade that applies to a cell, the causes of it, and how serious it is (0 is the most serious)."""

    grade: str
    rank: int
    causes: tuple[Cause, ...]
    days: int
    escalate_days: int


@dataclass(frozen=True, kw_only=True)
class TaskFinding:
    """A finding that a task is about, with its rows and points when the task was opened and now."""

    rule: str
    field: str
    severity: Severity
    rows_before: int
    points_before: float
    rows_now: int
    points_now: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of an institution to mend a data set of a month.

    `deadline` is the last day for it. `version` is the number of the task's last step: who acts on a task
    tells which one was seen, and is refused where somebody else acted meanwhile.
    """

    id: int
    cell: Cell
    grade: str
    causes: tuple[Cause, ...]
    state: TaskState
    version: int
    deadline: date
    escalate_days: int
    returns: int
    escalations: int
    opened_at: datetime
    acknowledged_at: datetime | None
    resent_at: datetime | None
    rechecked_at: datetime | None
    closed_at: datetime | None
    closed_as: Closing | None
    before: Figures
    now: Figures
    last_arrival: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether something is still to be done."""
        return self.state is not TaskState.CLOSED

    def is_overdue(self, today: date) -> bool:
        """Whether the last day has passed and the task is not closed."""
        return self.is_open and today > self.deadline


@dataclass(frozen=True, kw_only=True)
class TaskEvent:
    """One step that a task went through."""

    task: int
    number: int
    act: Act
    state: TaskState
    at: datetime
    actor: str
    actor_name: str
    note: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """What a review or a re-check did: the tasks it opened, raised, looked at again and closed."""

    opened: tuple[Task, ...] = ()
    raised: tuple[Task, ...] = ()
    rechecked: tuple[Task, ...] = ()
    closed: tuple[Task, ...] = ()

    @property
    def changed(self) -> int:
        """How many tasks went through a step."""
        return len(
            {task.id for tasks in (self.opened, self.raised, self.rechecked, self.closed) for task in tasks}
        )


@dataclass(frozen=True, kw_only=True)
class LoopFigures:
    """How tasks went (整改情况), of one institution or, with `institution` None, of all.

    `cleared` are those closed by the end of the calendar month in which they were opened (月清). Medians are
    hours since the opening, of the tasks that got so far.
    """

    institution: str | None
    tasks: int
    closed: int
    cured: int
    cleared: int
    open: int
    overdue: int
    escalated: int
    returned: int
    acknowledge_hours: float | None
    resend_hours: float | None
    close_hours: float | None

    @property
    def cleared_rate(self) -> float | None:
        """The share of tasks cleared within the month (月清率), 0 to 1; None where there were none."""
        return self.cleared / self.tasks if self.tasks else None


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something an institution (or a division's body) is told about a task's step, and how it went out."""

    id: int
    code: str
    task: int
    event: int
    topic: str
    at: datetime
    read_at: datetime | None
    mailed_at: datetime | None
    posted_at: datetime | None
