"""HL7 v2 times as FHIR writes them: precision is kept, a missing zone is the region's."""

from __future__ import annotations

import re
from calendar import monthrange

_COMPACT = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,9}))?)?)?)?)?)?([+-]\d{4})?\Z",
    re.ASCII,
)
# 2021-03-04, 2021/3/4 08:05, 2021-03-04T08:05:09.5+08:00: not HL7's, but unmistakable and common.
_WRITTEN = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})"
    r"(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?(Z|[+-]\d{2}:?\d{2})?\Z",
    re.ASCII,
)
# LIS programs write milliseconds without the point: 20180604143425489.
_RUN_ON = re.compile(r"(\d{14})(\d{3})\Z", re.ASCII)
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(?:\.(\d{1,9}))?([+-]\d{4})?\Z", re.ASCII)
_OFFSET_HOURS_MOST = 14


def to_date(text: str) -> str | None:
    """Return the FHIR date of an HL7 time, as precise as it is; None where it is no time."""
    parts = _parts(text)
    if parts is None:
        return None
    year, month, day = parts[0], parts[1], parts[2]
    if not month:
        return year
    return f"{year}-{month}-{day}" if day else f"{year}-{month}"


def to_date_time(text: str, *, zone: str) -> str | None:
    """Return the FHIR dateTime of an HL7 time: an hour without minutes is full, a minute too."""
    if len(text) == 14 and text.isascii() and text.isdigit() and (whole := _fast(text)):
        return whole + zone
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
    point = f".{fraction}" if fraction else ""
    return f"{year}-{month}-{day}T{hour}:{minute or '00'}:{second or '00'}{point}{offset or zone}"


def to_instant(text: str, *, zone: str) -> str | None:
    """Return the FHIR instant of an HL7 time; None where it tells a day only, or is no time."""
    whole = to_date_time(text, zone=zone)
    return whole if whole and "T" in whole else None


def has_time(text: str) -> bool:
    """Return whether the time of day is told, other than as the midnight that systems write for a day."""
    parts = _parts(text)
    return parts is not None and any((part or "").strip("0") for part in parts[3:7])


def to_time(text: str) -> str | None:
    """Return the FHIR time of an HL7 time of day."""
    found = _TIME.match(text.strip())
    if found is None:
        return None
    hour, minute, second, fraction, _ = found.groups()
    if int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 59:
        return None
    return f"{hour}:{minute or '00'}:{second or '00'}{f'.{fraction}' if fraction else ''}"


def valid_zone(text: str) -> bool:
    """Return whether `text` is a zone as FHIR writes it."""
    return bool(re.fullmatch(r"[+-](0\d|1[0-4]):[0-5]\d", text))


def _fast(text: str) -> str:
    """Return the commonest form, 20240131083000, without its zone; '' where it needs a closer look."""
    month, day, hour, minute, second = text[4:6], text[6:8], text[8:10], text[10:12], text[12:]
    known = "01" <= month <= "12" and "01" <= day <= "28" and text[:4] != "0000"
    if known and hour < "24" and minute < "60" and second < "60":
        return f"{text[:4]}-{month}-{day}T{hour}:{minute}:{second}"
    return ""


def _parts(text: str) -> tuple[str, str, str, str, str, str, str, str] | None:
    """Return year, month, day, hour, minute, second, fraction, offset ('' where not told), checked."""
    text = text.strip()
    found = _COMPACT.match(text)
    if found is None:
        found = _WRITTEN.match(text)
        if found is None:
            run_on = _RUN_ON.match(text)
            return _parts(f"{run_on[1]}.{run_on[2]}") if run_on else None
    year, month, day, hour, minute, second, fraction, offset = found.groups("")
    if year == "0000":
        return None
    if month:
        month = month if len(month) == 2 else f"0{month}"
        number = int(month)
        if not 1 <= number <= 12:
            # 19780000: the month is not known
            return (year, "", "", "", "", "", "", "") if month == "00" and day in ("", "00") else None
        if day:
            if day == "00":
                return year, month, "", "", "", "", "", ""
            day = day if len(day) == 2 else f"0{day}"
            if day > "28" and int(day) > monthrange(int(year), number)[1]:
                return None
    if hour:
        hour = hour if len(hour) == 2 else f"0{hour}"
        if hour > "23" or minute > "59" or second > "60":
            return None
        second = "59" if second == "60" else second
    if offset:
        offset = _offset(offset)
        if not offset:
            return None
    return year, month, day, hour, minute, second, fraction, offset


def _offset(text: str) -> str:
    if text == "Z":
        return text
    hours, minutes = text[1:3], text[-2:]
    if int(hours) > _OFFSET_HOURS_MOST or minutes > "59" or (hours == "14" and minutes != "00"):
        return ""
    return f"{text[0]}{hours}:{minutes}"
