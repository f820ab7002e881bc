"""The only SQL of intake: what arrived and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from kangshu.intake.model import Arrival, FileState, Outcome, ReasonCount, Receipt
from kangshu.kernel.texts import Text
from kangshu.storage.database import Connection

_COLUMNS = """id, name, state, bytes, received_at, received_by, dataset, institution, period, format, rows,
    accepted, rejected, warnings, unlinked, persons_created, reason_zh, reason_en, place, duplicate_of,
    supersedes, superseded_by, finished_at"""


async def insert_file(connection: Connection, arrival: Arrival, *, state: FileState) -> int:
    """Put an arrival on record and return its receipt's number."""
    file_id = await connection.fetchval(
        """INSERT INTO intake_file (digest, name, bytes, spool_name, dataset, institution, period, part,
                                    state, received_by, received_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id""",
        arrival.digest,
        arrival.name,
        arrival.bytes,
        arrival.path.name if arrival.spooled else None,
        arrival.dataset,
        arrival.institution,
        arrival.period,
        arrival.part,
        state,
        arrival.received_by,
        arrival.received_at,
    )
    assert isinstance(file_id, int), "RETURNING id gives the new row's number"
    return file_id


async def find_standing(connection: Connection, *, digest: bytes, institution: str | None) -> int | None:
    """Return the file with the same bytes that was taken in before, from this institution if it is known."""
    return await connection.fetchval(
        """SELECT id FROM intake_file
           WHERE digest = $1 AND state IN ('committed', 'superseded')
             AND ($2::text IS NULL OR institution = $2) ORDER BY id LIMIT 1""",
        digest,
        institution,
    )


async def find_arrival(connection: Connection, *, file_id: int) -> Any:
    """Return the stored row of an arrival, or None."""
    return await connection.fetchrow("SELECT * FROM intake_file WHERE id = $1", file_id)


async def set_state(connection: Connection, *, file_id: int, state: FileState) -> None:
    """Set the state of a file that is not finished; what an earlier attempt said of it is over."""
    await connection.execute(
        """UPDATE intake_file SET state = $2, reason_zh = NULL, reason_en = NULL, place = NULL,
               finished_at = NULL
           WHERE id = $1""",
        file_id,
        state,
    )


async def close_duplicate(connection: Connection, *, file_id: int, original: int, now: datetime) -> None:
    """Finish a file as a copy of `original`, whose data set, institution and period it shows."""
    await connection.execute(
        """UPDATE intake_file AS copy SET state = 'duplicate', duplicate_of = original.id, finished_at = $3,
               dataset = original.dataset, institution = original.institution, period = original.period,
               reason_zh = NULL, reason_en = NULL, place = NULL,
               rows = 0, accepted = 0, rejected = 0, warnings = 0, unlinked = 0, persons_created = 0
           FROM intake_file AS original WHERE copy.id = $1 AND original.id = $2""",
        file_id,
        original,
        now,
    )


async def close_refused(
    connection: Connection, *, file_id: int, state: FileState, text: Text, place: str | None, now: datetime
) -> None:
    """Finish a file that was not taken in, with the reason.

    One that is finished already stays so: where the connection broke during the commit, the file
    may be in although its worker could not hear of it.
    """
    await connection.execute(
        """UPDATE intake_file SET state = $2, reason_zh = $3, reason_en = $4, place = $5, finished_at = $6
           WHERE id = $1 AND state IN ('received', 'working', 'failed')""",
        file_id,
        state,
        text.zh,
        text.en,
        place,
        now,
    )


async def set_outcome(connection: Connection, *, file_id: int, outcome: Outcome) -> None:
    """Store what a file was recognised as, its figures and its reasons."""
    await connection.execute(
        """UPDATE intake_file SET dataset = $2, institution = $3, period = $4, format = $5, rows = $6,
               accepted = $7, rejected = $8, warnings = $9, unlinked = $10, persons_created = $11
           WHERE id = $1""",
        file_id,
        outcome.dataset,
        outcome.institution,
        outcome.period.label,
        outcome.format,
        outcome.rows,
        outcome.accepted,
        outcome.rejected,
        outcome.warnings,
        outcome.unlinked,
        outcome.persons_created,
    )
    await connection.execute("DELETE FROM intake_reason WHERE file_id = $1", file_id)
    await connection.executemany(
        "INSERT INTO intake_reason (file_id, rule, field, severity, rows) VALUES ($1, $2, $3, $4, $5)",
        [(file_id, one.rule, one.field, one.severity, one.rows) for one in outcome.reasons],
    )


