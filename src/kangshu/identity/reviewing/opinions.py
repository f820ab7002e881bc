"""Reviewers say whether two persons are one; where clinical records would come together, two must agree.

One opinion decides where one of the two has no records, and where the first says that they are two: then
nothing comes together. Else two reviewers must say the same; where the second disagrees, a third decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kangshu.identity import store as index
from kangshu.identity.errors import OpinionGivenError, ReviewDecidedError, ReviewUnknownError
from kangshu.identity.model import PersonMerge, Review, ReviewState
from kangshu.identity.operations import decide_review, locked_groups, merge_reviewed
from kangshu.identity.reviewing import store
from kangshu.identity.reviewing.queue import HasRecords
from kangshu.kernel.texts import load_catalogue
from kangshu.storage.database import Connection

_AGREE = 2

say = load_catalogue("kangshu.identity")


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """What one reviewer said of an entry."""

    review: int
    actor: str
    same: bool
    survivor: int | None
    at: datetime
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Said:
    """What came of an opinion: `waits` for another reviewer, or the entry is decided."""

    review: Review
    waits: bool
    merge: PersonMerge | None


async def list_opinions(connection: Connection, *, review: int) -> list[Opinion]:
    """Return what reviewers said of the entry, the first first."""
    return [Opinion(**row) for row in await store.list_opinions(connection, review=review)]


async def needs_two(connection: Connection, *, entry: Review, records: HasRecords | None) -> bool:
    """Whether clinical records of both would come together."""
    if records is None:
        return False
    persons = [entry.person, entry.other]
    return len(await records(connection, persons=persons)) == len(set(persons))


async def give_opinion(
    connection: Connection,
    *,
    review: int,
    same: bool,
    actor: str,
    now: datetime,
    survivor: int | None = None,
    note: str = "",
    records: HasRecords | None = None,
) -> Said:
    """Say whether the two persons of an entry are one; decide and merge, where that is enough.

    Without `survivor` the first opinion's stays, else the person that was known first.

    Raises:
        ReviewUnknownError: there is no such entry, or the survivor is neither of its persons.
        ReviewDecidedError: it has been decided.
        OpinionGivenError: the same reviewer said it before.
        LinkingBusyError: others kept changing the same persons.
    """
    entry = await index.get_review(connection, review=review, locked=False)
    if entry is None:
        raise ReviewUnknownError(say["review_unknown"])
    if survivor is not None and survivor not in (entry.person, entry.other):
        raise ReviewUnknownError(say["survivor_not_reviewed"])
    # The persons before the entry, as a merge takes them: else two reviewers could wait for each other.
    await locked_groups(connection, persons=[entry.person, entry.other])
    entry = await index.get_review(connection, review=review, locked=True)
    if entry is None or entry.state is not ReviewState.OPEN:
        raise ReviewDecidedError(say["review_decided"])
    before = await list_opinions(connection, review=review)
    added = await store.add_opinion(
        connection, review=review, actor=actor, same=same, survivor=survivor, note=note, now=now
    )
    if not added:
        raise OpinionGivenError(say["opinion_given"])
    agreeing = 1 + sum(one.same is same for one in before)
    alone = not before and (not same or not await needs_two(connection, entry=entry, records=records))
    if not alone and agreeing < _AGREE:
        return Said(review=entry, waits=True, merge=None)
    if not same:
        decided = await decide_review(connection, review=review, same=False, actor=actor, now=now, note=note)
        return Said(review=decided, waits=False, merge=None)
    kept = survivor or next((one.survivor for one in before if one.survivor), None)
    merge = await merge_reviewed(
        connection,
        review=review,
        survivor=kept or min(entry.person, entry.other),
        actor=actor,
        now=now,
        note=note,
    )
    closed = await index.get_review(connection, review=review, locked=False)
    return Said(review=closed or entry, waits=False, merge=merge)
