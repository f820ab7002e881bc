"""Tasks in the database: opened once, acted upon by those who may, one at a time, and measured."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from rectifying_region import (
    CENTRE,
    CITY,
    GRADES,
    HOSPITAL,
    MONTH,
    NOW,
    OTHER,
    SENDER,
    SENT,
    STATISTICIAN,
    STRANGER,
    cell,
    finding,
    missing,
    standing,
)

from kangshu import directory
from kangshu.quality.rectifying import (
    Act,
    Closing,
    DeadlineRefusedError,
    ReasonNeededError,
    Reviewed,
    Standing,
    StepRefusedError,
    Task,
    TaskChangedError,
    TaskFilter,
    TaskNotFoundError,
    TaskState,
    acknowledge,
    cleared_rate,
    close,
    count_tasks,
    escalate_due,
    get_task,
    list_task_events,
    list_task_findings,
    list_task_months,
    list_tasks,
    local_day,
    loop_figures,
    return_task,
    review_standings,
    submit,
)
from kangshu.security.errors import NotPermittedError
from kangshu.storage.database import Database

pytestmark = pytest.mark.database

BAD = standing(70.0, findings=(finding("FP001", 12), finding("required", 7, field="sex")))


async def review(database: Database, *standings: Standing, now: datetime = NOW) -> Reviewed:
    """Review the month with these standings."""
    async with database.transaction() as connection:
        return await review_standings(connection, grades=GRADES, standings=standings, month=MONTH, now=now)


async def one_task(database: Database) -> Task:
    """Open a task and return it."""
    return (await review(database, BAD)).opened[0]


async def act(database: Database, step: Any, task: Task | int, principal: Any, **more: Any) -> Task:
    """Take a step in a transaction of its own."""
    number = task if isinstance(task, int) else task.id
    async with database.transaction() as connection:
        return await step(connection, task=number, principal=principal, **{"now": NOW, **more})


async def announced(database: Database) -> list[tuple[str, int]]:
    """Return the topics and steps that were announced."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT topic, payload FROM storage_outbox ORDER BY id")
    return [(row["topic"], row["payload"]["event"]) for row in rows]


def test_a_review_opens_a_task_with_its_findings_deadline_and_announcement(database_run):
    async def scenario(database: Database) -> None:
        done = await review(database, BAD, standing(95.0, institution=OTHER))

        (task,) = done.opened
        assert (task.grade, task.state, task.version) == ("orange", TaskState.ISSUED, 1)
        assert task.deadline == date(2026, 4, 21)
        async with database.connection() as connection:
            found = (await list_task_findings(connection, tasks=[task.id]))[task.id]
            (event,) = await list_task_events(connection, task=task.id)
        assert [(one.rule, one.field, one.rows_before) for one in found] == [
            ("FP001", "", 12),
            ("required", "sex", 7),
        ]
        assert event.act is Act.OPEN
        assert event.detail["deadline"] == "2026-04-21"
        assert await announced(database) == [("quality.task_opened", 1)]

    database_run(scenario)


def test_reviewing_twice_opens_nothing_twice(database_run):
    async def scenario(database: Database) -> None:
        await review(database, BAD, missing(institution=OTHER))
        again = await review(database, BAD, missing(institution=OTHER))

        assert again.changed == 0
        async with database.connection() as connection:
            assert await count_tasks(connection) == 2
        assert len(await announced(database)) == 2

    database_run(scenario)


def test_two_who_review_at_the_same_time_open_each_task_once(database_run):
    async def scenario(database: Database) -> None:
        cells = [
            replace(BAD, cell=cell(institution=f"9901010000000{number:04d}A1000")) for number in range(20)
        ]

        done = await asyncio.gather(*(review(database, *cells) for _ in range(4)))

        assert sum(len(one.opened) for one in done) == 20
        async with database.connection() as connection:
            assert await count_tasks(connection) == 20
        assert len(await announced(database)) == 20

    database_run(scenario)


