"""DuckDB's types as words, what they become in Spark, and the type that several have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

Kind: TypeAlias = str | None
"""A DuckDB type as it prints itself (`BIGINT`, `DECIMAL(12,2)`, `VARCHAR[]`); `NULL`; None where unknown."""

BOOLEAN, BIGINT, INTEGER, DOUBLE = "BOOLEAN", "BIGINT", "INTEGER", "DOUBLE"
VARCHAR, DATE, TIMESTAMP, INTERVAL, NULL = "VARCHAR", "DATE", "TIMESTAMP", "INTERVAL", "NULL"

_WIDTHS = {
    "TINYINT": 3,
    "UTINYINT": 3,
    "SMALLINT": 5,
    "USMALLINT": 5,
    "INTEGER": 10,
    "UINTEGER": 10,
    "BIGINT": 19,
    "UBIGINT": 20,
    "HUGEINT": 38,
}
_ORDER = list(_WIDTHS)
_SPARK = {
    "TINYINT": "TINYINT",
    "SMALLINT": "SMALLINT",
    "INTEGER": "INT",
    "BIGINT": "BIGINT",
    "HUGEINT": "DECIMAL(38,0)",
    "UTINYINT": "SMALLINT",
    "USMALLINT": "INT",
    "UINTEGER": "BIGINT",
    "UBIGINT": "DECIMAL(20,0)",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
    "VARCHAR": "STRING",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP_NTZ",
    "BOOLEAN": "BOOLEAN",
}
# Other words that DuckDB has for a type, as sqlglot leaves them.
_ALIASES = {
    "INT": "INTEGER",
    "INT128": "HUGEINT",
    "TEXT": "VARCHAR",
    "STRING": "VARCHAR",
    "CHAR": "VARCHAR",
    "REAL": "FLOAT",
    "TIMESTAMPNTZ": "TIMESTAMP",
    "DATETIME": "TIMESTAMP",
    "BOOL": "BOOLEAN",
    "NUMERIC": "DECIMAL",
    "DECIMAL": "DECIMAL(18,3)",
    "UINT": "UINTEGER",
}
_DECIMAL = re.compile(r"^DECIMAL\((\d+), ?(\d+)\)$")


class Term(NamedTuple):
    """An expression in Spark's SQL, ready to stand anywhere, and the type that DuckDB gives it."""

    sql: str
    kind: Kind = None


class Constant(str):
    """The SQL of a string literal, which knows its text."""

    text: str

    def __new__(cls, text: str) -> Constant:
        """Make the literal of `text`."""
        self = super().__new__(cls, literal(text))
        self.text = text
        return self


def literal(text: str) -> str:
    """Return `text` as a string literal of Spark's."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
    return f"'{escaped}'"


def constant(term: object) -> str | None:
    """Return the text of a string literal, None for anything else."""
    return term.sql.text if isinstance(term, Term) and isinstance(term.sql, Constant) else None


def canonical(word: str) -> str:
    """Return DuckDB's own word for a type that may be written in several ways."""
    upper = word.upper().replace(", ", ",")
    if upper.endswith("[]"):
        return canonical(upper[:-2]) + "[]"
    named = _ALIASES.get(upper, upper)
    return re.sub(r"^(VARCHAR|TEXT|CHAR)\(\d+\)$", VARCHAR, named).replace("NUMERIC(", "DECIMAL(")


def spark_type(kind: str) -> str | None:
    """Return Spark's word for `kind`, or None where it has no such type."""
    if kind.endswith("[]"):
        element = spark_type(kind[:-2])
        return element and f"ARRAY<{element}>"
    return kind if _DECIMAL.match(kind) else _SPARK.get(kind)


def decimal_of(kind: Kind) -> tuple[int, int] | None:
    """Return the digits and the scale of a DECIMAL."""
    found = _DECIMAL.match(kind or "")
    return (int(found[1]), int(found[2])) if found else None


def is_integer(kind: Kind) -> bool:
    """Whether `kind` counts in whole numbers."""
    return kind in _WIDTHS


def is_number(kind: Kind) -> bool:
    """Whether one can calculate with `kind`."""
    return is_integer(kind) or kind in ("DOUBLE", "FLOAT") or decimal_of(kind) is not None


def is_moment(kind: Kind) -> bool:
    """Whether `kind` is a day or a moment."""
    return kind in (DATE, TIMESTAMP)


def is_list(kind: Kind) -> bool:
    """Whether `kind` is a list."""
    return bool(kind) and str(kind).endswith("[]")


def element_of(kind: Kind) -> Kind:
    """Return the type of a list's elements."""
    return str(kind)[:-2] if is_list(kind) else None


def list_of(kind: Kind) -> Kind:
    """Return the type of a list of `kind`."""
    return None if kind is None else f"{kind}[]"


def common(kinds: Iterable[Kind]) -> Kind:
    """Return the type to which DuckDB brings values of all `kinds`, None where that is not known."""
    told = set(kinds) - {NULL}
    if len(told) <= 1:
        return told.pop() if told else NULL
    if None in told:
        return None
    if told == {DATE, TIMESTAMP}:
        return TIMESTAMP
    if all(is_list(kind) for kind in told):
        return list_of(common(element_of(kind) for kind in told))
    if not all(is_number(kind) for kind in told):
        return None
    if told & {"DOUBLE", "FLOAT"}:
        return DOUBLE
    if all(is_integer(kind) for kind in told):
        return max(told, key=lambda kind: _ORDER.index(str(kind)))
    return _common_decimal(told)


def _common_decimal(kinds: Iterable[Kind]) -> Kind:
    pairs = [decimal_of(kind) or (_WIDTHS[str(kind)], 0) for kind in kinds]
    scale = max(scale for _, scale in pairs)
    digits = max(digits - scale for digits, scale in pairs) + scale
    return f"DECIMAL({min(digits, 38)},{scale})"
