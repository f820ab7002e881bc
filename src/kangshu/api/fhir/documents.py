"""Documents as they were sent: `Binary/[id]`, which a DocumentReference's attachment names."""

from __future__ import annotations

import base64

import orjson
from starlette.responses import Response

from kangshu.api.errors import say
from kangshu.api.fhir.answers import is_unchanged, outcome_response, resource_response, version_headers
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.purposes import stated_purpose
from kangshu.records import FhirAnswer, FhirLook
from kangshu.standards import fhir

# What somebody sent is shown by no browser as a page of ours.
_GUARD = {
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "content-disposition": "attachment",
}


async def read_document(asked: Asked) -> Response:
    """Answer with a document's bytes, or as a Binary for who asks for FHIR."""
    principal = await asked.reader()
    purpose, reason = stated_purpose(asked.request)
    look = FhirLook(type=asked.type, id=asked.id)
    answer = await asked.services.read_fhir(look, principal=principal, purpose=purpose, reason=reason)
    if answer.status != 200:
        status, code = (410, "deleted") if answer.status == 410 else (404, "not-found")
        text = say["fhir_deleted" if status == 410 else "fhir_no_resource"]
        return outcome_response(asked.request, status=status, code=code, text=text)
    headers = version_headers(answer)
    if is_unchanged(asked.request, answer):
        return Response(status_code=304, headers=headers)
    if _wants_fhir(asked):
        return resource_response(asked.request, _as_binary(answer), headers=headers)
    media_type, content = _as_sent(answer)
    return Response(content, headers={**headers, **_GUARD, "content-type": media_type})


def _wants_fhir(asked: Asked) -> bool:
    return (
        "application/fhir+" in asked.request.headers.get("accept", "")
        or "_format" in asked.request.query_params
    )


def _as_binary(answer: FhirAnswer) -> bytes:
    if answer.media_type is None:
        return answer.body
    return orjson.dumps(
        {
            "resourceType": "Binary",
            "id": answer.id,
            "contentType": answer.media_type,
            "data": base64.b64encode(answer.body).decode("ascii"),
        }
    )


def _as_sent(answer: FhirAnswer) -> tuple[str, bytes]:
    if answer.media_type is not None:
        return answer.media_type, answer.body
    resource = fhir.loads(answer.body)
    content = base64.b64decode(resource.get("data", ""))
    return str(resource.get("contentType", "application/octet-stream")), content
