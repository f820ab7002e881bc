"""How fast the declared rules are asked of typed rows, beside one statement that a person wrote."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kangshu.app.benchmarks.model import Measurement, Stage
from kangshu.app.benchmarks.surroundings import elsewhere, fresh_folder, machine
from kangshu.declarations import Pack, load_pack
from kangshu.intake import CheckEngine, FileCheck, compile_plan, recognise, rule_counts_sql
from kangshu.lake import lake_schema
from kangshu.simulation import write_front_pages
from kangshu.standards.tables import open_table

_DATASET = "front_page"
_RUNS = 5
_ROWS_PER_PERSON = 2
_MIXED_SHARE = 0.2
_GROUP_ROWS = 65_536


async def rule_scan(size: int, stage: Stage) -> Measurement:
    """Count for each rule of the front page the rows of `size` that break it, in turns with the other way.

    Raises:
        AssertionError: the two ways disagree about a count.
    """
    with fresh_folder() as folder:
        source = folder / "pages.parquet"
        stage(f"{size:,} rows of {_DATASET}")
        await elsewhere(write_pages, source, size=size)
        stage("scan")
        return await asyncio.to_thread(_compare, source, stage)


def write_pages(target: Path, *, size: int) -> None:
    """Write front pages as Parquet in their declared types, a part of them with values of other pages.

    So every rule finds rows that break it, which simulated pages alone would not give.
    """
    pack, raw = load_pack(), target.with_suffix(".csv")
    write_front_pages(raw, rows=size, persons=max(size // _ROWS_PER_PERSON, 100))
    dataset = pack.datasets[_DATASET]
    declared = lake_schema(dataset)
    schema = pa.schema([declared.field(field.name) for field in dataset.fields])
    random = np.random.default_rng(1)
    engine = CheckEngine(pack=pack)
    with (
        open_table(raw, scratch=target.parent) as reader,
        pq.ParquetWriter(target, schema, compression="zstd") as writer,
    ):
        recognition = recognise(headings=reader.headings, pack=pack, dataset=_DATASET)
        plan = compile_plan(recognition=recognition, pack=pack, allowed=None)
        check = FileCheck(engine=engine, plan=plan, received_at=None)
        for batch in reader.batches():
            rows = check.check(batch).good
            columns = [
                _mixed(rows[field.name], random)
                if field.name in rows.column_names
                else pa.nulls(len(rows), field.type)
                for field in schema
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=_GROUP_ROWS)
    engine.close()
    raw.unlink()


def _mixed(column: pa.ChunkedArray, random: np.random.Generator) -> pa.ChunkedArray:
    """Return the column with a share of its values in places of one another."""
    places = np.arange(len(column))
    chosen = np.flatnonzero(random.random(len(column)) < _MIXED_SHARE)
    places[chosen] = random.permutation(chosen)
    return column.take(pa.array(places))


def _compare(source: Path, stage: Stage) -> Measurement:
    pack = load_pack()
    ways = {
        "ours": rule_counts_sql(dataset=pack.datasets[_DATASET], source="pages"),
        "by hand": resources.files(__package__ or __name__)
        .joinpath("front_page_rules.sql")
        .read_text("utf-8"),
    }
    with duckdb.connect() as engine:
        _prepare(engine, pack, source)
        rows = _count(engine, "SELECT count(*) AS rows FROM pages")["rows"]
        counts = {name: _count(engine, statement) for name, statement in ways.items()}
        assert counts["ours"] == counts["by hand"], _differences(counts)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(_RUNS):
            stage(f"scan {turn + 1} of {_RUNS}")
            for name, statement in ways.items():
                started = time.perf_counter()
                _count(engine, statement)
                times[name].append(time.perf_counter() - started)
    speeds = {name: round(rows / median(taken)) for name, taken in times.items()}
    broken = counts["ours"]
    return Measurement(
        value=speeds["ours"],
        unit="rows/s",
        baseline=speeds["by hand"],
        ratio=round(speeds["ours"] / speeds["by hand"], 3),
        conditions={
            "rules": len(broken),
            "rules_broken": sum(1 for count in broken.values() if count),
            "breaks": sum(broken.values()),
            "file_mib": source.stat().st_size >> 20,
            "runs": f"{_RUNS} of each in turns, the median; counts equal",
            "source": "Parquet in declared types, in the cache of the operating system",
            **machine(),
        },
    )


def _prepare(engine: duckdb.DuckDBPyConnection, pack: Pack, source: Path) -> None:
    engine.execute("SET enable_progress_bar = false")
    engine.execute(f"SET threads = {machine()['cores']}")
    engine.execute("SET disabled_optimizers = 'in_clause'")  # as the check does; it helps both ways
    engine.execute(pack.functions)
    engine.execute(f"CREATE VIEW pages AS FROM read_parquet('{str(source).replace(chr(39), chr(39) * 2)}')")


def _count(engine: duckdb.DuckDBPyConnection, statement: str) -> Mapping[str, int]:
    found = engine.execute(statement).to_arrow_table()
    return {name: found[name][0].as_py() for name in found.column_names}


def _differences(counts: Mapping[str, Mapping[str, int]]) -> str:
    ours, theirs = counts["ours"], counts["by hand"]
    different = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    return f"the two ways count differently: {', '.join(different)}"
