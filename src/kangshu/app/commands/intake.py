"""`intake`: take in files or folders of any supported format."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from kangshu.app.cli import Json, app, home_of, run
from kangshu.app.errors import UsageError, say
from kangshu.app.files import find_files, institution_of_folder
from kangshu.app.maintenance import settle
from kangshu.app.platform import Platform, open_platform
from kangshu.app.presenting import EXIT_DONE, EXIT_REJECTED, err, out, present, print_facts, print_table
from kangshu.declarations import UnknownDatasetError
from kangshu.intake import FileState, Receipt, describe_file, get_receipt, take_in

_SHOWN_REJECTIONS = 20
_AT_ONCE = 3  # files in work at the same time: their waits for disk and database overlap


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
    async with open_platform(home) as platform:
        if dataset and dataset not in platform.pack.datasets:
            raise UnknownDatasetError(name=dataset, known=tuple(platform.pack.datasets))
        files = find_files(paths)
        return await take_in_files(
            platform, files, institution=institution, dataset=dataset, period=period, quiet=quiet
        )


async def take_in_files(
    platform: Platform,
    files: Sequence[Path],
    *,
    institution: str | None = None,
    dataset: str | None = None,
    period: str | None = None,
    quiet: bool = False,
    received_by: str = "command line",
) -> dict[str, Any]:
    """Take files in, directory data first, and return the figures that `intake` prints."""
    started = time.perf_counter()
    receipts: list[tuple[Path, Receipt]] = []
    bar = nullcontext() if quiet else Progress(console=err, transient=True)
    with bar as progress:
        task = progress.add_task("采集 intake", total=len(files)) if progress else None

        async def one(path: Path) -> None:
            arrival = await asyncio.to_thread(
                describe_file,
                path=path,
                now=platform.clock.now(),
                received_by=received_by,
                institution=institution or institution_of_folder(path),
                dataset=dataset,
                period=period,
            )
            file_id = await take_in(platform.intake, arrival)
            async with platform.database.connection() as connection:
                receipts.append((path, await get_receipt(connection, receipt_id=file_id)))
            if progress and task is not None:
                progress.advance(task)

        for wave in _waves(files):
            await _each(one, wave)
    await settle(platform)
    return _figures(receipts, seconds=time.perf_counter() - started)


def _waves(files: Sequence[Path]) -> list[list[Path]]:
    """The directory goes first; resubmissions (`..._v2`, `..._更正`) go after what they correct."""
    waves: list[list[Path]] = [[], [], []]
    for path in files:
        name = path.name.casefold()
        first = any(word in name for word in ("division", "institution", "行政区划", "机构"))
        last = any(word in name for word in ("_v2", "更正", "corrected", "resubmi"))
        waves[0 if first else 2 if last else 1].append(path)
    return waves


async def _each(work: Any, paths: Sequence[Path]) -> None:
    """Work on a few files at a time; files of one folder keep their order, and so do their receipts."""
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    waiting = list(folders.values())

    async def worker() -> None:
        while waiting:
            for path in waiting.pop(0):
                await work(path)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_AT_ONCE, len(waiting))):
            group.create_task(worker())


def _figures(receipts: Sequence[tuple[Path, Receipt]], *, seconds: float) -> dict[str, Any]:
    taken = [receipt for _, receipt in receipts]
    refused = [
        {
            "file": str(path),
            "place": receipt.place,
            "reason": receipt.reason.zh if receipt.reason else "",
            "reason_en": receipt.reason.en if receipt.reason else "",
        }
        for path, receipt in receipts
        if receipt.state is FileState.REJECTED
    ]
    partial = [
        {
            "file": str(path),
            "place": f"receipt {receipt.id}",
            "reason": f"退回 {receipt.rejected} 行，详见退回明细",
            "reason_en": f"{receipt.rejected} rows refused: see the list of rejects",
        }
        for path, receipt in receipts
        if receipt.state is not FileState.REJECTED and receipt.rejected
    ]
    return {
        "files": len(receipts),
        "files_committed": sum(one.state in (FileState.COMMITTED, FileState.SUPERSEDED) for one in taken),
        "files_rejected": len(refused),
        "messages": 0,
        "rows": sum(one.rows for one in taken),
        "accepted": sum(one.accepted for one in taken if one.state is not FileState.REJECTED),
        "duplicate": sum(one.state is FileState.DUPLICATE for one in taken),
        "rejected": sum(one.rejected for one in taken),
        "rejections": refused + partial,
        "persons_created": sum(one.persons_created for one in taken),
        "seconds": round(seconds, 3),
        "receipts": [one.id for one in taken],
    }


def _show(result: dict[str, Any]) -> None:
    print_facts({name: value for name, value in result.items() if name not in ("rejections", "receipts")})
    if result["rejections"]:
        rows = [(Path(one["file"]).name, one["place"] or "", one["reason"]) for one in result["rejections"]]
        print_table(("文件 file", "位置 place", "原因 reason"), rows[:_SHOWN_REJECTIONS])
        if len(rows) > _SHOWN_REJECTIONS:
            out.print(f"… {len(rows) - _SHOWN_REJECTIONS} more; --json lists them all")
