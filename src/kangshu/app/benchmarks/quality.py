"""How fast rules are asked of the lake's rows with counts and places, beside other ways of doing the same."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from kangshu.app.benchmarks.model import Measurement, Stage
from kangshu.app.benchmarks.quality_peers import HOW_TO_GET, PEERS, PeerRun, missing_peers, run_peer
from kangshu.app.benchmarks.quality_rows import (
    DATASET,
    DEFECTIVE,
    as_segments,
    benchmark_pack,
    write_results,
)
from kangshu.app.benchmarks.scan import write_pages
from kangshu.app.benchmarks.surroundings import Watch, elsewhere, fresh_folder, machine
from kangshu.declarations import Dataset, Pack, Rule, Scope, functions_sql, load_pack
from kangshu.lake import (
    Engine,
    SegmentFile,
    SegmentWriter,
    lake_folder,
    lake_schema,
    new_segment_path,
)
from kangshu.quality.scanning import Scan, Scanned, compile_scan, run_scan

_RUNS = 3
_MEMORY_MIB = 768
_PEER_BYTES = 1 << 11  # of memory for a row: they hold all rows at once, and again those that they found
_PAGES = "front_page"
_DIRECTORY = (_PAGES, "institution", "division")


async def quality_scan(size: int, stage: Stage) -> Measurement:
    """Ask twenty rules of `size` laboratory results, in turns with one statement written by hand.

    Raises:
        AssertionError: two ways disagree about a count or a row.
    """
    with fresh_folder() as home:
        stage(f"{size:,} rows of {DATASET}")
        files = await elsewhere(write_results, home, rows=size)
        measured, broken = await asyncio.to_thread(_compare, home, files, stage)
        peers = await _ask_peers(home, files, broken, stage)
    cpu = measured.conditions["cpu_seconds"]["ours"] / sum(file.rows for file in files)
    return replace(measured, conditions={**measured.conditions, **_beside(measured.value, cpu, peers)})


async def findings(size: int, stage: Stage) -> Measurement:
    """Ask the same of `size` rows, a tenth of them defective, with their places and without, in turns.

    Raises:
        AssertionError: the two disagree about a count.
    """
    with fresh_folder() as home:
        stage(f"{size:,} rows of {DATASET}, {DEFECTIVE:.0%} defective")
        files = await elsewhere(write_results, home, rows=size)
        return await asyncio.to_thread(_locate, home, files, stage)


async def front_page_rules(size: int, stage: Stage) -> Measurement:
    """Ask all rules of the front page that need but front pages and the directory, of `size` pages."""
    with fresh_folder() as home:
        stage(f"{size:,} front pages")
        files = await elsewhere(write_front_page_lake, home, rows=size)
        return await asyncio.to_thread(_ask_front_pages, home, files, stage)


# --- quality-scan ------------------------------------------------------------------------------------


@dataclass
class _Turns:
    """What several ways took, in turns."""

    seconds: dict[str, list[float]]
    cpu_seconds: dict[str, list[float]]

    @classmethod
    def of(cls, ways: Mapping[str, Callable[[], Any]], stage: Stage) -> _Turns:
        """Run each way so many times, one after the other."""
        turns = cls({name: [] for name in ways}, {name: [] for name in ways})
        for turn in range(_RUNS):
            for name, way in ways.items():
                stage(f"{name}, {turn + 1} of {_RUNS}")
                cpu, started = time.process_time(), time.perf_counter()
                way()
                turns.seconds[name].append(time.perf_counter() - started)
                turns.cpu_seconds[name].append(time.process_time() - cpu)
        return turns

    def speed(self, name: str, rows: int) -> int:
        """Return rows a second, by the median."""
        return round(rows / median(self.seconds[name]))

    def ratio(self, ours: str, other: str) -> float:
        """Return how fast one is for the other's 1."""
        return round(median(self.seconds[other]) / median(self.seconds[ours]), 3)

    def cpu(self) -> dict[str, float]:
        """Return the least processor seconds of each."""
        return {name: round(min(taken), 2) for name, taken in self.cpu_seconds.items()}


