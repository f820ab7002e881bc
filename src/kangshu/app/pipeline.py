"""The way of the data, in one place: what arrives, who it is about, where it is kept, who is told.

Bulk lane, one file:  intake.take_in
    recognise the data set -> check rows -> identity links their persons -> lake writes the segment
    -> one commit: manifest, receipt, persons, directory, audit entry

The parts above intake are passed in here, for intake knows none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow.parquet as pq

from kangshu import directory
from kangshu.audit import AuditEntry, record
from kangshu.intake import Committed
from kangshu.storage.database import Connection


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
