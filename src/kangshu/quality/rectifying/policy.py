"""Who may take which step in which state, and the bounds of texts and deadlines; what people can change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from kangshu.quality.rectifying.model import Act, TaskState
from kangshu.security.policy import Permission

OPEN_STATES = frozenset(TaskState) - {TaskState.CLOSED}

ALLOWED_FROM: Mapping[Act, frozenset[TaskState]] = {
    Act.ACKNOWLEDGE: frozenset({TaskState.ISSUED, TaskState.RETURNED, TaskState.ESCALATED}),
    Act.SUBMIT: OPEN_STATES - {TaskState.RESENT},
    Act.RECHECK: OPEN_STATES,
    Act.RAISE: OPEN_STATES,
    # What has not been answered cannot be given back.
    Act.RETURN: frozenset({TaskState.RESENT, TaskState.RECHECKED, TaskState.ESCALATED}),
    Act.ESCALATE: OPEN_STATES,
    Act.CLOSE: OPEN_STATES,
}
"""From which states a step may be taken; what is closed stays closed, and a new cause opens a new task."""

LEADS_TO: Mapping[Act, TaskState | None] = {
    Act.OPEN: TaskState.ISSUED,
    Act.ACKNOWLEDGE: TaskState.ACKNOWLEDGED,
    Act.SUBMIT: TaskState.RESENT,
    Act.RECHECK: TaskState.RECHECKED,
    Act.RAISE: None,
    Act.RETURN: TaskState.RETURNED,
    Act.ESCALATE: TaskState.ESCALATED,
    Act.CLOSE: TaskState.CLOSED,
}
"""To which state a step leads; None leaves it as it is."""

NEEDED_FOR: Mapping[Act, Permission] = {
    Act.OPEN: Permission.MANAGE_QUALITY,
    Act.RETURN: Permission.MANAGE_QUALITY,
    Act.CLOSE: Permission.MANAGE_QUALITY,
    Act.ACKNOWLEDGE: Permission.SUBMIT_DATA,
    Act.SUBMIT: Permission.SUBMIT_DATA,
}
"""What somebody needs for a step; the others are the platform's own."""

NOTE_MOST = 2000  # arbitrary: a page
DEADLINE_MOST = timedelta(days=183)
FINDINGS_MOST = 200  # arbitrary: nobody works through more; the most valuable ones are kept
ESCALATIONS_MOST = 3
"""County, city, province: there is no higher body."""
