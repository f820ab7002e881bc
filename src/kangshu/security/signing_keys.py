"""Make, list and withdraw the keys with which machines sign requests, and remember their nonces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from kangshu.kernel.texts import load_catalogue
from kangshu.security import store
from kangshu.security.errors import AccountRefusedError, AccountUnknownError
from kangshu.security.keys import Keys
from kangshu.security.sealing import digest_many, open_checked, seal_many
from kangshu.security.signing import WINDOW, Envelope, Procedure, SigningKey
from kangshu.security.sm import sm2_is_public_key
from kangshu.security.store import Connection
from kangshu.security.tokens import new_token

say = load_catalogue(__package__ or __name__)

_PREFIX = "signing:"
_MOST_KEYS = 1000


@dataclass(frozen=True, kw_only=True)
class KeyInfo:
    """A signing key as others see it."""

    id: str
    client: str
    institution: str
    scopes: frozenset[str]
    procedure: Procedure
    in_use: bool
    made_at: datetime


async def make_signing_key(
    connection: Connection, *, keys: Keys, client_id: str, now: datetime, random: Callable[[int], bytes]
) -> tuple[str, str]:
    """Return id and secret of a new HMAC-SM3 key of a machine; the secret is shown this once.

    Its UTF-8 bytes are the HMAC key. Earlier keys stay good until they are retired, so that a machine can
    change over without a pause.

    Raises:
        AccountUnknownError: there is no such active client.
    """
    secret = new_token(random=random)
    [sealed] = seal_many(keys, [secret], nonce=random(12))
    [digest] = digest_many(keys.lookup_key, [_PREFIX + secret])
    key_id = await _insert(connection, client_id, Procedure.HMAC_SM3, sealed, digest, now, random)
    return key_id, secret


async def add_public_key(
    connection: Connection, *, client_id: str, public: str, now: datetime, random: Callable[[int], bytes]
) -> str:
    """Return the id of an SM2 key of a machine, whose private half we never see.

    Raises:
        AccountRefusedError: it is no point of the curve.
        AccountUnknownError: there is no such active client.
    """
    digits = public.strip().lower()
    if len(digits) == 130 and digits.startswith("04"):
        digits = digits[2:]
    try:
        point = bytes.fromhex(digits)
    except ValueError:
        point = b""
    if len(point) != 64 or not sm2_is_public_key(point):
        raise AccountRefusedError(say["signing_public_key"])
    return await _insert(connection, client_id, Procedure.SM2, point, b"", now, random)


async def retire_signing_key(connection: Connection, *, key_id: str) -> None:
    """Withdraw a key; requests signed with it are refused a few seconds later at the latest.

    Raises:
        AccountUnknownError: there is no such key.
    """
    if not key_id.isprintable() or not await store.retire_signing_key(connection, key_id=key_id):
        raise AccountUnknownError(say["signing_key_unknown"])


async def find_signing_key(connection: Connection, *, keys: Keys, key_id: str) -> SigningKey | None:
    """Return a key that is in use, with its secret, or None."""
    found = await store.find_signing_key(connection, key_id=key_id)
    if found is None:
        return None
    client, procedure, secret, digest = found
    if procedure == Procedure.HMAC_SM3:
        [text] = open_checked(keys, [secret], [digest], prefix=_PREFIX)
        secret = text.encode()
    return SigningKey(
        id=key_id,
        procedure=Procedure(procedure),
        secret=secret,
        principal=client.principal,
        institution=client.institution,
    )


async def list_signing_keys(
    connection: Connection, *, institutions: Sequence[str] | None = None
) -> list[KeyInfo]:
    """Return the keys of these institutions' machines, or of all, a thousand at most, without secrets."""
    return [
        KeyInfo(
            id=key_id,
            client=client.id,
            institution=client.institution,
            scopes=client.scopes,
            procedure=Procedure(procedure),
            in_use=in_use,
            made_at=made_at,
        )
        for client, key_id, procedure, in_use, made_at in await store.list_signing_keys(
            connection, institutions=institutions, limit=_MOST_KEYS
        )
    ]


async def spend_nonces(connection: Connection, *, envelopes: Sequence[Envelope]) -> list[bool]:
    """Return for each request whether its nonce was new; of two alike in one call only the first is."""
    digests = [envelope.nonce_digest for envelope in envelopes]
    expiries = {digest: one.at + WINDOW for digest, one in zip(digests, envelopes, strict=True)}
    new = await store.insert_nonces(connection, digests=list(expiries), expiries=list(expiries.values()))
    answers: list[bool] = []
    for digest in digests:
        answers.append(digest in new)
        new.discard(digest)
    return answers


async def forget_nonces(connection: Connection, *, now: datetime) -> int:
    """Forget the nonces of requests that are too old to be sent again; return how many there were."""
    return await store.delete_nonces(connection, before=now - WINDOW / 5)


async def _insert(
    connection: Connection,
    client_id: str,
    procedure: Procedure,
    secret: bytes,
    digest: bytes,
    now: datetime,
    random: Callable[[int], bytes],
) -> str:
    key_id = f"ks-{random(8).hex()}"
    made = client_id.isprintable() and await store.insert_signing_key(
        connection,
        key_id=key_id,
        client_id=client_id,
        procedure=procedure,
        secret=secret,
        digest=digest,
        now=now,
    )
    if not made:
        raise AccountUnknownError(say["client_unknown"])
    return key_id
