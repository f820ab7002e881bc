"""What people want to see of a resource at first sight: what it is, its value, whether it holds; pure.

Any JSON is borne: what is not as FHIR has it is taken for absent. Long texts are cut; the resource has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from kangshu.records.model import Detail, Facts, Measure, State
from kangshu.records.summary import codes_of, kind_of

_TITLE_MOST = 300
_TEXT_MOST = 2000
_PARTS_MOST = 200
_EXPONENT_MOST = 30
_JOINED_MOST = 5

_STATES: Mapping[str, State] = {
    "entered-in-error": State.WITHDRAWN,
    "cancelled": State.CANCELLED,
    "not-done": State.CANCELLED,
    "not-taken": State.CANCELLED,
    "declined": State.CANCELLED,
    "revoked": State.CANCELLED,
    "rejected": State.CANCELLED,
    "refuted": State.CANCELLED,
    "noshow": State.CANCELLED,
    "abandoned": State.CANCELLED,
    "corrected": State.CORRECTED,
    "amended": State.CORRECTED,
    "appended": State.CORRECTED,
    "preliminary": State.PRELIMINARY,
    "partial": State.PRELIMINARY,
    "registered": State.PRELIMINARY,
    "planned": State.PLANNED,
    "proposed": State.PLANNED,
    "pending": State.PLANNED,
    "booked": State.PLANNED,
    "waitlist": State.PLANNED,
    "draft": State.PLANNED,
    "preparation": State.PLANNED,
    "intended": State.PLANNED,
    "superseded": State.REPLACED,
}
# Where a resource says whether it holds; the first word that says it does not is what counts.
_STATUSES = ("verificationStatus", "status", "docStatus", "clinicalStatus", "lifecycleStatus")

# Where the title is, the first that says anything.
_TITLES: Mapping[str, tuple[str, ...]] = {
    "Appointment": ("serviceType", "appointmentType", "specialty", "description"),
    "CarePlan": ("title", "category", "description"),
    "Composition": ("title", "type"),
    "DocumentReference": ("description", "type", "content.attachment.title", "category"),
    "Encounter": ("type", "serviceType", "class", "reasonCode"),
    "FamilyMemberHistory": ("condition.code", "relationship"),
    "Goal": ("description",),
    "ImagingStudy": ("description", "procedureCode", "modality"),
    "Immunization": ("vaccineCode",),
    "MedicationAdministration": ("medicationCodeableConcept", "medicationReference", "contained.code"),
    "MedicationDispense": ("medicationCodeableConcept", "medicationReference", "contained.code"),
    "MedicationRequest": ("medicationCodeableConcept", "medicationReference", "contained.code"),
    "MedicationStatement": ("medicationCodeableConcept", "medicationReference", "contained.code"),
    "QuestionnaireResponse": ("questionnaire",),
}
_USUAL_TITLES = ("code", "type", "title", "description", "category")

DETAILS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "AllergyIntolerance": (
        ("severity", "criticality"),
        ("reaction", "reaction.manifestation"),
        ("note", "note.text"),
    ),
    "Appointment": (
        ("end", "end"),
        ("participant", "participant.actor.display"),
        ("reason", "reasonCode"),
        ("cancelled_for", "cancelationReason"),
    ),
    "Composition": (("author", "author.display"), ("custodian", "custodian.display")),
    "Condition": (
        ("category", "category"),
        ("clinical_status", "clinicalStatus"),
        ("severity", "severity"),
        ("body_site", "bodySite"),
        ("end", "abatementDateTime"),
        ("note", "note.text"),
    ),
    "DiagnosticReport": (
        ("conclusion", "conclusion"),
        ("conclusion", "conclusionCode"),
        ("performer", "performer.display"),
        ("issued", "issued"),
    ),
    "DocumentReference": (
        ("document_class", "type"),
        ("category", "category"),
        ("author", "author.display"),
        ("custodian", "custodian.display"),
        ("relation", "relatesTo.code"),
    ),
    "Encounter": (
        ("visit_class", "class"),
        ("end", "period.end"),
        ("department", "serviceType"),
        ("department", "location.location.display"),
        ("provider", "serviceProvider.display"),
        ("participant", "participant.individual.display"),
        ("reason", "reasonCode"),
        ("diagnosis", "diagnosis.condition.display"),
        ("disposition", "hospitalization.dischargeDisposition"),
    ),
    "ImagingStudy": (("modality", "modality"), ("body_site", "series.bodySite")),
    "Immunization": (
        ("lot", "lotNumber"),
        ("dose_number", "protocolApplied.doseNumberPositiveInt"),
        ("manufacturer", "manufacturer.display"),
        ("body_site", "site"),
        ("reason", "statusReason"),
    ),
    "MedicationAdministration": (("dose", "dosage.text"), ("dose", "dosage.dose"), ("route", "dosage.route")),
    "MedicationDispense": (("dose", "dosageInstruction.text"), ("quantity", "quantity")),
    "MedicationRequest": (
        ("dose", "dosageInstruction.text"),
        ("dose", "dosageInstruction.doseAndRate.doseQuantity"),
        ("route", "dosageInstruction.route"),
        ("quantity", "dispenseRequest.quantity"),
        ("participant", "requester.display"),
    ),
    "MedicationStatement": (("dose", "dosage.text"), ("reason", "reasonCode")),
    "Observation": (
        ("specimen", "specimen.display"),
        ("method", "method"),
        ("body_site", "bodySite"),
        ("absent", "dataAbsentReason"),
        ("performer", "performer.display"),
        ("issued", "issued"),
        ("note", "note.text"),
    ),
    "Procedure": (
        ("end", "performedPeriod.end"),
        ("body_site", "bodySite"),
        ("participant", "performer.actor.display"),
        ("outcome", "outcome"),
        ("reason", "reasonCode"),
        ("note", "note.text"),
    ),
    "ServiceRequest": (
        ("category", "category"),
        ("reason", "reasonCode"),
        ("participant", "requester.display"),
    ),
}
"""Further facts of each type: the catalogue's word, and where they are."""


