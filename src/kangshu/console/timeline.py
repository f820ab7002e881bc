"""A person's timeline as a reader wants it: by day, by visit, by kind; each entry with one headline.

Identifiers stay masked until the reader asks for them; codes come with their meaning. What was corrected,
cancelled or entered in error shows as that. Nothing here knows a data set by name: of rows that came in bulk,
what they are is told by their mapping, and what they hold by the declared fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import Decimal
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import quote

from kangshu.console import formats
from kangshu.console.masking import Mask
from kangshu.console.paging import address_of_pairs
from kangshu.console.rendering import say
from kangshu.declarations import Dataset, Field, FieldType, Pack, Privacy, Role
from kangshu.kernel.texts import Language
from kangshu.lake import PersonRow
from kangshu.records import (
    Detail,
    Kind,
    Measure,
    State,
    TimelineEntry,
    detail_title,
    kind_title,
    state_title,
    word_title,
)

Side: TypeAlias = Literal["", "high", "low", "odd"]
"""On which side of the usual a value lies; `odd` where it has no side."""

TREND_KINDS = frozenset({Kind.LABORATORY, Kind.VITAL_SIGN, Kind.EXAMINATION})
"""Kinds whose numbers are followed over time."""
VOID = frozenset({State.CANCELLED, State.WITHDRAWN, State.REPLACED})
"""States in which what an entry says does not, or no longer, hold."""
TREND_CODES = 6
"""So many items stand on one page of trends."""
_WIDE_FROM = 36
"""A value of more characters takes the whole width (by eye)."""
_SIDES: Mapping[str, Side] = {
    **dict.fromkeys(("H", "HH", "HU", ">", "U"), "high"),
    **dict.fromkeys(("L", "LL", "LU", "<", "D"), "low"),
    **dict.fromkeys(("A", "AA", "POS", "R", "W"), "odd"),
}
_URGENT = frozenset({"HH", "LL", "AA"})
_USUAL_FLAGS = frozenset({"N", "NEG", "S"})
_TONES: Mapping[State, tuple[str, str]] = {
    State.PLANNED: ("info", "clock"),
    State.PRELIMINARY: ("warn", "clock"),
    State.CORRECTED: ("info", "turn"),
    State.CANCELLED: ("", "cross"),
    State.WITHDRAWN: ("bad", "cross"),
    State.REPLACED: ("", "replaced"),
}
# What is said beside the title, the first of these that the entry tells.
_NOTES: Mapping[Kind, tuple[str, ...]] = {
    Kind.VISIT: ("cancelled_for", "department", "participant", "reason"),
    Kind.DIAGNOSIS: ("clinical_status", "severity", "body_site"),
    Kind.LABORATORY: ("conclusion", "absent", "note"),
    Kind.EXAMINATION: ("conclusion", "body_site", "note"),
    Kind.PRESCRIPTION: ("dose", "quantity"),
    Kind.OPERATION: ("body_site", "outcome", "participant"),
    Kind.IMMUNIZATION: ("reason", "dose_number", "lot", "manufacturer"),
    Kind.ALLERGY: ("reaction", "severity"),
    Kind.DOCUMENT: ("author", "custodian"),
}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?")
_DOCUMENT = re.compile(r"Binary/([A-Za-z0-9.-]{1,64})")
_UNDATED = datetime(1, 1, 1)  # noqa: DTZ001 - entries have local time without zone
_JOINED = "；"  # as records joins what is several


class ShownField(NamedTuple):
    """One filled field of an entry: its title, its value in words, and its code where it has one.

    A tuple, for a page has thousands of them.
    """

    title: str
    value: str
    code: str
    wide: bool


class Badge(NamedTuple):
    """That an entry is not simply valid."""

    text: str
    tone: str
    sign: str


@dataclass(frozen=True, kw_only=True)
class ShownMeasure:
    """A value as people read it, with what is usual."""

    title: str
    value: str
    unit: str
    side: Side
    urgent: bool
    flag: str
    """The flag in words; also where nobody said it and the value lies outside the range that came with it."""
    usual: str
    """The reference range."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an entry comes from: a message with its version, or a row of a file."""

    place: str
    version: int | None
    message: int | None
    file: int | None
    row: int | None
    absorbed: int | None
    """The number under which it stands, where that is not the number of the page."""


