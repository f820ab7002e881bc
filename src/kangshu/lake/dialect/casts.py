"""DuckDB's CAST and TRY_CAST in Spark's SQL: what texts it reads as numbers and days, how it rounds."""

from __future__ import annotations

from datetime import date, datetime

from kangshu.lake.dialect.kinds import (
    BOOLEAN,
    DATE,
    DOUBLE,
    NULL,
    TIMESTAMP,
    VARCHAR,
    Kind,
    Term,
    constant,
    decimal_of,
    element_of,
    is_integer,
    is_list,
    is_number,
    spark_type,
)
from kangshu.lake.errors import QueryRefusedError, say

_BLANKS = r"[ \\t\\n\\x0B\\f\\r]*"
# Digits may be parted by single underscores.
_DIGITS = "[0-9]+(_[0-9]+)*"
_WHOLE = f"^{_BLANKS}[+-]?[0-9]+{_BLANKS}\\\\z"
_NUMBER = f"^{_BLANKS}[+-]?({_DIGITS}([.]({_DIGITS})?)?|[.]{_DIGITS})([eE][+-]?[0-9]+)?{_BLANKS}\\\\z"
_HEX, _BINARY = f"^{_BLANKS}0[xX][0-9A-Fa-f]+{_BLANKS}\\\\z", f"^{_BLANKS}0[bB][01]+{_BLANKS}\\\\z"
_NOT_FINITE = f"(?i)^{_BLANKS}[+-]?(inf|infinity|nan){_BLANKS}\\\\z"
# A day is what the text begins with; a moment is all of it. Zones are read over.
_DAY = f"^{_BLANKS}([0-9]{{1,6}})([-/ \\\\\\\\])([0-9]{{1,2}})\\\\2([0-9]{{1,2}})(?![0-9])"
_ZONE = "(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_CLOCK = f"(?:T| +)([0-9]{{1,2}}):([0-9]{{1,2}})(?::([0-9]{{1,2}})(?:[.]([0-9]*))?{_ZONE})?{_BLANKS}"
_MOMENT = f"{_DAY}(?:{_CLOCK})?\\\\z"


def cast(term: Term, kind: str, *, forgiving: bool) -> Term:
    """Return `term` as `kind`; what does not fit is an error, or NULL where `forgiving`.

    Raises:
        QueryRefusedError: Spark has no such type, or would give another result.
    """
    target = spark_type(kind)
    if target is None:
        raise QueryRefusedError(say("not_in_spark", what=f"CAST AS {kind}"))
    if term.kind == kind:
        return term
    if term.kind == NULL:
        return Term(f"CAST(NULL AS {target})", kind)
    if (text := constant(term)) is not None and (told := _moment_literal(text, kind)):
        return Term(told, kind)
    if term.kind == VARCHAR:
        return Term(_from_text(term.sql, kind, target, forgiving=forgiving), kind)
    if term.kind is None and not (kind in (DOUBLE, "FLOAT") or decimal_of(kind)):
        raise QueryRefusedError(say("not_in_spark", what=f"CAST(? AS {kind})"))
    word = "TRY_CAST" if forgiving else "CAST"
    return Term(f"{word}({_rounded(term, kind)} AS {target})", kind)


def _moment_literal(text: str, kind: str) -> str | None:
    """Return a plainly written day or moment as Spark's own literal, None for anything else."""
    try:
        if kind == DATE and len(text) == 10:
            return f"DATE '{date.fromisoformat(text).isoformat()}'"
        if kind == TIMESTAMP and len(text) in (10, 19):
            return f"TIMESTAMP_NTZ '{datetime.fromisoformat(text).replace(tzinfo=None).isoformat(sep=' ')}'"
    except ValueError:
        return None
    return None


def _rounded(term: Term, kind: str) -> str:
    """Return what is to be cast: numbers are rounded as DuckDB does it, where Spark cuts them off."""
    if kind == BOOLEAN and is_number(term.kind):
        return f"({term.sql} <> 0)"
    if is_integer(kind) and term.kind in (DOUBLE, "FLOAT"):
        return f"rint({term.sql})"
    if is_integer(kind) and decimal_of(term.kind):
        return f"round({term.sql}, 0)"
    if _is_told_alike(term.kind, kind):
        return term.sql
    raise QueryRefusedError(say("not_in_spark", what=f"CAST({term.kind} AS {kind})"))


def _is_told_alike(kind: Kind, target: str) -> bool:
    """Whether both engines make the same of it."""
    if kind is None:
        return True
    if is_list(kind) and is_list(target):
        return element_of(kind) == NULL or _is_told_alike(element_of(kind), str(element_of(target)))
    if is_integer(kind) or kind == BOOLEAN:
        return is_number(target) or target in (VARCHAR, BOOLEAN)
    if decimal_of(kind):
        return is_number(target) or target == VARCHAR
    if kind in (DOUBLE, "FLOAT"):
        return target in (DOUBLE, "FLOAT")
    return kind in (DATE, TIMESTAMP) and target in (DATE, TIMESTAMP, VARCHAR)


