"""`demo`: simulate a region, take it in, serve it; prints the demo accounts."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu.app.assessing import assess_waiting, expect_message_rows
from kangshu.app.cards_demo import make_cards
from kangshu.app.clock import Moment, SystemClock
from kangshu.app.commands.simulate import run_simulation
from kangshu.app.demonstration import (
    PEOPLE,
    DemoPerson,
    arrival_of,
    first_month,
    make_accounts,
    told_arrivals,
)
from kangshu.app.files import find_files
from kangshu.app.maintenance import refresh_catalogue, watch_deadlines
from kangshu.app.matching import match_waiting
from kangshu.app.platform import Platform, open_platform
from kangshu.app.presenting import err, out, present, print_facts, print_table
from kangshu.app.program import Json, app, home_of, run
from kangshu.app.taking import take_in_files

_SEED = 20260101
_EDITION = 3  # of what is simulated: a home with an earlier one gets the present one besides


@app.command("demo")
def demo_command(
    context: typer.Context,
    residents: Annotated[int, typer.Option(min=100, help="居民数 / residents")] = 20_000,
    port: Annotated[int, typer.Option(help="端口 / port")] = 8000,
    months: Annotated[int, typer.Option(min=1, max=36, help="月数 / months")] = 12,
    serve: Annotated[bool, typer.Option(help="启动服务 / serve at the end")] = True,
    as_json: Json = False,
) -> None:
    """演示 / simulate a region, take it in, serve it."""
    home = home_of(context)
    result = run(_build(home, residents, months, quiet=as_json), as_json=as_json)
    address = f"http://127.0.0.1:{port}"
    if not serve:
        present(result, as_json=as_json, show=lambda: _show(result, None))
        return
    if as_json:
        present(result, as_json=True)
    else:
        _show(result, address)
    from kangshu.app.serving import serve as serve_all  # the web framework is loaded only to serve

    run(serve_all(home=home, port=port, demo_people=PEOPLE), as_json=as_json)


async def _build(home: Path, residents: int, months: int, *, quiet: bool) -> dict[str, Any]:
    """Build the region in `home`; a home that holds this region already is used as it is."""
    started = time.perf_counter()
    region = home / "simulated"
    now = SystemClock().now()
    start = first_month(now.date(), months=months)
    marker = region / f"complete-{_EDITION}-{residents}-{months}-{start}-{_SEED}"
    if not marker.exists():
        shutil.rmtree(region, ignore_errors=True)
        if not quiet:
            err.print(f"模拟 {residents:,} 名居民 {months} 个月 / simulating …")
        run_simulation(region, residents, months, _SEED, start=start, quiet=quiet)
        marker.touch()
    settings = home / "settings.toml"
    if not settings.exists():
        settings.write_text('region_name = "云海省（模拟）"\n', encoding="utf-8")
    taken = marker.with_name(f"{marker.name}-taken-in.json")
    async with open_platform(home) as platform:
        if taken.exists():
            figures = json.loads(taken.read_text())
        else:
            told = told_arrivals(region)
            figures = await take_in_files(
                platform,
                find_files([region / "submissions"]),
                quiet=quiet,
                received_by="demo",
                arrival_of=lambda path: arrival_of(path, now=now, start=start, told=told),
            )
            await match_waiting(platform)
            await _assess(platform, quiet=quiet)
            kept = ("files", "files_rejected", "messages", "duplicate", "rejected")
            taken.write_text(json.dumps({name: figures[name] for name in kept}))
        people: list[DemoPerson] = await make_accounts(platform)
        totals = await _totals(platform)
        await make_cards(platform)
    return {
        "residents": residents,
        "messages": figures["messages"],
        "rows": totals["rows"],
        "persons": totals["persons"],
        "files": figures["files"],
        "files_rejected": figures["files_rejected"],
        "duplicate": figures["duplicate"],
        "rows_rejected": figures["rejected"],
        "seconds": round(time.perf_counter() - started, 1),
        "accounts": [
            {"name": one.name, "password": one.password, "role": one.title.zh, "role_en": one.title.en}
            for one in people
        ],
    }


async def _assess(platform: Platform, *, quiet: bool) -> None:
    """Let the rules look at the whole region, and warn of its latest months."""
    if not quiet:
        err.print("评估数据质量 / assessing quality …")
    # Messages come on their day, so their rows were here when the last of them came, not today.
    now = platform.clock.now()
    told = replace(platform, clock=Moment(now.replace(day=1, hour=0, minute=0)))
    await expect_message_rows(told)
    await assess_waiting(told)
    await watch_deadlines(platform)
    await refresh_catalogue(platform)


async def _totals(platform: Any) -> dict[str, int]:
    from kangshu import identity, lake

    async with platform.database.connection() as connection:
        rows = await lake.count_rows(connection)
        persons = await identity.count_persons(connection)
    return {"rows": sum(rows.values()), "persons": persons}


def _show(result: dict[str, Any], address: str | None) -> None:
    print_facts({name: value for name, value in result.items() if name != "accounts"})
    out.print(
        "\n[bold]演示账户 / demo accounts[/] （全部人员、机构和数据均为合成 / everything is synthetic）"
    )
    rows = [(one["name"], one["password"], one["role"], one["role_en"]) for one in result["accounts"]]
    print_table(("账户 name", "口令 password", "角色", "role"), rows)
    if address:
        out.print(f"\n[bold green]{address}[/]  (Ctrl+C 停止 / to stop)")