@dataclass(frozen=True, kw_only=True)
class ShownEntry:
    """One entry: when, what, with which result, whether it holds, and all that is known of it."""

    kind: Kind
    clock: str
    title: str
    note: str
    measure: ShownMeasure | None
    parts: tuple[ShownMeasure, ...]
    badge: Badge | None
    void: bool
    heads: bool
    """It stands for what follows it: a report whose results are entries of their own."""
    fields: tuple[ShownField, ...]
    source: Source
    trend: str | None
    history: str | None
    document: str | None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Entries of one kind within a visit."""

    kind: Kind
    title: str
    entries: tuple[ShownEntry, ...]


@dataclass(frozen=True, kw_only=True)
class Stay:
    """What happened on one day at one institution in one visit; `visits` tell of the visit itself.

    `began` is the day on which the visit began, where that was earlier and is on the same page.
    """

    institution: str
    visits: tuple[ShownEntry, ...]
    within: str
    began: date | None
    batches: tuple[Batch, ...]


@dataclass(frozen=True, kw_only=True)
class TimelineDay:
    """A day with everything that happened on it; `day` is None for entries without a date."""

    day: date | None
    age: str
    stays: tuple[Stay, ...]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How a timeline is to be written: in which language, with which names, and what stays hidden."""

    pack: Pack
    language: Language
    institution_names: Mapping[str, str]
    revealed: bool
    person: int
    path: str
    """The address of the record, to which pages of its entries belong."""
    mask: Mask
    zone: tzinfo
    birth_date: date | None = None

    def say(self, key: str, **values: object) -> str:
        """Return a text of the console."""
        return say(key, **values).in_(self.language)

    def word(self, text: str) -> str:
        """Return what a code means where senders often give nothing else."""
        known = word_title(text)
        return known.in_(self.language) if known else text

    def history(self, kind: str, id_: str) -> str:
        """Return the address of all versions of a stored entry."""
        return f"{self.path}/entries/{kind}/{quote(id_)}"

    def place(self, code: str) -> str:
        """Return what an institution is called."""
        return self.institution_names.get(code, code)


def timeline(entries: Sequence[TimelineEntry], *, reader: Reader) -> tuple[TimelineDay, ...]:
    """Return `entries` (newest first) by day, within a day by visit, within a visit by kind."""
    writer = Writer(reader)
    visits = _visits(entries)
    return tuple(
        TimelineDay(day=day, age=_age_on(day, reader), stays=_stays(list(members), day, visits, writer))
        for day, members in groupby(entries, key=lambda entry: entry.at.date() if entry.at else None)
    )


def _visits(entries: Sequence[TimelineEntry]) -> dict[str, TimelineEntry]:
    """Return the visits on the page by the key that what belongs to them has."""
    return {_visit_key(entry): entry for entry in entries if entry.kind is Kind.VISIT and _visit_key(entry)}


def _visit_key(entry: TimelineEntry) -> str:
    """Return to which visit an entry belongs; empty where nobody says so."""
    if entry.row is not None:
        number = entry.row.values.get("visit_number")
        return f"{entry.institution} {number}" if number else ""
    if entry.kind is Kind.VISIT:
        return entry.reference
    return entry.visit or ""


