"""Make whole months of an institution wrong in blocks, as planned, and keep a record of each.

Blocks stay coherent: with a visit goes all that hangs on it, whichever data set and process it is in. Who is
chosen follows from the visits' own numbers, so that all of them choose alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from kangshu.simulation.anomalies import DATASETS, Anomaly, AnomalyKind, Part
from kangshu.simulation.blocks import Block
from kangshu.simulation.columns import as_text, joined, one_array, pc, replaced
from kangshu.simulation.laboratory import stay_numbers
from kangshu.simulation.stays import Stays
from kangshu.simulation.streams import Flags, Ints, mixed, stream
from kangshu.simulation.visits import DAY, month_days

_SENT_DAYS = 10  # of a month that is dropped
_REPEATED_SHARE = 50  # of 100 visits or reports
_ROUNDED_SHARE = 0.85
_DEAD_SHARE = 0.6
_PRICE = 10
_REPEATED_MARK, _COPIED_MARK = "9", "8"  # behind the letter of a number: no number of ours has them there
_POSITIVE, _NEGATIVE = "阳性(1+)", "阴性"

_NUMBERS = {
    "outpatient_visit": ("visit_number",),
    "diagnosis": ("diagnosis_number", "visit_number"),
    "prescription_item": ("prescription_number", "visit_number"),
    "charge_item": ("charge_number", "visit_number"),
    "lab_report": ("report_number", "visit_number"),
    "lab_result": ("report_number", "visit_number"),
    "exam_report": ("report_number", "visit_number"),
}
_MOMENTS = frozenset(
    {
        "visited_at",
        "diagnosed_at",
        "prescribed_at",
        "charged_at",
        "collected_at",
        "reported_at",
        "examined_at",
    }
)
_WITH_VISITING_DOCTOR = frozenset({"outpatient_visit", "diagnosis", "prescription_item"})
_WHAT = {
    AnomalyKind.DROP: "days 1 to 10 only",
    AnomalyKind.MISSING: "nothing sent",
    AnomalyKind.REPEATED: "rows sent again under other numbers",
    AnomalyKind.COPIED: "rows of the month before, dates moved",
    AnomalyKind.ROUNDED: "values rounded to 0 and 5",
    AnomalyKind.ALL_POSITIVE: "qualitative results turned positive",
    AnomalyKind.DEATHS: "discharged home, told as died",
    AnomalyKind.ONE_DOCTOR: "one doctor's name",
    AnomalyKind.ONE_PRICE: "one unit price",
}


@dataclass(frozen=True, kw_only=True)
class Distorted:
    """What was done to rows of one data set: `rows` concerned of the `of` that there would have been."""

    institution: int
    dataset: str
    month: int
    kind: str
    rows: int
    of: int
    detail: str


class Distortion:
    """Applies a plan to the blocks of one process, which come month by month."""

    def __init__(self, plan: Sequence[Anomaly], *, stays: Stays, start: date, seed: int) -> None:
        self._plan: dict[tuple[int, str], list[Anomaly]] = {}
        for anomaly in plan:
            for dataset in DATASETS[anomaly.part]:
                if _concerns(anomaly, dataset):
                    self._plan.setdefault((anomaly.month, dataset), []).append(anomaly)
        self._start = start
        self._seed = seed
        self._unsent = _unsent_stays(plan, stays, start)
        self._kept: dict[tuple[int, str], Block] = {}
        self._done: dict[tuple[int, str, int, str], Distorted] = {}

    def apply(self, block: Block, *, month: int) -> Block:
        """Return the block of the month number `month` with what is wrong with it."""
        ahead = [
            one for one in self._plan.get((month + 1, block.dataset), ()) if one.kind is AnomalyKind.COPIED
        ]
        for anomaly in ahead:
            self._keep(block, anomaly)
        changed = self._without_unsent_stays(block, month)
        for anomaly in self._plan.get((month, block.dataset), ()):
            changed = self._distort(changed, anomaly)
        return changed

    def close(self) -> list[Distorted]:
        """Return what was done."""
        return list(self._done.values())

    def _distort(self, block: Block, anomaly: Anomaly) -> Block:
        own = np.flatnonzero(block.institutions == anomaly.institution)
        if anomaly.kind is AnomalyKind.COPIED:
            return self._copy(block, anomaly, own)
        rows = own[_in_part(block, anomaly.part, own)]
        step: dict[AnomalyKind, Callable[[Block, Anomaly, Ints], tuple[Block, int]]] = {
            AnomalyKind.DROP: self._drop,
            AnomalyKind.MISSING: _omit,
            AnomalyKind.REPEATED: _repeat,
            AnomalyKind.ROUNDED: self._round,
            AnomalyKind.ALL_POSITIVE: _turn_positive,
            AnomalyKind.DEATHS: self._let_die,
            AnomalyKind.ONE_DOCTOR: _one_doctor,
            AnomalyKind.ONE_PRICE: _one_price,
        }
        changed, count = step[anomaly.kind](block, anomaly, rows)
        self._note(anomaly, block.dataset, rows=count, of=len(own))
        return changed

    def _note(self, anomaly: Anomaly, dataset: str, *, rows: int, of: int) -> None:
        """Remember what was done; a data set may come in two blocks."""
        key = (anomaly.institution, dataset, anomaly.month, anomaly.kind.value)
        told = self._done.get(key)
        done = Distorted(
            institution=anomaly.institution,
            dataset=dataset,
            month=anomaly.month,
            kind=anomaly.kind.value,
            rows=rows + (told.rows if told else 0),
            of=of + (told.of if told else 0),
            detail=f"{anomaly.part.value}: {_WHAT[anomaly.kind]}",
        )
        self._done[key] = done

    # --- what is not sent ----------------------------------------------------------------------------

    def _drop(self, block: Block, anomaly: Anomaly, rows: Ints) -> tuple[Block, int]:
        first, _ = month_days(self._start, anomaly.month)
        days = _visit_days(block, rows) if anomaly.part is Part.VISITS else block.days[rows]
        return _without(block, rows[days >= first + _SENT_DAYS])

    def _without_unsent_stays(self, block: Block, month: int) -> Block:
        """Leave out what hangs on stays that are not sent, in whichever month it happened."""
        for anomaly, numbers in self._unsent:
            if block.dataset not in DATASETS[Part.STAYS]:
                continue
            own = np.flatnonzero(block.institutions == anomaly.institution)
            if block.dataset == "front_page":
                first, after = month_days(self._start, anomaly.month)
                days = block.days[own]
                late = days >= first + (_SENT_DAYS if anomaly.kind is AnomalyKind.DROP else 0)
                gone = own[late & (days < after) & (days >= first)]
            else:
                gone = own[_is_in(_column(block, "visit_number", own), numbers)]
            if len(gone) or month == anomaly.month:
                block, count = _without(block, gone)
                self._note(replace(anomaly, month=month), block.dataset, rows=count, of=len(own))
        return block

    # --- what is sent twice --------------------------------------------------------------------------

    def _keep(self, block: Block, anomaly: Anomaly) -> None:
        own = np.flatnonzero(block.institutions == anomaly.institution)
        rows = own[_in_part(block, anomaly.part, own)]
        if len(rows):
            self._kept.setdefault((anomaly.institution, block.dataset), block.taken(rows))

    def _copy(self, block: Block, anomaly: Anomaly, own: Ints) -> Block:
        """Put the rows of the month before in the place of this month's."""
        before = self._kept.pop((anomaly.institution, block.dataset), None)
        if before is None:  # the block of stays, of which nothing is copied
            self._note(anomaly, block.dataset, rows=0, of=len(own))
            return block
        first, after = month_days(self._start, anomaly.month)
        earlier, _ = month_days(self._start, anomaly.month - 1)
        moved = _moved(before, by=first - earlier, after=after)
        rows = own[_in_part(block, anomaly.part, own)]
        kept, _ = _without(block, rows)
        self._note(anomaly, block.dataset, rows=len(moved), of=len(own) - len(rows) + len(moved))
        return _together(kept, moved)

    # --- what is made up -----------------------------------------------------------------------------

    def _round(self, block: Block, anomaly: Anomaly, rows: Ints) -> tuple[Block, int]:
        values = _column(block, "value_number", rows).to_pylist()
        low, high = (_column(block, name, rows).to_pylist() for name in ("reference_low", "reference_high"))
        random = stream(self._seed, "rounding", anomaly.institution, anomaly.month)
        hit = random.random(len(rows)) < _ROUNDED_SHARE
        places = [place for place, value in enumerate(values) if value is not None and hit[place]]
        rounded = [_rounded(values[place]) for place in places]
        flags = [_flag(value, low[place], high[place]) for place, value in zip(places, rounded, strict=True)]
        chosen = rows[places] if places else rows[:0]
        columns = dict.fromkeys(("value_number", "value_text"), rounded) | {"flag": flags}
        return _with(block, chosen, columns), len(chosen)

    def _let_die(self, block: Block, anomaly: Anomaly, rows: Ints) -> tuple[Block, int]:
        home = pc.and_(
            pc.equal(_column(block, "disposition", rows), "1"),
            pc.equal(_column(block, "readmission_planned", rows), "1"),
        )
        rows = rows[home.to_numpy(zero_copy_only=False)]
        random = stream(self._seed, "deaths", anomaly.institution, anomaly.month)
        rows = rows[random.random(len(rows)) < _DEAD_SHARE]
        count = len(rows)
        return _with(block, rows, {"disposition": ["5"] * count, "autopsy": ["2"] * count}), count


