"""What orders, drugs, vaccinations, plans and documents become. All people in these tests are synthetic."""

import base64

import pytest
from hl7v2_messages import PATIENT, VISIT, mapped, noted, only, resources


def test_an_order_names_what_why_and_who():
    result = mapped(
        "ORM^O01",
        PATIENT,
        VISIT,
        "ORC|NW|P1||G1|||^^^20240106||20240105|||D1^李^四",
        "OBR|1|P1||CT01^头颅CT平扫|S" + "|" * 26 + "头痛",
        "NTE|1||对比剂过敏史待查",
    )
    order = only(result, "ServiceRequest")

    assert (order["status"], order["intent"], order["priority"]) == ("active", "order", "stat")
    assert order["code"]["coding"][0]["display"] == "头颅CT平扫"
    assert order["reasonCode"] == [{"text": "头痛"}]
    assert order["requester"]["display"] == "李四"
    assert order["note"] == [{"text": "对比剂过敏史待查"}]
    assert order["authoredOn"] == "2024-01-05"


@pytest.mark.parametrize(
    ("control", "state", "status"),
    [("NW", "", "active"), ("CA", "", "revoked"), ("CA", "IP", "revoked"), ("DC", "", "revoked"),
     ("OH", "", "on-hold"), ("SC", "CM", "completed"), ("SC", "HD", "on-hold"),
     ("DE", "", "entered-in-error")],
)  # fmt: skip
def test_an_order_shows_as_what_became_of_it(control, state, status):
    result = mapped("ORM^O01", PATIENT, f"ORC|{control}|P1|||{state}", "OBR|1|P1||CT01")

    assert only(result, "ServiceRequest")["status"] == status


def test_a_cancellation_without_its_details_is_about_the_same_order():
    ordered = mapped("ORM^O01", PATIENT, "ORC|NW|P1", "OBR|1|P1||CT01")
    cancelled = mapped("ORM^O01", PATIENT, "ORC|CA|P1", control="M2")

    assert only(ordered, "ServiceRequest")["id"] == only(cancelled, "ServiceRequest")["id"]


def test_laboratory_orders_carry_specimens_and_answers():
    result = mapped(
        "OML^O21", PATIENT, "ORC|NW|P1", "OBR|1|P1||A", "OBX|1|NM|W^体重||60|kg", "SPM|1|S1||BLD^全血"
    )
    order = only(result, "ServiceRequest")

    assert order["specimen"][0]["reference"] == f"Specimen/{only(result, 'Specimen')['id']}"
    assert order["supportingInfo"][0]["reference"] == f"Observation/{only(result, 'Observation')['id']}"


def test_a_prescription_tells_drug_dose_way_and_amount():
    result = mapped(
        "RDE^O11",
        PATIENT,
        VISIT,
        "ORC|NW|RX1||||||||20240105|||D1^李^四",
        "RXE|^TID^^20240105^20240112|D01^阿莫西林胶囊|0.5||g|||||21|粒||||RXN1||||||饭后",
        "RXR|PO^口服",
        "NTE|1||过敏即停",
    )
    request = only(result, "MedicationRequest")
    (dosage,) = request["dosageInstruction"]

    assert request["medicationCodeableConcept"]["text"] == "阿莫西林胶囊"
    assert dosage["doseAndRate"] == [{"doseQuantity": {"value": pytest.approx(0.5), "unit": "g"}}]
    assert dosage["timing"]["code"] == {"text": "TID"}
    assert dosage["timing"]["repeat"]["boundsPeriod"] == {"start": "2024-01-05", "end": "2024-01-12"}
    assert dosage["route"]["coding"][0]["code"] == "PO"
    assert request["dispenseRequest"]["quantity"]["unit"] == "粒"
    assert request["note"] == [{"text": "过敏即停"}]


@pytest.mark.parametrize(("control", "status"), [("NW", "active"), ("CA", "cancelled"), ("DC", "stopped")])
def test_a_prescription_shows_as_what_became_of_it(control, status):
    result = mapped("RDE^O11", PATIENT, f"ORC|{control}|RX1", "RXE||D01^药|1||片")

    assert only(result, "MedicationRequest")["status"] == status


