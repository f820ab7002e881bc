"""What is not the sender's fault: database away, disk full, folders not writable, a changed audit chain."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import psutil
import pytest
from app_world import (
    CLINIC,
    NAME,
    World,
    csv_bytes,
    open_world,
    row,
    temporary_database,
    temporary_home,
    write_settings,
)
from typer.testing import CliRunner

from kangshu import identity, lake
from kangshu.app.cli import app
from kangshu.app.platform import Platform, open_platform
from kangshu.app.serving import background, build_app
from kangshu.intake import (
    FileState,
    Receipt,
    describe_file,
    get_receipt,
    list_receipts,
    process_stored,
    register,
)
from kangshu.kernel.texts import Text
from kangshu.security.operations import create_account, create_client
from kangshu.security.principals import Reach, Role
from kangshu.simulation.benchmark_files import write_front_pages
from kangshu.storage import backup, embedded
from kangshu.storage.database import Database
from kangshu.storage.errors import DatabaseUnavailableError, StorageFullError

pytestmark = pytest.mark.database

ORIGIN = "http://kangshu.test"
PASSWORD = "Riverbank-2026"
# A test's server need not outlive the machine; kill -9 of its processes loses nothing even so.
FAST = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "autovacuum_naptime": "10min"}
WORK_SECONDS = 60.0
HEAVY_ROWS = 8_000


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as place:
        yield place


@pytest.fixture(scope="module")
def world(database_server: str) -> Iterator[World]:
    with open_world(database_server) as opened:
        yield opened


@pytest.fixture
def ready_home(home: Path) -> Path:
    """A home with a database of its own."""
    embedded.start(home, settings=FAST)
    assert run_command(home, "init").status == 0
    return home


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        return orjson.loads(self.out)

    @property
    def reason(self) -> str:
        error = self.result["error"]
        assert error["reason"]
        assert error["reason_en"]
        return error["reason_en"]


def run_command(home: Path, *words: str) -> Ended:
    """Run a command in this process."""
    result = CliRunner().invoke(app, ["--home", str(home), *words, "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return Ended(result.exit_code, result.stdout, result.stderr)


def run_program(home: Path, *words: str, **options: Any) -> Ended:
    """Run a command as a program of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "kangshu", "--home", str(home), *words, "--json"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        **options,
    )
    assert "Traceback" not in done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def assert_environment_fault(ended: Ended, *words: str) -> None:
    assert ended.status == 3, ended
    assert any(word in ended.reason for word in words), ended.reason
    assert len(ended.err.strip().splitlines()) == 2, "one sentence, in two languages"


def write_file(folder: Path, content: bytes, *, name: str = NAME) -> Path:
    path = folder / CLINIC / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def heavy_rows() -> list[dict[str, str]]:
    """Rows that hardly compress: some megabytes in the lake."""
    return [
        row(
            number,
            batch_number=os.urandom(24).hex(),
            site=os.urandom(24).hex(),
            nurse_name=os.urandom(20).hex(),
        )
        for number in range(HEAVY_ROWS)
    ]


def heavy_file(folder: Path) -> Path:
    return write_file(folder, csv_bytes(heavy_rows()))


def states(home: Path) -> tuple[int, int, list[FileState]]:
    """Return the rows in the lake, the persons and the states of the receipts, oldest first."""

    async def look() -> tuple[int, int, list[FileState]]:
        async with open_platform(home) as platform, platform.database.connection() as connection:
            rows = await lake.count_rows(connection)
            persons = await connection.fetchval("SELECT count(*) FROM identity_person")
            receipts = await list_receipts(connection, limit=100)
            return rows.get("immunization", 0), persons, [one.state for one in reversed(receipts)]

    return asyncio.run(look())


def left_over(home: Path) -> list[Path]:
    folders = (home / "lake" / "incoming", home / "scratch", home / "inbox", home / "spool")
    drafts = (home / "rejects").rglob("*.draft")
    return [*drafts, *(path for folder in folders if folder.exists() for path in folder.iterdir())]


# --- the database is away ------------------------------------------------------------------------------


