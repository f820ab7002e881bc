"""Conditional update of a Patient (IHE PIXm, ITI-104): the feed of those who assign numbers to persons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from kangshu import records
from kangshu.api.errors import ParameterRefusedError, say
from kangshu.api.fhir.answers import base, outcome_response, resource_response, written_response
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.matching import sender_of
from kangshu.api.fhir.parameters import SHOWING, read_query, read_resource, shown_name
from kangshu.api.fhir.writing import matched_version
from kangshu.api.problems import accepted_language
from kangshu.records import FhirRequest
from kangshu.security.principals import Principal
from kangshu.security.sealing import digest_many
from kangshu.standards import fhir
from kangshu.storage.database import Connection

_IDENTIFIER = "identifier"


async def feed(asked: Asked) -> Response:
    """Write the caller's Patient that has the number in the address; the first time it is created.

    Two at the same moment write one Patient: its id follows from sender and number.
    """
    principal = await asked.writer()
    system, value = _number(asked)
    patient, issues = await read_resource(asked)
    if issues:
        body = fhir.dumps(fhir.outcome(issues, language=accepted_language(asked.request)))
        return resource_response(asked.request, body, status=422)
    if patient.get("resourceType") != "Patient" or not _has(patient, system, value):
        raise ParameterRefusedError(say["fhir_feed_identifier"], place=_IDENTIFIER)
    async with asked.services.database.connection() as connection:
        ids = await _own_patients(connection, principal, system, value)
    if len(ids) > 1:
        return outcome_response(
            asked.request, status=412, code="multiple-matches", text=say["fhir_feed_several"]
        )
    identity = ids[0] if ids else _new_id(asked, sender_of(principal), system, value)
    patient["id"] = identity
    request = FhirRequest(
        method="update",
        body=fhir.dumps(patient),
        type="Patient",
        id=identity,
        content_type="application/fhir+json",
        if_match=matched_version(asked.request.headers.get("if-match")),
        request_id=asked.request_id,
        base=base(asked.request),
    )
    return written_response(asked.request, await asked.services.write_fhir(request, principal=principal))


def _number(asked: Asked) -> tuple[str, str]:
    given = [(name, value) for name, value in read_query(asked) if name not in SHOWING]
    if len(given) != 1 or given[0][0] != _IDENTIFIER:
        place = next((name for name, _ in given if name != _IDENTIFIER), _IDENTIFIER)
        raise ParameterRefusedError(say["fhir_feed_identifier"], place=shown_name(place))
    system, bar, value = given[0][1].partition("|")
    if not (bar and system and value):
        raise ParameterRefusedError(say["fhir_feed_identifier"], place=_IDENTIFIER)
    return system, value


def _has(patient: Mapping[str, Any], system: str, value: str) -> bool:
    return any(
        one.get("system") == system and one.get("value") == value for one in patient.get("identifier", ())
    )


async def _own_patients(connection: Connection, principal: Principal, system: str, value: str) -> list[str]:
    """Return the Patients with the number that the caller's own institution sent."""
    (ids,) = await records.find_by_identifiers(connection, criteria=[("Patient", ((system, value),))])
    headers = await records.read_headers(connection, requests=[("Patient", one) for one in ids])
    return [
        one.id for one in headers if one and not one.deleted and one.institution in principal.institutions
    ]


def _new_id(asked: Asked, sender: str, system: str, value: str) -> str:
    """Return an id that nobody can guess without the platform's key."""
    (digest,) = digest_many(asked.services.keys.lookup_key, [f"fhir-feed:{sender}|{system}|{value}"])
    return digest.hex()