def test_a_drug_order_before_the_pharmacy_is_a_prescription_too():
    result = mapped(
        "ORM^O01", PATIENT, "ORC|NW|RX1", "RXO|D01^药|1|2|片", "RXR|IV", "ORC|NW|P2", "OBR|1|P2||CT01"
    )

    assert only(result, "MedicationRequest")["intent"] == "original-order"
    assert only(result, "ServiceRequest")["code"]["coding"][0]["code"] == "CT01"


def test_dispensing_and_giving_point_to_the_prescription():
    dispensed = mapped(
        "RDS^O13", PATIENT, "ORC|RE|RX1", "RXE||D01^药|1||片", "RXD|1|D01^药|20240105|20|片|||RXN1"
    )
    given = mapped(
        "RAS^O17", PATIENT, "ORC|RE|RX1", "RXO|D01^药|1", "RXA|0|1|20240105083000||D01^药|1|片", "RXR|PO"
    )

    prescription = f"MedicationRequest/{only(dispensed, 'MedicationRequest')['id']}"
    assert only(dispensed, "MedicationDispense")["authorizingPrescription"] == [{"reference": prescription}]
    administration = only(given, "MedicationAdministration")
    assert administration["request"]["reference"] == prescription
    assert administration["effectiveDateTime"] == "2024-01-05T08:30:00+08:00"


def vaccination(rxa_end: str = "|CP|A"):
    return mapped(
        "VXU^V04",
        PATIENT,
        "ORC|RE||V100",
        "RXA|0|1|20240105||08^乙型肝炎疫苗^CVX|0.5|mL||00^New^NIP001|N1^钱^七|||||LOT1|20251231|某生物制品厂"
        + rxa_end,
        "RXR|IM|LA",
        "OBX|1|NM|30973-2^剂次^LN||2",
        "OBX|2|CE|64994-7^资格^LN||V01",
        "OBX|3|ST|X^反应||无",
    )


def test_a_vaccination_tells_vaccine_batch_place_and_dose_number():
    result = vaccination("||A")
    shot = only(result, "Immunization")

    assert shot["status"] == "completed"
    assert shot["vaccineCode"]["coding"][0]["system"] == "http://hl7.org/fhir/sid/cvx"
    assert (shot["lotNumber"], shot["expirationDate"]) == ("LOT1", "2025-12-31")
    assert shot["protocolApplied"] == [{"doseNumberPositiveInt": 2}]
    assert shot["site"]["coding"][0]["code"] == "LA"
    assert only(result, "Observation")["partOf"] == [{"reference": f"Immunization/{shot['id']}"}]


@pytest.mark.parametrize(
    ("end", "status"),
    [("|||CP|A", "completed"), ("|||RE|A", "not-done"), ("|||CP|D", "entered-in-error")],
)  # fmt: skip
def test_a_vaccination_shows_as_what_became_of_it(end, status):
    assert only(vaccination(end), "Immunization")["status"] == status


def test_vaccinations_of_two_people_under_one_placeholder_stay_apart():
    one = mapped("VXU^V04", "PID|||P1", "ORC|RE||9999", "RXA|0|1|20240105||998^无^CVX|999")
    other = mapped("VXU^V04", "PID|||P2", "ORC|RE||9999", "RXA|0|1|20240105||998^无^CVX|999")

    assert only(one, "Immunization")["id"] != only(other, "Immunization")["id"]


def appointment(event: str, *, status: str = "", times: str = "^^30^20240110090000^20240110093000"):
    sch = f"SCH|PA1|FA1||||复诊||门诊|30|min|{times}" + "|" * 14 + status
    return mapped(
        f"SIU^{event}", sch, PATIENT, "RGS|1", "AIS|1||C01^内科", "AIP|1||D1^李^四", "AIL|1||^一诊室"
    )


@pytest.mark.parametrize(
    ("event", "told", "status"),
    [("S12", "", "booked"), ("S12", "Pending", "pending"), ("S13", "", "booked"),
     ("S15", "Booked", "cancelled"), ("S17", "", "entered-in-error"), ("S26", "", "noshow"),
     ("S14", "Complete", "fulfilled")],
)  # fmt: skip
def test_an_appointment_shows_as_what_became_of_it(event, told, status):
    assert only(appointment(event, status=told), "Appointment")["status"] == status


