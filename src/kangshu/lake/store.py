"""The only SQL on the manifest's tables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from kangshu.kernel.periods import Period
from kangshu.lake.folder import relative
from kangshu.lake.model import FileSource, FileState, LakeFile, Run, Segment, SegmentFile, Staging
from kangshu.lake.schema import Shape
from kangshu.storage.database import Connection

# Arbitrary, but the same in every process: the first half of our advisory locks.
_LOCK_SPACE = 0x6C616B65
_COMMIT_LOCK = 0
# Of the flushes of staged rows, and of those who change many files' records at once.
_FLUSH_SPACE = 0x6C616B66
_FILES_SPACE = 0x6C616B72

_NEAR = """
SELECT s.segment_id, s.run_id, r.dataset, s.path, s.rows, s.bytes,
       s.min_person, s.max_person, s.min_at, s.max_at,
       s.filter IS NOT NULL AS has_filter, r.is_sorted, r.shape_id
FROM lake_segment s JOIN lake_run r USING (run_id)
WHERE r.retired_at IS NULL
  AND ($1::text[] IS NULL OR r.dataset = ANY($1)) AND ($2::bigint[] IS NULL OR r.run_id = ANY($2))
  AND ($4::bigint[] IS NULL OR r.run_id IN (SELECT run_id FROM lake_file WHERE file_id = ANY($4)))"""
_RANGE = "s.min_person IS NOT NULL AND int8range(s.min_person, s.max_person, '[]')"
_OF_NOBODY = "$3::bigint[] IS NULL"
_OF_ONE = f"{_RANGE} @> ($3::bigint[])[1]"
_OF_SEVERAL = f"EXISTS (SELECT FROM unnest($3::bigint[]) person WHERE {_RANGE} @> person)"


async def lock_commit(connection: Connection) -> None:
    """Keep sweeps out until the end of the transaction: files on the disk are about to be in the manifest."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1, $2)", _LOCK_SPACE, _COMMIT_LOCK)


async def try_lock_sweep(connection: Connection) -> bool:
    """Keep commits out until the end of the transaction, if none is under way."""
    row = await connection.fetchrow(
        "SELECT pg_try_advisory_xact_lock($1, $2) AS got", _LOCK_SPACE, _COMMIT_LOCK
    )
    return row is not None and row["got"]


async def try_lock_dataset(connection: Connection, *, dataset: str) -> bool:
    """Take the data set's compaction lock for this connection, if nobody has it."""
    row = await connection.fetchrow(
        "SELECT pg_try_advisory_lock($1, $2) AS got", _LOCK_SPACE, _dataset_lock(dataset)
    )
    return row is not None and row["got"]


async def unlock_dataset(connection: Connection, *, dataset: str) -> None:
    await connection.execute("SELECT pg_advisory_unlock($1, $2)", _LOCK_SPACE, _dataset_lock(dataset))


def _dataset_lock(dataset: str) -> int:
    digest = hashlib.sha256(dataset.encode()).digest()
    return max(int.from_bytes(digest[:3]), _COMMIT_LOCK + 1)


async def insert_file(
    connection: Connection,
    *,
    file_id: int,
    dataset: str,
    institution: str,
    period: Period | None,
    rows: int,
    run_id: int | None,
    source: FileSource = FileSource.FILE,
) -> bool:
    """Put a live file on record; False where the number is on record already."""
    status = await connection.execute(
        """INSERT INTO lake_file
             (file_id, dataset, institution, period_start, period_end, rows, run_id, source)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (file_id) DO NOTHING""",
        file_id,
        dataset,
        institution,
        period.start if period else None,
        period.end if period else None,
        rows,
        run_id,
        source,
    )
    return status == "INSERT 0 1"


