"""Answers of the FHIR door: headers, formats, OperationOutcomes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response

from kangshu import identity, records
from kangshu.api.errors import (
    ApiError,
    BodyRefusedError,
    FormatUnknownError,
    TokenNeededError,
    say,
)
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
_CODE_OF_STATUS = {401: "login", 408: "timeout", 410: "expired", 413: "too-long"}
_STATUS_OF: Mapping[type[KangshuError], int] = {
    # What FHIR has another word for than other doors: a query or a body that cannot be read is a 400.
    fhir.FhirError: 400,
    fhir.TooMuchError: 413,
    records.SearchRefusedError: 400,
    records.SearchTooWideError: 400,
    identity.SearchTooWideError: 400,
    identity.SearchUnsupportedError: 400,
    records.SearchOverError: 410,
    records.VersionConflictError: 409,
    BodyRefusedError: 400,
}
_RETRY_KINDS = frozenset({Kind.UNAVAILABLE, Kind.BUSY, Kind.INTERRUPTED})
_XML_FORMATS = frozenset({"xml", "text/xml", "application/xml", "application/fhir+xml"})
_JSON_FORMATS = frozenset({"json", "text/json", "application/json", "application/fhir+json"})


def wants_xml(request: Request) -> bool:
    """Return whether the client asks for XML, by `_format` or by its Accept header.

    Raises:
        FormatUnknownError: `_format` asks for something else than JSON or XML.
    """
    if b"_format" in request.scope["query_string"]:
        wanted = request.query_params.get("_format", "").partition(";")[0].strip().replace(" ", "+")
        if wanted not in _XML_FORMATS and wanted not in _JSON_FORMATS:
            raise FormatUnknownError(say["fhir_format"], place="_format")
        return wanted in _XML_FORMATS
    accepted = request.headers.get("accept", "")
    at = accepted.find("xml")
    if at < 0 or "html" in accepted:  # browsers name XML beside their pages
        return False
    other = accepted.find("json")
    return other < 0 or at < other


def resource_response(
    request: Request, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a resource (given as JSON) in the form that the client asks for."""
    if not body:
        return Response(status_code=status, headers=headers)
    if wants_xml(request):
        return Response(
            fhir.to_xml(fhir.loads(body)),
            status_code=status,
            headers={**(headers or {}), "content-type": XML},
        )
    return Response(body, status_code=status, headers={**(headers or {}), "content-type": JSON})


def written_response(request: Request, answer: FhirAnswer) -> Response:
    """Return the answer to create, update or delete, with where the resource is."""
    headers = version_headers(answer)
    if answer.type and answer.id and answer.status in (200, 201):
        version = f"/_history/{answer.version}" if answer.version else ""
        headers["location"] = f"{base(request)}/{answer.type}/{answer.id}{version}"
    prefer = request.headers.get("prefer", "")
    if answer.status >= 300 or not prefer or "return=representation" in prefer:
        body = answer.body
    elif "return=operationoutcome" in prefer.lower():
        body = fhir.dumps(fhir.outcome((), language=accepted_language(request)))
        return resource_response(request, body, status=answer.status, headers=headers)
    else:
        body = b"" if "return=minimal" in prefer and answer.type else answer.body
    return resource_response(request, body, status=answer.status, headers=headers)


def version_headers(answer: FhirAnswer) -> dict[str, str]:
    """Return ETag and Last-Modified."""
    headers: dict[str, str] = {}
    if answer.version is not None:
        headers["etag"] = f'W/"{answer.version}"'
    if answer.updated_at is not None:
        headers["last-modified"] = http_date(answer.updated_at)
    return headers


def is_unchanged(request: Request, answer: FhirAnswer) -> bool:
    """Return whether the client has this version already (`If-None-Match`, `If-Modified-Since`)."""
    if known := request.headers.get("if-none-match"):
        tags = {tag.strip().removeprefix("W/").strip('"') for tag in known.split(",")}
        return str(answer.version) in tags
    if since := request.headers.get("if-modified-since"):
        try:
            moment = parsedate_to_datetime(since)
        except ValueError:
            return False
        if moment.tzinfo is None or answer.updated_at is None:
            return False
        return answer.updated_at.replace(microsecond=0) <= moment
    return False


def http_date(moment: datetime) -> str:
    """Return a moment as HTTP writes it.

    >>> http_date(datetime(2026, 3, 2, 8, 30, tzinfo=UTC))
    'Mon, 02 Mar 2026 08:30:00 GMT'
    """
    return _http_date(moment.replace(microsecond=0))


@lru_cache(maxsize=1024)
def _http_date(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def base(request: Request) -> str:
    """Return the address of the door, as the client wrote it."""
    host = request.headers.get("host") or "localhost"
    return f"{request.scope.get('scheme', 'http')}://{host}{request.scope.get('root_path', '')}"


def outcome(
    request: Request, *, code: str, text: Text, place: str | None = None, severity: str = "error"
) -> bytes:
    """Return an OperationOutcome with one issue, as JSON."""
    issue = fhir.Issue(severity=fhir.Severity(severity), code=code, expression=place or "", text=text)
    return fhir.dumps(fhir.outcome([issue], language=accepted_language(request)))


def outcome_response(
    request: Request,
    *,
    status: int,
    code: str,
    text: Text,
    place: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an answer that is an OperationOutcome with one issue."""
    body = outcome(request, code=code, text=text, place=place)
    try:
        return resource_response(request, body, status=status, headers=headers)
    except FormatUnknownError:  # the very thing that is told
        return Response(body, status_code=status, headers={**(headers or {}), "content-type": JSON})


def status_and_code(error: KangshuError) -> tuple[int, str]:
    """Return the HTTP status of an expected failure, and FHIR's code for it."""
    status = error.status if isinstance(error, ApiError) else None
    if status is None:
        known = (_STATUS_OF[kind] for kind in type(error).__mro__ if kind in _STATUS_OF)
        status = next(known, STATUS_OF_KIND[error.kind])
    if isinstance(error, (records.SearchTooWideError, identity.SearchTooWideError)):
        return status, "too-costly"
    return status, _CODE_OF_STATUS.get(status, _CODE_OF_KIND[error.kind])


def refused(request: Request, error: KangshuError) -> Response:
    """Answer an expected failure."""
    status, code = status_and_code(error)
    headers = {"retry-after": str(RETRY_SECONDS)} if error.kind in _RETRY_KINDS else {}
    if isinstance(error, TokenNeededError):
        headers["www-authenticate"] = 'Bearer realm="kangshu"'
    return outcome_response(
        request, status=status, code=code, text=error.text, place=error.place, headers=headers
    )
