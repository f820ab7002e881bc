"""What visits become, event by event. All people in these tests are synthetic."""

import pytest
from hl7v2_messages import PATIENT, VISIT, mapped, only, resources

DISCHARGED = "PV1|1|I|||||||||||||||||V1" + "|" * 25 + "20240101080000|20240105100000"


def visit_after(event: str, pv1: str = VISIT, *more: str):
    return only(
        mapped(f"ADT^{event}", f"EVN|{event}|20240105||||20240105090000", PATIENT, pv1, *more), "Encounter"
    )


@pytest.mark.parametrize(
    ("event", "pv1", "status"),
    [
        ("A01", VISIT, "in-progress"),
        ("A02", VISIT, "in-progress"),
        ("A03", VISIT, "finished"),
        ("A03", DISCHARGED, "finished"),
        ("A04", "PV1|1|O|||||||||||||||||V1", "in-progress"),
        ("A05", "PV1|1|P|||||||||||||||||V1", "planned"),
        ("A08", VISIT, "in-progress"),
        ("A08", DISCHARGED, "finished"),
        ("A11", VISIT, "cancelled"),
        ("A12", VISIT, "in-progress"),
        ("A13", DISCHARGED, "in-progress"),
        ("A21", VISIT, "onleave"),
        ("A23", VISIT, "entered-in-error"),
        ("A27", VISIT, "cancelled"),
        ("A38", VISIT, "cancelled"),
        ("ZP1", VISIT, "in-progress"),
    ],
)
def test_a_visit_shows_as_what_the_event_says(event, pv1, status):
    assert visit_after(event, pv1)["status"] == status


def test_a_cancelled_discharge_takes_the_end_away():
    assert visit_after("A03", DISCHARGED)["period"]["end"] == "2024-01-05T10:00:00+08:00"
    assert visit_after("A13", DISCHARGED)["period"] == {"start": "2024-01-01T08:00:00+08:00"}


def test_the_times_of_the_event_stand_in_where_the_visit_tells_none():
    assert visit_after("A01")["period"] == {"start": "2024-01-05T09:00:00+08:00"}
    assert visit_after("A03")["period"] == {"end": "2024-01-05T09:00:00+08:00"}


def test_an_end_before_the_start_is_left_out():
    pv1 = "PV1|1|I|||||||||||||||||V1" + "|" * 25 + "20240105|20240101"

    assert visit_after("A08", pv1)["period"] == {"start": "2024-01-05"}


def test_events_about_one_visit_number_are_one_visit():
    admitted, moved = visit_after("A01"), visit_after("A02", "PV1|1|I|04^0401^1|||03^0301^12|||||||||||||V1")

    assert admitted["id"] == moved["id"]
    assert [(one["location"]["display"], one["status"]) for one in moved["location"]] == [
        ("04 0401 1", "active"),
        ("03 0301 12", "completed"),
    ]


def test_without_a_visit_number_the_patient_and_the_admission_name_the_visit():
    pv1 = "PV1|1|I" + "|" * 42 + "20240101080000"

    assert visit_after("A01", pv1)["id"] == visit_after("A03", pv1)["id"]


def test_an_update_that_names_no_visit_makes_none():
    assert resources(mapped("ADT^A31", PATIENT, "PV1|1|N"), "Encounter") == []


def test_staff_are_named_with_their_number_and_part():
    participant = visit_after("A01")["participant"][0]

    assert participant["type"][0]["coding"][0]["code"] == "ATND"
    assert participant["individual"] == {
        "type": "Practitioner",
        "identifier": {"system": "urn:kangshu:institution:H0001:staff", "value": "D1"},
        "display": "李四",
    }


@pytest.mark.parametrize(
    ("sent", "code"), [("I", "IMP"), ("O", "AMB"), ("E", "EMER"), ("门诊", "AMB"), ("T", "T"), ("", "UNK")]
)
def test_the_class_of_a_visit_is_kept_even_where_it_is_the_senders_own(sent, code):
    assert visit_after("A01", f"PV1|1|{sent}|||||||||||||||||V1")["class"]["code"] == code


