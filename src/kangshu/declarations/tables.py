"""TOML tables that remember their lines, so that a wrong value is refused where it stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from kangshu.declarations.errors import DeclarationError, say
from kangshu.kernel.texts import Text

_Member = TypeVar("_Member", bound=StrEnum)
_HEADER = re.compile(r"^\s*\[\[?\s*([A-Za-z0-9_.-]+)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=")
_ABSENT = object()

_Places: TypeAlias = tuple[tuple[int, Mapping[str, int]], ...]
"""For each occurrence of a table its line and its keys' lines."""


@dataclass
class Table:
    """One `[table]` of a file; every value asked for is checked, what was not asked for is refused."""

    path: Path
    line: int
    values: Mapping[str, Any]
    lines: Mapping[str, int]
    name: str = ""
    end: int = 1 << 62
    positions: Mapping[str, _Places] = field(default_factory=dict[str, "_Places"])
    _asked: set[str] = field(default_factory=set[str])

    def wrong(self, key: str, text: Text) -> DeclarationError:
        """Return the error that points at `key` (or at the table's head where the key is missing)."""
        return DeclarationError(text, path=self.path, line=self.line_of(key))

    def line_of(self, key: str) -> int:
        """Return the line on which `key` stands, be it the head of a table."""
        if key in self.lines:
            return self.lines[key]
        return next((line for line, _ in self._places(key)), self.line)

    def has(self, key: str) -> bool:
        """Return whether `key` is given."""
        return key in self.values

    def string(self, key: str, *, default: str | None = None) -> str:
        """Return a string; without a default it must be there and not be empty."""
        value = self._value(key, _ABSENT if default is None else default)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise self.wrong(key, say("wrong_type", key=key, expected="文字", expected_en="a string"))
        return value

    def optional_string(self, key: str) -> str | None:
        """Return a string or nothing."""
        return self.string(key) if self.has(key) else None

    def text(self, key: str, *, default: str | None = None) -> Text:
        """Return the pair `key` (Chinese) and `key_en`."""
        chinese = self.string(key, default=default)
        return Text(zh=chinese, en=self.string(f"{key}_en", default=chinese))

    def optional_whole(self, key: str) -> int | None:
        """Return a whole number or nothing."""
        value = self._value(key, None)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self.wrong(key, say("wrong_type", key=key, expected="整数", expected_en="a whole number"))
        return value

    def optional_number(self, key: str) -> float | None:
        """Return a number or nothing."""
        value = self._value(key, None)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise self.wrong(key, say("wrong_type", key=key, expected="数值", expected_en="a number"))
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.wrong(
                key, say("wrong_type", key=key, expected="true 或 false", expected_en="true or false")
            )
        return value

    def day(self, key: str) -> date:
        """Return a date, which must be there."""
        value = self._value(key, _ABSENT)
        if type(value) is not date:
            raise self.wrong(key, say("wrong_type", key=key, expected="日期", expected_en="a date"))
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, empty where it is not given."""
        value = self._value(key, [])
        if not isinstance(value, list) or not _are_strings(cast(list[Any], value)):
            raise self.wrong(
                key, say("wrong_type", key=key, expected="文字列表", expected_en="a list of strings")
            )
        return tuple(cast(list[str], value))

    def children(self, key: str) -> tuple[Table, ...]:
        """Return every `[[name.key]]` of this table in order, none where there is none."""
        values = self._value(key, [])
        if not isinstance(values, list) or not all(isinstance(one, dict) for one in cast(list[Any], values)):
            raise self.wrong(key, say("wrong_type", key=key, expected="表的列表", expected_en="tables"))
        places = [*self._places(key)][: len(cast(list[Any], values))]
        ends = [line for line, _ in places[1:]]
        # Tables written inline have no place of their own: theirs is where the list stands.
        missing = len(cast(list[Any], values)) - len(places)
        places += [(self.line_of(key), dict[str, int]())] * missing
        ends += [self.end] * (len(places) - len(ends))
        return tuple(
            self._inner(key, value, line=line, lines=keys, end=end)
            for value, (line, keys), end in zip(cast(list[dict[str, Any]], values), places, ends, strict=True)
        )

    def child(self, key: str) -> Table | None:
        """Return the `[name.key]` of this table, or None where there is none."""
        if not self.has(key):
            return None
        value = self._value(key, None)
        if not isinstance(value, dict):
            raise self.wrong(key, say("wrong_type", key=key, expected="表", expected_en="a table"))
        line, keys = next(iter(self._places(key)), (self.line_of(key), dict[str, int]()))
        return self._inner(key, cast(dict[str, Any], value), line=line, lines=keys, end=self.end)

    def all_keys(self) -> tuple[str, ...]:
        """Return the names of all keys, which count as asked for."""
        self._asked.update(self.values)
        return tuple(self.values)

    def lists(self, key: str) -> tuple[tuple[str, ...], ...]:
        """Return a list of lists of strings, empty where it is not given."""
        value = self._value(key, [])
        inner = cast(list[Any], value) if isinstance(value, list) else [None]
        if not all(isinstance(one, list) and _are_strings(cast(list[Any], one)) for one in inner):
            raise self.wrong(
                key,
                say(
                    "wrong_type", key=key, expected="文字列表的列表", expected_en="a list of lists of strings"
                ),
            )
        return tuple(tuple(cast(list[str], one)) for one in inner)

    def names(self, key: str, *, known: Iterable[str]) -> tuple[str, ...]:
        """Return a list of strings each of which is one of `known`."""
        names = self.strings(key)
        for name in names:
            if name not in set(known):
                raise self.wrong(key, say("unknown_field", name=name))
        return names

    def member(self, key: str, kind: type[_Member], *, default: _Member | None = None) -> _Member:
        """Return a member of the enumeration `kind`."""
        value = self._value(key, _ABSENT if default is None else default)
        try:
            return kind(value)
        except ValueError:
            known = ", ".join(kind)
            raise self.wrong(key, say("unknown_value", key=key, value=value, known=known)) from None

    def refuse_unknown(self, *, but: Iterable[str] = ()) -> None:
        """Refuse a key that nobody asked for, but for sub-tables in `but`: most often it is misspelt."""
        for key in self.values:
            if key not in self._asked and key.removesuffix("_en") not in self._asked and key not in but:
                known = ", ".join(sorted(self._asked))
                raise self.wrong(key, say("unknown_key", key=key, known=known))

    def _places(self, key: str) -> _Places:
        places = self.positions.get(f"{self.name}.{key}" if self.name else key, ())
        return tuple(place for place in places if self.line <= place[0] < self.end)

    def _inner(
        self, key: str, value: Mapping[str, Any], *, line: int, lines: Mapping[str, int], end: int
    ) -> Table:
        return Table(
            path=self.path,
            line=line,
            values=value,
            lines=lines,
            name=f"{self.name}.{key}" if self.name else key,
            end=end,
            positions=self.positions,
        )

    def _value(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        if key in self.values:
            return self.values[key]
        if default is _ABSENT:
            raise self.wrong(key, say("missing_key", key=key))
        return default


@dataclass(frozen=True)
class Source:
    """One TOML file with the lines of its tables and keys."""

    path: Path
    content: Mapping[str, Any]
    positions: Mapping[str, _Places]

    def whole(self) -> Table:
        """Return the keys before the first table header."""
        line, keys = self.positions[""][0]
        return Table(path=self.path, line=line, values=self.content, lines=keys, positions=self.positions)

    def names(self) -> tuple[str, ...]:
        """Return the names of the tables."""
        return tuple(self.content)

    def table(self, name: str) -> Table:
        """Return the single `[name]`, which must be there."""
        value = self.content.get(name)
        if not isinstance(value, dict):
            raise DeclarationError(say("missing_key", key=f"[{name}]"), path=self.path, line=1)
        line, keys = self.positions[name][0]
        return Table(
            path=self.path,
            line=line,
            values=cast(dict[str, Any], value),
            lines=keys,
            name=name,
            positions=self.positions,
        )

    def tables(self, name: str) -> tuple[Table, ...]:
        """Return every `[[name]]` in order."""
        return self.whole().children(name)

    def nested(self, name: str, inner: str) -> tuple[Table | None, ...]:
        """Return for every `[[name]]` in order its `[name.inner]`, or None where it has none."""
        tables = self.tables(name)
        places = self.positions.get(f"{name}.{inner}", ())
        ends = [*(table.line for table in tables[1:]), 1 << 62]
        found: list[Table | None] = []
        for table, end in zip(tables, ends, strict=False):
            value = table.values.get(inner)
            if not isinstance(value, dict):
                found.append(None)
                continue
            near = [place for place in places if table.line < place[0] < end]
            line, keys = near[0] if near else (table.line, dict[str, int]())
            found.append(Table(path=self.path, line=line, values=cast(dict[str, Any], value), lines=keys))
        return tuple(found)


def read_source(path: Path) -> Source:
    """Return the TOML file `path`.

    Raises:
        DeclarationError: there is no such file, or it is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DeclarationError(say("missing_key", key=path.name), path=path, line=1) from None
    return parse_source(text, path=path)


def parse_source(text: str, *, path: Path) -> Source:
    """Return `text` as the TOML of a file called `path`.

    Raises:
        DeclarationError: it is not TOML.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise DeclarationError(say("not_toml", reason=str(error)), path=path, line=line) from error
    return Source(path=path, content=content, positions=_positions(text))


def _are_strings(values: list[Any]) -> bool:
    return all(isinstance(one, str) for one in values)


def _positions(text: str) -> dict[str, _Places]:
    """Return for each table name the line of each occurrence and of its keys.

    Lines inside a multi-line string may look like keys; the first line of a key wins, which is right
    for every key that stands before such a string and harmless for the others.
    """
    found: dict[str, list[tuple[int, dict[str, int]]]] = {"": [(1, {})]}
    current = found[""][0][1]
    inside = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if inside:
            inside = "" if inside in line else inside
            continue
        if header := _HEADER.match(line):
            current = dict[str, int]()
            found.setdefault(header[1], []).append((number, current))
        elif key := _KEY.match(line):
            current.setdefault(key[1], number)
            for quote in ('"""', "'''"):
                if line.count(quote) == 1:
                    inside = quote
    return {name: tuple(places) for name, places in found.items()}
