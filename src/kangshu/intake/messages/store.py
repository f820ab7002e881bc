"""The only SQL of messages; `find_known` and `store_messages` are the hot path, one statement for a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

from kangshu.intake.messages.model import (
    Message,
    MessageCount,
    MessageFilter,
    MessageFormat,
    MessageState,
    NewMessage,
    Pruning,
    kept_name,
)
from kangshu.intake.messages.packing import Packed
from kangshu.kernel.texts import Text
from kangshu.storage.database import Connection, Record, UniqueViolationError

STANDING = b""
"""The slot of the accepted message under a control id."""

_WORD_MOST = 60  # arbitrary: types, versions and channels are far shorter
_REASON_MOST = 2000  # arbitrary; a reason is a sentence

# Numbers are drawn in the order of arrival; rows go in in the order of their keys, so that transactions that
# bring the same messages wait for each other and never in a circle.
_STORE = """
WITH block AS MATERIALIZED (
    SELECT nextval('intake_message_body_id_seq') AS id, one.*
    FROM unnest($20::timestamptz[], $21::integer[], $22::integer[], $23::bytea[])
           AS one(received_at, messages, bytes, content)),
body AS (
    INSERT INTO intake_message_body (id, received_at, messages, bytes, content) SELECT * FROM block),
drawn AS MATERIALIZED (
    SELECT nextval('intake_message_id_seq') AS id, one.*
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::text[],
                $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
                $15::integer[], $16::integer[], $17::integer[], $18::integer[], $19::timestamptz[],
                $24::text[], $25::text[])
           AS one(sender, application, control_id, slot, digest, format, type, version, channel, state, place,
                  reason_zh, reason_en, persons, resources, bytes, block, block_offset, received_at,
                  received_by, peer)),
new AS (
    INSERT INTO intake_message (id, sender, application, control_id, slot, digest, format, type, version,
        channel, state, place, reason_zh, reason_en, persons, resources, bytes, block, block_offset,
        received_at, received_by, peer)
    SELECT id, sender, application, control_id, slot, digest, format, type, version, channel, state, place,
        reason_zh, reason_en, persons::bigint[], resources, bytes,
        (ARRAY(SELECT id FROM block ORDER BY id))[block], block_offset, received_at, received_by, peer
    FROM drawn ORDER BY sender, application, control_id, slot
    ON CONFLICT (sender, application, control_id, slot) DO NOTHING
    RETURNING id, sender, format, state, received_at),
counted AS (
    INSERT INTO intake_message_delta (day, sender, format, state, messages, repeats)
    SELECT (received_at AT TIME ZONE $26)::date, sender, format, state, count(*), 0
    FROM new GROUP BY 1, 2, 3, 4)
SELECT id FROM new ORDER BY id"""

_FIELDS = """message.id, sender, application, control_id, digest, format, type, version, channel, state,
    place, reason_zh, reason_en, persons, resources, message.bytes, message.received_at, received_by, peer,
    repeats, last_repeat_at, replays, last_replay_at, block, block_offset"""

# A refused message under whose control id another content was accepted since waits for nothing any more.
_SUPERSEDER = """(SELECT id FROM intake_message AS later
    WHERE message.state = 'refused' AND message.control_id <> '' AND later.sender = message.sender
      AND later.application = message.application AND later.control_id = message.control_id
      AND later.slot = '')"""
_BODY_KEPT = "EXISTS (SELECT FROM intake_message_body AS body WHERE body.id = block)"


Key: TypeAlias = tuple[str, str, str, bytes]
"""Sender, application, control id, and the slot, or the digest where what is known is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptRow:
    """A message on record with the place of its bytes."""

    message: Message
    block: int
    offset: int


def slot_of(state: str, control_id: str, digest: bytes) -> bytes:
    """Return what a message's row is unique by, beside its control id."""
    return STANDING if control_id and state == MessageState.ACCEPTED else digest


async def find_known(connection: Connection, *, keys: Sequence[Key]) -> list[Record]:
    """Return for keys (sender, application, control id, digest), by `number` from 1, what decides about them.

    That is the accepted message under the control id and whatever holds the same content.
    """
    senders, applications, control_ids, digests = zip(*keys, strict=True)
    standing = [STANDING if control_id else digest for _, _, control_id, digest in keys]
    return await connection.fetch(
        "SELECT * FROM intake_message_known($1, $2, $3, $4, $5)",
        senders,
        applications,
        control_ids,
        digests,
        standing,
    )


