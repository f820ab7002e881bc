"""Two figures held against each other: how far apart they are, and whether that is tolerable; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from math import isfinite

from kangshu.declarations import Reconciliation
from kangshu.lake import FIRST_MESSAGE_FILE

MESSAGES = FIRST_MESSAGE_FILE
"""Stands for all files made of messages: their numbers begin here."""


class Side(StrEnum):
    """One of the two figures."""

    LEFT = "left"
    RIGHT = "right"

    @property
    def other(self) -> Side:
        """The figure on the other side."""
        return Side.RIGHT if self is Side.LEFT else Side.LEFT


class State(StrEnum):
    """How two figures stand to each other."""

    WITHIN = "within"
    OVER = "over"
    LEFT_MISSING = "left-missing"
    RIGHT_MISSING = "right-missing"
    BOTH_MISSING = "both-missing"

    @property
    def differs(self) -> bool:
        """Whether somebody has to look into it."""
        return self is not State.WITHIN


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Both figures of one pair for an institution and month (its first day).

    A figure is None where the side has no rows, or rows that give no figure. `allowed` is how far the two may
    differ. `left_files` and `right_files` are the files whose rows were counted; `MESSAGES` stands for those
    made of messages.
    """

    id: str
    institution: str
    month: date
    left: float | None
    right: float | None
    allowed: float
    state: State
    left_rows: int = 0
    right_rows: int = 0
    left_files: tuple[int, ...] = ()
    right_files: tuple[int, ...] = ()
    computed_at: datetime | None = None

    @property
    def within(self) -> bool:
        """Whether the figures agree within tolerance."""
        return self.state is State.WITHIN

    @property
    def difference(self) -> float | None:
        """How much the left figure exceeds the right one; None where one is missing."""
        return None if self.left is None or self.right is None else self.left - self.right

    @property
    def share(self) -> float | None:
        """The difference as a share of the right figure; None where that is missing or 0."""
        return self.difference / abs(self.right) if self.difference is not None and self.right else None

    @property
    def rank(self) -> tuple[bool, bool, float, float]:
        """What ascending order puts worst first: missing, then far apart, then the rest."""
        apart = abs(self.share) if self.share is not None else float(bool(self.difference))
        size = max(abs(self.left or 0.0), abs(self.right or 0.0))
        return (self.difference is not None, not self.state.differs, -apart, -size)


class Partner(StrEnum):
    """What a row finds on the other side by the declared key."""

    SAME = "same"  # rows of the key in the same month, and the key's figures are equal
    UNEQUAL = "unequal"  # rows of the key in the same month, but the key's figures differ
    ELSEWHERE = "elsewhere"  # rows of the key in a month near by
    NONE = "none"
    UNKNOWN = "unknown"  # the pair declares no key


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """How many of a side's rows one file gave, by what they find on the other side."""

    file: int
    rows: int
    partners: Mapping[Partner, int]

    @property
    def from_messages(self) -> bool:
        """Whether these are rows from messages, of whatever file."""
        return self.file >= MESSAGES


@dataclass(frozen=True, kw_only=True)
class RowPlace:
    """Where a row lies, and what it finds on the other side; never what it holds."""

    file: int
    row: int
    partner: Partner


@dataclass(frozen=True, kw_only=True)
class SideRows:
    """The rows behind one figure: counts by partner and file over all, and one page of places.

    `next` is what to pass as `after` to get the following page; None on the last.
    """

    side: Side
    rows: int
    partners: Mapping[Partner, int]
    files: tuple[FileRows, ...]
    places: tuple[RowPlace, ...] = field(repr=False, default=())
    next: tuple[int, int] | None = None


def weigh(reconciliation: Reconciliation, *, left: float | None, right: float | None) -> tuple[State, float]:
    """Return how two figures stand to each other, and how far they may differ.

    The tolerance is the wider of the absolute one and the relative one, which is a share of the right figure
    (the one the left is held against). A side without rows agrees with an explicit 0 of the other.

    >>> from kangshu.declarations import ReconciliationSide
    >>> from kangshu.kernel.texts import Text
    >>> side = ReconciliationSide(dataset="d", title=Text(zh="数", en="figure"), value="count(*)")
    >>> pair = Reconciliation(id="R", title=side.title, left=side, right=side, relative=0.29)
    >>> weigh(pair, left=71.0, right=100.0), weigh(pair, left=None, right=7.0)[0].value
    ((<State.WITHIN: 'within'>, 29.0), 'left-missing')
    """
    if left is None or right is None:
        return _missing(left, right), float(reconciliation.absolute)
    # In decimals: 0.29 of 100 in binary fractions is a little less than 29.
    one, other = Decimal(repr(left)), Decimal(repr(right))
    allowed = max(
        Decimal(repr(float(reconciliation.absolute))),
        Decimal(repr(float(reconciliation.relative))) * abs(other),
    )
    return (State.WITHIN if abs(one - other) <= allowed else State.OVER), float(allowed)


def finite(figure: float | None) -> float | None:
    """Return a figure, or None for one that is no number (0 / 0)."""
    return figure if figure is not None and isfinite(figure) else None


def _missing(left: float | None, right: float | None) -> State:
    if left is None and right is None:
        return State.BOTH_MISSING
    if left is None:
        return State.LEFT_MISSING if right else State.WITHIN
    return State.RIGHT_MISSING if left else State.WITHIN
