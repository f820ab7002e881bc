"""FHIR searches: which resources, in which order, page by page, under a grant. All persons are numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records_samples import CATEGORIES, LOINC, NOW, NUMBERS, granted, keep, put, remove, result, visit

from kangshu.consent import AccessRefusedError
from kangshu.records import (
    GrantMissingError,
    SearchOverError,
    SearchRefusedError,
    everything,
    find_by_identifiers,
    find_subject,
    search,
    search_next,
)
from kangshu.records.content import encode, parse
from kangshu.records.searching import compile_search
from kangshu.records.summary import header_of
from kangshu.security.principals import SYSTEM
from kangshu.storage.database import Connection, Database

database_test = pytest.mark.database


async def _search(connection: Connection, type_: str, *parameters: tuple[str, str], **more: Any) -> Any:
    usual: dict[str, Any] = {
        "principal": SYSTEM,
        "persons": [1],
        "grant": await granted(connection),
        "now": NOW,
    }
    return await search(connection, type=type_, parameters=parameters, **(usual | more))


def _ids(page: Any) -> list[str]:
    return [one.id for one in page.resources]


def _patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": "urn:p", "value": "P1"}]} | more


_RESULTS = {
    "alt": result(62, day="2026-03-01", interpretation=[{"coding": [{"code": "H"}]}]),
    "alt-old": result(40, day="2024-05-01"),
    "glucose": result(5, code="2345-7", day="2026-02-28", encounter={"reference": "Encounter/v1"}),
    "wrong": result(99, day="2026-03-01", status="entered-in-error"),
    "pressure": {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": CATEGORIES, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
        "effectivePeriod": {"start": "2026-03-01", "end": "2026-03-02"},
        "component": [{"code": {"coding": [{"system": LOINC, "code": "8480-6"}]}, "valueInteger": 120}],
    },
    "undated": {"resourceType": "Observation", "status": "final", "code": {"text": "无编码"}},
}


@database_test
@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ([], ["alt", "wrong", "pressure", "glucose", "alt-old", "undated"]),
        ([("code", "1742-6")], ["alt", "wrong", "alt-old"]),
        ([("code", f"{LOINC}|1742-6")], ["alt", "wrong", "alt-old"]),
        ([("code", "urn:other|1742-6")], []),
        ([("code", f"{LOINC}|")], ["alt", "wrong", "pressure", "glucose", "alt-old"]),
        ([("code", "|1742-6")], []),
        ([("code", "1742-6,2345-7"), ("status", "final")], ["alt", "glucose", "alt-old"]),
        ([("status:not", "final")], ["wrong"]),
        ([("category", "vital-signs")], ["pressure"]),
        ([("component-code", "8480-6")], ["pressure"]),
        ([("combo-code", "8480-6,2345-7")], ["pressure", "glucose"]),
        ([("encounter", "Encounter/v1")], ["glucose"]),
        ([("encounter", "v1,v2")], ["glucose"]),
        ([("encounter:missing", "false")], ["glucose"]),
        ([("date", "2026-03-01")], ["alt", "wrong"]),
        ([("date", "2026-03")], ["alt", "wrong", "pressure"]),
        ([("date", "ge2026-02-28"), ("date", "lt2026-03-01")], ["glucose"]),
        ([("date", "gt2026-03-01")], ["pressure"]),
        ([("date", "le2024-05-01T10:00:00+08:00")], ["alt-old"]),
        ([("date", "ne2026")], ["alt-old"]),
        ([("date", "sa2026-02-28")], ["alt", "wrong", "pressure"]),
        ([("date", "eb2025")], ["alt-old"]),
        ([("date", "ap2026-03-20")], ["alt", "wrong", "pressure", "glucose"]),
        ([("date", "2024,2026-02")], ["glucose", "alt-old"]),
        ([("date:missing", "true")], ["undated"]),
        ([("_id", "alt,nothing")], ["alt"]),
        ([("_id", "alt"), ("_id", "glucose")], []),
        ([("_lastUpdated", "ge2026-03-02"), ("code", "2345-7")], ["glucose"]),
        ([("_lastUpdated", "lt2026-03-02")], []),
        ([("_sort", "date")], ["alt-old", "glucose", "pressure", "alt", "wrong", "undated"]),
        ([("_sort", "-_id")], ["wrong", "undated", "pressure", "glucose", "alt-old", "alt"]),
        ([("patient", "Patient/p"), ("code", "2345-7"), ("_format", "json")], ["glucose"]),
    ],
    ids=lambda value: (
        "&".join("=".join(pair) for pair in value) if value and isinstance(value[0], tuple) else ""
    ),
)
def test_parameters_choose_and_order(database_run, parameters, found):
    async def scenario(database: Database) -> Any:
        await keep(
            database,
            *[put(resource, id_) for id_, resource in _RESULTS.items()],
            put(result(62), "of-somebody-else", person=2),
            put(visit(), "v1"),
            put(result(), "gone"),
        )
        await keep(database, remove("Observation", "gone"))
        async with database.connection() as connection:
            return _ids(await _search(connection, "Observation", *parameters, ("_count", "500")))

    assert database_run(scenario) == found


@pytest.mark.parametrize(
    ("type_", "parameter", "value"),
    [
        ("Observation", "nothing", "x"),
        ("Observation", "code:text", "x"),
        ("Observation", "_include", "Observation:subject"),
        ("Observation", "_text", "x"),
        ("Observation", "patient.name", "x"),
        ("Observation", "date", "yesterday"),
        ("Observation", "date", "ge"),
        ("Observation", "code", "a|b|c"),
        ("Observation", "code", ""),
        ("Observation", "_count", "-1"),
        ("Observation", "_total", "maybe"),
        ("Observation", "_sort", "code"),
        ("Observation", "_lastUpdated", "ne2026"),
        ("Observation", "patient", "Patient/a,Patient/b"),
        ("Observation", "patient", "Group/a"),
        ("Observation", "value-quantity", "5"),
        ("Observation", "code:missing", "perhaps"),
        ("Observation", "\x00\n" * 30, "x"),
        ("Nonsense", "_id", "a"),
    ],
)
def test_what_is_not_known_or_not_done_here_is_refused_by_name(type_: str, parameter: str, value: str):
    with pytest.raises(SearchRefusedError) as refused:
        compile_search(type=type_, parameters=[(parameter, value)])

    assert refused.value.place in (parameter, "?", "type", "_sort")
    assert value not in str(refused.value) or value in ("", "a", "x", "5", "ge")


@database_test
def test_a_total_is_told_when_asked_for_and_counts_the_whole_set(database_run):
    async def scenario(database: Database) -> Any:
        await keep(database, *[put(result(number), f"r{number}") for number in range(7)])
        async with database.connection() as connection:
            silent = await _search(connection, "Observation", ("_count", "3"))
            told = await _search(connection, "Observation", ("_count", "3"), ("_total", "accurate"))
            counted = await _search(connection, "Observation", ("_summary", "count"))
            second = await search_next(
                connection, token=told.next, principal=SYSTEM, grant=await granted(connection), now=NOW
            )
            return silent.total, told.total, second.total, counted.total, counted.resources, counted.next

    assert database_run(scenario) == (None, 7, 7, 7, (), None)


@database_test
def test_pages_neither_repeat_nor_lose_an_entry_whatever_is_written_in_between(database_run):
    async def scenario(database: Database) -> Any:
        await keep(database, *[put(result(n, day=f"2026-01-{n:02}"), f"r{n:02}") for n in range(1, 11)])
        async with database.connection() as connection:
            grant = await granted(connection)
            page = await _search(connection, "Observation", ("_count", "4"), ("_sort", "-date"))
            seen, token = list(page.resources), page.next
            await keep(
                database,
                put(result(77, day="2027-01-01"), "r02"),  # would move to the front
                put(result(77, day="2020-01-01"), "r09"),  # was shown, would move to the end
                put(result(5, day="2026-01-05"), "r055"),  # new, in the middle
                remove("Observation", "r03"),
            )
            while token:
                page = await search_next(connection, token=token, principal=SYSTEM, grant=grant, now=NOW)
                seen += page.resources
                token = page.next
            values = [json.loads(one.open(grant=grant, now=NOW))["valueQuantity"]["value"] for one in seen]
            fresh = await _search(connection, "Observation", ("_count", "50"), ("_sort", "-date"))
            return [one.id for one in seen], values, _ids(fresh)

    ids, values, fresh = database_run(scenario)

    assert ids == [f"r{n:02}" for n in range(10, 0, -1)]
    assert values == list(range(10, 0, -1))
    assert fresh == ["r02", "r10", "r08", "r07", "r06", "r05", "r055", "r04", "r01", "r09"]


@database_test
def test_pages_are_for_whom_searched_and_for_a_while(database_run):
    async def scenario(database: Database) -> None:
        await keep(database, *[put(result(n), f"r{n}") for n in range(5)])
        async with database.connection() as connection:
            grant = await granted(connection)
            page = await _search(connection, "Observation", ("_count", "2"))
            somebody = replace(SYSTEM, id="staff:somebody")
            with pytest.raises(SearchOverError):
                await search_next(connection, token=page.next, principal=somebody, grant=grant, now=NOW)
            with pytest.raises(GrantMissingError):
                await search_next(connection, token=page.next, principal=SYSTEM, grant=None, now=NOW)
            later = NOW + timedelta(hours=1)
            with pytest.raises(SearchOverError):
                await search_next(
                    connection,
                    token=page.next,
                    principal=SYSTEM,
                    grant=await granted(connection, now=later),
                    now=later,
                )
            for token in ("", "x", "1.2", "999999999999999999999.1.1", "-1.0.1"):
                with pytest.raises(SearchOverError):
                    await search_next(connection, token=token, principal=SYSTEM, grant=grant, now=NOW)

    database_run(scenario)


@database_test
def test_a_persons_resources_are_searched_under_a_grant_for_one_of_the_persons_numbers(database_run):
    async def scenario(database: Database) -> Any:
        await keep(
            database,
            put(result(), "a", person=1),
            put(result(1), "b", person=2),
            put(result(2), "c", person=3),
        )
        async with database.connection() as connection:
            grant = await granted(connection, 2)
            with pytest.raises(GrantMissingError):
                await _search(connection, "Observation", persons=[1, 2], grant=None)
            with pytest.raises(AccessRefusedError):
                await _search(connection, "Observation", persons=[1, 3], grant=grant)
            both = await _search(connection, "Observation", persons=[1, 2], grant=grant, now=NOW)
            opened = [json.loads(one.open(grant=grant, now=NOW))["id"] for one in both.resources]
            nobody = await _search(connection, "Observation", persons=[], grant=None)
            with pytest.raises(ValueError, match="names somebody"):
                await _search(connection, "Observation", ("patient", "p"), persons=None, grant=None)
            return sorted(opened), nobody.resources

    assert database_run(scenario) == (["a", "b"], ())


@database_test
def test_without_a_person_something_an_index_knows_must_narrow_the_search(database_run):
    number = {"identifier": [{"system": NUMBERS, "value": "V1"}]}

    async def scenario(database: Database) -> Any:
        await keep(
            database,
            put(visit(**number), "a", person=1),
            put(visit(**number), "b", person=2, institution="H2"),
            put({"resourceType": "Organization", "name": "第一医院"}, "o", person=None),
            put({"resourceType": "Location", "name": "门诊"}, "l", person=None),
        )
        async with database.connection() as connection:
            open_: dict[str, Any] = {"persons": None, "grant": None}
            with pytest.raises(SearchRefusedError):
                await _search(connection, "Encounter", ("status", "finished"), **open_)
            by_number = await _search(connection, "Encounter", ("identifier", f"{NUMBERS}|V1"), **open_)
            cut = await _search(connection, "Encounter", ("identifier", "V1"), institutions=["H2"], **open_)
            by_id = await _search(connection, "Encounter", ("_id", "b"), **open_)
            by_time = await _search(connection, "Encounter", ("_lastUpdated", "ge2026-03-02"), **open_)
            places = await _search(connection, "Organization", ("name", "第一"), **open_)
            with pytest.raises(GrantMissingError):
                by_number.resources[0].open(grant=None, now=NOW)
            opened = json.loads(places.resources[0].open(grant=None, now=NOW))["name"]
            return _ids(by_number), _ids(cut), _ids(by_id), _ids(by_time), opened

    assert database_run(scenario) == (["a", "b"], ["b"], ["b"], ["a", "b"], "第一医院")


@database_test
def test_whom_a_search_names_is_found_by_patient_number_or_visit(database_run):
    async def scenario(database: Database) -> Any:
        await keep(database, put(_patient(), "p", person=7), put(visit(), "v", person=8))
        async with database.connection() as connection:

            async def named(type_: str, *parameters: tuple[str, str]) -> Any:
                return await find_subject(connection, type=type_, parameters=parameters)

            return [
                await named("Observation", ("patient", "p")),
                await named("Observation", ("subject", "Patient/p")),
                await named("Observation", ("subject:Patient", "p")),
                await named("Observation", ("patient", "https://example.org/fhir/Patient/p")),
                await named("Observation", ("patient.identifier", "urn:p|P1")),
                await named("Observation", ("subject:identifier", "P1")),
                await named("Observation", ("encounter", "v")),
                await named("Observation", ("patient", "unknown"), ("encounter", "v")),
                await named("Observation", ("code", "x")),
                await named("Patient", ("_id", "p")),
            ]

    seven, eight = frozenset({7}), frozenset({8})
    assert database_run(scenario) == [
        seven,
        seven,
        seven,
        seven,
        seven,
        seven,
        eight,
        frozenset(),
        None,
        None,
    ]


@database_test
def test_identifiers_are_compared_with_what_stands_in_the_present_version(database_run):
    def with_numbers(*numbers: tuple[str | None, str]) -> dict[str, Any]:
        return visit(
            identifier=[{"system": s, "value": v} if s is not None else {"value": v} for s, v in numbers]
        )

    async def scenario(database: Database) -> Any:
        await keep(
            database,
            put(with_numbers((NUMBERS, "1"), ("urn:b", "2")), "a"),
            put(with_numbers((NUMBERS, "1")), "b"),
            put(with_numbers((None, "1"), (None, "1")), "c"),
            put(with_numbers((NUMBERS, "3")), "d"),
            put(with_numbers((NUMBERS, "3")), "e"),
        )
        await keep(database, put(with_numbers((NUMBERS, "4")), "d"), remove("Encounter", "e"))
        await keep(database, put(with_numbers((NUMBERS, "3"), (NUMBERS, "5")), "b"))
        async with database.connection() as connection:
            criteria = [
                ("Encounter", ((NUMBERS, "1"),)),
                ("Encounter", ((None, "1"),)),
                ("Encounter", (("", "1"),)),
                ("Encounter", ((NUMBERS, "1"), ("urn:b", "2"))),
                ("Encounter", ((NUMBERS, "3"),)),
                ("Encounter", ((NUMBERS, "4"),)),
                ("Patient", ((NUMBERS, "1"),)),
                ("Encounter", ()),
            ]
            return await find_by_identifiers(connection, criteria=criteria)

    assert database_run(scenario) == [("a",), ("a", "c"), ("c",), ("a",), ("b",), ("d",), (), ()]


@database_test
def test_everything_about_a_person_comes_in_pages_the_patient_first(database_run):
    async def scenario(database: Database) -> Any:
        await keep(
            database,
            put(result(1, day="2026-01-05"), "r1"),
            put(result(2, day="2025-01-05"), "r2", person=2),
            put(visit(), "v"),
            put(_patient(), "p"),
            put(_patient(), "q", person=2),
            put(result(3), "other", person=3),
            put(result(4), "gone"),
        )
        await keep(database, remove("Observation", "gone"))
        async with database.connection() as connection:
            grant = await granted(connection)
            usual: dict[str, Any] = {"persons": [1, 2], "grant": grant, "principal": SYSTEM, "now": NOW}
            page = await everything(connection, count=2, **usual)
            seen = _ids(page)
            total = page.total
            while page.next:
                page = await search_next(connection, token=page.next, principal=SYSTEM, grant=grant, now=NOW)
                seen += _ids(page)
            some = await everything(connection, types=["Observation"], start=date(2026, 1, 1), **usual)
            later = await everything(connection, since=NOW + timedelta(days=1), **usual)
            with pytest.raises(GrantMissingError):
                await everything(connection, **(usual | {"grant": None}))
            return seen, total, _ids(some), later.total

    assert database_run(scenario) == (["p", "q", "v", "r2", "r1"], 5, ["r1"], 0)


_CODES = st.sampled_from(["a", "b", "c|x", "", "血糖"])
_CODING = st.fixed_dictionaries({}, optional={"code": _CODES, "system": st.sampled_from(["urn:a", "urn:b"])})
_CONCEPT = st.fixed_dictionaries({}, optional={"coding": st.lists(_CODING, max_size=3), "text": _CODES})
_ANY_OBSERVATION = st.fixed_dictionaries(
    {"resourceType": st.just("Observation")},
    optional={
        "status": _CODES,
        "category": st.lists(_CONCEPT, max_size=2),
        "code": _CONCEPT,
        "encounter": st.fixed_dictionaries({}, optional={"reference": st.sampled_from(["Encounter/a", "b"])}),
        "component": st.lists(st.fixed_dictionaries({"code": _CONCEPT}), max_size=2),
        "effectiveDateTime": st.sampled_from(["2026", "2026-03", "2026-03-02", "2026-03-02T08:00:00Z", "x"]),
        "effectivePeriod": st.fixed_dictionaries(
            {}, optional={"start": st.sampled_from(["2025", "2026-03-02"]), "end": st.just("2026-04")}
        ),
    },
)
_PARAMETERS = st.sampled_from(
    [
        ("code", "a"),
        ("code", "血糖,b"),
        ("category", "b"),
        ("status", "a"),
        ("encounter", "a"),
        ("encounter", "b"),
    ]
    + [
        ("date", f"{prefix}{day}")
        for prefix in ("", "ge", "lt", "ne", "sa", "eb", "ap")
        for day in ("2026-03", "2025")
    ]
)


@given(resource=_ANY_OBSERVATION, parameter=_PARAMETERS)
def test_columns_never_leave_out_what_the_content_would_let_in(resource, parameter):
    plan = compile_search(type="Observation", parameters=[parameter])
    header = header_of("Observation", resource)

    if all(test(parse(encode(resource))) for test in plan.tests):
        assert all(any(header.marks & mask == mask for mask in masks) for masks in plan.masks)
        if header.until is not None:
            assert header.at is not None
            assert plan.starts_before is None or header.at < plan.starts_before
            assert plan.ends_after is None or header.until > plan.ends_after
