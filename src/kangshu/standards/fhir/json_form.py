"""FHIR in JSON: bytes to plain values and back, with decimals kept as they were written (6.30 stays 6.30)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from kangshu.standards.fhir.errors import (
    DuplicateKeyError,
    FhirError,
    NotAResourceError,
    NotJsonError,
    TooMuchError,
    say,
)
from kangshu.standards.fhir.model import Piece

MAXIMUM_BYTES = 64 * 1024 * 1024
# Real resources nest about 30 deep; the checks call themselves once or twice for each level.
MAXIMUM_DEPTH = 128

_BOM = b"\xef\xbb\xbf"
_BYTE = re.compile(r"\(byte (\d+)\)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


def loads(data: bytes, *, maximum_bytes: int = MAXIMUM_BYTES) -> dict[str, Any]:
    """Return the resource in `data`. Numbers with a fraction or exponent become `Decimal`.

    Raises:
        NotJsonError: no JSON, or a property twice in one object; `place` is line and column.
        NotAResourceError: no object with a `resourceType`.
        TooMuchError: too many bytes, or nested too deep.
    """
    value = decode(data, maximum_bytes=maximum_bytes)
    if type(value) is not dict:
        raise NotAResourceError(say("not_an_object"))
    if type(value.get("resourceType")) is not str:
        raise NotAResourceError(say("no_resource_type"), place="resourceType")
    return value


def dumps(resource: Mapping[str, Any]) -> bytes:
    """Return `resource` as JSON without blanks, in UTF-8, decimals with the digits they have."""
    return _encoder.encode(resource)


def decode(data: bytes, *, maximum_bytes: int = MAXIMUM_BYTES) -> Any:
    """Return any JSON value, as strictly as `loads` reads a resource.

    Raises:
        NotJsonError: no JSON, or a property twice in one object.
        TooMuchError: too many bytes, or nested too deep.
    """
    if len(data) > maximum_bytes:
        raise TooMuchError(say("too_many_bytes", limit=maximum_bytes))
    if data[:3] == _BOM:
        data = data[3:]
    try:
        value = _decoder.decode(data)
    except RecursionError:
        raise TooMuchError(say("too_deep", limit=MAXIMUM_DEPTH)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidOperation, ValueError) as fault:
        raise _refusal(data, fault) from None
    # A document with fewer brackets than levels are allowed cannot be too deep.
    if data.count(b"{") + data.count(b"[") > MAXIMUM_DEPTH:
        _refuse_depth(value)
    # A property that was there twice is lost in reading, its colon is not. Writing is quicker than looking
    # through the values. An escaped colon in a text would make up for a lost one.
    if _encoder.encode(value).count(b":") != data.count(b":") or _has_escaped_colon(data):
        _refuse_repeated_keys(data)
    return value


def split_ndjson(data: bytes) -> Iterator[Piece]:
    """Yield the resources of an NDJSON file, one for each line that is not blank."""
    position, number, line = 3 if data[:3] == _BOM else 0, 0, 0
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        line += 1
        if one := data[position:end].strip():
            number += 1
            yield Piece(number=number, data=one, place=f"line {line}")
        position = end + 1


def _refuse_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(MAXIMUM_DEPTH):
        level = [
            one
            for outer in level
            for one in (outer.values() if type(outer) is dict else outer)
            if type(one) is dict or type(one) is list
        ]
        if not level:
            return
    raise TooMuchError(say("too_deep", limit=MAXIMUM_DEPTH))


def _has_escaped_colon(data: bytes) -> bool:
    """Tell whether a text may hold an escaped colon, which would make up for a lost property."""
    return b"\\" in data and (b"\\u003a" in data or b"\\u003A" in data)


class _Repeated(dict[str, Any]):
    """An object with a property that was there before."""

    name = ""


def _refuse_repeated_keys(data: bytes) -> None:
    def take(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        seen: set[str] = set()
        repeated = _Repeated(made)
        repeated.name = next(name for name, _ in pairs if name in seen or seen.add(name))
        return repeated

    place = _find_repeated(json.loads(data, object_pairs_hook=take))
    if place is not None:
        raise DuplicateKeyError(say("duplicate_key"), place=place)


def _find_repeated(value: Any) -> str | None:
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, one = waiting.pop()
        if isinstance(one, _Repeated):
            return f"{path}.{plain_name(one.name)}".lstrip(".")
        if isinstance(one, dict):
            waiting.extend((f"{path}.{plain_name(name)}", inner) for name, inner in one.items())
        elif isinstance(one, list):
            waiting.extend((f"{path}[{index}]", inner) for index, inner in enumerate(one))
    return None


def plain_name(name: str) -> str:
    """Return a property's name for a place, or `?` where it does not look like one."""
    return name if _NAME.fullmatch(name) else "?"


def _refusal(data: bytes, fault: Exception) -> FhirError:
    if isinstance(fault, InvalidOperation):
        return NotJsonError(say("number_range"))
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return NotJsonError(say("not_utf8"), place=place_of(data, wrong.start))
    at = _BYTE.search(str(fault))
    if at is None and "truncated" not in str(fault):
        return NotJsonError(say("number_range"))
    key = "cut_off_json" if at is None else "not_json"
    return NotJsonError(say(key), place=place_of(data, int(at[1]) if at else len(data)))


def place_of(data: bytes, offset: int) -> str:
    """Return where a byte is, as people count: `line 3, column 7`."""
    before = data[:offset]
    line, line_start = before.count(b"\n") + 1, before.rfind(b"\n") + 1
    column = len(before[line_start:].decode("utf-8", "replace")) + 1
    return f"line {line}, column {column}"
