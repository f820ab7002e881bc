"""Accounts of the first version keep what they had."""

from __future__ import annotations

import pytest

from kangshu.storage import migrations
from kangshu.storage.database import Database

pytestmark = pytest.mark.database


def test_a_confirmed_second_factor_stays_and_an_unconfirmed_one_waits(run, empty_database_url: str):
    insert = """INSERT INTO security_account (name, title, password_hash, roles, reaches, otp_secret,
                  otp_confirmed, created_at, password_set_at)
                VALUES ($1, $1, '', '{auditor}', '{region}', $2, $3, now(), now())"""

    async def scenario() -> dict[str, tuple[bytes | None, bytes | None]]:
        steps = migrations.load_migrations(packages=["security"])
        async with await Database.open(empty_database_url) as database, database.connection() as connection:
            await migrations.apply(connection, migrations=steps[:1])
            await connection.execute(insert, "confirmed", b"1", True)
            await connection.execute(insert, "begun", b"2", False)
            await connection.execute(insert, "without", None, False)
            await migrations.apply(connection, migrations=steps)
            rows = await connection.fetch("SELECT name, otp_secret, otp_pending FROM security_account")
            return {row["name"]: (row["otp_secret"], row["otp_pending"]) for row in rows}

    assert run(scenario()) == {"confirmed": (b"1", None), "begun": (None, b"2"), "without": (None, None)}
