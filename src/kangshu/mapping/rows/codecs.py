"""Values of fields and values of FHIR elements: each field's own types, and the declared codecs.

What does not fit its declaration (too long, no such code, no number) reads as nothing and is counted among
the misfits; a term further on may still give the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from kangshu.declarations import CodeTable, Dataset, FhirTerm, Field, FieldType, Pack
from kangshu.mapping.rows.paths import Context, Leaf

Encode: TypeAlias = Callable[[Any], Any]
"""Makes an element's value of a field's; None where it has none."""
_Check: TypeAlias = Callable[[Any], bool]

_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_NUMBER = re.compile(r"^[+-]?\d{1,38}(\.\d{1,38})?$", re.ASCII)
_MOST_TEXT = 1 << 16
_MOST_DIGITS = 38
_COMPARATORS = ("<", "<=", ">=", ">")
# Chinese addresses run from the large to the small, and are read so without any sign between.
_ADDRESS_PARTS = ("country", "state", "city", "district")


class Codecs:
    """Makes the codecs of one pack's fields."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        sign, hours, minutes = pack.fhir.zone[0], int(pack.fhir.zone[1:3]), int(pack.fhir.zone[4:6])
        offset = timedelta(hours=hours, minutes=minutes)
        self._zone = timezone(-offset if sign == "-" else offset)
        self._members = {
            table.name: frozenset(code.code for code in table.codes)
            for table in pack.codes.values()
            if table.complete
        }

    def leaf(self, dataset: Dataset, field: Field, term: FhirTerm | None = None) -> Leaf:
        """Return what reads an element into `field` by the codec of `term`.

        What does not fit is counted among the misfits under the field's name.
        """
        # Where others write it their way, what does not fit is not missed.
        name = field.name if term is None or term.writes else ""
        convert = self._conversion(field)
        fits = self._fitness(dataset, field)
        codec = term.codec if term else ""
        if term and codec == "constant":
            value = convert(term.argument)
            return lambda raw, context: value
        if term and codec == "codes":
            return _coded_leaf(self._reading_codes(term.argument), convert, name, fits)
        if codec == "money":
            return _inner_leaf("value", convert, name, fits)
        special = {
            "number": _plain_number,
            "compared": _compared_text,
            "address": _address_text,
            "person": _person_text,
        }.get(codec)
        if special:
            return _special_leaf(special, convert, name, fits)
        size = self._plain_size(field)
        if size is not None:
            return _text_leaf(name, size)
        if field.type is FieldType.DECIMAL and field.minimum is None and field.maximum is None:
            return _decimal_leaf(field, name)
        return _plain_leaf(convert, name, fits)

    def encode(self, field: Field, term: FhirTerm | None = None) -> Encode:
        """Return what makes an element's value of a value of `field` by the codec of `term`."""
        codec = term.codec if term else ""
        plain = self._encoding(field)
        if term and codec == "codes":
            pairs = self._pack.fhir.codes[term.argument].pairs
            return lambda value: pairs.get(str(value))
        if term and codec == "money":
            currency = term.argument
            return lambda value: {"value": plain(value), "currency": currency}
        if term and codec == "constant":
            argument = self._conversion(field)(term.argument) if term.reads else term.argument
            return lambda value: argument
        if codec == "text":
            return lambda value: str(plain(value))
        if codec == "title":
            assert field.value_set, "the loader refuses a title without a table"
            return _titles(self._pack.codes[field.value_set]).get
        return plain

    def check(self, dataset: Dataset, field: Field, value: Any) -> bool:
        """Tell whether a value that is in the field's type already fits the declaration."""
        fits = self._fitness(dataset, field)
        return fits is None or fits(value)

    def _conversion(self, field: Field) -> Callable[[Any], Any]:
        match field.type:
            case FieldType.STRING:
                return _text
            case FieldType.INTEGER:
                return _whole
            case FieldType.DECIMAL:
                return _decimal
            case FieldType.BOOLEAN:
                return lambda value: value if isinstance(value, bool) else None
            case FieldType.DATE:
                zone = self._zone
                return lambda value: found.date() if (found := _moment(value, zone)) else None
            case FieldType.DATETIME:
                zone = self._zone
                return lambda value: _moment(value, zone)

    def _plain_size(self, field: Field) -> int | None:
        """Return the greatest length of a text of which nothing else is asked."""
        if field.type is not FieldType.STRING or field.exact_length or field.pattern:
            return None
        if field.value_set in self._members:
            return None
        return _MOST_TEXT if field.length is None else field.length

    def _fitness(self, dataset: Dataset, field: Field) -> _Check | None:
        """Return the check that a bulk row's cell would have to pass as well; None where all pass."""
        match field.type:
            case FieldType.STRING:
                members = self._members.get(field.value_set or "")
                return _text_check(field, members, frozenset(dataset.absent_marks))
            case FieldType.INTEGER | FieldType.DECIMAL:
                return _number_check(field)
            case _:
                return None

    def _encoding(self, field: Field) -> Encode:
        match field.type:
            case FieldType.DECIMAL:
                return _short
            case FieldType.DATE:
                return date.isoformat
            case FieldType.DATETIME:
                zone = self._pack.fhir.zone
                return lambda value: value.isoformat() + zone
            case _:
                return lambda value: value

    def _reading_codes(self, name: str) -> Mapping[str, str]:
        """Return our code for each FHIR code; of several codes with one meaning, the first."""
        codes = self._pack.fhir.codes[name]
        found: dict[str, str] = {}
        for ours, theirs in codes.pairs.items():
            found.setdefault(theirs, ours)
        return {**found, **codes.also}


