"""`queues`: announcements and jobs that failed again and again; send them on after a repair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from kangshu.app.platform import open_platform
from kangshu.app.presenting import out, present, print_table
from kangshu.app.program import Json, app, home_of, run
from kangshu.storage import jobs, outbox

queues_app = typer.Typer(help="队列 / announcements and jobs that failed for good", no_args_is_help=True)
app.add_typer(queues_app, name="queues")


@queues_app.command("list")
def list_command(context: typer.Context, as_json: Json = False) -> None:
    """列出死信 / list the dead letters."""
    result = run(_list(home_of(context)), as_json=as_json)

    def show() -> None:
        out.print(f"等待 waiting {result['waiting']:,} · 死信 dead {len(result['dead']):,}")
        rows = [
            (one["kind"], one["id"], one["what"], one["attempts"], one["error"]) for one in result["dead"]
        ]
        print_table(("kind", "id", "what", "attempts", "error"), rows)

    present(result, as_json=as_json, show=show)


async def _list(home: Path) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.connection() as connection:
        backlog = await outbox.get_backlog(connection)
        dead = [
            {
                "kind": "announcement",
                "id": one.id,
                "what": one.topic,
                "attempts": one.attempts,
                "error": one.error,
            }
            for one in await outbox.list_dead(connection)
        ]
        dead += [
            {"kind": "job", "id": one.id, "what": one.kind, "attempts": one.attempts, "error": one.error}
            for one in await jobs.list_dead(connection)
        ]
        return {"waiting": backlog.waiting, "dead": dead}


@queues_app.command("retry")
def retry_command(context: typer.Context, as_json: Json = False) -> None:
    """重试死信 / give every dead letter another chance."""
    present(run(_retry(home_of(context)), as_json=as_json), as_json=as_json)


async def _retry(home: Path) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.transaction() as connection:
        return {
            "announcements": await outbox.retry_dead(connection),
            "jobs": await jobs.retry_dead(connection),
        }
