"""A file's bytes to its messages: batches, messages one after the other, frames, what stands between."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kangshu.kernel.texts import Text
from kangshu.standards.hl7v2.errors import say

_MARK = rb"[!-/:-@\[-`{-~]"
# A line that begins a message or belongs to an envelope. Line ends and frame marks are never the second byte
# of a character, so this may be looked for before decoding.
_START = rb"[ \t]*(?:\xef\xbb\xbf)?(MSH|FHS|BHS|BTS|FTS)(?=" + _MARK + rb"|[\r\n]|\Z)"
_FIRST_START = re.compile(_START).match
# Beginning with a set of bytes, it is found at 100 MB/s; looking behind instead, at 15.
_NEXT_START = re.compile(rb"[\r\n\x0b\x1c]" + _START).finditer
_LINE = re.compile(rb"[^\r\n\x0b\x1c]+")
_SEGMENT_LIKE = re.compile(rb"[ \t]*[A-Z][A-Z0-9]{2}(?:" + _MARK + rb"|[ \t]*\Z)").match
_BLANK = re.compile(rb"(?:\r\n[ \t]*\r\n|(?<!\r)\n[ \t]*\n|\r[ \t]*\r)[\s\x0b\x1c]*")
_EDGES = b"\r\n\t \x0b\x1c\0"
_WIDE_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One message of a file, or something between messages that `parse` will refuse."""

    number: int
    """From 1, in the order of the file."""
    data: bytes
    place: str
    """Where it begins: `line 17`."""
    note: Text | None = None
    """What the file says about it that does not agree, as a batch's count."""


def split(data: bytes) -> Iterator[Piece]:
    """Yield the messages of a file in their order.

    Headers and trailers of batches and files (FHS, BHS, BTS, FTS) are taken away; a count in a trailer that
    does not agree is noted on the last message it counts. Text that is no message (before the first one, or
    after a blank line) is a piece of its own, so that nothing is passed over in silence.
    """
    codec = _WIDE_MARKS.get(data[:2])
    if codec is None:
        yield from _Splitter(data).pieces()
        return
    try:
        text = data[2:].decode(codec)
    except UnicodeDecodeError:
        yield Piece(number=1, data=data, place="line 1")
        return
    for piece in _Splitter(text.encode("utf-8")).pieces():
        yield replace(piece, data=data[:2] + piece.data.decode("utf-8").encode(codec))


class _Splitter:
    """Goes once through the bytes of a file; keeps the last piece back for a note of its trailer."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._lines = _LineCounter(data)
        self._number = 0
        self._pending: Piece | None = None
        self._messages_in_batch = 0
        self._messages_in_file = 0
        self._batches_in_file = 0

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces in their order."""
        name, begun = b"", 0
        for next_name, start in _starts(self._data):
            yield from self._part(name, begun, start)
            name, begun = next_name, start
        yield from self._part(name, begun, len(self._data))
        if self._pending is not None:
            yield self._pending

    def _part(self, name: bytes, start: int, end: int) -> Iterator[Piece]:
        """Yield what is known once the part that begins with the segment `name` ends."""
        if name == b"MSH":
            self._messages_in_batch += 1
            self._messages_in_file += 1
            yield from self._message(start, end)
        elif not name:
            yield from self._text(start, end)
        else:
            line = _LINE.match(self._data, start, end)
            after = line.end() if line is not None else end
            yield from self._turn(name, self._data[start:after], start)
            yield from self._text(after, end)

    def _message(self, start: int, end: int) -> Iterator[Piece]:
        """Yield a message, and as another piece what follows it after a blank line and is no segment."""
        within_values = _ends_lines_with_cr(self._data, start, end)
        for blank in _BLANK.finditer(self._data, start, end):
            if within_values and blank[0].startswith(b"\n"):
                continue  # a blank line of a text whose line ends are not escaped
            line = _LINE.match(self._data, blank.end(), end)
            if line is not None and not _SEGMENT_LIKE(line[0]):
                yield from self._put(start, blank.start())
                yield from self._put(blank.end(), end)
                return
        yield from self._put(start, end)

    def _text(self, start: int, end: int) -> Iterator[Piece]:
        if self._data[start:end].strip(_EDGES + b"\xef\xbb\xbf"):
            yield from self._put(start, end)

    def _put(self, start: int, end: int, note: Text | None = None) -> Iterator[Piece]:
        """Keep a new piece, and yield the one before it."""
        if self._pending is not None:
            yield self._pending
        content = self._data[start:end]
        begun = len(content) - len(content.lstrip(_EDGES))
        self._number += 1
        self._pending = Piece(
            number=self._number,
            data=content.strip(b"\r\n\x0b\x1c\0"),
            place=f"line {self._lines.at(start + begun)}",
            note=note,
        )

    def _turn(self, name: bytes, line: bytes, start: int) -> Iterator[Piece]:
        """Take an envelope's line: begin to count at a header, compare at a trailer."""
        if name == b"FHS":
            self._messages_in_batch = self._messages_in_file = self._batches_in_file = 0
        elif name == b"BHS":
            self._messages_in_batch = 0
            self._batches_in_file += 1
        elif name == b"BTS":
            yield from self._compare(line, start, counted=self._messages_in_batch)
            self._messages_in_batch = 0
        else:
            # FTS-1 counts batches; some senders leave their header out or count messages there.
            counts = {self._messages_in_file, min(self._messages_in_file, 1)}
            yield from self._compare(line, start, counted=self._batches_in_file, others=counts)
            self._messages_in_file = self._batches_in_file = 0

    def _compare(
        self, line: bytes, start: int, *, counted: int, others: set[int] | frozenset[int] = frozenset()
    ) -> Iterator[Piece]:
        """Note a count that does not agree on the last message, or make a piece of it where there is none."""
        text = line.strip(_EDGES).removeprefix(b"\xef\xbb\xbf")
        parts = text[3:].split(text[3:4], 2) if len(text) > 3 else []
        declared = parts[1].strip() if len(parts) > 1 else b""
        if not declared.isdigit() or len(declared) > 9 or int(declared) == counted or int(declared) in others:
            return
        name = text[:3].decode("ascii")
        note = say("count_differs", name=name, declared=int(declared), counted=counted)
        if self._pending is not None and (self._messages_in_batch or self._messages_in_file):
            self._pending = replace(self._pending, note=self._pending.note or note)
        else:
            yield from self._put(start, start + len(line), note)


def _starts(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the name and the offset of each line that begins a message or belongs to an envelope."""
    first = _FIRST_START(data)
    if first is not None:
        yield first[1], 0
    for start in _NEXT_START(data):
        yield start[1], start.start() + 1


def _ends_lines_with_cr(data: bytes, start: int, end: int) -> bool:
    """Tell whether the first line ends with CR alone, so that LF can only stand within a value."""
    first = _LINE.match(data, start, end)
    after = first.end() if first is not None else start
    return data[after : after + 1] == b"\r" and data[after + 1 : after + 2] != b"\n"


class _LineCounter:
    """Counts line ends once, going forward."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0
        self._line = 1

    def at(self, offset: int) -> int:
        """Return the number of the line in which `offset` lies; offsets come in ascending order."""
        part = self._data[self._offset : offset]
        if part:
            self._line += part.count(b"\n") + part.count(b"\r") - part.count(b"\r\n")
            if part[-1:] == b"\r" and self._data[offset : offset + 1] == b"\n":
                self._line -= 1
            self._offset = offset
        return self._line
