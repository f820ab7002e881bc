"""The only SQL on the catalogue's tables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from kangshu.lake import FIRST_MESSAGE_FILE
from kangshu.storage.database import Connection

# Arbitrary, but the same in every process: the advisory locks of those who add changes to the sums.
_LOCK_SPACE = 0x63617461

# What changed and is in no sum yet, a line for each column; the column '' counts rows.
_CHANGES = """
    SELECT c.dataset, u.column_name, c.month, c.sign * u.filled AS filled,
           CASE WHEN c.sign > 0 AND u.filled > 0 THEN c.received_at END AS last_arrival
    FROM {changes} c JOIN quality_fill_layout l USING (layout_id)
    CROSS JOIN LATERAL (SELECT '' AS column_name, c.accepted AS filled
                        UNION ALL SELECT * FROM unnest(l.column_names, c.filled)) u (column_name, filled)"""
_SOURCE_CHANGES = """
    SELECT dataset, institution, sign * files AS files, sign * whole_files AS whole_files,
           sign * accepted AS rows,
           CASE WHEN file_id < {first} THEN 0 ELSE sign * accepted END AS message_rows,
           CASE WHEN sign > 0 THEN received_at END AS last_arrival
    FROM {changes}"""


@dataclass(frozen=True, kw_only=True)
class Fill:
    """How many rows of a file, institution and month have a value, by column in the order of a layout."""

    file: int
    dataset: str
    institution: str
    month: date
    accepted: int
    columns: tuple[str, ...]
    filled: tuple[int, ...]
    received_at: datetime | None
    files: int
    whole_files: int
    settled: bool = False


@dataclass(frozen=True, kw_only=True)
class Different:
    """How many values of a column differ, counted or estimated."""

    count: int
    exact: bool


async def insert_fills(connection: Connection, *, fills: Sequence[Fill]) -> int:
    """Keep what is not kept yet, note it for the sums, and return how many."""
    layouts: dict[tuple[str, tuple[str, ...]], int] = {}
    for fill in fills:
        key = fill.dataset, fill.columns
        if key not in layouts:
            layouts[key] = await _find_or_insert_layout(connection, dataset=key[0], columns=key[1])
    count = 0
    for fill in fills:
        status = await connection.execute(
            """WITH kept AS (
                 INSERT INTO quality_fill
                   (file_id, dataset, institution, month, layout_id, accepted, filled, received_at, settled,
                    files, whole_files)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING RETURNING *)
               INSERT INTO quality_fill_change
                 (sign, file_id, dataset, institution, month, layout_id, accepted, filled, received_at,
                  files, whole_files)
               SELECT 1, file_id, dataset, institution, month, layout_id, accepted, filled, received_at,
                      files, whole_files
               FROM kept""",
            fill.file,
            fill.dataset,
            fill.institution,
            fill.month,
            layouts[fill.dataset, fill.columns],
            fill.accepted,
            list(fill.filled),
            fill.received_at,
            fill.settled,
            fill.files,
            fill.whole_files,
        )
        count += status == "INSERT 0 1"
    return count


async def delete_fills(connection: Connection, *, files: Sequence[int], dataset: str | None = None) -> int:
    """Take back what is kept of `files` (of one data set), and return how many entries there were."""
    status = await connection.execute(
        """WITH gone AS (
             DELETE FROM quality_fill WHERE file_id = ANY($1) AND ($2::text IS NULL OR dataset = $2)
             RETURNING *)
           INSERT INTO quality_fill_change
             (sign, file_id, dataset, institution, month, layout_id, accepted, filled, received_at,
              files, whole_files)
           SELECT -1, file_id, dataset, institution, month, layout_id, accepted, filled, received_at,
                  files, whole_files
           FROM gone""",
        list(files),
        dataset,
    )
    return int(status.split()[-1])


async def add_changes_to_sums(connection: Connection, *, dataset: str) -> None:
    """Bring the sums of a data set up to date; one at a time."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK_SPACE, dataset)
    await connection.execute(
        f"""WITH taken AS (DELETE FROM quality_fill_change WHERE dataset = $1 RETURNING *),
             by_month AS (
               INSERT INTO quality_fill_month AS m (dataset, column_name, month, filled, last_arrival)
               SELECT dataset, column_name, month, sum(filled), max(last_arrival)
               FROM ({_CHANGES.format(changes="taken")}) AS changes GROUP BY 1, 2, 3
               ON CONFLICT (dataset, column_name, month) DO UPDATE
                 SET filled = m.filled + excluded.filled,
                     last_arrival = greatest(m.last_arrival, excluded.last_arrival))
            INSERT INTO quality_fill_source AS s
              (dataset, institution, files, whole_files, rows, message_rows, last_arrival)
            SELECT dataset, institution, sum(files), sum(whole_files), sum(rows), sum(message_rows),
                   max(last_arrival)
            FROM ({_SOURCE_CHANGES.format(changes="taken", first=FIRST_MESSAGE_FILE)}) AS changes
            GROUP BY 1, 2
            ON CONFLICT (dataset, institution) DO UPDATE
              SET files = s.files + excluded.files, whole_files = s.whole_files + excluded.whole_files,
                  rows = s.rows + excluded.rows,
                  message_rows = s.message_rows + excluded.message_rows,
                  last_arrival = greatest(s.last_arrival, excluded.last_arrival)""",
        dataset,
    )


