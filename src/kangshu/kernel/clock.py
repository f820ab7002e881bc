"""The clock as a protocol: the domain is told what time it is, it never looks."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Something that knows the present moment."""

    def now(self) -> datetime:
        """Return the present moment with its time zone."""
        ...
