"""Ask a check set of a folder of tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import duckdb

from kangshu.declarations import DeclarationError, Pack
from kangshu.quality.checksets.compiling import Statement, compile_checks, compile_statement
from kangshu.quality.checksets.errors import say
from kangshu.quality.checksets.filling import quoted
from kangshu.quality.checksets.model import Asks, Check, CheckAnswer, CheckSet, Report, State
from kangshu.quality.checksets.tables import TableFile, empty_sql, open_folder

_BIND_DAY = date(2000, 1, 1)  # any day: binding does not look at it


def run_checks(
    folder: Path,
    *,
    checkset: CheckSet,
    pack: Pack,
    as_of: date,
    scratch: Path,
    threads: int = 2,
    memory_mib: int = 1024,
) -> Report:
    """Return the answers of all checks over the tables in `folder`, each table scanned once for many checks.

    `as_of` is the day that counts as today. `scratch` is an empty folder for copies of tables that are not
    Parquet and for what does not fit into memory.

    Raises:
        FolderUnusableError: there is no folder or no table of the pack in it.
        TableUnusableError: a file cannot be read, or two are the same table.
    """
    with open_folder(folder, pack=pack, scratch=scratch, threads=threads, memory_mib=memory_mib) as opened:
        connection, files, unknown = opened
        seconds: dict[str, float] = {}
        found: dict[int, tuple[int, int] | None] = {}
        for statement in compile_checks(checkset.checks, as_of=as_of):
            start = time.perf_counter()
            found.update(_answer(connection, statement, as_of))
            taken = time.perf_counter() - start
            seconds[statement.table] = seconds.get(statement.table, 0.0) + taken
        rows = {file.dataset.name: _count(connection, file.dataset.name) for file in files}
    present = {file.dataset.name: file for file in files}
    return Report(
        checkset=checkset,
        answers=tuple(_judge(check, _numbers(check, found, present)) for check in checkset.checks),
        rows=rows,
        seconds={table: seconds[table] for table in seconds if table in present},
        unknown=tuple(unknown),
    )


def check_declared(checkset: CheckSet, *, pack: Pack) -> None:
    """Bind every check to empty tables as declared, so that a wrong one is found before any table is.

    Raises:
        DeclarationError: the first check whose SQL does not hold, with its place and DuckDB's reason.
    """
    with duckdb.connect(":memory:") as connection:
        connection.execute(pack.functions or "SELECT 1")
        for dataset in pack.datasets.values():
            connection.execute(empty_sql(dataset))
        for statement in compile_checks(checkset.checks, as_of=_BIND_DAY):
            try:
                _bind(connection, statement)
            except duckdb.Error:
                for check in statement.checks:
                    _bind_one(connection, check)


def _bind(connection: duckdb.DuckDBPyConnection, statement: Statement) -> None:
    connection.execute(f"DESCRIBE {statement.sql}")


def _bind_one(connection: duckdb.DuckDBPyConnection, check: Check) -> None:
    try:
        _bind(connection, compile_statement([check], as_of=_BIND_DAY))
    except duckdb.Error as error:
        reason = str(error).strip().splitlines()[0]
        text = say("check_sql", name=check.name, reason=reason)
        raise DeclarationError(text, path=Path(check.path), line=check.line) from error


def _answer(
    connection: duckdb.DuckDBPyConnection, statement: Statement, as_of: date
) -> Mapping[int, tuple[int, int] | None]:
    """Return the two numbers of each check by its identity, None for those that cannot be asked here."""
    try:
        row = connection.execute(statement.sql).fetchone() or ()
    except duckdb.Error:
        if len(statement.checks) == 1:
            return {id(statement.checks[0]): None}
        # A table or field that some of them need is missing, or a value breaks one: each is asked alone.
        found: dict[int, tuple[int, int] | None] = {}
        for check in statement.checks:
            found.update(_answer(connection, compile_statement([check], as_of=as_of), as_of))
        return found
    pairs = zip(row[::2], row[1::2], strict=True)
    return {id(check): pair for check, pair in zip(statement.checks, pairs, strict=True)}


def _numbers(
    check: Check, found: Mapping[int, tuple[int, int] | None], present: Mapping[str, TableFile]
) -> tuple[int, int] | None:
    if check.kind.asks is Asks.ROWS:
        return found[id(check)]
    if check.kind.asks is Asks.TABLE_EXISTS:
        return int(check.table not in present), 1
    file = present.get(check.table)
    return int(file is None or check.field not in file.columns), 1


def _judge(check: Check, numbers: tuple[int, int] | None) -> CheckAnswer:
    violated, denominator = numbers or (0, 0)
    if numbers is None:
        state = State.NOT_RUN
    elif not denominator:
        state = State.NOT_APPLICABLE
    else:
        state = State.FAILED if 100 * violated > check.threshold * denominator else State.PASSED
    return CheckAnswer(check=check, violated=violated, denominator=denominator, state=state)


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row: Sequence[int] = connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone() or (0,)
    return row[0]
