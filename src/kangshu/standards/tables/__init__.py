"""Tables in files, CSV, XLSX or Parquet, plain or packed: recognised by content, read in bounded batches of
text columns, refused with a place where they are not what they should be.

    with open_table(path, scratch=folder) as reader:
        for batch in reader.batches():
            batch.table, batch.ragged, batch.faults
"""

from kangshu.standards.tables.errors import (
    ArchiveBombError,
    EmptyFileError,
    EncodingFaultError,
    EntityBombError,
    FileCutOffError,
    FileTooLargeError,
    HeadingDuplicateError,
    HeadingError,
    HeadingMissingError,
    NotATableError,
    RowTooLongError,
    TableError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from kangshu.standards.tables.model import (
    DEFAULT_LIMITS,
    Batch,
    Compression,
    Limits,
    RaggedRow,
    RowFault,
    RowFaultKind,
    TableFormat,
    TableKind,
)
from kangshu.standards.tables.opening import TableReader, open_table

__all__ = [
    "DEFAULT_LIMITS",
    "ArchiveBombError",
    "Batch",
    "Compression",
    "EmptyFileError",
    "EncodingFaultError",
    "EntityBombError",
    "FileCutOffError",
    "FileTooLargeError",
    "HeadingDuplicateError",
    "HeadingError",
    "HeadingMissingError",
    "Limits",
    "NotATableError",
    "RaggedRow",
    "RowFault",
    "RowFaultKind",
    "RowTooLongError",
    "TableError",
    "TableFormat",
    "TableKind",
    "TableReader",
    "UnreadableFileError",
    "UnsupportedFormatError",
    "open_table",
]
