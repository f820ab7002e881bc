"""Who listens to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kangshu.app.pipeline import audit_file, load_directory
from kangshu.intake import FILE_COMMITTED, Listener
from kangshu.storage import jobs
from kangshu.storage.database import Connection
from kangshu.storage.outbox import Announcement, Handler

MERGE_JOB = "lake.merge"


def listeners() -> Sequence[Listener]:
    """Return who acts in the transaction that commits a file, in order."""
    return (load_directory, audit_file)


def subscribers() -> Mapping[str, Handler]:
    """Return who hears of what was announced, after its commit, at least once."""
    return {FILE_COMMITTED: _queue_merge}


async def _queue_merge(connection: Connection, announcement: Announcement) -> None:
    """A new segment may make a merge worth while; many files of one data set ask for one merge."""
    dataset = announcement.payload["dataset"]
    await jobs.enqueue(
        connection, kind=MERGE_JOB, payload={"dataset": dataset}, unique_key=f"{MERGE_JOB}/{dataset}"
    )
