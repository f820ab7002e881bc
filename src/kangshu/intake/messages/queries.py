"""What may be asked about messages. Bodies are opened here only: for whom it is allowed, and on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import accumulate, groupby
from typing import Literal

from kangshu.audit import AuditEntry, record
from kangshu.intake.messages import store
from kangshu.intake.messages.errors import BodyPrunedError, MessageNotFoundError
from kangshu.intake.messages.masking import mask_body
from kangshu.intake.messages.model import (
    Known,
    Message,
    MessageCount,
    MessageFilter,
    MessageKey,
    MessageState,
    Pruning,
    StoredBody,
    kept_name,
)
from kangshu.intake.messages.packing import unpack
from kangshu.security.principals import Permission, Principal
from kangshu.storage.database import Connection, Record

BODY_READ = "message.read"
"""The act of looking at a message as it was sent."""
REPLAY = "message.replay-asked"
"""The act of having refused messages tried again."""

_REPLAY_BYTES = 64 << 20  # of bodies in memory at a time
_MOST_NUMBER = (1 << 63) - 1


async def find_known(connection: Connection, *, keys: Sequence[MessageKey]) -> list[Known | None]:
    """Return for each key the earlier message that decides about a new one, or None where it is new.

    One statement for the batch. A message that was refused under the same control id with another content
    decides nothing: it may have been corrected.
    """
    if not keys:
        return []
    asked = [
        (kept_name(key.sender), kept_name(key.application), kept_name(key.control_id), key.digest)
        for key in keys
    ]
    known: list[Known | None] = [None] * len(keys)
    rows = await store.find_known(connection, keys=asked)
    by_place: dict[int, list[Record]] = {}
    for row in rows:
        by_place.setdefault(row["number"] - 1, []).append(row)
    for place, found in by_place.items():
        known[place] = _deciding(found, digest=keys[place].digest)
    return known


async def get_message(
    connection: Connection, *, message: int, institutions: Sequence[str] | None = None
) -> Message:
    """Return a message on record, without its bytes; with `institutions` only one of theirs.

    Raises:
        MessageNotFoundError: there is none, or it is another sender's.
    """
    return (await _get(connection, message, institutions)).message


async def list_messages(
    connection: Connection, *, wanted: MessageFilter, before: int | None = None, limit: int = 50
) -> list[Message]:
    """Return messages, newest first; page on with `before` set to the last one's number."""
    known = before is None or 0 < before <= _MOST_NUMBER
    return await store.list_messages(connection, wanted=wanted, before=before, limit=limit) if known else []


async def count_found(connection: Connection, *, wanted: MessageFilter, most: int = 10_000) -> int:
    """Return how many messages are meant; counting ends at `most`."""
    return await store.count_found(connection, wanted=wanted, most=most)


async def count_messages(
    connection: Connection,
    *,
    by: Sequence[Literal["day", "sender", "format", "state"]],
    institutions: Sequence[str] | None = None,
    first: date | None = None,
    last: date | None = None,
) -> list[MessageCount]:
    """Return how many messages arrived from the day `first` to the day `last`, both included.

    There is one count for each combination of what `by` names, in its order. Days are those of the region's
    wall clock; a message counts on the day of its arrival, a repeat on the day of its own. Right at any
    moment, and quick however many messages there are: sums are kept, not made.
    """
    return await store.count_messages(
        connection, by=list(by), institutions=institutions, first=first, last=last
    )


async def list_replayable(connection: Connection, *, wanted: MessageFilter, limit: int = 1000) -> list[int]:
    """Return the numbers of those refused messages that can be tried again, the oldest first.

    Not those that the sender corrected since, nor those whose bytes were pruned; `wanted.state` says nothing
    here.
    """
    refused = replace(wanted, state=MessageState.REFUSED)
    return await store.list_replayable(connection, wanted=refused, limit=limit)


async def open_body(
    connection: Connection,
    *,
    principal: Principal,
    message: int,
    now: datetime,
    purpose: str,
    institutions: Sequence[str] | None = None,
) -> StoredBody:
    """Return a message as it was sent, and put on record, in the caller's transaction, that somebody looked.

    Needs both the right to see messages and the right to read records. The entry names the residents whom
    the message is about, so that they see it.

    Raises:
        NotPermittedError: a right is missing.
        MessageNotFoundError: there is none, or it is not of `institutions`.
        BodyPrunedError: the bytes are not kept any more.
    """
    principal.require(Permission.SEE_MESSAGES)
    principal.require(Permission.READ_RECORDS)
    kept = await _get(connection, message, institutions)
    body = (await _bodies(connection, [kept]))[0]
    if body is None:
        raise BodyPrunedError(message=message)
    await record(connection, entries=_looks(principal, kept.message, now=now, purpose=purpose))
    return StoredBody(message=kept.message, body=body)