def _stays(
    entries: Sequence[TimelineEntry],
    day: date | None,
    visits: Mapping[str, TimelineEntry],
    writer: Writer,
) -> tuple[Stay, ...]:
    groups: dict[tuple[str, str], list[TimelineEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.institution, _visit_key(entry)), []).append(entry)
    # What nobody tells the visit of belongs to the only visit there was at the place on that day.
    for place, key in [one for one in groups if not one[1]]:
        others = [one for one in groups if one[0] == place and one[1]]
        if len(others) == 1:
            loose = groups.pop((place, key))
            groups[others[0]] = [*groups[others[0]], *loose]
    return tuple(
        _stay(members, day=day, visit=visits.get(key), writer=writer)
        for (_, key), members in sorted(groups.items(), key=lambda one: _latest(one[1]), reverse=True)
    )


def _latest(entries: Iterable[TimelineEntry]) -> datetime:
    return max((entry.at for entry in entries if entry.at), default=_UNDATED)


def _stay(
    entries: Sequence[TimelineEntry], *, day: date | None, visit: TimelineEntry | None, writer: Writer
) -> Stay:
    by_kind: dict[Kind, list[TimelineEntry]] = {}
    for entry in entries:
        by_kind.setdefault(entry.kind, []).append(entry)
    visits = by_kind.pop(Kind.VISIT, [])
    earlier = visit if visit is not None and visit not in visits else None
    began = earlier.at.date() if earlier is not None and earlier.at else None
    return Stay(
        institution=writer.reader.place(entries[0].institution),
        visits=tuple(writer.entry(one) for one in visits),
        within=writer.title(earlier) if earlier is not None else "",
        began=began if began != day else None,
        batches=tuple(
            Batch(
                kind=kind,
                title=kind_title(kind).in_(writer.reader.language),
                entries=tuple(writer.entry(one) for one in by_kind[kind]),
            )
            for kind in Kind
            if kind in by_kind
        ),
    )


