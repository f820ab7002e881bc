"""`kangshu persons`: people are shown masked, merged and split from the command line. All are synthetic."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from identity_reference import Claim
from test_identity_online import MOTHER, NOW, subject
from typer.testing import CliRunner

from kangshu.app.cli import app
from kangshu.audit import list_for_person
from kangshu.identity import link_claims
from kangshu.security.keys import load_or_create
from kangshu.storage.database import Database

pytestmark = pytest.mark.database

OTHER = Claim(institution="B", local="T-7", name="测试明", birth=date(1980, 1, 1), sex="1")


@pytest.fixture
def kangshu(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command on a home in which two people are known, and return its status and JSON."""
    monkeypatch.setenv("KANGSHU_DATABASE_URL", database_url)
    home = tmp_path / "home"
    home.mkdir()

    async def fill() -> None:
        keys = load_or_create(home / "keys", random=secrets.token_bytes)
        async with await Database.open(database_url) as database, database.transaction() as connection:
            await link_claims(
                connection,
                keys=keys,
                claims=[subject(MOTHER), subject(OTHER)],
                now=NOW,
                origin=None,
                actor="message",
                random=secrets.token_bytes,
            )

    asyncio.run(fill())

    def run(*words: str) -> tuple[int, Any]:
        result = CliRunner().invoke(app, ["--home", str(home), "persons", *words, "--json"])
        return result.exit_code, json.loads(result.stdout)

    return run


def test_a_person_is_shown_masked_with_numbers_and_merges(kangshu):
    status, shown = kangshu("show", "1")

    assert status == 0
    assert (shown["person"], shown["name"], shown["absorbed"], shown["merges"]) == (1, "测**", [], [])
    assert [(one["kind"], one["issuer"]) for one in shown["identifiers"]] == [
        ("resident_number", None),
        ("local_number", "A"),
    ]
    text = json.dumps(shown, ensure_ascii=False)
    for value in (MOTHER.name, MOTHER.resident, '"100"'):
        assert value not in text


def test_two_persons_are_merged_shown_as_one_and_split_again(kangshu):
    status, merged = kangshu("merge", "2", "1", "--reason", "同一人")
    assert (status, merged["survivor"], merged["absorbed"], merged["persons"]) == (0, 2, 1, [2, 1])

    _, shown = kangshu("show", "1")
    assert (shown["person"], shown["absorbed"]) == (2, [1])
    assert {one["person"] for one in shown["identifiers"]} == {1, 2}

    status, again = kangshu("merge", "1", "2")
    assert (status, again["merge"], again["survivor"]) == (0, None, 2)

    status, undone = kangshu("split", "1")
    assert (status, undone["merge"], undone["undone_by"]) == (0, merged["merge"], "command-line")
    _, shown = kangshu("show", "1")
    assert (shown["person"], shown["absorbed"]) == (1, [])
    assert [one["merge"] for one in shown["merges"]] == [merged["merge"]]


def test_merges_from_the_command_line_are_on_the_audit_chain_of_both(kangshu, database_run):
    kangshu("merge", "2", "1")
    kangshu("split", "1")

    async def read(database: Database) -> Any:
        async with database.connection() as connection:
            return [await list_for_person(connection, person=person) for person in (1, 2)]

    for entries in database_run(read):
        assert [one.action for one in entries] == ["person.split", "person.merge"]


@pytest.mark.parametrize(
    "words",
    [("merge", "1", "99"), ("merge", "0", "1"), ("split", "1"), ("split", "99"), ("show", str(1 << 64))],
)
def test_what_cannot_be_done_ends_with_one_clear_sentence(kangshu, words):
    status, answer = kangshu(*words)

    assert status == 2
    assert answer["error"]["reason_en"]


def test_identifiers_are_taken_out_and_put_back_from_the_command_line(kangshu, database_run):
    status, done = kangshu("split", "1", "--take", "2", "--reason", "错并")
    assert (status, done["person"], done["created"], done["identifiers"]) == (0, 1, 3, 1)
    _, shown = kangshu("show", "3")
    assert [one["issuer"] for one in shown["identifiers"]] == ["A"]

    status, back = kangshu("undo", "--split", str(done["split"]))
    assert (status, back["undone_by"]) == (0, "command-line")
    _, shown = kangshu("show", "3")
    assert (shown["person"], shown["absorbed"]) == (1, [3])

    async def read(database: Database) -> Any:
        async with database.connection() as connection:
            return await list_for_person(connection, person=3)

    assert [one.action for one in database_run(read)] == ["person.reunite", "person.separate"]


def test_a_merge_is_undone_by_its_number(kangshu):
    _, merged = kangshu("merge", "2", "1")
    status, undone = kangshu("undo", "--merge", str(merged["merge"]))
    assert (status, undone["undone_by"]) == (0, "command-line")


def test_two_persons_are_explained_without_a_name_or_number(kangshu):
    status, found = kangshu("explain", "1", "2")
    assert status == 0
    assert found["weight"] == pytest.approx(
        found["prior"] + sum(part["weight"] for part in found["parts"]), abs=1e-4
    )
    assert (found["same"], found["apart"], found["stored"]) == (False, False, [])
    text = json.dumps(found, ensure_ascii=False)
    for value in (MOTHER.name, OTHER.name, MOTHER.resident, MOTHER.phone):
        assert value not in text


def test_the_index_agrees_with_its_events_or_is_made_to(kangshu, database_run):
    kangshu("merge", "2", "1")
    status, found = kangshu("rebuild", "--check")
    assert (status, found["agrees"], found["mended"], found["merges"]) == (0, True, False, 1)

    async def spoil(database: Database) -> None:
        async with database.transaction() as connection:
            await connection.execute("UPDATE identity_person SET survivor = NULL")

    database_run(spoil)
    status, found = kangshu("rebuild", "--check")
    assert (status, found["agrees"], found["misled"]) == (1, False, 1)
    status, found = kangshu("rebuild")
    assert (status, found["mended"]) == (0, True)
    assert kangshu("rebuild", "--check")[0] == 0


def test_what_waits_for_review_is_listed_by_value(kangshu):
    assert kangshu("review") == (0, {"reviews": []})


@pytest.mark.parametrize(
    "words",
    [
        ("undo",),
        ("undo", "--merge", "1", "--split", "1"),
        ("undo", "--split", "9"),
        ("split", "1", "--take", "9"),
        ("split", "1", "--take", "1", "--take", "2"),
        ("explain", "1", "99"),
    ],
)
def test_what_history_cannot_do_ends_with_one_clear_sentence(kangshu, words):
    status, answer = kangshu(*words)

    assert status == 2
    assert answer["error"]["reason_en"]
