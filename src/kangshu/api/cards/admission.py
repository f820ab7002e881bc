"""Who sends a signed request: its signature, moment and nonce are checked here, in this order of cost."""

from __future__ import annotations

import asyncio
from time import monotonic

import structlog
from starlette.requests import Request

from kangshu.api.cards import policy
from kangshu.api.cards.errors import TooManyError
from kangshu.api.cards.limits import Buckets
from kangshu.api.cards.nonces import NonceBook
from kangshu.api.errors import say
from kangshu.api.services import Services
from kangshu.audit import AuditEntry, Outcome, record
from kangshu.security.errors import SignatureRefusedError
from kangshu.security.signing import (
    KEY_HEADER,
    NONCE_HEADER,
    SIGNATURE_HEADER,
    TIME_HEADER,
    Envelope,
    Procedure,
    SigningKey,
    fits,
    open_envelope,
    request_replayed,
    require_fresh,
    signature_refused,
    signed_text,
)
from kangshu.security.signing_keys import find_signing_key

log = structlog.get_logger(__name__)

_ACTION = "card.signature"
_MOST_KNOWN = 10_000
_MINUTE = 60.0


class Admission:
    """Lets signed requests in. One process has one of these."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: dict[str, tuple[float, SigningKey]] = {}
        self._nonces = NonceBook(services.database, clock=services.clock)
        self._calls = Buckets(rate=policy.CALLS_PER_SECOND, burst=policy.CALLS_BURST)
        failures = policy.FAILED_SIGNATURES_PER_MINUTE
        self._failures = Buckets(rate=failures / _MINUTE, burst=failures)

    async def admit(self, request: Request, *, body: bytes) -> SigningKey:
        """Return the key that signed the request, which was never seen before.

        Raises:
            SignatureRefusedError: headers, moment, signature or nonce do not fit; `word` says which.
            TooManyError: too many signatures from there did not fit, or the key asks too often.
        """
        address = request.client.host if request.client else ""
        if not self._failures.has(address):
            raise TooManyError(say["cards_too_many"])
        try:
            envelope = _envelope(request)
            require_fresh(envelope, now=self._services.clock.now())
            key = await self._require_signature(request, envelope, body)
        except SignatureRefusedError:
            self._failures.take(address)
            raise
        if not self._calls.take(key.id):
            raise TooManyError(say["cards_too_many"])
        if not await self._nonces.spend(envelope):
            await self._note(key, "replay")
            raise request_replayed()
        return key

    async def _require_signature(self, request: Request, envelope: Envelope, body: bytes) -> SigningKey:
        key = await self._find(envelope.key)
        text = _text(request, envelope, body)
        if key is not None and await _fits(key, text, envelope.signature):
            return key
        if key is not None:
            await self._note(key, "signature")
        # An unknown key and a wrong signature are answered alike.
        raise signature_refused()

    async def _find(self, key_id: str) -> SigningKey | None:
        known = self._known.get(key_id)
        if known and known[0] > monotonic():
            return known[1]
        async with self._services.database.connection() as connection:
            key = await find_signing_key(connection, keys=self._services.keys, key_id=key_id)
        if key is None:
            self._known.pop(key_id, None)
            return None
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key_id] = (monotonic() + policy.KEY_CACHE_SECONDS, key)
        return key

    async def _note(self, key: SigningKey, word: str) -> None:
        """Put on record that somebody used an institution's key and could not sign with it."""
        entry = AuditEntry(
            at=self._services.clock.now(),
            actor="unknown",
            actor_name="",
            action=_ACTION,
            resource=f"signing-key/{key.id}",
            institution=key.institution,
            outcome=Outcome.REFUSED,
            detail={"refused_for": word},
        )
        async with self._services.database.transaction() as connection:
            await record(connection, entries=[entry])


def _envelope(request: Request) -> Envelope:
    headers = request.headers
    return open_envelope(
        key=headers.get(KEY_HEADER, ""),
        time=headers.get(TIME_HEADER, ""),
        nonce=headers.get(NONCE_HEADER, ""),
        signature=headers.get(SIGNATURE_HEADER, ""),
    )


def _text(request: Request, envelope: Envelope, body: bytes) -> bytes:
    # The path as it was sent: what a client signed it cannot know in another spelling.
    scope = request.scope
    path = scope.get("raw_path", b"") or scope["path"].encode()
    return signed_text(
        method=scope["method"],
        path=path.partition(b"?")[0].decode("latin-1"),
        query=scope.get("query_string", b"").decode("latin-1"),
        key=envelope.key,
        time=envelope.time,
        nonce=envelope.nonce,
        body=body,
    )


async def _fits(key: SigningKey, text: bytes, signature: str) -> bool:
    if key.procedure is Procedure.HMAC_SM3:
        return fits(key, text=text, signature=signature)
    # An SM2 signature takes milliseconds to check; others go on meanwhile.
    return await asyncio.to_thread(fits, key, text=text, signature=signature)