async def store_messages(
    connection: Connection,
    *,
    messages: Sequence[NewMessage],
    keys: Sequence[Key],
    packed: Packed,
    zone: str,
) -> list[int]:
    """Store messages under their keys with their bodies; return the new numbers, in the order of `messages`.

    Fewer numbers than messages come back where some are on record already: those were left alone.
    """
    senders, applications, control_ids, slots = zip(*keys, strict=True)
    rows = await connection.fetch(
        _STORE,
        senders,
        applications,
        control_ids,
        slots,
        [one.digest for one in messages],
        [one.format for one in messages],
        [kept_name(one.type, most=_WORD_MOST) for one in messages],
        [kept_name(one.version, most=_WORD_MOST) for one in messages],
        [one.channel for one in messages],
        [one.state for one in messages],
        [_place(one.place) for one in messages],
        [_clean(one.reason.zh) if one.reason else None for one in messages],
        [_clean(one.reason.en) if one.reason else None for one in messages],
        [_array(one.persons) for one in messages],
        [one.resources for one in messages],
        [len(one.body) for one in messages],
        packed.block_of,
        packed.offset_of,
        [one.received_at for one in messages],
        [one.received_at for one in packed.blocks],
        [one.messages for one in packed.blocks],
        [one.bytes for one in packed.blocks],
        [one.content for one in packed.blocks],
        [_clean(one.received_by) for one in messages],
        [_clean(one.peer) for one in messages],
        zone,
    )
    return [row["id"] for row in rows]


async def lock_kept(connection: Connection, *, keys: Sequence[Key]) -> dict[Key, Record]:
    """Return the rows that stand at keys (sender, application, control id, slot), locked, by their keys."""
    senders, applications, control_ids, slots = zip(*keys, strict=True)
    rows = await connection.fetch(
        """SELECT message.id, sender, application, control_id, slot, state FROM intake_message AS message
           JOIN unnest($1::text[], $2::text[], $3::text[], $4::bytea[])
                  AS key(sender, application, control_id, slot) USING (sender, application, control_id, slot)
           ORDER BY message.id FOR UPDATE OF message""",
        senders,
        applications,
        control_ids,
        slots,
    )
    return {(row["sender"], row["application"], row["control_id"], row["slot"]): row for row in rows}


async def lock_state(connection: Connection, *, message: int) -> str | None:
    """Return a message's state and let nobody change it before the end of the transaction."""
    return await connection.fetchval("SELECT state FROM intake_message WHERE id = $1 FOR UPDATE", message)


async def settle(
    connection: Connection,
    *,
    message: int,
    outcome: NewMessage,
    now: datetime,
    replayed: bool,
    zone: str,
) -> bool:
    """Write what came of a message that was tried again, and count it anew; return False for a collision.

    `replayed` tells whether the platform tried again or the sender sent it again. Its day stays that of its
    first arrival.
    """
    try:
        await connection.execute(
            """WITH earlier AS MATERIALIZED (
                   SELECT id, sender, format, state, (received_at AT TIME ZONE $12)::date AS day
                   FROM intake_message WHERE id = $1 FOR UPDATE),
               counted AS (
                   INSERT INTO intake_message_delta (day, sender, format, state, messages, repeats)
                   SELECT day, sender, format, state, -1, 0 FROM earlier WHERE state <> $2
                   UNION ALL SELECT day, sender, $13, $2, 1, 0 FROM earlier WHERE state <> $2
                   UNION ALL SELECT day, sender, $13, $2, 0, 1 FROM earlier WHERE NOT $11)
               UPDATE intake_message AS message
               SET state = $2,
                   slot = CASE WHEN $2 = 'accepted' AND message.control_id <> '' THEN ''::bytea
                               ELSE message.digest END,
                   place = $3, reason_zh = $4, reason_en = $5, persons = $6::text::bigint[], resources = $7,
                   type = $8, version = $9, format = $13,
                   repeats = repeats + CASE WHEN $11 THEN 0 ELSE 1 END,
                   last_repeat_at = CASE WHEN $11 THEN last_repeat_at ELSE $10 END,
                   replays = replays + CASE WHEN $11 THEN 1 ELSE 0 END,
                   last_replay_at = CASE WHEN $11 THEN $10 ELSE last_replay_at END
               FROM earlier WHERE message.id = earlier.id""",
            message,
            outcome.state,
            _place(outcome.place),
            _clean(outcome.reason.zh) if outcome.reason else None,
            _clean(outcome.reason.en) if outcome.reason else None,
            _array(outcome.persons),
            outcome.resources,
            kept_name(outcome.type, most=_WORD_MOST),
            kept_name(outcome.version, most=_WORD_MOST),
            now,
            replayed,
            zone,
            outcome.format,
        )
    except UniqueViolationError:
        return False
    return True


