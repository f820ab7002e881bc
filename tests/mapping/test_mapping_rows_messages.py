"""What a message says becomes rows of the data sets; every person and number here is made up."""

from __future__ import annotations

from copy import deepcopy
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kangshu.declarations import BASE_PACK, FieldType, UnknownDatasetError, load_pack
from kangshu.mapping import Note, load_authorities
from kangshu.mapping.rows import RowMapper
from kangshu.standards import fhir

PACK = load_pack()
MAPPER = RowMapper(PACK, load_authorities(BASE_PACK / "authorities.toml"))
HOSPITAL = "99000101599010211A1001"

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [
        {"system": "urn:oid:2.16.156.10011.1.3", "value": "990102196805121016"},
        {"system": "urn:kangshu:institution:OTHER:patient", "value": "X77"},
        {"system": f"urn:kangshu:institution:{HOSPITAL}:patient", "value": "P0012345"},
    ],
    "name": [{"text": "张试验"}],
    "gender": "male",
    "birthDate": "1968-05-12",
    "telecom": [{"system": "phone", "value": "19900000001"}],
}
SUBJECT = {"reference": "Patient/p1"}
VISIT = {
    "resourceType": "Encounter",
    "id": "e1",
    "status": "in-progress",
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
    "identifier": [
        {"type": {"coding": [{"code": "AN"}]}, "value": "A1"},
        {"type": {"coding": [{"code": "VN"}]}, "value": "I202603020009"},
    ],
    "subject": SUBJECT,
    "period": {"start": "2026-03-02T01:30:00Z"},
}


def observation(number: int, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "code": {"coding": [{"system": "urn:lab", "code": f"C{number}", "display": "丙氨酸氨基转移酶"}]},
        "subject": SUBJECT,
        "encounter": {"reference": "Encounter/e1"},
        **more,
    }


def report(*results: str, category: str = "LAB", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": category}]}
        ],
        "identifier": [{"type": {"coding": [{"code": "FILL"}]}, "value": "L202603020017"}],
        "code": {"coding": [{"code": "LFT", "display": "肝功能"}]},
        "subject": SUBJECT,
        "encounter": {"reference": "Encounter/e1"},
        "effectiveDateTime": "2026-03-02T10:05:00+08:00",
        "issued": "2026-03-02T11:20:00+08:00",
        "result": [{"reference": f"Observation/{one}"} for one in results],
        **more,
    }


def rows(*resources: dict[str, Any], notes: list[Note] | None = None, **more: Any):
    return MAPPER.to_rows([PATIENT, VISIT, *resources], institution=HOSPITAL, notes=notes, **more)


def values_of(name: str, made) -> list[dict[str, Any]]:
    return [dict(row.values) for row in made if row.dataset == name]


def test_a_laboratory_message_gives_its_report_and_each_of_its_results():
    high = {"coding": [{"code": "HH"}]}
    first = observation(
        1,
        valueQuantity={"value": Decimal("62.30"), "unit": "U/L"},
        referenceRange=[{"low": {"value": 9}, "high": {"value": 50}}],
        interpretation=[high],
    )
    second = observation(2, valueCodeableConcept={"text": "阴性"})

    made = rows(first, second, report("o1", "o2"))

    assert [(row.dataset, row.key, row.patient) for row in made] == [
        ("lab_result", "Observation/o1", "p1"),
        ("lab_result", "Observation/o2", "p1"),
        ("lab_report", "DiagnosticReport/r1", "p1"),
    ]
    assert all(row.at == datetime(2026, 3, 2, 11, 20) for row in made)
    assert values_of("lab_result", made)[0] == {
        "institution_code": HOSPITAL,
        "resident_number": "990102196805121016",
        "patient_number": "P0012345",
        "patient_name": "张试验",
        "sex": "1",
        "birth_date": date(1968, 5, 12),
        "report_number": "L202603020017",
        "item_number": 1,
        "visit_number": "I202603020009",
        "reported_at": datetime(2026, 3, 2, 11, 20),
        "item_code": "C1",
        "item_name": "丙氨酸氨基转移酶",
        "value_number": Decimal("62.30"),
        "unit": "U/L",
        "reference_low": 9,
        "reference_high": 50,
        "flag": "H",
    }
    assert values_of("lab_result", made)[1]["item_number"] == 2
    assert values_of("lab_result", made)[1]["value_text"] == "阴性"
    assert values_of("lab_report", made)[0]["title"] == "肝功能"
    assert values_of("lab_report", made)[0]["phone"] == "19900000001"


