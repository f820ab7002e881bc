"""What people do with the person index: decide reviews, merge persons, undo it.

Files are linked by `linking.Linker`, subjects of messages by `online.link_claims`. A merge moves nothing: it
points one person at another. Whoever reads asks `persons_meaning` which numbers mean one human.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from kangshu.identity import store
from kangshu.identity.apart import (
    Cause,
    are_apart,
    keep_apart,
    lift_by_merge,
    restore_of_merge,
)
from kangshu.identity.errors import (
    KeptApartError,
    LinkingBusyError,
    MergeUndoneError,
    MergeUnknownError,
    PersonUnknownError,
    ReviewDecidedError,
    ReviewUnknownError,
)
from kangshu.identity.model import EventKind, PersonMerge, Review, ReviewState, ToldMother
from kangshu.identity.normalising import NAME_PREFIX
from kangshu.identity.subjects import display_name, issuer_of, name_key_of, read_identifier
from kangshu.kernel.texts import load_catalogue
from kangshu.security.keys import Keys
from kangshu.security.sealing import NONCE_BYTES, digest_many, seal_many
from kangshu.storage.database import Connection

# Each round waits for whoever was first.
_ROUNDS = 10
# Arbitrary: nobody is so many persons; a group beyond it would be a defect.
_GROUP_MOST = 100_000

say = load_catalogue(__package__ or __name__)


async def decide_review(
    connection: Connection,
    *,
    review: int,
    same: bool,
    actor: str,
    now: datetime,
    note: str = "",
) -> Review:
    """Write down whether the two persons of a review entry are one, and return the entry.

    The decision is kept for the merging of persons and changes neither of them: rows stay with the person
    to whom they were linked. Who are two persons are never merged by a program again.

    Raises:
        ReviewUnknownError: there is no such entry.
        ReviewDecidedError: it has been decided.
    """
    entry = await store.get_review(connection, review=review, locked=True)
    if entry is None:
        raise ReviewUnknownError(say["review_unknown"])
    if entry.state is not ReviewState.OPEN:
        raise ReviewDecidedError(say["review_decided"])
    state = ReviewState.SAME if same else ReviewState.DIFFERENT
    await store.close_review(connection, review=review, state=state.value, now=now, actor=actor, note=note)
    if not same:
        await keep_apart(
            connection,
            one=entry.person,
            other=entry.other,
            actor=actor,
            cause=Cause.REVIEW,
            operation=review,
            now=now,
        )
    why = _Why(reason=note or None)
    await _note(connection, [entry.person, entry.other], EventKind.REVIEWED, actor=actor, now=now, why=why)
    return replace(entry, state=state, decided_at=now, decided_by=actor)


async def merge_persons(
    connection: Connection,
    *,
    survivor: int,
    absorbed: int,
    actor: str,
    reason: str,
    now: datetime,
    origin: int | None = None,
    weight: float | None = None,
    model: str | None = None,
) -> PersonMerge | None:
    """Make two persons one, for whom the survivor stands, and return the merge; None where they are one.

    Each stands for all that were merged with it before: of somebody absorbed earlier, his survivor is meant.
    Nothing moves. Open review entries between the two are closed with it. Merges of the same persons wait
    for each other. A program that merges says by which `weight` (bits) and which version of a `model`.

    Raises:
        PersonUnknownError: one of them does not exist.
        KeptApartError: a program would merge whom a human told apart.
        LinkingBusyError: others kept merging the same persons.
    """
    kept, gone = await _locked_groups(connection, survivor, absorbed)
    if kept[0] == gone[0]:
        return None
    if model is not None and await are_apart(connection, some=kept, others=gone):
        raise KeptApartError(say["kept_apart"])
    merge = PersonMerge(
        **await store.add_merge(
            connection,
            survivor=kept[0],
            absorbed=gone[0],
            followers=gone,
            actor=actor,
            reason=reason,
            origin=origin,
            now=now,
            weight=weight,
            model=model,
        )
    )
    await lift_by_merge(connection, some=kept, others=gone, merge=merge.id, actor=actor, now=now)
    await store.close_reviews_between(
        connection, merge=merge.id, some=kept, others=gone, actor=actor, note=reason, now=now
    )
    why = _Why(reason=reason or None, weight=weight, model=model, operation=merge.id)
    await _note(
        connection, [kept[0], gone[0]], EventKind.MERGED, actor=actor, now=now, origin=origin, why=why
    )
    return merge


async def merge_reviewed(
    connection: Connection, *, review: int, survivor: int, actor: str, now: datetime, note: str = ""
) -> PersonMerge | None:
    """Decide that the two persons of a review entry are one, and merge them; see `merge_persons`.

    Raises:
        ReviewUnknownError: there is no such entry, or the survivor is neither of its persons.
        ReviewDecidedError: it has been decided.
    """
    entry = await store.get_review(connection, review=review, locked=True)
    if entry is None:
        raise ReviewUnknownError(say["review_unknown"])
    if survivor not in (entry.person, entry.other):
        raise ReviewUnknownError(say["survivor_not_reviewed"])
    if entry.state is not ReviewState.OPEN:
        raise ReviewDecidedError(say["review_decided"])
    absorbed = entry.other if survivor == entry.person else entry.person
    merge = await merge_persons(
        connection, survivor=survivor, absorbed=absorbed, actor=actor, reason=note or "review", now=now
    )
    if merge is None:  # merged by another way meanwhile: the entry is answered all the same
        await decide_review(connection, review=review, same=True, actor=actor, now=now, note=note)
    return merge


async def note_mothers(
    connection: Connection,
    *,
    keys: Keys,
    mothers: Sequence[ToldMother],
    now: datetime,
    random: Callable[[int], bytes],
) -> None:
    """Remember how messages know the mothers of persons (PID-21, PID-6); what is known already stays so.

    The mother need not be known: whoever comes to hold the number is she.
    """
    told: dict[tuple[int, str], tuple[int | None, str | None, str]] = {}
    for mother in mothers:
        institution = issuer_of(mother.institution)
        for one in mother.identifiers:
            for number in read_identifier(one, institution=institution):
                told[mother.child, number.text] = (int(number.kind), number.issuer, number.value or "")
        shown = display_name(mother.name)
        key = name_key_of(shown)
        if shown and key:
            told[mother.child, NAME_PREFIX + key] = (None, None, shown)
    if not told:
        return
    digests = digest_many(keys.lookup_key, [text for _, text in told])
    sealed = seal_many(keys, [value for *_, value in told.values()], nonce=random(NONCE_BYTES))
    rows = [
        (child, digest, kind, issuer, value)
        for (child, _), digest, (kind, issuer, _), value in zip(
            told, digests, told.values(), sealed, strict=True
        )
    ]
    await store.add_mothers(connection, rows=rows, now=now)


async def undo_merge(connection: Connection, *, merge: int, actor: str, now: datetime) -> PersonMerge:
    """Take a merge back, and return it: the absorbed person stands again for itself and who came with it.

    Everything else that was merged before or after stays so. Review entries that the merge closed are open
    again. What a program had merged, no program merges again.

    Raises:
        MergeUnknownError: there is no such merge.
        MergeUndoneError: it has been undone.
    """
    row = await store.get_merge(connection, merge=merge)
    if row is None:
        raise MergeUnknownError(say["merge_unknown"])
    (group,) = await _locked_groups(connection, row["absorbed"])
    followers = _followers(
        row["absorbed"],
        [
            (one["absorbed"], one["survivor"])
            for one in await store.list_merges(connection, persons=group, active=True, limit=_GROUP_MOST)
        ],
    )
    undone = await store.undo_merge(
        connection, merge=merge, absorbed=row["absorbed"], followers=followers, actor=actor, now=now
    )
    if undone is None:
        raise MergeUndoneError(say["merge_undone"])
    await store.reopen_reviews(connection, merge=merge)
    await restore_of_merge(connection, merge=merge)
    if undone["model"] is not None:
        await keep_apart(
            connection,
            one=undone["survivor"],
            other=undone["absorbed"],
            actor=actor,
            cause=Cause.UNDO,
            operation=merge,
            now=now,
        )
    why = _Why(operation=merge)
    await _note(connection, [group[0], row["absorbed"]], EventKind.SPLIT, actor=actor, now=now, why=why)
    return PersonMerge(**undone)


async def locked_groups(connection: Connection, *, persons: Sequence[int]) -> list[tuple[int, ...]]:
    """Return for each person all that mean the same human, survivor first; nobody else changes them before
    the transaction ends.

    Raises:
        PersonUnknownError: one of them does not exist.
        LinkingBusyError: others kept merging the same persons.
    """
    return await _locked_groups(connection, *persons)


def _followers(absorbed: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return who was merged into this person, at whatever distance; edges are absorbed and survivor."""
    found, waiting = [], [absorbed]
    while waiting:
        person = waiting.pop()
        below = [gone for gone, kept in edges if kept == person]
        found += below
        waiting += below
    return found