async def count_repeats(
    connection: Connection, *, repeats: Mapping[int, int], now: datetime, zone: str
) -> None:
    """Add to how often messages came again, locking them in the order of their numbers."""
    await connection.execute(
        """WITH again AS MATERIALIZED (
               SELECT message.id, times FROM intake_message AS message
               JOIN unnest($1::bigint[], $2::integer[]) AS one(id, times) USING (id)
               ORDER BY message.id FOR UPDATE OF message),
           counted AS (
               UPDATE intake_message AS message
               SET repeats = repeats + times, last_repeat_at = greatest(last_repeat_at, $3)
               FROM again WHERE message.id = again.id RETURNING sender, format, state, times)
           INSERT INTO intake_message_delta (day, sender, format, state, messages, repeats)
           SELECT ($3::timestamptz AT TIME ZONE $4)::date, sender, format, state, 0, sum(times)
           FROM counted GROUP BY 2, 3, 4""",
        sorted(repeats),
        [repeats[message] for message in sorted(repeats)],
        now,
        zone,
    )


# --- reading ---


async def find_message(connection: Connection, *, message: int) -> KeptRow | None:
    """Return a message on record, or None."""
    rows = await find_messages(connection, messages=[message])
    return rows[0] if rows else None


async def find_messages(connection: Connection, *, messages: Sequence[int]) -> list[KeptRow]:
    """Return those of the messages that are on record, by their numbers."""
    rows = await connection.fetch(
        f"""SELECT {_FIELDS}, {_SUPERSEDER} AS superseded_by, {_BODY_KEPT} AS body_kept
            FROM intake_message AS message WHERE id = ANY($1) ORDER BY id""",
        messages,
    )
    return [_kept(row) for row in rows]


async def list_messages(
    connection: Connection, *, wanted: MessageFilter, before: int | None, limit: int
) -> list[Message]:
    """Return messages, newest first, from the one before `before` on."""
    where, values = _conditions(wanted)
    if before is not None:
        values.append(before)
        where += f""" AND (message.received_at, message.id) <
            (SELECT last.received_at, last.id FROM intake_message AS last WHERE last.id = ${len(values)})"""
    values.append(limit)
    rows = await connection.fetch(
        f"""SELECT {_FIELDS}, {_SUPERSEDER} AS superseded_by, {_BODY_KEPT} AS body_kept
            FROM intake_message AS message WHERE {where}
            ORDER BY message.received_at DESC, message.id DESC LIMIT ${len(values)}""",
        *values,
    )
    return [_kept(row).message for row in rows]


async def count_found(connection: Connection, *, wanted: MessageFilter, most: int) -> int:
    """Return how many messages are meant, `most` at the most."""
    where, values = _conditions(wanted)
    count = await connection.fetchval(
        f"""SELECT count(*)
            FROM (SELECT FROM intake_message AS message WHERE {where} LIMIT {int(most)}) AS found""",
        *values,
    )
    assert isinstance(count, int), "count(*) gives a number"
    return count


async def list_replayable(connection: Connection, *, wanted: MessageFilter, limit: int) -> list[int]:
    """Return refused messages whose bytes are kept, the oldest first."""
    where, values = _conditions(wanted)
    rows = await connection.fetch(
        f"""SELECT message.id FROM intake_message AS message WHERE {where} AND {_BODY_KEPT}
            ORDER BY message.received_at, message.id LIMIT {int(limit)}""",
        *values,
    )
    return [row["id"] for row in rows]


