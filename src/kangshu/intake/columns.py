"""Type and check one column of a batch: ordinary cells all at once, every other cell by the definition.

What is ordinary is what arithmetic on whole arrays can settle for certain: plain digits, complete ISO or
compact dates, texts that are short enough. The cells left over, few in most files, are judged one
different text at a time by `ColumnPlan.judge`, which alone says what a cell means and what it fails.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
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
Numbers: TypeAlias = npt.NDArray[np.int64]

_MOST_DIGITS = 18  # so many always fit 64 bits
_EXACT_DIGITS = 15  # of so many digits no two numbers share a double
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - without zone, as rows hold it
_MICROSECOND = _EPOCH.resolution


@dataclass(frozen=True, kw_only=True)
class ColumnPlan:
    """What is asked of the column at `position`: the `repeat`-th value of `field`.

    `marks` are cells that state "none": they are never wrong. `size` counts the characters of a text or the
    digits of a whole number. `members` are the codes of a complete code table, `allowed` the institutions
    that the sender reports for. `lowest` and `highest` are in the units in which the column is held.
    """

    position: int
    field: Field
    kind: pa.DataType
    repeat: int = 1
    required: bool = False
    marks: frozenset[str] = frozenset()
    size: int | None = None
    exact: bool = False
    members: frozenset[str] | None = None
    allowed: frozenset[str] | None = None
    pattern: re.Pattern[str] | None = None
    lowest: int | None = None
    highest: int | None = None

    @property
    def is_text(self) -> bool:
        """Whether the cells stay as they are."""
        return self.field.type is FieldType.STRING

    def judge(self, text: str) -> tuple[Value | None, list[CheckKind]]:
        """Return the value of a cell that is not a text field's, and every check that the cell fails."""
        if text in self.marks:
            return None, []
        value = None if self.is_text else read_value(text, self.field)
        if value is None and not self.is_text:
            return None, ["type"]
        return value, [kind for kind, holds in self._answers(text, value) if not holds]

    def _answers(self, text: str, value: Value | None) -> Iterable[tuple[CheckKind, bool]]:
        if self.size is not None:
            size = len(text if value is None else str(abs(int(value))))  # type: ignore[arg-type]
            yield ("exact_length", size == self.size) if self.exact else ("length", size <= self.size)
        if self.members is not None:
            yield "domain", (text if value is None else str(value)) in self.members
        if self.lowest is not None or self.highest is not None:
            yield "range", self._is_within(value)
        if self.pattern is not None:
            yield "pattern", self.pattern.fullmatch(text) is not None
        if self.allowed is not None:
            yield "institution", text in self.allowed

    def _is_within(self, value: Value | None) -> bool:
        assert isinstance(value, int), "bounds are planned for numbers only"
        return (self.lowest is None or value >= self.lowest) and (
            self.highest is None or value <= self.highest
        )


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The rows of a batch, by position and ascending, whose cell fails one check of a column."""

    kind: CheckKind
    rows: Rows


def check_column(plan: ColumnPlan, column: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, list[Fault]]:
    """Return the typed column and its faults; a cell that is none of its type's is null."""
    array = one_array(column)
    faults: list[Fault] = []
    if plan.required and array.null_count:
        faults.append(Fault(kind="required", rows=np.flatnonzero(~is_valid(array))))
    if array.null_count == len(array):
        return pa.nulls(len(array), plan.kind), faults
    if plan.is_text:
        return array, faults + _check_text(plan, array)
    typed, wrong = _read_column(plan, array)
    return typed, faults + wrong


