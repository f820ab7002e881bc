"""A clinical document made ready for a page: facts, sections, lines; plain texts, bounded, masked.

Reading a large document takes long: callers do it away from the event loop. Nothing of the document's own
markup is left; what a template gets are texts, which it escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

from kangshu.console import formats
from kangshu.console.masking import Mask
from kangshu.kernel.texts import Language
from kangshu.standards import cda

SHOWN_MOST = 8 << 20
"""Bytes of a document that becomes a page; a larger one is a scan or a mistake, and is downloaded."""
_PIECES_MOST = 5000
"""Lines, rows and paragraphs of a page: more nobody reads, and a browser takes seconds for them."""
_LEVELS = 5
_SPAN_MOST = 40
_SHORT = 4
_FACT_MASKS = {"patient": formats.mask_name}
_BIRTH = re.compile(r"(\d{4})\D.*")


class Line(NamedTuple):
    """One coded entry: what it is, its value, when; `level` from 0 says under what it stands."""

    level: int
    title: str
    value: str
    time: str
    flag: str
    usual: str
    code: str


class Item(NamedTuple):
    """One item of a list; `mark` is its number in an ordered one."""

    level: int
    mark: str
    text: str


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    heading: bool
    columns: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class TextBlock:
    """Text, line by line."""

    text: str = field(repr=False)
    kind: Literal["text"] = "text"


@dataclass(frozen=True, kw_only=True)
class ItemsBlock:
    """A list with all that is in it."""

    caption: str
    items: tuple[Item, ...] = field(repr=False)
    kind: Literal["list"] = "list"


@dataclass(frozen=True, kw_only=True)
class TableBlock:
    """A table."""

    caption: str
    head: tuple[tuple[Cell, ...], ...] = field(repr=False)
    rows: tuple[tuple[Cell, ...], ...] = field(repr=False)
    kind: Literal["table"] = "table"


@dataclass(frozen=True, kw_only=True)
class LinesBlock:
    """Coded entries."""

    lines: tuple[Line, ...] = field(repr=False)
    kind: Literal["lines"] = "lines"


PageBlock: TypeAlias = TextBlock | ItemsBlock | TableBlock | LinesBlock


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """A section: `lines` are its coded entries where `blocks` are the text that goes with them."""

    number: int
    level: int
    title: str
    code: str
    blocks: tuple[PageBlock, ...] = field(repr=False)
    lines: tuple[Line, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class PageFact:
    """A fact of the header."""

    key: str
    title: str
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class DocumentPage:
    """A document as a page shows it; `cut` says that there is more of it than a page holds."""

    title: str
    facts: tuple[PageFact, ...] = field(repr=False)
    sections: tuple[PageSection, ...] = field(repr=False)
    attachment: str
    body: bool
    """Whether its body is a file that can be downloaded by itself."""
    cut: bool


@dataclass(frozen=True, kw_only=True)
class Body:
    """The file that is a document's body: a scan, a PDF."""

    media_type: str
    content: bytes = field(repr=False)


def make_page(data: bytes, *, language: Language, mask: Mask | None) -> DocumentPage:
    """Return the page of a clinical document; with a mask, its patient cannot be recognised by it.

    Raises:
        CdaError: it cannot be read as a clinical document.
    """
    document = cda.parse(data)
    view = cda.view(document, language=language)
    hide = Mask.none() if mask is None else mask.and_also(_secrets(document))
    budget = _Budget(_PIECES_MOST)
    maker = _Maker(hide, budget)
    sections = tuple(maker.sections(view.sections))
    return DocumentPage(
        title=hide(view.title),
        facts=tuple(_fact(fact, hide, masked=mask is not None) for fact in view.facts),
        sections=sections,
        attachment=view.attachment,
        body=_media(document) is not None,
        cut=budget.spent,
    )


def read_body(data: bytes) -> Body | None:
    """Return the file that is the document's body, or None where its body is text or a link.

    Raises:
        CdaError: it cannot be read as a clinical document.
    """
    media = _media(cda.parse(data))
    if media is None:
        return None
    return Body(media_type=media.media_type or "", content=cda.content_of(media))


def _media(document: cda.Document) -> cda.Media | None:
    body = document.body
    if not isinstance(body, cda.Media) or body.base64 is None:
        return None
    return None if (body.media_type or "").startswith("text/") else body


def _secrets(document: cda.Document) -> dict[str, str]:
    """Return what the document tells of who its patient is, and what is read instead."""
    patient = document.patient
    secrets: dict[str, str] = {}
    for name in patient.names:
        for text in (name.full, name.text):
            if text and len(text) > 1:
                secrets[text] = formats.mask_name(text)
    for number in (*patient.ids, *patient.person_ids):
        if number.extension and len(number.extension) >= _SHORT:
            secrets[number.extension] = formats.mask_number(number.extension)
    for telecom in patient.telecoms:
        value = telecom.value.partition(":")[2] or telecom.value
        if len(value) >= _SHORT:
            secrets[value] = formats.mask_phone(value)
    for address in patient.addresses:
        for text in (address.text, *(text for part, text in address.parts if part in _STREET)):
            if text and len(text) >= _SHORT:
                secrets[text] = formats.mask_text(text)
    birth = (patient.birth_time or "")[:8]
    if len(birth) == 8 and birth.isdigit():
        for text in (birth, f"{birth[:4]}-{birth[4:6]}-{birth[6:]}"):
            secrets[text] = f"{birth[:4]}-**-**"
    return secrets