def facts_of(type_: str, resource: Mapping[str, Any]) -> Facts | None:
    """Return what a timeline shows of the resource; None where it shows nothing of its kind."""
    kind = kind_of(type_, resource)
    if kind is None:
        return None
    status, state = _status(resource)
    code, system = _code(type_, resource)
    return Facts(
        kind=kind,
        title=_title(type_, resource),
        code=code,
        system=system,
        measure=measure_of(resource) if type_ == "Observation" else Measure(),
        parts=tuple(_parts(resource)),
        status=status,
        state=state,
        details=tuple(_details(type_, resource)),
        document=_document(type_, resource),
        visit=_visit(resource),
    )


def measure_of(holder: Mapping[str, Any]) -> Measure:
    """Return the value of an Observation, or of one of its components, with what is usual."""
    value, number, unit = _value(holder)
    low, high, usual = _usual(holder)
    codes = list(codes_of(holder.get("interpretation")))
    return Measure(
        title=_cut(next(_words(holder.get("code")), None), _TITLE_MOST),
        code=next(codes_of(holder.get("code")), None),
        value=_cut(value, _TEXT_MOST),
        number=number,
        unit=_cut(unit, _TITLE_MOST),
        low=low,
        high=high,
        usual=_cut(usual, _TITLE_MOST),
        flag=_cut(codes[0] if codes else next(_words(holder.get("interpretation")), None), _TITLE_MOST),
    )


def measures_with(resource: Mapping[str, Any], code: str) -> Iterator[Measure]:
    """Yield the values of an Observation that have the code: its own, or those of its parts."""
    if code in codes_of(resource.get("code")):
        yield measure_of(resource)
    components = resource.get("component")
    for one in components[:_PARTS_MOST] if isinstance(components, list) else ():
        if isinstance(one, dict) and code in codes_of(one.get("code")):
            yield measure_of(one)


def state_of(resource: Mapping[str, Any]) -> State:
    """Return whether what the resource says holds."""
    return _status(resource)[1]


def _parts(resource: Mapping[str, Any]) -> Iterator[Measure]:
    components = resource.get("component")
    if isinstance(components, list):
        for one in components[:_PARTS_MOST]:
            if isinstance(one, dict):
                yield measure_of(one)


def _value(holder: Mapping[str, Any]) -> tuple[str | None, Decimal | None, str | None]:
    """Return the value as text, as a number where it is one, and its unit."""
    quantity = holder.get("valueQuantity")
    if isinstance(quantity, dict):
        number = _number(quantity.get("value"))
        comparator = quantity.get("comparator")
        unit = _first_text(quantity.get("unit"), quantity.get("code"))
        if number is None:
            return None, None, unit
        if isinstance(comparator, str):
            return f"{comparator}{_digits(number)}", None, unit
        return _digits(number), number, unit
    whole = holder.get("valueInteger")
    if isinstance(whole, int) and not isinstance(whole, bool):
        return str(whole), Decimal(whole), None
    for name in ("String", "CodeableConcept", "DateTime", "Time", "Boolean", "Range", "Ratio", "Period"):
        value = holder.get(f"value{name}")
        if value is not None:
            return _join(_words(value)), None, None
    return None, None, None


def _usual(holder: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None, str | None]:
    ranges = holder.get("referenceRange")
    for one in ranges if isinstance(ranges, list) else ():
        if not isinstance(one, dict):
            continue
        low, high = (
            _number(bound.get("value")) if isinstance(bound := one.get(name), dict) else None
            for name in ("low", "high")
        )
        usual = one.get("text")
        if low is not None or high is not None or isinstance(usual, str):
            return low, high, usual if isinstance(usual, str) else None
    return None, None, None


