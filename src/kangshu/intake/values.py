"""What a cell says by the type of its field: the definition, one cell at a time; pure.

`columns` reads ordinary cells a whole column at a time; it must agree with what stands here, and
hands over every cell that is not ordinary. Cells come trimmed and are never empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

from kangshu.declarations import Field, FieldType

Value: TypeAlias = int | date | datetime | bool
"""A decimal is held as the whole number of its smallest units: 12.50 with two places is 1250."""

ZONE = "Asia/Shanghai"
"""The zone of the region's wall clocks: what a day is, and what a time without an offset means."""

_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0+)?", re.ASCII)
_NUMBER = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,2}))?", re.ASCII)
_MOST_DIGITS = 60  # arbitrary: no declared number has more, and nothing longer is worth multiplying out
_DAY = re.compile(r"(\d{4})(?:([-/.])(\d{1,2})\2(\d{1,2})|年(\d{1,2})月(\d{1,2})日|(\d\d)(\d\d))", re.ASCII)
_TIME = re.compile(r"(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_COMPACT_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)?()()", re.ASCII)
_TRUE = frozenset({"1", "true", "t", "yes", "y", "是"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "否"})


def read_value(text: str, field: Field) -> Value | None:
    """Return what `text` says, or `None` where it is no value of the field's type.

    A number with more digits after the point than its field has is no value: it is not rounded. Lengths,
    bounds and code tables are not looked at, but a decimal has room for its declared digits only.
    """
    if field.type is FieldType.DECIMAL:
        return _read_decimal(text, digits=field.length or 18, scale=field.scale or 0)
    return _READERS[field.type](text)


def _read_integer(text: str) -> int | None:
    return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else None


def _read_decimal(text: str, *, digits: int, scale: int) -> int | None:
    """Return the number in units of 10^-scale, where it has that many places and no more digits than fit."""
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > _MOST_DIGITS:
        return None
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4] or 0)
    if not whole and not fraction:
        return None
    units, shift = int(whole + fraction), exponent - len(fraction) + scale
    if shift >= 0:
        units *= 10**shift
    else:
        units, rest = divmod(units, 10**-shift)
        if rest:
            return None
    if units >= 10**digits:
        return None
    return -units if sign == "-" else units


def _read_date(text: str) -> date | None:
    """A time of day behind a day is cut off only where it is midnight, as spreadsheets write it."""
    moment = _read_datetime(text)
    if moment is None or moment != datetime(moment.year, moment.month, moment.day):  # noqa: DTZ001
        return None
    return moment.date()


def _read_datetime(text: str) -> datetime | None:
    day = _DAY.match(text)
    if day is None:
        return None
    year, month, number = (int(part) for part in (day[1], *(part for part in day.groups()[2:] if part)))
    rest = text[day.end() :]
    try:
        start = datetime(year, month, number)  # noqa: DTZ001 - without zone, as rows hold it
        return start if not rest else _at_time(start, rest, compact=day[7] is not None)
    except (ValueError, OverflowError):
        return None


def _at_time(start: datetime, rest: str, *, compact: bool) -> datetime | None:
    """Return the moment on the day `start` that the text behind the day names."""
    time = _TIME.fullmatch(rest[1:].lstrip()) if rest[0] in " T" else None
    if time is None and compact:
        time = _COMPACT_TIME.fullmatch(rest)
    if time is None:
        return None
    hour, minute, second, fraction, zone = time.groups()
    moment = start.replace(
        hour=int(hour),
        minute=int(minute),
        second=int(second or 0),
        microsecond=int((fraction or "0")[:6].ljust(6, "0")),
    )
    return moment if not zone else _on_wall_clock(moment, zone)


def _on_wall_clock(moment: datetime, zone: str) -> datetime:
    sign = -1 if zone[0] == "-" else 1
    hours, minutes = (0, 0) if zone == "Z" else (int(zone[1:3]), int(zone[-2:]))
    offset = sign * timedelta(hours=hours, minutes=minutes)
    universal = (moment - offset).replace(tzinfo=ZoneInfo("UTC"))
    return universal.astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)


def _read_boolean(text: str) -> bool | None:
    folded = text.casefold()
    return True if folded in _TRUE else False if folded in _FALSE else None


_READERS: dict[FieldType, Callable[[str], Value | None]] = {
    FieldType.INTEGER: _read_integer,
    FieldType.DATE: _read_date,
    FieldType.DATETIME: _read_datetime,
    FieldType.BOOLEAN: _read_boolean,
}