async def list_datasets_with_changes(connection: Connection) -> list[str]:
    """Return the data sets whose sums are not up to date."""
    rows = await connection.fetch("SELECT DISTINCT dataset FROM quality_fill_change ORDER BY 1")
    return [row["dataset"] for row in rows]


async def list_file_ids(connection: Connection, *, dataset: str) -> set[int]:
    """Return the files of which rows are counted, those of messages left out."""
    rows = await connection.fetch(
        "SELECT DISTINCT file_id FROM quality_fill WHERE dataset = $1 AND file_id < $2 AND accepted > 0",
        dataset,
        FIRST_MESSAGE_FILE,
    )
    return {row["file_id"] for row in rows}


async def list_unsettled(connection: Connection, *, dataset: str) -> list[Any]:
    """Return the files that were counted as a whole and have rows of several institutions or months.

    With each: when it came, for which month it was counted, and the month of all its rows where there is one.
    """
    return await connection.fetch(
        """SELECT f.file_id, min(f.received_at) AS received_at, min(f.month) AS month,
                  CASE WHEN count(DISTINCT u.month) = 1 THEN min(u.month) END AS one_month
           FROM quality_fill f JOIN quality_unit u USING (file_id)
           WHERE f.dataset = $1 AND NOT f.settled AND f.file_id < $2 AND u.rows > u.rejected
           GROUP BY 1
           HAVING count(DISTINCT (u.institution, u.month)) > 1
               OR bool_or((u.institution, u.month) <> (f.institution, f.month))""",
        dataset,
        FIRST_MESSAGE_FILE,
    )


async def list_months(
    connection: Connection, *, datasets: Sequence[str], institutions: Sequence[str] | None
) -> list[Any]:
    """Return for each data set, column and month the rows with a value (of the column '' all rows).

    For the whole region these are the sums and what is not in them yet; for some institutions their files.
    """
    if institutions is None:
        return await connection.fetch(
            f"""SELECT dataset, column_name, month, sum(filled)::bigint AS filled,
                       max(last_arrival) AS last_arrival
                FROM (SELECT dataset, column_name, month, filled, last_arrival FROM quality_fill_month
                      WHERE dataset = ANY($1)
                      UNION ALL {_CHANGES.format(changes="quality_fill_change")} WHERE c.dataset = ANY($1)
                     ) AS parts
                GROUP BY 1, 2, 3 HAVING sum(filled) > 0 ORDER BY 1, 2, 3""",
            list(datasets),
        )
    return await connection.fetch(
        f"""SELECT dataset, column_name, month, sum(filled)::bigint AS filled,
                   max(last_arrival) AS last_arrival
            FROM ({_CHANGES.format(changes="(SELECT *, 1 AS sign FROM quality_fill)")}
                  WHERE c.dataset = ANY($1) AND c.institution = ANY($2)) AS parts
            GROUP BY 1, 2, 3 HAVING sum(filled) > 0 ORDER BY 1, 2, 3""",
        list(datasets),
        list(institutions),
    )


async def sum_sources(
    connection: Connection, *, datasets: Sequence[str], institutions: Sequence[str] | None
) -> list[Any]:
    """Return for each data set what all institutions together gave, and how many they are."""
    changes = _SOURCE_CHANGES.format(changes="quality_fill_change", first=FIRST_MESSAGE_FILE)
    return await connection.fetch(
        f"""SELECT dataset, count(*) AS institutions, sum(files)::bigint AS files,
                   sum(whole_files)::bigint AS whole_files, sum(message_rows)::bigint AS message_rows,
                   max(last_arrival) AS last_arrival
            FROM (SELECT dataset, institution, sum(files) AS files, sum(whole_files) AS whole_files,
                         sum(rows) AS rows, sum(message_rows) AS message_rows,
                         max(last_arrival) AS last_arrival
                  FROM (SELECT dataset, institution, files, whole_files, rows, message_rows, last_arrival
                        FROM quality_fill_source UNION ALL {changes}) AS parts
                  WHERE dataset = ANY($1) AND ($2::text[] IS NULL OR institution = ANY($2))
                  GROUP BY 1, 2 HAVING sum(files) > 0 OR sum(rows) > 0) AS senders
            GROUP BY 1""",
        list(datasets),
        list(institutions) if institutions is not None else None,
    )


