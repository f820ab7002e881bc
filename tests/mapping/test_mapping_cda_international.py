"""What the coded entries of C-CDA documents become. All people and numbers are made up."""

# ruff: noqa: E501 - documents are easier to read unbroken

from decimal import Decimal

import pytest
from cda_documents import document, mapped, one, resources

PATIENT = '<id root="1.2.840.999.1" extension="P-1"/>'
T = "2.16.840.1.113883.10.20.22.4"
SNOMED = 'codeSystem="2.16.840.1.113883.6.96"'


def ccda(*entries, code="11450-4"):
    inner = "".join(f"<entry>{entry}</entry>" for entry in entries)
    body = f'<component><section><code code="{code}" codeSystem="2.16.840.1.113883.6.1"/><text/>{inner}</section></component>'
    return mapped(
        document(body, code="34133-9", system="2.16.840.1.113883.6.1", ids=PATIENT, person="", realm="US")
    )


def problem(
    *, negated=False, status="active", high="", code="38341003", display="Hypertension", outer="3", inner=""
):
    end = f'<high value="{high}"/>' if high else ""
    return f"""<act classCode="ACT" moodCode="EVN"><templateId root="{T}.{outer}" extension="2015-08-01"/>
      <code code="CONC" codeSystem="2.16.840.1.113883.5.6"/><statusCode code="{status}"/><entryRelationship typeCode="SUBJ">
      <observation classCode="OBS" moodCode="EVN" {'negationInd="true"' if negated else ""}><templateId root="{T}.4"/>
      <id root="ab1791b0-5c71-11db-b0de-0800200c9a66"/><code code="55607006" {SNOMED}/><statusCode code="completed"/>
      <effectiveTime><low value="20200301"/>{end}</effectiveTime>
      <value xsi:type="CD" code="{code}" {SNOMED} displayName="{display}">
        <translation code="I10" codeSystem="2.16.840.1.113883.6.90" displayName="Essential hypertension"/></value>
      {inner}</observation></entryRelationship></act>"""


def test_a_problem_is_a_condition_with_all_its_codes_and_its_onset():
    condition = one(ccda(problem()), "Condition")

    assert [(c["system"], c["code"]) for c in condition["code"]["coding"]] == [
        ("http://snomed.info/sct", "38341003"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "I10"),
    ]
    assert condition["onsetDateTime"] == "2020-03-01"
    assert condition["clinicalStatus"]["coding"][0]["code"] == "active"
    assert condition["category"][0]["coding"][0]["code"] == "problem-list-item"


@pytest.mark.parametrize(("high", "status", "told"), [("20210101", "active", "resolved"), ("", "completed", "resolved"), ("", "suspended", "inactive")])  # fmt: skip
def test_what_is_over_is_told(high, status, told):
    condition = one(ccda(problem(high=high, status=status)), "Condition")

    assert condition["clinicalStatus"]["coding"][0]["code"] == told


def test_a_problem_that_somebody_does_not_have_is_refuted_and_no_problems_are_nothing():
    assert (
        one(ccda(problem(negated=True)), "Condition")["verificationStatus"]["coding"][0]["code"] == "refuted"
    )
    assert resources(ccda(problem(negated=True, code="55607006")), "Condition") == []


def test_a_risk_is_no_problem_and_a_diagnosis_of_a_visit_is():
    assert resources(ccda(problem(outer="136")), "Condition") == []
    visit = one(ccda(problem(outer="80")), "Condition")
    assert visit["category"][0]["coding"][0]["code"] == "encounter-diagnosis"


def allergy(*, negated=False, substance='code="7980" codeSystem="2.16.840.1.113883.6.88" displayName="Penicillin G"', status="active"):  # fmt: skip
    agent = f"""<participant typeCode="CSM"><participantRole classCode="MANU"><playingEntity classCode="MMAT">
      <code {substance}/></playingEntity></participantRole></participant>"""
    return f"""<act classCode="ACT" moodCode="EVN"><templateId root="{T}.30"/><statusCode code="{status}"/>
      <entryRelationship typeCode="SUBJ"><observation classCode="OBS" moodCode="EVN" {'negationInd="true"' if negated else ""}>
      <templateId root="{T}.7"/><statusCode code="completed"/><effectiveTime><low value="2010"/></effectiveTime>
      <value xsi:type="CD" code="416098002" {SNOMED}/>{agent}
      <entryRelationship typeCode="MFST"><observation classCode="OBS" moodCode="EVN"><templateId root="{T}.9"/>
        <value xsi:type="CD" code="247472004" {SNOMED} displayName="Hives"/><entryRelationship typeCode="SUBJ">
        <observation classCode="OBS" moodCode="EVN"><templateId root="{T}.8"/>
        <value xsi:type="CD" code="24484000" {SNOMED}/></observation></entryRelationship></observation></entryRelationship>
      </observation></entryRelationship></act>"""


