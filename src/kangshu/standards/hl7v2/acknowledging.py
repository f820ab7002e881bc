"""Acknowledgements in the form of the message's own version, and the answers to queries.

Chapter 2 of the standard: MSH, MSA, and ERR where something is wrong. Up to version 2.4 ERR is one field of
components; from 2.5 it has a place, a code of table 0357, a severity and a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from kangshu.kernel.texts import Text
from kangshu.standards.hl7v2.building import (
    FieldValue,
    SegmentLike,
    as_value,
    write_field,
    write_segment,
)
from kangshu.standards.hl7v2.charsets import codec_of, is_unicode, name_of
from kangshu.standards.hl7v2.model import Message, Segment
from kangshu.standards.hl7v2.syntax import STANDARD, Delimiters, Syntax, syntax_of

_FALLBACK_VERSION = "2.4"
_CONDITIONS = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
_BY_PLACE = {"MSH-7": "101", "MSH-9": "200", "MSH-10": "101", "MSH-11": "202", "MSH-12": "203"}
_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?(?:-(\d+)(?:\((\d+)\))?(?:\.(\d+))?(?:\.(\d+))?)?")
# The structure of an answer where it is not called after the event.
_ANSWER_STRUCTURES = {"K22": "RSP_K21", "K24": "RSP_K23"}
_LONGEST_TEXT = 250  # characters in MSA-3; the standard has 80, and receivers cut it where they must


def acknowledge(
    message: Message | None,
    *,
    code: str,
    control_id: str,
    now: datetime,
    text: Text | None = None,
    place: str | None = None,
    error_code: str | None = None,
    answer_segments: Iterable[SegmentLike] = (),
) -> bytes:
    """Return the acknowledgement of `message` as bytes, in its version, its marks and its character set.

    `code` is what MSA-1 says (`acknowledgement_code` tells which one is asked for); `control_id` is the
    one of the acknowledgement itself. `place` is where something is wrong (`PID-7`, `OBX[3]-5`), `error_code`
    a code of table 0357 that by default follows from the place. `answer_segments` make the acknowledgement of
    a query (QBP) its answer (RSP). `message` may be what `parse_header` made of something that is no message,
    or `None`.

    The text is in both languages where the character set has Chinese characters, else in English.
    """
    charset = message.charset if message is not None else "utf-8"
    if charset.startswith(("utf-16", "utf-32")):
        charset = "utf-8"  # the bytes of wide text may be marks of a frame
    verdict = _Verdict(code=code, text=text, place=place, error_code=error_code)
    answer = tuple(answer_segments)
    try:
        return _written(message, charset, verdict, control_id, now, answer).encode(charset)
    except UnicodeEncodeError:
        # A name in the answer that the asker's character set lacks.
        return _written(message, "utf-8", verdict, control_id, now, answer).encode("utf-8")


def acknowledgement_code(message: Message | None, *, outcome: str) -> str | None:
    """Return the code for MSA-1, or `None` where the sender wants no acknowledgement.

    `outcome` is `accept`, `error` or `reject`. Without MSH-15 and MSH-16 (original mode) the codes are AA, AE
    and AR. In enhanced mode MSH-16 asks for an application acknowledgement and MSH-15 for a commit one (CA,
    CE, CR), each always (AL), never (NE), on errors (ER) or on success (SU). An acknowledgement is sent
    after the commit, so where both are wanted, one application acknowledgement answers both.
    """
    letter = {"accept": "A", "error": "E", "reject": "R"}[outcome]
    if message is None:
        return f"A{letter}"
    accept, application = (message.header.text(n).strip().upper() for n in (15, 16))
    if (not accept and not application) or _is_wanted(application, outcome):
        return f"A{letter}"
    return f"C{letter}" if _is_wanted(accept, outcome) else None


def query_segments(message: Message, *, status: str, hits: int | None = None) -> list[SegmentLike]:
    """Return QAK and QPD for the answer to a query.

    `status` is a code of table 0208: `OK`, `NF` (nothing found), `AE`, `AR`. `hits` is how many were found.
    """
    query = message.first("QPD")
    if query is None:
        return []
    fields: dict[int, FieldValue] = {1: query.text(2), 2: status, 3: as_value(query[1])}
    if hits is not None:
        fields |= {4: str(hits), 5: str(hits), 6: "0"}
    return [("QAK", fields), query]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verdict:
    code: str
    text: Text | None
    place: str | None
    error_code: str | None

    @property
    def accepts(self) -> bool:
        return self.code[1:] == "A"


def _written(
    message: Message | None,
    charset: str,
    verdict: _Verdict,
    control_id: str,
    now: datetime,
    answer: tuple[SegmentLike, ...],
) -> str:
    syntax = syntax_of(_delimiters(message), charset)
    version = (message.version if message is not None else "") or _FALLBACK_VERSION
    said = _said(verdict, charset)
    lines = [
        _header(message, syntax, charset, control_id, now, version, is_answer=bool(answer)),
        _msa(message, syntax, verdict.code, said, version),
    ]
    # Before version 2.5 an ERR has no severity, and would make an error of a hint.
    if not verdict.accepts or (verdict.place is not None and version >= "2.5"):
        lines.append(write_segment("ERR", _err(verdict, version, said), syntax))
    lines += [_rewritten(segment, syntax) for segment in answer]
    return "\r".join([*lines, ""])


def _delimiters(message: Message | None) -> Delimiters:
    """Return the message's marks; the usual ones where it lacks some, without a truncation character."""
    if message is None:
        return STANDARD
    marks = message.delimiters
    if not (marks.escape and marks.repetition and marks.subcomponent):
        return STANDARD
    return replace(marks, truncation="") if marks.truncation else marks


