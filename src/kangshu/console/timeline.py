"""A person's rows as a reader wants them: by day, by data set and institution, each with one headline.

Identifiers stay masked until the reader asks for them; codes come with their meaning. Nothing here
knows a data set by name: what to show first is told by the roles of the declared fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from kangshu.console import formats
from kangshu.declarations import Dataset, Field, Pack, Privacy, Role
from kangshu.kernel.texts import Language
from kangshu.lake import PersonRow

_WIDE_FROM = 36
"""A value of more characters takes the whole width (by eye)."""
_FLAG, _UNIT, _LOW, _HIGH = "flag", "unit", "reference_low", "reference_high"
"""Fields by which a result is completed, where a data set declares them."""
_USUAL_FLAG = "N"


@dataclass(frozen=True, kw_only=True)
class ShownField:
    """One filled field of a row: its title, its value in words, and its code where it has one."""

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
    sheets = {name: _Sheet(dataset, reader) for name, dataset in reader.pack.datasets.items()}
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
        self._reader = reader
        self._fields = {field.name: field for field in dataset.fields}
        self._item = dataset.with_role(Role.ITEM) or _naming_field(dataset)
        self._result = dataset.with_role(Role.RESULT)
        self._meanings = {
            field.name: {code: text.in_(reader.language) for code, text in table.titles().items()}
            for field in dataset.fields
            if field.value_set and (table := reader.pack.codes.get(field.value_set))
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
        parts: list[str] = []
        if flag and flag != _USUAL_FLAG:
            parts.append(self._meanings.get(_FLAG, {}).get(flag, flag))
        low, high = values.get(_LOW), values.get(_HIGH)
        if low is not None or high is not None:
            parts.append(f"({_plain_text(low)}–{_plain_text(high)})")
        return " ".join(parts)

    def _text_of(self, field: Field | None, values: Mapping[str, Any]) -> str:
        if field is None or values.get(field.name) is None:
            return ""
        return self._words(field, values[field.name])[0]

    def _shown(self, values: Mapping[str, Any]) -> Iterable[ShownField]:
        for name, value in values.items():
            if value is None or value == [] or value == "":
                continue
            field = self._fields.get(name)
            if field is None:
                yield _plain(name, value)
                continue
            text, code = self._words(field, value)
            if text:
                title = field.title.in_(self._reader.language)
                yield ShownField(title=title, value=text, code=code, wide=len(text) > _WIDE_FROM)

    def _words(self, field: Field, value: Any) -> tuple[str, str]:
        """Return the value in words, masked if it names somebody, and the code that stands for it."""
        if isinstance(value, list):
            texts = [self._words(field, one)[0] for one in value if one is not None]
            return " · ".join(texts), ""
        if not self._reader.revealed:
            if field.role is Role.BIRTH_DATE and isinstance(value, date):
                return formats.mask_birth(value), ""
            if field.privacy is Privacy.DIRECT:
                return _masked(field, _plain_text(value)), ""
        meanings = self._meanings.get(field.name)
        if meanings and value in meanings:
            return meanings[value], str(value)
        text = self._plain_value(value)
        return (f"{text} {field.unit}" if field.unit else text), ""

    def _plain_value(self, value: Any) -> str:
        if isinstance(value, bool):
            return self._reader.yes if value else self._reader.no
        return _plain_text(value)


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


def _masked(field: Field, text: str) -> str:
    if field.role is Role.PHONE:
        return formats.mask_phone(text)
    if field.role is Role.NAME or field.name.endswith("_name"):
        return formats.mask_name(text)
    if field.role is Role.ADDRESS or not text.isascii():
        return formats.mask_text(text)
    return formats.mask_number(text)


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
