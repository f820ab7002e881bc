"""Read the trail: newest first, what is not sealed yet before what is."""

from __future__ import annotations

from datetime import datetime

from kangshu.audit import store
from kangshu.audit.model import RecordedEntry
from kangshu.storage.database import Connection

MOST_ENTRIES = 1000


async def list_for_person(
    connection: Connection, *, person: int, limit: int = 50, before: int | None = None
) -> list[RecordedEntry]:
    """Return who did what to the data of `person`, newest first; see `list_entries` for `before`."""
    return await list_entries(connection, person=person, limit=limit, before=before)


async def list_entries(
    connection: Connection,
    *,
    person: int | None = None,
    actor: str | None = None,
    institution: str | None = None,
    action: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[RecordedEntry]:
    """Return at most `limit` (and never over 1,000) entries that meet every condition given, newest first.

    To go on, pass the last entry's `chain` as `before`; entries not sealed yet have none and stand only on
    the first page. `since` is included, `until` is not.
    """
    return await store.list_entries(
        connection,
        person=person,
        actor=actor,
        institution=institution,
        action=action,
        since=since,
        until=until,
        before=before,
        limit=min(limit, MOST_ENTRIES),
    )
