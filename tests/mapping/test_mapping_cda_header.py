"""What a document's header becomes: patient, visit, reference. All people and numbers are made up."""

# ruff: noqa: E501 - documents are easier to read unbroken

import pytest
from cda_documents import (
    BASE,
    INPATIENT,
    MAPPING,
    OUTPATIENT,
    RECORD,
    WARD,
    coded,
    document,
    make_id,
    mapped,
    notes,
    observation,
    one,
    resources,
    section,
)

from kangshu.mapping import MappingError, load_authorities, subject_of

TYPE = '<patientType><patienttypeCode code="{}" codeSystem="2.16.156.10011.2.3.1.271"/></patientType>'
SET = '<setId root="2.16.156.10011.1.1" extension="S-1"/><versionNumber value="{}"/>'
REPLACES = """<relatedDocument typeCode="RPLC"><parentDocument>{}</parentDocument></relatedDocument>"""


def test_the_patient_comes_first_with_what_tells_who_it_is():
    result = mapped(document(ids=INPATIENT + RECORD))

    patient = result.drafts[0]

    assert patient.type == "Patient"
    assert [(one["system"], one["value"]) for one in patient.resource["identifier"]] == [
        ("urn:kangshu:institution:H9901:patient", "BA-1"),
        ("urn:oid:2.16.156.10011.1.3", "990101199003070017"),
    ]
    assert patient.resource["name"] == [{"text": "测试甲"}]
    assert (patient.resource["gender"], patient.resource["birthDate"]) == ("male", "1990-03-07")
    assert patient.resource["telecom"] == [{"system": "phone", "value": "13900000000", "use": "mobile"}]
    assert all(draft.patient == patient.id for draft in result.drafts)


def test_the_subject_is_read_from_the_patient():
    authorities = load_authorities(BASE / "authorities.toml")

    subject = subject_of(
        mapped(document(ids=RECORD)).drafts[0].resource, sender="H9901", authorities=authorities
    )

    assert {(one.kind.value, one.issuer) for one in subject.identifiers} == {
        ("local-number", "H9901"),
        ("resident-number", None),
    }
    assert subject.name == "测试甲"


def test_the_same_patient_and_visit_in_two_documents_are_the_same_resources():
    first, second = mapped(document(number="D-1")), mapped(document(number="D-2", code="C0032"))

    assert one(first, "Patient")["id"] == one(second, "Patient")["id"]
    assert one(first, "Encounter")["id"] == one(second, "Encounter")["id"]
    assert one(first, "DocumentReference")["id"] != one(second, "DocumentReference")["id"]
    assert first.order_key == second.order_key != ""


def test_ids_follow_from_the_keys_that_other_formats_use():
    result = mapped(document(ids=INPATIENT + RECORD))

    assert one(result, "Patient")["id"] == make_id(
        "Patient", "H9901|patient|urn:kangshu:institution:H9901:patient|BA-1"
    )
    assert one(result, "Encounter")["id"] == make_id("Encounter", "H9901|encounter|ZY-1")


def test_a_root_that_nobody_declared_names_nobody_in_a_chinese_document():
    unknown = '<id root="1.2.156.999.1" extension="DOMAIN-1"/>'

    result = mapped(document(ids=INPATIENT + unknown))

    assert "DOMAIN-1" not in str(one(result, "Patient"))
    assert any("根没有声明" in note for note in notes(result))


def test_a_root_names_the_patient_in_an_international_document():
    result = mapped(document(ids='<id root="1.2.840.999.1" extension="P-1"/>', person="", realm="US"))

    assert one(result, "Patient")["identifier"] == [{"system": "urn:oid:1.2.840.999.1", "value": "P-1"}]


def test_without_any_number_the_document_is_refused():
    with pytest.raises(MappingError) as caught:
        mapped(document(ids="", person=""))

    assert caught.value.place == "ClinicalDocument/recordTarget/patientRole/id"


def test_a_visit_number_alone_tells_of_one_person_and_claims_no_identifier():
    result = mapped(document(person=""))

    assert "identifier" not in one(result, "Patient")
    assert one(result, "Encounter")["identifier"][0]["value"] == "ZY-1"


def test_a_template_that_was_not_filled_in_is_refused():
    with pytest.raises(MappingError) as caught:
        mapped(document(person='<id root="2.16.156.10011.1.3" extension="${patient.id!}"/>'))

    assert caught.value.place == "ClinicalDocument/recordTarget/patientRole/patient/id/@extension"


def test_the_visit_has_its_number_class_time_and_department():
    visit = (
        '<code displayName="入院日期时间"/><effectiveTime><low value="20250101"/><high value="20250109"/></effectiveTime>'
        + WARD
    )

    encounter = one(mapped(document(code="C0032", visit=visit)), "Encounter")

    assert encounter["identifier"] == [{"system": "urn:kangshu:institution:H9901:visit", "value": "ZY-1"}]
    assert encounter["class"]["code"] == "IMP"
    assert encounter["period"] == {"start": "2025-01-01", "end": "2025-01-09"}
    assert encounter["status"] == "finished"
    assert encounter["serviceType"] == {"text": "内科"}
    assert encounter["location"] == [{"location": {"display": "七病区 / 内科"}}]
    assert encounter["serviceProvider"]["identifier"]["value"] == "H9901"


