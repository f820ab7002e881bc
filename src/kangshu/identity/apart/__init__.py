"""Pairs of persons that no program may merge, because a human said that they are two.

They come from a review that ended in DIFFERENT, from a split, and from taking back what a program merged.
They hold for all that the two stand for. A human's merge lifts them; taking that merge back restores them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from kangshu.identity.apart import store
from kangshu.storage.database import Connection


class Cause(StrEnum):
    """What told that two persons are two."""

    REVIEW = "review"
    SPLIT = "split"
    UNDO = "undo"  # a human took back what a program merged


async def keep_apart(
    connection: Connection,
    *,
    one: int,
    other: int,
    actor: str,
    cause: Cause,
    operation: int | None,
    now: datetime,
) -> None:
    """Note that the two are two persons, unless it is noted.

    `operation` is the number of the review entry, the split or the merge.
    """
    await store.add(
        connection,
        one=min(one, other),
        other=max(one, other),
        actor=actor,
        cause=cause.value,
        operation=operation,
        now=now,
    )


async def pairs_apart(connection: Connection, *, persons: Sequence[int]) -> set[tuple[int, int]]:
    """Return the pairs (lesser, greater) that a program must keep apart and of which one is among `persons`.

    Each is given as the person that stands for it now, and so may `persons` be given.
    """
    return {(row["one"], row["other"]) for row in await store.find(connection, persons=persons)}


async def are_apart(connection: Connection, *, some: Sequence[int], others: Sequence[int]) -> bool:
    """Whether a human said of one of `some` and one of `others` that they are two persons."""
    return await store.exists_between(connection, some=some, others=others)


async def lift_by_merge(
    connection: Connection,
    *,
    some: Sequence[int],
    others: Sequence[int],
    merge: int,
    actor: str,
    now: datetime,
) -> None:
    """Let what kept the two groups apart rest, as a human merged them."""
    await store.lift(connection, some=some, others=others, merge=merge, actor=actor, now=now)


async def restore_of_merge(connection: Connection, *, merge: int) -> None:
    """Let what this merge had lifted hold again."""
    await store.restore(connection, merge=merge)


async def lift_of_operation(
    connection: Connection, *, cause: Cause, operation: int, actor: str, now: datetime
) -> None:
    """Let what this operation noted rest, as it was taken back."""
    await store.lift_cause(connection, cause=cause.value, operation=operation, actor=actor, now=now)
