"""The rows of one sheet of a workbook, out of what expat tells about its XML (ECMA-376 part 1, 18.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kangshu.standards.tables.batching import BLANKS
from kangshu.standards.tables.cells import Shows, number_text
from kangshu.standards.tables.errors import EntityBombError, FileCutOffError, NotATableError, say
from kangshu.standards.tables.model import Limits, RowFault, RowFaultKind

MOST_DEPTH = 64
LAST_COLUMN = 16_384
LAST_ROW = 1_048_576

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_DIGITS = "0123456789"
_NOWHERE = 1 << 20


@dataclass(slots=True)
class SheetRow:
    """A row of a sheet; `width` is one more than the last position with a value, `size` its characters."""

    number: int
    cells: list[str | None] = field(default_factory=list[str | None])
    width: int = 0
    size: int = 0
    fault: RowFault | None = None

    def set(self, position: int, value: str) -> None:
        """Put a value, which is not empty, into a cell."""
        cells = self.cells
        if position >= len(cells):
            if position > len(cells):
                cells.extend([None] * (position - len(cells)))
            cells.append(value)
            self.width = position + 1
        else:
            cells[position] = value
            self.width = max(self.width, position + 1)
        self.size += len(value)

    def refuse(self, position: int, kind: RowFaultKind) -> None:
        """Note what is wrong with a cell; the first fault of a row counts."""
        self.fault = self.fault or RowFault(row=self.number, kind=kind, column=position)
        self.width = max(self.width, position + 1)


class CellReader:
    """What the content of a cell means."""

    def __init__(
        self, strings: Sequence[str | None], meanings: Sequence[Shows], *, from_1904: bool, limits: Limits
    ) -> None:
        self._strings = strings
        self._meanings = meanings
        self._from_1904 = from_1904
        self._limits = limits

    def put(self, row: SheetRow, position: int, attributes: dict[str, str], text: str | None) -> None:
        """Put the canonical text of a cell with a value into `row`; `text` is `None` if it is too long."""
        kind = attributes.get("t")
        value: str | None
        if text is None:
            value = None
        elif kind == "s":
            value = self._shared(text, row)
        elif kind is None or kind == "n":
            value = self._number(text, attributes.get("s"))
        elif kind == "b":
            value = {"1": "true", "0": "false"}.get(text.strip(), text)
        else:
            value = text.replace("T", " ") if kind == "d" else unescaped(text)
        if value is None:
            row.refuse(position, RowFaultKind.FIELD_TOO_LONG)
            return
        value = value.strip(BLANKS)
        if value:
            row.set(position, value)
            if kind == "e":
                row.refuse(position, RowFaultKind.CELL_ERROR)
            elif row.size > self._limits.row_bytes:
                row.refuse(position, RowFaultKind.ROW_TOO_LONG)

    def _shared(self, text: str, row: SheetRow) -> str | None:
        index = whole_number(text, -1)
        if not 0 <= index < len(self._strings):
            raise FileCutOffError(say["cut_off"], place=f"row {row.number}")
        return self._strings[index]

    def _number(self, text: str, style: str | None) -> str:
        shows = Shows.NUMBER
        if style is not None:
            position = whole_number(style, 0)
            shows = self._meanings[position] if position < len(self._meanings) else shows
        found = number_text(text.strip(), shows=shows, from_1904=self._from_1904)
        return text if found is None else found


@dataclass(frozen=True, kw_only=True)
class SheetHandlers:
    """What expat is to call, and how to take the rows that are complete."""

    start: Callable[[str, dict[str, str]], None]
    end: Callable[[str], None]
    text: Callable[[str], None]
    taken: Callable[[], list[SheetRow]]


def sheet_handlers(reader: CellReader, *, limits: Limits) -> SheetHandlers:
    """Return the handlers for the XML of one sheet.

    They are closures over a few variables, not methods: a sheet has five events for each cell, and this
    is what they cost least. Where an element stands says what it is: `worksheet` 1, `sheetData` 2, `row`
    3, `c` 4, `v`, `f` and `is` 5, and in an inline string `t` (6, or 7 in a run `r` or a hint `rPh`).
    """
    done: list[SheetRow] = []
    row = SheetRow(0)
    positions: dict[str, int] = {}
    attributes: dict[str, str] = {}
    parts: list[str] = []
    depth = length = 0
    position = -1
    in_data = in_row = in_cell = wanted = phonetic = has_value = has_formula = False
    prefix, most = "", limits.field_bytes
    row_name, cell_name, value_name, formula_name, text_name, hint_name = "row", "c", "v", "f", "t", "rPh"

    def start(name: str, given: dict[str, str]) -> None:
        nonlocal depth, attributes, position, length, in_cell, wanted, has_value, has_formula
        depth += 1
        if depth == 5:
            if name == value_name:
                wanted = has_value = True
            elif name == formula_name:
                has_formula = True
            else:
                has_value = has_value or in_cell
        elif depth == 4:
            in_cell = in_row and name == cell_name
            if in_cell:
                attributes = given
                reference = given.get("r")
                position = _position(reference, positions) if reference else position + 1
                if position >= LAST_COLUMN:
                    raise NotATableError(say["strange_sheet"], place=f"row {row.number}")
                parts.clear()
                length = 0
                has_value = has_formula = False
        else:
            start_elsewhere(name, given)

    def start_elsewhere(name: str, given: dict[str, str]) -> None:
        nonlocal row, position, in_data, in_row, wanted, phonetic
        nonlocal prefix, row_name, cell_name, value_name, formula_name, text_name, hint_name
        if depth == 3:
            in_row = in_data and name == row_name
            if in_row:
                row = SheetRow(_row_number(given, row.number))
                position = -1
        elif depth == 2:
            in_data = name == f"{prefix}sheetData"
        elif depth == 1:
            prefix = name.removesuffix(name.rpartition(":")[2])
            row_name, cell_name, value_name = f"{prefix}row", f"{prefix}c", f"{prefix}v"
            formula_name, text_name, hint_name = f"{prefix}f", f"{prefix}t", f"{prefix}rPh"
        elif depth > MOST_DEPTH:
            raise EntityBombError(say["deep_xml"])
        elif name == hint_name:
            phonetic = True
        elif name == text_name:
            wanted = not phonetic

    def end(name: str) -> None:
        nonlocal depth, in_cell, wanted, phonetic
        depth -= 1
        if depth == 4:
            wanted = False
        elif depth == 3:
            if in_cell:
                in_cell = False
                if has_value:
                    text = parts[0] if len(parts) == 1 else "".join(parts)
                    reader.put(row, position, attributes, text if length <= most else None)
                elif has_formula:
                    row.refuse(position, RowFaultKind.NO_VALUE)
        elif depth == 2:
            if in_row:
                done.append(row)
        elif depth > 4:
            wanted = False
            phonetic = phonetic and name != hint_name

    def text(data: str) -> None:
        nonlocal length
        if wanted and length <= most:
            parts.append(data)
            length += len(data)

    def taken() -> list[SheetRow]:
        rows = done.copy()
        done.clear()
        return rows

    return SheetHandlers(start=start, end=end, text=text, taken=taken)


def unescaped(text: str) -> str:
    """Return text with `_x000D_` and the like as the characters they stand for; half pairs stay written."""
    return _ESCAPED.sub(_character, text) if "_x" in text else text


def whole_number(text: str | None, default: int) -> int:
    """Return the whole number that `text` writes, else `default`."""
    return int(text) if text and len(text) <= 9 and text.isascii() and text.isdecimal() else default


def _position(reference: str, known: dict[str, int]) -> int:
    """Return the position of a cell's column: 0 for A1, 26 for AA1; beyond all columns if it is none."""
    letters = reference.rstrip(_DIGITS)
    position = known.get(letters)
    if position is None:
        position = 0
        for letter in letters[:4].upper():
            position = position * 26 + (ord(letter) - 64 if "A" <= letter <= "Z" else _NOWHERE)
        position = position - 1 if position else _NOWHERE
        if len(known) < LAST_COLUMN:
            known[letters] = position
    return position


def _row_number(attributes: dict[str, str], before: int) -> int:
    number = whole_number(attributes.get("r"), before + 1)
    if not before < number <= LAST_ROW:
        raise NotATableError(say["strange_sheet"], place=f"row {before + 1}")
    return number


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return found[0] if 0xD800 <= code <= 0xDFFF else chr(code)
