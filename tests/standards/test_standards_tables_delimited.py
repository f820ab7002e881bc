"""CSV: dialects, headings, row numbers, and rows that cannot be taken. All values are made up."""

from pathlib import Path

import pyarrow as pa
import pytest

from kangshu.standards.tables import (
    EmptyFileError,
    FileCutOffError,
    FileTooLargeError,
    HeadingDuplicateError,
    HeadingMissingError,
    Limits,
    NotATableError,
    RaggedRow,
    RowFault,
    RowFaultKind,
    RowTooLongError,
    TableError,
    TableKind,
    open_table,
)

MIB = 1 << 20


@pytest.fixture
def table(tmp_path):
    """Write a text to a file and give its path."""

    def write(content: str | bytes, name: str = "表.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def read(path: Path, limits: Limits | None = None):
    """Return the rows by number, the ragged rows and the faults."""
    rows, ragged, faults = {}, [], []
    with open_table(path, scratch=path.parent, limits=limits or Limits()) as reader:
        for batch in reader.batches():
            columns = [column.to_pylist() for column in batch.table.columns]
            rows |= dict(zip(columns.pop(), map(list, zip(*columns, strict=True)), strict=True))
            ragged += batch.ragged
            faults += batch.faults
    return rows, ragged, faults


def refusal(path: Path, limits: Limits | None = None) -> TableError:
    with pytest.raises(TableError) as caught:
        read(path, limits)
    return caught.value


def test_a_table_has_headings_string_columns_by_position_and_row_numbers(table):
    path = table("姓名,年龄\n王芳,031\n李伟,7\n")

    with open_table(path, scratch=path.parent) as reader:
        (batch,) = reader.batches()

    assert reader.headings == ("姓名", "年龄")
    assert reader.format.kind is TableKind.CSV
    assert (reader.format.encoding, reader.format.delimiter) == ("utf-8", ",")
    assert batch.table.schema == pa.schema([("c0", pa.string()), ("c1", pa.string()), ("_row", pa.int64())])
    assert batch.table.to_pydict() == {"c0": ["王芳", "李伟"], "c1": ["031", "7"], "_row": [2, 3]}


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1|2,3;4\n", ","),
        ("a\tb\n1,2\t3\n", "\t"),
        ("a|b\n1,2|3;4\n", "|"),
        ("a;b\n1,5;2,5\n", ";"),
        ('"a,b",c;d,e\n"1,2",3;4,5\n', ","),  # a semicolon within the heading of a comma table
        ('"x|y","z"\n1,2\n', ","),  # the delimiters within quotes do not count
        ("a,b\n1,2,3\n4,5,6\n7,8,9\n", ","),  # all rows ragged: the heading decides
    ],
)
def test_the_delimiter_is_what_divides_heading_and_rows_alike(table, text, delimiter):
    path = table(text)

    with open_table(path, scratch=path.parent) as reader:
        assert reader.format.delimiter == delimiter


def test_a_table_may_have_one_column(table):
    assert read(table("编号\nA1\n\nA2\n"))[0] == {2: ["A1"], 4: ["A2"]}


def test_quoted_cells_may_hold_delimiters_quotes_and_line_breaks(table):
    rows, _, _ = read(table('a,b\r\n"1, ""x""","y\r\nz"\r\n2,3\r\n'))

    assert rows == {2: ['1, "x"', "y\r\nz"], 3: ["2", "3"]}


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_any_line_end_and_none_at_the_end_of_the_file(table, line_end):
    assert read(table(line_end.join(["a,b", "1,2", "3,4"])))[0] == {2: ["1", "2"], 3: ["3", "4"]}


def test_blanks_around_values_are_cut_off_and_what_is_left_empty_is_null(table):
    rows, _, _ = read(table('a,b,c\n x ,"　y　",\u00a0z\n"",   ,1\n'))

    assert rows == {2: ["x", "y", "z"], 3: [None, None, "1"]}


def test_empty_rows_count_and_are_left_out_as_in_a_spreadsheet(table):
    rows, ragged, _ = read(table('\n\na,b\n1,2\n\n,\n" ",\n3\n4,5\n\n'))

    assert rows == {4: ["1", "2"], 9: ["4", "5"]}
    assert ragged == [RaggedRow(row=8, expected=2, actual=1)]


def test_formulas_are_text(table):
    rows, _, _ = read(table("a,b\n=1+1,+86\n-5,@SUM(A1)\n"))

    assert rows == {2: ["=1+1", "+86"], 3: ["-5", "@SUM(A1)"]}


