"""`doctor`: what is installed, reachable, writable, and what to do about what is not."""

from __future__ import annotations

import os
import platform as machine
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from kangshu.app.platform import open_platform
from kangshu.app.presenting import EXIT_DONE, EXIT_ENVIRONMENT, out, present
from kangshu.app.program import Json, app, home_of, run
from kangshu.app.settings import load_settings
from kangshu.declarations import load_pack
from kangshu.kernel.errors import KangshuError
from kangshu.storage import jobs, outbox

_LEAST_FREE_GIB = 2
_SAMPLES_VARIABLE = "KANGSHU_SAMPLES"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at; an `optional` one may fail without harm."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    optional: bool = False


@app.command("doctor")
def doctor_command(context: typer.Context, as_json: Json = False) -> None:
    """体检 / what is installed, reachable, writable; what to do about it."""
    findings = run(_examine(home_of(context)), as_json=as_json)
    ok = all(one.ok or one.optional for one in findings)

    def show() -> None:
        for one in findings:
            mark = "[green]✓[/]" if one.ok else "[yellow]–[/]" if one.optional else "[bold red]✗[/]"
            out.print(f"{mark} {one.name}: {one.detail}")
            if not one.ok and one.remedy:
                out.print(f"    {one.remedy}")

    result = {"ok": ok, "checks": [asdict(one) for one in findings]}
    present(result, as_json=as_json, show=show, status=EXIT_DONE if ok else EXIT_ENVIRONMENT)


async def _examine(home: Path) -> list[Finding]:
    looks: list[Callable[[Path], Awaitable[Finding]]] = [
        _python, _libraries, _home, _disk, _settings, _pack, _database, _queues,
        _chromium, _fonts, _java, _samples,
    ]  # fmt: skip
    return [await look(home) for look in looks]


async def _python(_home: Path) -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding(
        name="Python",
        ok=good,
        detail=machine.python_version(),
        remedy="安装 Python 3.11 以上 / install 3.11+",
    )


async def _libraries(_home: Path) -> Finding:
    names = ("kangshu", "duckdb", "pyarrow", "asyncpg", "starlette")
    return Finding(name="libraries", ok=True, detail=", ".join(f"{name} {version(name)}" for name in names))


async def _home(home: Path) -> Finding:
    place = home if home.exists() else home.resolve().parent
    good = os.access(place, os.W_OK)
    return Finding(
        name="home",
        ok=good,
        detail=str(home.resolve()),
        remedy="更改目录权限或用 --home / change permissions or use --home",
    )


async def _disk(home: Path) -> Finding:
    place = home if home.exists() else home.resolve().parent
    free = shutil.disk_usage(place).free / 2**30
    return Finding(
        name="disk",
        ok=free >= _LEAST_FREE_GIB,
        detail=f"{free:.1f} GiB free",
        remedy=f"至少留出 {_LEAST_FREE_GIB} GiB / keep {_LEAST_FREE_GIB} GiB free",
    )


async def _settings(home: Path) -> Finding:
    return _attempt("settings", lambda: load_settings(home) and "settings.toml and environment are valid")


async def _pack(home: Path) -> Finding:
    def look() -> str:
        folder = load_settings(home).pack
        pack = load_pack(Path(folder) if folder else None)
        return f"{pack.name} {pack.edition}: {len(pack.datasets)} data sets, {len(pack.codes)} code tables"

    return _attempt("region pack", look)


async def _database(home: Path) -> Finding:
    try:
        async with open_platform(home) as opened, opened.database.connection() as connection:
            return Finding(
                name="database", ok=True, detail=f"PostgreSQL {connection.get_server_version()[0]}"
            )
    except KangshuError as error:
        return Finding(name="database", ok=False, detail=str(error))


async def _queues(home: Path) -> Finding:
    """Dead letters: announcements and jobs that failed again and again and wait for somebody."""
    try:
        async with open_platform(home) as opened, opened.database.connection() as connection:
            backlog = await outbox.get_backlog(connection)
            dead_jobs = await jobs.list_dead(connection)
    except KangshuError as error:
        return Finding(name="queues", ok=False, detail=str(error))
    return Finding(
        name="queues",
        ok=not backlog.dead and not dead_jobs,
        detail=f"{backlog.waiting} announcements wait, {backlog.dead} dead; {len(dead_jobs)} dead jobs",
        remedy="kangshu queues list; kangshu queues retry",
    )


async def _chromium(_home: Path) -> Finding:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    return Finding(
        name="Chromium (browser tests)",
        ok=bool(found),
        optional=True,
        detail=found or "not found",
        remedy="apt-get install chromium",
    )


async def _fonts(_home: Path) -> Finding:
    folders = (Path("/usr/share/fonts"), Path.home() / ".fonts")
    found = next((one for folder in folders for one in folder.rglob("*CJK*") if folder.exists()), None)
    return Finding(
        name="Chinese fonts (PDF, pictures)",
        ok=found is not None,
        optional=True,
        detail=str(found) if found else "not found",
        remedy="apt-get install fonts-noto-cjk",
    )


async def _java(_home: Path) -> Finding:
    found = shutil.which("java")
    return Finding(
        name="Java (Spark, for regions that outgrow one machine)",
        ok=bool(found),
        optional=True,
        detail=found or "not found",
        remedy="apt-get install openjdk-17-jre-headless",
    )


async def _samples(_home: Path) -> Finding:
    told = os.environ.get(_SAMPLES_VARIABLE)
    return Finding(
        name="samples (conformance suite)",
        ok=bool(told and Path(told).is_dir()),
        optional=True,
        detail=told or "not set",
        remedy=f"{_SAMPLES_VARIABLE}=/path/to/samples",
    )


def _attempt(name: str, look: Callable[[], Any]) -> Finding:
    try:
        return Finding(name=name, ok=True, detail=str(look()))
    except KangshuError as error:
        return Finding(name=name, ok=False, detail=str(error))
