"""Move whole columns between Arrow or numpy and PostgreSQL with binary COPY.

A million rows in Python objects cost more than everything the database then does with them, so nothing
here looks at a single value: rows are put together by numpy and Arrow and taken apart by numpy.
The format is that of the PostgreSQL manual, "COPY", section "Binary Format".
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.storage.database import Connection

Column: TypeAlias = "pa.Array | pa.ChunkedArray | npt.NDArray[Any]"

# Enough to make the cost per block vanish, small enough that a block of long texts stays small.
_BLOCK_ROWS = 16_384
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NAME = re.compile(r"^[a-z_][a-z0-9_]*$")

# PostgreSQL counts days and moments from 2000-01-01, Arrow from 1970-01-01.
_EPOCH_DAYS = 10_957
_EPOCH_MICROSECONDS = _EPOCH_DAYS * 86_400_000_000


async def copy_in(connection: Connection, *, table: str, columns: Mapping[str, Column]) -> int:
    """Append rows to `table`, given as `columns` of equal length, and return how many they were.

    The Arrow type must be the binary twin of the column's: int16 smallint, int32 integer, int64 bigint,
    float32 real, float64 double precision, bool boolean, date32 date, timestamp[us] timestamp or (with a
    zone) timestamptz, string text, binary bytea, binary(16) bytea or uuid. Null is NULL. What breaks a
    constraint ends the statement as in any COPY: nothing of it is stored.

    Raises:
        TypeError: a column's type has no twin.
        ValueError: the columns differ in length, or a name is no plain lower-case one.
    """
    for name in (table, *columns):
        if not _NAME.match(name):
            raise ValueError("a table or column name for COPY is lower-case letters, digits and _")
    status = await connection.copy_to_table(
        table, source=_blocks(columns), columns=list(columns), format="binary"
    )
    return int(status.rsplit(" ", 1)[-1])


async def copy_out(
    connection: Connection, *, query: str, columns: Sequence[str]
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the result of `query` as one int64 array for each of `columns`, in their order.

    Every column of the query must be a bigint and never NULL (use `coalesce` and casts), so that each row
    has the same width. The query takes no parameters: put what it needs into a temporary table.

    Raises:
        ValueError: the query has more or fewer columns, or some value is NULL or not eight bytes wide.
    """
    received = bytearray()

    async def take(data: bytes) -> None:
        received.extend(data)

    await connection.copy_from_query(query, output=take, format="binary")
    return _parse_bigints(bytes(received), columns)


def encode(columns: Mapping[str, Column]) -> Iterator[bytes]:
    """Yield the binary COPY stream of `columns` in blocks of some thousand rows; see `copy_in`."""
    arrays = [_as_array(column) for column in columns.values()]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise ValueError("the columns differ in length")
    yield _HEADER
    for start in range(0, max(lengths, default=0), _BLOCK_ROWS):
        yield _encode_rows([array.slice(start, _BLOCK_ROWS) for array in arrays])
    yield _TRAILER


async def _blocks(columns: Mapping[str, Column]) -> AsyncIterator[bytes]:
    for block in encode(columns):
        yield block


def _as_array(column: Column) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column if isinstance(column, pa.Array) else pa.array(column)


def _encode_rows(arrays: Sequence[pa.Array]) -> bytes:
    """Return the rows' bytes: runs of fixed width laid out by numpy, joined by Arrow with what varies.

    A row is its number of fields, then for each field its length (-1 for NULL) and its bytes.
    """
    pieces: list[pa.Array] = []
    run = _Run(rows=len(arrays[0]))
    run.add(">i2", len(arrays))
    for array in arrays:
        values, kind = _fixed_values(array)
        if kind and not array.null_count:
            run.add(">i4", np.dtype(kind).itemsize)
            run.add(kind, values)
            continue
        data = _nullable_bytes(array, values, kind) if kind else _variable_bytes(array)
        run.add(">i4", pc.fill_null(pc.binary_length(data), -1).to_numpy(zero_copy_only=False))
        pieces += [run.finish(), data]
        run = _Run(rows=len(array))
    if not pieces:
        return run.finish_bytes()
    if run.fields:
        pieces.append(run.finish())
    separator = pa.scalar(b"", pa.large_binary())
    rows = pc.binary_join_element_wise(*pieces, separator, null_handling="replace", null_replacement="")
    return _data_of(rows)


