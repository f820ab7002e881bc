"""DuckDB's functions in Spark's SQL, one by one as far as both were found to give equal results.

What is not here is refused: a rule must not mean one thing on one machine and another on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kangshu.lake.dialect.casts import cast
from kangshu.lake.dialect.kinds import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    INTERVAL,
    NULL,
    TIMESTAMP,
    VARCHAR,
    Kind,
    Term,
    common,
    constant,
    decimal_of,
    element_of,
    is_integer,
    is_list,
    is_moment,
    is_number,
    list_of,
    literal,
)
from kangshu.lake.dialect.regexes import to_java
from kangshu.lake.errors import QueryRefusedError, say


@dataclass(frozen=True, kw_only=True)
class Function:
    """A lambda as an argument: asked for its body once the types of its parameters are known."""

    parameters: int
    body: Callable[[Sequence[Term]], Term]
    fresh: Callable[[], str]


Argument: TypeAlias = Term | Function
Builder: TypeAlias = Callable[..., Term]
"""Makes the call out of its arguments; a wrong number of them is a TypeError."""


def whole(term: Argument) -> int | None:
    """Return the whole number that a literal is, None for anything else."""
    try:
        return int(term.sql.replace(" ", "").strip("()")) if isinstance(term, Term) else None
    except ValueError:
        return None


def refuse(what: str) -> QueryRefusedError:
    """Return the error that says that `what` is not translated."""
    return QueryRefusedError(say("not_in_spark", what=what))


def _plain(template: str, kind: Kind, *, count: int | None = None) -> Builder:
    """Return a builder that puts its arguments into `template`."""
    places = sum(f"{{{place}}}" in template for place in range(5)) if count is None else count

    def build(*arguments: Term) -> Term:
        if len(arguments) != places or any(isinstance(argument, Function) for argument in arguments):
            raise TypeError("arguments")
        return Term(template.format(*(argument.sql for argument in arguments)), kind)

    return build


def _as_big(template: str) -> Builder:
    """Return a builder whose result Spark counts in 32 bits and DuckDB in 64."""
    return _plain(f"CAST({template} AS BIGINT)", BIGINT)


def _of_first(template: str) -> Builder:
    """Return a builder whose result has the type of the first argument."""
    plain = _plain(template, None)
    return lambda *arguments: Term(plain(*arguments).sql, arguments[0].kind)


def _joined(name: str) -> Builder:
    def build(*arguments: Term) -> Term:
        _check_mix(arguments)
        return Term(f"{name}({', '.join(term.sql for term in arguments)})", common(t.kind for t in arguments))

    return build


def _check_mix(arguments: Sequence[Term]) -> None:
    """Refuse texts beside numbers: DuckDB makes texts of all, Spark numbers."""
    kinds = {argument.kind for argument in arguments} - {NULL, None}
    if VARCHAR in kinds and len(kinds) > 1:
        raise refuse("VARCHAR / " + ", ".join(sorted(str(kind) for kind in kinds - {VARCHAR})))


def text_of(term: Term) -> Term:
    """Return `term` as a text."""
    return cast(term, VARCHAR, forgiving=False)


def as_double(term: Term) -> str:
    """Return `term` as a DOUBLE."""
    return term.sql if term.kind == DOUBLE else f"CAST({term.sql} AS DOUBLE)"


# --- texts

# What DuckDB takes from the ends of a text: all of Unicode's blanks (category Zs).
_BLANKS = "".join(map(chr, (0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)))


def _trim(side: str) -> Builder:
    def build(text: Term, letters: Term | None = None) -> Term:
        # Without text to take away, Spark's trim would be asked for nothing at all.
        from_ends = letters.sql if letters else literal(_BLANKS)
        return Term(f"trim({side} {from_ends} FROM {text.sql})", VARCHAR)

    return build


def _length(value: Term) -> Term:
    if value.kind == VARCHAR:
        return Term(f"CAST(char_length({value.sql}) AS BIGINT)", BIGINT)
    if is_list(value.kind):
        return Term(f"CAST(array_size({value.sql}) AS BIGINT)", BIGINT)
    raise refuse("length(?)")


def _list_length(value: Term) -> Term:
    if value.kind == VARCHAR:
        raise refuse("array_length(VARCHAR)")
    return Term(f"CAST(array_size({value.sql}) AS BIGINT)", BIGINT)


def substr(text: Term, start: Term, length: Term | None = None) -> Term:
    """Return a part of `text`; places are counted from 1, and a negative length looks back."""
    first, count = whole(start), None if length is None else whole(length)
    if first is not None and first > 0 and (length is None or (count is not None and count >= 0)):
        rest = "" if length is None else f", {count}"
        return Term(f"substring({text.sql}, {first}{rest})", VARCHAR)
    if first is not None and first < 0 and (length is None or (count is not None and count >= 0)):
        rest = "" if length is None else f", {count}"
        return Term(f"substring({text.sql}, {first}{rest})", VARCHAR)
    if first == 0:
        rest = "" if length is None else f", {_small(length)} - 1"
        return Term(f"substring({text.sql}, 1{rest})", VARCHAR)
    if first == 1 and length is not None:
        return Term(f"substring({text.sql}, 1, {_small(length)})", VARCHAR)
    if first is None and length is None:
        return Term(f"substring({text.sql}, {_small(start)})", VARCHAR)
    if first is None and count is not None and count >= 0:
        before = f"substring({text.sql}, 1, {max(count - 1, 0)})"
        here = f"substring({text.sql}, {_small(start)}, {count})"
        return Term(f"IF({start.sql} = 0, {before}, {here})", VARCHAR)
    if first is not None and first > 0 and length is not None:
        begin = f"greatest(1, {first} + {_small(length)})"
        back = f"substring({text.sql}, {begin}, {first} - {begin})"
        ahead = f"substring({text.sql}, {first}, {_small(length)})"
        return Term(f"IF({length.sql} < 0, {back}, {ahead})", VARCHAR)
    raise refuse("substr")


def _small(term: Term) -> str:
    return f"CAST({term.sql} AS INT)"


def _end(name: str) -> Builder:
    def build(text: Term, count: Term) -> Term:
        number = whole(count)
        if number is None or number < 0:
            raise refuse(f"{name}(text, ?)")
        return Term(f"{name}({text.sql}, {number})", VARCHAR)

    return build


def _chr(code: Term) -> Term:
    return Term(f"decode(unhex(lpad(hex({code.sql}), 8, '0')), 'UTF-32')", VARCHAR)


def _contains(whole_: Term, part: Term) -> Term:
    if is_list(whole_.kind):
        return _list_contains(whole_, part)
    if whole_.kind != VARCHAR:
        raise refuse("contains(?)")
    return Term(f"contains({whole_.sql}, {part.sql})", BOOLEAN)


def _concat(*parts: Term) -> Term:
    if any(is_list(part.kind) for part in parts):
        return _list_concat(*parts)
    return Term(f"concat_ws('', {', '.join(text_of(part).sql for part in parts)})", VARCHAR)


def _concat_ws(separator: Term, *parts: Term) -> Term:
    if any(is_list(part.kind) for part in parts):
        raise refuse("concat_ws(list)")
    return Term(f"concat_ws({', '.join([separator.sql, *(text_of(part).sql for part in parts)])})", VARCHAR)


def _split(text: Term, separator: Term) -> Term:
    letters = constant(separator)
    if not letters:
        raise refuse("string_split(text, ?)")
    return Term(f"split({text.sql}, {literal(to_java(_escaped(letters)))})", list_of(VARCHAR))


def _escaped(text: str) -> str:
    return "".join(letter if letter.isalnum() else f"\\{letter}" for letter in text if letter != "\0")


def _md5_lower(text: Term) -> Term:
    return _md5_half(text, 17)


def _md5_upper(text: Term) -> Term:
    return _md5_half(text, 1)


def _hash(*values: Term) -> Term:
    """Another number than DuckDB's, and as good for finding what may be equal: for nothing else."""
    return Term(f"xxhash64({', '.join(value.sql for value in values)})", BIGINT)


