"""Dates and times as FHIR writes them, a year or a month too: how exact they are, and what they cover."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

from kangshu.standards.fhir import primitives

_SHAPE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?)?)?)?"
).fullmatch
# The first and last places on Earth where a day is that day.
_EARLIEST, _LATEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))


class Precision(StrEnum):
    """How exact a date is."""

    YEAR = "year"
    MONTH = "month"
    DAY = "day"
    SECOND = "second"
    FRACTION = "fraction"


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """What a date covers, half-open: a year from its first moment to the first of the next.

    Both moments carry a zone. The microsecond is the smallest unit here.
    """

    start: datetime
    end: datetime
    precision: Precision


def span_of(text: str, *, zone: timezone = UTC) -> Span | None:
    """Return what a date, dateTime or instant covers, or `None` where it is none.

    `zone` is where a value without a zone was written.
    """
    parts = _SHAPE(text)
    if parts is None or primitives.CHECKS["dateTime"](text if parts[8] or not parts[4] else f"{text}Z"):
        return None
    year, month, day, hour, minute, second, fraction, offset = parts.groups()
    start = datetime(
        int(year),
        int(month or 1),
        int(day or 1),
        int(hour or 0),
        int(minute or 0),
        min(int(second or 0), 59),
        int(fraction[1:7].ljust(6, "0")) if fraction else 0,
        tzinfo=_zone(offset, zone),
    )
    # A leap second has no datetime of its own: it is the next one.
    start = _later(start, timedelta(seconds=1)) if second == "60" else start
    if fraction:
        step = timedelta(microseconds=10 ** max(0, 7 - len(fraction)))
        return Span(start=start, end=_later(start, step), precision=Precision.FRACTION)
    if second:
        return Span(start=start, end=_later(start, timedelta(seconds=1)), precision=Precision.SECOND)
    return _of_days(start, month=month, day=day)


def _of_days(start: datetime, *, month: str | None, day: str | None) -> Span:
    if day:
        return Span(start=start, end=_later(start, timedelta(days=1)), precision=Precision.DAY)
    if month:
        in_the_next = _later(start, timedelta(days=31))
        end = in_the_next.replace(day=1) if in_the_next.month != start.month else in_the_next
        return Span(start=start, end=end, precision=Precision.MONTH)
    in_the_next = _later(start, timedelta(days=366))
    end = in_the_next.replace(month=1, day=1) if in_the_next.year != start.year else in_the_next
    return Span(start=start, end=end, precision=Precision.YEAR)


def _later(moment: datetime, step: timedelta) -> datetime:
    """Return the moment after a step, or the last one there is: 9999-12-31 is how some say `for ever`."""
    try:
        return moment + step
    except OverflowError:
        return datetime.max.replace(tzinfo=moment.tzinfo)


def _zone(offset: str | None, zone: timezone) -> timezone:
    if offset is None:
        return zone
    if offset == "Z":
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def is_certainly_after(first: str, second: str) -> bool:
    """Tell whether `first` begins only when `second` is over.

    Two days are days of one place. A day beside a moment may have been lived anywhere.
    """
    if first <= second and first[19:] == second[19:]:
        return False
    anywhere = ("T" in first) != ("T" in second)
    begins = span_of(first, zone=_EARLIEST if anywhere else UTC)
    ends = span_of(second, zone=_LATEST if anywhere else UTC)
    return begins is not None and ends is not None and begins.start >= ends.end
