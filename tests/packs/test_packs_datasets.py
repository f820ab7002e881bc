"""The base pack's data sets and code tables as a whole: complete, and true of their own examples."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from kangshu.declarations import (
    Dataset,
    Field,
    FieldType,
    Obligation,
    Pack,
    Privacy,
    Role,
    duckdb_type,
    load_pack,
)

SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", Path(__file__).parents[3] / "shared" / "samples")) / "csv"

# What simulator, identity and pages rely on: the common person fields, and each set's own.
PERSON = """
    resident_number document_type document_number patient_number patient_name sex birth_date
    institution_code
"""
OWN = {
    "resident": """
        registered_at address division_code ethnic marital occupation education abo rh
        mother_number household_number death_date phone
    """,
    "outpatient_visit": """
        visit_number visited_at visit_type department_code doctor_name chief_complaint
        diagnosis_code diagnosis_name payment total_cost phone
    """,
    "diagnosis": """
        diagnosis_number visit_number visit_kind diagnosed_at diagnosis_type diagnosis_code
        diagnosis_name doctor_name
    """,
    "prescription_item": """
        prescription_number item_number prescribed_at drug_code drug_name specification dose
        dose_unit frequency route days quantity quantity_unit unit_price amount doctor_name
    """,
    "lab_report": """
        report_number visit_number collected_at reported_at specimen title doctor_name
        reviewer_name
    """,
    "lab_result": """
        report_number item_number visit_number reported_at item_code item_name value_text
        value_number unit reference_low reference_high flag
    """,
    "exam_report": """
        report_number visit_number examined_at reported_at modality body_part findings impression
        doctor_name
    """,
    "operation": """
        operation_number visit_number operated_at procedure_code procedure_name grade
        operator_name anaesthesia incision healing
    """,
    "charge_item": """
        charge_number visit_number charged_at category item_code item_name unit_price quantity
        amount
    """,
    "birth": """
        certificate_number born_at weight_g length_cm gestation_weeks mother_name
        mother_resident_number father_name
    """,
    "death": """
        certificate_number died_at place_of_death underlying_cause_code underlying_cause_name
    """,
    "immunization": """
        vaccination_number vaccinated_at vaccine_code vaccine_name dose_number batch_number
        manufacturer site next_due
    """,
}
DIRECTORY = {
    "institution": """
        institution_code name short_name division_code level type economic_type host opened_on
        beds staff vendor
    """,
    "division": """
        division_code name parent_code level
    """,
    "population": """
        division_code year sex age_from age_to residents
    """,
}


def pack() -> Pack:
    return load_pack()


def datasets() -> list[Dataset]:
    return list(pack().datasets.values())


def fields() -> Iterator[tuple[Dataset, Field]]:
    for dataset in datasets():
        for field in dataset.fields:
            yield dataset, field


def test_the_front_page_has_its_135_fields_under_their_codes():
    front_page = pack().dataset("front_page")
    codes = [field.code or "" for field in front_page.fields]

    assert len(set(codes)) == 135
    assert all(re.fullmatch(r"[ABCD]\d{2}(x\d{2})?[CN]?", code) for code in codes)
    assert sorted(field.code or "" for field in front_page.fields if field.repeat == 40) == [
        *("C06x01C", "C07x01N", "C08x01C", "C35x01C", "C36x01N", "C37x01", "C38x01", "C39x01", "C40x01"),
        *("C41x01", "C42x01C", "C43x01C", "C44x01"),
    ]


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_clinical_set_has_the_common_person_fields_and_its_own(name: str):
    names = {field.name for field in pack().dataset(name).fields}

    assert {*PERSON.split(), *OWN[name].split()} <= names


@pytest.mark.parametrize("name", sorted(DIRECTORY))
def test_a_directory_set_has_its_fields(name: str):
    assert [field.name for field in pack().dataset(name).fields] == DIRECTORY[name].split()
    assert pack().dataset(name).category == "directory"


def test_a_laboratory_result_is_narrow():
    assert len(pack().dataset("lab_result").fields) == 20


def test_who_a_row_is_about_is_told_by_roles_and_is_personal_data():
    direct = {
        Role.RESIDENT_NUMBER,
        Role.DOCUMENT_NUMBER,
        Role.LOCAL_NUMBER,
        Role.NAME,
        Role.PHONE,
        Role.ADDRESS,
    }

    assert not [
        (dataset.name, field.name)
        for dataset, field in fields()
        if field.role in direct and field.privacy is not Privacy.DIRECT
    ]
    assert not [
        (dataset.name, field.name)
        for dataset, field in fields()
        if field.role is Role.BIRTH_DATE and field.privacy is Privacy.NONE
    ]
    assert all(pack().dataset(name).about_persons for name in (*OWN, "front_page"))


def test_every_set_about_persons_is_dated_and_keyed():
    undated = [d.name for d in datasets() if d.about_persons and not d.event_time and d.category != "sample"]

    assert not undated
    assert not [d.name for d in datasets() if not d.key and d.category != "sample"]


def test_data_element_ids_have_the_form_of_ws_363():
    assert not [
        (dataset.name, field.name)
        for dataset, field in fields()
        if field.data_element and not re.fullmatch(r"DE\d{2}\.\d{2}\.\d{3}\.\d{2}", field.data_element)
    ]


def test_everything_has_a_title_in_two_languages():
    titled = [
        *((dataset.name, dataset.title) for dataset in datasets()),
        *((f"{dataset.name}.{field.name}", field.title) for dataset, field in fields()),
        *((rule.id, rule.message) for dataset in datasets() for rule in dataset.rules),
        *((table.name, table.title) for table in pack().codes.values()),
    ]

    assert not [name for name, title in titled if not title.zh or not title.en or title.zh == title.en]


def test_english_titles_hold_no_chinese():
    assert not [
        f"{dataset.name}.{field.name}"
        for dataset, field in fields()
        if re.search(r"[一-鿿]", field.title.en + field.note.en)
    ]


def _unlike_itself(field: Field, codes: Pack) -> bool:
    """Whether the field's own example does not meet its declaration."""
    with duckdb.connect(":memory:") as engine:
        single = duckdb_type(field).removesuffix("[]")
        typed = engine.execute(f"SELECT try_cast(? AS {single})", [field.example]).fetchone()
    if typed is None or typed[0] is None:
        return True
    text = field.example
    table = codes.codes.get(field.value_set or "")
    number = float(text) if field.type in (FieldType.INTEGER, FieldType.DECIMAL) else 0.0
    return any(
        (
            field.type is FieldType.STRING and field.length is not None and len(text) > field.length,
            field.exact_length and len(text) != field.length,
            field.pattern and not re.fullmatch(field.pattern, text),
            table is not None and table.complete and text not in table.titles(),
            field.minimum is not None and number < field.minimum,
            field.maximum is not None and number > field.maximum,
        )
    )


