"""Rows from any reader become clean batches: blanks off, empty cells null, faulty rows out, bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.standards.tables.errors import NotATableError, say
from kangshu.standards.tables.model import Batch, Limits, RaggedRow, RowFault, RowFaultKind

Numbers = npt.NDArray[np.int64]

BLANKS = " \t\r\n\u00a0\u3000"
# Bytes of which one occurs wherever a blank does (0xC2 and 0xE3 begin U+00A0 and U+3000). Looking for
# them costs a tenth of trimming, and most columns hold none.
_BLANK_SIGNS = (b" ", b"\t", b"\r", b"\n", b"\xc2", b"\xe3")
_TRIM = pc.TrimOptions(BLANKS)
_NUL = pc.MatchSubstringOptions("\0")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a reader hands over at a time: string columns, the number of each row, and what was left out."""

    columns: Sequence[pa.Array]
    numbers: Numbers
    ragged: Sequence[RaggedRow] = ()
    faults: Sequence[RowFault] = ()
    may_hold_nul: bool = True


class Batcher:
    """Gathers cleaned rows and gives them out in batches of bounded size.

    Columns are sliced, not copied, so a batch is as cheap as what the reader made.
    """

    def __init__(self, *, width: int, limits: Limits) -> None:
        self._limits = limits
        self._schema = pa.schema(
            [*((f"c{position}", pa.string()) for position in range(width)), ("_row", pa.int64())]
        )
        self._empties = 0
        self._start_over()

    def add(self, rows: Rows) -> Iterator[Batch]:
        """Take in `rows`; yield the batches that are full.

        Raises:
            NotATableError: there were more empty rows than the limits allow.
        """
        record, faults = self._cleaned(rows)
        if record.num_rows:
            self._records.append(record)
            self._rows += record.num_rows
            self._bytes += record.nbytes
        self._ragged.extend(rows.ragged)
        self._faults.extend(rows.faults)
        self._faults.extend(faults)
        waiting = max(self._rows, len(self._ragged), len(self._faults))
        if waiting >= self._limits.batch_rows or self._bytes >= self._limits.batch_bytes:
            yield from self._full()

    def rest(self) -> Iterator[Batch]:
        """Yield what is left at the end, if anything is."""
        if self._rows or self._ragged or self._faults:
            yield from self._slices(self._table(), self._rows)
            self._start_over()

    def _full(self) -> Iterator[Batch]:
        """Yield whole batches and keep the remainder, unless the batch is full by bytes or faults."""
        table, size = self._table(), self._limits.batch_rows
        keep = self._rows % size if self._bytes < self._limits.batch_bytes and self._rows >= size else 0
        yield from self._slices(table, self._rows - keep)
        self._start_over()
        if keep:
            kept = table.slice(table.num_rows - keep)
            self._records = [record for record in kept.to_batches() if record.num_rows]
            self._rows, self._bytes = keep, kept.nbytes

    def _slices(self, table: pa.Table, stop: int) -> Iterator[Batch]:
        size = self._limits.batch_rows
        pieces = max(1, -(-max(stop, len(self._ragged), len(self._faults)) // size))
        for piece in range(pieces):
            window = slice(piece * size, (piece + 1) * size)
            start = min(window.start, stop)
            yield Batch(
                table=table.slice(start, min(window.stop, stop) - start),
                ragged=tuple(self._ragged[window]),
                faults=tuple(self._faults[window]),
            )

    def _table(self) -> pa.Table:
        return pa.Table.from_batches(self._records, schema=self._schema)

    def _start_over(self) -> None:
        self._records: list[pa.RecordBatch] = []
        self._ragged: list[RaggedRow] = []
        self._faults: list[RowFault] = []
        self._rows = self._bytes = 0

    def _cleaned(self, rows: Rows) -> tuple[pa.RecordBatch, list[RowFault]]:
        columns = [trimmed(column) for column in rows.columns]
        faults, out = _find_faults(columns, rows, limits=self._limits)
        empty = _empty_rows(columns)
        if empty is not None:
            self._count_empty(int(empty.sum()), row=rows.numbers)
            out = empty if out is None else out | empty
        record = pa.record_batch([*columns, pa.array(rows.numbers)], schema=self._schema)
        return (record if out is None else record.filter(pa.array(~out))), faults

    def _count_empty(self, count: int, *, row: Numbers) -> None:
        self._empties += count
        if self._empties > self._limits.faults:
            place = f"row {row[-1]}"
            raise NotATableError(say("too_many_empty", limit=self._limits.faults), place=place)


def trimmed(column: pa.Array) -> pa.Array:
    """Return the string column without blanks around its values; values that were only blanks are null."""
    if not _may_hold(column, _BLANK_SIGNS):
        return column
    return without_empty(pc.call_function("utf8_trim", [column], _TRIM))


def without_empty(column: pa.Array) -> pa.Array:
    """Return the string column with nulls where it has empty strings."""
    lengths = pc.call_function("binary_length", [column])
    empty = pc.call_function("equal", [lengths, pa.scalar(0, lengths.type)])
    if not empty.true_count:
        return column
    return pc.call_function("if_else", [empty, pa.scalar(None, column.type), column])


def _find_faults(
    columns: Sequence[pa.Array], rows: Rows, *, limits: Limits
) -> tuple[list[RowFault], npt.NDArray[np.bool_] | None]:
    """Return the faults of cells, one for each row at most, and the rows that have one."""
    found: dict[int, RowFault] = {}
    for position, column in enumerate(columns):
        hits: list[tuple[RowFaultKind, pa.Array]] = []
        if rows.may_hold_nul and _may_hold(column, (b"\0",)):
            hits.append((RowFaultKind.NUL, pc.call_function("match_substring", [column], _NUL)))
        if _text_bytes(column) > limits.field_bytes:
            lengths = pc.call_function("binary_length", [column])
            hits.append(
                (RowFaultKind.FIELD_TOO_LONG, pc.call_function("greater", [lengths, limits.field_bytes]))
            )
        for kind, mask in hits:
            for index in np.flatnonzero(_as_mask(mask)):
                row = int(rows.numbers[index])
                found.setdefault(int(index), RowFault(row=row, kind=kind, column=position))
    if not found:
        return [], None
    out = np.zeros(len(rows.numbers), bool)
    out[list(found)] = True
    return [found[index] for index in sorted(found)], out


def _empty_rows(columns: Sequence[pa.Array]) -> npt.NDArray[np.bool_] | None:
    """Return which rows have no value at all; most files are settled by their first column."""
    empty: npt.NDArray[np.bool_] | None = None
    for column in columns:
        if not column.null_count:
            return None
        nulls = _as_mask(column.is_null())
        empty = nulls if empty is None else empty & nulls
        if not empty.any():
            return None
    return empty


def _may_hold(column: pa.Array, signs: Sequence[bytes]) -> bool:
    text = _text(column)
    return any(sign in text for sign in signs)


def _text(column: pa.Array) -> bytes:
    """Return the bytes of all values, one after the other (a copy: only bytes can be searched fast)."""
    data = column.buffers()[2]
    if data is None or not len(column):
        return b""
    first, last = _bounds(column)
    return data.slice(first, last - first).to_pybytes()


def _text_bytes(column: pa.Array) -> int:
    if column.buffers()[2] is None or not len(column):
        return 0
    first, last = _bounds(column)
    return last - first


def _bounds(column: pa.Array) -> tuple[int, int]:
    offsets = np.frombuffer(column.buffers()[1], np.int32)
    return int(offsets[column.offset]), int(offsets[column.offset + len(column)])


def _as_mask(values: pa.Array) -> npt.NDArray[np.bool_]:
    return values.fill_null(False).to_numpy(zero_copy_only=False)
