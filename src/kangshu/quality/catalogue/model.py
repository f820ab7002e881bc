"""What the catalogue says of a data set and a column: declared, counted, fed and used; frozen and pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from kangshu.declarations import Dataset, Field
from kangshu.kernel.texts import Text


class Lane(StrEnum):
    """The way by which values come into a column."""

    FILE = "file"
    HL7V2 = "hl7v2"
    FHIR = "fhir"
    CDA = "cda"


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A place in what senders send that becomes the column: `OBX-5` in messages `ORU^*`.

    For files `place` is the heading, for documents the rule. `through` is the FHIR element on the way, empty
    for files.
    """

    lane: Lane
    place: str
    through: str = ""
    messages: tuple[str, ...] = ()


class UseKind(StrEnum):
    """What a column is used for."""

    KEY = "key"
    EVENT_TIME = "event-time"
    RULE = "rule"
    LOOK = "look"
    MEASURE = "measure"
    SCORING = "scoring"
    INDICATOR = "indicator"
    EMR = "emr"
    RECONCILIATION = "reconciliation"
    FHIR = "fhir"


@dataclass(frozen=True, kw_only=True)
class Use:
    """One use of a column: what uses it, under which id, and the data set that declares it (else empty)."""

    kind: UseKind
    id: str
    title: Text
    dataset: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the lake as it is declared, with what feeds it and what uses it."""

    dataset: Dataset = field(repr=False)
    field: Field
    feeds: tuple[Feed, ...] = ()
    uses: tuple[Use, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """The names of data set and column."""
        return self.dataset.name, self.field.name


@dataclass(frozen=True, kw_only=True)
class MonthFill:
    """A month's rows, and how many of them have a value."""

    month: date
    rows: int
    filled: int

    @property
    def rate(self) -> float | None:
        """The share of rows with a value; None without rows."""
        return self.filled / self.rows if self.rows else None


@dataclass(frozen=True, kw_only=True)
class ColumnFigures:
    """What the lake holds of a column.

    `different` is how many values differ, an estimate where not `is_exact`; None before the first look over
    the lake.
    `last_arrival` is when the last file came that had a value here.
    """

    rows: int = 0
    filled: int = 0
    different: int | None = None
    is_exact: bool = True
    last_arrival: datetime | None = None
    months: tuple[MonthFill, ...] = ()

    @property
    def rate(self) -> float | None:
        """The share of rows with a value; None without rows."""
        return self.filled / self.rows if self.rows else None


@dataclass(frozen=True, kw_only=True)
class DatasetFigures:
    """What the lake holds of a data set, and from whom.

    `message_rows` of the rows came in messages. `cells` are values that could be there (rows times columns),
    `filled` those that are. `refreshed_at` is when rows from messages and different values were last counted.
    """

    rows: int = 0
    message_rows: int = 0
    files: int = 0
    institutions: int = 0
    cells: int = 0
    filled: int = 0
    last_arrival: datetime | None = None
    refreshed_at: datetime | None = None
    months: tuple[MonthFill, ...] = ()

    @property
    def rate(self) -> float | None:
        """The share of possible values that are there; None without rows."""
        return self.filled / self.cells if self.cells else None


@dataclass(frozen=True, kw_only=True)
class Source:
    """What one institution gave of a data set, and of one column where it is asked about one."""

    institution: str
    files: int
    rows: int
    message_rows: int
    filled: int | None = None
    last_arrival: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that has rows here; `filled` of them have a value in the column."""

    file: int
    institution: str
    month: date
    rows: int
    filled: int
    received_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A column with its figures: what a search answers."""

    column: Column
    figures: ColumnFigures


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a refresh did to one data set; `skipped`: the lake holds what it held the last time."""

    dataset: str
    skipped: bool
    rows: int = 0
    message_rows: int = 0
    files_added: int = 0
    files_removed: int = 0
    columns: int = 0


EMPTY = ColumnFigures()
NOTHING: Mapping[str, ColumnFigures] = {}