async def take_place(connection: Connection, *, file_id: int, outcome: Outcome, now: datetime) -> int | None:
    """Make a file the one that stands for its place; return the file whose place it took, if any.

    Two files for one place follow each other: the second waits here for the first one's commit.
    """
    await _lock_place(connection, outcome)
    earlier = await connection.fetchval(
        """UPDATE intake_file AS earlier SET state = 'superseded', superseded_by = $1
           FROM intake_file AS present
           WHERE present.id = $1 AND earlier.state = 'committed' AND earlier.institution = $2
             AND earlier.dataset = $3 AND earlier.period = $4 AND earlier.part = present.part
           RETURNING earlier.id""",
        file_id,
        outcome.institution,
        outcome.dataset,
        outcome.period.label,
    )
    await connection.execute(
        """UPDATE intake_file SET state = 'committed', supersedes = $2, finished_at = $3,
               reason_zh = NULL, reason_en = NULL, place = NULL
           WHERE id = $1""",
        file_id,
        earlier,
        now,
    )
    return earlier


async def list_refused_before(connection: Connection, *, file_id: int, outcome: Outcome) -> list[int]:
    """Return the files for the same place none of whose rows passed; who looks waits for others' commits."""
    await _lock_place(connection, outcome)
    rows = await connection.fetch(
        """SELECT earlier.id FROM intake_file AS earlier, intake_file AS present
           WHERE present.id = $1 AND earlier.id <> $1 AND earlier.state = 'rejected' AND earlier.rows > 0
             AND earlier.institution = $2 AND earlier.dataset = $3 AND earlier.period = $4
             AND earlier.part = present.part""",
        file_id,
        outcome.institution,
        outcome.dataset,
        outcome.period.label,
    )
    return [row["id"] for row in rows]


async def is_place_taken(connection: Connection, *, file_id: int, outcome: Outcome) -> bool:
    """Tell whether a committed file stands in the place that this one was for."""
    await _lock_place(connection, outcome)
    found = await connection.fetchval(
        """SELECT EXISTS (
               SELECT 1 FROM intake_file AS standing, intake_file AS present
               WHERE present.id = $1 AND standing.state = 'committed' AND standing.institution = $2
                 AND standing.dataset = $3 AND standing.period = $4 AND standing.part = present.part)""",
        file_id,
        outcome.institution,
        outcome.dataset,
        outcome.period.label,
    )
    return bool(found)


async def _lock_place(connection: Connection, outcome: Outcome) -> None:
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 20260101))",
        f"{outcome.institution}/{outcome.dataset}/{outcome.period.label}",
    )


async def list_unfinished(connection: Connection) -> list[int]:
    """Return the spooled files that wait for work or were interrupted in it, oldest first."""
    rows = await connection.fetch(
        """SELECT id FROM intake_file WHERE state IN ('received', 'working', 'failed')
           AND spool_name IS NOT NULL ORDER BY id"""
    )
    return [row["id"] for row in rows]


async def list_spooled(connection: Connection) -> frozenset[str]:
    """Return the names in the spool of the files that are not finished."""
    rows = await connection.fetch(
        """SELECT spool_name FROM intake_file WHERE state IN ('received', 'working', 'failed')
           AND spool_name IS NOT NULL"""
    )
    return frozenset(row["spool_name"] for row in rows)


async def close_interrupted(connection: Connection, *, text: Text, now: datetime) -> int:
    """Finish files read in place whose reader died: they must be sent again."""
    done = await connection.execute(
        """UPDATE intake_file SET state = 'rejected', reason_zh = $1, reason_en = $2, finished_at = $3
           WHERE state IN ('received', 'working', 'failed') AND spool_name IS NULL""",
        text.zh,
        text.en,
        now,
    )
    return int(done.split()[-1])


async def find_receipt(connection: Connection, *, receipt_id: int) -> Receipt | None:
    """Return a receipt, or None."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM intake_file WHERE id = $1", receipt_id)
    return _receipt(row) if row else None


async def list_receipts(
    connection: Connection,
    *,
    institutions: Sequence[str] | None,
    dataset: str | None,
    state: str | None,
    day: date | None,
    zone: str,
    before: int | None,
    limit: int,
) -> list[Receipt]:
    """Return receipts, the newest first."""
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM intake_file
            WHERE ($1::text[] IS NULL OR institution = ANY($1)) AND ($2::text IS NULL OR dataset = $2)
              AND ($3::text IS NULL OR state = $3) AND ($4::bigint IS NULL OR id < $4)
              AND ($6::date IS NULL OR (received_at >= ($6::date)::timestamp AT TIME ZONE $7
                                        AND received_at < ($6::date + 1)::timestamp AT TIME ZONE $7))
            ORDER BY id DESC LIMIT $5""",
        list(institutions) if institutions is not None else None,
        dataset,
        state,
        before,
        limit,
        day,
        zone,
    )
    return [_receipt(row) for row in rows]


