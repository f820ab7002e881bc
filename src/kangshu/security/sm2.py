"""SM2 signatures on the curve sm2p256v1 (GB/T 32918.2 and 32918.5), in plain Python integers.

Not constant-time: how long a signature takes depends on the private key. Use it where the signer's
machine is its own (anchoring the audit chain, signing exports); where strangers can time many
signatures, put a hardware module behind `kangshu.security.sm` instead.

Nonces are derived from key and message as in RFC 6979 with HMAC-SM3, so signing needs no randomness
and a broken random source cannot give the key away. A private key is 32 bytes, a public key the 64
bytes x || y, a signature the 64 bytes r || s or its DER form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from kangshu.security.sm3 import hmac_sm3, sm3

DEFAULT_USER_ID = b"1234567812345678"
"""The signer's identity where none was agreed on (GM/T 0009)."""

_P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_A = _P - 3
_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_GX = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
_GY = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0

_Point = tuple[int, int, int]  # Jacobian: (X, Y, Z) stands for (X / Z^2, Y / Z^3); Z = 0 is infinity
_INFINITY: _Point = (0, 1, 0)


def keypair(random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """Return a new private key (32 bytes) and its public key (64 bytes).

    `random(n)` gives n unpredictable bytes (`os.urandom`, `secrets.token_bytes`).
    """
    while True:
        private = random(32)
        if 1 <= int.from_bytes(private) <= _N - 2:
            return private, public_key(private)


def public_key(private: bytes) -> bytes:
    """Return the public key (x || y, 64 bytes) of a private key.

    Raises:
        ValueError: the private key is not 32 bytes long or out of range.
    """
    x, y = _affine(_times_base(_private_number(private)))
    return x.to_bytes(32) + y.to_bytes(32)


def identity_digest(public: bytes, *, user_id: bytes = DEFAULT_USER_ID) -> bytes:
    """Return Z_A, the digest that binds a signature to its signer's identity and public key.

    Raises:
        ValueError: the user id is 8 KiB or longer.
    """
    if len(user_id) >= 0x2000:
        raise ValueError("the length of a user id in bits is held in two bytes")
    curve = b"".join(number.to_bytes(32) for number in (_A, _B, _GX, _GY))
    return sm3((8 * len(user_id)).to_bytes(2) + user_id + curve + public)


def sign(private: bytes, message: bytes, *, user_id: bytes = DEFAULT_USER_ID) -> bytes:
    """Return the signature r || s (64 bytes) of `message`; the same input gives the same signature.

    Raises:
        ValueError: the private key is not 32 bytes long or out of range.
    """
    key = _private_number(private)
    digest = sm3(identity_digest(public_key(private), user_id=user_id) + message)
    for nonce in _nonces(private, digest):
        signature = _sign_digest(key, int.from_bytes(digest), nonce)
        if signature is not None:
            return signature
    raise AssertionError("the nonces never end")


def verify(public: bytes, message: bytes, signature: bytes, *, user_id: bytes = DEFAULT_USER_ID) -> bool:
    """Return whether `signature` (r || s, 64 bytes) is that of `message` by the holder of `public`."""
    if len(signature) != 64 or not is_public_key(public):
        return False
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    t = (r + s) % _N
    if not (1 <= r < _N and 1 <= s < _N and t):
        return False
    digest = int.from_bytes(sm3(identity_digest(public, user_id=user_id) + message))
    signer: _Point = (int.from_bytes(public[:32]), int.from_bytes(public[32:]), 1)
    point = _add(_times_base(s), _times(t, signer))
    return point[2] != 0 and (digest + _affine(point)[0]) % _N == r


def is_public_key(public: bytes) -> bool:
    """Return whether these are the 64 bytes of a point on the curve."""
    if len(public) != 64:
        return False
    x, y = int.from_bytes(public[:32]), int.from_bytes(public[32:])
    return x < _P and y < _P and (y * y - (x * x * x + _A * x + _B)) % _P == 0


def to_der(signature: bytes) -> bytes:
    """Return the DER form (SEQUENCE of two INTEGERs) of a signature r || s.

    Raises:
        ValueError: the signature is not 64 bytes long.
    """
    if len(signature) != 64:
        raise ValueError("a raw SM2 signature has 64 bytes")
    body = _der_integer(signature[:32]) + _der_integer(signature[32:])
    return b"\x30" + bytes([len(body)]) + body


def from_der(encoded: bytes) -> bytes:
    """Return the signature r || s (64 bytes) of its DER form; only the one canonical form is read.

    Raises:
        ValueError: these bytes are not the DER form of two integers of at most 256 bits.
    """
    numbers: list[bytes] = []
    position = 2
    while len(numbers) < 2 and position + 2 <= len(encoded):
        length = encoded[position + 1]
        numbers.append(encoded[position + 2 : position + 2 + length].lstrip(b"\x00").rjust(32, b"\x00"))
        position += 2 + length
    signature = b"".join(numbers)
    if len(signature) != 64 or to_der(signature) != encoded:
        raise ValueError("not the DER form of an SM2 signature")
    return signature


def _private_number(private: bytes) -> int:
    number = int.from_bytes(private)
    if len(private) != 32 or not 1 <= number <= _N - 2:
        raise ValueError("an SM2 private key is 32 bytes, from 1 to the order less 2")
    return number


def _sign_digest(key: int, digest: int, nonce: int) -> bytes | None:
    """Return r || s, or `None` for the rare nonce that GB/T 32918.2 (6.1, A5 and A6) tells to replace."""
    r = (digest + _affine(_times_base(nonce))[0]) % _N
    if r == 0 or r + nonce == _N:
        return None
    s = pow(1 + key, -1, _N) * (nonce - r * key) % _N
    return r.to_bytes(32) + s.to_bytes(32) if s else None


def _nonces(private: bytes, digest: bytes) -> Iterator[int]:
    """Yield the nonces of RFC 6979 section 3.2, with HMAC-SM3 as the HMAC."""
    seed = private + (int.from_bytes(digest) % _N).to_bytes(32)
    value, key = b"\x01" * 32, b"\x00" * 32
    for separator in (b"\x00", b"\x01"):
        key = hmac_sm3(key, value + separator + seed)
        value = hmac_sm3(key, value)
    while True:
        value = hmac_sm3(key, value)
        if 1 <= int.from_bytes(value) < _N:
            yield int.from_bytes(value)
        key = hmac_sm3(key, value + b"\x00")
        value = hmac_sm3(key, value)


def _der_integer(number: bytes) -> bytes:
    digits = number.lstrip(b"\x00") or b"\x00"
    if digits[0] & 0x80:
        digits = b"\x00" + digits
    return b"\x02" + bytes([len(digits)]) + digits


def _double(point: _Point) -> _Point:
    x, y, z = point
    if not z or not y:
        return _INFINITY
    squared = y * y % _P
    s = 4 * x * squared % _P
    zz = z * z % _P
    m = 3 * (x - zz) * (x + zz) % _P  # 3 X^2 + a Z^4, as a = -3
    doubled = (m * m - 2 * s) % _P
    return doubled, (m * (s - doubled) - 8 * squared * squared) % _P, 2 * y * z % _P


def _add(one: _Point, other: _Point) -> _Point:
    if not one[2]:
        return other
    if not other[2]:
        return one
    z1, z2 = one[2] * one[2] % _P, other[2] * other[2] % _P
    u1, u2 = one[0] * z2 % _P, other[0] * z1 % _P
    s1, s2 = one[1] * other[2] * z2 % _P, other[1] * one[2] * z1 % _P
    if u1 == u2:
        return _double(one) if s1 == s2 else _INFINITY
    h, r = u2 - u1, s2 - s1
    hh = h * h % _P
    hhh = h * hh % _P
    v = u1 * hh % _P
    x = (r * r - hhh - 2 * v) % _P
    return x, (r * (v - x) - s1 * hhh) % _P, one[2] * other[2] * h % _P


def _times(factor: int, point: _Point) -> _Point:
    """Return `factor` times `point`, four bits at a time."""
    multiples = [_INFINITY]
    for _ in range(15):
        multiples.append(_add(multiples[-1], point))
    result = _INFINITY
    for digit in f"{factor:x}":
        for _ in range(4):
            result = _double(result)
        result = _add(result, multiples[int(digit, 16)])
    return result


def _times_base(factor: int) -> _Point:
    result = _INFINITY
    for row in _base_multiples():
        result = _add(result, row[factor & 15])
        factor >>= 4
    return result


@lru_cache(maxsize=1)
def _base_multiples() -> list[list[_Point]]:
    """Return 0..15 times 16^i times the base point, for i from 0 to 63."""
    rows: list[list[_Point]] = []
    unit: _Point = (_GX, _GY, 1)
    for _ in range(64):
        row = [_INFINITY]
        for _ in range(15):
            row.append(_add(row[-1], unit))
        rows.append(row)
        unit = _add(row[-1], unit)
    return rows


def _affine(point: _Point) -> tuple[int, int]:
    inverse = pow(point[2], -1, _P)
    squared = inverse * inverse % _P
    return point[0] * squared % _P, point[1] * squared * inverse % _P
