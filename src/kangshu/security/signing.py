"""Requests that machines sign: what is signed, and whether a signature fits; pure.

The signed text binds everything that counts: method, path, query, the key's name, the moment, a nonce and the
digest of the body. The key says which procedure it is for, never the request, so none can be exchanged for a
weaker one.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from kangshu.kernel.texts import load_catalogue
from kangshu.security.errors import SignatureRefusedError
from kangshu.security.principals import Principal
from kangshu.security.sm import hmac_sm3, sm2_from_der, sm2_sign, sm2_verify, sm3

say = load_catalogue(__package__ or __name__)

SCHEME = "KANGSHU1"
WINDOW = timedelta(minutes=5)
"""So far a request's moment may lie from ours; so long its nonce is remembered."""

KEY_HEADER = "x-kangshu-key"
TIME_HEADER = "x-kangshu-time"
NONCE_HEADER = "x-kangshu-nonce"
SIGNATURE_HEADER = "x-kangshu-signature"

_KEY_ID = re.compile(r"ks-[0-9a-f]{16}")
_TIME = re.compile(r"[0-9]{13}", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_SIGNATURE = re.compile(r"[0-9a-fA-F]{64,160}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Procedure(StrEnum):
    """How a key signs."""

    HMAC_SM3 = "hmac-sm3"
    SM2 = "sm2"


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A key of a machine: `secret` is the text that was shown once (HMAC) or the public key (SM2)."""

    id: str
    procedure: Procedure
    secret: bytes = field(repr=False)
    principal: Principal
    institution: str


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What the four headers say."""

    key: str
    time: str
    nonce: str
    signature: str = field(repr=False)

    @property
    def at(self) -> datetime:
        """The moment at which the request was signed."""
        return _EPOCH + timedelta(milliseconds=int(self.time))

    @property
    def nonce_digest(self) -> bytes:
        """What is kept of the nonce: 16 bytes that say whose it is and which."""
        return sm3(f"{self.key}\n{self.nonce}".encode())[:16]


def open_envelope(*, key: str, time: str, nonce: str, signature: str) -> Envelope:
    """Return the envelope of a request whose headers have the right form.

    Raises:
        SignatureRefusedError: a header is missing or has another form; `place` names it.
    """
    wanted = (
        (KEY_HEADER, _KEY_ID, key),
        (TIME_HEADER, _TIME, time),
        (NONCE_HEADER, _NONCE, nonce),
        (SIGNATURE_HEADER, _SIGNATURE, signature),
    )
    for name, pattern, value in wanted:
        if not pattern.fullmatch(value):
            raise SignatureRefusedError(say["signature_header"], word="header", place=name)
    return Envelope(key=key, time=time, nonce=nonce, signature=signature)


def require_fresh(envelope: Envelope, *, now: datetime) -> None:
    """Do nothing if the request was signed within the window around `now`.

    Raises:
        SignatureRefusedError: it is too old, or the sender's clock is wrong.
    """
    if abs(now - envelope.at) > WINDOW:
        text = say("signature_time", minutes=int(WINDOW.total_seconds() // 60))
        raise SignatureRefusedError(text, word="time", place=TIME_HEADER)


def signed_text(*, method: str, path: str, query: str, key: str, time: str, nonce: str, body: bytes) -> bytes:
    r"""Return the bytes that are signed: eight lines, each ended by LF.

    >>> text = signed_text(method="POST", path="/cards/scan", query="", key="ks-0011223344556677",
    ...                    time="1773801000000", nonce="n0123456789abcdef", body=b"{}")
    >>> text.decode().splitlines()[:4]
    ['KANGSHU1', 'POST', '/cards/scan', '']
    """
    lines = (SCHEME, method.upper(), path, query, key, time, nonce, sm3(body).hex())
    return "".join(f"{line}\n" for line in lines).encode()


def sign(procedure: Procedure, *, secret: bytes, text: bytes) -> str:
    """Return the signature in hexadecimal; `secret` is the HMAC key, or the SM2 private key (32 bytes)."""
    if procedure is Procedure.HMAC_SM3:
        return hmac_sm3(secret, text).hex()
    return sm2_sign(secret, text).hex()


def fits(key: SigningKey, *, text: bytes, signature: str) -> bool:
    """Return whether the signature is this key's for this text; an SM2 one is r || s or DER."""
    try:
        offered = bytes.fromhex(signature)
    except ValueError:
        return False
    if key.procedure is Procedure.HMAC_SM3:
        return hmac.compare_digest(hmac_sm3(key.secret, text), offered)
    try:
        return sm2_verify(key.secret, text, offered if len(offered) == 64 else sm2_from_der(offered))
    except ValueError:
        return False


def signature_refused() -> SignatureRefusedError:
    """Return the one answer to an unknown key and to a signature that does not fit."""
    return SignatureRefusedError(say["signature_refused"], word="signature", place=SIGNATURE_HEADER)


def request_replayed() -> SignatureRefusedError:
    """Return the answer to a request whose nonce was seen before."""
    return SignatureRefusedError(say["signature_replay"], word="replay", place=NONCE_HEADER)
