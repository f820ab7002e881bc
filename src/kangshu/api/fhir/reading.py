"""Read one resource: its present version, or an earlier one."""

from __future__ import annotations

from starlette.responses import Response

from kangshu.api.errors import say
from kangshu.api.fhir.answers import is_unchanged, outcome_response, resource_response, version_headers
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.purposes import stated_purpose
from kangshu.records import FhirLook


async def read(asked: Asked) -> Response:
    """Answer with a resource, authorised and on record; 410 tells that it was deleted."""
    principal = await asked.reader()
    purpose, reason = stated_purpose(asked.request)
    look = FhirLook(type=asked.type, id=asked.id, version=int(asked.version) if asked.version else None)
    answer = await asked.services.read_fhir(look, principal=principal, purpose=purpose, reason=reason)
    if answer.status == 404:
        return outcome_response(asked.request, status=404, code="not-found", text=say["fhir_no_resource"])
    headers = version_headers(answer)
    if answer.status == 410:
        return outcome_response(
            asked.request, status=410, code="deleted", text=say["fhir_deleted"], headers=headers
        )
    if is_unchanged(asked.request, answer):
        return Response(status_code=304, headers=headers)
    return resource_response(asked.request, answer.body, headers=headers)
