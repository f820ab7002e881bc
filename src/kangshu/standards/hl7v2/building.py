"""Messages made from values: everything is escaped, so that the reader gets back what was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from kangshu.standards.hl7v2.charsets import codec_of, name_of
from kangshu.standards.hl7v2.errors import UnspeakableError, say
from kangshu.standards.hl7v2.model import HEADERS, Field, Message, Segment
from kangshu.standards.hl7v2.parsing import is_segment
from kangshu.standards.hl7v2.syntax import STANDARD, Delimiters, Syntax, syntax_of

Component = str | Sequence[str]
"""A value, or its sub-components."""
Repetition = str | tuple[Component, ...]
"""A value, or its components."""
FieldValue = str | tuple[Component, ...] | list[Repetition]
"""A value, a tuple of components, or a list of repetitions."""
SegmentLike = Segment | tuple[str, Mapping[int, FieldValue]]
"""A segment of another message, or a name with its fields by HL7's numbers."""


class Builder:
    """Collects segments and makes a message of them.

    >>> builder = Builder().add("MSH", {9: ("ADT", "A01"), 10: "1", 12: "2.5"})
    >>> builder.add("PID", {3: [("00017", "", "", "HIS", "MR")], 5: ("A|B", "C")}).message().text("PID-5")
    'A|B'
    """

    def __init__(self, *, delimiters: Delimiters = STANDARD, charset: str = "utf-8") -> None:
        codec = codec_of(charset) or charset
        self._syntax = syntax_of(delimiters, codec)
        self._codec = codec
        self._segments: list[Segment] = []
        self._by_name: dict[str, list[Segment]] = {}

    def add(self, name: str, fields: Mapping[int, FieldValue]) -> Self:
        """Add a segment; MSH-1 and MSH-2 fill themselves, and MSH-18 where nothing is said of it.

        Raises:
            UnspeakableError: `name` is no segment name, or a value needs a mark that is not there.
        """
        if name == "MSH" and 18 not in fields:
            fields = {**fields, 18: name_of(self._codec)}
        return self._append(name, write_segment(name, fields, self._syntax))

    def copy(self, segment: SegmentLike) -> Self:
        """Add a segment of any message, written anew with the marks of this one."""
        if isinstance(segment, Segment):
            return self.add(segment.name, {n: as_value(value) for n, value in segment.fields()})
        return self.add(*segment)

    def message(self) -> Message:
        """Return the message.

        Raises:
            UnspeakableError: its first segment is not MSH, or there is a second one.
        """
        if not self._segments or self._segments[0].name != "MSH" or len(self._by_name["MSH"]) > 1:
            raise UnspeakableError(say["build_header"], place="MSH")
        by_name = {name: list(alike) for name, alike in self._by_name.items()}
        return Message(by_name, tuple(self._segments), self._codec, None, self._syntax)

    def _append(self, name: str, raw: str) -> Self:
        alike = self._by_name.setdefault(name, [])
        segment = Segment(name, raw, len(self._segments) + 1, len(alike) + 1, self._syntax)
        alike.append(segment)
        self._segments.append(segment)
        return self


def build(
    segments: Iterable[SegmentLike], *, delimiters: Delimiters = STANDARD, charset: str = "utf-8"
) -> Message:
    """Return the message of `segments`, the first of which is MSH.

    Raises:
        UnspeakableError: a name, a value or the order cannot be written.
    """
    builder = Builder(delimiters=delimiters, charset=charset)
    for segment in segments:
        builder.copy(segment)
    return builder.message()


def serialise(message: Message) -> str:
    """Return the message as text; each segment ends with CR."""
    return "".join(f"{segment.raw}\r" for segment in message.segments)


def to_bytes(message: Message) -> bytes:
    """Return the message as bytes in its character set.

    Raises:
        UnspeakableError: it holds a character that its character set lacks.
    """
    try:
        return serialise(message).encode(message.charset)
    except UnicodeEncodeError:
        pass
    raise UnspeakableError(say["build_charset"], place="MSH-18")


def write_segment(name: str, fields: Mapping[int, FieldValue], syntax: Syntax) -> str:
    """Return a segment as a line of text, without empty fields at its end."""
    if not is_segment(name + syntax.field, syntax.field):
        raise UnspeakableError(say["build_name"])
    if not syntax.delimiters.escape:
        raise UnspeakableError(say["build_marks"], place="MSH-2")
    first = 3 if name in HEADERS else 1
    last = max((n for n in fields if n >= first), default=0)
    parts = [write_field(fields.get(n, ""), syntax, place=f"{name}-{n}") for n in range(first, last + 1)]
    start = [name, syntax.delimiters.encoding_characters] if name in HEADERS else [name]
    return syntax.field.join(start + parts)


def write_field(value: FieldValue, syntax: Syntax, *, place: str | None = None) -> str:
    """Return a field as text, without what says nothing at the end of repetitions and components."""
    if isinstance(value, str):
        return syntax.write(value)
    if isinstance(value, tuple):
        return _components(value, syntax, place=place)
    return _joined(
        [
            syntax.write(one) if isinstance(one, str) else _components(one, syntax, place=place)
            for one in value
        ],
        syntax.delimiters.repetition,
        place=place,
    )


def _components(value: tuple[Component, ...], syntax: Syntax, *, place: str | None) -> str:
    subcomponent = syntax.delimiters.subcomponent
    parts = [
        syntax.write(one)
        if isinstance(one, str)
        else _joined([syntax.write(part) for part in one], subcomponent, place=place)
        for one in value
    ]
    return _joined(parts, syntax.delimiters.component, place=place)


def _joined(parts: list[str], mark: str, *, place: str | None) -> str:
    """Return the parts without empty ones at the end, which would say nothing."""
    while parts and not parts[-1]:
        parts.pop()
    if len(parts) > 1 and not mark:
        raise UnspeakableError(say["build_marks"], place=place)
    return mark.join(parts)


def as_value(value: Field) -> FieldValue:
    """Return what was read from a field as what can be written to one."""
    return list(value)
