"""Compare persons of any table that is not Chinese: from guessed roles to profiles, comparisons and keys.

There is one default for all tables: what is compared follows from the roles, how much it weighs from the
table itself (`training`), and which blocking keys are asked from how many pairs each would bring.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.identity.linkage.conditions import Alike, All, Any, Condition, Edits, Equal, Known
from kangshu.identity.linkage.documents import say, versioned
from kangshu.identity.linkage.errors import TableUnusableError
from kangshu.identity.linkage.model import BlockingKey, Comparison, Level, LinkageModel
from kangshu.identity.linkage.roles import ColumnRole, Role

# What a clerk writes who does not know.
_NOTHING = frozenset(
    [
        "unk",
        "unknown",
        "anonymous",
        "anon",
        "none",
        "null",
        "nan",
        "na",
        "n/a",
        "nil",
        "test",
        "unnamed",
        "notgiven",
        "notknown",
        "missing",
        "xx",
        "xxx",
        "?",
    ]
)
_SAMPLE = 20_000
_PAIRS_PER_ROW = 30
_PAIRS_AT_LEAST = 200_000
_MOST_KEYS = 60
Value = str | None


@dataclass(frozen=True, kw_only=True)
class _Field:
    """One thing that is compared: its profile columns (all texts), how, and what of it may block."""

    name: str
    columns: dict[str, list[Value]]
    comparison: Comparison
    blocking: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GenericTable:
    """A foreign table made comparable."""

    profiles: pa.Table
    model: LinkageModel
    """With imagined weights: train it before use."""


def prepare_generic(table: pa.Table, *, roles: Sequence[ColumnRole]) -> GenericTable:
    """Return the profiles (`record` is the row's number) and a model for the table (all texts).

    Raises:
        TableUnusableError: no column tells anything by which persons could be compared.
    """
    fields = [*_names(table, roles), *_birth(table, roles), *_others(table, roles)]
    if not fields:
        raise TableUnusableError(say("nothing_to_compare"))
    columns = {name: values for field in fields for name, values in field.columns.items()}
    profiles = pa.table(
        {"record": np.arange(table.num_rows)}
        | {name: pa.array(values, pa.string()) for name, values in columns.items()}
    )
    model = LinkageModel(
        name="generic",
        version="",
        comparisons=tuple(field.comparison for field in fields),
        keys=_keys(profiles, fields),
        prior=-float(np.log2(max(table.num_rows, 2))),
        link_at=0.0,
        review_at=-7.0,
        margin=3.0,
        rare={
            level.term: 1e-4
            for field in fields
            for level in field.comparison.levels
            if level.term is not None
        },
    )
    return GenericTable(profiles=profiles, model=versioned(model))


# --- values


def _mapped(values: pa.ChunkedArray, change: Callable[[str], str]) -> list[Value]:
    """Return each value changed; the function is asked once for each distinct one, empty is None."""
    coded = pc.dictionary_encode(pc.cast(values, pa.string()).combine_chunks())
    changed = [change(text) or None if text else None for text in coded.dictionary.to_pylist()]
    return [None if code is None else changed[code] for code in coded.indices.to_pylist()]


def _again(values: Sequence[Value], change: Callable[[str], str]) -> list[Value]:
    known = {value: change(value) or None for value in {*values} if value is not None}
    return [None if value is None else known[value] for value in values]


def _plain(text: str) -> str:
    """Return the text in small ASCII letters, digits and single blanks."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = " ".join(re.sub(r"[^a-z0-9]+", " ", folded).split())
    return "" if words.replace(" ", "") in _NOTHING else words


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", _plain(text))


def _signs(text: str) -> str:
    return _plain(text).replace(" ", "")


def _email(text: str) -> str:
    return re.sub(r"[^a-z0-9@.]", "", text.lower())


def _user(email: str) -> str:
    return email.split("@")[0]


_DIGIT_OF = {letter: digit for digit, letters in enumerate(
    ("", "bfpv", "cgjkqsxz", "dt", "l", "mn", "r")) for letter in letters}  # fmt: skip


def _sound(name: str) -> str:
    """Return the first letter and the classes of the next three consonants (Soundex, 1918)."""
    classes = [_DIGIT_OF.get(letter, 0) for letter in name]
    told = [str(one) for place, one in enumerate(classes) if place and one and one != classes[place - 1]]
    return name[0] + "".join(told)[:3]


@cache
def _nicknames() -> dict[str, str]:
    source = resources.files("kangshu.identity.linkage").joinpath("nicknames.txt").read_text("utf-8")
    lines = [line.split() for line in source.splitlines() if line and not line.startswith("#")]
    return {form: line[0] for line in reversed(lines) for form in line}


def _nick(name: str) -> str:
    return _nicknames().get(name, name)


_YEAR_FIRST = re.compile(r"(\d{4})[-/. ]?(\d{1,2})[-/. ]?(\d{1,2})(?:[T ].*)?")
_YEAR_LAST = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4})")


