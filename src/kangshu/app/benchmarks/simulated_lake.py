"""A simulated region straight in a lake, without the files; what the check would reject is left out."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute

from kangshu import directory
from kangshu.app.platform import Platform
from kangshu.declarations import Dataset, FieldType, Pack, duckdb_type
from kangshu.intake import Examined, Share
from kangshu.kernel.periods import Period
from kangshu.lake import SegmentFile, SegmentWriter, commit_file, lake_schema, new_segment_path
from kangshu.quality import record_file
from kangshu.quality.plausibility import add_months
from kangshu.simulation import AnomalyRows, RegionRows, RegionWithoutFiles

pc: Any = pyarrow.compute  # makes its functions at import, where no checker sees them

REJECTED = "rejected"
_SENDER = "benchmark"
_LINKS = frozenset({"visit_number", "report_number"})
_ARRIVES_AFTER_DAYS = 3


@dataclass
class SimulatedLake:
    """What was put in: months, data sets, and the truth about rows and months.

    `errors` has file, row, field, kind, rule and outcome of every error that was put in, by data set.
    `rejected` are the numbers (visits, reports) that rejected rows named, each with its institution;
    `unnamed` counts by institution the rejected rows whose number itself was spoilt.
    """

    rows: int = 0
    months: list[date] = field(default_factory=list[date])
    datasets: list[str] = field(default_factory=list[str])
    errors: dict[str, list[pa.Table]] = field(default_factory=lambda: defaultdict(list[pa.Table]))
    anomalies: list[AnomalyRows] = field(default_factory=list[AnomalyRows])
    rejected: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    unnamed: Counter[str] = field(default_factory=Counter[str])


async def fill_lake(platform: Platform, region: RegionWithoutFiles) -> SimulatedLake:
    """Put the region's directory and rows into the platform: one file for each data set and month."""
    filled = SimulatedLake()
    async with platform.database.transaction() as connection:
        await directory.load_institutions(connection, rows=_directory_rows(region))
    number = 0
    for parts in _by_month(region.rows()):
        for dataset, blocks in parts.items():
            number += 1
            await _commit(platform, platform.pack.dataset(dataset), number, blocks, filled)
    filled.anomalies = region.anomalies()
    return filled


async def _commit(
    platform: Platform, dataset: Dataset, number: int, blocks: Sequence[RegionRows], filled: SimulatedLake
) -> None:
    month = blocks[0].month
    work = _Write(home=platform.home, dataset=dataset, pack=platform.pack, number=number)
    segments, shares, errors = await asyncio.to_thread(work.write, blocks)
    for block in blocks:
        _note_rejected(block, filled)
    received = datetime.combine(add_months(month, 1), time(2), tzinfo=UTC) + timedelta(
        days=_ARRIVES_AFTER_DAYS
    )
    async with platform.database.transaction() as connection:
        filled.rows += await commit_file(
            connection,
            file_id=number,
            dataset=dataset.name,
            institution=_SENDER,
            period=Period.month(year=month.year, month=month.month),
            segments=segments,
        )
        await record_file(
            connection,
            file=number,
            dataset=dataset,
            examined=Examined(shares=shares, findings=(), filled={}),
            received_at=received,
        )
    filled.errors[dataset.name].append(errors)
    filled.months = sorted({*filled.months, month})
    filled.datasets = sorted({*filled.datasets, dataset.name})


