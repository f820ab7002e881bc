"""Tables as bytes: CSV in the vendors' variants, workbooks, Parquet, archives; and how files get damaged.

Everything here gives the same bytes for the same table: archives carry a fixed time.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import xlsxwriter

from kangshu.simulation.columns import as_text, one_array, pc
from kangshu.simulation.streams import Ints
from kangshu.simulation.styles import Style

_STAMP = (2026, 1, 1, 0, 0, 0)
_CREATED = datetime(2026, 1, 1)  # noqa: DTZ001 - a fixed stamp, so that the same seed gives the same bytes
_CUT_AT = 0.6  # share of a file that arrives when it is cut off
_TAIL = 0.8  # share of a file's lines before the encoding changes


def heading_line(headings: list[str], style: Style) -> bytes:
    """Return the first line of a CSV file, with a byte order mark where the style has one."""
    cells = [f'"{heading}"' for heading in headings] if style.quoted else headings
    line = style.delimiter.join(cells) + style.line_end
    return line.encode(style.encoding)


def csv_pieces(table: Any, ragged: Ints, style: Style) -> Iterator[bytes]:
    """Yield rows as CSV; those at `ragged` get a cell too many or, every other one, too few."""
    if not style.line_breaks:
        table = _without_line_breaks(table)
    done = 0
    for number, row in enumerate(ragged.tolist()):
        if row > done:
            yield csv_bytes(table.slice(done, row - done), style)
        yield _ragged_line(table.slice(row, 1), style, longer=number % 2 == 0)
        done = row + 1
    if done < table.num_rows:
        yield csv_bytes(table.slice(done), style)


def csv_bytes(table: Any, style: Style) -> bytes:
    """Return rows without heading. A style without quotes falls back to them where a cell needs them."""
    sink = pa.BufferOutputStream()
    try:
        pa_csv.write_csv(table, sink, _options(style, "needed" if style.quoted else "none"))
    except pa.ArrowInvalid:
        sink = pa.BufferOutputStream()
        pa_csv.write_csv(table, sink, _options(style, "needed"))
    content = sink.getvalue().to_pybytes()
    if style.encoding == "gb18030":
        return content.decode("utf-8").encode("gb18030")
    return content


def _options(style: Style, quoting: str) -> Any:
    return pa_csv.WriteOptions(
        include_header=False, delimiter=style.delimiter, eol=style.line_end, quoting_style=quoting
    )


def _without_line_breaks(table: Any) -> Any:
    for name in ("findings",):
        if name in table.column_names:
            place = table.column_names.index(name)
            table = table.set_column(place, name, pc.replace_substring(as_text(table[name]), "\n", " "))
    return table


def _ragged_line(row: Any, style: Style, *, longer: bool) -> bytes:
    if not longer:
        return csv_bytes(row.select(row.column_names[:-1]), style)
    line = csv_bytes(row, style)
    end = style.line_end.encode()
    return line[: -len(end)] + f"{style.delimiter}0".encode() + end


def alike(tables: list[Any]) -> list[Any]:
    """Return tables whose columns have the same types; where they differ, text."""
    differing = {
        name
        for name in tables[0].column_names
        if len({table.schema.field(name).type for table in tables}) > 1
    }
    if not differing:
        return tables
    return [
        pa.table(
            {
                name: as_text(one_array(table[name])) if name in differing else table[name]
                for name in table.column_names
            }
        )
        for table in tables
    ]


def write_typed(table: Any, path: Path, style: Style) -> None:
    """Write a workbook or a Parquet file; the column names are the headings."""
    if style.form == "parquet":
        pq.write_table(table, path, compression="snappy", row_group_size=65_536)
    else:
        _write_workbook(table, path)


def _write_workbook(table: Any, path: Path) -> None:
    """Write one sheet: numbers as numbers, dates as dates, all else as text."""
    workbook = xlsxwriter.Workbook(str(path), {"constant_memory": True, "default_date_format": "yyyy-mm-dd"})
    workbook.set_properties({"created": _CREATED})
    sheet = workbook.add_worksheet("Sheet1")
    columns: list[list[Any]] = []
    for number, name in enumerate(table.column_names):
        sheet.write_string(0, number, name)
        column = one_array(table[name])
        if pa.types.is_timestamp(column.type):
            columns.append(as_text(column).to_pylist())
        elif pa.types.is_decimal(column.type):
            # by way of Python's decimals: Arrow's own cast is off in the last place
            columns.append([None if value is None else float(value) for value in column.to_pylist()])
        else:
            columns.append(column.to_pylist())
    for number, row in enumerate(zip(*columns, strict=True), start=1):
        for place, value in enumerate(row):
            if isinstance(value, str):
                sheet.write_string(number, place, value)
            elif value is not None:
                sheet.write(number, place, value)
    workbook.close()


def write_zip(source: Path, target: Path) -> None:
    """Pack a file under the name of `target` without its last suffix."""
    entry = zipfile.ZipInfo(target.name.removesuffix(".zip"), date_time=_STAMP)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    with (
        zipfile.ZipFile(target, "w", compresslevel=3) as archive,
        archive.open(entry, "w", force_zip64=True) as packed,
        source.open("rb") as plain,
    ):
        while chunk := plain.read(1 << 20):
            packed.write(chunk)


def cut_off(whole: bytes, style: Style) -> bytes:
    """Return the beginning of a file: a text ends in the middle of a row."""
    middle = int(len(whole) * _CUT_AT)
    if style.form != "csv" or style.packed:
        return whole[:middle]
    end = style.line_end.encode()
    start = whole.index(end, middle) + len(end)
    return whole[: start + (whole.index(end, start) - start) // 2]


def mixed_encoding(whole: bytes) -> bytes:
    """Return a UTF-8 file whose last lines are in GB18030, as when two exports are put together."""
    split = whole.index(b"\n", int(len(whole) * _TAIL)) + 1
    return whole[:split] + whole[split:].decode("utf-8").encode("gb18030")
