"""Open tasks by the pack's grades, look again when files came, tell the next higher body of late ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from kangshu.audit import AuditEntry, record
from kangshu.declarations import Grade, Pack
from kangshu.directory import institution_codes
from kangshu.quality.model import Cell
from kangshu.quality.rectifying import store
from kangshu.quality.rectifying.events import announce
from kangshu.quality.rectifying.gathering import stand
from kangshu.quality.rectifying.judging import deadline_of, escalation_due, judge, local_day
from kangshu.quality.rectifying.model import (
    Act,
    Figures,
    Judgement,
    Reviewed,
    Standing,
    StandingFinding,
    Task,
    TaskEvent,
    TaskState,
)
from kangshu.quality.rectifying.operations import keep
from kangshu.quality.rectifying.policy import FINDINGS_MOST
from kangshu.quality.rectifying.responding import Response, respond
from kangshu.quality.rectifying.stepping import PLATFORM, Actor, take
from kangshu.security.principals import SYSTEM, Permission, Principal
from kangshu.storage.database import Connection

_NOTHING = Figures(score=None, rows=0, rejected=0, wrong=0)
_LATE_AT_ONCE = 500


async def review_month(
    connection: Connection, *, pack: Pack, month: date, now: datetime, principal: Principal = SYSTEM
) -> Reviewed:
    """Open a task for each cell of the month to which a grade applies, and look at the open ones again.

    Only cells within the principal's reach are looked at. Running it twice opens nothing twice.

    Raises:
        NotPermittedError: the principal does not manage quality.
    """
    principal.require(Permission.MANAGE_QUALITY)
    reach = await institution_codes(connection, within=principal.reaches)
    async with connection.transaction():
        standings = await stand(connection, pack=pack, month=month, now=now, institutions=reach)
        done = await review_standings(
            connection,
            grades=pack.quality.grades,
            standings=standings,
            month=month,
            now=now,
            institutions=reach,
            actor=Actor(id=principal.id, name=principal.name),
        )
        if principal is not SYSTEM:
            await record(connection, entries=[_entry(principal, month=month, done=done, now=now)])
    return done


async def review_standings(
    connection: Connection,
    *,
    grades: Sequence[Grade],
    standings: Sequence[Standing],
    month: date,
    now: datetime,
    institutions: Sequence[str] | None = None,
    actor: Actor = PLATFORM,
) -> Reviewed:
    """Do what `review_month` does with cells whose standing is known. To be called in a transaction."""
    today = local_day(now)
    known = {standing.cell: standing for standing in standings}
    held = await store.lock_open_tasks(connection, month=month, institutions=institutions)
    open_cells = {task.cell for task in held}
    judged = [
        (standing, judgement)
        for standing in standings
        if standing.cell not in open_cells
        and (judgement := judge(standing=standing, grades=grades, today=today)) is not None
    ]
    opened = await _open(connection, judged, now=now, today=today, actor=actor)
    responses = await _look_again(connection, held, known, grades=grades, now=now)
    return _summary(responses, opened)


async def recheck(
    connection: Connection,
    *,
    pack: Pack,
    now: datetime,
    files: Sequence[int] = (),
    cells: Iterable[Cell] = (),
) -> Reviewed:
    """Look again at the open tasks about `cells` and the cells of `files`.

    To be called when all that follows from a file is known (rules over the lake, cells, coverage): a task
    whose cause has gone closes. Costs one look-up where no task is open.
    """
    concerned = {*cells, *await store.list_cells_of(connection, files=files)}
    if not concerned:
        return Reviewed()
    responses: list[Response] = []
    async with connection.transaction():
        held = await store.lock_tasks_of(connection, cells=sorted(concerned))
        for month in sorted({task.cell.month for task in held}):
            own = [task for task in held if task.cell.month == month]
            standings = await stand(
                connection,
                pack=pack,
                month=month,
                now=now,
                institutions=sorted({task.cell.institution for task in own}),
                datasets=sorted({task.cell.dataset for task in own}),
            )
            known = {standing.cell: standing for standing in standings}
            responses += await _look_again(connection, own, known, grades=pack.quality.grades, now=now)
    return _summary(responses, [])


async def escalate_due(connection: Connection, *, now: datetime) -> list[Task]:
    """Escalate the tasks that were not mended in time; return them.

    The next higher body is told `escalate_days` after the deadline, the one above it as long after that.
    """
    today = local_day(now)
    told: list[Task] = []
    async with connection.transaction():
        for task in await store.lock_late_tasks(connection, today=today, limit=_LATE_AT_ONCE):
            if escalation_due(task=task, today=today):
                level = task.escalations + 1
                step = take(
                    task=task,
                    act=Act.ESCALATE,
                    at=now,
                    detail={"level": level, "days": (today - task.deadline).days},
                    escalations=level,
                )
                told.append(await keep(connection, step=step))
    return told


async def _open(
    connection: Connection,
    judged: Sequence[tuple[Standing, Judgement]],
    *,
    now: datetime,
    today: date,
    actor: Actor,
) -> list[Task]:
    """Open a task for each cell, all in few statements; who reviews at the same time may have been first."""
    new = [
        store.NewTask(
            cell=standing.cell,
            grade=judgement.grade,
            causes=judgement.causes,
            deadline=deadline_of(judgement=judgement, today=today),
            escalate_days=max(judgement.escalate_days, 1),
            opened_at=now,
            figures=standing.figures,
            last_arrival=standing.last_arrival,
        )
        for standing, judgement in judged
    ]
    tasks = await store.insert_tasks(connection, new=new) if new else []
    known = {standing.cell: standing for standing, _ in judged}
    findings = [(task.id, one) for task in tasks for one in _foremost(known[task.cell])]
    await store.insert_findings(connection, findings=findings)
    await store.insert_events(connection, events=[_opening(task, now, actor) for task in tasks])
    for task in tasks:
        await announce(connection, task=task, act=Act.OPEN, at=now)
    return tasks


def _opening(task: Task, now: datetime, actor: Actor) -> TaskEvent:
    return TaskEvent(
        task=task.id,
        number=task.version,
        act=Act.OPEN,
        state=TaskState.ISSUED,
        at=now,
        actor=actor.id,
        actor_name=actor.name,
        detail={
            "grade": task.grade,
            "causes": [cause.value for cause in task.causes],
            "deadline": task.deadline.isoformat(),
            "before": task.before.document(),
        },
    )


async def _look_again(
    connection: Connection,
    tasks: Sequence[Task],
    known: dict[Cell, Standing],
    *,
    grades: Sequence[Grade],
    now: datetime,
) -> list[Response]:
    """Renew the figures of locked tasks and take the steps that follow."""
    today = local_day(now)
    responses: list[Response] = []
    for task in tasks:
        standing = known.get(task.cell) or Standing(cell=task.cell, figures=_NOTHING)
        judgement = judge(standing=standing, grades=grades, today=today)
        response = respond(
            task=task, standing=standing, judgement=judgement, grades=grades, today=today, now=now
        )
        for step in response.steps:
            await keep(connection, step=step)
        if response.task != (response.steps[-1].task if response.steps else task):
            await store.update_task(connection, task=response.task)
        if response.task.now != task.now or response.steps:
            await store.renew_findings(connection, task=task.id, findings=_foremost(standing))
        responses.append(response)
    return responses


def _foremost(standing: Standing) -> list[StandingFinding]:
    ordered = sorted(standing.findings, key=lambda one: (-one.points, -one.rows, one.rule, one.field))
    return ordered[:FINDINGS_MOST]


def _summary(responses: Sequence[Response], opened: Sequence[Task]) -> Reviewed:
    def with_act(act: Act) -> tuple[Task, ...]:
        return tuple(response.task for response in responses if response.did(act))

    return Reviewed(
        opened=tuple(opened),
        raised=with_act(Act.RAISE),
        rechecked=with_act(Act.RECHECK),
        closed=with_act(Act.CLOSE),
    )


def _entry(principal: Principal, *, month: date, done: Reviewed, now: datetime) -> AuditEntry:
    return AuditEntry(
        at=now,
        actor=principal.id,
        actor_name=principal.name,
        action="quality.review",
        resource=f"quality-month/{month:%Y-%m}",
        detail={
            "opened": len(done.opened),
            "raised": len(done.raised),
            "rechecked": len(done.rechecked),
            "closed": len(done.closed),
        },
    )
