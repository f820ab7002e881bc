"""`quality file`, `quality assess`: what was found in a file, and looking at the lake anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu import quality as engine
from kangshu.app.assessing import assess_everything, assess_waiting
from kangshu.app.commands.quality import quality
from kangshu.app.platform import open_platform
from kangshu.app.presenting import out, present, print_table
from kangshu.app.program import Json, home_of, run
from kangshu.intake import Examined, get_receipt
from kangshu.quality import Origin
from kangshu.quality.scoring import assess_file


@quality.command("file")
def file_command(
    context: typer.Context,
    receipt: Annotated[int, typer.Argument(help="回执号 / the receipt's number")],
    as_json: Json = False,
) -> None:
    """查看一份文件的质量报告，与自测报告相同 / a file's report, the same as the self-test gives."""
    report = run(_file(home_of(context), receipt), as_json=as_json)

    def show() -> None:
        out.print(f"得分 score {report['scores']['total']} · 行 rows {report['rows']:,}")
        names = ("points", "rule", "severity", "title", "rows", "message")
        print_table(names, [tuple(str(one[name]) for name in names) for one in report["findings"]])

    present(report, as_json=as_json, show=show)


async def _file(home: Path, receipt: int) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.connection() as connection:
        found = await get_receipt(connection, receipt_id=receipt)
        shares, findings = await engine.file_findings(connection, file=found.id, origin=Origin.ARRIVAL)
    dataset = platform.pack.dataset(found.dataset or "")
    examined = Examined(shares=tuple(shares), findings=tuple(findings), filled={})
    return assess_file(dataset=dataset, pack=platform.pack, examined=examined).document()


@quality.command("assess")
def assess_command(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="全部重新评估 / look at all that the lake holds anew")
    ] = False,
    as_json: Json = False,
) -> None:
    """运行湖内规则、月度度量和对账 / run the rules over the lake, the measures and the reconciliations."""
    files = run(_assess(home_of(context), everything), as_json=as_json)
    present({"files": files}, as_json=as_json, show=lambda: out.print(f"已评估文件 files assessed {files:,}"))


async def _assess(home: Path, everything: bool) -> int:
    async with open_platform(home) as platform:
        return await (assess_everything(platform) if everything else assess_waiting(platform))
