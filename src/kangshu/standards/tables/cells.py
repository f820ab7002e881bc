"""What a number in a spreadsheet cell means, by its number format (ECMA-376 part 1, 18.8.30), as text."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from enum import Enum

_DAY_SECONDS = 86_400
_LAST_DAY = 2_958_466  # the day after 9999-12-31
_LEAP_BUG_DAY = 60  # the 1900 system counts a 29 February 1900 that never was
# Day 0, without a time zone: a spreadsheet knows none.
_START_1904 = datetime.fromisoformat("1904-01-01")
_START = datetime.fromisoformat("1899-12-30")
_START_BEFORE_LEAP_BUG = datetime.fromisoformat("1899-12-31")
_EXACT_NUMBERS = 1e15  # a spreadsheet keeps 15 digits

# Built-in formats that show a day, a time or both. 27 to 36 and 50 to 58 are those of the Chinese, Japanese
# and Korean editions.
_BUILT_IN_DATES = frozenset({14, 15, 16, 17, 27, 28, 29, 30, 31, 36, *range(50, 59)})
_BUILT_IN_TIMES = frozenset({18, 19, 20, 21, 32, 33, 34, 35, 45, 46, 47})
_BUILT_IN_MOMENTS = frozenset({22})
# Literal text, exponents, colours and conditions say nothing about dates; elapsed time ([h], [mm]) does.
_LITERALS = re.compile(r'"[^"]*"|\\.|_.|\*.|E[+-]|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_DAY_SIGNS = re.compile(r"[yde]", re.IGNORECASE)
_TIME_SIGNS = re.compile(r"[hs]|AM/PM|上午/下午", re.IGNORECASE)
_GENERAL = re.compile(r"general|[gG]/通用格式", re.IGNORECASE)


class Shows(Enum):
    """What a number format makes of a number."""

    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    MOMENT = "date and time"


def meaning_of_format(number: int, code: str | None) -> Shows:
    """Return what the number format `number` shows; `code` is its text where the workbook defines it.

    >>> meaning_of_format(176, 'yyyy"年"m"月"d"日"')
    <Shows.DATE: 'date'>
    """
    if code is None:
        if number in _BUILT_IN_DATES:
            return Shows.DATE
        if number in _BUILT_IN_TIMES:
            return Shows.TIME
        return Shows.MOMENT if number in _BUILT_IN_MOMENTS else Shows.NUMBER
    plain = _LITERALS.sub("", _GENERAL.sub("", code.partition(";")[0]))
    day, time = bool(_DAY_SIGNS.search(plain)), bool(_TIME_SIGNS.search(plain))
    if "m" in plain.lower() and not (day or time):
        day = True  # months alone, as in `mmm`
    if day and time:
        return Shows.MOMENT
    return Shows.DATE if day else Shows.TIME if time else Shows.NUMBER


def number_text(stored: str, *, shows: Shows = Shows.NUMBER, from_1904: bool = False) -> str | None:
    """Return the canonical text of a stored number, or `None` if it is none.

    Whole numbers come without a fraction, days as `2026-03-05`, moments as `2026-03-05 08:30:00`, times as
    `08:30:00`. What has more digits than a spreadsheet keeps comes with an exponent: a resident number that
    was typed as a number has lost its last digits, and must not look like one.

    >>> number_text("12.0"), number_text("0.10000000000000001"), number_text("110101190003070015")
    ('12', '0.1', '1.1010119000307002e+17')
    >>> number_text("45000.5", shows=Shows.DATE)
    '2023-03-15 12:00:00'
    """
    if shows is Shows.NUMBER and len(stored) <= 15 and stored.isdecimal() and stored.isascii():
        return stored if stored[0] != "0" or stored == "0" else str(int(stored))
    try:
        value = float(stored)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    if shows is not Shows.NUMBER and 0 <= value < _LAST_DAY:
        return _moment_text(value, shows=shows, from_1904=from_1904)
    return plain_number(value)


def plain_number(value: float) -> str:
    """Return a number as a spreadsheet shows it, in at most 15 digits; from 10^15 on with an exponent."""
    if abs(value) >= _EXACT_NUMBERS:
        mantissa, _, exponent = f"{value:.16e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"
    if value == int(value):
        return str(int(value))
    # As a spreadsheet shows it: 0.1 + 0.2 is 0.3 there, not 0.30000000000000004.
    rounded = float(f"{value:.15g}")
    return repr(rounded)


def _moment_text(value: float, *, shows: Shows, from_1904: bool) -> str:
    days, seconds = divmod(round(value * _DAY_SECONDS), _DAY_SECONDS)
    if shows is Shows.TIME or (days == 0 and seconds and not from_1904):
        minutes, second = divmod(days * _DAY_SECONDS + seconds, 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
    start = _START_1904 if from_1904 else _START if days > _LEAP_BUG_DAY else _START_BEFORE_LEAP_BUG
    try:
        moment = start + timedelta(days=days, seconds=seconds)
    except OverflowError:
        return plain_number(value)
    if shows is Shows.DATE and not seconds:
        return moment.date().isoformat()
    return moment.isoformat(sep=" ")
