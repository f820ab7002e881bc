"""Small values that a browser carries for us, sealed: unreadable there, and void in another session.

They keep what must not stand in an address (whom somebody searched for, why a record was opened)
and need no room on the server. A pocket is SM4-GCM over JSON, bound to its name and to the session.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from kangshu.security.sm import hmac_sm3, sm4_gcm_decrypt, sm4_gcm_encrypt

_NONCE_BYTES = 12


@dataclass(frozen=True, kw_only=True)
class Pockets:
    """Seals and opens the pockets of one session."""

    key: bytes
    session: str
    random: Callable[[int], bytes]

    @classmethod
    def of_session(cls, *, session_key: bytes, session: str, random: Callable[[int], bytes]) -> Pockets:
        """Return the pockets of the session whose token is `session`."""
        return cls(key=hmac_sm3(session_key, b"kangshu pockets")[:16], session=session, random=random)

    def seal(self, name: str, value: Mapping[str, Any], *, until: datetime) -> str:
        """Return `value` as text for a cookie; it opens until the moment `until`."""
        nonce = self.random(_NONCE_BYTES)
        plain = orjson.dumps({"until": int(until.timestamp()), "value": value})
        hidden = sm4_gcm_encrypt(self.key, plain, nonce=nonce, associated=self._context(name))
        return urlsafe_b64encode(nonce + hidden).decode().rstrip("=")

    def open(self, name: str, sealed: str | None, *, now: datetime) -> Mapping[str, Any] | None:
        """Return what was sealed, or None: nothing there, too old, changed, or from another session."""
        if not sealed:
            return None
        try:
            raw = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            plain = sm4_gcm_decrypt(
                self.key, raw[_NONCE_BYTES:], nonce=raw[:_NONCE_BYTES], associated=self._context(name)
            )
            content = orjson.loads(plain)
        except ValueError:
            return None
        if now > datetime.fromtimestamp(content["until"], tz=now.tzinfo):
            return None
        return content["value"]

    def _context(self, name: str) -> bytes:
        return f"{name}\n{self.session}".encode()
