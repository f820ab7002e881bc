"""What people do with the person index. Files are linked by `linking.Linker`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pyarrow as pa

from kangshu.identity import store
from kangshu.identity.errors import ReviewDecidedError, ReviewUnknownError
from kangshu.identity.model import EventKind, Review, ReviewState
from kangshu.kernel.texts import load_catalogue
from kangshu.storage.database import Connection

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
    to whom they were linked.

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
    await store.add_events(
        connection,
        columns={
            "person": pa.array([entry.person, entry.other]),
            "other": pa.array([entry.other, entry.person]),
            "at": pa.array([now, now], pa.timestamp("us", tz="UTC")),
            "kind": pa.array([int(EventKind.REVIEWED)] * 2, pa.int16()),
            "actor": pa.array([actor, actor]),
        },
    )
    return replace(entry, state=state, decided_at=now, decided_by=actor)