def test_diagnoses_are_conditions_that_the_visit_names():
    result = mapped(
        "ADT^A01",
        PATIENT,
        VISIT,
        "DG1|1||I10.x00^原发性高血压^ICD10|高血压病|20240105|A|||||||||1|D1^李^四",
        "DG1|2||E11.9^2型糖尿病^ICD-10||20240105|F|||||||||2",
        "DG1|3",
    )
    first, second = resources(result, "Condition")
    diagnoses = only(result, "Encounter")["diagnosis"]

    assert first["code"] == {
        "coding": [
            {"system": "urn:oid:2.16.156.10011.2.3.3.11", "code": "I10.x00", "display": "原发性高血压"}
        ],
        "text": "高血压病",
    }
    assert second["verificationStatus"]["coding"][0]["code"] == "confirmed"
    assert [one["condition"]["reference"] for one in diagnoses] == [
        f"Condition/{first['id']}",
        f"Condition/{second['id']}",
    ]
    assert [(one["use"]["coding"][0]["code"], one["rank"]) for one in diagnoses] == [("AD", 1), ("DD", 2)]


def test_a_deleted_diagnosis_is_an_error_and_not_a_disease():
    dg1 = "DG1|1||I10^高血压^I10" + "|" * 18 + "D"
    condition = only(mapped("ADT^A08", PATIENT, VISIT, dg1), "Condition")

    assert condition["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    assert condition["code"]["coding"][0]["system"] == "http://hl7.org/fhir/sid/icd-10"


def test_allergies_tell_kind_severity_and_reaction():
    result = mapped(
        "ADT^A08", PATIENT, "AL1|1|DA|01^青霉素|SV|皮疹~呼吸困难|20200101", "IAM|2|FA|02^花生|MI||D"
    )
    penicillin, peanut = resources(result, "AllergyIntolerance")

    assert penicillin["category"] == ["medication"]
    assert penicillin["criticality"] == "high"
    assert [one["text"] for one in penicillin["reaction"][0]["manifestation"]] == ["皮疹", "呼吸困难"]
    assert peanut["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    assert "clinicalStatus" not in peanut


def test_operations_have_their_period_and_their_surgeon():
    pr1 = "PR1|1||54.2101^腹腔镜检查^ICD9CM3||20240105090000||90|D2^王^五|||D1^李^四"
    procedure = only(mapped("BAR^P01", PATIENT, VISIT, pr1), "Procedure")

    assert procedure["status"] == "completed"
    assert procedure["code"]["coding"][0]["system"] == "urn:oid:2.16.156.10011.2.3.3.12"
    assert procedure["performedPeriod"] == {
        "start": "2024-01-05T09:00:00+08:00",
        "end": "2024-01-05T10:30:00+08:00",
    }
    assert [one["actor"]["display"] for one in procedure["performer"]] == ["李四", "王五"]


def test_insurance_names_plan_payer_and_number():
    in1 = (
        "IN1|1|310^城镇职工基本医疗保险|YB01|某市医保局||||||||20240101|20241231||职工医保"
        + "|" * 21
        + "YB0001"
    )
    coverage = only(mapped("ADT^A04", PATIENT, in1), "Coverage")

    assert coverage["payor"] == [{"type": "Organization", "display": "某市医保局"}]
    assert coverage["subscriberId"] == "YB0001"
    assert coverage["period"] == {"start": "2024-01-01", "end": "2024-12-31"}


def test_problems_are_conditions_of_the_list():
    result = mapped(
        "PPR^PC1", PATIENT, "PRB|AD|20240101|I10^高血压^I10|PB1|||20200101||20240101", "NTE|1||已控制"
    )
    condition = only(result, "Condition")

    assert condition["category"][0]["coding"][0]["code"] == "problem-list-item"
    assert condition["clinicalStatus"]["coding"][0]["code"] == "resolved"
    assert condition["note"] == [{"text": "已控制"}]


def test_charges_give_what_maps_safely_and_note_the_rest():
    result = mapped("DFT^P03", PATIENT, VISIT, "FT1|1|||20240105||CG|挂号费")

    assert {draft.type for draft in result.drafts} == {"Patient", "Encounter"}
    assert [note.place for note in result.notes] == ["FT1"]