def _md5_half(text: Term, first: int) -> Term:
    # DuckDB reads the digest's bytes from the last to the first: digits turned round, then each pair again.
    half = f"reverse(substring(md5({text.sql}), {first}, 16))"
    swapped = f"regexp_replace({half}, '(.)(.)', '$2$1')"
    return Term(f"CAST(conv({swapped}, 16, 10) AS DECIMAL(20,0))", "UBIGINT")


# --- regular expressions


def _pattern(pattern: Term, options: Term | None = None, *, whole_text: bool = False) -> str:
    text, flags = constant(pattern), "" if options is None else constant(options)
    if text is None or flags is None or set(flags) - set("cisg"):
        raise refuse("regexp(?)")
    java = to_java(text, any_case="i" in flags, dot_all="s" in flags)
    return literal(f"\\A(?:{java})\\z") if whole_text else literal(java)


def matches(text: Term, pattern: Term, options: Term | None = None) -> Term:
    """Return whether `pattern` is found in `text`."""
    return Term(f"({text.sql} RLIKE {_pattern(pattern, options)})", BOOLEAN)


def matches_whole(text: Term, pattern: Term, options: Term | None = None) -> Term:
    """Return whether `pattern` is all of `text`."""
    return Term(f"({text.sql} RLIKE {_pattern(pattern, options, whole_text=True)})", BOOLEAN)


def _regexp_extract(
    text: Term, pattern: Term, group: Term | None = None, options: Term | None = None
) -> Term:
    number = 0 if group is None else whole(group)
    if number is None:
        raise refuse("regexp_extract(text, pattern, ?)")
    return Term(f"regexp_extract({text.sql}, {_pattern(pattern, options)}, {number})", VARCHAR)


def _regexp_replace(text: Term, pattern: Term, by: Term, options: Term | None = None) -> Term:
    replacement, flags = constant(by), "" if options is None else constant(options)
    if replacement is None or flags is None or "\\" in replacement or "$" in replacement:
        raise refuse("regexp_replace(text, pattern, ?)")
    java = _pattern(pattern, options)
    if "g" in flags:
        return Term(f"regexp_replace({text.sql}, {java}, {literal(replacement)})", VARCHAR)
    text_of_pattern = to_java(constant(pattern) or "", any_case="i" in flags, dot_all="s" in flags)
    first = literal(f"(?s)\\A(.*?)(?-s:{text_of_pattern})")
    return Term(f"regexp_replace({text.sql}, {first}, {literal('$1' + replacement)})", VARCHAR)


def like(text: Term, pattern: Term, escape: Term | None, *, any_case: bool) -> Term:
    """Return whether `text` is like `pattern`, in which nothing escapes unless `escape` is given."""
    letters, mark = constant(pattern), "" if escape is None else constant(escape)
    if letters is None or mark is None or len(mark) > 1:
        raise refuse("LIKE ?")
    word, parts = "ILIKE" if any_case else "LIKE", iter(letters)
    shown = []
    for letter in parts:
        if mark and letter == mark:
            shown.append("\\" + next(parts, ""))
        else:
            shown.append("\\\\" if letter == "\\" else letter)
    # Spark unescapes the literal first and then the pattern, but leaves `\\%` and `\\_` to the pattern.
    return Term(f"({text.sql} {word} {literal(''.join(shown))})", BOOLEAN)


# --- numbers


def divide(left: Term, right: Term) -> Term:
    """Return a quotient, always a DOUBLE; by zero it is infinite or not a number."""
    over, under = as_double(left), as_double(right)
    if _never_zero(right):
        return Term(f"({over} / {under})", DOUBLE)
    by_zero = (
        f"CASE WHEN isnan({over}) OR {left.sql} = 0 THEN double('NaN') WHEN {left.sql} > 0"
        f" THEN double('Infinity') WHEN {left.sql} < 0 THEN double('-Infinity') END"
    )
    return Term(f"CASE WHEN {right.sql} = 0 THEN {by_zero} ELSE {over} / {under} END", DOUBLE)


def divide_whole(left: Term, right: Term) -> Term:
    """Return the quotient of `//`: whole and towards zero of whole numbers, else as `/`; NULL by zero."""
    if not (is_integer(left.kind) and is_integer(right.kind)):
        if left.kind is None or right.kind is None:
            raise refuse("? // ?")
        return divide(left, right)
    under = right.sql if _never_zero(right) else f"nullif({right.sql}, 0)"
    return Term(f"({left.sql} DIV {under})", common([left.kind, right.kind]))


def remainder(left: Term, right: Term) -> Term:
    """Return what is left after a division, with the sign of `left`; NULL by zero."""
    if DOUBLE in (left.kind, right.kind):
        raise refuse("DOUBLE % DOUBLE")
    under = right.sql if _never_zero(right) else f"nullif({right.sql}, 0)"
    return Term(f"({left.sql} % {under})", common([left.kind, right.kind]))


def _never_zero(term: Term) -> bool:
    text = term.sql.strip("()")
    # NULLIF(x, 0) is NULL where x is 0.
    return (bool(text) and text.replace(".", "", 1).isdigit() and float(text) != 0) or (
        term.sql.startswith("nullif(") and term.sql.endswith(", 0)") and term.sql.count("nullif(") == 1
    )


