"""The SM3 digest (GB/T 32905) and its HMAC, through OpenSSL as `cryptography` carries it."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes, hmac


def sm3(data: bytes) -> bytes:
    """Return the SM3 digest (32 bytes) of `data`.

    >>> sm3(b"abc").hex()[:16]
    '66c7f0f462eeedd9'
    """
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()


def hmac_sm3(key: bytes, data: bytes) -> bytes:
    """Return the HMAC-SM3 (32 bytes) of `data` under `key`."""
    code = hmac.HMAC(key, hashes.SM3())
    code.update(data)
    return code.finalize()
