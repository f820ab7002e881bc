"""Tasks to mend data: the list with the figures of the loop, one task with its steps, what people do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from starlette.responses import Response

from kangshu.console.acts import EXPORT, note
from kangshu.console.errors import PageNotFoundError
from kangshu.console.exporting import csv_answer
from kangshu.console.fix_list import HOME, TASKS, finding_href, finding_words, task_row
from kangshu.console.paging import address
from kangshu.console.reach import choices, matching_codes, names, own_codes
from kangshu.console.visits import Visit, page
from kangshu.kernel.periods import Period
from kangshu.quality.plausibility import add_months
from kangshu.quality.rectifying import (
    Act,
    Closing,
    Task,
    TaskEvent,
    TaskFilter,
    TaskFinding,
    TaskState,
    acknowledge,
    act_title,
    close,
    count_tasks,
    get_task,
    grade_title,
    list_task_events,
    list_task_findings,
    list_task_months,
    list_tasks,
    local_day,
    loop_figures,
    recheck,
    return_task,
    review_month,
    state_title,
    submit,
)
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_PER_PAGE = 50
_EXPORT_MOST = 10_000
_INSTITUTIONS_SHOWN = 20
_FIRST_MONTH = date(1900, 1, 1)
_CLOSINGS = {Closing.CURED: "task.closed_cured", Closing.ACCEPTED: "task.closed_accepted"}


@dataclass(frozen=True, kw_only=True)
class TaskFilters:
    """What the list is narrowed to, as the form gave it; empty means everything."""

    institution: str = ""
    month: str = ""
    grade: str = ""
    state: str = ""
    overdue: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> TaskFilters:
        """Return the filters in the words of an address; what makes no sense is left out."""
        state = query.get("state", "")
        return cls(
            institution=query.get("institution", "").strip(),
            month=query.get("month", "") if _month(query.get("month", "")) else "",
            grade=query.get("grade", "") if query.get("grade", "").isprintable() else "",
            state=state if state in {*TaskState, "open"} else "",
            overdue="yes" if query.get("overdue") == "yes" else "",
        )

    @property
    def words(self) -> dict[str, str]:
        """The filters as words of an address."""
        return {
            "institution": self.institution,
            "month": self.month,
            "grade": self.grade,
            "state": self.state,
            "overdue": self.overdue,
        }

    def narrow(self, *, codes: list[str] | None, today: date) -> TaskFilter:
        """Return what to ask for."""
        states = [TaskState(self.state)] if self.state in set(TaskState) else None
        if self.state == "open":
            states = [one for one in TaskState if one is not TaskState.CLOSED]
        return TaskFilter(
            institutions=codes,
            month=_month(self.month),
            grade=self.grade or None,
            states=states,
            overdue_on=today if self.overdue else None,
        )


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of a task in the visitor's words."""

    title: str
    event: TaskEvent
    tone: str
    text: str


@dataclass(frozen=True, kw_only=True)
class About:
    """A finding that a task is about, in the visitor's words."""

    finding: TaskFinding
    label: str
    title: str
    message: str
    href: str


async def show_tasks(visit: Visit) -> Response:
    """List tasks within reach with the figures of the loop."""
    filters, today = TaskFilters.of(visit.query), local_day(visit.now)
    before = visit.query.get("before", "")
    async with visit.services.database.connection() as connection:
        codes = await matching_codes(visit, connection, text=filters.institution)
        narrow = filters.narrow(codes=codes, today=today)
        found = await list_tasks(
            connection,
            narrow=narrow,
            before=int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None,
            limit=_PER_PAGE + 1,
        )
        count = await count_tasks(connection, narrow=narrow)
        # The figures tell of the whole loop: narrowed by place and month, not by how far tasks are.
        whole, each = await loop_figures(
            connection, now=visit.now, narrow=replace(narrow, states=None, grade=None, overdue_on=None)
        )
        months = await list_task_months(connection, institutions=await own_codes(visit, connection))
        shown = found[:_PER_PAGE]
        called = await names(
            connection, [*(one.cell.institution for one in shown), *(one.institution for one in each)]
        )
        offered = await choices(visit, connection)
    older = {**filters.words, "before": str(shown[-1].id)} if len(found) > _PER_PAGE else None
    last = add_months(today.replace(day=1), -1)
    return visit.page(
        "quality_tasks.html",
        rows=[task_row(visit, one, today=today, names=called) for one in shown],
        count=count,
        filters=filters,
        query=address("", filters.words),
        whole=whole,
        each=[
            (called.get(one.institution or "", one.institution), one) for one in each[:_INSTITUTIONS_SHOWN]
        ],
        each_more=max(0, len(each) - _INSTITUTIONS_SHOWN),
        institution_choices=offered.pairs,
        only=offered.only,
        month_choices=[(f"{one:%Y-%m}", f"{one:%Y-%m}") for one in months],
        grade_choices=[(one.name, visit.own(one.title)) for one in visit.services.pack.quality.grades],
        state_choices=[
            ("open", visit.say("tasks.open_ones")),
            *((state.value, visit.own(state_title(state))) for state in TaskState),
        ],
        may_manage=visit.staff.may(Permission.MANAGE_QUALITY),
        review_month=filters.month or f"{last:%Y-%m}",
        newer=address(TASKS, filters.words) if before else None,
        older=address(TASKS, older) if older else None,
    )


