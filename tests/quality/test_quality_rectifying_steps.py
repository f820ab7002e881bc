"""States and steps of tasks: which are allowed, what follows from a look at the cell, days and deadlines."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rectifying_region import GRADES, MONTH, NOW, SENT, cell, finding, missing, standing

from kangshu.declarations import Severity
from kangshu.quality.rectifying import (
    Act,
    Cause,
    Closing,
    Figures,
    ReasonNeededError,
    Standing,
    StepRefusedError,
    Task,
    TaskState,
    judge,
    local_day,
    may_take,
)
from kangshu.quality.rectifying.judging import deadline_of, escalation_due, raised_deadline
from kangshu.quality.rectifying.responding import respond
from kangshu.quality.rectifying.stepping import take

TODAY = local_day(NOW)
ALLOWED = {
    # state: steps that may follow it
    TaskState.ISSUED: {Act.ACKNOWLEDGE, Act.SUBMIT, Act.RECHECK, Act.RAISE, Act.ESCALATE, Act.CLOSE},
    TaskState.ACKNOWLEDGED: {Act.SUBMIT, Act.RECHECK, Act.RAISE, Act.ESCALATE, Act.CLOSE},
    TaskState.RESENT: {Act.RECHECK, Act.RAISE, Act.RETURN, Act.ESCALATE, Act.CLOSE},
    TaskState.RECHECKED: {Act.SUBMIT, Act.RECHECK, Act.RAISE, Act.RETURN, Act.ESCALATE, Act.CLOSE},
    TaskState.RETURNED: {Act.ACKNOWLEDGE, Act.SUBMIT, Act.RECHECK, Act.RAISE, Act.ESCALATE, Act.CLOSE},
    TaskState.ESCALATED: set(Act) - {Act.OPEN},
    TaskState.CLOSED: set(),
}


def task(state: TaskState = TaskState.ISSUED, **changes: object) -> Task:
    """Return a task about a score of 70 of 100 rows."""
    closed = state is TaskState.CLOSED
    plain = Task(
        id=1,
        cell=cell(),
        grade="orange",
        causes=(Cause.SCORE,),
        state=state,
        version=3,
        deadline=date(2026, 4, 20),
        escalate_days=5,
        returns=0,
        escalations=0,
        opened_at=NOW,
        acknowledged_at=None,
        resent_at=None,
        rechecked_at=None,
        closed_at=NOW if closed else None,
        closed_as=Closing.CURED if closed else None,
        before=Figures(score=70.0, rows=100, rejected=10, wrong=10),
        now=Figures(score=70.0, rows=100, rejected=10, wrong=10),
        last_arrival=SENT,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def look(held: Task, now_standing: Standing, *, now: datetime = NOW):
    """Look at a task's cell again."""
    today = local_day(now)
    judgement = judge(standing=now_standing, grades=GRADES, today=today)
    return respond(task=held, standing=now_standing, judgement=judgement, grades=GRADES, today=today, now=now)


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("act", Act)
def test_each_state_allows_its_steps_and_no_others(state: TaskState, act: Act):
    held = task(state)
    closing = Closing.ACCEPTED if act is Act.CLOSE else None

    if act in ALLOWED[state]:
        step = take(task=held, act=act, at=NOW, closing=closing)
        assert step.task.version == step.event.number == held.version + 1
        assert step.event.state is step.task.state
    else:
        with pytest.raises(StepRefusedError):
            take(task=held, act=act, at=NOW, closing=closing)
    assert may_take(task=held, act=act) is (act in ALLOWED[state])


@given(acts=st.lists(st.sampled_from(list(Act)), max_size=20))
def test_whatever_is_done_a_task_ends_once_and_its_steps_are_numbered(acts: list[Act]):
    held, events = task(version=1), []

    for minute, act in enumerate(acts):
        if may_take(task=held, act=act):
            closing = Closing.ACCEPTED if act is Act.CLOSE else None
            step = take(task=held, act=act, at=NOW + timedelta(minutes=minute), closing=closing)
            held, events = step.task, [*events, step.event]

    assert [event.number for event in events] == list(range(2, len(events) + 2))
    assert sum(event.act is Act.CLOSE for event in events) == (held.state is TaskState.CLOSED)
    firsts = {act: next((e.at for e in events if e.act is act), None) for act in Act}
    assert held.acknowledged_at == firsts[Act.ACKNOWLEDGE]
    assert held.resent_at == firsts[Act.SUBMIT]
    assert held.rechecked_at == firsts[Act.RECHECK]


def test_a_note_longer_than_a_page_is_refused_and_control_characters_are_left_out():
    step = take(task=task(), act=Act.ACKNOWLEDGE, at=NOW, note=" 已安排\x00\r\n处理 ")

    assert step.event.note == "已安排\n处理"
    with pytest.raises(ReasonNeededError):
        take(task=task(), act=Act.ACKNOWLEDGE, at=NOW, note="长" * 2001)


@pytest.mark.parametrize(
    ("now_standing", "grade", "causes"),
    [
        (standing(59.99), "red", {Cause.SCORE}),
        (standing(60.0), "orange", {Cause.SCORE}),
        (standing(95.0, findings=(finding(rows=30),)), "orange", {Cause.SHARE}),
        (standing(70.0, findings=(finding(rows=30),)), "orange", {Cause.SCORE, Cause.SHARE}),
        (standing(95.0, findings=(finding(rows=29),)), None, set()),
        (standing(95.0, findings=(finding(rows=99, severity=Severity.WARNING),)), None, set()),
        (standing(90.0), None, set()),
        (missing(TODAY), None, set()),
        (missing(TODAY - timedelta(days=1)), "yellow", {Cause.MISSING}),
        (missing(TODAY - timedelta(days=20)), "red", {Cause.MISSING}),
        (standing(None, rows=0), None, set()),
    ],
)
def test_the_most_serious_grade_that_applies_is_the_task_s(
    now_standing: Standing, grade: str | None, causes: set[Cause]
):
    judgement = judge(standing=now_standing, grades=GRADES, today=TODAY)

    assert (judgement.grade if judgement else None) == grade
    assert set(judgement.causes if judgement else ()) == causes