def test_the_whole_way_from_warning_to_closing_is_kept_with_its_times(database_run):
    async def scenario(database: Database) -> None:
        task = await one_task(database)
        await act(database, acknowledge, task, SENDER, now=NOW + timedelta(hours=2), note="信息科已安排")
        await act(database, submit, task, SENDER, now=NOW + timedelta(hours=30))
        still = await review(database, BAD, now=NOW + timedelta(hours=31))
        await act(
            database,
            return_task,
            task,
            CENTRE,
            now=NOW + timedelta(hours=40),
            reason="未见新文件",
            deadline=date(2026, 4, 25),
        )
        mended = standing(97.0, sent=NOW + timedelta(hours=49))
        ended = await review(database, mended, now=NOW + timedelta(hours=50))

        assert [one.id for one in still.rechecked] == [task.id]
        assert [one.id for one in ended.closed] == [task.id]
        async with database.connection() as connection:
            kept = await get_task(connection, task=task.id)
            events = await list_task_events(connection, task=task.id)
            found = (await list_task_findings(connection, tasks=[task.id]))[task.id]
            whole, (own,) = await loop_figures(connection, now=NOW + timedelta(hours=60))
        assert [event.act for event in events] == [
            Act.OPEN,
            Act.ACKNOWLEDGE,
            Act.SUBMIT,
            Act.RECHECK,
            Act.RETURN,
            Act.SUBMIT,
            Act.CLOSE,
        ]
        assert [event.actor for event in events][1:5] == [SENDER.id, SENDER.id, "system", CENTRE.id]
        assert events[4].note == "未见新文件"
        assert (kept.deadline, kept.returns, kept.closed_as) == (date(2026, 4, 25), 1, Closing.CURED)
        assert (kept.before.score, kept.now.score) == (70.0, 97.0)
        assert [(one.rows_before, one.rows_now) for one in found] == [(12, 0), (7, 0)]
        assert (own.institution, whole.institution) == (HOSPITAL, None)
        assert (whole.acknowledge_hours, whole.resend_hours, whole.close_hours) == (2.0, 30.0, 50.0)
        assert [topic for topic, _ in await announced(database)] == [
            "quality.task_opened",
            "quality.task_returned",
            "quality.task_closed",
        ]

    database_run(scenario)


def test_acts_of_people_are_on_the_audit(database_run):
    async def scenario(database: Database) -> None:
        task = await one_task(database)
        await act(database, acknowledge, task, SENDER)
        await act(database, close, task, CENTRE, note="机构已停业")

        async with database.connection() as connection:
            rows = await connection.fetch("SELECT actor, action, resource FROM audit_pending ORDER BY id")
        assert [tuple(row) for row in rows] == [
            (SENDER.id, "quality.task-acknowledge", f"quality-task/{task.id}"),
            (CENTRE.id, "quality.task-close", f"quality-task/{task.id}"),
        ]

    database_run(scenario)


@pytest.mark.parametrize(
    ("step", "more", "who", "refusal"),
    [
        (acknowledge, {}, STATISTICIAN, NotPermittedError),
        (submit, {}, STATISTICIAN, NotPermittedError),
        (return_task, {"reason": "不足"}, SENDER, NotPermittedError),
        (close, {"note": "可接受"}, SENDER, NotPermittedError),
        (acknowledge, {}, STRANGER, TaskNotFoundError),
        (submit, {}, STRANGER, TaskNotFoundError),
        (close, {"note": "可接受"}, CITY, TaskNotFoundError),
        (return_task, {"reason": " "}, CENTRE, ReasonNeededError),
        (close, {"note": ""}, CENTRE, ReasonNeededError),
        (return_task, {"reason": "不足"}, CENTRE, StepRefusedError),
        (return_task, {"reason": "不足", "deadline": date(2026, 4, 10)}, CENTRE, DeadlineRefusedError),
        (return_task, {"reason": "不足", "deadline": date(2027, 4, 10)}, CENTRE, DeadlineRefusedError),
    ],
)
def test_who_may_not_is_refused_and_nothing_happens(database_run, step, more, who, refusal):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await directory.load_institutions(
                connection,
                rows=[{"institution_code": HOSPITAL, "name": "合成医院", "division_code": "990101"}],
            )
        task = await one_task(database)

        with pytest.raises(refusal):
            await act(database, step, task, who, **more)

        async with database.connection() as connection:
            assert await get_task(connection, task=task.id) == task

    database_run(scenario)


@pytest.mark.parametrize("number", [0, -1, 10**30, 999])
def test_a_number_that_is_no_task_s_is_not_found(database_run, number: int):
    async def scenario(database: Database) -> None:
        with pytest.raises(TaskNotFoundError):
            await act(database, acknowledge, number, CENTRE)
        async with database.connection() as connection:
            with pytest.raises(TaskNotFoundError):
                await get_task(connection, task=number)

    database_run(scenario)


def test_a_task_of_another_institution_looks_as_if_there_were_none(database_run):
    async def scenario(database: Database) -> None:
        task = await one_task(database)

        async with database.connection() as connection:
            with pytest.raises(TaskNotFoundError):
                await get_task(connection, task=task.id, institutions=[OTHER])
            assert await list_tasks(connection, narrow=TaskFilter(institutions=[OTHER])) == []

    database_run(scenario)


def test_of_two_who_act_at_the_same_time_one_gets_a_conflict(database_run):
    async def scenario(database: Database) -> None:
        task = await one_task(database)

        ends = await asyncio.gather(
            *(act(database, acknowledge, task, SENDER, version=task.version) for _ in range(5)),
            *(act(database, close, task, CENTRE, note="可接受", version=task.version) for _ in range(5)),
            return_exceptions=True,
        )

        assert sum(isinstance(end, Task) for end in ends) == 1
        assert sum(isinstance(end, TaskChangedError) for end in ends) == 9
        async with database.connection() as connection:
            assert len(await list_task_events(connection, task=task.id)) == 2

    database_run(scenario)


