"""Examine a file as the platform would, and store nothing: what an institution runs at home."""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kangshu.declarations import Dataset, Pack, Role
from kangshu.intake.checking import CheckEngine, FileCheck
from kangshu.intake.compiling import compile_plan
from kangshu.intake.errors import NoRowsError
from kangshu.intake.findings import Examined, FindingsTally
from kangshu.intake.model import period_in_name, period_of_days
from kangshu.intake.recognition import Recognition, recognise
from kangshu.kernel.periods import Period
from kangshu.standards.identifiers import is_resident_number
from kangshu.standards.tables import TableReader, open_table

# What a cell must look like before it is believed to name the sender: it will be shown and kept.
_CODE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{1,63}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found in a file; `unknown` are the positions, from 1, of columns that the data set lacks."""

    dataset: Dataset
    examined: Examined
    unknown: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return self.examined.rows

    @property
    def rejected(self) -> int:
        """Rows that the platform would refuse."""
        return self.examined.rejected


def examine(
    *,
    path: Path,
    name: str,
    pack: Pack,
    received_at: datetime,
    scratch: Path,
    dataset: str | None = None,
    institution: str | None = None,
    allowed: Sequence[str] | None = None,
) -> Examination:
    """Return what the platform would find in the file at `path`, called `name`.

    `received_at` is the region's wall-clock time without zone. Without `institution` the file's own first
    rows say whose it is; `allowed` are the institutions that the sender may report for, None allows all.

    Raises:
        TableError: the file cannot be read.
        FileRejectedError: its headings do not fit a data set, or it has no rows.
    """
    with open_table(path, scratch=scratch) as reader, closing(CheckEngine(pack=pack)) as engine:
        recognition = recognise(headings=reader.headings, pack=pack, dataset=dataset, file_name=name)
        plan = compile_plan(recognition=recognition, pack=pack, allowed=allowed)
        check = FileCheck(engine=engine, plan=plan, received_at=received_at)
        tally, days = FindingsTally(), Counter[date]()
        sender = institution or find_institution(reader, recognition) or ""
        for batch in reader.batches():
            checked = check.check(batch)
            tally.add(checked)
            days += count_days(checked.good, event=recognition.dataset.event_time)
        period = period_in_name(name) or period_of_days(days) or _day(received_at.date())
        examined = tally.examined(sender=sender, period=period)
    if not examined.rows:
        raise NoRowsError()
    return Examination(
        dataset=recognition.dataset,
        examined=examined,
        unknown=tuple(position + 1 for position in recognition.unknown),
    )


def count_days(good: pa.Table, *, event: str | None) -> Counter[date]:
    """Count accepted rows by the day of their event, as far as it is known."""
    days: Counter[date] = Counter()
    if event is None or event not in good.column_names or not good.num_rows:
        return days
    for entry in pc.value_counts(pc.cast(good[event], pa.date32(), safe=False)):
        if (day := entry["values"].as_py()) is not None:
            days[day] += entry["counts"].as_py()
    return days


def find_institution(reader: TableReader, recognition: Recognition) -> str | None:
    """Return the institution that most of a file's first rows name, or None where they name none.

    Raises:
        NoRowsError: there are no rows.
    """
    column = next((one for one in recognition.columns if one.field.role is Role.INSTITUTION), None)
    first = next(iter(reader.batches()), None)
    if first is None:
        raise NoRowsError()
    if column is None:
        return None
    counts = pc.value_counts(pc.utf8_trim_whitespace(first.table[f"c{column.position}"]))
    named = [(one["counts"].as_py(), one["values"].as_py()) for one in counts]
    named = [one for one in named if one[1] and _is_code(one[1])]
    return max(named)[1] if named else None


def _is_code(text: str) -> bool:
    # Columns that slipped sideways put names and numbers of people where the code should be.
    return bool(_CODE.fullmatch(text)) and not is_resident_number(text)


def _day(day: date) -> Period:
    return Period.around(first=day, last=day)
