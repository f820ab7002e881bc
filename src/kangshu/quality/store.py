"""The tables of units, findings and tallies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from kangshu.storage.database import Connection, Record

UnitRow = tuple[int, str, date, str, int, int, datetime, str]
FindingRow = tuple[int, str, date, str, str, str, str, str, int, int, bytes]
TallyRow = tuple[int, str, date, str, int, int]

_UNIT_COLUMNS = ["file_id", "institution", "month", "dataset", "rows", "rejected", "received_at", "edition"]
_FINDING_COLUMNS = [
    "file_id",
    "institution",
    "month",
    "rule",
    "field",
    "origin",
    "severity",
    "dimension",
    "rows",
    "sole",
    "places",
]
_TALLY_COLUMNS = ["file_id", "institution", "month", "dimension", "errors", "warnings"]


async def delete_units(connection: Connection, *, files: Sequence[int]) -> None:
    """Remove all that is kept of files."""
    await connection.execute("DELETE FROM quality_unit WHERE file_id = ANY ($1)", list(files))


async def insert_units(connection: Connection, rows: Iterable[UnitRow]) -> None:
    """Keep new units."""
    await connection.copy_records_to_table("quality_unit", records=list(rows), columns=_UNIT_COLUMNS)


async def delete_findings(connection: Connection, *, files: Sequence[int], rules: Sequence[str]) -> None:
    """Remove what these rules found in files."""
    await connection.execute(
        "DELETE FROM quality_finding WHERE file_id = ANY ($1) AND rule = ANY ($2) AND origin = 'region'",
        list(files),
        list(rules),
    )


async def delete_tallies(connection: Connection, *, files: Sequence[int]) -> None:
    """Remove the tallies of files."""
    await connection.execute("DELETE FROM quality_tally WHERE file_id = ANY ($1)", list(files))


async def insert_findings(connection: Connection, rows: Iterable[FindingRow]) -> None:
    """Keep findings."""
    await connection.copy_records_to_table("quality_finding", records=list(rows), columns=_FINDING_COLUMNS)


async def update_sole(connection: Connection, rows: Iterable[tuple[int, int, str, date, str, str]]) -> None:
    """Set how many rows of findings stand alone: number, file, institution, month, rule, field."""
    await connection.executemany(
        """UPDATE quality_finding SET sole = $1
           WHERE file_id = $2 AND institution = $3 AND month = $4 AND rule = $5 AND field = $6
             AND sole <> $1""",
        list(rows),
    )


async def insert_tallies(connection: Connection, rows: Iterable[TallyRow]) -> None:
    """Keep tallies."""
    await connection.copy_records_to_table("quality_tally", records=list(rows), columns=_TALLY_COLUMNS)


async def lock_files(connection: Connection, *, files: Sequence[int]) -> list[int]:
    """Return those of these files that are kept, none of which changes before the transaction's end."""
    rows = await connection.fetch(
        """SELECT file_id FROM quality_unit WHERE file_id = ANY ($1)
           ORDER BY file_id, institution, month FOR UPDATE""",
        list(files),
    )
    return list(dict.fromkeys(row["file_id"] for row in rows))


async def select_units(connection: Connection, *, files: Sequence[int]) -> list[Record]:
    """Return the units of files."""
    return await connection.fetch(
        "SELECT * FROM quality_unit WHERE file_id = ANY ($1) ORDER BY file_id, institution, month",
        list(files),
    )


async def select_findings(
    connection: Connection, *, files: Sequence[int], origin: str | None = None
) -> list[Record]:
    """Return the findings of files with their places."""
    return await connection.fetch(
        """SELECT * FROM quality_finding WHERE file_id = ANY ($1) AND ($2::text IS NULL OR origin = $2)
           ORDER BY file_id, rule, field, severity, institution, month""",
        list(files),
        origin,
    )


async def select_places(
    connection: Connection, *, file: int, institution: str, month: date, rule: str, field: str
) -> bytes | None:
    """Return where one finding's rows are."""
    return await connection.fetchval(
        """SELECT places FROM quality_finding
           WHERE file_id = $1 AND institution = $2 AND month = $3 AND rule = $4 AND field = $5""",
        file,
        institution,
        month,
        rule,
        field,
    )


async def add_up_units(
    connection: Connection,
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None,
    datasets: Sequence[str] | None,
) -> list[Record]:
    """Return for each cell its rows, refused rows, files and latest arrival."""
    return await connection.fetch(
        """SELECT month, dataset, institution, sum(rows)::bigint AS rows, sum(rejected)::bigint AS rejected,
                  count(*) AS files, max(received_at) AS last_arrival
           FROM quality_unit
           WHERE month BETWEEN $1 AND $2 AND ($3::text[] IS NULL OR institution = ANY ($3))
             AND ($4::text[] IS NULL OR dataset = ANY ($4))
           GROUP BY month, dataset, institution ORDER BY month DESC, dataset, institution""",
        first,
        last,
        institutions,
        datasets,
    )


