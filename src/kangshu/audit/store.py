"""The audit tables' SQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from kangshu.audit.model import AuditEntry, Head, RecordedEntry
from kangshu.storage.database import Connection, Record

# Arbitrary, but the same in every process: "audit" read as a number.
_LOCK = 0x6175646974

_FIELDS = "at, actor, actor_name, action, purpose, person, resource, institution, outcome, detail"


async def insert_pending(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    await connection.execute(
        f"""INSERT INTO audit_pending ({_FIELDS})
            SELECT {_FIELDS} FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[],
              $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[]) WITH ORDINALITY
              AS new({_FIELDS}, place) ORDER BY place""",
        [entry.at for entry in entries],
        [entry.actor for entry in entries],
        [entry.actor_name for entry in entries],
        [entry.action for entry in entries],
        [entry.purpose for entry in entries],
        [entry.person for entry in entries],
        [entry.resource for entry in entries],
        [entry.institution for entry in entries],
        [entry.outcome for entry in entries],
        [entry.detail_text for entry in entries],
    )


@asynccontextmanager
async def sealing_alone(connection: Connection) -> AsyncIterator[None]:
    """Hold the right to seal: one process at a time, across the commit and the writing of the anchor."""
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def list_pending(connection: Connection, *, limit: int) -> list[Record]:
    return await connection.fetch(f"SELECT id, {_FIELDS} FROM audit_pending ORDER BY id LIMIT $1", limit)


async def move_to_chain(
    connection: Connection, *, ids: Sequence[int], numbers: Sequence[int], hashes: Sequence[bytes]
) -> int:
    """Move pending entries into the chain under their numbers; return how many were still there."""
    fields = ", ".join(f"p.{name}" for name in _FIELDS.split(", "))
    status = await connection.execute(
        f"""WITH sealed AS (
              SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS s(id, chain, hash)),
            moved AS (DELETE FROM audit_pending p USING sealed s WHERE p.id = s.id
                      RETURNING s.chain, {fields}, s.hash)
            INSERT INTO audit_entry (chain, {_FIELDS}, hash) SELECT * FROM moved ORDER BY chain""",
        ids,
        numbers,
        hashes,
    )
    return int(status.split()[-1])


async def find_head(connection: Connection) -> tuple[Head, bytes] | None:
    """Return the head that the database remembers, with its authentication code."""
    row = await connection.fetchrow("SELECT chain, hash, mac FROM audit_head")
    return (Head(chain=row["chain"], hash=row["hash"]), row["mac"]) if row else None


async def save_head(connection: Connection, head: Head, *, mac: bytes, now: datetime) -> None:
    await connection.execute(
        """INSERT INTO audit_head (chain, hash, mac, sealed_at) VALUES ($1, $2, $3, $4)
           ON CONFLICT (one) DO UPDATE SET chain = $1, hash = $2, mac = $3, sealed_at = $4""",
        head.chain,
        head.hash,
        mac,
        now,
    )


async def find_link(connection: Connection, *, chain: int) -> bytes | None:
    return await connection.fetchval("SELECT hash FROM audit_entry WHERE chain = $1", chain)


async def get_last(connection: Connection) -> Head | None:
    """Return the last entry that is really there, as a head."""
    row = await connection.fetchrow("SELECT chain, hash FROM audit_entry ORDER BY chain DESC LIMIT 1")
    return Head(chain=row["chain"], hash=row["hash"]) if row else None


async def list_links(connection: Connection, *, after: int, limit: int) -> list[Record]:
    """Return entries with their links, from the one after number `after` on."""
    return await connection.fetch(
        f"SELECT chain, {_FIELDS}, hash FROM audit_entry WHERE chain > $1 ORDER BY chain LIMIT $2",
        after,
        limit,
    )


async def list_entries(
    connection: Connection,
    *,
    person: int | None,
    actor: str | None,
    institution: str | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
    before: int | None,
    limit: int,
) -> list[RecordedEntry]:
    conditions: list[str] = []
    values: list[object] = []

    def require(condition: str, value: object) -> None:
        if value is not None:
            values.append(value)
            conditions.append(condition.format(len(values)))

    require("person = ${}", person)
    require("actor = ${}", actor)
    require("institution = ${}", institution)
    require("action = ${}", action)
    require("at >= ${}", since)
    require("at < ${}", until)
    where = " AND ".join(conditions) or "true"
    found: list[Record] = []
    if before is None:
        pending = (
            f"SELECT NULL::bigint AS chain, {_FIELDS} FROM audit_pending WHERE {where} ORDER BY id DESC LIMIT"
        )
        found = await connection.fetch(f"{pending} {int(limit)}", *values)
    else:
        values.append(before)
        where = f"{where} AND chain < ${len(values)}"
    sealed = f"SELECT chain, {_FIELDS} FROM audit_entry WHERE {where} ORDER BY chain DESC LIMIT"
    found += await connection.fetch(f"{sealed} {int(limit) - len(found)}", *values)
    return [_entry(row) for row in found]


def _entry(row: Record) -> RecordedEntry:
    return RecordedEntry(**{**dict(row), "detail": json.loads(row["detail"])})
