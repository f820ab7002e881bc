"""Link a whole table with a model: block, compare, weigh and guard in columns, then cluster.

DuckDB compares; the pairs are found and the clusters made with numpy. No loop goes over rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from kangshu.identity.linkage.blocking import block_pairs
from kangshu.identity.linkage.clustering import Clustering, cluster_rows
from kangshu.identity.linkage.conditions import Condition, Near
from kangshu.identity.linkage.model import LinkageModel, Verdict
from kangshu.identity.linkage.scoring import TERM_PREFIX, columns_of, pair_sql, term_bits, term_columns

_PIECE = 20_000
VERDICTS = (Verdict.LINK, Verdict.POSSIBLE, Verdict.DIFFERENT)


@dataclass(frozen=True, kw_only=True)
class Linkage:
    """What linking a table found. Records are told by the values of its column `record`."""

    edges: pa.Table
    """one, other, weight (bits), verdict: every compared pair of at least the model's `review_at` bits."""
    clusters: pa.Table
    """record, cluster: records of one person have one number, that of the first of them in the table."""
    reviews: pa.Table
    """one, other, weight: pairs that a human should look at, the heaviest first; none lies in one cluster."""
    compared: int
    """Pairs that share a blocking key."""


def link_table(
    model: LinkageModel,
    *,
    profiles: pa.Table,
    threads: int = 2,
    memory_limit: str = "1GiB",
    scratch: Path | None = None,
    support: float | None = 0.0,
) -> Linkage:
    """Return who is who in the table of profiles: `record` (unique) and the columns of the model.

    Two clusters become one only where the pairs between them say on average at least `support` bits (None:
    one link is enough). Columns of the model that the table lacks are unknown. What does not fit into
    `memory_limit` goes to `scratch` (a folder of the system's where none is given).
    """
    with open_engine(threads, memory_limit, scratch) as engine:
        rows = load_profiles(engine, model, profiles)
        pairs = find_pairs(engine, model, rows)
        scored = score_rows(engine, model, pairs, rows=rows, least=model.review_at)
        clustering = cluster_rows(
            scored,
            rows=rows,
            margin=model.margin,
            support=support,
            ask=lambda asked: score_rows(engine, model, asked, rows=rows, least=None),
        )
    return _linkage(profiles["record"], scored, clustering, len(pairs))


def score_pairs(model: LinkageModel, *, profiles: pa.Table, pairs: pa.Table) -> pa.Table:
    """Return one, other, weight, verdict and each comparison's level for pairs of values of `record`.

    A level is told by its number: -1 unknown, 0 the first of the model, the last is the `otherwise`.
    The pairs keep their order; both records must be in the table.
    """
    places = pa.table({"record": profiles["record"], "place": np.arange(profiles.num_rows, dtype=np.uint64)})
    with open_engine(2, "1GiB", None) as engine:
        rows = load_profiles(engine, model, profiles)
        engine.register("asked", pairs.select(["one", "other"]))
        engine.register("places", places)
        found = engine.execute(
            "SELECT a.place AS one, b.place AS other FROM (SELECT *, row_number() OVER () AS n FROM asked) p"
            " JOIN places a ON a.record = p.one JOIN places b ON b.record = p.other ORDER BY n"
        ).fetchnumpy()
        codes = found["one"] * np.uint64(rows) + found["other"]
        distinct, back = np.unique(codes, return_inverse=True)
        scored = score_rows(engine, model, distinct, rows=rows, least=None, levels=True).take(pa.array(back))
    verdicts = pa.array([verdict.value for verdict in VERDICTS]).take(scored["verdict"].cast(pa.int64()))
    names = [comparison.name for comparison in model.comparisons]
    return pa.table(
        {
            "one": pairs["one"],
            "other": pairs["other"],
            "weight": scored["weight"],
            "verdict": verdicts,
            **{name: scored[f"level_{place}"] for place, name in enumerate(names)},
        }
    )


@contextmanager
def open_engine(threads: int, memory_limit: str, scratch: Path | None) -> Iterator[duckdb.DuckDBPyConnection]:
    with tempfile.TemporaryDirectory(prefix="kangshu-linkage-", dir=scratch) as folder:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": str(threads),
            "memory_limit": memory_limit,
            "temp_directory": folder,
            "python_enable_replacements": "false",
            "preserve_insertion_order": "false",
        }
        with duckdb.connect(":memory:", config=config) as engine:
            yield engine


def load_profiles(engine: duckdb.DuckDBPyConnection, model: LinkageModel, profiles: pa.Table) -> int:
    """Make the table `profile`: `place` (the row's number), the model's columns, terms; return rows."""
    place = pa.array(np.arange(profiles.num_rows, dtype=np.uint64))
    columns = columns_of(model)
    there = [column for column in columns if column in profiles.column_names]
    engine.register("given", profiles.select(there).append_column("place", place))
    told = ["g.place", *(f"g.{column}" if column in there else _missing(column, model) for column in columns)]
    joins = []
    for number, column in enumerate(term_columns(model)):
        values = model.terms.get(column, {})
        engine.register(
            f"term_{number}",
            pa.table(
                {
                    "value": pa.array(list(values), pa.string()),
                    "bits": pa.array([term_bits(model, column, value) for value in values], pa.float64()),
                }
            ),
        )
        # The value that nobody told has a text that cannot be told.
        rare = f"({term_bits(model, column, chr(0)):.17e})"
        text = f"g.{column}::VARCHAR" if column in there else "NULL"
        joins.append(f"LEFT JOIN term_{number} t{number} ON t{number}.value = {text}")
        told.append(
            f"CASE WHEN {text} IS NOT NULL THEN coalesce(t{number}.bits, {rare}) END AS {TERM_PREFIX}{column}"
        )
    engine.execute(
        f"CREATE OR REPLACE TABLE profile AS SELECT {', '.join(told)} FROM given g {' '.join(joins)}"
    )
    engine.unregister("given")
    return profiles.num_rows


