"""The pool: transactions, failures with names, recovery by itself."""

from __future__ import annotations

import asyncio

import pytest

from kangshu.storage.database import Database
from kangshu.storage.errors import DatabaseUnavailableError, StorageFullError, TransactionConflictError

pytestmark = pytest.mark.database


async def _execute(database: Database, *statements: str) -> None:
    async with database.connection() as connection:
        for statement in statements:
            await connection.execute(statement)


def test_a_transaction_is_undone_by_any_exception(database_run):
    async def failing_insert(database):
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    async def scenario(database):
        await _execute(database, "CREATE TABLE t (v int)")
        with pytest.raises(ZeroDivisionError):
            await failing_insert(database)
        async with database.connection() as connection:
            return await connection.fetchval("SELECT count(*) FROM t")

    assert database_run(scenario) == 0


def test_jsonb_goes_in_and_out_as_python_values(database_run):
    value = {"a": ["康", 2, None], "b": {"c": 1.5}}

    async def scenario(database):
        async with database.transaction() as connection:
            return await connection.fetchval("SELECT $1::jsonb", value)

    assert database_run(scenario) == value


def test_a_snapshot_does_not_see_what_others_commit_meanwhile(database_run):
    async def scenario(database):
        await _execute(database, "CREATE TABLE t (v int)")
        async with database.transaction(snapshot=True, readonly=True) as connection:
            before = await connection.fetchval("SELECT count(*) FROM t")
            await _execute(database, "INSERT INTO t VALUES (1)")
            return before, await connection.fetchval("SELECT count(*) FROM t")

    assert database_run(scenario) == (0, 0)


def test_run_repeats_the_work_of_a_deadlock_loser(database_run):
    async def scenario(database):
        await _execute(
            database, "CREATE TABLE t (k int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 0), (2, 0)"
        )
        both_hold_one = asyncio.Barrier(2)
        attempts: list[int] = []

        async def add(first: int, second: int) -> None:
            async def work(connection):
                attempts.append(first)
                await connection.execute("UPDATE t SET v = v + 1 WHERE k = $1", first)
                if attempts.count(first) == 1:
                    await both_hold_one.wait()
                await connection.execute("UPDATE t SET v = v + 1 WHERE k = $1", second)

            await database.run(work)

        await asyncio.gather(add(1, 2), add(2, 1))
        async with database.connection() as connection:
            values = await connection.fetch("SELECT v FROM t ORDER BY k")
        return len(attempts), [row["v"] for row in values]

    assert database_run(scenario) == (3, [2, 2])


def test_run_gives_up_with_a_clear_error_after_its_retries(database_run):
    async def scenario(database):
        await _execute(database, "CREATE TABLE t (v int)", "INSERT INTO t VALUES (0)")

        async def work(connection):
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await connection.fetchval("SELECT v FROM t")
            await _execute(database, "UPDATE t SET v = v + 1")
            await connection.execute("UPDATE t SET v = 10")

        await database.run(work, retries=1)

    with pytest.raises(TransactionConflictError, match="tried 2 times"):
        database_run(scenario)


def test_a_connection_cut_off_in_use_is_named_and_the_next_call_works(database_run):
    async def cut_itself_off(database):
        async with database.transaction() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async def scenario(database):
        with pytest.raises(DatabaseUnavailableError):
            await cut_itself_off(database)
        async with database.connection() as connection:
            return await connection.fetchval("SELECT 1")

    assert database_run(scenario) == 1


def test_an_idle_connection_that_was_cut_off_is_replaced_unseen(database_run):
    async def scenario(database):
        async with database.connection() as connection:
            own = await connection.fetchval("SELECT pg_backend_pid()")
        async with await Database.open(database.url) as other:
            await _execute(other, f"SELECT pg_terminate_backend({own})")
        await asyncio.sleep(0.1)
        async with database.transaction() as connection:
            return await connection.fetchval("SELECT 1")

    assert database_run(scenario) == 1


def test_the_callers_own_file_error_passes_unchanged(database_run):
    async def scenario(database):
        async with database.transaction():
            raise FileNotFoundError("not the database's business")

    with pytest.raises(FileNotFoundError):
        database_run(scenario)


def test_a_full_disk_has_its_own_error(database_run):
    async def scenario(database):
        async with database.transaction() as connection:
            await connection.execute("DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$")

    with pytest.raises(StorageFullError):
        database_run(scenario)


def test_a_database_that_is_not_there_is_a_clear_error(run, tmp_path):
    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        run(Database.open(f"postgresql://kangshu@/postgres?host={tmp_path}"))


def test_a_database_name_that_does_not_exist_is_a_clear_error(run, database_url):
    with pytest.raises(DatabaseUnavailableError, match="3D000"):
        run(Database.open(database_url.replace("/test_", "/none_")))
