"""The embedded server: it starts, is shared, and comes back after every kind of death."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from kangshu.storage import embedded
from kangshu.storage.database import Database
from kangshu.storage.errors import DatabaseUnavailableError, ServerStartError, StorageFullError

pytestmark = pytest.mark.database

SETTINGS = {"shared_buffers": "32MB", "max_wal_size": "128MB", "min_wal_size": "64MB"}


@pytest.fixture
def home():
    with tempfile.TemporaryDirectory(prefix="kangshu-embedded-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        embedded.stop(Path(folder))


def start(home: Path) -> str:
    return embedded.start(home, settings=SETTINGS)


def server_pid(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


def ask(url: str, statement: str):
    async def scenario():
        async with await Database.open(url) as database, database.connection() as connection:
            return await connection.fetchval(statement)

    return asyncio.run(scenario())


def test_a_started_server_is_found_again_and_commits_durably(home):
    first = start(home)

    assert start(home) == first
    assert embedded.is_running(home)
    settings = {
        name: ask(first, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")
    }
    assert set(settings.values()) == {"on"}
    assert ask(first, "SHOW data_checksums") == "on"
    assert ask(first, "SHOW listen_addresses") == ""


def test_only_the_owner_can_enter_the_data_and_the_socket(home):
    start(home)

    for path in (home / "postgres", home / "postgres" / "data"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_stopped_server_starts_again_with_its_data(home):
    ask(start(home), "CREATE TABLE t AS SELECT 7 AS v")

    embedded.stop(home)

    assert not embedded.is_running(home)
    assert ask(start(home), "SELECT v FROM t") == 7


def test_a_server_killed_with_9_comes_back_with_every_commit(home):
    ask(start(home), "CREATE TABLE t AS SELECT 7 AS v")

    os.kill(server_pid(home), signal.SIGKILL)

    assert ask(start(home), "SELECT v FROM t") == 7


def test_a_home_deleted_under_its_server_is_made_anew_and_stays_up(home):
    start(home)
    old = server_pid(home)
    shutil.rmtree(home / "postgres")

    url = start(home)

    assert not psutil.pid_exists(old) or psutil.Process(old).status() == psutil.STATUS_ZOMBIE
    assert ask(url, "SELECT 1") == 1
    assert start(home) == url


def test_a_lock_file_with_the_number_of_some_living_process_does_not_block(home):
    start(home)
    lock = home / "postgres" / "data" / "postmaster.pid"
    socket_lock = home / "postgres" / ".s.PGSQL.5432.lock"
    text, socket_text = lock.read_text(), socket_lock.read_text()
    embedded.stop(home)
    sleeper = subprocess.Popen(
        ["sleep", "60"], user=(home / "postgres").stat().st_uid if os.geteuid() == 0 else None
    )
    try:
        for path, old in ((lock, text), (socket_lock, socket_text)):
            path.write_text("\n".join([str(sleeper.pid), *old.splitlines()[1:]]) + "\n")

        assert ask(start(home), "SELECT 1") == 1
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_cluster_half_made_is_made_anew(home):
    (home / "postgres" / "data.new" / "base").mkdir(parents=True)

    assert ask(start(home), "SELECT 1") == 1


def test_processes_that_start_it_together_get_one_server(home):
    program = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from kangshu.storage import embedded
        print(embedded.start(Path(sys.argv[1]), settings={SETTINGS!r}))
        """
    )

    starters = [
        subprocess.Popen([sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    urls = {starter.communicate(timeout=120)[0].strip() for starter in starters}

    assert urls == {start(home)}
    assert len(_servers_on(home)) == 1


def _servers_on(home: Path) -> list[int]:
    wanted = str(home.resolve() / "postgres" / "data")
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        if wanted in (process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def test_a_long_or_chinese_path_works_too(home):
    deep = home / ("康枢平台-" * 8) / "home of the hub"

    url = start(deep)

    try:
        assert ask(url, "SELECT 1") == 1
        assert ask(start(deep), "SELECT 1") == 1
    finally:
        embedded.stop(deep)


def test_a_cluster_of_another_version_is_refused_with_the_way_out(home):
    data = home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")

    with pytest.raises(ServerStartError, match="PostgreSQL 16"):
        start(home)


def test_a_server_that_cannot_start_names_its_log(home):
    with pytest.raises(ServerStartError, match=r"server\.log"):
        embedded.start(home, settings={"shared_buffers": "nonsense"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_normal_user_can_run_it(home):
    nobody = 65534
    os.chown(home, nobody, nobody)

    # Forked, not started: a normal user may not be able to read the interpreter that root runs.
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(nobody)
        os.setuid(nobody)
        outcome = 1
        try:
            same = start(home) == start(home)
            embedded.stop(home)
            outcome = 0 if same and not embedded.is_running(home) else 2
        finally:
            os._exit(outcome)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (home / "postgres" / "data").stat().st_uid == nobody


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_can_start_what_a_normal_user_made(home):
    test_a_normal_user_can_run_it(home)

    assert ask(start(home), "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_home_closed_to_others_opens_for_the_server_only(home):
    home.chmod(0o700)

    start(home)

    assert stat.S_IMODE(home.stat().st_mode) == 0o710
    assert home.stat().st_gid == (home / "postgres").stat().st_gid


def test_a_service_whose_database_was_killed_recovers_by_itself(home):
    async def scenario():
        async with await Database.open(start(home), revive=lambda: start(home)) as database:
            async with database.connection() as connection:
                await connection.execute("CREATE TABLE t AS SELECT 7 AS v")
            os.kill(server_pid(home), signal.SIGKILL)
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                try:
                    async with database.transaction() as connection:
                        return await connection.fetchval("SELECT v FROM t")
                except DatabaseUnavailableError:
                    await asyncio.sleep(0.2)

    assert asyncio.run(scenario()) == 7


def test_a_service_without_reviver_works_again_once_somebody_started_the_database(home):
    async def scenario():
        async with await Database.open(start(home)) as database:
            embedded.stop(home)
            with pytest.raises(DatabaseUnavailableError):
                await _one(database)
            start(home)
            return await _one(database)

    assert asyncio.run(scenario()) == 1


async def _one(database: Database) -> int:
    async with database.transaction() as connection:
        return await connection.fetchval("SELECT 1")


def test_a_full_disk_is_named_as_the_reason_when_the_server_cannot_start(home, monkeypatch):
    monkeypatch.setattr(embedded, "_LEAST_ROOM", 1 << 60)

    with pytest.raises(StorageFullError, match="make room"):
        embedded.start(home, settings={"shared_buffers": "nonsense"})