def test_a_heading_without_rows_is_an_empty_table(table):
    for text in ("a,b", "a,b\n", "a,b\r\n\r\n"):
        assert read(table(text)) == ({}, [], [])


def test_each_call_of_batches_starts_at_the_first_row(table):
    path = table("a\n1\n2\n")

    with open_table(path, scratch=path.parent) as reader:
        first = [batch.table for batch in reader.batches()]
        assert [batch.table for batch in reader.batches()] == first


def test_a_reader_may_be_left_in_the_middle(table):
    path = table("a,b\n" + "1,2\n" * 2_000_000)

    with open_table(path, scratch=path.parent, limits=Limits(batch_rows=1000)) as reader:
        batch = next(iter(reader.batches()))

    assert batch.table.num_rows > 0


@pytest.mark.parametrize("text", ["", "\n\n\r\n", "\ufeff", "  \n\t\n"])
def test_a_file_with_nothing_but_blanks_is_empty(table, text):
    assert isinstance(refusal(table(text)), EmptyFileError)


@pytest.mark.parametrize("text", ["a,,c\n1,2,3\n", 'a," ",c\n', "a,\u3000,c"])
def test_a_column_needs_a_heading(table, text):
    fault = refusal(table(text))

    assert isinstance(fault, HeadingMissingError)
    assert fault.place == "row 1, column 2"


def test_a_heading_names_one_column(table):
    fault = refusal(table("姓名,年龄, 姓名\n"))

    assert isinstance(fault, HeadingDuplicateError)
    assert fault.place == "row 1, column 3"
    assert "1" in fault.text.zh
    assert "姓名" not in str(fault)


def test_there_may_not_be_more_columns_than_the_limit(table):
    fault = refusal(table(",".join(f"c{n}" for n in range(2000))))

    assert isinstance(fault, FileTooLargeError)


def test_a_first_row_that_goes_on_forever_is_no_heading(table):
    assert isinstance(refusal(table("x" * 3 * MIB)), NotATableError)
    assert isinstance(refusal(table("a,b" * MIB)), TableError)
    assert isinstance(refusal(table('"' + "x,\n" * MIB)), NotATableError)


def test_ragged_rows_are_reported_with_their_numbers_and_the_others_kept(table):
    rows, ragged, _ = read(table("a,b,c\n1,2,3\n4,5\n6,7,8,9\n10,11,12\n"))

    assert rows == {2: ["1", "2", "3"], 5: ["10", "11", "12"]}
    assert ragged == [RaggedRow(row=3, expected=3, actual=2), RaggedRow(row=4, expected=3, actual=4)]


def test_numbers_stay_right_across_blocks(table):
    """Arrow counts by blocks of 2 MiB; here are a dozen, with faults and line breaks on their borders."""
    lines, ragged, number = [], [], 1
    for position in range(60_000):
        number += 1
        if position % 997 == 0:
            ragged.append(number)
            lines.append("短")
        else:
            lines.append(f'{number},"{"长" * (position % 120)}\n第二行",x')
    path = table("a,b,c\n" + "\n".join(lines) + "\n")

    rows, reported, _ = read(path)

    assert [row.row for row in reported] == ragged
    assert all(int(cells[0]) == number for number, cells in rows.items())
    assert len(rows) + len(reported) == 60_000


def test_a_file_of_nothing_but_ragged_rows_gives_batches_without_rows(table):
    path = table("a,b\n" + "1\n" * 100_000)

    with open_table(path, scratch=path.parent, limits=Limits(batch_rows=32_768)) as reader:
        batches = list(reader.batches())

    assert sum(batch.table.num_rows for batch in batches) == 0
    assert sum(len(batch.ragged) for batch in batches) == 100_000
    assert max(len(batch.ragged) for batch in batches) < 50_000
    assert batches[-1].ragged[-1].row == 100_001


def test_too_many_ragged_rows_end_the_reading(table):
    fault = refusal(table("a,b\n" + "秘密\n" * 1000), Limits(faults=100))

    assert isinstance(fault, NotATableError)
    assert fault.place == "row 102"
    assert "秘密" not in repr(fault.__context__) + repr(fault.__cause__) + str(fault)


def test_too_many_empty_rows_end_the_reading_and_take_little_memory(table):
    path = table(",".join(f"c{n}" for n in range(200)) + "\n" * 3 * MIB)
    before = pa.default_memory_pool().max_memory()

    fault = refusal(path)

    assert isinstance(fault, NotATableError)
    assert pa.default_memory_pool().max_memory() - before < 500 * MIB


