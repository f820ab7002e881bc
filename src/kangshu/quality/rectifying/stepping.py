"""Take one step of a task: whether its state allows it, and what the task is afterwards; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from kangshu.quality.rectifying.errors import ReasonNeededError, StepRefusedError, say
from kangshu.quality.rectifying.model import Act, Closing, Task, TaskEvent, TaskState
from kangshu.quality.rectifying.policy import ALLOWED_FROM, LEADS_TO, NOTE_MOST


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who takes a step: `id` for the audit, `name` for people."""

    id: str
    name: str


PLATFORM = Actor(id="system", name="系统")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A task after a step, and the event that tells of it."""

    task: Task
    event: TaskEvent


def may_take(*, task: Task, act: Act) -> bool:
    """Return whether the task's state allows the step."""
    return act in ALLOWED_FROM and task.state in ALLOWED_FROM[act]


def take(
    *,
    task: Task,
    act: Act,
    at: datetime,
    actor: Actor = PLATFORM,
    note: str = "",
    detail: Mapping[str, Any] | None = None,
    closing: Closing | None = None,
    **changes: Any,
) -> Step:
    """Return the task after the step, with `changes` to its other values.

    Raises:
        StepRefusedError: the task's state does not allow it.
        ReasonNeededError: the note is longer than a page.
    """
    if not may_take(task=task, act=act):
        state = say[f"state_{task.state}"]
        raise StepRefusedError(
            say("step_refused", state=state.zh, state_en=state.en), place=f"task/{task.id}"
        )
    state = LEADS_TO[act] or task.state
    after = replace(
        task,
        state=state,
        version=task.version + 1,
        **_moments(task, act, at),
        **({"closed_at": at, "closed_as": closing} if act is Act.CLOSE else {}),
        **changes,
    )
    assert (after.state is TaskState.CLOSED) == (after.closed_as is not None), "who closes says how"
    event = TaskEvent(
        task=task.id,
        number=after.version,
        act=act,
        state=state,
        at=at,
        actor=actor.id,
        actor_name=actor.name,
        note=clean_note(note),
        detail=detail or {},
    )
    return Step(task=after, event=event)


def clean_note(note: str) -> str:
    """Return a note as it is kept: printable, lines kept.

    Raises:
        ReasonNeededError: it is longer than a page.
    """
    kept = "".join(one for one in note.replace("\r\n", "\n") if one.isprintable() or one == "\n").strip()
    if len(kept) > NOTE_MOST:
        raise ReasonNeededError(say("note_too_long", most=NOTE_MOST))
    return kept


def _moments(task: Task, act: Act, at: datetime) -> dict[str, datetime]:
    """Return when a task first got so far; a step taken again does not change that."""
    name = {
        Act.ACKNOWLEDGE: "acknowledged_at",
        Act.SUBMIT: "resent_at",
        Act.RECHECK: "rechecked_at",
    }.get(act)
    return {name: at} if name and getattr(task, name) is None else {}
