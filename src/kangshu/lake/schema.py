"""The columns of a data set in the lake, and how many of its rows make a row group and a segment."""

from __future__ import annotations

import re
from typing import TypeAlias

import pyarrow as pa

from kangshu import declarations
from kangshu.declarations import Dataset, duckdb_type

Shape: TypeAlias = tuple[tuple[str, str], ...]
"""Names and DuckDB types of a segment's columns, in order."""

SYSTEM_COLUMNS: Shape = declarations.SYSTEM_COLUMNS

_ARROW = {
    "BIGINT": pa.int64(),
    "VARCHAR": pa.string(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "BOOLEAN": pa.bool_(),
}
_DUCKDB = {arrow: name for name, arrow in _ARROW.items()}
_DECIMAL = re.compile(r"^DECIMAL\((\d+),(\d+)\)$")

# A person's rows lie in one or two row groups, which are read whole: about 50 us for each column and 20 to
# 40 ns for each value (zstd, one core). Smaller groups would only be the first of these two.
# 2048 rows of 25 columns are read in 1.6 ms, 1024 of 140 in 7 ms; the file grows by 2 to 15 %.
_VALUES_PER_GROUP = 1 << 16
_GROUP_ROWS = (1024, 8192)
# The footer is parsed as a whole, 0.8 us for each column of each group, and takes 0.9 kB of memory for it.
_CHUNKS_PER_FOOTER = 1 << 12
_GROUPS_PER_SEGMENT = (32, 64)


def lake_shape(dataset: Dataset) -> Shape:
    """Return the columns of `dataset` as its present edition declares them, ours first."""
    return (*SYSTEM_COLUMNS, *((field.name, duckdb_type(field)) for field in dataset.fields))


def lake_schema(dataset: Dataset) -> pa.Schema:
    """Return the Arrow schema in which rows of `dataset` are written."""
    return schema_of(lake_shape(dataset))


def schema_of(shape: Shape) -> pa.Schema:
    """Return the Arrow schema of `shape`; `shape_of` leads back."""
    return pa.schema([pa.field(name, _arrow_type(kind)) for name, kind in shape])


def shape_of(schema: pa.Schema) -> Shape:
    """Return the names and DuckDB types of `schema`.

    Raises:
        TypeError: a column has a type that the lake does not hold.
    """
    return tuple((field.name, _duckdb_type(field.type)) for field in schema)


def merge_shapes(shapes: list[Shape]) -> Shape | None:
    """Return the columns of all `shapes` together, or `None` where two differ about a column's type."""
    merged: dict[str, str] = {}
    for shape in shapes:
        for name, kind in shape:
            if merged.setdefault(name, kind) != kind:
                return None
    return tuple(merged.items())


def group_rows(columns: int) -> int:
    """Return how many rows of so many columns make a row group that is quickly read as a whole."""
    low, high = _GROUP_ROWS
    return min(max(1 << (_VALUES_PER_GROUP // columns).bit_length() - 1, low), high)


def segment_rows(columns: int) -> int:
    """Return how many rows of so many columns make a segment whose footer is quickly parsed."""
    low, high = _GROUPS_PER_SEGMENT
    groups = 1 << (_CHUNKS_PER_FOOTER // columns).bit_length() - 1
    return min(max(groups, low), high) * group_rows(columns)


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _arrow_type(kind: str) -> pa.DataType:
    if kind.endswith("[]"):
        return pa.list_(_arrow_type(kind[:-2]))
    if found := _DECIMAL.match(kind):
        return pa.decimal128(int(found[1]), int(found[2]))
    return _ARROW[kind]


def _duckdb_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_duckdb_type(kind.value_type)}[]"
    if pa.types.is_decimal128(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if kind not in _DUCKDB:
        raise TypeError(f"the lake holds no {kind}")
    return _DUCKDB[kind]
