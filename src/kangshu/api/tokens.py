"""`POST /oauth/token` (RFC 6749): client credentials for machines, password and second factor for staff."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Annotated
from urllib.parse import parse_qs, unquote_plus

import orjson
from fastapi import APIRouter, Depends, Request, Security
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlowPassword, OAuthFlows
from fastapi.security import OAuth2
from starlette.requests import HTTPConnection
from starlette.responses import Response

from kangshu.api.errors import TokenNeededError, TokenRefusedError, say
from kangshu.api.services import Services
from kangshu.audit import AuditEntry, Outcome, record
from kangshu.security.errors import ClientRefusedError, SecurityError, SignInRefusedError
from kangshu.security.model import Token
from kangshu.security.operations import issue_staff_token, issue_token, sign_in
from kangshu.security.policy import SCOPE_PERMISSIONS
from kangshu.security.principals import Principal
from kangshu.security.queries import find_token
from kangshu.storage.database import Connection

_FORM_LIMIT_BYTES = 16 << 10
_ACTION = "api.token"

router = APIRouter(tags=["access"])


@dataclass(frozen=True, kw_only=True)
class _Credentials:
    client_id: str
    secret: str = field(repr=False)


@router.post(
    "/oauth/token",
    summary="Issue an access token",
    description="Grant `client_credentials`: id and secret in a Basic header or in the form. Grant "
    "`password` for staff: `username`, `password` and, where it is set up, `otp`. The token is good for "
    "an hour.",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "required": ["grant_type"],
                        "properties": {
                            "grant_type": {"enum": ["client_credentials", "password"]},
                            "client_id": {"type": "string"},
                            "client_secret": {"type": "string"},
                            "scope": {"type": "string", "description": "words separated by spaces"},
                            "username": {"type": "string"},
                            "password": {"type": "string"},
                            "otp": {"type": "string"},
                        },
                    }
                }
            },
        }
    },
)
async def take_token_request(request: Request) -> Response:
    """Answer with a bearer token; whatever does not fit is refused in one way and put on record."""
    services: Services = request.app.state.services
    form = await _read_form(request)
    grant = form.get("grant_type")
    if grant == "client_credentials":
        token = await _machine_token(services, _credentials(request, form), form.get("scope", ""))
    elif grant == "password":
        token = await _staff_token(services, form)
    else:
        raise TokenRefusedError(say["grant_type"], code="unsupported_grant_type")
    return _answer(services, token)


_SCHEME = OAuth2(
    flows=OAuthFlows(
        clientCredentials=OAuthFlowClientCredentials(
            tokenUrl="/oauth/token", scopes=dict.fromkeys(SCOPE_PERMISSIONS, "")
        ),
        password=OAuthFlowPassword(tokenUrl="/oauth/token"),
    ),
    auto_error=False,
)
"""Tells readers of the OpenAPI description how to sign in; `authenticate` does the work."""


class TokenCache:
    """Remembers for a few seconds who is behind a token; a withdrawn token is good for so much longer."""

    def __init__(self, *, seconds: float = 5.0, most: int = 10_000) -> None:
        self._seconds, self._most = seconds, most
        self._known: dict[bytes, tuple[float, Principal]] = {}

    def find(self, token: str) -> Principal | None:
        """Return whom the token was found to stand for a moment ago."""
        known = self._known.get(_token_key(token))
        return known[1] if known and known[0] > monotonic() else None

    def put(self, token: str, principal: Principal) -> None:
        """Remember a token that was looked up just now."""
        if len(self._known) >= self._most:
            self._known.clear()
        self._known[_token_key(token)] = (monotonic() + self._seconds, principal)


def _token_key(token: str) -> bytes:
    """Keep no token in memory that could be used."""
    return hashlib.blake2b(token.encode(), digest_size=16).digest()


async def authenticate_quickly(
    request: HTTPConnection, *, services: Services, tokens: TokenCache
) -> Principal:
    """Return who is behind the request's bearer token, asking the database every few seconds only.

    Raises:
        TokenNeededError: there is none, or it is unknown or over.
    """
    token = _bearer(request)
    if known := tokens.find(token):
        return known
    principal = await _look_up(services, token)
    tokens.put(token, principal)
    return principal


async def authenticate(
    request: Request, _described: Annotated[str | None, Security(_SCHEME)] = None
) -> Principal:
    """Return who is behind the request's bearer token.

    Raises:
        TokenNeededError: there is none, or it is unknown or over.
    """
    return await _look_up(request.app.state.services, _bearer(request))


async def authenticate_sender(
    request: Request, _described: Annotated[str | None, Security(_SCHEME)] = None
) -> Principal:
    """Return who is behind the request's bearer token, for doors that are asked very often.

    Raises:
        TokenNeededError: there is none, or it is unknown or over.
    """
    state = request.app.state
    return await authenticate_quickly(request, services=state.services, tokens=state.tokens)


def _bearer(request: HTTPConnection) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise TokenNeededError
    return token


async def _look_up(services: Services, token: str) -> Principal:
    async with services.database.connection() as connection:
        principal = await find_token(connection, token=token, now=services.clock.now())
    if principal is None:
        raise TokenNeededError
    return principal


Caller = Annotated[Principal, Depends(authenticate)]
"""Who is behind the request, for a route's parameter."""
Sender = Annotated[Principal, Depends(authenticate_sender)]
"""The same where messages are sent, one by one."""


