"""`init`, `serve`, `audit`, `backup`, `restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu import audit
from kangshu.app.keeping import back_up, restore_home
from kangshu.app.platform import open_platform
from kangshu.app.presenting import EXIT_DONE, EXIT_REJECTED, out, present
from kangshu.app.program import Json, app, guard, home_of, run
from kangshu.storage import embedded

audit_app = typer.Typer(help="审计链 / the audit chain", no_args_is_help=True)
app.add_typer(audit_app, name="audit")


@app.command("init")
def init_command(context: typer.Context, as_json: Json = False) -> None:
    """初始化 / make the home, the database and the keys, load the region pack."""
    result = run(_init(home_of(context)), as_json=as_json)
    present(result, as_json=as_json)


async def _init(home: Path) -> dict[str, Any]:
    async with open_platform(home) as platform:
        return {
            "home": str(home.resolve()),
            "database": "external" if platform.settings.database_url else "embedded",
            "pack": f"{platform.pack.name} {platform.pack.edition}",
            "datasets": len(platform.pack.datasets),
        }


@app.command("serve")
def serve_command(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="监听地址 / address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="端口 / port")] = 8000,
    workers: Annotated[int, typer.Option(help="进程数 / processes")] = 1,
    mllp_port: Annotated[
        int | None, typer.Option(help="MLLP 端口，0 为不启用 / port for HL7 v2 over MLLP, 0 for none")
    ] = None,
) -> None:
    """启动服务 / all doors: console, API, FHIR, HL7 v2, worker."""
    from kangshu.app.serving import serve

    run(serve(home=home_of(context), host=host, port=port, workers=workers, mllp_port=mllp_port))


@app.command("stop")
def stop_command(context: typer.Context, as_json: Json = False) -> None:
    """停止内置数据库 / end the home's embedded database in good order; the next command starts it again."""
    home = home_of(context)
    running = embedded.is_running(home)
    guard(lambda: embedded.stop(home), as_json=as_json)
    present({"home": str(home.resolve()), "was_running": running}, as_json=as_json)


@audit_app.command("verify")
def verify_command(context: typer.Context, as_json: Json = False) -> None:
    """校验审计链 / walk the audit chain."""
    result = run(_verify(home_of(context)), as_json=as_json)

    def show() -> None:
        state = "完整 intact" if result["intact"] else f"[bold red]不完整 broken[/]: {result['fault']}"
        out.print(f"审计记录 entries {result['entries']:,} · {state}")

    present(result, as_json=as_json, show=show, status=EXIT_DONE if result["intact"] else EXIT_REJECTED)


async def _verify(home: Path) -> dict[str, Any]:
    async with open_platform(home) as platform:
        found = await audit.verify(
            platform.database, keys=platform.keys, anchor=platform.anchor, now=platform.clock.now()
        )
        return {
            "entries": found.entries,
            "intact": found.intact,
            "fault": str(found.fault) if found.fault else None,
            "at": found.at,
        }


@app.command("backup")
def backup_command(context: typer.Context, file: Path, as_json: Json = False) -> None:
    """备份 / everything that must not be lost, into one file."""
    present(run(back_up(home_of(context), file), as_json=as_json), as_json=as_json)


@app.command("restore")
def restore_command(context: typer.Context, file: Path, as_json: Json = False) -> None:
    """恢复 / a backup into an empty home."""
    present(run(restore_home(home_of(context), file), as_json=as_json), as_json=as_json)


__all__ = ["backup_command", "init_command", "restore_command", "serve_command", "verify_command"]