def kill_database(home: Path) -> None:
    """Kill -9 the server and every process of it."""
    lines = (home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
    server = psutil.Process(int(lines[0]))
    family = [server, *server.children(recursive=True)]
    for process in family:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    psutil.wait_procs(family, timeout=10)


@asynccontextmanager
async def serving(platform: Platform):
    transport = httpx.ASGITransport(app=build_app(platform), raise_app_exceptions=False)
    async with (
        background(platform),
        httpx.AsyncClient(transport=transport, base_url=ORIGIN, timeout=WORK_SECONDS) as http,
    ):
        yield http


async def machine_token(platform: Platform, http: httpx.AsyncClient) -> dict[str, str]:
    """Return the header with a token of the clinic's machine."""
    async with platform.database.transaction() as connection:
        client_id, secret = await create_client(
            connection,
            institution=CLINIC,
            scopes=["datasets.write"],
            now=platform.clock.now(),
            random=secrets.token_bytes,
        )
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    answer = await http.post("/oauth/token", data=form)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def console_form(platform: Platform, http: httpx.AsyncClient) -> dict[str, str]:
    """Sign somebody of the clinic in and return what every form of the session carries."""
    async with platform.database.transaction() as connection:
        await create_account(
            connection,
            name="hospital",
            title="褚信息",
            password=PASSWORD,
            roles=[Role.INSTITUTION_IT],
            reaches=[Reach.parse(f"institution:{CLINIC}")],
            now=platform.clock.now(),
        )
    await http.post(
        "/console/sign-in", data={"name": "hospital", "password": PASSWORD}, headers={"Origin": ORIGIN}
    )
    page = await http.get("/console/account")
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert found is not None, "a page carries the session's token"
    return {"csrf": found[1]}


async def until_committed(
    http: httpx.AsyncClient, headers: dict[str, str], receipt: dict[str, Any]
) -> dict[str, Any]:
    for _ in range(int(WORK_SECONDS * 5)):
        if receipt["state"] in ("committed", "duplicate", "rejected"):
            break
        await asyncio.sleep(0.2)
        answer = await http.get(f"/receipts/{receipt['id']}", headers=headers)
        receipt = answer.json() if answer.status_code == 200 else receipt
    return receipt


def test_while_the_database_is_down_every_door_says_so_and_afterwards_all_goes_on(home: Path):
    server_home = home.parent / "server"
    server_home.mkdir()
    write_settings(home, database_url=embedded.start(server_home, settings=FAST))

    async def scenario():
        async with open_platform(home) as platform, serving(platform) as http:
            headers = await machine_token(platform, http)
            await asyncio.to_thread(embedded.stop, server_home)
            send = lambda: http.post(  # noqa: E731
                "/datasets/immunization", content=csv_bytes([row(1)]), headers=headers
            )
            down = [
                await send(),
                await http.get("/receipts/1", headers=headers),
                await http.post("/oauth/token", data={"grant_type": "client_credentials", "client_id": "a"}),
            ]
            probes = [await http.get("/health/live"), await http.get("/health/ready")]
            page = await http.post(
                "/console/sign-in",
                data={"name": "a", "password": "b"},
                headers={"Origin": ORIGIN},
            )
            found = left_over(home)
            await asyncio.to_thread(embedded.start, server_home)
            receipt = await until_committed(http, headers, (await send()).json())
            return down, probes, page, found, receipt, await http.get("/health/ready")

    try:
        down, probes, page, found, receipt, ready = asyncio.run(scenario())
    finally:
        embedded.stop(server_home)

    for answer in down:
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["type"] == "urn:kangshu:problem:unavailable"
    assert [one.status_code for one in probes] == [200, 503]
    assert probes[1].json()["checks"] == {"database": False, "disk": True}
    assert page.status_code == 503
    assert found == [], "nothing is kept of what was not acknowledged"
    assert (receipt["state"], receipt["accepted"]) == ("committed", 1)
    assert ready.status_code == 200


def test_a_command_without_its_database_ends_with_one_sentence(home: Path):
    write_settings(home, database_url=f"postgresql://kangshu@/postgres?host={home}")
    file = write_file(home.parent, csv_bytes([row(1)]))

    for words in (
        ["init"],
        ["intake", str(file)],
        ["audit", "verify"],
        ["persons", "find", "--name", "张三"],
    ):
        assert_environment_fault(run_command(home, *words), "database")


def test_a_killed_embedded_server_is_brought_back_by_the_next_request(ready_home: Path):
    async def scenario():
        async with open_platform(ready_home) as platform, serving(platform) as http:
            headers = await machine_token(platform, http)
            await asyncio.to_thread(kill_database, ready_home)
            answer = await http.post("/datasets/immunization", content=csv_bytes([row(1)]), headers=headers)
            # A connection that the pool still held may be what told of the loss: then the sender tries again.
            if answer.status_code == 503:
                answer = await http.post(
                    "/datasets/immunization", content=csv_bytes([row(1)]), headers=headers
                )
            return await until_committed(http, headers, answer.json())

    receipt = asyncio.run(scenario())

    assert (receipt["state"], receipt["accepted"]) == ("committed", 1)


@pytest.mark.parametrize("moment", ["before the commit", "at the commit"])
def test_a_database_that_dies_while_a_file_is_worked_on_takes_nothing_of_it(ready_home: Path, moment: str):
    file = write_file(ready_home.parent, csv_bytes([row(number) for number in range(50)]))

    async def scenario():
        async with open_platform(ready_home) as platform:

            async def die(connection: Any, _committed: Any) -> None:
                await asyncio.to_thread(kill_database, ready_home)
                if moment == "before the commit":
                    await connection.execute("SELECT 1")

            services = replace(platform.intake, listeners=(*platform.intake.listeners, die))
            arrival = keep(platform, file)
            receipt_id = await register(services, arrival)
            with pytest.raises(DatabaseUnavailableError):
                await process_stored(services, file_id=receipt_id)
            async with platform.database.connection() as connection:
                between = await get_receipt(connection, receipt_id=receipt_id)
                rows = await lake.count_rows(connection)
                persons = await connection.fetchval("SELECT count(*) FROM identity_person")
            segments = list((ready_home / "lake" / "segments").rglob("*.parquet"))
            await process_stored(platform.intake, file_id=receipt_id)
            async with platform.database.connection() as connection:
                after = await get_receipt(connection, receipt_id=receipt_id)
            return between, dict(rows), persons, segments, after

    between, rows, persons, segments, after = asyncio.run(scenario())

    assert between.state in (FileState.FAILED, FileState.WORKING)
    assert (rows, persons) == ({}, 0)
    # During a commit nobody knows whether it arrived: then the file stays until a sweep finds out.
    assert len(segments) == (moment == "at the commit")
    assert (after.state, after.accepted, after.reason) == (FileState.COMMITTED, 50, None)


def keep(platform: Platform, file: Path) -> Any:
    """Put a copy of a file into the spool, as a door does."""
    spool = platform.home / "spool"
    spool.mkdir(exist_ok=True)
    path = Path(shutil.copy(file, spool / f"kept-{file.name}"))
    return describe_file(
        path=path,
        name=file.name,
        now=platform.clock.now(),
        received_by="test",
        institution=CLINIC,
        spooled=True,
    )


class LosingAnswer:
    """A database whose connection breaks just after it did what it was asked to commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def run(self, work: Callable[[Any], Any]) -> None:
        await self._database.run(work)
        raise DatabaseUnavailableError(Text(zh="连接断开", en="the connection broke"))


def test_a_commit_whose_answer_was_lost_is_not_done_twice(world: World, tmp_path: Path):
    file = write_file(tmp_path, csv_bytes([row(number) for number in range(30)]), name="lost_2026-01.csv")
    before = world.traces()

    async def scenario():
        platform = world.platform
        losing: Any = replace(platform.intake, database=LosingAnswer(platform.database))
        receipt_id = await register(platform.intake, keep(platform, file))
        with pytest.raises(DatabaseUnavailableError):
            await process_stored(losing, file_id=receipt_id)
        await process_stored(platform.intake, file_id=receipt_id)
        return await world.answer(receipt_id)

    answer = world.run(scenario)
    after = world.traces()

    assert (answer.state, answer.receipt.reason) == (FileState.COMMITTED, None)
    assert after.rows["immunization"] - before.rows.get("immunization", 0) == 30
    assert after.spool == ()


# --- the disk is full ----------------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path, *, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a small disk at `place`; the value called gives it another size."""
    place.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")

    def resize(wanted: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={wanted}", str(place)], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_lake_takes_nothing_of_the_file_and_takes_it_when_there_is_room(ready_home: Path):
    file = heavy_file(ready_home.parent)

    with small_disk(ready_home / "lake", size="256k") as resize:
        full = run_command(ready_home, "intake", str(file))
        between, found = states(ready_home), left_over(ready_home)
        segments = list((ready_home / "lake" / "segments").rglob("*.parquet"))
        resize("64m")
        roomy = run_command(ready_home, "intake", str(file))
        after = states(ready_home)

    assert_environment_fault(full, "full")
    assert between == (0, 0, [FileState.FAILED])
    assert found == segments == []
    assert roomy.status == 0, roomy
    assert roomy.result["accepted"] == HEAVY_ROWS
    assert after[0] == HEAVY_ROWS


def test_a_limit_on_the_size_of_files_is_a_full_disk(ready_home: Path):
    file = heavy_file(ready_home.parent)

    full = run_program(
        ready_home,
        "intake",
        str(file),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18)),
    )
    between, found = states(ready_home), left_over(ready_home)
    roomy = run_command(ready_home, "intake", str(file))

    assert_environment_fault(full, "full")
    assert between == (0, 0, [FileState.FAILED])
    assert found == []
    assert roomy.status == 0


