"""The doors of the whole program: machines, the console, the watched folder; one way in for every file."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest
from app_world import CLINIC, OTHER_CLINIC, Answer, World, csv_bytes, open_world, row
from typer.testing import CliRunner

from kangshu.app.cli import app
from kangshu.app.platform import Platform
from kangshu.app.serving import background, build_app
from kangshu.intake import FileState, describe_file, rejects_path, take_in
from kangshu.storage import jobs

pytestmark = pytest.mark.database

ORIGIN = "http://kangshu.test"
PASSWORD = "Riverbank-2026"
PATIENCE_SECONDS = 60.0
DATASET = "/datasets/immunization"


@dataclass(frozen=True)
class Doors:
    """A world whose program serves, with credentials for two institutions."""

    world: World
    clients: Mapping[str, tuple[str, str]]

    def run(self, work: Callable[[httpx.AsyncClient], Awaitable[Any]], **changes: Any) -> Any:
        """Run `async work(http)` while the program serves and works in the background."""
        platform = replace(self.world.platform, **changes)

        async def scenario() -> Any:
            async with background(platform), browser(platform) as http:
                return await work(http)

        return self.world.run(scenario)

    async def token(self, http: httpx.AsyncClient, institution: str = CLINIC) -> dict[str, str]:
        """Return the header with a fresh token of an institution's machine."""
        answer = await http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=self.clients[institution]
        )
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@asynccontextmanager
async def browser(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client whose requests go straight into the application."""
    transport = httpx.ASGITransport(app=build_app(platform), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        yield http


@pytest.fixture(scope="module")
def doors(database_server: str) -> Iterator[Doors]:
    with open_world(database_server, upload_limit_mib=1) as world:
        clients = {code: make_client(world.home, code) for code in (CLINIC, OTHER_CLINIC)}
        for name, code in (("hospital", CLINIC), ("elsewhere", OTHER_CLINIC)):
            make_account(world.home, name, f"institution:{code}")
        yield Doors(world, clients)


def command(home: Path, *words: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["--home", str(home), *words, "--json"])
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)


def make_client(home: Path, institution: str) -> tuple[str, str]:
    made = command(
        home, "clients", "create", "--institution", institution,
        "--scope", "datasets.write", "--scope", "rejects.read",
    )  # fmt: skip
    return made["client_id"], made["client_secret"]


def make_account(home: Path, name: str, reach: str) -> None:
    words = ("--title", "褚信息", "--role", "institution-it", "--reach", reach, "--password", PASSWORD)
    command(home, "accounts", "create", name, *words)


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:kangshu:problem:")
    assert problem["title"]
    assert problem["detail"]
    return problem


async def finished(
    http: httpx.AsyncClient, headers: Mapping[str, str], receipt: dict[str, Any]
) -> dict[str, Any]:
    """Return the receipt when the program has done its work."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while receipt["state"] in ("received", "working") and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        receipt = (await http.get(f"/receipts/{receipt['id']}", headers=headers)).json()
    return receipt


async def settled(look: Callable[[], bool]) -> None:
    """Wait until `look` says so: a finished receipt is told a moment before the last file is removed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline, "it never came to be so"
        await asyncio.sleep(0.05)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []


# --- machines ---------------------------------------------------------------------------------------------


def test_a_machine_sends_a_file_and_reads_what_became_of_it(doors: Doors):
    content = csv_bytes([row(number) for number in range(20)])

    async def scenario(http: httpx.AsyncClient):
        headers = await doors.token(http)
        sent = await http.post(f"{DATASET}?period=2026-01", content=content, headers=headers)
        receipt = await finished(http, headers, sent.json())
        again = await http.post(f"{DATASET}?period=2026-01", content=content, headers=headers)
        await settled(lambda: not names(doors.world.home / "spool"))
        return sent, receipt, await finished(http, headers, again.json()), again

    sent, receipt, again, answer = doors.run(scenario)

    assert sent.status_code in (201, 202)
    assert sent.headers["location"] == f"/receipts/{receipt['id']}"
    assert (receipt["state"], receipt["accepted"], receipt["rejected"]) == ("committed", 20, 0)
    assert (receipt["institution"], receipt["period"]) == (CLINIC, "2026-01")
    assert answer.status_code in (200, 202)
    assert (again["state"], again["duplicate_of"]) == ("duplicate", receipt["id"])
    assert names(doors.world.home / "inbox") == []


def test_the_same_file_sent_many_times_at_once_counts_once(doors: Doors):
    content = csv_bytes([row(number) for number in range(50)])

    async def scenario(http: httpx.AsyncClient):
        headers = await doors.token(http)
        sent = await asyncio.gather(
            *(http.post(f"{DATASET}?period=2026-02", content=content, headers=headers) for _ in range(5))
        )
        return [await finished(http, headers, one.json()) for one in sent]

    states = sorted(one["state"] for one in doors.run(scenario))

    assert states == ["committed", *["duplicate"] * 4]


def test_rows_of_another_institution_are_refused_and_listed_without_values(doors: Doors):
    content = csv_bytes([row(1), row(2, institution_code=OTHER_CLINIC), row(3, dose_number="保密内容")])

    async def scenario(http: httpx.AsyncClient):
        headers = await doors.token(http)
        sent = await http.post(f"{DATASET}?period=2026-03", content=content, headers=headers)
        receipt = await finished(http, headers, sent.json())
        return receipt, await http.get(f"/receipts/{receipt['id']}/rejects", headers=headers)

    receipt, listed = doors.run(scenario)

    assert (receipt["accepted"], receipt["rejected"]) == (1, 2)
    assert {(one["rule"], one["field"]) for one in receipt["reasons"] if one["severity"] == "error"} == {
        ("institution", "institution_code"),
        ("type", "dose_number"),
    }
    assert receipt["rejects"] == f"/receipts/{receipt['id']}/rejects"
    assert listed.status_code == 200
    assert "保密内容" not in listed.text + orjson.dumps(receipt).decode()
    assert [line[0] for line in csv.reader(io.StringIO(listed.text))][1:] == ["3", "4"]


def test_no_machine_acts_for_another_institution(doors: Doors):
    async def scenario(http: httpx.AsyncClient):
        headers = await doors.token(http)
        answer = await http.post(
            f"{DATASET}?institution={OTHER_CLINIC}", content=csv_bytes([row(1)]), headers=headers
        )
        return answer, names(doors.world.home / "inbox"), names(doors.world.home / "spool")

    answer, inbox, spool = doors.run(scenario)

    assert_problem(answer, 403)
    assert inbox == spool == []


def test_another_institutions_receipt_looks_as_if_it_were_not_there(doors: Doors):
    async def scenario(http: httpx.AsyncClient):
        mine, other = await doors.token(http), await doors.token(http, OTHER_CLINIC)
        content = csv_bytes([row(1), row(2, dose_number="x")])
        sent = await http.post(f"{DATASET}?period=2026-04", content=content, headers=mine)
        receipt = await finished(http, mine, sent.json())
        own = await http.get(f"/receipts/{receipt['id']}", headers=mine)
        foreign = [
            await http.get(path, headers=other)
            for path in (f"/receipts/{receipt['id']}", f"/receipts/{receipt['id']}/rejects")
        ]
        nothing = [
            await http.get(f"/receipts/{number}", headers=other)
            for number in (987654321, 0, -1, 1 << 62, 1 << 63, 10**40)
        ]
        return own, foreign, nothing

    own, foreign, nothing = doors.run(scenario)

    assert own.status_code == 200
    details = {re.sub(r"-?\d+", "N", assert_problem(one, 404)["detail"]) for one in (*foreign, *nothing)}
    assert len(details) == 1


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer nonsense", "Basic eDp5", "Bearer \0", "bearer é"])
def test_without_a_good_token_nothing_is_read(doors: Doors, header: str | None):
    headers = {b"Authorization": header.encode()} if header else {}

    async def scenario(http: httpx.AsyncClient):
        return [
            await http.post(DATASET, content=csv_bytes([row(1)]), headers=headers),
            await http.get("/receipts/1", headers=headers),
        ], names(doors.world.home / "inbox")

    answers, inbox = doors.run(scenario)

    for answer in answers:
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert inbox == []


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])
def test_a_file_over_the_limit_is_refused_while_it_comes(doors: Doors, announced: bool):
    content = csv_bytes([row(number) for number in range(6000)])
    assert len(content) > 1 << 20

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1 << 16):
            yield content[start : start + (1 << 16)]

    async def scenario(http: httpx.AsyncClient):
        headers = await doors.token(http)
        answer = await http.post(DATASET, content=content if announced else pieces(), headers=headers)
        return answer, names(doors.world.home / "inbox"), names(doors.world.home / "spool")

    answer, inbox, spool = doors.run(scenario)

    assert_problem(answer, 413)
    assert inbox == spool == []


WRONG_REQUESTS = {
    "an unknown data set": ("POST", "/datasets/nothing", {}, 404),
    "a path for a name": ("POST", "/datasets/..%2F..%2Fetc", {}, 404),
    "an unknown path": ("GET", "/nothing/here", {}, 404),
    "another method": ("DELETE", DATASET, {}, 405),
    "a period that is none": ("POST", f"{DATASET}?period=soon", {}, 422),
    "a day that does not exist": ("POST", f"{DATASET}?period=2026-02-31", {}, 422),
    "the last day of time": ("POST", f"{DATASET}?period=9999-12-31", {}, 422),
    "an empty body": ("POST", DATASET, {"content": b""}, 422),
    "a form": ("POST", DATASET, {"files": {"file": ("a.csv", b"a,b\n1,2\n")}}, 415),
    "NUL for an institution": ("POST", f"{DATASET}?institution=%00", {}, 403),
    "a page for an institution": ("POST", f"{DATASET}?institution={'x' * 5000}", {}, 422),
    "a word for a receipt": ("GET", "/receipts/abc", {}, 422),
    "no grant": ("POST", "/oauth/token", {"data": {}}, 400),
    "wrong credentials": (
        "POST",
        "/oauth/token",
        {"data": {"grant_type": "client_credentials", "client_id": "a\0b", "client_secret": "c"}},
        400,
    ),
    "a wrong password": (
        "POST",
        "/oauth/token",
        {"data": {"grant_type": "password", "username": "hospital\0", "password": "x"}},
        400,
    ),
}


@pytest.mark.parametrize("case", WRONG_REQUESTS)
def test_what_a_machine_asks_wrongly_is_answered_with_a_problem_in_its_language(doors: Doors, case: str):
    method, path, more, status = WRONG_REQUESTS[case]

    async def scenario(http: httpx.AsyncClient):
        headers = {} if path == "/oauth/token" else await doors.token(http)
        if method == "POST" and not more:
            more["content"] = csv_bytes([row(1)])
        return [
            await http.request(method, path, headers={**headers, "Accept-Language": language}, **more)
            for language in ("zh-CN", "en")
        ]

    chinese, english = (assert_problem(answer, status) for answer in doors.run(scenario))

    assert re.search("[一-鿿]", chinese["detail"])
    assert not re.search("[一-鿿]", english["detail"])


def test_a_sender_who_goes_away_in_the_middle_leaves_nothing(doors: Doors):
    async def scenario(http: httpx.AsyncClient):
        headers = await doors.token(http)
        messages = iter(
            [
                {"type": "http.request", "body": csv_bytes([row(1)]), "more_body": True},
                {"type": "http.disconnect"},
            ]
        )

        async def receive() -> dict[str, Any]:
            return next(messages)

        async def send(_message: dict[str, Any]) -> None:
            return None

        scope = {
            "type": "http", "method": "POST", "path": DATASET, "raw_path": DATASET.encode(),
            "query_string": b"", "root_path": "", "scheme": "http", "server": ("kangshu.test", 80),
            "http_version": "1.1", "headers": [(b"authorization", headers["Authorization"].encode())],
        }  # fmt: skip
        await build_app(doors.world.platform)(scope, receive, send)  # type: ignore[arg-type]
        return names(doors.world.home / "inbox"), names(doors.world.home / "spool")

    assert doors.run(scenario) == ([], [])


@pytest.mark.parametrize(
    "name", ["../../../etc/cron.d/接种.csv", "..\\a.csv", "a\nb\0c.csv", "=HYPERLINK(A1).csv", "长" * 180]
)
def test_the_name_that_a_machine_gives_is_shown_and_never_a_path(doors: Doors, name: str):
    async def scenario(http: httpx.AsyncClient):
        headers = await doors.token(http)
        content = csv_bytes([row(7, site=f"{abs(hash(name))}")])
        sent = await http.post(DATASET, params={"file": name}, content=content, headers=headers)
        return sent, await finished(http, headers, sent.json())

    sent, receipt = doors.run(scenario)

    assert sent.status_code in (201, 202), sent.text
    assert receipt["state"] == "committed"
    assert receipt["name"].isprintable()
    assert not set("/\\") & set(receipt["name"])


# --- staff ------------------------------------------------------------------------------------------------


async def sign_in(http: httpx.AsyncClient, name: str) -> str:
    """Sign in and return the form token of the session."""
    answer = await http.post(
        "/console/sign-in",
        data={"name": name, "password": PASSWORD},
        headers={"Origin": ORIGIN},
        follow_redirects=True,
    )
    assert answer.status_code == 200
    page = await http.get("/console/upload")
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert found is not None, "the upload form carries the session's token"
    return found[1]


async def upload(
    http: httpx.AsyncClient,
    content: bytes,
    *,
    token: str,
    name: str = "接种_2026-06.csv",
    origin: str = ORIGIN,
) -> httpx.Response:
    return await http.post(
        "/console/upload",
        data={"csrf": token},
        files={"file": (name, content, "text/csv")},
        headers={"Origin": origin},
    )


def test_a_hospital_uploads_a_file_in_the_console_and_sees_its_receipt(doors: Doors):
    content = csv_bytes([row(1), row(2, dose_number="保密内容")], encoding="gb18030")

    async def scenario(http: httpx.AsyncClient):
        answer = await upload(http, content, token=await sign_in(http, "hospital"))
        href = answer.headers["location"]
        number = int(href.rsplit("/", 1)[1])
        await settled(lambda: not names(doors.world.home / "spool"))
        page, rejects = await http.get(href), await http.get(f"{href}/rejects.csv")
        async with browser(doors.world.platform) as other:
            await sign_in(other, "elsewhere")
            foreign = await other.get(href)
        return answer, await doors.world.answer(number), page, rejects, foreign

    answer, found, page, rejects, foreign = doors.run(scenario)

    assert answer.status_code == 303
    assert (found.state, found.receipt.accepted, found.receipt.rejected) == (FileState.COMMITTED, 1, 1)
    assert found.receipt.institution == CLINIC
    assert page.status_code == 200
    assert "接种_2026-06.csv" in page.text
    assert rejects.status_code == 200
    assert "保密内容" not in page.text + rejects.text
    assert foreign.status_code == 404


@pytest.mark.parametrize("fault", ["no token", "another session's token", "another site"])
def test_a_form_of_somebody_elses_making_is_refused(doors: Doors, fault: str):
    content = csv_bytes([row(31)])

    async def scenario(http: httpx.AsyncClient):
        token = await sign_in(http, "hospital")
        async with browser(doors.world.platform) as other:
            foreign = await sign_in(other, "elsewhere")
        before = await count_receipts(doors.world)
        answer = await upload(
            http,
            content,
            token={"no token": "", "another session's token": foreign}.get(fault, token),
            origin="https://evil.example" if fault == "another site" else ORIGIN,
        )
        return answer, await count_receipts(doors.world) - before, names(doors.world.home / "inbox")

    answer, receipts, inbox = doors.run(scenario)

    assert answer.status_code == 403
    assert (receipts, inbox) == (0, [])


async def count_receipts(world: World) -> int:
    async with world.platform.database.connection() as connection:
        return await connection.fetchval("SELECT count(*) FROM intake_file")


def test_the_export_of_receipts_holds_nothing_that_a_spreadsheet_would_run(doors: Doors):
    async def scenario(http: httpx.AsyncClient):
        token = await sign_in(http, "hospital")
        for place, name in enumerate(("=HYPERLINK(A1)_2026-07.csv", "@SUM_2026-08.csv", "+1_2026-09.csv")):
            await upload(http, csv_bytes([row(40 + place)]), token=token, name=name)
        await settled(lambda: not names(doors.world.home / "spool"))
        return await http.get("/console/receipts.csv")

    listed = doors.run(scenario)

    lines = list(csv.reader(io.StringIO(listed.text.lstrip("\ufeff"))))
    assert any("HYPERLINK" in cell for line in lines for cell in line)
    assert not [cell for line in lines for cell in line if cell.startswith(("=", "@", "+"))]


# --- the watched folder -----------------------------------------------------------------------------------


def test_the_watched_folder_takes_whole_files_and_puts_them_aside(doors: Doors):
    folder = doors.world.home.parent / "watched"
    sent = folder / CLINIC
    sent.mkdir(parents=True)
    good, bad, growing = sent / "接种_2026-10.csv", sent / "坏_2026-10.csv", sent / "还在写.csv"
    good.write_bytes(csv_bytes([row(60), row(61)]))
    bad.write_bytes(b"\x00\x01\x02")
    growing.write_bytes(csv_bytes([row(62)])[:100])
    long_ago = time.time() - 60
    for path in (good, bad):
        os.utime(path, (long_ago, long_ago))

    async def scenario(_http: httpx.AsyncClient):
        await settled(lambda: not good.exists() and not bad.exists())

    doors.run(scenario, settings=replace(doors.world.platform.settings, watch_folder=str(folder)))

    (done,), (refused,) = names(folder / ".done" / CLINIC), names(folder / ".refused" / CLINIC)
    taken = doors.world.run(lambda: doors.world.answer(int(done.split("_")[0])))
    assert (taken.state, taken.receipt.accepted, taken.receipt.institution) == (
        FileState.COMMITTED,
        2,
        CLINIC,
    )
    assert refused.endswith("坏_2026-10.csv")
    assert growing.exists(), "a file that was just written to may not be whole yet"


# --- work that is interrupted -------------------------------------------------------------------------------


def test_work_that_is_cut_off_by_a_stop_is_done_after_the_next_start(doors: Doors):
    world, reached = doors.world, asyncio.Event()
    content = csv_bytes([row(number, site="断点") for number in range(70, 90)])

    async def hold(_connection: Any, _committed: Any) -> None:
        reached.set()
        await asyncio.sleep(PATIENCE_SECONDS)

    held = replace(world.platform.intake, listeners=(*world.platform.intake.listeners, hold))

    async def until_stopped(http: httpx.AsyncClient):
        headers = await doors.token(http)
        sent = await http.post(f"{DATASET}?period=2026-11", content=content, headers=headers)
        await asyncio.wait_for(reached.wait(), PATIENCE_SECONDS)
        return sent.json()["id"]

    async def after_start(http: httpx.AsyncClient):
        receipt = await finished(http, await doors.token(http), {"id": number, "state": "working"})
        await settled(lambda: not names(world.home / "spool"))
        return receipt

    number = doors.run(until_stopped, intake=held)
    between: Answer = world.run(lambda: world.answer(number))
    kept = names(world.home / "spool")
    receipt = doors.run(after_start)

    assert between.state in (FileState.WORKING, FileState.RECEIVED, FileState.FAILED)
    assert len(kept) == 1, "the bytes are kept until they are in"
    assert (receipt["state"], receipt["accepted"], receipt["reason"]) == ("committed", 20, None)


def test_work_that_is_cut_off_at_any_moment_leaves_nothing_and_harms_no_other_file(doors: Doors):
    world, services = doors.world, doors.world.platform.intake
    content = csv_bytes([row(number, site="任意") for number in range(4000)])
    before = world.traces()

    async def cut_off(moment: float) -> None:
        path = world.home.parent / "cut_2025-01.csv"
        path.write_bytes(content)
        now = world.platform.clock.now()
        arrival = describe_file(path=path, now=now, received_by="test", institution=CLINIC)
        work = asyncio.create_task(take_in(services, arrival))
        await asyncio.sleep(moment)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    async def scenario() -> None:
        for step in range(12):
            await cut_off(0.02 * step)

    world.run(scenario)
    between = world.traces()
    taken = world.send(content, name="cut_2025-01.csv")

    if between.rows == before.rows:  # else the last of them was done in time
        assert replace(between, institutions=before.institutions) == before
    assert taken.state in (FileState.COMMITTED, FileState.DUPLICATE)
    assert world.traces().rows["immunization"] == before.rows.get("immunization", 0) + 4000


def test_a_worker_that_falls_over_is_set_up_again(doors: Doors, monkeypatch: pytest.MonkeyPatch):
    falls = iter([RuntimeError("no reason that anybody foresaw")])
    run = jobs.Worker.run

    async def fall_once(self: jobs.Worker, stop: asyncio.Event) -> None:
        if fault := next(falls, None):
            raise fault
        await run(self, stop)

    monkeypatch.setattr(jobs.Worker, "run", fall_once)
    monkeypatch.setattr("kangshu.app.serving._FALLEN_SECONDS", 0.1)

    async def scenario(http: httpx.AsyncClient):
        headers = await doors.token(http)
        sent = await http.post(f"{DATASET}?period=2026-12", content=csv_bytes([row(95)]), headers=headers)
        return await finished(http, headers, sent.json())

    assert doors.run(scenario)["state"] == "committed"


def test_a_start_clears_what_dead_processes_left_and_nothing_else(doors: Doors):
    home = doors.world.home
    long_ago = time.time() - 3 * 86_400
    draft = rejects_path(home, 1).with_suffix(".999.draft")
    dead = [home / "inbox" / "dead.part", home / "spool" / "dead", draft]
    fresh = [home / "inbox" / "fresh.part", home / "spool" / "fresh"]
    listed = rejects_path(home, 2)
    for path in (*dead, *fresh, listed):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    for path in (*dead, listed):
        os.utime(path, (long_ago, long_ago))

    async def scenario(_http: httpx.AsyncClient):
        await settled(lambda: not any(path.exists() for path in dead))

    doors.run(scenario)

    assert all(path.exists() for path in (*fresh, listed))
    for path in fresh:
        path.unlink()


# --- the program itself -------------------------------------------------------------------------------------


@contextmanager
def program(home: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Serve in two processes of our own; give the first one and the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = psutil.Popen(
        [
            sys.executable,
            "-m",
            "kangshu",
            "--home",
            str(home),
            "serve",
            "--workers",
            "2",
            "--port",
            str(port),
        ],
        stderr=subprocess.PIPE,
    )
    try:
        yield process, port
    finally:
        for one in (*process.children(recursive=True), process) if process.is_running() else ():
            one.kill()
        process.communicate()


def until_it_serves(process: psutil.Process, port: int) -> list[psutil.Process]:
    """Wait until the probe answers and the second process is there; return the processes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            answer = httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5)
            others = [one for one in process.children() if "kangshu.app.sibling" in one.cmdline()]
            if answer.status_code == 200 and others:
                return [process, *others]
        time.sleep(0.2)
    raise AssertionError("it never served")