def _missing(column: str, model: LinkageModel) -> str:
    conditions = [guard.condition for guard in model.guards]
    for comparison in model.comparisons:
        conditions += [comparison.known, *(level.condition for level in comparison.levels)]
    numbers = {number for condition in conditions for number in _numbers(condition)}
    return f"NULL::{'INTEGER' if column in numbers else 'VARCHAR'} AS {column}"


def _numbers(condition: Condition) -> Iterator[str]:
    """Yield the columns that the condition takes for numbers."""
    if isinstance(condition, Near):
        yield condition.column
    of = getattr(condition, "of", ())
    for part in of if isinstance(of, tuple) else (of,):
        yield from _numbers(part)


def find_pairs(engine: duckdb.DuckDBPyConnection, model: LinkageModel, rows: int) -> np.ndarray:
    """Return the pairs that share a blocking key, as one * rows + other."""
    columns = columns_of(model)
    told = [f"hash({', '.join(key.columns)}) AS key_{place}" for place, key in enumerate(model.keys)]
    has = [
        f"({' AND '.join(f'{column} IS NOT NULL' for column in key.columns)}) AS has_{place}"
        for place, key in enumerate(model.keys)
    ]
    likeness = f"hash({', '.join(columns)}) AS likeness"
    found = engine.execute(
        f"SELECT {', '.join([*told, *has, likeness])} FROM profile ORDER BY place"
    ).fetchnumpy()
    places = range(len(model.keys))
    return block_pairs(
        [np.asarray(found[f"key_{place}"]) for place in places],
        [np.asarray(found[f"has_{place}"], dtype=bool) for place in places],
        likeness=np.asarray(found["likeness"]),
    )


def register_pairs(engine: duckdb.DuckDBPyConnection, pairs: np.ndarray, rows: int) -> None:
    """Make the pairs (one * rows + other) the table `pair` of the engine."""
    # In pieces, because DuckDB gives each to a thread; as two columns, because a remainder in the join
    # would hide that it can join by a hash.
    count = np.uint64(max(rows, 1))
    table = pa.table({"one": pairs // count, "other": pairs % count})
    engine.register("pair", pa.Table.from_batches(table.to_batches(max_chunksize=_PIECE), table.schema))


def score_rows(
    engine: duckdb.DuckDBPyConnection,
    model: LinkageModel,
    pairs: np.ndarray,
    *,
    rows: int,
    least: float | None,
    levels: bool = False,
) -> pa.Table:
    """Return one, other, weight, verdict (0 link, 1 possible, 2 different) and vetoed, ordered by pair.

    Pairs below `least` bits are left out.
    """
    sql = pair_sql(model, one="a", other="b")
    register_pairs(engine, pairs, rows)
    inner = [f"{text} AS {name}" for name, text in (sql.levels | sql.bits | sql.guards).items()]
    vetoes = [
        f"guard_{place}" for place, guard in enumerate(model.guards) if guard.verdict is Verdict.DIFFERENT
    ]
    told = [
        "one",
        "other",
        "weight",
        f"{sql.verdict} AS verdict",
        f"({' OR '.join(vetoes) or 'false'}) AS vetoed",
    ]
    found = engine.execute(
        f"WITH compared AS (SELECT a.place AS one, b.place AS other, {', '.join(inner)} FROM pair p"
        " JOIN profile a ON a.place = p.one JOIN profile b ON b.place = p.other),"
        f" weighed AS (SELECT *, {sql.weight} AS weight FROM compared)"
        f" SELECT {', '.join([*told, *(sql.levels if levels else ())])} FROM weighed"
        f" {'' if least is None else f'WHERE weight >= {least:.17e}'} ORDER BY one, other"
    ).to_arrow_table()
    engine.unregister("pair")
    return found


def _linkage(record: pa.ChunkedArray, scored: pa.Table, clustering: Clustering, compared: int) -> Linkage:
    verdicts = pa.array([verdict.value for verdict in VERDICTS]).take(scored["verdict"].cast(pa.int64()))
    return Linkage(
        edges=pa.table(
            {
                "one": record.take(scored["one"]),
                "other": record.take(scored["other"]),
                "weight": scored["weight"],
                "verdict": verdicts,
            }
        ),
        clusters=pa.table({"record": record, "cluster": clustering.cluster}),
        reviews=pa.table(
            {
                "one": record.take(pa.array(clustering.review_one)),
                "other": record.take(pa.array(clustering.review_other)),
                "weight": clustering.review_weight,
            }
        ),
        compared=compared,
    )
