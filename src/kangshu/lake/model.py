"""What the lake hands out: files on record, segments, rows of a person; frozen values without I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from kangshu.kernel.periods import Period

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - event times are local and carry no zone
_MICROSECOND = timedelta(microseconds=1)
_TOKEN = re.compile(r"^(-?\d{1,19}|)~([a-z][a-z0-9_]*)~(\d{1,19})~(\d{1,19})$")


FIRST_MESSAGE_FILE = 1 << 62
"""Files made of messages are numbered from here on, so that every row tells where it comes from."""


class FileSource(StrEnum):
    """Whether a sender sent the file, or a flush made it of messages."""

    FILE = "file"
    MESSAGE = "message"


class FileState(StrEnum):
    """Whether a file's rows are read; a superseded file stays on record."""

    LIVE = "live"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, kw_only=True)
class SegmentFile:
    """A Parquet file that was written whole and is in its place, but in no manifest yet.

    `filter` tells which persons are certainly not in it (see `filters`); there is none where there
    are no persons, or too many. `is_sorted` means by person, rows without one last.
    """

    path: Path
    rows: int
    bytes: int
    min_person: int | None
    max_person: int | None
    min_at: datetime | None
    max_at: datetime | None
    is_sorted: bool
    shape: tuple[tuple[str, str], ...]
    filter: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A live Parquet file as the manifest knows it; `path` is relative to the lake's folder.

    `rows` counts what is in the file. Rows of the files in `dropped` are superseded and must not be read, nor
    must those in `dropped_rows`, pairs of file and row: a later message took their place. Of these, a list of
    segments about persons names those about them alone.
    """

    id: int
    run: int
    dataset: str
    path: str
    rows: int
    bytes: int
    is_sorted: bool
    min_person: int | None
    max_person: int | None
    min_at: datetime | None
    max_at: datetime | None
    has_filter: bool
    dropped: tuple[int, ...]
    shape: tuple[tuple[str, str], ...]
    dropped_rows: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """A set of live segments that hold the same files' rows: how large, and how much of it is superseded."""

    id: int
    shape: tuple[tuple[str, str], ...]
    is_sorted: bool
    rows: int
    dead_rows: int


@dataclass(frozen=True, kw_only=True)
class LakeFile:
    """A file on record: whose, for what period, how many rows were accepted, and its state.

    One made of messages has rows of many institutions, which each row names; `institution` is empty, and
    `rows` are those that no later message has replaced.
    """

    id: int
    dataset: str
    institution: str
    period: Period | None
    rows: int
    state: FileState
    committed_at: datetime
    superseded_at: datetime | None
    source: FileSource = FileSource.FILE


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedRow:
    """A row that a message gave, to be put in the lake by the next flush.

    `key` names the resource that gives it (`Observation/17`): the row takes the place of the one that the
    same resource gave the same data set before. `values` None takes that one away. `at` is the event time,
    local and without zone; `message` is the number of the message.
    """

    dataset: str
    institution: str
    person: int | None
    at: datetime | None
    values: Mapping[str, Any] | None = field(repr=False)
    key: str
    message: int


@dataclass(frozen=True, kw_only=True)
class Staging:
    """How many staged rows wait for a flush, and when the first of them was staged."""

    rows: int
    since: datetime | None


@dataclass(frozen=True, kw_only=True)
class RowKey:
    """The place of a row in a person's list: newest first, undated last, ties by data set, file and row."""

    at: datetime | None
    dataset: str
    file: int
    row: int

    @property
    def order(self) -> tuple[bool, int, str, int, int]:
        """What ascending order puts newest first."""
        return (self.at is None, -_microseconds(self.at), self.dataset, -self.file, self.row)

    @property
    def token(self) -> str:
        """The key as one word for a link; `RowKey.parse` reads it back."""
        moment = "" if self.at is None else str(_microseconds(self.at))
        return f"{moment}~{self.dataset}~{self.file}~{self.row}"

    @classmethod
    def parse(cls, token: str) -> RowKey:
        """Return the key that `token` names.

        Raises:
            ValueError: it is no such token.
        """
        found = _TOKEN.match(token)
        if not found:
            raise ValueError("not a place in a list of rows")
        try:
            at = _EPOCH + int(found[1]) * _MICROSECOND if found[1] else None
        except OverflowError as error:
            raise ValueError("not a place in a list of rows") from error
        return cls(at=at, dataset=found[2], file=int(found[3]), row=int(found[4]))


@dataclass(frozen=True, kw_only=True)
class PersonRow:
    """One row about a person: where it comes from, when it happened, and its declared fields."""

    person: int
    dataset: str
    institution: str
    at: datetime | None
    file: int
    row: int
    values: Mapping[str, Any]

    @property
    def from_message(self) -> bool:
        """Whether a message gave the row; else a sender's file did."""
        return self.file >= FIRST_MESSAGE_FILE

    @property
    def key(self) -> RowKey:
        """The row's place in the list; pass it as `before` to get what comes after it."""
        return RowKey(at=self.at, dataset=self.dataset, file=self.file, row=self.row)


@dataclass(frozen=True, kw_only=True)
class PersonRows:
    """A page of a person's rows, newest first, and how many there are on all pages together.

    `next` is the key to pass as `before` for the following page, or `None` on the last.
    `datasets`, `institutions` and `years` count the rows that fit the filter, on whatever page; undated ones
    are in no year.
    """

    rows: tuple[PersonRow, ...]
    total: int
    datasets: Mapping[str, int]
    institutions: Mapping[str, int]
    years: Mapping[int, int]
    next: RowKey | None


@dataclass(frozen=True, kw_only=True)
class Compaction:
    """What a compaction did: runs merged or dropped, rows written, rows of superseded files left out."""

    busy: bool = False
    """Somebody else compacts this data set; nothing was done."""
    merges: int = 0
    runs: int = 0
    rows: int = 0
    dropped_rows: int = 0
    segments: int = 0


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep removed; `busy` when commits under way did not let it look, so it removed nothing."""

    busy: bool = False
    files: int = 0
    bytes: int = 0


def _microseconds(at: datetime | None) -> int:
    return 0 if at is None else (at - _EPOCH) // _MICROSECOND
