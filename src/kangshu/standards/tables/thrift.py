"""Thrift's compact protocol (thrift-compact-protocol.md), as much of it as Parquet uses.

Of values only integers are kept, in structs and in lists of structs; the rest is skipped.
"""

from __future__ import annotations

from kangshu.standards.tables.model import MIB

Fields = dict[int, "int | Fields | list[Fields]"]

_MOST_BYTES = 64 * MIB
_MOST_DEPTH = 12
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


class ShortThriftError(Exception):
    """The bytes end before the struct does."""


def read_struct(data: bytes) -> tuple[int, Fields]:
    """Return how many bytes the struct at the start of `data` takes, and its fields by id.

    Raises:
        ShortThriftError: `data` ends before the struct does.
        ValueError: it is no such struct.
    """
    compact = _Compact(data)
    fields = compact.struct(depth=0)
    return compact.read, fields


def integer(fields: Fields, field: int, default: int = -1) -> int:
    """Return the integer with this id, or `default` where there is none."""
    found = fields.get(field)
    return found if isinstance(found, int) else default


def struct(fields: Fields, field: int) -> Fields:
    """Return the struct with this id, or an empty one."""
    found = fields.get(field)
    return found if isinstance(found, dict) else {}


def structs(fields: Fields, field: int) -> list[Fields]:
    """Return the list of structs with this id, or an empty one."""
    found = fields.get(field)
    return found if isinstance(found, list) else []


class _Compact:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.read = 0

    def struct(self, *, depth: int) -> Fields:
        if depth > _MOST_DEPTH:
            raise ValueError("nested too deeply")
        found: Fields = {}
        field = 0
        while kind := (head := self._byte()) & 0x0F:
            step = head >> 4
            field = field + step if step else self._integer()
            if kind in _INTEGERS:
                found[field] = self._integer()
            elif kind == _BINARY:
                self._move(self._varint())
            elif kind == _STRUCT:
                found[field] = self.struct(depth=depth + 1)
            elif kind in (_LIST, _SET):
                found[field] = self._list(depth=depth + 1)
            else:
                self._skip(kind)
        return found

    def _list(self, *, depth: int) -> list[Fields]:
        if depth > _MOST_DEPTH:
            raise ValueError("nested too deeply")
        head = self._byte()
        count, kind = head >> 4, head & 0x0F
        if count == 15:
            count = self._varint()
        if count > len(self._data):
            raise ShortThriftError
        if kind == _STRUCT:
            return [self.struct(depth=depth) for _ in range(count)]
        for _ in range(count):
            if kind in (_LIST, _SET):
                self._list(depth=depth + 1)
            else:
                self._skip(_BYTE if kind in (_TRUE, _FALSE) else kind)
        return []

    def _skip(self, kind: int) -> None:
        if kind in _INTEGERS:
            self._varint()
        elif kind in (_BYTE, _DOUBLE):
            self._move(1 if kind == _BYTE else 8)
        elif kind == _BINARY:
            self._move(self._varint())
        elif kind not in (_TRUE, _FALSE):
            raise ValueError("a map or an unknown type, which Parquet does not use")

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
            raise ShortThriftError
        self.read += 1
        return self._data[self.read - 1]

    def _move(self, count: int) -> None:
        if count > _MOST_BYTES:
            raise ValueError("longer than any value here")
        self.read += count
        if self.read > len(self._data):
            raise ShortThriftError