def _text_leaf(name: str, size: int) -> Leaf:
    def read(raw: Any, context: Context) -> Any:
        text = raw.strip() if raw.__class__ is str else _text(raw)
        if not text:
            return None
        if len(text) <= size:
            return text
        if name:
            context.misfits[name] = None
        return None

    return read


def _decimal_leaf(field: Field, name: str) -> Leaf:
    """Read the most frequent of the dear ones, a measured value, in one closure."""
    fits, places = _number_check(field), field.scale or 0
    digits = (field.length or 18) - places

    def read(raw: Any, context: Context) -> Any:
        number = raw if raw.__class__ is Decimal else _decimal(raw)
        if number is not None:
            _, held, exponent = number.as_tuple()
            if exponent.__class__ is int:  # else it is infinite, or no number
                if -places <= exponent and len(held) + exponent <= digits:  # pyright: ignore
                    return number
                if fits(number):
                    return number
        if name and raw != "":
            context.misfits[name] = None
        return None

    return read


def _plain_leaf(convert: Callable[[Any], Any], name: str, fits: _Check | None) -> Leaf:
    def read(raw: Any, context: Context) -> Any:
        value = convert(raw)
        if value is None:
            # An empty text is no value; anything else is one of the wrong kind.
            if name and raw != "":
                context.misfits[name] = None
            return None
        if fits is None or fits(value):
            return value
        if name:
            context.misfits[name] = None
        return None

    return read


def _inner_leaf(part: str, convert: Callable[[Any], Any], name: str, fits: _Check | None) -> Leaf:
    plain = _plain_leaf(convert, name, fits)

    def read(raw: Any, context: Context) -> Any:
        value: Any = raw.get(part) if isinstance(raw, dict) else None
        return None if value is None else plain(value, context)

    return read


def _special_leaf(
    take: Callable[[Any], Any], convert: Callable[[Any], Any], name: str, fits: _Check | None
) -> Leaf:
    plain = _plain_leaf(convert, name, fits)

    def read(raw: Any, context: Context) -> Any:
        value = take(raw) if isinstance(raw, dict) else None
        return None if value is None else plain(value, context)

    return read


def _coded_leaf(
    codes: Mapping[str, str], convert: Callable[[Any], Any], name: str, fits: _Check | None
) -> Leaf:
    """A code that the map does not know is no misfit: another coding beside it may say it in our terms."""

    def read(raw: Any, context: Context) -> Any:
        value = convert(codes.get(raw)) if isinstance(raw, str) else None
        if value is None or fits is None or fits(value):
            return value
        if name:
            context.misfits[name] = None
        return None

    return read


def _text(raw: Any) -> str | None:
    if raw.__class__ is str:
        return raw.strip() or None
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return str(raw) if isinstance(raw, int | float | Decimal) else None


def _whole(raw: Any) -> int | None:
    value = _decimal(raw)
    if value is None or value.adjusted() > _MOST_DIGITS:
        return None  # 1E+1000000 would be a number of a million digits
    return int(value) if value == value.to_integral_value() else None


def _decimal(raw: Any) -> Decimal | None:
    if raw.__class__ is Decimal:
        return raw if raw.is_finite() else None
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int):
        return Decimal(raw)
    text = repr(raw) if isinstance(raw, float) else raw
    if not isinstance(text, str):
        return None
    text = text.strip()
    if not _NUMBER.match(text) and not isinstance(raw, float):
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _moment(raw: Any, zone: tzinfo) -> datetime | None:
    """Return a FHIR dateTime as local time without zone; a day is its first moment, a month is nothing."""
    if not isinstance(raw, str) or len(raw) < 10 or raw[4] != "-":
        return None
    try:
        found = datetime.fromisoformat(raw)
        if found.tzinfo is not None:
            found = found.astimezone(zone).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return found


def _short(value: Decimal) -> Decimal:
    """Return a decimal without the zeros with which the lake fills it up."""
    short = Decimal(value).normalize()
    return short.quantize(Decimal(1)) if int(short.as_tuple().exponent) > 0 else short


def _plain_number(quantity: Mapping[str, Any]) -> Any:
    return None if quantity.get("comparator") else quantity.get("value")


def _compared_text(quantity: Mapping[str, Any]) -> str | None:
    comparator, value = quantity.get("comparator"), quantity.get("value")
    if comparator not in _COMPARATORS or value is None:
        return None
    return f"{comparator}{value}"


def _address_text(address: Mapping[str, Any]) -> str | None:
    if text := address.get("text"):
        return text
    lines = address.get("line")
    parts = [*(address.get(name) for name in _ADDRESS_PARTS), *(lines if isinstance(lines, list) else ())]
    return "".join(part for part in parts if isinstance(part, str)) or None


def _person_text(name: Mapping[str, Any]) -> str | None:
    if text := name.get("text"):
        return text
    given = name.get("given")
    parts = [name.get("family"), *(given if isinstance(given, list) else ())]
    told = [part for part in parts if isinstance(part, str) and part]
    return ("" if any(part > "\u2e80" for part in told) else " ").join(told) or None


def _text_check(field: Field, members: frozenset[str] | None, marks: frozenset[str]) -> _Check | None:
    size = _MOST_TEXT if field.length is None else field.length
    exact = field.exact_length
    pattern = re.compile(field.pattern, re.ASCII) if field.pattern else None
    if members is not None:
        return lambda text: text in members or text in marks

    def fits(text: str) -> bool:
        if text in marks:
            return True
        if len(text) > size or (exact and len(text) != size):
            return False
        return pattern is None or pattern.fullmatch(text) is not None

    if pattern is None and not exact:
        return lambda text: len(text) <= size
    return fits


def _number_check(field: Field) -> _Check:
    places = field.scale or 0
    digits = (field.length or 18) - places
    low = None if field.minimum is None else Decimal(str(field.minimum))
    high = None if field.maximum is None else Decimal(str(field.maximum))

    def has_room(number: Decimal) -> bool:
        """Whether digits before and after the point have their place in the lake's column."""
        _, held, exponent = number.as_tuple()
        assert isinstance(exponent, int), "infinite numbers are read as nothing"
        if exponent < -places:
            _, held, exponent = number.normalize().as_tuple()
            assert isinstance(exponent, int), "what is finite stays so"
        return exponent >= -places and len(held) + exponent <= digits

    if low is None and high is None:
        return lambda value: has_room(value if value.__class__ is Decimal else Decimal(value))

    def fits(value: Decimal | int) -> bool:
        if (low is not None and value < low) or (high is not None and value > high):
            return False
        return has_room(Decimal(value))

    return fits


def _titles(table: CodeTable) -> Mapping[str, str]:
    return {code: title.zh for code, title in table.titles().items()}