def _day(text: str) -> str:
    """Return the date as eight digits, year first; what is no date as the digits it has."""
    text = text.strip()
    if found := _YEAR_FIRST.fullmatch(text):
        year, month, day = found.groups()
    elif found := _YEAR_LAST.fullmatch(text):
        first, second, year = found.groups()
        month, day = (second, first) if int(first) > 12 else (first, second)
    else:
        return re.sub(r"\D", "", text)
    return f"{year}{int(month):02}{int(day):02}"


# --- levels: the shares are what is believed before anything is learnt


def _level(name: str, condition: Condition, m: float, u: float, term: str | None = None) -> Level:
    return Level(name=name, condition=condition, m=m, u=u, term=term)


def _comparison(name: str, column: str, levels: Sequence[Level]) -> Comparison:
    known = Known(column=column)
    left = max(1 - sum(level.m for level in levels), 0.01), max(1 - sum(level.u for level in levels), 0.01)
    return Comparison(name=name, known=known, levels=tuple(levels), otherwise=_level("else", known, *left))


def _exact(column: str, m: float, u: float = 0.001) -> Level:
    return _level("exact", Equal(column=column), m, u, term=column)


def _crosswise(column: str, names: Sequence[str], m: float) -> list[Level]:
    """Return the levels of values that stand in each other's column.

    What two comparisons see alike weighs once: in the one that comes first; the other says nothing then.
    """
    place = list(names).index(column)
    levels = []
    for others, learnt in ((names[place + 1 :], True), (names[:place], False)):
        across = tuple(Equal(column=column, across=other) for other in others)
        if across:
            condition = across[0] if len(across) == 1 else Any(of=across)
            name = "crosswise" if learnt else "crosswise, said before"
            levels.append(
                Level(name=name, condition=condition, m=m, u=0.002 if learnt else m, fixed=not learnt)
            )
    return levels


def _names(table: pa.Table, roles: Sequence[ColumnRole]) -> list[_Field]:
    told: dict[str, list[Value]] = {}
    for role in roles:
        if role.role in (Role.GIVEN_NAME, Role.SURNAME):
            base = "given" if role.role is Role.GIVEN_NAME else "surname"
            told[_free(base, told)] = _mapped(table[role.column], _letters)
        elif role.role is Role.NAME:
            told[_free("given", told)] = _mapped(table[role.column], lambda text: _name_part(text, 0))
            told[_free("surname", told)] = _mapped(table[role.column], lambda text: _name_part(text, -1))
    return [_name(name, values, list(told)) for name, values in told.items()]


def _name_part(text: str, place: int) -> str:
    words = _plain(text).split()
    if "," in text:  # surname first
        words = [*words[1:], *words[:1]]
    return words[place] if len(words) > 1 or (words and place == -1) else ""


def _free(base: str, taken: dict[str, list[Value]]) -> str:
    number = 1
    while (name := base if number == 1 else f"{base}_{number}") in taken:
        number += 1
    return name


def _name(name: str, values: list[Value], names: list[str]) -> _Field:
    nick, sound = f"{name}_nick", f"{name}_sound"
    levels = [
        _exact(name, 0.7),
        *_crosswise(name, names, 0.05),
        _level("nickname", Equal(column=nick), 0.03, 0.001),
        _level("one edit", Edits(column=name, most=1), 0.07, 0.002),
        _level("alike", Alike(column=name, least=0.88), 0.05, 0.005),
        _level("sounds", Any(of=(Equal(column=sound), Alike(column=name, least=0.78))), 0.03, 0.02),
    ]
    return _Field(
        name=name,
        columns={name: values, nick: _again(values, _nick), sound: _again(values, _sound)},
        comparison=_comparison(name, name, levels),
        blocking=(name, sound),
    )


