"""What may be said of two records: said once, asked of two tables in SQL and of two profiles in Python.

Both give the same answer for the same values, for a nightly batch and a message must decide alike. So the
words are few, each column holds ready-made values, an empty text is None, and nothing here is ever NULL: what
cannot be compared does not hold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from rapidfuzz.distance import DamerauLevenshtein, JaroWinkler

Value = str | int | None
Profile = Mapping[str, Value]
"""What is compared of one record: its columns by name; None is unknown, and so is a column that lacks."""


class Condition(ABC):
    """Holds of two records or does not, and says the same in SQL and in Python; symmetric."""

    @abstractmethod
    def sql(self, one: str, other: str) -> str:
        """Return the condition on rows of the tables with these aliases, in DuckDB's dialect; never NULL."""

    @abstractmethod
    def holds(self, one: Profile, other: Profile) -> bool:
        """Whether the condition holds of the two."""

    @property
    @abstractmethod
    def columns(self) -> frozenset[str]:
        """The columns that it looks at."""


@dataclass(frozen=True, kw_only=True)
class Known(Condition):
    """Both tell the column."""

    column: str

    def sql(self, one: str, other: str) -> str:
        """Return the condition in SQL."""
        return f"({one}.{self.column} IS NOT NULL AND {other}.{self.column} IS NOT NULL)"

    def holds(self, one: Profile, other: Profile) -> bool:
        """Whether both tell it."""
        return one.get(self.column) is not None and other.get(self.column) is not None

    @property
    def columns(self) -> frozenset[str]:
        """The one column."""
        return frozenset({self.column})


@dataclass(frozen=True, kw_only=True)
class Equal(Condition):
    """Both tell the same; with `across`, one's `column` is the other's `across` (either way round)."""

    column: str
    across: str | None = None

    def sql(self, one: str, other: str) -> str:
        """Return the condition in SQL."""
        if self.across is None:
            return f"coalesce({one}.{self.column} = {other}.{self.column}, false)"
        return (
            f"(coalesce({one}.{self.column} = {other}.{self.across}, false)"
            f" OR coalesce({one}.{self.across} = {other}.{self.column}, false))"
        )

    def holds(self, one: Profile, other: Profile) -> bool:
        """Whether both tell the same."""
        mine, theirs = one.get(self.column), other.get(self.column)
        if self.across is None:
            return mine is not None and mine == theirs
        my_other, their_other = one.get(self.across), other.get(self.across)
        return (mine is not None and mine == their_other) or (my_other is not None and my_other == theirs)

    @property
    def columns(self) -> frozenset[str]:
        """The one or two columns."""
        return frozenset({self.column} | ({self.across} if self.across else set()))


@dataclass(frozen=True, kw_only=True)
class Edits(Condition):
    """The texts differ by at most `most` letters put in, left out, exchanged or swapped with the next one.

    For columns of ASCII alone: DuckDB counts bytes.
    """

    column: str
    most: int

    def sql(self, one: str, other: str) -> str:
        """Return the condition in SQL."""
        distance = f"damerau_levenshtein({one}.{self.column}, {other}.{self.column})"
        return f"coalesce({distance} <= {self.most}, false)"

    def holds(self, one: Profile, other: Profile) -> bool:
        """Whether the texts are so near."""
        mine, theirs = one.get(self.column), other.get(self.column)
        if mine is None or theirs is None:
            return False
        return DamerauLevenshtein.distance(str(mine), str(theirs), score_cutoff=self.most) <= self.most

    @property
    def columns(self) -> frozenset[str]:
        """The one column."""
        return frozenset({self.column})


@dataclass(frozen=True, kw_only=True)
class Alike(Condition):
    """The texts have at least this Jaro-Winkler similarity (0 to 1); for columns of ASCII alone."""

    column: str
    least: float

    def sql(self, one: str, other: str) -> str:
        """Return the condition in SQL."""
        likeness = f"jaro_winkler_similarity({one}.{self.column}, {other}.{self.column})"
        return f"coalesce({likeness} >= {self.least}, false)"

    def holds(self, one: Profile, other: Profile) -> bool:
        """Whether the texts are so alike."""
        mine, theirs = one.get(self.column), other.get(self.column)
        if mine is None or theirs is None:
            return False
        return JaroWinkler.similarity(str(mine), str(theirs)) >= self.least

    @property
    def columns(self) -> frozenset[str]:
        """The one column."""
        return frozenset({self.column})


@dataclass(frozen=True, kw_only=True)
class Near(Condition):
    """The numbers (a date is its days since 1970) differ by at most `most`."""

    column: str
    most: int

    def sql(self, one: str, other: str) -> str:
        """Return the condition in SQL."""
        return f"coalesce(abs({one}.{self.column} - {other}.{self.column}) <= {self.most}, false)"

    def holds(self, one: Profile, other: Profile) -> bool:
        """Whether the numbers are so near."""
        mine, theirs = one.get(self.column), other.get(self.column)
        return isinstance(mine, int) and isinstance(theirs, int) and abs(mine - theirs) <= self.most

    @property
    def columns(self) -> frozenset[str]:
        """The one column."""
        return frozenset({self.column})


@dataclass(frozen=True, kw_only=True)
class Either(Condition):
    """One of the two records (or both) tells this value in the column."""

    column: str
    value: str | int

    def sql(self, one: str, other: str) -> str:
        """Return the condition in SQL; the value is of a declaration, not of a record."""
        text = str(self.value) if isinstance(self.value, int) else "'" + self.value.replace("'", "''") + "'"
        return (
            f"(coalesce({one}.{self.column} = {text}, false)"
            f" OR coalesce({other}.{self.column} = {text}, false))"
        )

    def holds(self, one: Profile, other: Profile) -> bool:
        """Whether one of them tells it."""
        return self.value in (one.get(self.column), other.get(self.column))

    @property
    def columns(self) -> frozenset[str]:
        """The one column."""
        return frozenset({self.column})


@dataclass(frozen=True, kw_only=True)
class All(Condition):
    """All of them hold."""

    of: tuple[Condition, ...]

    def sql(self, one: str, other: str) -> str:
        """Return the condition in SQL."""
        return "(" + " AND ".join(part.sql(one, other) for part in self.of) + ")"

    def holds(self, one: Profile, other: Profile) -> bool:
        """Whether all hold."""
        return all(part.holds(one, other) for part in self.of)

    @property
    def columns(self) -> frozenset[str]:
        """The columns of all."""
        return frozenset().union(*(part.columns for part in self.of))


@dataclass(frozen=True, kw_only=True)
class Any(Condition):
    """At least one of them holds."""

    of: tuple[Condition, ...]

    def sql(self, one: str, other: str) -> str:
        """Return the condition in SQL."""
        return "(" + " OR ".join(part.sql(one, other) for part in self.of) + ")"

    def holds(self, one: Profile, other: Profile) -> bool:
        """Whether one holds."""
        return any(part.holds(one, other) for part in self.of)

    @property
    def columns(self) -> frozenset[str]:
        """The columns of all."""
        return frozenset().union(*(part.columns for part in self.of))


@dataclass(frozen=True, kw_only=True)
class Not(Condition):
    """The other does not hold; also where it cannot be compared, so ask `Known` beside it."""

    of: Condition

    def sql(self, one: str, other: str) -> str:
        """Return the condition in SQL."""
        return f"(NOT {self.of.sql(one, other)})"

    def holds(self, one: Profile, other: Profile) -> bool:
        """Whether it does not hold."""
        return not self.of.holds(one, other)

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the other."""
        return self.of.columns
