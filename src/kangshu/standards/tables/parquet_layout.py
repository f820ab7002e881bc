"""Where things are in a Parquet file and how much memory they would take, checked before Arrow reads them.

Arrow trusts the footer: pyarrow's view of the metadata ends the process where a damaged one makes C++ throw,
and what is allocated is what a page header says. So footer and page headers are read here first and have to
add up. See parquet-format: `FileMetaData` and `PageHeader` in parquet.thrift.
"""

from __future__ import annotations

import struct as binary
from collections.abc import Iterator
from dataclasses import dataclass

from kangshu.standards.tables.errors import FileCutOffError, FileTooLargeError, UnsupportedFormatError, say
from kangshu.standards.tables.model import KIB, MIB
from kangshu.standards.tables.sources import RegularFile, amount
from kangshu.standards.tables.thrift import Fields, ShortThriftError, integer, read_struct, struct, structs

MAGIC = b"PAR1"
CODECS = ("none", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4_raw")
TEXT, FIXED = 6, 7  # physical types: BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY
DELTA_BYTE_ARRAY = 7  # an encoding: each value is a part of the one before and some more

_ENCRYPTED_MAGIC = b"PARE"
_FOOTER = binary.Struct("<I4s")
_METADATA_BYTES = 16 * MIB
_HEADER_BYTES = KIB // 2
_MOST_HEADER_BYTES = 8 * MIB  # statistics of long values stand in it
_LENGTH = binary.Struct("<I")
_REPEATED = 2
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_2 = 0, 2, 3


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The pages of one column of one row group; `fixed_bytes` is the width of a fixed-length value."""

    start: int
    length: int
    values: int
    codec: str
    physical_type: int
    fixed_bytes: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the footer says: the number of columns, and for each row group its rows and chunks."""

    columns: int
    groups: tuple[tuple[int, tuple[Chunk, ...]], ...]

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.groups)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: where its content stands, how long it is packed and unpacked, how it is encoded."""

    offset: int
    packed: int
    unpacked: int
    values: int
    encoding: int
    is_dictionary: bool


def read_layout(file: RegularFile) -> Layout:
    """Return the layout of a flat table.

    Raises:
        FileCutOffError: there is no footer, or it does not add up.
        FileTooLargeError: the footer is out of all proportion.
        UnsupportedFormatError: columns are nested, or the file is encrypted.
    """
    if file.size < len(MAGIC) + _FOOTER.size:
        raise FileCutOffError(say["cut_off"])
    size, magic = _FOOTER.unpack(file.read_at(file.size - _FOOTER.size, _FOOTER.size))
    if magic == _ENCRYPTED_MAGIC:
        raise UnsupportedFormatError(say["encrypted_parquet"])
    start = file.size - _FOOTER.size - size
    if magic != MAGIC or start < len(MAGIC):
        raise FileCutOffError(say["cut_off"])
    if size > _METADATA_BYTES:
        raise FileTooLargeError(say("metadata_too_large", limit=amount(_METADATA_BYTES)))
    layout = _layout(file.read_at(start, size))
    if layout is None or sum(chunk.length for _, chunks in layout.groups for chunk in chunks) > start:
        raise FileCutOffError(say["cut_off"])
    return layout


def pages(file: RegularFile, chunk: Chunk) -> Iterator[Page]:
    """Yield the pages of `chunk`.

    Raises:
        FileCutOffError: there are no proper page headers, or they do not add up.
    """
    offset, end, values = chunk.start, chunk.start + chunk.length, 0
    while offset < end:
        page = _page(file, offset)
        if page is None or page.offset + page.packed > end:
            raise FileCutOffError(say["cut_off"], place=f"byte {offset}")
        yield page
        values += 0 if page.is_dictionary else page.values
        offset = page.offset + page.packed
    if values != chunk.values:
        raise FileCutOffError(say["cut_off"], place=f"byte {offset}")


def longest_entry(dictionary: bytes) -> int:
    """Return the bytes of the longest value in the unpacked dictionary page of a text column.

    Raises:
        ValueError: it is not one.
    """
    offset = longest = 0
    end = len(dictionary)
    read_length = _LENGTH.unpack_from
    while offset <= end - 4:
        (length,) = read_length(dictionary, offset)
        if length > longest:
            longest = length
        offset += 4 + length
    if offset != end:
        raise ValueError("the last value is not complete")
    return longest


def _layout(metadata: bytes) -> Layout | None:
    """Return what the footer says, or `None` where it does not add up.

    Ids: FileMetaData 2 schema, 3 num_rows, 4 row_groups; SchemaElement 1 type, 2 type_length,
    3 repetition_type, 5 num_children; RowGroup 1 columns, 3 num_rows.
    """
    try:
        _, fields = read_struct(metadata)
    except (ShortThriftError, ValueError):
        return None
    schema = structs(fields, 2)
    if not schema:
        return None
    leaves = schema[1:]
    for position, leaf in enumerate(leaves, start=1):
        if integer(leaf, 5, 0) > 0 or integer(leaf, 1) < 0 or integer(leaf, 3) == _REPEATED:
            raise UnsupportedFormatError(say["nested_column"], place=f"column {position}")
    if integer(schema[0], 5, 0) != len(leaves):
        return None
    groups: list[tuple[int, tuple[Chunk, ...]]] = []
    for group in structs(fields, 4):
        rows = integer(group, 3)
        chunks = _chunks(structs(group, 1), leaves, rows=rows)
        if chunks is None:
            return None
        groups.append((rows, chunks))
    layout = Layout(columns=len(leaves), groups=tuple(groups))
    return layout if layout.rows == integer(fields, 3) else None


def _chunks(columns: list[Fields], leaves: list[Fields], *, rows: int) -> tuple[Chunk, ...] | None:
    """Return the chunks of a row group.

    Ids: ColumnChunk 3 meta_data; ColumnMetaData 1 type, 4 codec, 5 num_values, 7 total_compressed_size,
    9 data_page_offset, 11 dictionary_page_offset.
    """
    if rows < 0 or len(columns) != len(leaves):
        return None
    chunks: list[Chunk] = []
    for column, leaf in zip(columns, leaves, strict=True):
        found = struct(column, 3)
        start, dictionary = integer(found, 9), integer(found, 11)
        start = dictionary if 0 < dictionary < start or start <= 0 else start  # no data page: no rows
        length, codec, kind = integer(found, 7), integer(found, 4), integer(found, 1)
        if (
            length < 0
            or (length and start < len(MAGIC))
            or not 0 <= codec < len(CODECS)
            or kind != integer(leaf, 1)
        ):
            return None
        if integer(found, 5) != rows:  # a flat column has one value for each row, null or not
            return None
        fixed = max(0, integer(leaf, 2)) if kind == FIXED else 0
        chunks.append(
            Chunk(
                start=start,
                length=length,
                values=rows,
                codec=CODECS[codec],
                physical_type=kind,
                fixed_bytes=fixed,
            )
        )
    return tuple(chunks)


def _page(file: RegularFile, offset: int) -> Page | None:
    """Return the page whose header stands at `offset`, or `None` where there is none.

    Ids: PageHeader 1 type, 2 uncompressed_page_size, 3 compressed_page_size, 5 data_page_header
    (1 num_values, 2 encoding), 7 dictionary_page_header (the same), 8 data_page_header_v2 (1 num_values,
    4 encoding).
    """
    found = _header(file, offset)
    if found is None:
        return None
    size, fields = found
    kind, unpacked, packed = integer(fields, 1), integer(fields, 2), integer(fields, 3)
    field, encoding = {_DATA_PAGE: (5, 2), _DICTIONARY_PAGE: (7, 2), _DATA_PAGE_2: (8, 4)}.get(kind, (0, 0))
    header = struct(fields, field)
    if packed < 0 or unpacked < 0 or integer(header, 1) < 0:
        return None
    return Page(
        offset=offset + size,
        packed=packed,
        unpacked=unpacked,
        values=integer(header, 1),
        encoding=integer(header, encoding),
        is_dictionary=kind == _DICTIONARY_PAGE,
    )


def _header(file: RegularFile, offset: int) -> tuple[int, Fields] | None:
    size = _HEADER_BYTES
    while size <= _MOST_HEADER_BYTES:
        data = file.read_at(offset, size)
        try:
            return read_struct(data)
        except ShortThriftError:
            if len(data) < size:
                return None
            size *= 8
        except ValueError:
            return None
    return None
