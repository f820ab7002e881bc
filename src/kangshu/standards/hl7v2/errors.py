"""What can be wrong with a message; `place` is in the sender's notation: `MSH-9`, `OBX[3]-5`, `line 4`.

KangshuError
└── Hl7Error
    ├── NotHl7Error         there is no message in these bytes, or a batch, or several
    ├── DelimiterError      MSH-1 and MSH-2 do not say how to read the rest
    ├── HeaderError         MSH lacks what every message needs
    ├── SegmentError        a line that is no segment
    ├── CharsetError        bytes that are text in no character set
    ├── MessageTooLargeError  beyond one of the `Limits`
    └── UnspeakableError    a value that cannot be written (a mistake of the program that writes)

`condition` is the code of table 0357 that an acknowledgement gives for the failure. No text, place or chained
exception holds a value of the message.
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import Text, load_catalogue

say = load_catalogue(__package__ or __name__)


class Hl7Error(KangshuError):
    """The sender corrects the message; it is refused as a whole."""

    kind: ClassVar[Kind] = Kind.INCORRECT
    condition: ClassVar[str] = "207"

    def __init__(self, text: Text, *, place: str | None = None, condition: str | None = None) -> None:
        super().__init__(text, place=place)
        self.error_code = condition or self.condition
        """The code of table 0357 for ERR-3."""


class NotHl7Error(Hl7Error):
    """Send one HL7 v2 message in ER7 form, beginning with MSH."""

    condition: ClassVar[str] = "100"


class DelimiterError(Hl7Error):
    """Give MSH-1 and MSH-2 distinct punctuation marks."""

    condition: ClassVar[str] = "102"


class HeaderError(Hl7Error):
    """Fill the field of MSH that `place` names."""

    condition: ClassVar[str] = "101"


class SegmentError(Hl7Error):
    """Begin each line with a segment name and the field separator; escape line ends inside values."""

    condition: ClassVar[str] = "100"


class CharsetError(Hl7Error):
    """Send the text in the character set that MSH-18 declares, and cut no character in half."""

    condition: ClassVar[str] = "102"


class MessageTooLargeError(Hl7Error):
    """Send less in one message."""


class UnspeakableError(Hl7Error):
    """Write text that the delimiters and the character set can carry."""

    kind: ClassVar[Kind] = Kind.FAULT
