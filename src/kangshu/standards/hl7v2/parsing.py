"""Bytes to a `Message`, or an `Hl7Error` with the place; what the header must hold is checked apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kangshu.standards.hl7v2.charsets import Decoded, decode, first_line
from kangshu.standards.hl7v2.errors import (
    DelimiterError,
    HeaderError,
    Hl7Error,
    MessageTooLargeError,
    NotHl7Error,
    SegmentError,
    say,
)
from kangshu.standards.hl7v2.framing import DEFAULT_FRAME_BYTES
from kangshu.standards.hl7v2.model import Message, Segment
from kangshu.standards.hl7v2.syntax import Syntax, delimiters_of, syntax_of

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one message may be; the numbers are arbitrary, far beyond what hospitals send."""

    bytes: int = DEFAULT_FRAME_BYTES
    segments: int = 50_000
    marks_in_segment: int = 100_000
    """Delimiters in one segment: each may become a value."""
    marks: int = 2_000_000
    """Delimiters in the message."""


DEFAULT_LIMITS = Limits()

_MARGIN = " \t\x0b\x1c\ufeff"
_EDGES = b"\x0b\x1c\r\n\t \0"
_SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}").fullmatch
_NEARLY_A_NAME = re.compile(r"[A-Z][A-Z0-9]{0,3}").fullmatch
_COMMON_NAMES = """
    MSH MSA ERR EVN PID PD1 NK1 PV1 PV2 ROL DB1 OBX AL1 DG1 DRG PR1
    GT1 IN1 IN2 IN3 MRG ORC OBR NTE SPM TQ1 TQ2 RXO RXR RXE RXC RXD
    RXA SCH RGS AIS AIG AIL AIP TXA QPD RCP QAK QRD QRF DSC SFT FT1
"""
_COMMON = frozenset(_COMMON_NAMES.split())
_VERSION = re.compile(r"2\.[1-9](\.[1-9])?").fullmatch
_NEEDS_TIME = "2.4"  # the first version in which MSH-7 is required
_LONGEST_CONTROL_ID = 250  # the standard's longest is 199 (version 2.7); an index must hold it
_FIRST = re.compile(
    rb"(?:^|[\r\n\x0b])[ \t]*(?:MSH|FHS|BHS)([!-/:-@\[-`{-~])([!-/:-@\[-`{-~]{1,8}?)(?:\1|[\r\n]|\Z)"
).search
_LOOK = 64 * KIB


def looks_like(data: bytes) -> bool:
    """Tell from the beginning whether `data` are HL7 v2 messages in ER7 form, a batch or a single one."""
    head = data[:_LOOK]
    if head[:4].count(0):
        head = head.replace(b"\0", b"").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    return _FIRST(head.removeprefix(b"\xef\xbb\xbf")) is not None


def parse(data: bytes, *, charset: str | None = None, limits: Limits = DEFAULT_LIMITS) -> Message:
    """Return the one message in `data`.

    Segments end with CR, LF or CRLF; the marks of MLLP around the message and blank lines are passed over.
    A line that begins like no segment continues the value before it (text with raw line ends). `charset` is
    what came with the bytes and takes the place of MSH-18. Nothing is said yet about what the header holds:
    see `check_header`.

    Raises:
        Hl7Error: what stands there is not one message; `place` says where.
    """
    if len(data) > limits.bytes:
        raise too_large(limit=limits.bytes)
    decoded = decode(_trimmed(data), charset=charset)
    text = decoded.text
    if text[:3] != "MSH" or len(text) < 5:
        raise _no_message(text)
    if "\n" in text:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    if text.count("\r") > limits.segments:
        place = f"line {limits.segments + 1}"
        raise MessageTooLargeError(say("segments", limit=limits.segments), place=place)
    lines = text.split("\r")
    if len(text) > limits.marks_in_segment:
        _check_marks(lines, limits)
    syntax = _syntax_of(lines[0], decoded.codec)
    by_name, segments = _segments(lines, syntax)
    return Message(by_name, segments, decoded.codec, decoded.note, syntax)


def parse_header(data: bytes) -> Message | None:
    """Return MSH alone as a message, for the acknowledgement of something that `parse` refuses.

    Characters that are text in no character set are replaced. `None` where not even MSH can be read.
    """
    line = first_line(_trimmed(data[:_LOOK]))
    try:
        decoded = decode(line)
    except Hl7Error:
        decoded = Decoded(text=line.decode("ascii", "replace"), codec="ascii")
    if decoded.text[:3] != "MSH":
        return None
    try:
        syntax = _syntax_of(decoded.text, decoded.codec)
    except DelimiterError:
        return None
    header = Segment("MSH", decoded.text, 1, 1, syntax)
    return Message({"MSH": [header]}, (header,), decoded.codec, decoded.note, syntax)