async def open_masked(
    connection: Connection,
    *,
    principal: Principal,
    message: int,
    institutions: Sequence[str] | None = None,
    most: int = 64 << 10,
) -> str | None:
    """Return the shape of a message (segments, elements, lengths) with every value masked; None if pruned.

    At most `most` characters of it. Nobody's data are in it, hence no entry in the audit.

    Raises:
        NotPermittedError: the right to see messages is missing.
        MessageNotFoundError: there is none, or it is not of `institutions`.
    """
    principal.require(Permission.SEE_MESSAGES)
    kept = await _get(connection, message, institutions)
    body = (await _bodies(connection, [kept]))[0]
    return None if body is None else mask_body(body, format=kept.message.format, most=most)


async def open_for_replay(
    connection: Connection, *, principal: Principal, messages: Sequence[int], now: datetime
) -> list[StoredBody]:
    """Return those of the messages that can be tried again, by their numbers, and put on record who asked.

    Left out are those that are not refused (any more), are superseded, or whose bytes were pruned, and what
    is more than 64 MiB together: ask again for those. The bodies are for the platform to read again, not to
    be shown.

    Raises:
        NotPermittedError: the right to submit messages is missing.
    """
    principal.require(Permission.SUBMIT_MESSAGES)
    numbers = sorted({one for one in messages if 0 < one <= _MOST_NUMBER})
    kept = _within_memory(
        [
            row
            for row in await store.find_messages(connection, messages=numbers)
            if row.message.state is MessageState.REFUSED and row.message.body_kept
        ]
    )
    found = [
        StoredBody(message=row.message, body=body)
        for row, body in zip(kept, await _bodies(connection, kept), strict=True)
        if body is not None
    ]
    if found:
        entry = AuditEntry(
            at=now,
            actor=principal.id,
            actor_name=principal.name,
            action=REPLAY,
            resource=f"message/{found[0].message.id}" if len(found) == 1 else "messages",
            detail={"messages": len(found), "first": found[0].message.id, "last": found[-1].message.id},
        )
        await record(connection, entries=[entry])
    return found


async def list_prunings(connection: Connection, *, limit: int = 20) -> list[Pruning]:
    """Return what was pruned, the latest run first."""
    return await store.list_prunings(connection, limit=limit)


async def _get(connection: Connection, message: int, institutions: Sequence[str] | None) -> store.KeptRow:
    known = 0 < message <= _MOST_NUMBER  # a number that the database cannot hold is no message's
    kept = await store.find_message(connection, message=message) if known else None
    if kept is None or (institutions is not None and kept.message.sender not in institutions):
        raise MessageNotFoundError(message=message)
    return kept


async def _bodies(connection: Connection, kept: Sequence[store.KeptRow]) -> list[bytes | None]:
    """Return the bytes of each message, None where they were pruned."""
    bodies: dict[int, bytes] = {}
    # One block at a time: messages that were refused lie in many, and each unpacks to a mebibyte.
    for block, rows in groupby(sorted(kept, key=lambda row: row.block), key=lambda row: row.block):
        packed = await store.find_block(connection, block=block)
        if packed is not None:
            content = unpack(packed[0], size=packed[1])
            for row in rows:
                bodies[row.message.id] = content[row.offset : row.offset + row.message.bytes]
    return [bodies.get(row.message.id) for row in kept]


def _within_memory(kept: Sequence[store.KeptRow]) -> list[store.KeptRow]:
    """Return the first of the messages, one at least, as many as fit."""
    sums = accumulate(row.message.bytes for row in kept)
    return [row for row, total in zip(kept, sums, strict=True) if row is kept[0] or total <= _REPLAY_BYTES]


def _looks(principal: Principal, message: Message, *, now: datetime, purpose: str) -> list[AuditEntry]:
    persons: Sequence[int | None] = message.persons or (None,)
    return [
        AuditEntry(
            at=now,
            actor=principal.id,
            actor_name=principal.name,
            action=BODY_READ,
            purpose=purpose,
            person=person,
            resource=f"message/{message.id}",
            institution=message.sender or None,
        )
        for person in persons
    ]


def _deciding(rows: Sequence[Record], *, digest: bytes) -> Known | None:
    """Return what an accepted message, and one with the same content, mean for a new one."""
    accepted = next((row for row in rows if row["state"] == MessageState.ACCEPTED), None)
    same = [row for row in rows if row["digest"] == digest]
    own = accepted if accepted in same else next(iter(same), None)
    deciding = accepted or own
    if deciding is None:
        return None
    return Known(
        message=deciding["id"],
        state=MessageState(deciding["state"]),
        same_content=deciding["digest"] == digest,
        kept_as=own["id"] if own else None,
        place=deciding["refused_at"],
        reason=store.reason_of(deciding),
        resources=deciding["resources"],
        repeats=deciding["repeats"],
    )