_STREET = frozenset({"streetName", "streetAddressLine", "houseNumber", "additionalLocator", "unitID"})


def _fact(fact: cda.Fact, mask: Mask, *, masked: bool) -> PageFact:
    value = mask(fact.value)
    if masked and fact.key in _FACT_MASKS:
        value = _FACT_MASKS[fact.key](fact.value)
    elif masked and fact.key == "birth":
        value = _BIRTH.sub(r"\1-**-**", fact.value)
    return PageFact(key=fact.key, title=fact.label, value=value)


class _Budget:
    """How many pieces a page may still have."""

    def __init__(self, most: int) -> None:
        self._left = most
        self.spent = False

    def take(self) -> bool:
        """Take one piece, if there is one left."""
        if self._left <= 0:
            self.spent = True
            return False
        self._left -= 1
        return True


class _Maker:
    """Makes the parts of a page, as many as the budget allows."""

    def __init__(self, mask: Mask, budget: _Budget) -> None:
        self._mask, self._budget = mask, budget
        self._number = 0

    def sections(self, sections: Iterable[cda.ViewSection], level: int = 0) -> Iterator[PageSection]:
        """Yield the sections with all below them, one after the other."""
        for section in sections:
            if not self._budget.take():
                return
            self._number += 1
            made = PageSection(
                number=self._number,
                level=min(level, _LEVELS),
                title=self._mask(section.title),
                code=section.code,
                blocks=(),
                lines=(),
            )
            blocks = tuple(block for one in section.blocks for block in self._block(one))
            told_twice = not any(isinstance(one, cda.Entries) for one in section.blocks)
            lines = tuple(self._lines(section.entries)) if told_twice else ()
            yield replace(made, blocks=blocks, lines=lines)
            yield from self.sections(section.sections, level + 1)

    def _block(self, block: cda.ViewBlock) -> Iterator[PageBlock]:
        if isinstance(block, cda.Paragraph):
            if self._budget.take():
                yield TextBlock(text=self._mask(block.text))
        elif isinstance(block, cda.ListBlock):
            yield ItemsBlock(caption=self._mask(block.caption), items=tuple(self._items(block)))
        elif isinstance(block, cda.Table):
            yield TableBlock(
                caption=self._mask(block.caption),
                head=tuple(self._rows(block.head)),
                rows=tuple(self._rows(block.rows)),
            )
        else:
            yield LinesBlock(lines=tuple(self._lines(block.entries)))

    def _items(self, block: cda.ListBlock, level: int = 0) -> Iterator[Item]:
        for number, item in enumerate(block.items, 1):
            mark = f"{number}." if block.ordered else "•"
            for inner in item:
                if isinstance(inner, cda.ListBlock):
                    if inner.caption and self._budget.take():
                        yield Item(min(level, _LEVELS), mark, self._mask(inner.caption))
                    yield from self._items(inner, level + 1)
                elif self._budget.take():
                    yield Item(min(level, _LEVELS), mark, self._mask(cda.blocks_text((inner,))))
                mark = ""

    def _rows(self, rows: Iterable[tuple[cda.Cell, ...]]) -> Iterator[tuple[Cell, ...]]:
        for row in rows:
            if not self._budget.take():
                return
            yield tuple(
                Cell(
                    self._mask(cell.text),
                    cell.heading,
                    min(max(cell.columns, 1), _SPAN_MOST),
                    min(max(cell.rows, 1), _SPAN_MOST),
                )
                for cell in row
            )

    def _lines(self, entries: Iterable[cda.CodedEntry], level: int = 0) -> Iterator[Line]:
        for entry in entries:
            if entry.title or entry.value:
                if not self._budget.take():
                    return
                yield Line(
                    min(level, _LEVELS),
                    self._mask(entry.title),
                    self._mask(entry.value),
                    entry.time,
                    entry.flag,
                    self._mask(entry.range),
                    entry.code,
                )
            yield from self._lines(entry.children, level + bool(entry.title or entry.value))


def download_name(id_: str, media_type: str) -> str:
    """Return a file name that names nobody."""
    return f"document-{id_}{_ENDINGS.get(media_type.partition(';')[0].strip().lower(), '')}"


_ENDINGS: Mapping[str, str] = {
    "text/xml": ".xml",
    "application/xml": ".xml",
    "application/hl7-sda+xml": ".xml",
    "application/pdf": ".pdf",
    "text/plain": ".txt",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "application/fhir+json": ".json",
    "application/json": ".json",
}
