"""Seal recorded entries into the chain, batch after batch, and anchor its head.

Each entry's link is SM3(previous link || canonical form), where the form holds the entry's number. Sealing
first looks whether what is there fits the anchor: it never builds upon, and never anchors, a broken chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from kangshu.audit import store
from kangshu.audit.anchor import authenticate, is_authentic, read_anchor, write_anchor
from kangshu.audit.errors import AuditBrokenError
from kangshu.audit.model import EMPTY, AuditEntry, Head, canonical_form
from kangshu.kernel.texts import load_catalogue
from kangshu.security.keys import Keys
from kangshu.security.sm import sm3
from kangshu.storage.database import Connection, Database, Record

_BATCH = 5000

say = load_catalogue(__package__ or __name__)


async def seal(database: Database, *, keys: Keys, anchor: Path, now: datetime) -> int:
    """Seal every committed entry; return how many. `anchor` is a file in the home.

    Several processes may call it; they take turns. After a crash between commit and anchor the next call
    mends the anchor.

    Raises:
        AuditBrokenError: the chain's end, its head and the anchor do not fit; nothing was sealed.
    """
    async with database.connection() as connection, store.sealing_alone(connection):
        anchored = await asyncio.to_thread(read_anchor, anchor, keys=keys)
        head = await _checked_head(connection, anchored, keys=keys)
        begin = head.chain
        while True:
            if head != anchored:
                # Also before the first commit: from then on a missing anchor is a finding, no beginning.
                await asyncio.to_thread(write_anchor, anchor, head, keys=keys, now=now)
                anchored = head
            head = await _seal_batch(connection, head, keys=keys, now=now)
            if head == anchored:
                return head.chain - begin


async def accept_break(
    database: Database, *, keys: Keys, anchor: Path, now: datetime, actor: str, actor_name: str
) -> None:
    """Go on with the chain as it is found, after an administrator has looked into a break.

    The break itself, as far as the anchor tells of it, becomes an entry. What was changed inside the chain
    stays visible to `verify` for ever.
    """
    async with database.connection() as connection, store.sealing_alone(connection):
        try:
            anchored = await asyncio.to_thread(read_anchor, anchor, keys=keys)
        except AuditBrokenError:
            anchored = None
        last = await store.get_last(connection) or EMPTY
        remembered = await store.find_head(connection)
        detail = {
            "found": last.chain,
            "head": remembered[0].chain if remembered else None,
            "anchored": anchored.chain if anchored else None,
        }
        entry = AuditEntry(
            at=now, actor=actor, actor_name=actor_name, action="audit.accept-break", detail=detail
        )
        async with connection.transaction():
            await store.insert_pending(connection, [entry])
            await store.save_head(connection, last, mac=authenticate(last, keys=keys), now=now)
        await asyncio.to_thread(write_anchor, anchor, last, keys=keys, now=now)
    await seal(database, keys=keys, anchor=anchor, now=now)


def link(previous: bytes, row: Record | Mapping[str, Any]) -> bytes:
    """Return the link of the entry in `row` (a row of the chain, or one with its future number)."""
    return sm3(
        previous
        + canonical_form(
            chain=row["chain"],
            at=row["at"],
            actor=row["actor"],
            actor_name=row["actor_name"],
            action=row["action"],
            purpose=row["purpose"],
            person=row["person"],
            resource=row["resource"],
            institution=row["institution"],
            outcome=row["outcome"],
            detail=row["detail"],
        )
    )


async def _checked_head(connection: Connection, anchored: Head | None, *, keys: Keys) -> Head:
    """Return the chain's head, having looked that last entry, head row and anchor fit together."""
    last = await store.get_last(connection) or EMPTY
    remembered = await store.find_head(connection)
    head, mac = remembered or (EMPTY, authenticate(EMPTY, keys=keys))
    if not is_authentic(head, mac=mac, keys=keys):
        raise AuditBrokenError(say["head_forged"])
    if anchored is None and (last.chain or head.chain):
        raise AuditBrokenError(say("anchor_missing", found=last.chain))
    if anchored is not None and anchored.chain > last.chain:
        raise AuditBrokenError(say("tail_missing", anchored=anchored.chain, found=last.chain))
    if head != last:
        raise AuditBrokenError(say("head_differs", head=head.chain, found=last.chain))
    if anchored is not None and anchored.chain:
        found = await store.find_link(connection, chain=anchored.chain)
        if found != anchored.hash:
            raise AuditBrokenError(say("rewritten", chain=anchored.chain))
    return head


async def _seal_batch(connection: Connection, head: Head, *, keys: Keys, now: datetime) -> Head:
    """Seal one batch in one transaction; return the new head, which is the old one when nothing waits."""
    async with connection.transaction():
        rows = await store.list_pending(connection, limit=_BATCH)
        if not rows:
            return head
        hashes = await asyncio.to_thread(_links, head, rows)
        numbers = range(head.chain + 1, head.chain + 1 + len(rows))
        moved = await store.move_to_chain(
            connection, ids=[row["id"] for row in rows], numbers=numbers, hashes=hashes
        )
        assert moved == len(rows), "nobody else removes pending entries"
        new = Head(chain=numbers[-1], hash=hashes[-1])
        await store.save_head(connection, new, mac=authenticate(new, keys=keys), now=now)
        return new


def _links(head: Head, rows: Sequence[Record]) -> list[bytes]:
    links: list[bytes] = []
    previous = head.hash
    for number, row in enumerate(rows, start=head.chain + 1):
        previous = link(previous, {**row, "chain": number})
        links.append(previous)
    return links