def test_a_result_below_the_limit_of_detection_is_text_and_no_number():
    made = rows(observation(1, valueQuantity={"value": Decimal("0.5"), "comparator": "<"}), report("o1"))

    result = values_of("lab_result", made)[0]
    assert (result["value_text"], "value_number" in result) == ("<0.5", False)


def test_a_cancelled_or_erroneous_resource_takes_its_row_back():
    wrong = observation(1, status="entered-in-error", valueString="x")

    made = rows(wrong, report("o1", status="cancelled"))

    assert [(row.dataset, row.withdrawn) for row in made] == [("lab_result", True), ("lab_report", True)]
    assert [row.values for row in made] == [None, None]


def test_a_deleted_resource_takes_back_what_it_may_have_given():
    taken = MAPPER.to_withdrawals(resource_type="Observation", resource_id="o1")

    assert [(row.dataset, row.key, row.withdrawn) for row in taken] == [
        ("lab_result", "Observation/o1", True)
    ]


def test_an_imaging_report_is_an_examination_and_none_of_the_laboratory():
    text = observation(1, valueString="胆囊多发结石")
    text["code"] = {"coding": [{"code": "IMP"}]}
    seen = observation(2, valueString="胆囊内见多发强回声")
    seen["code"] = {"coding": [{"code": "GDT"}]}

    made = rows(text, seen, report("o1", "o2", category="US"))

    assert [row.dataset for row in made] == ["exam_report"]
    found = values_of("exam_report", made)[0]
    assert (found["modality"], found["body_part"]) == ("US", "肝功能")
    assert (found["impression"], found["findings"]) == ("胆囊多发结石", "胆囊内见多发强回声")


def test_a_report_with_one_text_only_has_that_as_its_impression():
    made = rows(observation(1, valueString="未见异常"), report("o1", category="RAD"))

    assert values_of("exam_report", made)[0]["impression"] == "未见异常"
    assert values_of("exam_report", made)[0]["modality"] == "DX"


def test_vital_signs_are_no_laboratory_results():
    vital = observation(1, valueQuantity={"value": 98}, category=[{"coding": [{"code": "vital-signs"}]}])

    assert rows(vital, report("o1")) == rows(report("o1"))


def condition(number: int, code: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": f"c{number}",
        "subject": SUBJECT,
        "encounter": {"reference": "Encounter/e1"},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": code}], "text": "诊断"},
        **more,
    }


def test_each_diagnosis_says_of_what_kind_it_is():
    visit = deepcopy(VISIT)
    visit["diagnosis"] = [
        {"condition": {"reference": "Condition/c1"}, "use": {"coding": [{"code": "DD"}]}, "rank": 1},
        {"condition": {"reference": "Condition/c2"}, "use": {"coding": [{"code": "CM"}]}, "rank": 2},
        {"condition": {"reference": "Condition/c3"}, "use": {"coding": [{"code": "AD"}]}},
        {"condition": {"reference": "Condition/c4"}},
    ]
    conditions = [condition(number, f"K80.{number}00") for number in range(1, 5)]

    made = MAPPER.to_rows([PATIENT, visit, *conditions], institution=HOSPITAL)

    found = values_of("diagnosis", made)
    assert [row["diagnosis_type"] for row in found] == ["3", "4", "2", "9"]
    assert {row["visit_kind"] for row in found} == {"2"}
    assert {row["diagnosed_at"] for row in found} == {datetime(2026, 3, 2, 9, 30)}
    assert found[0]["diagnosis_number"] == "c1"


