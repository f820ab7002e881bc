"""The commands `cards`, as somebody at the machine uses them. No person is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from healthcard_world import number_of
from typer.testing import CliRunner

from kangshu.app.cli import app

pytestmark = pytest.mark.database


@pytest.fixture
def home(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KANGSHU_DATABASE_URL", database_url)
    return tmp_path / "home"


def call(home: Path, *words: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["--home", str(home), "cards", *words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_cards_are_registered_listed_shown_and_counted(home: Path, tmp_path: Path):
    first = call(home, "register", "--name", "测试甲", "--number", number_of(1))
    assert first["new"]
    assert (first["name"], first["document_number"]) == ("测**", "990101********0015")
    assert not call(home, "register", "--name", "测试甲", "--number", number_of(1))["new"]
    file = tmp_path / "list.csv"
    file.write_text(
        "name,document_number,birth_date\n"
        f"测试甲,{number_of(1)},\n测试乙,{number_of(2)},1990-03-07\n测试丙,123,\n,{number_of(3)},\n",
        encoding="utf-8-sig",
    )
    batch = call(home, "batch", str(file))
    assert (batch["rows"], batch["created"], batch["existing"], batch["refused"]) == (4, 1, 1, 2)
    assert [one["row"] for one in batch["problems"]] == [4, 5]
    shown = call(home, "show", str(first["card"]))
    assert shown["status"] == "正常"
    assert number_of(1) not in json.dumps(shown)
    call(home, "rotate", "code")
    figures = call(home, "figures")
    assert (figures["cards"], figures["claim_rate"]) == (2, 0.5)


def test_a_file_that_is_no_list_is_refused(home: Path, tmp_path: Path):
    file = tmp_path / "list.csv"
    file.write_text("a,b\n1,2\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["--home", str(home), "cards", "batch", str(file), "--json"])
    assert result.exit_code != 0