def _round(value: Term, places: Term | None = None) -> Term:
    number = 0 if places is None else whole(places)
    if number is None or number < 0:
        raise refuse("round(x, ?)")
    if is_integer(value.kind):
        return value
    if parts := decimal_of(value.kind):
        return Term(f"round({value.sql}, {number})", f"DECIMAL({parts[0]},{min(number, parts[1])})")
    if value.kind != DOUBLE:
        raise refuse("round(?)")
    if number == 0:
        # Half away from zero; adding a half would round 0.49999999999999994 up.
        return Term(f"(sign({value.sql}) * round(abs({value.sql}), 0))", DOUBLE)
    return Term(f"round({value.sql}, {number})", DOUBLE)


def _to_whole(name: str) -> Builder:
    def build(value: Term) -> Term:
        if is_integer(value.kind):
            return value
        if parts := decimal_of(value.kind):
            return Term(f"{name}({value.sql})", f"DECIMAL({parts[0]},0)")
        if value.kind != DOUBLE:
            raise refuse(f"{name}(?)")
        # Beyond 2^53 every DOUBLE is whole, and Spark's answer would be a BIGINT.
        is_whole = f"isnan({value.sql}) OR abs({value.sql}) >= 9007199254740992D"
        return Term(f"IF({is_whole}, {value.sql}, CAST({name}({value.sql}) AS DOUBLE))", DOUBLE)

    return build


def _abs(value: Term) -> Term:
    return Term(f"abs({value.sql})", value.kind)


def _log(base: str) -> Builder:
    """Return a builder of a logarithm; of nothing or less, it is an error as in DuckDB."""

    def build(value: Term) -> Term:
        number = as_double(value)
        return Term(f"IF({number} <= 0, CAST(raise_error('log') AS DOUBLE), {base}({number}))", DOUBLE)

    return build


def _sqrt(value: Term) -> Term:
    number = as_double(value)
    return Term(f"IF({number} < 0, CAST(raise_error('sqrt') AS DOUBLE), sqrt({number}))", DOUBLE)


def _pow(base: Term, exponent: Term) -> Term:
    return Term(f"power({as_double(base)}, {as_double(exponent)})", DOUBLE)


def _double(name: str) -> Builder:
    return lambda value: Term(f"{name}({as_double(value)})", DOUBLE)


def _sign(value: Term) -> Term:
    return Term(f"CAST(sign({value.sql}) AS TINYINT)", "TINYINT")


# --- days and moments


def day_of(value: Term) -> str:
    """Return the day of a day or moment."""
    if not is_moment(value.kind):
        raise refuse(f"DATE({value.kind or '?'})")
    return value.sql if value.kind == DATE else f"CAST({value.sql} AS DATE)"


def moment_of(value: Term) -> str:
    """Return the moment of a day or moment."""
    if not is_moment(value.kind):
        raise refuse(f"TIMESTAMP({value.kind or '?'})")
    return value.sql if value.kind == TIMESTAMP else f"CAST({value.sql} AS TIMESTAMP_NTZ)"


def _micros(value: Term) -> str:
    return f"unix_micros(CAST({moment_of(value)} AS TIMESTAMP_LTZ))"


_PARTS = {
    "year": "year({0})",
    "month": "month({0})",
    "day": "day({0})",
    "hour": "hour({0})",
    "minute": "minute({0})",
    "second": "second({0})",
    "quarter": "quarter({0})",
    "week": "weekofyear({0})",
    "dayofyear": "dayofyear({0})",
    "dayofweek": "dayofweek({0}) - 1",
    "isodow": "weekday({0}) + 1",
}
_PART_NAMES = {
    **{name: name for name in _PARTS},
    **{f"{name}s": name for name in ("year", "month", "day", "hour", "minute", "second", "week")},
    "dayofmonth": "day",
    "weekofyear": "week",
    "dow": "dayofweek",
    "weekday": "dayofweek",
    "doy": "dayofyear",
}


def part(name: str, value: Term) -> Term:
    """Return a part of a day or moment: `year`, `dow`; a day's hour is 0."""
    if name.casefold() in ("epoch", "epochs"):
        return _epoch(value)
    template = _PARTS.get(_PART_NAMES.get(name.casefold(), ""))
    if template is None:
        raise refuse(f"date_part('{name}')")
    moment = moment_of(value) if name.casefold().rstrip("s") in ("hour", "minute", "second") else value.sql
    if not is_moment(value.kind):
        raise refuse(f"{name}({value.kind or '?'})")
    return Term(f"CAST({template.format(moment)} AS BIGINT)", BIGINT)


