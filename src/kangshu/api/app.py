"""The machine doors as one application; its own page describes it, without anything from elsewhere."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route

from kangshu.api import files, messages, probes, tokens
from kangshu.api.fhir import build_fhir
from kangshu.api.problems import MEDIA_TYPE, SCHEMA, broken, http_refused, invalid, refused
from kangshu.api.reference import show_reference, show_style
from kangshu.api.services import Services
from kangshu.kernel.errors import KangshuError

_SUMMARY = (
    "Kangshu (康枢): machine interfaces of a regional population-health platform. Ask `/oauth/token` for a "
    "token, send data-set files to `/datasets/{name}`, read what became of them at `/receipts/{id}`. "
    "Every error is problem JSON (RFC 9457)."
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
    app.state.services = services
    for module in (probes, tokens, files, messages):
        app.include_router(module.router)
    app.router.routes.append(Mount("/fhir", app=build_fhir(services)))
    app.router.routes.append(Route("/docs", show_reference))
    app.router.routes.append(Route("/docs/style.css", show_style))
    return app
