"""The tables of tasks, their findings and steps, of notices and contacts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from kangshu.declarations import Severity
from kangshu.quality.model import Cell
from kangshu.quality.rectifying.model import (
    Act,
    Cause,
    Closing,
    Figures,
    Notice,
    StandingFinding,
    Task,
    TaskEvent,
    TaskFinding,
    TaskState,
    Way,
)
from kangshu.storage.database import Connection, Record


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """What a task begins with."""

    cell: Cell
    grade: str
    causes: Sequence[Cause]
    deadline: date
    escalate_days: int
    opened_at: datetime
    figures: Figures
    last_arrival: datetime | None


@dataclass(frozen=True, kw_only=True)
class TaskFilter:
    """What tasks are narrowed to; None takes all. `overdue_on` takes open ones that were due before it."""

    institutions: Sequence[str] | None = None
    month: date | None = None
    datasets: Sequence[str] | None = None
    states: Sequence[TaskState] | None = None
    grade: str | None = None
    overdue_on: date | None = None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The six arguments of `_WHERE`."""
        return (
            _list(self.institutions),
            self.month,
            _list(self.datasets),
            None if self.states is None else [one.value for one in self.states],
            self.grade,
            self.overdue_on,
        )


_WHERE = """($1::text[] IS NULL OR institution = ANY ($1)) AND ($2::date IS NULL OR month = $2)
        AND ($3::text[] IS NULL OR dataset = ANY ($3)) AND ($4::text[] IS NULL OR state = ANY ($4))
        AND ($5::text IS NULL OR grade = $5)
        AND ($6::date IS NULL OR (state <> 'closed' AND deadline < $6))"""


async def insert_tasks(connection: Connection, *, new: Sequence[NewTask]) -> list[Task]:
    """Return the new tasks in the order given; a cell that has an open one gets none."""
    rows = await connection.fetch(
        """INSERT INTO quality_task (month, dataset, institution, grade, causes, state, version, deadline,
             escalate_days, opened_at, score_before, rows_before, rejected_before, wrong_before,
             score_now, rows_now, rejected_now, wrong_now, last_arrival)
           SELECT month, dataset, institution, grade, string_to_array(causes, ','), 'issued', 1, deadline,
             escalate_days, opened_at, score, row_count, rejected, wrong, score, row_count, rejected, wrong,
             last_arrival
           FROM unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::integer[],
             $8::timestamptz[], $9::double precision[], $10::bigint[], $11::bigint[], $12::bigint[],
             $13::timestamptz[]) WITH ORDINALITY AS n (month, dataset, institution, grade, causes, deadline,
             escalate_days, opened_at, score, row_count, rejected, wrong, last_arrival, place)
           ORDER BY place
           ON CONFLICT (month, dataset, institution) WHERE state <> 'closed' DO NOTHING RETURNING *""",
        [one.cell.month for one in new],
        [one.cell.dataset for one in new],
        [one.cell.institution for one in new],
        [one.grade for one in new],
        [",".join(cause.value for cause in one.causes) for one in new],
        [one.deadline for one in new],
        [one.escalate_days for one in new],
        [one.opened_at for one in new],
        [one.figures.score for one in new],
        [one.figures.rows for one in new],
        [one.figures.rejected for one in new],
        [one.figures.wrong for one in new],
        [one.last_arrival for one in new],
    )
    return [_task(row) for row in rows]


async def update_task(connection: Connection, *, task: Task) -> None:
    """Keep everything of a task that can change. The caller holds the row's lock."""
    await connection.execute(
        """UPDATE quality_task SET grade = $2, causes = $3, state = $4, version = $5, deadline = $6,
             escalate_days = $7, returns = $8, escalations = $9, acknowledged_at = $10, resent_at = $11,
             rechecked_at = $12, closed_at = $13, closed_as = $14, score_now = $15, rows_now = $16,
             rejected_now = $17, wrong_now = $18, last_arrival = $19
           WHERE id = $1""",
        task.id,
        task.grade,
        [one.value for one in task.causes],
        task.state.value,
        task.version,
        task.deadline,
        task.escalate_days,
        task.returns,
        task.escalations,
        task.acknowledged_at,
        task.resent_at,
        task.rechecked_at,
        task.closed_at,
        task.closed_as.value if task.closed_as else None,
        *_columns_of(task.now),
        task.last_arrival,
    )


