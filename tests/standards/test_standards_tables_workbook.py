"""XLSX: what cells become, which sheet is taken, and workbooks made to do harm. All values are made up."""

import datetime
import io
import zipfile
from pathlib import Path

import pytest
import python_calamine
import xlsxwriter

from kangshu.standards.tables import (
    ArchiveBombError,
    EmptyFileError,
    EntityBombError,
    FileCutOffError,
    FileTooLargeError,
    HeadingDuplicateError,
    HeadingMissingError,
    Limits,
    NotATableError,
    RaggedRow,
    RowFault,
    RowFaultKind,
    TableError,
    TableKind,
    UnsupportedFormatError,
    open_table,
)
from kangshu.standards.tables.cells import Shows, meaning_of_format, number_text

MIB = 1 << 20
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


@pytest.fixture
def book(tmp_path):
    """Make a workbook with XlsxWriter; `fill` gets the workbook."""

    def make(fill, **options) -> Path:
        path = tmp_path / "book.xlsx"
        with xlsxwriter.Workbook(path, options) as workbook:
            fill(workbook)
        return path

    return make


@pytest.fixture
def raw(tmp_path):
    """Make a workbook from XML: the rows of its sheet, and other parts to add or to replace."""

    def make(rows: str, **parts: str) -> Path:
        content = {
            "[Content_Types].xml": "<Types/>",
            "_rels/.rels": relations(R1=("officeDocument", "xl/workbook.xml")),
            "xl/workbook.xml": '<workbook xmlns:r="r"><sheets><sheet r:id="R1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": relations(
                R1=("worksheet", "worksheets/sheet1.xml"), R2=("sharedStrings", "/xl/sharedStrings.xml")
            ),
            "xl/worksheets/sheet1.xml": f"<worksheet {MAIN}><sheetData>{rows}</sheetData></worksheet>",
        } | {name.replace("__", "/") + ".xml": text for name, text in parts.items()}
        path = tmp_path / "raw.xlsx"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in content.items():
                archive.writestr(name, text)
        return path

    return make


def relations(**targets):
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
    inner = "".join(
        f'<Relationship Id="{key}" Type="{kind}{name}" Target="{target}"/>'
        for key, (name, target) in targets.items()
    )
    return f"<Relationships>{inner}</Relationships>"


HEADING = '<row r="1"><c r="A1" t="str"><v>a</v></c><c r="B1" t="str"><v>b</v></c></row>'


def text_cell(reference, text):
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'


def read(path, limits=None):
    rows, ragged, faults = {}, [], []
    with open_table(path, scratch=path.parent, limits=limits or Limits()) as reader:
        for batch in reader.batches():
            columns = [column.to_pylist() for column in batch.table.columns]
            rows |= dict(zip(columns.pop(), map(list, zip(*columns, strict=True)), strict=True))
            ragged += batch.ragged
            faults += batch.faults
    return rows, ragged, faults


def test_typed_cells_become_canonical_text(book):
    def fill(workbook):
        day = workbook.add_format({"num_format": "yyyy-mm-dd"})
        chinese = workbook.add_format({"num_format": 'yyyy"年"m"月"d"日"'})
        moment = workbook.add_format({"num_format": "yyyy/m/d h:mm:ss"})
        time = workbook.add_format({"num_format": "hh:mm"})
        money = workbook.add_format({"num_format": '"¥"#,##0.00;[Red]-0.00'})
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["值", "注"])
        cells = [
            ("王芳", None, "王芳"),
            (" 两边有空格　", None, "两边有空格"),
            (12, None, "12"),
            (12.5, None, "12.5"),
            (0.1 + 0.2, None, "0.3"),
            (123456789012345, None, "123456789012345"),
            (110101190003070015, None, "1.10101190003070e+17"),
            (1e-7, None, "1e-07"),
            (True, None, "true"),
            (datetime.date(1990, 2, 28), day, "1990-02-28"),
            (datetime.date(1900, 1, 15), day, "1900-01-15"),
            (datetime.datetime(2026, 3, 5, 8, 30, 15), moment, "2026-03-05 08:30:15"),
            (datetime.datetime(2026, 3, 5), moment, "2026-03-05 00:00:00"),
            (datetime.datetime(2026, 3, 5, 12), day, "2026-03-05 12:00:00"),
            (datetime.date(2026, 3, 5), chinese, "2026-03-05"),
            (datetime.time(8, 30), time, "08:30:00"),
            (1234.5, money, "1234.5"),
            ("a\r\nb", None, "a\r\nb"),
        ]
        for row, (value, form, text) in enumerate(cells, start=1):
            sheet.write(row, 0, value, form)
            sheet.write_string(row, 1, text)

    rows, _, faults = read(book(fill))

    assert len(rows) == 18
    assert faults == []
    wanted = {row[1] for row in rows.values()}
    assert {row[0] for row in rows.values()} ^ wanted <= {
        "1.1010119000307e+17",
        "1.10101190003070e+17",
        "0.3",
    }


