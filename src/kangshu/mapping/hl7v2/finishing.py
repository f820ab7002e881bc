"""What rows cannot say: functions that declarations name, called when a value or a resource is complete."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from kangshu.mapping.hl7v2.datatypes import joined_name
from kangshu.mapping.hl7v2.errors import say
from kangshu.mapping.hl7v2.persons import person_number
from kangshu.mapping.hl7v2.values import Building, Finish, Moment, Repetition
from kangshu.mapping.hl7v2.vocabulary import plain

FinishValue: TypeAlias = Callable[[dict[str, Any], Repetition, Moment], Any]
"""Completes the value of a data type map; may give several values in a list, or None to leave it out."""

_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_MINUTES_MOST = 60 * 24 * 366


def person_identifier(value: dict[str, Any], repetition: Repetition, moment: Moment) -> dict[str, Any] | None:
    """Name the authority of a person's number; a number that names no person (a bed, a visit) is left out."""
    identifier = person_number(repetition, moment)
    if identifier is None:
        return None
    value["system"] = plain(moment.authorities.system_of(identifier))
    return value


def person_name(value: dict[str, Any], repetition: Repetition, _: Moment) -> Any:
    """Read names as they are meant in China, too: in one piece, or with the spelling in Latin letters beside.

    `测试丙` is a whole name, not a family; of `CeShiYi^测试乙` each part is the whole name.
    """
    family, given = value.get("family", ""), value.get("given", [])
    if not _HAN.search(family) and not any(_HAN.search(one) for one in given):
        return value
    value.pop("suffix", None)  # a degree is never written in XPN.6 here, but numbers of the sender's own are
    latin = [one for one in (family, *given) if one and not _HAN.search(one)]
    value["text"] = joined_name(family, given)
    if latin or not given or not family:
        value.pop("family", None)
        value.pop("given", None)
    if not latin:
        return value
    spelt = {"text": " ".join(latin), "extension": [{"url": _REPRESENTATION, "valueCode": "SYL"}]}
    return [value, {**({"use": value["use"]} if "use" in value else {}), **spelt}]


def address_text(value: dict[str, Any], _: Repetition, __: Moment) -> dict[str, Any]:
    """Keep an address that stands in one piece, as Chinese systems write it, as text too."""
    lines = value.get("line", [])
    if lines and _HAN.search(lines[0]) and not (value.keys() & {"city", "state"}):
        value["text"] = "".join(lines)
    return value


def ordered(value: dict[str, Any], _: Repetition, __: Moment) -> dict[str, Any]:
    """Leave out the end of a period that would end before it starts."""
    if _before(value.get("end"), value.get("start")):
        del value["end"]
    return value


def period_ordered(value: dict[str, Any], _: Repetition, __: Moment) -> dict[str, Any]:
    """Leave out the end of a value's period that would end before it starts."""
    _order_period(value, "period")
    return value


VALUE_FINISHERS: Mapping[str, FinishValue] = {
    "ordered": ordered,
    "period": period_ordered,
    "person_identifier": person_identifier,
    "person_name": person_name,
    "address_text": address_text,
}