async def _machine_token(services: Services, credentials: _Credentials, scope: str) -> Token:
    async with services.database.transaction() as connection:
        try:
            token = await issue_token(
                connection,
                client_id=credentials.client_id,
                secret=credentials.secret,
                scopes=scope.split(),
                now=services.clock.now(),
                random=services.random,
            )
        except ClientRefusedError as refusal:
            refused: SecurityError | None = refusal
            token = None
        else:
            refused = None
        # An id is put on record as it was given only where it is one of ours: people send anything.
        actor = f"machine:{credentials.client_id}" if token else "unknown"
        await _record(services, connection, actor=actor, outcome=Outcome.REFUSED if refused else Outcome.DONE)
    if token is None:
        assert refused is not None, "no token means a refusal"
        raise TokenRefusedError(refused.text, code="invalid_client")
    return token


async def _staff_token(services: Services, form: Mapping[str, str]) -> Token:
    now = services.clock.now()
    try:
        async with services.database.connection() as connection:
            principal = await sign_in(
                connection,
                keys=services.keys,
                name=form.get("username", "").strip().lower(),
                password=form.get("password", ""),
                otp=form.get("otp", ""),
                now=now,
            )
    except SignInRefusedError as refusal:
        async with services.database.transaction() as connection:
            await _record(services, connection, actor="unknown", outcome=Outcome.REFUSED)
        raise TokenRefusedError(refusal.text, code="invalid_grant") from None
    async with services.database.transaction() as connection:
        token = await issue_staff_token(connection, principal=principal, now=now, random=services.random)
        await _record(services, connection, actor=principal.id, outcome=Outcome.DONE, name=principal.name)
    return token


async def _record(
    services: Services, connection: Connection, *, actor: str, outcome: Outcome, name: str = ""
) -> None:
    entry = AuditEntry(
        at=services.clock.now(), actor=actor, actor_name=name, action=_ACTION, resource="api", outcome=outcome
    )
    await record(connection, entries=[entry])


def _answer(services: Services, token: Token) -> Response:
    seconds = int((token.expires_at - services.clock.now()).total_seconds())
    content = {"access_token": token.token, "token_type": "Bearer", "expires_in": seconds}
    if token.scopes:
        content["scope"] = " ".join(sorted(token.scopes))
    return Response(
        orjson.dumps(content), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _credentials(request: Request, form: Mapping[str, str]) -> _Credentials:
    """Return the machine's id and secret from the Basic header or, without one, from the form."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return _Credentials(client_id=form.get("client_id", ""), secret=form.get("client_secret", ""))
    if "client_secret" in form:
        raise TokenRefusedError(say["two_ways"], code="invalid_request")
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise TokenRefusedError(say["token_form"], code="invalid_request") from None
    return _Credentials(client_id=unquote_plus(client_id), secret=unquote_plus(secret))


async def _read_form(request: Request) -> dict[str, str]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise TokenRefusedError(say["token_form"], code="invalid_request")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_LIMIT_BYTES:
            raise TokenRefusedError(say["token_form"], code="invalid_request")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise TokenRefusedError(say["token_form"], code="invalid_request") from None
    return {name: values[-1] for name, values in fields.items()}
