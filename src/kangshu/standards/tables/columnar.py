"""Parquet: columns of any plain type become canonical text, a bounded part of a row group at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kangshu.standards.tables.batching import Batcher, Rows, text_schema, without_empty
from kangshu.standards.tables.errors import (
    ArchiveBombError,
    EncodingFaultError,
    FileCutOffError,
    FileTooLargeError,
    UnsupportedFormatError,
    say,
)
from kangshu.standards.tables.headings import check_headings
from kangshu.standards.tables.model import (
    KIB,
    MIB,
    Batch,
    Compression,
    Limits,
    TableFormat,
    TableKind,
)
from kangshu.standards.tables.parquet_layout import (
    DELTA_BYTE_ARRAY,
    TEXT,
    Chunk,
    Page,
    longest_entry,
    pages,
    read_layout,
)
from kangshu.standards.tables.sources import RegularFile, amount

_T = TypeVar("_T")

_METADATA_BYTES = 16 * MIB
_METADATA_ITEMS = 2_000_000
_SCANNED_BYTES = 8 * MIB  # of a dictionary; a longer one is taken for a single value
_REPEATED_BATCHES = 4  # how many times the size of a batch its text may take if all values were the longest
_FIRST_ROW = 2  # the heading counts as row 1
# What Arrow raises on damaged files; its own errors are subclasses of some of these.
_DAMAGE = (
    pa.ArrowException,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    MemoryError,
)


class ParquetTable:
    """A Parquet file, its footer read and its pages measured."""

    def __init__(self, file: RegularFile, *, compression: Compression, limits: Limits) -> None:
        """Read the footer and the page headers of `file`.

        Raises:
            TableError: they are not whole, declare more than the limits allow, or have nested columns.
        """
        self.format = TableFormat(kind=TableKind.PARQUET, compression=compression)
        self._limits = limits
        self._file = file
        self._most_bytes = min(
            limits.unpacked_bytes, limits.unpacked_grace_bytes + limits.unpacked_ratio * file.size
        )
        self._layout = read_layout(file)
        self._check_size()
        self._rows_at_a_time = self._plan()
        schema = _guarded(lambda: self._opened().schema_arrow)
        for position, field in enumerate(schema):
            _check_type(field.type, position=position)
        self.headings = check_headings(schema.names, row=1, limits=limits)
        if len(self.headings) != self._layout.columns:
            raise UnsupportedFormatError(say["nested_column"])

    def batches(self) -> Iterator[Batch]:
        """Yield all rows, row group by row group."""
        batcher = Batcher(width=len(self.headings), limits=self._limits)
        parquet = _guarded(self._opened)
        row, unpacked = _FIRST_ROW, 0
        for group, size in enumerate(self._rows_at_a_time):
            records = _guarded(lambda group=group, size=size: _records(parquet, group, size))
            while (record := _guarded(lambda records=records: next(records, None))) is not None:
                rows = self._rows(record, first=row)
                unpacked += rows.record.nbytes
                if unpacked > self._most_bytes:
                    raise ArchiveBombError(say("bomb_ratio", ratio=self._limits.unpacked_ratio))
                yield from batcher.add(rows)
                row += record.num_rows
        if row - _FIRST_ROW != self._layout.rows:
            raise FileCutOffError(say["cut_off"], place=f"row {row}")
        yield from batcher.rest()

    def _opened(self) -> pq.ParquetFile:
        return pq.ParquetFile(
            self._file.stream(),
            pre_buffer=False,
            buffer_size=64 * KIB,
            page_checksum_verification=True,
            thrift_string_size_limit=_METADATA_BYTES,
            thrift_container_size_limit=_METADATA_ITEMS,
        )

    def _rows(self, record: pa.RecordBatch, *, first: int) -> Rows:
        columns = [
            _guarded(lambda c=column, p=position: canonical(c, position=p))
            for position, column in enumerate(record.columns)
        ]
        return Rows(
            record=pa.record_batch(columns, schema=text_schema(len(columns))),
            numbers=np.arange(first, first + record.num_rows, dtype=np.int64),
        )

    def _check_size(self) -> None:
        columns, rows, limits = self._layout.columns, self._layout.rows, self._limits
        if columns > limits.columns:
            raise FileTooLargeError(say("too_many_columns", actual=columns, limit=limits.columns))
        if rows > limits.rows:
            raise FileTooLargeError(say("too_many_rows", limit=limits.rows))
        if rows * columns > self._most_bytes:
            raise ArchiveBombError(say["bomb_cells"])

    def _plan(self) -> list[int]:
        """Return how many rows of each row group may be unpacked at a time, without unpacking any.

        What a page takes is in its header. But a short page can also mean gigabytes of text: one long
        value and a million references to it. So the longest value of each dictionary is looked up.
        """
        left = self._most_bytes
        plan: list[int] = []
        for _, chunks in self._layout.groups:
            together = row_bytes = 0
            for position, chunk in enumerate(chunks, start=1):
                measured = _measure(self._file, chunk)
                left -= measured.unpacked
                together += measured.in_memory
                row_bytes += measured.repeated
                if together > self._limits.page_bytes or left < 0:
                    text = say("page_too_large", limit=amount(self._limits.page_bytes))
                    raise FileTooLargeError(text, place=f"column {position}")
            fitting = _REPEATED_BATCHES * self._limits.batch_bytes // max(1, row_bytes)
            plan.append(max(1, min(self._limits.batch_rows, fitting)))
        return plan


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What the pages of a chunk take: in all, at one time, and one value that a page repeats."""

    unpacked: int
    in_memory: int
    repeated: int


