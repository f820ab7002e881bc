"""Parquet: what typed columns become, row groups, damaged and hostile files. All values are made up."""

import datetime
import decimal
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kangshu.standards.tables import (
    ArchiveBombError,
    EncodingFaultError,
    FileCutOffError,
    FileTooLargeError,
    HeadingDuplicateError,
    HeadingMissingError,
    Limits,
    RowFault,
    RowFaultKind,
    TableError,
    UnsupportedFormatError,
    open_table,
)
from kangshu.standards.tables.parquet_layout import longest_entry

MIB = 1 << 20


@pytest.fixture
def file(tmp_path):
    def write(table: pa.Table, **options):
        path = tmp_path / "t.parquet"
        pq.write_table(table, path, **options)
        return path

    return write


def read(path, limits=None):
    rows, faults = {}, []
    with open_table(path, scratch=path.parent, limits=limits or Limits()) as reader:
        for batch in reader.batches():
            columns = [column.to_pylist() for column in batch.table.columns]
            rows |= dict(zip(columns.pop(), map(list, zip(*columns, strict=True)), strict=True))
            faults += batch.faults
    return rows, faults


@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [
        ([1, None, -20], pa.int32(), ["1", None, "-20"]),
        ([2**64 - 1], pa.uint64(), ["18446744073709551615"]),
        ([1.0, 2.5, 1e15, float("nan"), None], pa.float64(), ["1", "2.5", "1e+15", None, None]),
        ([0.1], pa.float32(), ["0.1"]),
        ([True, False], pa.bool_(), ["true", "false"]),
        ([datetime.date(2026, 3, 5)], pa.date32(), ["2026-03-05"]),
        ([datetime.datetime(2026, 3, 5)], pa.date64(), ["2026-03-05"]),
        ([datetime.datetime(2026, 3, 5, 8, 30)], pa.timestamp("us"), ["2026-03-05 08:30:00"]),
        ([datetime.datetime(2026, 3, 5, 8, 30, 0, 500)], pa.timestamp("us"), ["2026-03-05 08:30:00.000500"]),
        ([datetime.datetime(2026, 3, 5, 8, 30)], pa.timestamp("ms", tz="UTC"), ["2026-03-05 08:30:00Z"]),
        ([0], pa.timestamp("ms", tz="Asia/Shanghai"), ["1970-01-01 08:00:00+0800"]),
        ([datetime.time(8, 30)], pa.time64("us"), ["08:30:00"]),
        ([decimal.Decimal("12.50")], pa.decimal128(10, 2), ["12.50"]),
        ([" 王芳 ", "", "　", None], pa.string(), ["王芳", None, None, None]),
        (["x", ""], pa.large_string(), ["x", None]),
        (["王".encode()], pa.binary(), ["王"]),
        ([b"abcd"], pa.binary(4), ["abcd"]),
        ([None], pa.null(), [None]),
    ],
)
def test_typed_values_become_canonical_text(file, values, kind, text):
    path = file(pa.table({"k": ["k"] * len(values), "v": pa.array(values, kind)}))

    rows, _ = read(path)

    assert [row[1] for row in rows.values()] == text


def test_dictionaries_become_text(file):
    column = pa.array(["a", "b", None, "a"]).dictionary_encode()

    assert [row[0] for row in read(file(pa.table({"v": column, "w": [1, 2, 3, 4]})))[0].values()] == [
        "a",
        "b",
        None,
        "a",
    ]


def test_rows_are_numbered_over_all_row_groups(file):
    path = file(pa.table({"v": [str(n) for n in range(1000)]}), row_group_size=70)

    rows, _ = read(path, Limits(batch_rows=64))

    assert rows == {n + 2: [str(n)] for n in range(1000)}


