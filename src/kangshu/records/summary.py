"""What is worked out of a resource when it is stored, so that lists need not open contents; pure.

The columns tell what an entry of the timeline is, when it happened, and by which codes and numbers it is
found. Any JSON is borne: what is not as FHIR has it is taken for absent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from kangshu.records.marks import MARKED, mark_of
from kangshu.records.model import Kind
from kangshu.records.moments import EARLIEST, Span
from kangshu.records.paths import Place, places_of, reference_of, span_at, tokens_of, values_at

NUMBERS: Mapping[Kind, int] = {
    Kind.VISIT: 1,
    Kind.DIAGNOSIS: 2,
    Kind.LABORATORY: 3,
    Kind.EXAMINATION: 4,
    Kind.PRESCRIPTION: 5,
    Kind.OPERATION: 6,
    Kind.IMMUNIZATION: 7,
    Kind.ALLERGY: 8,
    Kind.DOCUMENT: 9,
    Kind.VITAL_SIGN: 10,
    Kind.OTHER: 11,
}
"""How the database writes kinds. Numbers are never given to another kind."""

# When it happened, by the elements that tell it, the first that does. Before the colon what a FHIR search by
# date looks at, if there is one; only those may come first.
_TIMES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "AdverseEvent": ("date", ("date", "detected", "recordedDate")),
    "AllergyIntolerance": ("date", ("recordedDate", "onsetDateTime", "onsetPeriod", "lastOccurrence")),
    "Appointment": ("date", ("start", "created")),
    "CarePlan": ("date", ("period", "created")),
    "CareTeam": ("date", ("period",)),
    "ClinicalImpression": ("date", ("date", "effectiveDateTime", "effectivePeriod")),
    "Communication": ("sent", ("sent", "received")),
    "Composition": ("date", ("date",)),
    "Condition": ("recorded-date", ("recordedDate", "onsetDateTime", "onsetPeriod")),
    "Consent": ("date", ("dateTime",)),
    "DetectedIssue": ("identified", ("identifiedDateTime", "identifiedPeriod")),
    "DeviceRequest": ("authored-on", ("authoredOn", "occurrenceDateTime", "occurrencePeriod")),
    "DiagnosticReport": ("date", ("effectiveDateTime", "effectivePeriod", "issued")),
    "DocumentReference": ("date", ("date",)),
    "Encounter": ("date", ("period",)),
    "EpisodeOfCare": ("date", ("period",)),
    "FamilyMemberHistory": ("date", ("date",)),
    "Flag": ("date", ("period",)),
    "Goal": ("start-date", ("startDate", "statusDate")),
    "ImagingStudy": ("started", ("started",)),
    "Immunization": ("date", ("occurrenceDateTime", "recorded")),
    "MedicationAdministration": ("effective-time", ("effectiveDateTime", "effectivePeriod")),
    "MedicationDispense": ("whenhandedover", ("whenHandedOver", "whenPrepared")),
    "MedicationRequest": ("authoredon", ("authoredOn",)),
    "MedicationStatement": ("effective", ("effectiveDateTime", "effectivePeriod", "dateAsserted")),
    "NutritionOrder": ("datetime", ("dateTime",)),
    "Observation": (
        "date",
        ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "effectiveTiming", "issued"),
    ),
    "Procedure": ("date", ("performedDateTime", "performedPeriod")),
    "QuestionnaireResponse": ("authored", ("authored",)),
    "RiskAssessment": ("date", ("occurrenceDateTime", "occurrencePeriod")),
    "ServiceRequest": (
        "authored",
        ("authoredOn", "occurrenceDateTime", "occurrencePeriod", "occurrenceTiming"),
    ),
    "Specimen": ("collected", ("receivedTime",)),
    "VisionPrescription": ("datewritten", ("dateWritten", "created")),
}
AT_PARAMETER: Mapping[str, str] = {
    name: parameter for name, (parameter, _) in _TIMES.items() if name not in ("AdverseEvent", "Specimen")
}
"""The search parameter whose value the column `at` holds, of each type that has one."""

# Codes of FHIR's observation-category and of HL7 table 0074 (sections of diagnostic services).
_LABORATORY = frozenset(
    {
        "laboratory",
        "LAB",
        "AU",
        "BG",
        "BLB",
        "CG",
        "CH",
        "CP",
        "CTH",
        "GE",
        "HM",
        "ICU",
        "IMM",
        "MB",
        "MCB",
        "MYC",
        "OSL",
        "PHR",
        "SR",
        "TX",
        "VR",
    }
)
_EXAMINATION = frozenset(
    {
        "imaging",
        "exam",
        "procedure",
        "RAD",
        "RUS",
        "CT",
        "CUS",
        "EC",
        "EN",
        "MRI",
        "NMR",
        "NMS",
        "NRS",
        "OUS",
        "OT",
        "OTH",
        "PAT",
        "PF",
        "PT",
        "RC",
        "RT",
        "RX",
        "SP",
        "VUS",
        "XRC",
    }
)


class Header(NamedTuple):
    """The columns of a resource. `until` is None where the span is not known as a whole.

    A tuple, for one is made of whatever is stored.
    """

    kind: Kind | None
    at: datetime | None
    until: datetime | None
    marks: int
    identifiers: frozenset[int]


EMPTY = Header(kind=None, at=None, until=None, marks=0, identifiers=frozenset())
"""Of a resource that was deleted."""


def header_of(type_: str, resource: Mapping[str, Any]) -> Header:
    """Return the columns of a resource."""
    at, until = _time(type_, resource)
    return Header(
        kind=kind_of(type_, resource),
        at=at,
        until=until,
        marks=_marks(type_, resource),
        identifiers=frozenset(_identifiers(type_, resource)),
    )


def kind_of(type_: str, resource: Mapping[str, Any]) -> Kind | None:
    """Return what the resource is on a timeline; None where it is not shown there."""
    found = _KINDS.get(type_)
    return found(resource) if callable(found) else found


def span_told(type_: str, resource: Mapping[str, Any]) -> Span | None:
    """Return when it happened, as told."""
    _, names = _TIMES.get(type_, ("", ()))
    for name in names:
        value = resource.get(name)
        if value is not None and (span := span_at(value)):
            return span
    return None


def identifier_digest(system: str | None, value: str) -> int:
    """Return by what a business number is looked up: with a system its digest in it, else that in any.

    It is not keyed: the contents beside it say the same in clear.
    """
    text = f"{len(system)}:{system}{value}" if system is not None else f"*{value}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def codes_of(concept: Any) -> Iterator[str]:
    """Yield the codes of a concept, of several, or of a coding."""
    for one in _list(concept):
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            if isinstance(code := one.get("code"), str):
                yield code
            for coding in _list(one.get("coding")):
                if isinstance(coding, dict) and isinstance(code := coding.get("code"), str):
                    yield code


def _time(type_: str, resource: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    span = span_told(type_, resource)
    if span is None:
        return None, None
    if span.start == EARLIEST:  # only the end was told: it stands there, and says nothing of the span
        return span.end, None
    return span.start, span.end


def _marks(type_: str, resource: Mapping[str, Any]) -> int:
    marks = 0
    for parameter, name, places in _marked_places(type_):
        if name:
            value = resource.get(name)
            if value is not None:
                marks |= mark_of(parameter, value) if type(value) is str else _mark_each(parameter, value)
        else:
            for value in values_at(resource, places):
                marks |= _mark_each(parameter, value)
    # The parts of a measurement are found by their codes as well; who searches looks at the content anyway.
    for part in _list(resource.get("component")) if type_ == "Observation" else ():
        if type(part) is dict and "code" in part:
            marks |= _mark_each("code", part["code"])
    return marks


def _mark_each(parameter: str, value: Any) -> int:
    """Return the marks of concepts, codings or references; written out, for it runs on whatever is stored."""
    marks = 0
    for one in value if type(value) is list else (value,):
        if type(one) is not dict:
            continue
        if parameter == "encounter":
            if found := reference_of(one):
                marks |= mark_of(parameter, found[1])
            continue
        codings = one.get("coding")
        for coding in (*codings, one) if type(codings) is list else (one,):
            if type(coding) is dict and type(code := coding.get("code")) is str:
                marks |= mark_of(parameter, code)
    return marks


def _identifiers(type_: str, resource: Mapping[str, Any]) -> set[int]:
    found: set[int] = set()
    name, places = _identifier_places(type_)
    numbers = resource.get(name, ()) if name else values_at(resource, places)
    for one in numbers if name is None or type(numbers) is list else (numbers,):
        for system, value in tokens_of(one):
            if value:
                found.add(identifier_digest(None, value))
                found.add(identifier_digest(system or "", value))
    return found


@cache
def _marked_places(type_: str) -> tuple[tuple[str, str | None, tuple[Place, ...]], ...]:
    """Return the marked search parameters that the type has; with a name where one element tells it all."""
    found = [(parameter, places_of(type_, parameter)) for parameter in sorted(MARKED)]
    return tuple((parameter, _only_name(places), places) for parameter, places in found if places)


@cache
def _identifier_places(type_: str) -> tuple[str | None, tuple[Place, ...]]:
    places = places_of(type_, "identifier")
    return _only_name(places), places


def _only_name(places: tuple[Place, ...]) -> str | None:
    if len(places) != 1 or len(places[0].names) != 1 or places[0].cast or places[0].where:
        return None
    return places[0].names[0]


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _observation(resource: Mapping[str, Any]) -> Kind:
    codes = set(codes_of(resource.get("category")))
    if "vital-signs" in codes:
        return Kind.VITAL_SIGN
    if codes & _LABORATORY:
        return Kind.LABORATORY
    if codes & _EXAMINATION:
        return Kind.EXAMINATION
    if codes:
        return Kind.OTHER
    measured = ("valueQuantity", "referenceRange", "interpretation", "specimen")
    return Kind.LABORATORY if any(name in resource for name in measured) else Kind.OTHER


def _report(resource: Mapping[str, Any]) -> Kind:
    codes = set(codes_of(resource.get("category")))
    if codes & _LABORATORY:
        return Kind.LABORATORY
    if codes & _EXAMINATION or "imagingStudy" in resource:
        return Kind.EXAMINATION
    return Kind.LABORATORY if "result" in resource or "specimen" in resource else Kind.EXAMINATION


_KINDS: Mapping[str, Kind | Callable[[Mapping[str, Any]], Kind]] = {
    "AdverseEvent": Kind.OTHER,
    "AllergyIntolerance": Kind.ALLERGY,
    "Appointment": Kind.VISIT,
    "CarePlan": Kind.OTHER,
    "ClinicalImpression": Kind.OTHER,
    "Communication": Kind.OTHER,
    "Composition": Kind.DOCUMENT,
    "Condition": Kind.DIAGNOSIS,
    "Consent": Kind.OTHER,
    "DetectedIssue": Kind.OTHER,
    "DeviceRequest": Kind.OTHER,
    "DiagnosticReport": _report,
    "DocumentReference": Kind.DOCUMENT,
    "Encounter": Kind.VISIT,
    "EpisodeOfCare": Kind.OTHER,
    "FamilyMemberHistory": Kind.OTHER,
    "Flag": Kind.OTHER,
    "Goal": Kind.OTHER,
    "ImagingStudy": Kind.EXAMINATION,
    "Immunization": Kind.IMMUNIZATION,
    "MedicationAdministration": Kind.PRESCRIPTION,
    "MedicationDispense": Kind.PRESCRIPTION,
    "MedicationRequest": Kind.PRESCRIPTION,
    "MedicationStatement": Kind.PRESCRIPTION,
    "NutritionOrder": Kind.OTHER,
    "Observation": _observation,
    "Procedure": Kind.OPERATION,
    "QuestionnaireResponse": Kind.OTHER,
    "RiskAssessment": Kind.OTHER,
    "ServiceRequest": Kind.OTHER,
    "VisionPrescription": Kind.OTHER,
}
