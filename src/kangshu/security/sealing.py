"""Keep identifiers unreadable but findable: SM4 to hide them, a keyed SM3 digest to look them up.

Both work on many values in one call, because files bring millions. A digest says whether two values
are the same and nothing else; without the key nobody can try all resident numbers against it. A
sealed value hides its text (not its length) and does not notice a change by itself: compare the
digest of what opens with the digest stored beside it, as `open_checked` does.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives import hashes

from kangshu.kernel.texts import load_catalogue
from kangshu.security.errors import SealBrokenError
from kangshu.security.keys import Keys
from kangshu.security.sm import sm3, sm4_ctr

say = load_catalogue(__package__ or __name__)

DIGEST_BYTES = 16
NONCE_BYTES = 12
_COUNTER_BYTES = 16
_BLOCK = 16
_HASH_BLOCK = 64
_NOTHING = pa.scalar(b"", pa.large_binary())
_PADDING = tuple(bytes(n) for n in range(_BLOCK))


def digest_many(key: bytes, values: Sequence[str]) -> list[bytes]:
    """Return the look-up digest of each value: HMAC-SM3 of its UTF-8 bytes, cut to 16 bytes.

    The caller normalises the values and says in them what they are (`"01:11010119900307..."`), as
    equal texts have equal digests.
    """
    inner, outer = _hmac_halves(key)
    digests: list[bytes] = []
    for value in values:
        half, whole = inner.copy(), outer.copy()
        half.update(value.encode())
        whole.update(half.digest())
        digests.append(whole.digest()[:DIGEST_BYTES])
    return digests


def _hmac_halves(key: bytes) -> tuple[_Hash, _Hash]:
    """Return the two hashes of an HMAC with the key taken in (RFC 2104), to be copied for each value.

    Copying these costs half as much as copying a whole HMAC object, and files bring millions of values.
    """
    block = (key if len(key) <= _HASH_BLOCK else sm3(key)).ljust(_HASH_BLOCK, b"\0")
    inner, outer = _new_hash(), _new_hash()
    inner.update(bytes(byte ^ 0x36 for byte in block))
    outer.update(bytes(byte ^ 0x5C for byte in block))
    return inner, outer


def _new_hash() -> _Hash:
    try:
        return hashlib.new("sm3")
    except ValueError:  # Python's own OpenSSL may be built without it; the one of `cryptography` is not
        return _PackagedHash(hashes.Hash(hashes.SM3()))


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> Self: ...


class _PackagedHash:
    """SM3 out of `cryptography`, in the shape of `hashlib`."""

    def __init__(self, state: hashes.Hash) -> None:
        self._state = state

    def update(self, data: bytes, /) -> None:
        self._state.update(data)

    def digest(self) -> bytes:
        return self._state.finalize()

    def copy(self) -> _PackagedHash:
        return _PackagedHash(self._state.copy())


def seal_many(keys: Keys, values: Sequence[str], *, nonce: bytes) -> list[bytes]:
    """Return each value encrypted with SM4-CTR, led by the 16-byte counter block that opens it.

    The batch shares one key stream; `nonce` must be 12 fresh random bytes for every call.

    Raises:
        ValueError: the nonce is not 12 bytes long or the values together exceed 64 GiB.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError("a nonce has 12 bytes")
    texts = [value.encode() for value in values]
    stream = b"".join([text + _PADDING[-len(text) % _BLOCK] for text in texts])
    if len(stream) >> 36:
        raise ValueError("one nonce covers 2^32 blocks")
    hidden = sm4_ctr(keys.data_key, stream, counter=nonce + bytes(4))
    sealed: list[bytes] = []
    at = 0
    for text in texts:
        size = len(text)
        sealed.append(b"%b%b%b" % (nonce, (at // _BLOCK).to_bytes(4), hidden[at : at + size]))
        at += size + -size % _BLOCK
    return sealed


def seal_column(keys: Keys, texts: pa.Array, *, nonce: bytes) -> pa.Array:
    """Return an Arrow column of strings sealed as `seal_many` does it, several times faster; null stays null.

    Raises:
        ValueError: as for `seal_many`.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError("a nonce has 12 bytes")
    values = texts.fill_null("").cast(pa.large_binary())
    lengths = pc.binary_length(values).to_numpy(zero_copy_only=False).astype(np.int64)
    padding = -lengths % _BLOCK
    starts = np.cumsum(lengths + padding) - (lengths + padding)
    stream = pc.binary_join_element_wise(values, _pieces(bytes(int(padding.sum())), padding), _NOTHING)
    data = stream.buffers()[2].to_pybytes()
    if len(data) >> 36:
        raise ValueError("one nonce covers 2^32 blocks")
    hidden = sm4_ctr(keys.data_key, data, counter=nonce + bytes(4))
    # Value, padding, value, padding ...: every second piece is wanted.
    pieces = _pieces(hidden, np.stack([lengths, padding], axis=1).ravel())
    wanted = pieces.take(pa.array(np.arange(0, 2 * len(lengths), 2)))
    heads = np.empty(len(lengths), dtype=[("nonce", f"V{NONCE_BYTES}"), ("counter", ">u4")])
    heads["nonce"], heads["counter"] = np.frombuffer(nonce, dtype=f"V{NONCE_BYTES}")[0], starts // _BLOCK
    led = _pieces(heads.tobytes(), np.full(len(lengths), _COUNTER_BYTES))
    sealed = pc.binary_join_element_wise(led, wanted, _NOTHING).cast(pa.binary())
    return pc.if_else(pc.is_valid(texts), sealed, pa.scalar(None, pa.binary()))


def _pieces(data: bytes, lengths: npt.NDArray[np.int64]) -> pa.Array:
    """Return the data cut into pieces of these lengths."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(lengths), buffers)


def open_many(keys: Keys, sealed: Sequence[bytes]) -> list[str]:
    """Return the text of each sealed value.

    Raises:
        SealBrokenError: a value is too short or opens to something that is no text.
    """
    try:
        return [_open(keys.data_key, value).decode() for value in sealed]
    except ValueError:
        # The chained error would carry the bytes, so it ends here.
        raise SealBrokenError(say("seal_broken")) from None


def open_checked(
    keys: Keys, sealed: Sequence[bytes], digests: Sequence[bytes], *, prefix: str = ""
) -> list[str]:
    """Return the text of each sealed value whose digest, taken of `prefix` + text, is the one stored.

    Raises:
        SealBrokenError: a value was changed, exchanged with another, or sealed under other keys.
    """
    texts = open_many(keys, sealed)
    if digest_many(keys.lookup_key, [prefix + text for text in texts]) != list(digests):
        raise SealBrokenError(say("seal_broken"))
    return texts


def _open(key: bytes, sealed: bytes) -> bytes:
    if len(sealed) < _COUNTER_BYTES:
        raise ValueError("too short")
    return sm4_ctr(key, sealed[_COUNTER_BYTES:], counter=sealed[:_COUNTER_BYTES])