@pytest.mark.parametrize(
    "options",
    [
        {"data_page_version": "2.0"},
        {"version": "1.0"},
        {"compression": "brotli"},
        {"compression": "lz4"},
        {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
        {"use_dictionary": False, "column_encoding": "DELTA_LENGTH_BYTE_ARRAY"},
        {"write_page_index": True},
        {"store_schema": False},
    ],
)
def test_writers_differ(file, options):
    table = pa.table({"v": ["王芳", None, "x" * 500] * 300})

    rows, _ = read(file(table, **options))

    assert [rows[n][0] if n in rows else None for n in range(2, 902)] == table["v"].to_pylist()


def test_a_table_without_rows(file):
    assert read(file(pa.table({"v": pa.array([], pa.string())}))) == ({}, [])


def test_headings_are_checked(file):
    with pytest.raises(HeadingDuplicateError):
        read(file(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", " a"])))
    with pytest.raises(HeadingMissingError):
        read(file(pa.table({"a": [1], "": [2]})))
    with pytest.raises(FileTooLargeError):
        read(file(pa.table({f"c{n}": [1] for n in range(1100)})))


@pytest.mark.parametrize(
    "column",
    [pa.array([[1, 2]]), pa.array([{"x": 1}]), pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))],
)
def test_nested_columns_are_refused(file, column):
    with pytest.raises(UnsupportedFormatError):
        read(file(pa.table({"a": [1], "n": column})))


def test_text_that_is_not_utf8_is_refused_with_its_column(file):
    with pytest.raises(EncodingFaultError) as caught:
        read(file(pa.table({"a": [1], "b": pa.array([b"\xff\xfe"], pa.binary())})))
    assert caught.value.place == "column 2"


def test_a_nul_and_a_monstrous_value_are_faults_of_their_rows(file):
    rows, faults = read(file(pa.table({"v": ["a", "b\0", "c" * (MIB + 1), "d"]})))

    assert rows == {2: ["a"], 5: ["d"]}
    assert faults == [
        RowFault(row=3, kind=RowFaultKind.NUL, column=0),
        RowFault(row=4, kind=RowFaultKind.FIELD_TOO_LONG, column=0),
    ]


def test_a_long_value_that_a_short_page_repeats_a_million_times_is_a_bomb(file):
    repeated = pa.DictionaryArray.from_arrays(np.zeros(200_000, np.int32), ["x" * MIB])
    path = file(pa.table({"v": repeated}), compression="zstd", dictionary_pagesize_limit=2 * MIB)
    assert path.stat().st_size < 100_000
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()

    with pytest.raises(ArchiveBombError):
        read(path)

    assert pool.bytes_allocated() - before < 64 * MIB


def test_rows_in_great_number_and_of_nothing_are_a_bomb(file):
    path = file(pa.table({f"c{n}": pa.nulls(3_000_000) for n in range(80)}))

    with pytest.raises(ArchiveBombError):
        read(path)


def test_pages_that_unpack_to_more_than_the_memory_are_not_unpacked(file):
    path = file(
        pa.table({"v": ["x" * MIB] * 40}), use_dictionary=False, compression="zstd", data_page_size=MIB * 64
    )

    with pytest.raises(FileTooLargeError) as caught:
        read(path, Limits(page_bytes=16 * MIB))
    assert caught.value.place == "column 1"


def test_a_footer_that_claims_to_be_huge(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"PAR1" + b"\0" * 20 * MIB + struct.pack("<I4s", 17 * MIB, b"PAR1"))
    with pytest.raises(FileTooLargeError):
        read(path)

    path.write_bytes(b"PAR1" + b"\0" * 100 + struct.pack("<I4s", 2**31, b"PAR1"))
    with pytest.raises(FileCutOffError):
        read(path)


def test_wrong_magic_at_the_end(file):
    path = file(pa.table({"v": [1]}))
    path.write_bytes(path.read_bytes()[:-1] + b"2")

    with pytest.raises(FileCutOffError):
        read(path)


def test_an_encrypted_footer_is_named(file):
    path = file(pa.table({"v": [1]}))
    path.write_bytes(path.read_bytes()[:-4] + b"PARE")

    with pytest.raises(UnsupportedFormatError):
        read(path)


def test_every_single_damaged_byte_of_a_footer_is_survived(file):
    """pyarrow's own view of the metadata ends the process on some of these."""
    path = file(pa.table({"a": ["x", None], "b": [1.5, 2.5]}), compression="none")
    whole = path.read_bytes()
    start = len(whole) - 8 - struct.unpack_from("<I", whole, len(whole) - 8)[0]

    outcomes = set()
    for place in range(start, len(whole)):
        for damage in (0, 0x7F, 0xFF, whole[place] ^ 1):
            path.write_bytes(whole[:place] + bytes([damage]) + whole[place + 1 :])
            try:
                read(path)
                outcomes.add("read")
            except TableError:
                outcomes.add("refused")

    assert outcomes == {"read", "refused"}


def test_the_longest_entry_of_a_dictionary_page():
    entries = [b"a", b"", b"xyz"]
    page = b"".join(struct.pack("<I", len(entry)) + entry for entry in entries)

    assert longest_entry(page) == 3
    assert longest_entry(b"") == 0
    for broken in (page[:-1], page + b"\1", struct.pack("<I", 2**32 - 1)):
        with pytest.raises(ValueError, match="complete"):
            longest_entry(broken)
