"""Names within a rule's SQL: `here.x` and `look.x` in other words; texts and comments are left alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

# What holds no names: texts, comments. Then a name of two parts; a third part, or a bracket, would make it
# something else.
_PIECES = re.compile(
    r"""
    (?<!\w)[eE]'(?:[^'\\]|\\.|'')*'
    | '(?:[^']|'')*'
    | --[^\n]*
    | /\*.*?\*/
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | (?<![\w."]) (?P<owner>\w+|"(?:[^"]|"")+") \s*\.\s* (?P<name>\w+|"(?:[^"]|"")+") (?!\s*\()
    | "(?:[^"]|"")*"
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"[^\W\d]\w*")


def rename(sql: str, names: Mapping[tuple[str, str], str]) -> str:
    """Return `sql` with each `owner.name` of `names` (in lower case) in the words that they stand for."""

    def put(match: re.Match[str]) -> str:
        if not match["owner"]:
            return match[0]
        return names.get((_plain(match["owner"]), _plain(match["name"])), match[0])

    return _PIECES.sub(put, sql)


def owners(sql: str) -> set[str]:
    """Return what stands before a point in `sql`, in lower case: `here` in `here.x`."""
    return {_plain(match["owner"]) for match in _PIECES.finditer(sql) if match["owner"]}


def bare(sql: str) -> str:
    """Return `sql` without its texts and comments: what is left are words of the language and names."""
    return _PIECES.sub(lambda match: match[0] if match["owner"] or match[0].startswith('"') else " ", sql)


def words(sql: str) -> set[str]:
    """Return the words and names of `sql` in lower case."""
    return {word.casefold() for word in _WORD.findall(bare(sql))}


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as an SQL text."""
    return "'" + text.replace("'", "''") + "'"


def _plain(name: str) -> str:
    if name.startswith('"'):
        name = name[1:-1].replace('""', '"')
    return name.casefold()