def test_a_full_disk_under_the_list_of_refused_rows_leaves_no_draft(ready_home: Path):
    rows = [row(number, dose_number="x", batch_number="", site="位" * 60) for number in range(3000)]
    file = write_file(ready_home.parent, csv_bytes([row(3001), *rows]))

    with small_disk(ready_home / "rejects", size="256k") as resize:
        full = run_command(ready_home, "intake", str(file))
        between, found = (
            states(ready_home),
            [*left_over(ready_home), *(ready_home / "rejects").rglob("*.csv")],
        )
        resize("64m")
        roomy = run_command(ready_home, "intake", str(file))

    assert_environment_fault(full, "full")
    assert between[:2] == (0, 0)
    assert found == []
    assert (roomy.status, roomy.result["rejected"]) == (1, 3000)


def test_an_upload_to_a_full_disk_is_told_to_come_again(database_server: str, home: Path):
    content = csv_bytes([row(number) for number in range(5000)])

    async def scenario():
        async with open_platform(home) as platform, serving(platform) as http:
            headers, form = await machine_token(platform, http), await console_form(platform, http)
            ballast = home / "ballast"
            ballast.write_bytes(bytes(shutil.disk_usage(home).free - (256 << 10)))
            full = await http.post("/datasets/immunization", content=content, headers=headers)
            page = await http.post(
                "/console/upload", data=form, files={"file": ("a.csv", content)}, headers={"Origin": ORIGIN}
            )
            found = left_over(home)
            ready = await http.get("/health/ready")
            ballast.unlink()
            answer = await http.post("/datasets/immunization", content=content, headers=headers)
            return full, page, ready, found, await until_committed(http, headers, answer.json())

    with small_disk(home, size="32m"), temporary_database(database_server) as url:
        write_settings(home, database_url=url)
        full, page, ready, found, receipt = asyncio.run(scenario())

    assert full.status_code == 503, full.text
    assert full.headers["content-type"].startswith("application/problem+json")
    assert int(full.headers["retry-after"]) > 0
    assert page.status_code == 503
    assert "磁盘已满" in page.text
    assert ready.json()["checks"] == {"database": True, "disk": False}
    assert found == []
    assert (receipt["state"], receipt["accepted"]) == ("committed", 5000)


