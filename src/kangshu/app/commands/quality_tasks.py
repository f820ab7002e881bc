"""`quality review`, `quality tasks`, `quality contact`: tasks to mend data, and whom to tell of them."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu.app.commands.quality import quality
from kangshu.app.errors import UsageError, say
from kangshu.app.platform import open_platform
from kangshu.app.presenting import out, present, print_table
from kangshu.app.program import Json, home_of, run
from kangshu.kernel.periods import Period
from kangshu.quality.rectifying import (
    Contact,
    LoopFigures,
    Task,
    TaskFilter,
    TaskState,
    count_tasks,
    escalate_due,
    list_contacts,
    list_tasks,
    local_day,
    loop_figures,
    remove_contact,
    review_month,
    set_contact,
)
from kangshu.security.principals import SYSTEM

contact_app = typer.Typer(help="整改通知的联系方式 / whom to tell of tasks", no_args_is_help=True)
quality.add_typer(contact_app, name="contact")

Month = Annotated[str, typer.Option(help="数据月份，如 2026-03 / month of the data")]

_TASK_COLUMNS = (
    "task",
    "institution",
    "dataset",
    "month",
    "grade",
    "state",
    "deadline",
    "overdue",
    "before",
    "now",
)


@quality.command("review")
def review_command(context: typer.Context, month: Month, as_json: Json = False) -> None:
    """核对一个月的数据，按等级发出整改任务 / open tasks for a month by grade; twice opens nothing twice."""
    present(run(_review(home_of(context), month), as_json=as_json), as_json=as_json)


async def _review(home: Path, text: str) -> dict[str, Any]:
    month = _month(text)
    async with open_platform(home) as platform, platform.database.transaction() as connection:
        now = platform.clock.now()
        done = await review_month(connection, pack=platform.pack, month=month, now=now)
        escalated = await escalate_due(connection, now=now)
        return {
            "month": f"{month:%Y-%m}",
            "opened": len(done.opened),
            "raised": len(done.raised),
            "rechecked": len(done.rechecked),
            "closed": len(done.closed),
            "escalated": len(escalated),
        }


@quality.command("tasks")
def tasks_command(
    context: typer.Context,
    month: Annotated[str, typer.Option(help="数据月份 / month of the data")] = "",
    institution: Annotated[str, typer.Option(help="机构代码 / institution")] = "",
    grade: Annotated[str, typer.Option(help="预警等级 / grade")] = "",
    state: Annotated[TaskState | None, typer.Option(help="进度 / state")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="只看逾期 / overdue only")] = False,
    limit: int = 100,
    as_json: Json = False,
) -> None:
    """整改任务和月清率 / tasks, and how fast they are done."""
    narrow = TaskFilter(
        institutions=[institution] if institution else None,
        grade=grade or None,
        states=[state] if state else None,
    )
    result = run(_tasks(home_of(context), month, narrow, overdue, limit), as_json=as_json)

    def show() -> None:
        print_table(_TASK_COLUMNS, [tuple(one[name] for name in _TASK_COLUMNS) for one in result["tasks"]])
        figures = result["figures"]
        rate = figures["cleared_rate"]
        told = "—" if rate is None else f"{rate:.1%}"
        out.print(
            f"共 {result['count']:,} 项 · 月清率 cleared {told} · "
            f"未完成 open {figures['open']:,} · 逾期 overdue {figures['overdue']:,}"
        )

    present(result, as_json=as_json, show=show)


async def _tasks(home: Path, month: str, narrow: TaskFilter, overdue: bool, limit: int) -> dict[str, Any]:
    narrow = replace(narrow, month=_month(month) if month else None)
    async with open_platform(home) as platform, platform.database.connection() as connection:
        now = platform.clock.now()
        today = local_day(now)
        asked = replace(narrow, overdue_on=today if overdue else None)
        found = await list_tasks(connection, narrow=asked, limit=limit)
        whole, _ = await loop_figures(connection, now=now, narrow=narrow)
        return {
            "count": await count_tasks(connection, narrow=asked),
            "tasks": [_task_facts(one, today) for one in found],
            "figures": _loop_facts(whole),
        }


def _task_facts(task: Task, today: date) -> dict[str, Any]:
    return {
        "task": task.id,
        "institution": task.cell.institution,
        "dataset": task.cell.dataset,
        "month": f"{task.cell.month:%Y-%m}",
        "grade": task.grade,
        "state": task.state.value,
        "deadline": task.deadline.isoformat(),
        "overdue": task.is_overdue(today),
        "before": task.before.score,
        "now": task.now.score,
        "causes": [cause.value for cause in task.causes],
        "opened_at": task.opened_at.isoformat(timespec="seconds"),
        "closed_at": task.closed_at.isoformat(timespec="seconds") if task.closed_at else None,
    }


def _loop_facts(figures: LoopFigures) -> dict[str, Any]:
    return {
        "tasks": figures.tasks,
        "closed": figures.closed,
        "cured": figures.cured,
        "cleared": figures.cleared,
        "cleared_rate": figures.cleared_rate,
        "open": figures.open,
        "overdue": figures.overdue,
        "escalated": figures.escalated,
        "returned": figures.returned,
        "acknowledge_hours": figures.acknowledge_hours,
        "resend_hours": figures.resend_hours,
        "close_hours": figures.close_hours,
    }


@contact_app.command("set")
def set_contact_command(
    context: typer.Context,
    code: Annotated[str, typer.Argument(help="机构代码或行政区划代码 / institution or division")],
    mail: Annotated[str, typer.Option(help="电子邮箱 / e-mail address")] = "",
    hook: Annotated[str, typer.Option(help="推送地址 http(s)://... / web-hook address")] = "",
    algorithm: Annotated[
        str, typer.Option(help="签名算法 sha256 或 sm3 / algorithm of the signature")
    ] = "sha256",
    secret_file: Annotated[
        Path | None,
        typer.Option(help="存放签名密钥的文件；不给则生成 / file with the secret; else one is made"),
    ] = None,
    as_json: Json = False,
) -> None:
    """设置联系方式；新生成的密钥只显示一次 / set whom to tell; a secret that is made is shown once."""
    work = _set_contact(home_of(context), code, mail, hook, algorithm, secret_file)
    present(run(work, as_json=as_json), as_json=as_json)


async def _set_contact(
    home: Path, code: str, mail: str, hook: str, algorithm: str, secret_file: Path | None
) -> dict[str, Any]:
    secret = _secret(secret_file) if secret_file else ""
    async with open_platform(home) as platform, platform.database.transaction() as connection:
        known = {one.secret for one in await list_contacts(connection, keys=platform.keys, codes=[code])}
        contact = await set_contact(
            connection,
            keys=platform.keys,
            code=code,
            mail=mail,
            hook=hook,
            algorithm=algorithm,
            secret=secret,
            principal=SYSTEM,
            now=platform.clock.now(),
            random=secrets.token_bytes,
        )
        made = bool(contact.secret) and contact.secret not in {secret, *known}
        return _contact_facts(contact) | ({"secret": contact.secret} if made else {})


@contact_app.command("list")
def list_contacts_command(context: typer.Context, as_json: Json = False) -> None:
    """列出联系方式，不含密钥 / list whom to tell, without the secrets."""
    found = run(_list_contacts(home_of(context)), as_json=as_json)
    columns = ("code", "mail", "hook", "algorithm", "updated_at")
    present(
        {"contacts": found},
        as_json=as_json,
        show=lambda: print_table(columns, [tuple(one[name] for name in columns) for one in found]),
    )


async def _list_contacts(home: Path) -> list[dict[str, Any]]:
    async with open_platform(home) as platform, platform.database.connection() as connection:
        return [_contact_facts(one) for one in await list_contacts(connection, keys=platform.keys)]


@contact_app.command("remove")
def remove_contact_command(context: typer.Context, code: str, as_json: Json = False) -> None:
    """删除联系方式 / forget whom to tell; the console still does."""
    present(run(_remove_contact(home_of(context), code), as_json=as_json), as_json=as_json)


async def _remove_contact(home: Path, code: str) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.transaction() as connection:
        await remove_contact(connection, code=code, principal=SYSTEM, now=platform.clock.now())
        return {"code": code, "removed": True}


def _contact_facts(contact: Contact) -> dict[str, Any]:
    return {
        "code": contact.code,
        "mail": contact.mail,
        "hook": contact.hook,
        "algorithm": contact.algorithm.value if contact.hook else None,
        "updated_at": contact.updated_at.isoformat(timespec="seconds"),
    }


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(say("no_such_path", path=path)) from None


def _month(text: str) -> date:
    try:
        period = Period.parse(text)
    except ValueError:
        raise UsageError(say("no_such_period")) from None
    if period != Period.month(year=period.start.year, month=period.start.month):
        raise UsageError(say("no_such_period"))
    return period.start
