"""Put the rows of many segments in the order of persons, in bounded memory.

A bucket sort on the disk: the persons are cut into buckets of about one segment's rows each, rows are dealt
into the buckets' files, and each bucket is sorted in memory on its own. What is sorted already and long
enough is not dealt but read bucket by bucket. DuckDB's sort would do the same in a line, but with 140 columns
it needs more memory than its limit and fails (measured: 100,000 rows in 256 MiB, 200,000 in 512).
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.lake.engine import Engine
from kangshu.lake.folder import temp_folder
from kangshu.lake.model import Segment

Persons: TypeAlias = "npt.NDArray[np.int64]"

# Stands for no person: after everybody, where the order of nulls puts them.
NOBODY = int(np.iinfo(np.int64).max)

# Dealt rows are held in memory up to this, then written to the buckets' files.
_DEALT_BYTES = 64 << 20
# So many files are open at once; more buckets are dealt in two rounds.
_FAN = 64
_BATCH_ROWS = 16_384
_SAMPLE_ROWS = 200_000
# Below so many groups for each bucket, reading by bucket would read most groups twice.
_GROUPS_PER_BUCKET = 4

_file_numbers = itertools.count(1)


def sort_segments(
    engine: Engine, segments: Sequence[Segment], schema: pa.Schema, *, bucket_rows: int
) -> Iterator[pa.Table]:
    """Yield the live rows of `segments` in the order of persons, those about nobody last.

    Columns that a segment lacks are NULL. The tables have about `bucket_rows` rows; a person, or nobody,
    that fills a bucket alone comes in smaller ones.
    """
    sources = [_Source(engine, segment, schema) for segment in segments]
    edges = _edges_of(_sample(sources), sum(segment.rows for segment in segments), bucket_rows)
    long = [source for source in sources if source.is_long(edges)]
    short = [source for source in sources if source not in long]
    dealt = _deal(_all_tables(short), edges, temp_folder(engine.lake))
    for bucket, tables in enumerate(dealt):
        above = int(edges[bucket - 1]) if bucket else -NOBODY
        upto = int(edges[bucket]) if bucket < len(edges) else NOBODY
        parts = itertools.chain(tables, *(source.tables_between(above, upto) for source in long))
        if upto - above == 1:
            yield from parts
        else:
            yield from _sorted(list(parts))


class _Source:
    """A segment, read in the columns of the result and without its superseded rows."""

    def __init__(self, engine: Engine, segment: Segment, schema: pa.Schema) -> None:
        self._engine = engine
        self._schema = schema
        self._dropped = pa.array(segment.dropped, pa.int64())
        self._dropped_files = pa.array(sorted({file for file, _ in segment.dropped_rows}), pa.int64())
        self._dropped_rows = frozenset(segment.dropped_rows)
        self.segment = segment

    def persons(self) -> Persons:
        with self._engine.readers.borrow(self._engine.lake, self.segment) as reader:
            return persons_of(reader.read(range(len(reader.lows)), ["_person"]))

    def is_long(self, edges: Persons) -> bool:
        """Tell whether reading the segment bucket by bucket costs little more than reading it once."""
        if not self.segment.is_sorted or self.segment.min_person is None or self.segment.max_person is None:
            return False
        first, last = np.searchsorted(edges, [self.segment.min_person, self.segment.max_person])
        with self._engine.readers.borrow(self._engine.lake, self.segment) as reader:
            return len(reader.lows) >= _GROUPS_PER_BUCKET * (last - first + 1)

    def tables(self) -> Iterator[pa.Table]:
        """Yield all rows."""
        with self._engine.readers.borrow(self._engine.lake, self.segment) as reader:
            chunks = _chunks(reader.sizes)
        for groups in chunks:
            yield self._read(groups)

    def tables_between(self, above: int, upto: int) -> Iterator[pa.Table]:
        """Yield the rows about persons over `above` up to `upto` of a sorted segment."""
        with self._engine.readers.borrow(self._engine.lake, self.segment) as reader:
            there = (reader.highs > above) & (reader.lows <= upto)
            near = np.flatnonzero(there | reader.have_nobody if upto == NOBODY else there)
            sizes = reader.sizes[near]
        for groups in _chunks(sizes):
            table = self._read(near[groups])
            persons = persons_of(table)
            start, end = np.searchsorted(persons, [above, upto], side="right")
            yield table.slice(int(start), int(end - start))

    def _read(self, groups: Sequence[int] | npt.NDArray[np.int64]) -> pa.Table:
        with self._engine.readers.borrow(self._engine.lake, self.segment) as reader:
            names = [name for name in self._schema.names if name in set(reader.columns)]
            table = reader.read(groups, names)
        if len(self._dropped):
            table = table.filter(pc.invert(pc.is_in(table["_file"], value_set=self._dropped)))
        if self._dropped_rows:
            table = self._without_dropped_rows(table)
        return _aligned(table, self._schema)

    def _without_dropped_rows(self, table: pa.Table) -> pa.Table:
        """Leave out single rows; only those of files that have any are looked at one by one."""
        near = np.flatnonzero(
            pc.is_in(table["_file"], value_set=self._dropped_files).to_numpy(zero_copy_only=False)
        )
        if not len(near):
            return table
        some = table.select(["_file", "_row"]).take(pa.array(near))
        pairs = zip(some["_file"].to_pylist(), some["_row"].to_pylist(), strict=True)
        keep = np.ones(table.num_rows, dtype=bool)
        keep[near] = [pair not in self._dropped_rows for pair in pairs]
        return table.filter(pa.array(keep))


class _Bucket:
    """Rows dealt to one range of persons: some in memory, the rest in a file that goes after it was read."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._path = folder / f"bucket-{next(_file_numbers)}.arrow"
        self._schema = schema
        self._pending: list[pa.Table] = []
        self._writer: Any = None

    def add(self, table: pa.Table) -> None:
        self._pending.append(table)

    def spill(self) -> None:
        if not self._pending:
            return
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(str(self._path), self._schema, options=options)
        self._writer.write_table(pa.concat_tables(self._pending).combine_chunks())
        self._pending = []

    def drain(self) -> Iterator[pa.Table]:
        if self._writer is not None:
            self._writer.close()
            with pa.OSFile(str(self._path)) as source, pa.ipc.open_file(source) as reader:
                for number in range(reader.num_record_batches):
                    yield pa.Table.from_batches([reader.get_batch(number)])
        yield from self._pending
        self._pending = []
        self.drop()

    def drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._path.unlink(missing_ok=True)
            self._writer = None


