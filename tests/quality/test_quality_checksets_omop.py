"""Each kind of check of the pack `omop` finds what is wrong in tables made for it; persons are made up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from kangshu.declarations import BASE_PACK, Pack, load_pack
from kangshu.quality.checksets import CheckSet, Report, State, check_declared, load_checkset, run_checks

FOLDER = BASE_PACK.parent / "omop"

_CONDITION = (
    "condition_occurrence_id,person_id,condition_concept_id,condition_start_date,condition_end_date,"
    "visit_occurrence_id,condition_source_value"
)
TABLES = {
    "person": """
        person_id,gender_concept_id,year_of_birth,month_of_birth,day_of_birth,birth_datetime,race_concept_id
        1,8507,1950,2,3,,8527
        2,8532,2200,13,1,,8527
        3,8532,1980,1,1,1980-01-01 04:00:00,9999
        4,8532,many,,,,
    """,
    "concept": """
        concept_id,concept_name,domain_id,concept_class_id,standard_concept,invalid_reason
        8507,MALE,Gender,Gender,S,
        8532,FEMALE,Gender,Gender,S,
        8527,White,Race,Race,S,
        200962,Malignant neoplasm of prostate,Condition,Disorder,S,
        11,A drug,Drug,Clinical Drug,,
        12,Old condition,Condition,Disorder,S,U
        13,Prostate trouble,Condition,Disorder,S,
    """,
    "concept_ancestor": """
        ancestor_concept_id,descendant_concept_id
        4090861,13
        4025213,13
    """,
    "death": """
        person_id,death_date
        1,2020-01-01
    """,
    "visit_occurrence": """
        visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_end_date
        1,1,9201,2019-12-01,2019-12-05
        1,2,0,2020-01-05,2020-01-01
        2,9,9201,1900-01-01,2099-01-01
    """,
    "condition_occurrence": f"""
        {_CONDITION}
        1,1,200962,2019-12-02,,1,C61
        2,2,200962,2019-12-02,,1,C61
        3,3,11,1979-12-31,1979-12-30,,X
        4,1,12,2020-04-01,,,Y
        5,2,13,2020-03-02,,1,
        6,3,0,2020-03-01,,,Z
        7,3,0,2020-03-01,,,Z
    """,
    "measurement": """
        measurement_id,person_id,measurement_concept_id,unit_concept_id,measurement_date
        1,1,3012888,8876,2019-12-02
        2,1,3012888,8840,2019-12-02
        3,1,3012888,0,2019-12-02
    """,
    "observation_period": """
        observation_period_id,person_id,observation_period_start_date,observation_period_end_date
        1,1,2019-01-01,2019-12-31
        2,1,2020-01-01,2020-02-01
        3,2,2019-01-01,2019-12-31
        4,2,2020-01-02,2020-02-01
        5,3,2019-01-01,2020-12-31
        6,3,2019-02-01,2019-02-02
        7,3,2019-06-01,2019-06-02
    """,
    "drug_exposure": """
        drug_exposure_id,person_id,drug_concept_id,days_supply
        1,1,11,400
        2,1,11,0
        3,1,11,30
        4,1,11,
    """,
    "device_exposure": "device_exposure_id,person_id",
}


@pytest.fixture(scope="module")
def pack() -> Pack:
    return load_pack(FOLDER)


@pytest.fixture(scope="module")
def checkset(pack: Pack) -> CheckSet:
    return load_checkset(folder=FOLDER, pack=pack)


@pytest.fixture(scope="module")
def report(pack: Pack, checkset: CheckSet, tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = write_tables(tmp_path_factory.mktemp("tables"), TABLES)
    return ask(folder, checkset=checkset, pack=pack, scratch=tmp_path_factory.mktemp("scratch"))


def ask(folder: Path, *, checkset: CheckSet, pack: Pack, scratch: Path) -> Report:
    return run_checks(folder, checkset=checkset, pack=pack, as_of=date(2026, 1, 1), scratch=scratch)


def write_tables(folder: Path, tables: Mapping[str, str]) -> Path:
    for name, text in tables.items():
        lines = [line.strip() for line in text.strip().splitlines()]
        (folder / f"{name}.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("check", "table", "field", "expected"),
    [
        ("cdmTable", "person", "", (0, 1)),
        ("cdmTable", "note", "", (1, 1)),
        ("cdmField", "person", "year_of_birth", (0, 1)),
        ("cdmField", "person", "location_id", (1, 1)),
        ("measurePersonCompleteness", "measurement", "", (3, 4)),
        ("measureObservationPeriodOverlap", "observation_period", "", (2, 3)),
        ("isRequired", "person", "race_concept_id", (1, 4)),
        ("isRequired", "person", "gender_concept_id", (0, 4)),
        ("measureValueCompleteness", "person", "birth_datetime", (3, 4)),
        ("cdmDatatype", "person", "year_of_birth", (1, 4)),
        ("isPrimaryKey", "visit_occurrence", "visit_occurrence_id", (2, 3)),
        ("isForeignKey", "visit_occurrence", "person_id", (1, 3)),
        ("isForeignKey", "person", "race_concept_id", (1, 4)),
        ("fkDomain", "condition_occurrence", "condition_concept_id", (1, 7)),
        ("isStandardValidConcept", "condition_occurrence", "condition_concept_id", (1, 7)),
        ("standardConceptRecordCompleteness", "condition_occurrence", "condition_concept_id", (2, 7)),
        ("sourceValueCompleteness", "condition_occurrence", "condition_source_value", (1, 5)),
        ("plausibleValueLow", "drug_exposure", "days_supply", (1, 3)),
        ("plausibleValueHigh", "drug_exposure", "days_supply", (1, 3)),
        ("plausibleValueHigh", "person", "year_of_birth", (1, 3)),
        ("plausibleValueHigh", "visit_occurrence", "visit_end_date", (1, 3)),
        ("plausibleValueLow", "visit_occurrence", "visit_start_date", (1, 3)),
        ("plausibleTemporalAfter", "condition_occurrence", "condition_start_date", (3, 7)),
        ("plausibleTemporalAfter", "visit_occurrence", "visit_end_date", (1, 3)),
        ("plausibleStartBeforeEnd", "visit_occurrence", "visit_start_date", (1, 3)),
        ("plausibleAfterBirth", "condition_occurrence", "condition_start_date", (1, 7)),
        ("plausibleBeforeDeath", "condition_occurrence", "condition_start_date", (1, 2)),
        ("plausibleDuringLife", "condition_occurrence", "condition_start_date", (1, 2)),
        ("withinVisitDates", "condition_occurrence", "condition_start_date", (1, 3)),
    ],
)
def test_a_check_finds_exactly_what_is_wrong(
    report: Report, check: str, table: str, field: str, expected: tuple[int, int]
):
    found = [
        (answer.violated, answer.denominator)
        for answer in report.answers
        if (answer.check.name, answer.check.table, answer.check.field) == (check, table, field)
    ]

    assert found == [expected]


@pytest.mark.parametrize(
    ("check", "concept", "expected"),
    [
        ("plausibleGender", "200962", (1, 2)),
        ("plausibleGenderUseDescendants", "4090861 4025213", (1, 1)),
        ("plausibleUnitConceptIds", "3012888", (1, 2)),
    ],
)
def test_a_check_of_a_concept_finds_exactly_what_is_wrong(
    report: Report, check: str, concept: str, expected: tuple[int, int]
):
    found = [
        (answer.violated, answer.denominator)
        for answer in report.answers
        if answer.check.name == check and concept in answer.check.parameters.values()
    ]

    assert found == [expected]


def test_a_check_that_needs_a_missing_field_is_not_run_and_no_pass(report: Report):
    (answer,) = [
        one
        for one in report.answers
        if (one.check.name, one.check.table, one.check.field)
        == ("isRequired", "person", "ethnicity_concept_id")
    ]

    assert answer.state is State.NOT_RUN


def test_a_table_without_rows_is_not_applicable(report: Report):
    states = {one.state for one in report.answers if one.check.about == "device_exposure.person_id"}

    # That the field is there is a check that passes.
    assert states == {State.NOT_APPLICABLE, State.PASSED}


def test_every_check_binds_to_the_declared_tables(checkset: CheckSet, pack: Pack):
    check_declared(checkset, pack=pack)

    assert len(checkset.checks) > 2_500
