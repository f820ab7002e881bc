"""Find the rows of a few persons in Parquet files, reading only the row groups they are in.

Each file is asked in two steps: first for the place of the rows (person, time, institution), then for
the values of those that are on the page. Footers are parsed once and kept with the open file, within bounds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kangshu.kernel.periods import Period
from kangshu.lake.errors import SegmentLostError, say
from kangshu.lake.model import FIRST_MESSAGE_FILE, RowKey, Segment

_KEYS = ["_at", "_file", "_row", "_institution"]
_FEW_GROUPS = 4
_FIRST, _LAST = int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max)
# A parsed footer takes about 14 times its size on disk (measured), an open file some more.
_FOOTER_FACTOR = 14
_READER_BYTES = 64 << 10


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundRow:
    """Where a row about a wanted person lies, and what the list needs to put it in order."""

    segment: Segment
    group: int
    offset: int
    person: int
    institution: str
    key: RowKey


@dataclass(frozen=True, kw_only=True)
class RowFilter:
    """Which of a person's rows are wanted; nothing named means all."""

    institutions: frozenset[str] | None = None
    period: Period | None = None
    exclude_messages: bool = False

    def may_match(self, segment: Segment) -> bool:
        """Tell whether a segment's span of time leaves the possibility of a match."""
        if self.period is None:
            return True
        if segment.min_at is None or segment.max_at is None:
            return False
        return segment.min_at.date() < self.period.end and segment.max_at.date() >= self.period.start

    def matches(self, *, file: int, institution: str, at: datetime | None) -> bool:
        """Tell whether a row with these is wanted. What has no date is in no period."""
        if self.exclude_messages and file >= FIRST_MESSAGE_FILE:
            return False
        if self.institutions is not None and institution not in self.institutions:
            return False
        return self.period is None or (at is not None and at.date() in self.period)


