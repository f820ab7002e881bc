"""What the doors do with a file that was sent: keep its bytes, answer at once, work on it in its turn."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path

from kangshu.app.platform import Platform
from kangshu.intake import Receipt, describe_file, get_receipt, process_stored, register
from kangshu.security.principals import Principal
from kangshu.storage import jobs
from kangshu.storage.database import Connection
from kangshu.storage.errors import DatabaseUnavailableError

JOB = "intake.file"
_PATIENCE_SECONDS = 2.0  # arbitrary: a small file is done by then and its sender sees the result at once


class Uploads:
    """Takes files over from the doors; `platform` works on them."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._spool = platform.home / "spool"
        self._spool.mkdir(parents=True, exist_ok=True)

    async def submit(
        self,
        *,
        file: Path,
        name: str,
        dataset: str | None,
        institution: str | None,
        period: str | None,
        principal: Principal,
    ) -> Receipt:
        """Keep the file, queue it, and answer with its receipt, finished if the file is a quick one."""
        kept = self._spool / f"{uuid.uuid4().hex}"
        try:
            await asyncio.to_thread(_keep, file, kept)
            arrival = await asyncio.to_thread(
                describe_file,
                path=kept,
                name=name,
                now=self._platform.clock.now(),
                received_by=principal.name,
                institution=institution,
                dataset=dataset,
                period=period,
                spooled=True,
            )
            file_id = await register(self._platform.intake, arrival, queue=queue_file)
        except (DatabaseUnavailableError, asyncio.CancelledError):
            raise  # the commit may have arrived all the same; a later start removes what nobody asks for
        except Exception:
            kept.unlink(missing_ok=True)
            raise
        return await self._await(file_id)

    async def _await(self, file_id: int) -> Receipt:
        waited = 0.0
        while True:
            async with self._platform.database.connection() as connection:
                receipt = await get_receipt(connection, receipt_id=file_id)
            if receipt.finished_at is not None or waited >= _PATIENCE_SECONDS:
                return receipt
            await asyncio.sleep(0.1)
            waited += 0.1

    async def work(self, job: jobs.Job) -> None:
        """Do one queued job."""
        await process_stored(self._platform.intake, file_id=job.payload["file"])


async def queue_file(connection: Connection, file_id: int) -> None:
    """Ask for a registered file to be worked on."""
    await jobs.enqueue(connection, kind=JOB, payload={"file": file_id}, unique_key=f"{JOB}/{file_id}")


def _keep(source: Path, target: Path) -> None:
    """Move the bytes into the spool and onto the disk before anybody is told that they arrived."""
    os.replace(source, target)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
