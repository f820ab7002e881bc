"""Numbers, quantities, ranges: exact decimals, with the comparators and units that senders write."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from kangshu.mapping.hl7v2.values import Repetition, first_text, text_at

UCUM = "http://unitsofmeasure.org"
_LENGTH_MOST = 40  # longer runs of digits are no measurement, and slow to read

_NUMBER = re.compile(
    r"(?P<sign>[<>≤≥＜＞]?=?)\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?)\Z", re.ASCII
)
_SIGNS = {sign: sign for sign in ("<", ">", "<=", ">=")} | {"≤": "<=", "≥": ">="}
_SIGNS |= {"＜": "<", "＞": ">", "＜=": "<=", "＞=": ">="}
_TWO = re.compile(
    r"(?P<low>[+-]?(?:\d+\.?\d*|\.\d+))\s*(?:-{1,3}|~|～|–|—|－|至|到|to)\s*(?P<high>[+-]?(?:\d+\.?\d*|\.\d+))"
    r"(?:\D.{0,30})?\Z",
    re.ASCII,
)


def to_decimal(text: str) -> Decimal | None:
    """Return the number, exactly as precise as written; None where it is none."""
    found = _NUMBER.match(text) if len(text) <= _LENGTH_MOST else None
    return Decimal(found["number"]) if found and not found["sign"] else None


def is_number(text: str) -> bool:
    """Return whether `text` is a number, perhaps with a comparator before it."""
    found = _NUMBER.match(text) if len(text) <= _LENGTH_MOST else None
    return found is not None and (not found["sign"] or found["sign"] in _SIGNS)


def to_quantity(text: str, units: dict[str, str]) -> dict[str, Any] | None:
    """Return `<0.5` as a Quantity; None where it is no number."""
    found = _NUMBER.match(text) if len(text) <= _LENGTH_MOST else None
    if found is None:
        return None
    made: dict[str, Any] = {"value": Decimal(found["number"])}
    if sign := found["sign"]:
        if sign not in _SIGNS:
            return None
        made["comparator"] = _SIGNS[sign]
    return made | units if units else made


def to_units(repetition: Repetition) -> dict[str, str]:
    """Return the unit of a Quantity as CWE tells it: coded where it is UCUM, else as it reads."""
    if len(repetition) == 1:
        code = first_text(repetition)
        return {"unit": code} if code else {}
    code, text = text_at(repetition, 0), text_at(repetition, 1)
    if not code and not text:
        return {}
    if code and text_at(repetition, 2).upper() == "UCUM" and " " not in code:
        return {"unit": text or code, "system": UCUM, "code": code}
    return {"unit": text or code}


def to_range(text: str, units: dict[str, str]) -> dict[str, Any]:
    """Return what a reference range says as `low` and `high`; nothing where it is no plain range."""
    text = text.strip()
    if len(text) > 2 * _LENGTH_MOST:
        return {}
    if found := _TWO.match(text):
        low, high = Decimal(found["low"]), Decimal(found["high"])
        if low <= high:
            return {"low": {"value": low, **units}, "high": {"value": high, **units}}
        return {}
    quantity = to_quantity(text, {})
    comparator = quantity.get("comparator") if quantity else None
    if quantity is None or comparator is None:
        return {}
    return {"high" if comparator.startswith("<") else "low": {"value": quantity["value"], **units}}