def test_a_disk_that_fills_up_while_a_file_is_worked_on_keeps_it_for_later(database_server: str, home: Path):
    content = csv_bytes(heavy_rows())

    async def scenario():
        async with open_platform(home) as platform:
            sent = write_file(home / "sent", content)
            receipt_id = await register(platform.intake, keep(platform, sent))
            sent.unlink()
            ballast = home / "ballast"
            ballast.write_bytes(bytes(shutil.disk_usage(home).free - (256 << 10)))
            with pytest.raises(StorageFullError):
                await process_stored(platform.intake, file_id=receipt_id)
            between = await find_receipt(platform, receipt_id)
            ballast.unlink()
            await process_stored(platform.intake, file_id=receipt_id)
            return between, await find_receipt(platform, receipt_id)

    with small_disk(home, size="32m"), temporary_database(database_server) as url:
        write_settings(home, database_url=url)
        between, after = asyncio.run(scenario())
        found = left_over(home)

    assert (between.state, between.accepted, between.persons_created) == (FileState.FAILED, 0, 0)
    assert between.reason is not None
    assert (after.state, after.accepted, after.reason) == (FileState.COMMITTED, HEAVY_ROWS, None)
    assert found == []


async def find_receipt(platform: Platform, receipt_id: int) -> Receipt:
    async with platform.database.connection() as connection:
        return await get_receipt(connection, receipt_id=receipt_id)