def _compare(home: Path, files: Sequence[SegmentFile], stage: Stage) -> tuple[Measurement, Mapping[str, int]]:
    pack, dataset, rules = benchmark_pack()
    functions = functions_sql(pack)
    rows = sum(file.rows for file in files)
    with Engine(home, memory_mib=_MEMORY_MIB) as engine:
        source = engine.table_sql(dataset=dataset, segments=as_segments(home, list(files), dataset=DATASET))
        by_hand = (resources.files(__package__ or __name__) / "quality_rules.sql").read_text("utf-8")
        by_hand = by_hand.replace("FROM results", f"FROM {source} AS results")
        scan = _scan(pack, dataset, rules, {DATASET: source})

        def ours() -> Scanned:
            scanned = run_scan(engine, scan, functions=functions)
            scanned.counts()
            for found in scanned.findings():
                assert len(found.rows), "what is found is somewhere"
            return scanned

        def theirs() -> pa.Table:
            return pa.Table.from_batches(list(engine.query(by_hand)))

        with Watch() as watch:
            scanned = ours()
        assert watch.use
        _assert_equal(scanned, theirs())
        turns = _Turns.of({"ours": ours, "by hand": theirs}, stage)
    broken = _by_rule(scanned)
    measured = Measurement(
        value=turns.speed("ours", rows),
        unit="rows/s",
        peak_mib=watch.use.peak_mib,
        baseline=turns.speed("by hand", rows),
        ratio=turns.ratio("ours", "by hand"),
        conditions={
            "rules": len(rules),
            "rules_broken": len(broken),
            "failing_rows": scanned.failing.num_rows,
            "breaks": sum(broken.values()),
            "cpu_seconds": turns.cpu(),
            "file_mib": sum(file.bytes for file in files) >> 20,
            "runs": f"{_RUNS} of each in turns, the median; counts and rows equal",
            "source": "segments as the lake writes large files, in the cache of the operating system",
            **machine(),
        },
    )
    return measured, broken


def _scan(
    pack: Pack,
    dataset: Dataset,
    rules: Sequence[Rule],
    tables: Mapping[str, str],
    *,
    locate: bool = True,
) -> Scan:
    return compile_scan(
        pack=pack,
        dataset=dataset,
        rules=rules,
        table=tables.__getitem__,
        source=tables[dataset.name],
        locate=locate,
    )


def _by_rule(scanned: Scanned) -> Mapping[str, int]:
    counts: Counter[str] = Counter()
    for one in scanned.counts().to_pylist():
        counts[one["rule"]] += one["rows"]
    return counts


def _assert_equal(scanned: Scanned, theirs: pa.Table) -> None:
    """Refuse to go on unless both have the same counts, and the same rows with the same rules."""
    ids = [rule.id for rule in scanned.scan.rules]
    expected = {
        (row["_institution"], row["month"], rule): row[rule]
        for row in theirs.select(["_institution", "month", *ids]).to_pylist()
        for rule in ids
        if row[rule]
    }
    found = {
        (one["_institution"], one["month"], one["rule"]): one["rows"] for one in scanned.counts().to_pylist()
    }
    assert found == expected, "the two ways count differently"
    ours = [scanned.failing[name].to_numpy() for name in ("_file", "_row", "m0")]
    lists = [theirs[name].combine_chunks().flatten().to_numpy() for name in ("files", "numbers", "masks")]
    for mine, other in zip(_ordered(ours), _ordered(lists), strict=True):
        assert np.array_equal(mine, other), "the two ways find different rows"


def _ordered(columns: Sequence[np.ndarray]) -> list[np.ndarray]:
    order = np.lexsort(tuple(reversed(columns)))
    return [column[order] for column in columns]