def _from_text(text: str, kind: str, target: str, *, forgiving: bool) -> str:
    read = _read(text, kind, target)
    if forgiving:
        return read
    # The error says nothing of the text: it may be somebody's.
    refuse = f"CAST(raise_error('a text that is no {kind}') AS {target})"
    return f"coalesce({read}, IF({text} IS NULL, CAST(NULL AS {target}), {refuse}))"


def _read(text: str, kind: str, target: str) -> str:
    if is_integer(kind):
        return _read_whole(text, target)
    if kind in (DOUBLE, "FLOAT"):
        plain = f"TRY_CAST(replace({text}, '_', '') AS {target})"
        return f"CASE WHEN {text} RLIKE '{_NUMBER}' OR {text} RLIKE '{_NOT_FINITE}' THEN {plain} END"
    if decimal_of(kind):
        return f"CASE WHEN {text} RLIKE '{_NUMBER}' THEN TRY_CAST(replace({text}, '_', '') AS {target}) END"
    if kind == BOOLEAN:
        return (
            f"CASE WHEN lower({text}) IN ('true', 't', '1', 'yes', 'y') THEN true"
            f" WHEN lower({text}) IN ('false', 'f', '0', 'no', 'n') THEN false END"
        )
    if kind == DATE:
        return f"CASE WHEN {text} RLIKE '{_DAY}' THEN {_read_day(text)} END"
    if kind == TIMESTAMP:
        return f"CASE WHEN {text} RLIKE '{_MOMENT}' THEN {_read_moment(text)} END"
    raise QueryRefusedError(say("not_in_spark", what=f"CAST(VARCHAR AS {kind})"))


def _read_day(text: str) -> str:
    year = f"format_string('%04d', TRY_CAST(regexp_extract({text}, '{_DAY}', 1) AS INT))"
    month, day = (f"regexp_extract({text}, '{_DAY}', {group})" for group in (3, 4))
    return f"TRY_CAST(concat({year}, '-', {month}, '-', {day}) AS DATE)"


def _read_moment(text: str) -> str:
    """Return a moment out of a text; hour 24 is that of the next day's beginning."""
    hour, minute, second, fraction = (
        f"regexp_extract({text}, '{_MOMENT}', {group})" for group in (5, 6, 7, 8)
    )
    clock = [f"coalesce(TRY_CAST({digits} AS INT), 0)" for digits in (hour, minute, second)]
    micros = f"coalesce(TRY_CAST(rpad(substring({fraction}, 1, 6), 6, '0') AS INT), 0)"
    length = (
        f"make_dt_interval(0, {clock[0]}, {clock[1]}, {clock[2]} + {micros} / CAST(1000000 AS DECIMAL(7,0)))"
    )
    plain = f"{clock[0]} <= 23 AND {clock[1]} <= 59 AND {clock[2]} <= 59"
    midnight = f"{clock[0]} = 24 AND {clock[1]} = 0 AND {clock[2]} = 0 AND {micros} = 0"
    moment = f"CAST({_read_day(text)} AS TIMESTAMP_NTZ) + {length}"
    return f"CASE WHEN ({plain}) OR ({midnight}) THEN {moment} END"


def _read_whole(text: str, target: str) -> str:
    """Return a whole number out of a text: digits first, being what nearly all are."""
    if text.startswith("concat('0x', ") and text.endswith(")"):
        digits = text.removeprefix("concat('0x', ")[:-1]
        if _is_one_argument(digits):
            return _read_hex(digits, target)
    rounded = f"TRY_CAST(round(TRY_CAST(replace({text}, '_', '') AS DECIMAL(38,17)), 0) AS {target})"
    digits = _stripped(text)
    return (
        f"CASE WHEN {text} RLIKE '{_WHOLE}' THEN TRY_CAST({text} AS {target})"
        f" WHEN {text} RLIKE '{_NUMBER}' THEN {rounded}"
        f" WHEN {text} RLIKE '{_HEX}' THEN TRY_CAST(conv(substring({digits}, 3), 16, 10) AS {target})"
        f" WHEN {text} RLIKE '{_BINARY}' THEN TRY_CAST(conv(substring({digits}, 3), 2, 10) AS {target}) END"
    )


def _read_hex(digits: str, target: str) -> str:
    """Return the number that is written with these digits after 0x."""
    number = f"TRY_CAST(conv(trim(TRAILING ' \\t\\n\\u000B\\f\\r' FROM {digits}), 16, 10) AS {target})"
    return f"CASE WHEN {digits} RLIKE '^[0-9A-Fa-f]+{_BLANKS}\\\\z' THEN {number} END"


def _is_one_argument(text: str) -> bool:
    """Whether `text` has no comma but within brackets."""
    depth = 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth < 0 or (letter == "," and not depth):
            return False
    return depth == 0


def _stripped(text: str) -> str:
    return f"trim(BOTH ' \\t\\n\\u000B\\f\\r' FROM {text})"
