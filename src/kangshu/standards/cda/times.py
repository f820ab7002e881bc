"""Times of HL7 version 3 (TS: `20200101080000.000+0800`), with the precision in which they were sent."""

from __future__ import annotations

import re
from datetime import datetime

_TIME = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,9}))?)?)?)?)?)?([+-]\d{4}|[+-]\d\d|Z)?"
)
# What some senders write in place of it.
_ISO = re.compile(
    r"(\d{4})-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?([+-]\d\d:?\d\d|Z)?"
)


def fhir_time(text: str | None, *, zone: str) -> str | None:
    """Return the time as FHIR writes it, or None where it is no time; `zone` (`+08:00`) where none is said.

    Precision stays: a day stays a day. FHIR has no hour without minutes and seconds; these become zero.

    >>> fhir_time("202001010830", zone="+08:00"), fhir_time("202001", zone="+08:00")
    ('2020-01-01T08:30:00+08:00', '2020-01')
    """
    parts = _parts(text)
    if parts is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = parts
    if not month:
        return year
    if not day:
        return f"{year}-{month}"
    if not hour:
        return f"{year}-{month}-{day}"
    tail = f".{fraction}" if fraction else ""
    return f"{year}-{month}-{day}T{hour}:{minute or '00'}:{second or '00'}{tail}{_offset(offset) or zone}"


def fhir_date(text: str | None) -> str | None:
    """Return the day (or month, or year) of a time as FHIR writes it, or None where it is not a time."""
    time = fhir_time(text, zone="Z")
    return time.partition("T")[0] if time else None


def fhir_instant(text: str | None, *, zone: str) -> str | None:
    """Return the time as a FHIR instant: what is not said is the beginning; None where no day is said."""
    time = fhir_time(text, zone=zone)
    if not time or len(time) < 10:
        return None
    return time if "T" in time else f"{time}T00:00:00{zone}"


def zone_of(text: str | None) -> str | None:
    """Return the zone that a time states (`+08:00`), or None where it states none."""
    parts = _parts(text)
    return _offset(parts[7]) if parts else None


def readable_time(text: str | None) -> str:
    """Return the time as a person reads it, without zone; the text itself where it is not a time."""
    parts = _parts(text)
    if parts is None:
        return text or ""
    year, month, day, hour, minute, second, _, _ = parts
    date = "-".join(part for part in (year, month, day) if part)
    if not hour:
        return date
    clock = f"{hour}:{minute or '00'}"
    return f"{date} {clock}:{second}" if second and second != "00" else f"{date} {clock}"


def _parts(text: str | None) -> tuple[str | None, ...] | None:
    text = (text or "").strip()
    found = _TIME.fullmatch(text) or _ISO.fullmatch(text)
    if not found:
        return None
    groups = found.groups()
    year, month, day, hour, minute, second = (int(group) if group else None for group in groups[:6])
    try:
        datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, min(second or 0, 59))  # noqa: DTZ001 - only whether it exists
    except ValueError:
        return None
    return None if (second or 0) > 59 else groups


def _offset(text: str | None) -> str | None:
    if not text or text == "Z":
        return text
    digits = text[1:].replace(":", "").ljust(4, "0")
    if int(digits[:2]) > 14 or int(digits[2:]) > 59:
        return None
    return f"{text[0]}{digits[:2]}:{digits[2:]}"