def test_a_database_without_room_takes_nothing_and_works_again_when_there_is_some(home: Path):
    server_home = home.parent / "server"
    with small_disk(server_home, size="256m") as resize:
        settings = FAST | {"max_wal_size": "64MB", "min_wal_size": "32MB"}
        write_settings(home, database_url=embedded.start(server_home, settings=settings))
        assert run_command(home, "init").status == 0
        file = heavy_file(home.parent)
        ballast = server_home / "ballast"
        with ballast.open("wb") as stream:
            stream.write(bytes(max(0, shutil.disk_usage(server_home).free - (1 << 20))))
        full = run_command(home, "intake", str(file))
        ballast.unlink()
        resize("512m")
        # Without room for its log the server ends itself; whoever keeps it starts it again.
        embedded.start(server_home, settings=settings)
        between, found = states(home), left_over(home)
        roomy = run_command(home, "intake", str(file))
        after = states(home)
        embedded.stop(server_home)

    assert_environment_fault(full, "full", "database")
    assert between[:2] == (0, 0)
    assert found == []
    assert roomy.status == 0, roomy
    assert after[0] == HEAVY_ROWS


# --- the machine is not ready --------------------------------------------------------------------------


def test_a_home_that_is_a_file_ends_with_one_sentence(tmp_path: Path):
    (tmp_path / "home").write_text("not a folder")

    for place in (tmp_path / "home", tmp_path / "home" / "below"):
        assert_environment_fault(run_command(place, "init"), "cannot be written")


def test_a_home_on_a_disk_that_is_read_only_ends_with_one_sentence(home: Path):
    with small_disk(home, size="1m"):
        subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)

        assert_environment_fault(run_command(home, "init"), "cannot be written")


def test_a_home_of_somebody_else_ends_with_one_sentence(home: Path):
    home.parent.chmod(0o755)
    home.chmod(0o555)

    with as_somebody_else():
        ended = [run_command(place, "init") for place in (home, home / "below")]

    for one in ended:
        assert_environment_fault(one, "cannot be written")


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Let go of root's rights, to whom no folder is closed."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    os.setresuid(nobody, nobody, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_port_that_is_taken_ends_with_one_sentence_before_anything_is_made(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        ended = CliRunner().invoke(app, ["--home", str(home), "serve", "--port", port])

    assert ended.exit_code == 3
    assert port in ended.stderr
    assert list(home.iterdir()) == []


WRONG_SETTINGS = {
    "no TOML": b"threads = ",
    "no text": "region_name = '康枢'".encode("gb18030"),
    "an unknown name": b'langauge = "zh"',
    "a wrong type": b'threads = "two"',
    "no threads": b"threads = 0",
    "no memory": b"memory_mib = -1",
    "a third language": b'language = "fr"',
    "another database": b'database_url = "mysql://localhost"',
    "a pack that is not there": b'pack = "/nowhere/at/all"',
}


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_a_wrong_setting_ends_with_one_sentence_before_anything_is_made(home: Path, case: str):
    (home / "settings.toml").write_bytes(WRONG_SETTINGS[case])

    ended = run_command(home, "init")

    assert ended.status == 2, ended
    assert ended.reason
    assert [path.name for path in home.iterdir()] == ["settings.toml"]


