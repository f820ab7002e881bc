"""A file's bytes to its messages: batches, messages one after the other, frames, what stands between."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from kangshu.kernel.texts import Text
from kangshu.standards.hl7v2.errors import say

_MARK = rb"[!-/:-@\[-`{-~]"
# A line that begins a message or belongs to an envelope. Line ends and frame marks are never the second byte
# of a character, so this may be looked for before decoding.
_START = re.compile(
    rb"(?:\A|(?<=[\r\n\x0b\x1c]))[ \t]*(?:\xef\xbb\xbf)?(MSH|FHS|BHS|BTS|FTS)(?=" + _MARK + rb"|[\r\n]|\Z)"
)
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


@dataclass(slots=True)
class _Batch:
    """What was counted since a header."""

    messages: int = 0
    batches: int = 0
    last: int | None = None
    """The index of the last piece."""


@dataclass(slots=True)
class _Envelope:
    file: _Batch = field(default_factory=_Batch)
    batch: _Batch = field(default_factory=_Batch)


def split(data: bytes) -> Iterator[Piece]:
    """Yield the messages of a file in their order.

    Headers and trailers of batches and files (FHS, BHS, BTS, FTS) are taken away; a count in a trailer that
    does not agree is noted on the last message it counts. Text that is no message (before the first one, or
    after a blank line) is a piece of its own, so that nothing is passed over in silence.
    """
    codec = _WIDE_MARKS.get(data[:2])
    if codec is None:
        yield from _split(data)
        return
    try:
        text = data[2:].decode(codec)
    except UnicodeDecodeError:
        yield Piece(number=1, data=data, place="line 1")
        return
    for piece in _split(text.encode("utf-8")):
        yield replace(piece, data=data[:2] + piece.data.decode("utf-8").encode(codec))


def _split(data: bytes) -> Iterator[Piece]:
    pieces: list[Piece] = []
    envelope = _Envelope()
    starts = list(_START.finditer(data))
    lines = _LineCounter(data)
    _add_text(pieces, data, 0, starts[0].start() if starts else len(data), lines)
    for at, start in enumerate(starts):
        end = starts[at + 1].start() if at + 1 < len(starts) else len(data)
        name = start[1]
        if name == b"MSH":
            _add_message(pieces, data, start.start(), end, lines)
            for counted in (envelope.batch, envelope.file):
                counted.messages += 1
                counted.last = len(pieces) - 1
            continue
        line = _first_line(data[start.start() : end])
        _turn(name, line, envelope, pieces, lines.at(start.start()))
        _add_text(pieces, data, start.start() + len(line), end, lines)
    yield from pieces


def _add_message(pieces: list[Piece], data: bytes, start: int, end: int, lines: _LineCounter) -> None:
    """Add a message, and as another piece what follows it after a blank line and is no segment."""
    for blank in _BLANK.finditer(data, start, end):
        rest = blank.end()
        line = _LINE.match(data, rest, end)
        if (
            line is not None
            and not _SEGMENT_LIKE(line[0])
            and _ends_lines_alike(data[start : blank.start()], blank[0])
        ):
            _add(pieces, data, start, blank.start(), lines)
            _add(pieces, data, rest, end, lines)
            return
    _add(pieces, data, start, end, lines)


def _ends_lines_alike(before: bytes, blank: bytes) -> bool:
    """Tell whether the blank line is made of the message's own line ends, not of those within a value."""
    return b"\r" not in before or b"\r\n" in before or not blank.startswith(b"\n")


def _add_text(pieces: list[Piece], data: bytes, start: int, end: int, lines: _LineCounter) -> None:
    if data[start:end].strip(_EDGES + b"\xef\xbb\xbf"):
        _add(pieces, data, start, end, lines)


def _add(pieces: list[Piece], data: bytes, start: int, end: int, lines: _LineCounter) -> None:
    content = data[start:end]
    begun = len(content) - len(content.lstrip(_EDGES))
    pieces.append(
        Piece(
            number=len(pieces) + 1,
            data=content.strip(b"\r\n\x0b\x1c\0"),
            place=f"line {lines.at(start + begun)}",
        )
    )


def _turn(name: bytes, line: bytes, envelope: _Envelope, pieces: list[Piece], at: int) -> None:
    """Take an envelope's line: begin to count at a header, compare at a trailer."""
    if name == b"FHS":
        envelope.file = _Batch()
        envelope.batch = _Batch()
    elif name == b"BHS":
        envelope.batch = _Batch()
        envelope.file.batches += 1
    elif name == b"BTS":
        _compare(line, (envelope.batch.messages,), envelope.batch, pieces, at)
        envelope.batch = _Batch()
    else:
        # FTS-1 counts batches; some senders count messages there.
        counts = (envelope.file.batches, envelope.file.messages, 1 if envelope.file.messages else 0)
        _compare(line, counts, envelope.file, pieces, at)
        envelope.file = _Batch()


def _compare(line: bytes, counts: tuple[int, ...], batch: _Batch, pieces: list[Piece], at: int) -> None:
    text = line.strip(_EDGES).removeprefix(b"\xef\xbb\xbf")
    parts = text[3:].split(text[3:4]) if len(text) > 3 else []
    declared = parts[1].strip() if len(parts) > 1 else b""
    if not declared.isdigit() or len(declared) > 9 or int(declared) in counts:
        return
    note = say("count_differs", name=text[:3].decode("ascii"), declared=int(declared), counted=counts[0])
    if batch.last is None:
        pieces.append(Piece(number=len(pieces) + 1, data=text, place=f"line {at}", note=note))
    else:
        pieces[batch.last] = replace(pieces[batch.last], note=note)


def _first_line(content: bytes) -> bytes:
    line = _LINE.match(content)
    return line[0] if line else content[:3]


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