class Writer:
    """Writes entries; made once for a page, for what a data set declares is looked up once."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._sheets: dict[str, _Sheet] = {}

    def entry(self, entry: TimelineEntry) -> ShownEntry:
        """Return an entry as it is shown."""
        reader = self.reader
        sheet = self._sheet(entry)
        mask = reader.mask
        if sheet is not None and entry.row is not None:
            mask = sheet.mask(entry.row.values)
        measure = self._measure(entry, mask)
        kind, _, id_ = entry.reference.partition("/")
        return ShownEntry(
            kind=entry.kind,
            clock="" if entry.at is None or entry.whole_day else entry.at.strftime("%H:%M"),
            title=mask(self.title(entry)),
            note=mask(self._note(entry)),
            measure=measure,
            parts=tuple(self._part(part, mask) for part in entry.parts),
            badge=self.badge(entry.state),
            void=entry.state in VOID,
            heads=kind == "DiagnosticReport",
            fields=tuple(self._fields(entry, sheet, mask)),
            source=self._source(entry),
            trend=self._trend(entry),
            history=reader.history(kind, id_) if entry.source == "record" else None,
            document=self._document(entry),
        )

    def title(self, entry: TimelineEntry) -> str:
        """Return what an entry is, in words; of a visit also which class it is of."""
        reader = self.reader
        title = reader.word(entry.title) if entry.title else ""
        if not title:
            sheet = self._sheet(entry)
            title = sheet.title if sheet is not None else kind_title(entry.kind).in_(reader.language)
        if entry.kind is not Kind.VISIT:
            return title
        lead = [
            reader.say("person.appointment") if entry.reference.startswith("Appointment/") else "",
            *(reader.word(one.value) for one in entry.details if one.key == "visit_class"),
        ]
        words = " · ".join(dict.fromkeys(word for word in (*lead, title) if word))
        return words[:1].upper() + words[1:]

    def _sheet(self, entry: TimelineEntry) -> _Sheet | None:
        name = entry.dataset
        if name is None or name not in self.reader.pack.datasets:
            return None
        if name not in self._sheets:
            self._sheets[name] = _Sheet(self.reader.pack.datasets[name], self.reader)
        return self._sheets[name]

    def _measure(self, entry: TimelineEntry, mask: Mask) -> ShownMeasure | None:
        if entry.value is None:
            return None
        measure = Measure(
            value=entry.value,
            number=entry.number,
            unit=entry.unit,
            low=entry.low,
            high=entry.high,
            usual=entry.usual,
            flag=entry.flag,
        )
        return self._part(measure, mask)

    def measure(self, measure: Measure) -> ShownMeasure:
        """Return a value with what is usual, as it is shown."""
        return self._part(measure, self.reader.mask)

    def _part(self, measure: Measure, mask: Mask) -> ShownMeasure:
        side, flag = self._flag(measure)
        title = measure.title or measure.code or ""
        return ShownMeasure(
            title=mask(self.reader.word(title)),
            value=mask(self.reader.word(measure.value or "")),
            unit=measure.unit or "",
            side=side,
            urgent=measure.flag in _URGENT,
            flag=flag,
            usual=usual_text(measure),
        )

    def _flag(self, measure: Measure) -> tuple[Side, str]:
        flag = measure.flag
        if flag in _USUAL_FLAGS:
            return "", ""
        if flag:
            return _SIDES.get(flag, "odd"), self.reader.word(flag)
        number = measure.number
        if number is not None and measure.high is not None and number > measure.high:
            return "high", self.reader.say("person.above")
        if number is not None and measure.low is not None and number < measure.low:
            return "low", self.reader.say("person.below")
        return "", ""

    def badge(self, state: State) -> Badge | None:
        """Return what tells that an entry is not simply valid."""
        if state not in _TONES:
            return None
        return Badge(state_title(state).in_(self.reader.language), *_TONES[state])

    def _note(self, entry: TimelineEntry) -> str:
        told = {detail.key: detail for detail in entry.details}
        for key in _NOTES.get(entry.kind, ()):
            if key in told and (text := self._detail(told[key])) and text != entry.title:
                return f"{detail_title(key).in_(self.reader.language)} {text}" if key in _NAMED else text
        return ""

    def _detail(self, detail: Detail) -> str:
        words = (self.reader.word(word) for word in detail.value.split(_JOINED))
        return _JOINED.join(_day_and_time(word, self.reader.zone) for word in words)

    def _fields(self, entry: TimelineEntry, sheet: _Sheet | None, mask: Mask) -> Iterator[ShownField]:
        if entry.row is not None:
            yield from sheet.fields(entry.row) if sheet is not None else _plain_fields(entry.row)
            return
        for part in entry.parts:
            shown = self._part(part, mask)
            value = " ".join(word for word in (shown.value, shown.unit, shown.flag) if word)
            yield _field(shown.title, value + (f" ({shown.usual})" if shown.usual else ""))
        for detail in entry.details:
            title = detail_title(detail.key).in_(self.reader.language)
            yield _field(title, mask(self._detail(detail)))
        if entry.code:
            yield _field(self.reader.say("person.code"), "", code=entry.code)
        if entry.status:
            yield _field(self.reader.say("person.status"), "", code=entry.status)

    def _source(self, entry: TimelineEntry) -> Source:
        row = entry.row
        return Source(
            place=self.reader.place(entry.institution),
            version=entry.version,
            message=entry.message,
            file=row.file if row is not None else None,
            row=row.row if row is not None else None,
            absorbed=entry.person if entry.person != self.reader.person else None,
        )

    def _trend(self, entry: TimelineEntry) -> str | None:
        """Return where the numbers of this entry's items are shown over time."""
        if entry.kind not in TREND_KINDS or entry.state in VOID:
            return None
        codes = [entry.code] if entry.code and entry.number is not None else []
        codes += [part.code for part in entry.parts if part.code and part.number is not None]
        pairs = [("code", code) for code in dict.fromkeys(codes)][:TREND_CODES]
        return address_of_pairs(f"{self.reader.path}/trend", pairs) if pairs else None

    def _document(self, entry: TimelineEntry) -> str | None:
        found = _DOCUMENT.fullmatch(entry.document or "")
        return f"{self.reader.path}/documents/{found[1]}" if found else None