async def find_task(connection: Connection, *, task: int, lock: bool = False) -> Task | None:
    """Return a task; with `lock` nobody else changes it before the transaction's end."""
    row = await connection.fetchrow(
        f"SELECT * FROM quality_task WHERE id = $1{' FOR UPDATE' if lock else ''}",
        task,
    )
    return _task(row) if row else None


async def lock_open_tasks(
    connection: Connection, *, month: date, institutions: Sequence[str] | None
) -> list[Task]:
    """Return the open tasks about a month, none of which changes before the transaction's end."""
    rows = await connection.fetch(
        """SELECT * FROM quality_task WHERE month = $1 AND state <> 'closed'
             AND ($2::text[] IS NULL OR institution = ANY ($2)) ORDER BY id FOR UPDATE""",
        month,
        _list(institutions),
    )
    return [_task(row) for row in rows]


async def lock_tasks_of(connection: Connection, *, cells: Sequence[Cell]) -> list[Task]:
    """Return the open tasks about cells, none of which changes before the transaction's end."""
    rows = await connection.fetch(
        """SELECT * FROM quality_task WHERE state <> 'closed' AND (month, dataset, institution) IN (
             SELECT * FROM unnest($1::date[], $2::text[], $3::text[])) ORDER BY id FOR UPDATE""",
        [cell.month for cell in cells],
        [cell.dataset for cell in cells],
        [cell.institution for cell in cells],
    )
    return [_task(row) for row in rows]


async def lock_late_tasks(connection: Connection, *, today: date, limit: int) -> list[Task]:
    """Return open tasks whose deadline has passed by their days of escalation, and lock them."""
    rows = await connection.fetch(
        """SELECT * FROM quality_task
           WHERE state <> 'closed' AND deadline + escalate_days * (escalations + 1) <= $1
           ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED""",
        today,
        limit,
    )
    return [_task(row) for row in rows]


async def list_tasks(
    connection: Connection, *, narrow: TaskFilter, before: int | None, limit: int
) -> list[Task]:
    """Return tasks, the newest first; those after `before`."""
    rows = await connection.fetch(
        f"""SELECT * FROM quality_task WHERE {_WHERE} AND ($7::bigint IS NULL OR id < $7)
            ORDER BY id DESC LIMIT $8""",
        *narrow.arguments,
        before,
        limit,
    )
    return [_task(row) for row in rows]


async def count_tasks(connection: Connection, *, narrow: TaskFilter) -> int:
    """Return how many tasks there are."""
    count = await connection.fetchval(f"SELECT count(*) FROM quality_task WHERE {_WHERE}", *narrow.arguments)
    return count or 0


async def list_task_months(connection: Connection, *, institutions: Sequence[str] | None) -> list[date]:
    """Return the months that tasks are about, the latest first."""
    rows = await connection.fetch(
        """SELECT DISTINCT month FROM quality_task WHERE $1::text[] IS NULL OR institution = ANY ($1)
           ORDER BY month DESC""",
        _list(institutions),
    )
    return [row["month"] for row in rows]


async def insert_findings(connection: Connection, *, findings: Iterable[tuple[int, StandingFinding]]) -> None:
    """Keep what new tasks are about."""
    await connection.copy_records_to_table(
        "quality_task_finding",
        records=[
            (task, one.rule, one.field, one.severity.value, one.rows, one.points, one.rows, one.points)
            for task, one in findings
        ],
        columns=[
            "task",
            "rule",
            "field",
            "severity",
            "rows_before",
            "points_before",
            "rows_now",
            "points_now",
        ],
    )


