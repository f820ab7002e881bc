"""The bucket sort gives back every live row once, in the order of persons, whatever the files look like."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_samples import VISIT, Row, rows_table

from kangshu.lake import Engine, Segment, SegmentWriter, lake_schema, new_segment_path, sorting, writing
from kangshu.lake.folder import relative
from kangshu.lake.sorting import NOBODY, persons_of, sort_segments

SCHEMA = lake_schema(VISIT)
_persons = st.lists(
    st.none() | st.integers(min_value=1, max_value=9) | st.integers(min_value=1, max_value=2**62), max_size=60
)


def segment_of(home: Path, number: int, persons: list[int | None], *, presorted: bool) -> Segment | None:
    """A segment of file `number`, sorted beforehand or by the writer, or as it comes if that is patched."""
    if presorted:
        persons = sorted(persons, key=lambda person: NOBODY if person is None else person)
    table = rows_table([Row(person=person) for person in persons], file=number, institution="H1")
    path = new_segment_path(home=home, dataset="visit")
    with SegmentWriter(path, SCHEMA, presorted=presorted) as writer:
        writer.write(table)
        made = writer.close()
    if not made.rows:
        return None
    return Segment(
        id=number,
        run=number,
        dataset="visit",
        path=relative(path),
        rows=made.rows,
        bytes=made.bytes,
        is_sorted=made.is_sorted,
        min_person=made.min_person,
        max_person=made.max_person,
        min_at=made.min_at,
        max_at=made.max_at,
        has_filter=False,
        dropped=(number,) if number % 5 == 4 else (),
        shape=made.shape,
    )


@settings(max_examples=40, deadline=None)
@given(
    files=st.lists(st.tuples(_persons, st.booleans()), min_size=1, max_size=7),
    bucket_rows=st.integers(min_value=1, max_value=40),
)
def test_every_live_row_comes_once_in_the_order_of_persons(files, bucket_rows):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        # Tiny sizes: several groups a file, two rounds of dealing, spills after every few rows.
        patch.setattr(writing, "group_rows", lambda columns: 4)
        patch.setattr(writing, "_SORTED_BYTES", 600)
        patch.setattr(sorting, "_FAN", 3)
        patch.setattr(sorting, "_DEALT_BYTES", 500)
        patch.setattr(sorting, "_BATCH_ROWS", 8)
        patch.setattr(sorting, "_SAMPLE_ROWS", 30)
        patch.setattr(sorting, "_GROUPS_PER_BUCKET", 1)
        home = Path(folder)
        made = [
            segment_of(home, number, persons, presorted=presorted)
            for number, (persons, presorted) in enumerate(files, start=1)
        ]
        segments = [segment for segment in made if segment]
        with Engine(home, threads=1) as engine:
            tables = (
                list(sort_segments(engine, segments, SCHEMA, bucket_rows=bucket_rows)) if segments else []
            )
        left = list(home.rglob("*.arrow"))

    seen = [person for table in tables for person in persons_of(table).tolist()]
    rows = Counter(
        (file, row)
        for table in tables
        for file, row in zip(table["_file"].to_pylist(), table["_row"].to_pylist(), strict=True)
    )
    assert seen == sorted(seen)
    assert rows == Counter(
        (number, row)
        for number, (persons, _) in enumerate(files, start=1)
        if number % 5 != 4
        for row in range(2, len(persons) + 2)
    )
    assert left == []


def test_buckets_are_about_as_large_as_wanted():
    rng = np.random.default_rng(1)
    persons = np.sort(rng.integers(1, 1_000_000, 100_000))

    edges = sorting._edges_of(persons, 100_000, 5_000)

    sizes = np.diff(np.searchsorted(persons, [0, *edges, NOBODY], side="right"))
    assert len(sizes) == 20
    assert sizes.max() < 5_100


def test_whoever_has_more_than_a_bucket_gets_one_alone_and_so_does_nobody():
    persons = np.array([1, 2, 3] + [7] * 50 + [8, 9] + [NOBODY] * 20, dtype=np.int64)

    edges = sorting._edges_of(persons, len(persons), 10).tolist()

    assert {6, 7, NOBODY - 1} <= set(edges)


def test_dealing_in_several_rounds_keeps_the_order_of_buckets(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "_FAN", 4)
    edges = np.arange(10, 1000, 10, dtype=np.int64)
    table = rows_table([Row(person=1 + place * 7 % 1000) for place in range(1000)], file=1, institution="H")

    buckets = [
        [person for part in bucket for person in persons_of(part).tolist()]
        for bucket in sorting._deal(iter([table]), edges, tmp_path)
    ]

    assert len(buckets) == 100
    assert all(
        all(number * 10 < person <= number * 10 + 10 for person in bucket)
        for number, bucket in enumerate(buckets)
    )
    assert sum(map(len, buckets)) == 1000


def test_a_sort_that_is_given_up_leaves_no_files(home, monkeypatch):
    monkeypatch.setattr(sorting, "_DEALT_BYTES", 1000)
    monkeypatch.setattr(writing, "_SORTED_BYTES", 0)
    rows: list[int | None] = [1 + place * 7 % 50 for place in range(3000)]

    with Engine(home, threads=1) as engine:
        segment = segment_of(home, 1, rows, presorted=False)
        assert segment is not None
        tables = sort_segments(engine, [segment], SCHEMA, bucket_rows=300)
        next(tables)
        during = len(list(home.rglob("*.arrow")))
        tables.close()
        after = len(list(home.rglob("*.arrow")))

    assert (during > 0, after) == (True, 0)