@pytest.mark.parametrize(
    ("number", "code", "shows"),
    [
        (0, None, Shows.NUMBER),
        (2, None, Shows.NUMBER),
        (14, None, Shows.DATE),
        (22, None, Shows.MOMENT),
        (21, None, Shows.TIME),
        (31, None, Shows.DATE),
        (57, None, Shows.DATE),
        (164, "General", Shows.NUMBER),
        (164, "G/通用格式", Shows.NUMBER),
        (164, "0.00%", Shows.NUMBER),
        (164, "0.00E+00", Shows.NUMBER),
        (164, '0.00"days"', Shows.NUMBER),
        (164, "[Red]0.0", Shows.NUMBER),
        (164, "[$-804]yyyy年m月d日;@", Shows.DATE),
        (164, "[DBNum1][$-804]m\\月d\\日", Shows.DATE),
        (164, "mmm", Shows.DATE),
        (164, "[h]:mm:ss", Shows.TIME),
        (164, "上午/下午h时mm分", Shows.TIME),
        (164, "yyyy-mm-dd hh:mm", Shows.MOMENT),
        (164, "@", Shows.NUMBER),
    ],
)
def test_number_formats_say_whether_a_number_is_a_day(number, code, shows):
    assert meaning_of_format(number, code) is shows


@pytest.mark.parametrize(
    ("stored", "shows", "from_1904", "text"),
    [
        ("12", Shows.NUMBER, False, "12"),
        ("012", Shows.NUMBER, False, "12"),
        ("-0", Shows.NUMBER, False, "0"),
        ("1E5", Shows.NUMBER, False, "100000"),
        ("999999999999999", Shows.NUMBER, False, "999999999999999"),
        ("1000000000000000", Shows.NUMBER, False, "1e+15"),
        ("1e999", Shows.NUMBER, False, None),
        ("nan", Shows.NUMBER, False, None),
        ("x", Shows.NUMBER, False, None),
        ("1", Shows.DATE, False, "1900-01-01"),
        ("59", Shows.DATE, False, "1900-02-28"),
        ("61", Shows.DATE, False, "1900-03-01"),
        ("2958465", Shows.DATE, False, "9999-12-31"),
        ("2958466", Shows.DATE, False, "2958466"),
        ("-1", Shows.DATE, False, "-1"),
        ("0", Shows.DATE, True, "1904-01-01"),
        ("2958465.5", Shows.DATE, True, "2958465.5"),
        ("0.5", Shows.DATE, False, "12:00:00"),
        ("1.5", Shows.TIME, False, "36:00:00"),
        ("45000.999999", Shows.MOMENT, False, "2023-03-16 00:00:00"),
    ],
)
def test_numbers_and_the_days_they_stand_for(stored, shows, from_1904, text):
    assert number_text(stored, shows=shows, from_1904=from_1904) == text


def test_rows_keep_the_numbers_that_the_spreadsheet_shows(book):
    def fill(workbook):
        sheet = workbook.add_worksheet()
        sheet.write_row(2, 0, ["a", "b"])
        sheet.write_row(3, 0, [1, 2])
        sheet.write_row(7, 0, [3, None, 4])
        sheet.write_row(8, 1, [5])
        sheet.write_blank(9, 0, None, workbook.add_format({"bold": True}))

    rows, ragged, _ = read(book(fill))

    assert rows == {4: ["1", "2"], 9: [None, "5"]}
    assert ragged == [RaggedRow(row=8, expected=2, actual=3)]


def test_the_first_visible_sheet_with_a_row_of_several_cells_is_taken(book):
    def fill(workbook):
        workbook.add_worksheet("空")
        notes = workbook.add_worksheet("说明")
        notes.write_column(0, 0, ["填报说明", "第一条"])
        hidden = workbook.add_worksheet("代码")
        hidden.write_row(0, 0, ["x", "y", "z"])
        hidden.hide()
        data = workbook.add_worksheet("数据")
        data.write_row(0, 0, ["姓名", "年龄"])
        data.write_row(1, 0, ["王芳", 31])
        workbook.add_worksheet("另一张").write_row(0, 0, ["p", "q"])

    path = book(fill)

    with open_table(path, scratch=path.parent) as reader:
        assert reader.headings == ("姓名", "年龄")
        assert reader.format.kind is TableKind.XLSX
    assert read(path)[0] == {2: ["王芳", "31"]}


