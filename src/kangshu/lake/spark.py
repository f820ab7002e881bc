# pyright: reportMissingImports=false
# Spark is an optional extra: where it is not installed, its types are unknown.
"""Spark on the lake: the same segments, the same SQL, the same answers as DuckDB, on many machines.

A query is bound by DuckDB first, over empty tables of the same types: what DuckDB refuses is refused here,
and the types of the answer are DuckDB's. Then it is translated (`dialect`), and Spark writes the answer as
Parquet into the lake's temporary folder, from which it is read in portions: neither side holds it whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kangshu.declarations import Dataset
from kangshu.lake.engine import term_sql
from kangshu.lake.errors import (
    EngineMissingError,
    LakeError,
    LakeFullError,
    QueryFailedError,
    QueryRefusedError,
    SegmentLostError,
    say,
)
from kangshu.lake.folder import lake_folder, temp_folder
from kangshu.lake.model import Segment
from kangshu.lake.querying import WHILE_READING, define, query_fault, sole_select
from kangshu.lake.schema import Shape, lake_shape, quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_BATCH_ROWS = 1 << 16
# Tables that were named by `table_sql` and may still be asked; a region's data sets are some dozens.
_MOST_TABLES = 512
_SAME_AS_DUCKDB = {
    "spark.sql.ansi.enabled": "true",  # an overflow is an error, not another number
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.caseSensitive": "false",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
}
_QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Spark's logs quote the values that it could not compute with.
    "spark.log.level": "OFF",
    "spark.executor.syncLogLevel.enabled": "true",
    "spark.sql.catalogImplementation": "in-memory",
}
_LOGS = Path(__file__).with_name("spark_log4j2.properties")

_sessions_guard = threading.Lock()
_sessions = 0


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Live rows of some segments as they were written: one view of Spark's for each shape."""

    views: Mapping[str, Shape]
    segments: Mapping[str, tuple[Segment, ...]]


