"""Write rows to a Parquet file that appears in its place whole and on the disk, or not at all."""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kangshu.lake.errors import naming_disk_faults
from kangshu.lake.filters import MOST_PERSONS, build_filter
from kangshu.lake.folder import incoming_path, relative, sync_folder
from kangshu.lake.model import SegmentFile
from kangshu.lake.schema import group_rows, shape_of

# A file below this is held back, sorted by person and written in small groups: what a hospital sends in
# a day or a month. A larger one is written as it comes; sorting it is the compaction's work.
_SORTED_BYTES = 32 << 20
# Unsorted rows gain nothing from small groups.
_UNSORTED_FACTOR = 4
_SAMPLE_ROWS = 2048
# At this share of different values a dictionary no longer pays for being built.
_DICTIONARY_SHARE = 0.5


class SegmentWriter:
    """Takes tables, makes one segment of them; `close` brings it to its place.

        with SegmentWriter(path, schema) as writer:
            writer.write(table)
            segment = writer.close()

    `path` comes from `new_segment_path`. Left without `close`, nothing remains. A table's columns have the
    names of `schema` in any order; their types are cast where needed. With `presorted` the tables come in
    the order of persons, rows without one last, and are never held back.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, presorted: bool = False) -> None:
        self._path = path
        self._incoming = incoming_path(path)
        self._schema = schema
        self._presorted = presorted
        self._holds_back = not presorted
        self._pending = _Pending()
        self._facts = _Facts(wants_filter=not presorted)
        self._group_rows = group_rows(len(schema))
        self._file: _File | None = None

    def write(self, table: pa.Table) -> None:
        """Append rows.

        Raises:
            LakeFullError: the disk is full; nothing remains of the file.
            ValueError: the columns are not those of the schema, or the order is not as promised.
        """
        if not table.num_rows:
            return
        table = _conform(table, self._schema)
        self._facts.observe(table, ordered=self._presorted)
        self._pending.append(table)
        if self._holds_back and self._pending.bytes > _SORTED_BYTES:
            self._holds_back = False
        if not self._holds_back:
            self._flush(least=self._flush_rows)

    def close(self) -> SegmentFile:
        """Bring the file to its place, durably, and return what is in it.

        A segment without rows has no file; `commit_file` passes over it.

        Raises:
            LakeFullError: the disk is full; nothing remains of the file.
        """
        is_sorted = self._presorted or self._holds_back
        if self._holds_back:
            self._pending.sort()
        self._flush(least=1)
        size = 0
        if self._file:
            with naming_disk_faults(relative(self._path)), _removing(self._incoming, self._path):
                self._file.finish()
                size = self._incoming.stat().st_size
                os.rename(self._incoming, self._path)
                sync_folder(self._path.parent)
        return self._facts.segment(
            path=self._path, size=size, is_sorted=is_sorted, shape=shape_of(self._schema)
        )

    def abort(self) -> None:
        """Drop the file; nothing remains of it."""
        if self._file:
            self._file.drop()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file and not self._file.finished:
            self.abort()

    @property
    def _flush_rows(self) -> int:
        return self._group_rows * (8 if self._presorted else _UNSORTED_FACTOR)

    def _flush(self, *, least: int) -> None:
        """Write what is pending in whole row groups; with `least` 1 to the last row."""
        while self._pending.rows >= least:
            rows = self._pending.rows if least == 1 else self._pending.rows // least * least
            self._write_groups(self._pending.take(rows))

    def _write_groups(self, table: pa.Table) -> None:
        small = self._presorted or self._holds_back
        rows = self._group_rows if small else self._group_rows * _UNSORTED_FACTOR
        with naming_disk_faults(relative(self._path)), _removing(self._incoming):
            if self._file is None:
                self._file = _File(self._incoming, table)
            self._file.write(table, rows)


class _Pending:
    """Tables that were taken and not yet written."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self.rows = 0
        self.bytes = 0

    def append(self, table: pa.Table) -> None:
        self._tables.append(table)
        self.rows += table.num_rows
        self.bytes += table.nbytes

    def sort(self) -> None:
        if self._tables:
            table = pa.concat_tables(self._tables)
            self._tables = [table.take(pc.sort_indices(table, sort_keys=[("_person", "ascending")]))]

    def take(self, rows: int) -> pa.Table:
        table = pa.concat_tables(self._tables)
        rest = table.slice(rows)
        self._tables = [rest] if rest.num_rows else []
        self.rows, self.bytes = rest.num_rows, rest.nbytes if rest.num_rows else 0
        return table.slice(0, rows)