_NAMED = frozenset({"dose_number", "lot", "custodian", "quantity"})
"""Details that say little without their name."""


def usual_text(measure: Measure) -> str:
    """Return the reference range as people write it; empty where none came."""
    low, high = measure.low, measure.high
    if low is not None and high is not None:
        return f"{_digits(low)}–{_digits(high)}"
    if low is not None:
        return f"≥ {_digits(low)}"
    if high is not None:
        return f"≤ {_digits(high)}"
    return measure.usual or ""


class _Sheet:
    """How rows of one data set are written; made once for all of its rows on a page."""

    def __init__(self, dataset: Dataset, reader: Reader) -> None:
        self.title = dataset.title.in_(reader.language)
        self._columns = {
            field.name: (field.title.in_(reader.language), _writer(field, reader)) for field in dataset.fields
        }
        self._reader = reader
        self._hidden = [
            (field.name, _mask_of(field))
            for field in dataset.fields
            if field.privacy is Privacy.DIRECT and field.type is FieldType.STRING and field.repeat == 1
        ]

    def mask(self, values: Mapping[str, Any]) -> Mask:
        """Return what hides the row's own identifiers, in whatever text of it they stand."""
        reader = self._reader
        if reader.revealed:
            return reader.mask
        found = {
            value: mask(value)
            for name, mask in self._hidden
            if isinstance(value := values.get(name), str) and len(value) > 1
        }
        return reader.mask.and_also(found) if found else reader.mask

    def fields(self, row: PersonRow) -> Iterator[ShownField]:
        """Yield the filled fields of a row."""
        columns = self._columns
        for name, value in row.values.items():
            if value is None or value == "":
                continue
            if name not in columns:
                yield _plain(name, value)
                continue
            title, write = columns[name]
            text, code = write(value)
            if text:
                yield ShownField(title, self._reader.mask(text), code, len(text) > _WIDE_FROM)


def _plain_fields(row: PersonRow) -> Iterator[ShownField]:
    """Yield what a row of a data set holds that the pack no longer declares."""
    return (_plain(name, value) for name, value in row.values.items() if value is not None)


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
        yes, no = reader.say("person.yes"), reader.say("person.no")
        return lambda value: (yes if value else no, "")
    if field.unit:
        return lambda value: (f"{_plain_text(value)} {field.unit}", "")
    return lambda value: (value if type(value) is str else _plain_text(value), "")


def _mask_of(field: Field) -> Callable[[str], str]:
    """Return the mask that fits what the field holds."""
    if field.role is Role.PHONE:
        return formats.mask_phone
    if field.role is Role.NAME or field.name.endswith("_name"):
        return formats.mask_name
    if field.role is Role.ADDRESS:
        return formats.mask_text
    return lambda text: formats.mask_number(text) if text.isascii() else formats.mask_text(text)


def _field(title: str, value: str, *, code: str = "") -> ShownField:
    return ShownField(title, value, code, len(value) > _WIDE_FROM)


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


def _digits(number: Decimal) -> str:
    """Return a limit without the zeros that a column's scale adds; an enormous one keeps its exponent."""
    return f"{number.normalize():f}" if abs(number.adjusted()) < 30 else str(number)


def _day_and_time(text: str, zone: tzinfo) -> str:
    """Return FHIR's moment as people here write one; other texts stay as they are."""
    if not _MOMENT.fullmatch(text):
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (moment.astimezone(zone) if moment.tzinfo else moment).strftime("%Y-%m-%d %H:%M")


def _age_on(day: date | None, reader: Reader) -> str:
    if day is None or reader.birth_date is None or day < reader.birth_date:
        return ""
    return formats.age(reader.birth_date, today=day, language=reader.language)