async def _ask_peers(
    home: Path, files: Sequence[SegmentFile], expected: Mapping[str, int], stage: Stage
) -> Mapping[str, PeerRun]:
    """Run the peers over the same rows, each in a process of its own, and hold their counts against ours.

    Where there is not the memory for all rows they get the first segments.
    """
    if missing_peers():
        return {}
    room = psutil.virtual_memory().available // _PEER_BYTES
    taken = [
        file for number, file in enumerate(files) if sum(one.rows for one in files[: number + 1]) <= room
    ]
    if len(taken) < len(files):
        expected = await asyncio.to_thread(_count, home, taken)
    found: dict[str, PeerRun] = {}
    for name in PEERS:
        stage(f"{name}, {sum(file.rows for file in taken):,} rows")
        found[name] = await elsewhere(run_peer, name, [str(file.path) for file in taken])
        assert found[name].counts == expected, f"{name} counts differently"
    return found


def _count(home: Path, files: list[SegmentFile]) -> Mapping[str, int]:
    pack, dataset, rules = benchmark_pack()
    with Engine(home, memory_mib=_MEMORY_MIB) as engine:
        source = engine.table_sql(dataset=dataset, segments=as_segments(home, files, dataset=DATASET))
        scan = _scan(pack, dataset, rules, {DATASET: source})
        return _by_rule(run_scan(engine, scan, functions=functions_sql(pack)))


def _beside(value: float, cpu: float, peers: Mapping[str, PeerRun]) -> Mapping[str, Any]:
    if not peers:
        return {"peers": f"missing: {', '.join(missing_peers())}; {HOW_TO_GET}"}
    return {
        f"{name}_{run.version}": {
            "rows": run.rows,
            "rows_per_second": run.rows_per_second,
            "cpu_seconds": run.cpu_seconds,
            "peak_mib": run.peak_mib,
            "times": round(value / run.rows_per_second, 1),
            "times_by_cpu": round(run.cpu_seconds / run.rows / cpu, 1),
        }
        for name, run in peers.items()
    }


# --- findings ----------------------------------------------------------------------------------------


def _locate(home: Path, files: Sequence[SegmentFile], stage: Stage) -> Measurement:
    pack, dataset, rules = benchmark_pack()
    functions = functions_sql(pack)
    rows = sum(file.rows for file in files)
    with Engine(home, memory_mib=_MEMORY_MIB) as engine:
        source = engine.table_sql(dataset=dataset, segments=as_segments(home, list(files), dataset=DATASET))
        scans = {
            locate: _scan(pack, dataset, rules, {DATASET: source}, locate=locate) for locate in (True, False)
        }

        def located() -> list[Any]:
            return list(run_scan(engine, scans[True], functions=functions).findings())

        def counted() -> pa.Table:
            return run_scan(engine, scans[False], functions=functions).counts()

        with Watch() as watch:
            found = located()
        assert watch.use
        places: Counter[tuple[Any, ...]] = Counter()
        for one in found:
            places[one.institution, one.month, one.rule.id] += len(one.rows)
        counts = {
            (one["_institution"], one["month"], one["rule"]): one["rows"] for one in counted().to_pylist()
        }
        assert counts == dict(places), "places and counts differ"
        turns = _Turns.of({"with places": located, "without": counted}, stage)
    return Measurement(
        value=turns.speed("with places", rows),
        unit="rows/s",
        peak_mib=watch.use.peak_mib,
        baseline=turns.speed("without", rows),
        ratio=turns.ratio("with places", "without"),
        conditions={
            "times_the_time": round(1 / turns.ratio("with places", "without"), 3),
            "places": sum(places.values()),
            "findings": len(found),
            "cpu_seconds": turns.cpu(),
            "runs": f"{_RUNS} of each in turns, the median; counts equal",
            **machine(),
        },
    )


# --- front-page-rules --------------------------------------------------------------------------------


