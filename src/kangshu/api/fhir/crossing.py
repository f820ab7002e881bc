"""`Patient/$ihe-pix` (IHE PIXm, ITI-83): under which other numbers is the holder of this one known?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from kangshu import identity, records
from kangshu.api.errors import ParameterRefusedError, say
from kangshu.api.fhir.answers import base, resource_response
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.granting import Finder
from kangshu.api.fhir.matching import note_question, sender_of
from kangshu.api.fhir.parameters import (
    FORM,
    SHOWING,
    named_values,
    read_parameters,
    read_resource,
    shown_name,
)
from kangshu.api.fhir.persons import (
    PERSON_SYSTEM,
    PREFIX,
    Domain,
    as_identifier,
    is_known_domain,
    numbers_of,
    person_of,
    sent_patients,
)
from kangshu.api.problems import accepted_language
from kangshu.identity import Candidate
from kangshu.mapping import Authorities, SubjectIdentifier
from kangshu.standards import fhir
from kangshu.storage.database import Connection

WHAT = "Patient/$ihe-pix"
_SOURCE, _TARGET = "sourceIdentifier", "targetSystem"
_TARGETS_MOST = 50


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Who is asked about: a number, or the id of a Patient of this door."""

    system: str
    value: str
    number: SubjectIdentifier | None = None
    patient: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Targets:
    """What is wanted: everything, or the numbers of some domains, the Patients, the index's own number."""

    domains: Collection[Domain] | None = None
    patients: bool = True
    own: bool = True


async def cross_reference(asked: Asked) -> Response:
    """Answer with the other numbers and the Patients of whoever holds a number.

    The words of the refusals are those of ITI-83, so they are the same in both languages.
    """
    principal = await asked.reader()
    source_text, target_texts = await _asked_for(asked)
    source = _source(asked, source_text, sender=sender_of(principal))
    finder = Finder(asked, principal, what=WHAT)
    await finder.check_purpose()
    services = asked.services
    async with services.database.connection() as connection:
        if source.number is not None and not await is_known_domain(
            connection, source.number, authorities=services.authorities
        ):
            return _refused(asked, 400, "code-invalid", "pix_source_domain", _SOURCE)
        targets = await _targets(asked, connection, target_texts, sender=sender_of(principal))
        if targets is None:
            return _refused(asked, 403, "code-invalid", "pix_target", _TARGET)
        person = await _holder(connection, asked, source)
        found = [] if person is None else [person]
        candidates = await identity.describe_persons(connection, keys=services.keys, persons=found)
        if not candidates:
            await note_question(connection, finder, what=WHAT, found=0, shown=0)
            return _refused(asked, 404, "not-found", "pix_source", _SOURCE)
        (candidate,) = candidates
        group = (candidate.person.id, *candidate.person.absorbed)
        grant = (await finder.grants(connection, [group])).get(group[0])
        await note_question(connection, finder, what=WHAT, found=1, shown=int(grant is not None))
        if grant is None:  # who may not know that somebody is known does not learn it here
            return _refused(asked, 404, "not-found", "pix_source", _SOURCE)
        sent = await sent_patients(connection, finder, group, grant) if targets.patients else []
    told = _told(candidate, source, targets, sent, authorities=services.authorities)
    body: dict[str, Any] = {"resourceType": "Parameters"}
    if told:
        body["parameter"] = told
    return resource_response(asked.request, fhir.dumps(body))


async def _asked_for(asked: Asked) -> tuple[str, list[str]]:
    """Return source and targets out of the address, a form, or Parameters.

    Raises:
        ParameterRefusedError: there is not exactly one source, or something else besides.
    """
    media_type = asked.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if asked.request.method == "POST" and media_type != FORM:
        resource, issues = await read_resource(asked)
        if issues:
            raise ParameterRefusedError(say["fhir_parameters"], place=issues[0].expression)
        given = named_values(resource, allowed=(_SOURCE, _TARGET))
    else:
        given: dict[str, list[Any]] = {}
        for name, value in await read_parameters(asked):
            if name in (_SOURCE, _TARGET):
                given.setdefault(name, []).append(value)
            elif name not in SHOWING:
                raise ParameterRefusedError(say["fhir_parameter"], place=shown_name(name))
    sources = [_text(one) for one in given.get(_SOURCE, [])]
    targets = [_text(one) for one in given.get(_TARGET, [])]
    if len(sources) != 1 or not sources[0]:
        raise ParameterRefusedError(say["pix_one_source"], place=_SOURCE)
    if len(targets) > _TARGETS_MOST or not all(targets):
        raise ParameterRefusedError(say["fhir_parameter"], place=_TARGET)
    return sources[0], targets