def _named_part(name: Argument, value: Term) -> Term:
    known = constant(name)
    if known is None:
        raise refuse("date_part(?)")
    return part(known, value)


def _part(name: str) -> Builder:
    return lambda value: part(name, value)


def _epoch(value: Term) -> Term:
    if value.kind == INTERVAL:
        return Term(f"(CAST({value.sql} AS INTERVAL SECOND) / INTERVAL '1' SECOND)", DOUBLE)
    return Term(f"({_micros(value)} / 1000000D)", DOUBLE)


def _epoch_ms(value: Term) -> Term:
    return Term(f"CAST(floor({_micros(value)} / 1000D) AS BIGINT)", BIGINT)


def _date_trunc(unit: Argument, value: Term) -> Term:
    name = (constant(unit) or "?").casefold()
    if name not in ("year", "quarter", "month", "week", "day", "hour", "minute", "second"):
        raise refuse(f"date_trunc('{name}')")
    cut = f"date_trunc('{name.upper()}', CAST({moment_of(value)} AS TIMESTAMP_LTZ))"
    return Term(f"CAST({cut} AS TIMESTAMP_NTZ)", TIMESTAMP)


def _date_diff(unit: Argument, left: Term, right: Term) -> Term:
    """Return how many borders of a unit lie between two moments."""
    name = (constant(unit) or "?").casefold().rstrip("s")
    for side in (left, right):
        moment_of(side)
    if name == "day":
        return Term(f"CAST(datediff({day_of(right)}, {day_of(left)}) AS BIGINT)", BIGINT)
    months = {"month": 1, "quarter": 3, "year": 12}
    if name in months:
        one, other = (
            f"floor((year({s.sql}) * 12 + month({s.sql}) - 1) / {months[name]}D)" for s in (right, left)
        )
        return Term(f"CAST({one} - {other} AS BIGINT)", BIGINT)
    seconds = {"hour": 3600, "minute": 60, "second": 1}
    if name in seconds:
        one, other = (f"floor({_micros(s)} / {seconds[name] * 1_000_000}D)" for s in (right, left))
        return Term(f"CAST({one} - {other} AS BIGINT)", BIGINT)
    raise refuse(f"date_diff('{name}')")


_UNITS = {
    "year": (12, "MONTH"),
    "quarter": (3, "MONTH"),
    "month": (1, "MONTH"),
    "week": (7, "DAY"),
    "day": (1, "DAY"),
    "hour": (1, "HOUR"),
    "minute": (1, "MINUTE"),
    "second": (1, "SECOND"),
}


def interval(count: Term, unit: str) -> Term:
    """Return so many units of time."""
    known = _UNITS.get(unit.casefold().rstrip("s"))
    if known is None or not is_integer(count.kind):
        raise refuse(f"INTERVAL {unit}")
    times, name = known
    number = whole(count)
    if number is not None:
        return Term(f"(INTERVAL '{number * times}' {name})", INTERVAL)
    return Term(f"({count.sql} * INTERVAL '{times}' {name})", INTERVAL)


def _units(name: str) -> Builder:
    return lambda count: interval(count, name)


def add(left: Term, right: Term) -> Term:
    """Return a sum of numbers, or a day or moment later."""
    if right.kind == INTERVAL and is_moment(left.kind):
        return Term(f"({moment_of(left)} + {right.sql})", TIMESTAMP)
    if left.kind == INTERVAL and is_moment(right.kind):
        return Term(f"({moment_of(right)} + {left.sql})", TIMESTAMP)
    if left.kind == DATE and is_integer(right.kind):
        return Term(f"date_add({left.sql}, CAST({right.sql} AS INT))", DATE)
    if right.kind == DATE and is_integer(left.kind):
        return Term(f"date_add({right.sql}, CAST({left.sql} AS INT))", DATE)
    return _arithmetic("+", left, right)


def subtract(left: Term, right: Term) -> Term:
    """Return a difference of numbers; days between days, an interval between moments; or an earlier one."""
    if left.kind == DATE and right.kind == DATE:
        return Term(f"CAST(datediff({left.sql}, {right.sql}) AS BIGINT)", BIGINT)
    if is_moment(left.kind) and is_moment(right.kind):
        return Term(f"({moment_of(left)} - {moment_of(right)})", INTERVAL)
    if left.kind == DATE and is_integer(right.kind):
        return Term(f"date_sub({left.sql}, CAST({right.sql} AS INT))", DATE)
    if is_moment(left.kind) and right.kind == INTERVAL:
        return Term(f"({moment_of(left)} - {right.sql})", TIMESTAMP)
    return _arithmetic("-", left, right)


