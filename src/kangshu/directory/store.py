"""The SQL of the directory: whole lists in one statement each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kangshu.directory.model import Department, Division, Institution, Population
from kangshu.kernel.texts import Text
from kangshu.standards.identifiers import division_prefix
from kangshu.storage.database import Connection, Record

_LEVELS = ("province", "city", "county", "township", "village")

_WITHIN = """($1 OR i.code = ANY($2::text[])
              OR EXISTS (SELECT 1 FROM unnest($3::text[]) p WHERE starts_with(i.division_prefix, p)))"""
_SEARCHED = """($4::text IS NULL OR i.name ILIKE $4 OR i.short_name ILIKE $4 OR i.code ILIKE $4)"""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Which institutions: all of them, or those of the codes and those under the prefixes."""

    everything: bool
    codes: Sequence[str]
    prefixes: Sequence[str]


async def upsert_divisions(connection: Connection, *, divisions: Sequence[Division]) -> None:
    await connection.execute(
        """INSERT INTO directory_division (prefix, code, name, parent, level)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::smallint[])
           ON CONFLICT (prefix) DO UPDATE
           SET code = excluded.code, name = excluded.name, parent = excluded.parent,
               level = excluded.level""",
        [division.prefix for division in divisions],
        [division.code for division in divisions],
        [division.name for division in divisions],
        [_outer_prefix(division) for division in divisions],
        [_LEVELS.index(division.level) + 1 for division in divisions],
    )


async def upsert_institutions(connection: Connection, *, institutions: Sequence[Institution]) -> None:
    """Put listed institutions in; a provisional one of the same code becomes what the list says."""
    await connection.execute(
        """INSERT INTO directory_institution
             (code, name, short_name, division_code, division_prefix, level, type, economic_type, host,
              opened_on, beds, staff, vendor, provisional)
           SELECT *, false FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
              $7::text[], $8::text[], $9::text[], $10::date[], $11::int[], $12::int[], $13::text[])
           ON CONFLICT (code) DO UPDATE
           SET name = excluded.name, short_name = excluded.short_name,
               division_code = excluded.division_code, division_prefix = excluded.division_prefix,
               level = excluded.level, type = excluded.type, economic_type = excluded.economic_type,
               host = excluded.host, opened_on = excluded.opened_on, beds = excluded.beds,
               staff = excluded.staff, vendor = excluded.vendor, provisional = false""",
        [entry.code for entry in institutions],
        [entry.name for entry in institutions],
        [entry.short_name for entry in institutions],
        [entry.division_code for entry in institutions],
        [_prefix(entry.division_code) for entry in institutions],
        [entry.level for entry in institutions],
        [entry.type for entry in institutions],
        [entry.economic_type for entry in institutions],
        [entry.host for entry in institutions],
        [entry.opened_on for entry in institutions],
        [entry.beds for entry in institutions],
        [entry.staff for entry in institutions],
        [entry.vendor for entry in institutions],
    )


async def insert_provisional(connection: Connection, *, institution: Institution, now: datetime) -> bool:
    """Return whether the institution is new."""
    status = await connection.execute(
        """INSERT INTO directory_institution
             (code, name, division_code, division_prefix, type, provisional, first_seen_at)
           VALUES ($1, $2, $3, $4, $5, true, $6) ON CONFLICT (code) DO NOTHING""",
        institution.code,
        institution.name,
        institution.division_code,
        _prefix(institution.division_code),
        institution.type,
        now,
    )
    return status == "INSERT 0 1"


async def replace_departments(connection: Connection, *, departments: Sequence[Department]) -> None:
    # Not "delete all, insert all": two processes that start together would collide.
    await connection.execute(
        """INSERT INTO directory_department (code, title, title_en, parent)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
           ON CONFLICT (code) DO UPDATE
           SET title = excluded.title, title_en = excluded.title_en, parent = excluded.parent""",
        [entry.code for entry in departments],
        [entry.title.zh for entry in departments],
        [entry.title.en for entry in departments],
        [entry.parent for entry in departments],
    )
    await connection.execute(
        "DELETE FROM directory_department WHERE code <> ALL ($1::text[])",
        [entry.code for entry in departments],
    )


async def upsert_populations(connection: Connection, *, populations: Sequence[Population]) -> None:
    await connection.execute(
        """INSERT INTO directory_population (division_prefix, year, sex, age_from, age_to, residents)
           SELECT * FROM unnest($1::text[], $2::smallint[], $3::text[], $4::smallint[], $5::smallint[],
              $6::bigint[])
           ON CONFLICT (division_prefix, year, sex, age_from) DO UPDATE
           SET age_to = excluded.age_to, residents = excluded.residents""",
        [division_prefix(entry.division_code) for entry in populations],
        [entry.year for entry in populations],
        [entry.sex for entry in populations],
        [entry.age_from for entry in populations],
        [entry.age_to for entry in populations],
        [entry.residents for entry in populations],
    )


