"""Build Arrow columns out of whole NumPy arrays, without a Python loop over rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from kangshu.simulation.streams import Flags, Ints

Column = Any  # a pyarrow Array; pyarrow ships no types
pc: Any = pyarrow.compute  # makes its functions at import, where no checker sees them
_ZERO = 48


def text(values: Sequence[str | None]) -> Column:
    """Return a column of strings."""
    return pa.array(values, type=pa.string())


def constant(value: str, count: int) -> Column:
    """Return `value` in `count` rows."""
    return pa.repeat(pa.scalar(value, pa.string()), count)


def nothing(count: int) -> Column:
    """Return `count` empty cells."""
    return pa.nulls(count, pa.string())


def picked(vocabulary: Column, positions: Ints) -> Column:
    """Return the entries of `vocabulary` at `positions`; a negative position gives an empty cell."""
    index = pa.array(np.asarray(positions, dtype=np.int32))
    if len(positions) and int(np.min(positions)) < 0:
        index = pc.if_else(pa.array(np.asarray(positions) >= 0), index, pa.scalar(None, pa.int32()))
    return pc.take(vocabulary, index)


def blanked(column: Column, where: Flags) -> Column:
    """Return `column` with an empty cell wherever `where` is true."""
    if not where.any():
        return column
    return pc.if_else(pa.array(where), pa.scalar(None, column.type), column)


def chosen(where: Flags, column: Column, otherwise: Column) -> Column:
    """Return `column` where `where` is true, else `otherwise`."""
    if where.all():
        return column
    return pc.if_else(pa.array(where), column, otherwise)


def joined(*parts: Column | str, separator: str = "") -> Column:
    """Return the parts of each row put together; an empty cell in a part makes the row empty."""
    return pc.binary_join_element_wise(*parts, separator)


def digits(values: Ints, width: int) -> np.ndarray[Any, Any]:
    """Return the last `width` decimal digits of `values` as ASCII, one row of bytes each."""
    rest = np.asarray(values, dtype=np.int64)
    out = np.empty((len(rest), width), dtype=np.uint8)
    for place in range(width - 1, -1, -1):
        rest, digit = np.divmod(rest, 10)
        out[:, place] = digit + _ZERO
    return out


def numbered(*parts: str | tuple[Ints, int], count: int) -> Column:
    """Return strings put together from constants and (numbers, width) with leading zeros."""
    blocks = []
    for part in parts:
        if isinstance(part, str):
            blocks.append(
                np.broadcast_to(np.frombuffer(part.encode(), np.uint8), (count, len(part.encode())))
            )
        else:
            blocks.append(digits(*part))
    return from_bytes(np.concatenate(blocks, axis=1) if len(blocks) > 1 else blocks[0])


def from_bytes(matrix: np.ndarray[Any, Any]) -> Column:
    """Return one string per row of a matrix of UTF-8 bytes."""
    count, width = matrix.shape
    offsets = (
        np.arange(0, (count + 1) * width, width, dtype=np.int32) if width else np.zeros(count + 1, np.int32)
    )
    data = pa.py_buffer(np.ascontiguousarray(matrix))
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), data)


def money(cents: Ints, *, scale: int = 2, precision: int = 12) -> Column:
    """Return amounts given in units of 10^-`scale` as decimals."""
    count = len(cents)
    words = np.zeros((count, 2), dtype=np.int64)
    words[:, 0] = cents
    words[:, 1] = np.asarray(cents) >> 63
    return pa.Array.from_buffers(pa.decimal128(precision, scale), count, [None, pa.py_buffer(words)])


def whole(values: Ints) -> Column:
    """Return integers."""
    return pa.array(np.asarray(values, dtype=np.int64))


def day(days: Ints) -> Column:
    """Return dates given as days since 1970-01-01."""
    return pa.array(np.asarray(days, dtype=np.int32), type=pa.int32()).view(pa.date32())


def moment(seconds: Ints) -> Column:
    """Return times given as seconds since 1970-01-01 00:00."""
    return pa.array(np.asarray(seconds, dtype=np.int64), type=pa.int64()).view(pa.timestamp("s"))


def as_text(column: Column) -> Column:
    """Return `column` as the strings that a CSV file would hold."""
    if pa.types.is_string(column.type):
        return column
    return column.cast(pa.string())


def one_array(column: Column) -> Column:
    """Return a chunked column as one array."""
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column


def replaced(column: Column, positions: Ints, values: Sequence[str | None]) -> Column:
    """Return `column` as text with other values at `positions` (ascending, each once)."""
    mask = np.zeros(len(column), dtype=bool)
    mask[positions] = True
    return pc.replace_with_mask(as_text(column), pa.array(mask), text(values))


def repeats(counts: Ints) -> tuple[Ints, Ints]:
    """Return for rows repeated `counts` times: the row of each copy, and its ordinal from 0."""
    counts = np.asarray(counts, dtype=np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return rows, np.arange(len(rows)) - first


def group_ranks(keys: Ints) -> Ints:
    """Return for each entry how many equal keys stand before it."""
    order = np.argsort(keys, kind="stable")
    ordered = np.asarray(keys)[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, int)
    lengths = np.diff(np.r_[starts, len(ordered)])
    ranks = np.empty(len(ordered), dtype=np.int64)
    ranks[order] = np.arange(len(ordered)) - np.repeat(starts, lengths)
    return ranks