class SparkEngine:
    """The lake of `home` for computing with Spark; one for each process, used from any thread.

    `master` is Spark's word for where: `local[*]` this machine's processors, `local-cluster[2,1,1024]` two
    processes of one processor and 1024 MiB, `spark://...` or `yarn` a cluster that sees the lake's folder
    under the same path. `options` are Spark's own settings, as `spark.executor.memory`; `memory_mib` is the
    driver's.
    """

    def __init__(
        self,
        home: Path,
        *,
        master: str = "local[*]",
        memory_mib: int = 1024,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.lake = lake_folder(home)
        self._master = master
        self._memory_mib = memory_mib
        self._options = dict(options or {})
        self._guard = threading.RLock()
        self._tables: OrderedDict[str, _Table] = OrderedDict()
        self._shown: dict[str, str] = {}
        self._session: SparkSession | None = None
        self._binder: duckdb.DuckDBPyConnection | None = None

    @property
    def name(self) -> str:
        """What the settings call this engine."""
        return "spark"

    def table_sql(self, *, dataset: Dataset, segments: Sequence[Segment]) -> str:
        """Return what this engine reads after FROM: the live rows of `dataset` in `segments`.

        Columns and types are as with `Engine.table_sql`. The segments are remembered under the name that the
        text holds, so it is good for this engine only.
        """
        shapes: dict[Shape, list[Segment]] = {}
        for segment in segments:
            shapes.setdefault(segment.shape, []).append(segment)
        columns = lake_shape(dataset)
        if not shapes:
            return f"(SELECT {', '.join(term_sql(name, kind, None) for name, kind in columns)} WHERE false)"
        name = _name_of(dataset, segments)
        views = {f"{name}_{number}": shape for number, shape in enumerate(shapes)}
        with self._guard:
            self._tables[name] = _Table(
                views=views,
                segments={view: tuple(shapes[shape]) for view, shape in views.items()},
            )
            self._tables.move_to_end(name)
            while len(self._tables) > _MOST_TABLES:
                self._forget(self._tables.popitem(last=False)[1])
        parts = [_part_sql(columns, shape, view) for view, shape in views.items()]
        return f"({' UNION ALL '.join(parts)})"

    def query(self, sql: str, *, functions: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the rows of one SELECT in DuckDB's SQL; see `LakeEngine`.

        Raises:
            QueryRefusedError: it is not one SELECT, or not one whose result is known to be DuckDB's.
            QueryFailedError: it could not be computed; what it says is never a value.
            EngineMissingError: pyspark or Java is not installed.
            LakeFullError: the disk for intermediate results is full.
            SegmentLostError: a file that the manifest names is missing.
        """
        plan = self._plan(sql, functions)
        answer = temp_folder(self.lake) / f"spark-{uuid4().hex}"
        try:
            self._compute(plan, answer)
            yield from _portions(answer, plan.schema)
        finally:
            shutil.rmtree(answer, ignore_errors=True)

    def explain(self, sql: str, *, functions: str = "") -> str:
        """Return the Spark SQL that stands for `sql`.

        Raises:
            QueryRefusedError: as with `query`.
        """
        return self._plan(sql, functions).sql

    def close(self) -> None:
        """Stop Spark, unless another engine of this process uses it."""
        global _sessions
        with self._guard:
            if self._binder:
                self._binder.close()
                self._binder = None
            session, self._session = self._session, None
            if session is None:
                return
            with _sessions_guard:
                _sessions -= 1
                if not _sessions:
                    application = session.sparkContext.applicationId
                    session.stop()
                    if application and self._master.startswith("local-cluster"):
                        _remove_work(application)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- planning

    def _plan(self, sql: str, functions: str) -> _Plan:
        failure: LakeError | None = None
        schema, kinds = pa.schema([]), list[str]()
        with self._guard:
            tables = {view: shape for table in self._tables.values() for view, shape in table.views.items()}
            connection = self._bind(tables).cursor()
        try:
            define(connection, functions)
            result = connection.execute(sole_select(connection, sql))
            kinds = [str(column[1]) for column in result.description or []]
            schema = result.to_arrow_reader().schema
        except WHILE_READING as error:
            failure = query_fault(error)
        finally:
            connection.close()
        if failure:
            raise failure
        # The parser takes a tenth of a second to import, which who uses DuckDB alone need not wait for.
        from kangshu.lake.dialect import to_spark

        known = {view: dict(shape) for view, shape in tables.items()}
        return _Plan(sql=to_spark(sql, functions, tables=known), schema=schema, kinds=kinds)

    def _bind(self, tables: Mapping[str, Shape]) -> duckdb.DuckDBPyConnection:
        """Return a DuckDB that has each of `tables`, all empty."""
        if self._binder is None:
            self._binder = duckdb.connect(
                ":memory:", config={"threads": 1, "enable_external_access": False, "memory_limit": "256MiB"}
            )
            self._binder.execute("SET enable_progress_bar = false")
        made = {row[0] for row in self._binder.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        for view in set(tables) - made:
            columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in tables[view])
            self._binder.execute(f"CREATE TABLE {quoted(view)} ({columns})")
        for view in made - set(tables):
            self._binder.execute(f"DROP TABLE {quoted(view)}")
        return self._binder

    def _forget(self, table: _Table) -> None:
        for view in table.views:
            if self._shown.pop(view, None) and self._session:
                self._session.catalog.dropTempView(view)

    # --- computing

    def _compute(self, plan: _Plan, answer: Path) -> None:
        failure: LakeError | None = None
        session = self._spark()
        import pyspark.errors
        from py4j.protocol import Py4JError

        try:
            with self._guard:
                for table in self._tables.values():
                    self._show(session, table, plan.sql)
            frame = session.sql(plan.sql).toDF(*(f"c{number}" for number in range(len(plan.kinds))))
            terms = [
                f"CAST(c{number} AS {_spark_word(kind)}) AS c{number}"
                for number, kind in enumerate(plan.kinds)
            ]
            frame.selectExpr(*terms).write.parquet(answer.as_uri())
        except (pyspark.errors.PySparkException, Py4JError) as error:
            failure = _fault(error)
        if failure:
            # Not within the `except`: Spark's error may quote a value, and would be carried along.
            raise failure

    def _show(self, session: SparkSession, table: _Table, sql: str) -> None:
        """Let Spark know the views that `sql` names."""
        for view, shape in table.views.items():
            if view in sql and view not in self._shown:
                self._read(session, shape, table.segments[view]).createTempView(view)
                self._shown[view] = view

    def _read(self, session: SparkSession, shape: Shape, segments: Sequence[Segment]) -> DataFrame:
        columns = ", ".join(f"`{name}` {_spark_word(kind)}" for name, kind in shape)
        paths = [_without_globs((self.lake / segment.path).as_uri()) for segment in segments]
        frame = session.read.schema(columns).parquet(*paths)
        # A file's rows lie in one run only, so what is dropped in one segment is dropped in all.
        files = sorted({file for segment in segments for file in segment.dropped})
        rows = sorted({pair for segment in segments for pair in segment.dropped_rows})
        if files:
            gone = session.createDataFrame([(file,) for file in files], "_file BIGINT")
            frame = frame.join(_small(gone), ["_file"], "left_anti")
        if rows:
            gone = session.createDataFrame(rows, "_file BIGINT, _row BIGINT")
            frame = frame.join(_small(gone), ["_file", "_row"], "left_anti")
        return frame

    def _spark(self) -> SparkSession:
        global _sessions
        with self._guard:
            if self._session is None:
                with _sessions_guard:
                    self._session = self._start()
                    _sessions += 1
            return self._session

    def _start(self) -> SparkSession:
        _require_java()
        try:
            from pyspark.errors import PySparkException
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise EngineMissingError(say["engine_missing"]) from error
        builder: Any = SparkSession.builder
        builder = builder.appName("kangshu").master(self._master)
        for name, value in {**self._defaults(), **_QUIET, **self._options, **_SAME_AS_DUCKDB}.items():
            builder = builder.config(name, value)
        # pyspark itself would write its errors, with what they quote, to stderr.
        logging.getLogger("SQLQueryContextLogger").disabled = True
        try:
            first = builder.getOrCreate()
        except PySparkException as error:
            raise EngineMissingError(say["engine_missing"]) from error
        session = first.newSession()
        for name, value in _SAME_AS_DUCKDB.items():
            session.conf.set(name, value)
        if "spark.sql.shuffle.partitions" not in self._options:
            # Spark's 200 are for hundreds of processors; adaptive execution joins what stays small.
            parts = 3 * int(first.sparkContext.defaultParallelism)
            session.conf.set("spark.sql.shuffle.partitions", str(max(parts, 4)))
        return session

    def _defaults(self) -> dict[str, str]:
        logs = f"-Dlog4j2.configurationFile={_LOGS.as_uri()}"
        settings = {
            "spark.driver.memory": f"{self._memory_mib}m",
            "spark.driver.extraJavaOptions": logs,
            "spark.sql.warehouse.dir": (temp_folder(self.lake) / "spark-warehouse").as_uri(),
            "spark.sql.parquet.compression.codec": "zstd",
        }
        if self._master.startswith("local"):
            # Executors run here: nobody else may talk to them.
            settings |= {
                "spark.driver.host": "127.0.0.1",
                "spark.driver.bindAddress": "127.0.0.1",
                "spark.local.dir": str(temp_folder(self.lake)),
                "spark.executor.extraJavaOptions": logs,
            }
        if self._master.startswith("local-cluster"):
            settings |= {"spark.executor.memory": f"{self._master.rstrip(']').rsplit(',', 1)[-1].strip()}m"}
        return settings


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A query in Spark's SQL, and what DuckDB would answer to it: columns, types."""

    sql: str
    schema: pa.Schema
    kinds: Sequence[str]


def open_spark(
    home: Path, *, master: str = "local[*]", memory_mib: int = 1024, options: Mapping[str, str] | None = None
) -> SparkEngine:
    """Return a Spark engine on the lake of `home`; Spark itself starts with the first query.

    Raises:
        EngineMissingError: pyspark or Java is not installed; the text says how to get them.
    """
    _require_java()
    try:
        import pyspark  # noqa: F401 - whether it is there
    except ImportError as error:
        raise EngineMissingError(say["engine_missing"]) from error
    return SparkEngine(home, master=master, memory_mib=memory_mib, options=options)


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if not (shutil.which("java") or (home and (Path(home) / "bin" / "java").exists())):
        raise EngineMissingError(say["engine_missing"])


def _name_of(dataset: Dataset, segments: Sequence[Segment]) -> str:
    """Return a name for what is read: the same for the same segments and losses, another for any other."""
    told = repr([(s.path, s.shape, s.dropped, s.dropped_rows) for s in segments])
    return f"lake_{dataset.name}_{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _part_sql(columns: Shape, shape: Shape, view: str) -> str:
    present = dict(shape)
    terms = ", ".join(term_sql(name, kind, present.get(name)) for name, kind in columns)
    return f"SELECT {terms} FROM {quoted(view)}"


def _spark_word(kind: str) -> str:
    from kangshu.lake.dialect import canonical, spark_type

    word = spark_type(canonical("INTEGER" if kind == "NULL" else kind))
    if word is None:
        raise QueryRefusedError(say("not_in_spark", what=kind))
    return word


def _without_globs(uri: str) -> str:
    # Hadoop would take these in a path for patterns.
    return "".join(f"\\{letter}" if letter in "{}[]*?\\" else letter for letter in uri)


def _small(frame: DataFrame) -> DataFrame:
    from pyspark.sql.functions import broadcast

    return broadcast(frame)


def _portions(answer: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield what Spark wrote, part after part, in the types that DuckDB would have given."""
    for path in sorted(answer.glob("part-*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                columns = [
                    column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _fault(error: Exception) -> LakeError:
    """Return what to raise for an error of Spark's: its text may quote a value, its condition does not."""
    text = str(error)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return LakeFullError(say["full"], place="temp")
    if "PATH_NOT_FOUND" in text or "FILE_NOT_EXIST" in text or "FileNotFoundException" in text:
        return SegmentLostError(say["lost"])
    condition = getattr(error, "getCondition", lambda: None)() or type(error).__name__
    if type(error).__name__ in ("AnalysisException", "ParseException"):
        return QueryRefusedError(say("query_refused", reason=str(condition)))
    return QueryFailedError(say("query_failed", reason=str(condition)))


def _remove_work(application: str) -> None:
    """Remove what the processes of a local cluster wrote beside Spark's own files."""
    import pyspark

    home = Path(os.environ.get("SPARK_HOME") or Path(str(pyspark.__file__)).parent)
    shutil.rmtree(home / "work" / application, ignore_errors=True)
