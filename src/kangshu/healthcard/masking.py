"""What may be seen of a holder: the fields that the caller's view declares, masked as it says. Pure."""

from __future__ import annotations

from datetime import date

from kangshu.healthcard.model import Holder, HolderView
from kangshu.healthcard.settings import CardSettings, Shown

_STAR = "*"
_NAME_STARS_MOST = 4


def view_of(settings: CardSettings, *, holder: Holder, role: str) -> HolderView:
    """Return what callers of this role are shown; a role that no view declares is shown nothing."""
    view = settings.views.get(role)
    if view is None:
        return HolderView()
    shown = {field: _shown(field, getattr(holder, field), how) for field, how in view.fields.items()}
    return HolderView(**shown)


def _shown(field: str, value: str | date | None, how: Shown) -> str | None:
    if value is None:
        return None
    if isinstance(value, date):
        return value.isoformat() if how is Shown.CLEAR else str(value.year)
    if field == "document_number":
        return mask_number(value)
    if field == "phone":
        return mask_phone(value)
    return value if how is Shown.CLEAR else mask_name(value)


def mask_name(name: str) -> str:
    """Return a name of which only the first character can be read.

    >>> mask_name("测试甲"), mask_name("A")
    ('测**', 'A*')
    """
    return name[:1] + _STAR * max(1, min(len(name) - 1, _NAME_STARS_MOST))


def mask_number(number: str) -> str:
    """Return a number with its first six and last four characters, fewer where it is short.

    >>> mask_number("990101199003070014"), mask_number("E12345678"), mask_number("A12")
    ('990101********0014', 'E*******8', '***')
    """
    if len(number) >= 15:
        return number[:6] + _STAR * (len(number) - 10) + number[-4:]
    if len(number) >= 6:
        return number[0] + _STAR * (len(number) - 2) + number[-1]
    return _STAR * len(number)


def mask_tail(text: str) -> str:
    """Return a number of another system with its last four characters, fewer where it is short.

    >>> mask_tail("6214830000001234"), mask_tail("A1234"), mask_tail("77")
    ('************1234', '****4', '**')
    """
    kept = 4 if len(text) >= 12 else 1 if len(text) >= 4 else 0
    return _STAR * (len(text) - kept) + text[len(text) - kept :]


def mask_phone(phone: str) -> str:
    """Return a telephone number without its middle.

    >>> mask_phone("19900001234"), mask_phone("123456")
    ('199****1234', '******')
    """
    if len(phone) >= 11:
        return phone[:3] + _STAR * (len(phone) - 7) + phone[-4:]
    return _STAR * (len(phone) - 2) + phone[-2:] if len(phone) > 6 else _STAR * len(phone)
