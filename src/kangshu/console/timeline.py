"""A person's rows as a reader wants them: by day, by data set and institution, each with one headline.

Identifiers stay masked until the reader asks for them; codes come with their meaning. Nothing here
knows a data set by name: what to show first is told by the roles of the declared fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from kangshu.console import formats
from kangshu.declarations import Dataset, Field, FieldType, Pack, Privacy, Role
from kangshu.kernel.texts import Language
from kangshu.lake import PersonRow

_WIDE_FROM = 36
"""A value of more characters takes the whole width (by eye)."""
_FLAG, _UNIT, _LOW, _HIGH = "flag", "unit", "reference_low", "reference_high"
"""Fields by which a result is completed, where a data set declares them."""
_USUAL_FLAG = "N"


class ShownField(NamedTuple):
    """One filled field of a row: its title, its value in words, and its code where it has one.

    A tuple, for a page has thousands of them.
    """

    title: str
    value: str
    code: str
    wide: bool


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row: when, what, with which result, and every filled field."""

    clock: str
    headline: str
    result: str
    note: str
    odd: bool
    fields: tuple[ShownField, ...]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of one data set from one institution on one day."""

    title: str
    institution: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class TimelineDay:
    """A day with everything that happened on it; `day` is None for rows without a date."""

    day: date | None
    age: str
    batches: tuple[Batch, ...]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How a timeline is to be written: in which language, and with which names."""

    pack: Pack
    language: Language
    institution_names: Mapping[str, str]
    revealed: bool
    birth_date: date | None = None
    yes: str = "是"
    no: str = "否"


def timeline(rows: Sequence[PersonRow], *, reader: Reader) -> tuple[TimelineDay, ...]:
    """Return `rows` (newest first) grouped by day; within a day, each data set of an institution together."""
    declared = reader.pack.datasets
    sheets = {name: _Sheet(declared[name], reader) for name in {row.dataset for row in rows} & set(declared)}
    return tuple(
        TimelineDay(day=day, age=_age_on(day, reader), batches=_batches(list(members), sheets, reader))
        for day, members in groupby(rows, key=lambda row: row.at.date() if row.at else None)
    )


def _batches(rows: Sequence[PersonRow], sheets: Mapping[str, _Sheet], reader: Reader) -> tuple[Batch, ...]:
    by_source: dict[tuple[str, str], list[PersonRow]] = {}
    for row in rows:
        by_source.setdefault((row.dataset, row.institution), []).append(row)
    return tuple(
        Batch(
            title=sheets[dataset].title if dataset in sheets else dataset,
            institution=reader.institution_names.get(institution, institution),
            entries=tuple(_entry(row, sheets.get(dataset), reader) for row in members),
        )
        for (dataset, institution), members in by_source.items()
    )


def _entry(row: PersonRow, sheet: _Sheet | None, reader: Reader) -> Entry:
    clock = row.at.strftime("%H:%M") if row.at and (row.at.hour or row.at.minute) else ""
    if sheet is None:  # a data set that the pack no longer declares still shows what it held
        fields = tuple(_plain(name, value) for name, value in row.values.items() if value is not None)
        return Entry(clock=clock, headline=row.dataset, result="", note="", odd=False, fields=fields)
    return sheet.entry(row.values, clock=clock)


