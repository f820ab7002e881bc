"""The truth: who each row is about, which errors were put in, what should become of each file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from kangshu.simulation.columns import as_text, blanked, day, picked, text, whole
from kangshu.simulation.households import NEVER
from kangshu.simulation.population import Population
from kangshu.simulation.region import Region
from kangshu.simulation.streams import Ints

CSV_RESIDENTS = 100_000
"""Up to so many residents the true person of every row is written as CSV, beyond as Parquet."""

_BATCH = 1_000_000
_PART = pa.schema([("file", pa.int32()), ("row", pa.int32()), ("person", pa.int32())])
_ERROR_COLUMNS = ("file", "row", "field", "kind", "rule", "outcome")
_FILE_COLUMNS = (
    "file",
    "institution",
    "dataset",
    "period",
    "fate",
    "rows",
    "rejected_rows",
    "related",
    "arrived",
)
_ANOMALY_COLUMNS = ("institution", "dataset", "month", "kind", "rows", "of", "detail")


@dataclass(frozen=True, kw_only=True)
class ErrorRows:
    """Errors in one file, one entry each; rows are counted as readers do, the heading being row 1."""

    file: int
    rows: Ints
    fields: Sequence[str]
    kinds: Sequence[str]
    rules: Sequence[str]
    outcomes: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class FileFate:
    """What should become of a file: committed, duplicate, superseded or rejected.

    `related` is the file that it repeats, or that takes its place. `arrived` is the day on which it comes.
    """

    path: str
    institution: str
    dataset: str
    period: str
    fate: str
    rows: int
    rejected_rows: int
    related: str = ""
    arrived: str = ""


@dataclass(frozen=True, kw_only=True, order=True)
class AnomalyRows:
    """What is wrong with an institution's month of a data set as a whole: `rows` concerned of `of`."""

    institution: str
    dataset: str
    month: str
    kind: str
    rows: int
    of: int
    detail: str


