"""XLSX (ECMA-376): the first sheet with a table in it, read as a stream of rows.

The XML is read by expat, part by part and cell by cell, and nothing is held but the shared strings. A ready
reader (calamine) builds the whole sheet in memory, as large as the farthest cell says, and ends the process
where that is too much; it serves as the yardstick in the tests.
"""

from __future__ import annotations

import posixpath
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

import numpy as np
import pyarrow as pa

from kangshu.standards.tables.archives import Archive
from kangshu.standards.tables.batching import BLANKS, Batcher, Rows, text_schema
from kangshu.standards.tables.cells import Shows, meaning_of_format, number_text
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
    RowFaultKind,
    TableFormat,
    TableKind,
)
from kangshu.standards.tables.sources import Source, amount

_CHUNK = 256 * KIB
_MOST_DEPTH = 64
_MOST_TOKEN = 8 * MIB  # one tag with its attributes
_MOST_SHEETS = 32  # each may unpack to the grace of the limits
_MOST_RELATIONS = 10_000
_MOST_FORMATS = 100_000
_MOST_STRINGS = 8_000_000
_LAST_COLUMN = 16_384
_LAST_ROW = 1_048_576
_ROWS_AT_A_TIME = 2048
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
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
            if len(gathered.numbers) >= _ROWS_AT_A_TIME or gathered.size >= self._limits.batch_bytes // 4:
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


@dataclass(slots=True)
class _Row:
    """A row of a sheet as it is read; `width` is one more than the last position with a value."""

    number: int
    cells: list[str | None] = field(default_factory=list[str | None])
    width: int = 0
    size: int = 0
    fault: RowFault | None = None


