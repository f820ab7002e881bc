"""Keep messages, count what comes again, and remove bytes whose time is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from kangshu.intake.messages import store
from kangshu.intake.messages.errors import MessageNotFoundError, MessageRaceError, MessageSettledError
from kangshu.intake.messages.model import MessageState, NewMessage, Pruning, kept_name
from kangshu.intake.messages.packing import pack
from kangshu.intake.values import ZONE
from kangshu.storage.database import Connection, Database

_PRUNE_STEP = 200  # blocks in a transaction: some hundred megabytes of deleting at the most


async def record_messages(connection: Connection, *, messages: Sequence[NewMessage]) -> list[int]:
    """Keep messages with what became of them, in the caller's transaction; return their numbers in order.

    A content that was refused before and is refused again is not kept twice: its entry takes the new reason,
    counts a repeat, and its number is returned (so it is where a conflict comes again, and where a message
    without control id is accepted after all). One with a control id that is accepted after all is kept
    beside the refused entry, which shows as superseded from then on.

    Raises:
        MessageRaceError: another transaction stored one of them as accepted meanwhile. The caller must undo
            its transaction and begin again with `find_known`.
    """
    keys = [_key(message) for message in messages]
    first: dict[store.Key, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    if len(first) < len(messages):
        return await _record_with_copies(connection, messages, keys, first)
    if not messages:
        return []
    numbers = await store.store_messages(
        connection, messages=messages, keys=keys, packed=pack(messages), zone=ZONE
    )
    if len(numbers) < len(messages):
        return await _record_again(connection, messages, keys, new=frozenset(numbers))
    return numbers


async def note_repeats(connection: Connection, *, messages: Sequence[int], now: datetime) -> None:
    """Count that messages on record came again; a number may stand there several times."""
    if messages:
        await store.count_repeats(connection, repeats=Counter(messages), now=now, zone=ZONE)


async def finish_replay(connection: Connection, *, message: int, outcome: NewMessage, now: datetime) -> None:
    """Write what came of a refused message that was tried again; its bytes and its number stay.

    Raises:
        MessageNotFoundError: there is no such message.
        MessageSettledError: it is not refused (any more).
        MessageRaceError: its control id was accepted with another content meanwhile.
    """
    state = await store.lock_state(connection, message=message)
    if state is None:
        raise MessageNotFoundError(message=message)
    if state != MessageState.REFUSED:
        raise MessageSettledError(message=message)
    await _settle(connection, message, outcome, now=now, replayed=True)


async def fold_counts(database: Database) -> int:
    """Add up what was counted since the last time, so that counting stays quick; call it once a minute.

    Counts are right without it. Returns how many entries were added up.
    """
    async with database.transaction() as connection:
        return await store.fold_counts(connection)


async def prune_bodies(database: Database, *, before: datetime, now: datetime) -> Pruning | None:
    """Remove the bytes of messages that arrived before `before`; return the record of it, or None.

    Works in small transactions, each with its part of the record; a run that is killed leaves a true record.
    Another run at the same moment does nothing. Messages themselves stay on record. None means that there
    was nothing to remove.
    """
    run: int | None = None
    while True:
        async with database.transaction() as connection:
            if not await store.begin_pruning(connection):
                break
            run, removed = await store.prune_step(
                connection, run=run, before=before, now=now, limit=_PRUNE_STEP
            )
        if not removed:
            break
    if run is None:
        return None
    async with database.connection() as connection:
        return await store.find_pruning(connection, run=run)


async def _record_with_copies(
    connection: Connection,
    messages: Sequence[NewMessage],
    keys: Sequence[store.Key],
    first: dict[store.Key, int],
) -> list[int]:
    """Keep the first of equal messages and count the others as repeats of it."""
    copies = [place for place, key in enumerate(keys) if first[key] != place]
    if any(messages[place].digest != messages[first[keys[place]]].digest for place in copies):
        raise ValueError("of different messages under one control id a batch can accept one")
    originals = sorted(first.values())
    numbers = await record_messages(connection, messages=[messages[place] for place in originals])
    number_of = {keys[place]: number for place, number in zip(originals, numbers, strict=True)}
    await note_repeats(
        connection,
        messages=[number_of[keys[place]] for place in copies],
        now=max(messages[place].received_at for place in copies),
    )
    return [number_of[key] for key in keys]


async def _record_again(
    connection: Connection,
    messages: Sequence[NewMessage],
    keys: Sequence[store.Key],
    *,
    new: frozenset[int],
) -> list[int]:
    """Give the messages that were on record already their new outcome; return the numbers of all."""
    kept = await store.lock_kept(connection, keys=keys)
    numbers: list[int] = []
    for message, key in zip(messages, keys, strict=True):
        row = kept.get(key)
        if row is None or (row["id"] not in new and row["state"] == MessageState.ACCEPTED):
            raise MessageRaceError
        if row["id"] not in new:
            await _settle(connection, row["id"], message, now=message.received_at, replayed=False)
        numbers.append(row["id"])
    return numbers


async def _settle(
    connection: Connection, number: int, outcome: NewMessage, *, now: datetime, replayed: bool
) -> None:
    settled = await store.settle(
        connection, message=number, outcome=outcome, now=now, replayed=replayed, zone=ZONE
    )
    if not settled:
        raise MessageRaceError


def _key(message: NewMessage) -> store.Key:
    control_id = kept_name(message.control_id)
    key = store.slot_of(message.state, control_id, message.digest)
    return kept_name(message.sender), kept_name(message.application), control_id, key