def _header(
    message: Message | None,
    syntax: Syntax,
    charset: str,
    control_id: str,
    now: datetime,
    version: str,
    *,
    is_answer: bool,
) -> str:
    fields = [""] * 19
    fields[:2] = "MSH", syntax.delimiters.encoding_characters
    fields[6] = now.strftime("%Y%m%d%H%M%S%z")
    fields[8] = write_field(_message_type(message, version, is_answer=is_answer), syntax)
    fields[9] = syntax.write(control_id)
    fields[10:12] = "P", version
    fields[17] = name_of(charset)
    if message is not None:
        header = message.header
        fields[2:6] = [_copied(header, n, message, syntax) for n in (5, 6, 3, 4)]
        fields[10] = _copied(header, 11, message, syntax) or "P"
        fields[11] = _copied(header, 12, message, syntax) or version
        fields[16] = _copied(header, 17, message, syntax)
        declared = header.text(18)
        if declared and codec_of(declared) == charset:
            fields[17] = syntax.write(declared)
    return syntax.field.join(fields).rstrip(syntax.field)


def _copied(header: Segment, n: int, message: Message, syntax: Syntax) -> str:
    """Return a field of the message's header as it is written with the marks of the acknowledgement."""
    raw = header.field(n)
    if raw.isalnum() or not raw:
        return raw
    if raw.isprintable() and message.delimiters == syntax.delimiters:
        return raw
    return write_field(as_value(header[n]), syntax)


def _message_type(message: Message | None, version: str, *, is_answer: bool) -> FieldValue:
    event = message.event if message is not None else ""
    if message is not None and is_answer and message.type in ("QBP", "QSB", "QVR"):
        answer = f"K{event[1:]}" if event.startswith("Q") else event
        return ("RSP", answer, _ANSWER_STRUCTURES.get(answer, f"RSP_{answer}"))
    if version < "2.3" or not event:
        return "ACK"
    return ("ACK", event) if version < "2.3.1" else ("ACK", event, "ACK")


def _msa(message: Message | None, syntax: Syntax, code: str, said: str, version: str) -> str:
    control_id = _copied(message.header, 10, message, syntax) if message is not None else ""
    # MSA-3 is withdrawn in version 2.7; before, it is what most programs show.
    parts = ["MSA", code, control_id, syntax.write(said[:_LONGEST_TEXT]) if version < "2.7" else ""]
    return syntax.field.join(parts).rstrip(syntax.field)


def _err(verdict: _Verdict, version: str, said: str) -> dict[int, FieldValue]:
    condition = verdict.error_code or _condition(verdict.place)
    meaning = _CONDITIONS.get(condition, _CONDITIONS["207"])
    location = _location(verdict.place)
    if version < "2.5":
        return {1: (*location[:3], (condition, said or meaning, "HL70357"))}
    severity = "W" if verdict.accepts else "E"
    return {2: location, 3: (condition, meaning, "HL70357"), 4: severity, 8: said}


def _location(place: str | None) -> tuple[str, ...]:
    """Return `PID-3(2).4` as ERL: segment, sequence, field, repetition, component, sub-component."""
    match = _PLACE.fullmatch(place) if place else None
    if match is None:
        return ("",) * 6
    segment, sequence, *rest = (part or "" for part in match.groups())
    return (segment, sequence or "1", *rest)


def _condition(place: str | None) -> str:
    if place is None:
        return "207"
    return _BY_PLACE.get(place, "102")


def _said(verdict: _Verdict, charset: str) -> str:
    """Return the text for the sender; a place that ERR cannot say, as a line, stands before it."""
    if verdict.text is None:
        return ""
    said = str(verdict.text) if is_unicode(charset) else verdict.text.en
    if verdict.place is None or _PLACE.fullmatch(verdict.place):
        return said
    return f"{verdict.place}: {said}"


def _rewritten(segment: SegmentLike, syntax: Syntax) -> str:
    if isinstance(segment, Segment):
        return write_segment(segment.name, {n: as_value(value) for n, value in segment.fields()}, syntax)
    return write_segment(*segment, syntax)


def _is_wanted(condition: str, outcome: str) -> bool:
    if condition in ("ER", "SU"):
        return (condition == "SU") == (outcome == "accept")
    return condition == "AL"
