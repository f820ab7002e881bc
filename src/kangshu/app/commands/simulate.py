"""`simulate`: write the fictional region's files, messages and their truth."""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from kangshu.app.errors import UsageError, say
from kangshu.app.presenting import err, present
from kangshu.app.program import Json, app, guard
from kangshu.declarations import load_pack

_FIRST_DAY = datetime(2026, 1, 1)  # noqa: DTZ001 - a day has no zone; typer gives one like it


@app.command("simulate")
def simulate_command(
    out: Annotated[Path, typer.Option("--out", help="输出目录 / folder to write into")],
    residents: Annotated[int, typer.Option(min=100, help="居民数 / residents")] = 20_000,
    months: Annotated[int, typer.Option(min=1, max=36, help="月数 / months")] = 12,
    seed: Annotated[int, typer.Option(help="随机种子 / seed")] = 20260101,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="起始日期 / first day")] = _FIRST_DAY,
    anomalies: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="整月异常的占比，0 为没有 / share of months wrong as a whole, 0 none"
        ),
    ] = 0.025,
    monthly: Annotated[
        bool, typer.Option("--monthly", help="所有机构按月报送 / every institution sends every month")
    ] = False,
    as_json: Json = False,
) -> None:
    """模拟区域 / write the simulated region's files, messages and truth (all persons are synthetic)."""
    result = guard(
        lambda: run_simulation(
            out,
            residents,
            months,
            seed,
            start=start.date(),
            quiet=as_json,
            anomalies=anomalies,
            monthly=monthly,
        ),
        as_json=as_json,
    )
    present(result, as_json=as_json)


def run_simulation(
    out: Path,
    residents: int,
    months: int,
    seed: int,
    *,
    start: date = date(2026, 1, 1),
    quiet: bool = False,
    anomalies: float = 0.025,
    monthly: bool = False,
) -> dict[str, Any]:
    """Write the region into an empty folder and return its figures.

    Raises:
        UsageError: the folder holds something.
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError(say("out_not_empty", path=out))
    from kangshu.simulation import simulate  # numpy-heavy: loaded only to simulate

    started = time.perf_counter()
    bar = nullcontext() if quiet else Progress(console=err, transient=True)
    with bar as shown:
        task = shown.add_task("模拟 simulate", total=1.0) if shown else None

        def progress(share: float) -> None:
            if shown and task is not None:
                shown.update(task, completed=share)

        done = simulate(
            out=out,
            residents=residents,
            months=months,
            seed=seed,
            start=start,
            pack=load_pack(),
            progress=progress,
            anomalies=anomalies,
            monthly=monthly,
        )
    return {
        "residents": done.residents,
        "institutions": done.institutions,
        "files": done.files,
        "rows": done.rows,
        "messages": done.messages,
        "message_files": done.message_files,
        "seconds": round(time.perf_counter() - started, 3),
        "out": str(out),
    }
