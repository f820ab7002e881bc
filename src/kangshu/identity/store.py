"""All SQL of the person index. Whole columns go in and out; ids, digests and days are numbers.

Every statement that looks things up by a column of a temporary table runs with hash and merge joins off:
the planner knows nothing of a table filled a moment ago, and reading one index entry per row is always
right here, while reading the whole index, its other idea, grows with the region.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

import asyncpg
import numpy as np

from kangshu.identity.evidence import Digests, Holders, Ints, Persons
from kangshu.identity.model import IdentifierKind, Review, ReviewReason, ReviewState
from kangshu.identity.normalising import UNKNOWN_DAY
from kangshu.identity.outcome import digest_array
from kangshu.storage.copying import copy_in, copy_out
from kangshu.storage.database import Connection, Record

# "identity" read as a number: the lock by which one bulk file at a time creates persons.
_BULK_LOCK = 0x6964656E74697479

_BY_INDEX = (
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_bitmapscan = off"
)
_AS_BEFORE = """SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT;
                SET LOCAL enable_bitmapscan TO DEFAULT"""

_PERSON = """p.id, p.name_sealed, p.name_digest, p.sex, p.birth_date, p.phone_sealed,
             p.created_at, p.origin, n.sealed AS number_sealed, n.digest AS number_digest"""
# The number that the person owns: the disputed ones stay among the identifiers.
_NUMBER = """LEFT JOIN LATERAL (SELECT i.sealed, i.digest FROM identity_identifier i
                WHERE i.person = p.id AND i.kind = 1 AND NOT i.disputed
                ORDER BY i.variant, i.digest LIMIT 1) n ON true"""
_REVIEW = "id, person, other, kind, issuer, reason, state, origin, created_at, decided_at, decided_by"


class CollisionError(Exception):
    """Somebody else stored or changed the same identifiers or persons; look them up again."""


async def begin(connection: Connection) -> int:
    """Return the number of the running transaction, having made its temporary tables where they lack."""
    rows = await connection.fetch(
        """SELECT pg_current_xact_id()::text::bigint AS number,
                  to_regclass('pg_temp.identity_arrival') IS NOT NULL AS ready"""
    )
    if not rows[0]["ready"]:
        await connection.execute(
            """CREATE TEMP TABLE identity_arrival (slot bigint NOT NULL, digest bytea STORAGE PLAIN NOT NULL)
                   ON COMMIT DROP;
               CREATE TEMP TABLE identity_touched (person bigint NOT NULL) ON COMMIT DROP"""
        )
    return rows[0]["number"]


async def take_bulk_lock(connection: Connection) -> None:
    """Wait until no other bulk file creates persons; the lock ends with the transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _BULK_LOCK)


async def find_holders(connection: Connection, *, slots: Ints, digests: Digests, limit: int) -> Holders:
    """Return who holds the identifiers with these digests, at most `limit` holders each."""
    await connection.execute("TRUNCATE identity_arrival")
    await copy_in(
        connection, table="identity_arrival", columns={"slot": slots, "digest": digest_array(digests)}
    )
    async with _by_index(connection):
        found = await copy_out(
            connection,
            query=f"""SELECT a.slot, i.variant::bigint, i.person, i.disputed::integer::bigint
                FROM identity_arrival a JOIN identity_identifier i ON i.digest = a.digest
                WHERE i.variant < {int(limit)}""",
            columns=["slot", "variant", "person", "disputed"],
        )
    return Holders(
        slot=found["slot"],
        variant=found["variant"],
        person=found["person"],
        disputed=found["disputed"].astype(np.bool_),
    )


async def read_persons(connection: Connection, *, persons: Ints) -> Persons:
    """Return what is known of these persons (each named once, ascending)."""
    await connection.execute("TRUNCATE identity_touched")
    await copy_in(connection, table="identity_touched", columns={"person": persons})
    names = ["person", "name", "birth", "resident", "has_sex", "has_phone", "seen"]
    async with _by_index(connection):
        found = await copy_out(
            connection,
            query=f"""SELECT p.id, coalesce(p.name_digest, 0),
                    coalesce(p.birth_date - DATE '1970-01-01', {UNKNOWN_DAY})::bigint,
                    coalesce(p.resident, 0),
                    (p.sex IS NOT NULL)::integer::bigint, (p.phone_sealed IS NOT NULL)::integer::bigint,
                    p.revision::bigint
                FROM identity_touched t JOIN identity_person p ON p.id = t.person""",
            columns=names,
        )
    order = np.argsort(found["person"])
    return Persons(
        person=found["person"][order],
        name=found["name"][order],
        birth=found["birth"][order],
        resident=found["resident"][order],
        has_sex=found["has_sex"][order].astype(np.bool_),
        has_phone=found["has_phone"][order].astype(np.bool_),
        seen=found["seen"][order],
    )


