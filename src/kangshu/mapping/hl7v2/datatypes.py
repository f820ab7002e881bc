"""Data type maps that are functions: what tables of rows cannot say about codes, times, numbers and names.

`MAKERS` lists them under their names in the guide's notation (`CWE[CodeableConcept]`). Each gives, for the
options of the row that uses it, the function that converts one repetition of a field.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kangshu.mapping.hl7v2.errors import say
from kangshu.mapping.hl7v2.model import Settings, VocabularyMap
from kangshu.mapping.hl7v2.quantities import to_decimal, to_quantity, to_range, to_units
from kangshu.mapping.hl7v2.times import has_time, to_date, to_date_time, to_instant, to_time
from kangshu.mapping.hl7v2.values import Convert, Moment, Repetition, first_text, text_at, valued, whole_text
from kangshu.mapping.hl7v2.vocabulary import Systems, coding, is_oid, is_uri, look_up, plain
from kangshu.standards.hl7v2 import NULL

_SPACES = re.compile(r"\s+")
_PROSE = re.compile(r"[\s\u3400-\u9fff]|.{65}", re.DOTALL)
"""What no code looks like: words, where nothing else tells that it is one."""
_MOBILE = re.compile(r"(?:\+?86)?1[3-9]\d{9}\Z", re.ASCII)
_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_DIGITS_FEWEST = 3  # "0" and "-" stand where no telephone is known
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_YES = frozenset({"Y", "T", "1", "YES", "TRUE", "是", "有"})
_NO = frozenset({"N", "F", "0", "NO", "FALSE", "否", "无"})


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the row that uses a data type map says besides its name."""

    settings: Settings
    systems: Systems
    vocabulary: VocabularyMap | None = None
    numbers: str = "number"
    units: Callable[[Moment], Repetition] | None = None


def _string(_: Options) -> Convert:
    return lambda repetition, _: first_text(repetition) or None


def _text(_: Options) -> Convert:
    """The whole of it: senders forget to escape marks in running text."""

    def convert(repetition: Repetition, _: Moment) -> str | None:
        text = whole_text(repetition)
        return text if text and not text.isspace() else None

    return convert


def _code(options: Options) -> Convert:
    vocabulary = options.vocabulary

    def convert(repetition: Repetition, moment: Moment) -> str | None:
        text = repetition[0][0].strip()
        text = "" if text == NULL else text
        if vocabulary is None:
            return _SPACES.sub(" ", text) or None
        if found := vocabulary.codes.get(text.upper()):
            return found.code
        second = text_at(repetition, 1)
        if found := look_up(vocabulary, second, text_at(repetition, 2), text_at(repetition, 8)):
            return found.code
        if not text and not second:
            return None
        if not vocabulary.open:
            moment.note("unknown_code", say("unknown_code", table=vocabulary.name))
        return vocabulary.default.code if vocabulary.default else None

    return convert


def _boolean(_: Options) -> Convert:
    def convert(repetition: Repetition, moment: Moment) -> bool | None:
        text = text_at(repetition, 0).upper()
        if text in _YES:
            return True
        if text in _NO:
            return False
        if text:
            moment.note("unknown_code", say("unknown_code", table="Yes/NoIndicator"))
        return None

    return convert


def _coded(repetition: Repetition, at: int, options: Options, moment: Moment) -> dict[str, Any] | None:
    """Return the Coding whose code stands in component `at` (from 0), its text and system after it."""
    code = text_at(repetition, at)
    if not code:
        return None
    made: dict[str, Any] = {
        "system": options.systems.uri(text_at(repetition, at + 2), sender=moment.sender),
        "code": _SPACES.sub(" ", code),
    }
    if display := text_at(repetition, at + 1):
        made["display"] = display
    return made


