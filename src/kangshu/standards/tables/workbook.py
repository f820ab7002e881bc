"""XLSX (ECMA-376): the first sheet with a table in it, read as a stream of rows.

The XML is read by expat, part by part and cell by cell, and nothing is held but the shared strings. A ready
reader (calamine) builds the whole sheet in memory, as large as the farthest cell says, and ends the process
where that is too much; it serves as the yardstick in the tests.
"""

from __future__ import annotations

import posixpath
from array import array
from collections.abc import Callable, Iterator
from typing import Protocol
from xml.parsers import expat

import numpy as np
import pyarrow as pa

from kangshu.standards.tables.archives import Archive
from kangshu.standards.tables.batching import Batcher, Rows, text_schema
from kangshu.standards.tables.cells import Shows, meaning_of_format
from kangshu.standards.tables.errors import (
    EmptyFileError,
    EntityBombError,
    FileCutOffError,
    FileTooLargeError,
    NotATableError,
    UnsupportedFormatError,
    say,
)
from kangshu.standards.tables.headings import check_headings
from kangshu.standards.tables.model import (
    KIB,
    MIB,
    Batch,
    Compression,
    Limits,
    RaggedRow,
    RowFault,
    TableFormat,
    TableKind,
)
from kangshu.standards.tables.sheets import (
    MOST_DEPTH,
    CellReader,
    SheetRow,
    sheet_handlers,
    unescaped,
    whole_number,
)
from kangshu.standards.tables.sources import Source, amount

_CHUNK = 256 * KIB
_MOST_TOKEN = 8 * MIB  # one tag with its attributes
_MOST_SHEETS = 32  # each may unpack to the grace of the limits
_MOST_RELATIONS = 10_000
_MOST_FORMATS = 5_000  # Excel allows a few hundred, of 255 characters each
_MOST_STYLES = 100_000
_MOST_STRINGS = 4_000_000
_ROWS_AT_A_TIME = 2048
_OFFICE_DOCUMENT = "/officeDocument"
_OTHER_OFFICE = ("word/", "ppt/", "visio/")


def is_office_package(archive: Archive) -> bool:
    """Tell whether the zip file is an office document (which may be another one than a workbook)."""
    names = archive.names()
    return "[Content_Types].xml" in names or "mimetype" in names


class WorkbookTable:
    """A workbook, its sheet chosen and its heading read."""

    def __init__(self, archive: Archive, *, compression: Compression, limits: Limits) -> None:
        """Read the parts that describe the workbook and find the sheet.

        Raises:
            TableError: there is no sheet with a proper heading, or the workbook is not fit to be read.
        """
        self.format = TableFormat(kind=TableKind.XLSX, compression=compression)
        self._limits = limits
        self._book = _Workbook(archive, limits=limits)
        self._sheet, self._heading_row, cells = self._choose()
        self.headings = check_headings(cells, row=self._heading_row, limits=limits)

    def batches(self) -> Iterator[Batch]:
        """Yield all rows below the heading."""
        batcher = Batcher(width=len(self.headings), limits=self._limits)
        gathered = _Gathered(width=len(self.headings))
        for row in self._book.rows(self._sheet):
            if row.number <= self._heading_row:
                continue
            gathered.add(row)
            if gathered.rows_met >= _ROWS_AT_A_TIME or gathered.size >= self._limits.batch_bytes // 4:
                yield from batcher.add(gathered.rows())
                gathered = _Gathered(width=len(self.headings))
        yield from batcher.add(gathered.rows())
        yield from batcher.rest()

    def _choose(self) -> tuple[str, int, list[str | None]]:
        """Return the first sheet whose first row has several cells, else the first that has any.

        Hidden sheets (lists for drop-downs) are asked last.
        """
        single: tuple[str, int, list[str | None]] | None = None
        for part in self._book.sheets:
            first = next((row for row in self._book.rows(part) if row.width), None)
            if first is None:
                continue
            cells = (first.cells + [None] * first.width)[: first.width]
            if first.width > 1:
                return part, first.number, cells
            single = single or (part, first.number, cells)
        if single is None:
            raise EmptyFileError(say["empty_workbook"])
        return single


