"""Tables on input that nobody here wrote: real CSV, rule libraries in XLSX, naughty strings, hostile XML."""

import csv
import io
import json
import os
import zipfile
from pathlib import Path

import pytest
import python_calamine

from kangshu.standards.tables import EntityBombError, TableError, TableKind, open_table

SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", Path(__file__).parents[3] / "shared" / "samples"))
BLANKS = " \t\r\n\u00a0\u3000"

pytestmark = [
    pytest.mark.samples,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not here: set KANGSHU_SAMPLES"),
]


def files(pattern):
    return sorted(SAMPLES.glob(pattern))


def read(path):
    rows, others = {}, 0
    with open_table(path, scratch=path.parent) as reader:
        for batch in reader.batches():
            columns = [column.to_pylist() for column in batch.table.columns]
            rows |= dict(zip(columns.pop(), map(list, zip(*columns, strict=True)), strict=True))
            others += len(batch.ragged) + len(batch.faults)
        return reader.format, reader.headings, rows, others


def refusal(path):
    """Return why a file is refused, or `None` if it is read."""
    try:
        read(path)
    except TableError as refused:
        return refused
    return None


@pytest.mark.parametrize("path", files("csv/*/*.csv"), ids=lambda path: path.name)
def test_csv_of_other_projects_is_read_as_pythons_csv_reads_it(path):
    delimiter = "|" if path.open(encoding="utf-8-sig").readline().count("|") else ","
    with path.open(encoding="utf-8-sig", newline="") as text:
        heading, *records = csv.reader(text, delimiter=delimiter)
    if path.name == "idr2_SYNTHETIC_CLM_PROD.csv":
        assert refusal(path).place == "row 10", "it ends after 11 of 13 cells, without a line end"
        return

    found, headings, rows, others = read(path)

    assert found.kind is TableKind.CSV
    assert headings == tuple(one.strip() for one in heading)
    wanted = [[cell.strip(BLANKS) or None for cell in row] for row in records if len(row) == len(heading)]
    assert list(rows.values()) == [row for row in wanted if any(row)]
    assert others == sum(len(row) not in (0, len(heading)) for row in records)


@pytest.mark.parametrize("path", files("codes/*/*.csv"), ids=lambda path: path.name)
def test_code_tables_are_read(path):
    assert refusal(path) is None


@pytest.mark.parametrize("path", files("**/*.xlsx"), ids=lambda path: str(len(path.name)))
def test_workbooks_of_other_programs_hold_what_calamine_finds(path):
    _, headings, rows, others = read(path)

    sheet = python_calamine.CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0)
    theirs = [[canonical(value) for value in row] for row in sheet.to_python()]
    assert headings == tuple(value or "" for value in theirs[0])
    assert others == 0
    assert list(rows.values()) == [row for row in theirs[1:] if any(row)]


def canonical(value):
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value).strip(BLANKS) or None


def naughty_strings():
    return json.loads((SAMPLES / "robustness/naughty_strings/blns.json").read_text(encoding="utf-8"))


def test_naughty_strings_come_through_csv_unchanged(tmp_path):
    strings = [text for text in naughty_strings() if "\0" not in text]
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["n", "naughty"], *enumerate(strings)])
    path = tmp_path / "naughty.csv"

    for codec in ("utf-8", "utf-16"):
        path.write_bytes(text.getvalue().encode(codec))

        _, _, rows, others = read(path)

        assert others == 0
        assert [row[1] for row in rows.values()] == [one.strip(BLANKS) or None for one in strings]


def test_naughty_strings_are_read_or_refused_as_files_of_their_own(tmp_path):
    path = tmp_path / "naughty"
    for text in naughty_strings():
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        refused = refusal(path)
        assert refused is None or text not in str(refused) or len(text) < 8


@pytest.mark.parametrize(
    "path", [*files("robustness/*/*"), *files("robustness/*/*/*")], ids=lambda path: path.name
)
def test_broken_files_of_every_other_standard_are_read_or_refused(path):
    refused = refusal(path)
    assert refused is None or refused.text.zh


@pytest.mark.parametrize("name", ["dtd.xml", "external.xml", "quadratic.xml", "xmlbomb.xml"])
@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/worksheets/sheet1.xml"])
def test_entity_bombs_inside_a_workbook_are_refused(tmp_path, name, part):
    path = tmp_path / "bomb.xlsx"
    bomb = (SAMPLES / "robustness/xml_defusedxml" / name).read_bytes()
    relations = '<x><Relationship Id="R1" Type="x/worksheet" Target="worksheets/sheet1.xml"/></x>'
    parts = {
        "[Content_Types].xml": b"<x/>",
        "xl/workbook.xml": b'<w xmlns:r="r"><sheet r:id="R1"/></w>',
        "xl/_rels/workbook.xml.rels": relations.encode(),
        "xl/worksheets/sheet1.xml": b"<w><sheetData/></w>",
        part: bomb,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for one, content in parts.items():
            archive.writestr(one, content)

    with pytest.raises(EntityBombError):
        read(path)