def test_an_appointment_knows_its_patient_who_comes_after_it():
    result = appointment("S12")
    found = only(result, "Appointment")
    actors = [one["actor"].get("reference") or one["actor"]["display"] for one in found["participant"]]

    assert (found["start"], found["end"]) == ("2024-01-10T09:00:00+08:00", "2024-01-10T09:30:00+08:00")
    assert actors == [f"Patient/{only(result, 'Patient')['id']}", "李四", "一诊室"]
    assert {draft.patient for draft in result.drafts} == {only(result, "Patient")["id"]}


def test_the_end_follows_from_start_and_length():
    sch = "SCH|PA1|FA1|||||复诊||45|min"
    found = only(mapped("SIU^S12", sch, PATIENT, "AIS|1||C01|20240110090000"), "Appointment")

    assert found["end"] == "2024-01-10T09:45:00+08:00"


def test_an_appointment_without_a_time_is_only_proposed():
    result = appointment("S12", times="")

    assert only(result, "Appointment")["status"] == "proposed"
    assert noted(result)


def test_moving_an_appointment_is_the_same_appointment():
    booked = only(appointment("S12"), "Appointment")
    moved = only(appointment("S13", times="^^30^20240111090000^20240111093000"), "Appointment")

    assert booked["id"] == moved["id"]
    assert moved["start"].startswith("2024-01-11")


def document(event: str, *, parent: str = "", availability: str = "AV"):
    txa = f"TXA|1|DS^出院小结|TX|20240105|D1^李^四|20240105100000||||||DOC1|{parent}||||AU||{availability}"
    txa += "||||||出院小结"
    return mapped(f"MDM^{event}", PATIENT, VISIT, txa, "OBX|1|TX|1||第一行", "OBX|2|TX|2||第二行")


def test_the_lines_of_a_document_are_its_content():
    found = only(document("T02"), "DocumentReference")
    (content,) = found["content"]

    assert base64.b64decode(content["attachment"]["data"]).decode() == "第一行\n第二行"
    assert (found["status"], found["docStatus"]) == ("current", "final")
    assert found["masterIdentifier"]["value"] == "DOC1"
    assert found["date"] == "2024-01-05T10:00:00+08:00"
    assert found["description"] == "出院小结"


@pytest.mark.parametrize(
    ("event", "availability", "status"),
    [("T02", "AV", "current"), ("T11", "AV", "entered-in-error"), ("T03", "OB", "superseded"),
     ("T03", "CA", "entered-in-error")],
)  # fmt: skip
def test_a_document_shows_as_what_became_of_it(event, availability, status):
    assert only(document(event, availability=availability), "DocumentReference")["status"] == status


@pytest.mark.parametrize(("event", "relation"), [("T10", "replaces"), ("T06", "appends")])
def test_a_document_says_which_one_it_follows(event, relation):
    (related,) = only(document(event, parent="DOC0"), "DocumentReference")["relatesTo"]

    assert (related["code"], related["target"]["identifier"]["value"]) == (relation, "DOC0")


def test_a_referral_says_from_whom_to_whom_and_why():
    result = mapped(
        "REF^I12",
        "RF1|A|A|^内科||O|R1||||原因",
        "PRD|RP|王^五",
        "PRD|RT|李^四",
        PATIENT,
        "DG1|1||I10^高血压^I10",
    )
    request = only(result, "ServiceRequest")

    assert request["subject"]["reference"] == f"Patient/{only(result, 'Patient')['id']}"
    assert (request["requester"]["display"], request["performer"][0]["display"]) == ("王五", "李四")
    assert len(resources(result, "Condition")) == 1


def test_a_message_of_an_unknown_kind_still_gives_the_patient_and_a_note():
    result = mapped("ZZZ^Z01", PATIENT, "ZAB|1|x")

    assert [draft.type for draft in result.drafts] == ["Patient"]
    assert noted(result) == {"MSH-9", "ZAB"}


@pytest.mark.parametrize("kind", ["QBP^Q22", "ACK^A01", "MFN^M02"])
def test_queries_and_answers_become_nothing(kind):
    assert mapped(kind, "QPD|Q22|1").drafts == ()