async def list_reasons(connection: Connection, *, receipt_id: int) -> list[ReasonCount]:
    """Return the counted reasons of a file, errors first, the most frequent first."""
    rows = await connection.fetch(
        """SELECT rule, field, severity, rows FROM intake_reason WHERE file_id = $1
           ORDER BY severity, rows DESC, rule, field""",
        receipt_id,
    )
    return [ReasonCount(**dict(row)) for row in rows]


async def top_reasons(
    connection: Connection, *, institutions: Sequence[str] | None, limit: int
) -> list[tuple[str, ReasonCount]]:
    """Return with its data set each reason over the files that stand, the most frequent first."""
    rows = await connection.fetch(
        """SELECT dataset, rule, field, severity, sum(intake_reason.rows)::bigint AS rows
           FROM intake_reason JOIN intake_file ON intake_file.id = file_id
           WHERE state = 'committed' AND ($1::text[] IS NULL OR institution = ANY($1))
           GROUP BY 1, 2, 3, 4 ORDER BY severity, 5 DESC, 1, 2, 3 LIMIT $2""",
        list(institutions) if institutions is not None else None,
        limit,
    )
    return [
        (
            row["dataset"],
            ReasonCount(rule=row["rule"], field=row["field"], severity=row["severity"], rows=row["rows"]),
        )
        for row in rows
    ]


async def count_by_day(
    connection: Connection, *, institutions: Sequence[str] | None, first: date, zone: str
) -> list[Any]:
    """Return files, rows, accepted and rejected rows for each day from `first` on."""
    return await connection.fetch(
        """SELECT (received_at AT TIME ZONE $3)::date AS day, count(*) AS files,
                  coalesce(sum(rows), 0)::bigint AS rows, coalesce(sum(accepted), 0)::bigint AS accepted,
                  coalesce(sum(rejected), 0)::bigint AS rejected
           FROM intake_file
           WHERE received_at >= ($2::date)::timestamp AT TIME ZONE $3
             AND ($1::text[] IS NULL OR institution = ANY($1))
           GROUP BY 1 ORDER BY 1""",
        list(institutions) if institutions is not None else None,
        first,
        zone,
    )


async def count_by_sender(
    connection: Connection, *, institutions: Sequence[str] | None, since: date, zone: str
) -> list[Any]:
    """Return for each institution what it sent since the day `since` and when its last file arrived."""
    return await connection.fetch(
        """SELECT institution, count(*) FILTER (WHERE recent) AS files,
                  coalesce(sum(rows) FILTER (WHERE recent), 0)::bigint AS rows,
                  coalesce(sum(accepted) FILTER (WHERE recent), 0)::bigint AS accepted,
                  coalesce(sum(rejected) FILTER (WHERE recent), 0)::bigint AS rejected,
                  max(received_at) AS last_arrival
           FROM (SELECT *, received_at >= ($2::date)::timestamp AT TIME ZONE $3 AS recent FROM intake_file
                 WHERE institution IS NOT NULL AND ($1::text[] IS NULL OR institution = ANY($1))) AS files
           GROUP BY 1 ORDER BY 1""",
        list(institutions) if institutions is not None else None,
        since,
        zone,
    )


async def count_by_dataset(connection: Connection, *, institutions: Sequence[str] | None) -> list[Any]:
    """Return for each data set what stands of it and from how many institutions, the largest first."""
    return await connection.fetch(
        """SELECT dataset, count(DISTINCT institution) AS institutions, count(*) AS files,
                  sum(accepted)::bigint AS accepted, sum(rejected)::bigint AS rejected
           FROM intake_file
           WHERE state = 'committed' AND ($1::text[] IS NULL OR institution = ANY($1))
           GROUP BY 1 ORDER BY 4 DESC, 1""",
        list(institutions) if institutions is not None else None,
    )


async def count_by_institution(connection: Connection, *, institutions: Sequence[str] | None) -> list[Any]:
    """Return for each institution, data set and period that stands its rows and last arrival."""
    return await connection.fetch(
        """SELECT institution, dataset, period, sum(rows)::bigint AS rows, sum(accepted)::bigint AS accepted,
                  sum(rejected)::bigint AS rejected, sum(warnings)::bigint AS warnings,
                  max(received_at) AS last_arrival
           FROM intake_file
           WHERE state = 'committed' AND ($1::text[] IS NULL OR institution = ANY($1))
           GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
        list(institutions) if institutions is not None else None,
    )


def _receipt(row: Any) -> Receipt:
    values = dict(row)
    zh, en = values.pop("reason_zh"), values.pop("reason_en")
    values["state"] = FileState(values["state"])
    return Receipt(**values, reason=Text(zh=zh, en=en) if zh else None)
