"""Persons of the index as Patients: `Patient/empi-17` is what all institutions together know of one human.

Nobody sent such a Patient, and nobody can write one: it is made out of the index when it is asked for, and
links to the Patients that were sent. Of who was merged into another a Patient is left that says into whom.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from kangshu import directory, identity, records
from kangshu.api.errors import say
from kangshu.api.fhir.answers import outcome_response, resource_response
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.granting import Finder
from kangshu.consent import AccessGrant
from kangshu.identity import Candidate, Identifier
from kangshu.mapping import Authorities, IdentifierKind, SubjectIdentifier
from kangshu.standards import fhir
from kangshu.storage.database import Connection

PREFIX = "empi-"
PERSON_SYSTEM = "urn:kangshu:person"
"""The system of the index's own numbers of persons."""

Domain = tuple[IdentifierKind, str | None]
"""In whose range numbers are unique: their kind, and who assigns them."""

_NUMBER = re.compile(rf"{PREFIX}([1-9][0-9]{{0,17}})", re.ASCII)
_MOTHERS_NAME = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
_GENDERS = {"1": "male", "2": "female"}
_KINDS = {
    identity.IdentifierKind.RESIDENT_NUMBER: IdentifierKind.RESIDENT_NUMBER,
    identity.IdentifierKind.DOCUMENT: IdentifierKind.DOCUMENT,
    identity.IdentifierKind.LOCAL_NUMBER: IdentifierKind.LOCAL_NUMBER,
}
_MASK = "*"
_SENT_MOST = 50  # Patients of one person that an answer links to


def person_of(id: str) -> int | None:  # noqa: A002 - FHIR's word
    """Return the person whose Patient of the index this id names, or None.

    >>> person_of("empi-17"), person_of("17")
    (17, None)
    """
    found = _NUMBER.fullmatch(id)
    return int(found[1]) if found else None


def told_identifier(identifier: Identifier) -> SubjectIdentifier | None:
    """Return one of a person's numbers as messages tell them; None for what is no number."""
    kind = _KINDS.get(identifier.kind)
    if kind is None or not identifier.value:
        return None
    return SubjectIdentifier(kind=kind, issuer=identifier.issuer, value=identifier.value)


def numbers_of(candidate: Candidate, *, domains: Collection[Domain] | None = None) -> list[SubjectIdentifier]:
    """Return a person's numbers, each once, the strongest first; with `domains` those of these only."""
    told = [one for identifier in candidate.identifiers if (one := told_identifier(identifier))]
    return [one for one in dict.fromkeys(told) if domains is None or (one.kind, one.issuer) in domains]


def as_identifier(number: SubjectIdentifier, *, authorities: Authorities) -> dict[str, Any]:
    """Return a number as FHIR writes it."""
    return {"system": authorities.system_of(number), "value": number.value}


def patient_of_person(
    candidate: Candidate,
    *,
    authorities: Authorities,
    sent: Iterable[str] = (),
    domains: Collection[Domain] | None = None,
) -> dict[str, Any]:
    """Return a person of the index as a Patient; `sent` are the ids of the Patients that were sent of it.

    With `domains` only numbers of these are told.
    """
    person = candidate.person
    numbers = numbers_of(candidate, domains=domains)
    own = [] if domains is not None else [{"system": PERSON_SYSTEM, "value": str(person.id)}]
    made: dict[str, Any] = {"resourceType": "Patient", "id": f"{PREFIX}{person.id}"}
    if candidate.mother is not None and candidate.mother.name:
        made["extension"] = [{"url": _MOTHERS_NAME, "valueString": candidate.mother.name}]
    made["identifier"] = own + [as_identifier(one, authorities=authorities) for one in numbers]
    made["active"] = True
    if person.name:
        made["name"] = [_name(person.name)]
    if person.phone:
        made["telecom"] = [{"system": "phone", "value": person.phone}]
    made["gender"] = _GENDERS.get(person.sex or "", "unknown")
    if person.birth_date is not None:
        made["birthDate"] = person.birth_date.isoformat()
    made["link"] = [{"other": {"reference": f"Patient/{one}"}, "type": "seealso"} for one in sent]
    return {name: value for name, value in made.items() if value != []}


