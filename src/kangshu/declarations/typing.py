"""How declared types look in DuckDB, and the SQL functions that rules may call."""

from __future__ import annotations

from kangshu.declarations.model import Field, FieldType, Pack

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


def functions_sql(pack: Pack) -> str:
    """Return the statements that define the pack's functions on a fresh DuckDB connection."""
    return pack.functions
