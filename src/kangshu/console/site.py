"""The console as one application: routes, headers, and what is shown when something goes wrong."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from kangshu.audit import Outcome
from kangshu.console.acts import REFUSED, note_alone
from kangshu.console.errors import SignInNeededError
from kangshu.console.headers import SecurityHeaders, dress
from kangshu.console.overview_figures import FiguresCache
from kangshu.console.pages import (
    account,
    audit,
    card_check,
    card_window,
    cards,
    catalogue,
    circular,
    coverage,
    datasets,
    documents,
    entries,
    institution_quality,
    institutions,
    linkage,
    mending,
    messages,
    overview,
    persons,
    rankings,
    receipts,
    reconciliations,
    record,
    reviews,
    rules,
    self_test,
    sign_in,
    trends,
    upload,
)
from kangshu.console.rendering import Renderer
from kangshu.console.services import Services
from kangshu.console.visits import SESSION_COOKIE, Visit, anonymous
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.statuses import STATUS_OF_KIND
from kangshu.security.errors import NotPermittedError

_RETRY_SECONDS = 10
_DOCUMENTS_AT_ONCE = 2
_STATIC = Path(str(resources.files("kangshu.console").joinpath("static")))
_STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def build(services: Services) -> Starlette:
    """Return the console, to be mounted at `/console`."""
    routes = [Route("/static/{name}", _static)]
    for module in (
        sign_in,
        overview,
        receipts,
        messages,
        upload,
        self_test,
        institutions,
        rankings,
        circular,
        coverage,
        institution_quality,
        mending,
        reconciliations,
        catalogue,
        rules,
        datasets,
        persons,
        record,
        trends,
        entries,
        documents,
        reviews,
        linkage,
        cards,
        card_check,
        card_window,
        audit,
        account,
    ):
        routes += module.routes
    app = Starlette(
        routes=routes,
        middleware=[Middleware(SecurityHeaders, secure=services.secure_cookies)],
        exception_handlers={
            KangshuError: _refused,
            HTTPException: _http_refused,
            Exception: _broken,
        },
    )
    app.state.services = services
    app.state.renderer = Renderer(zone=services.zone, region=services.region)
    app.state.figures = FiguresCache()
    app.state.reading = asyncio.Semaphore(_DOCUMENTS_AT_ONCE)
    return app


async def _static(request: Request) -> Response:
    """Send a file of our own; its address changes with its content, so browsers keep it for good."""
    name = request.path_params["name"]
    path = _STATIC / name
    if path.parent != _STATIC or path.suffix not in _STATIC_TYPES or not path.is_file():
        raise HTTPException(404)
    marked = "v" in request.query_params
    return FileResponse(
        path,
        media_type=_STATIC_TYPES[path.suffix],
        headers={"Cache-Control": "public, max-age=31536000, immutable" if marked else "no-cache"},
    )


async def _refused(request: Request, error: Exception) -> Response:
    """Show an expected failure: what happened and what to do."""
    assert isinstance(error, KangshuError), "registered for these only"
    visit = _visit(request)
    if isinstance(error, SignInNeededError):
        return _to_sign_in(visit)
    if isinstance(error, NotPermittedError) and visit.principal is not None:
        await _note_refusal(request, visit)
    return _failure(
        visit,
        status=STATUS_OF_KIND[error.kind],
        title=_title(visit, error),
        text=visit.own(error.text),
        remedy=_remedy(visit, error.kind),
        retry=error.kind in (Kind.UNAVAILABLE, Kind.INTERRUPTED, Kind.BUSY),
    )


async def _http_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for these only"
    visit = _visit(request)
    if error.status_code == 404:
        title, text = visit.say("failure.not_found"), visit.say("failure.not_found_text")
    elif error.status_code == 405:
        title, text = visit.say("failure.method"), ""
    else:
        title, text = visit.say("failure.incorrect"), ""
    return _failure(visit, status=error.status_code, title=title, text=text)


async def _broken(request: Request, error: Exception) -> Response:
    """Show that we failed; what failed is in the log, not on the page."""
    visit = _visit(request)
    text = visit.say("failure.fault_text")
    try:
        response = _failure(visit, status=500, title=visit.say("failure.fault"), text=text)
    except Exception:  # noqa: BLE001 - the page itself may be what is broken
        response = PlainTextResponse(text, status_code=500)
    # This answer is made outside the middleware that dresses all others.
    dress(response.headers, secure=visit.services.secure_cookies)
    return response


async def _note_refusal(request: Request, visit: Visit) -> None:
    """Put on record that somebody tried a page that is not open to them; the page is named by its pattern."""
    route = request.scope.get("route")
    with suppress(KangshuError):
        await note_alone(visit, REFUSED, outcome=Outcome.REFUSED, resource=str(getattr(route, "path", "")))


def _visit(request: Request) -> Visit:
    """Return the visit as far as it got: a failure on the way in leaves one of whom nothing is known."""
    return getattr(request.state, "visit", None) or anonymous(request)


def _to_sign_in(visit: Visit) -> Response:
    # After a form the way back leads to the first page: a form cannot be sent again by an address.
    wanted = visit.here if visit.request.method == "GET" else "/console/"
    expired = "flash.expired" if SESSION_COOKIE in visit.request.cookies else None
    response = visit.go(f"/console/sign-in?next={quote(wanted, safe='')}", flash=expired)
    response.delete_cookie(SESSION_COOKIE, path="/console")
    return response


def _title(visit: Visit, error: KangshuError) -> str:
    titles = {
        Kind.FORBIDDEN: "failure.forbidden",
        Kind.NOT_FOUND: "failure.not_found_thing",
        Kind.UNAVAILABLE: "failure.unavailable",
        Kind.CONFLICT: "failure.conflict",
        Kind.UNSUPPORTED: "failure.unsupported",
        Kind.BUSY: "failure.busy",
        Kind.INTERRUPTED: "failure.interrupted",
        Kind.FAULT: "failure.fault",
    }
    return visit.say(titles.get(error.kind, "failure.incorrect"))


def _remedy(visit: Visit, kind: Kind) -> str:
    if kind is Kind.FORBIDDEN:
        return visit.say("failure.forbidden_remedy")
    return visit.say("failure.unavailable_remedy") if kind is Kind.UNAVAILABLE else ""


def _failure(
    visit: Visit, *, status: int, title: str, text: str, remedy: str = "", retry: bool = False
) -> Response:
    seconds = _RETRY_SECONDS if retry and visit.request.method == "GET" else 0
    response = visit.page(
        "failure.html",
        status=status,
        status_code=status,
        title=title,
        text=text,
        remedy=remedy,
        retry_seconds=seconds,
    )
    if retry:
        response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return response