def multiply(left: Term, right: Term) -> Term:
    """Return a product."""
    if left.kind == INTERVAL or right.kind == INTERVAL:
        return Term(f"({left.sql} * {right.sql})", INTERVAL)
    return _arithmetic("*", left, right)


def _arithmetic(sign: str, left: Term, right: Term) -> Term:
    for side in (left, right):
        if side.kind != NULL and side.kind != INTERVAL and not is_number(side.kind):
            raise refuse(f"{left.kind or '?'} {sign} {right.kind or '?'}")
    kind = common([left.kind, right.kind])
    if kind and (one := decimal_of(kind)) and sign == "*":
        scales = [(decimal_of(side.kind) or (0, 0))[1] for side in (left, right)]
        kind = f"DECIMAL({min(38, one[0] * 2)},{sum(scales)})"
    elif kind and (one := decimal_of(kind)):
        kind = f"DECIMAL({min(38, one[0] + 1)},{one[1]})"
    return Term(f"({left.sql} {sign} {right.sql})", kind)


_DATE_MARKS = {"%Y": "yyyy", "%m": "MM", "%d": "dd", "%H": "HH", "%M": "mm", "%S": "ss", "%j": "DDD"}


def _date_format(pattern: Argument) -> str:
    text = constant(pattern)
    if text is None:
        raise refuse("strftime(?)")
    parts, rest = [], text
    while rest:
        if rest[0] == "%":
            if rest[:2] not in _DATE_MARKS:
                raise refuse(f"strftime('{rest[:2]}')")
            parts.append(_DATE_MARKS[rest[:2]])
            rest = rest[2:]
        else:
            parts.append("''" if rest[0] == "'" else f"'{rest[0]}'" if rest[0].isalpha() else rest[0])
            rest = rest[1:]
    if set(text) & set("[]{}#"):
        raise refuse("strftime('[')")
    return literal("".join(parts))


def _strftime(value: Term, pattern: Argument) -> Term:
    if isinstance(value, Term) and value.kind == VARCHAR:
        raise refuse("strftime(VARCHAR)")
    return Term(f"date_format({moment_of(value)}, {_date_format(pattern)})", VARCHAR)


def _last_day(value: Term) -> Term:
    return Term(f"last_day({day_of(value)})", DATE)


# --- lists


def _element(xs: Term, place: Term) -> Term:
    """Return an element, counted from 1 or from the end; NULL where there is none."""
    if xs.kind == VARCHAR:
        return substr(xs, place, Term("1", INTEGER))
    if not is_list(xs.kind):
        raise refuse("?[place]")
    if whole(place):
        return Term(f"try_element_at({xs.sql}, {whole(place)})", element_of(xs.kind))
    return Term(f"try_element_at({xs.sql}, nullif(CAST({place.sql} AS INT), 0))", element_of(xs.kind))


element = _element


def _transform(xs: Term, function: Function) -> Term:
    names = [function.fresh() for _ in range(function.parameters)]
    body = function.body(_parameters(xs, names))
    return Term(f"transform({xs.sql}, {_listed(names)} -> {body.sql})", list_of(body.kind))


def _filter(xs: Term, function: Function) -> Term:
    names = [function.fresh() for _ in range(function.parameters)]
    body = function.body(_parameters(xs, names))
    return Term(f"filter({xs.sql}, {_listed(names)} -> {body.sql})", xs.kind)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def _parameters(xs: Term, names: Sequence[str]) -> list[Term]:
    """Return the parameters as the body sees them: Spark counts places from 0."""
    if not is_list(xs.kind) or len(names) > 2:
        raise refuse("lambda over ?")
    terms = [Term(names[0], element_of(xs.kind))]
    return [*terms, *(Term(f"CAST({name} + 1 AS BIGINT)", BIGINT) for name in names[1:])]


def _list_contains(xs: Term, value: Term) -> Term:
    if value.kind == NULL:
        return Term("CAST(NULL AS BOOLEAN)", BOOLEAN)
    found = f"coalesce(array_contains({xs.sql}, {value.sql}), false)"
    known = f"{xs.sql} IS NOT NULL AND {value.sql} IS NOT NULL"
    return Term(f"CASE WHEN {known} THEN {found} END", BOOLEAN)


