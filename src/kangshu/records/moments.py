"""FHIR's dates and moments, each of some precision, as the span of time that they cover.

`2026-03` is the whole of March here, `2026-03-02T08:30:00+08:00` one second. Spans are half-open.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

LOCAL = timezone(timedelta(hours=8))
"""The zone of days and moments that carry none: the whole country has one (GB/T 7408)."""

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
"""Before every moment that is read here."""
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
"""After every moment that is read here."""

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_FORM = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d:\d\d)(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)


class Span(NamedTuple):
    """From `start` to `end`, exclusive. `whole_day` where no time of the day was told."""

    start: datetime
    end: datetime
    whole_day: bool


def span_of(text: object) -> Span | None:
    """Return what a FHIR date, dateTime or instant covers; None where it is none, or before 1000.

    >>> span_of("2026-02").end
    datetime.datetime(2026, 3, 1, 0, 0, tzinfo=datetime.timezone(datetime.timedelta(seconds=28800)))
    """
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if not found or found[1] < "1000" or found[1] == "9999":
        return None
    year, month, day, clock, seconds, fraction, zone = found.groups()
    try:
        if clock is None:
            return _days(int(year), int(month or 0), int(day or 0))
        if zone is None:
            start = datetime.fromisoformat(found[0]).replace(tzinfo=LOCAL)
        else:
            start = datetime.fromisoformat(found[0])
    except ValueError:
        return None
    if fraction:
        return Span(start, start + timedelta(microseconds=1), False)
    return Span(start, start + (_SECOND if seconds else timedelta(minutes=1)), False)


def span_of_period(period: object) -> Span | None:
    """Return what a FHIR Period covers; open ends reach to `EARLIEST` and `LATEST`."""
    if not isinstance(period, dict):
        return None
    start, end = span_of(period.get("start")), span_of(period.get("end"))
    if start is None and end is None:
        return None
    first = start.start if start else EARLIEST
    last = end.end if end else LATEST
    return Span(first, max(first, last), start.whole_day if start else False)


def span_of_timing(timing: Any) -> Span | None:
    """Return what a FHIR Timing covers: from its first event to its last, or its bounds."""
    if not isinstance(timing, dict):
        return None
    spans = [span for event in timing.get("event", ()) if (span := span_of(event))]
    if spans:
        return Span(min(one.start for one in spans), max(one.end for one in spans), spans[0].whole_day)
    repeat = timing.get("repeat")
    return span_of_period(repeat.get("boundsPeriod")) if isinstance(repeat, dict) else None


def _days(year: int, month: int, day: int) -> Span:
    if day:
        start = datetime(year, month, day, tzinfo=LOCAL)
        return Span(start, start + _DAY, True)
    if month:
        start = datetime(year, month, 1, tzinfo=LOCAL)
        return Span(start, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=LOCAL), True)
    return Span(datetime(year, 1, 1, tzinfo=LOCAL), datetime(year + 1, 1, 1, tzinfo=LOCAL), True)
