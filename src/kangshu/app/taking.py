"""Take in many files with the figures that people ask for: the directory first, corrections last."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.progress import Progress

from kangshu import identity
from kangshu.app.clock import Moment
from kangshu.app.errors import say
from kangshu.app.files import institution_of_folder
from kangshu.app.maintenance import settle
from kangshu.app.messages.files import MessageFigures, MessageFile, message_format, take_message_files
from kangshu.app.messages.opening import open_lane
from kangshu.app.platform import Platform
from kangshu.app.presenting import err
from kangshu.intake import FileState, Receipt, describe_file, get_receipt, take_in

_AT_ONCE = 3  # files in work at the same time: their waits for disk and database overlap


async def take_in_files(
    platform: Platform,
    files: Sequence[Path],
    *,
    institution: str | None = None,
    dataset: str | None = None,
    period: str | None = None,
    quiet: bool = False,
    received_by: str = "command line",
    arrival_of: Callable[[Path], datetime] | None = None,
) -> dict[str, Any]:
    """Take files in, directory data first, and return the figures that `intake` prints.

    With `arrival_of` a file counts as received at that moment, which a demonstration makes up.
    """
    started = time.perf_counter()
    receipts: list[tuple[Path, Receipt]] = []
    unread: list[Path] = []
    told = {path for path in files if dataset is None and message_format(path)}
    messages = [path for path in files if path in told]
    files = [path for path in files if path not in told]
    persons_before = await _count_persons(platform)
    figures = MessageFigures()
    bar = nullcontext() if quiet else Progress(console=err, transient=True)
    with bar as progress:
        total = len(files) + len(messages)
        task = progress.add_task("采集 intake", total=total) if progress else None

        def advance() -> None:
            if progress and task is not None:
                progress.advance(task)

        async def one(path: Path) -> None:
            now = arrival_of(path) if arrival_of else platform.clock.now()
            services = replace(platform.intake, clock=Moment(now)) if arrival_of else platform.intake
            try:
                arrival = await asyncio.to_thread(
                    describe_file,
                    path=path,
                    now=now,
                    received_by=received_by,
                    institution=institution or institution_of_folder(path),
                    dataset=dataset,
                    period=period,
                )
            except OSError:  # taken away meanwhile, not readable, or no file at all: the others go on
                unread.append(path)
                return
            file_id = await take_in(services, arrival)
            async with platform.database.connection() as connection:
                receipts.append((path, await get_receipt(connection, receipt_id=file_id)))
            advance()

        for wave in _waves(files):
            await _each(one, sorted(wave, key=arrival_of) if arrival_of else wave)
        if messages:
            await _take_messages(platform, messages, figures, institution, received_by, arrival_of, advance)
    created = await _count_persons(platform) - persons_before
    await settle(platform)
    return _figures(receipts, unread, figures, created=created, seconds=time.perf_counter() - started)


async def _take_messages(
    platform: Platform,
    files: Sequence[Path],
    figures: MessageFigures,
    institution: str | None,
    received_by: str,
    arrival_of: Callable[[Path], datetime] | None,
    advance: Callable[[], None],
) -> None:
    """Take in files of messages, in the order in which they came."""
    sources = [
        MessageFile(
            path=path,
            sender=institution or institution_of_folder(path),
            received_by=received_by,
            received_at=arrival_of(path) if arrival_of else platform.clock.now(),
        )
        for path in (sorted(files, key=arrival_of) if arrival_of else files)
    ]
    await take_message_files(
        platform,
        open_lane(platform),
        sources,
        figures=figures,
        hands=platform.settings.threads,
        advance=advance,
    )


async def _count_persons(platform: Platform) -> int:
    async with platform.database.connection() as connection:
        return await identity.count_persons(connection)


def _waves(files: Sequence[Path]) -> list[list[Path]]:
    """The directory goes first; resubmissions (`..._v2`, `..._更正`) go after what they correct."""
    waves: list[list[Path]] = [[], [], []]
    for path in files:
        name = path.name.casefold()
        first = any(word in name for word in ("division", "institution", "行政区划", "机构"))
        last = any(word in name for word in ("_v2", "更正", "corrected", "resubmi"))
        waves[0 if first else 2 if last else 1].append(path)
    return waves


async def _each(work: Callable[[Path], Awaitable[None]], paths: Sequence[Path]) -> None:
    """Work on a few files at a time; those of one folder may replace each other and take turns."""
    waiting = deque(paths)
    turns: defaultdict[Path, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def worker() -> None:
        while waiting:
            path = waiting.popleft()
            async with turns[path.parent]:
                await work(path)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_AT_ONCE, len(waiting))):
                group.create_task(worker())
    except BaseExceptionGroup as failures:
        # The first one is what happened; the others followed from it.
        raise failures.exceptions[0] from None


def _figures(
    receipts: Sequence[tuple[Path, Receipt]],
    unread: Sequence[Path],
    messages: MessageFigures,
    *,
    created: int,
    seconds: float,
) -> dict[str, Any]:
    text = say("file_unreadable")
    missed = [{"file": str(path), "place": None, "reason": text.zh, "reason_en": text.en} for path in unread]
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
        "files": len(receipts) + len(unread) + messages.files,
        "files_committed": sum(one.state in (FileState.COMMITTED, FileState.SUPERSEDED) for one in taken),
        "files_rejected": len(refused) + len(unread),
        "messages": messages.messages,
        "rows": sum(one.rows for one in taken),
        "accepted": messages.accepted
        + sum(one.accepted for one in taken if one.state is not FileState.REJECTED),
        "duplicate": messages.duplicate + sum(one.state is FileState.DUPLICATE for one in taken),
        "rejected": messages.rejected + sum(one.rejected for one in taken),
        "rejections": missed + refused + partial + messages.rejections,
        "persons_created": created,
        "seconds": round(seconds, 3),
        "receipts": [one.id for one in taken],
    }