def test_a_row_with_a_nul_is_reported_and_the_others_kept(table):
    rows, ragged, faults = read(table("a,b\n1,2\n3,x\0y\n4,5\n\0\n"))

    assert rows == {2: ["1", "2"], 4: ["4", "5"]}
    assert faults == [RowFault(row=3, kind=RowFaultKind.NUL, column=1)]
    assert ragged == [RaggedRow(row=5, expected=2, actual=1)]


def test_a_nul_in_the_heading_is_no_table(table):
    assert isinstance(refusal(table("a,b\0\n1,2\n")), NotATableError)


def test_a_row_that_looks_like_the_line_behind_each_block_is_a_ragged_row(table):
    rows, ragged, _ = read(table('a,b\n1,2\nx",,,\n3,4\nx",,,'))

    assert rows == {2: ["1", "2"], 4: ["3", "4"]}
    assert ragged == [RaggedRow(row=3, expected=2, actual=4), RaggedRow(row=5, expected=2, actual=4)]


def test_rows_are_whole_wherever_blocks_end(table):
    text = 'a,b\r\n1,"x\r\ny"\r\n\r\n"2 ""z""\r\n",3\r\n4\r\n"5","6"'
    for size in range(16, 60):
        rows, ragged, _ = read(table(text), Limits(row_bytes=size))

        assert rows == {2: ["1", "x\r\ny"], 4: ['2 "z"', "3"], 6: ["5", "6"]}
        assert ragged == [RaggedRow(row=5, expected=2, actual=1)]


def test_a_cell_of_more_than_a_megabyte_is_a_fault_of_its_row(table):
    rows, _, faults = read(table(f"a,b\n1,2\n3,{'x' * (MIB + 1)}\n4,{'y' * MIB}\n"))

    assert list(rows) == [2, 4]
    assert faults == [RowFault(row=3, kind=RowFaultKind.FIELD_TOO_LONG, column=1)]


def test_a_row_of_thirty_megabytes_is_refused_with_its_place(table):
    fault = refusal(table("a,b\n1,2\n3,4,5\n\n" + "x" * 30 * MIB + ",2\n6,7\n"))

    assert isinstance(fault, RowTooLongError)
    assert fault.place == "row 5"


def test_a_quote_that_is_not_closed_is_found_at_the_end_of_a_short_file(table):
    for text in ('a,b\n1,2\n3,"4\n5,6\n', 'a,b\n1,2\n"3,4\n5,6\n', 'a,b\n1,2\n3,"', 'a,b\n1,2\n3,"4\n5,6'):
        fault = refusal(table(text))

        assert isinstance(fault, FileCutOffError)
        assert fault.place == "row 3"


def test_a_quote_that_is_not_closed_in_a_long_file_makes_a_row_that_is_too_long(table):
    fault = refusal(table('a,b\n1,2\n3,"4\n' + "5,6\n" * 3 * MIB))

    assert isinstance(fault, RowTooLongError)
    assert fault.place == "row 3"


def test_a_quoted_heading_that_is_not_closed(table):
    assert isinstance(refusal(table('a,"b\n1,2\n')), FileCutOffError)


def test_a_file_that_ends_in_the_middle_of_a_row_was_cut_off(table):
    fault = refusal(table("a,b,c\n1,2,3\n4,秘"))

    assert isinstance(fault, FileCutOffError)
    assert fault.place == "row 3"
    assert "2" in fault.text.en
    assert "秘" not in str(fault)


def test_a_short_last_row_with_a_line_end_is_only_ragged(table):
    assert read(table("a,b,c\n1,2,3\n4,5\n"))[1] == [RaggedRow(row=3, expected=3, actual=2)]


def test_batches_are_bounded_by_rows_and_by_bytes(table):
    path = table("a,b\n" + "1,2\n" * 200_000)
    with open_table(path, scratch=path.parent, limits=Limits(batch_rows=32_768)) as reader:
        sizes = [batch.table.num_rows for batch in reader.batches()]
    assert sum(sizes) == 200_000
    assert max(sizes) < 50_000

    path = table("a,b\n" + f"1,{'x' * 1000}\n" * 50_000)
    with open_table(path, scratch=path.parent, limits=Limits(batch_bytes=8 * MIB)) as reader:
        most = max(batch.table.nbytes for batch in reader.batches())
    assert 4 * MIB < most < 12 * MIB
