"""Draw automatic links at random, let somebody look at them, and tell how often they are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kangshu.identity.errors import SampleUnknownError
from kangshu.identity.reviewing import store
from kangshu.identity.reviewing.estimating import FalseLinkEstimate, estimate_false_links
from kangshu.kernel.texts import load_catalogue
from kangshu.storage.database import Connection, Record

_SAMPLE_MOST = 1000
_LIST_MOST = 200

say = load_catalogue("kangshu.identity")


class Seen(StrEnum):
    """What somebody says who looked at a link."""

    RIGHT = "right"
    WRONG = "wrong"
    UNSURE = "unsure"


@dataclass(frozen=True, kw_only=True)
class SampledLink:
    """An automatic link that was drawn; `account` tells whom it linked and why."""

    id: int
    account: int
    drawn_at: datetime
    drawn_by: str
    verdict: Seen | None
    judged_at: datetime | None
    judged_by: str | None
    note: str | None


async def sample_links(
    connection: Connection, *, size: int, seed: int, actor: str, now: datetime
) -> list[int]:
    """Draw at most `size` (1 to 1,000) automatic links that were not drawn before; return their numbers.

    Each is as likely as any other: the order is that of a keyed hash of their numbers, `seed` being the key.
    """
    size = min(max(size, 1), _SAMPLE_MOST)
    return await store.draw_sample(connection, size=size, seed=seed, actor=actor, now=now)


async def list_sampled(
    connection: Connection, *, unjudged: bool = False, limit: int = 50
) -> list[SampledLink]:
    """Return drawn links, those that wait first."""
    rows = await store.list_samples(connection, unjudged=unjudged, limit=min(max(limit, 1), _LIST_MOST))
    return [_sampled(row) for row in rows]


async def get_sampled(connection: Connection, *, sample: int) -> SampledLink:
    """Return a drawn link.

    Raises:
        SampleUnknownError: there is none with this number.
    """
    row = await store.get_sample(connection, sample=sample)
    if row is None:
        raise SampleUnknownError(say["sample_unknown"])
    return _sampled(row)


async def judge_link(
    connection: Connection, *, sample: int, verdict: Seen, actor: str, now: datetime, note: str = ""
) -> SampledLink:
    """Write down what somebody saw, and return the link; a later look takes the place of an earlier one.

    What is wrong is mended by a split or by taking the merge back, not here.

    Raises:
        SampleUnknownError: there is none with this number.
    """
    await get_sampled(connection, sample=sample)
    await store.judge(connection, sample=sample, verdict=verdict.value, actor=actor, note=note, now=now)
    return await get_sampled(connection, sample=sample)


async def false_link_estimate(connection: Connection) -> FalseLinkEstimate:
    """Return how often automatic links are wrong, by all that somebody looked at."""
    return estimate_false_links(**await store.count_samples(connection))


def _sampled(row: Record) -> SampledLink:
    return SampledLink(**{**row, "verdict": Seen(row["verdict"]) if row["verdict"] else None})
