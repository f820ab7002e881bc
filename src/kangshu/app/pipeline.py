"""The way of the data, in one place: what arrives, who it is about, where it is kept, who is told.

Bulk lane, one file:  intake.take_in
    recognise the data set -> check rows -> identity links their persons -> lake writes the segment
    -> one commit: manifest, receipt, persons, directory, findings, audit entry
    -> afterwards: rules over the lake, figures, tasks (app.assessing)

The parts above intake are passed in here, for intake knows none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow.parquet as pq

from kangshu import directory, quality
from kangshu.audit import AuditEntry, record
from kangshu.declarations import Pack
from kangshu.intake import Committed, Refused, last_month, month_of
from kangshu.quality.catalogue import record_fill
from kangshu.quality.coverage import note_arrival
from kangshu.storage import jobs
from kangshu.storage.database import Connection

ASSESS_JOB = "quality.assess"


class Senders:
    """Intake's question to the directory: for whom may an institution report?"""

    async def allowed(self, connection: Connection, *, institution: str) -> Sequence[str] | None:
        """Return the sender and those below it; None for a centre, which reports for all."""
        return await directory.reports_for(connection, institution=institution)

    async def seen(self, connection: Connection, *, institution: str, now: datetime) -> None:
        """Put an institution that nobody has registered on record as provisional."""
        await directory.ensure_provisional(connection, code=institution, now=now)


async def load_directory(connection: Connection, committed: Committed) -> None:
    """The directory data sets are the directory: what the centre sends takes effect with the commit."""
    if committed.dataset.category != "directory":
        return
    rows = pq.read_table(committed.segment.path).to_pylist()
    if committed.dataset.name == "division":
        await directory.load_divisions(connection, rows=rows)
    elif committed.dataset.name == "institution":
        await directory.load_institutions(connection, rows=rows)
    elif committed.dataset.name == "population":
        await directory.load_populations(connection, rows=rows)


async def audit_file(connection: Connection, committed: Committed) -> None:
    """Every file taken in is on the audit chain: who sent what, how many rows."""
    outcome = committed.outcome
    entry = AuditEntry(
        at=committed.at,
        actor=committed.received_by,
        actor_name=committed.received_by,
        action="intake.commit",
        purpose="",
        person=None,
        resource=f"file/{committed.file_id}",
        institution=outcome.institution,
        outcome="done",
        detail={
            "dataset": outcome.dataset,
            "period": outcome.period.label,
            "accepted": outcome.accepted,
            "rejected": outcome.rejected,
            "supersedes": committed.supersedes,
        },
    )
    await record(connection, entries=[entry])


async def queue_assessment(connection: Connection, *, dataset: str) -> None:
    """Ask for the assessment of what waits of a data set; many files ask for one."""
    await jobs.enqueue(
        connection, kind=ASSESS_JOB, payload={"dataset": dataset}, unique_key=f"{ASSESS_JOB}/{dataset}"
    )


class FindingsKeeper:
    """What the checks found in a file counts from the moment the file does."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    async def committed(self, connection: Connection, committed: Committed) -> None:
        """Keep what was found in a file that counts from now on."""
        await self._keep(connection, committed)

    async def refused(self, connection: Connection, refused: Refused) -> None:
        """Keep what was found in a file none of whose rows passed: nothing worse can be sent."""
        await self._keep(connection, refused)

    async def _keep(self, connection: Connection, file: Committed | Refused) -> None:
        await quality.record_file(
            connection,
            file=file.file_id,
            dataset=file.dataset,
            examined=file.examined,
            received_at=file.received_at,
            replaces=file.replaces,
        )
        await note_arrival(connection, file=file.file_id, replaces=file.replaces)
        outcome = file.outcome
        await record_fill(
            connection,
            file=file.file_id,
            dataset=file.dataset.name,
            institution=outcome.institution,
            month=month_of(outcome.period) or last_month(outcome.period),
            accepted=outcome.accepted,
            filled=file.examined.filled,
            received_at=file.received_at,
            replaces=file.replaces,
        )
        affected = await quality.expect_assessment(
            connection,
            pack=self._pack,
            dataset=file.dataset,
            file=file.file_id,
            shares=file.examined.shares,
            replaces=file.replaces,
        )
        for dataset in affected:
            await queue_assessment(connection, dataset=dataset)
