"""FHIR R4 resources out of rows, with ids that the sender gives: its code and its number of the thing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kangshu.simulation.speech.month import Report, Row

Resource = dict[str, Any]

ICD10 = "urn:oid:2.16.156.10011.2.3.3.11"
_FIELD = "urn:kangshu:field"
_TABLE = "urn:kangshu:table"
_TERMS = "http://terminology.hl7.org/CodeSystem"
_GENDERS = {"1": "male", "2": "female"}
_SECTION = {"CT": "CT", "MR": "NMR", "DX": "RAD", "US": "RUS", "ECG": "EC", "EEG": "EN", "PFT": "PF"}


class Shaper:
    """Shapes the resources of one sender."""

    def __init__(self, code: str, name: str, departments: Mapping[str, str]) -> None:
        self._code, self._name, self._departments = code, name, departments

    def patient(self, row: Row) -> Resource:
        """Return the Patient: all numbers that the sender knows, name, sex, day of birth, telephone."""
        identifiers = [
            {"system": f"urn:kangshu:institution:{self._code}:patient", "value": row["patient_number"]}
        ]
        if row.get("resident_number"):
            identifiers.append({"system": "urn:oid:2.16.156.10011.1.3", "value": row["resident_number"]})
        elif row.get("document_number"):
            identifiers.append(
                {"system": f"urn:kangshu:document:{row['document_type']}", "value": row["document_number"]}
            )
        made = {
            "resourceType": "Patient",
            "id": self.id(row["patient_number"]),
            "identifier": identifiers,
            "name": [{"use": "official", "text": row["patient_name"]}],
            "gender": _GENDERS.get(str(row["sex"]), "unknown"),
            "birthDate": row["birth_date"].isoformat(),
        }
        if row.get("phone"):
            made["telecom"] = [{"system": "phone", "value": row["phone"], "use": "mobile"}]
        return made

    def visit(self, row: Row, *, conditions: list[Resource], status: str = "finished") -> Resource:
        """Return the Encounter of an outpatient visit."""
        made = self._encounter(row, status=status, kind="EMER" if row["visit_type"] == "2" else "AMB")
        made["period"] = {"start": _moment(row["visited_at"]), "end": _moment(row["visited_at"])}
        if row.get("chief_complaint"):
            made["reasonCode"] = [{"text": row["chief_complaint"]}]
        if conditions:
            made["diagnosis"] = [{"condition": _reference(one)} for one in conditions]
        made["extension"] = [
            {"url": f"{_FIELD}:payment", "valueCode": row["payment"]},
            {"url": f"{_FIELD}:total_cost", "valueMoney": {"value": row["total_cost"], "currency": "CNY"}},
        ]
        return made

    def stay(self, row: Row, *, over: bool, conditions: list[Resource]) -> Resource:
        """Return the Encounter of a stay, under way or over."""
        made = self._encounter(row, status="finished" if over else "in-progress", kind="IMP")
        made["period"] = {"start": _moment(row["admitted_at"])}
        if over:
            made["period"]["end"] = _moment(row["discharged_at"])
            coding = {"system": f"{_TABLE}:rc019", "code": "5" if row["died"] else "1"}
            made["hospitalization"] = {"dischargeDisposition": {"coding": [coding]}}
        if conditions:
            made["diagnosis"] = [
                {
                    "condition": _reference(one),
                    "use": {
                        "coding": [{"system": f"{_TERMS}/diagnosis-role", "code": "DD" if over else "AD"}]
                    },
                    "rank": rank,
                }
                for rank, one in enumerate(conditions, start=1)
            ]
        return made

    def _encounter(self, row: Row, *, status: str, kind: str) -> Resource:
        department = row.get("department_code")
        made: Resource = {
            "resourceType": "Encounter",
            "id": self.id(row["visit_number"]),
            "identifier": [
                {"system": f"urn:kangshu:institution:{self._code}:visit", "value": row["visit_number"]}
            ],
            "status": status,
            "class": {"system": f"{_TERMS}/v3-ActCode", "code": kind},
            "subject": self._subject(row),
            "serviceProvider": {"display": self._name},
        }
        if department:
            title = self._departments.get(department)
            made["serviceType"] = _concept(f"{_TABLE}:department", department, title)
        if row.get("doctor_name"):
            attending = {"coding": [{"system": f"{_TERMS}/v3-ParticipationType", "code": "ATND"}]}
            made["participant"] = [{"type": [attending], "individual": {"display": row["doctor_name"]}}]
        return made

    def condition(self, row: Row) -> Resource:
        """Return the Condition of a diagnosis."""
        return {
            "resourceType": "Condition",
            "id": self.id(row["diagnosis_number"]),
            "identifier": [
                {
                    "system": f"urn:kangshu:institution:{self._code}:diagnosis",
                    "value": row["diagnosis_number"],
                }
            ],
            "clinicalStatus": _concept(f"{_TERMS}/condition-clinical", "active"),
            "category": [
                {
                    "coding": [
                        {"system": f"{_TERMS}/condition-category", "code": "encounter-diagnosis"},
                        {"system": f"{_TABLE}:diagnosis_type", "code": row["diagnosis_type"]},
                    ]
                }
            ],
            "code": _concept(ICD10, row["diagnosis_code"], row["diagnosis_name"]),
            "subject": self._subject(row),
            "encounter": self._visit(row),
            "recordedDate": _moment(row["diagnosed_at"]),
        }

    def prescription(self, row: Row) -> Resource:
        """Return the MedicationRequest of one item."""
        dosage: Resource = {}
        if row.get("frequency"):
            coding = {"system": "urn:oid:2.16.156.10011.2.3.1.267", "code": row["frequency"]}
            dosage["timing"] = {"code": {"coding": [coding]}}
        if row.get("route"):
            dosage["route"] = _concept("urn:oid:2.16.156.10011.2.3.1.158", row["route"])
        if row.get("dose") is not None:
            quantity: Resource = {"value": row["dose"]}
            if row.get("dose_unit"):
                quantity["unit"] = row["dose_unit"]
            dosage["doseAndRate"] = [{"doseQuantity": quantity}]
        supply: Resource = {"quantity": {"value": row["quantity"], "unit": row["quantity_unit"]}}
        if row.get("days"):
            supply["expectedSupplyDuration"] = {
                "value": row["days"],
                "unit": "天",
                "system": "http://unitsofmeasure.org",
                "code": "d",
            }
        made: Resource = {
            "resourceType": "MedicationRequest",
            "id": self.id(f"{row['prescription_number']}-{row['item_number']}"),
            "extension": [
                {"url": f"{_FIELD}:item_number", "valueInteger": row["item_number"]},
                *_texts(row, "specification"),
                *_sums(row, "unit_price", "amount"),
            ],
            "groupIdentifier": {
                "system": f"urn:kangshu:institution:{self._code}:prescription",
                "value": row["prescription_number"],
            },
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": _concept(f"{_TABLE}:drug", row["drug_code"], row["drug_name"]),
            "subject": self._subject(row),
            "encounter": self._visit(row),
            "authoredOn": _moment(row["prescribed_at"]),
            "dosageInstruction": [dosage],
            "dispenseRequest": supply,
        }
        if row.get("doctor_name"):
            made["requester"] = {"display": row["doctor_name"]}
        return made

    def laboratory(self, report: Report, *, status: str, results: list[Resource]) -> list[Resource]:
        """Return the DiagnosticReport of a laboratory report, its specimen, and `results`."""
        row = report.row
        specimen = {
            "resourceType": "Specimen",
            "id": self.id(f"{row['report_number']}-S"),
            "type": {"text": row["specimen"]},
            "subject": self._subject(row),
            "collection": {"collectedDateTime": _moment(row["collected_at"])},
        }
        made = self._report(row, "laboratory-report", _concept(f"{_TERMS}/v2-0074", "LAB"), status)
        made["code"] = {"text": row["title"]}
        made["effectiveDateTime"] = _moment(row["collected_at"])
        made["specimen"] = [_reference(specimen)]
        made["result"] = [_reference(one) for one in results]
        if row.get("doctor_name"):
            made["performer"] = [{"display": row["doctor_name"]}]
        if row.get("reviewer_name"):
            made["resultsInterpreter"] = [{"display": row["reviewer_name"]}]
        return [made, specimen, *results]

    def result(self, row: Row, *, status: str, value: Decimal | None = None) -> Resource:
        """Return the Observation of one result; `value` in place of the number that was measured."""
        made: Resource = {
            "resourceType": "Observation",
            "id": self.id(f"{row['report_number']}-{row['item_number']}"),
            "extension": [{"url": f"{_FIELD}:item_number", "valueInteger": row["item_number"]}],
            "status": status,
            "category": [_concept(f"{_TERMS}/observation-category", "laboratory")],
            "code": _concept("http://loinc.org", row["item_code"], row["item_name"]),
            "subject": self._subject(row),
            "encounter": self._visit(row),
            "effectiveDateTime": _moment(row["reported_at"]),
        }
        if row.get("value_number") is None:
            made["valueString"] = row["value_text"]
        else:
            quantity: Resource = {"value": value or Decimal(str(row["value_number"]))}
            if row.get("unit"):
                quantity["unit"] = row["unit"]
            made["valueQuantity"] = quantity
        if row.get("flag") and value is None:
            made["interpretation"] = [_concept(f"{_TERMS}/v3-ObservationInterpretation", row["flag"])]
        if limits := _limits(row):
            made["referenceRange"] = [limits]
        return made

    def examination(self, row: Row, *, status: str) -> list[Resource]:
        """Return the DiagnosticReport of an examination and the Observation of what was seen."""
        findings: Resource = {
            "resourceType": "Observation",
            "id": self.id(f"{row['report_number']}-F"),
            "status": status,
            "category": [_concept(f"{_TERMS}/observation-category", "imaging")],
            "code": _concept("http://loinc.org", "59776-5"),
            "subject": self._subject(row),
            "encounter": self._visit(row),
            "effectiveDateTime": _moment(row["examined_at"]),
            "valueString": row["findings"],
        }
        modality = row["modality"]
        made = self._report(row, "exam-report", _concept(f"{_TABLE}:modality", modality), status)
        if modality in _SECTION:
            made["category"].append(_concept(f"{_TERMS}/v2-0074", _SECTION[modality]))
        made["code"] = {"text": row.get("body_part") or modality}
        made["effectiveDateTime"] = _moment(row["examined_at"])
        made["result"] = [_reference(findings)]
        if status != "preliminary":
            made["conclusion"] = row["impression"]
        if row.get("doctor_name"):
            made["resultsInterpreter"] = [{"display": row["doctor_name"]}]
        return [made, findings]

    def _report(self, row: Row, numbers: str, category: Resource, status: str) -> Resource:
        return {
            "resourceType": "DiagnosticReport",
            "id": self.id(row["report_number"]),
            "identifier": [
                {"system": f"urn:kangshu:institution:{self._code}:{numbers}", "value": row["report_number"]}
            ],
            "status": status,
            "category": [category],
            "subject": self._subject(row),
            "encounter": self._visit(row),
            "issued": _moment(row["reported_at"]),
        }

    def immunization(self, row: Row) -> Resource:
        """Return the Immunization of a vaccination."""
        made: Resource = {
            "resourceType": "Immunization",
            "id": self.id(row["vaccination_number"]),
            "identifier": [
                {
                    "system": f"urn:kangshu:institution:{self._code}:vaccination",
                    "value": row["vaccination_number"],
                }
            ],
            "status": "completed",
            "vaccineCode": _concept(f"{_TABLE}:vaccine", row["vaccine_code"], row["vaccine_name"]),
            "patient": self._subject(row),
            "occurrenceDateTime": _moment(row["vaccinated_at"]),
            "location": {"display": self._name},
            "protocolApplied": [{"doseNumberPositiveInt": row["dose_number"]}],
        }
        if row.get("batch_number"):
            made["lotNumber"] = row["batch_number"]
        if row.get("manufacturer"):
            made["manufacturer"] = {"display": row["manufacturer"]}
        if row.get("site"):
            made["site"] = {"text": row["site"]}
        if row.get("nurse_name"):
            made["performer"] = [{"actor": {"display": row["nurse_name"]}}]
        if row.get("next_due"):
            made["extension"] = [{"url": f"{_FIELD}:next_due", "valueDate": row["next_due"].isoformat()}]
        return made

    def pulse(self, row: Row, *, rate: int) -> Resource:
        """Return the pulse that was counted at a visit: it names the patient by number alone."""
        return {
            "resourceType": "Observation",
            "id": self.id(f"{row['visit_number']}-P"),
            "status": "final",
            "category": [_concept(f"{_TERMS}/observation-category", "vital-signs")],
            "code": _concept("http://loinc.org", "8867-4", "心率"),
            "subject": {
                "type": "Patient",
                "identifier": {
                    "system": f"urn:kangshu:institution:{self._code}:patient",
                    "value": row["patient_number"],
                },
            },
            "effectiveDateTime": _moment(row["visited_at"]),
            "valueQuantity": {
                "value": rate,
                "unit": "次/分",
                "system": "http://unitsofmeasure.org",
                "code": "/min",
            },
        }

    def transaction(self, number: str, resources: list[Resource]) -> Resource:
        """Return a transaction Bundle that puts every resource under its id; `number` is the message's."""
        return {
            "resourceType": "Bundle",
            "identifier": {"system": f"urn:kangshu:institution:{self._code}:message", "value": number},
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": f"https://fhir.invalid/{one['resourceType']}/{one['id']}",
                    "resource": one,
                    "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"},
                }
                for one in resources
            ],
        }

    def id(self, number: str) -> str:
        """Return the id of what the sender knows under `number`."""
        return f"{self._code}-{number}"

    def _subject(self, row: Row) -> Resource:
        return {"reference": f"Patient/{self.id(row['patient_number'])}"}

    def _visit(self, row: Row) -> Resource:
        return {"reference": f"Encounter/{self.id(row['visit_number'])}"}


def _reference(resource: Resource) -> Resource:
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}


def _concept(system: str, code: str, title: str | None = None) -> Resource:
    coding: Resource = {"system": system, "code": code}
    if title is None:
        return {"coding": [coding]}
    return {"coding": [{**coding, "display": title}], "text": title}


def _texts(row: Row, *fields: str) -> list[Resource]:
    return [{"url": f"{_FIELD}:{name}", "valueString": row[name]} for name in fields if row.get(name)]


def _sums(row: Row, *fields: str) -> list[Resource]:
    return [
        {"url": f"{_FIELD}:{name}", "valueMoney": {"value": row[name], "currency": "CNY"}}
        for name in fields
        if row.get(name) is not None
    ]


def _limits(row: Row) -> Resource:
    unit = {"unit": row["unit"]} if row.get("unit") else {}
    return {
        side: {"value": Decimal(str(row[f"reference_{side}"])), **unit}
        for side in ("low", "high")
        if row.get(f"reference_{side}") is not None
    }


def _moment(value: datetime | date) -> str:
    return f"{value.isoformat()}+08:00"
