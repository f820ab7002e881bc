"""Issue a circular: from then on it stays as it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from kangshu.audit import AuditEntry, record
from kangshu.quality.circular import store
from kangshu.quality.circular.errors import CircularIssuedError, MonthNotOverError, say
from kangshu.quality.circular.model import Circular, Issue
from kangshu.quality.plausibility import add_months
from kangshu.quality.rectifying import local_day
from kangshu.storage.database import Connection

ISSUE_CIRCULAR = "quality.circular-issue"
"""The act as the audit knows it."""


async def issue_circular(
    connection: Connection, *, circular: Circular, now: datetime, actor: str, actor_name: str
) -> Circular:
    """Keep the circular as issued and return it so; that `actor` issued it goes on record.

    Raises:
        CircularIssuedError: the month has one.
        MonthNotOverError: the month still runs.
    """
    if local_day(now) < add_months(circular.month, 1):
        raise MonthNotOverError(say["month_not_over"])
    kept = await store.insert_circular(
        connection, month=circular.month, issued_at=now, issued_by=actor_name, figures=circular.document()
    )
    if not kept:
        raise CircularIssuedError(say["issued_already"])
    entry = AuditEntry(
        at=now,
        actor=actor,
        actor_name=actor_name,
        action=ISSUE_CIRCULAR,
        resource=f"circular/{circular.month:%Y-%m}",
    )
    await record(connection, entries=[entry])
    return replace(circular, issue=Issue(month=circular.month, issued_at=now, issued_by=actor_name))