def test_a_visit_that_is_only_referred_to_is_no_visit_row_and_none_is_missed():
    notes: list[Note] = []
    visit = {**VISIT, "status": "unknown", "class": {"code": "AMB"}}

    made = MAPPER.to_rows([PATIENT, visit], institution=HOSPITAL, notes=notes)

    assert (made, notes) == ([], [])


def test_a_row_that_lacks_required_fields_is_not_made_but_noted_without_any_value():
    notes: list[Note] = []
    result = observation(1, valueString="x")
    nameless = {**PATIENT, "name": []}

    made = MAPPER.to_rows([nameless, result, report("o1")], institution=HOSPITAL, notes=notes)

    assert made == []
    assert [note.place for note in notes] == ["Observation", "DiagnosticReport"]
    assert "患者姓名" in notes[0].text.zh
    assert "Name" in notes[0].text.en
    assert "990102" not in str(notes)


def test_a_hundred_results_that_lack_the_same_are_noted_once():
    notes: list[Note] = []

    MAPPER.to_rows([observation(number) for number in range(100)], institution=HOSPITAL, notes=notes)

    assert len(notes) == 1


def test_a_value_that_does_not_fit_its_field_is_left_out_and_noted():
    notes: list[Note] = []
    result = observation(1, valueString="x", referenceRange=[{"low": {"value": Decimal("1.23456789")}}])

    made = rows(result, report("o1"), notes=notes)

    assert "reference_low" not in values_of("lab_result", made)[0]
    assert ["参考值下限" in note.text.zh for note in notes] == [True]


def test_what_the_message_refers_to_may_come_from_the_record():
    made = MAPPER.to_rows(
        [observation(1, valueString="x"), report("o1")], institution=HOSPITAL, context=[PATIENT, VISIT]
    )

    assert [row.dataset for row in made] == ["lab_result", "lab_report"]


def test_items_of_one_prescription_are_counted():
    def request(number: int) -> dict[str, Any]:
        return {
            "resourceType": "MedicationRequest",
            "id": f"m{number}",
            "status": "active",
            "intent": "order",
            "groupIdentifier": {"value": "R1"},
            "subject": SUBJECT,
            "encounter": {"reference": "Encounter/e1"},
            "authoredOn": "2026-03-02T09:50:00+08:00",
            "medicationCodeableConcept": {"coding": [{"code": "D1"}], "text": "头孢曲松钠注射剂"},
            "dosageInstruction": [
                {"timing": {"code": {"text": "tid"}}, "route": {"coding": [{"code": "IV"}]}}
            ],
            "dispenseRequest": {"quantity": {"value": 6, "unit": "瓶"}},
        }

    found = values_of("prescription_item", rows(request(1), request(2)))

    assert [(row["prescription_number"], row["item_number"]) for row in found] == [("R1", 1), ("R1", 2)]
    assert (found[0]["frequency"], found[0]["route"]) == ("14", "404")


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-02T11:20:00+08:00", datetime(2026, 3, 2, 11, 20)),
        ("2026-03-02T03:20:00Z", datetime(2026, 3, 2, 11, 20)),
        ("2026-03-01T22:20:00-05:00", datetime(2026, 3, 2, 11, 20)),
        ("2026-03-02", datetime(2026, 3, 2)),
    ],
)
def test_moments_of_any_zone_are_local_time_in_rows(moment, expected):
    made = rows(report("o1", issued=moment))

    assert values_of("lab_report", made)[0]["reported_at"] == expected


def test_unknown_sexes_of_both_kinds_keep_their_code():
    for sex in ("0", "1", "2", "9"):
        row = {
            "institution_code": HOSPITAL,
            "patient_name": "试验",
            "sex": sex,
            "registered_at": datetime(2026, 1, 5),
        }
        patient = MAPPER.to_resources(
            dataset="resident",
            values={**row, "birth_date": date(1968, 5, 12)},
            institution=HOSPITAL,
            key="x",
            patient="p1",
        )
        assert MAPPER.to_rows(patient, institution=HOSPITAL)[0].values == {
            **row,
            "birth_date": date(1968, 5, 12),
        }


