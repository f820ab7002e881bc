"""DuckDB and the open files of one process, on one lake, within one bound of memory and threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import duckdb
import pyarrow as pa

from kangshu.declarations import Dataset
from kangshu.lake.errors import LakeError, naming_disk_faults
from kangshu.lake.filters import FilterCache
from kangshu.lake.folder import lake_folder, temp_folder
from kangshu.lake.model import Segment
from kangshu.lake.querying import WHILE_READING, define, query_fault, sole_select
from kangshu.lake.reading import ReaderCache
from kangshu.lake.schema import Shape, lake_shape, quoted

_T = TypeVar("_T")
_S = TypeVar("_S")

_BATCH_ROWS = 1 << 16


class Engine:
    """The lake of `home` for reading and computing; one for each process, used from any thread.

    Every DuckDB connection shares `memory_mib` and `threads`, spills to the lake's own folder, and reads
    and writes files nowhere else: SQL that comes from a region pack cannot leave the lake. `footers_mib`
    bounds what is remembered of Parquet files between person pages.
    """

    def __init__(
        self, home: Path, *, threads: int = 2, memory_mib: int = 512, footers_mib: int = 128
    ) -> None:
        self.lake = lake_folder(home)
        self.readers = ReaderCache(most_bytes=footers_mib << 20)
        self.filters = FilterCache()
        self._threads = threads
        self._memory_mib = memory_mib
        self._database: duckdb.DuckDBPyConnection | None = None
        self._workers = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="lake")
        self._guard = threading.Lock()

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a DuckDB connection for one thread; temporary tables end with it.

        Raises:
            LakeFullError: a sort or join spilled to the lake's folder and its disk is full.
        """
        with self._guard:
            if self._database is None:
                self._database = self._open()
            connection = self._database.cursor()
        try:
            with naming_disk_faults("temp"):
                yield connection
        finally:
            connection.close()

    def table_sql(self, *, dataset: Dataset, segments: Sequence[Segment]) -> str:
        """Return a subquery with the live rows of `dataset` that lie in `segments`, for use after FROM.

        It has our columns (`_file`, `_row`, `_person`, `_institution`, `_at`) and the fields that the present
        edition declares, in its types. A field that an older edition lacked is NULL there, and so is an old
        value that the present type cannot hold.
        """
        shapes: dict[Shape, list[Segment]] = {}
        for segment in segments:
            shapes.setdefault(segment.shape, []).append(segment)
        columns = lake_shape(dataset)
        parts = [self._part_sql(columns, shape, members) for shape, members in shapes.items()]
        return f"({' UNION ALL '.join(parts) or _empty_sql(columns)})"

    @property
    def name(self) -> str:
        """What the settings call this engine."""
        return "duckdb"

    def query(
        self, sql: str, *, functions: str = "", seconds: float | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one SELECT; see `LakeEngine`. Rows come as they are computed.

        With `seconds` it is stopped when it takes longer, the reading of the rows included.

        Raises:
            QueryStoppedError: it took longer than `seconds`.
            QueryRefusedError: it is not one SELECT, or names what is not there.
            QueryFailedError: it could not be computed; what it says is never a value.
            LakeFullError: the disk for intermediate results is full.
            SegmentLostError: a file that the manifest names is missing.
        """
        failure: LakeError | None = None
        with self.connection() as connection, _stopping(connection, seconds):
            try:
                define(connection, functions)
                yield from connection.execute(sole_select(connection, sql)).to_arrow_reader(_BATCH_ROWS)
            except WHILE_READING as error:
                failure = query_fault(error)
        if failure:
            # Not within the `except`: the error that may hold a value must not come along as the context.
            raise failure

    def each(self, work: Callable[[_S], _T], items: Iterable[_S]) -> list[_T]:
        """Return `work` done on every item, in order, on the engine's threads."""
        return list(self._workers.map(work, items))

    def close(self) -> None:
        """Close DuckDB and every file."""
        self._workers.shutdown()
        self.readers.close()
        with self._guard:
            if self._database:
                self._database.close()
                self._database = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        database = duckdb.connect(
            ":memory:",
            config={
                "threads": self._threads,
                "memory_limit": f"{self._memory_mib}MiB",
                "temp_directory": str(temp_folder(self.lake)),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
                "preserve_insertion_order": False,
            },
        )
        # DuckDB draws its bar on stdout, where commands print their one JSON object.
        database.execute("SET enable_progress_bar = false")
        # In this order: each takes away the right to change the one before.
        database.execute(f"SET allowed_directories = [{_literal(str(self.lake))}]")
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        return database

    def _part_sql(self, columns: Shape, shape: Shape, segments: Sequence[Segment]) -> str:
        present = dict(shape)
        terms = ", ".join(term_sql(name, kind, present.get(name)) for name, kind in columns)
        paths = ", ".join(_literal(str(self.lake / segment.path)) for segment in segments)
        return f"SELECT {terms} FROM read_parquet([{paths}]){_live_sql(segments)}"


@contextmanager
def _stopping(connection: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Interrupt what runs on `connection` once the time is over; with None there is no end."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _live_sql(segments: Sequence[Segment]) -> str:
    """Return the condition that leaves out what is superseded, file by file and row by row."""
    # A file's rows lie in one run only, so what is dropped in one segment is dropped in all.
    dropped = sorted({file for segment in segments for file in segment.dropped})
    rows: dict[int, list[int]] = {}
    for file, row in sorted({pair for segment in segments for pair in segment.dropped_rows}):
        rows.setdefault(file, []).append(row)
    conditions = [f"_file NOT IN ({', '.join(map(str, dropped))})"] if dropped else []
    conditions += [
        f"NOT (_file = {file} AND _row IN ({', '.join(map(str, numbers))}))" for file, numbers in rows.items()
    ]
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def term_sql(name: str, kind: str, present: str | None) -> str:
    """Return a column as `kind`, of a file that holds it as `present`, or not at all."""
    if present == kind:
        return quoted(name)
    value = f"TRY_CAST({quoted(name)} AS {kind})" if present else f"CAST(NULL AS {kind})"
    return f"{value} AS {quoted(name)}"


def _empty_sql(columns: Shape) -> str:
    return f"SELECT {', '.join(term_sql(name, kind, None) for name, kind in columns)} WHERE false"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
