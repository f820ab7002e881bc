"""Half-open spans of days and the labels that institutions give them (`2026`, `2026-03`, `2026-03-05`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta

_LABEL = re.compile(r"([1-9]\d{3})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)


@dataclass(frozen=True, kw_only=True, order=True)
class Period:
    """The days from `start` up to, not including, `end`."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError("a period holds at least one day")

    @classmethod
    def parse(cls, label: str) -> Period:
        """Return the period that `label` names: a year, a month, a day, or `first..last` of these.

        >>> Period.parse("2026-02").end
        datetime.date(2026, 3, 1)

        Raises:
            ValueError: the label is none of these or no such day exists.
        """
        if ".." in label:
            first, last = label.split("..", 1)
            return cls(start=cls.parse(first).start, end=cls.parse(last).end)
        found = _LABEL.fullmatch(label)
        if not found or found[1] == "9999":  # its last day has no day after it
            raise ValueError("a period is written as 2026, 2026-03, 2026-03-05 or 2026-01..2026-03")
        year, month, day = int(found[1]), found[2], found[3]
        if day:
            start = date(year, int(month), int(day))
            return cls(start=start, end=start + timedelta(days=1))
        if month:
            return cls.month(year=year, month=int(month))
        return cls(start=date(year, 1, 1), end=date(year + 1, 1, 1))

    @classmethod
    def month(cls, *, year: int, month: int) -> Period:
        """Return the calendar month."""
        return cls(start=date(year, month, 1), end=date(year + month // 12, month % 12 + 1, 1))

    @classmethod
    def around(cls, *, first: date, last: date) -> Period:
        """Return the smallest day, month, year or run of months that holds both days."""
        if first == last:
            return cls(start=first, end=first + timedelta(days=1))
        if first.year == last.year and first.month == last.month:
            return cls.month(year=first.year, month=first.month)
        start = cls.month(year=first.year, month=first.month)
        return cls(start=start.start, end=cls.month(year=last.year, month=last.month).end)

    @property
    def label(self) -> str:
        """The shortest name of the period; `Period.parse` reads it back."""
        last = self.end - timedelta(days=1)
        if last == self.start:
            return self.start.isoformat()
        if self == Period.month(year=self.start.year, month=self.start.month):
            return f"{self.start:%Y-%m}"
        if self == Period(start=date(self.start.year, 1, 1), end=date(self.start.year + 1, 1, 1)):
            return f"{self.start:%Y}"
        if self.start.day == 1 and self.end.day == 1:
            return f"{self.start:%Y-%m}..{last:%Y-%m}"
        return f"{self.start.isoformat()}..{last.isoformat()}"

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end