def test_samples_of_other_countries_give_no_rows_unless_asked_for():
    stay = deepcopy(VISIT)
    stay["identifier"] = [{"system": "https://github.com/synthetichealth/synthea", "value": "e" * 36}]

    assert MAPPER.to_rows([PATIENT, stay], institution=HOSPITAL) == []
    assert "synthea_encounters" in MAPPER.datasets


def test_a_data_set_without_a_mapping_is_no_resource():
    assert (
        MAPPER.to_resources(dataset="population", values={}, institution=HOSPITAL, key="x", patient="p") == []
    )
    with pytest.raises(UnknownDatasetError):
        MAPPER.to_rows([], institution=HOSPITAL, datasets=["population"])


def example_row(name: str) -> dict[str, Any]:
    """The example that each field of a data set gives of itself."""
    row: dict[str, Any] = {}
    for field in PACK.datasets[name].fields:
        text = field.example
        if not text or text == "-":
            continue
        match field.type:
            case FieldType.INTEGER:
                value: Any = int(text)
            case FieldType.DECIMAL:
                value = Decimal(text)
            case FieldType.DATE:
                value = date.fromisoformat(text)
            case FieldType.DATETIME:
                value = datetime.fromisoformat(text).replace(tzinfo=None)
            case _:
                value = text
        row[field.name] = [value] if field.repeat > 1 else value
    return row


@pytest.mark.parametrize("name", sorted(MAPPER.datasets))
@pytest.mark.parametrize("linked", [True, False])
def test_what_a_row_becomes_is_valid_fhir(name, linked):
    resources = MAPPER.to_resources(
        dataset=name,
        values=example_row(name),
        institution=HOSPITAL,
        key=f"{name.replace('_', '-')}-7-2",
        patient="p1",
        linked=linked,
    )

    wrong = [
        (resource["resourceType"], issue.expression, str(issue.text))
        for resource in resources
        for issue in fhir.validate(resource)
        if issue.severity in ("error", "fatal")
    ]
    assert wrong == []
    assert len(resources) == 1 or linked


# Shapes that no sender should send

_NAMES = """id status code coding system value category subject reference identifier result encounter
    valueQuantity valueString extension url period start text diagnosis condition use rank referenceRange low
    interpretation class issued name participant component"""
_names = st.sampled_from(_NAMES.split())
_leaves = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats()
    | st.decimals()
    | st.sampled_from(
        ["", "Patient/p1", "Encounter/e1", "Observation/o1", "2026-03-02", "9999-12-31T23:59:59-14:00"]
    )
    | st.text(max_size=8)
)
_trees = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=12,
)
_resources = st.builds(
    lambda kind, body: {"resourceType": kind, **body},
    st.sampled_from(
        ["Observation", "DiagnosticReport", "Encounter", "Condition", "MedicationRequest", "Device"]
    ),
    st.dictionaries(_names, _trees, max_size=8),
)


@settings(max_examples=300)
@given(resources=st.lists(_resources, max_size=4))
def test_resources_of_any_shape_give_rows_or_none_and_never_fail(resources):
    MAPPER.to_rows([PATIENT, *resources], institution=HOSPITAL, notes=[])
    MAPPER.to_rows([PATIENT, *resources], institution=HOSPITAL, datasets=MAPPER.datasets, notes=[])


def test_a_number_of_a_million_digits_is_no_number():
    result = observation(1, valueQuantity={"value": Decimal("1E+999999")}, valueString="x")
    item = {"url": "urn:kangshu:field:item_number", "valueInteger": Decimal("1E+999999")}

    made = rows({**result, "extension": [item]}, report("o1"))

    assert "value_number" not in values_of("lab_result", made)[0]
    assert values_of("lab_result", made)[0]["item_number"] == 1
