"""The watched folder: files put into `<folder>/<institution code>/` are taken in when they are whole."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import structlog

from kangshu.app.files import find_files, institution_of_folder
from kangshu.app.platform import Platform
from kangshu.intake import FileState, describe_file, get_receipt, take_in
from kangshu.storage.patience import describe

log = structlog.get_logger(__name__)

_QUIET_SECONDS = 5.0  # a file that has not grown for so long is taken to be whole
_PAUSE_SECONDS = 2.0
_REPAIR_SECONDS = 30.0  # each try leaves a receipt: a full disk must not make thousands
_DONE, _REFUSED = ".done", ".refused"


async def watch(platform: Platform, folder: Path) -> None:
    """Take in what appears in `folder`, for ever; finished files are moved to `.done` or `.refused`."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        pause = _PAUSE_SECONDS
        for path in await asyncio.to_thread(_whole_files, folder):
            try:
                await _take(platform, folder, path)
            except FileNotFoundError:
                log.info("watched file was taken away")
            except Exception as error:  # noqa: BLE001 - one file's failure is no reason to watch no longer
                log.warning("watched file failed", error=describe(error))
                pause = _REPAIR_SECONDS
        await asyncio.sleep(pause)


async def _take(platform: Platform, folder: Path, path: Path) -> None:
    arrival = await asyncio.to_thread(
        describe_file,
        path=path,
        now=platform.clock.now(),
        received_by="watched folder",
        institution=institution_of_folder(path),
    )
    file_id = await take_in(platform.intake, arrival)
    async with platform.database.connection() as connection:
        receipt = await get_receipt(connection, receipt_id=file_id)
    taken = receipt.state in (FileState.COMMITTED, FileState.DUPLICATE, FileState.SUPERSEDED)
    target = folder / (_DONE if taken else _REFUSED) / path.relative_to(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The receipt's number keeps two files of one name apart.
    os.replace(path, target.with_name(f"{receipt.id}_{target.name}"))
    log.info("watched file", receipt=receipt.id, state=str(receipt.state))


def _whole_files(folder: Path) -> list[Path]:
    before = time.time() - _QUIET_SECONDS
    return [
        path
        for path in find_files([folder])
        if not {_DONE, _REFUSED} & set(path.relative_to(folder).parts) and _is_quiet(path, before)
    ]


def _is_quiet(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime <= before
    except OSError:  # taken away meanwhile
        return False
