"""The directory: lists loaded whole, provisional institutions, everything cut to somebody's reach."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from kangshu import directory
from kangshu.declarations import Code, CodeTable
from kangshu.directory import (
    DirectoryRowRefusedError,
    Division,
    Institution,
    InstitutionCodeRefusedError,
    InstitutionUnknownError,
)
from kangshu.kernel.texts import Text
from kangshu.security.principals import Reach
from kangshu.standards.identifiers import DivisionLevel
from kangshu.storage.database import Connection, Database

pytestmark = pytest.mark.database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
REGION = [Reach.region()]
Scenario = Callable[[Callable[[Connection], Awaitable[Any]]], Any]

DIVISIONS = [
    {"division_code": "990000", "name": "海东省", "parent_code": None, "level": 1},
    {"division_code": "990100", "name": "海康市", "parent_code": "990000", "level": 2},
    {"division_code": "990102", "name": "临江区", "parent_code": "990100", "level": 3},
    {"division_code": "990102001", "name": "一号镇", "parent_code": "990102", "level": 4},
    {"division_code": "990200", "name": "海宁市", "parent_code": "990000", "level": 2},
]
INSTITUTIONS = [
    {
        "institution_code": "CITY",
        "name": "海康市第一人民医院",
        "short_name": "市一院",
        "division_code": "990102",
        "type": "A100",
        "level": "3",
        "opened_on": date(1958, 10, 1),
        "beds": 1200,
        "staff": 2100,
    },
    {"institution_code": "TOWN", "name": "一号镇卫生院", "division_code": "990102001", "type": "C210"},
    {
        "institution_code": "CLINIC",
        "name": "一号镇甲村卫生室",
        "division_code": "990102001200",
        "type": "D600",
    },
    {
        "institution_code": "OTHERCLINIC",
        "name": "二号镇乙村卫生室",
        "division_code": "990102002201",
        "type": "D600",
    },
    {"institution_code": "OTHER", "name": "海宁市人民医院", "division_code": "990200", "type": "A100"},
    {
        "institution_code": "CENTRE",
        "name": "海东省卫生健康信息中心",
        "division_code": "990000",
        "type": "P918",
    },
    {"institution_code": "NOWHERE", "name": "某诊所", "division_code": "000000", "type": "D213"},
]


@pytest.fixture
def listed(database_run) -> Scenario:
    """Run `async fn(connection)` on a database with the lists above."""

    def run_with_lists(work: Callable[[Connection], Awaitable[Any]]) -> Any:
        async def scenario(database: Database) -> Any:
            async with database.connection() as connection:
                await directory.load_divisions(connection, rows=DIVISIONS)
                await directory.load_institutions(connection, rows=INSTITUTIONS)
                return await work(connection)

        return database_run(scenario)

    return run_with_lists


def test_a_listed_institution_is_found_as_it_was_listed(listed: Scenario):
    institution = listed(lambda connection: directory.get_institution(connection, code="CITY"))

    assert institution == Institution(
        code="CITY",
        name="海康市第一人民医院",
        short_name="市一院",
        division_code="990102",
        level="3",
        type="A100",
        opened_on=date(1958, 10, 1),
        beds=1200,
        staff=2100,
    )
    assert institution.label == "市一院"


def test_an_institution_that_nobody_knows_is_an_error_or_none_as_asked(listed: Scenario):
    async def scenario(connection: Connection) -> None:
        for code in ("UNHEARD", "nul\0", "half\ud800"):
            assert await directory.find_institution(connection, code=code) is None
            with pytest.raises(InstitutionUnknownError):
                await directory.get_institution(connection, code=code)

    listed(scenario)


@pytest.mark.parametrize(
    ("reaches", "codes"),
    [
        ([], set()),
        (["region"], {"CITY", "TOWN", "CLINIC", "OTHERCLINIC", "OTHER", "CENTRE", "NOWHERE"}),
        (["division:99"], {"CITY", "TOWN", "CLINIC", "OTHERCLINIC", "OTHER", "CENTRE"}),
        (["division:990100"], {"CITY", "TOWN", "CLINIC", "OTHERCLINIC"}),
        (["division:990102001"], {"TOWN", "CLINIC"}),
        (["division:990200", "institution:CITY"], {"CITY", "OTHER"}),
        (["department:CITY/03.01"], {"CITY"}),
        (["institution:UNHEARD"], set()),
    ],
)
def test_people_see_the_institutions_within_their_reach(
    listed: Scenario, reaches: list[str], codes: set[str]
):
    within = [Reach.parse(text) for text in reaches]

    async def scenario(connection: Connection) -> None:
        shown = await directory.list_institutions(connection, within=within)
        assert {entry.code for entry in shown} == codes
        assert await directory.count_institutions(connection, within=within) == len(codes)
        filter_codes = await directory.institution_codes(connection, within=within)
        assert filter_codes is None if reaches == ["region"] else set(filter_codes or []) == codes

    listed(scenario)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("市一院", ["CITY"]),
        ("卫生室", ["CLINIC", "OTHERCLINIC"]),
        ("clinic", ["CLINIC", "OTHERCLINIC"]),
        ("%", []),
        ("_", []),
        ("\\", []),
        ("\0市一院", ["CITY"]),
    ],
)
def test_institutions_are_found_by_a_part_of_name_or_code(listed: Scenario, text: str, codes: list[str]):
    async def scenario(connection: Connection) -> None:
        found = await directory.list_institutions(connection, within=REGION, text=text)
        assert [entry.code for entry in found] == codes
        assert await directory.count_institutions(connection, within=REGION, text=text) == len(codes)

    listed(scenario)


def test_pages_follow_each_other_without_gap_or_overlap(listed: Scenario):
    async def scenario(connection: Connection) -> None:
        whole = await directory.list_institutions(connection, within=REGION)
        pages = [
            await directory.list_institutions(connection, within=REGION, limit=2, offset=start)
            for start in range(0, 8, 2)
        ]
        assert [entry for page in pages for entry in page] == whole
        assert await directory.list_institutions(connection, within=REGION, limit=-1, offset=-5) == []

    listed(scenario)


def test_loading_again_renews_and_the_later_of_two_rows_holds(listed: Scenario):
    async def scenario(connection: Connection) -> None:
        rows = [
            {"institution_code": "CITY", "name": "旧名", "division_code": "990102"},
            {"institution_code": "CITY", "name": "新名", "division_code": "990200"},
        ]
        assert await directory.load_institutions(connection, rows=rows) == 1
        institution = await directory.get_institution(connection, code="CITY")
        assert (institution.name, institution.short_name, institution.division_code) == (
            "新名",
            None,
            "990200",
        )
        assert await directory.count_institutions(connection, within=REGION) == len(INSTITUTIONS)

        assert (
            await directory.load_divisions(connection, rows=[{"division_code": "9902", "name": "新宁市"}])
            == 1
        )
        assert [entry.name for entry in await directory.division_path(connection, code="990200")] == [
            "海东省",
            "新宁市",
        ]

    listed(scenario)


def test_empty_lists_load_nothing(database_run):
    async def scenario(database: Database) -> None:
        async with database.connection() as connection:
            assert await directory.load_institutions(connection, rows=[]) == 0
            assert await directory.load_divisions(connection, rows=[]) == 0
            assert await directory.load_populations(connection, rows=[]) == 0

    database_run(scenario)


@pytest.mark.parametrize(
    ("load", "row"),
    [
        (directory.load_institutions, {"institution_code": "A", "name": " "}),
        (directory.load_institutions, {"name": "无代码"}),
        (directory.load_divisions, {"division_code": "000000", "name": "无"}),
        (directory.load_divisions, {"division_code": "990000"}),
        (
            directory.load_populations,
            {"division_code": "x", "year": 2025, "sex": "1", "age_from": 0, "residents": 1},
        ),
        (directory.load_populations, {"division_code": "99", "sex": "1", "age_from": 0, "residents": 1}),
    ],
)
def test_a_row_that_lacks_what_it_needs_is_refused_with_its_number(database_run, load, row):
    good = {"institution_code": "B", "name": "乙", "division_code": "99", "year": 2025, "sex": "1",
            "age_from": 0, "residents": 1}  # fmt: skip

    async def scenario(database: Database) -> None:
        async with database.connection() as connection:
            with pytest.raises(DirectoryRowRefusedError, match="row 2"):
                await load(connection, rows=[good, row])
            assert await directory.count_institutions(connection, within=REGION) == 0
            assert await directory.list_divisions(connection) == []

    database_run(scenario)


def test_a_sender_on_no_list_is_put_on_record_once_with_what_its_code_tells(listed: Scenario):
    code = "D2143569X99010211A1001"

    async def scenario(connection: Connection) -> None:
        assert await directory.ensure_provisional(connection, code=code, now=NOW)
        assert not await directory.ensure_provisional(connection, code=code, now=NOW)
        found = await directory.get_institution(connection, code=code)
        assert found == Institution(
            code=code, name=code, division_code="990102", type="A100", provisional=True, first_seen_at=NOW
        )
        in_city = await directory.list_institutions(connection, within=[Reach.division("9901")])
        assert in_city[-1].code == code, "listed ones come first"

        row = {"institution_code": code, "name": "新医院", "division_code": "990102"}
        await directory.load_institutions(connection, rows=[row])
        assert not (await directory.get_institution(connection, code=code)).provisional

    listed(scenario)


def test_a_listed_institution_is_never_made_provisional(listed: Scenario):
    async def scenario(connection: Connection) -> None:
        assert not await directory.ensure_provisional(connection, code="CITY", now=NOW)
        assert (await directory.get_institution(connection, code="CITY")).name == "海康市第一人民医院"

    listed(scenario)


def test_files_of_one_new_sender_that_arrive_together_make_one_institution(database_run):
    async def scenario(database: Database) -> list[bool]:
        async def arrive() -> bool:
            async with database.transaction() as connection:
                return await directory.ensure_provisional(connection, code="NEW", now=NOW)

        return await asyncio.gather(*(arrive() for _ in range(6)))

    assert sorted(database_run(scenario)) == [False] * 5 + [True]


@pytest.mark.parametrize("code", ["", "   ", "x" * 65, "a\0b", "a\nb"])
def test_what_cannot_be_a_code_is_refused(database_run, code: str):
    async def scenario(database: Database) -> None:
        async with database.connection() as connection:
            with pytest.raises(InstitutionCodeRefusedError):
                await directory.ensure_provisional(connection, code=code, now=NOW)

    database_run(scenario)


@pytest.mark.parametrize(
    ("sender", "allowed"),
    [
        ("CITY", ["CITY"]),
        ("TOWN", ["TOWN", "CLINIC"]),
        ("CLINIC", ["CLINIC"]),
        ("CENTRE", None),
        ("UNHEARD", ["UNHEARD"]),
    ],
)
def test_a_township_hospital_reports_for_its_clinics_and_the_centre_for_all(
    listed: Scenario, sender: str, allowed: list[str] | None
):
    assert listed(lambda connection: directory.reports_for(connection, institution=sender)) == allowed


def test_a_township_hospital_without_a_township_reports_for_itself(listed: Scenario):
    async def scenario(connection: Connection) -> None:
        for division in ("990102", "000000", None):
            row = {"institution_code": "TOWN", "name": "卫生院", "type": "C220", "division_code": division}
            await directory.load_institutions(connection, rows=[row])
            assert await directory.reports_for(connection, institution="TOWN") == ["TOWN"]

    listed(scenario)


def test_names_and_divisions_are_looked_up_for_many_at_once(listed: Scenario):
    codes = ["CITY", "OTHER", "UNHEARD", "nul\0"]

    async def scenario(connection: Connection) -> None:
        assert await directory.names_of(connection, codes=codes) == {
            "CITY": "市一院",
            "OTHER": "海宁市人民医院",
        }
        assert await directory.divisions_of(connection, codes=codes) == {"CITY": "990102", "OTHER": "990200"}
        assert await directory.names_of(connection, codes=[]) == {}

    listed(scenario)


def test_divisions_are_listed_by_level_and_inside_another(listed: Scenario):
    async def scenario(connection: Connection) -> None:
        async def names(**given: Any) -> list[str]:
            return [entry.name for entry in await directory.list_divisions(connection, **given)]

        assert await names() == ["海东省", "海康市", "临江区", "一号镇", "海宁市"]
        assert await names(level=DivisionLevel.CITY) == ["海康市", "海宁市"]
        assert await names(within="990100") == ["海康市", "临江区", "一号镇"]
        assert await names(within="990100", level=DivisionLevel.COUNTY) == ["临江区"]
        with pytest.raises(ValueError, match="division code"):
            await names(within="somewhere")

    listed(scenario)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("990102001000", ["海东省", "海康市", "临江区", "一号镇"]),
        ("990103", ["海东省", "海康市"]),
        ("990000", ["海东省"]),
        ("000000", []),
        (None, []),
    ],
)
def test_the_path_to_a_division_begins_at_the_province(listed: Scenario, code: str | None, names: list[str]):
    path = listed(lambda connection: directory.division_path(connection, code=code))

    assert [entry.name for entry in path] == names


def test_a_division_knows_its_level_and_refuses_an_impossible_code():
    assert Division(code="990102", name="临江区").level is DivisionLevel.COUNTY
    with pytest.raises(ValueError, match="division code"):
        Division(code="0", name="无")
    for level in DivisionLevel:
        assert directory.level_title(level).zh


def test_departments_are_those_of_the_code_table(listed: Scenario):
    def table(*codes: str) -> CodeTable:
        entries = tuple(Code(code=code, title=Text(zh=f"科{code}", en=""), parent=None) for code in codes)
        return CodeTable(name="department", title=Text(zh="", en=""), edition="", source="", codes=entries)

    async def scenario(connection: Connection) -> None:
        assert await directory.load_departments(connection, table=table("03", "03.01", "01")) == 3
        assert await directory.load_departments(connection, table=table("03", "02")) == 2
        assert [entry.code for entry in await directory.list_departments(connection)] == ["02", "03"]

    listed(scenario)


def test_populations_are_read_by_division_and_year_however_the_division_is_written(listed: Scenario):
    def group(**changes: Any) -> dict[str, Any]:
        return {"division_code": "990100", "year": 2025, "sex": "1", "age_from": 0, "age_to": 4,
                "residents": 10} | changes  # fmt: skip

    async def scenario(connection: Connection) -> None:
        rows = [group(), group(sex="2", residents=9), group(age_from=85, age_to=None), group(year=2024)]
        assert await directory.load_populations(connection, rows=rows) == 4
        assert await directory.load_populations(connection, rows=[group(residents=11)]) == 1
        found = await directory.list_populations(connection, division_code="9901", year=2025)
        assert [(entry.age_from, entry.sex, entry.residents) for entry in found] == [
            (0, "1", 11),
            (0, "2", 9),
            (85, "1", 10),
        ]
        assert found[2].age_to is None
        assert await directory.list_populations(connection, division_code="9902", year=2025) == []

    listed(scenario)
