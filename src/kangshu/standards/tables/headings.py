"""The heading row: which delimiter divides it, where it ends, whether it names each column once."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kangshu.standards.tables.errors import (
    EmptyFileError,
    FileCutOffError,
    FileTooLargeError,
    HeadingDuplicateError,
    HeadingMissingError,
    NotATableError,
    say,
)
from kangshu.standards.tables.model import KIB, Limits

DELIMITERS = (",", "\t", "|", ";")

_SNIFFED_ROWS = 32
_SNIFFED_CHARACTERS = 64 * KIB
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_END = "\0\0\0"  # stands for the end of the text; a heading with NULs is refused anyway


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a CSV text begins: `row` is the heading's number, `body` the byte after it."""

    delimiter: str
    headings: tuple[str, ...]
    row: int
    body: int


def read_layout(beginning: bytes, *, complete: bool, limits: Limits) -> Layout:
    """Return the layout of a text that begins with these UTF-8 bytes (all of it where `complete`).

    Empty lines before the heading count as rows. Quotes are respected in all that is done here.

    Raises:
        EmptyFileError: there is nothing but blank lines.
        NotATableError: the first row is no heading: it holds NULs, or is far too long.
        FileCutOffError: the text ends inside a quoted heading.
        HeadingError: a column has no heading, or not one of its own.
        FileTooLargeError: there are more columns than `limits` allow.
    """
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(beginning)
    blank, start = _skip_blank_lines(text)
    if start == len(text):
        raise EmptyFileError(say["empty"])
    row = blank + 1
    delimiter = sniff_delimiter(text, start=start)
    cells, length = _first_record(text, start=start, delimiter=delimiter, complete=complete, row=row)
    headings = check_headings(cells, row=row, limits=limits)
    body = len(text[: start + length].encode())
    return Layout(delimiter=delimiter, headings=headings, row=row, body=body)


def check_headings(cells: Sequence[str | None], *, row: int, limits: Limits) -> tuple[str, ...]:
    """Return the headings without blanks around them.

    Raises:
        HeadingError: a column has no heading, or not one of its own; `place` names row and column.
        NotATableError: a heading holds a NUL.
        FileTooLargeError: there are more columns than `limits` allow.
    """
    if len(cells) > limits.columns:
        raise FileTooLargeError(say("too_many_columns", actual=len(cells), limit=limits.columns))
    headings = tuple((cell or "").strip().strip("\ufeff").strip() for cell in cells)
    seen: dict[str, int] = {}
    for column, heading in enumerate(headings, start=1):
        place = f"row {row}, column {column}"
        if "\0" in heading:
            raise NotATableError(say["binary"], place=place)
        if not heading:
            raise HeadingMissingError(say["heading_missing"], place=place)
        first = seen.setdefault(heading, column)
        if first != column:
            raise HeadingDuplicateError(say("heading_duplicate", first=first), place=place)
    return headings


def sniff_delimiter(text: str, *, start: int = 0) -> str:
    """Return the delimiter by which most rows have as many cells as the heading, and that many.

    A text in which no delimiter divides the heading has one column; a comma is returned for it.
    """
    sample = text[start : start + _SNIFFED_CHARACTERS]
    whole = len(sample) == len(text) - start
    best, best_score = ",", (0.0, 1)
    for delimiter in DELIMITERS:
        widths = _widths(sample, delimiter=delimiter, whole=whole)
        if widths and widths[0] > 1:
            others = widths[1:]
            agreeing = others.count(widths[0]) / len(others) if others else 1.0
            best, best_score = max((best, best_score), (delimiter, (agreeing, widths[0])), key=lambda p: p[1])
    return best


def _widths(sample: str, *, delimiter: str, whole: bool) -> list[int]:
    records = csv.reader(_lines(sample), delimiter=delimiter)
    widths: list[int] = []
    try:
        widths = [len(record) for record in itertools.islice(records, _SNIFFED_ROWS) if record]
    except csv.Error:
        return widths
    if not whole and len(widths) > 1 and len(widths) < _SNIFFED_ROWS:
        widths.pop()  # the last one was cut by the sample's end
    return widths


def _first_record(
    text: str, *, start: int, delimiter: str, complete: bool, row: int
) -> tuple[list[str], int]:
    """Return the cells of the first record and how many characters it takes, line end included."""
    lines = list[str]()

    def remembered() -> Iterator[str]:
        for line in _lines(text, start=start):
            lines.append(line)
            yield line
        lines.append(_END)
        yield _END

    place = f"row {row}"
    try:
        cells = next(csv.reader(remembered(), delimiter=delimiter))
    except csv.Error:  # a cell beyond csv's own limit of 128 Ki characters
        raise NotATableError(say["heading_too_long"], place=place) from None
    reached_end = lines[-1] == _END or start + sum(map(len, lines)) == len(text)
    if reached_end and not complete:
        raise NotATableError(say["heading_too_long"], place=place)
    if lines[-1] == _END:
        raise FileCutOffError(say["heading_unclosed"], place=place)
    return cells, sum(map(len, lines))


def _skip_blank_lines(text: str) -> tuple[int, int]:
    """Return how many lines at the start hold nothing but blanks, and the characters they take."""
    count = start = 0
    for found in _LINE.finditer(text):
        if found.group().strip():
            break
        count += 1
        start = found.end()
    return count, start


def _lines(text: str, *, start: int = 0) -> Iterator[str]:
    return (found.group() for found in _LINE.finditer(text, start))