async def export_tasks(visit: Visit) -> Response:
    """Send the list as CSV."""
    filters, today = TaskFilters.of(visit.query), local_day(visit.now)
    async with visit.services.database.transaction() as connection:
        codes = await matching_codes(visit, connection, text=filters.institution)
        found = await list_tasks(
            connection, narrow=filters.narrow(codes=codes, today=today), limit=_EXPORT_MOST
        )
        called = await names(connection, (one.cell.institution for one in found))
        await note(connection, visit, EXPORT, resource="quality-tasks", detail={"filters": filters.words})
    heading = [visit.say(f"export.task_{name}") for name in _COLUMNS]
    return csv_answer("quality-tasks.csv", [heading, *(_cells(visit, one, today, called) for one in found)])


async def show_task(visit: Visit) -> Response:
    """Show one task: what it is about, its figures before and now, and every step."""
    today = local_day(visit.now)
    async with visit.services.database.connection() as connection:
        task = await _task(visit, connection)
        events = await list_task_events(connection, task=task.id)
        findings = (await list_task_findings(connection, tasks=[task.id]))[task.id]
        called = await names(connection, [task.cell.institution])
    proposed = max(task.deadline, date.fromordinal(today.toordinal() + 3))
    return visit.page(
        "quality_task.html",
        row=task_row(visit, task, today=today, names=called),
        task=task,
        month=f"{task.cell.month:%Y-%m}",
        steps=[_step(visit, event) for event in events],
        findings=[_about(visit, task, one) for one in findings],
        institution_href=address(f"{HOME}/{task.cell.institution}", {"month": f"{task.cell.month:%Y-%m}"}),
        proposed=proposed.isoformat(),
        today=today.isoformat(),
        version=task.version,
    )


async def act_on_task(visit: Visit) -> Response:
    """Take a step: the form names the task's version that was seen, and is refused if somebody was faster."""
    act = visit.request.path_params["act"]
    step = _STEPS.get(act)
    version = visit.form.get("version", "")
    if step is None or not (version.isascii() and version.isdigit() and len(version) < 9):
        raise PageNotFoundError
    async with visit.services.database.transaction() as connection:
        task = await _task(visit, connection)
        task = await step(visit, connection, task, int(version))
        if task.state is TaskState.RESENT:
            # Who says that it was sent learns at once whether it is so.
            await recheck(connection, pack=visit.services.pack, now=visit.now, cells=[task.cell])
    return visit.go(f"{TASKS}/{task.id}", flash="flash.task_done")


async def review(visit: Visit) -> Response:
    """Open tasks for the cells of a month to which a grade applies, and look at the open ones again."""
    month = _month(visit.form.get("month", ""))
    if month is None:
        raise PageNotFoundError
    async with visit.services.database.transaction() as connection:
        await review_month(
            connection,
            pack=visit.services.pack,
            month=month,
            now=visit.now,
            principal=visit.staff,
        )
    return visit.go(address(TASKS, {"month": f"{month:%Y-%m}"}), flash="flash.reviewed")


async def _acknowledge(visit: Visit, connection: Connection, task: Task, version: int) -> Task:
    return await acknowledge(
        connection,
        task=task.id,
        principal=visit.staff,
        now=visit.now,
        note=visit.form.get("note", ""),
        version=version,
    )


async def _submit(visit: Visit, connection: Connection, task: Task, version: int) -> Task:
    return await submit(
        connection,
        task=task.id,
        principal=visit.staff,
        now=visit.now,
        note=visit.form.get("note", ""),
        version=version,
    )


async def _return(visit: Visit, connection: Connection, task: Task, version: int) -> Task:
    return await return_task(
        connection,
        task=task.id,
        principal=visit.staff,
        now=visit.now,
        reason=visit.form.get("note", ""),
        deadline=_day(visit.form.get("deadline", "")),
        version=version,
    )


async def _close(visit: Visit, connection: Connection, task: Task, version: int) -> Task:
    return await close(
        connection,
        task=task.id,
        principal=visit.staff,
        now=visit.now,
        note=visit.form.get("note", ""),
        version=version,
    )


