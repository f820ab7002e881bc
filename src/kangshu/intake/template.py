"""The Excel workbook that an institution fills in: headings, drop-downs, notes and an example row."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO

import xlsxwriter
from xlsxwriter.utility import xl_col_to_name

from kangshu.declarations import CodeTable, Dataset, Field, FieldType, Obligation, Pack
from kangshu.intake.recognition import repeat_heading

_ROWS = 10_000  # arbitrary: so many rows get drop-downs; more come as CSV or Parquet
_SHOWN_REPEATS = 5  # of a field that repeats up to 40 times a workbook shows the first five columns
_OBLIGATIONS = {
    Obligation.REQUIRED: "必填 required",
    Obligation.CONDITIONAL: "条件必填 conditional",
    Obligation.OPTIONAL: "选填 optional",
}
_TYPES = {
    FieldType.STRING: "文本 text",
    FieldType.INTEGER: "整数 whole number",
    FieldType.DECIMAL: "数值 number",
    FieldType.DATE: "日期 date (2026-03-01)",
    FieldType.DATETIME: "日期时间 date and time (2026-03-01 08:30:00)",
    FieldType.BOOLEAN: "是否 yes or no (1/0)",
}


def template_workbook(*, dataset: Dataset, pack: Pack) -> bytes:
    """Return the template of a data set as an XLSX file.

    Its first sheet has the Chinese headings that intake recognises, a comment with the field's
    meaning on each, drop-downs where a code table is short enough to choose from, and one example
    row, to be overwritten. The second sheet lists the fields, the third the code tables.
    """
    content = BytesIO()
    # A fixed creation date: the same declaration gives the same bytes.
    with xlsxwriter.Workbook(content, {"in_memory": True, "strings_to_numbers": False}) as book:
        book.set_properties({"title": dataset.title.zh, "created": _fixed_date(dataset)})
        sheet = book.add_worksheet(_sheet_name(dataset.title.zh))
        fields = book.add_worksheet("填写说明")
        codes = book.add_worksheet("代码表")
        places = _write_codes(book, codes, dataset, pack)
        _write_headings(book, sheet, dataset, pack, places)
        _write_fields(book, fields, dataset)
    return content.getvalue()


def heading_columns(dataset: Dataset) -> list[tuple[Field, str]]:
    """Return each column of the template with its heading."""
    columns: list[tuple[Field, str]] = []
    for field in dataset.fields:
        shown = min(field.repeat, _SHOWN_REPEATS)
        if shown == 1:
            columns.append((field, field.title.zh))
        else:
            columns += [(field, repeat_heading(heading=field.title.zh, repeat=n + 1)) for n in range(shown)]
    return columns


def _write_headings(book, sheet, dataset: Dataset, pack: Pack, places: dict[str, str]) -> None:
    required = book.add_format({"bold": True, "bg_color": "#12655A", "font_color": "#FFFFFF", "border": 1})
    other = book.add_format({"bold": True, "bg_color": "#DDEAE7", "font_color": "#10312C", "border": 1})
    text = book.add_format({"num_format": "@"})
    example = book.add_format({"num_format": "@", "italic": True, "font_color": "#6B7280"})
    for column, (field, heading) in enumerate(heading_columns(dataset)):
        wanted = field.obligation is Obligation.REQUIRED
        sheet.write_string(0, column, heading, required if wanted else other)
        sheet.write_comment(0, column, _comment(field, pack), {"x_scale": 2.2, "y_scale": 1.6})
        sheet.set_column(column, column, max(12, min(30, 2 * len(heading) + 2)), text)
        if field.example and (field.repeat == 1 or heading == f"{field.title.zh}1"):
            sheet.write_string(1, column, field.example, example)
        if field.value_set in places:
            sheet.data_validation(
                1,
                column,
                _ROWS,
                column,
                {
                    "validate": "list",
                    "source": places[field.value_set],
                    "error_title": "代码有误",
                    "error_message": f"请从代码表选择：{pack.codes[field.value_set].title.zh}"[:255],
                },
            )
    sheet.freeze_panes(1, 0)


def _comment(field: Field, pack: Pack) -> str:
    lines = [f"{field.title.zh} / {field.title.en}", f"{_OBLIGATIONS[field.obligation]} · {_shape(field)}"]
    if field.unit:
        lines.append(f"单位 unit: {field.unit}")
    if field.value_set:
        table = pack.codes[field.value_set]
        shown = "；".join(f"{code.code} {code.title.zh}" for code in table.codes[:12])
        lines.append(f"{table.title.zh}: {shown}{' …' if len(table.codes) > 12 else ''}")
    lines += [one for one in (field.note.zh, field.note.en) if one]
    return "\n".join(lines)


def _shape(field: Field) -> str:
    if field.type is FieldType.DECIMAL:
        return f"{_TYPES[field.type]} ({field.length},{field.scale})"
    if field.type is FieldType.STRING and field.length:
        return f"{_TYPES[field.type]} {'=' if field.exact_length else '≤'} {field.length}"
    return _TYPES[field.type]


def _write_fields(book, sheet, dataset: Dataset) -> None:
    bold = book.add_format({"bold": True, "bottom": 1})
    headings = (
        "序号", "代码 code", "中文名", "English", "填报 obligation", "类型 type", "代码表 value set",
        "单位 unit", "数据元 data element", "说明", "note",
    )  # fmt: skip
    sheet.write_row(
        0, 0, [f"{dataset.title.zh} {dataset.title.en} · {dataset.edition} · {dataset.source}"], bold
    )
    sheet.write_row(1, 0, headings, bold)
    for number, field in enumerate(dataset.fields, start=1):
        sheet.write_row(
            number + 1,
            0,
            (
                number,
                field.code or "",
                field.title.zh,
                field.title.en,
                _OBLIGATIONS[field.obligation],
                _shape(field) + (f" ×{field.repeat}" if field.repeat > 1 else ""),
                field.value_set or "",
                field.unit or "",
                field.data_element or "",
                field.note.zh,
                field.note.en,
            ),
        )
    sheet.freeze_panes(2, 3)
    sheet.set_column(2, 3, 28)
    sheet.set_column(4, 10, 22)


def _write_codes(book, sheet, dataset: Dataset, pack: Pack) -> dict[str, str]:
    """Write each code table in three columns; return where the codes of each stand."""
    bold = book.add_format({"bold": True, "bottom": 1})
    places: dict[str, str] = {}
    names = dict.fromkeys(field.value_set for field in dataset.fields if field.value_set)
    for position, name in enumerate(names):
        table: CodeTable = pack.codes[name]
        column = position * 3
        sheet.write_row(0, column, (f"{name} {table.title.zh}", table.edition), bold)
        for row, code in enumerate(table.codes, start=1):
            sheet.write_string(row, column, code.code)
            sheet.write_string(row, column + 1, code.title.zh)
        if table.complete:
            letter = xl_col_to_name(column, True)
            places[name] = f"='代码表'!{letter}$2:{letter}${len(table.codes) + 1}"
    return places


def _sheet_name(title: str) -> str:
    """Excel allows 31 characters and refuses some of them."""
    return "".join(char for char in title if char not in "[]:*?/\\'")[:31]


def _fixed_date(dataset: Dataset) -> datetime:
    return datetime(dataset.valid_from.year, dataset.valid_from.month, dataset.valid_from.day)  # noqa: DTZ001
