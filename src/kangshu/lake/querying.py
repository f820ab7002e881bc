"""One SELECT in DuckDB's SQL over the lake, on whichever engine: what may be asked, and how it can fail."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import duckdb
import pyarrow as pa

from kangshu.declarations import Dataset
from kangshu.lake.errors import (
    LakeError,
    LakeFullError,
    QueryFailedError,
    QueryRefusedError,
    QueryStoppedError,
    SegmentLostError,
    is_disk_full,
    say,
)
from kangshu.lake.model import Segment

# Once rows flow, DuckDB's errors come through Arrow.
WHILE_READING = (duckdb.Error, pa.ArrowException, OSError)
# What such an error says is about the text of the query; any other may quote somebody's value.
_ABOUT_THE_TEXT = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
_DEFINES = re.compile(
    r"^(?:\s+|--[^\n]*\n|/\*.*?\*/)*CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP\s+|TEMPORARY\s+)?(?:MACRO|FUNCTION)\b",
    re.IGNORECASE | re.DOTALL,
)
# "Conversion Error: ...": what stands before the colon is DuckDB's own word.
_KIND = re.compile(r"^[A-Z][A-Za-z -]{2,40} Error(?=:)")
_SETS = re.compile(r"^(?:\s+|--[^\n]*\n|/\*.*?\*/)*SET\s+VARIABLE\b", re.IGNORECASE | re.DOTALL)


class LakeEngine(Protocol):
    """What computes over the lake's rows: DuckDB in this process (`Engine`) or a cluster (`SparkEngine`)."""

    @property
    def name(self) -> str:
        """`duckdb` or `spark`."""
        ...

    def table_sql(self, *, dataset: Dataset, segments: Sequence[Segment]) -> str:
        """Return what this engine reads after FROM: the live rows of `dataset` in `segments`."""
        ...

    def query(self, sql: str, *, functions: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the rows of one SELECT in DuckDB's SQL; nothing happens before the first is asked for.

        `functions` are the pack's (`functions_sql`): definitions of macros, and `SET VARIABLE` for what
        they ask with `getvariable`. The order of rows is that of ORDER BY or none.

        Raises:
            QueryRefusedError: it is not one SELECT, or not one that this engine understands.
            QueryFailedError: it could not be computed; what it says is never a value.
            LakeFullError: the disk for intermediate results is full.
            SegmentLostError: a file that the manifest names is missing.
        """
        ...


def sole_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """Return the one statement of `sql`, which only reads.

    Raises:
        QueryRefusedError: it is not one SELECT.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise QueryRefusedError(say["not_a_select"])
    return statements[0]


def split_functions(connection: duckdb.DuckDBPyConnection, functions: str) -> Iterator[str]:
    """Yield the statements of `functions`, one by one.

    Raises:
        QueryRefusedError: one of them is neither a macro nor a variable.
    """
    for statement in connection.extract_statements(functions):
        if not (_DEFINES.match(statement.query) or _SETS.match(statement.query)):
            raise QueryRefusedError(say["not_a_function"])
        yield statement.query


def define(connection: duckdb.DuckDBPyConnection, functions: str) -> None:
    """Make `functions` known on `connection` alone: another query may have another pack's."""
    for text in split_functions(connection, functions):
        connection.execute(_DEFINES.sub("CREATE OR REPLACE TEMP MACRO", text, count=1))


def query_fault(error: Exception) -> LakeError:
    """Return what to raise for `error` of DuckDB, after its `except`: it may quote a value, ours does not."""
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, duckdb.InterruptException) or "INTERRUPT" in first:
        return QueryStoppedError(say["query_stopped"])
    if is_disk_full(error) or "max_temp_directory_size" in str(error):
        return LakeFullError(say["full"], place="temp")
    if "No files found" in first or "No such file" in first:
        return SegmentLostError(say["lost"])
    if isinstance(error, _ABOUT_THE_TEXT):
        return QueryRefusedError(say("query_refused", reason=first))
    kind = _KIND.match(first)
    return QueryFailedError(say("query_failed", reason=kind[0] if kind else type(error).__name__))
