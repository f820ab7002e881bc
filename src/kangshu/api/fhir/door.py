"""The FHIR door as an ASGI application: what is asked by which method and path, and who answers it.

It is no framework's application: a request passes a table and one `try`, for every microsecond here is paid
for by every request. Whatever goes wrong is an OperationOutcome, without a value out of the request.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kangshu.api.bodies import Bodies
from kangshu.api.errors import ParameterRefusedError, say
from kangshu.api.fhir.answers import outcome_response, refused, resource_response
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.bundling import take_bundle
from kangshu.api.fhir.capability import DOCUMENTS, NOT_KEPT, capability_statement
from kangshu.api.fhir.crossing import cross_reference
from kangshu.api.fhir.documents import read_document
from kangshu.api.fhir.feeding import feed
from kangshu.api.fhir.finding import everything, search, show_history
from kangshu.api.fhir.matching import match
from kangshu.api.fhir.persons import person_of, read_person
from kangshu.api.fhir.reading import read
from kangshu.api.fhir.writing import create, delete, update
from kangshu.api.services import Services
from kangshu.api.tokens import TokenCache
from kangshu.kernel.errors import KangshuError
from kangshu.standards import fhir

log = structlog.get_logger(__name__)

Handler = Callable[[Asked], Awaitable[Response]]

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_REQUEST_ID = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """One address of the door: its pattern, as metrics name it, and who answers which method."""

    path: str
    methods: Mapping[str, Handler]


async def _metadata(asked: Asked) -> Response:
    body = capability_statement(version=asked.services.version, now=asked.services.clock.now())
    return resource_response(asked.request, body)


_ROOT = Place("/fhir", {"POST": take_bundle})
_METADATA = Place("/fhir/metadata", {"GET": _metadata})


async def _read_index(asked: Asked) -> Response:
    person = person_of(asked.id)
    assert person is not None, "the address was told apart by it"
    return await read_person(asked, person)


_PATIENTS = Place("/fhir/{type}", {"GET": search, "POST": create, "PUT": feed})
_MATCH = Place("/fhir/Patient/$match", {"POST": match})
_CROSS = Place("/fhir/Patient/$ihe-pix", {"GET": cross_reference, "POST": cross_reference})
_INDEX = Place("/fhir/Patient/{id}", {"GET": _read_index})
_TYPE = Place("/fhir/{type}", {"GET": search, "POST": create})
_SEARCH = Place("/fhir/{type}/_search", {"POST": search})
_INSTANCE = Place("/fhir/{type}/{id}", {"GET": read, "PUT": update, "DELETE": delete})
_HISTORY = Place("/fhir/{type}/{id}/_history", {"GET": show_history})
_PAST = Place("/fhir/{type}/{id}/_history/{version}", {"GET": read})
_EVERYTHING = Place("/fhir/Patient/{id}/$everything", {"GET": everything})
_DOCUMENT = Place("/fhir/Binary/{id}", {"GET": read_document})
_NOWHERE = Place("none", {})


class FhirDoor:
    """Answers what is asked under `/fhir`."""

    def __init__(self, services: Services, *, tokens: TokenCache, bodies: Bodies) -> None:
        self._services, self._tokens, self._bodies = services, tokens, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        if name := request.headers.get("x-request-id"):
            response.headers["x-request-id"] = name[:128]
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        scope = request.scope
        place, parts = find_place(scope["path"].removeprefix(scope.get("root_path", "")))
        scope["route"] = place
        try:
            handler = place.methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
            if handler is None:
                return _no_handler(request, place)
            return await handler(
                Asked(
                    request=request,
                    services=self._services,
                    tokens=self._tokens,
                    bodies=self._bodies,
                    again=self._answer,
                    request_id=_request_id(request),
                    **parts,
                )
            )
        except KangshuError as error:
            return refused(request, error)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - the client hears that we failed; what failed is logged
            log.error("a FHIR request fell", route=place.path, **_whereabouts(error))
            return outcome_response(request, status=500, code="exception", text=say["fault"])


def find_place(path: str) -> tuple[Place, dict[str, str]]:
    """Return what lies under a path (`/Patient/17`), and its type, id and version."""
    steps = path.strip("/").split("/")
    kind = steps[0]
    match steps:
        case [""]:
            return _ROOT, {}
        case ["metadata"]:
            return _METADATA, {}
        case _ if kind not in fhir.RESOURCE_TYPES or kind in NOT_KEPT:
            return _NOWHERE, {}
        case [_, identity] if kind == DOCUMENTS and _ID.fullmatch(identity):
            return _DOCUMENT, {"type": kind, "id": identity}
        case _ if kind == DOCUMENTS:
            return _NOWHERE, {}
        case ["Patient"]:
            return _PATIENTS, {"type": kind}
        case [_]:
            return _TYPE, {"type": kind}
        case ["Patient", "$match"]:
            return _MATCH, {"type": kind}
        case ["Patient", "$ihe-pix"]:
            return _CROSS, {"type": kind}
        case [_, "_search"]:
            return _SEARCH, {"type": kind}
        case [_, identity, *_] if not _ID.fullmatch(identity):
            return _NOWHERE, {}
        case ["Patient", identity] if person_of(identity) is not None:
            return _INDEX, {"type": kind, "id": identity}
        case [_, identity]:
            return _INSTANCE, {"type": kind, "id": identity}
        case [_, identity, "_history"]:
            return _HISTORY, {"type": kind, "id": identity}
        case ["Patient", identity, "$everything"]:
            return _EVERYTHING, {"type": kind, "id": identity}
        case [_, identity, "_history", version] if _VERSION.fullmatch(version):
            return _PAST, {"type": kind, "id": identity, "version": version}
        case _:
            return _NOWHERE, {}


def _no_handler(request: Request, place: Place) -> Response:
    if not place.methods:
        return outcome_response(request, status=404, code="not-found", text=say["no_such_path"])
    allowed = ", ".join(sorted({*place.methods, *(("HEAD",) if "GET" in place.methods else ())}))
    return outcome_response(
        request, status=405, code="not-supported", text=say["no_such_method"], headers={"allow": allowed}
    )


def _request_id(request: Request) -> str | None:
    text = request.headers.get("x-request-id")
    if text is None:
        return None
    if not _REQUEST_ID.fullmatch(text):
        raise ParameterRefusedError(say["fhir_request_id"], place="X-Request-Id")
    return text


def _whereabouts(error: BaseException) -> dict[str, str]:
    """Return what may be logged of a failure: its class and its place, never its words: they quote values."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = type(error).__name__
    if trace is None:
        return {"error": name}
    return {"error": name, "at": f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"}
