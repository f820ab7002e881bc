"""The wall clock; every other part is told the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        """Return the present moment."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class Moment:
    """A clock that shows one moment, for what is told to have happened then."""

    moment: datetime

    def now(self) -> datetime:
        """Return the moment."""
        return self.moment