def _concerns(anomaly: Anomaly, dataset: str) -> bool:
    """Return whether the anomaly changes rows of the data set when their month comes."""
    match anomaly.kind:
        case AnomalyKind.DROP | AnomalyKind.MISSING:
            return anomaly.part is not Part.STAYS  # these are left out wherever they occur
        case AnomalyKind.ROUNDED | AnomalyKind.ALL_POSITIVE:
            return dataset == "lab_result"
        case AnomalyKind.DEATHS:
            return dataset == "front_page"
        case AnomalyKind.ONE_DOCTOR:
            return dataset in _WITH_VISITING_DOCTOR
        case _:
            return True


def _unsent_stays(plan: Sequence[Anomaly], stays: Stays, start: date) -> list[tuple[Anomaly, Any]]:
    """Return for each month whose stays are not sent the numbers of those stays."""
    found: list[tuple[Anomaly, Any]] = []
    for anomaly in plan:
        if anomaly.part is not Part.STAYS or anomaly.kind not in (AnomalyKind.DROP, AnomalyKind.MISSING):
            continue
        first, after = month_days(start, anomaly.month)
        begins = first + (_SENT_DAYS if anomaly.kind is AnomalyKind.DROP else 0)
        days = stays.discharge_day
        unsent = (stays.institution == anomaly.institution) & (days >= begins) & (days < after)
        found.append((anomaly, stay_numbers(stays.taken(np.flatnonzero(unsent)))))
    return found


