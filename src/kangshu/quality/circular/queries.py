"""Issued circulars."""

from __future__ import annotations

from datetime import date

from kangshu.quality.circular import store
from kangshu.quality.circular.model import Circular, Issue, read_circular
from kangshu.storage.database import Connection


async def find_circular(connection: Connection, *, month: date) -> Circular | None:
    """Return the circular of `month` as it was issued, or None where none was."""
    row = await store.find_circular(connection, month=month)
    if row is None:
        return None
    issue = Issue(month=row["month"], issued_at=row["issued_at"], issued_by=row["issued_by"])
    return read_circular(row["figures"], issue=issue)


async def list_issues(connection: Connection) -> list[Issue]:
    """Return which circulars were issued, the latest month first."""
    return [
        Issue(month=row["month"], issued_at=row["issued_at"], issued_by=row["issued_by"])
        for row in await store.list_circulars(connection)
    ]