def test_each_example_meets_its_own_declaration():
    marks = ("-", "—")

    assert not [
        f"{dataset.name}.{field.name}"
        for dataset, field in fields()
        if field.example and field.example not in marks and _unlike_itself(field, pack())
    ]


def test_what_must_be_filled_has_an_example():
    assert not [
        f"{dataset.name}.{field.name}"
        for dataset, field in fields()
        if field.obligation is Obligation.REQUIRED and not field.example
    ]


def test_the_parent_of_a_code_is_a_code_of_the_table():
    assert not [
        (table.name, code.code)
        for table in pack().codes.values()
        for code in table.codes
        if code.parent and code.parent not in table.titles()
    ]


def test_only_samples_and_open_lists_are_incomplete():
    incomplete = {table.name for table in pack().codes.values() if not table.complete}

    assert incomplete == {"icd10", "icd9cm3", "rc038", "vaccine"}


def test_the_short_code_tables_have_english_titles():
    chinese = re.compile(r"[一-鿿]")

    assert not [
        (table.name, code.code)
        for table in pack().codes.values()
        if table.name not in ("icd10", "icd9cm3")
        for code in table.codes
        if chinese.search(code.title.en)
    ]


@pytest.mark.samples
@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples are not here")
@pytest.mark.parametrize(
    "name", sorted(d.name for d in load_pack().datasets.values() if d.category == "sample")
)
def test_a_declared_source_file_has_a_field_for_each_of_its_headings(name: str):
    source, _, file = name.partition("_")
    folder = {"synthea": "synthea_csv", "mimic": "mimic_iv_ed_demo"}[source]
    with (SAMPLES / folder / f"{file}.csv").open(encoding="utf-8") as stream:
        headings = next(csv.reader(stream))

    known = [{column.casefold() for column in field.column_names()} for field in pack().dataset(name).fields]

    assert len(headings) == len(known)
    assert all(sum(heading.casefold() in names for names in known) == 1 for heading in headings)
