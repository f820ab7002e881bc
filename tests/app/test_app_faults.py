"""Kill -9 of the program or of the database at any moment: each file is wholly in or wholly out."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from kangshu import lake
from kangshu.app.platform import open_platform
from kangshu.declarations import load_pack
from kangshu.intake import FileState, list_receipts
from kangshu.storage import embedded

pytestmark = pytest.mark.database

ROWS = 40_000
CLINIC = "99000101599010211A1001"
ROUNDS = [pytest.param(4, id="few"), pytest.param(50, id="many", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def big_file(tmp_path_factory) -> Path:
    """A file that takes a second or two."""
    fields = load_pack().datasets["immunization"].fields
    path = tmp_path_factory.mktemp("files") / "immunization_2026-03.csv"
    template = [CLINIC if field.name == "institution_code" else field.example for field in fields]
    number = next(i for i, field in enumerate(fields) if field.name == "vaccination_number")
    patient = next(i for i, field in enumerate(fields) if field.name == "patient_number")
    resident = next(i for i, field in enumerate(fields) if field.name == "resident_number")
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([field.title.zh for field in fields])
        for row in range(ROWS):
            cells = list(template)
            cells[number], cells[patient], cells[resident] = f"V{row}", f"P{row % 5000}", ""
            writer.writerow(cells)
    return path


@pytest.fixture
def home():
    # Not under pytest's own folder: the next session closes that one to the user that runs the server.
    place = Path(tempfile.mkdtemp(prefix="kangshu-test-")) / "home"
    yield place
    embedded.stop(place)
    shutil.rmtree(place.parent, ignore_errors=True)


def start_intake(home: Path, file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "kangshu", "--home", str(home), "intake", str(file), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def intake_to_its_end(home: Path, file: Path) -> dict:
    process = start_intake(home, file)
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, 1), err.decode()
    return json.loads(out)


def state(home: Path) -> tuple[int, list[FileState]]:
    """Return the rows in the lake and the states of the receipts, oldest first."""

    async def look():
        async with open_platform(home) as platform, platform.database.connection() as connection:
            rows = await lake.count_rows(connection)
            receipts = await list_receipts(connection, limit=500)
            return rows.get("immunization", 0), [one.state for one in reversed(receipts)]

    return asyncio.run(look())


@pytest.mark.parametrize("rounds", ROUNDS)
def test_kill_of_the_program_leaves_a_file_wholly_in_or_out(home: Path, big_file: Path, rounds: int):
    moments = np.random.default_rng(rounds).uniform(0.3, 4.0, rounds)
    subprocess.run([sys.executable, "-m", "kangshu", "--home", str(home), "init"], check=True)

    for moment in moments:
        process = start_intake(home, big_file)
        time.sleep(moment)
        process.kill()
        process.wait()

        rows, states = state(home)
        assert rows in (0, ROWS)
        assert (rows == ROWS) == (FileState.COMMITTED in states)

    intake_to_its_end(home, big_file)
    rows, states = state(home)
    assert rows == ROWS
    assert states.count(FileState.COMMITTED) == 1


@pytest.mark.parametrize("rounds", ROUNDS)
def test_kill_of_the_database_leaves_a_file_wholly_in_or_out(home: Path, big_file: Path, rounds: int):
    moments = np.random.default_rng(rounds + 1).uniform(1.0, 4.0, rounds)
    subprocess.run([sys.executable, "-m", "kangshu", "--home", str(home), "init"], check=True)

    for moment in moments:
        process = start_intake(home, big_file)
        time.sleep(moment)
        kill_database(home)
        process.communicate(timeout=180)

        assert process.returncode in (0, 1, 3), "a clear end, whatever the moment"
        rows, states = state(home)
        assert rows in (0, ROWS)
        assert (rows == ROWS) == (FileState.COMMITTED in states)

    intake_to_its_end(home, big_file)
    rows, states = state(home)
    assert rows == ROWS
    assert states.count(FileState.COMMITTED) == 1


def kill_database(home: Path) -> None:
    """Kill -9 the server and every process of it."""
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    if not pid_file.exists():
        return
    server = psutil.Process(int(pid_file.read_text().splitlines()[0]))
    family = [server, *server.children(recursive=True)]
    for process in family:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    psutil.wait_procs(family, timeout=10)
