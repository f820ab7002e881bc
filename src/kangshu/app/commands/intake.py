"""`intake`: take in files or folders of any supported format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu.app.assessing import assess_waiting, expect_message_rows
from kangshu.app.errors import UsageError, say
from kangshu.app.files import find_files
from kangshu.app.platform import open_platform
from kangshu.app.presenting import EXIT_DONE, EXIT_REJECTED, out, present, print_facts, print_table
from kangshu.app.program import Json, app, home_of, run
from kangshu.app.taking import take_in_files
from kangshu.declarations import UnknownDatasetError
from kangshu.kernel.periods import Period

_SHOWN_REJECTIONS = 20


@app.command("intake")
def intake_command(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="文件或目录 / files or folders")],
    institution: Annotated[str | None, typer.Option(help="报送机构代码 / the sender's code")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="数据集 / the data set, where headings do not tell")
    ] = None,
    period: Annotated[str | None, typer.Option(help="业务期间，如 2026-03 / the period they are for")] = None,
    as_json: Json = False,
) -> None:
    """采集文件 / take in files or folders of any supported format, recognised by content."""
    for path in paths:
        if not path.exists():
            run(_refuse(path), as_json=as_json)
    result = run(
        _take_in_all(home_of(context), paths, institution, dataset, period, quiet=as_json), as_json=as_json
    )
    status = EXIT_REJECTED if result["rejections"] else EXIT_DONE
    present(result, as_json=as_json, show=lambda: _show(result), status=status)


async def _refuse(path: Path) -> None:
    raise UsageError(say("no_such_path", path=path))


async def _take_in_all(
    home: Path,
    paths: Sequence[Path],
    institution: str | None,
    dataset: str | None,
    period: str | None,
    *,
    quiet: bool,
) -> dict[str, Any]:
    if period:
        _require_period(period)
    async with open_platform(home) as platform:
        if dataset and dataset not in platform.pack.datasets:
            raise UnknownDatasetError(name=dataset, known=tuple(platform.pack.datasets))
        files = find_files(paths)
        figures = await take_in_files(
            platform, files, institution=institution, dataset=dataset, period=period, quiet=quiet
        )
        await expect_message_rows(platform)
        await assess_waiting(platform)
        return figures


def _require_period(label: str) -> None:
    try:
        Period.parse(label)
    except ValueError:
        raise UsageError(say("no_such_period")) from None


def _show(result: dict[str, Any]) -> None:
    print_facts({name: value for name, value in result.items() if name not in ("rejections", "receipts")})
    if result["rejections"]:
        rows = [(Path(one["file"]).name, one["place"] or "", one["reason"]) for one in result["rejections"]]
        print_table(("文件 file", "位置 place", "原因 reason"), rows[:_SHOWN_REJECTIONS])
        if len(rows) > _SHOWN_REJECTIONS:
            out.print(f"… {len(rows) - _SHOWN_REJECTIONS} more; --json lists them all")
