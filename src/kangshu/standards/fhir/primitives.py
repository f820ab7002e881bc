"""Checks of primitive values: the JSON type, the form that R4 demands, days that exist."""

from __future__ import annotations

import base64
import binascii
import re
from calendar import monthrange
from collections.abc import Callable
from decimal import Decimal

from kangshu.standards.fhir.findings import Check, Finding, Findings
from kangshu.standards.fhir.model import Severity

MAXIMUM_TEXT = 1024 * 1024
# Decimals are used with such care for digits that nothing beyond this can be meant.
_MAXIMUM_EXPONENT = 400

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_YEAR = r"(?!0000)[0-9]{4}"
_DAY = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

_date = re.compile(rf"{_YEAR}(?:-(?:{_DAY}|0[1-9]|1[0-2]))?").fullmatch
_date_time = re.compile(rf"{_YEAR}(?:-(?:{_DAY}(?:T{_TIME}{_ZONE})?|0[1-9]|1[0-2]))?").fullmatch
_instant = re.compile(rf"{_YEAR}-{_DAY}T{_TIME}{_ZONE}").fullmatch
_time = re.compile(_TIME).fullmatch
_no_zone = re.compile(rf"{_YEAR}-{_DAY}T{_TIME}").fullmatch
_id = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_code = re.compile(r"[^\s]+(?:\s[^\s]+)*").fullmatch
_oid = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+").fullmatch
_uuid = re.compile(
    r"urn:uuid:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
).fullmatch
_blank = re.compile(r"\s").search
_running_tag = re.compile(
    r"<\s*/?\s*(?:script|iframe|object|embed|frameset|base|meta|link)\b", re.IGNORECASE
).search
_tag = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>").search


def _wrong_type(value: object, expected: str) -> Findings:
    if value == "" and type(value) is str:
        return [Finding("empty_text", "value")]
    return [Finding("wrong_type", "value", type=expected)]


def _wrong_form(value: object, expected: str) -> Findings:
    if type(value) is not str or not value:
        return _wrong_type(value, expected)
    if expected in ("dateTime", "instant") and _no_zone(value):
        return [Finding("no_zone", "value")]
    return [Finding("wrong_form", "value", type=expected)]


def check_boolean(value: object) -> Findings | None:
    """Refuse what is not `true` or `false`."""
    return None if value is True or value is False else _wrong_type(value, "boolean")


def _whole_number(name: str, least: int) -> Check:
    def check(value: object) -> Findings | None:
        if type(value) is int:
            if least <= value <= 2147483647:
                return None
            return [Finding("out_of_range", "value", type=name)]
        return _wrong_type(value, name)

    return check


def check_decimal(value: object) -> Findings | None:
    """Refuse what is no number, or has an exponent that cannot be meant."""
    kind = type(value)
    if kind is int:
        return None
    if kind is Decimal:
        assert isinstance(value, Decimal), "just looked"
        if value.is_finite() and -_MAXIMUM_EXPONENT < value.adjusted() < _MAXIMUM_EXPONENT:
            return None
        return [Finding("out_of_range", "value", type="decimal")]
    # A float is what a caller makes who did not read the resource with `loads`; it has no digits to keep.
    return None if kind is float else _wrong_type(value, "decimal")


def check_string(value: object) -> Findings | None:
    """Refuse what is no text, is empty, too long, or holds control characters."""
    if type(value) is str and value:
        assert isinstance(value, str), "just looked"
        if value.isprintable():
            if "<" not in value and len(value) <= MAXIMUM_TEXT:
                return None
        elif _CONTROL.search(value):
            return [Finding("control_character", "value")]
        if len(value) > MAXIMUM_TEXT:
            return [Finding("too_long", "too-long", limit=MAXIMUM_TEXT)]
        return _check_tags(value) if "<" in value else None
    return _wrong_type(value, "string")


def _check_tags(value: str) -> Findings | None:
    """Refuse a text with a tag that no physician writes and that some page may run; warn of other tags."""
    if _running_tag(value):
        return [Finding("script_in_text", "security")]
    return [Finding("looks_like_markup", "security", severity=Severity.WARNING)] if _tag(value) else None


def check_code(value: object) -> Findings | None:
    """Refuse what is no code: blanks around it, or two in a row."""
    if type(value) is str and value:
        assert isinstance(value, str), "just looked"
        if value.isprintable() and " " not in value:
            return None
        if _code(value) and not _CONTROL.search(value):
            return None
    return _wrong_form(value, "code")


def _address(name: str) -> Check:
    def check(value: object) -> Findings | None:
        if type(value) is str and value:
            if value.isprintable() and " " not in value:
                return None if value[:4] != "urn:" else check_urn(value)
            if not _blank(value) and not _CONTROL.search(value):
                return None
        return _wrong_form(value, name)

    return check


def check_urn(value: str) -> Findings | None:
    """Refuse an OID or a UUID that is none; other URNs are taken as they are."""
    if value.startswith("urn:uuid:"):
        return None if _uuid(value) else [Finding("wrong_form", "value", type="uuid")]
    if value.startswith("urn:oid:"):
        return None if _oid(value) else [Finding("wrong_form", "value", type="oid")]
    return None


def _of_form(name: str, matches: Callable[[str], object]) -> Check:
    def check(value: object) -> Findings | None:
        if type(value) is str and matches(value):
            return None
        return _wrong_form(value, name)

    return check


def _of_day(name: str, matches: Callable[[str], object]) -> Check:
    def check(value: object) -> Findings | None:
        if type(value) is str and matches(value):
            return None if value[8:10] <= "28" else _check_day(value)
        return _wrong_form(value, name)

    return check


def _check_day(value: str) -> Findings | None:
    """Refuse the 30th of February and the like; `value` has the right form."""
    if int(value[8:10]) <= monthrange(int(value[:4]), int(value[5:7]))[1]:
        return None
    return [Finding("no_such_day", "value")]


def check_base64(value: object) -> Findings | None:
    """Refuse what is not base64, blanks aside."""
    if type(value) is str and value:
        assert isinstance(value, str), "just looked"
        try:
            base64.b64decode("".join(value.split()) if _blank(value) else value, validate=True)
        except (binascii.Error, ValueError):
            return [Finding("wrong_form", "value", type="base64Binary")]
        return None
    return _wrong_type(value, "base64Binary")


CHECKS: dict[str, Check] = {
    "base64Binary": check_base64,
    "boolean": check_boolean,
    "canonical": _address("canonical"),
    "code": check_code,
    "date": _of_day("date", _date),
    "dateTime": _of_day("dateTime", _date_time),
    "decimal": check_decimal,
    "id": _of_form("id", _id),
    "instant": _of_day("instant", _instant),
    "integer": _whole_number("integer", -2147483648),
    "markdown": check_string,
    "oid": _of_form("oid", _oid),
    "positiveInt": _whole_number("positiveInt", 1),
    "string": check_string,
    "time": _of_form("time", _time),
    "unsignedInt": _whole_number("unsignedInt", 0),
    "uri": _address("uri"),
    "url": _address("url"),
    "uuid": _of_form("uuid", _uuid),
}
"""The check of each primitive type but xhtml, which `narrative` has."""