def build_lists(columns: Mapping[int, pa.Array], kind: pa.DataType) -> pa.Array:
    """Return the values of a repeated field as lists; `columns` are its typed columns by repeat, from 1.

    A value stands in the place of its repeat, so that the n-th of one field belongs to the n-th of another;
    gaps are null and nothing follows the last value. A row without a value holds no list.
    """
    rows = len(next(iter(columns.values())))
    last = np.zeros(rows, np.int32)
    used = [repeat for repeat in sorted(columns) if columns[repeat].null_count < rows]
    for repeat in used:
        last[is_valid(columns[repeat])] = repeat
    if not used:
        return pa.nulls(rows, pa.list_(kind))
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(last, out=offsets[1:])
    row = np.repeat(np.arange(rows), last)
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], last)
    # The columns lie one behind the other, those without a value share one that has none.
    start = np.full(used[-1], len(used) * rows)
    start[np.array(used) - 1] = np.arange(len(used)) * rows
    laid = pa.concat_arrays([*(columns[repeat] for repeat in used), pa.nulls(rows, kind)])
    values = laid.take(pa.array(start[place] + row))
    none = last == 0
    return pa.ListArray.from_arrays(
        pa.array(offsets), values, type=pa.list_(kind), mask=pa.array(none) if none.any() else None
    )


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def is_valid(array: pa.Array) -> Mask:
    """Return which values are not null."""
    if not array.null_count:
        return np.ones(len(array), bool)
    return array.is_valid().to_numpy(zero_copy_only=False)


def positions_of(codes: npt.NDArray[np.int32], chosen: Sequence[int] | Rows, count: int) -> Rows:
    """Return where `codes`, which are below `count` (or `count` itself for none), are one of `chosen`."""
    wanted = np.zeros(count + 1, bool)
    wanted[chosen] = True
    return np.flatnonzero(wanted[codes])


# Texts


def _check_text(plan: ColumnPlan, array: pa.Array) -> list[Fault]:
    if plan.members is not None or plan.pattern is not None or plan.allowed is not None:
        return _faults_among(plan, array, rows=None)
    if plan.size is None:
        return []
    rows = _rows_of_other_size(array, plan.size) if plan.exact else _rows_over_size(array, plan.size)
    return _faults_among(plan, array.take(pa.array(rows)), rows=rows) if len(rows) else []


def _rows_over_size(array: pa.Array, size: int) -> Rows:
    """A text of few bytes has few characters; only the others are counted."""
    lengths = _byte_lengths(array)
    return np.flatnonzero(lengths > size) if lengths.max() > size else np.empty(0, np.int64)


def _rows_of_other_size(array: pa.Array, size: int) -> Rows:
    """Return at least the rows whose texts have not `size` characters."""
    starts = _starts(array)
    if (_bytes(array)[starts[0] : starts[-1]] >= 0x80).any():
        return np.flatnonzero(is_valid(array))
    return np.flatnonzero((np.diff(starts) != size) & is_valid(array))


def _faults_among(plan: ColumnPlan, texts: pa.Array, *, rows: Rows | None) -> list[Fault]:
    """Judge each different text; `rows` are the positions of `texts`, None where they are the whole batch."""
    faulty: dict[CheckKind, list[str]] = {}
    for text in pc.unique(texts).to_pylist():
        if text is not None:
            for kind in plan.judge(text)[1]:
                faulty.setdefault(kind, []).append(text)
    faults: list[Fault] = []
    for kind, members in faulty.items():
        hits = np.flatnonzero(pc.is_in(texts, pa.array(members, pa.string())).to_numpy(zero_copy_only=False))
        faults.append(Fault(kind=kind, rows=hits if rows is None else rows[hits]))
    return faults


# Everything else


def _read_column(plan: ColumnPlan, array: pa.Array) -> tuple[pa.Array, list[Fault]]:
    kind = plan.field.type
    if kind is FieldType.BOOLEAN or plan.members is not None or plan.pattern is not None or _is_wide(plan):
        return _read_by_text(plan, array)
    if kind in (FieldType.DATE, FieldType.DATETIME):
        numbers, sure = _read_moments(array, _DATES if kind is FieldType.DATE else _MOMENTS)
        numbers = numbers // 86_400 if kind is FieldType.DATE else numbers * 1_000_000
    else:
        scale = plan.field.scale or 0
        numbers, sure = _read_scaled(array, scale) if kind is FieldType.DECIMAL else _read_whole(array)
        lowest, highest = _bounds(plan)
        sure &= (numbers >= lowest) & (numbers <= highest)
    faults: list[Fault] = []
    rows = np.flatnonzero(is_valid(array) & ~sure)
    if len(rows):
        faults = _read_rest(plan, array, rows, numbers, sure)
    return _array_of(plan.kind, numbers, sure), faults


