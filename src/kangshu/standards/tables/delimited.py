"""CSV: pyarrow parses, and this sees to it that every record is counted, kept or reported.

Arrow's streaming reader is fast, and lax: it takes an open quote at the end of the file for a value, and
its messages quote the row. Hence a mark is put behind the last record. If the parser does not meet it as a
record of its own, a quote was open; its number also proves that no record was lost on the way.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from kangshu.standards.tables.batching import Batcher, Numbers, Rows, text_schema
from kangshu.standards.tables.encodings import Utf8Text
from kangshu.standards.tables.errors import FileCutOffError, NotATableError, RowTooLongError, say
from kangshu.standards.tables.headings import Layout, read_layout
from kangshu.standards.tables.model import (
    KIB,
    Batch,
    Compression,
    Limits,
    RaggedRow,
    TableFormat,
    TableKind,
)
from kangshu.standards.tables.sources import Source, amount

_T = TypeVar("_T")

_MARK = "\0\0kangshu end of table\0\0"
_DENSE_CELLS = 4_000_000  # cells that a block may become; a null cell takes 4 bytes
_DENSE_BLOCK = 64 * KIB


class DelimitedTable:
    """A CSV text, its heading read and its delimiter found."""

    def __init__(self, source: Source, *, compression: Compression, limits: Limits) -> None:
        """Read the beginning of `source`.

        Raises:
            TableError: there is no text, no heading, or not a proper one.
        """
        self._source = source
        self._compression = compression
        self._limits = limits
        self._text = Utf8Text(source)
        beginning, complete = _beginning(self._text, size=limits.row_bytes)
        self._layout = read_layout(beginning, complete=complete, limits=limits)
        self.headings = self._layout.headings

    @property
    def format(self) -> TableFormat:
        return TableFormat(
            kind=TableKind.CSV,
            compression=self._compression,
            encoding=self._text.encoding,
            delimiter=self._layout.delimiter,
        )

    def batches(self) -> Iterator[Batch]:
        """Yield all rows from the first to the last."""
        self._text = Utf8Text(self._source)
        batcher = Batcher(width=len(self.headings), limits=self._limits)
        for rows in _Parsing(self._text, self._layout, limits=self._limits).rows():
            yield from batcher.add(rows)
        yield from batcher.rest()


class _Parsing:
    """One run through the records of a text."""

    def __init__(self, text: Utf8Text, layout: Layout, *, limits: Limits) -> None:
        self._width = len(layout.headings)
        self._heading_row = layout.row
        self._limits = limits
        # The mark must not have as many cells as the heading: then it comes to `_on_ragged`.
        self._mark = _MARK if self._width != 1 else _MARK + layout.delimiter
        self._blocks = _Blocks(text, layout, mark=self._mark, limits=limits)
        self._delimiter = layout.delimiter
        self._seen = 0  # records so far, the heading not among them
        self._mark_number: int | None = None
        self._ragged_numbers = array("q")
        self._ragged_widths = array("q")
        self._ragged_count = 0
        self._last_ragged = (0, 0)  # number and cells

    def rows(self) -> Iterator[Rows]:
        """Yield the rows block by block."""
        reader = self._guarded(self._open)
        try:
            while (block := self._guarded(lambda: _next_block(reader))) is not None:
                yield self._rows_of(block)
        finally:
            self._blocks.stop()
            reader.close()
        yield self._trailing()
        self._check_end()

    def _open(self) -> pa_csv.CSVStreamingReader:
        names = [f"c{position}" for position in range(self._width)]
        return pa_csv.open_csv(
            self._blocks,
            pa_csv.ReadOptions(
                use_threads=False,  # with threads, ragged rows come without their numbers
                block_size=self._limits.row_bytes,
                column_names=names,
            ),
            pa_csv.ParseOptions(
                delimiter=self._delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,  # they count as rows, as they do in a spreadsheet
                invalid_row_handler=self._on_ragged,
            ),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
                check_utf8=False,  # `Utf8Text` has done it, with places
            ),
        )

    def _guarded(self, step: Callable[[], _T]) -> _T:
        """Return what `step` returns; Arrow's message quotes rows, so it goes no further."""
        try:
            return step()
        except pa.ArrowInvalid:
            pass
        raise self._refusal()

    def _refusal(self) -> NotATableError | RowTooLongError:
        if self._ragged_count > self._limits.faults:
            place = self._place(self._last_ragged[0])
            return NotATableError(say("too_many_faults", limit=self._limits.faults), place=place)
        place = self._place(self._seen + len(self._ragged_numbers) + 1)
        return RowTooLongError(say("row_too_long", limit=amount(self._limits.row_bytes)), place=place)

    def _on_ragged(self, row: pa_csv.InvalidRow) -> str:
        if row.text == self._mark:
            self._mark_number = row.number
            return "skip"
        self._ragged_count += 1
        self._last_ragged = (row.number, row.actual_columns)
        if self._ragged_count > self._limits.faults:
            return "error"
        self._ragged_numbers.append(row.number)
        self._ragged_widths.append(row.actual_columns)
        return "skip"

    def _rows_of(self, block: pa.RecordBatch) -> Rows:
        numbers, ragged = self._number(block.num_rows)
        return Rows(
            record=block,
            numbers=numbers,
            ragged=ragged,
            may_hold_nul=self._blocks.nul_seen,
        )

    def _number(self, count: int) -> tuple[Numbers, list[RaggedRow]]:
        """Return the numbers of `count` good rows, and the ragged rows that stand before or among them.

        Arrow parses one block ahead, so there may be ragged rows that stand farther on; they wait.
        """
        ragged = np.array(self._ragged_numbers, np.int64) - (self._seen + 1)
        good_before = ragged - np.arange(len(ragged))
        among = int(np.searchsorted(good_before, count))
        total = count + among
        first = self._seen + 1 + self._heading_row
        numbers = np.delete(np.arange(first, first + total, dtype=np.int64), ragged[:among])
        self._seen += total
        return numbers, self._waiting(among)

    def _trailing(self) -> Rows:
        """Return the ragged rows behind the last good one."""
        ragged = self._waiting(len(self._ragged_numbers))
        self._seen += len(ragged)
        nothing = pa.RecordBatch.from_pylist([], schema=text_schema(self._width))
        return Rows(record=nothing, numbers=np.empty(0, np.int64), ragged=ragged)

    def _waiting(self, count: int) -> list[RaggedRow]:
        """Take the first `count` of the ragged rows that were met."""
        numbers, widths = self._ragged_numbers, self._ragged_widths
        self._ragged_numbers, self._ragged_widths = numbers[count:], widths[count:]
        return [
            RaggedRow(row=number + self._heading_row, expected=self._width, actual=actual)
            for number, actual in zip(numbers[:count], widths[:count], strict=True)
        ]

    def _check_end(self) -> None:
        """Refuse a text that ends inside a quote or inside a row."""
        if self._mark_number is None:
            raise FileCutOffError(say["cut_off_quote"], place=self._place(self._seen))
        if self._mark_number != self._seen + 1:
            raise FileCutOffError(say["cut_off"], place=self._place(self._seen))
        number, actual = self._last_ragged
        if self._blocks.ends_in_row and number == self._seen and 0 < actual < self._width:
            text = say("cut_off_row", expected=self._width, actual=actual)
            raise FileCutOffError(text, place=self._place(number))

    def _place(self, number: int) -> str:
        return f"row {number + self._heading_row}"