def test_a_sheet_of_one_column_is_taken_if_there_is_no_other(book):
    assert read(book(lambda workbook: workbook.add_worksheet().write_column(0, 0, ["编号", "A1"])))[0] == {
        2: ["A1"]
    }


def test_a_workbook_without_cells_is_empty(book):
    with pytest.raises(EmptyFileError):
        read(book(lambda workbook: workbook.add_worksheet()))


def test_headings_are_checked(book):
    with pytest.raises(HeadingMissingError) as caught:
        read(book(lambda workbook: workbook.add_worksheet().write_row(0, 0, ["a", None, "c"])))
    assert caught.value.place == "row 1, column 2"
    with pytest.raises(HeadingDuplicateError):
        read(book(lambda workbook: workbook.add_worksheet().write_row(0, 0, ["a", "a"])))


def test_formulas_give_their_saved_results_and_what_has_none_is_a_fault(book):
    def fill(workbook):
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write_formula(1, 0, "=1+1", None, 2)
        sheet.write_formula(1, 1, '="x"&"y"', None, "xy")
        sheet.write_formula(2, 0, "=1/0", None, "#DIV/0!")
        sheet.write_string(3, 0, "=1+1")

    rows, _, faults = read(book(fill, strings_to_formulas=False))

    assert rows == {2: ["2", "xy"], 4: ["=1+1", None]}
    assert faults == [RowFault(row=3, kind=RowFaultKind.CELL_ERROR, column=0)]


def test_a_formula_whose_result_was_not_saved(raw):
    rows, _, faults = read(raw(HEADING + '<row><c r="A2"><f>1+1</f></c><c r="B2"><v>1</v></c></row>'))

    assert rows == {}
    assert faults == [RowFault(row=2, kind=RowFaultKind.NO_VALUE, column=0)]


def test_cells_without_references_prefixes_runs_and_phonetic_hints(raw):
    rows = (
        HEADING
        + '<row><c t="inlineStr"><is><r><t>王</t></r><r><t>芳</t></r><rPh><t>wang</t></rPh></is></c>'
        + '<c t="s"><v>1</v></c></row>'
        + '<row r="9"><c r="B9" t="d"><v>2026-03-05T08:30:00</v></c><c r="A9" t="b"><v>1</v></c></row>'
    )
    strings = (
        '<s:sst xmlns:s="x"><s:si><s:t>p</s:t></s:si><s:si><s:t>_x4E00__x005F_x41_xD800_</s:t></s:si></s:sst>'
    )

    found, _, _ = read(raw(rows, xl__sharedStrings=strings))

    assert found == {2: ["王芳", "一_x41_xD800_"], 9: ["true", "2026-03-05 08:30:00"]}


def test_a_nul_that_is_written_as_an_escape_is_a_fault(raw):
    _, _, faults = read(raw(HEADING + f"<row>{text_cell('A2', 'x_x0000_')}</row>"))

    assert faults == [RowFault(row=2, kind=RowFaultKind.NUL, column=0)]


def test_cells_and_rows_that_are_too_long_are_faults(raw):
    long = "x" * (MIB + 1)
    wide = "".join(text_cell(reference, "y" * MIB) for reference in ("A4", "B4"))
    rows = f"{HEADING}<row>{text_cell('A2', long)}</row><row>{text_cell('A3', 'z')}</row><row>{wide}</row>"

    found, _, faults = read(raw(rows), Limits(row_bytes=MIB + 10))

    assert found == {3: ["z", None]}
    assert faults == [
        RowFault(row=2, kind=RowFaultKind.FIELD_TOO_LONG, column=0),
        RowFault(row=4, kind=RowFaultKind.ROW_TOO_LONG, column=1),
    ]


def test_dates_from_1904(book):
    def fill(workbook):
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write_datetime(1, 0, datetime.datetime(2026, 3, 5), workbook.add_format({"num_format": 14}))

    assert read(book(fill, date_1904=True))[0] == {2: ["2026-03-05", None]}


def test_the_farthest_cell_costs_nothing(book):
    """A ready reader would ask for 512 GiB here, and end the process."""

    def fill(workbook):
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write(1_048_575, 16_383, "x")

    assert read(book(fill))[1] == [RaggedRow(row=1_048_576, expected=2, actual=16_384)]


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="2"><c r="XFE2"><v>1</v></c></row>',
        '<row r="2"><c r="ZZZZZZZZZ2"><v>1</v></c></row>',
        '<row r="2"><c r="é2"><v>1</v></c></row>',
        '<row r="1048577"/>',
        '<row r="9"/><row r="8"/>',
        "<row>" + "<c/>" * 17_000 + "</row>",
    ],
)
def test_references_outside_any_sheet_are_refused(raw, rows):
    with pytest.raises(NotATableError):
        read(raw(HEADING + rows))