def _measure(file: RegularFile, chunk: Chunk) -> _Measured:
    unpacked = largest = dictionary = repeated = 0
    for page in pages(file, chunk):
        unpacked += page.unpacked
        if page.is_dictionary:
            dictionary = max(dictionary, page.unpacked)
            if chunk.physical_type == TEXT:
                repeated = max(repeated, _longest(file, page, codec=chunk.codec))
        else:
            largest = max(largest, page.unpacked)
            if page.encoding == DELTA_BYTE_ARRAY:
                repeated = max(repeated, page.unpacked)
    return _Measured(
        unpacked=unpacked, in_memory=largest + dictionary, repeated=max(repeated, chunk.fixed_bytes)
    )


def _longest(file: RegularFile, page: Page, *, codec: str) -> int:
    """Return the bytes of the longest value in a dictionary, or a bound for it."""
    if page.unpacked > _SCANNED_BYTES:
        return page.unpacked
    packed = file.read_at(page.offset, page.packed)
    try:
        if codec != "none":
            packed = pa.decompress(packed, decompressed_size=page.unpacked, codec=codec, asbytes=True)
        return longest_entry(packed)
    except _DAMAGE:
        return page.unpacked


def _records(parquet: pq.ParquetFile, group: int, size: int) -> Iterator[pa.RecordBatch]:
    return parquet.iter_batches(size, row_groups=[group], use_threads=False)


def canonical(column: pa.Array, *, position: int = 0) -> pa.Array:
    """Return any plain column as text: whole numbers without fraction, days and moments in ISO 8601 with a
    blank between day and time, a moment that has a time zone with its offset, NaN and empty text as null.

    Raises:
        EncodingFaultError: text is not UTF-8.
        UnsupportedFormatError: there is no text for the type.
    """
    if isinstance(column, pa.DictionaryArray):
        values = canonical(column.dictionary, position=position)
        return pc.call_function("take", [values, column.indices])
    if isinstance(column, pa.ExtensionArray):
        return canonical(column.storage, position=position)
    if _is_text(column.type):
        return without_empty(_checked_text(column, position=position))
    if pa.types.is_floating(column.type):
        nan = pc.call_function("is_nan", [column])
        column = pc.call_function("if_else", [nan, pa.scalar(None, column.type), column])
    try:
        text = column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise _nested(position) from None
    if pa.types.is_timestamp(column.type) or pa.types.is_time(column.type):
        return _without_zero_fraction(text)
    return text


def _checked_text(column: pa.Array, *, position: int) -> pa.Array:
    try:
        text = column.cast(pa.string())
        text.validate(full=True)
    except pa.ArrowInvalid:
        pass
    else:
        return text
    raise EncodingFaultError(say["column_not_text"], place=f"column {position + 1}")


def _without_zero_fraction(text: pa.Array) -> pa.Array:
    options = pc.ReplaceSubstringOptions(pattern=r"\.0+($|[Z+-])", replacement=r"\1")
    return pc.call_function("replace_substring_regex", [text], options)


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
            pa.types.is_fixed_size_binary,
        )
    )


def _check_type(kind: pa.DataType, *, position: int) -> None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind):
        raise _nested(position)


def _nested(position: int) -> UnsupportedFormatError:
    return UnsupportedFormatError(say["nested_column"], place=f"column {position + 1}")


def _guarded(step: Callable[[], _T]) -> _T:
    """Return what `step` returns; what Arrow says about damaged input goes no further."""
    try:
        return step()
    except _DAMAGE:
        pass
    raise FileCutOffError(say["cut_off"])