async def take_person_ids(connection: Connection, *, count: int) -> Ints:
    """Return that many person ids that nobody ever had."""
    query = f"SELECT nextval('identity_person_id') FROM generate_series(1, {int(count)})"
    return (await copy_out(connection, query=query, columns=["id"]))["id"]


async def add_persons(connection: Connection, *, columns: Mapping[str, Any], day: date) -> None:
    """Add new persons and count them for `day`."""
    count = await copy_in(connection, table="identity_person", columns=columns)
    await connection.execute("INSERT INTO identity_tally (day, persons) VALUES ($1, $2)", day, count)


async def add_identifiers(connection: Connection, *, columns: Mapping[str, Any]) -> None:
    """Add holders of identifiers, given in ascending order of digest.

    Raises:
        CollisionError: another transaction added one of them first; this one must go back to a savepoint.
    """
    try:
        await copy_in(connection, table="identity_identifier", columns=columns)
    except asyncpg.UniqueViolationError as error:
        raise CollisionError from error


async def change_persons(connection: Connection, *, columns: Mapping[str, Any]) -> None:
    """Give persons the facts that are not null; `seen` is the revision that was read.

    Raises:
        CollisionError: one of them was changed since; this transaction must go back to a savepoint.
    """
    await connection.execute(
        """DROP TABLE IF EXISTS pg_temp.identity_change;
           CREATE TEMP TABLE identity_change (person bigint, seen bigint, name_sealed bytea,
               name_digest bigint, sex smallint, phone_sealed bytea, birth_date date,
               resident bigint) ON COMMIT DROP"""
    )
    expected = await copy_in(connection, table="identity_change", columns=columns)
    async with _by_index(connection):
        status = await connection.execute(
            """UPDATE identity_person p SET
                   name_sealed = coalesce(c.name_sealed, p.name_sealed),
                   name_digest = coalesce(c.name_digest, p.name_digest),
                   sex = coalesce(c.sex, p.sex),
                   phone_sealed = coalesce(c.phone_sealed, p.phone_sealed),
                   birth_date = coalesce(c.birth_date, p.birth_date),
                   resident = coalesce(c.resident, p.resident),
                   revision = p.revision + 1
               FROM identity_change c WHERE p.id = c.person AND p.revision = c.seen"""
        )
    if int(status.rsplit(" ", 1)[-1]) != expected:
        raise CollisionError


async def settle_identifiers(
    connection: Connection, *, digests: Sequence[bytes], variants: Sequence[int]
) -> None:
    """Mark these holdings as no longer disputed."""
    await connection.execute(
        """UPDATE identity_identifier i SET disputed = false
           FROM unnest($1::bytea[], $2::smallint[]) AS s (digest, variant)
           WHERE i.digest = s.digest AND i.variant = s.variant""",
        digests,
        variants,
    )


async def add_reviews(connection: Connection, *, columns: Mapping[str, Any]) -> None:
    """Add open review entries."""
    await copy_in(connection, table="identity_review", columns=columns)


async def add_events(connection: Connection, *, columns: Mapping[str, Any]) -> None:
    """Add to what happened."""
    await copy_in(connection, table="identity_event", columns=columns)


async def find_by_digests(
    connection: Connection,
    *,
    digests: Sequence[bytes],
    name: int | None,
    birth_date: date | None,
    limit: int,
) -> list[Record]:
    """Return persons that hold one of the identifiers and have this name and birth date, where given."""
    return await connection.fetch(
        f"""SELECT {_PERSON} FROM identity_person p {_NUMBER}
            WHERE p.id IN (SELECT person FROM identity_identifier WHERE digest = ANY ($1::bytea[]))
              AND ($2::bigint IS NULL OR p.name_digest = $2) AND ($3::date IS NULL OR p.birth_date = $3)
            ORDER BY p.id LIMIT $4""",
        digests,
        name,
        birth_date,
        limit,
    )