class _Blocks(io.RawIOBase):
    """The text behind the heading as the stream that Arrow reads from, a block at a time, and the mark.

    Arrow reads ahead in a thread of its own, so the work done here overlaps with parsing.
    """

    def __init__(self, text: Utf8Text, layout: Layout, *, mark: str, limits: Limits) -> None:
        super().__init__()
        self.nul_seen = False
        self.ends_in_row = False
        self._width = len(layout.headings)
        self._pieces = self._marked(_skip(text.chunks(size=limits.row_bytes), layout.body), mark.encode())
        self._stopped = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return the next block, which is never longer than the block size that Arrow was told."""
        return b"" if self._stopped else next(self._pieces, b"")

    def stop(self) -> None:
        """Let Arrow's thread find the end of the stream."""
        self._stopped = True

    def _marked(self, chunks: Iterator[bytes], mark: bytes) -> Iterator[bytes]:
        last = b""
        for chunk in chunks:
            self._look_for_nul(last, chunk, mark)
            yield from self._thinned(chunk)
            last = chunk
        self.ends_in_row = bool(last) and not last.endswith((b"\n", b"\r"))
        yield b"\n" + mark if self.ends_in_row else mark

    def _look_for_nul(self, before: bytes, chunk: bytes, mark: bytes) -> None:
        if b"\0" not in chunk:
            return
        self.nul_seen = True
        if _MARK.encode() in before[-len(mark) :] + chunk:
            raise NotATableError(say["reserved_mark"])

    def _thinned(self, chunk: bytes) -> Iterator[bytes]:
        """Yield `chunk`, in parts if it has so many line ends that its rows would fill the memory.

        An ordinary row has a delimiter for each further column; an empty line is one byte long and
        becomes as many cells.
        """
        values = np.frombuffer(chunk, np.uint8)
        lines = max(np.count_nonzero(values == 10), np.count_nonzero(values == 13))
        parts = -(-lines * self._width // _DENSE_CELLS)
        if parts <= 1:
            yield chunk
            return
        size = max(_DENSE_BLOCK, -(-len(chunk) // parts))
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]


def _next_block(reader: pa_csv.CSVStreamingReader) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None


def _beginning(text: Utf8Text, *, size: int) -> tuple[bytes, bool]:
    """Return at least `size` bytes of the text, and whether that is all of it."""
    chunks = text.chunks(size=size)
    held = b""
    while len(held) <= size:
        chunk = next(chunks, None)
        if chunk is None:
            return held, True
        held += chunk
    return held, False


def _skip(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        rest = chunk[count:]
        count = max(0, count - len(chunk))
        if rest:
            yield rest