class _Gathered:
    """Rows on their way to columns."""

    def __init__(self, *, width: int) -> None:
        self._width = width
        self._table: list[list[str | None]] = []
        self._numbers = array("q")
        self.rows_met = 0
        self.size = 0
        self._ragged: list[RaggedRow] = []
        self._faults: list[RowFault] = []

    def add(self, row: SheetRow) -> None:
        self.rows_met += 1
        if row.width > self._width:
            self._ragged.append(RaggedRow(row=row.number, expected=self._width, actual=row.width))
        elif row.fault:
            self._faults.append(row.fault)
        elif row.width:
            missing = self._width - len(row.cells)
            self._table.append(row.cells + [None] * missing if missing > 0 else row.cells[: self._width])
            self._numbers.append(row.number)
            self.size += row.size

    def rows(self) -> Rows:
        columns = zip(*self._table, strict=True) if self._table else [()] * self._width
        return Rows(
            record=pa.record_batch(
                [pa.array(column, pa.string()) for column in columns], schema=text_schema(self._width)
            ),
            numbers=np.array(self._numbers, np.int64),
            ragged=self._ragged,
            faults=self._faults,
        )


class _Workbook:
    """The parts of a workbook: its sheets in order, its shared strings and what its formats mean."""

    def __init__(self, archive: Archive, *, limits: Limits) -> None:
        self._archive = archive
        self._limits = limits
        part = _workbook_part(archive, self._read)
        listed = _SheetList()
        self._read(part, listed)
        self._from_1904 = listed.from_1904
        related = _Relations(base=posixpath.dirname(part))
        self._read(_relations_of(part), related)
        self.sheets = [
            related.targets[identity]
            for identity in listed.visible + listed.hidden
            if related.targets.get(identity) in archive.names()
        ]
        self._meanings = self._formats(related.by_kind.get("/styles"))
        self._strings_part = related.by_kind.get("/sharedStrings")
        self._strings: list[str | None] | None = None

    def rows(self, part: str) -> Iterator[SheetRow]:
        """Yield the rows of the sheet in `part`, those without cells too if they are written down."""
        cells = CellReader(self._shared(), self._meanings, from_1904=self._from_1904, limits=self._limits)
        handlers = sheet_handlers(cells, limits=self._limits)
        for _ in self._parsing(part, handlers):
            yield from handlers.taken()
        yield from handlers.taken()

    def _shared(self) -> list[str | None]:
        """Return the shared strings, which are read when the first sheet is."""
        if self._strings is None:
            reader = _SharedStrings(limits=self._limits)
            if self._strings_part in self._archive.names():
                self._read(str(self._strings_part), reader)
            self._strings = reader.strings
        return self._strings

    def _formats(self, part: str | None) -> list[Shows]:
        reader = _Formats()
        if part is not None and part in self._archive.names():
            self._read(part, reader)
        return reader.meanings()

    def _read(self, part: str, reader: _Reader) -> None:
        for _ in self._parsing(part, reader):
            pass

    def _parsing(self, part: str, reader: _Handlers) -> Iterator[None]:
        """Parse a part of the package, pausing after each chunk."""
        if part not in self._archive.names():
            raise FileCutOffError(say["cut_off"])
        yield from _parse(self._archive.member(part, most_bytes=self._limits.scratch_bytes), reader)


class _Handlers(Protocol):
    """What expat calls while it reads a part."""

    @property
    def start(self) -> Callable[[str, dict[str, str]], None]: ...

    @property
    def end(self) -> Callable[[str], None]: ...

    @property
    def text(self) -> Callable[[str], None]: ...


class _Reader:
    """Handlers for the small parts; `begin` and `finish` get names without prefix."""

    def __init__(self) -> None:
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str], /) -> None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise EntityBombError(say["deep_xml"])
        self.begin(name.rpartition(":")[2], attributes)

    def end(self, name: str, /) -> None:
        self._depth -= 1
        self.finish(name.rpartition(":")[2])

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def finish(self, name: str) -> None:
        """An element ends."""

    def text(self, data: str, /) -> None:
        """Some text, perhaps a part of it."""