def test_a_time_that_is_not_the_visits_is_left_out():
    visit = '<code displayName="讨论日期时间"/><effectiveTime value="20250105"/>'

    result = mapped(document(code="C0040", visit=visit))

    assert "period" not in one(result, "Encounter")
    assert "period" not in one(result, "DocumentReference")["context"]


@pytest.mark.parametrize(("patient_type", "number"), [("1", "MZ-1"), ("2", "MZ-1"), ("3", "ZY-1")])
def test_of_two_numbers_the_patient_type_tells_which_visit(patient_type, number):
    data = document(ids=OUTPATIENT + INPATIENT, patient_type=TYPE.format(patient_type), code="C0007")

    assert one(mapped(data), "Encounter")["identifier"][0]["value"] == number


def test_of_two_numbers_without_a_patient_type_none_is_guessed():
    result = mapped(document(ids=OUTPATIENT + INPATIENT, code="C0007"))

    assert resources(result, "Encounter") == []
    assert any("无法判断" in note for note in notes(result))


def test_a_count_of_visits_is_no_visit_number():
    visit = '<id root="1.2.156.999.7" extension="3"/><effectiveTime value="20250101"/>'

    assert resources(mapped(document(ids=RECORD, visit=visit)), "Encounter") == []


def test_the_reference_says_what_the_document_is_and_where_it_is_kept():
    result = mapped(document(code="C0007", title="检验报告", header=SET.format(1)))

    reference = one(result, "DocumentReference")
    (content,) = reference["content"]

    assert reference["masterIdentifier"] == {"system": "urn:oid:2.16.156.10011.1.1", "value": "D-1"}
    assert reference["identifier"] == [{"system": "urn:oid:2.16.156.10011.1.1", "value": "S-1"}]
    assert reference["type"]["coding"] == [
        {"system": "urn:oid:2.16.156.10011.2.4", "code": "C0007", "display": "检验报告"}
    ]
    assert (reference["status"], reference["docStatus"]) == ("current", "final")
    assert reference["date"] == "2025-01-02T09:00:00+08:00"
    assert reference["author"] == [
        {"display": "医生乙", "identifier": {"system": "urn:oid:2.16.156.10011.1.7", "value": "DR-1"}}
    ]
    assert reference["custodian"]["display"] == "虚构医院"
    assert content["attachment"]["url"] == f"Binary/{reference['id']}"
    assert content["attachment"]["size"] == len(
        document(code="C0007", title="检验报告", header=SET.format(1))
    )
    assert reference["context"]["encounter"] == [{"reference": f"Encounter/{one(result, 'Encounter')['id']}"}]


def test_times_without_a_zone_are_in_that_of_the_document():
    visit = '<effectiveTime value="20250101080000"/>'
    data = document(code="C0032", visit=visit).replace(b'"20250102090000"', b'"20250102090000-0500"')

    assert one(mapped(data), "Encounter")["period"] == {"start": "2025-01-01T08:00:00-05:00"}
    assert one(mapped(document(code="C0032", visit=visit)), "Encounter")["period"] == {
        "start": "2025-01-01T08:00:00+08:00"
    }


def test_a_replacing_document_points_at_the_one_it_replaces():
    old = one(mapped(document(number="D-1")), "DocumentReference")
    header = REPLACES.format('<id root="2.16.156.10011.1.1" extension="D-1"/>')

    new = one(mapped(document(number="D-2", header=header)), "DocumentReference")

    assert new["relatesTo"] == [
        {"code": "replaces", "target": {"reference": f"DocumentReference/{old['id']}"}}
    ]
    assert new["docStatus"] == "amended"


def test_a_replaced_set_without_a_documents_number_is_named():
    header = REPLACES.format('<setId root="2.16.156.10011.1.1" extension="S-1"/><versionNumber value="1"/>')

    reference = one(mapped(document(header=header)), "DocumentReference")

    assert reference["relatesTo"][0]["target"] == {
        "identifier": {"system": "urn:oid:2.16.156.10011.1.1", "value": "S-1"}
    }


def test_a_withdrawn_document_is_an_error_and_says_nothing_more():
    diagnosis = section(observation("DE05.01.024.00", coded("I10.x00", "高血压")))

    result = mapped(document(diagnosis, header=SET.format(-1)))

    assert one(result, "DocumentReference")["status"] == "entered-in-error"
    assert resources(result, "Condition") == []


def test_a_class_that_nobody_declared_is_kept_as_a_document():
    result = mapped(document(code="X0001"))

    assert one(result, "DocumentReference")["type"]["text"] == "文档"
    assert any("类别没有声明" in note for note in notes(result))


def test_a_template_of_another_class_is_noted():
    template = '<templateId root="2.16.156.10011.2.1.1.27"/>'

    assert any("模板标识" in note for note in notes(mapped(document(code="C0006", template=template))))
    assert notes(mapped(document(code="C0007", template=template))) == []


def test_all_fifty_three_shared_documents_are_declared():
    chinese = [known for known in MAPPING.classes if known.system == "urn:oid:2.16.156.10011.2.4"]

    assert [known.code for known in chinese] == [f"C{number:04}" for number in range(1, 54)]
    assert [known.template for known in chinese] == [
        f"2.16.156.10011.2.1.1.{number + 20}" for number in range(1, 54)
    ]
    assert all(known.title.zh != known.title.en for known in chinese)
    assert {known.code for known in chinese if known.report} == {"C0006", "C0007"}
