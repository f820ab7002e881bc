"""How fast the same rules are asked on Spark as on DuckDB, by the clock and by processors: the cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psutil
import pyarrow as pa

from kangshu.app.benchmarks.model import Measurement, Stage
from kangshu.app.benchmarks.quality_rows import DATASET, as_segments, benchmark_pack, write_results
from kangshu.app.benchmarks.surroundings import elsewhere, fresh_folder, machine
from kangshu.declarations import functions_sql
from kangshu.lake import Engine, LakeEngine, SegmentFile, open_spark
from kangshu.quality.scanning import Scanned, compile_scan, run_scan

MASTER = "local-cluster[2,1,1024]"
"""Two executors of one processor and one GiB each."""
_RUNS = 2
_DUCKDB_MIB = 768


async def quality_scan_spark(size: int, stage: Stage) -> Measurement:
    """Ask twenty rules of `size` laboratory results on Spark, and beside it on DuckDB.

    Raises:
        EngineMissingError: pyspark or Java is not installed.
        AssertionError: the engines disagree about a count or a row.
    """
    with fresh_folder() as home:
        stage(f"{size:,} rows of {DATASET}")
        files = await elsewhere(write_results, home, rows=size)
        return await asyncio.to_thread(_compare, home, files, stage)


def _compare(home: Path, files: list[SegmentFile], stage: Stage) -> Measurement:
    segments = as_segments(home, files, dataset=DATASET)
    pack, dataset, rules = benchmark_pack()
    functions = functions_sql(pack)
    rows = sum(file.rows for file in files)

    def scanning(engine: LakeEngine) -> Callable[[], Scanned]:
        source = engine.table_sql(dataset=dataset, segments=segments)
        scan = compile_scan(
            pack=pack, dataset=dataset, rules=rules, table={DATASET: source}.__getitem__, source=source
        )
        return lambda: run_scan(engine, scan, functions=functions)

    with Engine(home, memory_mib=_DUCKDB_MIB) as duckdb:
        stage("DuckDB")
        on_duckdb = scanning(duckdb)
        expected = on_duckdb()
        ours = [_timed(on_duckdb) for _ in range(_RUNS)]
    with open_spark(home, master=MASTER) as spark:
        stage("Spark starts")
        started = time.perf_counter()
        list(spark.query("SELECT 1"))
        start_seconds = time.perf_counter() - started
        on_spark = scanning(spark)
        stage("Spark, first run")
        first, found = _timed(on_spark), on_spark()
        _assert_equal(expected, found)
        theirs = []
        for turn in range(_RUNS):
            stage(f"Spark, {turn + 1} of {_RUNS}")
            theirs.append(_timed(on_spark))
    return Measurement(
        value=round(rows / median(seconds for seconds, _ in theirs)),
        unit="rows/s",
        baseline=round(rows / median(seconds for seconds, _ in ours)),
        ratio=round(median(s for s, _ in ours) / median(s for s, _ in theirs), 3),
        conditions={
            "rules": len(rules),
            "master": MASTER,
            "rows_per_processor_second": round(rows / min(cpu for _, cpu in theirs)),
            "duckdb_rows_per_processor_second": round(rows / min(cpu for _, cpu in ours)),
            "start_seconds": round(start_seconds, 1),
            "first_run_seconds": round(first[0], 1),
            "first_run_processor_seconds": round(first[1], 1),
            "bytes_per_row": round(sum(file.bytes for file in files) / rows, 1),
            "failing_rows": expected.failing.num_rows,
            "runs": f"{_RUNS} each after a first one, the median; counts and rows equal",
            **machine(),
        },
    )


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that `work` took, and those of processors, ours and of all that we started."""
    processor, started = _processor_seconds(), time.perf_counter()
    work()
    return time.perf_counter() - started, _processor_seconds() - processor


def _processor_seconds() -> float:
    us = psutil.Process()
    used = 0.0
    for process in (us, *us.children(recursive=True)):
        try:
            used += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return used


def _assert_equal(one: Scanned, other: Scanned) -> None:
    order = [("_file", "ascending"), ("_row", "ascending")]
    tables: list[tuple[pa.Table, pa.Table]] = [
        (one.counts(), other.counts()),
        (one.failing.sort_by(order), other.failing.sort_by(order)),
    ]
    assert all(left.equals(right) for left, right in tables), "the engines find different rows"
