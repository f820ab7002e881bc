"""What reviewers decided, how long it took, and how far the weights agree with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kangshu.identity.model import ReviewReason
from kangshu.identity.reviewing import store
from kangshu.storage.database import Connection, Record

BAND_BITS = 4


@dataclass(frozen=True, kw_only=True)
class Decided:
    """How many were decided to be one person, and two."""

    same: int
    different: int

    @property
    def total(self) -> int:
        """Both."""
        return self.same + self.different


@dataclass(frozen=True, kw_only=True)
class ReviewStatistics:
    """The queue now, and what was decided in a time."""

    open: int
    waiting: int
    """Open ones that wait for another opinion."""
    oldest: datetime | None
    """When the oldest open one came."""
    decided: Decided
    disputed: int
    """Entries on which reviewers disagreed."""
    hours_median: float | None
    """From arrival to decision."""
    by_reason: dict[ReviewReason, Decided]
    by_actor: dict[str, Decided]
    """Opinions, not decisions; who decides at once gives one."""
    by_weight: dict[int, Decided]
    """By bands of `BAND_BITS` bits, named by their lower bound."""


async def review_statistics(connection: Connection, *, since: datetime, until: datetime) -> ReviewStatistics:
    """Return the statistics of what was decided from `since` up to, not including, `until`."""
    states = await store.count_states(connection, since=since, until=until)
    reasons = await store.count_by_reason(connection, since=since, until=until)
    actors = await store.count_by_actor(connection, since=since, until=until)
    weights = await store.count_by_weight(connection, since=since, until=until, step=BAND_BITS)
    seconds = states["seconds_median"]
    return ReviewStatistics(
        open=states["open"],
        waiting=states["waiting"],
        oldest=states["oldest"],
        decided=_decided(states),
        disputed=states["disputed"],
        hours_median=None if seconds is None else float(seconds) / 3600,
        by_reason={ReviewReason(row["reason"]): _decided(row) for row in reasons},
        by_actor={row["actor"]: _decided(row) for row in actors},
        by_weight={row["floor"]: _decided(row) for row in weights},
    )


def _decided(row: Record) -> Decided:
    return Decided(same=row["same"], different=row["different"])
