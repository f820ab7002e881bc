"""The page headers of a Parquet file, read before its pages are: how much memory would they take?

The footer only claims sizes; what is allocated stands in the header of each page, in Thrift's compact
protocol. See parquet-format, `PageHeader` in parquet.thrift, and thrift-compact-protocol.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from kangshu.standards.tables.errors import FileCutOffError, say
from kangshu.standards.tables.model import KIB, MIB
from kangshu.standards.tables.sources import RegularFile

DELTA_BYTE_ARRAY = 7  # an encoding: each value is a part of the one before and some more

_HEADER_BYTES = KIB // 2
_MOST_HEADER_BYTES = 8 * MIB  # statistics of long values stand in it
_MOST_DEPTH = 8
_DICTIONARY_PAGE = 2  # a page type
_TYPE, _UNPACKED, _PACKED = 1, 2, 3  # fields of PageHeader
# Where the encoding stands in the headers of data pages, dictionary pages and data pages of version 2.
_ENCODINGS = ((5, 2), (7, 2), (8, 4))
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_LENGTH = struct.Struct("<I")

_Fields = dict[int, "int | _Fields"]


class _Short(Exception):  # noqa: N818 - a signal within this module: more bytes are needed
    """The bytes end before the header does."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: where its content stands, how long it is packed and unpacked, how it is encoded."""

    offset: int
    packed: int
    unpacked: int
    encoding: int
    is_dictionary: bool


def pages(file: RegularFile, *, start: int, length: int) -> Iterator[Page]:
    """Yield the pages between `start` and `start + length`.

    Raises:
        FileCutOffError: there are no proper page headers, or they do not add up.
    """
    offset, end = start, start + length
    while offset < end:
        size, fields = _page_header(file, offset)
        page = _page(fields, offset=offset + size)
        if page is None or page.offset + page.packed > end:
            raise FileCutOffError(say["cut_off"], place=f"byte {offset}")
        yield page
        offset = page.offset + page.packed


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


def _page(fields: _Fields, *, offset: int) -> Page | None:
    packed, unpacked = fields.get(_PACKED), fields.get(_UNPACKED)
    if not isinstance(packed, int) or not isinstance(unpacked, int) or packed < 0 or unpacked < 0:
        return None
    encoding = 0
    for header, field in _ENCODINGS:
        inner = fields.get(header)
        if isinstance(inner, dict):
            found = inner.get(field)
            encoding = found if isinstance(found, int) else encoding
    return Page(
        offset=offset,
        packed=packed,
        unpacked=unpacked,
        encoding=encoding,
        is_dictionary=fields.get(_TYPE) == _DICTIONARY_PAGE,
    )


def _page_header(file: RegularFile, offset: int) -> tuple[int, _Fields]:
    """Return the length of the header and its fields."""
    size = _HEADER_BYTES
    while True:
        data = file.read_at(offset, size)
        compact = _Compact(data)
        try:
            fields = compact.fields()
            return compact.read, fields
        except _Short:
            if len(data) < size or size >= _MOST_HEADER_BYTES:
                break
            size *= 8
        except ValueError:
            break
    raise FileCutOffError(say["cut_off"], place=f"byte {offset}")


class _Compact:
    """Thrift's compact protocol, as much of it as page headers use; of values, only integers are kept."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.read = 0

    def fields(self, depth: int = 0) -> _Fields:
        """Return the integers of a struct by field id, and those of the structs in it."""
        if depth > _MOST_DEPTH:
            raise ValueError("nested too deeply")
        found: _Fields = {}
        field = 0
        while kind := (head := self._byte()) & 0x0F:
            step = head >> 4
            field = field + step if step else self._integer()
            if kind in _INTEGERS:
                found[field] = self._integer()
            elif kind == _STRUCT:
                found[field] = self.fields(depth + 1)
            else:
                self._skip(kind, depth=depth + 1)
        return found

    def _skip(self, kind: int, *, depth: int) -> None:
        if kind in _INTEGERS:
            self._varint()
        elif kind in (_BYTE, _DOUBLE):
            self._move(1 if kind == _BYTE else 8)
        elif kind == _BINARY:
            self._move(self._varint())
        elif kind in (_LIST, _SET):
            self._skip_list(depth=depth)
        elif kind == _STRUCT:
            self.fields(depth)
        elif kind not in (_TRUE, _FALSE):
            raise ValueError("no page header has a map or an unknown type")

    def _skip_list(self, *, depth: int) -> None:
        head = self._byte()
        count, kind = head >> 4, head & 0x0F
        if count == 15:
            count = self._varint()
        if depth > _MOST_DEPTH or count > _MOST_HEADER_BYTES:
            raise ValueError("longer than a header")
        for _ in range(count):
            self._skip(_BYTE if kind in (_TRUE, _FALSE) else kind, depth=depth + 1)

    def _integer(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _varint(self) -> int:
        result = shift = 0
        while True:
            byte = self._byte()
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
            shift += 7
            if shift > 63:
                raise ValueError("not a number")

    def _byte(self) -> int:
        if self.read >= len(self._data):
            raise _Short
        self.read += 1
        return self._data[self.read - 1]

    def _move(self, count: int) -> None:
        if count > _MOST_HEADER_BYTES:
            raise ValueError("longer than a header")
        self.read += count
        if self.read > len(self._data):
            raise _Short
