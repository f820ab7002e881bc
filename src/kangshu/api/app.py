"""The machine doors as one application; its own page describes it, without anything from elsewhere."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from kangshu.api import files, messages, probes, tokens
from kangshu.api.bodies import Bodies
from kangshu.api.fhir import FhirDoor, fhir_paths
from kangshu.api.problems import MEDIA_TYPE, SCHEMA, broken, http_refused, invalid, refused
from kangshu.api.reference import show_reference, show_style
from kangshu.api.services import Services
from kangshu.api.tokens import TokenCache
from kangshu.kernel.errors import KangshuError

_FHIR = "/fhir"
_SUMMARY = (
    "Kangshu (康枢): machine interfaces of a regional population-health platform. Ask `/oauth/token` for a "
    "token, send data-set files to `/datasets/{name}`, read what became of them at `/receipts/{id}`. Single "
    "messages go to `/hl7v2` (HL7 v2), `/documents` (CDA) and `/fhir` (FHIR R4), where records are read too. "
    "Every error is problem JSON (RFC 9457), under `/fhir` an OperationOutcome."
)


def build(services: Services) -> FastAPI:
    """Return the application of the machine doors, to be mounted at the root."""
    app = FastAPI(
        title="Kangshu",
        version=services.version or "0",
        description=_SUMMARY,
        docs_url=None,  # the page that FastAPI brings loads scripts from elsewhere
        redoc_url=None,
        responses={
            "default": {"description": "A problem (RFC 9457)", "content": {MEDIA_TYPE: {"schema": SCHEMA}}}
        },
        exception_handlers={
            KangshuError: refused,
            HTTPException: http_refused,
            RequestValidationError: invalid,
            Exception: broken,
        },
    )
    app.state.services, app.state.tokens, app.state.bodies = services, TokenCache(), Bodies()
    door = FhirDoor(services, tokens=app.state.tokens, bodies=app.state.bodies)
    app.router.routes.insert(0, FhirRoute(door))
    app.openapi = lambda: _described(app)
    for module in (probes, tokens, files, messages):
        app.include_router(module.router)
    app.router.routes.append(Route("/docs", show_reference))
    app.router.routes.append(Route("/docs/style.css", show_style))
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description with the FHIR door, which is no framework's."""
    if app.openapi_schema is None:
        schema = FastAPI.openapi(app)
        schema["paths"].update(fhir_paths())
    return app.openapi_schema or {}


class FhirRoute(BaseRoute):
    """Leads what is under `/fhir` to its door, `/fhir` itself too: a framework's mount would redirect it."""

    def __init__(self, door: FhirDoor) -> None:
        self._door = door

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether a request is the door's."""
        if scope["type"] != "http":
            return Match.NONE, {}
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root)
        if path != _FHIR and not path.startswith(f"{_FHIR}/"):
            return Match.NONE, {}
        return Match.FULL, {"root_path": root + _FHIR}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the door answer."""
        await self._door(scope, receive, send)
