"""What this door can do, as FHIR says it: only what it does."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from kangshu import records
from kangshu.api.fhir import demographics
from kangshu.standards import fhir

DOCUMENTS = "Binary"
"""The type under which documents are read as they were sent."""
NOT_KEPT = frozenset({"Parameters", "OperationOutcome"})
"""Types that are parts of requests and answers, and are not stored."""

_INTERACTIONS = ("read", "vread", "update", "delete", "history-instance", "create", "search-type")
_OPERATIONS = {
    "everything": "http://hl7.org/fhir/OperationDefinition/Patient-everything",
    "match": "http://hl7.org/fhir/OperationDefinition/Patient-match",
    "ihe-pix": "https://profiles.ihe.net/ITI/PIXm/OperationDefinition/IHE.PIXm.pix",
}
_GUIDES = (
    "https://profiles.ihe.net/ITI/PIXm/ImplementationGuide/ihe.iti.pixm",
    "https://profiles.ihe.net/ITI/PDQm/ImplementationGuide/ihe.iti.pdqm",
)


def capability_statement(*, version: str, now: datetime) -> bytes:
    """Return the CapabilityStatement as JSON."""
    return _statement(version, now.astimezone(UTC).strftime("%Y-%m-%d"))


@lru_cache(maxsize=2)
def _statement(version: str, day: str) -> bytes:
    return fhir.dumps(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": day,
            "kind": "instance",
            "software": {"name": "Kangshu 康枢", "version": version or "0"},
            "implementation": {"description": "区域全民健康信息平台 / a regional population-health platform"},
            "fhirVersion": "4.0.1",
            "implementationGuide": list(_GUIDES),
            "format": ["application/fhir+json", "application/fhir+xml"],
            "rest": [
                {
                    "mode": "server",
                    "security": {
                        "description": "Bearer tokens of /oauth/token; the purpose of a read is stated "
                        "in the header X-Purpose, and every read is on record."
                    },
                    "resource": [_resource(kind) for kind in sorted(fhir.RESOURCE_TYPES - NOT_KEPT)],
                    "interaction": [{"code": "transaction"}, {"code": "batch"}],
                }
            ],
        }
    )


def _resource(kind: str) -> dict[str, Any]:
    if kind == DOCUMENTS:
        return {"type": kind, "interaction": [{"code": "read"}]}
    content: dict[str, Any] = {
        "type": kind,
        "interaction": [{"code": code} for code in _INTERACTIONS],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalDelete": "not-supported",
        "searchParam": [
            {"name": name, "type": definition} for name, definition in sorted(_parameters(kind).items())
        ],
    }
    if kind == "Patient":
        content["conditionalUpdate"] = True
        content["operation"] = [
            {"name": name, "definition": definition} for name, definition in _OPERATIONS.items()
        ]
    return content


def _parameters(kind: str) -> dict[str, str]:
    own = dict(records.supported_parameters(type=kind))
    return {**own, **demographics.PARAMETERS} if kind == "Patient" else own