def _status(resource: Mapping[str, Any]) -> tuple[str | None, State]:
    told: list[str] = []
    for name in _STATUSES:
        told += codes_of(resource.get(name))
    for word in told:
        if _STATES.get(word) in (State.WITHDRAWN, State.CANCELLED, State.REPLACED):
            return _cut(word, _TITLE_MOST), _STATES[word]
    first = next(codes_of(resource.get("status")), None) or (told[0] if told else None)
    return _cut(first, _TITLE_MOST), _STATES.get(first or "", State.VALID)


def _title(type_: str, resource: Mapping[str, Any]) -> str | None:
    for path in _TITLES.get(type_, _USUAL_TITLES):
        if text := next(_words_at(resource, path), None):
            return _cut(text, _TITLE_MOST)
    return None


def _code(type_: str, resource: Mapping[str, Any]) -> tuple[str | None, str | None]:
    for path in _TITLES.get(type_, _USUAL_TITLES):
        for value in _at(resource, path.split(".")):
            codings = value.get("coding", (value,)) if isinstance(value, dict) else ()
            for coding in codings if isinstance(codings, list | tuple) else ():
                if isinstance(coding, dict) and isinstance(code := coding.get("code"), str):
                    system = coding.get("system")
                    return _cut(code, _TITLE_MOST), system if isinstance(system, str) else None
    return None, None


def _details(type_: str, resource: Mapping[str, Any]) -> Iterator[Detail]:
    told: set[str] = set()
    for key, path in DETAILS.get(type_, ()):
        if key not in told and (text := _join(_words_at(resource, path))):
            told.add(key)
            yield Detail(key=key, value=text)


def _document(type_: str, resource: Mapping[str, Any]) -> str | None:
    path = {"DocumentReference": "content.attachment.url", "DiagnosticReport": "presentedForm.url"}.get(type_)
    if path is None:
        return None
    return next((one for one in _at(resource, path.split(".")) if isinstance(one, str)), None)


def _visit(resource: Mapping[str, Any]) -> str | None:
    for path in ("encounter.reference", "context.reference", "context.encounter.reference"):
        for one in _at(resource, path.split(".")):
            if isinstance(one, str) and one.startswith("Encounter/"):
                return _cut(one, _TITLE_MOST)
    return None


def _words_at(resource: Mapping[str, Any], path: str) -> Iterator[str]:
    for value in _at(resource, path.split(".")):
        yield from _words(value)


def _at(resource: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    found: list[Any] = [resource]
    for name in names:
        found = [one.get(name) for one in found if isinstance(one, dict)]
        found = [inner for one in found for inner in (one if isinstance(one, list) else (one,))]
    return [one for one in found if one is not None]


def _words(value: Any) -> Iterator[str]:
    """Yield how people write a value: the text of a concept, a quantity with its unit, a name."""
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str):
        if text := value.strip():
            yield text
    elif isinstance(value, int | Decimal):
        yield _digits(Decimal(value))
    elif isinstance(value, list):
        for one in value:
            yield from _words(one)
    elif isinstance(value, dict):
        yield from _words_of(value)


def _words_of(value: Mapping[str, Any]) -> Iterator[str]:
    codings = value.get("coding")
    codings = [one for one in codings if isinstance(one, dict)] if isinstance(codings, list) else []
    text = _first_text(
        value.get("text"),
        value.get("display"),
        *(one.get("display") for one in codings),
        *(one.get("code") for one in codings),
    )
    if text:
        yield text
        return
    number = _number(value.get("value"))
    if number is not None:
        yield " ".join(filter(None, (_digits(number), _first_text(value.get("unit"), value.get("code")))))
        return
    for first, second, between in (
        ("low", "high", "–"),
        ("numerator", "denominator", ":"),
        ("start", "end", "–"),
    ):
        if first in value or second in value:
            yield between.join(_join(_words(value.get(name))) or "" for name in (first, second))
            return
    if text := _first_text(value.get("code"), value.get("reference")):
        yield text


def _first_text(*values: Any) -> str | None:
    return next((text for one in values if isinstance(one, str) and (text := one.strip())), None)


def _join(words: Iterator[str]) -> str | None:
    """Return the first words, each once."""
    told: dict[str, None] = {}
    for word in words:
        told[word] = None
        if len(told) == _JOINED_MOST:
            break
    return _cut("；".join(told), _TEXT_MOST) if told else None


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() else None


def _digits(number: Decimal) -> str:
    """Return a number as it was written; one with an enormous exponent keeps it."""
    return format(number, "f") if abs(number.adjusted()) <= _EXPONENT_MOST else str(number)


def _cut(text: str | None, most: int) -> str | None:
    if text is None or len(text) <= most:
        return text
    return text[: most - 1] + "…"