_STEPS: Mapping[str, Callable[[Visit, Connection, Task, int], Awaitable[Task]]] = {
    Act.ACKNOWLEDGE: _acknowledge,
    Act.SUBMIT: _submit,
    Act.RETURN: _return,
    Act.CLOSE: _close,
}

_COLUMNS = (
    "number",
    "institution",
    "institution_name",
    "dataset",
    "month",
    "grade",
    "causes",
    "state",
    "deadline",
    "overdue",
    "opened_at",
    "acknowledged_at",
    "resent_at",
    "closed_at",
    "score_before",
    "score_now",
    "rows_now",
    "wrong_now",
    "returns",
    "escalations",
)


def _cells(visit: Visit, task: Task, today: date, called: Mapping[str, str]) -> list[object]:
    row = task_row(visit, task, today=today, names=called)
    zone = visit.services.zone
    moments = (task.opened_at, task.acknowledged_at, task.resent_at, task.closed_at)
    return [
        task.id,
        task.cell.institution,
        called.get(task.cell.institution, ""),
        row.dataset_title,
        f"{task.cell.month:%Y-%m}",
        row.grade,
        row.causes,
        row.state,
        task.deadline.isoformat(),
        visit.say("tasks.yes") if row.overdue else "",
        *(one.astimezone(zone).isoformat(sep=" ", timespec="seconds") if one else None for one in moments),
        task.before.score,
        task.now.score,
        task.now.rows,
        task.now.wrong,
        task.returns,
        task.escalations,
    ]


async def _task(visit: Visit, connection: Connection) -> Task:
    number = visit.request.path_params["id"]
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise PageNotFoundError
    return await get_task(connection, task=int(number), institutions=await own_codes(visit, connection))


def _step(visit: Visit, event: TaskEvent) -> Step:
    tones = {
        Act.CLOSE: "ok",
        Act.RETURN: "warn",
        Act.RECHECK: "warn",
        Act.RAISE: "bad",
        Act.ESCALATE: "bad",
    }
    return Step(
        title=visit.own(act_title(event.act)),
        event=event,
        tone=tones.get(event.act, ""),
        text=_told(visit, event),
    )


def _told(visit: Visit, event: TaskEvent) -> str:
    """Return what an event's figures say, in words."""
    detail = event.detail
    words: list[str] = []
    if event.act is Act.SUBMIT and detail.get("by") == "file":
        words.append(visit.say("task.by_file"))
    if event.act is Act.RECHECK and detail.get("new_file") is False:
        words.append(visit.say("task.no_file"))
    if event.act is Act.RAISE:
        pack = visit.services.pack
        old, new = (visit.own(grade_title(pack=pack, grade=str(detail.get(key)))) for key in ("from", "to"))
        words.append(visit.say("task.raised", old=old, new=new))
    if event.act is Act.ESCALATE:
        words.append(visit.say("task.escalated", days=detail.get("days"), level=detail.get("level")))
    if event.act is Act.CLOSE:
        words.append(visit.say(_CLOSINGS[Closing(detail["as"])]))
    if isinstance(detail.get("after"), Mapping):
        words.append(_figures(visit, detail["before"], detail["after"]))
    if detail.get("deadline"):
        words.append(visit.say("task.until", deadline=detail["deadline"]))
    return visit.say("task.separator").join(words)


def _figures(visit: Visit, before: Mapping[str, float | None], after: Mapping[str, float | None]) -> str:
    def score(value: float | None) -> str:
        return "—" if value is None else f"{value:.2f}"

    return visit.say(
        "task.figures",
        before=score(before.get("score")),
        after=score(after.get("score")),
        wrong_before=f"{before.get('wrong') or 0:,}",
        wrong_after=f"{after.get('wrong') or 0:,}",
    )


def _about(visit: Visit, task: Task, finding: TaskFinding) -> About:
    label, title, message = finding_words(
        visit, dataset=task.cell.dataset, rule=finding.rule, field=finding.field
    )
    return About(
        finding=finding,
        label=label,
        title="" if title == label else title,
        message=message,
        href=finding_href(task.cell, rule=finding.rule, field=finding.field),
    )


def _month(text: str) -> date | None:
    try:
        period = Period.parse(text)
    except ValueError:
        return None
    whole = Period.month(year=period.start.year, month=period.start.month)
    return period.start if period == whole and period.start >= _FIRST_MONTH else None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


routes = [
    page("/quality/tasks", show_tasks, may=Permission.SEE_QUALITY),
    page("/quality/tasks.csv", export_tasks, may=Permission.SEE_QUALITY),
    page("/quality/tasks/review", review, may=Permission.MANAGE_QUALITY, method="POST"),
    page("/quality/tasks/{id}", show_task, may=Permission.SEE_QUALITY),
    page("/quality/tasks/{id}/{act}", act_on_task, may=Permission.SEE_QUALITY, method="POST"),
]
