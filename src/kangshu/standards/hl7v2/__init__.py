r"""HL7 v2 messages in ER7 form, versions 2.1 to 2.9: read, split from files, built, acknowledged, framed.

message = parse(data)             # Hl7Error with the place in the sender's notation
check_header(message)
message.text("PID-3(2).4.1"), message.first("PID")[3]
"""

from kangshu.standards.hl7v2.acknowledging import acknowledge, acknowledgement_code, query_segments
from kangshu.standards.hl7v2.building import (
    Builder,
    FieldValue,
    Repetition,
    SegmentLike,
    build,
    serialise,
    to_bytes,
)
from kangshu.standards.hl7v2.errors import (
    CharsetError,
    DelimiterError,
    HeaderError,
    Hl7Error,
    MessageTooLargeError,
    NotHl7Error,
    SegmentError,
    UnspeakableError,
)
from kangshu.standards.hl7v2.framing import FrameFault, FrameFaultKind, FrameReader, serialise_frame
from kangshu.standards.hl7v2.model import NULL, Field, Message, Path, Segment, parse_path
from kangshu.standards.hl7v2.parsing import Limits, check_header, looks_like, parse, parse_header, too_large
from kangshu.standards.hl7v2.splitting import Piece, split
from kangshu.standards.hl7v2.structures import structure_of
from kangshu.standards.hl7v2.syntax import STANDARD, Delimiters

__all__ = [
    "NULL",
    "STANDARD",
    "Builder",
    "CharsetError",
    "DelimiterError",
    "Delimiters",
    "Field",
    "FieldValue",
    "FrameFault",
    "FrameFaultKind",
    "FrameReader",
    "HeaderError",
    "Hl7Error",
    "Limits",
    "Message",
    "MessageTooLargeError",
    "NotHl7Error",
    "Path",
    "Piece",
    "Repetition",
    "Segment",
    "SegmentError",
    "SegmentLike",
    "UnspeakableError",
    "acknowledge",
    "acknowledgement_code",
    "build",
    "check_header",
    "looks_like",
    "parse",
    "parse_header",
    "parse_path",
    "query_segments",
    "serialise",
    "serialise_frame",
    "split",
    "structure_of",
    "to_bytes",
    "too_large",
]
