"""How figures, moments and names are written on a page, in either language."""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from decimal import Decimal

from kangshu.kernel.texts import Language

_WEEKDAYS_ZH = "一二三四五六日"
_WEEKDAYS_EN = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MASK = "*"


def number(value: float | Decimal | None) -> str:
    """Return `value` with a comma after each three digits; a dash for none.

    >>> number(1234567)
    '1,234,567'
    """
    return "—" if value is None else f"{value:,}"


def compact(value: float, *, language: Language) -> str:
    """Return a short form for axes and figures: 万 and 亿 in Chinese, k, M and B in English.

    >>> compact(1_250_000, language="zh"), compact(1_250_000, language="en")
    ('125万', '1.25M')
    """
    steps = ((1e8, "亿"), (1e4, "万")) if language == "zh" else ((1e9, "B"), (1e6, "M"), (1e3, "k"))
    for size, unit in steps:
        if abs(value) >= max(size, 1e4):
            return f"{value / size:.4g}{unit}"
    return f"{value:,.4g}" if value != int(value) else f"{int(value):,}"


def percent(part: float, whole: float) -> str:
    """Return `part` of `whole` in percent with as many digits as tell it from 0 and from 100.

    >>> percent(1, 3), percent(1, 10_000), percent(0, 5), percent(5, 5)
    ('33.3%', '0.01%', '0%', '100%')
    """
    if not whole:
        return "—"
    value = 100 * part / whole
    if part in (0, whole):
        return f"{value:.0f}%"
    if value < 0.01:
        return "<0.01%"
    if value < 1:
        return f"{value:.2f}%"
    return f"{min(value, 99.9):.1f}%"


def share(part: float, whole: float, *, floor: float = 0.0) -> float:
    """Return `part` of `whole` as 0 to 100 for a bar; anything above none is at least `floor` wide."""
    if not whole or part <= 0:
        return 0.0
    return round(min(100.0, max(floor, 100 * part / whole)), 2)


def file_size(count: int | None) -> str:
    """Return a number of bytes as people read it.

    >>> file_size(512), file_size(1_572_864)
    ('512 B', '1.5 MiB')
    """
    if count is None:
        return "—"
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{int(size)} B" if unit == "B" else f"{size:.1f} {unit}"


def moment(value: datetime | date, form: str = "minute", *, zone: tzinfo) -> str:
    """Return a moment in local time: `day`, `short` (no year), `minute`, `second`, `clock`."""
    shape = {
        "day": "%Y-%m-%d",
        "short": "%m-%d %H:%M",
        "minute": "%Y-%m-%d %H:%M",
        "second": "%Y-%m-%d %H:%M:%S",
        "clock": "%H:%M",
    }
    if isinstance(value, datetime):
        local = value.astimezone(zone) if value.tzinfo else value
        return local.strftime(shape[form])
    return value.isoformat()


def weekday(day: date, *, language: Language) -> str:
    """Return the day of the week: 周五, Fri."""
    return f"周{_WEEKDAYS_ZH[day.weekday()]}" if language == "zh" else _WEEKDAYS_EN[day.weekday()]


def mask_name(name: str | None) -> str:
    """Return a name of which only the first character can be read.

    >>> mask_name("张小明"), mask_name("Anna Berg")
    ('张**', 'A***')
    """
    if not name:
        return "—"
    first = name[0]
    hidden = len(name) - 1 if not first.isascii() else 3
    return first + _MASK * max(1, min(hidden, 4))


def mask_number(value: str | None) -> str:
    """Return an identifier of which three characters at the front and four at the end can be read.

    >>> mask_number("110101199003070011"), mask_number("E1234567"), mask_number("A12")
    ('110***********0011', 'E******7', '***')
    """
    if not value:
        return "—"
    if len(value) >= 11:
        return value[:3] + _MASK * (len(value) - 7) + value[-4:]
    if len(value) >= 6:
        return value[0] + _MASK * (len(value) - 2) + value[-1]
    return _MASK * len(value)


def mask_phone(value: str | None) -> str:
    """Return a telephone number without its middle.

    >>> mask_phone("13800001234")
    '138****1234'
    """
    if not value:
        return "—"
    if len(value) == 11:
        return f"{value[:3]}{_MASK * 4}{value[-4:]}"
    return _MASK * max(1, len(value) - 4) + value[-4:] if len(value) > 6 else _MASK * len(value)


def mask_birth(value: date | None) -> str:
    """Return a date of birth of which only the year can be read."""
    return f"{value.year}-**-**" if value else "—"


def mask_text(value: str | None) -> str:
    """Return a text (an address, a free remark) of which nothing but its first characters can be read."""
    return "—" if not value else value[: min(3, len(value) // 3)] + _MASK * 4


def age(birth_date: date | None, *, today: date, language: Language) -> str:
    """Return completed years, for a child under two completed months, in words."""
    if birth_date is None or birth_date > today:
        return "—"
    months = (today.year - birth_date.year) * 12 + today.month - birth_date.month
    months -= today.day < birth_date.day
    if months < 24:
        return f"{months} 月" if language == "zh" else f"{months} mo"
    return f"{months // 12} 岁" if language == "zh" else f"{months // 12} y"
