"""Single files of any size for benchmarks: front pages and laboratory results from the region's generators.

A file is written a piece at a time, so memory does not grow with its rows; while one piece is written
the next is made. The rows are about a given number of persons, who come again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kangshu.declarations import Pack, load_pack
from kangshu.simulation import tables
from kangshu.simulation.blocks import Block, person_columns
from kangshu.simulation.bundles import life_bundle
from kangshu.simulation.clinic import clinic
from kangshu.simulation.columns import Column, numbered
from kangshu.simulation.errors import Outcome
from kangshu.simulation.formats import csv_pieces, heading_line
from kangshu.simulation.front_page import front_pages
from kangshu.simulation.injection import Faulty, inject
from kangshu.simulation.laboratory import Orders, catalogue, laboratory_blocks
from kangshu.simulation.messages import report_message, reports_of, visit_message
from kangshu.simulation.population import Population, build_population
from kangshu.simulation.region import Kind, Region, build_region
from kangshu.simulation.stays import stays_of
from kangshu.simulation.streams import Ints, stream
from kangshu.simulation.styles import Style, field_of, heading_of
from kangshu.simulation.visits import DAY, month_days

_START = date(2026, 1, 1)
_PIECE_PAGES = 25_000
_PIECE_REPORTS = 16_000
_LEAST_PERSONS = 100
_PAGES = Style(name="benchmark pages", headings="code", line_breaks=False)
_RESULTS = Style(name="benchmark results", headings="en", line_breaks=False)


@dataclass(frozen=True, kw_only=True)
class BenchmarkFile:
    """A file that was written: its rows, and how many of them carry an error that rejects them."""

    path: Path
    rows: int
    rejected: int


def write_front_pages(
    path: Path,
    *,
    rows: int,
    persons: int,
    seed: int = 20260101,
    error_rate: float = 0.0,
    pack: Pack | None = None,
) -> BenchmarkFile:
    """Write a CSV file (UTF-8, field codes as headings) of exactly `rows` discharge front pages.

    They are of one hospital and about `persons` people (at least 100), each as often as needed.
    `error_rate` is the share of rows with an error of the known kinds.
    """
    scene = _Scene.of(persons=persons, seed=seed, pack=pack)

    def piece(number: int) -> Block:
        first = number * _PIECE_PAGES
        index = np.arange(first, first + _PIECE_PAGES)
        return front_pages(
            population=scene.population,
            region=scene.region,
            clinic=clinic(),
            seed=seed,
            stays=stays_of(
                random=stream(seed, "benchmark stays", number),
                population=scene.population,
                region=scene.region,
                clinic=clinic(),
                persons=scene.shuffled[index % len(scene.shuffled)],
                nth=1 + index // len(scene.shuffled),
                institution=scene.hospital,
            ),
            label=1_000_000 + number,
        )

    return _write(path, scene=scene, style=_PAGES, rows=rows, piece=piece, error_rate=error_rate)


def write_lab_results(
    path: Path,
    *,
    rows: int,
    persons: int,
    seed: int = 20260101,
    error_rate: float = 0.0,
    pack: Pack | None = None,
) -> BenchmarkFile:
    """Write a CSV file (UTF-8, English names as headings) of exactly `rows` laboratory results.

    They are of one hospital and about `persons` people (at least 100). `error_rate` is the share of
    rows with an error of the known kinds.
    """
    scene = _Scene.of(persons=persons, seed=seed, pack=pack)

    def piece(number: int) -> Block:
        orders = _orders(scene, number)
        _, results = laboratory_blocks(
            population=scene.population,
            region=scene.region,
            clinic=clinic(),
            seed=seed,
            month=1_000_000 + number,
            orders=orders,
            after=scene.population.end,
            numbered_from=1 + number * _PIECE_REPORTS,
        )
        return results

    return _write(path, scene=scene, style=_RESULTS, rows=rows, piece=piece, error_rate=error_rate)


def write_messages(
    path: Path,
    *,
    messages: int,
    persons: int,
    seed: int = 20260101,
    pack: Pack | None = None,
) -> BenchmarkFile:
    """Write a file of exactly `messages` HL7 v2 messages: visits (ADT^A04) and reports (ORU^R01) in turn.

    They are of one hospital and about `persons` people (at least 100), in the order of time of no visit.
    """
    scene = _Scene.of(persons=persons, seed=seed, pack=pack)
    written, number = 0, 0
    with path.open("wb") as target:
        while written < messages:
            lines = _message_texts(scene, number)
            taken = lines[: messages - written]
            target.write("".join(taken).encode())
            written, number = written + len(taken), number + 1
    return BenchmarkFile(path=path, rows=written, rejected=0)


def write_bundles(
    folder: Path,
    *,
    resources: int,
    persons: int,
    each: int = 300,
    seed: int = 20260101,
    pack: Pack | None = None,
) -> int:
    """Write files of FHIR transaction Bundles about people of `write_registrations`, one life in each.

    A life has about `each` resources. Returns how many resources were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scene = _Scene.of(persons=persons, seed=seed, pack=pack)
    count = max(resources // each, 1)
    chosen = scene.shuffled[np.arange(count) % len(scene.shuffled)]
    people = pa.table(_registered(scene, chosen)).to_pylist()
    written = 0
    for number, person in enumerate(people):
        content = life_bundle(person, resources=each, random=stream(seed, "bundles", number))
        (folder / f"life-{number:06d}.json").write_bytes(content)
        written += content.count(b'"fullUrl"')
    return written


def write_registrations(path: Path, *, persons: int, seed: int = 20260101, pack: Pack | None = None) -> int:
    """Write the people of `write_messages` (of the same number and seed) as a Parquet file of residents.

    Returns how many rows were written.
    """
    scene = _Scene.of(persons=persons, seed=seed, pack=pack)
    everybody = np.arange(len(scene.population))
    columns = _registered(scene, everybody)
    registered = np.full(len(everybody), (scene.population.start - 1) * DAY + 9 * 3600, dtype=np.int64)
    table = pa.table({**columns, "registered_at": pa.array(registered, pa.timestamp("s"))})
    pq.write_table(table, path)
    return table.num_rows


def _registered(scene: _Scene, persons: Ints) -> dict[str, Column]:
    return person_columns(
        scene.population,
        scene.region,
        institutions=np.full(len(persons), scene.hospital),
        persons=persons,
        days=np.full(len(persons), scene.population.end - 1),
    )


def _message_texts(scene: _Scene, number: int) -> list[str]:
    orders = _orders(scene, number)
    _, results = laboratory_blocks(
        population=scene.population,
        region=scene.region,
        clinic=clinic(),
        seed=scene.seed,
        month=1_000_000 + number,
        orders=orders,
        after=scene.population.end,
        numbered_from=1 + number * _PIECE_REPORTS,
    )
    texts: list[str] = []
    for place, rows in enumerate(reports_of(pa.table(results.columns).to_pylist())):
        control = f"B{number:04d}{place:06d}"
        seen = {**rows[0], "visited_at": rows[0]["reported_at"]}
        texts.append(visit_message(seen, control_id=f"{control}V"))
        texts.append(report_message(rows, control_id=f"{control}R"))
    return texts


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """The people and the hospital of a benchmark file; `shuffled` are the persons in a random order."""

    region: Region
    population: Population
    pack: Pack
    seed: int
    hospital: int
    shuffled: Ints

    @classmethod
    def of(cls, *, persons: int, seed: int, pack: Pack | None) -> _Scene:
        count = max(persons, _LEAST_PERSONS)
        start, _ = month_days(_START, 0)
        _, end = month_days(_START, 11)
        region = build_region(residents=min(count, 100_000), seed=seed)
        population = build_population(region=region, residents=count, seed=seed, start=start, end=end)
        return cls(
            region=region,
            population=population,
            pack=pack or load_pack(),
            seed=seed,
            hospital=int(np.flatnonzero(region.institutions.kinds == Kind.TERTIARY)[0]),
            shuffled=stream(seed, "benchmark persons").permutation(count),
        )


def _orders(scene: _Scene, number: int) -> Orders:
    random = stream(scene.seed, "benchmark orders", number)
    first = number * _PIECE_REPORTS
    index = np.arange(first, first + _PIECE_REPORTS)
    panels = len(tables.rows("laboratory_panels"))
    common = np.where(catalogue().size > 6, 6.0, 1.0)
    population = scene.population
    days = random.integers(population.start + 1, population.end - 1, _PIECE_REPORTS)
    collected = days.astype(np.int64) * DAY + 7 * 3600 + random.integers(0, 9 * 3600, _PIECE_REPORTS)
    return Orders(
        person=scene.shuffled[index % len(scene.shuffled)],
        institution=np.full(_PIECE_REPORTS, scene.hospital),
        panel=random.choice(panels, _PIECE_REPORTS, p=common / common.sum()),
        collected=collected,
        illness=random.integers(0, len(clinic().illness_ids), _PIECE_REPORTS),
        department=np.zeros(_PIECE_REPORTS, dtype=np.int64),
        visit_number=numbered("O", (index, 12), count=_PIECE_REPORTS),
    )


def _write(
    path: Path,
    *,
    scene: _Scene,
    style: Style,
    rows: int,
    piece: Callable[[int], Block],
    error_rate: float,
) -> BenchmarkFile:
    written = rejected = 0
    with path.open("wb") as target, ThreadPoolExecutor(1) as ahead:
        for faulty in _pieces(piece, scene, error_rate, ahead):
            table = _declared(faulty.block, scene.pack)
            if not written:
                dataset = scene.pack.datasets[faulty.block.dataset]
                headings = [
                    heading_of(dataset.field(name), style, dataset, repeat)
                    for name, repeat in map(field_of, table.column_names)
                ]
                target.write(heading_line(headings, style))
            count = min(rows - written, table.num_rows)
            ragged = faulty.ragged[faulty.ragged < count]
            for content in csv_pieces(table.slice(0, count), ragged, style):
                target.write(content)
            rejected += _rejected(faulty, count)
            written += count
            if written >= rows:
                break
    return BenchmarkFile(path=path, rows=written, rejected=rejected)


def _pieces(
    piece: Callable[[int], Block], scene: _Scene, error_rate: float, ahead: ThreadPoolExecutor
) -> Iterator[Faulty]:
    """Yield pieces without end, the next one being made while the caller writes this one."""

    def make(number: int) -> Faulty:
        block = piece(number)
        return inject(
            block=block,
            pack=scene.pack,
            population=scene.population,
            random=stream(scene.seed, "benchmark errors", block.dataset, number),
            rates=np.full(len(scene.region.institutions), error_rate),
            dots=np.zeros(len(scene.region.institutions), dtype=np.int64),
            legacy=np.zeros(len(scene.region.institutions), dtype=bool),
            ragged_ok=np.ones(len(scene.region.institutions), dtype=bool),
        )

    number = 0
    coming: Future[Faulty] = ahead.submit(make, number)
    while True:
        ready = coming.result()
        number += 1
        coming = ahead.submit(make, number)
        yield ready


def _declared(block: Block, pack: Pack) -> pa.Table:
    names = [field.name for field in pack.datasets[block.dataset].fields]
    order = {name: place for place, name in enumerate(names)}
    columns = [column for column in block.columns if field_of(column)[0] in order]
    columns.sort(key=lambda column: (order[field_of(column)[0]], field_of(column)[1]))
    return pa.table({column: block.columns[column] for column in columns})


def _rejected(faulty: Faulty, count: int) -> int:
    errors = faulty.errors
    return len(
        {
            row
            for row, outcome in zip(errors.rows.tolist(), errors.outcomes, strict=True)
            if outcome == Outcome.REJECTED and row < count
        }
    )