async def renew_findings(connection: Connection, *, task: int, findings: Iterable[StandingFinding]) -> None:
    """Keep the rows and points of now, of findings that came later too; what is not named is gone."""
    await connection.execute(
        "UPDATE quality_task_finding SET rows_now = 0, points_now = 0 WHERE task = $1", task
    )
    await connection.executemany(
        """INSERT INTO quality_task_finding (task, rule, field, severity, rows_before, points_before,
             rows_now, points_now)
           VALUES ($1, $2, $3, $4, 0, 0, $5, $6)
           ON CONFLICT (task, rule, field) DO UPDATE SET rows_now = excluded.rows_now,
             points_now = excluded.points_now, severity = excluded.severity""",
        [(task, one.rule, one.field, one.severity.value, one.rows, one.points) for one in findings],
    )


async def list_findings(connection: Connection, *, tasks: Sequence[int]) -> list[tuple[int, TaskFinding]]:
    """Return with their task what tasks are about, the most valuable first."""
    rows = await connection.fetch(
        """SELECT * FROM quality_task_finding WHERE task = ANY ($1)
           ORDER BY task, points_before DESC, rows_before DESC, rows_now DESC, rule, field""",
        list(tasks),
    )
    return [
        (
            row["task"],
            TaskFinding(
                rule=row["rule"],
                field=row["field"],
                severity=Severity(row["severity"]),
                rows_before=row["rows_before"],
                points_before=row["points_before"],
                rows_now=row["rows_now"],
                points_now=row["points_now"],
            ),
        )
        for row in rows
    ]