def _list_position(xs: Term, value: Term) -> Term:
    """Return where `value` stands first; NULL where it does not."""
    null = f"array_position(transform({xs.sql}, _n -> _n IS NULL), true)"
    where = f"IF({value.sql} IS NULL, {null}, array_position({xs.sql}, {value.sql}))"
    return Term(f"CAST(nullif({where}, 0) AS INT)", INTEGER)


def _list_concat(*lists: Term) -> Term:
    """Return lists one after another; a list that is NULL adds nothing."""
    kind = common(xs.kind for xs in lists)
    if not is_list(kind):
        raise refuse("list_concat(?)")
    given = [xs for xs in lists if xs.kind != NULL]
    return Term(f"concat({', '.join(f'coalesce({xs.sql}, array())' for xs in given)})", kind)


def _overlap(left: Term, right: Term) -> Term:
    """Return whether two lists share a value that is not NULL."""
    shared = f"array_size(filter(array_intersect({left.sql}, {right.sql}), _n -> _n IS NOT NULL)) > 0"
    return Term(f"({shared})", BOOLEAN)


def _distinct(xs: Term) -> Term:
    return Term(f"array_distinct(filter({xs.sql}, _n -> _n IS NOT NULL))", xs.kind)


def _unique(xs: Term) -> Term:
    return Term(f"CAST(array_size({_distinct(xs).sql}) AS BIGINT)", "UBIGINT")


def _of_element(template: str) -> Builder:
    def build(xs: Term) -> Term:
        if not is_list(xs.kind):
            raise refuse(template.split("(", 1)[0])
        return Term(template.format(xs.sql), element_of(xs.kind))

    return build


def _list_sum(xs: Term) -> Term:
    given = f"filter({xs.sql}, _n -> _n IS NOT NULL)"
    kind = element_of(xs.kind)
    if is_integer(kind):
        start, result = "CAST(0 AS BIGINT)", "HUGEINT"
    elif parts := decimal_of(kind):
        start, result = f"CAST(0 AS DECIMAL(38,{parts[1]}))", f"DECIMAL(38,{parts[1]})"
    elif kind == DOUBLE:
        start, result = "0D", DOUBLE
    else:
        raise refuse("list_sum(?)")
    one = start.replace("CAST(0", "CAST(_s + _n").replace("0D", "_s + _n")
    total = f"aggregate({given}, {start}, (_s, _n) -> {one})"
    return Term(f"IF(array_size({given}) = 0, NULL, {total})", result)


def _sorted_list(xs: Term) -> Term:
    return Term(f"array_sort({xs.sql})", xs.kind)


def make_list(*values: Term) -> Term:
    """Return a list of `values`."""
    _check_mix(values)
    return Term(f"array({', '.join(value.sql for value in values)})", list_of(common(v.kind for v in values)))


def _array_to_string(xs: Term, separator: Term) -> Term:
    if element_of(xs.kind) != VARCHAR:
        raise refuse("array_to_string(?)")
    # Of elements that are all NULL nothing is joined, of no element the empty text.
    all_null = f"array_size({xs.sql}) > 0 AND forall({xs.sql}, _n -> _n IS NULL)"
    return Term(f"IF({all_null}, NULL, array_join({xs.sql}, {separator.sql}))", VARCHAR)


# --- conditions


def _if(condition: Term, yes: Term, no: Term | None = None) -> Term:
    other = no or Term("NULL", NULL)
    _check_mix([yes, other])
    return Term(f"IF({condition.sql}, {yes.sql}, {other.sql})", common([yes.kind, other.kind]))


def _nullif(value: Term, other: Term) -> Term:
    _check_mix([value, other])
    return Term(f"nullif({value.sql}, {other.sql})", value.kind)


