"""The routes of the FHIR door: read, vread, history, search, create, update, delete, transaction, batch."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kangshu.api.errors import BodyRefusedError, BodyTooLargeError, say
from kangshu.api.fhir.answers import (
    broken,
    http_refused,
    outcome_response,
    refused,
    resource_response,
    version_headers,
    written_response,
)
from kangshu.api.fhir.capability import capability_statement
from kangshu.api.fhir.finding import everything, search, show_history
from kangshu.api.fhir.purposes import stated_purpose
from kangshu.api.services import Services
from kangshu.api.tokens import TokenCache, authenticate_quickly
from kangshu.kernel.errors import KangshuError
from kangshu.records import FhirAnswer, FhirLook, FhirRequest
from kangshu.security.principals import Permission, Principal
from kangshu.standards import fhir

_BODY_MOST = 64 << 20  # a Bundle with a life in it
_ID = re.compile(r"^[A-Za-z0-9\-.]{1,64}$")
_BATCH_MOST = 500  # entries of a batch, each of which is a request of its own
_AT_ONCE = 16


def build_fhir(services: Services) -> Starlette:
    """Return the application of the FHIR door, to be mounted at `/fhir`."""
    app = Starlette(
        routes=[
            Route("/", _transaction, methods=["POST"]),
            Route("", _transaction, methods=["POST"]),
            Route("/metadata", _metadata, methods=["GET"]),
            Route("/Patient/{id}/$everything", everything, methods=["GET"]),
            Route("/{type}", search, methods=["GET"]),
            Route("/{type}/_search", search, methods=["POST"]),
            Route("/{type}", _create, methods=["POST"]),
            Route("/{type}/{id}", _read, methods=["GET", "HEAD"]),
            Route("/{type}/{id}", _update, methods=["PUT"]),
            Route("/{type}/{id}", _delete, methods=["DELETE"]),
            Route("/{type}/{id}/_history", show_history, methods=["GET"]),
            Route("/{type}/{id}/_history/{version}", _read, methods=["GET"]),
        ],
        exception_handlers={
            KangshuError: refused,
            HTTPException: http_refused,
            Exception: broken,
        },
    )
    app.state.services = services
    app.state.tokens = TokenCache()
    return app


async def _metadata(request: Request) -> Response:
    services: Services = request.app.state.services
    body = capability_statement(version=services.version, now=services.clock.now())
    return resource_response(request, body)


async def _read(request: Request) -> Response:
    services: Services = request.app.state.services
    principal = await authenticate_quickly(request)
    principal.require(Permission.READ_RECORDS)
    look = FhirLook(type=_type(request), id=_id(request), version=_asked_version(request))
    purpose, reason = stated_purpose(request)
    answer = await services.read_fhir(look, principal=principal, purpose=purpose, reason=reason)
    if answer.status == 404:
        return outcome_response(request, status=404, code="not-found", text=say["fhir_no_resource"])
    if answer.status == 410:
        return outcome_response(request, status=410, code="deleted", text=say["fhir_deleted"])
    headers = version_headers(answer)
    if request.headers.get("if-none-match") == headers.get("ETag"):
        return Response(status_code=304, headers=headers)
    return resource_response(request, answer.body, headers=headers)


async def _create(request: Request) -> Response:
    principal = await _writer(request)
    return await _write(
        request,
        principal,
        FhirRequest(
            method="create",
            body=await body_of(request),
            type=_type(request),
            content_type=request.headers.get("content-type"),
            if_none_exist=request.headers.get("if-none-exist"),
            request_id=_request_id(request),
        ),
    )


async def _update(request: Request) -> Response:
    principal = await _writer(request)
    return await _write(
        request,
        principal,
        FhirRequest(
            method="update",
            body=await body_of(request),
            type=_type(request),
            id=_id(request),
            content_type=request.headers.get("content-type"),
            if_match=_if_match(request),
            request_id=_request_id(request),
        ),
    )


async def _delete(request: Request) -> Response:
    principal = await _writer(request)
    return await _write(
        request,
        principal,
        FhirRequest(
            method="delete",
            body=b"",
            type=_type(request),
            id=_id(request),
            if_match=_if_match(request),
            request_id=_request_id(request),
        ),
    )


async def _transaction(request: Request) -> Response:
    """A transaction is carried out wholly or not at all; the entries of a batch stand for themselves."""
    principal = await _writer(request)
    body = await body_of(request)
    content_type = request.headers.get("content-type")
    bundle = fhir.read(body, content_type=content_type)
    if bundle.get("resourceType") == "Bundle" and bundle.get("type") == "batch":
        return await _batch(request, principal, bundle)
    asked = FhirRequest(
        method="bundle", body=body, content_type=content_type, request_id=_request_id(request)
    )
    return await _write(request, principal, asked)


async def _batch(request: Request, principal: Principal, bundle: dict[str, Any]) -> Response:
    entries = bundle.get("entry", [])
    if len(entries) > _BATCH_MOST:
        return outcome_response(
            request, status=413, code="too-costly", text=say("fhir_batch_large", most=_BATCH_MOST)
        )
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(entry: dict[str, Any]) -> dict[str, Any]:
        async with limit:
            return await _batch_entry(request, principal, entry)

    answers = await asyncio.gather(*(one(entry) for entry in entries))
    body: dict[str, Any] = {"resourceType": "Bundle", "type": "batch-response"}
    if answers:
        body["entry"] = list(answers)
    return resource_response(request, fhir.dumps(body))


async def _batch_entry(request: Request, principal: Principal, entry: dict[str, Any]) -> dict[str, Any]:
    services: Services = request.app.state.services
    asked = entry.get("request", {})
    method, url = str(asked.get("method", "")), str(asked.get("url", "")).lstrip("/")
    kind, _, identity = url.partition("?")[0].partition("/")
    work: Callable[[], Awaitable[FhirAnswer]]
    if method == "GET" and kind in fhir.RESOURCE_TYPES and _ID.match(identity):
        purpose, reason = stated_purpose(request)
        principal.require(Permission.READ_RECORDS)

        def work() -> Awaitable[FhirAnswer]:
            look = FhirLook(type=kind, id=identity)
            return services.read_fhir(look, principal=principal, purpose=purpose, reason=reason)

    elif method in _METHODS and kind in fhir.RESOURCE_TYPES:
        written = FhirRequest(
            method=_METHODS[method],
            body=fhir.dumps(entry.get("resource", {})) if method != "DELETE" else b"",
            type=kind,
            id=identity or None,
            content_type="application/fhir+json",
            if_none_exist=asked.get("ifNoneExist"),
            if_match=_version(asked.get("ifMatch")),
        )

        def work() -> Awaitable[FhirAnswer]:
            return services.write_fhir(written, principal=principal)

    else:
        issue = fhir.Issue(
            severity=fhir.Severity.ERROR, code="not-supported", expression="", text=say["fhir_batch_entry"]
        )
        return {"response": {"status": "400", "outcome": fhir.outcome([issue])}}
    try:
        answer = await work()
    except KangshuError as error:
        issue = fhir.Issue(
            severity=fhir.Severity.ERROR, code="exception", expression=error.place or "", text=error.text
        )
        return {"response": {"status": "403", "outcome": fhir.outcome([issue])}}
    return _entry_of(answer)


_METHODS = {"POST": "create", "PUT": "update", "DELETE": "delete"}


def _entry_of(answer: FhirAnswer) -> dict[str, Any]:
    response: dict[str, Any] = {"status": str(answer.status)}
    content = fhir.loads(answer.body) if answer.body else None
    if answer.type and answer.version is not None:
        response["location"] = f"{answer.type}/{answer.id}/_history/{answer.version}"
        response["etag"] = f'W/"{answer.version}"'
    if content is None:
        return {"response": response}
    if content.get("resourceType") == "OperationOutcome" and answer.status >= 400:
        response["outcome"] = content
        return {"response": response}
    return {"resource": content, "response": response}


async def _write(request: Request, principal: Principal, asked: FhirRequest) -> Response:
    services: Services = request.app.state.services
    return written_response(request, await services.write_fhir(asked, principal=principal))


async def _writer(request: Request) -> Principal:
    principal = await authenticate_quickly(request)
    principal.require(Permission.SUBMIT_MESSAGES)
    return principal


async def body_of(request: Request) -> bytes:
    """Return the request's body.

    Raises:
        BodyRefusedError: it is empty.
        BodyTooLargeError: it is over the limit.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_MOST:
            raise BodyTooLargeError(say["body_too_large"])
    if not body:
        raise BodyRefusedError(say["body_empty"])
    return bytes(body)


def _type(request: Request) -> str:
    kind = request.path_params["type"]
    if kind not in fhir.RESOURCE_TYPES:
        raise HTTPException(404)
    return kind


def _id(request: Request) -> str:
    identity = request.path_params["id"]
    if not _ID.match(identity):
        raise HTTPException(404)
    return identity


def _asked_version(request: Request) -> int | None:
    text = request.path_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HTTPException(404)
    return int(text)


def _if_match(request: Request) -> int | None:
    return _version(request.headers.get("if-match"))


def _version(text: str | None) -> int | None:
    """Read `W/"3"`; something that is no version of ours can only be a version that is not there."""
    if text is None:
        return None
    digits = text.strip().removeprefix("W/").strip('"')
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


def _request_id(request: Request) -> str | None:
    text = request.headers.get("x-request-id", "").strip()
    return text[:200] or None
