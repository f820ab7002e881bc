"""Answers of the FHIR door: headers, formats, OperationOutcomes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from kangshu.api.errors import ApiError, say
from kangshu.api.problems import RETRY_SECONDS, accepted_language
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.statuses import STATUS_OF_KIND
from kangshu.kernel.texts import Text
from kangshu.records import FhirAnswer
from kangshu.standards import fhir

JSON = "application/fhir+json; charset=utf-8"
XML = "application/fhir+xml; charset=utf-8"

_CODE_OF_KIND = {
    Kind.INCORRECT: "invalid",
    Kind.FORBIDDEN: "forbidden",
    Kind.NOT_FOUND: "not-found",
    Kind.CONFLICT: "conflict",
    Kind.UNSUPPORTED: "not-supported",
    Kind.UNAVAILABLE: "transient",
    Kind.BUSY: "throttled",
    Kind.INTERRUPTED: "transient",
    Kind.FAULT: "exception",
}
_RETRY_KINDS = frozenset({Kind.UNAVAILABLE, Kind.BUSY, Kind.INTERRUPTED})


def wants_xml(request: Request) -> bool:
    """Return whether the client asks for XML, by `_format` or by its Accept header."""
    wanted = request.query_params.get("_format") or request.headers.get("accept", "")
    return "xml" in wanted and "json" not in wanted


def resource_response(
    request: Request, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a resource (given as JSON) in the form that the client asks for."""
    if body and wants_xml(request):
        return Response(
            fhir.to_xml(fhir.loads(body)), status_code=status, media_type=XML, headers=dict(headers or {})
        )
    return Response(body, status_code=status, media_type=JSON if body else None, headers=dict(headers or {}))


def written_response(request: Request, answer: FhirAnswer) -> Response:
    """Return the answer to create, update or delete, with where the resource is."""
    headers = version_headers(answer)
    if answer.type and answer.id and answer.status in (200, 201):
        version = f"/_history/{answer.version}" if answer.version else ""
        headers["Location"] = f"{base(request)}/{answer.type}/{answer.id}{version}"
    minimal = "return=minimal" in request.headers.get("prefer", "")
    body = b"" if minimal and answer.status < 300 else answer.body
    return resource_response(request, body, status=answer.status, headers=headers)


def version_headers(answer: FhirAnswer) -> dict[str, str]:
    """Return ETag and Last-Modified."""
    headers: dict[str, str] = {}
    if answer.version is not None:
        headers["ETag"] = f'W/"{answer.version}"'
    if answer.updated_at is not None:
        headers["Last-Modified"] = http_date(answer.updated_at)
    return headers


def http_date(moment: datetime) -> str:
    """Return a moment as HTTP writes it."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def base(request: Request) -> str:
    """Return the address of the door, as the client wrote it."""
    url = request.base_url
    return f"{url.scheme}://{url.netloc}/fhir"


def outcome_response(
    request: Request,
    *,
    status: int,
    code: str,
    text: Text,
    place: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an OperationOutcome with one issue."""
    issue = fhir.Issue(severity=fhir.Severity.ERROR, code=code, expression=place or "", text=text)
    body = fhir.dumps(fhir.outcome([issue], language=accepted_language(request)))
    return resource_response(request, body, status=status, headers=headers)


async def refused(request: Request, error: Exception) -> Response:
    """Answer an expected failure."""
    assert isinstance(error, KangshuError), "registered for these only"
    status = (error.status if isinstance(error, ApiError) else None) or STATUS_OF_KIND[error.kind]
    headers = {"Retry-After": str(RETRY_SECONDS)} if error.kind in _RETRY_KINDS else {}
    code = _CODE_OF_KIND[error.kind]
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="kangshu"'
        code = "login"
    return outcome_response(
        request, status=status, code=code, text=error.text, place=error.place, headers=headers
    )


async def http_refused(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException), "registered for these only"
    key = {404: "no_such_path", 405: "no_such_method"}.get(error.status_code, "parameters")
    code = {404: "not-found", 405: "not-supported"}.get(error.status_code, "invalid")
    return outcome_response(
        request, status=error.status_code, code=code, text=say[key], headers=error.headers
    )


async def broken(request: Request, _error: Exception) -> Response:
    """Answer that we failed; what failed is in the log only."""
    return outcome_response(request, status=500, code="exception", text=say["fault"])
