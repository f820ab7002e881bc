"""How one message is written: its delimiters, its escapes and the codec for bytes in escapes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from kangshu.standards.hl7v2.errors import DelimiterError, say

# Stands for a delimiter that the message does not have: text never holds it (see charsets).
ABSENT = "\0"
_MOST_SPACES = 200  # arbitrary: what `\.sp9999999\` may grow to
_FORMATS_WITH_LINE = frozenset({".br", ".ce"})


def _is_mark(mark: str) -> bool:
    return len(mark) == 1 and "!" <= mark <= "~" and not mark.isalnum()


@dataclass(frozen=True, kw_only=True, slots=True)
class Delimiters:
    """The marks that MSH-1 and MSH-2 declare; an empty one is not used in the message.

    Raises:
        DelimiterError: a mark is not one ASCII punctuation character, or two are the same.
    """

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""

    def __post_init__(self) -> None:
        marks = [mark for mark in (self.field, *self._in_order) if mark]
        if not _is_mark(self.field):
            raise DelimiterError(say["field_separator"], place="MSH-1")
        if not self.component or not all(map(_is_mark, marks)) or len(set(marks)) < len(marks):
            raise DelimiterError(say["encoding_characters"], place="MSH-2")

    @property
    def _in_order(self) -> tuple[str, ...]:
        return (self.component, self.repetition, self.escape, self.subcomponent, self.truncation)

    @property
    def encoding_characters(self) -> str:
        """MSH-2 as it is written."""
        return "".join(self._in_order)


STANDARD = Delimiters()


@lru_cache(maxsize=256)
def delimiters_of(field: str, encoding_characters: str) -> Delimiters:
    """Return the delimiters that MSH-1 and MSH-2 declare.

    MSH-2 may be short (version 2.1 and sloppy senders) or carry the truncation character of version 2.7;
    marks beyond it have no meaning and are passed over. A doubled escape character comes from programs
    that escape their own source and is taken as one.

    Raises:
        DelimiterError: the marks are not distinct punctuation characters.
    """
    marks = encoding_characters
    if len(marks) > 3 and marks[2] == marks[3]:
        marks = marks[:3] + marks[4:]
    component, repetition, escape, subcomponent, truncation = [*marks[:5], "", "", "", "", ""][:5]
    return Delimiters(
        field=field,
        component=component,
        repetition=repetition,
        escape=escape,
        subcomponent=subcomponent,
        truncation=truncation,
    )


class Syntax:
    """The delimiters in the form that reading and writing use; shared by all messages written alike."""

    __slots__ = (
        "_codec",
        "_marks",
        "_sequences",
        "_written",
        "component",
        "delimiters",
        "escape",
        "field",
        "repetition",
        "subcomponent",
        "within",
    )

    def __init__(self, delimiters: Delimiters, codec: str) -> None:
        self.delimiters = delimiters
        self.field = delimiters.field
        self.component = delimiters.component
        self.repetition = delimiters.repetition or ABSENT
        self.escape = delimiters.escape or ABSENT
        self.subcomponent = delimiters.subcomponent or ABSENT
        inner = (self.component, self.repetition, self.subcomponent, self.escape)
        self.within = re.compile("[" + re.escape("".join(inner)) + "]").search
        """Finds a mark inside a field; most fields have none."""
        self._codec = codec
        self._marks = _meanings(delimiters)
        self._sequences = _sequence_pattern(self.escape, self._marks)
        self._written = _writing_table(delimiters)

    def unescape(self, value: str) -> str:
        r"""Return `value` with its escape sequences replaced by what they mean.

        Marks for emphasis (`\H\`, `\N\`) go; `\.br\` and its like become line ends and blanks; bytes
        (`\X..\`) are text in the message's character set. What is defined by a sender (`\Z..\`), switches
        of character sets (`\C..\`, `\M..\`) and what is no sequence at all stay as written: nothing is lost.
        """
        return self._sequences.sub(self._meaning, value)

    def write(self, value: str) -> str:
        """Return `value` with marks and control characters escaped, so that reading gives it back."""
        return value.translate(self._written)

    def values(self, raw: str) -> tuple[tuple[tuple[str, ...], ...], ...]:
        """Return the repetitions of a field, each a tuple of components of sub-components; `()` if empty."""
        if not raw:
            return ()
        if not self.within(raw):
            return (((raw,),),)
        # Lists inside, because `tuple` takes a list in half the time of a generator.
        component, repetitions = self.component, raw.split(self.repetition)
        if self.escape in raw:
            return tuple([tuple([self._parts(part) for part in one.split(component)]) for one in repetitions])
        sub = self.subcomponent
        if sub in raw:
            return tuple(
                [tuple([tuple(part.split(sub)) for part in one.split(component)]) for one in repetitions]
            )
        return tuple([tuple([(part,) for part in one.split(component)]) for one in repetitions])

    def _parts(self, component: str) -> tuple[str, ...]:
        return tuple([self.unescape(part) for part in component.split(self.subcomponent)])

    def _meaning(self, match: re.Match[str]) -> str:
        sequence: str = match[1]
        if sequence in self._marks:
            return self._marks[sequence]
        if sequence[0] == "X":
            return self._bytes(match[0])
        return _format(sequence.lower())

    def _bytes(self, sequences: str) -> str:
        r"""Return the text of a run of `\X..\`; a character may be spread over several of them."""
        digits = sequences.split(self.escape + "X")[1:]
        if any(len(part.removesuffix(self.escape)) % 2 for part in digits):
            return sequences  # half a byte: no sequence
        octets = bytes.fromhex("".join(digits).replace(self.escape, ""))
        if octets.isascii():
            return octets.decode("ascii").replace("\0", "")
        for codec in (self._codec, "utf-8", "gb18030"):
            try:
                return octets.decode(codec).replace("\0", "")
            except UnicodeDecodeError:
                continue
        return octets.decode("latin-1").replace("\0", "")


@lru_cache(maxsize=256)
def syntax_of(delimiters: Delimiters, codec: str) -> Syntax:
    """Return the syntax for `delimiters` with bytes in escapes read by `codec`."""
    return Syntax(delimiters, codec)


def _meanings(delimiters: Delimiters) -> dict[str, str]:
    marks = {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent or "&",
        "R": delimiters.repetition or "~",
        "E": delimiters.escape,
        "H": "",
        "N": "",
    }
    return {**marks, "P": delimiters.truncation} if delimiters.truncation else marks


def _sequence_pattern(escape: str, marks: dict[str, str]) -> re.Pattern[str]:
    mark = re.escape(escape)
    hexadecimal = rf"X[0-9A-Fa-f]+(?:{mark}{mark}X[0-9A-Fa-f]+)*+"
    command = r"\.(?i:br|sp|ce|in|ti|fi|nf|sk)[+-]?[0-9]{0,9}"
    return re.compile(rf"{mark}([{''.join(marks)}]|{hexadecimal}|{command}){mark}")


def _format(command: str) -> str:
    """Return what a formatting command of FT text leaves in plain text."""
    name, argument = command[:3], command[3:].lstrip("+-")
    if name in _FORMATS_WITH_LINE:
        return "\n"
    if name == ".sp":
        return "\n" * min(int(argument or 1), _MOST_SPACES)
    if name == ".sk":
        return " " * min(int(argument or 1), _MOST_SPACES)
    return ""


def _writing_table(delimiters: Delimiters) -> dict[int, str]:
    escape = delimiters.escape
    if not escape:
        return {}
    letters = {
        delimiters.field: "F",
        delimiters.component: "S",
        delimiters.repetition: "R",
        delimiters.subcomponent: "T",
        escape: "E",
        delimiters.truncation: "P",
    }
    controls = {code: f"{escape}X{code:02X}{escape}" for code in (*range(1, 0x20), 0x7F) if code != 0x09}
    marks = {ord(mark): f"{escape}{letter}{escape}" for mark, letter in letters.items() if mark}
    return {0: "", **controls, **marks}