def _read_by_text(plan: ColumnPlan, array: pa.Array) -> tuple[pa.Array, list[Fault]]:
    """Judge each different text of a column and give its value to every cell that has it."""
    encoded = array.dictionary_encode()
    values, faulty = _judge_all(plan, encoded.dictionary.to_pylist())
    typed = pa.array([_as_python(plan, value) for value in values], plan.kind).take(encoded.indices)
    codes = encoded.indices.fill_null(len(values)).to_numpy()
    return typed, _spread(faulty, codes, count=len(values), rows=None)


def _read_rest(plan: ColumnPlan, array: pa.Array, rows: Rows, numbers: Numbers, sure: Mask) -> list[Fault]:
    """Read the cells at `rows` by the definition into `numbers` and `sure`; return their faults."""
    encoded = array.take(pa.array(rows)).dictionary_encode()
    values, faulty = _judge_all(plan, encoded.dictionary.to_pylist())
    codes = encoded.indices.to_numpy()
    held = np.array([0 if value is None else _as_number(value) for value in values], np.int64)
    numbers[rows] = held[codes]
    sure[rows] = np.array([value is not None for value in values])[codes]
    return _spread(faulty, codes, count=len(values), rows=rows)


def _judge_all(
    plan: ColumnPlan, texts: Sequence[str]
) -> tuple[list[Value | None], dict[CheckKind, list[int]]]:
    """Return the value of each text, and for each check the positions of the texts that fail it."""
    values: list[Value | None] = []
    faulty: dict[CheckKind, list[int]] = {}
    for position, text in enumerate(texts):
        value, failed = plan.judge(text)
        # What has too many digits has no room in the lake either.
        values.append(None if "length" in failed else value)
        for kind in failed:
            faulty.setdefault(kind, []).append(position)
    return values, faulty


def _spread(
    faulty: Mapping[CheckKind, list[int]], codes: npt.NDArray[np.int32], *, count: int, rows: Rows | None
) -> list[Fault]:
    """Return the faults of the cells whose texts, of which there are `count`, are faulty."""
    faults: list[Fault] = []
    for kind, chosen in faulty.items():
        hits = positions_of(codes, chosen, count)
        faults.append(Fault(kind=kind, rows=hits if rows is None else rows[hits]))
    return faults


def _as_python(plan: ColumnPlan, value: Value | None) -> Value | Decimal | None:
    if value is None or plan.field.type is not FieldType.DECIMAL:
        return value
    digits = tuple(int(digit) for digit in str(abs(int(value))))  # type: ignore[arg-type]
    return Decimal((int(int(value) < 0), digits, -(plan.field.scale or 0)))  # type: ignore[arg-type]


def _as_number(value: Value) -> int:
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MICROSECOND
    if isinstance(value, date):
        return value.toordinal() - _EPOCH_DAY
    return int(value)


def _array_of(kind: pa.DataType, numbers: Numbers, sure: Mask) -> pa.Array:
    """Return numbers as a column of `kind`, null where they are not sure."""
    bits = None if sure.all() else pa.py_buffer(np.packbits(sure, bitorder="little"))
    if pa.types.is_decimal(kind):
        held = np.empty((len(numbers), 2), np.int64)
        held[:, 0] = numbers
        np.right_shift(numbers, 63, out=held[:, 1])  # the sign, as the upper half of 128 bits
    else:
        held = numbers.astype(np.int32) if kind == pa.date32() else numbers
    return pa.Array.from_buffers(kind, len(numbers), [bits, pa.py_buffer(held)])


def _is_wide(plan: ColumnPlan) -> bool:
    """Whether a decimal may have more digits than a 64-bit number."""
    return plan.field.type is FieldType.DECIMAL and (plan.field.length or 0) > _MOST_DIGITS


