"""`kangshu quality score` and `circular` from the command line; no institution in it exists."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from python_calamine import CalamineWorkbook
from scoring_made_up import examined, finding
from typer.testing import CliRunner

from kangshu import directory
from kangshu.app.cli import app
from kangshu.declarations import load_pack
from kangshu.quality.operations import record_file
from kangshu.storage.database import Database

pytestmark = pytest.mark.database

GOOD, POOR, SILENT = (f"990101{number:011d}A1000" for number in (1, 2, 3))
MONTH = date(2025, 1, 1)


@pytest.fixture
def kangshu(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command on a home where one hospital sent well, one badly and one nothing."""
    monkeypatch.setenv("KANGSHU_DATABASE_URL", database_url)
    dataset = load_pack().dataset("outpatient_visit")

    async def fill() -> None:
        async with await Database.open(database_url) as database, database.transaction() as connection:
            rows = [
                {"institution_code": code, "name": f"合成医院{code[16]}", "type": "A100", "level": "3"}
                for code in (GOOD, POOR, SILENT)
            ]
            await directory.load_institutions(connection, rows=rows)
            wrong = finding("required", range(1, 6), field="visit_number", institution=POOR, month=MONTH)
            for file, found in (
                (1, examined(rows=10, institution=GOOD, month=MONTH)),
                (2, examined(wrong, rows=10, institution=POOR, month=MONTH)),
            ):
                await record_file(
                    connection,
                    file=file,
                    dataset=dataset,
                    examined=found,
                    received_at=datetime(2025, 2, 3, tzinfo=UTC),
                )

    asyncio.run(fill())

    def run(*words: str) -> tuple[int, Any]:
        result = CliRunner().invoke(app, ["--home", str(tmp_path / "home"), "quality", *words, "--json"])
        return result.exit_code, json.loads(result.stdout)

    return run


def test_scores_come_with_places_dimensions_and_coverage(kangshu):
    status, found = kangshu("score", "--month", "2025-01")

    assert status == 0
    assert [one["institution"] for one in found["scores"]] == [GOOD, POOR, SILENT]
    assert [one["place"] for one in found["scores"]] == [1, 2, 3]
    assert found["scores"][0]["total"] > found["scores"][1]["total"] > found["scores"][2]["total"] == 0
    assert found["scores"][1]["dimensions"]["completeness"] == 50.0
    assert found["scores"][2]["coverage"] == 0.0
    assert found["institutions"] == 3
    assert found["arrived"] == 2


def test_one_data_set_alone_can_be_ranked(kangshu):
    _, found = kangshu("score", "--month", "2025-01", "--dataset", "outpatient_visit", "--level", "3")

    assert [(one["institution"], one["expected"]) for one in found["scores"]] == [
        (GOOD, 1),
        (POOR, 1),
        (SILENT, 1),
    ]
    assert found["scores"][0]["total"] == 100.0


@pytest.mark.parametrize(
    "words",
    [
        ("--month", "2025"),
        ("--month", "2025-13"),
        ("--month", "2025-01-01"),
        ("--month", "2025-01", "--dataset", "none"),
        ("--month", "2025-01", "--division", "x"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(kangshu, words: tuple[str, ...]):
    status, refused = kangshu("score", *words)

    assert status == 2
    assert "error" in refused


def test_a_circular_is_written_issued_once_and_stays(kangshu, tmp_path: Path):
    target = tmp_path / "circular.xlsx"

    status, issued = kangshu("circular", "--month", "2025-01", "--out", str(target), "--issue")
    again, _ = kangshu("circular", "--month", "2025-01", "--out", str(target), "--issue")

    assert (status, issued["issued"], issued["institutions"]) == (0, True, 3)
    assert again != 0
    workbook = CalamineWorkbook.from_filelike(io.BytesIO(target.read_bytes()))
    assert len(workbook.sheet_names) > 3


def test_a_circular_whose_file_cannot_be_written_is_not_issued(kangshu, tmp_path: Path):
    status, _ = kangshu(
        "circular", "--month", "2025-01", "--out", str(tmp_path / "none" / "a.xlsx"), "--issue"
    )
    _, drafted = kangshu("circular", "--month", "2025-01", "--out", str(tmp_path / "a.xlsx"))

    assert status != 0
    assert drafted["issued"] is False


def test_a_circular_has_two_forms(kangshu, tmp_path: Path):
    status, refused = kangshu("circular", "--month", "2025-01", "--out", str(tmp_path / "a.docx"))

    assert status == 2
    assert "error" in refused
