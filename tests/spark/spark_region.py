"""A simulated region in a lake, and beside it rows that are wrong in every way; nobody in it exists."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from spark_twin import TwinEngine

from kangshu.app.platform import Platform
from kangshu.app.taking import take_in_files
from kangshu.declarations import Dataset, Field, FieldType, Pack
from kangshu.kernel.periods import Period
from kangshu.lake import (
    SYSTEM_COLUMNS,
    Segment,
    SegmentWriter,
    SparkEngine,
    commit_file,
    lake_schema,
    live_segments,
    new_segment_path,
)
from kangshu.simulation import simulate

START = date(2026, 1, 1)
MONTHS = 2
RESIDENTS = 150
SEED = 7
WRONG_ROWS = 1500
_LITERAL = re.compile(r"'[^']*'|\b\d+(?:\.\d+)?\b")
FIRST_WRONG_FILE = 1_000_001
"""Files of wrong rows are numbered from here on."""
_STRANGE = {
    FieldType.STRING: ["", "-", "—", "0", "1", "2", "9", "x", "中", "Z37.0", "I10", "O80.000", "C61.900", "V01.000", "11010519491231002X", "990101198001010014",
                       "11010519491231002", "(01)", "1.2", "张三", "36.0700", "99.9", "2026", "A", "T88.600", "D48.900", "M80100/3", "S06.000", "G01*", "P07.000", "7", "3", "4", "5", "6", "8", "1101010001"],
    FieldType.INTEGER: [-1, 0, 1, 2, 5, 9, 10, 12, 40, 99, 100, 366, 1000, 10_000, 10**9],
    FieldType.DECIMAL: [0, 1, 5, 10, 55, 99, 100, 101, 999, -1, 10**6],
    FieldType.BOOLEAN: [True, False],
}  # fmt: skip


@dataclass
class Region:
    """A region in a lake, and both engines on it."""

    runner: asyncio.Runner
    platform: Platform
    spark: SparkEngine
    twin: TwinEngine = field(init=False)

    def __post_init__(self) -> None:
        self.twin = TwinEngine(duckdb=self.platform.engine, spark=self.spark)

    def table(self, name: str) -> str:
        """Return what stands after FROM for all live rows of a data set."""

        async def read() -> str:
            async with self.platform.database.connection() as connection:
                segments = await live_segments(connection, dataset=name)
            return self.twin.table_sql(dataset=self.platform.pack.dataset(name), segments=segments)

        return self.runner.run(read())


async def take_in_region(platform: Platform, place: Path) -> None:
    """Simulate a small region of two months and take all its files in."""
    simulate(
        out=place, residents=RESIDENTS, months=MONTHS, seed=SEED, start=START, pack=platform.pack, processes=1
    )
    files = sorted((place / "submissions").rglob("*"))
    files = [path for path in files if path.is_file()]
    turns = {path: datetime(2026, 4, 1, tzinfo=UTC) + timedelta(minutes=n) for n, path in enumerate(files)}
    await take_in_files(platform, files, quiet=True, arrival_of=turns.__getitem__)


async def add_wrong_rows(platform: Platform) -> None:
    """Put into the lake, past all checks, a file of wrong rows for each data set.

    Each value is one that occurs in the data set's column or one that should not; what belongs together does
    no longer.
    """
    dice = np.random.default_rng(SEED)
    for number, dataset in enumerate(platform.pack.datasets.values()):
        async with platform.database.connection() as connection:
            segments = await live_segments(connection, dataset=dataset.name)
        rows = wrong_rows(platform, dataset, segments, file=FIRST_WRONG_FILE + number, dice=dice)
        path = new_segment_path(home=platform.home, dataset=dataset.name)
        with SegmentWriter(path, lake_schema(dataset)) as writer:
            writer.write(rows)
            segment = writer.close()
        async with platform.database.transaction() as connection:
            await commit_file(
                connection,
                file_id=FIRST_WRONG_FILE + number,
                dataset=dataset.name,
                institution="99000000000000000A1000",
                period=Period.parse("2026-01"),
                segments=[segment],
            )


def wrong_rows(
    platform: Platform,
    dataset: Dataset,
    segments: list[Segment],
    *,
    file: int,
    dice: np.random.Generator,
) -> pa.Table:
    """Return rows of `dataset` in which everything is mixed up."""
    schema = lake_schema(dataset)
    known = _known(platform, dataset, segments, schema)
    columns: dict[str, pa.Array] = {
        "_file": pa.array(np.full(WRONG_ROWS, file), pa.int64()),
        "_row": pa.array(np.arange(2, WRONG_ROWS + 2), pa.int64()),
        "_person": _picked(_pool(known["_person"], pa.array([None, 1, 2, 3], pa.int64())), dice),
        "_institution": _picked(_pool(known["_institution"], pa.array(["99000000000000000A1000"])), dice),
        "_at": _picked(_moments(), dice),
    }
    kept = _some_rows(known, dice)
    for one in dataset.fields:
        kind = schema.field(one.name).type
        strange = _strange(one, kind, _words(platform.pack, dataset, one))
        if dataset.name == "death" and one.type is FieldType.DATETIME:
            strange = strange.slice(0, len(strange) - 2)  # whoever died does something afterwards
        mixed = _picked(_pool(known[one.name], strange), dice, absent=0.1)
        if kept is not None and len(kept):
            # Half of the rows are as they came but for some columns: a rule finds one of several wrong.
            spoil = pa.array((dice.random(WRONG_ROWS) < 0.15) | (np.arange(WRONG_ROWS) % 2 == 0))
            mixed = pc.if_else(spoil, mixed, kept[one.name].combine_chunks())
        columns[one.name] = mixed
    table = _with_bare_rows(pa.table({name: columns[name] for name in schema.names}, schema=schema))
    # Some rows come twice: keys that must occur once occur again.
    twice = table.slice(0, WRONG_ROWS // 10)
    numbers = pa.array(np.arange(WRONG_ROWS + 2, WRONG_ROWS + 2 + len(twice)), pa.int64())
    return pa.concat_tables([table, twice.set_column(1, schema.field("_row"), numbers)])


def _with_bare_rows(table: pa.Table) -> pa.Table:
    """Return the rows with some that say nothing but whose they are, and some with texts that nobody else has."""
    bare = pa.array(np.arange(len(table)) % 40 == 7)
    alone = pa.array(np.arange(len(table)) % 40 == 23)
    columns = {}
    for place, one in enumerate(table.schema):
        values = table[one.name].combine_chunks()
        if place >= len(SYSTEM_COLUMNS) + 2:
            values = pc.if_else(bare, pa.scalar(None, one.type), values)
        if place >= len(SYSTEM_COLUMNS) and pa.types.is_string(one.type):
            own = pa.array([f"Q{place}-{number}" for number in range(len(table))])
            values = pc.if_else(alone, own, values)
        columns[one.name] = values
    return pa.table(columns, schema=table.schema)


def _known(
    platform: Platform, dataset: Dataset, segments: list[Segment], schema: pa.Schema
) -> Mapping[str, pa.ChunkedArray]:
    sql = f"SELECT * FROM {platform.engine.table_sql(dataset=dataset, segments=segments)} LIMIT 5000"
    batches = list(platform.engine.query(sql))
    table = pa.Table.from_batches(batches) if batches else schema.empty_table()
    return {name: table[name] for name in schema.names}


def _some_rows(known: Mapping[str, pa.ChunkedArray], dice: np.random.Generator) -> pa.Table | None:
    table = pa.table(dict(known))
    return table.take(pa.array(dice.integers(0, len(table), WRONG_ROWS))) if len(table) else None


def _pool(known: pa.ChunkedArray, strange: pa.Array) -> pa.Array:
    """Return values to pick from: a sample of those that occur, and strange ones."""
    sample = known.slice(0, 80)
    return pa.concat_arrays([*(chunk.cast(strange.type) for chunk in sample.chunks), strange])


def _picked(pool: pa.Array, dice: np.random.Generator, *, absent: float = 0.0) -> pa.Array:
    places = dice.integers(0, len(pool), WRONG_ROWS)
    return pool.take(pa.array(places, mask=dice.random(WRONG_ROWS) < absent))


def _moments() -> pa.Array:
    first = datetime(2026, 1, 1)
    moments = [first + timedelta(hours=7 * place) for place in range(220)]
    return pa.array([None, *moments], pa.timestamp("us"))


def _words(pack: Pack, dataset: Dataset, declared: Field) -> list[str]:
    """Return codes that the field may have, and what rules about it compare with."""
    table = pack.codes.get(declared.value_set or "")
    words = [entry.code for entry in table.codes[:60]] if table else []
    for rule in dataset.rules:
        if declared.name in rule.sql or declared.name in rule.applies:
            words += _LITERAL.findall(rule.sql + rule.applies)
    return [word.strip("'") for word in dict.fromkeys(words)]


def _strange(declared: Field, kind: pa.DataType, words: list[str]) -> pa.Array:
    if pa.types.is_list(kind):
        single = _strange(declared, kind.value_type, words)
        values = single.to_pylist()
        return pa.array([[], *([value] for value in values), values[:3], [*values[:2], None]], kind)
    values: list[Any]
    match declared.type:
        case FieldType.DATE:
            values = [
                START + timedelta(days=days)
                for days in (-60000, -40000, -12000, -7000, -400, -365, -30, 0, 1, 14, 31, 45, 400)
            ]
        case FieldType.DATETIME:
            first = datetime(2026, 1, 1)
            values = [
                first + timedelta(hours=hours)
                for hours in (-900_000, -9000, -24, -1, 0, 1, 25, 300, 800, 1200, 4000, 9000)
            ]
        case FieldType.STRING:
            values = [text[: declared.length or 200] for text in _STRANGE[FieldType.STRING]]
            values += [
                declared.example[: declared.length or 200],
                *(word[: declared.length or 200] for word in words),
            ]
        case FieldType.DECIMAL:
            largest = 10 ** ((declared.length or 1) - (declared.scale or 0)) - 1
            told = [int(float(word)) for word in words if word.replace(".", "", 1).isdigit()]
            values = [min(value, largest) for value in [*_STRANGE[FieldType.DECIMAL], *told]]
        case FieldType.INTEGER:
            values = [*_STRANGE[declared.type], *(int(word) for word in words if word.isdigit())]
        case _:
            values = list(_STRANGE[declared.type])
    return pa.array(values, kind)