WRONG_WORDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "a path that is not there": (2, ("intake", "/nowhere/at/all")),
    "an unknown data set": (2, ("intake", ".", "--dataset", "nothing")),
    "a period that is none": (2, ("intake", ".", "--period", "soon")),
    "a day that is none": (2, ("persons", "find", "--born", "1980-02-30")),
    "a person that is not there": (2, ("persons", "show", "999999")),
    "a number beyond every person's": (2, ("persons", "show", "99999999999999999999")),
    "a data set to show": (2, ("datasets", "show", "nothing")),
    "a backup that is not there": (2, ("restore", "/nowhere/at/all.tar")),
    "a folder that is not there": (2, ("backup", "/nowhere/at/all.tar")),
    "a file to check": (2, ("check", "/nowhere/at/all.csv", "--dataset", "immunization")),
    "a folder that holds something": (2, ("simulate", "--out", "/")),
    "an impossible code": (2, ("clients", "create", "--institution", "x" * 100)),
    "an unknown scope": (2, ("clients", "create", "--institution", CLINIC, "--scope", "everything")),
    "a weak password": (
        2,
        ("accounts", "create", "weak", "--title", "x", "--role", "auditor", "--password", "12345678"),
    ),
    "an unknown reach": (
        2,
        (
            "accounts",
            "create",
            "far",
            "--title",
            "x",
            "--role",
            "desk",
            "--reach",
            "moon",
            "--password",
            PASSWORD,
        ),
    ),
}


@pytest.mark.parametrize("case", WRONG_WORDS)
def test_a_wrong_command_ends_with_its_status_and_one_sentence(world: World, case: str):
    status, words = WRONG_WORDS[case]

    ended = run_command(world.home, *words)

    assert ended.status == status, ended
    assert ended.reason


# --- backup and restore --------------------------------------------------------------------------------


def test_a_backup_brings_everything_back_into_an_empty_home(ready_home: Path):
    place = ready_home.parent
    first = write_file(place, csv_bytes([row(1), row(2), row(3, dose_number="x")]))
    corrected = write_file(place, csv_bytes([row(1), row(2), row(3)]), name="corrected_2026-03.csv")
    words = ("--title", "周业务", "--role", "centre-staff", "--reach", "region", "--password", PASSWORD)
    assert run_command(ready_home, "accounts", "create", "centre", *words).status == 0
    for file in (first, corrected):
        assert run_command(ready_home, "intake", str(file)).status in (0, 1)

    done = run_command(ready_home, "backup", str(place / "backup.tar"))
    restored = place / "restored"
    back = run_command(restored, "restore", str(place / "backup.tar"))
    try:
        ours, theirs = asyncio.run(contents(ready_home)), asyncio.run(contents(restored))
        audits = [run_command(one, "audit", "verify") for one in (ready_home, restored)]
        again = run_command(restored, "intake", str(corrected))
    finally:
        embedded.stop(restored)

    assert (done.status, back.status) == (0, 0), back
    assert theirs == ours
    assert ours["rows"] == {"immunization": 3}
    assert len(ours["receipts"]) == 2
    assert ours["names"] == {"张建国"}, "the keys are there to open what was sealed"
    assert ours["signed_in"] == 303
    assert [one.status for one in audits] == [0, 0]
    assert audits[0].result == audits[1].result
    assert again.result["duplicate"] == 1, "what was taken in before is still known"


async def contents(home: Path) -> dict[str, Any]:
    """Return what somebody would miss."""
    async with open_platform(home) as platform:
        async with platform.database.connection() as connection:
            receipts = await list_receipts(connection)
            rows = await lake.count_rows(connection)
            persons = await connection.fetch("SELECT id FROM identity_person ORDER BY id")
            found = [
                await identity.get_person(connection, keys=platform.keys, person=one["id"]) for one in persons
            ]
        transport = httpx.ASGITransport(app=build_app(platform))
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            answer = await http.post(
                "/console/sign-in",
                data={"name": "centre", "password": PASSWORD},
                headers={"Origin": ORIGIN},
            )
    listed = sorted(
        (str(path.relative_to(home)), path.read_bytes()) for path in (home / "rejects").rglob("*.csv")
    )
    return {
        "receipts": receipts,
        "rows": dict(rows),
        "persons": len(persons),
        "names": {one.name for one in found},
        "rejects": listed,
        "signed_in": answer.status_code,
    }


def test_a_damaged_backup_is_refused_and_leaves_the_home_empty(ready_home: Path):
    place = ready_home.parent
    assert run_command(ready_home, "backup", str(place / "backup.tar")).status == 0
    whole = (place / "backup.tar").read_bytes()
    middle = len(whole) // 2
    damaged = {
        "cut": whole[:middle],
        "changed": whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :],
        "other": csv_bytes([row(1)]),
        "empty": b"",
    }

    for name, content in damaged.items():
        (place / name).write_bytes(content)
        ended = run_command(place / "restored", "restore", str(place / name))

        assert ended.status == 2, (name, ended)
        assert ended.reason
        assert list((place / "restored").iterdir()) == []