FUNCTIONS: Mapping[str, Builder] = {
    # texts
    "length": _length,
    "len": _length,
    "char_length": _length,
    "character_length": _length,
    "strlen": _plain("CAST(octet_length({0}) AS BIGINT)", BIGINT),
    "upper": _plain("upper({0})", VARCHAR),
    "ucase": _plain("upper({0})", VARCHAR),
    "lower": _plain("lower({0})", VARCHAR),
    "lcase": _plain("lower({0})", VARCHAR),
    "trim": _trim("BOTH"),
    "ltrim": _trim("LEADING"),
    "rtrim": _trim("TRAILING"),
    "substr": substr,
    "substring": substr,
    "left": _end("left"),
    "right": _end("right"),
    "replace": _plain("replace({0}, {1}, {2})", VARCHAR),
    "repeat": _plain("repeat({0}, CAST({1} AS INT))", VARCHAR),
    "lpad": _plain("lpad({0}, CAST({1} AS INT), {2})", VARCHAR),
    "rpad": _plain("rpad({0}, CAST({1} AS INT), {2})", VARCHAR),
    "translate": _plain("translate({0}, {1}, {2})", VARCHAR),
    "starts_with": _plain("startswith({0}, {1})", BOOLEAN),
    "prefix": _plain("startswith({0}, {1})", BOOLEAN),
    "ends_with": _plain("endswith({0}, {1})", BOOLEAN),
    "suffix": _plain("endswith({0}, {1})", BOOLEAN),
    "contains": _contains,
    "instr": _as_big("instr({0}, {1})"),
    "strpos": _as_big("instr({0}, {1})"),
    "position": _as_big("instr({0}, {1})"),
    "ascii": _plain("ascii({0})", INTEGER),
    "chr": _chr,
    "concat": _concat,
    "concat_ws": _concat_ws,
    "string_split": _split,
    "str_split": _split,
    "string_to_array": _split,
    "split": _split,
    "array_to_string": _array_to_string,
    "md5": _plain("md5({0})", VARCHAR),
    "md5_number_lower": _md5_lower,
    "md5_number_upper": _md5_upper,
    "hash": _hash,
    "sha256": _plain("sha2({0}, 256)", VARCHAR),
    # regular expressions
    "regexp_matches": matches,
    "regexp_full_match": matches_whole,
    "regexp_extract": _regexp_extract,
    "regexp_replace": _regexp_replace,
    # numbers
    "abs": _abs,
    "sign": _sign,
    "ceil": _to_whole("ceil"),
    "ceiling": _to_whole("ceil"),
    "floor": _to_whole("floor"),
    "round": _round,
    "sqrt": _sqrt,
    "ln": _log("ln"),
    "log": _log("log10"),
    "log10": _log("log10"),
    "log2": _log("log2"),
    "exp": _double("exp"),
    "pow": _pow,
    "power": _pow,
    "mod": remainder,
    "isnan": _plain("isnan({0})", BOOLEAN),
    "xor": lambda left, right: Term(f"({left.sql} ^ {right.sql})", common([left.kind, right.kind])),
    "bit_count": _plain("CAST(bit_count({0}) AS TINYINT)", "TINYINT"),
    # days and moments
    **{name: _part(name) for name in _PART_NAMES if not name.endswith("s") and name not in ("dow", "doy")},
    "date_part": _named_part,
    "datepart": _named_part,
    "epoch": _epoch,
    "epoch_ms": _epoch_ms,
    "date_trunc": _date_trunc,
    "datetrunc": _date_trunc,
    "date_diff": _date_diff,
    "datediff": _date_diff,
    "last_day": _last_day,
    "make_date": _plain("make_date(CAST({0} AS INT), CAST({1} AS INT), CAST({2} AS INT))", DATE),
    "strftime": _strftime,
    **{f"to_{unit}s": _units(unit) for unit in _UNITS if unit != "quarter"},
    # lists
    "list_transform": _transform,
    "list_apply": _transform,
    "array_transform": _transform,
    "array_apply": _transform,
    "apply": _transform,
    "list_filter": _filter,
    "array_filter": _filter,
    "filter": _filter,
    **dict.fromkeys(("list_contains", "array_contains", "list_has", "array_has"), _list_contains),
    **dict.fromkeys(("list_position", "list_indexof", "array_position", "array_indexof"), _list_position),
    **dict.fromkeys(("list_concat", "list_cat", "array_concat", "array_cat"), _list_concat),
    **dict.fromkeys(("list_has_any", "array_has_any"), _overlap),
    **dict.fromkeys(("list_distinct", "array_distinct"), _distinct),
    **dict.fromkeys(("list_unique", "array_unique"), _unique),
    **dict.fromkeys(("list_extract", "list_element", "array_extract"), _element),
    **dict.fromkeys(("list_sort", "array_sort"), _sorted_list),
    "list_min": _of_element("array_min({0})"),
    "list_max": _of_element("array_max({0})"),
    "list_first": _of_element("try_element_at({0}, 1)"),
    "list_last": _of_element("try_element_at({0}, -1)"),
    "list_sum": _list_sum,
    "array_length": _list_length,
    "list_value": make_list,
    "list_pack": make_list,
    # conditions
    "coalesce": _joined("coalesce"),
    "ifnull": _joined("coalesce"),
    "greatest": _joined("greatest"),
    "least": _joined("least"),
    "if": _if,
    "nullif": _nullif,
}
"""Functions of values by DuckDB's name."""
