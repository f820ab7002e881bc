"""A document as a page can render it: facts, sections, paragraphs, lists, tables, coded entries; plain text.

Chinese documents mostly have no narrative: what they say stands in coded entries, and these are what is read
then ("体温: 36.5 ℃"). Every text is plain; who renders it still escapes it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from kangshu.kernel.texts import Language
from kangshu.standards.cda.errors import say
from kangshu.standards.cda.model import (
    Block,
    Code,
    Document,
    Entry,
    Flag,
    ListBlock,
    Media,
    Organization,
    Paragraph,
    Party,
    Period,
    Plain,
    Quantity,
    QuantityRange,
    Section,
    Table,
    Value,
)
from kangshu.standards.cda.narrative import readable
from kangshu.standards.cda.times import readable_time
from kangshu.standards.cda.values import lines

_SEXES = {"1": "sex_male", "M": "sex_male", "2": "sex_female", "F": "sex_female"}
_UNIT = "DE04.30.016.00"  # data element 检查/检验计量单位
_MOST_TEXT = 2 << 20  # of an embedded text that is shown on the page; arbitrary


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One line of the header: `key` names it for the template, `label` for the reader."""

    key: str
    label: str
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodedEntry:
    """One coded entry as a line: title, value, time; `children` are its details or its members.

    A group without a name of its own has an empty title and children only.
    """

    title: str
    value: str = field(default="", repr=False)
    code: str = ""
    """The code of what the value is, for a reader who wants to know (`DE04.10.186.00`)."""
    time: str = ""
    flag: str = field(default="", repr=False)
    range: str = field(default="", repr=False)
    children: tuple[CodedEntry, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entries:
    """Coded entries in place of a narrative."""

    entries: tuple[CodedEntry, ...]
    kind: Literal["entries"] = "entries"


ViewBlock: TypeAlias = Block | Entries


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewSection:
    """A section: `blocks` are what to show; `entries` are there as well where the narrative is shown."""

    title: str
    code: str = ""
    blocks: tuple[ViewBlock, ...] = field(default=(), repr=False)
    entries: tuple[CodedEntry, ...] = ()
    sections: tuple[ViewSection, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """The page of a document. Every field is text; an empty one was not said."""

    title: str
    language: Language
    patient: str = field(repr=False)
    institution: str
    author: str
    document_class: str
    date: str
    version: str
    facts: tuple[Fact, ...] = field(repr=False)
    """All header facts, these and others, in the order in which one reads them."""
    sections: tuple[ViewSection, ...] = field(repr=False)
    attachment: str = ""
    """Said where the body is a file (a scan, a PDF) and not text."""


def view(document: Document, *, language: Language = "zh") -> View:
    """Return the page of `document` in `language`: labels are in it, the content is as it was written."""
    return _Viewer(language).view(document)


class _Viewer:
    def __init__(self, language: Language) -> None:
        self._language: Language = language

    def say(self, key: str, **values: object) -> str:
        return say(key, **values).in_(self._language)

    def view(self, document: Document) -> View:
        facts = tuple(self._facts(document))
        told = {fact.key: fact.value for fact in reversed(facts)}
        sections, attachment = self._body(document)
        return View(
            title=_clean(document.title) or told.get("class", ""),
            language=self._language,
            patient=told.get("patient", ""),
            institution=told.get("institution", ""),
            author=told.get("author", ""),
            document_class=told.get("class", ""),
            date=told.get("date", ""),
            version=told.get("version", ""),
            facts=facts,
            sections=sections,
            attachment=attachment,
        )

    # The header

    def _facts(self, document: Document) -> Iterator[Fact]:
        for key, value in self._told(document):
            if cleaned := _clean(value):
                yield Fact(key=key, label=self.say(f"fact_{key}"), value=cleaned)
        for party in document.signers:
            if name := _clean(party.name.full if party.name else ""):
                label = _clean(party.code.title if party.code else "") or self.say("fact_signer")
                time = readable_time(party.time.start) if party.time else ""
                yield Fact(key="signer", label=label, value=_clean(f"{name} {time}"))

    def _told(self, document: Document) -> Iterator[tuple[str, str]]:
        patient = document.patient
        yield "patient", next((name.full for name in patient.names if name.full), "")
        yield "sex", self._sex(patient.sex)
        yield "birth", readable_time(patient.birth_time)
        yield "age", _quantity(patient.age)
        yield "class", self._class(document)
        yield "date", readable_time(document.time)
        yield "version", "" if document.version is None else str(document.version)
        yield "number", document.identifier.extension or document.identifier.root or ""
        yield "institution", _organization(document.custodian)
        for author in document.authors:
            yield "author", _party_name(author)
        if document.visit:
            yield "visit", self._period(document.visit.time)
            yield "place", _place(document.visit.location) or (document.visit.facility or "")
        confidentiality = document.confidentiality
        if confidentiality and confidentiality.code != "N":
            yield "confidentiality", confidentiality.title

    def _sex(self, code: Code | None) -> str:
        if code is None:
            return ""
        known = _SEXES.get(code.code or "")
        return self.say(known) if known else (code.display or code.original_text or "")

    def _class(self, document: Document) -> str:
        code = document.type
        name = code.display or code.original_text or ""
        return f"{name} {code.code}" if name and code.code else (name or code.code or "")

    # The body

    def _body(self, document: Document) -> tuple[tuple[ViewSection, ...], str]:
        sections = tuple(self._section(section) for section in document.sections)
        text, attachment = self._unstructured(document.body)
        if text:
            blocks = tuple(Paragraph(text=one) for one in text.split("\n\n") if one.strip())
            sections = (*sections, ViewSection(title=self.say("body_title"), blocks=blocks))
        return sections, attachment

    def _unstructured(self, body: Media | Plain | None) -> tuple[str, str]:
        if body is None:
            return "", ""
        if isinstance(body, Plain):
            return readable(body.text), ""
        if body.base64 is None:
            return "", self.say("linked")
        kind = _clean(body.media_type or "") or "application/octet-stream"
        content = content_of(body)
        if kind.startswith("text/") and content and len(content) <= _MOST_TEXT:
            return readable(lines(_text_of(content))), ""
        return "", self.say("attached", type=kind, size=len(content))

    def _section(self, section: Section) -> ViewSection:
        entries = tuple(self._entries(section.entries))
        blocks: tuple[ViewBlock, ...] = section.narrative
        if not blocks and entries:
            blocks = (Entries(entries=entries),)
        return ViewSection(
            title=self._section_title(section),
            code=(section.code.code if section.code else None) or "",
            blocks=blocks,
            entries=entries,
            sections=tuple(self._section(one) for one in section.sections),
        )

    def _section_title(self, section: Section) -> str:
        if section.title:
            return _clean(section.title)
        if section.code and f"section_{section.code.code}" in say:
            return self.say(f"section_{section.code.code}")
        return _clean(section.code.title if section.code else "") or self.say("untitled_section")

    # Coded entries

    def _entries(self, entries: Iterable[Entry]) -> Iterator[CodedEntry]:
        for entry in entries:
            yield from self._entry(entry)

    def _entry(self, entry: Entry) -> Iterator[CodedEntry]:
        title, value = self._line(entry)
        unit = _unit_below(entry)
        if unit is not None:
            value = f"{value} {self.value(unit.values[0])}"
        nested = (child for child in entry.children if child is not unit)
        below = (*self._details(entry), *self._entries(nested))
        if entry.negated:
            value = self.say("negated", value=value or title)
        if not title and not value:  # a wrapper: what it holds speaks for itself
            if entry.kind == "organizer" and len(below) > 1:
                yield CodedEntry(title="", children=below, time=self._time(entry))
            else:
                yield from below
            return
        yield CodedEntry(
            title=title or self._kind(entry),
            value=value,
            code=_clean(entry.code.code if entry.code else ""),
            time=self._time(entry),
            flag=_clean("、".join(one.title for one in entry.interpretations)),
            range=self._range(entry),
            children=below,
        )

    def _line(self, entry: Entry) -> tuple[str, str]:
        said = _clean(entry.code.title if entry.code else "")
        if entry.kind == "observation":
            value = "；".join(text for one in entry.values if (text := self.value(one)))
            return said, value or ("" if said else _clean(entry.text or ""))
        if entry.kind in ("substanceAdministration", "supply"):
            product = _clean(entry.product.title if entry.product else "")
            return (
                (self._kind(entry), product or said or _clean(entry.text or ""))
                if product or said
                else ("", "")
            )
        if entry.kind in ("procedure", "encounter"):
            return (self._kind(entry), _coded(entry.code) or _clean(entry.text or "")) if said else ("", "")
        return said, _clean(entry.text or "") if said else ""

    def _kind(self, entry: Entry) -> str:
        key = f"kind_{entry.kind}"
        return self.say(key if key in say else "untitled_entry")

    def _details(self, entry: Entry) -> Iterator[CodedEntry]:
        product = entry.product
        told = (
            ("label_dose", _amount(entry.dose)),
            ("label_route", _clean(entry.route.title if entry.route else "")),
            ("label_interval", next((_quantity(time.every) for time in entry.times if time.every), "")),
            ("label_form", _clean(entry.form.title if entry.form else "")),
            ("label_quantity", _quantity(entry.quantity)),
            ("label_site", _clean("、".join(site.title for site in entry.sites))),
            ("label_lot", _clean((product.lot if product else None) or "")),
            ("label_manufacturer", _clean((product.manufacturer if product else None) or "")),
        )
        yield from (CodedEntry(title=self.say(label), value=value) for label, value in told if value)
        for party in entry.parties:
            if name := _clean(_party_name(party)):
                yield CodedEntry(title=_clean(self._party_title(party)), value=name, time=self._of(party))

    def _party_title(self, party: Party) -> str:
        if party.code and party.code.title:
            return party.code.title
        known = {"performer": "label_performer", "author": "label_author"}
        return self.say(known.get(party.role, "label_participant"))

    def _of(self, party: Party) -> str:
        return self._period(party.time)

    def _time(self, entry: Entry) -> str:
        return self._period(entry.time)

    def _period(self, period: Period | None) -> str:
        if period is None:
            return ""
        start, end = _clean(readable_time(period.start)), _clean(readable_time(period.high))
        if start and end and end != start:
            return self.say("until", start=start, end=end)
        return start or end

    def _range(self, entry: Entry) -> str:
        told = (
            _clean(one.text or "") or (self.value(one.value) if one.value else "") for one in entry.references
        )
        return "；".join(text for text in told if text)

    def value(self, value: Value) -> str:
        """Return a value as one reads it."""
        if isinstance(value, Code):
            return _coded(value)
        if isinstance(value, Quantity | QuantityRange):
            return _amount(value)
        if isinstance(value, Period):
            return self._period(value)
        if isinstance(value, Flag):
            return self.say("yes" if value.value else "no")
        if isinstance(value, Plain):
            return readable(value.text)
        return self.say("linked") if value.base64 is None else self._unstructured(value)[1]


def _unit_below(entry: Entry) -> Entry | None:
    """Return the entry below that is nothing but the unit of this one's number."""
    value = entry.value
    if not isinstance(value, Quantity) or value.unit not in (None, "1"):
        return None
    return next((one for one in entry.children if one.code and one.code.code == _UNIT and one.values), None)


def content_of(media: Media) -> bytes:
    """Return the bytes of encapsulated data; empty where it is a link, or no Base64."""
    try:
        return base64.b64decode(media.base64 or "", validate=False)
    except (binascii.Error, ValueError):
        return b""


def blocks_text(blocks: Iterable[ViewBlock]) -> str:
    """Return the text of blocks on lines, for a search or a short view."""
    return "\n".join(line for block in blocks for line in _block_lines(block))


def _block_lines(block: ViewBlock) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield block.text
    elif isinstance(block, ListBlock):
        if block.caption:
            yield block.caption
        for item in block.items:
            yield "• " + blocks_text(item)
    elif isinstance(block, Table):
        if block.caption:
            yield block.caption
        for row in (*block.head, *block.rows):
            yield " | ".join(cell.text for cell in row)
    else:
        for entry in block.entries:
            yield from _entry_lines(entry, indent="")


def _entry_lines(entry: CodedEntry, *, indent: str) -> Iterator[str]:
    if entry.title:
        tail = " ".join(part for part in (entry.value, entry.flag, entry.range, entry.time) if part)
        yield f"{indent}{entry.title}: {tail}" if tail else f"{indent}{entry.title}"
        indent += "  "
    for one in entry.children:
        yield from _entry_lines(one, indent=indent)


def _text_of(content: bytes) -> str:
    for codec in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(codec)
        except UnicodeDecodeError:
            continue
    return content.decode("utf-8", "replace")


def _clean(text: str | None) -> str:
    return " ".join(readable(text).split()) if text else ""


def _coded(code: Code | None) -> str:
    if code is None:
        return ""
    title = _clean(code.title)
    number = _clean(code.code or "")
    return f"{title} ({number})" if number and number != title else title


def _quantity(quantity: Quantity | None) -> str:
    if quantity is None:
        return ""
    unit = "" if quantity.unit in (None, "1") else quantity.unit
    return _clean(f"{quantity.text or ''} {unit or ''}")


def _amount(value: Quantity | QuantityRange | None) -> str:
    if not isinstance(value, QuantityRange):
        return _quantity(value)
    if value.low and value.high:
        low = replace(value.low, unit=None) if value.low.unit == value.high.unit else value.low
        return f"{_quantity(low)} – {_quantity(value.high)}"
    if value.low:
        return f"{'≥' if value.low_closed else '>'} {_quantity(value.low)}"
    return f"{'≤' if value.high_closed else '＜'} {_quantity(value.high)}"


def _party_name(party: Party) -> str:
    if party.name and party.name.full:
        return party.name.full
    if party.thing_name:
        return party.thing_name
    if party.thing and party.thing.title:
        return party.thing.title
    return _organization(party.organization)


def _organization(organization: Organization | None) -> str:
    return next((one.name for one in organization.chain() if one.name), "") if organization else ""


def _place(organization: Organization | None) -> str:
    """Return where the visit was, from the institution down to the bed."""
    if organization is None:
        return ""
    names = [one.name or next((i.extension or "" for i in one.ids), "") for one in organization.chain()]
    return " / ".join(name for name in reversed(names) if name)