async def insert_run(connection: Connection, *, dataset: str, segments: Sequence[SegmentFile]) -> int:
    """Put a run of at least one segment in the manifest and return its number."""
    shape_id = await _find_or_insert_shape(connection, dataset=dataset, shape=segments[0].shape)
    run_id: Any = await connection.fetchval(
        "INSERT INTO lake_run (dataset, shape_id, rows, is_sorted) VALUES ($1, $2, $3, $4) RETURNING run_id",
        dataset,
        shape_id,
        sum(segment.rows for segment in segments),
        all(segment.is_sorted for segment in segments),
    )
    await connection.executemany(
        """INSERT INTO lake_segment
             (run_id, path, rows, bytes, min_person, max_person, min_at, max_at, filter)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        [(run_id, *_segment_values(segment)) for segment in segments],
    )
    return run_id


def _segment_values(segment: SegmentFile) -> tuple[Any, ...]:
    return (
        relative(segment.path),
        segment.rows,
        segment.bytes,
        segment.min_person,
        segment.max_person,
        segment.min_at,
        segment.max_at,
        segment.filter,
    )


async def _find_or_insert_shape(connection: Connection, *, dataset: str, shape: Shape) -> int:
    columns = "\n".join(f"{name} {kind}" for name, kind in shape)
    digest = hashlib.sha256(columns.encode()).digest()
    find = "SELECT shape_id FROM lake_shape WHERE dataset = $1 AND digest = $2"
    found: Any = await connection.fetchval(find, dataset, digest)
    if found is None:
        await connection.execute(
            """INSERT INTO lake_shape (dataset, columns, digest) VALUES ($1, $2, $3)
               ON CONFLICT (dataset, digest) DO NOTHING""",
            dataset,
            columns,
            digest,
        )
        found = await connection.fetchval(find, dataset, digest)
    return found


async def mark_superseded(connection: Connection, *, file_id: int) -> bool:
    """End a file's life; False where no live file has the number."""
    status = await connection.execute(
        "UPDATE lake_file SET superseded_at = now() WHERE file_id = $1 AND superseded_at IS NULL", file_id
    )
    return status == "UPDATE 1"


async def list_segments(
    connection: Connection,
    *,
    datasets: Sequence[str] | None = None,
    persons: Sequence[int] | None = None,
    runs: Sequence[int] | None = None,
    files: Sequence[int] | None = None,
) -> list[Segment]:
    """Return the live segments that may hold rows of these, as of one moment, ordered by data set and run."""
    of_persons = _OF_SEVERAL if persons is None or len(persons) != 1 else _OF_ONE
    near = _OF_NOBODY if persons is None else of_persons
    about = "true" if persons is None else "d.person = ANY($3)"
    # One statement, so that files that replace each other are seen as of one moment.
    rows = await connection.fetch(
        f"""WITH near AS MATERIALIZED ({_NEAR} AND {near}),
            dropped AS (
              SELECT run_id, array_agg(file_id ORDER BY file_id) AS files FROM lake_file
              WHERE superseded_at IS NOT NULL AND run_id IN (SELECT run_id FROM near)
              GROUP BY run_id),
            dropped_row AS (
              SELECT f.run_id, array_agg(d.file_id ORDER BY d.file_id, d.row) AS row_files,
                     array_agg(d.row ORDER BY d.file_id, d.row) AS row_numbers
              FROM lake_dropped_row d JOIN lake_file f USING (file_id)
              WHERE {about} AND f.run_id IN (SELECT run_id FROM near)
              GROUP BY f.run_id)
            SELECT near.*, dropped.files, dropped_row.row_files, dropped_row.row_numbers
            FROM near LEFT JOIN dropped USING (run_id) LEFT JOIN dropped_row USING (run_id)
            ORDER BY dataset, run_id, min_person, segment_id""",
        datasets,
        runs,
        persons,
        files,
    )
    shapes = await _list_shapes(connection, {row["shape_id"] for row in rows})
    return [_segment(row, shapes) for row in rows]


async def _list_shapes(connection: Connection, shapes: set[int]) -> dict[int, Shape]:
    rows = await connection.fetch(
        "SELECT shape_id, columns FROM lake_shape WHERE shape_id = ANY($1)", list(shapes)
    )
    return {row["shape_id"]: _parse_shape(row["columns"]) for row in rows}


@lru_cache(maxsize=1024)
def _parse_shape(columns: str) -> Shape:
    pairs = (column.split(" ", 1) for column in columns.split("\n"))
    return tuple((name, kind) for name, kind in pairs)


def _segment(row: Any, shapes: Mapping[int, Shape]) -> Segment:
    return Segment(
        id=row["segment_id"],
        run=row["run_id"],
        dataset=row["dataset"],
        path=row["path"],
        rows=row["rows"],
        bytes=row["bytes"],
        is_sorted=row["is_sorted"],
        min_person=row["min_person"],
        max_person=row["max_person"],
        min_at=row["min_at"],
        max_at=row["max_at"],
        has_filter=row["has_filter"],
        dropped=tuple(row["files"] or ()),
        dropped_rows=tuple(zip(row["row_files"] or (), row["row_numbers"] or (), strict=True)),
        shape=shapes[row["shape_id"]],
    )


async def list_filters(connection: Connection, *, segments: Sequence[int]) -> dict[int, bytes]:
    """Return the filters of those of `segments` that are still there and have one."""
    rows = await connection.fetch(
        "SELECT segment_id, filter FROM lake_segment WHERE segment_id = ANY($1) AND filter IS NOT NULL",
        segments,
    )
    return {row["segment_id"]: row["filter"] for row in rows}


async def list_runs(connection: Connection, *, dataset: str) -> list[Run]:
    """Return the live runs of a data set, oldest first."""
    rows = await connection.fetch(
        """SELECT r.run_id, h.columns, r.is_sorted, r.rows,
                  (coalesce(dead.rows, 0) + coalesce(dropped.rows, 0))::bigint AS dead_rows
           FROM lake_run r JOIN lake_shape h USING (shape_id)
           LEFT JOIN LATERAL (SELECT sum(f.rows) AS rows FROM lake_file f
                              WHERE f.run_id = r.run_id AND f.superseded_at IS NOT NULL) dead ON true
           LEFT JOIN LATERAL (SELECT count(*) AS rows FROM lake_file f JOIN lake_dropped_row d USING (file_id)
                              WHERE f.run_id = r.run_id) dropped ON true
           WHERE r.dataset = $1 AND r.retired_at IS NULL ORDER BY r.run_id""",
        dataset,
    )
    return [
        Run(
            id=row["run_id"],
            shape=_parse_shape(row["columns"]),
            is_sorted=row["is_sorted"],
            rows=row["rows"],
            dead_rows=row["dead_rows"],
        )
        for row in rows
    ]


async def retire_runs(connection: Connection, *, runs: Sequence[int]) -> bool:
    """End the life of `runs`; False where not all of them were live (the caller then undoes the rest)."""
    status = await connection.execute(
        "UPDATE lake_run SET retired_at = now() WHERE run_id = ANY($1) AND retired_at IS NULL", runs
    )
    return status == f"UPDATE {len(runs)}"


async def forget_dropped_rows(
    connection: Connection, *, rows: Sequence[tuple[int, int]], runs: Sequence[int]
) -> None:
    """Forget dropped rows that are in no file any more: `rows` (file and row), and all of those in `runs`."""
    await connection.execute(
        """DELETE FROM lake_dropped_row d USING unnest($1::bigint[], $2::bigint[]) AS gone (file_id, row)
           WHERE d.file_id = gone.file_id AND d.row = gone.row""",
        [file for file, _ in rows],
        [row for _, row in rows],
    )
    await connection.execute(
        """DELETE FROM lake_dropped_row
           WHERE file_id IN (SELECT file_id FROM lake_file WHERE run_id = ANY($1))""",
        runs,
    )


async def move_files(
    connection: Connection, *, runs: Sequence[int], left_out: Sequence[int], run_id: int | None
) -> None:
    """Say that the rows of the files in `runs` are now in `run_id`, and those of `left_out` in none.

    A file that was superseded after the rows were copied moves like the others and stays superseded.
    """
    await connection.execute(
        """UPDATE lake_file SET run_id = CASE WHEN file_id = ANY($2) THEN NULL ELSE $3::bigint END
           WHERE run_id = ANY($1)""",
        runs,
        left_out,
        run_id,
    )


async def list_retired(connection: Connection, *, grace_seconds: float, limit: int) -> dict[int, list[str]]:
    """Return the oldest runs retired longer than the grace ago, with the paths of their segments."""
    rows = await connection.fetch(
        """SELECT r.run_id, array_agg(s.path) AS paths
           FROM (SELECT run_id FROM lake_run
                 WHERE retired_at <= now() - make_interval(secs => $1) ORDER BY retired_at LIMIT $2) r
           JOIN lake_segment s USING (run_id) GROUP BY r.run_id""",
        grace_seconds,
        limit,
    )
    return {row["run_id"]: row["paths"] for row in rows}


async def delete_runs(connection: Connection, *, runs: Sequence[int]) -> None:
    """Forget retired runs whose files are gone."""
    await connection.execute("DELETE FROM lake_run WHERE run_id = ANY($1) AND retired_at IS NOT NULL", runs)


async def list_known_paths(connection: Connection, *, paths: Sequence[str]) -> set[str]:
    """Return those of `paths` that the manifest names, live or retired."""
    rows = await connection.fetch("SELECT path FROM lake_segment WHERE path = ANY($1)", paths)
    return {row["path"] for row in rows}


async def list_files(
    connection: Connection,
    *,
    dataset: str | None,
    institution: str | None,
    period: Period | None,
    state: FileState | None,
    files: Sequence[int] | None,
    limit: int,
) -> list[LakeFile]:
    """Return files on record that fit, latest commit first; a period matches files of that very period."""
    rows = await connection.fetch(
        """SELECT * FROM lake_file
           WHERE ($1::text IS NULL OR dataset = $1) AND ($2::text IS NULL OR institution = $2)
             AND ($3::date IS NULL OR (period_start = $3 AND period_end = $4))
             AND ($5::boolean IS NULL OR (superseded_at IS NULL) = $5)
             AND ($6::bigint[] IS NULL OR file_id = ANY($6))
           ORDER BY committed_at DESC, file_id DESC LIMIT $7""",
        dataset,
        institution,
        period.start if period else None,
        period.end if period else None,
        None if state is None else state is FileState.LIVE,
        files,
        limit,
    )
    return [_file(row) for row in rows]


async def count_message_rows(connection: Connection, *, dataset: str) -> dict[int, int]:
    """Return the rows of each live file of the data set that was made of messages."""
    rows = await connection.fetch(
        """SELECT file_id, rows FROM lake_file
           WHERE dataset = $1 AND source = $2 AND superseded_at IS NULL AND rows > 0""",
        dataset,
        FileSource.MESSAGE.value,
    )
    return {row["file_id"]: row["rows"] for row in rows}


def _file(row: Any) -> LakeFile:
    start = row["period_start"]
    return LakeFile(
        id=row["file_id"],
        dataset=row["dataset"],
        institution=row["institution"],
        period=Period(start=start, end=row["period_end"]) if start else None,
        rows=row["rows"],
        state=FileState.LIVE if row["superseded_at"] is None else FileState.SUPERSEDED,
        committed_at=row["committed_at"],
        superseded_at=row["superseded_at"],
        source=FileSource(row["source"]),
    )


async def count_rows(connection: Connection) -> dict[str, int]:
    """Return the number of live rows of each data set that has any file."""
    rows = await connection.fetch(
        """SELECT dataset, coalesce(sum(rows) FILTER (WHERE superseded_at IS NULL), 0)::bigint AS rows
           FROM lake_file GROUP BY dataset ORDER BY dataset"""
    )
    return {row["dataset"]: row["rows"] for row in rows}


async def insert_staged(connection: Connection, *, portions: Sequence[tuple[str, int, bytes]]) -> None:
    """Stage packed rows: for each portion the data set, the number of rows, and the rows."""
    await connection.execute(
        """INSERT INTO lake_staged (dataset, rows, body)
           SELECT * FROM unnest($1::text[], $2::integer[], $3::bytea[])""",
        [dataset for dataset, _, _ in portions],
        [rows for _, rows, _ in portions],
        [body for _, _, body in portions],
    )


async def read_staging(connection: Connection) -> Staging:
    row = await connection.fetchrow(
        "SELECT coalesce(sum(rows), 0)::bigint AS rows, min(staged_at) AS since FROM lake_staged"
    )
    assert row is not None, "an aggregate has one row"
    return Staging(rows=row["rows"], since=row["since"])


async def list_staged_datasets(connection: Connection) -> list[str]:
    rows = await connection.fetch("SELECT DISTINCT dataset FROM lake_staged ORDER BY dataset")
    return [row["dataset"] for row in rows]


async def try_lock_flush(connection: Connection, *, dataset: str) -> bool:
    """Keep other flushes of the data set out until the end of the transaction, if none is under way."""
    row = await connection.fetchrow(
        "SELECT pg_try_advisory_xact_lock($1, $2) AS got", _FLUSH_SPACE, _dataset_lock(dataset)
    )
    return row is not None and row["got"]


async def lock_files(connection: Connection, *, dataset: str) -> None:
    """Let one transaction at a time change records of several of the data set's files: no order to keep."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", _FILES_SPACE, _dataset_lock(dataset))


async def read_staged(connection: Connection, *, dataset: str, most_rows: int) -> dict[int, bytes]:
    """Return the oldest staged portions with about so many rows, in the order in which they were staged."""
    rows = await connection.fetch(
        """SELECT staged_id, body FROM lake_staged WHERE staged_id IN (
             SELECT staged_id FROM (
               SELECT staged_id, sum(rows) OVER (ORDER BY staged_id) - rows AS before
               FROM lake_staged WHERE dataset = $1) AS counted
             WHERE before < $2)
           ORDER BY staged_id""",
        dataset,
        most_rows,
    )
    return {row["staged_id"]: row["body"] for row in rows}


async def delete_staged(connection: Connection, *, staged: Sequence[int]) -> None:
    await connection.execute("DELETE FROM lake_staged WHERE staged_id = ANY($1)", staged)


async def next_message_file(connection: Connection) -> int:
    """Return a number for a file made of messages."""
    number: Any = await connection.fetchval("SELECT nextval('lake_message_file')")
    return number


async def drop_message_rows(connection: Connection, *, keys: Sequence[bytes]) -> None:
    """Take the present rows of the resources `keys`, where there are such, out of every read."""
    await connection.execute(
        """WITH gone AS (DELETE FROM lake_message_row WHERE key = ANY($1) RETURNING file_id, row, person),
                dropped AS (INSERT INTO lake_dropped_row (file_id, row, person) SELECT * FROM gone),
                counted AS (SELECT file_id, count(*) AS rows FROM gone GROUP BY file_id)
           UPDATE lake_file f SET rows = f.rows - counted.rows
           FROM counted WHERE f.file_id = counted.file_id""",
        keys,
    )


async def insert_message_rows(
    connection: Connection, *, file_id: int, rows: Sequence[tuple[bytes, int, int | None, int]]
) -> None:
    """Note where rows lie: for each the key, its number in the file, the person, and the message."""
    ordered = sorted(rows)  # neighbours in the index are written together
    await connection.execute(
        """INSERT INTO lake_message_row (key, file_id, row, person, message)
           SELECT key, $1, row, person, message
           FROM unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[])
             AS fresh (key, row, person, message)""",
        file_id,
        [key for key, _, _, _ in ordered],
        [row for _, row, _, _ in ordered],
        [person for _, _, person, _ in ordered],
        [message for _, _, _, message in ordered],
    )
