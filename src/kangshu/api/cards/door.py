"""The health card interface as an ASGI application: a table of addresses, checks in their order, one `try`.

It is no framework's application, for every microsecond here is paid for by every request of a province.
Errors are problem JSON without a value out of the request.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import msgspec
import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kangshu.api.bodies import Bodies
from kangshu.api.cards import policy
from kangshu.api.cards.acts import OPERATIONS
from kangshu.api.cards.admission import Admission
from kangshu.api.cards.asking import Asked, Operation
from kangshu.api.cards.calls import Call
from kangshu.api.cards.desk import Desk
from kangshu.api.cards.errors import CallRefusedError, CodeRefusedError, ForeignNameError
from kangshu.api.cards.limits import Buckets
from kangshu.api.errors import say
from kangshu.api.problems import problem, refused
from kangshu.api.services import Services
from kangshu.audit import AuditEntry, Outcome, record
from kangshu.healthcard import Office
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.security.errors import SignatureRefusedError
from kangshu.security.signing import SigningKey

log = structlog.get_logger(__name__)

_ROOT = "/cards"
_KEYS = "/cards/keys"
_JSON = "application/json"
_PLACE = re.compile(r"`\$([.\[\]A-Za-z0-9_]*)`")
_MISSING = re.compile(r"missing required field `([A-Za-z0-9]+)`")
_ESCAPED_NUL = b"\\u0000"


class CardDoor:
    """Answers what is asked under `/cards`."""

    def __init__(
        self, services: Services, *, bodies: Bodies, open_office: Callable[[], Awaitable[Office]]
    ) -> None:
        self._services, self._bodies = services, bodies
        self._desk = Desk(database=services.database, clock=services.clock, open_office=open_office)
        self._admission = Admission(services)
        self._misses = Buckets(rate=policy.MISSES_PER_MINUTE / 60.0, burst=policy.MISSES_BURST)
        self._operations = {f"{_ROOT}{one.path}": one for one in OPERATIONS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        scope = request.scope
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == _KEYS:
            scope["route"] = _Route(path)
            return await self._show_keys(request)
        operation = self._operations.get(path)
        scope["route"] = _Route(path if operation else "none")
        if operation is None:
            return problem(request, status=404, kind=Kind.NOT_FOUND, text=say["no_such_path"])
        if scope["method"] != "POST":
            headers = {"allow": "POST"}
            return problem(
                request, status=405, kind=Kind.UNSUPPORTED, text=say["no_such_method"], headers=headers
            )
        try:
            async with self._bodies.lend(request, most=operation.body_most) as body:
                return _written(await self._carry_out(request, operation, body))
        except SignatureRefusedError as error:
            return _unsigned(request, error)
        except CodeRefusedError as error:
            return _unaccepted(request, error)
        except KangshuError as error:
            return await refused(request, error)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - the client hears that we failed; what failed is logged
            log.error("a card request fell", route=path, **_whereabouts(error))
            return problem(request, status=500, kind=Kind.FAULT, text=say["fault"])

    async def _show_keys(self, request: Request) -> Response:
        """Answer with the public keys for codes that are checked offline; anybody may have them."""
        if request.method not in ("GET", "HEAD"):
            headers = {"allow": "GET, HEAD"}
            return problem(
                request, status=405, kind=Kind.UNSUPPORTED, text=say["no_such_method"], headers=headers
            )
        try:
            office = await self._desk.office()
        except KangshuError as error:
            return await refused(request, error)
        return Response(
            orjson.dumps({"sm2": [key.hex() for key in office.sign_public_keys]}),
            media_type=_JSON,
            headers={"cache-control": "max-age=3600"},
        )

    async def _carry_out(self, request: Request, operation: Operation, body: bytes) -> object:
        key = await self._admission.admit(request, body=body)
        if operation.may is not None and not key.principal.may(operation.may):
            await self._note_refusal(key, operation, "scope")
            key.principal.require(operation.may)
        call = _decoded(operation, body)
        if call.institution is not None and call.institution != key.institution:
            await self._note_refusal(key, operation, "institution")
            raise ForeignNameError(say["out_of_reach"], place="institution")
        asked = Asked(
            services=self._services,
            key=key,
            call=call,
            now=self._services.clock.now(),
            misses=self._misses,
            office=await self._desk.office(),
            desk=self._desk,
        )
        if operation.guessed:
            asked.require_guesses_left()
        return await operation.answer(asked)

    async def _note_refusal(self, key: SigningKey, operation: Operation, word: str) -> None:
        entry = AuditEntry(
            at=self._services.clock.now(),
            actor=key.principal.id,
            actor_name=key.principal.name,
            action="card.call",
            resource=operation.path.strip("/"),
            institution=key.institution,
            outcome=Outcome.REFUSED,
            detail={"refused_for": word},
        )
        async with self._services.database.transaction() as connection:
            await record(connection, entries=[entry])


class _Route:
    """Names the address for the metrics, which must not know more than the pattern."""

    def __init__(self, path: str) -> None:
        self.path = path


def _decoded(operation: Operation, body: bytes) -> Call:
    if _ESCAPED_NUL in body:  # no text of ours holds a NUL, and the database keeps none
        raise CallRefusedError(say["cards_body"])
    try:
        return operation.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        # Its words may quote a value; the place is ours.
        raise CallRefusedError(say["cards_body"], place=_place(str(error))) from None


def _place(words: str) -> str | None:
    missing, place = _MISSING.search(words), _PLACE.search(words)
    steps = [place.group(1).strip(".")] if place else []
    steps += [missing.group(1)] if missing else []
    return ".".join(step for step in steps if step) or None


def _written(content: object) -> Response:
    return Response(
        content if isinstance(content, bytes) else orjson.dumps(content),
        media_type=_JSON,
        headers={"cache-control": "no-store"},
    )


def _unsigned(request: Request, error: SignatureRefusedError) -> Response:
    return problem(
        request,
        status=401,
        kind=Kind.FORBIDDEN,
        text=error.text,
        place=error.place,
        more={"error": error.word},
        headers={"www-authenticate": "Kangshu-Signature"},
    )


def _unaccepted(request: Request, error: CodeRefusedError) -> Response:
    more = {"error": error.word}
    return problem(request, status=409, kind=Kind.CONFLICT, text=error.text, place=error.place, more=more)


def _whereabouts(error: BaseException) -> dict[str, str]:
    """Return what may be logged of a failure: its class and its place, never its words: they quote values."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = type(error).__name__
    if trace is None:
        return {"error": name}
    return {"error": name, "at": f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"}
