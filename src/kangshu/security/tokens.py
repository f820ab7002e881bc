"""Unguessable tokens: only their SM3 digests are stored, so the database gives none away."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable

from kangshu.security.keys import Keys
from kangshu.security.sm import hmac_sm3, sm3

_TOKEN_BYTES = 32


def new_token(*, random: Callable[[int], bytes]) -> str:
    """Return 256 random bits in URL-safe letters. `random(n)` gives n unpredictable bytes."""
    return base64.urlsafe_b64encode(random(_TOKEN_BYTES)).decode().rstrip("=")


def digest_token(token: str) -> bytes:
    """Return what is stored of a token (32 bytes)."""
    return sm3(token.encode(errors="surrogatepass"))


def form_token(keys: Keys, *, session_token: str) -> str:
    """Return the token that a form of this session carries against cross-site requests."""
    return hmac_sm3(keys.session_key, b"form:" + digest_token(session_token)).hex()


def form_token_fits(keys: Keys, *, session_token: str, offered: str) -> bool:
    """Return whether a form came from a page of this session."""
    expected = form_token(keys, session_token=session_token)
    return hmac.compare_digest(expected.encode(), offered.encode(errors="surrogatepass"))
