"""What institutions are told in the console: kept once for a step and a code, until somebody has read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from kangshu.quality.rectifying import store
from kangshu.quality.rectifying.model import Notice, Way
from kangshu.security.principals import Principal
from kangshu.storage.database import Connection

UNREAD_MOST = 99
"""A badge counts no further."""


async def keep_notices(
    connection: Connection, *, codes: Iterable[str], task: int, event: int, topic: str, at: datetime
) -> list[Notice]:
    """Keep a notice of a task's step for each code; return the new ones, so that telling twice tells once."""
    return await store.insert_notices(connection, codes=codes, task=task, event=event, topic=topic, at=at)


async def find_notice(connection: Connection, *, notice: int) -> Notice | None:
    """Return a notice; None where its task is no more."""
    return await store.find_notice(connection, notice=notice)


async def mark_sent(connection: Connection, *, notice: int, way: Way, now: datetime) -> None:
    """Keep that a notice went out by mail or to the hook."""
    await store.mark_sent(connection, notice=notice, way=way, at=now)


async def list_ways(connection: Connection, *, codes: Sequence[str]) -> dict[str, frozenset[Way]]:
    """Return by which ways each of these codes that has a contact can be told."""
    return {
        row["code"]: frozenset(way for way in Way if row[way.value])
        for row in await store.list_ways(connection, codes=codes)
    }


async def list_notices(
    connection: Connection, *, codes: Sequence[str], unread: bool = True, limit: int = 20
) -> list[Notice]:
    """Return what codes are told, the newest first."""
    return await store.list_notices(connection, codes=codes, unread=unread, limit=limit)


async def count_unread(connection: Connection, *, codes: Sequence[str]) -> int:
    """Return how many notices nobody has read, `UNREAD_MOST` at most."""
    return await store.count_unread(connection, codes=codes, most=UNREAD_MOST)


async def mark_read(
    connection: Connection, *, codes: Sequence[str], upto: int, principal: Principal, now: datetime
) -> int:
    """Mark notices up to number `upto` as read; return how many were not."""
    return await store.mark_read(connection, codes=codes, upto=upto, at=now, by=principal.id)
