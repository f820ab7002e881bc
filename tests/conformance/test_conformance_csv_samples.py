"""Files that nobody here wrote come in through declarations alone; the results are the documentation."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from kangshu.app.conformance.tables import Taken, as_markdown, take_csv_samples
from kangshu.app.platform import open_platform
from kangshu.storage import embedded

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", ROOT.parent / "shared" / "samples"))
PAGE = ROOT / "docs" / "conformance" / "csv-samples.md"

pytestmark = [
    pytest.mark.samples,
    pytest.mark.database,
    pytest.mark.skipif(
        not (SAMPLES / "csv").is_dir(), reason="the sample files are not here: set KANGSHU_SAMPLES"
    ),
]


@pytest.fixture(scope="module")
def taken() -> list[Taken]:
    place = Path(tempfile.mkdtemp(prefix="kangshu-test-"))

    async def work() -> list[Taken]:
        async with open_platform(place / "home") as platform:
            return await take_csv_samples(platform, SAMPLES)

    try:
        return asyncio.run(work())
    finally:
        embedded.stop(place / "home")
        shutil.rmtree(place, ignore_errors=True)


def test_every_file_is_recognised_and_taken_in(taken: list[Taken]):
    assert [one.file for one in taken if one.state != "committed"] == []
    assert len(taken) == 21


def test_the_figures_of_each_file_add_up(taken: list[Taken]):
    assert all(one.rows == one.accepted + one.rejected for one in taken)


def test_every_patient_of_a_source_becomes_one_person(taken: list[Taken]):
    persons = {
        source: sum(one.persons for one in taken if one.source == source) for source in ("synthea_csv",)
    }

    patients = next(one for one in taken if one.dataset == "synthea_patients")
    assert persons["synthea_csv"] == patients.rows


def test_medications_that_end_before_they_start_are_refused(taken: list[Taken]):
    medications = next(one for one in taken if one.dataset == "synthea_medications")

    assert medications.rejected == 2


def test_the_page_of_results_is_current(taken: list[Taken]):
    text = as_markdown(taken)
    print(text)  # noqa: T201 - the table is what the suite is run for
    if os.environ.get("KANGSHU_WRITE_DOCS"):
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")

    assert PAGE.read_text(encoding="utf-8") == text
