"""What an institution must mend first: findings in words, with rows, points, deadline and the way there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from kangshu.console.errors import say
from kangshu.console.paging import address
from kangshu.console.visits import Visit
from kangshu.declarations import Dataset, Severity
from kangshu.quality import Cell, find_rule
from kangshu.quality.rectifying import (
    NEEDED_FOR,
    Act,
    Standing,
    StandingFinding,
    Task,
    cause_title,
    grade_title,
    may_take,
    state_title,
)
from kangshu.quality.scoring import InstitutionScore, message_of, title_of
from kangshu.security.principals import Permission

HOME = "/console/quality/institution"
TASKS = "/console/quality/tasks"
_ANSWERS = frozenset({Act.ACKNOWLEDGE, Act.SUBMIT})
"""What an institution does with a task that it was given."""
_TONES = ("bad", "orange", "warn")  # red, orange, yellow


@dataclass(frozen=True, kw_only=True)
class Fix:
    """One thing to mend. `points` are of the institution's total; `share` is that of the cell's rows."""

    cell: Cell
    dataset_title: str
    rule: str
    field: str
    label: str
    title: str
    message: str
    severity: Severity
    rows: int
    cell_rows: int
    points: float
    href: str
    task: Task | None
    missing: bool = False
    about_cell: bool = False


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """A task in the visitor's words, with what the visitor may do."""

    task: Task
    institution_name: str
    dataset_title: str
    grade: str
    tone: str
    state: str
    causes: str
    days_left: int
    overdue: bool
    may: frozenset[str]

    @property
    def href(self) -> str:
        """The task's page."""
        return f"{TASKS}/{self.task.id}"


def list_fixes(
    visit: Visit, *, standings: Sequence[Standing], score: InstitutionScore | None, tasks: Sequence[Task]
) -> list[Fix]:
    """Return what is to be mended in a month, what is worth most first; missing data sets among it."""
    shares = weight_shares(score)
    by_cell = {task.cell: task for task in tasks if task.is_open}
    fixes: list[Fix] = []
    for standing in standings:
        share = shares.get(standing.cell, 0.0)
        if standing.missing_since is not None:
            fixes.append(_missing(visit, standing, share, by_cell.get(standing.cell)))
        fixes += [_fix(visit, standing, one, share, by_cell.get(standing.cell)) for one in standing.findings]
    return sorted(fixes, key=lambda one: (-one.points, -one.rows, one.cell.dataset, one.rule, one.field))


def weight_shares(score: InstitutionScore | None) -> Mapping[Cell, float]:
    """Return what part of the institution's total each cell makes; the parts are 1 together."""
    cells = score.cells if score else ()
    counted = [cell for cell in cells if cell.expected] or [cell for cell in cells if cell.arrived]
    whole = sum(cell.weight for cell in counted)
    return {cell.cell: cell.weight / whole if whole else 1 / len(counted) for cell in counted}


def task_row(visit: Visit, task: Task, *, today: date, names: Mapping[str, str]) -> TaskRow:
    """Return a task in the visitor's words."""
    grades = [grade.name for grade in visit.services.pack.quality.grades]
    rank = grades.index(task.grade) if task.grade in grades else len(grades)
    return TaskRow(
        task=task,
        institution_name=names.get(task.cell.institution, task.cell.institution),
        dataset_title=dataset_title(visit, task.cell.dataset),
        grade=visit.own(grade_title(pack=visit.services.pack, grade=task.grade)),
        tone=_TONES[min(rank, len(_TONES) - 1)],
        state=visit.own(state_title(task.state)),
        causes=visit.join(visit.own(cause_title(cause)) for cause in task.causes),
        days_left=(task.deadline - today).days,
        overdue=task.is_overdue(today),
        may=frozenset(
            act.value
            for act, permission in NEEDED_FOR.items()
            if may_take(task=task, act=act) and visit.staff.may(permission) and _is_ones_own(visit, act)
        ),
    )


def _is_ones_own(visit: Visit, act: Act) -> bool:
    """Return whether the act is on the visitor's side: who manages tasks does not answer them as well."""
    return act not in _ANSWERS or not visit.staff.may(Permission.MANAGE_QUALITY)


def dataset_title(visit: Visit, name: str) -> str:
    """Return what a data set is called; one that is declared no longer stands for itself."""
    dataset = visit.services.pack.datasets.get(name)
    return visit.own(dataset.title) if dataset else name


def finding_words(visit: Visit, *, dataset: str, rule: str, field: str) -> tuple[str, str, str]:
    """Return a finding's label (a rule's id or a check), the fields it is about, and what to do."""
    declared = visit.services.pack.datasets.get(dataset)
    if declared is None:
        return rule, field, rule
    title = visit.own(title_of(dataset=declared, rule=rule, field=field))
    message = visit.own(message_of(dataset=declared, rule=rule, field=field))
    return _label(visit, declared, rule), title, message


def finding_href(cell: Cell, *, rule: str, field: str) -> str:
    """Return the page with the rows of a finding."""
    words = {"month": f"{cell.month:%Y-%m}", "dataset": cell.dataset, "rule": rule, "field": field}
    return address(f"{HOME}/{cell.institution}/finding", words)


def _label(visit: Visit, dataset: Dataset, rule: str) -> str:
    key = f"check.{rule}"
    if find_rule(dataset=dataset, rule=rule) is None and key in say:
        return visit.say(key)
    return rule


def _fix(visit: Visit, standing: Standing, finding: StandingFinding, share: float, task: Task | None) -> Fix:
    cell = standing.cell
    label, title, message = finding_words(visit, dataset=cell.dataset, rule=finding.rule, field=finding.field)
    return Fix(
        cell=cell,
        dataset_title=dataset_title(visit, cell.dataset),
        rule=finding.rule,
        field=finding.field,
        label=label,
        title="" if title == label else title,
        message=message,
        severity=finding.severity,
        rows=finding.rows,
        cell_rows=standing.figures.rows,
        points=finding.points * share,
        href=finding_href(cell, rule=finding.rule, field=finding.field),
        task=task,
        about_cell=finding.rows == 0,
    )


def _missing(visit: Visit, standing: Standing, share: float, task: Task | None) -> Fix:
    title = dataset_title(visit, standing.cell.dataset)
    return Fix(
        cell=standing.cell,
        dataset_title=title,
        rule="",
        field="",
        label=visit.say("fixes.missing"),
        title="",
        message=visit.say("fixes.missing_text", dataset=title, due=standing.missing_since),
        severity=Severity.ERROR,
        rows=0,
        cell_rows=0,
        points=100 * share,
        href="/console/upload",
        task=task,
        missing=True,
    )
