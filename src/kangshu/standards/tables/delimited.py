"""CSV: pyarrow parses, and this sees to it that every record is counted, kept or reported.

Arrow is fast, and lax: it takes an open quote at the end of a text for a value, and its messages quote the
row. Its streaming reader also asks for bytes from threads of its own, which outlive a reader that was left in
the middle. So it is given one block of whole lines at a time, from memory, with one line more behind them:

    x",,,,

If that line comes back as a row of its own, all rows before it are complete. If a quote was open, the line's
quote closes it and its delimiters make the row ragged, so that Arrow hands over its text; and from there on
the next block is read. Either way its number proves that no row was lost.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from kangshu.standards.tables.batching import Batcher, Rows, text_schema
from kangshu.standards.tables.encodings import Utf8Text
from kangshu.standards.tables.errors import FileCutOffError, NotATableError, RowTooLongError, TableError, say
from kangshu.standards.tables.headings import Layout, read_layout
from kangshu.standards.tables.model import (
    KIB,
    MIB,
    Batch,
    Compression,
    Limits,
    RaggedRow,
    TableFormat,
    TableKind,
)
from kangshu.standards.tables.sources import Source, amount

_BLOCK_BYTES = 2 * MIB  # smaller ones cost more calls, larger ones leave the processor's cache
_HEADING_BYTES = MIB
_DENSE_CELLS = 4_000_000  # cells that a block may become; a null cell takes 4 bytes
_DENSE_BLOCK_BYTES = 64 * KIB


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
        beginning, complete = _beginning(self._text, size=min(_HEADING_BYTES, limits.row_bytes))
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
        for rows in _Records(self._text, self._layout, limits=self._limits).rows():
            yield from batcher.add(rows)
        yield from batcher.rest()


class _Records:
    """One run through the records of a text."""

    def __init__(self, text: Utf8Text, layout: Layout, *, limits: Limits) -> None:
        self._width = len(layout.headings)
        self._limits = limits
        self._block_bytes = min(_BLOCK_BYTES, limits.row_bytes)
        self._chunks = _skip(text.chunks(size=self._block_bytes), layout.body)
        self._parser = _Parser(layout, limits=limits)
        self._seen = layout.row  # the number of the last row that is done with

    def rows(self) -> Iterator[Rows]:
        """Yield the rows block by block."""
        held = b""  # the beginning of a row, from the block before
        for chunk in self._chunks:
            for piece in self._thinned(chunk):
                block = held + piece if held else piece
                cut = _end_of_lines(block, known=len(held))
                held = block[cut:]
                if cut:
                    rows, open_bytes = self._parsed(block[:cut])
                    yield rows
                    held = block[cut - open_bytes :] if open_bytes else held
                self._check_length(held)
        if held:
            yield self._last_rows(held)

    def _last_rows(self, text: bytes) -> Rows:
        """Return the rows of the end of the file, which has no line end or an open quote."""
        ends_in_row = not text.endswith((b"\n", b"\r"))
        rows, open_bytes = self._parsed(text + b"\n" if ends_in_row else text)
        if open_bytes:
            raise FileCutOffError(say["cut_off_quote"], place=f"row {self._seen + 1}")
        last = rows.ragged[-1] if rows.ragged else None
        if ends_in_row and last and last.row == self._seen and last.actual < last.expected:
            cut_off = say("cut_off_row", expected=last.expected, actual=last.actual)
            raise FileCutOffError(cut_off, place=f"row {last.row}")
        return rows

    def _parsed(self, lines: bytes) -> tuple[Rows, int]:
        """Return the rows of whole lines, and how many bytes at their end are an open row."""
        parsed = self._parser.parse(lines, row=self._seen)
        total = parsed.record.num_rows + len(parsed.ragged)
        first = self._seen + 1
        places = np.array([ragged.row - first for ragged in parsed.ragged], np.int64)
        numbers = np.delete(np.arange(first, first + total, dtype=np.int64), places)
        self._seen += total
        rows = Rows(
            record=parsed.record,
            numbers=numbers,
            ragged=parsed.ragged,
            may_hold_nul=b"\0" in lines,
        )
        return rows, parsed.open_bytes

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
        size = max(_DENSE_BLOCK_BYTES, -(-len(chunk) // parts))
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]

    def _check_length(self, held: bytes) -> None:
        if len(held) > self._limits.row_bytes:
            text = say("row_too_long", limit=amount(self._limits.row_bytes))
            raise RowTooLongError(text, place=f"row {self._seen + 1}")


@dataclass(frozen=True, kw_only=True)
class _Parsed:
    """What came out of a block: good rows, ragged ones, and the length of an open row at its end."""

    record: pa.RecordBatch
    ragged: list[RaggedRow]
    open_bytes: int


class _Parser:
    """Arrow's parser, set up once and used for each block."""

    def __init__(self, layout: Layout, *, limits: Limits) -> None:
        self._width = len(layout.headings)
        self._limits = limits
        self._tail = f'x"{layout.delimiter * (self._width + 1)}\n'.encode()
        self._schema = text_schema(self._width)
        self._numbers = array("q")
        self._widths = array("q")
        self._last_text = ""
        self._ragged_before = 0
        self._parsing = pa_csv.ParseOptions(
            delimiter=layout.delimiter,
            newlines_in_values=True,
            ignore_empty_lines=False,  # they count as rows, as they do in a spreadsheet
            invalid_row_handler=self._on_ragged,
        )
        self._conversion = pa_csv.ConvertOptions(
            column_types=self._schema,
            strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,  # `Utf8Text` has done it, with places
        )

    def parse(self, lines: bytes, *, row: int) -> _Parsed:
        """Return the rows of a block of whole lines; the first one has the number after `row`.

        Raises:
            NotATableError: there were more ragged rows in the file than the limits allow.
        """
        self._numbers, self._widths = array("q"), array("q")
        table = self._table(lines, row=row)
        self._numbers.pop()
        self._widths.pop()
        self._ragged_before += len(self._numbers)
        ragged = [
            RaggedRow(row=row + number, expected=self._width, actual=actual)
            for number, actual in zip(self._numbers, self._widths, strict=True)
        ]
        records = table.combine_chunks().to_batches()
        return _Parsed(
            record=records[0] if records else pa.RecordBatch.from_pylist([], schema=self._schema),
            ragged=ragged,
            open_bytes=len(self._last_text.encode()) - len(self._tail) + 1,  # it comes without line end
        )

    def _table(self, lines: bytes, *, row: int) -> pa.Table:
        reading = pa_csv.ReadOptions(
            use_threads=False,  # with threads, ragged rows come without their numbers
            block_size=len(lines) + len(self._tail) + 1,
            column_names=self._schema.names,
        )
        try:
            return pa_csv.read_csv(
                pa.BufferReader(lines + self._tail), reading, self._parsing, self._conversion
            )
        except pa.ArrowInvalid:
            pass  # its message quotes the row, so it goes no further
        raise self._refusal(row)

    def _refusal(self, row: int) -> TableError:
        first_too_many = self._limits.faults - self._ragged_before
        if len(self._numbers) > first_too_many:
            place = f"row {row + self._numbers[first_too_many]}"
            return NotATableError(say("too_many_faults", limit=self._limits.faults), place=place)
        return FileCutOffError(say["cut_off"], place=f"row {row + 1}")

    def _on_ragged(self, row: pa_csv.InvalidRow) -> str:
        self._numbers.append(row.number)
        self._widths.append(row.actual_columns)
        self._last_text = row.text
        too_many = self._ragged_before + len(self._numbers) > self._limits.faults + 1  # ours is one
        return "error" if too_many else "skip"


def _end_of_lines(block: bytes, *, known: int) -> int:
    """Return where the last line of `block` ends, 0 if none does.

    In the first `known` bytes there is none, or one inside a quote. A carriage return at the very end
    may be the first half of a line end.
    """
    feed = block.rfind(b"\n", known)
    return max(feed, block.rfind(b"\r", max(feed + 1, known), len(block) - 1)) + 1


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
