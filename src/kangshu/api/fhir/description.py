"""The FHIR door in the OpenAPI description: what its CapabilityStatement says in FHIR's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FHIR = {"application/fhir+json": {"schema": {"type": "object"}}, "application/fhir+xml": {}}
_BODY = {"required": True, "content": _FHIR}
_OUTCOME = {"description": "An OperationOutcome", "content": _FHIR}
_PURPOSE = "why it is read: treatment (where absent), quality, resident-request, emergency, administration"
_HEADERS: Mapping[str, str] = {
    "X-Purpose": _PURPOSE,
    "X-Purpose-Reason": "in an emergency: what it is, in UTF-8, percent-encoded",
    "X-Request-Id": "your own name of the request: sent again under it, it is carried out once",
    "If-None-Exist": "create only where nothing has this number: identifier=system|value",
    "If-Match": 'change only this version: W/"3"',
    "If-None-Match": "304 where this version is still the present one",
    "Prefer": "return=minimal, return=representation or return=OperationOutcome",
}
_READING = ("X-Purpose", "X-Purpose-Reason")


def fhir_paths() -> dict[str, Any]:
    """Return the path items of the door, to be put beside the others."""
    return {
        "/fhir/metadata": {
            "get": _operation("metadata", "What the FHIR door can do (CapabilityStatement)", "200")
        },
        "/fhir": {
            "post": _operation(
                "bundle",
                "Carry out a transaction or a batch",
                "200",
                about="A transaction is carried out wholly or not at all; references between its entries "
                "(`urn:uuid:`) and references that say what to look for are resolved. The entries of a "
                "batch (500 at most) stand for themselves.",
                headers=("X-Request-Id", *_READING),
                body=True,
            )
        },
        "/fhir/{type}": {
            "get": _operation(
                "search",
                "Search",
                "200",
                about="By FHIR's own parameters, as far as `metadata` lists them; others are refused. A "
                "search about one patient reaches everything about the person; one that names nobody finds "
                "what was sent within your reach, and a number, an `_id` or a `_lastUpdated` must narrow it. "
                "`POST /fhir/{type}/_search` takes the parameters as a form.",
                headers=_READING,
            ),
            "post": _operation(
                "create",
                "Create a resource",
                "201",
                headers=("If-None-Exist", "X-Request-Id", "Prefer"),
                body=True,
            ),
        },
        "/fhir/{type}/{id}": {
            "get": _operation(
                "read",
                "Read a resource",
                "200",
                about="410 tells that it was deleted. `Binary/{id}` gives a document as it was sent.",
                headers=("If-None-Match", *_READING),
            ),
            "put": _operation(
                "update",
                "Change a resource, or create it under this id",
                "200",
                headers=("If-Match", "X-Request-Id", "Prefer"),
                body=True,
            ),
            "delete": _operation("delete", "Delete a resource", "204", headers=("If-Match", "X-Request-Id")),
        },
        "/fhir/Patient": {
            "get": _operation(
                "find-patients",
                "Find residents by demographics (IHE PDQm, ITI-78)",
                "200",
                about="`family`, `given`, `name`, `birthdate`, `gender`, `telecom`, `phone`, `active`, "
                "`mothersMaidenName`, `identifier` (also `system|`, for whose numbers are wanted): asked of "
                "the person index, which compares whole values. Who is found is `Patient/empi-...`: one "
                "Patient for what all institutions know of a human. Whom you may not read of is left out, or "
                "masked with the scope `persons.find`.",
                headers=_READING,
            ),
            "put": _operation(
                "feed-patient",
                "Write your Patient that has this number (IHE PIXm, ITI-104)",
                "200",
                about="`?identifier=system|value`; created the first time. A link `replaced-by` with the "
                "identifier of another of your Patients merges the two.",
                headers=("If-Match", "X-Request-Id", "Prefer"),
                body=True,
            ),
        },
        "/fhir/Patient/$match": {
            "post": _operation(
                "match",
                "Who in the index is this Patient? (FHIR $match, IHE PDQm ITI-119)",
                "200",
                about="Parameters `resource` (a Patient), `onlyCertainMatches`, `count`; or the Patient "
                "alone. Nothing is created. Each entry has `search.score` and the extension `match-grade`.",
                headers=_READING,
                body=True,
            )
        },
        "/fhir/Patient/$ihe-pix": {
            "get": _operation(
                "ihe-pix",
                "The other numbers of whoever holds this one (IHE PIXm, ITI-83)",
                "200",
                about="`sourceIdentifier=system|value`, `targetSystem` as often as wanted.",
                headers=_READING,
            )
        },
        "/fhir/{type}/{id}/_history": {
            "get": _operation("history", "The versions of a resource", "200", headers=_READING)
        },
        "/fhir/{type}/{id}/_history/{version}": {
            "get": _operation("vread", "Read one version of a resource", "200", headers=_READING)
        },
        "/fhir/Patient/{id}/$everything": {
            "get": _operation(
                "everything",
                "Everything about a patient, in pages",
                "200",
                about="Parameters: `start`, `end`, `_since`, `_type`, `_count`.",
                headers=_READING,
            )
        },
    }


def _operation(
    name: str,
    summary: str,
    status: str,
    *,
    about: str = "",
    headers: tuple[str, ...] = (),
    body: bool = False,
) -> dict[str, Any]:
    return {
        "tags": ["fhir"],
        "operationId": f"fhir-{name}",
        "summary": summary,
        "description": about,
        "parameters": [
            {"name": header, "in": "header", "schema": {"type": "string"}, "description": _HEADERS[header]}
            for header in headers
        ],
        **({"requestBody": _BODY} if body else {}),
        "responses": {status: {"description": "Done", "content": _FHIR}, "default": _OUTCOME},
        "security": [{"OAuth2": []}] if name != "metadata" else [],
    }