class _Gathered:
    """Rows on their way to columns."""

    def __init__(self, *, width: int) -> None:
        self._width = width
        self._table: list[list[str | None]] = []
        self.numbers = array("q")
        self.size = 0
        self._ragged: list[RaggedRow] = []
        self._faults: list[RowFault] = []

    def add(self, row: _Row) -> None:
        if row.width > self._width:
            self._ragged.append(RaggedRow(row=row.number, expected=self._width, actual=row.width))
        elif row.fault:
            self._faults.append(row.fault)
        elif row.width:
            missing = self._width - len(row.cells)
            self._table.append(row.cells + [None] * missing if missing > 0 else row.cells[: self._width])
            self.numbers.append(row.number)
            self.size += row.size

    def rows(self) -> Rows:
        columns = zip(*self._table, strict=True) if self._table else [()] * self._width
        return Rows(
            record=pa.record_batch(
                [pa.array(column, pa.string()) for column in columns], schema=text_schema(self._width)
            ),
            numbers=np.array(self.numbers, np.int64),
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

    def rows(self, part: str) -> Iterator[_Row]:
        """Yield the rows of the sheet in `part`, those without cells too if they are written down."""
        reader = _SheetReader(self._shared(), self._meanings, from_1904=self._from_1904, limits=self._limits)
        for _ in self._parsing(part, reader):
            yield from reader.taken()
        yield from reader.taken()

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

    def _parsing(self, part: str, reader: _Reader) -> Iterator[None]:
        """Parse a part of the package, pausing after each chunk."""
        if part not in self._archive.names():
            raise FileCutOffError(say["cut_off"])
        yield from _parse(self._archive.member(part, most_bytes=self._limits.scratch_bytes), reader)


class _Reader:
    """What is told about the elements of a part; names come without prefix."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, data: str) -> None:
        """Some text, perhaps a part of it."""


def _parse(source: Source, reader: _Reader) -> Iterator[None]:
    """Feed an XML part to `reader`, pausing after each chunk.

    Raises:
        EntityBombError: it has a DOCTYPE, is nested too deeply, or has a monstrous tag.
        FileCutOffError: it is not well-formed.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = 64 * KIB
    depth = 0
    local: dict[str, str] = {}

    def on_start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MOST_DEPTH:
            raise EntityBombError(say["deep_xml"])
        reader.start(local.get(name) or _without_prefix(name, local), attributes)

    def on_end(name: str) -> None:
        nonlocal depth
        depth -= 1
        reader.end(local.get(name) or _without_prefix(name, local))

    def on_doctype(*_: object) -> None:
        raise EntityBombError(say["entities"])

    parser.StartElementHandler = on_start
    parser.EndElementHandler = on_end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = on_doctype
    fed = 0
    for chunk in source.chunks(size=_CHUNK):
        _feed(parser, chunk, last=False)
        fed += len(chunk)
        if fed - max(parser.CurrentByteIndex, 0) > _MOST_TOKEN:
            raise EntityBombError(say["deep_xml"])
        yield
    _feed(parser, b"", last=True)


def _feed(parser: expat.XMLParserType, chunk: bytes, *, last: bool) -> None:
    try:
        parser.Parse(chunk, last)
        return
    except (expat.ExpatError, LookupError, ValueError):  # expat's own, or an encoding that Python lacks
        pass
    raise FileCutOffError(say["cut_off"])


def _without_prefix(name: str, known: dict[str, str]) -> str:
    local = name.rpartition(":")[2]
    if len(known) < 1000:
        known[name] = local
    return local


class _SheetList(_Reader):
    """The sheets of `workbook.xml`, and from which day it counts."""

    def __init__(self) -> None:
        self.visible: list[str] = []
        self.hidden: list[str] = []
        self.from_1904 = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
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
        self._base = base
        self.targets: dict[str, str] = {}
        self.by_kind: dict[str, str] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
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
        self._codes: dict[int, str] = {}
        self._styles: list[int] = []
        self._in_cell_styles = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "numFmt" and len(self._codes) < _MOST_FORMATS:
            self._codes[_whole(attributes.get("numFmtId"), 0)] = attributes.get("formatCode", "")[:1000]
        elif name == "cellXfs":
            self._in_cell_styles = True
        elif name == "xf" and self._in_cell_styles and len(self._styles) < _MOST_FORMATS:
            self._styles.append(_whole(attributes.get("numFmtId"), 0))

    def end(self, name: str) -> None:
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
    """`sharedStrings.xml`; a string that is too long for a cell is kept as `None`."""

    def __init__(self, *, limits: Limits) -> None:
        self._limits = limits
        self._held = 0
        self._text = _Text(limits=limits)
        self.strings: list[str | None] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "si":
            self._text.clear()
        else:
            self._text.start(name)

    def end(self, name: str) -> None:
        if name != "si":
            self._text.end(name)
            return
        text = self._text.value()
        self._held += len(text or "")
        if self._held > self._limits.shared_text_bytes or len(self.strings) >= _MOST_STRINGS:
            limit = amount(self._limits.shared_text_bytes)
            raise FileTooLargeError(say("shared_text_too_large", limit=limit))
        self.strings.append(text)

    def text(self, data: str) -> None:
        self._text.add(data)


class _Text:
    """The text of one string: plain, or in runs, without phonetic hints."""

    def __init__(self, *, limits: Limits) -> None:
        self._most = limits.field_bytes
        self.clear()

    def clear(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._wanted = False
        self._phonetic = False

    def start(self, name: str) -> None:
        if name == "rPh":
            self._phonetic = True
        elif name in ("t", "v"):
            self._wanted = not self._phonetic

    def end(self, name: str) -> None:
        if name == "rPh":
            self._phonetic = False
        elif name in ("t", "v"):
            self._wanted = False

    def add(self, data: str) -> None:
        if self._wanted and self._length <= self._most:
            self._parts.append(data)
            self._length += len(data)

    def value(self) -> str | None:
        """Return the text, or `None` if it is too long."""
        if self._length > self._most:
            return None
        text = self._parts[0] if len(self._parts) == 1 else "".join(self._parts)
        return _ESCAPED.sub(_unescaped, text) if "_x" in text else text


class _SheetReader(_Reader):
    """The rows of a sheet."""

    def __init__(
        self, strings: list[str | None], meanings: list[Shows], *, from_1904: bool, limits: Limits
    ) -> None:
        self._strings = strings
        self._meanings = meanings
        self._from_1904 = from_1904
        self._limits = limits
        self._positions: dict[str, int] = {}
        self._in_data = False
        self._row = _Row(0)
        self._column = -1
        self._attributes: dict[str, str] = {}
        self._text = _Text(limits=limits)
        self._has_formula = self._has_value = False
        self._done: list[_Row] = []

    def taken(self) -> list[_Row]:
        """Return the rows that are complete and were not returned before."""
        done, self._done = self._done, []
        return done

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._in_data:
            self._in_data = name == "sheetData"
        elif name == "c":
            self._start_cell(attributes)
        elif name == "row":
            self._start_row(attributes)
        elif name == "f":
            self._has_formula = True
        else:
            self._has_value = self._has_value or name in ("v", "is")
            self._text.start(name)

    def end(self, name: str) -> None:
        if not self._in_data:
            return
        if name == "c":
            self._end_cell()
        elif name == "row":
            self._done.append(self._row)
        elif name == "sheetData":
            self._in_data = False
        else:
            self._text.end(name)

    def text(self, data: str) -> None:
        self._text.add(data)

    def _start_row(self, attributes: dict[str, str]) -> None:
        number = _whole(attributes.get("r"), self._row.number + 1)
        if not self._row.number < number <= _LAST_ROW:
            raise NotATableError(say("not_a_table", what="XLSX"), place=f"row {self._row.number + 1}")
        self._row = _Row(number)
        self._column = -1

    def _start_cell(self, attributes: dict[str, str]) -> None:
        self._attributes = attributes
        reference = attributes.get("r")
        self._column = self._position(reference) if reference else self._column + 1
        if not 0 <= self._column < _LAST_COLUMN:
            raise NotATableError(say("not_a_table", what="XLSX"), place=f"row {self._row.number}")
        self._text.clear()
        self._has_formula = self._has_value = False

    def _position(self, reference: str) -> int:
        """Return the position of a column: 0 for A, 26 for AA; -1 if it is none."""
        letters = reference.rstrip("0123456789")
        position = self._positions.get(letters)
        if position is None:
            position = 0
            for letter in letters[:4].upper():
                position = position * 26 + (ord(letter) - 64 if "A" <= letter <= "Z" else 1 << 20)
            position -= 1
            if len(self._positions) < _LAST_COLUMN:
                self._positions[letters] = position
        return position

    def _end_cell(self) -> None:
        row, column = self._row, self._column
        value = self._value()
        if value is None:
            return
        value = value.strip(BLANKS)
        if not value:
            return
        cells = row.cells
        if column >= len(cells):
            cells.extend([None] * (column - len(cells)))
            cells.append(value)
        else:
            cells[column] = value
        row.width = max(row.width, column + 1)
        row.size += len(value)
        if row.size > self._limits.row_bytes:
            self._fault(RowFaultKind.ROW_TOO_LONG)

    def _value(self) -> str | None:
        """Return the canonical text of the cell that ends, or `None` if it has none."""
        kind = self._attributes.get("t", "n")
        if not self._has_value:
            if self._has_formula:
                self._fault(RowFaultKind.NO_VALUE)
            return None
        text = self._text.value()
        if kind == "s" and text is not None:
            text = self._shared(text)
        if text is None:
            self._fault(RowFaultKind.FIELD_TOO_LONG)
            return None
        if kind == "n":
            return self._number(text)
        if kind == "b":
            return {"1": "true", "0": "false"}.get(text.strip(), text)
        if kind == "e":
            self._fault(RowFaultKind.CELL_ERROR)
        return text.replace("T", " ") if kind == "d" else text

    def _shared(self, text: str) -> str | None:
        index = _whole(text.strip(), -1)
        if not 0 <= index < len(self._strings):
            raise FileCutOffError(say["cut_off"], place=f"row {self._row.number}")
        return self._strings[index]

    def _number(self, text: str) -> str:
        style = _whole(self._attributes.get("s"), 0)
        shows = self._meanings[style] if style < len(self._meanings) else Shows.NUMBER
        found = number_text(text.strip(), shows=shows, from_1904=self._from_1904)
        return text if found is None else found

    def _fault(self, kind: RowFaultKind) -> None:
        row = self._row
        row.fault = row.fault or RowFault(row=row.number, kind=kind, column=self._column)
        row.width = max(row.width, self._column + 1)


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


def _whole(text: str | None, default: int) -> int:
    """Return the whole number that `text` writes, else `default`."""
    return int(text) if text and len(text) <= 9 and text.isascii() and text.isdecimal() else default


def _unescaped(found: re.Match[str]) -> str:
    """Return the character of `_x000D_`; halves of a pair stay as they are written."""
    code = int(found[1], 16)
    return found[0] if 0xD800 <= code <= 0xDFFF else chr(code)
