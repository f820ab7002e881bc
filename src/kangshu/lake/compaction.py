"""Merge runs into larger ones that are sorted by person: what to merge (pure), and the merge itself.

The scheme is the size-tiered log-structured merge tree (O'Neil and others, Acta Informatica 33, 1996): a row
is rewritten once for each tier it climbs, and a person is looked for in a few runs instead of
thousands of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kangshu.lake.engine import Engine
from kangshu.lake.errors import naming_disk_faults
from kangshu.lake.folder import new_segment_path
from kangshu.lake.model import Run, Segment, SegmentFile
from kangshu.lake.schema import Shape, merge_shapes, schema_of, segment_rows
from kangshu.lake.sorting import NOBODY, persons_of, sort_segments
from kangshu.lake.writing import SegmentWriter

# The lowest tier holds runs of less than this many segments' worth of rows; each next one twice as many.
_BASE_SEGMENTS = 4
# So many runs in one tier are merged; more in the lowest, where files drop in all day and filters help.
# Two is the fewest runs to look into (2.5 on average at 20 million rows) for the most rewriting (5 times);
# four would be 4.5 and 2.7. A person page is waited for, a compaction is not.
_LOWEST_RUNS = 8
_TIER_RUNS = 2
# At this share of superseded rows a run is rewritten for its own sake.
_DEAD_SHARE = 0.3
# A run of so many rows has reached its last size: merging several would take hours and as much free disk.
_LAST_SIZE = 200_000_000
# So many runs at once, so that the work comes in portions.
_MOST_RUNS = 1000


def plan_merge(runs: Sequence[Run], *, everything: bool = False) -> list[int]:
    """Return the runs to merge next into one, or nothing where the data set is in good order.

    Runs whose editions hold a column in different types are never merged with each other. With
    `everything` all that can be one run becomes one.
    """
    for family in _families(runs):
        chosen = _choose_all(family) if everything else _choose(family)
        if chosen:
            return [run.id for run in chosen]
    return []


def merge(
    engine: Engine, *, dataset: str, segments: Sequence[Segment], shapes: Sequence[Shape]
) -> list[SegmentFile]:
    """Write the live rows of `segments` as one sorted run and return its segments, in the order of persons.

    Files of a merge that fails are removed; those of a process that dies are left to the sweep.

    Raises:
        LakeFullError: the disk is full.
    """
    shape = merge_shapes(list(shapes))
    assert shape is not None, "runs of one merge agree about the types of their columns"
    tables = sort_segments(engine, segments, schema_of(shape), bucket_rows=segment_rows(len(shape)))
    written: list[SegmentFile] = []
    try:
        with naming_disk_faults(f"segments/{dataset}"):
            for segment in _write_segments(engine, dataset, shape, tables):
                written.append(segment)
    except BaseException:
        discard(written)
        raise
    return written


def discard(segments: Sequence[SegmentFile]) -> None:
    """Remove segments that will not be committed."""
    for segment in segments:
        segment.path.unlink(missing_ok=True)


def _families(runs: Sequence[Run]) -> list[list[Run]]:
    """Return `runs` in groups that agree about the types of columns, smallest run first."""
    families: list[list[Shape]] = []
    for shape in dict.fromkeys(run.shape for run in sorted(runs, key=lambda run: run.id)):
        found = next((family for family in families if merge_shapes([*family, shape]) is not None), None)
        if found is None:
            families.append([shape])
        else:
            found.append(shape)
    return [
        sorted((run for run in runs if run.shape in family), key=lambda run: (run.rows, run.id))
        for family in families
    ]


def _choose_all(family: Sequence[Run]) -> Sequence[Run]:
    chosen = family[:_MOST_RUNS]
    in_order = len(chosen) == 1 and chosen[0].is_sorted and not chosen[0].dead_rows
    return [] if in_order else chosen


def _choose(family: Sequence[Run]) -> Sequence[Run]:
    tiers: dict[int, list[Run]] = {}
    for run in family:
        if run.rows < _LAST_SIZE or not run.is_sorted:
            tiers.setdefault(_tier(run.rows, run.shape), []).append(run)
    chosen: list[Run] = []
    due = False
    for tier, members in sorted(tiers.items()):
        if due and _tier(sum(run.rows for run in chosen), members[0].shape) < tier:
            break
        # Smaller runs come along: they cost little and are gone. So does the next tier where the result would
        # meet a run of its size, which would be the next merge.
        chosen += members
        due = due or _is_due(tier, members)
    if due:
        return sorted(chosen, key=lambda run: run.is_sorted)[:_MOST_RUNS]
    return [run for run in family if run.dead_rows >= run.rows * _DEAD_SHARE][:1]


def _is_due(tier: int, members: Sequence[Run]) -> bool:
    # The writer sorts small files itself, so an unsorted one is large and slow to look into.
    unsorted = any(not run.is_sorted for run in members)
    return unsorted or len(members) >= (_TIER_RUNS if tier else _LOWEST_RUNS)


def _tier(rows: int, shape: Shape) -> int:
    return (rows // (_BASE_SEGMENTS * segment_rows(len(shape)))).bit_length()


def _write_segments(
    engine: Engine, dataset: str, shape: Shape, tables: Iterator[pa.Table]
) -> Iterator[SegmentFile]:
    """Write sorted tables as segments of about the right size; a person's rows stay together."""
    schema, wanted = schema_of(shape), segment_rows(len(shape))
    writer: SegmentWriter | None = None
    filled, last = 0, NOBODY
    try:
        for table in tables:
            while table.num_rows:
                if writer is None:
                    path = new_segment_path(home=engine.lake.parent, dataset=dataset)
                    writer, filled = SegmentWriter(path, schema, presorted=True), 0
                persons = persons_of(table)
                count = rows_that_fit(persons, filled=filled, last=last, wanted=wanted)
                writer.write(table.slice(0, count))
                filled, last = filled + count, int(persons[count - 1]) if count else last
                table = table.slice(count)
                if table.num_rows:
                    yield writer.close()
                    writer = None
        if writer:
            yield writer.close()
            writer = None
    finally:
        if writer:
            writer.abort()


def rows_that_fit(persons: npt.NDArray[np.int64], *, filled: int, last: int, wanted: int) -> int:
    """Return how many of the next rows go into a segment that holds `filled` and wants `wanted`.

    It ends with the last row of a person, except where one "person" alone has as much as a segment.
    `last` is the person of the row before.
    """
    if filled + len(persons) <= wanted:
        return len(persons)
    edge = max(wanted - filled, 0)
    last_person = int(persons[edge - 1]) if edge else last
    end = int(np.searchsorted(persons, last_person, side="right"))
    return min(end, max(2 * wanted - filled, 0))
