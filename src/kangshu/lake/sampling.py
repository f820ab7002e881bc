"""Fill a lake quickly with made-up rows, to measure reading; nothing in them means anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from kangshu.declarations import Dataset, Field, FieldType, Pack
from kangshu.lake.engine import Engine
from kangshu.lake.folder import new_segment_path
from kangshu.lake.model import SegmentFile
from kangshu.lake.operations import commit_file
from kangshu.lake.schema import lake_schema, segment_rows
from kangshu.lake.writing import SegmentWriter
from kangshu.storage.database import Database

# A lake some time after its last large merge. Compaction leaves one run where a data set is small, two or
# three at twenty million rows.
_RUNS = (0.8, 0.2)
_INSTITUTIONS = 60
_FIRST_DAY = datetime(2020, 1, 1)  # noqa: DTZ001 - event times are local and carry no zone
# Two primes: neighbouring rows get different words, and no two fields change in step.
_STRIDE, _SHIFT = 7919, 104_729


async def build_sample_lake(
    database: Database, engine: Engine, *, pack: Pack, persons: int, rows_a_person: Mapping[str, int]
) -> int:
    """Commit about so many rows about each of the persons 1 to `persons`, and return how many in all.

    `rows_a_person` names data sets of `pack`. The rows lie as after compaction: sorted by person, in two
    runs for each data set. The files are numbered from 1; the lake must be empty.
    """
    total, number = 0, 0
    for name, count in rows_a_person.items():
        for share in _RUNS:
            number += 1
            rows = round(persons * count * share)
            segments = await asyncio.to_thread(
                _write_run, engine, pack.dataset(name), file=number, rows=rows, persons=persons
            )
            async with database.transaction() as connection:
                total += await commit_file(
                    connection,
                    file_id=number,
                    dataset=name,
                    institution="sample",
                    period=None,
                    segments=segments,
                )
    return total


def _write_run(engine: Engine, dataset: Dataset, *, file: int, rows: int, persons: int) -> list[SegmentFile]:
    schema = lake_schema(dataset)
    segments: list[SegmentFile] = []
    for table in _tables(dataset, file=file, rows=rows, persons=persons):
        path = new_segment_path(home=engine.lake.parent, dataset=dataset.name)
        with SegmentWriter(path, schema, presorted=True) as writer:
            writer.write(table)
            segments.append(writer.close())
    return segments


def _tables(dataset: Dataset, *, file: int, rows: int, persons: int) -> Iterator[pa.Table]:
    """Yield one table for each segment. They share their values; only rows and persons go on."""
    schema = lake_schema(dataset)
    step = segment_rows(len(schema))
    places = np.arange(min(step, rows), dtype=np.int64)
    moments = [_FIRST_DAY + timedelta(minutes=37 * place) for place in range(5000)]
    institutions = [f"S{place:03d}" for place in range(_INSTITUTIONS)]
    shared: dict[str, Any] = {
        "_file": pa.array(np.full(len(places), file)),
        "_institution": _spread(pa.array(institutions), places, shift=1),
        "_at": _spread(pa.array(moments, pa.timestamp("us")), places, shift=2),
    }
    for shift, field in enumerate(dataset.fields, start=3):
        shared[field.name] = _column(field, schema.field(field.name).type, places, shift=shift)
    for start in range(0, rows, step):
        numbers = np.arange(start, min(start + step, rows), dtype=np.int64)
        own = {"_row": pa.array(numbers), "_person": pa.array(numbers * persons // rows + 1)}
        columns = {**{name: values.slice(0, len(numbers)) for name, values in shared.items()}, **own}
        yield pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _column(field: Field, kind: pa.DataType, places: np.ndarray[Any, Any], *, shift: int) -> pa.Array:
    if not pa.types.is_list(kind):
        return _spread(_words(field, kind), places, shift=shift)
    pairs = np.arange(2 * len(places), dtype=np.int64)
    values = _spread(_words(field, kind.value_type), pairs, shift=shift)
    offsets = pa.array(np.arange(0, len(pairs) + 1, 2, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, values, type=kind)


def _spread(words: pa.Array, places: np.ndarray[Any, Any], *, shift: int) -> pa.Array:
    return words.take(pa.array((places * _STRIDE + shift * _SHIFT) % len(words)))


def _words(field: Field, kind: pa.DataType) -> pa.Array:
    """Return the values that occur in the field: few where they are codes, many where they are free."""
    few = field.value_set is not None or field.type is FieldType.BOOLEAN
    return pa.array([_word(field, number) for number in range(20 if few else 5000)], kind)


def _word(field: Field, number: int) -> Any:
    match field.type:
        case FieldType.INTEGER:
            return number % 100
        case FieldType.DECIMAL:
            return Decimal(number % 10 ** min(field.length or 1, 4)).scaleb(-(field.scale or 0))
        case FieldType.DATE:
            return (_FIRST_DAY + timedelta(days=number % 2000)).date()
        case FieldType.DATETIME:
            return _FIRST_DAY + timedelta(minutes=37 * number)
        case FieldType.BOOLEAN:
            return number % 2 == 0
        case FieldType.STRING:
            width = min(field.length or 12, 18)
            return f"{number * _STRIDE:0{width}d}"[-width:]
