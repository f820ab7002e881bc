"""`kangshu quality reconcile` and `kangshu quality catalogue`, as a script sees them; nobody here exists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from app_world import CLINIC, FIELDS, World, csv_bytes, open_world, row
from typer.testing import CliRunner

from kangshu.app.cli import app

pytestmark = pytest.mark.database

TITLE = next(field.title.zh for field in FIELDS if field.name == "vaccination_number")


@pytest.fixture
def world(database_server: str) -> Iterator[World]:
    with open_world(database_server) as world:
        yield world


def ask(world: World, *words: str) -> tuple[int, Any]:
    """Run a command on the world's home and return its status and the JSON it printed."""
    result = CliRunner().invoke(app, ["--home", str(world.home), "quality", *words, "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_a_month_is_reconciled_and_what_differs_is_a_status_of_its_own(world: World):
    world.send(csv_bytes([row(1), row(2)]))

    status, told = ask(world, "reconcile", "--month", "2026-03")

    assert status == 0
    assert (told["month"], told["until"], told["balances"], told["differing"]) == (
        "2026-03",
        "2026-03",
        [],
        0,
    )
    heads = "institution_code,month,visits,discharges"
    world.send(f"{heads}\n{CLINIC},2026-03-01,5,0\n".encode(), name="month_2026-03.csv")
    status, told = ask(world, "reconcile", "--month", "2026-02", "--until", "2026-03", "--pair", "RC001")
    assert status == 1
    assert [(one["id"], one["month"], one["right"], one["state"]) for one in told["balances"]] == [
        ("RC001", "2026-03", 5.0, "left-missing")
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("reconcile", "--month", "2026-13"),
        ("reconcile", "--month", "March"),
        ("reconcile", "--month", "2026-03", "--until", "2026-02"),
        ("reconcile", "--month", "2026-03", "--pair", "no"),
        ("catalogue", "show", "immunization", "no"),
        ("catalogue", "refresh", "--dataset", "no"),
    ],
)
def test_wrong_words_are_one_clear_sentence(world: World, words: tuple[str, ...]):
    status, told = ask(world, *words)

    assert status == 2
    assert told["error"]["reason"]
    assert told["error"]["reason_en"]


def test_the_catalogue_counts_and_finds_what_came_in(world: World):
    world.send(csv_bytes([row(1), row(2), row(3, lot_number="")]))

    _, done = ask(world, "catalogue", "refresh", "--dataset", "immunization")
    _, again = ask(world, "catalogue", "refresh", "--dataset", "immunization")
    _, found = ask(world, "catalogue", "search", TITLE)
    _, one = ask(world, "catalogue", "show", "immunization", "vaccination_number")

    assert [part["skipped"] for part in (*done["datasets"], *again["datasets"])] == [False, True]
    assert done["datasets"][0]["files_added"] == 0, "it was counted on arrival"
    assert found["columns"][0]["rows"] == one["rows"] == one["filled"] == 3
    assert (one["fill_rate"], one["different"]) == (1.0, 3)
    assert one["sources"] == [{"institution": CLINIC, "files": 1, "rows": 3, "message_rows": 0, "filled": 3}]
    assert {"key", "rule"} <= {use["kind"] for use in one["uses"]}