class _Run:
    """Neighbouring parts of a row that have the same width in every row."""

    def __init__(self, *, rows: int) -> None:
        self.rows = rows
        self.fields: list[tuple[str, Any]] = []

    def add(self, kind: str, values: Any) -> None:
        self.fields.append((kind, values))

    def finish_bytes(self) -> bytes:
        layout = np.dtype([(f"f{place}", kind) for place, (kind, _) in enumerate(self.fields)])
        rows = np.empty(self.rows, dtype=layout)
        for place, (_, values) in enumerate(self.fields):
            rows[f"f{place}"] = values
        return rows.tobytes()

    def finish(self) -> pa.Array:
        data = self.finish_bytes()
        width = len(data) // self.rows
        return _binary_array(data, np.arange(self.rows + 1, dtype=np.int64) * width)


def _binary_array(data: bytes, offsets: npt.NDArray[np.int64]) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _fixed_values(array: pa.Array) -> tuple[Any, str | None]:
    """Return the values as numpy and their wire type, or no type where their width varies.

    Where the array is null the value is arbitrary.
    """
    kind = array.type
    if pa.types.is_fixed_size_binary(kind):
        data = array.buffers()[1]
        raw = np.frombuffer(data, dtype=f"V{kind.byte_width}") if data else np.empty(0, f"V{kind.byte_width}")
        return raw[array.offset : array.offset + len(array)], f"V{kind.byte_width}"
    if pa.types.is_boolean(kind):
        return _filled(array.cast(pa.int8())), "u1"
    if pa.types.is_date32(kind):
        return _filled(array.cast(pa.int32())) - _EPOCH_DAYS, ">i4"
    if pa.types.is_timestamp(kind) and kind.unit == "us":
        return _filled(array.cast(pa.int64())) - _EPOCH_MICROSECONDS, ">i8"
    plain = {
        pa.int16(): ">i2",
        pa.int32(): ">i4",
        pa.int64(): ">i8",
        pa.float32(): ">f4",
        pa.float64(): ">f8",
    }
    if kind in plain:
        return _filled(array), plain[kind]
    return None, None


def _filled(array: pa.Array) -> Any:
    return (array.fill_null(0) if array.null_count else array).to_numpy(zero_copy_only=False)


def _nullable_bytes(array: pa.Array, values: Any, kind: str) -> pa.Array:
    """Return the wire form of fixed-width values as a binary array that keeps the nulls."""
    width = np.dtype(kind).itemsize
    there = pc.is_valid(array).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(array) + 1, dtype=np.int64)
    np.cumsum(there * width, out=offsets[1:])
    data = np.ascontiguousarray(values[there]).astype(kind).tobytes()
    return pc.if_else(pa.array(there), _binary_array(data, offsets), pa.scalar(None, pa.large_binary()))


def _variable_bytes(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.large_binary())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return array.cast(pa.large_string()).cast(pa.large_binary())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return array.cast(pa.large_binary())
    raise TypeError(f"COPY has no binary form for the Arrow type {kind}")


def _data_of(rows: pa.Array) -> bytes:
    """Return the bytes of all values of a binary array, one after the other."""
    _, offsets_buffer, data = rows.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[rows.offset : rows.offset + len(rows) + 1]
    return data.slice(int(offsets[0]), int(offsets[-1] - offsets[0])).to_pybytes() if data else b""


def _parse_bigints(data: bytes, columns: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    start = len(_HEADER) + int.from_bytes(data[15:19])
    body = memoryview(data)[start : -len(_TRAILER)]
    parts = [part for name in columns for part in ((f"length of {name}", ">i4"), (name, ">i8"))]
    layout = np.dtype([("number of fields", ">i2"), *parts])
    if len(body) % layout.itemsize:
        raise ValueError("the query's columns are not the bigints without NULL that were named")
    rows = np.frombuffer(body, dtype=layout)
    whole = (rows["number of fields"] == len(columns)).all() and all(
        (rows[f"length of {name}"] == 8).all() for name in columns
    )
    if not whole:
        raise ValueError("the query's columns are not the bigints without NULL that were named")
    return {name: rows[name].astype(np.int64) for name in columns}
