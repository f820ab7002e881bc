"""The simulated region against its own truth: what became of each file, and who was taken for whom."""

from __future__ import annotations

import asyncio
import csv
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from kangshu import lake
from kangshu.app.platform import Platform, open_platform
from kangshu.app.taking import take_in_files
from kangshu.declarations import load_pack
from kangshu.intake import FileState, Receipt, list_receipts
from kangshu.simulation import simulate
from kangshu.storage import embedded

pytestmark = pytest.mark.database

RESIDENTS, MONTHS = 1500, 3


@dataclass(frozen=True)
class Region:
    """What was written, and what became of it."""

    truth: list[dict[str, str]]
    receipts: dict[str, Receipt]
    persons: list[tuple[int, int, int]]  # platform's person, true person, rows


@pytest.fixture(scope="module")
def region() -> Region:
    place = Path(tempfile.mkdtemp(prefix="kangshu-test-"))
    simulate(
        out=place / "region",
        residents=RESIDENTS,
        months=MONTHS,
        seed=7,
        start=date(2026, 1, 1),
        pack=load_pack(),
    )
    with (place / "region" / "truth" / "files.csv").open(encoding="utf-8-sig", newline="") as stream:
        truth = list(csv.DictReader(stream))
    try:
        return asyncio.run(_take_in(place, truth))
    finally:
        embedded.stop(place / "home")
        shutil.rmtree(place, ignore_errors=True)


async def _take_in(place: Path, truth: list[dict[str, str]]) -> Region:
    async with open_platform(place / "home") as platform:
        # In the order of the truth, which tells what replaces and repeats what.
        files = [place / "region" / "submissions" / one["file"] for one in truth]
        turns = {
            path: datetime(2026, 5, 1, tzinfo=UTC) + timedelta(minutes=n) for n, path in enumerate(files)
        }
        await take_in_files(platform, files, quiet=True, arrival_of=turns.__getitem__)
        async with platform.database.connection() as connection:
            receipts = await list_receipts(connection, limit=5000)
            persons = await _persons(platform, place / "region" / "truth" / "records.csv", receipts)
    return Region(
        truth=truth,
        receipts={_name(one): one for one in receipts},
        persons=persons,
    )


def _name(receipt: Receipt) -> str:
    return f"{receipt.institution}/{receipt.name}"


async def _persons(platform: Platform, truth: Path, receipts: list[Receipt]) -> list[tuple[int, int, int]]:
    """Return how many rows of each true person the platform gave to each of its persons."""
    async with platform.database.connection() as connection:
        segments = await lake.live_segments(connection)
    files = {one.id: _name(one) for one in receipts if one.state is FileState.COMMITTED}
    with platform.engine.connection() as engine:
        engine.register("files", pa.table({"id": list(files), "file": list(files.values())}))
        engine.register("truth", pacsv.read_csv(truth))
        parts = [
            f"SELECT _file, _row, _person FROM {platform.engine.table_sql(dataset=dataset, segments=found)}"
            for dataset in platform.pack.datasets.values()
            if dataset.about_persons and (found := [one for one in segments if one.dataset == dataset.name])
        ]
        return engine.execute(
            f"""SELECT rows._person, truth.person, count(*)::INTEGER
                FROM ({" UNION ALL ".join(parts)}) AS rows
                JOIN files ON files.id = rows._file
                JOIN truth ON truth.file = files.file AND truth.row = rows._row
                WHERE rows._person IS NOT NULL GROUP BY 1, 2"""
        ).fetchall()


def test_every_file_ends_as_the_truth_says(region: Region):
    # A file that nobody can read has no institution of its own in its receipt: its name is enough.
    by_name = {one.name: one for one in region.receipts.values()}
    ends = {
        one["file"]: (region.receipts.get(one["file"]) or by_name[Path(one["file"]).name]).state
        for one in region.truth
    }

    assert ends == {one["file"]: one["fate"] for one in region.truth}


def test_exactly_the_rows_with_injected_errors_are_refused(region: Region):
    found = {name: one.rejected for name, one in region.receipts.items() if one.state is FileState.COMMITTED}

    assert found == {one["file"]: int(one["rejected_rows"]) for one in region.truth if one["file"] in found}


def test_no_two_people_are_taken_for_one(region: Region):
    owners: dict[int, set[int]] = {}
    for person, true_person, _rows in region.persons:
        owners.setdefault(person, set()).add(true_person)

    assert [person for person, true in owners.items() if len(true) > 1] == []


def test_few_people_are_taken_for_two(region: Region):
    owned: dict[int, set[int]] = {}
    for person, true_person, _rows in region.persons:
        owned.setdefault(true_person, set()).add(person)

    split = sum(len(persons) > 1 for persons in owned.values())
    # By strong identifiers alone: who comes without number, or with a wrong one, is a stranger at first.
    assert split / len(owned) < 0.05
