"""The page headers of a Parquet file, read before its pages are: how much memory would they take?

The footer only claims sizes; what is allocated stands in the header of each page, in Thrift's compact
protocol. See parquet-format, `PageHeader` in parquet.thrift, and thrift-compact-protocol.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from kangshu.standards.tables.errors import FileCutOffError, FileTooLargeError, say
from kangshu.standards.tables.model import KIB, MIB
from kangshu.standards.tables.sources import RegularFile, amount

_HEADER_BYTES = 512
_MOST_HEADER_BYTES = MIB  # statistics of long values stand in it
_MOST_DEPTH = 16
_UNCOMPRESSED, _COMPRESSED = 2, 3  # field ids of PageHeader
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


class _Short(Exception):  # noqa: N818 - a signal within this module: more bytes are needed
    """The bytes end before the header does."""


def page_sizes(file: RegularFile, *, start: int, length: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield the packed and the unpacked size of each page between `start` and `start + length`.

    Raises:
        FileCutOffError: there are no proper page headers, or they do not add up.
        FileTooLargeError: there are more than `most` pages.
    """
    offset, end = start, start + length
    for _ in range(most):
        if offset >= end:
            return
        header, packed, unpacked = _page_header(file, offset)
        offset += header + packed
        if packed < 0 or unpacked < 0 or offset > end:
            raise FileCutOffError(say["cut_off"], place=f"byte {offset}")
        yield packed, unpacked
    if offset < end:
        raise FileTooLargeError(say("page_too_large", limit=amount(64 * KIB)))


def _page_header(file: RegularFile, offset: int) -> tuple[int, int, int]:
    """Return the lengths of the header, of the packed and of the unpacked page."""
    size = _HEADER_BYTES
    while True:
        data = file.read_at(offset, size)
        try:
            return _Compact(data).page_header()
        except _Short:
            if len(data) < size or size >= _MOST_HEADER_BYTES:
                break
            size *= 8
        except ValueError:
            break
    raise FileCutOffError(say["cut_off"], place=f"byte {offset}")


class _Compact:
    """Just enough of Thrift's compact protocol to find two numbers and the end of a struct."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def page_header(self) -> tuple[int, int, int]:
        found: dict[int, int] = {}
        field = 0
        while True:
            kind, field = self._field(field)
            if kind == 0:
                break
            if kind in _INTEGERS:
                number = self._varint()
                found[field] = (number >> 1) ^ -(number & 1)
            else:
                self._skip(kind, depth=0)
        if _UNCOMPRESSED not in found or _COMPRESSED not in found:
            raise ValueError("not a page header")
        return self._at, found[_COMPRESSED], found[_UNCOMPRESSED]

    def _field(self, before: int) -> tuple[int, int]:
        """Return kind and id of the next field; kind 0 ends a struct."""
        head = self._byte()
        kind, step = head & 0x0F, head >> 4
        if kind == 0:
            return 0, 0
        if step:
            return kind, before + step
        number = self._varint()
        return kind, (number >> 1) ^ -(number & 1)

    def _skip(self, kind: int, *, depth: int) -> None:
        if depth > _MOST_DEPTH:
            raise ValueError("nested too deeply")
        if kind in (_TRUE, _FALSE):
            return
        if kind in _INTEGERS:
            self._varint()
        elif kind in (_BYTE, _DOUBLE):
            self._move(1 if kind == _BYTE else 8)
        elif kind == _BINARY:
            self._move(self._varint())
        elif kind in (_LIST, _SET):
            self._skip_list(depth=depth)
        elif kind == _STRUCT:
            field = 0
            while True:
                inner, field = self._field(field)
                if inner == 0:
                    return
                self._skip(inner, depth=depth + 1)
        else:
            raise ValueError("no page header has a map or an unknown type")

    def _skip_list(self, *, depth: int) -> None:
        head = self._byte()
        count, kind = head >> 4, head & 0x0F
        if count == 15:
            count = self._varint()
        if count > len(self._data):
            raise ValueError("longer than the header")
        for _ in range(count):
            self._skip(_BYTE if kind in (_TRUE, _FALSE) else kind, depth=depth + 1)

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
        if self._at >= len(self._data):
            raise _Short
        self._at += 1
        return self._data[self._at - 1]

    def _move(self, count: int) -> None:
        if count > _MOST_HEADER_BYTES:
            raise ValueError("longer than a header")
        self._at += count
        if self._at > len(self._data):
            raise _Short
