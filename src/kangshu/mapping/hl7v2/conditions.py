"""Conditions as the v2-to-FHIR guide writes them: `IF PV1-45 NOT VALUED AND MSH-9.2 IN ("A01", "A04")`.

    condition = [ "IF" ] any
    any       = all { "OR" all }
    all       = one { "AND" one }
    one       = "(" any ")" | place test
    test      = [ "IS" ] [ "NOT" ] ( "VALUED" | "NUMERIC" | "EQUALS" text | "IN" "(" text { "," text } ")"
              | "MATCHES" text )
    place     = segment | segment "-" field [ "." component [ "." sub-component ] ] | type "." component ...

A segment without a field is valued where the message has it. Texts are compared without regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from kangshu.kernel.texts import Text
from kangshu.mapping.hl7v2.errors import say
from kangshu.mapping.hl7v2.quantities import is_number

Test: TypeAlias = Callable[[Any], bool]
Reader: TypeAlias = Callable[[str], Callable[[Any], str]]
"""Gives for the name of a place the function that reads its text; KeyError where there is no such place."""

_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(\(|\)|,)|([A-Za-z0-9_$.-]+))')
_WORDS = {"VALUED", "NUMERIC", "EQUALS", "IN", "MATCHES"}


class ConditionError(ValueError):
    """A condition that cannot be read; `text` says why."""

    def __init__(self, text: Text) -> None:
        super().__init__(text)
        self.text = text


def compile_condition(text: str, *, read: Reader) -> Test:
    """Return the test that `text` describes; `read` gives the texts at its places.

    Raises:
        ConditionError: it is no condition, or names a place that there is not.
    """
    parser = _Parser(text, read)
    test = parser.any()
    if parser.peek() is not None:
        raise parser.wrong()
    return test


@dataclass(frozen=True, slots=True)
class Guard:
    """What a condition asks of one place before all else: that its text is one of `texts` (or is none)."""

    place: str
    texts: frozenset[str]
    negated: bool

    def lets(self, text: str) -> bool:
        """Tell whether the condition may hold where the place has this text, in capitals."""
        return (text in self.texts) != self.negated


def guard_of(text: str) -> Guard | None:
    """Return the guard of a condition that begins with EQUALS or IN and has nothing but ANDs around it."""
    words = [quoted if quoted is not None else sign or word for quoted, sign, word in _tokens(text)]
    kinds = [quoted is not None for quoted, _, _ in _tokens(text)]
    plain = [(word or "").upper() if not quoted else "" for word, quoted in zip(words, kinds, strict=True)]
    if plain[:1] == ["IF"]:
        words, kinds, plain = words[1:], kinds[1:], plain[1:]
    depth = 0
    for word in plain:
        depth += (word == "(") - (word == ")")
        if word == "OR" and depth == 0:
            return None
    place, rest = plain[0] if plain else "", [word for word in plain[1:] if word != "IS"]
    negated = rest[:1] == ["NOT"]
    operator = rest[1:2] if negated else rest[:1]
    if operator not in (["EQUALS"], ["IN"]):
        return None
    texts: list[str] = []
    for at in range(1, len(words)):
        if kinds[at]:
            texts.append((words[at] or "").replace('\\"', '"').upper())
        elif plain[at] in (")", "AND"):
            break
    return Guard(place, frozenset(texts), negated)


_GUARD = re.compile(
    r'\s*(?:IF\s+)?[A-Z0-9.-]+\s+(?:IS\s+)?(?:EQUALS\s+"[^"]*"|IN\s*\([^()]*\))\s*(?:AND\s+|\Z)',
    re.IGNORECASE,
)


def without_guard(text: str) -> str | None:
    """Return what a condition asks besides its guard, which is not negated; None where that is all."""
    return _GUARD.sub("", text, count=1) or None


def _tokens(text: str) -> list[tuple[str | None, str | None, str | None]]:
    found: list[tuple[str | None, str | None, str | None]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None:
            raise ConditionError(say("wrong_condition", text=text))
        found.append((token[1], token[2], token[3]))
        at = token.end()
    return found


class _Parser:
    def __init__(self, text: str, read: Reader) -> None:
        self._text, self._read = text, read
        self._tokens = _tokens(text)
        self._at = 0
        if self.peek() == "IF":
            self._at += 1

    def wrong(self) -> ConditionError:
        return ConditionError(say("wrong_condition", text=self._text))

    def peek(self) -> str | None:
        """Return the next word or sign; a quoted text is given as it stands in quotes."""
        if self._at >= len(self._tokens):
            return None
        quoted, sign, word = self._tokens[self._at]
        if quoted is not None:
            return f'"{quoted}"'
        return sign or (word or "").upper()

    def _next(self) -> str:
        token = self.peek()
        if token is None:
            raise self.wrong()
        self._at += 1
        return token

    def any(self) -> Test:
        tests = [self._all()]
        while self.peek() == "OR":
            self._at += 1
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else _any_of(tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self.peek() == "AND":
            self._at += 1
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else _all_of(tests)

    def _one(self) -> Test:
        if self.peek() == "(":
            self._at += 1
            test = self.any()
            self._expect(")")
            return test
        place = self._next()
        try:
            get = self._read(place)
        except KeyError:
            raise ConditionError(say("unknown_place", place=place)) from None
        word = self._next()
        if word == "IS":
            word = self._next()
        negated = word == "NOT"
        test = self._test(get, self._next() if negated else word)
        return _negated(test) if negated else test

    def _test(self, get: Callable[[Any], str], word: str) -> Test:
        if word not in _WORDS:
            raise self.wrong()
        if word == "VALUED":
            return lambda moment: get(moment) != ""
        if word == "NUMERIC":
            return lambda moment: is_number(get(moment))
        if word == "EQUALS":
            wanted = self._quoted().upper()
            return lambda moment: get(moment).upper() == wanted
        if word == "MATCHES":
            return self._pattern(get)
        options = self._options()
        return lambda moment: get(moment).upper() in options

    def _pattern(self, get: Callable[[Any], str]) -> Test:
        pattern = self._quoted()
        try:
            match = re.compile(pattern).fullmatch
        except re.error:
            raise self.wrong() from None
        return lambda moment: match(get(moment)) is not None

    def _options(self) -> frozenset[str]:
        self._expect("(")
        options = {self._quoted().upper()}
        while self.peek() == ",":
            self._at += 1
            options.add(self._quoted().upper())
        self._expect(")")
        return frozenset(options)

    def _quoted(self) -> str:
        token = self._next()
        if not token.startswith('"'):
            raise self.wrong()
        return token[1:-1].replace('\\"', '"')

    def _expect(self, sign: str) -> None:
        if self._next() != sign:
            raise self.wrong()


def _any_of(tests: list[Test]) -> Test:
    if len(tests) == 2:
        first, second = tests
        return lambda moment: first(moment) or second(moment)
    return lambda moment: any(test(moment) for test in tests)


def _all_of(tests: list[Test]) -> Test:
    if len(tests) == 2:
        first, second = tests
        return lambda moment: first(moment) and second(moment)
    return lambda moment: all(test(moment) for test in tests)


def _negated(test: Test) -> Test:
    return lambda moment: not test(moment)
