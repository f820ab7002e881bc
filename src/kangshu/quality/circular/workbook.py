"""A circular as a spreadsheet: a sheet for each table, numbers as numbers, written as on the page."""

from __future__ import annotations

import io
from collections.abc import Mapping

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from kangshu.kernel.texts import Language
from kangshu.quality.circular.model import Circular
from kangshu.quality.circular.tables import (
    Cell,
    Shape,
    Table,
    cut_share,
    status_of,
    subtitle_of,
    summary_of,
    tables_of,
    title_of,
)

NUMBER_FORMATS: Mapping[Shape, str] = {
    Shape.COUNT: "#,##0",
    Shape.POINTS: "0.00",
    Shape.CHANGE: "+0.00;-0.00;0.00",
    Shape.STEPS: "+0;-0;0",
    Shape.SHARE: "0.00%",
    Shape.FIGURE: "#,##0.##",
}
_CHARACTERS = 8  # of width for one part of a table's `widths`
_WIDEST = 60
_SHEET_NAME = 31  # the format's limit


def write_xlsx(circular: Circular, *, language: Language = "zh") -> bytes:
    """Return the circular as XLSX: sentences and headline first, then a sheet for each table."""
    target = io.BytesIO()
    # Names and messages come from outside: none of them is a formula or a link.
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(target, options) as workbook:
        formats = _Formats(workbook)
        for number, table in enumerate(tables_of(circular, language=language)):
            sheet = workbook.add_worksheet(f"{number + 1} {table.title}"[:_SHEET_NAME])
            top = _write_head(sheet, circular, language, formats) if not number else 0
            _write_table(sheet, table, formats, top=top)
    return target.getvalue()


class _Formats:
    """The few formats of the workbook."""

    def __init__(self, workbook: xlsxwriter.Workbook) -> None:
        self.title = workbook.add_format({"bold": True, "font_size": 16})
        self.heading = workbook.add_format(
            {"bold": True, "bottom": 1, "text_wrap": True, "valign": "vcenter", "bg_color": "#EEF2F6"}
        )
        self.note = workbook.add_format({"font_color": "#555555"})
        self.text = workbook.add_format({"text_wrap": True, "valign": "top"})
        self.none = workbook.add_format({"align": "right", "valign": "top"})
        self.of: dict[Shape, Format] = {
            shape: workbook.add_format({"num_format": form, "valign": "top"})
            for shape, form in NUMBER_FORMATS.items()
        }


def _write_head(sheet: Worksheet, circular: Circular, language: Language, formats: _Formats) -> int:
    """Write what stands above the first table; return the row below it."""
    sheet.write_string(0, 0, title_of(circular, language=language), formats.title)
    sheet.write_string(1, 0, subtitle_of(circular, language=language))
    sheet.write_string(2, 0, status_of(circular, language=language), formats.note)
    row = 3
    for sentence in summary_of(circular, language=language):
        sheet.write_string(row, 0, sentence)
        row += 1
    return row + 1


def _write_table(sheet: Worksheet, table: Table, formats: _Formats, *, top: int) -> None:
    for place, (title, width) in enumerate(zip(table.columns, table.widths, strict=True)):
        sheet.set_column(place, place, min(max(_CHARACTERS, width * _CHARACTERS), _WIDEST))
        sheet.write_string(top, place, title, formats.heading)
    for number, row in enumerate(table.rows, start=top + 1):
        for place, cell in enumerate(row):
            _write_cell(sheet, number, place, cell, formats)
    last = top + len(table.rows)
    if not top:
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, last, len(table.columns) - 1)
    if table.note:
        sheet.write_string(last + 2, 0, table.note, formats.note)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(top)


def _write_cell(sheet: Worksheet, row: int, place: int, cell: Cell, formats: _Formats) -> None:
    value = cell.value
    if value is None:
        sheet.write_string(row, place, cell.text, formats.none)
    elif isinstance(value, str):
        sheet.write_string(row, place, value, formats.text)
    else:
        number = cut_share(value) if cell.shape is Shape.SHARE else value
        sheet.write_number(row, place, number, formats.of[cell.shape])