async def find_block(connection: Connection, *, block: int) -> tuple[bytes, int] | None:
    """Return the compressed content and the size of a block, or None where it was pruned."""
    row = await connection.fetchrow("SELECT content, bytes FROM intake_message_body WHERE id = $1", block)
    return (row["content"], row["bytes"]) if row else None


def _conditions(wanted: MessageFilter) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []

    def require(condition: str, value: object) -> None:
        if value is not None:
            values.append(value)
            conditions.append(condition.format(f"${len(values)}"))

    places = wanted.institutions
    require('message.sender COLLATE "POSIX" = ANY({}::text[])', list(places) if places is not None else None)
    require("message.format = {}", wanted.format)
    require("message.type = {}", wanted.type)
    require("message.received_at >= {}", wanted.since)
    require("message.received_at < {}", wanted.until)
    require("message.control_id = {}", kept_name(wanted.control_id) if wanted.control_id else None)
    if wanted.search:
        require("message.control_id >= {}", wanted.search)
        require("starts_with(message.control_id, {})", wanted.search)
    if wanted.state in (MessageState.REFUSED, MessageState.SUPERSEDED):
        conditions.append("message.state <> 'accepted' AND message.state = 'refused'")
        conditions.append(f"{_SUPERSEDER} IS {'NOT ' if wanted.state is MessageState.SUPERSEDED else ''}NULL")
    elif wanted.state is MessageState.CONFLICT:
        conditions.append("message.state <> 'accepted' AND message.state = 'conflict'")
    elif wanted.state is not None:
        require("message.state = {}", wanted.state)
    return " AND ".join(conditions) or "true", values


# --- counts ---

_COUNTED_BY = ("day", "sender", "format", "state")


async def count_messages(
    connection: Connection,
    *,
    by: Sequence[str],
    institutions: Sequence[str] | None,
    first: date | None,
    last: date | None,
) -> list[MessageCount]:
    """Return sums over messages and repeats for each combination of what `by` names."""
    assert set(by) <= set(_COUNTED_BY), "counts are kept by these"
    columns = ", ".join(by)
    grouped = f"GROUP BY {columns} HAVING sum(messages) <> 0 OR sum(repeats) <> 0 ORDER BY {columns}"
    rows = await connection.fetch(
        f"""SELECT {columns}{", " if by else ""}
                   sum(messages)::bigint AS messages, sum(repeats)::bigint AS repeats
            FROM (SELECT * FROM intake_message_day UNION ALL SELECT * FROM intake_message_delta) AS counts
            WHERE ($1::text[] IS NULL OR sender = ANY($1)) AND ($2::date IS NULL OR day >= $2)
              AND ($3::date IS NULL OR day <= $3)
            {grouped if by else ""}""",
        list(institutions) if institutions is not None else None,
        first,
        last,
    )
    return [_count(row) for row in rows]


async def fold_counts(connection: Connection) -> int:
    """Add what was counted lately to the days' sums; return how many rows that were."""
    if not await connection.fetchval(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('intake_message', 1))"
    ):
        return 0  # somebody else is at it
    folded = await connection.fetchval(
        """WITH gone AS (DELETE FROM intake_message_delta RETURNING *),
             added AS (
               INSERT INTO intake_message_day AS total (day, sender, format, state, messages, repeats)
               SELECT day, sender, format, state, sum(messages), sum(repeats) FROM gone GROUP BY 1, 2, 3, 4
               ON CONFLICT (day, sender, format, state) DO UPDATE
               SET messages = total.messages + excluded.messages, repeats = total.repeats + excluded.repeats)
           SELECT count(*) FROM gone"""
    )
    assert isinstance(folded, int), "count(*) gives a number"
    return folded


# --- pruning ---


async def begin_pruning(connection: Connection) -> bool:
    """Return whether nobody else is pruning; hold that until the end of the transaction."""
    return bool(
        await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended('intake_message', 2))")
    )