def _text(value: object) -> str:
    """A token comes as text, or as the Identifier that it stands for."""
    if isinstance(value, Mapping):
        return f"{value.get('system', '')}|{value.get('value', '')}"
    return value if isinstance(value, str) else ""


def _source(asked: Asked, text: str, *, sender: str) -> _Source:
    system, bar, value = text.partition("|")
    system, value = system.strip(), value.strip()
    if not (bar and system and value):
        raise ParameterRefusedError(say["pix_one_source"], place=_SOURCE)
    if system == PERSON_SYSTEM:
        return _Source(system=system, value=value, patient=f"{PREFIX}{value}")
    if system.rstrip("/") == base(asked.request) and value.startswith("Patient/"):
        return _Source(system=system, value=value, patient=value.removeprefix("Patient/"))
    number = asked.services.authorities.resolve(value=value, authority=system, type_code=None, sender=sender)
    if number is None:
        raise ParameterRefusedError(say["pix_one_source"], place=_SOURCE)
    return _Source(system=system, value=value, number=number)


async def _targets(
    asked: Asked, connection: Connection, systems: Sequence[str], *, sender: str
) -> _Targets | None:
    """Return what is wanted; None where a system is nobody's."""
    if not systems:
        return _Targets()
    authorities, own = asked.services.authorities, base(asked.request)
    domains: set[Domain] = set()
    for system in systems:
        if system.rstrip("/") == own or system == PERSON_SYSTEM:
            continue
        one = authorities.resolve(value="?", authority=system, type_code=None, sender=sender)
        if one is None or not await is_known_domain(connection, one, authorities=authorities):
            return None
        domains.add((one.kind, one.issuer))
    return _Targets(
        domains=domains,
        patients=any(system.rstrip("/") == own for system in systems),
        own=PERSON_SYSTEM in systems,
    )


async def _holder(connection: Connection, asked: Asked, source: _Source) -> int | None:
    if source.number is not None:
        return await identity.find_holder(connection, keys=asked.services.keys, identifier=source.number)
    assert source.patient is not None, "a source is a number or a Patient"
    if (person := person_of(source.patient)) is not None:
        return person
    (header,) = await records.read_headers(connection, requests=[("Patient", source.patient)])
    return header.person if header is not None and not header.deleted else None


def _told(
    candidate: Candidate,
    source: _Source,
    targets: _Targets,
    sent: Sequence[str],
    *,
    authorities: Authorities,
) -> list[dict[str, Any]]:
    """Return the parameters of the answer; what was asked with is not among them."""
    person = candidate.person.id
    own = {"system": PERSON_SYSTEM, "value": str(person)}
    identifiers = [own] if targets.own and source.patient != f"{PREFIX}{person}" else []
    identifiers += [
        as_identifier(one, authorities=authorities)
        for one in numbers_of(candidate, domains=targets.domains)
        if not _is_same(one, source.number)
    ]
    patients = [f"{PREFIX}{person}", *sent] if targets.patients else []
    return [
        *({"name": "targetIdentifier", "valueIdentifier": one} for one in identifiers),
        *(
            {"name": "targetId", "valueReference": {"reference": f"Patient/{one}"}}
            for one in patients
            if one != source.patient
        ),
    ]


def _is_same(one: SubjectIdentifier, asked: SubjectIdentifier | None) -> bool:
    """Return whether these are one number, however it was written."""
    return asked is not None and (one.kind, one.issuer, _plain(one.value)) == (
        asked.kind,
        asked.issuer,
        _plain(asked.value),
    )


def _plain(value: str) -> str:
    return value.replace(" ", "").replace("-", "").upper()


def _refused(asked: Asked, status: int, code: str, key: str, place: str) -> Response:
    """Answer with the words of ITI-83 as diagnostics."""
    text = say[key]
    issue = {
        "severity": "error",
        "code": code,
        "details": {"text": text.in_(accepted_language(asked.request))},
        "diagnostics": text.en,
        "expression": [place],
    }
    body = fhir.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
    return resource_response(asked.request, body, status=status)
