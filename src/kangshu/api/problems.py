"""Errors as machines read them: problem JSON (RFC 9457), in the language they accept.

Never a value out of the request: it may be somebody's health.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from kangshu.api.errors import ApiError, TokenRefusedError, say
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.statuses import STATUS_OF_KIND
from kangshu.kernel.texts import Language, Text

MEDIA_TYPE = "application/problem+json"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:kangshu:problem:not-found"]},
        "title": {"type": "string", "enum": [kind.value for kind in Kind]},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what happened and what to do, for a person"},
        "place": {"type": "string", "description": "where in the request or file"},
        "error": {"type": "string", "description": "the word of RFC 6749, from the token endpoint"},
    },
}
"""The shape of a problem, for the OpenAPI description."""
RETRY_SECONDS = 10
_RETRY_KINDS = frozenset({Kind.UNAVAILABLE, Kind.BUSY, Kind.INTERRUPTED})
_KIND_OF_STATUS = {
    400: Kind.INCORRECT,
    401: Kind.FORBIDDEN,
    403: Kind.FORBIDDEN,
    404: Kind.NOT_FOUND,
    405: Kind.UNSUPPORTED,
    413: Kind.INCORRECT,
}


def problem(
    request: Request,
    *,
    status: int,
    kind: Kind,
    text: Text,
    place: str | None = None,
    more: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer that tells a machine what went wrong and what it can do about it."""
    content: dict[str, Any] = {
        "type": f"urn:kangshu:problem:{kind}",
        "title": kind.value,
        "status": status,
        "detail": text.in_(accepted_language(request)),
    }
    if place:
        content["place"] = place
    content.update(more or {})
    return Response(
        orjson.dumps(content), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def accepted_language(request: Request) -> Language:
    """Return English for those who ask for it first, else Chinese."""
    return "en" if request.headers.get("accept-language", "").lower().startswith("en") else "zh"


async def refused(request: Request, error: Exception) -> Response:
    """Answer an expected failure."""
    assert isinstance(error, KangshuError), "registered for these only"
    status = (error.status if isinstance(error, ApiError) else None) or STATUS_OF_KIND[error.kind]
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="kangshu"'
    if error.kind in _RETRY_KINDS:
        headers["Retry-After"] = str(RETRY_SECONDS)
    more = {"error": error.code} if isinstance(error, TokenRefusedError) else None
    return problem(
        request,
        status=status,
        kind=error.kind,
        text=error.text,
        place=error.place,
        more=more,
        headers=headers,
    )


async def http_refused(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException), "registered for these only"
    texts = {404: "no_such_path", 405: "no_such_method"}
    return problem(
        request,
        status=error.status_code,
        kind=_KIND_OF_STATUS.get(error.status_code, Kind.INCORRECT),
        text=say[texts.get(error.status_code, "parameters")],
        headers=error.headers,
    )


async def invalid(request: Request, error: Exception) -> Response:
    """Answer parameters of the wrong form: their places, not their values."""
    assert isinstance(error, RequestValidationError), "registered for these only"
    places = [".".join(str(step) for step in _location(one)) for one in error.errors()]
    return problem(
        request, status=422, kind=Kind.INCORRECT, text=say["parameters"], place=", ".join(places) or None
    )


async def broken(request: Request, error: Exception) -> Response:
    """Answer that we failed; what failed is in the log only."""
    return problem(request, status=500, kind=Kind.FAULT, text=say["fault"])


def _location(error: Mapping[str, Any]) -> Sequence[object]:
    return error.get("loc", ())
