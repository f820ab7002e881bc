"""What can be wrong with a file as a whole; `place` is a line, a row, a column or a part of the file.

KangshuError
└── TableError
    ├── UnreadableFileError       no such file, a folder, a symbolic link, a device, no permission
    ├── EmptyFileError            0 bytes, only blank lines, an archive or a workbook with nothing in it
    ├── NotATableError            another kind of content: binary, XML, JSON, HL7, a picture, prose
    ├── UnsupportedFormatError    a table, but in a form that is not read: .xls, several files in a zip
    ├── EncodingFaultError        neither UTF-8 nor GB18030 (place: the line)
    ├── HeadingError
    │   ├── HeadingMissingError   a column without a heading
    │   └── HeadingDuplicateError two columns with one heading
    ├── FileTooLargeError         over a limit: bytes, rows, columns, text, pages
    │   └── RowTooLongError       one row is over the limit, often because a quote is not closed
    ├── ArchiveBombError          unpacks to far more than it is
    ├── EntityBombError           a workbook with a DOCTYPE or with monstrous XML
    └── FileCutOffError           ends too early, or is damaged

Neither texts nor places nor chained exceptions hold a value or a heading: where a heading row is missing,
the first row is somebody's data.
"""

from __future__ import annotations

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue(__package__ or __name__)


class TableError(KangshuError):
    """The root of this package's failures: the file as a whole is refused."""

    kind = Kind.INCORRECT


class UnreadableFileError(TableError):
    """There is no regular file that could be read."""

    kind = Kind.NOT_FOUND


class EmptyFileError(TableError):
    """There is not even a heading."""


class NotATableError(TableError):
    """The content is something else than a table."""


class UnsupportedFormatError(TableError):
    """A table in a form that is not read here."""

    kind = Kind.UNSUPPORTED


class EncodingFaultError(TableError):
    """The text is in none of the encodings that are read."""


class HeadingError(TableError):
    """The headings do not name each column once."""


class HeadingMissingError(HeadingError):
    """A column has no heading."""


class HeadingDuplicateError(HeadingError):
    """Two columns have the same heading."""


class FileTooLargeError(TableError):
    """The file goes beyond one of the `Limits`."""


class RowTooLongError(FileTooLargeError):
    """A row goes beyond `Limits.row_bytes`; an open quote makes one row of all that follows."""


class ArchiveBombError(TableError):
    """The content unpacks to far more than its size, or than the limits allow."""


class EntityBombError(TableError):
    """The XML of a workbook holds what no honest program writes."""


class FileCutOffError(TableError):
    """The file ends before its content does, or is damaged."""