class _Reader:
    """An open Parquet file with its footer; of each row group the range of persons and number of rows."""

    def __init__(self, path: Path) -> None:
        # Without a memory map: a fault of the disk must be an error here, not the end of the process.
        self.file = pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
        metadata = self.file.metadata
        self.cost = metadata.serialized_size * _FOOTER_FACTOR + _READER_BYTES
        self.columns = self.file.schema_arrow.names
        place = self.columns.index("_person")
        groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
        ranges = [_range_of(group.column(place).statistics) for group in groups]
        self.lows = np.array([low for low, _, _ in ranges], dtype=np.int64)
        self.highs = np.array([high for _, high, _ in ranges], dtype=np.int64)
        self.have_nobody = np.array([nobody for _, _, nobody in ranges], dtype=bool)
        self.sizes = np.array([group.num_rows for group in groups], dtype=np.int64)

    def groups_with(self, persons: npt.NDArray[np.int64]) -> list[int]:
        """Return the row groups whose range holds any of `persons` (ascending)."""
        first = np.searchsorted(persons, self.lows, side="left")
        last = np.searchsorted(persons, self.highs, side="right")
        return np.flatnonzero(first < last).tolist()

    def read(self, groups: Iterable[int], columns: Sequence[str]) -> pa.Table:
        """Return the columns of the row groups, one below the other."""
        return self.file.read_row_groups(
            [int(group) for group in groups], columns=list(columns), use_threads=False
        )

    def starts(self, groups: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return where the rows of each group begin when only `groups` are read, and the end of the last."""
        return np.concatenate([[0], np.cumsum(self.sizes[list(groups)])])

    def close(self) -> None:
        self.file.close(force=True)


class ReaderCache:
    """Open files with parsed footers; the longest unused are closed first.

    A reader is lent to one borrower at a time: a Parquet reader is not for two threads.
    """

    def __init__(self, *, most_bytes: int = 128 << 20, most_files: int = 256) -> None:
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._bytes = 0
        self._idle: OrderedDict[Path, _Reader] = OrderedDict()
        self._guard = threading.Lock()

    @contextmanager
    def borrow(self, lake: Path, segment: Segment) -> Iterator[_Reader]:
        """Lend a reader on the segment.

        Raises:
            FileNotFoundError: the file is gone; the segment may have been compacted meanwhile.
            SegmentLostError: the file is damaged.
        """
        path = lake / segment.path
        reader = self._take(path)
        try:
            reader = reader or _Reader(path)
            yield reader
        except BaseException as error:
            if reader:
                reader.close()
            if isinstance(error, pa.ArrowException | OSError) and not isinstance(error, FileNotFoundError):
                raise SegmentLostError(say["lost"], place=segment.path) from error
            raise
        self._give_back(path, reader)

    def forget(self, paths: Iterable[Path]) -> None:
        """Close these files if they are idle; deleted files take up the disk as long as they are open."""
        for path in paths:
            if reader := self._take(path):
                reader.close()

    def close(self) -> None:
        """Close every idle file."""
        with self._guard:
            readers = list(self._idle.values())
            self._idle.clear()
            self._bytes = 0
        for reader in readers:
            reader.close()

    def _take(self, path: Path) -> _Reader | None:
        with self._guard:
            reader = self._idle.pop(path, None)
            self._bytes -= reader.cost if reader else 0
            return reader

    def _give_back(self, path: Path, reader: _Reader) -> None:
        surplus: list[_Reader] = []
        with self._guard:
            if path in self._idle:  # two had borrowed it at the same time
                surplus.append(reader)
            else:
                self._idle[path] = reader
                self._bytes += reader.cost
            while self._bytes > self._most_bytes or len(self._idle) > self._most_files:
                _, oldest = self._idle.popitem(last=False)
                self._bytes -= oldest.cost
                surplus.append(oldest)
        for old in surplus:
            old.close()


def find_rows(
    reader: _Reader, segment: Segment, *, persons: Sequence[int], wanted: RowFilter
) -> list[FoundRow]:
    """Return where the wanted rows about `persons` lie in the segment, leaving out superseded ones."""
    sought = np.unique(np.array(persons, dtype=np.int64))
    groups = reader.groups_with(sought)
    if len(groups) > _FEW_GROUPS:
        # An unsorted file: most of these hold nobody we look for, so look at the persons alone first.
        hits = _hits(reader.read(groups, ["_person"]), sought)
        slots = np.searchsorted(reader.starts(groups), hits, side="right") - 1
        groups = [groups[slot] for slot in np.unique(slots)]
    if not groups:
        return []
    keys = reader.read(groups, ["_person", *_KEYS])
    hits = _hits(keys, sought)
    starts = reader.starts(groups)
    slots = np.searchsorted(starts, hits, side="right") - 1
    places = [
        (groups[slot], offset) for slot, offset in zip(slots, (hits - starts[slots]).tolist(), strict=True)
    ]
    return _describe(segment, wanted, places, _pick(keys, hits))


def read_values(
    reader: _Reader, rows: Sequence[FoundRow], *, order: Sequence[str]
) -> Iterator[tuple[FoundRow, dict[str, Any]]]:
    """Yield each of `rows`, all of this reader's segment, with its declared fields; in no order of rows.

    Fields stand in the order given; those of an older edition that are not in it follow.
    """
    names = {name for name in reader.columns if not name.startswith("_")}
    columns = [name for name in order if name in names]
    columns += [name for name in reader.columns if name in names and name not in columns]
    groups = sorted({row.group for row in rows})
    starts = dict(zip(groups, reader.starts(groups).tolist(), strict=False))
    placed = sorted(((starts[row.group] + row.offset, row) for row in rows), key=itemgetter(0))
    table = reader.read(groups, columns).select(columns)
    values = _pick(table, np.array([place for place, _ in placed], dtype=np.int64)).to_pylist()
    return ((row, fields) for (_, row), fields in zip(placed, values, strict=True))


def by_segment(rows: Iterable[FoundRow]) -> list[list[FoundRow]]:
    """Return `rows` in lists of one segment each."""
    lists: dict[int, list[FoundRow]] = defaultdict(list)
    for row in rows:
        lists[row.segment.id].append(row)
    return list(lists.values())


def _range_of(statistics: Any) -> tuple[int, int, bool]:
    """Return the first and last person of a row group, and whether it has rows about nobody."""
    if statistics is None or not statistics.has_null_count:
        return _FIRST, _LAST, True
    if not statistics.has_min_max:
        return _LAST, _FIRST, True
    return statistics.min, statistics.max, statistics.null_count > 0


def _hits(table: pa.Table, sought: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the numbers of the rows that are about somebody sought."""
    column = table["_person"]
    values = column.fill_null(_FIRST).to_numpy() if column.null_count else column.to_numpy()
    return np.flatnonzero(values == sought[0] if len(sought) == 1 else np.isin(values, sought))


def _pick(table: pa.Table, places: npt.NDArray[np.int64]) -> pa.Table:
    """Return the rows at `places` (ascending): without copying where they are neighbours, as when sorted."""
    if len(places) and places[-1] - places[0] == len(places) - 1:
        return table.slice(int(places[0]), len(places))
    return table.take(pa.array(places))


def _describe(
    segment: Segment, wanted: RowFilter, places: Sequence[tuple[int, int]], keys: pa.Table
) -> list[FoundRow]:
    dropped, dropped_rows = set(segment.dropped), set(segment.dropped_rows)
    columns = (keys[name].to_pylist() for name in ("_person", *_KEYS))
    found: list[FoundRow] = []
    for (group, offset), person, at, file, row, institution in zip(places, *columns, strict=True):
        if file in dropped or (file, row) in dropped_rows:
            continue
        if not wanted.matches(file=file, institution=institution, at=at):
            continue
        found.append(
            FoundRow(
                segment=segment,
                group=group,
                offset=offset,
                person=person,
                institution=institution,
                key=RowKey(at=at, dataset=segment.dataset, file=file, row=row),
            )
        )
    return found