class Truth:
    """Collects the truth of one process in `folder` as parts, which `publish` puts together."""

    def __init__(self, folder: Path, *, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = name
        self._fates: dict[int, FileFate] = {}
        self._next = 0
        self._rows: list[tuple[int, int, Ints]] = []
        self._waiting = 0
        self._errors: list[ErrorRows] = []
        self._anomalies: list[AnomalyRows] = []
        self._parts = pq.ParquetWriter(folder / f"{name}.rows", _PART, compression="zstd")

    def new_file(self) -> int:
        """Return the number of a new file; it becomes part of the truth when it gets a fate."""
        self._next += 1
        return self._next - 1

    def add_rows(self, file: int, *, first_row: int, persons: Ints) -> None:
        """Remember who the rows from `first_row` on are about."""
        self._rows.append((file, first_row, np.asarray(persons, dtype=np.int32)))
        self._waiting += len(persons)
        if self._waiting >= _BATCH:
            self._flush()

    def add_errors(self, errors: ErrorRows) -> None:
        """Remember errors in a file."""
        if len(errors.rows):
            self._errors.append(errors)

    def add_anomaly(self, anomaly: AnomalyRows) -> None:
        """Remember what is wrong with a month; where no row is concerned, nothing is."""
        if anomaly.rows:
            self._anomalies.append(anomaly)

    def settle(self, file: int, fate: FileFate) -> None:
        """Say what should become of the file with the number `file`."""
        self._fates[file] = fate

    def _flush(self) -> None:
        if not self._rows:
            return
        lengths = [len(persons) for _, _, persons in self._rows]
        files = np.repeat(np.array([file for file, _, _ in self._rows], dtype=np.int32), lengths)
        rows = np.concatenate(
            [np.arange(first, first + len(persons), dtype=np.int32) for _, first, persons in self._rows]
        )
        persons = np.concatenate([persons for _, _, persons in self._rows])
        table = pa.table({"file": files, "row": rows, "person": persons}, schema=_PART)
        self._parts.write_table(table)
        self._rows, self._waiting = [], 0

    def close(self) -> TruthPart:
        """Write what is left and return the part."""
        self._flush()
        self._parts.close()
        return TruthPart(
            rows=self._folder / f"{self._name}.rows",
            fates=self._fates,
            errors=self._errors,
            anomalies=self._anomalies,
        )


@dataclass(frozen=True, kw_only=True)
class TruthPart:
    """The truth that one process has collected; `rows` is a Parquet file of file number, row and person."""

    rows: Path
    fates: dict[int, FileFate]
    errors: list[ErrorRows]
    anomalies: list[AnomalyRows]


def publish(parts: Sequence[TruthPart], *, folder: Path, residents: int) -> None:
    """Write files.csv, errors.csv, anomalies.csv and the records into `folder`; remove the parts."""
    fates = sorted((fate for part in parts for fate in part.fates.values()), key=lambda fate: fate.path)
    with (folder / "files.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_FILE_COLUMNS)
        for fate in fates:
            writer.writerow(
                [
                    fate.path,
                    fate.institution,
                    fate.dataset,
                    fate.period,
                    fate.fate,
                    fate.rows,
                    fate.rejected_rows,
                    fate.related,
                    fate.arrived,
                ]
            )
    _publish_anomalies(parts, folder)
    _publish_errors(parts, folder)
    _publish_records(parts, folder, as_csv=residents <= CSV_RESIDENTS)
    for part in parts:
        part.rows.unlink()


def _publish_anomalies(parts: Sequence[TruthPart], folder: Path) -> None:
    with (folder / "anomalies.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_ANOMALY_COLUMNS)
        for anomaly in sorted(anomaly for part in parts for anomaly in part.anomalies):
            writer.writerow([getattr(anomaly, name) for name in _ANOMALY_COLUMNS])


def _publish_errors(parts: Sequence[TruthPart], folder: Path) -> None:
    entries = [
        (part.fates[errors.file].path, errors)
        for part in parts
        for errors in part.errors
        if errors.file in part.fates
    ]
    entries.sort(key=lambda entry: (entry[0], int(entry[1].rows[0])))
    columns = {name: [] for name in _ERROR_COLUMNS}
    for path, errors in entries:
        columns["file"].extend([path] * len(errors.rows))
        columns["row"].extend(errors.rows.tolist())
        columns["field"].extend(errors.fields)
        columns["kind"].extend(errors.kinds)
        columns["rule"].extend(errors.rules)
        columns["outcome"].extend(errors.outcomes)
    table = pa.table(
        {
            name: pa.array(values, pa.int64() if name == "row" else pa.string())
            for name, values in columns.items()
        }
    )
    _write_csv(table, folder / "errors.csv")


def _publish_records(parts: Sequence[TruthPart], folder: Path, *, as_csv: bool) -> None:
    target = folder / ("records.csv" if as_csv else "records.parquet")
    if as_csv:
        with target.open("wb") as stream:
            stream.write(b"file,row,dataset,person\n")
            for table in _records(parts):
                pa_csv.write_csv(table, stream, _PLAIN)
        return
    schema = pa.schema(
        [
            ("file", pa.dictionary(pa.int32(), pa.string())),
            ("row", pa.int32()),
            ("dataset", pa.dictionary(pa.int32(), pa.string())),
            ("person", pa.int32()),
        ]
    )
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for table in _records(parts):
            writer.write_table(table.cast(schema))


_PLAIN = pa_csv.WriteOptions(include_header=False, quoting_style="none")


def _records(parts: Sequence[TruthPart]) -> Iterator[pa.Table]:
    """Yield file, row, data set and person of all rows of files that a platform is to look into."""
    for part in parts:
        known = max(part.fates, default=-1) + 1
        paths = text([part.fates[number].path if number in part.fates else "" for number in range(known)])
        datasets = text(
            [part.fates[number].dataset if number in part.fates else "" for number in range(known)]
        )
        counts = np.array([number in part.fates for number in range(known)], dtype=bool)
        with pq.ParquetFile(part.rows) as source:
            for batch in source.iter_batches(batch_size=_BATCH):
                file = batch.column("file").to_numpy()
                keep = np.flatnonzero((file < known) & counts[np.minimum(file, max(known - 1, 0))])
                index = pa.array(file[keep])
                yield pa.table(
                    {
                        "file": pa.DictionaryArray.from_arrays(index, paths),
                        "row": batch.column("row").take(pa.array(keep)),
                        "dataset": pa.DictionaryArray.from_arrays(index, datasets),
                        "person": batch.column("person").take(pa.array(keep)),
                    }
                )


def write_persons(population: Population, region: Region, *, path: Path) -> None:
    """Write every true person: numbers, names, relations, where they live, when they come and go."""
    everyone = np.arange(len(population))
    last_day = np.full(len(population), population.end - 1)

    def on(days: Ints) -> pa.Array:
        return blanked(day(np.clip(days, -100_000, 100_000)), np.abs(days) >= int(NEVER))

    def other(persons: Ints) -> pa.Array:
        return blanked(whole(persons), np.asarray(persons) < 0)

    table = pa.table(
        {
            "person": whole(everyone),
            "resident_number": population.number,
            "document_type": population.document_type,
            "document_number": population.document_number,
            "name": population.name,
            "newborn_name": population.placeholder,
            "sex": whole(population.sex),
            "birth_date": day(population.birth_day),
            "division_code": picked(region.town_codes, population.town_at(everyone, last_day)),
            "phone": picked(population.phone, population.phone_owner),
            "household": whole(population.household),
            "mother": other(population.mother),
            "father": other(population.father),
            "spouse": other(population.spouse),
            "elder_twin": other(population.twin_of),
            "named_on": on(population.named_day),
            "entered_on": on(population.entry_day),
            "moved_on": on(population.move_day),
            "left_on": on(population.leave_day),
            "died_on": on(population.death_day),
        }
    )
    _write_csv(table, path)


def _write_csv(table: pa.Table, path: Path) -> None:
    heading = ",".join(table.column_names)
    with path.open("wb") as stream:
        stream.write(f"{heading}\n".encode())
        plain = pa.table({name: as_text(table[name]) for name in table.column_names})
        pa_csv.write_csv(plain, stream, _PLAIN)
