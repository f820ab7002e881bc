"""Laws of the table readers, on generated input; all values are made up."""

import contextlib
import csv
import io
import itertools
import re
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from kangshu.standards.tables import FileCutOffError, Limits, RowTooLongError, TableError, open_table

BLANKS = " \t\r\n\u00a0\u3000"
LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
SMALL = Limits(
    unpacked_bytes=1 << 22,
    scratch_bytes=1 << 22,
    unpacked_grace_bytes=1 << 20,
    page_bytes=1 << 22,
    faults=10_000,
)

fixture_is_shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

# Anything a cell of a text file may hold: no halves of surrogate pairs and no NUL (that is a fault).
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
cells = st.text(characters, max_size=8) | st.sampled_from(
    ["", " ", '"', '""', ",", "a\r\nb", "王芳", "𠮷", "=1+1"]
)
# What GB18030 writes back unchanged.
chinese = st.text(st.sampled_from('康枢王芳李伟䶮㛃𠮷ab1,|;\t"\n€·'), max_size=8)


def tables(cell):
    return st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(cell, min_size=width, max_size=width), max_size=12)
    )


def canonical(rows):
    """What a reader makes of rows of text: blanks off, nothing is null, rows with nothing are left out."""
    stripped = ([cell.strip(BLANKS) or None for cell in row] for row in rows)
    return [row for row in stripped if any(row)]


def read(path: Path, *, limits: Limits = SMALL):
    """Return all rows, their numbers, the ragged rows and the faults."""
    rows, numbers, ragged, faults = [], [], [], []
    with open_table(path, scratch=path.parent, limits=limits) as reader:
        for batch in reader.batches():
            columns = [column.to_pylist() for column in batch.table.columns]
            numbers += columns.pop()
            rows += map(list, zip(*columns, strict=True))
            ragged += batch.ragged
            faults += batch.faults
    return rows, numbers, ragged, faults


def headings(width):
    return [f"列{position}" for position in range(width)]


@given(
    rows=tables(cells),
    delimiter=st.sampled_from(",\t|;"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    always=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@fixture_is_shared
def test_what_csv_writes_is_read_back(tmp_path, rows, delimiter, line_end, always, encoding):
    assert_csv_round_trip(tmp_path, rows, delimiter, line_end, always, encoding)


@given(
    rows=tables(chinese), delimiter=st.sampled_from(",\t|;"), encoding=st.sampled_from(["gb18030", "utf-8"])
)
@fixture_is_shared
def test_chinese_text_is_read_back_from_both_encodings(tmp_path, rows, delimiter, encoding):
    assert_csv_round_trip(tmp_path, rows, delimiter, "\n", False, encoding)


def written(rows, *, delimiter=",", line_end="\n", always=False):
    """CSV as RFC 4180 has it: a cell is quoted if it must be, or always."""
    special = re.compile(f'[{re.escape(delimiter)}"\r\n]')

    def cell(value):
        return '"' + value.replace('"', '""') + '"' if always or special.search(value) else value

    return "".join(delimiter.join(map(cell, row)) + line_end for row in rows)


def assert_csv_round_trip(tmp_path, rows, delimiter, line_end, always, encoding):
    width = len(rows[0]) if rows else 2
    # With one column, nothing tells which character the writer took for its delimiter.
    always = always or width == 1
    text = written([headings(width), *rows], delimiter=delimiter, line_end=line_end, always=always)
    path = tmp_path / "表.csv"
    path.write_bytes(text.encode(encoding))

    got, numbers, ragged, faults = read(path)

    assert got == canonical(rows)
    assert ragged == faults == []
    wanted = [number for number, row in enumerate(rows, start=2) if canonical([row])]
    assert numbers == wanted


@given(body=st.text(st.sampled_from('ab,"\n\r 王'), max_size=400), block=st.integers(64, 150))
@example(body='1,2\r\n\r\n"a\n\nb",2\n\n1,2,3\n', block=64)
@fixture_is_shared
def test_any_soup_of_quotes_and_line_ends_is_read_as_pythons_csv_reads_it(tmp_path, body, block):
    path = tmp_path / "soup.csv"
    path.write_bytes(f"c,d\n{body}".encode())
    lines = [found.group() for found in LINES.finditer(body)]
    expected = list(csv.reader(lines))
    long = any(len(piece.encode()) > block for piece in pieces_of(lines))
    ended = [*lines[:-1], lines[-1] + "\n"] if body and body[-1] not in "\r\n" else lines
    marked = list(csv.reader([*ended, "END"]))
    unclosed = marked[-1] != ["END"]
    torn = bool(body) and body[-1] not in "\r\n" and len(expected[-1]) == 1

    try:
        got, numbers, ragged, _ = read(path, limits=Limits(row_bytes=block))
    except RowTooLongError:
        assert long or unclosed
        return
    except FileCutOffError:
        assert unclosed or torn
        return

    assert not unclosed
    assert not torn
    numbered = list(enumerate(expected, start=2))
    good = [(number, row) for number, row in numbered if len(row) == 2 and canonical([row])]
    assert list(zip(numbers, got, strict=True)) == [(number, canonical([row])[0]) for number, row in good]
    assert [(row.row, row.actual) for row in ragged] == [
        (number, len(row)) for number, row in numbered if len(row) not in (0, 2)
    ]


def pieces_of(lines):
    """The text of each record."""
    reader = csv.reader(iter(lines))
    start = 0
    for _ in reader:
        yield "".join(lines[start : reader.line_num])
        start = reader.line_num


@given(
    rows=tables(st.none() | st.text(characters, max_size=8) | st.integers(-(10**9), 10**9) | st.booleans())
)
@fixture_is_shared
def test_what_a_workbook_holds_is_read_back(tmp_path, rows):
    path = tmp_path / "book.xlsx"
    width = len(rows[0]) if rows else 2
    with xlsxwriter.Workbook(path, {"strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, headings(width))
        for number, row in enumerate(rows, start=1):
            for column, value in enumerate(row):
                write_cell(sheet, number, column, value)

    got, numbers, ragged, faults = read(path)

    text = [[as_text(value) for value in row] for row in rows]
    assert got == canonical(text)
    assert ragged == faults == []
    assert numbers == [number for number, row in enumerate(text, start=2) if canonical([row])]


def write_cell(sheet, row, column, value):
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, int):
        sheet.write_number(row, column, value)
    elif value is not None:
        sheet.write_string(row, column, value)


def as_text(value):
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(
    rows=tables(st.none() | st.text(characters, max_size=8)),
    codec=st.sampled_from(["none", "snappy", "gzip", "zstd"]),
    group=st.integers(1, 20),
    dictionary=st.booleans(),
)
@fixture_is_shared
def test_what_parquet_holds_is_read_back(tmp_path, rows, codec, group, dictionary):
    width = len(rows[0]) if rows else 2
    table = pa.table(
        {name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate(headings(width))}
    )
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, compression=codec, row_group_size=group, use_dictionary=dictionary)

    got, numbers, ragged, faults = read(path)

    text = [[value or "" for value in row] for row in rows]
    assert got == canonical(text)
    assert ragged == faults == []
    assert numbers == [number for number, row in enumerate(text, start=2) if canonical([row])]


@given(content=st.binary(max_size=200))
@example(content=b"PAR1PAR1")
@example(content=b"PK\x05\x06" + bytes(18))
@example(content=b"\x1f\x8b\x08")
@example(content=b"\xff\xfea\0,\0b\0\n\0")
@fixture_is_shared
def test_any_bytes_are_read_or_refused(tmp_path, content):
    path = tmp_path / "any"
    path.write_bytes(content)

    with contextlib.suppress(TableError):
        read(path)


@given(data=st.data())
@settings(fixture_is_shared, max_examples=300)
def test_damaged_files_of_every_form_are_read_or_refused(tmp_path, data, whole_files):
    whole_files = whole_files()
    content = bytearray(whole_files[data.draw(st.integers(0, len(whole_files) - 1))])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content))) :]
    path = tmp_path / "damaged"
    path.write_bytes(content)

    with contextlib.suppress(TableError):
        read(path)


