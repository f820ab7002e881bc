"""What every test may ask for: a fresh migrated database, a way to run coroutines, a clock, keys.

    def test_something(run, database_url):
        async def scenario():
            async with await Database.open(database_url) as database:
                ...
        run(scenario())

    def test_shorter(database_run):
        async def scenario(database): ...
        database_run(scenario)

One embedded server per test process (per xdist worker), started when the first test asks for a database.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import hypothesis
import pytest

from kangshu.storage import embedded, migrations
from kangshu.storage.database import Database

# Durations are no test's business here, and a red run must be red again: the same examples every time.
hypothesis.settings.register_profile(
    "kangshu",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
# `HYPOTHESIS_PROFILE=search` looks further, with other examples in every run.
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "kangshu"))

_T = TypeVar("_T")

_TEMPLATE = "kangshu_template"
# A test's server need not outlive the machine. Kill -9 of its processes loses nothing even so.
_TEST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "autovacuum_naptime": "10min",
}
_numbers = itertools.count(1)


@dataclass
class FixedClock:
    """A clock that stands still until a test moves it."""

    moment: datetime = field(default_factory=lambda: datetime(2026, 3, 2, 8, 30, tzinfo=UTC))

    def now(self) -> datetime:
        return self.moment

    def advance(self, **units: float) -> datetime:
        """Move on by `timedelta(**units)` and return the new moment."""
        self.moment += timedelta(**units)
        return self.moment


@pytest.fixture
def fixed_clock() -> FixedClock:
    """A clock at 2026-03-02 08:30 UTC."""
    return FixedClock()


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, _T]], _T]:
    """Run a coroutine to its end and return its result."""
    return asyncio.run


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """The URL of this test process's server, with a migrated template database."""
    # Not under pytest's own folder: that one keeps old runs, and its paths are long for a socket.
    home = Path(tempfile.mkdtemp(prefix="kangshu-test-"))
    try:
        url = embedded.start(home, settings=_TEST_SETTINGS)
        asyncio.run(_make_template(url))
        yield url
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


async def _make_template(url: str) -> None:
    await _execute(url, f"CREATE DATABASE {_TEMPLATE}")
    connection = await asyncpg.connect(_of_database(url, _TEMPLATE))
    try:
        await migrations.migrate(connection)
    finally:
        await connection.close()


@pytest.fixture
def make_database(database_server: str) -> Iterator[Callable[..., str]]:
    """Make databases for one test: `make_database()` with the house's tables, `make_database(empty=True)`."""
    made: list[str] = []

    def make(*, empty: bool = False) -> str:
        name = f"test_{next(_numbers)}"
        template = "template1" if empty else _TEMPLATE
        # Copying files is twice as fast as the default, which writes each page to the log.
        statement = f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"
        asyncio.run(_execute(database_server, statement))
        made.append(name)
        return _of_database(database_server, name)

    yield make
    for name in made:
        asyncio.run(_execute(database_server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest.fixture
def database_url(make_database: Callable[..., str]) -> str:
    """The URL of a database of the test's own, with every table of the house and no rows."""
    return make_database()


@pytest.fixture
def empty_database_url(make_database: Callable[..., str]) -> str:
    """The URL of a database of the test's own without any table."""
    return make_database(empty=True)


@pytest.fixture
def database_run(database_url: str) -> Callable[[Callable[[Database], Awaitable[_T]]], _T]:
    """Run `async fn(database)` with an open `Database` on the test's own database."""

    def run_with_database(work: Callable[[Database], Awaitable[_T]]) -> _T:
        async def scenario() -> _T:
            async with await Database.open(database_url) as database:
                return await work(database)

        return asyncio.run(scenario())

    return run_with_database


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keys made from fixed bytes: the same in every run, and of no use anywhere else."""
    from kangshu.security.keys import load_or_create

    blocks = itertools.count(1)

    def fixed_bytes(length: int) -> bytes:
        return bytes((next(blocks) * 37 + place * 11) % 251 for place in range(length))

    return load_or_create(tmp_path_factory.mktemp("keys"), random=fixed_bytes)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _of_database(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?", 1)
