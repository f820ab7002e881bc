"""What a file is told by: its content; and what archives, bombs, links and other content are refused for."""

import gzip
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from kangshu.standards.tables import (
    ArchiveBombError,
    Compression,
    EmptyFileError,
    FileCutOffError,
    FileTooLargeError,
    Limits,
    NotATableError,
    TableError,
    TableKind,
    UnreadableFileError,
    UnsupportedFormatError,
    open_table,
)

MIB = 1 << 20
CSV = "姓名,年龄\n王芳,31\n".encode()
ROWS = [["王芳", "31"]]


def workbook() -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["姓名", "年龄"])
        sheet.write_row(1, 0, ["王芳", 31])
    return out.getvalue()


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"姓名": ["王芳"], "年龄": [31]}), out)
    return out.getvalue()


def zipped(content: bytes, name: str = "数据.bin", **others: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        for other, its_content in others.items():
            archive.writestr(other, its_content)
    return out.getvalue()


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def opened(tmp_path, scratch):
    """Write content to a file with a meaningless name and read it."""

    def read(content: bytes, limits: Limits | None = None):
        path = tmp_path / "whatever.txt"
        path.write_bytes(content)
        with open_table(path, scratch=scratch, limits=limits or Limits()) as reader:
            rows = [row for batch in reader.batches() for row in batch.table.drop_columns("_row").to_pylist()]
            return reader.format, [list(row.values()) for row in rows]

    return read


@pytest.mark.parametrize(
    ("kind", "content"),
    [("csv", CSV), ("xlsx", workbook()), ("parquet", parquet())],
    ids=["csv", "xlsx", "parquet"],
)
@pytest.mark.parametrize("compression", ["none", "zip", "gzip"])
def test_form_and_packing_are_told_by_content(opened, scratch, kind, content, compression):
    packed = {"none": lambda: content, "zip": lambda: zipped(content), "gzip": lambda: gzip.compress(content)}

    found, rows = opened(packed[compression]())

    assert (found.kind, found.compression) == (TableKind(kind), Compression(compression))
    assert rows == ROWS
    assert list(scratch.iterdir()) == []


def test_nothing_is_left_in_the_scratch_folder_while_reading(tmp_path, scratch):
    path = tmp_path / "p"
    path.write_bytes(gzip.compress(parquet()))

    with open_table(path, scratch=scratch):
        assert list(scratch.iterdir()) == []


def test_a_zip_may_hold_folders_and_litter_beside_the_one_file(opened):
    content = zipped(CSV, "上报/数据.csv", **{"__MACOSX/._x": b"x", "上报/.DS_Store": b"x", "空/": b""})

    assert opened(content)[1] == ROWS


@pytest.mark.parametrize("count", [0, 2])
def test_a_zip_holds_one_data_file(opened, count):
    content = zipped(CSV, "a.csv", **{"b.csv": CSV}) if count else zipped(b"", "folder/")
    error = UnsupportedFormatError if count else EmptyFileError

    with pytest.raises(error) as caught:
        opened(content)

    assert "csv" not in str(caught.value).replace("CSV", "")


def test_gzip_members_in_a_row_are_one_file(opened):
    assert opened(gzip.compress(CSV[:20]) + gzip.compress(CSV[20:]) + b"\0" * 512)[1] == ROWS


def test_a_gzip_whose_last_bytes_unpack_to_much(opened):
    """Everything is in when the output is not yet out; that is no cut-off file."""
    content = b"a,b\n" + b"1,2\n" * 600_000

    assert len(opened(gzip.compress(content))[1]) == 600_000


@pytest.mark.parametrize("pack", [zipped, gzip.compress])
@pytest.mark.parametrize("content", [CSV, workbook(), parquet()], ids=["csv", "xlsx", "parquet"])
def test_archives_within_archives_are_not_opened(opened, pack, content):
    for inner in (zipped(content), gzip.compress(content)):
        with pytest.raises(UnsupportedFormatError):
            opened(pack(inner))


@pytest.mark.parametrize("content", [CSV * 50, workbook(), parquet()], ids=["csv", "xlsx", "parquet"])
@pytest.mark.parametrize("pack", [zipped, gzip.compress, bytes])
def test_files_cut_off_anywhere_are_refused(opened, pack, content):
    packed = pack(content)
    for length in {len(packed) - 1, len(packed) // 2, len(packed) * 9 // 10, 30, 5}:
        if content == CSV * 50 and pack is bytes:
            break  # see the tests of CSV
        with pytest.raises(TableError):
            opened(packed[:length])


def test_a_damaged_byte_is_found_by_the_checksum(opened):
    text = os.urandom(2000).hex().encode()
    for packed in (zipped(text), gzip.compress(text)):
        broken = bytearray(packed)
        broken[len(broken) // 2] ^= 0xFF
        with pytest.raises(FileCutOffError):
            opened(bytes(broken))


def test_bombs_are_stopped_by_their_ratio_before_they_are_unpacked(opened, scratch):
    bomb = b"a,b\n" + (b"1," + b"2" * 1_000_000 + b"\n") * 200
    for pack in (zipped, gzip.compress):
        with pytest.raises(ArchiveBombError):
            opened(pack(bomb))

    empty_book = io.BytesIO()
    with zipfile.ZipFile(empty_book, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", b" " * 100 * MIB)
    with pytest.raises(ArchiveBombError):
        opened(gzip.compress(empty_book.getvalue() + b"\0" * 100 * MIB))


def test_bombs_are_stopped_by_size(opened):
    content = os.urandom(2000).hex().encode() * 500

    with pytest.raises(ArchiveBombError):
        opened(gzip.compress(b"a\n" + content), Limits(unpacked_bytes=100_000))
    with pytest.raises(ArchiveBombError):
        opened(gzip.compress(parquet()), Limits(scratch_bytes=100))


def test_a_zip_that_lies_about_its_size_is_damaged(opened):
    packed = bytearray(zipped(CSV * 1000))
    size = struct.pack("<L", len(CSV) * 1000)
    for place in (packed.find(size), packed.rfind(size)):
        packed[place : place + 4] = struct.pack("<L", 10)

    with pytest.raises(FileCutOffError):
        opened(bytes(packed))


def test_a_zip_with_a_monstrous_directory_is_not_read(opened):
    trailer = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xF000_0000, 0, 0)

    with pytest.raises(ArchiveBombError):
        opened(b"PK\x03\x04" + b"\0" * 5000 + trailer)


def test_locked_and_uncommon_zip_members_are_refused(opened):
    packed = bytearray(zipped(CSV, "a"))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.find(signature) + offset] |= 1
    with pytest.raises(UnsupportedFormatError) as caught:
        opened(bytes(packed))
    assert "password" in caught.value.text.en

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", CSV)
    with pytest.raises(UnsupportedFormatError):
        opened(out.getvalue())


@pytest.mark.parametrize(
    "content",
    [
        b"<?xml version='1.0'?><a/>",
        b"\xef\xbb\xbf <html><body>",
        b'{"resourceType": "Bundle"}',
        b'[{"a": 1}]',
        b"MSH|^~\\&|HIS|H1|||20260301||ADT^A01|1|P|2.5\rPID|1\r",
        b"%PDF-1.7\n",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"SQLite format 3\0",
        b"\0" * 128 + b"DICM",
        b"\0\1\2\3\n",
    ],
)
def test_other_content_is_no_table(opened, content):
    with pytest.raises(NotATableError):
        opened(content)


@pytest.mark.parametrize(
    "content",
    [
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500,
        b"BZh91AY&SY",
        b"\xfd7zXZ\0\0",
        b"\x28\xb5\x2f\xfd\0\0",
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07\x00",
        b"PARE\0\0",
        b"ARROW1\0\0",
    ],
)
def test_forms_and_packings_that_are_not_read_are_named(opened, content):
    with pytest.raises(UnsupportedFormatError):
        opened(content)


def test_headings_may_look_like_magic_numbers(opened):
    for heading in (b"PAR1,PAR2", b"PK,SK", b"MSH,PID", b"[a],{b}"):
        assert opened(heading + b"\n1,2\n")[1] == [["1", "2"]]


def test_empty_content_in_an_archive(opened):
    for packed in (zipped(b""), gzip.compress(b""), b"", b"PK\x05\x06" + b"\0" * 18):
        with pytest.raises(EmptyFileError):
            opened(packed)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path, scratch):
    real = tmp_path / "real.csv"
    real.write_bytes(CSV)
    (tmp_path / "link.csv").symlink_to(real)
    os.mkfifo(tmp_path / "pipe")
    places = [tmp_path, tmp_path / "link.csv", tmp_path / "pipe", Path("/dev/zero")]
    places += [tmp_path / "missing", real / "x", tmp_path / ("长" * 200), Path("nul\0byte")]

    for place in places:
        with pytest.raises(UnreadableFileError):
            open_table(place, scratch=scratch)


@pytest.mark.parametrize(
    "name", ["a b.csv", "报表（一月）.csv", "\n.csv", "-rf", "%00", "'; drop table", "🏥.csv"]
)
def test_names_mean_nothing(tmp_path, scratch, name):
    path = tmp_path / name
    path.write_bytes(CSV)

    with open_table(path, scratch=scratch) as reader:
        assert reader.headings == ("姓名", "年龄")


def test_a_name_of_bytes_that_are_no_text(tmp_path, scratch):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.csv"))
    path.write_bytes(CSV)

    with open_table(path, scratch=scratch) as reader:
        assert len(list(reader.batches())) == 1


def test_a_file_over_the_limit_is_not_read(opened):
    with pytest.raises(FileTooLargeError):
        opened(CSV, Limits(file_bytes=10))


def test_files_are_closed_whatever_happens(tmp_path, scratch):
    def held():
        return len(os.listdir("/proc/self/fd"))

    contents = [CSV, b"", b"<a/>", zipped(b"x"), gzip.compress(parquet()), gzip.compress(workbook())[:200]]
    path = tmp_path / "x"
    path.write_bytes(CSV)
    before = held()
    for content in contents * 3:
        path.write_bytes(content)
        try:
            with open_table(path, scratch=scratch) as reader:
                list(reader.batches())
        except TableError:
            pass

    assert held() == before


def test_every_refusal_has_a_chinese_and_an_english_sentence(opened):
    for content in (b"", b"<a/>", b"a,,b\n", zlib.compress(CSV), b"PK\x03\x04"):
        with pytest.raises(TableError) as caught:
            opened(content)
        assert caught.value.text.zh
        assert caught.value.text.en
        assert caught.value.text.zh != caught.value.text.en
