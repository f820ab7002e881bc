"""All SQL of the pairs that are kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kangshu.storage.database import Connection, Record

_BETWEEN = """lifted_at IS NULL AND (one = ANY ($1::bigint[]) AND other = ANY ($2::bigint[])
    OR one = ANY ($2::bigint[]) AND other = ANY ($1::bigint[]))"""


async def add(
    connection: Connection,
    *,
    one: int,
    other: int,
    actor: str,
    cause: str,
    operation: int | None,
    now: datetime,
) -> None:
    """Add a pair; one that is there already stays as it is."""
    await connection.execute(
        """INSERT INTO identity_apart (one, other, at, actor, cause, operation)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (one, other) WHERE lifted_at IS NULL DO NOTHING""",
        one,
        other,
        now,
        actor,
        cause,
        operation,
    )


async def find(connection: Connection, *, persons: Sequence[int]) -> list[Record]:
    """Return the pairs of one of these persons, or of whom they stand for, by their survivors."""
    return await connection.fetch(
        """WITH meant AS (
               SELECT id FROM identity_person WHERE id = ANY ($1::bigint[])
               UNION SELECT id FROM identity_person WHERE survivor = ANY ($1::bigint[])),
           pairs AS (
               SELECT a.one, a.other FROM meant m
                   JOIN identity_apart a ON a.one = m.id AND a.lifted_at IS NULL
               UNION
               SELECT a.one, a.other FROM meant m
                   JOIN identity_apart a ON a.other = m.id AND a.lifted_at IS NULL)
           SELECT DISTINCT least(coalesce(p.survivor, p.id), coalesce(q.survivor, q.id)) AS one,
               greatest(coalesce(p.survivor, p.id), coalesce(q.survivor, q.id)) AS other
           FROM pairs JOIN identity_person p ON p.id = pairs.one JOIN identity_person q ON q.id = pairs.other
           ORDER BY 1, 2""",
        list(persons),
    )


async def exists_between(connection: Connection, *, some: Sequence[int], others: Sequence[int]) -> bool:
    """Whether a pair holds between the two groups."""
    return True is await connection.fetchval(
        f"SELECT EXISTS (SELECT FROM identity_apart WHERE {_BETWEEN})", list(some), list(others)
    )


async def lift(
    connection: Connection,
    *,
    some: Sequence[int],
    others: Sequence[int],
    merge: int,
    actor: str,
    now: datetime,
) -> None:
    """Lift the pairs between the two groups, by this merge."""
    await connection.execute(
        f"UPDATE identity_apart SET lifted_at = $3, lifted_by = $4, merge = $5 WHERE {_BETWEEN}",
        list(some),
        list(others),
        now,
        actor,
        merge,
    )


async def restore(connection: Connection, *, merge: int) -> None:
    """Let the pairs that this merge lifted hold again, unless the pair holds anew."""
    await connection.execute(
        """UPDATE identity_apart a SET lifted_at = NULL, lifted_by = NULL, merge = NULL
           WHERE a.merge = $1 AND NOT EXISTS (SELECT FROM identity_apart b
               WHERE b.one = a.one AND b.other = a.other AND b.lifted_at IS NULL)""",
        merge,
    )


async def lift_cause(
    connection: Connection, *, cause: str, operation: int, actor: str, now: datetime
) -> None:
    """Lift the pairs that this operation noted."""
    await connection.execute(
        """UPDATE identity_apart SET lifted_at = $3, lifted_by = $4
           WHERE cause = $1 AND operation = $2 AND lifted_at IS NULL""",
        cause,
        operation,
        now,
        actor,
    )
