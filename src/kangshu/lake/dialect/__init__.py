"""DuckDB's SQL for other engines: a pack's macros put in place, and Spark SQL with equal results.

Queries are read by sqlglot. What stands for a function, a cast, an operator is ours, chosen by type and tried
on both engines one by one; what was not tried is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping

from kangshu.lake.dialect.kinds import canonical, spark_type
from kangshu.lake.dialect.macros import expand, expand_macros, read_functions
from kangshu.lake.dialect.reading import read_select
from kangshu.lake.dialect.translating import Translator, quoted


def to_spark(
    sql: str, functions: str = "", *, tables: Mapping[str, Mapping[str, str | None]] | None = None
) -> str:
    """Return the SELECT `sql` of DuckDB's dialect in Spark's.

    `functions` are a pack's macros and variables; `tables` names what may be read, with columns and their
    DuckDB types.
    Spark must run with ANSI mode on, the zone UTC and `TIMESTAMP_NTZ` for timestamps.

    Raises:
        QueryRefusedError: it is not one SELECT, or asks for what is not known to be equal in Spark.
    """
    tree = expand(read_select(sql), read_functions(functions))
    return Translator(tables or {}).translate(tree)


__all__ = ["canonical", "expand_macros", "quoted", "spark_type", "to_spark"]
