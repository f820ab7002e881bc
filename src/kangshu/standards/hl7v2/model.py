"""A message as its reader sees it: segments, fields, repetitions, components by HL7's numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from kangshu.kernel.texts import Text
from kangshu.standards.hl7v2.structures import structure_of
from kangshu.standards.hl7v2.syntax import Delimiters, Syntax

NULL = '""'
"""HL7's explicit null: the sender says that there is no value, other than not saying anything."""

Field = tuple[tuple[tuple[str, ...], ...], ...]
"""Repetitions of components of sub-components, unescaped; `()` where the field is absent."""

HEADERS = frozenset({"MSH", "FHS", "BHS"})
"""Segments whose first two fields are the delimiters themselves."""

_PATH = re.compile(
    r"(?P<segment>[A-Z][A-Z0-9]{2})(?:\[(?P<occurrence>[1-9]\d*)\])?-(?P<field>[1-9]\d*)"
    r"(?:\((?P<repetition>[1-9]\d*)\))?(?:\.(?P<component>[1-9]\d*))?(?:\.(?P<sub>[1-9]\d*))?"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """A place in a message: `PID-3(2).4.1` or `OBX[3]-5`; what is not said is the first."""

    segment: str
    occurrence: int = 1
    field: int
    repetition: int = 1
    component: int = 1
    sub: int = 1


@lru_cache(maxsize=4096)
def parse_path(path: str) -> Path:
    """Return the parts of `path`.

    Raises:
        ValueError: it is not written as `PID-3(2).4.1`.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise ValueError("a path is written as PID-5.1, PID-3(2).4.1 or OBX[3]-5")
    numbers = {name: int(value or 1) for name, value in match.groupdict().items() if name != "segment"}
    return Path(segment=match["segment"], **numbers)


class Segment:
    """One line of a message. Fields are split when first asked for, and stay split."""

    __slots__ = ("_fields", "_syntax", "_values", "name", "number", "occurrence", "raw")

    def __init__(self, name: str, raw: str, number: int, occurrence: int, syntax: Syntax) -> None:
        self.name = name
        self.raw = raw
        """The line as text, escapes and all."""
        self.number = number
        """The place in the message, from 1."""
        self.occurrence = occurrence
        """Which one of its name it is, from 1."""
        self._syntax = syntax
        self._fields: list[str] | None = None
        self._values: dict[int, Field] | None = None

    def __getitem__(self, n: int) -> Field:
        """Return the repetitions of field `n` (HL7's numbers, from 1), or `()` where it is absent."""
        values = self._values
        if values is None:
            values = self._values = {}
        found = values.get(n)
        if found is None:
            found = values[n] = self._read(n)
        return found

    def text(self, n: int, component: int = 1, sub: int = 1, repetition: int = 1) -> str:
        """Return one piece of field `n` unescaped, or the empty text. HL7's null stays `NULL`."""
        fields = self._fields
        if fields is None:
            fields = self._split()
        try:
            raw = fields[n]
        except IndexError:
            return ""
        if raw.isalnum() or not raw or (n < 3 and self.name in HEADERS):  # no mark in it that separates
            return raw if component == 1 == sub == repetition else ""
        # The same three times over, written out: most of the time of reading a message is spent here.
        syntax = self._syntax
        mark = syntax.repetition
        if mark in raw:
            parts = raw.split(mark, repetition)
            if len(parts) < repetition:
                return ""
            raw = parts[repetition - 1]
        elif repetition != 1:
            return ""
        mark = syntax.component
        if mark in raw:
            parts = raw.split(mark, component)
            if len(parts) < component:
                return ""
            raw = parts[component - 1]
        elif component != 1:
            return ""
        mark = syntax.subcomponent
        if mark in raw:
            parts = raw.split(mark, sub)
            if len(parts) < sub:
                return ""
            raw = parts[sub - 1]
        elif sub != 1:
            return ""
        return syntax.unescape(raw) if syntax.escape in raw else raw

    def field(self, n: int) -> str:
        """Return field `n` as written, marks and escapes and all; empty where it is absent."""
        fields = self._fields
        if fields is None:
            fields = self._split()
        return fields[n] if n < len(fields) else ""

    def place(self, n: int) -> str:
        """Return the place of field `n` in the sender's notation: `PID-7`, `OBX[3]-5`."""
        return f"{self.name}-{n}" if self.occurrence == 1 else f"{self.name}[{self.occurrence}]-{n}"

    def __len__(self) -> int:
        """Return the number of the last field that is written."""
        return len(self._fields or self._split()) - 1

    def fields(self) -> Iterator[tuple[int, Field]]:
        """Yield the number and content of each field that is not empty."""
        for n in range(1, len(self) + 1):
            if value := self[n]:
                yield n, value

    def __eq__(self, other: object) -> bool:
        """Tell whether the other says the same; empty ends of fields say nothing."""
        if not isinstance(other, Segment):
            return NotImplemented
        return self.name == other.name and _meant(self) == _meant(other)

    def __hash__(self) -> int:
        return hash((self.name, _meant(self)))

    def __repr__(self) -> str:
        return f"<Segment {self.name} {self.number}>"  # never a value: it may be somebody's health

    def _split(self) -> list[str]:
        fields = self.raw.split(self._syntax.field)
        if self.name in HEADERS:
            fields.insert(1, self._syntax.field)
        self._fields = fields
        return fields

    def _read(self, n: int) -> Field:
        raw = self.field(n)
        if n < 3 and self.name in HEADERS:
            return (((raw,),),)
        return self._syntax.values(raw)


class Message:
    """A parsed message. `charset_note` says that the bytes contradict the character set of MSH-18."""

    __slots__ = ("_by_name", "_header", "charset", "charset_note", "segments", "syntax")

    def __init__(
        self,
        by_name: dict[str, list[Segment]],
        segments: tuple[Segment, ...],
        charset: str,
        charset_note: Text | None,
        syntax: Syntax,
    ) -> None:
        """Take the segments in their order and by their names; `parse` and `build` make both."""
        self.segments = segments
        self.charset = charset
        """Python's name of the codec: `ascii`, `utf-8`, `gb18030`, `iso8859-1`, ..."""
        self.charset_note = charset_note
        self.syntax = syntax
        self._header = segments[0]
        self._by_name = by_name

    @property
    def delimiters(self) -> Delimiters:
        """The marks with which the message is written."""
        return self.syntax.delimiters

    @property
    def header(self) -> Segment:
        """MSH."""
        return self._header

    def first(self, name: str) -> Segment | None:
        """Return the first segment of that name."""
        found = self._by_name.get(name)
        return found[0] if found else None

    def all(self, name: str) -> list[Segment]:
        """Return the segments of that name in their order."""
        return list(self._by_name.get(name, ()))

    def text(self, path: str) -> str:
        """Return the text at `path` (`PID-5.1`, `PID-3(2).4.1`, `OBX[3]-5`), or the empty text.

        Raises:
            ValueError: `path` is not written so.
        """
        place = parse_path(path)
        found = self._by_name.get(place.segment)
        if found is None or len(found) < place.occurrence:
            return ""
        return found[place.occurrence - 1].text(place.field, place.component, place.sub, place.repetition)

    @property
    def type(self) -> str:
        """MSH-9.1, as `ADT`."""
        return self._header.text(9).strip()

    @property
    def event(self) -> str:
        """MSH-9.2, as `A01`; old ADT messages say it in EVN-1 only."""
        event = self._header.text(9, 2).strip()
        if not event and self.type == "ADT" and (segment := self.first("EVN")) is not None:
            return segment.text(1).strip()
        return event

    @property
    def structure(self) -> str:
        """MSH-9.3, as `ADT_A01`; where the sender leaves it out, what table 0354 gives for the event."""
        return self._header.text(9, 3).strip() or structure_of(self.type, self.event)

    @property
    def control_id(self) -> str:
        """MSH-10 exactly as sent: an acknowledgement gives it back."""
        return self._header.text(10)

    @property
    def version(self) -> str:
        """MSH-12.1, as `2.5.1`."""
        return self._header.text(12).strip()

    @property
    def processing_id(self) -> str:
        """MSH-11.1: `P` production, `T` training, `D` debugging."""
        return self._header.text(11).strip()

    @property
    def sent_at(self) -> str:
        """MSH-7.1 as written; a time in HL7's form, perhaps without a zone."""
        return self._header.text(7).strip()

    @property
    def sending_application(self) -> str:
        """MSH-3.1."""
        return self._header.text(3).strip()

    @property
    def sending_facility(self) -> str:
        """MSH-4.1."""
        return self._header.text(4).strip()

    @property
    def receiving_application(self) -> str:
        """MSH-5.1."""
        return self._header.text(5).strip()

    @property
    def receiving_facility(self) -> str:
        """MSH-6.1."""
        return self._header.text(6).strip()

    def __eq__(self, other: object) -> bool:
        """Tell whether the other says the same with the same marks."""
        if not isinstance(other, Message):
            return NotImplemented
        return self.delimiters == other.delimiters and self.segments == other.segments

    def __hash__(self) -> int:
        return hash((self.delimiters, self.segments))

    def __repr__(self) -> str:
        return f"<Message of {len(self.segments)} segments>"


def _meant(segment: Segment) -> tuple[tuple[int, tuple[object, ...]], ...]:
    """Return the fields that are not empty, without the empty ends of repetitions and components."""
    meant = ((n, _trimmed(value, depth=2)) for n, value in segment.fields())
    return tuple((n, value) for n, value in meant if value)


def _trimmed(parts: tuple[object, ...], *, depth: int) -> tuple[object, ...]:
    inner = [_trimmed(one, depth=depth - 1) if isinstance(one, tuple) else one for one in parts]
    while inner and not inner[-1]:
        inner.pop()
    return tuple(inner)
