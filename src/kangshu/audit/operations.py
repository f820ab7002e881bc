"""Record what was done, in the transaction in which it was done."""

from __future__ import annotations

from collections.abc import Sequence

from kangshu.audit import store
from kangshu.audit.model import AuditEntry
from kangshu.storage.database import Connection


async def record(connection: Connection, *, entries: Sequence[AuditEntry]) -> None:
    """Record `entries` in the caller's transaction: they stand if and only if it does.

    No lock is taken; the entries get their place in the chain when `seal` runs. What must be on record
    although its transaction fails (a refusal) is recorded in a transaction of its own.
    """
    if entries:
        await store.insert_pending(connection, entries)
