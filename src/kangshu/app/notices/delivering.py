"""Do the jobs by which notices leave the platform; what fails is tried again later and later."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import orjson

from kangshu import directory
from kangshu.app.notices.composing import Told, write_document, write_letter
from kangshu.app.notices.hooks import SECONDS, post, sign
from kangshu.app.notices.jobs import HOOK_JOB, MAIL_JOB
from kangshu.app.notices.mail import MailServer, send_letter
from kangshu.declarations import Pack
from kangshu.kernel.clock import Clock
from kangshu.quality.rectifying import (
    Contact,
    Way,
    find_notice,
    get_task,
    list_contacts,
    list_task_findings,
    mark_sent,
)
from kangshu.security.keys import Keys
from kangshu.storage import jobs
from kangshu.storage.database import Connection, Database

_LETTERS, _HOOKS = 2, 4  # at the same time
_ATTEMPTS = 16
"""With pauses of 2, 4, 8 ... seconds, an hour at most: about five hours, the time of a night's repair."""
_LEASE_SECONDS = 90

# Its own threads: a mail server that hangs takes none of those that files are read in.
_threads = ThreadPoolExecutor(max_workers=_LETTERS, thread_name_prefix="mail")


@dataclass(frozen=True, kw_only=True)
class Notifier:
    """Sends notices; `address` is where people reach the platform (`https://...`), empty if unknown."""

    database: Database
    pack: Pack
    keys: Keys
    clock: Clock
    mail: MailServer | None = None
    address: str = ""
    hook_seconds: float = SECONDS

    async def send_mail(self, job: jobs.Job) -> None:
        """Send the letter of a notice to its contact, unless it went out or there is none any more.

        Raises:
            MailServerError, MailRefusedError: try again later.
        """
        told, contact = await self._look_up(job, Way.MAIL)
        if told is not None and contact is not None and contact.mail and self.mail is not None:
            letter = write_letter(told, pack=self.pack)
            send = partial(
                send_letter,
                self.mail,
                to=contact.mail,
                subject=letter.subject,
                text=letter.text,
                number=f"notice-{told.notice.id}",
                at=told.notice.at,
            )
            await asyncio.get_running_loop().run_in_executor(_threads, send)
            await self._finish(job, Way.MAIL)

    async def post_hook(self, job: jobs.Job) -> None:
        """Post a notice to its contact's hook, unless it was or there is none any more.

        Raises:
            HookFailedError: try again later.
        """
        told, contact = await self._look_up(job, Way.HOOK)
        if told is not None and contact is not None and contact.hook:
            body = orjson.dumps(write_document(told, pack=self.pack))
            seconds = int(self.clock.now().timestamp())
            signature = sign(secret=contact.secret, algorithm=contact.algorithm, seconds=seconds, body=body)
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "kangshu",
                "Kangshu-Topic": told.notice.topic,
                "Kangshu-Notice": str(told.notice.id),
                "Kangshu-Time": str(seconds),
                "Kangshu-Signature": f"hmac-{contact.algorithm}={signature}",
            }
            await post(contact.hook, body=body, headers=headers, wait_seconds=self.hook_seconds)
            await self._finish(job, Way.HOOK)

    async def _look_up(self, job: jobs.Job, way: Way) -> tuple[Told | None, Contact | None]:
        async with self.database.connection() as connection:
            notice = await find_notice(connection, notice=job.payload["notice"])
            if notice is None or (notice.mailed_at if way is Way.MAIL else notice.posted_at):
                return None, None
            contacts = await list_contacts(connection, keys=self.keys, codes=[notice.code])
            task = await get_task(connection, task=notice.task)
            findings = (await list_task_findings(connection, tasks=[task.id]))[task.id]
            code = task.cell.institution
            name = (await directory.names_of(connection, codes=[code])).get(code, code)
        told = Told(
            notice=notice,
            task=task,
            findings=findings,
            institution_name=name,
            address=f"{self.address.rstrip('/')}/console/quality/tasks/{task.id}" if self.address else "",
        )
        return told, contacts[0] if contacts else None

    async def _finish(self, job: jobs.Job, way: Way) -> None:
        """Keep that the notice went out, in one transaction with the job's end."""

        async def work(connection: Connection) -> None:
            await mark_sent(connection, notice=job.payload["notice"], way=way, now=self.clock.now())
            await jobs.finish(connection, job=job)

        await self.database.run(work)


def make_workers(notifier: Notifier) -> tuple[jobs.Worker, ...]:
    """Return the workers that send notices, one for each way: mail that hangs holds up no hook."""

    def worker(handlers: Mapping[str, jobs.Handler], concurrency: int) -> jobs.Worker:
        return jobs.Worker(
            notifier.database,
            handlers,
            notifier.clock,
            _LEASE_SECONDS,
            concurrency=concurrency,
            max_attempts=_ATTEMPTS,
        )

    return (
        worker({MAIL_JOB: notifier.send_mail}, _LETTERS),
        worker({HOOK_JOB: notifier.post_hook}, _HOOKS),
    )
