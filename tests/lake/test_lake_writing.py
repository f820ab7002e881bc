"""A segment appears whole or not at all, sorted where it is small, with facts for the manifest."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_samples import DAY_ONE, VISIT, Row, make_rows, rows_table, write_segment

from kangshu.kernel.errors import Kind
from kangshu.lake import LakeFullError, SegmentWriter, lake_schema, new_segment_path, writing
from kangshu.lake.filters import build_filter, may_hold
from kangshu.lake.schema import group_rows, merge_shapes, schema_of, segment_rows, shape_of
from kangshu.storage.errors import StorageFullError

SCHEMA = lake_schema(VISIT)


def left_in(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "lake").rglob("*.parquet"))


def test_the_schema_has_our_columns_first_then_the_declared_ones_in_their_types():
    kinds = dict(zip(SCHEMA.names, SCHEMA.types, strict=True))

    assert SCHEMA.names[:5] == ["_file", "_row", "_person", "_institution", "_at"]
    assert kinds["cost"] == pa.decimal128(10, 2)
    assert kinds["visited_at"] == pa.timestamp("us")
    assert kinds["diagnoses"] == pa.list_(pa.string())
    assert schema_of(shape_of(SCHEMA)) == SCHEMA


def test_a_type_that_the_lake_does_not_hold_is_refused():
    with pytest.raises(TypeError):
        shape_of(pa.schema([("x", pa.float64())]))


def test_editions_merge_by_name_unless_a_type_changed():
    first, second = (("a", "BIGINT"), ("b", "DATE")), (("a", "BIGINT"), ("c", "DATE"))

    assert merge_shapes([first, second]) == (("a", "BIGINT"), ("b", "DATE"), ("c", "DATE"))
    assert merge_shapes([first, (("a", "VARCHAR"),)]) is None


@pytest.mark.parametrize(
    ("columns", "group", "segment"), [(8, 8192, 524_288), (25, 2048, 131_072), (140, 1024, 32_768)]
)
def test_wide_data_sets_get_smaller_groups_and_segments(columns: int, group: int, segment: int):
    assert (group_rows(columns), segment_rows(columns)) == (group, segment)


def test_a_small_file_is_sorted_by_person_and_told_about(home: Path):
    rows = [Row(person=9, day=3), Row(person=None, day=None), Row(person=2, day=5), Row(person=9, day=1)]

    segment = write_segment(home, rows, file=1)

    table = pq.read_table(segment.path)
    assert table["_person"].to_pylist() == [2, 9, 9, None]
    assert segment.is_sorted
    assert (segment.rows, segment.min_person, segment.max_person) == (4, 2, 9)
    assert (segment.min_at, segment.max_at) == (datetime(2026, 1, 2, 8), datetime(2026, 1, 6, 8))
    assert segment.bytes == segment.path.stat().st_size
    assert segment.filter is not None
    assert may_hold(segment.filter, [2])


def test_a_file_is_readable_for_us_alone(home: Path):
    segment = write_segment(home, make_rows(3), file=1)

    assert stat.S_IMODE(segment.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(segment.path.parent.stat().st_mode) == 0o700


def test_rows_about_nobody_have_no_range_and_no_filter(home: Path):
    segment = write_segment(home, [Row(person=None, day=None)], file=1)

    assert (segment.min_person, segment.max_person, segment.min_at, segment.filter) == (None,) * 4


def test_a_large_file_is_written_as_it_comes(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writing, "_SORTED_BYTES", 10_000)
    table = rows_table(make_rows(20_000, persons=999), file=1, institution="H1")
    path = new_segment_path(home=home, dataset="visit")

    with SegmentWriter(path, SCHEMA) as writer:
        for start in range(0, 20_000, 3_000):
            writer.write(table.slice(start, 3_000))
        segment = writer.close()

    assert not segment.is_sorted
    assert segment.rows == 20_000
    assert pq.read_table(path)["_row"].to_pylist() == table["_row"].to_pylist()


def test_only_person_and_time_carry_statistics(home: Path):
    segment = write_segment(home, make_rows(10), file=1)

    group = pq.read_metadata(segment.path).row_group(0)
    counted = [
        group.column(place).path_in_schema
        for place in range(group.num_columns)
        if group.column(place).statistics is not None
    ]
    assert counted == ["_person", "_at"]


def test_columns_come_in_any_order_and_types_are_cast(home: Path):
    table = rows_table(make_rows(5), file=1, institution="H1")
    shuffled = table.select(list(reversed(table.column_names)))
    place = shuffled.column_names.index("doses")
    shuffled = shuffled.set_column(place, "doses", shuffled["doses"].cast(pa.int32()))
    path = new_segment_path(home=home, dataset="visit")

    with SegmentWriter(path, SCHEMA) as writer:
        writer.write(shuffled)
        writer.close()

    assert pq.read_schema(path).types[SCHEMA.names.index("doses")] == pa.int64()


def test_other_columns_are_refused_and_nothing_remains(home: Path):
    path = new_segment_path(home=home, dataset="visit")

    with pytest.raises(ValueError, match="columns"), SegmentWriter(path, SCHEMA) as writer:
        writer.write(rows_table(make_rows(5), file=1, institution="H1").drop_columns(["doses"]))

    assert left_in(home) == []


def test_presorted_tables_out_of_order_are_refused(home: Path):
    path = new_segment_path(home=home, dataset="visit")

    with SegmentWriter(path, SCHEMA, presorted=True) as writer:
        writer.write(rows_table([Row(person=5)], file=1, institution="H1"))
        with pytest.raises(ValueError, match="order"):
            writer.write(rows_table([Row(person=4)], file=1, institution="H1"))

    assert left_in(home) == []


def test_a_writer_left_by_an_error_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writing, "_SORTED_BYTES", 0)
    path = new_segment_path(home=home, dataset="visit")
    during: list[str] = []

    def failing() -> None:
        with SegmentWriter(path, SCHEMA) as writer:
            writer.write(rows_table(make_rows(40_000), file=1, institution="H1"))
            during.extend(left_in(home))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()

    assert (during, left_in(home)) == ([path.name], [])


def test_a_file_without_rows_is_no_file(home: Path):
    path = new_segment_path(home=home, dataset="visit")

    with SegmentWriter(path, SCHEMA) as writer:
        segment = writer.close()

    assert (segment.rows, segment.bytes) == (0, 0)
    assert left_in(home) == []


def test_a_file_is_not_in_its_place_before_it_is_whole(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writing, "_SORTED_BYTES", 0)
    path = new_segment_path(home=home, dataset="visit")

    with SegmentWriter(path, SCHEMA) as writer:
        writer.write(rows_table(make_rows(40_000), file=1, institution="H1"))
        before = path.exists()
        writer.close()

    assert (before, path.exists()) == (False, True)


@pytest.mark.parametrize("point", ["fsync", "rename"])
def test_a_full_disk_is_a_clear_error_and_leaves_no_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, point: str
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = new_segment_path(home=home, dataset="visit")
    writer = SegmentWriter(path, SCHEMA)
    writer.write(rows_table(make_rows(100), file=1, institution="H1"))
    monkeypatch.setattr(os, point, full)

    with writer, pytest.raises(LakeFullError) as caught:
        writer.close()

    assert left_in(home) == []
    assert isinstance(caught.value, StorageFullError)
    assert caught.value.kind is Kind.UNAVAILABLE


def test_a_write_that_the_system_refuses_midway_is_a_clear_error_and_leaves_no_file(home: Path):
    program = f"""
