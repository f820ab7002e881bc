"""Parquet: columns of any plain type become canonical text, a bounded part of a row group at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kangshu.standards.tables.batching import Batcher, Rows, without_empty
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
    RowFault,
    RowFaultKind,
    TableFormat,
    TableKind,
)
from kangshu.standards.tables.parquet_pages import page_sizes
from kangshu.standards.tables.sources import RegularFile, amount

_T = TypeVar("_T")

MAGIC = b"PAR1"
_FOOTER = struct.Struct("<I4s")
_METADATA_BYTES = 64 * MIB
_METADATA_ITEMS = 2_000_000
_MOST_PAGES = 1_000_000
_CELLS_GRACE = 64 * MIB
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
        _check_footer(file)
        self._metadata = _guarded(lambda: self._opened().metadata)
        self._check_size()
        schema = _guarded(lambda: self._opened().schema_arrow)
        for position, field in enumerate(schema):
            _check_type(field.type, position=position)
        self.headings = check_headings(schema.names, row=1, limits=limits)
        if len(self.headings) != self._metadata.num_columns:
            raise UnsupportedFormatError(say["nested_column"])
        self._check_pages()

    def batches(self) -> Iterator[Batch]:
        """Yield all rows, row group by row group."""
        batcher = Batcher(width=len(self.headings), limits=self._limits)
        # Text comes as dictionary and indices: a short page can mean gigabytes of repeated text, so it is
        # measured before it is written out.
        parquet = _guarded(lambda: self._opened(read_dictionary=list(self.headings)))
        row = _FIRST_ROW
        for group in range(self._metadata.num_row_groups):
            records = _guarded(lambda group=group: self._records(parquet, group))
            while (record := _guarded(lambda records=records: next(records, None))) is not None:
                for rows in self._rows(record, first=row):
                    yield from batcher.add(rows)
                row += record.num_rows
        if row - _FIRST_ROW != self._metadata.num_rows:
            raise FileCutOffError(say["cut_off"], place=f"row {row}")
        yield from batcher.rest()

    def _opened(self, read_dictionary: list[str] | None = None) -> pq.ParquetFile:
        return pq.ParquetFile(
            self._file.stream(),
            read_dictionary=read_dictionary,
            pre_buffer=False,
            buffer_size=64 * KIB,
            thrift_string_size_limit=_METADATA_BYTES,
            thrift_container_size_limit=_METADATA_ITEMS,
        )

    def _records(self, parquet: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
        return parquet.iter_batches(self._limits.batch_rows, row_groups=[group], use_threads=False)

    def _check_size(self) -> None:
        found, limits = self._metadata, self._limits
        if found.num_columns > limits.columns:
            raise FileTooLargeError(say("too_many_columns", actual=found.num_columns, limit=limits.columns))
        if found.num_rows > limits.rows:
            raise FileTooLargeError(say("too_many_rows", limit=limits.rows))
        if found.num_rows * found.num_columns > _CELLS_GRACE + limits.unpacked_ratio * self._file.size:
            raise ArchiveBombError(say["bomb_cells"])

    def _check_pages(self) -> None:
        """Refuse pages that unpack to more than the limits allow, before any is unpacked."""
        pages_left, bytes_left = _MOST_PAGES, self._file.size
        for group in range(self._metadata.num_row_groups):
            together = 0
            for column in range(self._metadata.num_columns):
                start, length = _guarded(lambda g=group, c=column: _extent(self._metadata, g, c))
                bytes_left -= length
                if bytes_left < 0:
                    raise FileCutOffError(say["cut_off"])
                largest = dictionary = 0
                pages = page_sizes(self._file, start=start, length=length, most=pages_left)
                for count, (_, unpacked) in enumerate(pages):
                    pages_left -= 1
                    dictionary = unpacked if count == 0 else dictionary
                    largest = max(largest, unpacked)
                together += largest + dictionary
                if together > self._limits.page_bytes:
                    raise FileTooLargeError(
                        say("page_too_large", limit=amount(self._limits.page_bytes)),
                        place=f"column {column + 1}",
                    )

    def _rows(self, record: pa.RecordBatch, *, first: int) -> Iterator[Rows]:
        """Yield the rows of `record` as text, in parts that are not too large once written out."""
        sizes, faults = self._measure(record, first=first)
        numbers = np.arange(first, first + record.num_rows, dtype=np.int64)
        kept = np.ones(record.num_rows, bool)
        kept[[fault.row - first for fault in faults]] = False
        sizes[~kept] = 0
        part = np.cumsum(sizes) // self._limits.batch_bytes
        cuts = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), record.num_rows]
        for start, stop in pairwise(cuts):
            window = slice(start, stop)
            piece = record.slice(start, stop - start)
            if faults:
                piece = piece.filter(pa.array(kept[window]))
            yield Rows(
                columns=[
                    _guarded(lambda c=column, p=position: canonical(c, position=p))
                    for position, column in enumerate(piece.columns)
                ],
                numbers=numbers[window][kept[window]],
                faults=[fault for fault in faults if start <= fault.row - first < stop],
            )

    def _measure(self, record: pa.RecordBatch, *, first: int) -> tuple[npt.NDArray[np.int64], list[RowFault]]:
        """Return the bytes of repeated text in each row, and the rows that are too long."""
        sizes = np.zeros(record.num_rows, np.int64)
        found: dict[int, RowFault] = {}
        for position, column in enumerate(record.columns):
            if not isinstance(column, pa.DictionaryArray) or not _is_text(column.type.value_type):
                continue
            lengths = pc.call_function("binary_length", [column.dictionary])
            longest = pc.call_function("max", [lengths]).as_py() or 0
            if longest * record.num_rows <= self._limits.batch_bytes // len(record.columns):
                continue
            of_rows = pc.call_function("take", [lengths, column.indices]).fill_null(0).to_numpy()
            sizes += of_rows
            for index in np.flatnonzero(of_rows > self._limits.field_bytes):
                row = first + int(index)
                found.setdefault(
                    int(index), RowFault(row=row, kind=RowFaultKind.FIELD_TOO_LONG, column=position)
                )
        for index in np.flatnonzero(sizes > self._limits.row_bytes):
            found.setdefault(int(index), RowFault(row=first + int(index), kind=RowFaultKind.ROW_TOO_LONG))
        return sizes, [found[index] for index in sorted(found)]


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


def _check_footer(file: RegularFile) -> None:
    tail = file.read_at(max(0, file.size - _FOOTER.size), _FOOTER.size)
    if len(tail) < _FOOTER.size or file.size < len(MAGIC) + _FOOTER.size:
        raise FileCutOffError(say["cut_off"])
    length, magic = _FOOTER.unpack(tail)
    if magic != MAGIC or length > file.size - len(MAGIC) - _FOOTER.size:
        raise FileCutOffError(say["cut_off"])
    if length > _METADATA_BYTES:
        raise FileTooLargeError(say("metadata_too_large", limit=amount(_METADATA_BYTES)))


def _extent(metadata: pq.FileMetaData, group: int, column: int) -> tuple[int, int]:
    """Return where the pages of a column of a row group start, and how many bytes they take."""
    chunk = metadata.row_group(group).column(column)
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < start:
        start = chunk.dictionary_page_offset
    if start < 0 or chunk.total_compressed_size < 0:
        raise ValueError("no such place in a file")
    return start, chunk.total_compressed_size


def _guarded(step: Callable[[], _T]) -> _T:
    """Return what `step` returns; what Arrow says about damaged input goes no further."""
    try:
        return step()
    except _DAMAGE:
        pass
    raise FileCutOffError(say["cut_off"])
