"""One-time codes (TOTP, RFC 6238: six digits, thirty seconds, SHA-1 as every phone knows it)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from datetime import datetime

from pyotp.totp import TOTP

from kangshu.security.keys import Keys
from kangshu.security.sm import sm4_gcm_decrypt, sm4_gcm_encrypt

_STEP_SECONDS = 30
_DRIFT_STEPS = 1
_NONCE_BYTES = 12


def new_secret(*, random: Callable[[int], bytes]) -> str:
    """Return a new shared secret of 160 bits in base 32."""
    return base64.b32encode(random(20)).decode()


def provisioning_uri(secret: str, *, account_name: str, issuer: str = "Kangshu") -> str:
    """Return the `otpauth://` address that an authenticator reads from a QR code."""
    return TOTP(secret).provisioning_uri(name=account_name, issuer_name=issuer)


def accepted_step(secret: str, *, code: str, now: datetime, after: int | None) -> int | None:
    """Return the time step that `code` belongs to, or `None` if it fits none that is still good.

    Good are the present step and its neighbours (clocks differ), but only steps later than `after`,
    the last one used: a code that somebody looked over a shoulder works once.
    """
    offered = code.strip().replace(" ", "")
    if not (offered.isascii() and offered.isdigit()):
        return None
    present = int(now.timestamp()) // _STEP_SECONDS
    totp = TOTP(secret)
    for step in range(present - _DRIFT_STEPS, present + _DRIFT_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step), offered) and (after is None or step > after):
            return step
    return None


def seal_secret(secret: str, *, keys: Keys, account_name: str, nonce: bytes) -> bytes:
    """Return the secret as it is stored: SM4-GCM, bound to the account. `nonce`: 12 fresh random bytes."""
    hidden = sm4_gcm_encrypt(keys.data_key, secret.encode(), nonce=nonce, associated=account_name.encode())
    return nonce + hidden


def open_secret(sealed: bytes, *, keys: Keys, account_name: str) -> str:
    """Return the secret that was stored.

    Raises:
        ValueError: it was changed, moved to another account, or sealed under other keys.
    """
    nonce, hidden = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    associated = account_name.encode()
    return sm4_gcm_decrypt(keys.data_key, hidden, nonce=nonce, associated=associated).decode()
