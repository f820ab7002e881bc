"""Read from a FHIR Patient what tells who it is, whatever the message was that brought it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from kangshu.mapping.authorities import Authorities
from kangshu.mapping.model import Subject, SubjectIdentifier

_MOTHERS_NAME = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
_SEX = {"male": "1", "female": "2"}
_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_USES = ("official", "usual", "", "nickname", "anonymous", "temp", "maiden", "old")
_PHONES = ("phone", "sms")
_ABOUT = ("subject", "patient", "beneficiary", "for", "individual", "policyHolder")
_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")


def subject_of(patient: Mapping[str, Any], *, sender: str, authorities: Authorities) -> Subject:
    """Return the person of whom a Patient tells; what is not told, or told in part only, is None.

    `sender` is the institution that sent it: numbers without an authority are its own.
    """
    return Subject(
        institution=sender,
        identifiers=_identifiers(patient.get("identifier", ()), sender=sender, authorities=authorities),
        name=_name(patient.get("name", ())),
        birth_date=_day(patient.get("birthDate")),
        sex=_SEX.get(patient.get("gender", "")),
        phone=_phone(patient.get("telecom", ())),
        address=_address(patient.get("address", ())),
    )


def patient_of(resource: Mapping[str, Any]) -> str | None:
    """Return the id of the Patient that the resource is about, where it refers to one by `Patient/id`."""
    if resource.get("resourceType") == "Patient":
        return resource.get("id")
    for reference in _about(resource):
        literal = reference.get("reference", "")
        if literal.startswith("Patient/"):
            return literal.removeprefix("Patient/").partition("/")[0] or None
    return None


def named_subject_of(resource: Mapping[str, Any], *, sender: str, authorities: Authorities) -> Subject | None:
    """Return the person whom the resource names by a number alone, without referring to a Patient."""
    for reference in _about(resource):
        if one := reference.get("identifier"):
            identifiers = _identifiers([one], sender=sender, authorities=authorities)
            name = reference.get("display")
            return Subject(institution=sender, identifiers=identifiers, name=name) if identifiers else None
    return None


def mother_told_by(resource: Mapping[str, Any], *, sender: str, authorities: Authorities) -> Subject | None:
    """Return the mother of whom a resource tells: a RelatedPerson of that kind, or a Patient's extension."""
    if resource.get("resourceType") == "RelatedPerson":
        kinds = [
            coding.get("code") for one in resource.get("relationship", ()) for coding in one.get("coding", ())
        ]
        return subject_of(resource, sender=sender, authorities=authorities) if "MTH" in kinds else None
    for extension in resource.get("extension", ()) if resource.get("resourceType") == "Patient" else ():
        if extension.get("url") == _MOTHERS_NAME and (name := extension.get("valueString")):
            return Subject(institution=sender, identifiers=(), name=name)
    return None


def _about(resource: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the references by which a resource can say whom it is about, the likelier first."""
    found = [resource[key] for key in _ABOUT if isinstance(resource.get(key), dict)]
    if resource.get("resourceType") in ("Appointment", "AppointmentResponse", "Person", "Group", "List"):
        actors = [one.get("actor") for one in resource.get("participant", ()) if isinstance(one, dict)]
        found += [one for one in (*actors, resource.get("actor")) if isinstance(one, dict)]
    return found


def _identifiers(
    identifiers: Sequence[Mapping[str, Any]], *, sender: str, authorities: Authorities
) -> tuple[SubjectIdentifier, ...]:
    found: dict[SubjectIdentifier, None] = {}
    for one in identifiers:
        if one.get("use") == "old" or not one.get("value"):
            continue
        codings = one.get("type", {}).get("coding", ())
        code = next((coding["code"] for coding in codings if coding.get("code")), None)
        authority = one.get("system") or one.get("assigner", {}).get("display")
        resolved = authorities.resolve(value=one["value"], authority=authority, type_code=code, sender=sender)
        if resolved:
            found[resolved] = None
    return tuple(found)


def _name(names: Sequence[Mapping[str, Any]]) -> str | None:
    told = [(_USES.index(use) if (use := one.get("use", "")) in _USES else 2, one) for one in names]
    for _, one in sorted(told, key=lambda pair: pair[0]):
        if text := one.get("text") or _joined(one):
            return text
    return None


def _joined(name: Mapping[str, Any]) -> str:
    family, given = name.get("family", ""), [part for part in name.get("given", ()) if part]
    if _HAN.search(family + "".join(given)):
        return family + "".join(given)
    return " ".join(part for part in (*given, family) if part)


def _day(text: object) -> date | None:
    if not isinstance(text, str) or not _DAY.match(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _phone(contacts: Sequence[Mapping[str, Any]]) -> str | None:
    mobile_first = sorted(contacts, key=lambda one: one.get("use") != "mobile")
    return next(
        (one["value"] for one in mobile_first if one.get("system") in _PHONES and one.get("value")), None
    )


def _address(addresses: Sequence[Mapping[str, Any]]) -> str | None:
    """Return where the person lives, from the largest part to the smallest, as Chinese addresses are told."""
    for one in sorted(addresses, key=lambda one: (one.get("use") == "old", one.get("use") != "home")):
        parts = [one.get(part) for part in ("state", "city", "district")]
        lines = [line for line in one.get("line", ()) if isinstance(line, str)]
        told = "".join(part for part in (*parts, *lines) if isinstance(part, str))
        text = one.get("text")
        if found := text if isinstance(text, str) and text.strip() else told:
            return found
    return None