def test_a_step_and_a_review_at_the_same_time_both_happen_or_one_is_refused(database_run):
    async def scenario(database: Database) -> None:
        task = await one_task(database)
        mended = standing(97.0, sent=SENT + timedelta(days=2))

        reviewed, acted = await asyncio.gather(
            review(database, mended), act(database, acknowledge, task, SENDER), return_exceptions=True
        )

        assert isinstance(reviewed, Reviewed)
        assert isinstance(acted, (Task, StepRefusedError))
        async with database.connection() as connection:
            events = await list_task_events(connection, task=task.id)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert events[-1].act is Act.CLOSE

    database_run(scenario)


def test_after_a_task_was_closed_a_new_cause_opens_a_new_one(database_run):
    async def scenario(database: Database) -> None:
        first = await one_task(database)
        await review(database, standing(97.0, sent=SENT + timedelta(days=1)))
        second = (await review(database, standing(50.0, sent=SENT + timedelta(days=2)))).opened[0]

        assert second.id > first.id
        assert second.grade == "red"

    database_run(scenario)


def test_late_tasks_are_escalated_once_for_each_body_and_come_back_with_a_new_deadline(database_run):
    async def scenario(database: Database) -> None:
        task = await one_task(database)  # due on 21 April, five days to the next body
        told: list[tuple[str, int]] = []
        day = NOW
        while day < NOW + timedelta(days=40):
            async with database.transaction() as connection:
                told += [
                    (f"{local_day(day):%m-%d}", one.escalations)
                    for one in await escalate_due(connection, now=day)
                ]
            day += timedelta(days=1)
        returned = await act(
            database, return_task, task, CENTRE, now=day, reason="请尽快", deadline=local_day(day)
        )

        assert told == [("04-26", 1), ("05-01", 2), ("05-06", 3)]
        assert (returned.state, returned.escalations) == (TaskState.RETURNED, 0)
        assert [topic for topic, _ in await announced(database)].count("quality.task_escalated") == 3

    database_run(scenario)


def test_cleared_are_tasks_closed_by_the_end_of_the_month_by_the_region_s_clock(database_run):
    async def scenario(database: Database) -> None:
        april_end = datetime(2026, 4, 30, 15, 59, tzinfo=UTC)  # 23:59 in the region
        may = datetime(2026, 4, 30, 16, 0, tzinfo=UTC)
        codes = [f"9901010000000{number:04d}A1000" for number in range(4)]
        await review(database, *(replace(BAD, cell=cell(institution=code)) for code in codes))
        async with database.connection() as connection:
            tasks = await list_tasks(connection)
        await act(database, close, tasks[0], CENTRE, now=april_end, note="可接受")
        await act(database, close, tasks[1], CENTRE, now=may, note="可接受")

        async with database.connection() as connection:
            rate = await cleared_rate(connection, month=MONTH, now=may)
            nothing = await cleared_rate(connection, month=date(2026, 2, 1), now=may)
            whole, each = await loop_figures(connection, now=may, narrow=TaskFilter(month=MONTH))
        assert rate == 0.25
        assert nothing is None
        assert (whole.tasks, whole.closed, whole.cleared, whole.open, whole.overdue) == (4, 2, 1, 2, 2)
        assert sum(one.tasks for one in each) == 4
        assert whole.acknowledge_hours is None

    database_run(scenario)


def test_lists_are_narrowed_by_grade_state_month_and_overdue(database_run):
    async def scenario(database: Database) -> None:
        await review(database, BAD, standing(50.0, dataset="lab_result"), missing(institution=OTHER))

        async with database.connection() as connection:
            assert await list_task_months(connection) == [MONTH]
            for narrow, count in (
                (TaskFilter(), 3),
                (TaskFilter(grade="red"), 1),
                (TaskFilter(states=[TaskState.CLOSED]), 0),
                (TaskFilter(institutions=[HOSPITAL]), 2),
                (TaskFilter(datasets=["front_page"]), 2),
                (TaskFilter(month=date(2026, 2, 1)), 0),
                (TaskFilter(overdue_on=date(2026, 4, 17)), 1),  # the red one is due on the 16th
                (TaskFilter(overdue_on=date(2026, 4, 16)), 0),
            ):
                assert len(await list_tasks(connection, narrow=narrow)) == count
                assert await count_tasks(connection, narrow=narrow) == count
            first, second, third = await list_tasks(connection)
            assert await list_tasks(connection, before=second.id) == [third]
            assert first.id > second.id > third.id

    database_run(scenario)
