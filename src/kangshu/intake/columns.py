"""Type and check one column of a batch: ordinary cells all at once, every other cell by the definition.

What is ordinary is what arithmetic on whole arrays can settle for certain: plain digits, complete ISO or
compact dates, texts short enough. The cells that are left over, few in most files, are read one different
text at a time by `values`, which alone says what a cell means.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.declarations import Field, FieldType
from kangshu.intake.values import Value, read_value

CheckKind: TypeAlias = Literal[
    "required", "type", "length", "exact_length", "domain", "range", "pattern", "institution"
]
Rows: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_FAST_DIGITS = 18  # so many always fit 64 bits
_EXACT_DIGITS = 15  # of so many digits no two numbers share a double
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - without zone, as rows hold it
_FIRST_YEAR, _YEARS = 1800, 400  # of the dates that are read all at once


@dataclass(frozen=True, kw_only=True)
class ColumnPlan:
    """What is asked of the cells of one column: the `repeat`-th value of `field`.

    `members` are the codes that a complete code table allows; `marks` the cells that state "none";
    `allowed` the institutions that the sender reports for.
    """

    position: int
    field: Field
    repeat: int = 1
    required: bool = False
    marks: frozenset[str] = frozenset()
    members: frozenset[str] | None = None
    allowed: frozenset[str] | None = None
    pattern: re.Pattern[str] | None = None
    low: Decimal | None = None
    high: Decimal | None = None

    @property
    def kinds(self) -> tuple[CheckKind, ...]:
        """Everything that is asked of a cell."""
        field, text = self.field, self.field.type is FieldType.STRING
        asked: list[tuple[CheckKind, bool]] = [
            ("required", self.required),
            ("type", not text),
            ("exact_length", self._sized and field.exact_length),
            ("length", self._sized and not field.exact_length),
            ("domain", self.members is not None),
            ("range", self.low is not None or self.high is not None),
            ("pattern", self.pattern is not None),
            ("institution", self.allowed is not None),
        ]
        return tuple(kind for kind, wanted in asked if wanted)

    @property
    def _sized(self) -> bool:
        """A code table says more than a length; of numbers only whole ones have a length of their own."""
        by_type = self.field.type in (FieldType.STRING, FieldType.INTEGER)
        return by_type and self.field.length is not None and self.members is None

    def judge(self, text: str, value: Value | None) -> list[CheckKind]:
        """Return what the cell `text`, read as `value`, fails; for a text field `value` is the text."""
        if text in self.marks:
            return []
        if value is None:
            return ["type"]
        failed: list[tuple[CheckKind, bool]] = [
            (self._size_kind, self._sized and not self._fits(text, value)),
            ("domain", self.members is not None and str(value) not in self.members),
            ("range", not self._within(value)),
            ("pattern", self.pattern is not None and self.pattern.fullmatch(text) is None),
            ("institution", self.allowed is not None and text not in self.allowed),
        ]
        return [kind for kind, fault in failed if fault]

    @property
    def _size_kind(self) -> CheckKind:
        return "exact_length" if self.field.exact_length else "length"

    def _fits(self, text: str, value: Value) -> bool:
        size = len(text) if self.field.type is FieldType.STRING else len(str(abs(int(value))))  # type: ignore[arg-type]
        assert self.field.length is not None
        return size == self.field.length if self.field.exact_length else size <= self.field.length

    def _within(self, value: Value) -> bool:
        if not isinstance(value, int):
            return True
        return self.lowest <= value <= self.highest

    @cached_property
    def lowest(self) -> float:
        """The least value, in the units in which the column is held."""
        return float("-inf") if self.low is None else float(self.low.scaleb(self.scale))

    @cached_property
    def highest(self) -> float:
        """The greatest value, in the units in which the column is held."""
        return float("inf") if self.high is None else float(self.high.scaleb(self.scale))

    @property
    def scale(self) -> int:
        """The places after the point that are held."""
        return (self.field.scale or 0) if self.field.type is FieldType.DECIMAL else 0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The rows of a batch (by position, ascending) whose cell fails one check of a column."""

    kind: CheckKind
    rows: Rows
