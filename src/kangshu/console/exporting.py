"""Lists as CSV or XLSX for a spreadsheet, with nothing that a spreadsheet would take for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from starlette.responses import Response, StreamingResponse

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MARK = "\ufeff".encode()  # tells Excel that the file is UTF-8
_TYPE = "text/csv; charset=utf-8"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as lines of a CSV file."""
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def csv_answer(name: str, rows: Iterable[Sequence[object]]) -> Response:
    """Return a list, its headings first, as a file to keep; `name` is plain ASCII."""
    return Response(_MARK + csv_lines(rows), media_type=_TYPE, headers=_attached(name))


def xlsx_answer(name: str, rows: Iterable[Sequence[object]], *, title: str) -> Response:
    """Return a list, its headings first, as a workbook with one sheet called `title`."""
    # Loaded by those alone who ask for a workbook.
    import xlsxwriter

    content = io.BytesIO()
    texts = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(content, {"in_memory": True, "nan_inf_to_errors": True, **texts}) as book:
        sheet = book.add_worksheet(re.sub(r"[\[\]:*?/\\]", " ", title)[:31])
        bold = book.add_format({"bold": True})
        for number, row in enumerate(rows):
            for place, cell in enumerate(row):
                _write_cell(sheet, number, place, cell, bold if number == 0 else None)
        sheet.freeze_panes(1, 0)
        sheet.autofit()
    return Response(content.getvalue(), media_type=_XLSX, headers=_attached(name))


def csv_stream(name: str, parts: AsyncIterator[bytes]) -> Response:
    """Return a long list in parts made by `csv_lines`, the headings in the first."""

    async def marked() -> AsyncIterator[bytes]:
        yield _MARK
        async for part in parts:
            yield part

    return StreamingResponse(marked(), media_type=_TYPE, headers=_attached(name))


def _write_cell(sheet: Any, row: int, column: int, cell: object, form: Any) -> None:
    if isinstance(cell, bool | int | float):
        sheet.write(row, column, cell)
    elif cell is not None:
        sheet.write_string(row, column, str(cell), form)


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell
