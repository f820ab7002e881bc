"""Regular expressions of RE2 (DuckDB) in the words of Java (Spark), so that both match the same texts.

RE2's \\b, \\s and classes know ASCII only, its dot and anchors know the line feed only, and its `$` is the
very end. Java's differ in each of these: next to Chinese text, before a last line end, for a vertical tab.
"""

from __future__ import annotations

import re

from kangshu.lake.errors import QueryRefusedError, say

_BOUNDARY = r"(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))"
_NO_BOUNDARY = r"(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))"
_SPACE = r"\t\n\f\r "
# What stands after a backslash, outside of a class.
_ESCAPES = {
    "b": _BOUNDARY,
    "B": _NO_BOUNDARY,
    "s": f"[{_SPACE}]",
    "S": f"[^{_SPACE}]",
    "d": "[0-9]",
    "D": "[^0-9]",
    "w": "[0-9A-Za-z_]",
    "W": "[^0-9A-Za-z_]",
    "A": r"\A",
    "z": r"\z",
}
_SINGLE = {"a": r"\x07", "f": r"\f", "t": r"\t", "n": r"\n", "r": r"\r", "v": r"\x0B"}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\x0B\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_HEX = re.compile(r"x(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))")
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{2}")
_PROPERTY = re.compile(r"([pP])(?:\{(\^?)(\w+)\}|([A-Z]))")
_REPEAT = re.compile(r"\{\d+(?:,\d*)?\}")
_GROUP = re.compile(r"\(\?(?:P?<\w+>|([a-zA-Z]*)(-[a-zA-Z]+)?([:)]))")
_CATEGORY = re.compile(r"^(?:C|Cc|Cf|Co|Cs|L|Ll|Lm|Lo|Lt|Lu|M|Mc|Me|Mn|N|Nd|Nl|No|P\w?|S\w?|Z\w?)$")


def to_java(pattern: str, *, any_case: bool = False, dot_all: bool = False) -> str:
    """Return the Java pattern that finds what `pattern` finds in RE2.

    Raises:
        QueryRefusedError: it asks for what is not translated (multi-line mode, swapped greed, bytes).
    """
    java = _Reader(pattern, dot_all=dot_all).read()
    return f"(?iu){java}" if any_case else java


class _Reader:
    def __init__(self, pattern: str, *, dot_all: bool) -> None:
        self._rest = pattern
        self._dot_all = dot_all

    def read(self) -> str:
        parts: list[str] = []
        # A flag within a group ends with the group.
        dots: list[bool] = []
        while self._rest:
            character = self._rest[0]
            if character == "\\":
                parts.append(self._escape(in_class=False))
            elif character == "[":
                parts.append(self._class())
            elif character == "(":
                parts.append(self._group(dots))
            else:
                parts.append(self._plain(character, dots))
        return "".join(parts)

    def _plain(self, character: str, dots: list[bool]) -> str:
        if character == "{" and (found := _REPEAT.match(self._rest)):
            return self._take(found[0])
        self._take(character)
        if character == ")" and dots:
            self._dot_all = dots.pop()
        if character == ".":
            return "(?s:.)" if self._dot_all else r"[^\n]"
        if character == "$":
            return r"\z"
        return f"\\{character}" if character in "{}]" else character

    def _group(self, dots: list[bool]) -> str:
        found = _GROUP.match(self._rest)
        if not found:
            dots.append(self._dot_all)
            return self._take("(")
        self._take(found[0])
        on, off, end = found[1] or "", (found[2] or "")[1:], found[3]
        if set(on + off) - set("is"):
            raise QueryRefusedError(say("not_in_spark", what=f"regexp {found[0]}"))
        if end != ")":
            dots.append(self._dot_all)
        if end is None:
            return "("
        if "s" in on + off:
            self._dot_all = "s" in on
        case = ("iu" if "i" in on else "") + ("-iu" if "i" in off else "")
        return f"(?{case}{end}" if case or end == ":" else ""

    def _class(self) -> str:
        negated = self._rest.startswith("[^")
        self._take("[^" if negated else "[")
        parts: list[str] = []
        while self._rest and (self._rest[0] != "]" or not parts):
            if self._rest.startswith("[:") and ":]" in self._rest:
                parts.append(self._posix())
            elif self._rest[0] == "\\":
                parts.append(self._escape(in_class=True))
            else:
                character = self._take(self._rest[0])
                # Java reads `[` and `&&` within a class; an edge's `-` is itself in both.
                parts.append(f"\\{character}" if character in "[]&^" else character)
        self._take("]")
        return f"[{'^' if negated else ''}{''.join(parts)}]"

    def _posix(self) -> str:
        name = self._rest[2 : self._rest.index(":]")]
        self._take(f"[:{name}:]")
        listed = _POSIX.get(name.removeprefix("^"))
        if listed is None:
            raise QueryRefusedError(say("not_in_spark", what="regexp [: :]"))
        return f"[^{listed}]" if name.startswith("^") else listed

    def _escape(self, *, in_class: bool) -> str:
        self._take("\\")
        if not self._rest:
            raise QueryRefusedError(say("not_in_spark", what="regexp \\"))
        if self._rest.startswith("Q"):
            return self._quoted(in_class=in_class)
        if found := _PROPERTY.match(self._rest):
            self._take(found[0])
            return _property(found)
        if found := _HEX.match(self._rest):
            self._take(found[0])
            return f"\\x{{{found[1] or found[2]}}}"
        if found := _OCTAL.match(self._rest):
            self._take(found[0])
            return f"\\x{{{int(found[0], 8):x}}}"
        letter = self._take(self._rest[0])
        if letter in _SINGLE:
            return _SINGLE[letter]
        if letter in _ESCAPES:
            if in_class and letter in "bBAz":
                raise QueryRefusedError(say("not_in_spark", what=f"regexp [\\{letter}]"))
            # A positive class within a class is its letters, a negative one a class of its own.
            return _ESCAPES[letter][1:-1] if in_class and letter in "swd" else _ESCAPES[letter]
        if letter.isalnum():
            raise QueryRefusedError(say("not_in_spark", what=f"regexp \\{letter}"))
        return f"\\{letter}"

    def _quoted(self, *, in_class: bool) -> str:
        self._take("Q")
        text = self._rest.split("\\E", 1)[0]
        self._take(text)
        if self._rest:
            self._take("\\E")
        return "".join(
            f"\\{letter}" if not letter.isalnum() and letter.isascii() else letter for letter in text
        )

    def _take(self, text: str) -> str:
        if not self._rest.startswith(text):
            raise QueryRefusedError(say("not_in_spark", what="regexp"))
        self._rest = self._rest[len(text) :]
        return text


def _property(found: re.Match[str]) -> str:
    name = found[3] or found[4]
    positive = (found[1] == "p") != bool(found[2])
    kind = name if _CATEGORY.match(name) else f"Is{name}"
    return f"\\{'p' if positive else 'P'}{{{kind}}}"
