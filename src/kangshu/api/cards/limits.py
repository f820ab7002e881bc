"""How often somebody may ask: token buckets in the process, bounded in number.

Each worker process has its own, so a site with four of them lets four times as much pass: they are there
against guessing and against a program gone wild, not for billing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

_MOST = 20_000


class Buckets:
    """A bucket for each name: `burst` tokens at first, `rate` more each second."""

    def __init__(
        self, *, rate: float, burst: float, most: int = _MOST, clock: Callable[[], float] = monotonic
    ) -> None:
        self._rate, self._burst, self._most, self._clock = rate, burst, most, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, name: str) -> bool:
        """Take a token if there is one, and tell whether."""
        level = self._level(name)
        taken = level >= 1.0
        self._put(name, level - 1.0 if taken else level)
        return taken

    def has(self, name: str) -> bool:
        """Return whether there is a token, and leave it there."""
        return self._level(name) >= 1.0

    def _level(self, name: str) -> float:
        known = self._levels.get(name)
        if known is None:
            return self._burst
        level, at = known
        return min(self._burst, level + (self._clock() - at) * self._rate)

    def _put(self, name: str, level: float) -> None:
        self._levels[name] = (level, self._clock())
        self._levels.move_to_end(name)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
