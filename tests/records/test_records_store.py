"""Resources are stored as versions, whatever the order and number of writes. All persons are numbers."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records_samples import NOW, granted, keep, outcomes, put, remove, result, visit

from kangshu.consent import AccessRefusedError
from kangshu.records import (
    GrantMissingError,
    ResourceDeletedError,
    ResourceUnknownError,
    VersionConflictError,
    Write,
    find_by_identifiers,
    history,
    lock_criteria,
    read_headers,
    read_many,
    read_version,
    store,
)
from kangshu.storage.database import Database

database_test = pytest.mark.database


async def _versions(connection: Any, type_: str, id_: str) -> list[dict[str, Any]]:
    """All versions of a resource, oldest first, opened; a deletion is empty."""
    grant = await granted(connection)
    page = await history(connection, type=type_, id=id_, limit=500)
    found = [
        {} if one.deleted else json.loads(one.open(grant=grant if one.person == 1 else None, now=NOW))
        for one in page.versions
    ]
    return found[::-1]


@database_test
def test_what_is_stored_is_read_back_with_its_id_version_and_time(database_run):
    async def scenario(database: Database) -> bytes:
        moment = NOW + timedelta(microseconds=123_456)
        resource = result(meta={"profile": ["http://example.org/p"], "versionId": "77", "lastUpdated": "x"})
        resource["id"] = "something else"
        resource["valueQuantity"] = {"value": Decimal("6.30")}
        await keep(database, put(resource, "alt-1"), now=moment)
        async with database.connection() as connection:
            (found,) = await read_many(connection, requests=[("Observation", "alt-1")])
            assert found
            assert (found.etag, found.last_modified) == ('W/"1"', "Mon, 02 Mar 2026 08:30:00 GMT")
            return found.open(grant=await granted(connection), now=NOW)

    text = database_run(scenario)

    assert text.startswith(
        b'{"resourceType":"Observation","id":"alt-1","meta":{"versionId":"1",'
        b'"lastUpdated":"2026-03-02T08:30:00.123Z","profile":["http://example.org/p"]},"status":"final"'
    )
    assert b'"value":6.30' in text
    assert set(json.loads(text)) == set(result()) | {"id", "meta"}


@database_test
def test_the_same_content_again_makes_no_version(database_run):
    async def scenario(database: Database) -> list[Any]:
        first = await keep(database, put(visit()))
        again = await keep(database, put(visit()), now=NOW + timedelta(days=1))
        other = await keep(database, put(visit(status="cancelled")))
        return [*outcomes(first + again + other), again[0].updated_at]

    assert database_run(scenario) == [("created", 1), ("unchanged", 1), ("updated", 2), NOW]


@database_test
def test_several_writes_of_one_resource_take_effect_in_their_order(database_run):
    async def scenario(database: Database) -> Any:
        await keep(database, put(visit(status="planned")))
        stored = await keep(
            database,
            put(visit(status="planned")),
            put(result(), "r"),
            put(visit(status="arrived")),
            put(visit(status="arrived")),
            remove("Encounter"),
            put(visit(status="finished")),
        )
        async with database.connection() as connection:
            return outcomes(stored), [
                one.get("status") for one in await _versions(connection, "Encounter", "a")
            ]

    stored, versions = database_run(scenario)

    assert stored == [
        ("unchanged", 1),
        ("created", 1),
        ("updated", 2),
        ("unchanged", 2),
        ("deleted", 3),
        ("created", 4),
    ]
    assert versions == ["planned", "arrived", None, "finished"]


@database_test
def test_deleting_what_is_not_there_stores_nothing(database_run):
    async def scenario(database: Database) -> Any:
        alone = await keep(database, remove("Encounter"))
        async with database.connection() as connection:
            nothing = await read_many(connection, requests=[("Encounter", "a")])
        followed = await keep(database, remove("Encounter"), put(visit()), remove("Encounter"))
        return outcomes(alone), nothing, outcomes(followed)

    assert database_run(scenario) == (
        [("unchanged", 0)],
        [None],
        [("unchanged", 0), ("created", 1), ("deleted", 2)],
    )


@database_test
def test_a_deletion_leaves_whose_it_was_and_earlier_versions_readable(database_run):
    async def scenario(database: Database) -> Any:
        await keep(database, put(visit()))
        await keep(database, remove("Encounter", institution="H2"))
        async with database.connection() as connection:
            grant = await granted(connection)
            (found,) = await read_many(connection, requests=[("Encounter", "a")])
            (header,) = await read_headers(connection, requests=[("Encounter", "a")])
            assert found
            assert header
            with pytest.raises(ResourceDeletedError):
                found.open(grant=grant, now=NOW)
            first = await read_version(connection, type="Encounter", id="a", version=1)
            with pytest.raises(ResourceUnknownError):
                await read_version(connection, type="Encounter", id="a", version=3)
            with pytest.raises(ResourceUnknownError):
                await history(connection, type="Encounter", id="b")
            status = json.loads(first.open(grant=grant, now=NOW))["status"]
            return found.deleted, header.person, header.institution, header.version, status

    assert database_run(scenario) == (True, 1, "H1", 2, "finished")


@database_test
def test_what_is_about_a_person_opens_with_a_fitting_grant_only(database_run):
    async def scenario(database: Database) -> None:
        await keep(
            database, put(visit()), put({"resourceType": "Location", "name": "门诊"}, "l", person=None)
        )
        async with database.connection() as connection:
            about, place = await read_many(connection, requests=[("Encounter", "a"), ("Location", "l")])
            assert about
            assert place
            with pytest.raises(GrantMissingError):
                about.open(grant=None, now=NOW)
            with pytest.raises(AccessRefusedError):
                about.open(grant=await granted(connection, 2), now=NOW)
            with pytest.raises(AccessRefusedError):
                about.open(grant=await granted(connection), now=NOW + timedelta(hours=1))
            assert json.loads(place.open(grant=None, now=NOW))["name"] == "门诊"
            assert "门诊" not in repr(place)

    database_run(scenario)


@database_test
def test_a_resource_that_turns_out_to_be_about_somebody_else_is_a_new_version(database_run):
    async def scenario(database: Database) -> Any:
        await keep(database, put(visit(), person=1))
        moved = await keep(database, put(visit(), person=2))
        async with database.connection() as connection:
            earlier = await read_version(connection, type="Encounter", id="a", version=1)
            (now,) = await read_headers(connection, requests=[("Encounter", "a")])
            assert now
            return outcomes(moved), earlier.person, now.person

    assert database_run(scenario) == ([("updated", 2)], 1, 2)


@database_test
def test_a_wrong_expectation_stores_nothing_and_the_transaction_goes_on(database_run):
    async def scenario(database: Database) -> Any:
        await keep(database, put(visit()))
        async with database.transaction() as connection:
            with pytest.raises(VersionConflictError) as refused:
                await store(
                    connection,
                    writes=[
                        put(result(), "new"),
                        put(visit(status="arrived"), expected_version=1),
                        put(visit(status="finished"), expected_version=1),
                        put(visit(), "b", expected_version=1),
                        put(visit(status="planned"), must_be_new=True),
                    ],
                    now=NOW,
                )
            stored = await store(
                connection,
                writes=[
                    put(visit(status="arrived"), expected_version=1),
                    put(result(), "n", must_be_new=True),
                ],
                now=NOW,
            )
            none = await read_many(connection, requests=[("Observation", "new")])
        return refused.value.conflicts, refused.value.place, outcomes(stored), none

    assert database_run(scenario) == ((2, 3, 4), "Encounter/a", [("updated", 2), ("created", 1)], [None])


@database_test
def test_a_deleted_resource_may_be_created_anew(database_run):
    async def scenario(database: Database) -> Any:
        await keep(database, put(visit()))
        await keep(database, remove("Encounter"))
        return outcomes(await keep(database, put(visit(), must_be_new=True)))

    assert database_run(scenario) == [("created", 3)]


@pytest.mark.parametrize(
    ("type_", "id_"), [("Encounter", "a b"), ("Encounter", ""), ("x", "a"), ("Encounter", "a" * 65)]
)
def test_a_type_or_id_that_fhir_does_not_have_is_refused(type_: str, id_: str):
    with pytest.raises(ValueError, match="FHIR"):
        Write(type=type_, id=id_, resource={}, person=None, institution="H1", message=None)


_STATUSES = ("planned", "arrived", "finished", "cancelled")
_ACTS = st.tuples(st.sampled_from("abc"), st.sampled_from((*_STATUSES, None)))


def _write(act: tuple[str, str | None]) -> Write:
    id_, status = act
    return remove("Encounter", id_) if status is None else put(visit(status=status), id_)


def _expected(acts: list[tuple[str, str | None]]) -> dict[str, list[str | None]]:
    """The versions that one would write down by hand."""
    versions: dict[str, list[str | None]] = {}
    for id_, status in acts:
        known = versions.setdefault(id_, [])
        if (known[-1] if known else None) != status:
            known.append(status)
    return versions


@database_test
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(_ACTS, max_size=14), cuts=st.sets(st.integers(min_value=1, max_value=13)))
def test_versions_are_gapless_and_do_not_depend_on_how_writes_are_batched(database_url, acts, cuts):
    async def scenario() -> dict[str, list[str | None]]:
        async with await Database.open(database_url) as database:
            async with database.connection() as connection:
                await connection.execute("TRUNCATE records_resource, records_history, records_identifier")
            bounds = [0, *sorted(cut for cut in cuts if cut < len(acts)), len(acts)]
            for start, end in itertools.pairwise(bounds):
                await keep(database, *[_write(act) for act in acts[start:end]])
            async with database.connection() as connection:
                numbers = await connection.fetch(
                    """SELECT id, version FROM records_resource
                       UNION ALL SELECT id, version FROM records_history
                       ORDER BY 1, 2"""
                )
                found = {
                    id_: await _versions(connection, "Encounter", id_)
                    for id_ in {row["id"] for row in numbers}
                }
        for id_ in found:
            assert [row["version"] for row in numbers if row["id"] == id_] == list(
                range(1, len(found[id_]) + 1)
            )
        return {id_: [one.get("status") for one in versions] for id_, versions in found.items()}

    found = asyncio.run(scenario())

    assert found == {id_: versions for id_, versions in _expected(acts).items() if versions}


@database_test
def test_two_transactions_with_the_same_resources_neither_die_nor_lose_a_version(database_url):
    ids = [f"{number:02}" for number in range(12)]

    async def one(database: Database, turn: int) -> None:
        for round_ in range(10):
            chosen = ids[turn:] + ids[:turn] if round_ % 2 else ids[::-1]
            writes = [put(result(turn * 1000 + round_), id_) for id_ in chosen]
            async with database.transaction() as connection:
                await store(connection, writes=writes, now=NOW)

    async def scenario() -> list[Any]:
        async with await Database.open(database_url, max_size=6) as database:
            await asyncio.gather(*(one(database, turn) for turn in range(6)))
            async with database.connection() as connection:
                return await connection.fetch(
                    """SELECT id, max(version), count(*) FROM (
                         SELECT id, version FROM records_resource UNION ALL
                         SELECT id, version FROM records_history) v GROUP BY id"""
                )

    rows = asyncio.run(scenario())

    assert {(row["max"], row["count"]) for row in rows} == {(60, 60)}
    assert len(rows) == 12


@database_test
def test_a_resource_created_twice_at_the_same_moment_is_there_once(database_url):
    async def scenario() -> list[Any]:
        async with await Database.open(database_url, max_size=8) as database:

            async def one(number: int) -> Any:
                return (await keep(database, put(result(number), "same"), put(visit(), "other")))[0]

            return await asyncio.gather(*(one(number) for number in range(8)))

    stored = asyncio.run(scenario())

    assert sorted(one.version for one in stored) == list(range(1, 9))
    assert sorted(one.outcome.value for one in stored) == ["created"] + ["updated"] * 7


@database_test
def test_a_batch_takes_four_statements_at_most_however_large_it_is(database_run):
    async def scenario(database: Database) -> list[int]:
        counts: list[int] = []
        batches = [
            [put(result(n), f"r{n}") for n in range(300)],
            [put(result(n + n % 3), f"r{n}") for n in range(300)],
            [put(visit(status=_STATUSES[n % 4]), f"v{n % 7}") for n in range(300)],
        ]
        for writes in batches:
            async with database.transaction() as connection:
                statements: list[str] = []
                connection.add_query_logger(lambda record: statements.append(record.query))  # noqa: B023
                await store(connection, writes=writes, now=NOW)
                connection._con._query_loggers.clear()
                counts.append(len(statements))
        return counts

    assert max(database_run(scenario)) <= 4


@database_test
def test_what_is_created_if_there_is_none_is_created_once_by_however_many(database_url):
    numbered = visit(identifier=[{"system": "urn:v", "value": "1"}])
    criterion = ("Encounter", (("urn:v", "1"),))

    async def one(database: Database, number: int) -> bool:
        async with database.transaction() as connection:
            await lock_criteria(connection, criteria=["Encounter|urn:v|1", f"other{number}"])
            ((*found,),) = await find_by_identifiers(connection, criteria=[criterion])
            if not found:
                await store(connection, writes=[put(numbered, f"v{number}")], now=NOW)
            return not found

    async def scenario() -> list[bool]:
        async with await Database.open(database_url, max_size=6) as database:
            return await asyncio.gather(*(one(database, number) for number in range(6)))

    assert sorted(asyncio.run(scenario())) == [False] * 5 + [True]


@database_test
def test_more_criteria_than_the_server_has_locks_for_are_held_all_the_same(database_run):
    async def scenario(database: Database) -> None:
        async with database.transaction() as connection:
            await lock_criteria(connection, criteria=[f"criterion {n}" for n in range(20_000)])
            await lock_criteria(connection, criteria=["one more"])

    database_run(scenario)


@database_test
def test_the_history_comes_in_pages_the_newest_first(database_run):
    async def scenario(database: Database) -> Any:
        for number in range(5):
            await keep(database, put(result(number), "r"))
        async with database.connection() as connection:
            first = await history(connection, type="Observation", id="r", limit=2)
            second = await history(connection, type="Observation", id="r", limit=2, before=first.next)
            third = await history(connection, type="Observation", id="r", limit=2, before=second.next)
            return [([one.version for one in page.versions], page.next) for page in (first, second, third)]

    assert database_run(scenario) == [([5, 4], 4), ([3, 2], 2), ([1], None)]
