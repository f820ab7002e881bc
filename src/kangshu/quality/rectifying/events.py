"""What tasks announce: numbers and codes only, in the transaction of the step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kangshu.quality.rectifying.model import Act, Task
from kangshu.storage import outbox
from kangshu.storage.database import Connection

TASK_OPENED = "quality.task_opened"
TASK_RAISED = "quality.task_raised"
TASK_RETURNED = "quality.task_returned"
TASK_ESCALATED = "quality.task_escalated"
TASK_CLOSED = "quality.task_closed"

TOPIC_OF: Mapping[Act, str] = {
    Act.OPEN: TASK_OPENED,
    Act.RAISE: TASK_RAISED,
    Act.RETURN: TASK_RETURNED,
    Act.ESCALATE: TASK_ESCALATED,
    Act.CLOSE: TASK_CLOSED,
}
"""Steps that the institution is told of; its own are no news to it."""

TOPICS = tuple(TOPIC_OF.values())


async def announce(connection: Connection, *, task: Task, act: Act, at: datetime) -> None:
    """Announce a step that somebody is to be told of; those of one task arrive in their order."""
    topic = TOPIC_OF.get(act)
    if topic is None:
        return
    payload: dict[str, Any] = {
        "task": task.id,
        "event": task.version,
        "at": at.isoformat(),
        "institution": task.cell.institution,
        "dataset": task.cell.dataset,
        "month": f"{task.cell.month:%Y-%m}",
        "grade": task.grade,
        "state": task.state.value,
        "deadline": task.deadline.isoformat(),
        "escalations": task.escalations,
    }
    await outbox.announce(connection, topic=topic, payload=payload, key=f"quality-task/{task.id}")
