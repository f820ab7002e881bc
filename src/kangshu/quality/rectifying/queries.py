"""What may be asked about tasks: lists, one task with its steps, and how fast the loop is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from kangshu.intake import ZONE
from kangshu.quality.rectifying import store
from kangshu.quality.rectifying.errors import TaskNotFoundError, say
from kangshu.quality.rectifying.judging import local_day
from kangshu.quality.rectifying.model import LoopFigures, Task, TaskEvent, TaskFinding, TaskState
from kangshu.quality.rectifying.store import TaskFilter
from kangshu.storage.database import Connection, Record

TASKS_MOST = 10_000


async def list_tasks(
    connection: Connection, *, narrow: TaskFilter | None = None, before: int | None = None, limit: int = 100
) -> list[Task]:
    """Return tasks, the newest first; page on with `before` set to the last one's number."""
    return await store.list_tasks(
        connection, narrow=narrow or TaskFilter(), before=before, limit=min(max(limit, 0), TASKS_MOST)
    )


async def count_tasks(connection: Connection, *, narrow: TaskFilter | None = None) -> int:
    """Return how many tasks `list_tasks` has in all."""
    return await store.count_tasks(connection, narrow=narrow or TaskFilter())


async def get_task(connection: Connection, *, task: int, institutions: Sequence[str] | None = None) -> Task:
    """Return a task; with `institutions` only one of theirs.

    Raises:
        TaskNotFoundError: there is none, or it is another institution's.
    """
    known = 0 < task < 1 << 63
    found = await store.find_task(connection, task=task) if known else None
    if found is None or (institutions is not None and found.cell.institution not in institutions):
        raise TaskNotFoundError(say["task_unknown"])
    return found


async def list_task_findings(connection: Connection, *, tasks: Sequence[int]) -> dict[int, list[TaskFinding]]:
    """Return what each task is about, the most valuable first."""
    found: dict[int, list[TaskFinding]] = {task: [] for task in tasks}
    for task, finding in await store.list_findings(connection, tasks=tasks):
        found[task].append(finding)
    return found


async def list_task_events(connection: Connection, *, task: int) -> list[TaskEvent]:
    """Return the steps of a task in their order."""
    return await store.list_events(connection, task=task)


async def list_task_months(
    connection: Connection, *, institutions: Sequence[str] | None = None
) -> list[date]:
    """Return the months that there are tasks about, the latest first."""
    return await store.list_task_months(connection, institutions=institutions)


async def loop_figures(
    connection: Connection, *, now: datetime, narrow: TaskFilter | None = None
) -> tuple[LoopFigures, list[LoopFigures]]:
    """Return how tasks went: all together, and by institution, the one with most tasks first.

    A task is cleared (月清) if it was closed by the end of the calendar month, by the region's wall clock, in
    which it was opened.
    """
    rows = await store.loop_figures(
        connection, narrow=narrow or TaskFilter(), today=local_day(now), zone=ZONE
    )
    figures = [(row["together"], _loop(row)) for row in rows]
    whole = next(one for together, one in figures if together)
    return replace(whole, institution=None), [one for together, one in figures if not together]


async def cleared_rate(
    connection: Connection, *, month: date, now: datetime, institutions: Sequence[str] | None = None
) -> float | None:
    """Return the share of a month's tasks that were cleared in the month of their opening (月清率)."""
    narrow = TaskFilter(month=month, institutions=institutions)
    whole, _ = await loop_figures(connection, now=now, narrow=narrow)
    return whole.cleared_rate


def _loop(row: Record) -> LoopFigures:
    return LoopFigures(**{name: row[name] for name in LoopFigures.__dataclass_fields__})


__all__ = [
    "TASKS_MOST",
    "TaskFilter",
    "TaskState",
    "cleared_rate",
    "count_tasks",
    "get_task",
    "list_task_events",
    "list_task_findings",
    "list_task_months",
    "list_tasks",
    "loop_figures",
]
