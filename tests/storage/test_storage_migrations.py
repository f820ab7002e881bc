"""Migrations: any earlier state upgrades, a changed past is refused, two processes do not collide."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from kangshu.storage import migrations
from kangshu.storage.database import Database
from kangshu.storage.errors import (
    DatabaseNewerError,
    MigrationChangedError,
    MigrationError,
    MigrationMalformedError,
)
from kangshu.storage.migrations import Migration


def step(package: str, number: int, text: str) -> Migration:
    return Migration(package=package, number=number, name=f"{number:04d}_step.sql", text=text)


ONE = step("lake", 1, "CREATE TABLE lake_probe (a int); INSERT INTO lake_probe VALUES (1);")
TWO = step("lake", 2, "ALTER TABLE lake_probe ADD COLUMN b int NOT NULL DEFAULT 2;")
OTHER = step("intake", 1, "CREATE TABLE intake_probe (a int);")

HOUSE = migrations.load_migrations()


async def _shape(connection) -> list[tuple[str, ...]]:
    """Everything that makes two databases the same for a program: columns, constraints, indexes, routines."""
    queries = (
        """SELECT table_name, column_name, data_type, is_nullable, column_default
           FROM information_schema.columns WHERE table_schema = 'public'""",
        """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
           WHERE connamespace = 'public'::regnamespace""",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        "SELECT relname, reloptions::text FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    )
    found: list[tuple[str, ...]] = []
    for query in queries:
        found += sorted(tuple(str(value) for value in row.values()) for row in await connection.fetch(query))
    return found


def test_files_are_found_in_the_order_of_the_house():
    places = [migrations.ORDER.index(found.package) for found in HOUSE]

    assert places == sorted(places)
    assert {"storage", "audit"} <= {found.package for found in HOUSE}


def test_line_ends_do_not_change_a_digest():
    assert step("lake", 1, "a\r\nb").digest == step("lake", 1, "a\nb").digest


def test_a_package_without_a_place_in_the_order_is_refused():
    with pytest.raises(MigrationMalformedError, match="nowhere"):
        migrations.load_migrations(packages=["nowhere"])


@pytest.mark.database
def test_an_old_state_upgrades_and_keeps_its_rows(run, empty_database_url):
    async def scenario():
        async with await Database.open(empty_database_url) as database, database.connection() as connection:
            await migrations.apply(connection, migrations=[ONE])
            applied = await migrations.apply(connection, migrations=[ONE, TWO, OTHER])
            again = await migrations.apply(connection, migrations=[ONE, TWO, OTHER])
            return applied, again, await connection.fetch("SELECT a, b FROM lake_probe")

    applied, again, rows = run(scenario())

    assert (applied, again) == ([TWO, OTHER], [])
    assert [tuple(row) for row in rows] == [(1, 2)]


@pytest.mark.database
def test_every_earlier_version_of_the_house_upgrades_to_the_same_shape(run, empty_database_url):
    async def scenario():
        async with await Database.open(empty_database_url) as database, database.connection() as connection:
            shapes = []
            for applied_before in range(len(HOUSE) + 1):
                transaction = connection.transaction()
                await transaction.start()
                await migrations.apply(connection, migrations=HOUSE[:applied_before])
                await migrations.apply(connection, migrations=HOUSE)
                shapes.append(await _shape(connection))
                await transaction.rollback()
            return shapes

    shapes = run(scenario())

    assert all(shape == shapes[0] for shape in shapes)


@pytest.mark.database
@pytest.mark.parametrize(
    ("today", "error"),
    [
        ([replace(ONE, text="CREATE TABLE lake_probe (a bigint);"), TWO], MigrationChangedError),
        ([ONE], DatabaseNewerError),
        ([ONE, TWO, step("intake", 1, "CREATE TABLE lake_probe (a int);")], MigrationError),
        ([ONE, TWO, step("intake", 1, "CREATE TABLE intake_probe (a int); nonsense;")], MigrationError),
    ],
    ids=["changed past", "database newer", "failing step", "half a step"],
)
def test_what_does_not_fit_is_refused_with_its_place_and_changes_nothing(
    run, empty_database_url, today, error
):
    async def scenario():
        async with await Database.open(empty_database_url) as database, database.connection() as connection:
            await migrations.apply(connection, migrations=[ONE, TWO])
            before = await _shape(connection)
            with pytest.raises(error) as refusal:
                await migrations.apply(connection, migrations=today)
            return refusal.value.place, before == await _shape(connection)

    place, unchanged = run(scenario())

    assert place.split("/")[1] == "migrations"
    assert unchanged


@pytest.mark.database
def test_two_processes_at_once_apply_each_migration_once(run, empty_database_url):
    slow = step("lake", 1, "SELECT pg_sleep(0.3); CREATE TABLE lake_probe (a int);")

    async def one():
        async with await Database.open(empty_database_url) as database, database.connection() as connection:
            return await migrations.apply(connection, migrations=[slow, OTHER])

    async def scenario():
        return await asyncio.gather(one(), one(), one())

    outcomes = run(scenario())

    assert sorted(len(applied) for applied in outcomes) == [0, 0, 2]


@pytest.mark.database
def test_a_migrated_database_is_left_alone(database_run):
    async def scenario(database):
        async with database.connection() as connection:
            return await migrations.migrate(connection)

    assert database_run(scenario) == []
