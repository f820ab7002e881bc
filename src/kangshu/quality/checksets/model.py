"""Check sets: kinds of checks declared once, the checks they make of their parameters, and the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from kangshu.declarations import Dimension
from kangshu.kernel.texts import Text


class Asks(StrEnum):
    """What a kind of check asks: about rows, or only whether a table or a field is there."""

    ROWS = "rows"
    TABLE_EXISTS = "table-exists"
    FIELD_EXISTS = "field-exists"


class Each(StrEnum):
    """For what a kind of check makes one check each, taken from the pack's data sets themselves."""

    TABLE = "table"
    FIELD = "field"
    REQUIRED_FIELD = "required-field"
    OPTIONAL_FIELD = "optional-field"
    INTEGER_FIELD = "integer-field"
    KEY_FIELD = "key-field"


class ParameterKind(StrEnum):
    """What may stand in a column of a parameter file, and how it is written into SQL."""

    TABLE = "table"
    FIELD = "field"
    NUMBER = "number"
    NUMBERS = "numbers"
    TEXT = "text"
    FLAG = "flag"
    """`yes` where the kind of check is for this row; it is not written into SQL."""
    SQL = "sql"


class State(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not-applicable"
    """There is nothing the check is about."""
    NOT_RUN = "not-run"
    """A table or field that it needs is missing."""


@dataclass(frozen=True, kw_only=True)
class CheckLook:
    """A look at another table: its rows whose expressions equal those of the row that is checked.

    `take` names aggregates over them; `rows`, their number, is always there, 0 where there are none. In the
    other SQL of the check they are `{name.rows}`, `{name.low}`.
    """

    name: str
    table: str
    on: tuple[tuple[str, str], ...]
    take: tuple[tuple[str, str], ...] = ()
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckKind:
    """A kind of check (检查类型): SQL with `{places}`, filled for each check from the pack or a file.

    `applies` is the predicate of the rows that count, all where it is empty; `violated` that of those among
    them that are wrong. What is NULL does not count and is not wrong. `counts` is what is counted instead of
    rows: the distinct values of an expression, no value being one of them. `over` is the table whose rows are
    checked where it is not the check's own. `threshold` is the share in per cent above which the check fails,
    `threshold_from` a column that tells it.
    """

    name: str
    title: Text
    message: Text
    level: str
    dimension: Dimension
    asks: Asks
    each: Each | None
    rows: str
    parameters: Mapping[str, ParameterKind]
    over: str
    applies: str
    violated: str
    counts: str
    looks: tuple[CheckLook, ...]
    threshold: float
    threshold_from: str
    path: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: its kind and what it is about; `parameters` are as declared, the SQL is finished."""

    kind: CheckKind
    table: str
    field: str
    parameters: Mapping[str, str]
    threshold: float
    over: str
    applies: str = ""
    violated: str = ""
    counts: str = ""
    looks: tuple[CheckLook, ...] = ()
    path: str = ""
    line: int = 0

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.kind.name

    @property
    def about(self) -> str:
        """Table, field and what else tells the check from others of its kind."""
        rest = ", ".join(value for value in self.parameters.values() if value)
        place = f"{self.table}.{self.field}" if self.field else self.table
        return f"{place} ({rest})" if rest else place


@dataclass(frozen=True, kw_only=True)
class CheckSet:
    """A check set (检查集) over a folder of tables."""

    name: str
    title: Text
    edition: str
    source: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class CheckAnswer:
    """What a check found: `violated` of `denominator` rows (or values, or things that should be there)."""

    check: Check
    violated: int
    denominator: int
    state: State

    @property
    def share(self) -> float | None:
        """The share that is wrong, 0 to 1; None where nothing counts."""
        return self.violated / self.denominator if self.denominator else None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All answers, in the order of the declarations, with what the run read and needed."""

    checkset: CheckSet
    answers: tuple[CheckAnswer, ...]
    rows: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rows of each table that is there."""
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    """Seconds that the checks of each table took."""
    unknown: Sequence[str] = ()
    """Files of the folder that no data set of the pack is about."""

    def count(self, state: State) -> int:
        """Return how many checks ended so."""
        return sum(answer.state is state for answer in self.answers)