@pytest.mark.parametrize(
    ("day", "grade", "deadline"),
    [
        (date(2026, 1, 28), "orange", date(2026, 2, 7)),
        (date(2026, 2, 20), "orange", date(2026, 3, 2)),
        (date(2028, 2, 20), "orange", date(2028, 3, 1)),  # a leap year
        (date(2026, 12, 28), "red", date(2027, 1, 2)),
    ],
)
def test_deadlines_run_over_the_ends_of_months_and_years(day: date, grade: str, deadline: date):
    score = {"red": 10.0, "orange": 70.0}[grade]
    judgement = judge(standing=standing(score), grades=GRADES, today=day)

    assert judgement is not None
    assert deadline_of(judgement=judgement, today=day) == deadline


def test_days_are_the_region_s():
    # 16:30 in Greenwich is half past midnight of the next day in the region.
    assert local_day(datetime(2026, 3, 31, 16, 30, tzinfo=UTC)) == date(2026, 4, 1)
    assert local_day(datetime(2026, 3, 31, 15, 59, tzinfo=UTC)) == date(2026, 3, 31)


def test_a_task_is_overdue_from_the_day_after_its_last():
    held = task()

    assert not held.is_overdue(held.deadline)
    assert held.is_overdue(held.deadline + timedelta(days=1))
    assert not task(TaskState.CLOSED).is_overdue(date(2027, 1, 1))


@pytest.mark.parametrize(
    ("escalations", "days_late", "due"),
    [(0, 4, False), (0, 5, True), (1, 9, False), (1, 10, True), (2, 15, True), (3, 300, False)],
)
def test_each_higher_body_is_told_after_as_many_days_again(escalations: int, days_late: int, due: bool):
    held = task(escalations=escalations)

    assert escalation_due(task=held, today=held.deadline + timedelta(days=days_late)) is due


def test_a_task_whose_cause_has_gone_closes_with_the_figures_before_and_after():
    mended = standing(98.5, rows=120, sent=SENT + timedelta(days=3))

    done = look(task(TaskState.ACKNOWLEDGED), mended)

    assert [step.event.act for step in done.steps] == [Act.SUBMIT, Act.CLOSE]
    assert done.task.state is TaskState.CLOSED
    assert done.task.closed_as is Closing.CURED
    assert done.steps[-1].event.detail == {
        "before": {"score": 70.0, "rows": 100, "rejected": 10, "wrong": 10},
        "after": {"score": 98.5, "rows": 120, "rejected": 0, "wrong": 0},
        "as": "cured",
    }


def test_a_task_that_was_sent_anew_and_is_not_mended_is_rechecked():
    better = standing(74.0, sent=SENT + timedelta(days=3))

    done = look(task(), better)

    assert [step.event.act for step in done.steps] == [Act.SUBMIT, Act.RECHECK]
    assert done.task.state is TaskState.RECHECKED
    assert done.task.now.score == 74.0
    assert done.task.grade == "orange"


def test_who_says_that_it_was_sent_although_nothing_came_is_found_out():
    done = look(task(TaskState.RESENT), standing(70.0))

    assert [step.event.act for step in done.steps] == [Act.RECHECK]
    assert done.steps[0].event.detail["new_file"] is False


def test_a_task_that_got_worse_is_raised_and_never_gets_more_time():
    done = look(task(), standing(50.0))

    assert [step.event.act for step in done.steps] == [Act.RAISE]
    assert done.task.grade == "red"
    assert done.task.state is TaskState.ISSUED
    assert done.task.deadline == TODAY + timedelta(days=5)
    assert look(task(deadline=TODAY), standing(50.0)).task.deadline == TODAY


def test_a_task_that_got_better_keeps_its_grade_and_a_second_look_changes_nothing():
    once = look(task(), standing(80.0))
    twice = look(once.task, standing(80.0))

    assert once.task.grade == "orange"
    assert once.steps == twice.steps == ()
    assert twice.task == once.task


def test_rows_that_are_gone_are_no_cure():
    assert look(task(), standing(None, rows=0)).task.state is TaskState.ISSUED


def test_a_missing_month_that_came_and_is_good_closes_its_task():
    held = task(grade="yellow", causes=(Cause.MISSING,), last_arrival=None)

    assert look(held, standing(99.0, sent=NOW)).task.state is TaskState.CLOSED
    assert look(held, standing(85.0, sent=NOW)).task.state is TaskState.RECHECKED
    assert look(held, missing()).task.state is TaskState.ISSUED


@given(
    score=st.floats(0, 100),
    later=st.booleans(),
    state=st.sampled_from(sorted(set(TaskState) - {TaskState.CLOSED})),
)
def test_looking_twice_is_looking_once(score: float, later: bool, state: TaskState):
    now_standing = standing(score, sent=SENT + timedelta(days=later))

    once = look(task(state), now_standing)
    if once.task.is_open:
        twice = look(once.task, now_standing)
        assert twice.steps == ()
        assert twice.task == once.task


def test_a_raise_keeps_the_sooner_day():
    judgement = judge(standing=standing(10.0), grades=GRADES, today=TODAY)
    assert judgement is not None

    assert raised_deadline(task=task(deadline=date(2026, 4, 12)), judgement=judgement, today=TODAY) == date(
        2026, 4, 12
    )
    assert task().cell.month == MONTH
