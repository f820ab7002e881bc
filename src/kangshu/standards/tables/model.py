"""What a reader tells and gives: the format that was found, the limits, and batches of string columns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class TableKind(StrEnum):
    """How the table is written."""

    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"


class Compression(StrEnum):
    """In what the table is packed."""

    NONE = "none"
    ZIP = "zip"
    GZIP = "gzip"


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """What the content was found to be.

    `encoding` is `ascii`, `utf-8`, `gb18030` or `utf-16` for CSV and `None` otherwise. A CSV file says
    `ascii` until a character beyond ASCII was met, so it is final when all batches have been read.
    `delimiter` is the character between cells of a CSV file.
    """

    kind: TableKind
    compression: Compression = Compression.NONE
    encoding: str | None = None
    delimiter: str | None = None

    def __str__(self) -> str:
        """The format in words that both languages share: `CSV, GB18030, tab, zip`."""
        delimiters = {",": "comma", "\t": "tab", "|": "pipe", ";": "semicolon"}
        parts = [self.kind.upper()]
        if self.encoding:
            parts.append(self.encoding.upper())
        if self.delimiter:
            parts.append(delimiters.get(self.delimiter, self.delimiter))
        if self.compression is not Compression.NONE:
            parts.append(self.compression.value)
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one file may ask for; beyond it the file (or, where said, the row) is refused."""

    file_bytes: int = 16 * GIB
    unpacked_bytes: int = 64 * GIB
    """What an archive may unpack to while it is streamed."""
    scratch_bytes: int = 4 * GIB
    """What may be unpacked onto the disk (a packed workbook or Parquet file), and a workbook's parts."""
    unpacked_ratio: int = 300
    """How many times its own size an archive may unpack to, beyond `unpacked_grace_bytes`."""
    unpacked_grace_bytes: int = 64 * MIB
    columns: int = 1024
    rows: int = 200_000_000
    row_bytes: int = 8 * MIB
    """One row; in CSV, one that is longer refuses the file (an open quote makes one of all that follows)."""
    field_bytes: int = MIB
    """One cell, in UTF-8; a longer one is a `RowFault`."""
    faults: int = 1_000_000
    """Ragged rows, and likewise empty rows, before the file is given up."""
    batch_rows: int = 131_072
    batch_bytes: int = 32 * MIB
    shared_text_bytes: int = 256 * MIB
    """The shared strings of a workbook, which are held in memory."""
    page_bytes: int = 512 * MIB
    """The largest pages of all columns of a Parquet row group, which are in memory together."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class RaggedRow:
    """A row that has not as many cells as the heading; it is not in the batch's table."""

    row: int
    expected: int
    actual: int


class RowFaultKind(StrEnum):
    """Why a row was left out of a table."""

    NUL = "nul"  # a cell holds a NUL character
    FIELD_TOO_LONG = "field-too-long"  # a cell is over Limits.field_bytes
    ROW_TOO_LONG = "row-too-long"  # all cells together are over Limits.row_bytes (XLSX, Parquet)
    CELL_ERROR = "cell-error"  # a cell shows a spreadsheet's error, like #REF! (XLSX)
    NO_VALUE = "formula-without-value"  # a formula whose result was not saved (XLSX)


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFault:
    """A row whose content cannot be taken; it is not in the batch's table.

    `column` counts from 0, as in `c0`; `None` where the whole row is meant.
    """

    row: int
    kind: RowFaultKind
    column: int | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Consecutive rows of the file.

    `table` has the string columns `c0`, `c1` ... in the order of the headings and the int64 column
    `_row`. Blanks around values are cut off; a cell with nothing else is null. `table` may have no rows
    where a stretch of the file has only faults. Rows without any value are left out and not mentioned.
    """

    table: pa.Table
    ragged: tuple[RaggedRow, ...] = ()
    faults: tuple[RowFault, ...] = ()