def _concept(options: Options) -> Convert:
    vocabulary = options.vocabulary

    def alone(code: str, moment: Moment) -> dict[str, Any] | None:
        """A code without a name and a system, or words in its place."""
        if not code:
            return None
        found = vocabulary.codes.get(code.upper()) if vocabulary else None
        if found is not None:
            return {"coding": [coding(found)]} if found.display else {"coding": [coding(found)], "text": code}
        if _PROSE.search(code):
            return {"text": code}
        return {"coding": [{"system": options.systems.uri("", sender=moment.sender), "code": code}]}

    def convert(repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
        code = first_text(repetition)
        if len(repetition) == 1:
            return alone(code, moment)
        text = text_at(repetition, 1)
        codings: list[dict[str, Any]] = []
        found = look_up(vocabulary, code, text) if vocabulary else None
        if found is not None:
            codings.append(coding(found))
        elif first := _coded(repetition, 0, options, moment):
            codings.append(first)
        for at in (3, 9):
            further = _coded(repetition, at, options, moment) if len(repetition) > at else None
            if further is not None and not any(_same(further, one) for one in codings):
                codings.append(further)
        made: dict[str, Any] = {"coding": codings} if codings else {}
        told = text_at(repetition, 8) or text or text_at(repetition, 4)
        if not told and not codings:
            told = text_at(repetition, 2)  # a name in the place of the system: ^^汉族
        if told or (found is not None and not found.display):
            made["text"] = told or code
        return made or None

    return convert


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one["code"] == other["code"] and one["system"] == other.get("system")


def _coding(options: Options) -> Convert:
    vocabulary = options.vocabulary

    def convert(repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
        if vocabulary:
            found = look_up(vocabulary, text_at(repetition, 0), text_at(repetition, 1))
            if found := found or (vocabulary.default if valued(repetition) else None):
                return coding(found)
        return _coded(repetition, 0, options, moment)

    return convert


def _listed_coding(options: Options) -> Convert:
    """A code of the table, or nothing."""
    vocabulary = options.vocabulary
    assert vocabulary is not None, "the loader asks for a table"

    def convert(repetition: Repetition, _: Moment) -> dict[str, Any] | None:
        found = look_up(vocabulary, text_at(repetition, 0), text_at(repetition, 1))
        return coding(found) if found else None

    return convert


def _only_listed_concept(options: Options) -> Convert:
    """A concept of the table, or nothing: what FHIR binds as required takes no other word."""
    listed = _listed_coding(options)

    def convert(repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
        found = listed(repetition, moment)
        return {"coding": [found]} if found else None

    return convert


def _listed_concept(options: Options) -> Convert:
    """A code of a closed table: what the table lacks is no code of it, but still a word."""
    vocabulary = options.vocabulary
    assert vocabulary is not None, "the loader asks for a table"

    def convert(repetition: Repetition, _: Moment) -> dict[str, Any] | None:
        text = text_at(repetition, 0)
        if not text:
            return None
        found = look_up(vocabulary, text)
        return {"coding": [coding(found)]} if found else {"text": text}

    return convert


def _concept_text(_: Options) -> Convert:
    """The words of a coded element: the original text, else the name, else the code."""

    def convert(repetition: Repetition, _: Moment) -> str | None:
        for at in (8, 1, 4, 0):
            if text := text_at(repetition, at):
                return text
        return None

    return convert


def _time_map(change: Callable[[str, str], str | None]) -> Callable[[Options], Convert]:
    def make(options: Options) -> Convert:
        zone = options.settings.zone

        def convert(repetition: Repetition, moment: Moment) -> str | None:
            text = first_text(repetition)
            if not text:
                return None
            told = change(text, zone)
            if told is None:
                moment.note("no_time", say["no_time"])
            return told

        return convert

    return make


def _instant(options: Options) -> Convert:
    """A day alone is no instant: it is left out, not noted."""
    return lambda repetition, _: to_instant(text_at(repetition, 0), zone=options.settings.zone)


def _birth_time(options: Options) -> Convert:
    def convert(repetition: Repetition, _: Moment) -> str | None:
        text = text_at(repetition, 0)
        return to_date_time(text, zone=options.settings.zone) if has_time(text) else None

    return convert


def _number_map(fits: Callable[[Decimal], bool] | None) -> Callable[[Options], Convert]:
    def make(_: Options) -> Convert:
        def convert(repetition: Repetition, moment: Moment) -> Decimal | int | None:
            text = text_at(repetition, 0)
            number = to_decimal(text)
            if fits is None and number is not None:
                return number
            if (
                fits is not None
                and number is not None
                and number == number.to_integral_value()
                and fits(number)
            ):
                return int(number)
            if text:
                moment.note("no_number", say["no_number"])
            return None

        return convert

    return make


def units(options: Options, moment: Moment) -> dict[str, str]:
    return to_units(options.units(moment)) if options.units else {}


def _quantity(options: Options) -> Convert:
    def convert(repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
        return to_quantity(first_text(repetition), units(options, moment))

    return convert


def _simple(quantity: dict[str, Any] | None, moment: Moment) -> dict[str, Any] | None:
    """An amount that is given is so much, not more or less than it."""
    if quantity is not None and "comparator" in quantity:
        moment.note("no_number", say["no_number"])
        return None
    return quantity


def _simple_quantity(options: Options) -> Convert:
    whole = _quantity(options)
    return lambda repetition, moment: _simple(whole(repetition, moment), moment)


def _simple_composite_quantity(options: Options) -> Convert:
    whole = _composite_quantity(options)
    return lambda repetition, moment: _simple(whole(repetition, moment), moment)


def _composite_quantity(_: Options) -> Convert:
    """CQ: the unit stands beside the number."""

    def convert(repetition: Repetition, _: Moment) -> dict[str, Any] | None:
        unit = tuple((sub,) for sub in repetition[1]) if len(repetition) > 1 else ()
        return to_quantity(text_at(repetition, 0), to_units(unit))

    return convert


def _structured_quantity(options: Options) -> Convert:
    def convert(repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
        sign = text_at(repetition, 0)
        return to_quantity(f"{'' if sign == '=' else sign}{text_at(repetition, 1)}", units(options, moment))

    return convert


def _structured_range(options: Options) -> Convert:
    def convert(repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
        told = units(options, moment)
        low, high = to_decimal(text_at(repetition, 1)), to_decimal(text_at(repetition, 3))
        if low is None or high is None or low > high:
            return None
        return {"low": {"value": low, **told}, "high": {"value": high, **told}}

    return convert


def _structured_ratio(options: Options) -> Convert:
    def convert(repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
        top = to_quantity(f"{text_at(repetition, 0)}{text_at(repetition, 1)}", {})
        bottom = to_quantity(text_at(repetition, 3), {})
        return {"numerator": top, "denominator": bottom} if top and bottom else None

    return convert


def _structured_text(_: Options) -> Convert:
    """What no quantity says (a titre with a plus, an unequal sign) as it reads."""

    def convert(repetition: Repetition, _: Moment) -> str | None:
        return " ".join(text for at in range(4) if (text := text_at(repetition, at))) or None

    return convert


def _number_range(options: Options) -> Convert:
    def convert(repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
        low, high = to_decimal(text_at(repetition, 0)), to_decimal(text_at(repetition, 1))
        if low is not None and high is not None and low > high:
            moment.note("no_number", say["no_number"])
            return None
        told = units(options, moment)
        ends = (("low", low), ("high", high))
        return {name: {"value": end, **told} for name, end in ends if end is not None} or None

    return convert


def _reference_range(options: Options) -> Convert:
    def convert(repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
        text = whole_text(repetition).strip()
        if not text or text.strip("-^ ") == "":
            return None
        return {**to_range(text, units(options, moment)), "text": text}

    return convert


def _system(options: Options) -> Callable[[str, str, str, str], str]:
    template = options.settings.numbers.replace("{numbers}", options.numbers)

    def uri(namespace: str, universal: str, kind: str, sender: str) -> str:
        upper = kind.upper()
        if universal and is_oid(universal) and upper in ("ISO", "", "OID"):
            return f"urn:oid:{universal}"
        if universal and is_uri(universal):
            return universal
        if upper in ("UUID", "GUID") and _UUID.match(universal):
            return f"urn:uuid:{plain(universal).lower()}"
        return template.replace("{sender}", plain(namespace or universal) or sender)

    return uri


def _cx_system(options: Options) -> Convert:
    """The system of a number that names a thing: CX tells its authority in component 4."""
    uri = _system(options)
    return lambda repetition, moment: uri(
        text_at(repetition, 3), text_at(repetition, 3, 1), text_at(repetition, 3, 2), moment.sender
    )


def _ei_system(options: Options) -> Convert:
    uri = _system(options)
    return lambda repetition, moment: uri(
        text_at(repetition, 1), text_at(repetition, 2), text_at(repetition, 3), moment.sender
    )


def _xcn_system(options: Options) -> Convert:
    """XCN tells the authority in component 9."""
    uri = _system(options)
    return lambda repetition, moment: uri(
        text_at(repetition, 8), text_at(repetition, 8, 1), text_at(repetition, 8, 2), moment.sender
    )


def _own_system(options: Options) -> Convert:
    """The system of numbers that the sender itself gives."""
    uri = _system(options)
    return lambda _, moment: uri("", "", "", moment.sender)


def joined_name(family: str, given: list[str]) -> str:
    """Return a person's name as it is said: Chinese names family first and in one piece."""
    pieces = [piece for piece in (family, *given) if piece]
    han = [piece for piece in pieces if _HAN.search(piece)]
    if han:
        return "".join(_SPACES.sub("", piece) for piece in han)
    return " ".join([*pieces[1:], pieces[0]] if family and given else pieces)


def _staff_name(_: Options) -> Convert:
    """The name of a member of staff (XCN), as text."""

    def convert(repetition: Repetition, _: Moment) -> str | None:
        given = [text_at(repetition, 2), text_at(repetition, 3)]
        return joined_name(text_at(repetition, 1), [piece for piece in given if piece]) or None

    return convert


def _inner_staff_name(options: Options) -> Convert:
    """The name in an NDL: its first component is a person (CNN), but many write the person outright (XCN)."""
    outright = _staff_name(options)

    def convert(repetition: Repetition, moment: Moment) -> str | None:
        given = [text_at(repetition, 0, 2), text_at(repetition, 0, 3)]
        name = joined_name(text_at(repetition, 0, 1), [piece for piece in given if piece])
        if name or text_at(repetition, 1)[:1].isdigit():  # an NDL's second component is a time
            return name or None
        return outright(repetition, moment)

    return convert


def _person_name(_: Options) -> Convert:
    """The name of a person (XPN), as text."""

    def convert(repetition: Repetition, _: Moment) -> str | None:
        given = [text_at(repetition, 1), text_at(repetition, 2)]
        return joined_name(text_at(repetition, 0), [piece for piece in given if piece]) or None

    return convert


def _location_name(_: Options) -> Convert:
    """The name of a place (PL): its description, else facility, point of care, room and bed together."""

    def convert(repetition: Repetition, _: Moment) -> str | None:
        if described := text_at(repetition, 8):
            return described
        pieces = [text_at(repetition, at, sub) for at, sub in ((3, 0), (6, 0), (7, 0))]
        pieces += [text_at(repetition, at, 1) or text_at(repetition, at) for at in (0, 1, 2)]
        return " ".join(piece for piece in pieces if piece) or None

    return convert


def _location_code(_: Options) -> Convert:
    """What identifies a place at the sender: point of care, room and bed."""

    def convert(repetition: Repetition, _: Moment) -> str | None:
        pieces = [text_at(repetition, at) for at in (0, 1, 2)]
        return "^".join(pieces).strip("^") or None

    return convert


def _contacts(options: Options) -> Convert:
    """XTN: a number, an address of electronic mail, or both in one."""
    vocabulary = options.vocabulary

    def convert(repetition: Repetition, _: Moment) -> list[dict[str, Any]] | None:
        made: list[dict[str, Any]] = []
        kind = text_at(repetition, 2).upper()
        number = _telephone(repetition)
        if number and "@" not in number:
            made.append({"system": _SYSTEMS.get(kind, "phone"), "value": number})
        mail = text_at(repetition, 3) or (number if "@" in number else "")
        if "@" in mail:
            made.append({"system": "email", "value": mail})
        told = text_at(repetition, 1)
        use = look_up(vocabulary, told) or (None if told else vocabulary.default) if vocabulary else None
        for one in made:
            if one["system"] == "phone" and (kind in ("CP", "CELL") or _MOBILE.match(one["value"])):
                one["use"] = "mobile"
            elif use:
                one["use"] = use.code
        return made or None

    return convert


_SYSTEMS = {"FX": "fax", "BP": "pager", "SAT": "other", "MD": "other"}


def _telephone(repetition: Repetition) -> str:
    for text in (text_at(repetition, 11), _composed(repetition), text_at(repetition, 0)):
        if "@" in text or sum(letter.isdigit() for letter in text) >= _DIGITS_FEWEST:
            return text
    return ""


def _composed(repetition: Repetition) -> str:
    local = text_at(repetition, 6)
    if not local:
        return ""
    country, area, extension = text_at(repetition, 4), text_at(repetition, 5), text_at(repetition, 7)
    pieces = [f"+{country.lstrip('+')}" if country else "", area, local, f"x{extension}" if extension else ""]
    return " ".join(piece for piece in pieces if piece)


def _attachment(options: Options) -> Convert:
    """ED: the document itself, in Base64, in hexadecimal digits, or as plain text."""
    vocabulary = options.vocabulary

    def convert(repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
        text = text_at(repetition, 4)
        data = _data(text, text_at(repetition, 3).upper()) if text else None
        if data is None:
            if text:
                moment.note("no_data", say["no_data"])
            return None
        made: dict[str, Any] = {"data": data}
        found = look_up(vocabulary, text_at(repetition, 2), text_at(repetition, 1)) if vocabulary else None
        made["contentType"] = found.code if found else "application/octet-stream"
        return made

    return convert


def _data(text: str, encoding: str) -> str | None:
    if encoding == "BASE64":
        compact = _SPACES.sub("", text)
        try:
            binascii.a2b_base64(compact, strict_mode=True)
        except (binascii.Error, ValueError):
            return None
        return compact
    if encoding == "HEX":
        try:
            return base64.b64encode(bytes.fromhex(text)).decode("ascii")
        except ValueError:
            return None
    return base64.b64encode(text.encode()).decode("ascii")


def _pointer(options: Options) -> Convert:
    """RP: where the document lies."""
    vocabulary = options.vocabulary

    def convert(repetition: Repetition, _: Moment) -> dict[str, Any] | None:
        pointer = text_at(repetition, 0)
        if not pointer:
            return None
        made: dict[str, Any] = {}
        found = look_up(vocabulary, text_at(repetition, 3), text_at(repetition, 2)) if vocabulary else None
        if found:
            made["contentType"] = found.code
        made["url" if is_uri(pointer) else "title"] = pointer
        return made

    return convert


_WHOLE = Decimal(0)

MAKERS: Mapping[str, Callable[[Options], Convert]] = {
    "ST[string]": _string,
    "TX[string]": _text,
    "ID[code]": _code,
    "CWE[code]": _code,
    "ID[boolean]": _boolean,
    "ID[CodeableConcept]": _listed_concept,
    "CWE[CodeableConcept]": _concept,
    "ID[CodeableConcept-Listed]": _only_listed_concept,
    "CWE[Coding]": _coding,
    "CWE[Coding-Listed]": _listed_coding,
    "CWE[string]": _concept_text,
    "DTM[date]": _time_map(lambda text, _: to_date(text)),
    "DTM[dateTime]": _time_map(lambda text, zone: to_date_time(text, zone=zone)),
    "DTM[instant]": _instant,
    "DTM[dateTime-Birth]": _birth_time,
    "TM[time]": _time_map(lambda text, _: to_time(text)),
    "NM[decimal]": _number_map(None),
    "NM[positiveInt]": _number_map(lambda number: _WHOLE < number < 2**31),
    "NM[unsignedInt]": _number_map(lambda number: _WHOLE <= number < 2**31),
    "NM[Quantity]": _quantity,
    "NM[SimpleQuantity]": _simple_quantity,
    "CQ[Quantity]": _composite_quantity,
    "CQ[SimpleQuantity]": _simple_composite_quantity,
    "SN[Quantity]": _structured_quantity,
    "SN[Range]": _structured_range,
    "SN[Ratio]": _structured_ratio,
    "SN[string]": _structured_text,
    "NR[Range]": _number_range,
    "ST[ReferenceRange]": _reference_range,
    "CX[uri]": _cx_system,
    "EI[uri]": _ei_system,
    "XCN[uri]": _xcn_system,
    "ST[uri]": _own_system,
    "XPN[string]": _person_name,
    "XCN[string]": _staff_name,
    "NDL[string]": _inner_staff_name,
    "PL[string]": _location_name,
    "PL[string-Code]": _location_code,
    "XTN[ContactPoint]": _contacts,
    "ED[Attachment]": _attachment,
    "RP[Attachment]": _pointer,
}

TABLE_NEEDED = frozenset({"ID[CodeableConcept]", "ID[CodeableConcept-Listed]", "CWE[Coding-Listed]"})
"""Maps that mean nothing without a vocabulary map."""