def masked_patient(candidate: Candidate) -> dict[str, Any]:
    """Return a person as one sees it who may find persons, but not read of this one."""
    person = candidate.person
    made: dict[str, Any] = {
        "resourceType": "Patient",
        "id": f"{PREFIX}{person.id}",
        "meta": {
            "security": [
                {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "MASKED"}
            ]
        },
        "identifier": [{"system": PERSON_SYSTEM, "value": str(person.id)}],
        "active": True,
    }
    if person.name:
        made["name"] = [{"text": person.name[0] + _MASK * 2}]
    made["gender"] = _GENDERS.get(person.sex or "", "unknown")
    if person.birth_date is not None:
        made["birthDate"] = f"{person.birth_date.year:04d}"
    return made


def replaced_patient(person: int, *, survivor: int) -> dict[str, Any]:
    """Return what is left of who was merged into another."""
    return {
        "resourceType": "Patient",
        "id": f"{PREFIX}{person}",
        "identifier": [{"system": PERSON_SYSTEM, "value": str(person)}],
        "active": False,
        "link": [{"other": {"reference": f"Patient/{PREFIX}{survivor}"}, "type": "replaced-by"}],
    }


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A person as this caller may see it."""

    person: int
    patient: Mapping[str, Any]
    masked: bool


async def show_persons(
    connection: Connection,
    finder: Finder,
    candidates: Sequence[Candidate],
    *,
    authorities: Authorities,
    domains: Collection[Domain] | None = None,
) -> list[Shown]:
    """Return these persons as whoever asks may see them, in their order, and put on record who was seen.

    Whole where there is a grant; masked where he may find persons only; else not at all.

    Raises:
        ConsentError: it is refused for anything else than reach.
    """
    groups = [(one.person.id, *one.person.absorbed) for one in candidates]
    grants = await finder.grants(connection, groups)
    shown: list[Shown] = []
    for candidate, group in zip(candidates, groups, strict=True):
        grant = grants.get(group[0])
        if grant is not None:
            sent = await sent_patients(connection, finder, group, grant)
            patient = patient_of_person(candidate, authorities=authorities, sent=sent, domains=domains)
            shown.append(Shown(person=group[0], patient=patient, masked=False))
        elif finder.may_find:
            shown.append(Shown(person=group[0], patient=masked_patient(candidate), masked=True))
    return shown


async def sent_patients(
    connection: Connection, finder: Finder, group: Sequence[int], grant: AccessGrant
) -> list[str]:
    """Return the ids of the Patients that were sent of a person."""
    page = await records.everything(
        connection,
        persons=group,
        grant=grant,
        principal=finder.principal,
        now=finder.now,
        types=["Patient"],
        count=_SENT_MOST,
    )
    return [one.id for one in page.resources]


async def read_person(asked: Asked, person: int) -> Response:
    """Answer with a person of the index, authorised and on record."""
    principal = await asked.reader()
    finder = Finder(asked, principal, what=f"Patient/{asked.id}")
    await finder.check_purpose()
    async with asked.services.database.connection() as connection:
        found = await identity.describe_persons(connection, keys=asked.services.keys, persons=[person])
        if not found or asked.version:
            return outcome_response(asked.request, status=404, code="not-found", text=say["fhir_no_resource"])
        (candidate,) = found
        group = (candidate.person.id, *candidate.person.absorbed)
        grant = await finder.grant(connection, group)
        sent = await sent_patients(connection, finder, group, grant)
    if candidate.person.id != person:
        patient = replaced_patient(person, survivor=candidate.person.id)
    else:
        patient = patient_of_person(candidate, authorities=asked.services.authorities, sent=sent)
    return resource_response(asked.request, fhir.dumps(patient))


async def is_known_domain(
    connection: Connection, number: SubjectIdentifier, *, authorities: Authorities
) -> bool:
    """Return whether anybody assigns numbers under the authority of this one."""
    if number.kind is not IdentifierKind.LOCAL_NUMBER or not number.issuer:
        return True
    if number.issuer.upper() in authorities.by_name:
        return True
    if await directory.find_institution(connection, code=number.issuer) is not None:
        return True
    return bool(await identity.known_issuers(connection, issuers=[number.issuer]))


def _name(name: str) -> dict[str, Any]:
    """A Latin name is given in parts (the family's stands last), a Chinese one whole."""
    given, _, family = name.rpartition(" ")
    if not given:
        return {"use": "official", "text": name}
    return {"use": "official", "text": name, "family": family, "given": given.split(" ")}
