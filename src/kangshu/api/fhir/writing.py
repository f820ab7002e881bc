"""Create, update and delete one resource."""

from __future__ import annotations

import re

from starlette.responses import Response

from kangshu.api.errors import ParameterRefusedError, say
from kangshu.api.fhir.answers import base, written_response
from kangshu.api.fhir.asking import Asked
from kangshu.records import FhirRequest
from kangshu.security.principals import Principal

_VERSION = re.compile(r'(?:W/)?"([^"]{1,64})"|([0-9]{1,9})', re.ASCII)


async def create(asked: Asked) -> Response:
    """Answer 201 with the new resource, or 200 where `If-None-Exist` found it."""
    principal = await asked.writer()
    headers = asked.request.headers
    async with asked.body() as body:
        return await _write(
            asked,
            principal,
            FhirRequest(
                method="create",
                body=body,
                type=asked.type,
                content_type=headers.get("content-type"),
                if_none_exist=headers.get("if-none-exist"),
                request_id=asked.request_id,
                base=base(asked.request),
            ),
        )


async def update(asked: Asked) -> Response:
    """Answer 200 with the new version, or 201 where there was none."""
    principal = await asked.writer()
    async with asked.body() as body:
        return await _write(
            asked,
            principal,
            FhirRequest(
                method="update",
                body=body,
                type=asked.type,
                id=asked.id,
                content_type=asked.request.headers.get("content-type"),
                if_match=matched_version(asked.request.headers.get("if-match")),
                request_id=asked.request_id,
                base=base(asked.request),
            ),
        )


async def delete(asked: Asked) -> Response:
    """Answer 204, whether it was there or not."""
    principal = await asked.writer()
    return await _write(
        asked,
        principal,
        FhirRequest(
            method="delete",
            body=b"",
            type=asked.type,
            id=asked.id,
            if_match=matched_version(asked.request.headers.get("if-match")),
            request_id=asked.request_id,
        ),
    )


def matched_version(text: str | None) -> int | None:
    """Return the version in `W/"3"`; what is no version of ours is 0, which no resource has.

    Raises:
        ParameterRefusedError: it is no tag at all.
    """
    if text is None:
        return None
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        raise ParameterRefusedError(say["fhir_precondition"], place="If-Match")
    digits = found[1] or found[2]
    return int(digits) if re.fullmatch(r"[0-9]{1,9}", digits, re.ASCII) else 0


async def _write(asked: Asked, principal: Principal, request: FhirRequest) -> Response:
    return written_response(asked.request, await asked.services.write_fhir(request, principal=principal))
