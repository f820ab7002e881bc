"""An engine that computes everything twice, on DuckDB and on Spark, and does not take two answers for one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa

from kangshu.declarations import Dataset
from kangshu.lake import Engine, LakeError, QueryFailedError, Segment, SparkEngine


class EnginesDifferError(AssertionError):
    """The engines gave different answers to the same question."""


@dataclass
class TwinEngine:
    """Stands for the lake's engine: what it answers is DuckDB's, and equal to Spark's."""

    duckdb: Engine
    spark: SparkEngine
    rows: int = 0
    """How many rows of answers were compared."""
    queries: int = 0
    _tables: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "duckdb"

    def table_sql(self, *, dataset: Dataset, segments: Sequence[Segment]) -> str:
        theirs = self.spark.table_sql(dataset=dataset, segments=segments)
        self._tables[theirs] = self.duckdb.table_sql(dataset=dataset, segments=segments)
        return theirs

    def query(self, sql: str, *, functions: str = "") -> Iterator[pa.RecordBatch]:
        ours = sql
        for theirs, own in self._tables.items():
            ours = ours.replace(theirs, own)
        one = _ask(self.duckdb, ours, functions)
        other = _ask(self.spark, sql, functions)
        if isinstance(one, LakeError) or isinstance(other, LakeError):
            # A rule that cannot be computed cannot be computed on either.
            if isinstance(one, QueryFailedError) and isinstance(other, QueryFailedError):
                raise one
            raise EnginesDifferError(f"DuckDB: {told(one)}; Spark: {told(other)}; {sql[:2000]}")
        difference = compare(one, other, about="approx_count_distinct" in sql)
        if difference:
            raise EnginesDifferError(f"{difference}; {sql[:2000]}")
        self.queries += 1
        self.rows += one.num_rows
        yield from one.to_batches()


def told(answer: pa.Table | LakeError) -> str:
    return f"{type(answer).__name__} {answer}" if isinstance(answer, LakeError) else f"{answer.num_rows} rows"


def compare(one: pa.Table, other: pa.Table, *, about: bool = False, ordered: bool = False) -> str:
    """Return how two answers differ, nothing where they do not.

    Rows without an order of their own are compared as a set, and so are lists. `about` allows numbers to be
    some percent apart, for estimates.
    """
    if one.num_columns and other.num_columns and one.schema.types != other.schema.types:
        return f"types {one.schema.types} and {other.schema.types}"
    mine, theirs = _rows(one), _rows(other)
    if not ordered:
        mine, theirs = sorted(mine, key=repr), sorted(theirs, key=repr)
    if len(mine) != len(theirs):
        return f"{len(mine)} rows and {len(theirs)}"
    unlike = [
        pair for pair in zip(mine, theirs, strict=True) if pair[0] != pair[1] and not (about and _near(*pair))
    ]
    return f"{len(unlike)} rows differ, as {unlike[:3]}" if unlike else ""


def _ask(engine: Engine | SparkEngine, sql: str, functions: str) -> pa.Table | LakeError:
    try:
        batches = list(engine.query(sql, functions=functions))
    except LakeError as error:
        return error
    return pa.Table.from_batches(batches) if batches else pa.table({})


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = [[_plain(value) for value in column.to_pylist()] for column in table.columns]
    return list(zip(*columns, strict=True))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            return str(value)
        # Sums of binary fractions depend on the order of adding in their last digits.
        return float(f"{value:.9e}") + 0.0
    if isinstance(value, list):
        return tuple(sorted((_plain(one) for one in value), key=repr))
    return value


def _near(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(
        a == b
        or (
            isinstance(a, (int, float, Decimal))
            and isinstance(b, (int, float, Decimal))
            and abs(a - b) <= 2 + 0.15 * a
        )
        for a, b in zip(one, other, strict=True)
    )
