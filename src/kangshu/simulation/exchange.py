"""Write blocks as the files that institutions send, with the faults of whole files.

A file may grow over several months; it is opened, appended to and closed again, so that thousands of
files can be in work at once. Workbooks, Parquet files and archives are finished when their period ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kangshu.declarations import Dataset, Obligation, Pack
from kangshu.simulation.anomalies import AnomalyKind
from kangshu.simulation.columns import one_array, pc, replaced
from kangshu.simulation.errors import CORRECTED_SHARE, LEAST_ROWS, FileKind, Outcome
from kangshu.simulation.fallback import fallback_column
from kangshu.simulation.formats import (
    alike,
    csv_pieces,
    cut_off,
    heading_line,
    mixed_encoding,
    write_typed,
    write_zip,
)
from kangshu.simulation.front_page import REPEAT
from kangshu.simulation.injection import Faulty
from kangshu.simulation.region import Kind, Region
from kangshu.simulation.streams import Ints, stream
from kangshu.simulation.styles import (
    STYLES,
    XLSX_ROWS,
    Senders,
    Style,
    field_of,
    heading_of,
    months_per_file,
)
from kangshu.simulation.truth import AnomalyRows, ErrorRows, FileFate, Truth
from kangshu.simulation.visits import EPOCH, month_days

_REJECTED = Outcome.REJECTED.value
_WORDS = {"1": "男", "2": "女"}
# Chinese and English endings of the file that comes later.
_ENDINGS = {
    FileKind.SENT_TWICE: ("_副本", "_copy"),
    FileKind.CORRECTED: ("_更正", "_corrected"),
    FileKind.CUT_OFF: ("_重报", "_resent"),
    FileKind.MIXED_ENCODING: ("_重报", "_resent"),
}
# Days after the end of a file's last month: data are usually due after ten.
_SOON_DAYS, _LATE_DAYS, _AGAIN_DAYS = (0, 8), (15, 45), 1
# What certainly happens to the first files of the first hospital, so that a small region has it all.
_CERTAIN = {
    "outpatient_visit": FileKind.CORRECTED,
    "lab_report": FileKind.SENT_TWICE,
    "exam_report": FileKind.CUT_OFF,
    "diagnosis": FileKind.MIXED_ENCODING,
}


@dataclass
class _Version:
    """One version of a file in work: its number in the truth, where it grows, what is kept in memory."""

    number: int
    path: Path
    rejected: int = 0
    kept: list[tuple[Any, Ints]] = field(default_factory=list[tuple[Any, Ints]])


@dataclass
class _File:
    """A file in work; `first` is the wrong version that goes before a corrected file."""

    name: str
    folder: Path
    institution: int
    dataset: str
    period: str
    style: Style
    closes_after: int
    fault: FileKind | None
    columns: list[str]
    version: _Version
    first: _Version | None = None
    rows: int = 0


class Exchange:
    """Takes blocks month by month and writes files under `out`; `truth` hears of every row and file."""

    def __init__(
        self,
        *,
        out: Path,
        region: Region,
        pack: Pack,
        senders: Senders,
        truth: Truth,
        seed: int,
        months: int,
        start: date,
        late: float = 0.0,
        monthly: bool = False,
    ) -> None:
        self._out = out
        self._region = region
        self._pack = pack
        self._senders = senders
        self._truth = truth
        self._seed = seed
        self._months = months
        self._start = start
        self._late = late
        self._monthly = monthly
        self._open: dict[tuple[int, str, str], _File] = {}
        self.files = 0
        self.rows = 0

    def deliver(self, faulty: Faulty, *, month: int, labels: list[str]) -> None:
        """Append each institution's rows of a block to its file of the month number `month` (-1: standing).

        `labels` names the months as `yyyy-mm`; for a standing block its one label is the period.
        """
        block = faulty.block
        if not len(block):
            return
        table = self._declared(faulty)
        starts = np.flatnonzero(np.r_[True, block.institutions[1:] != block.institutions[:-1]])
        ends = np.r_[starts[1:], len(block)]
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            file = self._file(
                int(block.institutions[start]), block.dataset, month, labels, table.column_names
            )
            ragged = faulty.ragged[(faulty.ragged >= start) & (faulty.ragged < end)] - start
            errors = _errors_between(faulty, start, end, first_row=file.rows + 2)
            bad = {
                row
                for row, fate in zip(errors.rows.tolist(), errors.outcomes, strict=True)
                if fate == _REJECTED
            }
            piece = table.slice(start, end - start)
            persons = block.persons[start:end]
            if file.first:
                wrong, found = self._first_version(file, piece, taken=errors.rows - file.rows - 2)
                self._append(file, file.first, wrong, ragged, persons, errors)
                self._truth.add_errors(found)
                file.first.rejected += len(bad | set(found.rows.tolist()))
            self._append(file, file.version, piece, ragged, persons, errors)
            file.version.rejected += len(bad)
            file.rows += end - start

    def close_month(self, month: int) -> None:
        """Finish the files whose period ends with the month number `month`."""
        done = [key for key, file in self._open.items() if file.closes_after <= month]
        for key in done:
            self._finish(self._open.pop(key))

    def _declared(self, faulty: Faulty) -> Any:
        """Return the columns that the pack declares, in its order, under the block's names."""
        block = faulty.block
        dataset = self._pack.datasets[block.dataset]
        own: dict[str, list[str]] = {}
        for column in block.columns:
            own.setdefault(field_of(column)[0], []).append(column)
        columns: dict[str, Any] = {}
        for declared in dataset.fields:
            for column in own.get(declared.name, []):
                columns[column] = block.columns[column]
            if declared.name not in own and declared.obligation is Obligation.REQUIRED:
                columns[declared.name] = fallback_column(
                    declared, pack=self._pack, persons=block.persons, days=block.days
                )
        return pa.table(columns)

    def _file(
        self, institution: int, dataset: str, month: int, labels: list[str], columns: list[str]
    ) -> _File:
        kind = Kind(self._region.institutions.kinds[institution])
        span = 1 if self._monthly else months_per_file(kind, dataset, self._months)
        number = -1 if month < 0 else month // span
        first, last = number * span, min((number + 1) * span, self._months) - 1
        period = labels[0] if month < 0 else span_label(labels[first], labels[last])
        key = (institution, dataset, period)
        if key not in self._open:
            closes = month if month < 0 else last
            self._open[key] = self._begin(institution, dataset, period, closes, number, columns)
        return self._open[key]

    def _begin(
        self, institution: int, dataset: str, period: str, closes: int, number: int, columns: list[str]
    ) -> _File:
        style = self._senders.styles[institution]
        declared = self._pack.datasets[dataset]
        folder = self._out / "submissions" / self._region.institutions.codes[institution]
        folder.mkdir(parents=True, exist_ok=True)
        if style.chinese_names:
            name = f"{declared.title.zh}_{period.replace('-', '').replace('..', '-')}"
        else:
            name = f"{dataset}_{period.replace('..', '_')}"
        fault = self._fault(institution, declared, number) if number >= 0 else None
        plain_text = style.form == "csv" and style.encoding != "gb18030" and not style.packed
        if fault is FileKind.MIXED_ENCODING and not plain_text:
            fault = FileKind.CUT_OFF
        if fault is FileKind.CORRECTED and "sex" not in columns:
            fault = FileKind.SENT_TWICE
        first = None
        if fault is FileKind.CORRECTED:
            first = _Version(number=self._truth.new_file(), path=folder / f"{name}.first")
        return _File(
            name=name,
            folder=folder,
            institution=institution,
            dataset=dataset,
            period=period,
            style=style,
            closes_after=closes,
            fault=fault,
            columns=columns,
            version=_Version(number=self._truth.new_file(), path=folder / f"{name}.part"),
            first=first,
        )

    def _fault(self, institution: int, dataset: Dataset, number: int) -> FileKind | None:
        """Draw what goes wrong with a file; each kind happens at least once in the whole region."""
        if dataset.category == "directory" or dataset.name == "institution_month":
            return None
        hospital = int(np.flatnonzero(self._region.institutions.kinds == Kind.TERTIARY)[0])
        if institution == hospital and number == 0 and dataset.name in _CERTAIN:
            return _CERTAIN[dataset.name]
        chance = stream(self._seed, "faults of files", institution, dataset.name, number).random()
        for kind, share in self._senders.profiles[institution].files.items():
            if chance < share:
                return kind
            chance -= share
        return None

    def _first_version(self, file: _File, table: Any, *, taken: Ints) -> tuple[Any, ErrorRows]:
        """Return rows as a system sent them before it was set right: sex as a word in part of the rows.

        Rows `taken` by other errors stay as they are, and the one before: it may be what a row repeats.
        """
        assert file.first
        random = stream(self._seed, "first versions", file.institution, file.dataset, file.rows)
        wrong = random.random(table.num_rows) < CORRECTED_SHARE
        wrong[taken] = False
        wrong[np.maximum(taken - 1, 0)] = False
        rows = np.flatnonzero(wrong)
        codes = pc.take(one_array(table["sex"]), pa.array(rows)).to_pylist()
        words = [_WORDS.get(code, "不详") for code in codes]
        place = table.column_names.index("sex")
        count = len(rows)
        found = ErrorRows(
            file=file.first.number,
            rows=rows + file.rows + 2,
            fields=["sex"] * count,
            kinds=["sex-as-text"] * count,
            rules=["domain"] * count,
            outcomes=[_REJECTED] * count,
        )
        return table.set_column(place, "sex", replaced(one_array(table["sex"]), rows, words)), found

    def _append(
        self, file: _File, version: _Version, table: Any, ragged: Ints, persons: Ints, errors: ErrorRows
    ) -> None:
        self._truth.add_rows(version.number, first_row=file.rows + 2, persons=persons)
        self._truth.add_errors(replace(errors, file=version.number))
        table = table.select(file.columns)
        if file.style.form != "csv" or _repeats(file.columns):
            # a slice would keep the whole month's block in memory
            version.kept.append((table.take(pa.array(np.arange(table.num_rows))), ragged))
            return
        with version.path.open("ab") as target:
            if not file.rows:
                target.write(self._heading_line(file, file.columns, file.style))
            for piece in csv_pieces(table, ragged, file.style):
                target.write(piece)

    def _heading_line(self, file: _File, columns: list[str], style: Style) -> bytes:
        return heading_line(self._headings(file, columns, style), style)

    def _headings(self, file: _File, columns: list[str], style: Style) -> list[str]:
        dataset = self._pack.datasets[file.dataset]
        headings: list[str] = []
        for column in columns:
            name, repeat = field_of(column)
            headings.append(heading_of(dataset.field(name), style, dataset, repeat))
        return headings

    def _finish(self, file: _File) -> None:
        """Give the file its name and what goes wrong with it; too small a file has nothing go wrong."""
        style = file.style
        if style.form == "xlsx" and file.rows > XLSX_ROWS:
            style = STYLES["windows"]
        fault = file.fault if file.rows >= LEAST_ROWS else None
        plain = file.folder / f"{file.name}{style.suffix}"
        later = (
            file.folder / f"{file.name}{_ENDINGS[fault][not style.chinese_names]}{style.suffix}"
            if fault
            else plain
        )
        arrived = self._arrival(file)
        again = arrived + timedelta(days=_AGAIN_DAYS) if fault else arrived
        self.files += 1
        self.rows += file.rows
        if file.first:
            if fault:
                self._complete(file, file.first, style, plain)
                self._settle(
                    file, file.first.number, plain, "superseded", file.first.rejected, arrived, later
                )
                self.files += 1
            else:
                file.first.path.unlink(missing_ok=True)
        target = plain if fault is FileKind.SENT_TWICE else later
        self._complete(file, file.version, style, target)
        first = arrived if fault is FileKind.SENT_TWICE else again
        self._settle(file, file.version.number, target, "committed", file.version.rejected, first)
        if fault and fault is not FileKind.CORRECTED:
            self._beside(file, fault, style, plain, later, arrived=arrived, again=again)

    def _arrival(self, file: _File) -> date:
        """Return the day on which a file comes: soon after its last month, a few of them long after it."""
        _, after = month_days(self._start, max(file.closes_after, 0))
        if file.closes_after < 0:
            return self._start
        number = (file.closes_after + 1) * 1_000
        random = stream(self._seed, "arrivals", file.institution, file.dataset, number)
        late = random.random() < self._late
        days = int(random.integers(*(_LATE_DAYS if late else _SOON_DAYS)))
        day = EPOCH + timedelta(days=after + days)
        if late:
            self._truth.add_anomaly(
                AnomalyRows(
                    institution=self._region.institutions.codes[file.institution],
                    dataset=file.dataset,
                    month=f"{EPOCH + timedelta(days=after - 1):%Y-%m}",
                    kind=AnomalyKind.LATE.value,
                    rows=file.rows,
                    of=file.rows,
                    detail=f"arrived {day.isoformat()}",
                )
            )
        return day

    def _beside(
        self,
        file: _File,
        fault: FileKind,
        style: Style,
        plain: Path,
        later: Path,
        *,
        arrived: date,
        again: date,
    ) -> None:
        """Write the copy of a file that was sent twice, or the damaged file that went before it."""
        self.files += 1
        number = self._truth.new_file()
        if fault is FileKind.SENT_TWICE:
            later.write_bytes(plain.read_bytes())
            self._settle(file, number, later, "duplicate", 0, again, plain)
            return
        whole = later.read_bytes()
        damaged = cut_off(whole, style) if fault is FileKind.CUT_OFF else mixed_encoding(whole)
        plain.write_bytes(damaged)
        self._settle(file, number, plain, "rejected", 0, arrived, later)

    def _settle(
        self,
        file: _File,
        number: int,
        path: Path,
        fate: str,
        rejected: int,
        arrived: date,
        related: Path | None = None,
    ) -> None:
        base = self._out / "submissions"
        self._truth.settle(
            number,
            FileFate(
                path=path.relative_to(base).as_posix(),
                institution=self._region.institutions.codes[file.institution],
                dataset=file.dataset,
                period=file.period,
                fate=fate,
                rows=file.rows,
                rejected_rows=rejected,
                related=related.relative_to(base).as_posix() if related else "",
                arrived=arrived.isoformat(),
            ),
        )

    def _complete(self, file: _File, version: _Version, style: Style, target: Path) -> None:
        """Turn what was collected of a version into the file `target`."""
        if version.kept:
            tables = alike([table for table, _ in version.kept])
            columns = _used(
                [(table, ragged) for table, (_, ragged) in zip(tables, version.kept, strict=True)]
            )
            if style.form == "csv":
                with version.path.open("wb") as stream_:
                    stream_.write(self._heading_line(file, columns, style))
                    for table, (_, ragged) in zip(tables, version.kept, strict=True):
                        for piece in csv_pieces(table.select(columns), ragged, style):
                            stream_.write(piece)
            else:
                whole = pa.concat_tables([table.select(columns) for table in tables])
                whole = whole.rename_columns(self._headings(file, columns, style))
                write_typed(whole, version.path, style)
        if style.packed:
            write_zip(version.path, target)
            version.path.unlink()
        else:
            version.path.rename(target)