def _bounds(plan: ColumnPlan) -> tuple[int, int]:
    """Return between which numbers, in the column's units, nothing but the form of a cell can be wrong."""
    digits = plan.field.length if plan.field.type is FieldType.DECIMAL else plan.size
    room = 10 ** min(digits or _MOST_DIGITS, _MOST_DIGITS) - 1
    lowest = -room if plan.lowest is None else max(-room, plan.lowest)
    return lowest, room if plan.highest is None else min(room, plan.highest)


# Numbers


def _read_whole(array: pa.Array) -> tuple[Numbers, Mask]:
    """Return the whole numbers among the cells, and which cells are surely one: up to 18 digits, no sign."""
    sure = _only_of(array, b"0123456789", longest=_MOST_DIGITS)
    return _numbers_of(_only(array, sure).cast(pa.int64()), np.int64), sure


def _read_scaled(array: pa.Array, scale: int) -> tuple[Numbers, Mask]:
    """Return numbers in units of 10^-scale, and which cells are surely one that needs no rounding.

    Fifteen digits pass through a double unharmed: where the rounded units, divided again, give the very
    same double, the cell's number is theirs.
    """
    sure = _only_of(array, b"0123456789.", longest=_EXACT_DIGITS)
    try:
        read = _only(array, sure).cast(pa.float64())
    except pa.ArrowInvalid:
        sure &= _looks_like_number(array)
        read = _only(array, sure).cast(pa.float64())
    doubles, factor = np.where(sure, _numbers_of(read, np.float64), 0.0), 10.0**scale
    units = np.rint(doubles * factor)
    sure &= (units / factor == doubles) & (units < 10.0**_EXACT_DIGITS)
    return units.astype(np.int64), sure


def _looks_like_number(array: pa.Array) -> Mask:
    hits = pc.match_substring_regex(array, pattern=r"^[0-9]+(\.[0-9]+)?$")
    return hits.fill_null(False).to_numpy(zero_copy_only=False)


def _only_of(array: pa.Array, ordinary: bytes, *, longest: int) -> Mask:
    """Return which cells have nothing but bytes of `ordinary` in them, and not more than `longest`."""
    starts, data = _starts(array), _bytes(array)
    sure = is_valid(array)
    lengths = np.diff(starts)
    if lengths.max() > longest:
        sure &= lengths <= longest
    text = data[starts[0] : starts[-1]]
    if text.tobytes().translate(None, ordinary):
        strange = np.ones(256, bool)
        strange[list(ordinary)] = False
        places = np.flatnonzero(strange[text]) + starts[0]
        sure[np.searchsorted(starts, places, side="right") - 1] = False
    return sure


def _only(array: pa.Array, wanted: Mask) -> pa.Array:
    """Return the texts with nulls in place of those that are not wanted."""
    bits = pa.py_buffer(np.packbits(wanted, bitorder="little"))
    offsets = pa.py_buffer(_starts(array))
    return pa.Array.from_buffers(pa.string(), len(array), [bits, offsets, array.buffers()[2]])


def _numbers_of(array: pa.Array, kind: type[np.int64] | type[np.float64]) -> np.ndarray:
    """Return the values of a column without regard to nulls, whose numbers mean nothing."""
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * 8).copy()


# Days and times


@dataclass(frozen=True)
class _Form:
    """How a moment of one length is written: Y M D h m s are digits, `-` is one of - / . (the same twice),
    a blank may be a T, and the colon is one.
    """

    text: str

    def digits(self, letter: str) -> list[int]:
        return [place for place, one in enumerate(self.text) if one == letter]


_DATES = (_Form("YYYY-MM-DD"), _Form("YYYYMMDD"))
_MOMENTS = (
    _Form("YYYY-MM-DD hh:mm:ss"),
    _Form("YYYY-MM-DD hh:mm"),
    _Form("YYYYMMDDhhmmss"),
    _Form("YYYYMMDD hh:mm:ss"),
    *_DATES,
)
_LONGEST_FORM = max(len(form.text) for form in _MOMENTS)
_FIRST_YEAR, _LAST_YEAR = 1800, 2199  # what is read all at once
_MONTHS = np.arange(f"{_FIRST_YEAR}-01", f"{_LAST_YEAR + 1}-02", dtype="datetime64[M]")
_MONTH_FIRSTS = _MONTHS.astype("datetime64[D]").astype(np.int64)  # days since 1970
_MONTH_DAYS = np.diff(_MONTH_FIRSTS)


