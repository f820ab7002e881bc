"""How declared types look in DuckDB, and the SQL functions that rules may call."""

from __future__ import annotations

import re

from kangshu.declarations.model import Dataset, Field, FieldType, Pack
from kangshu.declarations.quality import CellView

SYSTEM_COLUMNS = (
    ("_file", "BIGINT"),  # the receipt's number
    ("_row", "BIGINT"),  # record number in the sender's file, heading = 1
    ("_person", "BIGINT"),  # NULL where the row is about nobody, or about nobody who could be told
    ("_institution", "VARCHAR"),
    ("_at", "TIMESTAMP"),  # the event time
)
"""The columns that each row of the lake has before its fields, with their DuckDB types."""

_STRING = re.compile(r"'(?:[^']|'')*'")
_CELL_NAME = re.compile(rf"\b({'|'.join(CellView)})\.([a-z][a-z0-9_]*)")

_PLAIN = {
    FieldType.STRING: "VARCHAR",
    FieldType.INTEGER: "BIGINT",
    FieldType.DATE: "DATE",
    FieldType.DATETIME: "TIMESTAMP",
    FieldType.BOOLEAN: "BOOLEAN",
}


def duckdb_type(field: Field) -> str:
    """Return the DuckDB type in which a value of `field` is held: a list where the field repeats."""
    if field.type is FieldType.DECIMAL:
        single = f"DECIMAL({field.length},{field.scale})"
    else:
        single = _PLAIN[field.type]
    return f"{single}[]" if field.repeat > 1 else single


def measures_sql(dataset: Dataset) -> str:
    """Return a SELECT list with the figures of a cell, `rows` first: each as a DOUBLE under its own name.

    It is meant for rows of one cell, or with a GROUP BY for those of many. Measures with a fingerprint
    compare two months and are not among them.
    """
    terms = ['CAST(count(*) AS DOUBLE) AS "rows"']
    terms += [
        f'CAST(({measure.sql}) AS DOUBLE) AS "{measure.name}"' for measure in dataset.measures if measure.sql
    ]
    return ", ".join(terms)


def cell_names(sql: str) -> tuple[tuple[CellView, str], ...]:
    """Return the figures that a rule about cells names, each once: `now.rows` is (CellView.NOW, "rows")."""
    bare = _STRING.sub("''", sql)
    return tuple(dict.fromkeys((CellView(view), name) for view, name in _CELL_NAME.findall(bare)))


def functions_sql(pack: Pack) -> str:
    """Return the statements that define the pack's functions on a fresh DuckDB connection."""
    return pack.functions