@pytest.mark.parametrize(
    "way",
    [signal.SIGTERM, signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
    ids=lambda way: way.name,
)
def test_when_the_program_ends_none_of_its_processes_stays(doors: Doors, way: signal.Signals):
    with program(doors.world.home) as (process, port):
        processes = until_it_serves(process, port)

        process.send_signal(way)
        _, alive = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)

        assert alive == []
        assert process.returncode == (-signal.SIGKILL if way is signal.SIGKILL else 0)
        socket.create_server(("127.0.0.1", port)).close()


# --- whoever keeps it running -------------------------------------------------------------------------------


def test_probes_and_metrics_answer_without_a_token_and_without_values(doors: Doors):
    async def scenario(http: httpx.AsyncClient):
        headers = await doors.token(http)
        await http.get("/receipts/123456", headers=headers)
        await http.get("/console/sign-in")
        return [await http.get(path) for path in ("/health/live", "/health/ready", "/metrics")]

    live, ready, metrics = doors.run(scenario)

    assert (live.status_code, live.json()["status"]) == (200, "alive")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert metrics.status_code == 200
    assert (
        'kangshu_http_requests_total{method="GET",route="/receipts/{receipt_id}",status="404"} 1.0'
        in metrics.text
    )
    assert "123456" not in metrics.text
