"""Editions on record: each in force from a day on, each loaded whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest

from kangshu.kernel.texts import Text
from kangshu.storage.database import Connection, Database
from kangshu.terminology import (
    CodeEntry,
    CodeListRefusedError,
    Edition,
    EditionConflictError,
    find_code,
    find_edition,
    list_editions,
    load_edition,
    titles_of,
)

pytestmark = pytest.mark.database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
OLD, NEW = date(2019, 1, 1), date(2026, 1, 1)


def codes(*pairs: tuple[str, str]) -> Sequence[CodeEntry]:
    return [CodeEntry(code=code, title=Text(zh=title, en=title)) for code, title in pairs]


async def load(
    connection: Connection, edition: str | None, start: date, entries: Sequence[CodeEntry]
) -> Edition:
    return await load_edition(
        connection, system="icd10", edition=edition, valid_from=start, entries=entries, now=NOW
    )


async def load_two(connection: Connection) -> None:
    await load(connection, "2.0", OLD, codes(("A09.000", "旧名"), ("U07.000", "废止")))
    await load(connection, "3.0", NEW, codes(("A09.000", "新名")))


def test_an_edition_ends_where_the_next_begins(database_run):
    async def scenario(database: Database) -> list[Edition]:
        async with database.transaction() as connection:
            await load_two(connection)
            return await list_editions(connection, system="icd10")

    assert database_run(scenario) == [
        Edition(system="icd10", name="2.0", valid_from=OLD, valid_to=NEW, codes=2),
        Edition(system="icd10", name="3.0", valid_from=NEW, valid_to=None, codes=1),
    ]


def test_a_code_is_looked_up_as_of_a_day(database_run):
    async def scenario(database: Database):
        async with database.transaction() as connection:
            await load_two(connection)
            days = (date(2018, 12, 31), OLD, date(2025, 12, 31), NEW)
            titles = [await find_code(connection, system="icd10", code="A09.000", on=day) for day in days]
            gone = await titles_of(connection, system="icd10", codes=["A09.000", "U07.000"], on=NEW)
            unknown = await find_edition(connection, system="icd10", on=date(2018, 12, 31))
            return [title and title.zh for title in titles], set(gone), unknown

    assert database_run(scenario) == ([None, "旧名", "旧名", "新名"], {"A09.000"}, None)


def test_an_edition_loaded_again_is_replaced_whole(database_run):
    async def scenario(database: Database):
        async with database.transaction() as connection:
            await load_two(connection)
            again = await load(connection, "3.0", date(2026, 7, 1), codes(("B00.000", "疱疹")))
            old = await find_code(connection, system="icd10", code="A09.000", on=date(2026, 8, 1))
            return again, old

    again, old = database_run(scenario)
    assert (again.valid_from, again.codes) == (date(2026, 7, 1), 1)
    assert old is None


def test_two_editions_cannot_begin_on_one_day(database_run):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await load_two(connection)
            await load(connection, "3.1", NEW, codes(("A09.000", "新名")))

    with pytest.raises(EditionConflictError, match="3\\.0"):
        database_run(scenario)


@pytest.mark.parametrize(
    ("system", "edition", "entries"),
    [("ICD 10", "2.0", codes(("A", "B"))), ("icd10", None, codes(("A", "B"))), ("icd10", "2.0", [])],
)
def test_what_cannot_be_an_edition_is_refused(
    database_run, system: str, edition: str | None, entries: Sequence[CodeEntry]
):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await load_edition(
                connection, system=system, edition=edition, valid_from=OLD, entries=entries, now=NOW
            )

    with pytest.raises(CodeListRefusedError):
        database_run(scenario)
