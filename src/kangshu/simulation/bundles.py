"""Whole lives as FHIR transaction Bundles, shaped as the Synthea generator writes them.

Every entry is created under a `urn:uuid:` of its own; a life has visits, each with conditions, results,
medications, procedures and a report. All people are synthetic.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import orjson

from kangshu.simulation.streams import Stream

_ITEMS = (
    ("8302-2", "Body Height", "cm", 166.0, 9.0),
    ("29463-7", "Body Weight", "kg", 64.0, 11.0),
    ("8480-6", "Systolic Blood Pressure", "mm[Hg]", 124.0, 14.0),
    ("2339-0", "Glucose", "mg/dL", 92.0, 12.0),
    ("2093-3", "Total Cholesterol", "mg/dL", 182.0, 25.0),
    ("718-7", "Hemoglobin", "g/dL", 14.1, 1.2),
)
_CONDITIONS = (
    ("38341003", "Hypertension"),
    ("44054006", "Diabetes"),
    ("195662009", "Acute viral pharyngitis"),
)
_DRUGS = (("314076", "lisinopril 10 MG Oral Tablet"), ("860975", "24 HR Metformin hydrochloride 500 MG"))
_SEXES = {"1": "male", "2": "female"}
_FIRST_DAY = date(2006, 1, 2)
_DAYS = 7300


def life_bundle(person: Mapping[str, Any], *, resources: int, random: Stream) -> bytes:
    """Return a transaction Bundle of about `resources` resources on the person (a row of registrations)."""
    life = _Life(person, random)
    while len(life.entries) < resources:
        life.visit()
    return orjson.dumps({"resourceType": "Bundle", "type": "transaction", "entry": life.entries})


class _Life:
    def __init__(self, person: Mapping[str, Any], random: Stream) -> None:
        self._random = random
        self.entries: list[dict[str, Any]] = []
        self._patient = self._add(
            {
                "resourceType": "Patient",
                "identifier": [
                    {
                        "system": f"urn:kangshu:institution:{person['institution_code']}:patient",
                        "value": person["patient_number"],
                    },
                    *_resident_number(person),
                ],
                "name": [{"use": "official", "text": person["patient_name"]}],
                "gender": _SEXES.get(str(person["sex"]), "unknown"),
                "birthDate": str(person["birth_date"]),
            }
        )

    def visit(self) -> None:
        """Add a visit with what was found and done."""
        day = _FIRST_DAY + timedelta(days=int(self._random.integers(0, _DAYS)))
        at = f"{datetime(day.year, day.month, day.day, 9, 30).isoformat()}+08:00"  # noqa: DTZ001 - zone is written
        encounter = self._add(
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
                "type": [_concept("http://snomed.info/sct", "185349003", "Encounter for check up")],
                "subject": self._patient,
                "period": {"start": at, "end": at},
            }
        )
        about = {"subject": self._patient, "encounter": encounter}
        code, title = _CONDITIONS[int(self._random.integers(0, len(_CONDITIONS)))]
        self._add(
            {
                "resourceType": "Condition",
                "clinicalStatus": _concept(
                    "http://terminology.hl7.org/CodeSystem/condition-clinical", "active", None
                ),
                "code": _concept("http://snomed.info/sct", code, title),
                **about,
                "onsetDateTime": at,
            }
        )
        results = [self._result(item, at, about) for item in _ITEMS]
        self._add(
            {
                "resourceType": "DiagnosticReport",
                "status": "final",
                "code": _concept("http://loinc.org", "51990-0", "Basic Metabolic Panel"),
                **about,
                "effectiveDateTime": at,
                "issued": at.replace("+08:00", ".000+08:00"),
                "result": results,
            }
        )
        drug, name = _DRUGS[int(self._random.integers(0, len(_DRUGS)))]
        self._add(
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "intent": "order",
                "medicationCodeableConcept": _concept(
                    "http://www.nlm.nih.gov/research/umls/rxnorm", drug, name
                ),
                **about,
                "authoredOn": at,
            }
        )
        self._add(
            {
                "resourceType": "Procedure",
                "status": "completed",
                "code": _concept("http://snomed.info/sct", "430193006", "Medication Reconciliation"),
                **about,
                "performedPeriod": {"start": at, "end": at},
            }
        )

    def _result(
        self, item: tuple[str, str, str, float, float], at: str, about: dict[str, Any]
    ) -> dict[str, Any]:
        code, title, unit, middle, spread = item
        value = round(float(self._random.normal(middle, spread)), 1)
        return self._add(
            {
                "resourceType": "Observation",
                "status": "final",
                "category": [
                    _concept(
                        "http://terminology.hl7.org/CodeSystem/observation-category",
                        "laboratory",
                        "laboratory",
                    )
                ],
                "code": _concept("http://loinc.org", code, title),
                **about,
                "effectiveDateTime": at,
                "issued": at.replace("+08:00", ".000+08:00"),
                "valueQuantity": {
                    "value": value,
                    "unit": unit,
                    "system": "http://unitsofmeasure.org",
                    "code": unit,
                },
            }
        )

    def _add(self, resource: dict[str, Any]) -> dict[str, Any]:
        name = f"urn:uuid:{uuid.UUID(bytes=self._random.bytes(16), version=4)}"
        request = {"method": "POST", "url": resource["resourceType"]}
        self.entries.append({"fullUrl": name, "resource": resource, "request": request})
        return {"reference": name}


def _resident_number(person: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if person.get("resident_number"):
        yield {"system": "urn:oid:2.16.156.10011.1.3", "value": person["resident_number"]}


def _concept(system: str, code: str, title: str | None) -> dict[str, Any]:
    coding = {"system": system, "code": code}
    return (
        {"coding": [coding]} if title is None else {"coding": [{**coding, "display": title}], "text": title}
    )