def test_a_dimension_that_claims_to_be_huge_is_not_believed(raw):
    path = raw(HEADING + "<row><c><v>1</v></c></row>")
    replace_in(path, "xl/worksheets/sheet1.xml", "<sheetData>", '<dimension ref="A1:XFD1048576"/><sheetData>')

    assert read(path)[0] == {2: ["1", None]}


def replace_in(path, part, old, new):
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    parts[part] = parts[part].replace(old, new)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
REMOTE = '<!DOCTYPE x SYSTEM "http://localhost:9/x.dtd">'


@pytest.mark.parametrize("doctype", [BOMB, OUTSIDE, REMOTE, "<!DOCTYPE x>"])
@pytest.mark.parametrize(
    "part", ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "_rels/.rels"]
)
def test_a_part_with_a_doctype_is_refused(raw, doctype, part):
    path = raw(HEADING, xl__sharedStrings="<sst/>")
    with zipfile.ZipFile(path) as archive:
        first = archive.read(part).decode()
    replace_in(path, part, first, doctype + first)

    with pytest.raises(EntityBombError):
        read(path)


def test_entities_that_are_not_declared_are_damage(raw):
    with pytest.raises(FileCutOffError):
        read(raw(HEADING + f"<row>{text_cell('A2', '&secret;')}</row>"))


def test_xml_that_is_deep_or_has_a_monstrous_tag(raw):
    with pytest.raises(EntityBombError):
        read(raw(HEADING + "<x>" * 100_000))
    with pytest.raises(EntityBombError):
        read(raw(HEADING + f'<row><c x="{"y" * 20 * MIB}"/></row>'))


def test_parts_are_stopped_by_ratio_and_by_size(raw):
    with pytest.raises(ArchiveBombError):
        read(raw(HEADING + " " * 150 * MIB))
    with pytest.raises(ArchiveBombError):
        read(raw(HEADING + "<row/>" * 10_000), Limits(scratch_bytes=10_000))
    strings = "<sst>" + "<si><t>abc</t></si>" * 10_000 + "</sst>"
    with pytest.raises(FileTooLargeError):
        read(raw(HEADING, xl__sharedStrings=strings), Limits(shared_text_bytes=10_000))


def test_references_to_strings_that_do_not_exist(raw):
    for index in ("7", "-1", "", "9" * 5000):
        with pytest.raises(FileCutOffError):
            read(raw(HEADING + f'<row><c t="s"><v>{index}</v></c></row>', xl__sharedStrings="<sst/>"))


def test_missing_parts(raw, tmp_path):
    path = raw(HEADING)
    for missing in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/worksheets/sheet1.xml"):
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "m", "w") as out:
            for name in archive.namelist():
                if name != missing:
                    out.writestr(name, archive.read(name))
        with pytest.raises(TableError):
            read(tmp_path / "m")


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["mimetype", "content.xml"], UnsupportedFormatError),
        (["[Content_Types].xml", "_rels/.rels|xl/workbook.bin", "xl/workbook.bin"], UnsupportedFormatError),
        (["[Content_Types].xml", "_rels/.rels|word/document.xml", "word/document.xml"], NotATableError),
        (["[Content_Types].xml"], FileCutOffError),
    ],
)
def test_other_office_files_are_named(tmp_path, names, error):
    path = tmp_path / "o"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            name, _, target = name.partition("|")
            archive.writestr(name, relations(R1=("officeDocument", target)) if target else "<x/>")

    with pytest.raises(error):
        read(path)


def test_our_reader_and_calamine_agree_on_an_ordinary_workbook(book):
    def fill(workbook):
        day = workbook.add_format({"num_format": "yyyy-mm-dd"})
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["文", "数", "日", "是"])
        for row in range(1, 300):
            sheet.write(row, 0, f"第{row}行")
            sheet.write(row, 1, row * 1.25)
            sheet.write_datetime(
                row, 2, datetime.datetime(1950, 1, 1) + datetime.timedelta(days=97 * row), day
            )
            sheet.write_boolean(row, 3, row % 2 == 0)

    path = book(fill)

    ours, _, _ = read(path)
    theirs = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(path.read_bytes())).get_sheet_by_index(
        0
    )
    assert list(ours.values()) == [[canonical(value) for value in row] for row in theirs.to_python()[1:]]


def canonical(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value == int(value) else str(value)
    return str(value)