class _Sheet:
    """How rows of one data set are written; made once for all of its rows on a page."""

    def __init__(self, dataset: Dataset, reader: Reader) -> None:
        self.title = dataset.title.in_(reader.language)
        item = dataset.with_role(Role.ITEM) or _naming_field(dataset)
        result = dataset.with_role(Role.RESULT)
        self._item = item.name if item else None
        self._result = result.name if result else None
        self._columns = {
            field.name: (field.title.in_(reader.language), _writer(field, reader)) for field in dataset.fields
        }

    def entry(self, values: Mapping[str, Any], *, clock: str) -> Entry:
        """Return one row as an entry."""
        flag = values.get(_FLAG)
        return Entry(
            clock=clock,
            headline=self._text_of(self._item, values) or self.title,
            result=self._result_text(values),
            note=self._note(values, flag),
            odd=bool(flag) and flag != _USUAL_FLAG,
            fields=tuple(self._shown(values)),
        )

    def _result_text(self, values: Mapping[str, Any]) -> str:
        text = self._text_of(self._result, values)
        unit = values.get(_UNIT)
        return f"{text} {unit}" if text and unit else text

    def _note(self, values: Mapping[str, Any], flag: str | None) -> str:
        """Return the flag in words and the reference range, as far as the row has them."""
        parts = [self._text_of(_FLAG, values)] if flag and flag != _USUAL_FLAG else []
        low, high = values.get(_LOW), values.get(_HIGH)
        if low is not None or high is not None:
            parts.append(f"({_plain_text(low)}–{_plain_text(high)})")
        return " ".join(parts)

    def _text_of(self, name: str | None, values: Mapping[str, Any]) -> str:
        if name is None or values.get(name) is None or name not in self._columns:
            return ""
        return self._columns[name][1](values[name])[0]

    def _shown(self, values: Mapping[str, Any]) -> Iterator[ShownField]:
        columns = self._columns
        for name, value in values.items():
            if value is None or value == "":
                continue
            if name not in columns:
                yield _plain(name, value)
                continue
            title, write = columns[name]
            text, code = write(value)
            if text:
                yield ShownField(title, text, code, len(text) > _WIDE_FROM)


def _writer(field: Field, reader: Reader) -> Callable[[Any], tuple[str, str]]:
    """Return how values of `field` are put in words: the words, and the code they stand for."""
    write = _single_writer(field, reader)
    if field.repeat == 1:
        return write
    return lambda values: (" · ".join(write(one)[0] for one in values if one is not None), "")


def _single_writer(field: Field, reader: Reader) -> Callable[[Any], tuple[str, str]]:
    if not reader.revealed:
        if field.role is Role.BIRTH_DATE:
            return lambda value: (formats.mask_birth(value) if isinstance(value, date) else "—", "")
        if field.privacy is Privacy.DIRECT:
            mask = _mask_of(field)
            return lambda value: (mask(_plain_text(value)), "")
    table = reader.pack.codes.get(field.value_set) if field.value_set else None
    if table is not None:
        meanings = {code: text.in_(reader.language) for code, text in table.titles().items()}
        return lambda code: (meanings[code], str(code)) if code in meanings else (_plain_text(code), "")
    if field.type is FieldType.BOOLEAN:
        return lambda value: (reader.yes if value else reader.no, "")
    if field.unit:
        return lambda value: (f"{_plain_text(value)} {field.unit}", "")
    return lambda value: (value if type(value) is str else _plain_text(value), "")


def _naming_field(dataset: Dataset) -> Field | None:
    """Where no field plays the part of the item: the first name of a thing that is not a person's."""
    return next(
        (
            field
            for field in dataset.fields
            if field.name.endswith("_name")
            and field.privacy not in (Privacy.DIRECT, Privacy.NONE)
            and field.role is None
        ),
        None,
    )


def _mask_of(field: Field) -> Callable[[str], str]:
    """Return the mask that fits what the field holds."""
    if field.role is Role.PHONE:
        return formats.mask_phone
    if field.role is Role.NAME or field.name.endswith("_name"):
        return formats.mask_name
    if field.role is Role.ADDRESS:
        return formats.mask_text
    return lambda text: formats.mask_number(text) if text.isascii() else formats.mask_text(text)


def _plain(name: str, value: Any) -> ShownField:
    return ShownField(title=name, value=_plain_text(value), code="", wide=False)


def _plain_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value)


def _age_on(day: date | None, reader: Reader) -> str:
    if day is None or reader.birth_date is None or day < reader.birth_date:
        return ""
    return formats.age(reader.birth_date, today=day, language=reader.language)
