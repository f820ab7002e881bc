"""Who listens to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kangshu.app import notices
from kangshu.app.pipeline import FindingsKeeper, audit_file, load_directory
from kangshu.declarations import Pack
from kangshu.intake import FILE_COMMITTED, Listener, RefusalListener
from kangshu.storage import jobs
from kangshu.storage.database import Connection
from kangshu.storage.outbox import Announcement, Handler

MERGE_JOB = "lake.merge"
MATCH_JOB = "identity.match"


def listeners(pack: Pack) -> Sequence[Listener]:
    """Return who acts in the transaction that commits a file, in order."""
    return (load_directory, FindingsKeeper(pack).committed, audit_file)


def refusal_listeners(pack: Pack) -> Sequence[RefusalListener]:
    """Return who acts in the transaction that refuses a file none of whose rows passed."""
    return (FindingsKeeper(pack).refused,)


def subscribers(*, with_mail: bool) -> Mapping[str, Handler]:
    """Return who hears of what was announced, after its commit, at least once.

    `with_mail` tells whether there is a mail server for notices.
    """
    return {FILE_COMMITTED: _queue_merge, **notices.subscribers(with_mail=with_mail)}


async def _queue_merge(connection: Connection, announcement: Announcement) -> None:
    """A new segment may make a merge worth while; many files of one data set ask for one merge."""
    dataset = announcement.payload["dataset"]
    await jobs.enqueue(
        connection, kind=MERGE_JOB, payload={"dataset": dataset}, unique_key=f"{MERGE_JOB}/{dataset}"
    )
    # Its new persons may be known under another number.
    await jobs.enqueue(connection, kind=MATCH_JOB, payload={}, unique_key=MATCH_JOB)
