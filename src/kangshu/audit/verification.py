"""Walk the whole chain and say whether anything was changed, removed, reordered or cut off, and where."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kangshu.audit import store
from kangshu.audit.anchor import is_authentic, read_anchor
from kangshu.audit.errors import AuditBrokenError
from kangshu.audit.model import EMPTY, Head
from kangshu.audit.sealing import link, seal
from kangshu.kernel.texts import Text, load_catalogue
from kangshu.security.keys import Keys
from kangshu.storage.database import Connection, Database, Record

_BATCH = 5000
_BEFORE_ALL = -(2**63)

say = load_catalogue(__package__ or __name__)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What the walk found: `entries` is how many hold; `fault` the first thing wrong, at number `at`.

    `head` is the last link in hexadecimal: noted elsewhere, it proves later what the chain was today.
    """

    entries: int
    intact: bool
    fault: Text | None
    at: int | None
    head: str


@dataclass(frozen=True, kw_only=True)
class _Fault:
    text: Text
    at: int | None


@dataclass
class _Walk:
    """Where the walk stands: the last good link, and the anchor that lies ahead."""

    last: Head
    anchored: Head | None
    fault: _Fault | None = None

    def step(self, rows: Sequence[Record]) -> None:
        for row in rows:
            self.fault = self._examine(row)
            if self.fault:
                return
            self.last = Head(chain=row["chain"], hash=row["hash"])

    def _examine(self, row: Record) -> _Fault | None:
        expected = self.last.chain + 1
        if row["chain"] != expected:
            return _Fault(text=say("entry_missing", chain=expected), at=expected)
        if link(self.last.hash, row) != row["hash"]:
            return _Fault(text=say("entry_changed", chain=expected), at=expected)
        if self.anchored and self.anchored.chain == expected and self.anchored.hash != row["hash"]:
            return _Fault(text=say("rewritten", chain=expected), at=expected)
        return None


async def verify(database: Database, *, keys: Keys, anchor: Path, now: datetime) -> Verification:
    """Seal what is pending, then walk the chain from its first entry.

    Found are: any changed field, a removed, inserted or reordered entry, an end cut off in the table or in
    table and head, a chain rewritten as a whole, a forged or missing head or anchor. Takes some ten
    seconds per million entries; memory is bounded.
    """
    with suppress(AuditBrokenError):  # the walk says more exactly where
        await seal(database, keys=keys, anchor=anchor, now=now)
    fault: _Fault | None = None
    anchored: Head | None = None
    try:
        # Before the snapshot: the anchor is written after its entries, so it is never ahead of them.
        anchored = await asyncio.to_thread(read_anchor, anchor, keys=keys)
    except AuditBrokenError as error:
        fault = _Fault(text=error.text, at=None)
    async with database.transaction(readonly=True, snapshot=True) as connection:
        walk = _Walk(last=EMPTY, anchored=anchored)
        await _walk_all(connection, walk)
        remembered = await store.find_head(connection)
    fault = walk.fault or fault or _check_end(walk.last, remembered, anchored, keys=keys)
    return Verification(
        entries=walk.last.chain,
        intact=fault is None,
        fault=fault.text if fault else None,
        at=fault.at if fault else None,
        head=walk.last.hash.hex(),
    )


async def _walk_all(connection: Connection, walk: _Walk) -> None:
    position = _BEFORE_ALL
    while walk.fault is None and (rows := await _next_links(connection, walk, after=position)):
        await asyncio.to_thread(walk.step, rows)
        position = rows[-1]["chain"]


async def _next_links(connection: Connection, walk: _Walk, *, after: int) -> list[Record]:
    """Return the next rows; before one that Python cannot hold (a moment before Christ) the walk ends."""
    try:
        return await store.list_links(connection, after=after, limit=_BATCH)
    except (ValueError, OverflowError):
        pass
    good: list[Record] = []
    while True:
        try:
            good += await store.list_links(connection, after=good[-1]["chain"] if good else after, limit=1)
        except (ValueError, OverflowError):
            break
    walk.step(good)
    if walk.fault is None:
        number = walk.last.chain + 1
        walk.fault = _Fault(text=say("entry_changed", chain=number), at=number)
    return []


def _check_end(
    last: Head, remembered: tuple[Head, bytes] | None, anchored: Head | None, *, keys: Keys
) -> _Fault | None:
    head, mac = remembered or (EMPTY, b"")
    if remembered and not is_authentic(head, mac=mac, keys=keys):
        return _Fault(text=say["head_forged"], at=None)
    if anchored is None and (last.chain or head.chain):
        return _Fault(text=say("anchor_missing", found=last.chain), at=None)
    if anchored is not None and anchored.chain > last.chain:
        text = say("tail_missing", anchored=anchored.chain, found=last.chain)
        return _Fault(text=text, at=last.chain + 1)
    if head != last:
        return _Fault(text=say("head_differs", head=head.chain, found=last.chain), at=last.chain + 1)
    return None
