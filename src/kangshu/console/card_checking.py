"""What is wrong with a signed request that an institution's programmer cannot get accepted; pure.

The signature is held against what should have been signed, and then against what is often signed by mistake:
whichever fits tells the mistake. The right signature itself is never shown.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from kangshu.security.errors import SignatureRefusedError
from kangshu.security.signing import (
    Envelope,
    Procedure,
    SigningKey,
    fits,
    open_envelope,
    require_fresh,
    signed_text,
)
from kangshu.security.sm import sm3


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A request as its programmer sent it."""

    method: str
    path: str
    query: str
    key: str
    time: str
    nonce: str
    signature: str
    body: str

    @property
    def text(self) -> bytes:
        """What must be signed."""
        return signed_text(
            method=self.method,
            path=self.path,
            query=self.query,
            key=self.key,
            time=self.time,
            nonce=self.nonce,
            body=self.body.encode(),
        )


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: the name of its text, whether it holds, and what was seen."""

    name: str
    holds: bool
    seen: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All checks, the lines that must be signed, and the name of a known mistake that explains it."""

    checks: tuple[Check, ...]
    lines: tuple[str, ...]
    mistake: str = ""


def judge(tried: Tried, *, key: SigningKey | None, now: datetime) -> Verdict:
    """Return what is right and wrong with the request; `key` is None where it is not the visitor's own."""
    checks = [_headers(tried), _moment(tried, now=now), Check(name="key", holds=key is not None)]
    right = key is not None and fits(key, text=tried.text, signature=tried.signature)
    checks.append(Check(name="signature", holds=right))
    mistake = "" if right or key is None else _mistake(tried, key)
    return Verdict(checks=tuple(checks), lines=tuple(tried.text.decode().splitlines()), mistake=mistake)


def _headers(tried: Tried) -> Check:
    try:
        _envelope(tried)
    except SignatureRefusedError as refusal:
        return Check(name="headers", holds=False, seen=refusal.place or "")
    return Check(name="headers", holds=True)


def _moment(tried: Tried, *, now: datetime) -> Check:
    try:
        envelope = _envelope(replace(tried, key="ks-" + "0" * 16, nonce="0" * 16, signature="0" * 64))
        seen = f"{round((now - envelope.at).total_seconds()):+d} s"
    except SignatureRefusedError:
        return Check(name="moment", holds=False)
    try:
        require_fresh(envelope, now=now)
    except SignatureRefusedError:
        return Check(name="moment", holds=False, seen=seen)
    return Check(name="moment", holds=True, seen=seen)


def _envelope(tried: Tried) -> Envelope:
    return open_envelope(key=tried.key, time=tried.time, nonce=tried.nonce, signature=tried.signature)


def _mistake(tried: Tried, key: SigningKey) -> str:
    for name, text, other in _variants(tried, key):
        if fits(other, text=text, signature=tried.signature):
            return name
    return ""


def _variants(tried: Tried, key: SigningKey) -> Iterator[tuple[str, bytes, SigningKey]]:
    """Yield the mistakes that programs make: name, what they sign, with what."""
    text = tried.text
    digest = sm3(tried.body.encode()).hex()
    yield "last_line_end", text.removesuffix(b"\n"), key
    yield "crlf", text.replace(b"\n", b"\r\n"), key
    yield "digest_upper", text.replace(digest.encode(), digest.upper().encode()), key
    yield "body_itself", text.replace(f"{digest}\n".encode(), tried.body.encode() + b"\n"), key
    yield "empty_body", replace(tried, body="").text, key
    yield "body_end", replace(tried, body=tried.body + "\n").text, key
    yield "method", text.replace(tried.method.upper().encode(), tried.method.lower().encode(), 1), key
    yield "slash", replace(tried, path=tried.path.rstrip("/") + "/").text, key
    yield "no_query_line", text.replace(b"\n\n", b"\n", 1), key
    if len(tried.time) == 13:
        yield "seconds", replace(tried, time=tried.time[:10]).text, key
    if key.procedure is Procedure.HMAC_SM3:
        for name, secret in (("secret_decoded", _decoded(key.secret)), ("secret_line", key.secret + b"\n")):
            if secret:
                yield name, text, replace(key, secret=secret)


def _decoded(secret: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(secret + b"=" * (-len(secret) % 4))
    except (ValueError, binascii.Error):
        return b""