async def find_by_name(
    connection: Connection, *, name: int, birth_date: date | None, limit: int
) -> list[Record]:
    """Return persons with this name, and birth date where given."""
    return await connection.fetch(
        f"""SELECT {_PERSON} FROM identity_person p {_NUMBER}
            WHERE p.name_digest = $1 AND ($2::date IS NULL OR p.birth_date = $2) ORDER BY p.id LIMIT $3""",
        name,
        birth_date,
        limit,
    )


async def get_persons(connection: Connection, *, persons: Sequence[int]) -> list[Record]:
    """Return these persons, ascending; those that do not exist are left out."""
    return await connection.fetch(
        f"SELECT {_PERSON} FROM identity_person p {_NUMBER} WHERE p.id = ANY ($1::bigint[]) ORDER BY p.id",
        persons,
    )


async def list_identifiers(connection: Connection, *, person: int) -> list[Record]:
    """Return what the person holds, the strongest first."""
    return await connection.fetch(
        """SELECT kind, issuer, sealed, digest, variant, disputed, seen_at, origin FROM identity_identifier
           WHERE person = $1 ORDER BY kind, seen_at, issuer, digest""",
        person,
    )


async def list_reviews(
    connection: Connection, *, state: str | None, person: int | None, before: int | None, limit: int
) -> list[Review]:
    """Return review entries, the newest first."""
    given = {"state = $%d": state, "id < $%d": before, "(person = $%d OR other = $%d)": person}
    conditions: list[str] = []
    values: list[Any] = []
    for text, value in given.items():
        if value is not None:
            values.append(value)
            conditions.append(text.replace("%d", str(len(values) + 1)))
    where = " AND ".join(conditions) or "true"
    rows = await connection.fetch(
        f"SELECT {_REVIEW} FROM identity_review WHERE {where} ORDER BY id DESC LIMIT $1", limit, *values
    )
    return [_review(row) for row in rows]


async def get_review(connection: Connection, *, review: int, locked: bool) -> Review | None:
    """Return the entry, locked until the transaction ends where asked."""
    lock = "FOR UPDATE" if locked else ""
    row = await connection.fetchrow(f"SELECT {_REVIEW} FROM identity_review WHERE id = $1 {lock}", review)
    return None if row is None else _review(row)


async def close_review(
    connection: Connection, *, review: int, state: str, now: datetime, actor: str, note: str
) -> None:
    """Write down the decision."""
    await connection.execute(
        """UPDATE identity_review SET state = $2, decided_at = $3, decided_by = $4, note = nullif($5, '')
           WHERE id = $1""",
        review,
        state,
        now,
        actor,
        note,
    )


async def list_events(connection: Connection, *, person: int, before: int | None, limit: int) -> list[Record]:
    """Return what happened to the person, the newest first."""
    return await connection.fetch(
        """SELECT id, at, kind, person, other, actor, origin FROM identity_event
           WHERE person = $1 AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3""",
        person,
        before,
        limit,
    )


async def count_persons(connection: Connection) -> int:
    """Return how many persons there are, as counted when they were created."""
    rows = await connection.fetch("SELECT coalesce(sum(persons), 0)::bigint AS persons FROM identity_tally")
    return rows[0]["persons"]


async def count_reviews(connection: Connection) -> int:
    """Return how many review entries are open."""
    rows = await connection.fetch("SELECT count(*) AS reviews FROM identity_review WHERE state = 'open'")
    return rows[0]["reviews"]


async def count_created(connection: Connection, *, first: date, end: date) -> list[Record]:
    """Return the days from `first` up to, not including, `end` with the persons created on them."""
    return await connection.fetch(
        """SELECT day, sum(persons)::bigint AS persons FROM identity_tally
           WHERE day >= $1 AND day < $2 GROUP BY day ORDER BY day""",
        first,
        end,
    )


def _review(row: Record) -> Review:
    return Review(
        id=row["id"],
        person=row["person"],
        other=row["other"],
        kind=IdentifierKind(row["kind"]),
        issuer=row["issuer"],
        reason=ReviewReason(row["reason"]),
        state=ReviewState(row["state"]),
        origin=row["origin"],
        created_at=row["created_at"],
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
    )


@asynccontextmanager
async def _by_index(connection: Connection) -> AsyncIterator[None]:
    """Let the planner choose index look-ups only. After a failure the transaction is lost anyway."""
    await connection.execute(_BY_INDEX)
    yield
    await connection.execute(_AS_BEFORE)