def test_a_restore_that_was_killed_half_way_is_seen_and_can_be_done_again(ready_home: Path):
    place = ready_home.parent
    assert run_command(ready_home, "backup", str(place / "backup.tar")).status == 0
    half = place / "half"
    half.mkdir()
    (half / ".restoring").touch()
    (half / "lake").mkdir()
    assert backup.is_half_restored(half)

    refused = [
        run_command(half, *words)
        for words in (["init"], ["intake", str(place / "backup.tar")], ["audit", "verify"])
    ]
    again = run_command(half, "restore", str(place / "backup.tar"))
    try:
        works = run_command(half, "audit", "verify")
    finally:
        embedded.stop(half)

    for one in refused:
        assert_environment_fault(one, "restore")
    assert (again.status, works.status) == (0, 0)


# --- the audit chain -----------------------------------------------------------------------------------


@pytest.fixture
def audited(world: World) -> Iterator[Callable[[str], Ended]]:
    """Change the chain by SQL as a database administrator could, and verify it; changed back at the end."""
    for number in range(4):
        world.send(
            csv_bytes([row(number, site=f"审计{number}")]), name=f"audit{number}_2025-0{number + 1}.csv"
        )
    assert run_command(world.home, "audit", "verify").status == 0
    saved = "CREATE TABLE IF NOT EXISTS saved_entry AS SELECT * FROM audit_entry"
    execute(world, saved)

    def tamper(statement: str) -> Ended:
        execute(world, "ALTER TABLE audit_entry DISABLE TRIGGER ALL", statement)
        return run_command(world.home, "audit", "verify")

    yield tamper
    execute(
        world,
        "DELETE FROM audit_entry",
        "INSERT INTO audit_entry SELECT * FROM saved_entry",
        "DROP TABLE saved_entry",
        "ALTER TABLE audit_entry ENABLE TRIGGER ALL",
    )


def execute(world: World, *statements: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(world.platform.database.url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(work())


def test_a_chain_that_nobody_touched_is_intact(world: World):
    world.send(csv_bytes([row(1, site="完好")]), name="intact_2025-11.csv")

    ended = run_command(world.home, "audit", "verify")

    assert ended.status == 0
    assert ended.result["intact"] is True
    assert ended.result["entries"] >= 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'somebody else' WHERE chain = 2",
        "UPDATE audit_entry SET detail = detail || ' ' WHERE chain = 2",
        "UPDATE audit_entry SET at = at + interval '1 second' WHERE chain = 2",
        "DELETE FROM audit_entry WHERE chain = 2",
        "DELETE FROM audit_entry WHERE chain = (SELECT max(chain) FROM audit_entry)",
        "DELETE FROM audit_entry",
    ],
)
def test_a_change_by_sql_behind_our_back_is_found(audited: Callable[[str], Ended], statement: str):
    ended = audited(statement)

    assert ended.status == 1
    assert ended.result["intact"] is False
    assert ended.result["fault"]


# --- memory --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_large_front_page_file_goes_through_in_bounded_memory(home: Path):
    rows = int(os.environ.get("KANGSHU_TEST_ROWS", "300000"))
    file = home.parent / "front_page_2026.csv"
    write_front_pages(file, rows=rows, persons=max(rows // 3, 100))

    process = psutil.Popen(
        [sys.executable, "-m", "kangshu", "--home", str(home), "intake", str(file), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    most = 0
    while process.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
            process.wait(timeout=0.05)
        except (psutil.TimeoutExpired, psutil.NoSuchProcess):
            continue
    out, err = process.communicate()
    result = orjson.loads(out)
    seconds, size = result["seconds"], file.stat().st_size >> 20
    print(f"\n{rows:,} rows, {size:,} MiB: {most >> 20:,} MiB at most, {seconds:.1f} s")  # noqa: T201

    assert process.returncode in (0, 1), err.decode()
    assert result["rows"] == rows
    assert result["accepted"] == rows
    assert most < 2 << 30