def check_header(message: Message) -> None:
    """Check that MSH holds what every message needs: type, control id, a known version, the time.

    Raises:
        HeaderError: `place` is MSH-9, MSH-10, MSH-12 or MSH-7.
    """
    if not message.type:
        raise HeaderError(say["message_type"], place="MSH-9")
    control_id = message.control_id
    if not control_id.strip():
        raise HeaderError(say["control_id"], place="MSH-10")
    if len(control_id) > _LONGEST_CONTROL_ID:
        raise HeaderError(say("control_id_long", limit=_LONGEST_CONTROL_ID), place="MSH-10", condition="102")
    version = message.version
    if not version:
        raise HeaderError(say["version_missing"], place="MSH-12")
    if not _VERSION(version):
        raise HeaderError(say["version"], place="MSH-12", condition="203")
    if not message.sent_at and version >= _NEEDS_TIME:
        raise HeaderError(say["message_time"], place="MSH-7")


def too_large(*, limit: int) -> MessageTooLargeError:
    """Return the refusal of a message of more than `limit` bytes."""
    return MessageTooLargeError(say("too_large", limit=f"{limit / MIB:g}"), place="MSH")


def is_segment(line: str, field: str) -> bool:
    """Tell whether `line` begins with the name of a segment."""
    name = line[:3]
    if name not in _COMMON and not _SEGMENT_NAME(name):
        return False
    return line[3:4] == field or not line[3:].strip()


def _trimmed(data: bytes) -> bytes:
    """Return `data` without frame marks and blanks at its edges; of wide text they are halves of units."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or 0 in data[:4]:
        return data
    return data.lstrip(_EDGES).rstrip(b"\x0b\x1c\r\n\0").removeprefix(b"\xef\xbb\xbf").lstrip(_EDGES)


def _no_message(text: str) -> Hl7Error:
    if not text.strip():
        return NotHl7Error(say["empty"], place="MSH")
    if text[:3] in ("FHS", "BHS", "BTS", "FTS"):
        return NotHl7Error(say["batch"], place=text[:3])
    if text[:3] == "MSH":
        return DelimiterError(say["encoding_characters"], place="MSH-2")
    return NotHl7Error(say["no_header"], place="line 1")


def _syntax_of(header: str, codec: str) -> Syntax:
    field = header[3:4]
    return syntax_of(delimiters_of(field, header[4:].split(field, 1)[0] if field else ""), codec)


def _segments(lines: list[str], syntax: Syntax) -> tuple[dict[str, list[Segment]], tuple[Segment, ...]]:
    """Return the segments by name and in their order."""
    field = syntax.field
    segments: list[Segment] = []
    by_name: dict[str, list[Segment]] = {}
    tail: list[str] = []  # lines that continue the segment before them; an empty one was blank
    blank = 0
    number = 0
    for at, line in enumerate(lines):
        name = line[:3]
        if name not in _COMMON or line[3:4] != field:
            if not line or line.isspace():
                blank += 1
                continue
            begun = line.lstrip(_MARGIN)
            if not is_segment(begun, field):
                _check_continues(line, field, segments=number, at=at)
                tail += [""] * blank + [line]
                blank = 0
                continue
            line, name = begun, begun[:3]
        if tail:
            segments[-1].raw = _continued(segments[-1].raw, tail, syntax)
            tail = []
        blank = 0
        number += 1
        alike = by_name.get(name)
        if alike is None:
            segment = Segment(name, line, number, 1, syntax)
            by_name[name] = [segment]
        else:
            segment = Segment(name, line, number, len(alike) + 1, syntax)
            alike.append(segment)
        segments.append(segment)
    if tail:
        segments[-1].raw = _continued(segments[-1].raw, tail, syntax)
    if len(by_name["MSH"]) > 1:
        raise NotHl7Error(say["several"], place="MSH[2]")
    return by_name, tuple(segments)


def _check_continues(line: str, field: str, *, segments: int, at: int) -> None:
    """Refuse a line that cannot belong to the value before it: after MSH, or with a wrong segment name."""
    word, mark, _ = line.strip().partition(field)
    if segments < 2 or (mark and (_NEARLY_A_NAME(word) or word.upper() in _COMMON)):
        raise SegmentError(say["no_segment"], place=f"line {at + 1}")


def _continued(raw: str, tail: list[str], syntax: Syntax) -> str:
    """Return a segment with the lines after it as line ends that the sender should have escaped."""
    escape = syntax.delimiters.escape
    end = f"{escape}X0A{escape}" if escape else "\n"
    return end.join([raw, *tail])


def _check_marks(lines: list[str], limits: Limits) -> None:
    marks = set(lines[0][3:9])
    total = 0
    for at, line in enumerate(lines):
        count = sum(map(line.count, marks))
        total += count
        if count > limits.marks_in_segment or total > limits.marks:
            raise MessageTooLargeError(say("marks", limit=limits.marks_in_segment), place=f"line {at + 1}")
