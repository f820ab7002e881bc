"""`kangshu quality review`, `tasks` and `contact` from the command line; no institution in it exists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rectifying_region import HOSPITAL
from typer.testing import CliRunner

from kangshu import directory
from kangshu.app.cli import app
from kangshu.storage.database import Database

pytestmark = pytest.mark.database


@pytest.fixture
def kangshu(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command on a home with one hospital that sent nothing, and return its status and JSON."""
    monkeypatch.setenv("KANGSHU_DATABASE_URL", database_url)
    home = tmp_path / "home"

    async def fill() -> None:
        async with await Database.open(database_url) as database, database.transaction() as connection:
            row = {
                "institution_code": HOSPITAL,
                "name": "合成医院",
                "division_code": "990101",
                "type": "A100",
                "level": "3",
            }
            await directory.load_institutions(connection, rows=[row])

    asyncio.run(fill())

    def run(*words: str) -> tuple[int, Any]:
        result = CliRunner().invoke(app, ["--home", str(home), "quality", *words, "--json"])
        return result.exit_code, json.loads(result.stdout)

    return run


def test_a_review_opens_tasks_for_what_is_missing_once(kangshu):
    status, done = kangshu("review", "--month", "2025-01")
    _, again = kangshu("review", "--month", "2025-01")
    _, listed = kangshu("tasks", "--month", "2025-01", "--institution", HOSPITAL, "--state", "issued")
    _, late = kangshu("tasks", "--overdue")

    assert status == 0
    assert done["opened"] == listed["count"] == len(listed["tasks"]) > 1
    assert again["opened"] == again["closed"] == 0
    assert {task["grade"] for task in listed["tasks"]} == {"red"}
    assert {tuple(task["causes"]) for task in listed["tasks"]} == {("missing",)}
    assert late["count"] == 0
    assert listed["figures"]["cleared_rate"] == 0.0


@pytest.mark.parametrize("month", ["2025", "2025-13", "2025-01-01", "January"])
def test_a_month_is_written_as_one(kangshu, month: str):
    status, refused = kangshu("review", "--month", month)

    assert status == 2
    assert "error" in refused


def test_a_contact_is_set_shown_without_its_secret_and_removed(kangshu, tmp_path: Path):
    status, made = kangshu("contact", "set", HOSPITAL, "--hook", "https://hook.example.org/q")
    _, kept = kangshu(
        "contact", "set", HOSPITAL, "--hook", "https://hook.example.org/q", "--mail", "q@example.org"
    )
    secret = tmp_path / "secret"
    secret.write_text("chosen-by-the-hospital\n", encoding="utf-8")
    _, chosen = kangshu(
        "contact",
        "set",
        HOSPITAL,
        "--hook",
        "https://hook.example.org/q",
        "--algorithm",
        "sm3",
        "--secret-file",
        str(secret),
    )
    _, listed = kangshu("contact", "list")
    refused, _ = kangshu("contact", "set", HOSPITAL, "--mail", "nonsense")
    removed, _ = kangshu("contact", "remove", HOSPITAL)
    gone, _ = kangshu("contact", "remove", HOSPITAL)

    assert status == 0
    assert len(made["secret"]) == 48
    assert "secret" not in kept
    assert "secret" not in chosen
    assert [(one["code"], one["algorithm"]) for one in listed["contacts"]] == [(HOSPITAL, "sm3")]
    assert made["secret"] not in json.dumps(listed)
    assert (refused, removed, gone) == (2, 0, 2)