def _read_moments(array: pa.Array, forms: Sequence[_Form]) -> tuple[Numbers, Mask]:
    """Return the seconds since 1970 of the cells, and which cells are surely a moment in one of `forms`."""
    seconds, sure = np.zeros(len(array), np.int64), np.zeros(len(array), bool)
    lengths = _byte_lengths(array)
    if array.null_count:
        lengths = np.where(is_valid(array), lengths, 0)
    cells = np.bincount(np.minimum(lengths, _LONGEST_FORM + 1), minlength=_LONGEST_FORM + 1)
    for form in forms:
        if count := cells[length := len(form.text)]:
            rows = slice(None) if count == len(array) else np.flatnonzero(lengths == length)
            seconds[rows], sure[rows] = _read_form(_grid(array, rows, length), form)
    return seconds, sure


def _grid(array: pa.Array, rows: slice | Rows, length: int) -> npt.NDArray[np.uint8]:
    """Return the cells at `rows`, all of `length` bytes, as one row for each place in the text."""
    chosen = array if isinstance(rows, slice) else array.take(pa.array(rows))
    starts = _starts(chosen)
    return np.ascontiguousarray(_bytes(chosen)[starts[0] : starts[-1]].reshape(len(chosen), length).T)


def _read_form(grid: npt.NDArray[np.uint8], form: _Form) -> tuple[Numbers, Mask]:
    digits = grid - np.uint8(ord("0"))  # anything else than a digit becomes ten or more
    places = [place for letter in "YMDhms" for place in form.digits(letter)]
    sure = digits[places].max(axis=0) <= 9
    year, month, day = (_number(digits, form.digits(letter)) for letter in "YMD")
    index = (year - _FIRST_YEAR) * 12 + month - 1
    sure &= (month >= 1) & (month <= 12) & (index >= 0) & (index < len(_MONTH_DAYS))
    index = np.where(sure, index, 0)
    sure &= (day >= 1) & (day <= _MONTH_DAYS[index]) & _separated(grid, form)
    seconds = (_MONTH_FIRSTS[index] + day - 1) * 86_400
    for letter, most, worth in (("h", 23, 3600), ("m", 59, 60), ("s", 59, 1)):
        if places := form.digits(letter):
            number = _number(digits, places)
            sure &= number <= most
            seconds += number * worth
    return seconds, sure


def _number(digits: npt.NDArray[np.uint8], places: Sequence[int]) -> npt.NDArray[np.int32]:
    number = digits[places[0]].astype(np.int32)
    for place in places[1:]:
        number = number * 10 + digits[place]
    return number


def _separated(grid: npt.NDArray[np.uint8], form: _Form) -> Mask:
    """Return which cells have the form's separators in its places."""
    holds = np.ones(grid.shape[1], bool)
    if dashes := form.digits("-"):
        first, second = grid[dashes[0]], grid[dashes[1]]
        holds &= (first == second) & ((first - np.uint8(ord("-"))) <= 2)  # - . / follow one another
    for place in form.digits(" "):
        holds &= (grid[place] == ord(" ")) | (grid[place] == ord("T"))
    for place in form.digits(":"):
        holds &= grid[place] == ord(":")
    return holds


# What lies in a column of text


def _starts(array: pa.Array) -> npt.NDArray[np.int32]:
    """Return where each text begins, and behind them the end of the last."""
    return np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)


def _byte_lengths(array: pa.Array) -> npt.NDArray[np.int32]:
    return np.diff(_starts(array))


def _bytes(array: pa.Array) -> npt.NDArray[np.uint8]:
    data = array.buffers()[2]
    return np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