def _parse(source: Source, reader: _Handlers) -> Iterator[None]:
    """Feed an XML part to `reader`, pausing after each chunk.

    Raises:
        EntityBombError: it has a DOCTYPE, is nested too deeply, or has a monstrous tag.
        FileCutOffError: it is not well-formed.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = 64 * KIB
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    fed = 0
    for chunk in source.chunks(size=_CHUNK):
        _feed(parser, chunk, last=False)
        fed += len(chunk)
        if fed - max(parser.CurrentByteIndex, 0) > _MOST_TOKEN:
            raise EntityBombError(say["deep_xml"])
        yield
    _feed(parser, b"", last=True)


def _refuse_doctype(*_: object) -> None:
    raise EntityBombError(say["entities"])


def _feed(parser: expat.XMLParserType, chunk: bytes, *, last: bool) -> None:
    try:
        parser.Parse(chunk, last)
        return
    except (expat.ExpatError, LookupError, ValueError):  # expat's own, or an encoding that Python lacks
        pass
    raise FileCutOffError(say["cut_off"])


class _SheetList(_Reader):
    """The sheets of `workbook.xml`, and from which day it counts."""

    def __init__(self) -> None:
        super().__init__()
        self.visible: list[str] = []
        self.hidden: list[str] = []
        self.from_1904 = False

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name == "workbookPr":
            self.from_1904 = attributes.get("date1904", "0") in ("1", "true")
        elif name == "sheet" and len(self.visible) + len(self.hidden) < _MOST_SHEETS:
            identity = next(
                (value for key, value in attributes.items() if key.rpartition(":")[2] == "id"), ""
            )
            shown = attributes.get("state", "visible") == "visible"
            (self.visible if shown else self.hidden).append(identity)


class _Relations(_Reader):
    """A `.rels` part: which part an identity, and which a kind of relation, leads to."""

    def __init__(self, *, base: str) -> None:
        super().__init__()
        self._base = base
        self.targets: dict[str, str] = {}
        self.by_kind: dict[str, str] = {}

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name != "Relationship" or attributes.get("TargetMode") == "External":
            return
        target = attributes.get("Target", "").replace("\\", "/")
        path = posixpath.normpath(posixpath.join("/", self._base, target)).lstrip("/")
        if len(self.targets) < _MOST_RELATIONS:
            self.targets[attributes.get("Id", "")] = path
            self.by_kind.setdefault("/" + attributes.get("Type", "").rpartition("/")[2], path)


class _Formats(_Reader):
    """`styles.xml`: what the style of a cell makes of a number."""

    def __init__(self) -> None:
        super().__init__()
        self._codes: dict[int, str] = {}
        self._styles: list[int] = []
        self._in_cell_styles = False

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name == "numFmt" and len(self._codes) < _MOST_FORMATS:
            self._codes[whole_number(attributes.get("numFmtId"), 0)] = attributes.get("formatCode", "")[:255]
        elif name == "cellXfs":
            self._in_cell_styles = True
        elif name == "xf" and self._in_cell_styles and len(self._styles) < _MOST_STYLES:
            self._styles.append(whole_number(attributes.get("numFmtId"), 0))

    def finish(self, name: str) -> None:
        if name == "cellXfs":
            self._in_cell_styles = False

    def meanings(self) -> list[Shows]:
        """Return for each style what it shows."""
        known: dict[int, Shows] = {}
        for number in self._styles:
            if number not in known:
                known[number] = meaning_of_format(number, self._codes.get(number))
        return [known[number] for number in self._styles]


class _SharedStrings(_Reader):
    """`sharedStrings.xml`; a string that is too long for a cell is kept as `None`.

    A string is plain, or in runs (`r`); phonetic hints (`rPh`) are no part of it.
    """

    def __init__(self, *, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self._held = self._length = 0
        self._parts: list[str] = []
        self._wanted = self._phonetic = False
        self.strings: list[str | None] = []

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name == "t":
            self._wanted = not self._phonetic
        elif name == "si":
            self._parts = []
            self._length = 0
        elif name == "rPh":
            self._phonetic = True

    def finish(self, name: str) -> None:
        if name == "t":
            self._wanted = False
        elif name == "si":
            self._keep()
        elif name == "rPh":
            self._phonetic = False

    def text(self, data: str, /) -> None:
        if self._wanted and self._length <= self._limits.field_bytes:
            self._parts.append(data)
            self._length += len(data)

    def _keep(self) -> None:
        text = unescaped("".join(self._parts)) if self._length <= self._limits.field_bytes else None
        self._held += len(text or "")
        if self._held > self._limits.shared_text_bytes or len(self.strings) >= _MOST_STRINGS:
            limit = amount(self._limits.shared_text_bytes)
            raise FileTooLargeError(say("shared_text_too_large", limit=limit))
        self.strings.append(text)


def _workbook_part(archive: Archive, read: Callable[[str, _Reader], None]) -> str:
    """Return the part that describes the workbook.

    Raises:
        UnsupportedFormatError: it is a binary workbook or an OpenDocument file.
        NotATableError: it is another document.
    """
    names = archive.names()
    if "mimetype" in names:
        raise UnsupportedFormatError(say("unsupported", what="OpenDocument (.ods)"))
    related = _Relations(base="")
    if "_rels/.rels" in names:
        read("_rels/.rels", related)
    part = related.by_kind.get(_OFFICE_DOCUMENT, "xl/workbook.xml")
    if part.endswith(".bin"):
        raise UnsupportedFormatError(say("unsupported", what="XLSB"))
    if part.startswith(_OTHER_OFFICE):
        raise NotATableError(say("not_a_table", what="DOCX, PPTX"))
    return part


def _relations_of(part: str) -> str:
    folder, name = posixpath.split(part)
    return posixpath.join(folder, "_rels", f"{name}.rels")
