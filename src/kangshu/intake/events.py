"""What intake announces, through the outbox, in the transaction that makes it true."""

from __future__ import annotations

from kangshu.intake.model import Outcome
from kangshu.storage.database import Connection
from kangshu.storage.outbox import announce

FILE_COMMITTED = "intake.file_committed"
"""A file counts from now on. Payload: `file`, `dataset`, `institution`, `period`, `supersedes`."""


async def announce_committed(
    connection: Connection, *, file_id: int, outcome: Outcome, supersedes: int | None
) -> None:
    """Announce that a file was taken in."""
    await announce(
        connection,
        topic=FILE_COMMITTED,
        payload={
            "file": file_id,
            "dataset": outcome.dataset,
            "institution": outcome.institution,
            "period": outcome.period.label,
            "supersedes": supersedes,
        },
    )