def _in_part(block: Block, part: Part, rows: Ints) -> Flags:
    """Return which of `rows` belong to the part; the data set does."""
    if part is Part.VISITS and block.dataset != "outpatient_visit":
        return pc.starts_with(_column(block, "visit_number", rows), "O").to_numpy(zero_copy_only=False)
    return np.ones(len(rows), dtype=bool)


def _column(block: Block, name: str, rows: Ints) -> Any:
    return as_text(pc.take(one_array(block.columns[name]), pa.array(np.asarray(rows, dtype=np.int64))))


def _is_in(column: Any, numbers: Any) -> Flags:
    return pc.is_in(column, value_set=numbers).to_numpy(zero_copy_only=False)


def _visit_days(block: Block, rows: Ints) -> Ints:
    """Return the days of the visits that the rows belong to, which are in the visits' numbers."""
    digits = pc.utf8_slice_codeunits(_column(block, "visit_number", rows), 1, 9).cast(pa.int32()).to_numpy()
    years, months, days = digits // 10_000, digits // 100 % 100, digits % 100
    starts = ((years - 1970) * 12 + months - 1).astype("datetime64[M]").astype("datetime64[D]")
    return starts.astype(np.int64) + days - 1


def _omit(block: Block, anomaly: Anomaly, rows: Ints) -> tuple[Block, int]:
    return _without(block, rows)


def _without(block: Block, rows: Ints) -> tuple[Block, int]:
    keep = np.ones(len(block), dtype=bool)
    keep[rows] = False
    return block.taken(np.flatnonzero(keep)), len(rows)


def _repeat(block: Block, anomaly: Anomaly, rows: Ints) -> tuple[Block, int]:
    """Return the block with half of the visits (or reports) a second time."""
    name = "visit_number" if anomaly.part is Part.VISITS else "report_number"
    serial = pc.utf8_slice_codeunits(_column(block, name, rows), 9).cast(pa.int64()).to_numpy()
    lot = mixed(serial, np.full(len(rows), anomaly.institution), np.full(len(rows), anomaly.month))
    again = block.taken(rows[(lot % np.uint64(100)).astype(np.int64) < _REPEATED_SHARE])
    renamed = _NUMBERS[block.dataset] if anomaly.part is Part.VISITS else (name,)
    columns = dict(again.columns)
    for number in renamed:
        columns[number] = _marked(columns[number], _REPEATED_MARK, 1)
    return _together(block, replace(again, columns=columns)), len(again)