@dataclass(frozen=True, kw_only=True)
class _Write:
    """One file of the lake in the making."""

    home: Path
    dataset: Dataset
    pack: Pack
    number: int

    def write(self, blocks: Sequence[RegionRows]) -> tuple[list[SegmentFile], tuple[Share, ...], pa.Table]:
        """Write the rows that the check would accept; return them, rows by institution, and the errors."""
        schema = lake_schema(self.dataset)
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        errors: list[pa.Table] = []
        start = 2  # as in a file whose heading is row 1
        path = new_segment_path(home=self.home, dataset=self.dataset.name)
        with SegmentWriter(path, schema) as writer:
            for block in blocks:
                found = block.errors.append_column("file", pa.array(np.full(len(block.errors), self.number)))
                bad = np.zeros(len(block.table), dtype=bool)
                bad[found.filter(pc.equal(found["outcome"], REJECTED))["row"].to_numpy()] = True
                writer.write(_typed(block, self.dataset, schema, file=self.number, start=start, keep=~bad))
                for place, rejected in ((0, np.ones_like(bad)), (1, bad)):
                    for entry in pc.value_counts(block.institutions.filter(pa.array(rejected))):
                        counts[entry["values"].as_py()][place] += entry["counts"].as_py()
                row = pc.add(found["row"], start)
                errors.append(found.set_column(found.column_names.index("row"), "row", row))
                start += len(block.table)
            segment = writer.close()
        shares = tuple(
            Share(institution=code, month=blocks[0].month, rows=rows, rejected=rejected)
            for code, (rows, rejected) in sorted(counts.items())
        )
        return [segment], shares, pa.concat_tables(errors)


def _note_rejected(block: RegionRows, filled: SimulatedLake) -> None:
    """Remember the numbers by which other rows would have found the rejected ones."""
    rejected = block.errors.filter(pc.equal(block.errors["outcome"], REJECTED))
    bad = rejected["row"].unique()
    codes = block.institutions.take(bad).to_pylist()
    for name in _LINKS & set(block.table.column_names):
        filled.rejected |= set(zip(codes, block.table[name].take(bad).to_pylist(), strict=True))
    spoilt = rejected.filter(pc.is_in(rejected["field"], value_set=pa.array(sorted(_LINKS))))
    filled.unnamed.update(block.institutions.take(spoilt["row"].combine_chunks()).to_pylist())


def _typed(
    block: RegionRows, dataset: Dataset, schema: pa.Schema, *, file: int, start: int, keep: Any
) -> pa.Table:
    """Return the rows in the lake's columns; what cannot be read as its type is empty."""
    raw = block.table.append_column("_row", pa.array(np.arange(len(block.table)) + start))
    raw = raw.append_column("_institution", block.institutions).append_column("_person", block.persons)
    raw = raw.filter(pa.array(keep))
    event = dataset.event_time
    terms = [
        f"{file}::BIGINT AS _file",
        "_row::BIGINT AS _row",
        "CASE WHEN _person >= 0 THEN _person + 1 END AS _person",
        "_institution",
        f"{f'TRY_CAST({_quoted(event)} AS TIMESTAMP)' if event else 'NULL'} AS _at",
    ]
    for declared in dataset.fields:
        columns = block.columns.get(declared.name, [])
        kind = duckdb_type(declared)
        if not columns:
            terms.append(f"NULL::{kind} AS {_quoted(declared.name)}")
        elif declared.repeat > 1:
            cells = ", ".join(_quoted(name) for name in columns)
            some = f"coalesce({', '.join(f'{_quoted(name)}::VARCHAR' for name in columns)})"
            terms.append(
                f"CASE WHEN {some} IS NOT NULL THEN TRY_CAST([{cells}] AS {kind}) END "
                f"AS {_quoted(declared.name)}"
            )
        elif declared.type is FieldType.STRING:
            terms.append(f"{_quoted(columns[0])}::VARCHAR AS {_quoted(declared.name)}")
        else:
            # What is "-" in a file is nothing in the lake.
            terms.append(f"TRY_CAST({_quoted(columns[0])}::VARCHAR AS {kind}) AS {_quoted(declared.name)}")
    with duckdb.connect(":memory:") as engine:
        engine.execute("SET enable_progress_bar = false")
        engine.register("raw", raw)
        table = engine.execute(f"SELECT {', '.join(terms)} FROM raw").to_arrow_table()
    return table.cast(schema)


def _by_month(rows: Iterator[RegionRows]) -> Iterator[Mapping[str, list[RegionRows]]]:
    month: date | None = None
    parts: dict[str, list[RegionRows]] = {}
    for part in rows:
        if part.month != month and parts:
            yield parts
            parts = {}
        month = part.month
        parts.setdefault(part.dataset, []).append(part)
    if parts:
        yield parts


def _directory_rows(region: RegionWithoutFiles) -> list[dict[str, Any]]:
    return region.directory.to_pylist()


def _quoted(name: str) -> str:
    return f'"{name}"'