def _deal(tables: Iterable[pa.Table], edges: Persons, folder: Path) -> Iterator[Iterator[pa.Table]]:
    """Deal the rows into the buckets between `edges` and yield each bucket's rows, in order of buckets."""
    step = -(-(len(edges) + 1) // _FAN)
    coarse = edges[step - 1 :: step]
    buckets: list[_Bucket] = []
    try:
        _fill(buckets, tables, coarse, folder)
        for number in range(len(coarse) + 1):
            fine = edges[number * step : (number + 1) * step - 1]
            mine = buckets[number].drain() if buckets else iter(())
            if len(fine):
                yield from _deal(mine, fine, folder)
            else:
                yield mine
    finally:
        for bucket in buckets:
            bucket.drop()


def _fill(buckets: list[_Bucket], tables: Iterable[pa.Table], edges: Persons, folder: Path) -> None:
    held = 0
    for table in tables:
        if not buckets:
            buckets.extend(_Bucket(folder, table.schema) for _ in range(len(edges) + 1))
        numbers = np.searchsorted(edges, persons_of(table), side="left")
        if len(edges) and (numbers[1:] < numbers[:-1]).any():
            order = np.argsort(numbers, kind="stable")
            table, numbers = table.take(pa.array(order)), numbers[order]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        for start, end in itertools.pairwise([*starts.tolist(), len(numbers)]):
            buckets[numbers[start]].add(table.slice(start, end - start))
        held += table.nbytes
        if held > _DEALT_BYTES:
            for bucket in buckets:
                bucket.spill()
            held = 0


def persons_of(table: pa.Table) -> Persons:
    """Return the persons of the rows, with `NOBODY` where there is none."""
    return table["_person"].fill_null(NOBODY).to_numpy()


def _sample(sources: Sequence[_Source]) -> Persons:
    stride = max(1, sum(source.segment.rows for source in sources) // _SAMPLE_ROWS)
    parts: list[Persons] = []
    skip = 0
    for source in sources:
        persons = source.persons()
        parts.append(persons[skip::stride].copy())
        skip = (skip - len(persons)) % stride  # as if all were one long column
    return np.sort(np.concatenate(parts))


def _edges_of(sample: Persons, rows: int, bucket_rows: int) -> Persons:
    """Return the last person of each bucket but the last, so that buckets have about `bucket_rows` rows.

    Whoever has more than a bucket gets one alone, and so does nobody: their rows need no sorting.
    """
    count = -(-rows // bucket_rows)
    cuts = sample[np.arange(1, count) * len(sample) // count]
    heavy = cuts[1:][cuts[1:] == cuts[:-1]]
    edges = np.unique(np.concatenate([cuts, heavy - 1]))
    if sample[-1] == NOBODY:
        edges = np.union1d(edges, [NOBODY - 1])
    return edges[edges < NOBODY]


def _all_tables(sources: Sequence[_Source]) -> Iterator[pa.Table]:
    for source in sources:
        yield from source.tables()


def _sorted(tables: list[pa.Table]) -> Iterator[pa.Table]:
    filled = [table for table in tables if table.num_rows]
    if filled:
        table = pa.concat_tables(filled)
        yield table.take(pc.sort_indices(table, sort_keys=[("_person", "ascending")]))


def _chunks(sizes: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Return the numbers of neighbouring groups in lists of about a batch's rows each."""
    if not len(sizes):
        return []
    chunk = (np.cumsum(sizes) - 1) // _BATCH_ROWS
    return np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(chunk)) + 1)


def _aligned(table: pa.Table, schema: pa.Schema) -> pa.Table:
    there = set(table.column_names)
    columns = [
        table[field.name] if field.name in there else pa.nulls(table.num_rows, field.type) for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)