def _birth(table: pa.Table, roles: Sequence[ColumnRole]) -> list[_Field]:
    whole = [role.column for role in roles if role.role is Role.BIRTH_DATE]
    parts = {role.role: role.column for role in roles}
    if whole:
        told = [_mapped(table[column], _day) for column in whole]
    elif {Role.BIRTH_YEAR, Role.BIRTH_MONTH, Role.BIRTH_DAY} <= set(parts):
        told = [_composed(table, parts)]
    else:
        return []
    return [_date("birth" if not place else f"birth_{place + 1}", days) for place, days in enumerate(told)]


def _composed(table: pa.Table, parts: dict[Role, str]) -> list[Value]:
    year, month, day = (
        _mapped(table[parts[role]], _signs) for role in (Role.BIRTH_YEAR, Role.BIRTH_MONTH, Role.BIRTH_DAY)
    )
    return [
        f"{y.zfill(4)}{m.zfill(2)}{d.zfill(2)}" if y and m and d else None
        for y, m, d in zip(year, month, day, strict=True)
    ]


def _date(name: str, days: list[Value]) -> _Field:
    turned, year, month_day = f"{name}_turned", f"{name}_year", f"{name}_month_day"
    year_month, year_day = f"{name}_year_month", f"{name}_year_day"
    levels = [
        _exact(name, 0.8, 1 / 20_000),
        _level("day and month swapped", Equal(column=name, across=turned), 0.02, 1 / 20_000),
        _level("one edit", Edits(column=name, most=1), 0.08, 0.001),
        _level(
            "two of three parts",
            Any(of=(Equal(column=month_day), Equal(column=year_month), Equal(column=year_day))),
            0.04,
            0.004,
        ),
        _level("two edits", Edits(column=name, most=2), 0.03, 0.01),
        _level("same year", Equal(column=year), 0.01, 0.015),
    ]
    return _Field(
        name=name,
        columns={
            name: days,
            turned: _again(days, lambda day: day[:4] + day[6:] + day[4:6] if len(day) == 8 else ""),
            year: _again(days, lambda day: day[:4]),
            month_day: _again(days, lambda day: day[4:] if len(day) == 8 else ""),
            year_month: _again(days, lambda day: day[:6] if len(day) == 8 else ""),
            year_day: _again(days, lambda day: day[:4] + day[6:] if len(day) == 8 else ""),
        },
        comparison=_comparison(name, name, levels),
        blocking=(name, year_month, month_day, year_day, year),
    )


def _others(table: pa.Table, roles: Sequence[ColumnRole]) -> list[_Field]:
    fields: list[_Field] = []
    texts = [role.column for role in roles if role.role in (Role.ADDRESS, Role.PLACE)]
    text_names = [f"text_{place + 1}" for place in range(len(texts))]
    for name, column in zip(text_names, texts, strict=True):
        fields.append(_text(name, _mapped(table[column], _plain), text_names))
    for place, role in enumerate(roles):
        if role.role in (Role.SEX, Role.CATEGORY):
            fields.append(_category(f"category_{place}", _mapped(table[role.column], _signs)))
        elif role.role is Role.CODE:
            fields.append(_code(f"code_{place}", _mapped(table[role.column], _signs)))
        elif role.role in (Role.NUMBER, Role.RESIDENT_NUMBER, Role.LOCAL_NUMBER, Role.PHONE):
            fields.append(_number(f"number_{place}", _mapped(table[role.column], _signs)))
        elif role.role is Role.EMAIL:
            fields.append(_mail(f"email_{place}", _mapped(table[role.column], _email)))
    return fields


def _text(name: str, values: list[Value], names: list[str]) -> _Field:
    head, words = f"{name}_head", f"{name}_words"
    levels = [
        _exact(name, 0.7),
        *_crosswise(name, names, 0.04),
        _level("same words", Equal(column=words), 0.01, 0.001),
        _level("one edit", Edits(column=name, most=1), 0.07, 0.002),
        _level("two edits", All(of=(Edits(column=name, most=2), Alike(column=name, least=0.8))), 0.04, 0.002),
        _level("alike", Alike(column=name, least=0.88), 0.04, 0.01),
    ]
    return _Field(
        name=name,
        columns={
            name: values,
            head: _again(values, lambda text: text.replace(" ", "")[:6]),
            words: _again(values, lambda text: " ".join(sorted(text.split()))),
        },
        comparison=_comparison(name, name, levels),
        blocking=(name, head),
    )