def test_an_allergy_has_its_substance_and_its_reactions():
    found = one(ccda(allergy(), code="48765-2"), "AllergyIntolerance")

    assert found["code"]["coding"][0]["system"] == "http://www.nlm.nih.gov/research/umls/rxnorm"
    assert (found["type"], found["category"]) == ("allergy", ["medication"])
    assert found["reaction"] == [
        {
            "manifestation": [
                {"coding": [{"system": "http://snomed.info/sct", "code": "247472004", "display": "Hives"}], "text": "Hives"}
            ],
            "severity": "severe",
        }
    ]  # fmt: skip


def test_no_known_allergy_is_said_as_such_and_a_denied_one_is_refuted():
    none = one(ccda(allergy(negated=True, substance='nullFlavor="NA"')), "AllergyIntolerance")
    denied = one(ccda(allergy(negated=True)), "AllergyIntolerance")

    assert none["code"]["coding"][0]["code"] == "716186003"
    assert "verificationStatus" not in none
    assert denied["verificationStatus"]["coding"][0]["code"] == "refuted"


def test_an_allergy_entered_in_error_has_no_clinical_status():
    found = one(ccda(allergy(status="nullified")), "AllergyIntolerance")

    assert found["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    assert "clinicalStatus" not in found


def result(value, *, status="completed", extra=""):
    return f"""<component><observation classCode="OBS" moodCode="EVN"><templateId root="{T}.2"/>
      <code code="718-7" codeSystem="2.16.840.1.113883.6.1" displayName="Hemoglobin"/><statusCode code="{status}"/>
      <effectiveTime value="20250102"/>{value}{extra}</observation></component>"""


def panel(*members):
    return f"""<organizer classCode="BATTERY" moodCode="EVN"><templateId root="{T}.1"/>
      <code code="58410-2" codeSystem="2.16.840.1.113883.6.1" displayName="CBC"/><statusCode code="completed"/>{"".join(members)}</organizer>"""


def test_results_of_a_panel_are_observations_of_one_report():
    extra = """<interpretationCode code="L" codeSystem="2.16.840.1.113883.5.83"/><referenceRange><observationRange>
      <text>12-15</text><value xsi:type="IVL_PQ"><low value="12" unit="g/dL"/><high value="15" unit="g/dL"/></value>
      </observationRange></referenceRange>"""

    found = ccda(
        panel(result('<value xsi:type="PQ" value="10.20" unit="g/dL"/>', extra=extra)), code="30954-2"
    )
    observation, report = one(found, "Observation"), one(found, "DiagnosticReport")

    assert observation["valueQuantity"]["value"] == Decimal("10.20")
    assert observation["interpretation"][0]["coding"][0]["code"] == "L"
    assert observation["referenceRange"][0]["low"]["value"] == 12
    assert observation["referenceRange"][0]["text"] == "12-15"
    assert report["result"] == [{"reference": f"Observation/{observation['id']}"}]
    assert report["code"]["coding"][0]["code"] == "58410-2"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('<value xsi:type="IVL_PQ"><high value="0.01" unit="ng/mL" inclusive="false"/></value>', ("valueQuantity", "comparator", "<")),
        ('<value xsi:type="IVL_PQ"><low value="1" unit="g"/><high value="2" unit="g"/></value>', ("valueRange", "low", {"value": 1, "unit": "g", "system": "http://unitsofmeasure.org", "code": "g"})),
        ('<value xsi:type="INT" value="5"/>', ("valueQuantity", "value", 5)),
        ('<value xsi:type="CD" code="260373001" codeSystem="2.16.840.1.113883.6.96" displayName="Detected"/>', ("valueCodeableConcept", "text", "Detected")),
        ('<value xsi:type="CD" nullFlavor="NASK"/>', ("dataAbsentReason", "coding", [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "not-asked"}])),
    ],
)  # fmt: skip
def test_every_kind_of_value_has_its_place(value, expected):
    name, key, content = expected

    assert one(ccda(panel(result(value))), "Observation")[name][key] == content