async def prune_step(
    connection: Connection, *, run: int | None, before: datetime, now: datetime, limit: int
) -> tuple[int | None, int]:
    """Remove at most `limit` of the oldest blocks and add to the run's record.

    Returns the run's number (None as long as nothing was removed) and how many blocks this step removed.
    """
    row = await connection.fetchrow(
        """WITH old AS MATERIALIZED (
               SELECT first.id FROM (SELECT id, received_at FROM intake_message_body ORDER BY id LIMIT $2)
                 AS first WHERE received_at < $1),
             gone AS (
               DELETE FROM intake_message_body AS body USING old WHERE body.id = old.id
               RETURNING body.messages, body.bytes, octet_length(body.content) AS stored, body.received_at)
           SELECT count(*) AS blocks, sum(messages)::bigint AS bodies, sum(bytes)::bigint AS bytes,
                  sum(stored)::bigint AS stored, min(received_at) AS oldest, max(received_at) AS newest
           FROM gone""",
        before,
        limit,
    )
    assert row is not None, "an aggregate gives a row"
    if not row["blocks"]:
        return run, 0
    figures = (row["bodies"], row["bytes"], row["stored"], row["oldest"], row["newest"])
    if run is None:
        run = await connection.fetchval(
            """INSERT INTO intake_message_pruning
                   (pruned_at, before, bodies, bytes, stored_bytes, oldest, newest)
               VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id""",
            now,
            before,
            *figures,
        )
    else:
        await connection.execute(
            """UPDATE intake_message_pruning
               SET bodies = bodies + $2, bytes = bytes + $3, stored_bytes = stored_bytes + $4,
                   oldest = least(oldest, $5), newest = greatest(newest, $6) WHERE id = $1""",
            run,
            *figures,
        )
    return run, row["blocks"]


async def list_prunings(connection: Connection, *, limit: int) -> list[Pruning]:
    """Return what was pruned, the latest first."""
    rows = await connection.fetch("SELECT * FROM intake_message_pruning ORDER BY id DESC LIMIT $1", limit)
    return [Pruning(**dict(row)) for row in rows]


async def find_pruning(connection: Connection, *, run: int) -> Pruning:
    """Return the record of a run."""
    row = await connection.fetchrow("SELECT * FROM intake_message_pruning WHERE id = $1", run)
    assert row is not None, "the run wrote it"
    return Pruning(**dict(row))


# --- rows and values ---


def reason_of(row: Record) -> Text | None:
    """Return the reason that a row holds."""
    return Text(zh=row["reason_zh"], en=row["reason_en"]) if row["reason_zh"] else None


def _kept(row: Record) -> KeptRow:
    state = MessageState(row["state"])
    message = Message(
        id=row["id"],
        sender=row["sender"],
        application=row["application"],
        control_id=row["control_id"],
        digest=row["digest"],
        format=MessageFormat(row["format"]),
        type=row["type"],
        version=row["version"],
        channel=row["channel"],
        state=MessageState.SUPERSEDED if row["superseded_by"] else state,
        place=row["place"],
        reason=reason_of(row),
        persons=tuple(row["persons"]),
        resources=row["resources"],
        bytes=row["bytes"],
        received_at=row["received_at"],
        received_by=row["received_by"],
        peer=row["peer"],
        repeats=row["repeats"],
        last_repeat_at=row["last_repeat_at"],
        replays=row["replays"],
        last_replay_at=row["last_replay_at"],
        superseded_by=row["superseded_by"],
        body_kept=row["body_kept"],
    )
    return KeptRow(message=message, block=row["block"], offset=row["block_offset"])


def _count(row: Record) -> MessageCount:
    values = dict(row)
    return MessageCount(
        messages=values["messages"] or 0,
        repeats=values["repeats"] or 0,
        day=values.get("day"),
        sender=values.get("sender"),
        format=MessageFormat(values["format"]) if "format" in values else None,
        state=MessageState(values["state"]) if "state" in values else None,
    )


def _array(persons: Sequence[int]) -> str:
    return f"{{{','.join(map(str, persons))}}}" if persons else "{}"


def _place(place: str | None) -> str | None:
    return None if place is None else _clean(place)


def _clean(text: str) -> str:
    """PostgreSQL stores neither NUL nor halves of characters; nothing of ours is that long."""
    if len(text) <= _REASON_MOST and text.isprintable():
        return text
    safe = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
    return safe[:_REASON_MOST]
