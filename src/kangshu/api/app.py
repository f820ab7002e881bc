"""The machine doors as one application; its own page describes it, without anything from elsewhere."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from kangshu.api import files, messages, probes, tokens
from kangshu.api.bodies import Bodies
from kangshu.api.cards import CardDoor, card_paths, card_schemas
from kangshu.api.fhir import FhirDoor, fhir_paths
from kangshu.api.problems import MEDIA_TYPE, SCHEMA, broken, http_refused, invalid, refused
from kangshu.api.reference import show_reference, show_style
from kangshu.api.services import Services
from kangshu.api.tokens import TokenCache
from kangshu.kernel.errors import KangshuError

_FHIR = "/fhir"
_CARDS = "/cards"
_SUMMARY = (
    "Kangshu (康枢): machine interfaces of a regional population-health platform. Ask `/oauth/token` for a "
    "token, send data-set files to `/datasets/{name}`, read what became of them at `/receipts/{id}`. Single "
    "messages go to `/hl7v2` (HL7 v2), `/documents` (CDA) and `/fhir` (FHIR R4), where records are read too. "
    "Every error is problem JSON (RFC 9457), under `/fhir` an OperationOutcome."
)


def build(services: Services) -> FastAPI:
    """Return the application of the machine doors, to be mounted at the root."""
    app = _Doors(
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
    app.fhir = FhirDoor(services, tokens=app.state.tokens, bodies=app.state.bodies)
    if services.card_office is not None:
        app.cards = CardDoor(services, bodies=app.state.bodies, open_office=services.card_office)
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
        if app.state.services.card_office is not None:
            schema["paths"].update(card_paths())
            schema.setdefault("components", {}).setdefault("schemas", {}).update(card_schemas())
    return app.openapi_schema or {}


class _Doors(FastAPI):
    """The framework's application, with the doors beside it where every layer would count.

    `/fhir` itself is the door's too; a mount of the framework's would redirect it.
    """

    fhir: FhirDoor
    cards: CardDoor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the doors answer what is under `/fhir` and `/cards`, and the framework the rest."""
        if scope["type"] == "http":
            root = scope.get("root_path", "")
            path = scope["path"].removeprefix(root)
            if path.startswith(_FHIR) and path[len(_FHIR) : len(_FHIR) + 1] in ("", "/"):
                scope["root_path"] = root + _FHIR
                await self.fhir(scope, receive, send)
                return
            if self.cards is not None and path.startswith(_CARDS) and path[len(_CARDS) :][:1] in ("", "/"):
                await self.cards(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
