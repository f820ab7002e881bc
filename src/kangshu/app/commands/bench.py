"""`bench`: the benchmarks."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any

import typer

from kangshu.app.errors import UsageError, say
from kangshu.app.presenting import err, out, present, print_facts, print_table
from kangshu.app.program import Json, app, guard, run


@app.command("bench")
def bench_command(
    name: Annotated[str | None, typer.Argument(help="名称；不写则列出 / which one; none: list them")] = None,
    size: Annotated[int | None, typer.Option(min=1000, help="规模 / how large")] = None,
    as_json: Json = False,
) -> None:
    """基准测试 / run a benchmark in a fresh home of its own; with no name, list them."""
    from kangshu.app.benchmarks import BENCHMARKS  # the simulator is loaded only to measure

    if name is None:
        listed = [
            {
                "name": one.name,
                "about": one.about.zh,
                "about_en": one.about.en,
                "size": one.size,
                "counted": one.counted,
            }
            for one in BENCHMARKS.values()
        ]
        present({"benchmarks": listed}, as_json=as_json, show=lambda: _show_list(listed))
        return
    if name not in BENCHMARKS:
        guard(lambda: _refuse(name, list(BENCHMARKS)), as_json=as_json)
    result = run(_measure(name, size, quiet=as_json), as_json=as_json)
    present(result, as_json=as_json, show=lambda: _show(result))


def _refuse(name: str, known: list[str]) -> None:
    raise UsageError(say("unknown_benchmark", name=name, known=", ".join(known)))


async def _measure(name: str, size: int | None, *, quiet: bool) -> dict[str, Any]:
    from kangshu.app.benchmarks import BENCHMARKS

    benchmark = BENCHMARKS[name]
    size = size or benchmark.size
    status = nullcontext() if quiet else err.status(name)
    with status as shown:

        def stage(doing: str) -> None:
            if shown:
                shown.update(f"{name}: {doing}")

        measured = await benchmark.run(size, stage)
    return {"name": name, "size": size, **measured.facts()}


def _show_list(listed: list[dict[str, Any]]) -> None:
    for one in listed:
        size = f"{one['size']:,} {one['counted']}"
        out.print(f"[bold]{one['name']}[/] [dim](--size {size})[/]\n  {one['about']}\n  {one['about_en']}")


def _show(result: dict[str, Any]) -> None:
    print_facts({name: value for name, value in result.items() if name != "conditions"})
    print_table(("条件 condition", ""), [(name, str(value)) for name, value in result["conditions"].items()])