def _code(name: str, values: list[Value]) -> _Field:
    levels = [
        _exact(name, 0.8, 0.01),
        _level("one edit", Edits(column=name, most=1), 0.1, 0.03),
    ]
    return _Field(
        name=name, columns={name: values}, comparison=_comparison(name, name, levels), blocking=(name,)
    )


def _category(name: str, values: list[Value]) -> _Field:
    return _Field(
        name=name,
        columns={name: values},
        comparison=_comparison(name, name, [_exact(name, 0.9, 0.3)]),
        blocking=(name,),
    )


def _number(name: str, values: list[Value]) -> _Field:
    head, tail = f"{name}_head", f"{name}_tail"
    levels = [
        _exact(name, 0.85, 1e-5),
        _level("one edit", Edits(column=name, most=1), 0.08, 1e-5),
        _level("two edits", Edits(column=name, most=2), 0.02, 1e-4),
        _level("same end", Equal(column=tail), 0.02, 1e-4),
    ]
    return _Field(
        name=name,
        columns={
            name: values,
            head: _again(values, lambda text: text[: max(4, len(text) // 2)]),
            tail: _again(values, lambda text: text[-4:]),
        },
        comparison=_comparison(name, name, levels),
        blocking=(name, head, tail),
    )


def _mail(name: str, values: list[Value]) -> _Field:
    user = f"{name}_user"
    levels = [
        _exact(name, 0.7, 1e-4),
        _level("same user", Equal(column=user), 0.05, 1e-4),
        _level("two edits", Edits(column=name, most=2), 0.1, 1e-4),
        _level("alike", Alike(column=name, least=0.9), 0.08, 0.001),
    ]
    return _Field(
        name=name,
        columns={name: values, user: _again(values, _user)},
        comparison=_comparison(name, name, levels),
        blocking=(name, user),
    )


# --- blocking


def _keys(profiles: pa.Table, fields: Sequence[_Field]) -> tuple[BlockingKey, ...]:
    """Return the keys that bring few pairs: single columns first, then pairs of columns of two fields."""
    rows = min(profiles.num_rows, _SAMPLE)
    scale = (profiles.num_rows / max(rows, 1)) ** 2
    step = max(1, profiles.num_rows // max(rows, 1))
    taken = pa.array(np.arange(0, profiles.num_rows, step))
    codes = {column: _codes(profiles[column].take(taken)) for field in fields for column in field.blocking}
    budget = float(max(_PAIRS_PER_ROW * profiles.num_rows, _PAIRS_AT_LEAST))
    single = sorted((_pairs(code) * scale, column) for column, code in codes.items())
    chosen: list[tuple[str, ...]] = []
    for pairs, column in single:
        if pairs <= budget / 10:
            chosen.append((column,))
            budget -= pairs
    alone = {columns[0] for columns in chosen}
    crossed = sorted(
        (_pairs(_crossed(codes[one], codes[other])) * scale, one, other)
        for first, second in combinations(fields, 2)
        for one in first.blocking
        for other in second.blocking
        if one not in alone and other not in alone
    )
    for pairs, one, other in crossed:
        if pairs <= budget and len(chosen) < _MOST_KEYS:
            chosen.append((one, other))
            budget -= pairs
    return tuple(BlockingKey(name="+".join(columns), columns=columns) for columns in chosen)


def _codes(values: pa.ChunkedArray) -> np.ndarray:
    indices = pc.dictionary_encode(values.combine_chunks()).indices
    return pc.fill_null(indices, -1).to_numpy().astype(np.int64)


def _crossed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where((one < 0) | (other < 0), -1, one * (int(other.max(initial=0)) + 1) + other)


def _pairs(codes: np.ndarray) -> float:
    counts = np.unique(codes[codes >= 0], return_counts=True)[1].astype(float)
    return float((counts * (counts - 1) / 2).sum())
