"""Open a file as a table, whatever it is called: the content says what it is and in what it is packed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from kangshu.standards.tables.archives import Archive
from kangshu.standards.tables.columnar import ParquetTable
from kangshu.standards.tables.delimited import DelimitedTable
from kangshu.standards.tables.errors import EmptyFileError, NotATableError, UnsupportedFormatError, say
from kangshu.standards.tables.model import DEFAULT_LIMITS, KIB, Batch, Compression, Limits, TableFormat
from kangshu.standards.tables.parquet_layout import MAGIC
from kangshu.standards.tables.sources import GzipSource, RegularFile, Source, unpack
from kangshu.standards.tables.workbook import WorkbookTable, is_office_package

_HEAD = 4 * KIB
_GZIP = b"\x1f\x8b\x08"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OTHER_PACKINGS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "Excel 97-2003 (.xls) / 加密, locked",
    b"ARROW1\x00\x00": "Arrow IPC",
    b"PARE": "Parquet (加密, encrypted)",
}
_OTHER_CONTENT = {
    b"%PDF-": "PDF",
    b"\x89PNG\r\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"SQLite format 3\x00": "SQLite",
    b"\x7fELF": "ELF",
}
_OTHER_TEXT = {
    "XML / HTML": re.compile(rb"<[?!/A-Za-z]"),
    "JSON": re.compile(rb"\{\s*[\"}]|\[\s*[\[{\"\]]"),
    "HL7 v2": re.compile(rb"(?:MSH|FHS|BHS)([^\w\s])[^\w\s]{3}"),
}


class TableBody(Protocol):
    """A table in one of the three forms."""

    @property
    def headings(self) -> tuple[str, ...]: ...

    @property
    def format(self) -> TableFormat: ...

    def batches(self) -> Iterator[Batch]: ...


class TableReader:
    """An open table. Use it as a context manager; closing gives the file and the scratch space back."""

    def __init__(self, body: TableBody, *, held: ExitStack) -> None:
        self._body = body
        self._held = held

    @property
    def format(self) -> TableFormat:
        """What the content was found to be; the encoding is final when all batches have been read."""
        return self._body.format

    @property
    def headings(self) -> tuple[str, ...]:
        """The headings, each of them once, without blanks around them."""
        return self._body.headings

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in bounded batches; each call starts at the first row again.

        A row's number is the one a spreadsheet program shows: the heading is row 1, what follows is
        row 2, and empty rows count (they are left out). A quoted cell with line breaks is one row.

        Raises:
            TableError: the file turned out to be faulty as a whole. What was yielded before is then
                worth nothing: a file is taken whole or not at all.
        """
        return self._body.batches()

    def close(self) -> None:
        """Give the file and the scratch space back."""
        self._held.close()

    def __enter__(self) -> TableReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_table(path: Path, *, scratch: Path, limits: Limits = DEFAULT_LIMITS) -> TableReader:
    """Open the file at `path` and read its heading.

    CSV is read as it is unpacked; a packed workbook or Parquet file is unpacked to a nameless file in the
    folder `scratch`, which is gone when the reader is closed or the process ends. A symbolic link is
    refused: a door that trusts its caller resolves the path first.

    Raises:
        TableError: the file cannot be read as a table; see the tree in `errors`.
        OSError: the disk of `scratch` is full or cannot be written.
    """
    with ExitStack() as held:
        file = RegularFile.open(path, limits=limits)
        held.callback(file.close)
        body = _recognise(file, scratch=scratch, limits=limits, held=held)
        return TableReader(body, held=held.pop_all())


def _recognise(file: RegularFile, *, scratch: Path, limits: Limits, held: ExitStack) -> TableBody:
    head = file.read_at(0, _HEAD)
    if head.startswith(_GZIP):
        return _inside(GzipSource(file, limits=limits), Compression.GZIP, scratch, limits, held)
    if head.startswith(_ZIP):
        archive = Archive(file, limits=limits)
        if is_office_package(archive):
            return WorkbookTable(archive, compression=Compression.NONE, limits=limits)
        return _inside(archive.sole_member(), Compression.ZIP, scratch, limits, held)
    if _is_parquet(head):
        return ParquetTable(file, compression=Compression.NONE, limits=limits)
    return _text(file, head, compression=Compression.NONE, limits=limits)


def _inside(
    source: Source, compression: Compression, scratch: Path, limits: Limits, held: ExitStack
) -> TableBody:
    """Return the table that is packed in an archive; another archive in it is not opened."""
    head = next(source.chunks(size=_HEAD), b"")
    if head.startswith(_GZIP):
        raise UnsupportedFormatError(say["nested"])
    if not (head.startswith(_ZIP) or _is_parquet(head)):
        return _text(source, head, compression=compression, limits=limits)
    file = unpack(source, scratch=scratch, limits=limits)
    held.callback(file.close)
    if not head.startswith(_ZIP):
        return ParquetTable(file, compression=compression, limits=limits)
    archive = Archive(file, limits=limits)
    if not is_office_package(archive):
        raise UnsupportedFormatError(say["nested"])
    return WorkbookTable(archive, compression=compression, limits=limits)


def _text(source: Source, head: bytes, *, compression: Compression, limits: Limits) -> TableBody:
    if not head:
        raise EmptyFileError(say["empty"])
    _refuse_other_content(head)
    return DelimitedTable(source, compression=compression, limits=limits)


def _is_parquet(head: bytes) -> bool:
    """Tell a Parquet file from a CSV whose first heading begins with `PAR1`: it is not text for long."""
    return head.startswith(MAGIC) and (b"\0" in head or len(head) < 2 * len(MAGIC))


def _refuse_other_content(head: bytes) -> None:
    for magic, name in _OTHER_PACKINGS.items():
        if head.startswith(magic):
            raise UnsupportedFormatError(say("unsupported", what=name))
    for magic, name in _OTHER_CONTENT.items():
        if head.startswith(magic):
            raise NotATableError(say("not_a_table", what=name))
    if head[128:132] == b"DICM":
        raise NotATableError(say("not_a_table", what="DICOM"))
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for name, pattern in _OTHER_TEXT.items():
        if pattern.match(text):
            raise NotATableError(say("not_a_table", what=name))