async def insert_events(connection: Connection, *, events: Iterable[TaskEvent]) -> None:
    """Keep steps."""
    await connection.executemany(
        """INSERT INTO quality_task_event (task, number, act, state, at, actor, actor_name, note, detail)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        [
            (
                one.task,
                one.number,
                one.act.value,
                one.state.value,
                one.at,
                one.actor,
                one.actor_name,
                one.note,
                dict(one.detail),
            )
            for one in events
        ],
    )


async def list_events(connection: Connection, *, task: int, number: int | None = None) -> list[TaskEvent]:
    """Return the steps of a task in their order, or the one with a number."""
    rows = await connection.fetch(
        """SELECT * FROM quality_task_event WHERE task = $1 AND ($2::integer IS NULL OR number = $2)
           ORDER BY number""",
        task,
        number,
    )
    return [
        TaskEvent(
            task=row["task"],
            number=row["number"],
            act=Act(row["act"]),
            state=TaskState(row["state"]),
            at=row["at"],
            actor=row["actor"],
            actor_name=row["actor_name"],
            note=row["note"],
            detail=row["detail"],
        )
        for row in rows
    ]


async def loop_figures(connection: Connection, *, narrow: TaskFilter, today: date, zone: str) -> list[Record]:
    """Return how tasks went: of all together first, then of each institution."""
    return await connection.fetch(
        f"""SELECT institution, grouping(institution) AS together,
              count(*) AS tasks,
              count(*) FILTER (WHERE state = 'closed') AS closed,
              count(*) FILTER (WHERE closed_as = 'cured') AS cured,
              count(*) FILTER (WHERE closed_at < (date_trunc('month', opened_at AT TIME ZONE $8)
                                                  + interval '1 month') AT TIME ZONE $8) AS cleared,
              count(*) FILTER (WHERE state <> 'closed') AS open,
              count(*) FILTER (WHERE state <> 'closed' AND deadline < $7) AS overdue,
              count(*) FILTER (WHERE escalations > 0) AS escalated,
              count(*) FILTER (WHERE returns > 0) AS returned,
              {_median("acknowledged_at")} AS acknowledge_hours,
              {_median("resent_at")} AS resend_hours,
              {_median("closed_at")} AS close_hours
            FROM quality_task WHERE {_WHERE}
            GROUP BY GROUPING SETS ((), (institution))
            ORDER BY together DESC, tasks DESC, institution""",
        *narrow.arguments,
        today,
        zone,
    )


def _median(column: str) -> str:
    # Tasks that did not get so far have no hours and are no part of the median.
    hours = f"extract(epoch FROM {column} - opened_at) / 3600"
    return f"(percentile_cont(0.5) WITHIN GROUP (ORDER BY {hours}))::double precision"


async def insert_notices(
    connection: Connection, *, codes: Iterable[str], task: int, event: int, topic: str, at: datetime
) -> list[Notice]:
    """Keep a notice for each code; return those that are new."""
    rows = await connection.fetch(
        """INSERT INTO quality_notice (code, task, event, topic, at)
           SELECT code, $2, $3, $4, $5 FROM unnest($1::text[]) AS code
           ON CONFLICT (task, event, code) DO NOTHING RETURNING *""",
        list(codes),
        task,
        event,
        topic,
        at,
    )
    return [_notice(row) for row in rows]


async def find_notice(connection: Connection, *, notice: int) -> Notice | None:
    """Return a notice."""
    row = await connection.fetchrow("SELECT * FROM quality_notice WHERE id = $1", notice)
    return _notice(row) if row else None


async def list_notices(
    connection: Connection, *, codes: Sequence[str], unread: bool, limit: int
) -> list[Notice]:
    """Return notices, the newest first."""
    rows = await connection.fetch(
        """SELECT * FROM quality_notice WHERE code = ANY ($1) AND (NOT $2 OR read_at IS NULL)
           ORDER BY id DESC LIMIT $3""",
        list(codes),
        unread,
        limit,
    )
    return [_notice(row) for row in rows]


async def count_unread(connection: Connection, *, codes: Sequence[str], most: int) -> int:
    """Return how many notices nobody has read yet, `most` at most."""
    count = await connection.fetchval(
        """SELECT count(*) FROM (SELECT 1 FROM quality_notice WHERE code = ANY ($1) AND read_at IS NULL
                                 LIMIT $2) AS few""",
        list(codes),
        most,
    )
    return count or 0


async def mark_read(connection: Connection, *, codes: Sequence[str], upto: int, at: datetime, by: str) -> int:
    """Mark notices up to a number as read; return how many."""
    status = await connection.execute(
        """UPDATE quality_notice SET read_at = $3, read_by = $4
           WHERE code = ANY ($1) AND id <= $2 AND read_at IS NULL""",
        list(codes),
        upto,
        at,
        by,
    )
    return int(status.split()[-1])


async def mark_sent(connection: Connection, *, notice: int, way: Way, at: datetime) -> None:
    """Keep that a notice went out."""
    column = {Way.MAIL: "mailed_at", Way.HOOK: "posted_at"}[way]
    await connection.execute(f"UPDATE quality_notice SET {column} = $2 WHERE id = $1", notice, at)


async def list_ways(connection: Connection, *, codes: Sequence[str]) -> list[Record]:
    """Return by which ways codes can be told."""
    return await connection.fetch(
        """SELECT code, mail <> '' AS mail, hook <> '' AS hook FROM quality_contact
           WHERE code = ANY ($1) ORDER BY code""",
        list(codes),
    )


async def put_contact(
    connection: Connection,
    *,
    code: str,
    mail: str,
    hook: str,
    algorithm: str,
    secret: tuple[bytes, bytes] | None,
    at: datetime,
    by: str,
) -> None:
    """Keep whom to tell, with the sealed secret and its digest."""
    sealed, digest = secret or (None, None)
    await connection.execute(
        """INSERT INTO quality_contact (code, mail, hook, algorithm, secret_sealed, secret_digest, updated_at,
             updated_by)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
           ON CONFLICT (code) DO UPDATE SET mail = excluded.mail, hook = excluded.hook,
             algorithm = excluded.algorithm, secret_sealed = excluded.secret_sealed,
             secret_digest = excluded.secret_digest, updated_at = excluded.updated_at,
             updated_by = excluded.updated_by""",
        code,
        mail,
        hook,
        algorithm,
        sealed,
        digest,
        at,
        by,
    )


async def list_contacts(connection: Connection, *, codes: Sequence[str] | None) -> list[Record]:
    """Return contacts by code."""
    return await connection.fetch(
        "SELECT * FROM quality_contact WHERE $1::text[] IS NULL OR code = ANY ($1) ORDER BY code",
        _list(codes),
    )


async def delete_contact(connection: Connection, *, code: str) -> bool:
    """Forget a contact; tell whether there was one."""
    return (await connection.execute("DELETE FROM quality_contact WHERE code = $1", code)) != "DELETE 0"


async def add_up_findings(
    connection: Connection, *, month: date, institutions: Sequence[str], datasets: Sequence[str] | None
) -> list[Record]:
    """Return what checks found in the cells of a month, over all their files."""
    return await connection.fetch(
        """SELECT unit.dataset, unit.institution, rule, field, min(severity) AS severity,
                  max(dimension) AS dimension, sum(finding.rows)::bigint AS rows, sum(sole)::bigint AS sole
           FROM quality_unit AS unit JOIN quality_finding AS finding USING (file_id, institution, month)
           WHERE unit.month = $1 AND unit.institution = ANY ($2)
             AND ($3::text[] IS NULL OR unit.dataset = ANY ($3))
           GROUP BY unit.dataset, unit.institution, rule, field""",
        month,
        list(institutions),
        _list(datasets),
    )


async def list_cells_of(connection: Connection, *, files: Sequence[int]) -> list[Cell]:
    """Return the cells that files have rows in."""
    rows = await connection.fetch(
        """SELECT DISTINCT month, dataset, institution FROM quality_unit WHERE file_id = ANY ($1)
           ORDER BY month, dataset, institution""",
        list(files),
    )
    return [Cell(month=row["month"], dataset=row["dataset"], institution=row["institution"]) for row in rows]


def _columns_of(figures: Figures) -> tuple[float | None, int, int, int]:
    return figures.score, figures.rows, figures.rejected, figures.wrong


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def _task(row: Record) -> Task:
    return Task(
        id=row["id"],
        cell=Cell(month=row["month"], dataset=row["dataset"], institution=row["institution"]),
        grade=row["grade"],
        causes=tuple(Cause(one) for one in row["causes"]),
        state=TaskState(row["state"]),
        version=row["version"],
        deadline=row["deadline"],
        escalate_days=row["escalate_days"],
        returns=row["returns"],
        escalations=row["escalations"],
        opened_at=row["opened_at"],
        acknowledged_at=row["acknowledged_at"],
        resent_at=row["resent_at"],
        rechecked_at=row["rechecked_at"],
        closed_at=row["closed_at"],
        closed_as=Closing(row["closed_as"]) if row["closed_as"] else None,
        before=_figures(row, "before"),
        now=_figures(row, "now"),
        last_arrival=row["last_arrival"],
    )


def _figures(row: Record, when: str) -> Figures:
    return Figures(
        score=row[f"score_{when}"],
        rows=row[f"rows_{when}"],
        rejected=row[f"rejected_{when}"],
        wrong=row[f"wrong_{when}"],
    )


def _notice(row: Record) -> Notice:
    return Notice(
        id=row["id"],
        code=row["code"],
        task=row["task"],
        event=row["event"],
        topic=row["topic"],
        at=row["at"],
        read_at=row["read_at"],
        mailed_at=row["mailed_at"],
        posted_at=row["posted_at"],
    )
