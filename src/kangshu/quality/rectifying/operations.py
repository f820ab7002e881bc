"""What people do with a task: acknowledge it, say that they sent anew, give it back, close it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from kangshu import directory
from kangshu.audit import AuditEntry, record
from kangshu.quality.rectifying import store
from kangshu.quality.rectifying.errors import (
    DeadlineRefusedError,
    ReasonNeededError,
    TaskChangedError,
    TaskNotFoundError,
    say,
)
from kangshu.quality.rectifying.events import announce
from kangshu.quality.rectifying.judging import local_day
from kangshu.quality.rectifying.model import Act, Closing, Task
from kangshu.quality.rectifying.policy import DEADLINE_MOST, NEEDED_FOR
from kangshu.quality.rectifying.stepping import Actor, Step, take
from kangshu.security.principals import Principal
from kangshu.storage.database import Connection


async def acknowledge(
    connection: Connection,
    *,
    task: int,
    principal: Principal,
    now: datetime,
    note: str = "",
    version: int | None = None,
) -> Task:
    """Say that the institution has read the task and works on it.

    `version` is the one that was seen; with None whatever stands is acted upon.

    Raises:
        NotPermittedError: that is not for this principal.
        TaskNotFoundError: no such task within reach.
        TaskChangedError: somebody acted on it meanwhile.
        StepRefusedError: its state does not allow it.
    """
    return await _act(
        connection, task, Act.ACKNOWLEDGE, principal=principal, now=now, note=note, version=version
    )


async def submit(
    connection: Connection,
    *,
    task: int,
    principal: Principal,
    now: datetime,
    note: str = "",
    version: int | None = None,
) -> Task:
    """Say that corrected data were sent; `recheck` tells whether that is so.

    Raises:
        NotPermittedError, TaskNotFoundError, TaskChangedError, StepRefusedError: as for `acknowledge`.
    """
    return await _act(
        connection,
        task,
        Act.SUBMIT,
        principal=principal,
        now=now,
        note=note,
        version=version,
        detail={"by": "declared"},
    )


async def return_task(
    connection: Connection,
    *,
    task: int,
    principal: Principal,
    now: datetime,
    reason: str,
    deadline: date | None = None,
    version: int | None = None,
) -> Task:
    """Give the task back to the institution: what it did is not enough. `deadline` is a new last day.

    Raises:
        ReasonNeededError: no reason was given.
        DeadlineRefusedError: the new last day has passed, or is more than half a year off.
        NotPermittedError, TaskNotFoundError, TaskChangedError, StepRefusedError: as for `acknowledge`.
    """
    if not reason.strip():
        raise ReasonNeededError(say["reason_needed"])
    today = local_day(now)
    if deadline is not None and not today <= deadline <= today + DEADLINE_MOST:
        raise DeadlineRefusedError(say["deadline_refused"])
    moved = {"deadline": deadline, "escalations": 0} if deadline is not None else {}
    return await _act(
        connection,
        task,
        Act.RETURN,
        principal=principal,
        now=now,
        note=reason,
        version=version,
        detail={"deadline": deadline.isoformat()} if deadline is not None else {},
        counted="returns",
        **moved,
    )


async def close(
    connection: Connection,
    *,
    task: int,
    principal: Principal,
    now: datetime,
    note: str,
    version: int | None = None,
) -> Task:
    """Close a task although its cause is still there; `note` says why that is accepted.

    Raises:
        ReasonNeededError: no note was given.
        NotPermittedError, TaskNotFoundError, TaskChangedError, StepRefusedError: as for `acknowledge`.
    """
    if not note.strip():
        raise ReasonNeededError(say["reason_needed"])
    return await _act(
        connection,
        task,
        Act.CLOSE,
        principal=principal,
        now=now,
        note=note,
        version=version,
        closing=Closing.ACCEPTED,
        detail={"as": Closing.ACCEPTED.value},
    )


async def keep(connection: Connection, *, step: Step) -> Task:
    """Keep a step that was taken, and announce it; the caller holds the task's lock."""
    await store.update_task(connection, task=step.task)
    await store.insert_events(connection, events=[step.event])
    await announce(connection, task=step.task, act=step.event.act, at=step.event.at)
    return step.task


async def _act(
    connection: Connection,
    task: int,
    act: Act,
    *,
    principal: Principal,
    now: datetime,
    note: str,
    version: int | None,
    detail: dict[str, Any] | None = None,
    counted: str = "",
    closing: Closing | None = None,
    **changes: Any,
) -> Task:
    principal.require(NEEDED_FOR[act])
    async with connection.transaction():
        held = await _lock(connection, task, principal)
        if version is not None and version != held.version:
            raise TaskChangedError(say["task_changed"], place=f"task/{task}")
        if counted:
            changes[counted] = getattr(held, counted) + 1
        step = take(
            task=held,
            act=act,
            at=now,
            actor=Actor(id=principal.id, name=principal.name),
            note=note,
            detail=detail,
            closing=closing,
            **changes,
        )
        await keep(connection, step=step)
        await record(connection, entries=[_entry(step, principal)])
    return step.task


async def _lock(connection: Connection, task: int, principal: Principal) -> Task:
    """Return the task, locked, if it lies within reach; out of reach looks like absent."""
    known = 0 < task < 1 << 63  # a number that the database cannot hold is no task's
    found = await store.find_task(connection, task=task, lock=True) if known else None
    if found is None or not await _covers(connection, principal, found.cell.institution):
        raise TaskNotFoundError(say["task_unknown"])
    return found


async def _covers(connection: Connection, principal: Principal, institution: str) -> bool:
    if principal.region_wide or institution in principal.institutions:
        return True
    divisions = await directory.divisions_of(connection, codes=[institution])
    return principal.covers(institution_code=institution, division_code=divisions.get(institution))


def _entry(step: Step, principal: Principal) -> AuditEntry:
    return AuditEntry(
        at=step.event.at,
        actor=principal.id,
        actor_name=principal.name,
        action=f"quality.task-{step.event.act}",
        resource=f"quality-task/{step.task.id}",
        institution=step.task.cell.institution,
        detail={
            "dataset": step.task.cell.dataset,
            "month": f"{step.task.cell.month:%Y-%m}",
            "state": step.task.state.value,
        },
    )
