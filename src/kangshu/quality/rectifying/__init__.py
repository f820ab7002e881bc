"""Rectification (整改): graded warnings to institutions, and each step until what was wrong is mended.

`review_month` opens tasks by the pack's grades, `recheck` looks again when files came, `escalate_due` tells
the next higher body of what is late. People acknowledge, send anew, return with a reason and close. Every
step is kept with its time, so that the loop itself can be measured.
"""

from kangshu.quality.rectifying.contacts import (
    Algorithm,
    Contact,
    list_contacts,
    remove_contact,
    set_contact,
)
from kangshu.quality.rectifying.errors import (
    ContactRefusedError,
    ContactUnknownError,
    DeadlineRefusedError,
    ReasonNeededError,
    RectifyingError,
    StepRefusedError,
    TaskChangedError,
    TaskNotFoundError,
)
from kangshu.quality.rectifying.events import (
    TASK_CLOSED,
    TASK_ESCALATED,
    TASK_OPENED,
    TASK_RAISED,
    TASK_RETURNED,
    TOPICS,
)
from kangshu.quality.rectifying.gathering import stand
from kangshu.quality.rectifying.judging import judge, local_day, rank_of
from kangshu.quality.rectifying.model import (
    Act,
    Cause,
    Closing,
    Figures,
    Judgement,
    LoopFigures,
    Notice,
    Reviewed,
    Standing,
    StandingFinding,
    Task,
    TaskEvent,
    TaskFinding,
    TaskState,
    Way,
)
from kangshu.quality.rectifying.notices import (
    count_unread,
    find_notice,
    keep_notices,
    list_notices,
    list_ways,
    mark_read,
    mark_sent,
)
from kangshu.quality.rectifying.operations import acknowledge, close, return_task, submit
from kangshu.quality.rectifying.policy import NEEDED_FOR
from kangshu.quality.rectifying.queries import (
    TaskFilter,
    cleared_rate,
    count_tasks,
    get_task,
    list_task_events,
    list_task_findings,
    list_task_months,
    list_tasks,
    loop_figures,
)
from kangshu.quality.rectifying.reviewing import escalate_due, recheck, review_month, review_standings
from kangshu.quality.rectifying.stepping import may_take
from kangshu.quality.rectifying.titles import act_title, cause_title, grade_title, state_title

__all__ = [
    "NEEDED_FOR",
    "TASK_CLOSED",
    "TASK_ESCALATED",
    "TASK_OPENED",
    "TASK_RAISED",
    "TASK_RETURNED",
    "TOPICS",
    "Act",
    "Algorithm",
    "Cause",
    "Closing",
    "Contact",
    "ContactRefusedError",
    "ContactUnknownError",
    "DeadlineRefusedError",
    "Figures",
    "Judgement",
    "LoopFigures",
    "Notice",
    "ReasonNeededError",
    "RectifyingError",
    "Reviewed",
    "Standing",
    "StandingFinding",
    "StepRefusedError",
    "Task",
    "TaskChangedError",
    "TaskEvent",
    "TaskFilter",
    "TaskFinding",
    "TaskNotFoundError",
    "TaskState",
    "Way",
    "acknowledge",
    "act_title",
    "cause_title",
    "cleared_rate",
    "close",
    "count_tasks",
    "count_unread",
    "escalate_due",
    "find_notice",
    "get_task",
    "grade_title",
    "judge",
    "keep_notices",
    "list_contacts",
    "list_notices",
    "list_task_events",
    "list_task_findings",
    "list_task_months",
    "list_tasks",
    "list_ways",
    "local_day",
    "loop_figures",
    "mark_read",
    "mark_sent",
    "may_take",
    "rank_of",
    "recheck",
    "remove_contact",
    "return_task",
    "review_month",
    "review_standings",
    "set_contact",
    "stand",
    "state_title",
    "submit",
]