class _File:
    """The Parquet file under its incoming name, readable for us alone."""

    def __init__(self, path: Path, first: pa.Table) -> None:
        self._path = path
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            first.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=_dictionary_columns(first),  # pyright: ignore[reportArgumentType]
            # Statistics are for skipping by person and time; for every column they would swell the footer.
            write_statistics=["_person", "_at"],  # pyright: ignore[reportArgumentType]
            write_page_checksum=True,
            store_schema=False,
        )
        self.finished = False

    def write(self, table: pa.Table, rows_per_group: int) -> None:
        self._writer.write_table(table, row_group_size=rows_per_group)

    def finish(self) -> None:
        self._writer.close()
        self._sink.close()
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.finished = True

    def drop(self) -> None:
        # The file goes first: closing writes the footer, which fails again where the disk is full.
        self._path.unlink(missing_ok=True)
        for part in (self._writer, self._sink):
            try:
                part.close()
            except OSError:
                continue


class _Facts:
    """What the manifest wants to know about a segment, gathered while it is written."""

    def __init__(self, *, wants_filter: bool) -> None:
        self._rows = 0
        self._persons: tuple[int, int] | None = None
        self._moments: tuple[datetime, datetime] | None = None
        self._distinct: list[np.ndarray[Any, np.dtype[np.int64]]] | None = [] if wants_filter else None
        self._seen = 0
        self._nobody = False

    def observe(self, table: pa.Table, *, ordered: bool) -> None:
        persons = table["_person"]
        found = _min_max(persons)
        if ordered:
            self._check_order(persons, found)
        self._persons = _widen(self._persons, found)
        self._moments = _widen(self._moments, _min_max(table["_at"]))
        self._rows += table.num_rows
        self._collect(persons)

    def segment(
        self, *, path: Path, size: int, is_sorted: bool, shape: tuple[tuple[str, str], ...]
    ) -> SegmentFile:
        low, high = self._persons or (None, None)
        first, last = self._moments or (None, None)
        return SegmentFile(
            path=path,
            rows=self._rows,
            bytes=size,
            min_person=low,
            max_person=high,
            min_at=first,
            max_at=last,
            is_sorted=is_sorted,
            shape=shape,
            filter=build_filter(np.unique(np.concatenate(self._distinct))) if self._distinct else None,
        )

    def _check_order(self, persons: pa.ChunkedArray, found: tuple[int, int] | None) -> None:
        late = found and (self._nobody or (self._persons and found[0] < self._persons[1]))
        if late:
            raise ValueError("the tables of a sorted segment come in the order of persons")
        self._nobody = self._nobody or persons.null_count > 0

    def _collect(self, persons: pa.ChunkedArray) -> None:
        if self._distinct is None:
            return
        distinct = np.unique(persons.drop_null().to_numpy())
        self._seen += len(distinct)
        if self._seen > MOST_PERSONS:
            self._distinct = None
        elif len(distinct):
            self._distinct.append(distinct)


@contextmanager
def _removing(*paths: Path) -> Iterator[None]:
    """Remove the files when the block fails, so that a full disk is not made fuller."""
    try:
        yield
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if set(table.column_names) != set(schema.names) or len(table.column_names) != len(schema):
        raise ValueError("the table's columns are not those of the segment")
    table = table.select(schema.names)
    return table if table.schema.equals(schema) else table.cast(schema)


def _dictionary_columns(table: pa.Table) -> list[str]:
    """Return the Parquet paths of the columns whose values repeat often enough to be numbered."""
    sample = table.slice(0, _SAMPLE_ROWS)
    chosen: list[str] = []
    for name in sample.column_names:
        values, path = sample[name], name
        if pa.types.is_list(values.type):
            values, path = pc.list_flatten(values), f"{name}.list.element"
        present = len(values) - values.null_count
        if pc.count_distinct(values).as_py() <= max(present * _DICTIONARY_SHARE, 1):
            chosen.append(path)
    return chosen


def _min_max(values: pa.ChunkedArray) -> tuple[Any, Any] | None:
    found = pc.min_max(values).as_py()
    return None if found["min"] is None else (found["min"], found["max"])


def _widen(known: tuple[Any, Any] | None, found: tuple[Any, Any] | None) -> tuple[Any, Any] | None:
    if not known or not found:
        return known or found
    return min(known[0], found[0]), max(known[1], found[1])
