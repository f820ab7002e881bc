"""Rows for the pack's rules: a data set's example with some cells changed, typed as the lake holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from kangshu.declarations import SYSTEM_COLUMNS, Dataset, duckdb_type

Cell = str | list[str]


def example(dataset: Dataset) -> dict[str, Cell]:
    """Return the row that a data set's own examples make."""
    return {
        field.name: [field.example] if field.repeat > 1 else field.example
        for field in dataset.fields
        if field.example
    }


def store(
    engine: duckdb.DuckDBPyConnection, dataset: Dataset, rows: Sequence[Mapping[str, Cell]], *, table: str
) -> None:
    """Make `table` of the rows; where they came from stands before the fields, as in the lake."""
    columns = [*SYSTEM_COLUMNS, *((field.name, duckdb_type(field)) for field in dataset.fields)]
    shape = ", ".join(f'"{name}" {kind}' for name, kind in columns)
    engine.execute(f'CREATE OR REPLACE TEMP TABLE "{table}" ({shape})')
    if rows:
        places = ", ".join("?" for _ in columns)
        values = [[_value(row.get(name)) for name, _ in columns] for row in rows]
        engine.executemany(f'INSERT INTO "{table}" VALUES ({places})', values)


def _value(cell: Cell | None) -> Cell | list[str | None] | None:
    if isinstance(cell, list):
        return [entry or None for entry in cell]
    return cell or None