def write_front_page_lake(home: Path, *, rows: int) -> dict[str, list[SegmentFile]]:
    """Write front pages and a directory into the lake of `home`; a part of the values in others' places."""
    pack = load_pack()
    lake_folder(home)
    raw = home / "pages.parquet"
    write_pages(raw, size=rows)
    files = {_PAGES: [_write_pages(home, pack, raw)]}
    raw.unlink()
    for name in _DIRECTORY[1:]:
        schema = lake_schema(pack.dataset(name))
        with SegmentWriter(new_segment_path(home=home, dataset=name), schema) as writer:
            columns = [_directory_column(field) for field in schema]
            writer.write(pa.Table.from_arrays(columns, schema=schema))
            files[name] = [writer.close()]
    return files


def _directory_column(field: pa.Field) -> pa.Array:
    """A directory with one entry that is nobody's: each code is looked for and most are missing."""
    known = {"_file": 1, "_row": 2, "_institution": "99"}
    return pa.array([known.get(field.name)], field.type)


def _write_pages(home: Path, pack: Pack, raw: Path) -> SegmentFile:
    """Give the pages the columns that the lake adds; a person is who has one resident number."""
    schema = lake_schema(pack.dataset(_PAGES))
    persons = pq.read_table(raw, columns=["resident_number"]).column(0).combine_chunks().dictionary_encode()
    person = persons.indices.cast(pa.int64())
    done = 0
    with SegmentWriter(new_segment_path(home=home, dataset=_PAGES), schema) as writer:
        for batch in pq.ParquetFile(raw).iter_batches():
            own = {
                "_file": pa.array(np.ones(len(batch), np.int64)),
                "_row": pa.array(np.arange(done, done + len(batch)) + 2),
                "_person": person.slice(done, len(batch)),
                "_institution": batch.column("institution_code"),
                "_at": batch.column("discharged_at"),
            }
            done += len(batch)
            columns = {**own, **{name: batch.column(name) for name in batch.schema.names}}
            writer.write(pa.table({name: columns[name] for name in schema.names}, schema=schema))
        return writer.close()


def _ask_front_pages(home: Path, files: Mapping[str, list[SegmentFile]], stage: Stage) -> Measurement:
    pack = load_pack()
    dataset = pack.dataset(_PAGES)
    rules = [
        rule
        for rule in dataset.rules
        if rule.scope is not Scope.CELL and all(look.dataset in _DIRECTORY for look in rule.looks)
    ]
    rows = sum(file.rows for file in files[_PAGES])
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    scanned: Scanned | None = None
    with Engine(home, memory_mib=_MEMORY_MIB) as engine:
        tables = {
            name: engine.table_sql(
                dataset=pack.dataset(name), segments=as_segments(home, files[name], dataset=name)
            )
            for name in _DIRECTORY
        }
        with Watch() as watch:
            for turn in range(_RUNS):
                stage(f"scan {turn + 1} of {_RUNS}")
                cpu, started = time.process_time(), time.perf_counter()
                scan = _scan(pack, dataset, rules, tables)
                scanned = run_scan(engine, scan, functions=functions_sql(pack))
                found = sum(len(one.rows) for one in scanned.findings())
                seconds.append(time.perf_counter() - started)
                cpu_seconds.append(time.process_time() - cpu)
                assert found == sum(_by_rule(scanned).values()), "places and counts differ"
    assert watch.use
    assert scanned
    broken = _by_rule(scanned)
    scopes = Counter(rule.scope.value for rule in rules)
    return Measurement(
        value=round(median(seconds), 2),
        unit="s",
        peak_mib=watch.use.peak_mib,
        conditions={
            "rows": rows,
            "rows_per_second": round(rows / median(seconds)),
            "rules": len(rules),
            **{f"rules_of_scope_{scope}": count for scope, count in scopes.items()},
            "rules_broken": len(broken),
            "breaks": sum(broken.values()),
            "cpu_seconds": round(min(cpu_seconds), 2),
            "runs": f"{_RUNS}, the median",
            **machine(),
        },
    )
