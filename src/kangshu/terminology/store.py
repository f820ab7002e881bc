"""The SQL of terminology: whole editions in one statement each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from kangshu.kernel.texts import Text
from kangshu.storage.database import Connection
from kangshu.terminology.model import CodeEntry, Edition

# Arbitrary, but the same in every process; the second key is the system.
_LOCK = 0x7465726D


async def lock(connection: Connection, *, system: str) -> None:
    """Let one transaction at a time change the editions of `system`."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK, system)


async def edition_from(connection: Connection, *, system: str, valid_from: date) -> str | None:
    return await connection.fetchval(
        "SELECT edition FROM terminology_edition WHERE system = $1 AND valid_from = $2", system, valid_from
    )


async def replace_edition(
    connection: Connection,
    *,
    system: str,
    edition: str,
    valid_from: date,
    entries: Sequence[CodeEntry],
    now: datetime,
) -> None:
    await connection.execute(
        "DELETE FROM terminology_edition WHERE system = $1 AND edition = $2", system, edition
    )
    await connection.execute(
        "INSERT INTO terminology_edition (system, edition, valid_from, loaded_at) VALUES ($1, $2, $3, $4)",
        system,
        edition,
        valid_from,
        now,
    )
    await connection.execute(
        """INSERT INTO terminology_code (system, edition, code, title, title_en)
           SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::text[])""",
        system,
        edition,
        [entry.code for entry in entries],
        [entry.title.zh for entry in entries],
        [entry.title.en for entry in entries],
    )


async def editions(connection: Connection, *, system: str) -> list[Edition]:
    rows = await connection.fetch(
        """SELECT edition, valid_from, lead(valid_from) OVER (ORDER BY valid_from) AS valid_to,
                  (SELECT count(*) FROM terminology_code c
                   WHERE c.system = e.system AND c.edition = e.edition) AS codes
           FROM terminology_edition e WHERE system = $1 ORDER BY valid_from""",
        system,
    )
    return [
        Edition(
            system=system,
            name=row["edition"],
            valid_from=row["valid_from"],
            valid_to=row["valid_to"],
            codes=row["codes"],
        )
        for row in rows
    ]


async def titles(connection: Connection, *, system: str, codes: Sequence[str], on: date) -> dict[str, Text]:
    rows = await connection.fetch(
        """SELECT code, title, title_en FROM terminology_code
           WHERE system = $1 AND code = ANY($2::text[]) AND edition = (
               SELECT edition FROM terminology_edition
               WHERE system = $1 AND valid_from <= $3 ORDER BY valid_from DESC LIMIT 1)""",
        system,
        list(codes),
        on,
    )
    return {row["code"]: Text(zh=row["title"], en=row["title_en"]) for row in rows}