async def _locked_groups(connection: Connection, *persons: int) -> list[tuple[int, ...]]:
    """Return for each person all that mean the same human, survivor first, locked against other merges."""
    before: list[tuple[int, ...]] | None = None
    for _ in range(_ROUNDS):
        rows = await store.read_groups(connection, persons=persons)
        found: dict[int, list[int]] = {}
        for row in rows:
            found.setdefault(row["id"], [row["survivor"]]).extend([row["member"]] if row["member"] else [])
        if len(found) < len(set(persons)):
            raise PersonUnknownError(say["person_unknown"])
        groups = [tuple(found[person]) for person in persons]
        if groups == before:
            return groups
        before = groups
        await store.lock_persons(connection, persons=sorted({one for group in groups for one in group}))
    raise LinkingBusyError(say["linking_busy"])


@dataclass(frozen=True, kw_only=True)
class _Why:
    """What an event says besides who and when."""

    reason: str | None = None
    weight: float | None = None
    model: str | None = None
    operation: int | None = None


async def _note(
    connection: Connection,
    persons: Sequence[int],
    kind: EventKind,
    *,
    actor: str,
    now: datetime,
    origin: int | None = None,
    why: _Why = _Why(),
) -> None:
    """Write to both persons what happened between them."""
    one, other = persons
    await store.add_events(
        connection,
        columns={
            "person": pa.array([one, other]),
            "other": pa.array([other, one]),
            "origin": pa.array([origin, origin], pa.int64()),
            "at": pa.array([now, now], pa.timestamp("us", tz="UTC")),
            "kind": pa.array([int(kind)] * 2, pa.int16()),
            "actor": pa.array([actor, actor]),
            "reason": pa.array([why.reason] * 2, pa.string()),
            "weight": pa.array([why.weight] * 2, pa.float64()),
            "model": pa.array([why.model] * 2, pa.string()),
            "operation": pa.array([why.operation] * 2, pa.int64()),
        },
    )
