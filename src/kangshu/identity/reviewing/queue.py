"""What waits for a human, the most valuable decision first.

The value of a decision is how uncertain it is times how much hangs on it. Uncertain: the entropy (bits, 0
to 1) of the probability that the two are one, where they were weighed, but at least `UNCERTAIN_LEAST`, as a
guard stopped what the weight alone would have decided; else what entries of the same reason are worth. What
hangs on it grows with the logarithm of the identifiers of both, and by half where both have clinical records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Protocol

from kangshu.identity.model import Review, ReviewReason
from kangshu.identity.reviewing import store
from kangshu.identity.store import review_of
from kangshu.storage.database import Connection

UNCERTAIN_LEAST = 0.25
UNCERTAIN = {
    ReviewReason.CONTRADICTION: 0.4,
    ReviewReason.POSSIBLE_DUPLICATE: 0.6,
    ReviewReason.POSSIBLE_MATCH: 0.8,
}
"""Of entries that were not weighed; arbitrary, to be replaced by what reviewers decide."""
_CLINICAL = 1.5
_WEIGH_MOST = 500
_PAGE_MOST = 200


class HasRecords(Protocol):
    """Tells which persons have clinical records; whoever keeps records answers."""

    async def __call__(self, connection: Connection, *, persons: Sequence[int]) -> set[int]:
        """Return those of the persons of whom, under whichever number, there are records."""
        ...


@dataclass(frozen=True, kw_only=True)
class QueueEntry:
    """One entry of the queue."""

    review: Review
    value: float
    weight: float | None
    """Bits, where the two were weighed."""
    opinions: int
    """How many reviewers gave theirs: not none means that a second one is needed."""
    mine: bool
    """Whether the one who asks gave one."""

    @property
    def cursor(self) -> str:
        """What `review_queue` takes to go on behind this entry."""
        return f"{self.value!r}:{self.review.id}"


def value_of(*, reason: ReviewReason, weight: float | None, identifiers: int, clinical: bool) -> float:
    """Return the value of a decision.

    >>> round(value_of(reason=ReviewReason.POSSIBLE_MATCH, weight=0.0, identifiers=3, clinical=False), 2)
    3.0
    """
    doubt = UNCERTAIN[reason] if weight is None else max(UNCERTAIN_LEAST, _entropy(weight))
    return doubt * (1 + log2(1 + identifiers)) * (_CLINICAL if clinical else 1.0)


def _entropy(weight: float) -> float:
    likely = 1 / (1 + 2 ** -max(-50.0, min(50.0, weight)))
    return sum(-part * log2(part) for part in (likely, 1 - likely) if part > 0)


async def weigh_reviews(
    connection: Connection, *, records: HasRecords | None = None, limit: int = _WEIGH_MOST
) -> int:
    """Give open entries that have none their value, and return how many got one."""
    rows = await store.list_unweighed(connection, limit=min(max(limit, 1), _WEIGH_MOST))
    persons = sorted({row[name] for row in rows for name in ("person", "other")})
    clinical = await records(connection, persons=persons) if records and persons else set[int]()
    values = [
        (
            row["id"],
            value_of(
                reason=ReviewReason(row["reason"]),
                weight=row["weight"],
                identifiers=row["mine"] + row["theirs"],
                clinical=row["person"] in clinical and row["other"] in clinical,
            ),
        )
        for row in rows
    ]
    if values:
        await store.set_values(connection, values=values)
    return len(values)


async def review_queue(
    connection: Connection,
    *,
    actor: str | None = None,
    second: bool = False,
    after: str | None = None,
    limit: int = 50,
    records: HasRecords | None = None,
) -> list[QueueEntry]:
    """Return open entries, the most valuable decision first, at most `limit` (1 to 200).

    `after` is the `cursor` of the last entry of the page before; one that makes no sense begins anew. With
    `second` only those that wait for a second opinion. Entries that came in since are weighed here, some
    hundreds at a time; the rest stands at the end until the next call.
    """
    await weigh_reviews(connection, records=records)
    rows = await store.list_queue(
        connection,
        actor=actor,
        second=second,
        after=_cursor(after),
        limit=min(max(limit, 1), _PAGE_MOST),
    )
    return [
        QueueEntry(
            review=review_of(row),
            value=row["value"] or 0.0,
            weight=row["weight"],
            opinions=row["opinions"],
            mine=row["mine"],
        )
        for row in rows
    ]


def _cursor(text: str | None) -> tuple[float, int] | None:
    value, _, review = (text or "").partition(":")
    if not (review.isascii() and review.isdigit() and len(review) < 19 and len(value) < 30):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return (number, int(review)) if 0 <= number < 1e9 else None
