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
    """What a reader hands over at a time.

    `record` has the string columns `c0`, `c1` ..., `numbers` the number of each of its rows.
    """

    record: pa.RecordBatch
    numbers: Numbers
    ragged: Sequence[RaggedRow] = ()
    faults: Sequence[RowFault] = ()
    may_hold_nul: bool = True


class Batcher:
    """Gathers rows, cleans them and gives them out in batches of bounded size."""

    def __init__(self, *, width: int, limits: Limits) -> None:
        self._limits = limits
        self._schema = pa.schema([*text_schema(width), pa.field("_row", pa.int64())])
        self._empties = 0
        self._start_over()

    def add(self, rows: Rows) -> Iterator[Batch]:
        """Take in `rows`; yield what is enough for a batch.

        Raises:
            NotATableError: there were more empty rows than the limits allow.
        """
        if len(rows.numbers):
            record = rows.record.append_column(self._schema.field("_row"), pa.array(rows.numbers))
            self._records.append(record)
            self._rows += record.num_rows
            self._bytes += record.nbytes
        self._ragged.extend(rows.ragged)
        self._faults.extend(rows.faults)
        self._may_hold_nul = self._may_hold_nul or rows.may_hold_nul
        waiting = max(self._rows, len(self._ragged), len(self._faults))
        if waiting >= self._limits.batch_rows or self._bytes >= self._limits.batch_bytes:
            yield from self.rest()

    def rest(self) -> Iterator[Batch]:
        """Yield what was taken in and not yet given out."""
        if not (self._rows or self._ragged or self._faults):
            return
        table, faults = self._cleaned()
        ragged, faults = self._ragged, sorted([*self._faults, *faults], key=lambda fault: fault.row)
        self._start_over()
        # A reader's block may hold far more rows than a batch should; then it is cut into equal parts.
        parts = max(1, round(max(table.num_rows, len(ragged), len(faults)) / self._limits.batch_rows))
        for part in range(parts):
            start, stop = (table.num_rows * edge // parts for edge in (part, part + 1))
            yield Batch(
                table=table.slice(start, stop - start),
                ragged=tuple(ragged[len(ragged) * part // parts : len(ragged) * (part + 1) // parts]),
                faults=tuple(faults[len(faults) * part // parts : len(faults) * (part + 1) // parts]),
            )

    def _start_over(self) -> None:
        self._records: list[pa.RecordBatch] = []
        self._ragged: list[RaggedRow] = []
        self._faults: list[RowFault] = []
        self._rows = self._bytes = 0
        self._may_hold_nul = False

    def _cleaned(self) -> tuple[pa.Table, list[RowFault]]:
        """Return the good rows of what was gathered, and the faults of the others.

        Small blocks are joined first: looking into a column costs a few microseconds each time.
        """
        gathered = pa.Table.from_batches(self._records, schema=self._schema).combine_chunks()
        columns = [_one_array(column) for column in gathered.columns]
        numbers = columns.pop().to_numpy()
        columns = [trimmed(column) for column in columns]
        faults, out = _find_faults(
            columns, numbers, may_hold_nul=self._may_hold_nul, field_bytes=self._limits.field_bytes
        )
        empty = _empty_rows(columns)
        if empty is not None:
            self._count_empty(int(empty.sum()), last_row=int(numbers[-1]))
            out = empty if out is None else out | empty
        table = pa.Table.from_arrays([*columns, pa.array(numbers)], schema=self._schema)
        return (table if out is None else table.filter(pa.array(~out))), faults

    def _count_empty(self, count: int, *, last_row: int) -> None:
        self._empties += count
        if self._empties > self._limits.faults:
            text = say("too_many_empty", limit=self._limits.faults)
            raise NotATableError(text, place=f"row {last_row}")


def text_schema(width: int) -> pa.Schema:
    """Return the schema of `width` string columns by position."""
    return pa.schema([(f"c{position}", pa.string()) for position in range(width)])


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
    columns: Sequence[pa.Array], numbers: Numbers, *, may_hold_nul: bool, field_bytes: int
) -> tuple[list[RowFault], npt.NDArray[np.bool_] | None]:
    """Return the faults of cells, one for each row at most, and the rows that have one."""
    found: dict[int, RowFault] = {}
    for position, column in enumerate(columns):
        hits: list[tuple[RowFaultKind, pa.Array]] = []
        if may_hold_nul and _may_hold(column, (b"\0",)):
            hits.append((RowFaultKind.NUL, pc.call_function("match_substring", [column], _NUL)))
        if _text_bytes(column) > field_bytes:
            lengths = pc.call_function("binary_length", [column])
            hits.append((RowFaultKind.FIELD_TOO_LONG, pc.call_function("greater", [lengths, field_bytes])))
        for kind, mask in hits:
            for index in np.flatnonzero(_as_mask(mask)):
                row = int(numbers[index])
                found.setdefault(int(index), RowFault(row=row, kind=kind, column=position))
    if not found:
        return [], None
    out = np.zeros(len(numbers), bool)
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


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column whose chunks were combined, as the one array it is."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


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