def _errors_between(faulty: Faulty, start: int, end: int, *, first_row: int) -> ErrorRows:
    """Return the errors of the rows from `start` up to `end`, counted from `first_row`."""
    wrong = faulty.errors
    low, high = np.searchsorted(wrong.rows, [start, end])
    return ErrorRows(
        file=-1,
        rows=wrong.rows[low:high] - start + first_row,
        fields=wrong.fields[low:high],
        kinds=wrong.kinds[low:high],
        rules=wrong.rules[low:high],
        outcomes=wrong.outcomes[low:high],
    )


def _repeats(columns: list[str]) -> bool:
    return any(REPEAT in column for column in columns)


def _used(parts: list[tuple[Any, Ints]]) -> list[str]:
    """Return the columns without the repeats beyond the last one that holds anything."""
    columns = parts[0][0].column_names
    last: dict[str, int] = {}
    for table, _ in parts:
        for column in columns:
            name, repeat = field_of(column)
            if REPEAT in column and table[column].null_count < table.num_rows:
                last[name] = max(last.get(name, 0), repeat)
    return [
        column
        for column in columns
        if REPEAT not in column or field_of(column)[1] <= max(1, last.get(field_of(column)[0], 0))
    ]


def span_label(first: str, last: str) -> str:
    """Return the shortest label of the months from `first` to `last` (`yyyy-mm`): month, quarter, year, run.

    >>> span_label("2026-01", "2026-03")
    '2026Q1'
    """
    if first == last:
        return first
    year, start, end = first[:4], int(first[5:]), int(last[5:])
    if last[:4] == year and end - start == 2 and start % 3 == 1:
        return f"{year}Q{(start + 2) // 3}"
    if last[:4] == year and (start, end) == (1, 12):
        return year
    return f"{first}..{last}"