async def find_institution(connection: Connection, *, code: str) -> Institution | None:
    row = await connection.fetchrow("SELECT * FROM directory_institution WHERE code = $1", code)
    return _institution(row) if row else None


async def select_institutions(
    connection: Connection, *, extent: Extent, pattern: str | None, limit: int, offset: int
) -> list[Institution]:
    rows = await connection.fetch(
        f"""SELECT * FROM directory_institution i WHERE {_WITHIN} AND {_SEARCHED}
            ORDER BY provisional, division_prefix NULLS LAST, code LIMIT $5 OFFSET $6""",
        extent.everything,
        extent.codes,
        extent.prefixes,
        pattern,
        limit,
        offset,
    )
    return [_institution(row) for row in rows]


async def count_institutions(connection: Connection, *, extent: Extent, pattern: str | None) -> int:
    count = await connection.fetchval(
        f"SELECT count(*) FROM directory_institution i WHERE {_WITHIN} AND {_SEARCHED}",
        extent.everything,
        extent.codes,
        extent.prefixes,
        pattern,
    )
    return int(count or 0)


async def select_codes(connection: Connection, *, extent: Extent) -> list[str]:
    rows = await connection.fetch(
        f"SELECT code FROM directory_institution i WHERE {_WITHIN} ORDER BY code",
        extent.everything,
        extent.codes,
        extent.prefixes,
    )
    return [row["code"] for row in rows]


async def select_below(connection: Connection, *, township: str, types: Sequence[str]) -> list[str]:
    """Return the institutions of these kinds (first places of WS 218) in a township and its villages."""
    rows = await connection.fetch(
        """SELECT code FROM directory_institution
           WHERE starts_with(division_prefix, $1) AND left(type, 2) = ANY($2::text[]) ORDER BY code""",
        township,
        types,
    )
    return [row["code"] for row in rows]


async def select_by_codes(connection: Connection, *, codes: Sequence[str]) -> list[Institution]:
    rows = await connection.fetch(
        "SELECT * FROM directory_institution WHERE code = ANY($1::text[]) ORDER BY code", codes
    )
    return [_institution(row) for row in rows]


async def select_divisions(
    connection: Connection, *, within: str | None, level: int | None
) -> list[Division]:
    rows = await connection.fetch(
        """SELECT code, name, parent FROM directory_division
           WHERE ($1::text IS NULL OR starts_with(prefix, $1)) AND ($2::smallint IS NULL OR level = $2)
           ORDER BY prefix""",
        within,
        level,
    )
    return [_division(row) for row in rows]


async def select_division_path(connection: Connection, *, prefix: str) -> list[Division]:
    """Return the divisions that hold `prefix`, from the outermost in, and itself last."""
    rows = await connection.fetch(
        "SELECT code, name, parent FROM directory_division WHERE prefix = ANY($1::text[]) ORDER BY prefix",
        [prefix[:length] for length in (2, 4, 6, 9, 12) if length <= len(prefix)],
    )
    return [_division(row) for row in rows]


async def select_departments(connection: Connection) -> list[Department]:
    rows = await connection.fetch("SELECT * FROM directory_department ORDER BY code")
    return [
        Department(code=row["code"], title=Text(zh=row["title"], en=row["title_en"]), parent=row["parent"])
        for row in rows
    ]


async def select_populations(connection: Connection, *, prefix: str, year: int) -> list[Population]:
    rows = await connection.fetch(
        """SELECT * FROM directory_population WHERE division_prefix = $1 AND year = $2
           ORDER BY age_from, sex""",
        prefix,
        year,
    )
    return [
        Population(
            division_code=row["division_prefix"],
            year=row["year"],
            sex=row["sex"],
            age_from=row["age_from"],
            age_to=row["age_to"],
            residents=row["residents"],
        )
        for row in rows
    ]


def _prefix(division_code: str | None) -> str | None:
    try:
        return division_prefix(division_code) if division_code else None
    except ValueError:  # such an institution lies in no division, so only the whole region reaches it
        return None


def _outer_prefix(division: Division) -> str | None:
    """Return the parent as listed, or the next shorter prefix where the list does not say."""
    if division.parent:
        return _prefix(division.parent)
    shorter = {4: 2, 6: 4, 9: 6, 12: 9}.get(len(division.prefix))
    return division.prefix[:shorter] if shorter else None


def _division(row: Record) -> Division:
    return Division(code=row["code"], name=row["name"], parent=row["parent"])


def _institution(row: Record) -> Institution:
    return Institution(
        code=row["code"],
        name=row["name"],
        short_name=row["short_name"],
        division_code=row["division_code"],
        level=row["level"],
        type=row["type"],
        economic_type=row["economic_type"],
        host=row["host"],
        opened_on=row["opened_on"],
        beds=row["beds"],
        staff=row["staff"],
        vendor=row["vendor"],
        provisional=row["provisional"],
        first_seen_at=row["first_seen_at"],
    )