async def list_sources(
    connection: Connection, *, datasets: Sequence[str], institutions: Sequence[str] | None
) -> list[Any]:
    """Return what each institution gave of each data set, the most rows first."""
    changes = _SOURCE_CHANGES.format(changes="quality_fill_change", first=FIRST_MESSAGE_FILE)
    return await connection.fetch(
        f"""SELECT dataset, institution, sum(files)::bigint AS files, sum(rows)::bigint AS rows,
                   sum(message_rows)::bigint AS message_rows, max(last_arrival) AS last_arrival
            FROM (SELECT dataset, institution, files, whole_files, rows, message_rows, last_arrival
                  FROM quality_fill_source UNION ALL {changes}) AS parts
            WHERE dataset = ANY($1) AND ($2::text[] IS NULL OR institution = ANY($2))
            GROUP BY 1, 2 HAVING sum(files) > 0 OR sum(rows) > 0 ORDER BY 1, 4 DESC, 2""",
        list(datasets),
        list(institutions) if institutions is not None else None,
    )


async def list_column_sources(
    connection: Connection, *, dataset: str, column: str, institutions: Sequence[str] | None
) -> list[Any]:
    """Return for each institution how many of its rows have a value in a column, the most rows first."""
    return await connection.fetch(
        """SELECT f.institution, sum(f.files)::bigint AS files,
                  sum(f.accepted)::bigint AS rows,
                  coalesce(sum(f.accepted) FILTER (WHERE f.file_id >= $4), 0)::bigint AS message_rows,
                  coalesce(sum(f.filled[array_position(l.column_names, $2)]), 0)::bigint AS filled,
                  max(f.received_at) FILTER (WHERE f.filled[array_position(l.column_names, $2)] > 0)
                    AS last_arrival
           FROM quality_fill f JOIN quality_fill_layout l USING (layout_id)
           WHERE f.dataset = $1 AND ($3::text[] IS NULL OR f.institution = ANY($3))
           GROUP BY 1 HAVING sum(f.accepted) > 0 ORDER BY 3 DESC, 1""",
        dataset,
        column,
        list(institutions) if institutions is not None else None,
        FIRST_MESSAGE_FILE,
    )


async def list_column_files(
    connection: Connection,
    *,
    dataset: str,
    column: str,
    institutions: Sequence[str] | None,
    limit: int,
) -> list[Any]:
    """Return the latest files of a data set, and how many of their rows have a value in a column."""
    return await connection.fetch(
        """SELECT f.file_id AS file, f.institution, f.month, f.accepted AS rows,
                  coalesce(f.filled[array_position(l.column_names, $2)], 0) AS filled, f.received_at
           FROM quality_fill f JOIN quality_fill_layout l USING (layout_id)
           WHERE f.dataset = $1 AND ($3::text[] IS NULL OR f.institution = ANY($3)) AND f.file_id < $4
             AND f.accepted > 0
           ORDER BY f.file_id DESC, f.institution, f.month LIMIT $5""",
        dataset,
        column,
        list(institutions) if institutions is not None else None,
        FIRST_MESSAGE_FILE,
        limit,
    )


async def list_different(connection: Connection, *, datasets: Sequence[str]) -> list[Any]:
    """Return how many different values the columns have."""
    return await connection.fetch(
        "SELECT dataset, column_name, different, exact FROM quality_column WHERE dataset = ANY($1)",
        list(datasets),
    )


async def replace_different(
    connection: Connection, *, dataset: str, different: Mapping[str, Different]
) -> None:
    """Keep how many different values the columns have, in the place of what was kept."""
    await connection.execute("DELETE FROM quality_column WHERE dataset = $1", dataset)
    await connection.executemany(
        "INSERT INTO quality_column (dataset, column_name, different, exact) VALUES ($1, $2, $3, $4)",
        [(dataset, column, told.count, told.exact) for column, told in different.items()],
    )


async def list_refreshed(connection: Connection) -> dict[str, tuple[bytes, datetime]]:
    """Return for each data set what the lake held at the last look, and when that was."""
    rows = await connection.fetch("SELECT dataset, content, refreshed_at FROM quality_catalogue")
    return {row["dataset"]: (row["content"], row["refreshed_at"]) for row in rows}


async def put_refreshed(
    connection: Connection, *, dataset: str, content: bytes, started_at: datetime, now: datetime
) -> bool:
    """Put a look on record; False where one that began later is on record already."""
    status = await connection.execute(
        """INSERT INTO quality_catalogue AS c (dataset, content, started_at, refreshed_at)
           VALUES ($1, $2, $3, $4)
           ON CONFLICT (dataset) DO UPDATE SET content = $2, started_at = $3, refreshed_at = $4
             WHERE c.started_at <= $3""",
        dataset,
        content,
        started_at,
        now,
    )
    return status == "INSERT 0 1"


async def _find_or_insert_layout(connection: Connection, *, dataset: str, columns: tuple[str, ...]) -> int:
    digest = hashlib.sha256("\0".join(columns).encode()).digest()
    find = "SELECT layout_id FROM quality_fill_layout WHERE dataset = $1 AND digest = $2"
    found: Any = await connection.fetchval(find, dataset, digest)
    if found is None:
        await connection.execute(
            """INSERT INTO quality_fill_layout (dataset, column_names, digest) VALUES ($1, $2, $3)
               ON CONFLICT (dataset, digest) DO NOTHING""",
            dataset,
            list(columns),
            digest,
        )
        found = await connection.fetchval(find, dataset, digest)
    return found
