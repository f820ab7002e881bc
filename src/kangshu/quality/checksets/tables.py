"""A folder of files as tables that the checks can be asked of, each with the declared names and types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kangshu.declarations import Dataset, Field, Pack, duckdb_type
from kangshu.quality.checksets.errors import FolderUnusableError, TableUnusableError
from kangshu.quality.checksets.filling import literal, quoted
from kangshu.quality.checksets.loading import RAW
from kangshu.standards.tables import TableError, open_table

_SUFFIXES = (".parquet", ".csv", ".txt", ".xlsx")
_MOST_FILES = 10_000


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A table of the folder: its data set, the Parquet file that is read, and its columns."""

    dataset: Dataset
    path: Path
    columns: Mapping[str, str]
    """The file's own name of each declared field that it has."""


@contextmanager
def open_folder(
    folder: Path, *, pack: Pack, scratch: Path, threads: int, memory_mib: int
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Sequence[TableFile], Sequence[str]]]:
    """Lend a DuckDB that has a view of each table in `folder`, and reads nothing but it and `scratch`.

    A file is the table that its name says, in capitals or not. Parquet is read as it is, other kinds are
    copied to `scratch` first. What cannot be held in the declared type is NULL; its text is in the column
    `NAME (raw)`. Beside the connection come the tables and the names of files that are none.

    Raises:
        FolderUnusableError: there is no folder or no table.
        TableUnusableError: a file cannot be read, or two are the same table.
    """
    folder = folder.resolve()
    paths, unknown = _find_files(folder, pack)
    if not paths:
        raise FolderUnusableError(folder=folder)
    connection = _connect(folder, scratch, threads=threads, memory_mib=memory_mib)
    try:
        files = [_open_file(connection, pack.datasets[name], path, scratch) for name, path in paths.items()]
        connection.execute(pack.functions or "SELECT 1")
        for file in files:
            connection.execute(view_sql(file))
        _lock(connection)
        yield connection, files, unknown
    finally:
        connection.close()


def view_sql(file: TableFile) -> str:
    """Return the statement that makes the view of a table."""
    declared = {field.name: field for field in file.dataset.fields}
    terms = [_typed(declared[name], column) for name, column in file.columns.items()]
    terms += [
        f"CAST({quoted(column)} AS VARCHAR) AS {quoted(name + RAW)}" for name, column in file.columns.items()
    ]
    source = f"read_parquet({literal(str(file.path))})"
    return f"CREATE VIEW {quoted(file.dataset.name)} AS SELECT {', '.join(terms)} FROM {source}"


def empty_sql(dataset: Dataset) -> str:
    """Return the statement that makes an empty table as `dataset` declares it, to bind checks to."""
    columns = [f"{quoted(field.name)} {duckdb_type(field)}" for field in dataset.fields]
    columns += [f"{quoted(field.name + RAW)} VARCHAR" for field in dataset.fields]
    return f"CREATE TABLE {quoted(dataset.name)} ({', '.join(columns)})"


def _find_files(folder: Path, pack: Pack) -> tuple[dict[str, Path], list[str]]:
    if not folder.is_dir():
        raise FolderUnusableError(folder=folder)
    paths: dict[str, Path] = {}
    unknown: list[str] = []
    for number, path in enumerate(sorted(folder.iterdir())):
        if number >= _MOST_FILES:
            raise FolderUnusableError(folder=folder)
        name = path.stem.casefold()
        if path.suffix.casefold() not in _SUFFIXES or name not in pack.datasets or not path.is_file():
            unknown.append(path.name)
        elif name in paths:
            raise TableUnusableError("two_files", path=path)
        else:
            paths[name] = path
    return {name: paths[name] for name in pack.datasets if name in paths}, unknown


def _open_file(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, path: Path, scratch: Path
) -> TableFile:
    if path.suffix.casefold() == ".parquet":
        return TableFile(
            dataset=dataset, path=path, columns=_match(dataset, _parquet_columns(connection, path))
        )
    copied = scratch / f"{dataset.name}.parquet"
    try:
        headings = _copy(path, copied, scratch)
    except TableError as error:
        raise TableUnusableError("unreadable", path=path) from error
    own = {heading: f"c{number}" for number, heading in enumerate(headings)}
    matched = _match(dataset, headings)
    return TableFile(
        dataset=dataset, path=copied, columns={name: own[heading] for name, heading in matched.items()}
    )


def _parquet_columns(connection: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({literal(str(path))})")
        return [row[0] for row in described.fetchall()]
    except duckdb.Error:
        # DuckDB's own words may quote the file.
        raise TableUnusableError("unreadable", path=path) from None


def _copy(path: Path, target: Path, scratch: Path) -> list[str]:
    """Write a table of any kind as Parquet with text columns `c0`, `c1` ...; return its headings."""
    with open_table(path, scratch=scratch) as reader:
        headings = list(reader.headings)
        schema = pa.schema([(f"c{number}", pa.string()) for number in range(len(headings))])
        with pq.ParquetWriter(target, schema, compression="zstd") as writer:
            for batch in reader.batches():
                if batch.table.num_rows:
                    writer.write_table(batch.table.select(schema.names).cast(schema))
    return headings


def _match(dataset: Dataset, headings: Sequence[str]) -> dict[str, str]:
    by_name = {heading.casefold(): heading for heading in headings}
    found: dict[str, str] = {}
    for field in dataset.fields:
        for name in field.column_names():
            if name.casefold() in by_name:
                found[field.name] = by_name[name.casefold()]
                break
    return found


def _typed(field: Field, column: str) -> str:
    return f"TRY_CAST({quoted(column)} AS {duckdb_type(field)}) AS {quoted(field.name)}"


def _connect(folder: Path, scratch: Path, *, threads: int, memory_mib: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "memory_limit": f"{memory_mib}MiB",
            "temp_directory": str(scratch),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "preserve_insertion_order": False,
        },
    )
    connection.execute("SET enable_progress_bar = false")
    allowed = f"{literal(str(folder))}, {literal(str(scratch))}"
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    return connection


def _lock(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("SET lock_configuration = true")