def _distinct(elements: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Return the elements of which those before do not say the same under `names`; the fuller one stays."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in elements:
        mark = tuple(one.get(name) for name in names)
        before = found.get(mark)
        if before is None or len(one) > len(before):
            found[mark] = one
    return list(found.values())


def finish_patient(building: Building, _: Moment) -> bool:
    """Leave out what is said twice: senders repeat a number in PID-2, PID-3 and PID-4."""
    resource = building.resource
    if len(resource.get("identifier", ())) > 1:
        resource["identifier"] = _distinct(resource["identifier"], "system", "value")
    if len(resource.get("telecom", ())) > 1:
        resource["telecom"] = _distinct(resource["telecom"], "system", "value")
    return True


def finish_encounter(building: Building, _: Moment) -> bool:
    """Leave out an end before the start: systems send the last visit's end with the next visit's start."""
    _order_period(building.resource, "period")
    identifiers = building.resource.get("identifier", ())
    if len(identifiers) > 1:
        building.resource["identifier"] = _distinct(identifiers, "system", "value")
    return True


def order_periods(building: Building, _: Moment) -> bool:
    """Leave out the end of a period that would end before it starts."""
    for name in ("period", "effectivePeriod", "performedPeriod"):
        _order_period(building.resource, name)
    return True


def _order_period(resource: dict[str, Any], name: str) -> None:
    period = resource.get(name)
    if isinstance(period, dict) and _before(period.get("end"), period.get("start")):
        del period["end"]


def _before(one: str | None, other: str | None) -> bool:
    """Tell whether a time lies before another, as far as both are told."""
    if not one or not other:
        return False
    if "T" in one and "T" in other:
        return datetime.fromisoformat(_plain_moment(one)) < datetime.fromisoformat(_plain_moment(other))
    length = min(len(one), len(other), 10)
    return one[:length] < other[:length]


def _plain_moment(text: str) -> str:
    """Return a dateTime with at most microseconds: more digits than Python reads are no use for order."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


def join_lines(building: Building, _: Moment) -> bool:
    """Put the lines of a text together that came in several segments."""
    lines = building.lines
    if not lines:
        return True
    resource = building.resource
    first = resource.get("valueString", "")
    resource["valueString"] = "\n".join([first, *lines]).rstrip()
    return True


def finish_observation(building: Building, moment: Moment) -> bool:
    """Say what it is where the sender names it nowhere; an absent value needs no reason beside a value."""
    join_lines(building, moment)
    resource = building.resource
    if "dataAbsentReason" in resource and any(name.startswith("value") for name in resource):
        del resource["dataAbsentReason"]
    resource.setdefault("code", _not_told())
    return True


def finish_report(building: Building, moment: Moment) -> bool:
    """A report says what it reports on, if only that the sender does not say."""
    building.resource.setdefault("code", _not_told())
    return order_periods(building, moment)


def _not_told() -> dict[str, Any]:
    return {"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}


def finish_document(building: Building, _: Moment) -> bool:
    """Make the text of a document, which came line by line, its content; without content it stays named."""
    resource = building.resource
    lines = resource.pop("#lines", None)
    kind = resource.pop("#contentType", None)
    contents: list[dict[str, Any]] = resource.pop("content", [])
    if lines:
        text = "\n".join(lines)
        data = base64.b64encode(text.encode()).decode("ascii")
        contents.insert(0, {"attachment": {"contentType": "text/plain; charset=utf-8", "data": data}})
    if not contents:
        title = resource.get("description")
        attachment = {name: value for name, value in (("contentType", kind), ("title", title)) if value}
        contents = [{"attachment": attachment or _not_told()}]
    resource["content"] = contents
    return True


def finish_appointment(building: Building, moment: Moment) -> bool:
    """Give an appointment the end that start and length tell; FHIR knows no start without an end."""
    resource = building.resource
    start, minutes = resource.pop("#start", None), resource.pop("#minutes", None)
    start, minutes = resource.get("start") or start, resource.get("minutesDuration") or minutes
    if start:
        resource["start"] = start
    if lines := resource.pop("#comment", None):
        resource["comment"] = "\n".join(lines)
    if start and "end" not in resource and minutes and minutes <= _MINUTES_MOST:
        end = datetime.fromisoformat(_plain_moment(start)) + timedelta(minutes=minutes)
        resource["end"] = end.isoformat()
    if ("start" in resource) != ("end" in resource):
        lone = resource.pop("start", None) or resource.pop("end", None)
        if lone and "requestedPeriod" not in resource:
            resource["requestedPeriod"] = [{"start": lone}]
    if _before(resource.get("end"), resource.get("start")):
        resource["end"] = resource["start"]
    _check_untimed(resource, moment)
    if resource.get("status") not in ("cancelled", "noshow"):
        resource.pop("cancelationReason", None)
    if not resource.get("participant"):
        resource["participant"] = [{"actor": _not_told(), "status": "needs-action"}]
    return True


def _check_untimed(resource: dict[str, Any], moment: Moment) -> None:
    """Only what is proposed, waitlisted or cancelled may be without a time (app-3)."""
    if "start" in resource or resource.get("status") in ("proposed", "cancelled", "waitlist"):
        return
    moment.note("no_appointment_time", say["no_appointment_time"])
    # What is over or an error must not look like a plan: cancelled is the nearest that FHIR allows.
    over = resource.get("status") in ("entered-in-error", "noshow", "fulfilled")
    resource["status"] = "cancelled" if over else "proposed"


def finish_allergy(building: Building, _: Moment) -> bool:
    """An entry made in error has no clinical status (ait-2)."""
    return _without_clinical_status(building)


def finish_condition(building: Building, _: Moment) -> bool:
    """An entry made in error has no clinical status (con-5); what has ended is not active (con-4)."""
    resource = building.resource
    _without_clinical_status(building)
    ended = any(name.startswith("abatement") for name in resource)
    status = resource.get("clinicalStatus", {}).get("coding", [{}])[0]
    if ended and status.get("code") in ("active", "recurrence", "relapse"):
        status["code"] = "resolved"
    return True


def _without_clinical_status(building: Building) -> bool:
    codings = building.resource.get("verificationStatus", {}).get("coding", ())
    if any(one.get("code") == "entered-in-error" for one in codings):
        building.resource.pop("clinicalStatus", None)
    return True


def finish_medication(building: Building, _: Moment) -> bool:
    """A prescription names its drug, if only as not told; a dose is a range or one amount."""
    for dosage in building.resource.get("dosageInstruction", ()):
        _order_period(dosage.get("timing", {}).get("repeat", {}), "boundsPeriod")
        for dose in dosage.get("doseAndRate", ()):
            found = dose.get("doseRange")
            if found is None:
                continue
            dose.pop("doseQuantity", None)
            if {"low", "high"} <= found.keys() and found["low"]["value"] > found["high"]["value"]:
                del found["high"]  # what is least is told, and no most can be less
    building.resource.setdefault("medicationCodeableConcept", _not_told())
    return True


def finish_coverage(building: Building, moment: Moment) -> bool:
    """An insurance has a payer, if only one that the sender does not name."""
    building.resource.setdefault("payor", [_not_told()])
    return order_periods(building, moment)


def finish_administration(building: Building, moment: Moment) -> bool:
    """A drug that was given was given at some time; a dose has an amount or a way."""
    resource = building.resource
    if "effectiveDateTime" not in resource and "effectivePeriod" not in resource:
        resource["effectivePeriod"] = _not_told()
    if "dose" not in resource.get("dosage", {"dose": None}):
        del resource["dosage"]  # a way without an amount is no dosage (mad-1)
    return order_periods(building, moment)


def finish_request(building: Building, _: Moment) -> bool:
    """An order has a state; details are details of something (prr-1)."""
    resource = building.resource
    resource.setdefault("status", "unknown")
    resource.setdefault("intent", "order")
    if "code" not in resource and "orderDetail" in resource:
        resource["code"] = resource.pop("orderDetail")[0]
    _order_period(resource, "occurrencePeriod")
    return True


def finish_immunization(building: Building, _: Moment) -> bool:
    """A vaccination is of some vaccine at some time, if only that the sender does not say which and when."""
    resource = building.resource
    resource.setdefault("vaccineCode", _not_told())
    if "occurrenceDateTime" not in resource:
        resource["_occurrenceString"] = _not_told()
    return True


def finish_procedure(building: Building, moment: Moment) -> bool:
    """Give a procedure the period that start and minutes tell."""
    resource = building.resource
    minutes, start = resource.pop("#minutes", None), resource.get("performedDateTime", "")
    if minutes and minutes <= _MINUTES_MOST and "T" in start:
        end = datetime.fromisoformat(_plain_moment(start)) + timedelta(minutes=minutes)
        del resource["performedDateTime"]
        resource["performedPeriod"] = {"start": start, "end": end.isoformat()}
    return order_periods(building, moment)


RESOURCE_FINISHERS: Mapping[str, Finish] = {
    "patient": finish_patient,
    "encounter": finish_encounter,
    "periods": order_periods,
    "coverage": finish_coverage,
    "request": finish_request,
    "report": finish_report,
    "administration": finish_administration,
    "immunization": finish_immunization,
    "procedure": finish_procedure,
    "observation": finish_observation,
    "document": finish_document,
    "appointment": finish_appointment,
    "allergy": finish_allergy,
    "condition": finish_condition,
    "medication": finish_medication,
}