def test_what_is_pending_or_withdrawn_is_told():
    states = [
        one(ccda(panel(result('<value xsi:type="ST">x</value>', status=status))), "Observation")["status"]
        for status in ("active", "aborted", "nullified")
    ]

    assert states == ["preliminary", "cancelled", "entered-in-error"]


def medication(*, mood="EVN", status="active", negated=False, template="16"):
    return f"""<substanceAdministration classCode="SBADM" moodCode="{mood}" {'negationInd="true"' if negated else ""}>
      <templateId root="{T}.{template}"/><statusCode code="{status}"/>
      <effectiveTime xsi:type="IVL_TS"><low value="20250101"/><high value="20250110"/></effectiveTime>
      <effectiveTime xsi:type="PIVL_TS" operator="A"><period value="6" unit="h"/></effectiveTime>
      <routeCode code="C38288" codeSystem="2.16.840.1.113883.3.26.1.1" displayName="Oral"/>
      <doseQuantity value="1"/><consumable><manufacturedProduct><manufacturedMaterial>
      <code code="197806" codeSystem="2.16.840.1.113883.6.88" displayName="Ibuprofen 600 MG"/></manufacturedMaterial>
      </manufacturedProduct></consumable></substanceAdministration>"""


def test_a_medication_is_a_statement_with_time_dose_and_rhythm():
    statement = one(ccda(medication(), code="10160-0"), "MedicationStatement")

    assert statement["effectivePeriod"] == {"start": "2025-01-01", "end": "2025-01-10"}
    assert statement["dosage"][0]["timing"]["repeat"] == {
        "frequency": 1,
        "period": Decimal(6),
        "periodUnit": "h",
    }
    assert statement["dosage"][0]["doseAndRate"] == [{"doseQuantity": {"value": Decimal(1)}}]
    assert statement["status"] == "active"


def test_a_medication_that_is_planned_is_a_request_and_one_refused_is_not_taken():
    assert one(ccda(medication(mood="INT")), "MedicationRequest")["intent"] == "plan"
    assert one(ccda(medication(negated=True)), "MedicationStatement")["status"] == "not-taken"


def test_a_vaccine_is_an_immunization_given_or_not():
    vaccine = medication(status="completed", template="52").replace(
        'code="197806" codeSystem="2.16.840.1.113883.6.88"',
        'code="141" codeSystem="2.16.840.1.113883.12.292"',
    )

    given = one(ccda(vaccine, code="11369-6"), "Immunization")
    refused = one(
        ccda(vaccine.replace('moodCode="EVN"', 'moodCode="EVN" negationInd="true"')), "Immunization"
    )

    assert given["vaccineCode"]["coding"][0] == {
        "system": "http://hl7.org/fhir/sid/cvx",
        "code": "141",
        "display": "Ibuprofen 600 MG",
    }
    assert (given["status"], refused["status"]) == ("completed", "not-done")
    assert given["occurrenceDateTime"] == "2025-01-01"


def test_procedures_and_visits_that_are_listed_are_resources():
    procedure = f"""<procedure classCode="PROC" moodCode="EVN"><templateId root="{T}.14"/>
      <code code="80146002" {SNOMED} displayName="Appendectomy"/><statusCode code="aborted"/>
      <effectiveTime value="20250102"/></procedure>"""
    visit = f"""<encounter classCode="ENC" moodCode="EVN"><templateId root="{T}.49"/>
      <id root="1.2.840.999.2" extension="E-1"/><code code="99213" codeSystem="2.16.840.1.113883.6.12" displayName="Office visit">
      <translation code="AMB" codeSystem="2.16.840.1.113883.5.4"/></code><effectiveTime value="20250102"/>
      <entryRelationship typeCode="SUBJ">{problem(outer="80")}</entryRelationship></encounter>"""

    found = ccda(procedure, visit)

    assert one(found, "Procedure")["status"] == "stopped"
    assert one(found, "Encounter")["class"]["code"] == "AMB"
    assert one(found, "Condition")["code"]["text"] == "Hypertension"


def test_ids_of_one_senders_entries_never_mix_two_patients():
    def for_patient(number):
        data = document(
            f"<component><section><text/><entry>{problem()}</entry></section></component>",
            ids=f'<id root="1.2.840.999.1" extension="{number}"/>',
            person="",
            realm="US",
        )
        return one(mapped(data), "Condition")["id"]

    assert for_patient("P-1") == for_patient("P-1") != for_patient("P-2")