async def add_up_tallies(
    connection: Connection,
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None,
    datasets: Sequence[str] | None,
) -> list[Record]:
    """Return for each cell and dimension the rows with errors and with warnings only."""
    return await connection.fetch(
        """SELECT unit.month, unit.dataset, unit.institution, dimension,
                  sum(errors)::bigint AS errors, sum(warnings)::bigint AS warnings
           FROM quality_unit AS unit JOIN quality_tally USING (file_id, institution, month)
           WHERE unit.month BETWEEN $1 AND $2 AND ($3::text[] IS NULL OR unit.institution = ANY ($3))
             AND ($4::text[] IS NULL OR unit.dataset = ANY ($4))
           GROUP BY unit.month, unit.dataset, unit.institution, dimension""",
        first,
        last,
        institutions,
        datasets,
    )


async def list_findings(
    connection: Connection,
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None,
    datasets: Sequence[str] | None,
    file: int | None,
    rule: str | None,
) -> list[Record]:
    """Return findings without their places."""
    return await connection.fetch(
        """SELECT unit.month, unit.dataset, unit.institution, file_id, rule, field, origin, severity,
                  dimension, finding.rows, sole
           FROM quality_unit AS unit JOIN quality_finding AS finding USING (file_id, institution, month)
           WHERE unit.month BETWEEN $1 AND $2 AND ($3::text[] IS NULL OR unit.institution = ANY ($3))
             AND ($4::text[] IS NULL OR unit.dataset = ANY ($4)) AND ($5::bigint IS NULL OR file_id = $5)
             AND ($6::text IS NULL OR rule = $6)
           ORDER BY unit.month DESC, finding.rows DESC, unit.dataset, unit.institution, rule, field,
               file_id""",
        first,
        last,
        institutions,
        datasets,
        file,
        rule,
    )


async def list_months(connection: Connection, *, institutions: Sequence[str] | None) -> list[date]:
    """Return the months of which something is kept, the latest first."""
    rows = await connection.fetch(
        """SELECT DISTINCT month FROM quality_unit WHERE $1::text[] IS NULL OR institution = ANY ($1)
           ORDER BY month DESC""",
        institutions,
    )
    return [row["month"] for row in rows]


async def put_pending(connection: Connection, *, dataset: str, files: Sequence[int]) -> None:
    """Name files of a data set to be looked at."""
    await connection.execute(
        """INSERT INTO quality_pending (dataset, file_id) SELECT $1, file FROM unnest($2::bigint[]) AS file
           ON CONFLICT (dataset, file_id) DO UPDATE SET turn = nextval('quality_turn')""",
        dataset,
        sorted(set(files)),
    )


async def put_related_pending(
    connection: Connection, *, datasets: Sequence[str], institutions: Sequence[str], first: date, last: date
) -> list[str]:
    """Name the kept files of these data sets and institutions in a span of months; return their data sets."""
    rows = await connection.fetch(
        """WITH named AS (
               INSERT INTO quality_pending (dataset, file_id)
               SELECT DISTINCT dataset, file_id FROM quality_unit
               WHERE dataset = ANY ($1) AND institution = ANY ($2) AND month BETWEEN $3 AND $4
               ORDER BY dataset, file_id
               ON CONFLICT (dataset, file_id) DO UPDATE SET turn = nextval('quality_turn')
               RETURNING dataset)
           SELECT DISTINCT dataset FROM named ORDER BY dataset""",
        list(datasets),
        list(institutions),
        first,
        last,
    )
    return [row["dataset"] for row in rows]


async def list_pending(connection: Connection, *, dataset: str, limit: int) -> list[tuple[int, int]]:
    """Return the files of a data set that wait to be looked at, with their turns, the first named first."""
    rows = await connection.fetch(
        "SELECT file_id, turn FROM quality_pending WHERE dataset = $1 ORDER BY turn LIMIT $2", dataset, limit
    )
    return [(row["file_id"], row["turn"]) for row in rows]


async def list_pending_datasets(connection: Connection) -> list[str]:
    """Return the data sets of which files wait."""
    rows = await connection.fetch("SELECT DISTINCT dataset FROM quality_pending ORDER BY dataset")
    return [row["dataset"] for row in rows]


async def delete_pending(connection: Connection, *, dataset: str, turns: Sequence[int]) -> None:
    """Take files off the list, but for those that were named again."""
    await connection.execute(
        "DELETE FROM quality_pending WHERE dataset = $1 AND turn = ANY ($2)", dataset, list(turns)
    )


async def list_kept_rows(connection: Connection, *, files: Sequence[int]) -> dict[int, int]:
    """Return how many rows the units of each of these files have together."""
    rows = await connection.fetch(
        """SELECT file_id, sum(rows)::bigint AS rows FROM quality_unit WHERE file_id = ANY ($1)
           GROUP BY file_id""",
        list(files),
    )
    return {row["file_id"]: row["rows"] for row in rows}


async def list_files_kept(connection: Connection, *, dataset: str) -> list[int]:
    """Return the files of a data set of which something is kept."""
    rows = await connection.fetch(
        "SELECT DISTINCT file_id FROM quality_unit WHERE dataset = $1 ORDER BY file_id", dataset
    )
    return [row["file_id"] for row in rows]