def _moved(block: Block, *, by: int, after: int) -> Block:
    """Return the rows `by` days later, but for those of visits that would fall on day `after` or later."""
    everything = np.arange(len(block))
    block = block.taken(everything[_visit_days(block, everything) + by < after])
    columns = dict(block.columns)
    for name in _MOMENTS & columns.keys():
        seconds = pc.add(columns[name].cast(pa.int64()), by * DAY)
        columns[name] = pc.min_element_wise(seconds, after * DAY - 60).cast(columns[name].type)
    for name in _NUMBERS[block.dataset]:
        columns[name] = _marked(_redated(columns[name], by), _COPIED_MARK, 1)
    return replace(block, columns=columns, days=np.minimum(block.days + by, after - 1))


def _redated(column: Any, by: int) -> Any:
    """Return numbers of a letter, a day and more with the day `by` days later."""
    days = pc.utf8_slice_codeunits(column, 1, 9).dictionary_encode()
    later = [_later(day, by) for day in days.dictionary.to_pylist()]
    moved = pc.take(pa.array(later, pa.string()), days.indices)
    return joined(pc.utf8_slice_codeunits(column, 0, 1), moved, pc.utf8_slice_codeunits(column, 9))


def _later(digits: str, by: int) -> str:
    day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) + timedelta(days=by)
    return f"{day:%Y%m%d}"


def _marked(column: Any, mark: str, place: int) -> Any:
    """Return numbers with `mark` behind their first `place` characters."""
    head, tail = pc.utf8_slice_codeunits(column, 0, place), pc.utf8_slice_codeunits(column, place)
    return joined(head, pa.repeat(pa.scalar(mark), len(column)), tail)


def _together(block: Block, more: Block) -> Block:
    """Return the rows of both, ordered by institution as before."""
    columns = {
        name: pa.concat_arrays([one_array(column), one_array(more.columns[name]).cast(column.type)])
        for name, column in block.columns.items()
    }
    whole = Block(
        dataset=block.dataset,
        columns=columns,
        institutions=np.concatenate([block.institutions, more.institutions]),
        persons=np.concatenate([block.persons, more.persons]),
        days=np.concatenate([block.days, more.days]),
    )
    return whole.taken(np.argsort(whole.institutions, kind="stable"))


def _with(block: Block, rows: Ints, values: Mapping[str, Sequence[str | None]]) -> Block:
    """Return the block with other values in `rows`, in those of the columns that it has."""
    columns = dict(block.columns)
    if len(rows):
        columns |= {
            name: replaced(one_array(columns[name]), rows, column)
            for name, column in values.items()
            if name in columns
        }
    return replace(block, columns=columns)


def _rounded(value: str) -> str:
    """Return the number with a last digit of 0 or 5, and none that is nothing."""
    whole, _, fraction = value.partition(".")
    scaled = max(round(int(whole + fraction) / 5) * 5, 5)
    digits = f"{scaled:0{len(fraction) + 1}d}"
    return f"{digits[: -len(fraction)]}.{digits[-len(fraction) :]}" if fraction else digits


def _flag(value: str, low: str | None, high: str | None) -> str:
    if high is not None and float(value) > float(high):
        return "H"
    return "L" if low is not None and float(value) < float(low) else "N"


def _turn_positive(block: Block, anomaly: Anomaly, rows: Ints) -> tuple[Block, int]:
    negative = pc.starts_with(_column(block, "value_text", rows), _NEGATIVE).fill_null(False)
    rows = rows[negative.to_numpy(zero_copy_only=False)]
    return _with(block, rows, {"value_text": [_POSITIVE] * len(rows), "flag": ["A"] * len(rows)}), len(rows)


def _one_doctor(block: Block, anomaly: Anomaly, rows: Ints) -> tuple[Block, int]:
    if not len(rows) or "doctor_name" not in block.columns:
        return block, 0
    # The first by name: the same in most of the data sets of a month.
    names = sorted(set(_column(block, "doctor_name", rows).drop_null().to_pylist()))
    return _with(block, rows, {"doctor_name": [names[0]] * len(rows)}), len(rows)


def _one_price(block: Block, anomaly: Anomaly, rows: Ints) -> tuple[Block, int]:
    amounts = [f"{_PRICE * int(count):.2f}" for count in _column(block, "quantity", rows).to_pylist()]
    return _with(block, rows, {"unit_price": [f"{_PRICE:.2f}"] * len(rows), "amount": amounts}), len(rows)