@given(data=st.data())
@settings(fixture_is_shared, max_examples=200)
def test_damage_inside_the_parts_of_a_workbook_is_read_or_refused(tmp_path, data, whole_files):
    """Damage to packed bytes mostly ends at a checksum; this one is packed again after the damage."""
    path = tmp_path / "damaged.xlsx"
    with zipfile.ZipFile(io.BytesIO(whole_files()[-1])) as book, zipfile.ZipFile(path, "w") as out:
        for entry in book.infolist():
            content = bytearray(book.read(entry))
            if data.draw(st.booleans()):
                place = data.draw(st.integers(0, len(content) - 1))
                content[place : place + 1] = data.draw(st.binary(max_size=3))
            out.writestr(entry.filename, bytes(content))

    with contextlib.suppress(TableError):
        read(path)


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    text = '姓名,说明\n王芳,"第一行\n第二行"\n李伟,x\n'.encode()
    table = pa.table({"a": ["x", "y", None], "b": [1.5, None, 3.0], "c": [True, False, None]})
    files = [text, text.decode().encode("gb18030"), gzipped(text), zipped("t.csv", text)]
    for number, codec in itertools.product((0,), ("none", "snappy", "zstd")):
        path = folder / f"{codec}{number}.parquet"
        pq.write_table(table, path, compression=codec)
        files.append(path.read_bytes())
    book = folder / "book.xlsx"
    with xlsxwriter.Workbook(book) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["姓名", "说明"])
        sheet.write_row(1, 0, ["王芳", 12])
    files.append(book.read_bytes())
    return lambda: files  # not the files themselves: a failing test would print them


def gzipped(content):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()


def zipped(name, content):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


@given(rows=tables(cells))
@fixture_is_shared
def test_small_limits_change_how_many_batches_there_are_and_nothing_else(tmp_path, rows):
    assume(rows)
    path = tmp_path / "t.csv"
    path.write_bytes(written([headings(len(rows[0])), *rows]).encode())

    assert read(path, limits=Limits(batch_rows=2, batch_bytes=64, row_bytes=1000)) == read(path)
