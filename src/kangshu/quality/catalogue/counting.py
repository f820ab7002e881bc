"""The SELECTs that count values in the lake, in DuckDB's SQL and plain enough for Spark; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from kangshu.declarations import Dataset
from kangshu.lake import FIRST_MESSAGE_FILE, LakeFile

_COLUMNS_AT_ONCE = 48
"""So many columns are looked at in one pass: more would be read again for less memory, fewer more often."""
_FILES_AT_ONCE = 1000
_EXACT_AT_ONCE = 12
FEW = 50_000
"""Up to so many different values are counted one by one: of more, only an estimate stays small in memory."""


def files_sql(source: str) -> str:
    """Return the SELECT of the numbers of the files that senders sent."""
    return f"SELECT DISTINCT _file FROM {source} AS t WHERE _file < {FIRST_MESSAGE_FILE}"


def different_sql(source: str, columns: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield portions of `columns` with the SELECT of about how many values of each differ: `_c0, _c1 ...`.

    DuckDB's estimate has 64 registers: a standard error of 13 %, Spark's of 5 %.
    """
    for start in range(0, len(columns), _COLUMNS_AT_ONCE):
        part = tuple(columns[start : start + _COLUMNS_AT_ONCE])
        counts = ", ".join(
            f"approx_count_distinct({_quoted(name)}) AS _c{place}" for place, name in enumerate(part)
        )
        yield part, f"SELECT {counts} FROM {source} AS t"


def exact_sql(source: str, columns: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield portions of `columns` with the SELECT of how many values of each differ, counted one by one."""
    for start in range(0, len(columns), _EXACT_AT_ONCE):
        part = tuple(columns[start : start + _EXACT_AT_ONCE])
        counts = ", ".join(f"count(DISTINCT {_quoted(name)}) AS _c{place}" for place, name in enumerate(part))
        yield part, f"SELECT {counts} FROM {source} AS t"


def message_fill_sql(source: str, columns: Sequence[str]) -> str:
    """Return the SELECT of how many rows out of messages have a value, by institution and month."""
    return (
        f"SELECT {FIRST_MESSAGE_FILE} AS _file, {_cell_counts(columns)} FROM {source} AS t "
        f"WHERE _file >= {FIRST_MESSAGE_FILE} AND _institution IS NOT NULL GROUP BY 1, 2, 3"
    )


def file_fill_sql(source: str, columns: Sequence[str], files: Sequence[int]) -> Iterator[str]:
    """Yield the SELECTs of how many rows of `files` have a value, by file, institution and month."""
    for start in range(0, len(files), _FILES_AT_ONCE):
        numbers = ", ".join(map(str, files[start : start + _FILES_AT_ONCE]))
        yield (
            f"SELECT _file, {_cell_counts(columns)} FROM {source} AS t "
            f"WHERE _file IN ({numbers}) AND _institution IS NOT NULL GROUP BY 1, 2, 3"
        )


def content_digest(dataset: Dataset, *, rows: int, latest: LakeFile | None) -> bytes:
    """Return what changes with what the lake holds of a data set, or with its columns; merging is no change.

    Whatever comes in is a file, also what messages correct; what is only taken away leaves fewer `rows`.
    """
    said = [field.name for field in dataset.fields]
    said += [str(rows), f"{latest.id} {latest.committed_at.isoformat()}" if latest else ""]
    return hashlib.sha256("\0".join(said).encode()).digest()[:16]


def _cell_counts(columns: Sequence[str]) -> str:
    counts = ", ".join(f"count({_quoted(name)}) AS _c{place}" for place, name in enumerate(columns))
    month = "CAST(date_trunc('month', CAST(_at AS DATE)) AS DATE) AS _month"
    return f"_institution, {month}, count(*) AS _rows, {counts}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
