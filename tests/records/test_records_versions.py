"""The versions of an entry as a timeline shows them. All persons are numbers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest
from records_samples import NOW, granted, keep, put, remove, result, visit

from kangshu.consent import AccessRefusedError
from kangshu.records import (
    EntryVersion,
    GrantMissingError,
    Kind,
    ResourceUnknownError,
    State,
    entry_versions,
)
from kangshu.storage.database import Database

pytestmark = pytest.mark.database


async def _versions(
    database: Database,
    *,
    type: str = "Observation",  # noqa: A002 - FHIR's word
    persons: Sequence[int] = (1,),
    person: int = 1,
) -> list[EntryVersion]:
    async with database.connection() as connection:
        grant = await granted(connection, person)
        return await entry_versions(connection, type=type, id="a", persons=persons, grant=grant, now=NOW)


def test_versions_tell_what_was_said_and_by_which_message_the_newest_first(database_run):
    async def scenario(database: Database) -> list[EntryVersion]:
        await keep(database, put(result(62), message=7))
        await keep(database, put(result(64, status="corrected"), message=8, institution="H2"))
        return await _versions(database)

    later, first = database_run(scenario)

    assert (later.version, later.message, later.institution) == (2, 8, "H2")
    assert later.entry is not None
    assert first.entry is not None
    assert (later.entry.value, later.entry.state) == ("64", State.CORRECTED)
    assert (first.entry.value, first.entry.state, first.message) == ("62", State.VALID, 7)


def test_a_deletion_is_a_version_that_says_nothing(database_run):
    async def scenario(database: Database) -> list[EntryVersion]:
        await keep(database, put(result()))
        await keep(database, remove("Observation", person=1))
        return await _versions(database)

    assert [one.entry is None for one in database_run(scenario)] == [True, False]


def test_a_text_that_stands_in_a_document_is_told(database_run):
    letter: dict[str, Any] = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain",
                    "data": base64.b64encode("复查。".encode()).decode(),
                }
            },
            {"attachment": {"contentType": "application/pdf", "data": "JVBERi0="}},
            {"attachment": {"contentType": "text/plain", "data": "no Base64 at all!"}},
            {"attachment": "nonsense"},
        ],
    }

    async def scenario(database: Database) -> list[EntryVersion]:
        await keep(database, put(letter))
        return await _versions(database, type="DocumentReference")

    [version] = database_run(scenario)
    assert [one.text for one in version.attached] == ["复查。"]


def test_an_entry_of_a_number_that_means_the_same_human_is_told(database_run):
    async def scenario(database: Database) -> list[EntryVersion]:
        await keep(database, put(result(), person=2))
        return await _versions(database, persons=(1, 2))

    assert [one.person for one in database_run(scenario)] == [2]


def test_what_is_about_somebody_else_about_nobody_or_on_no_timeline_looks_like_none(database_run):
    async def scenario(database: Database) -> None:
        await keep(database, put(result(), person=2), put({"resourceType": "Patient"}))
        await keep(database, put({"resourceType": "Organization"}, person=None))
        for type_ in ("Observation", "Patient", "Organization", "Condition"):
            with pytest.raises(ResourceUnknownError):
                await _versions(database, type=type_)

    database_run(scenario)


def test_a_version_about_somebody_else_is_left_out(database_run):
    async def scenario(database: Database) -> list[EntryVersion]:
        await keep(database, put(visit(), person=2))
        await keep(database, put(visit(status="cancelled"), person=1))
        return await _versions(database, type="Encounter")

    [version] = database_run(scenario)
    assert version.entry is not None
    assert (version.version, version.entry.kind, version.entry.state) == (2, Kind.VISIT, State.CANCELLED)


def test_without_a_fitting_grant_nothing_is_told(database_run):
    async def scenario(database: Database) -> None:
        await keep(database, put(result()))
        async with database.connection() as connection:
            wanted: dict[str, Any] = {"type": "Observation", "id": "a", "persons": (1,), "now": NOW}
            with pytest.raises(GrantMissingError):
                await entry_versions(connection, **wanted, grant=None)
            with pytest.raises(AccessRefusedError):
                await entry_versions(connection, **wanted, grant=await granted(connection, 2))

    database_run(scenario)
