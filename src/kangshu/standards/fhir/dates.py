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
    try:
        # A leap second has no datetime of its own: it is the next one.
        leap = second == "60"
        start = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            59 if leap else int(second or 0),
            int(fraction[1:7].ljust(6, "0")) if fraction else 0,
            tzinfo=_zone(offset, zone),
        ) + timedelta(seconds=leap)
        if second:
            step = (
                timedelta(microseconds=10 ** max(0, 7 - len(fraction))) if fraction else timedelta(seconds=1)
            )
            precision = Precision.FRACTION if fraction else Precision.SECOND
            return Span(start=start, end=start + step, precision=precision)
        return _of_days(start, month=month, day=day)
    except OverflowError:
        return None  # the last moments of the year 9999


def _of_days(start: datetime, *, month: str | None, day: str | None) -> Span:
    if day:
        return Span(start=start, end=start + timedelta(days=1), precision=Precision.DAY)
    if month:
        later = (start + timedelta(days=31)).replace(day=1)
        return Span(start=start, end=later, precision=Precision.MONTH)
    return Span(
        start=start, end=(start + timedelta(days=366)).replace(day=1, month=1), precision=Precision.YEAR
    )


def _zone(offset: str | None, zone: timezone) -> timezone:
    if offset is None:
        return zone
    if offset == "Z":
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def is_certainly_after(first: str, second: str) -> bool:
    """Tell whether `first` begins only when `second` is over, wherever days without a zone were lived."""
    if first <= second and first[19:] == second[19:]:
        return False
    earliest, latest = span_of(first, zone=_EARLIEST), span_of(second, zone=_LATEST)
    return earliest is not None and latest is not None and earliest.start >= latest.end