import resource, sys
from pathlib import Path
sys.path[:0] = {sys.path!r}
from lake_samples import VISIT, make_rows, rows_table
from kangshu.lake import LakeFullError, SegmentWriter, lake_schema, new_segment_path, writing
writing._SORTED_BYTES = 0
table = rows_table(make_rows(40_000), file=1, institution="H1")
path = new_segment_path(home=Path({str(home)!r}), dataset="visit")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    with SegmentWriter(path, lake_schema(VISIT)) as writer:
        for _ in range(20):
            writer.write(table)
except LakeFullError as error:
    sys.exit(f"{{error.place}}: {{error.text.en}}")
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert "disk is full" in done.stderr
    assert "segments/visit/" in done.stderr
    assert left_in(home) == []


@given(st.sets(st.integers(min_value=1, max_value=2**63 - 2), min_size=1, max_size=200))
def test_a_filter_never_misses_anybody(persons: set[int]):
    filter_ = build_filter(np.array(sorted(persons), dtype=np.int64))

    assert all(may_hold(filter_, [person]) for person in persons)


def test_a_filter_looks_in_vain_about_once_in_a_hundred():
    filter_ = build_filter(np.arange(1, 20_001, dtype=np.int64) * 3)

    vain = sum(may_hold(filter_, [person]) for person in range(100_001, 120_001))

    assert vain / 20_000 < 0.02
    assert len(filter_) == 25_000


def test_a_filter_of_several_persons_holds_when_one_is_there():
    filter_ = build_filter(np.array([7], dtype=np.int64))

    assert may_hold(filter_, [100, 7])
    assert not may_hold(filter_, [])


def test_event_times_keep_their_microseconds(home: Path):
    moment = DAY_ONE.replace(microsecond=123_456)
    table = rows_table([Row(person=1)], file=1, institution="H1")
    place = table.column_names.index("_at")
    path = new_segment_path(home=home, dataset="visit")

    with SegmentWriter(path, SCHEMA) as writer:
        writer.write(table.set_column(place, "_at", pa.array([moment], pa.timestamp("us"))))
        segment = writer.close()

    assert segment.min_at == moment
