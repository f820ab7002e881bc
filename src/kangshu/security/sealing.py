"""Keep identifiers unreadable but findable: SM4 to hide them, a keyed SM3 digest to look them up.

Both work on many values in one call, because files bring millions. A digest says whether two values
are the same and nothing else; without the key nobody can try all resident numbers against it. A
sealed value hides its text (not its length) and does not notice a change by itself: compare the
digest of what opens with the digest stored beside it, as `open_checked` does.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes, hmac

from kangshu.kernel.texts import load_catalogue
from kangshu.security.errors import SealBrokenError
from kangshu.security.keys import Keys
from kangshu.security.sm import sm4_ctr

say = load_catalogue(__package__ or __name__)

DIGEST_BYTES = 16
NONCE_BYTES = 12
_COUNTER_BYTES = 16
_BLOCK = 16
_PADDING = tuple(bytes(n) for n in range(_BLOCK))


def digest_many(key: bytes, values: Sequence[str]) -> list[bytes]:
    """Return the look-up digest of each value: HMAC-SM3 of its UTF-8 bytes, cut to 16 bytes.

    The caller normalises the values and says in them what they are (`"01:11010119900307..."`), as
    equal texts have equal digests.
    """
    start = hmac.HMAC(key, hashes.SM3())
    digests: list[bytes] = []
    for value in values:
        code = start.copy()
        code.update(value.encode())
        digests.append(code.finalize()[:DIGEST_BYTES])
    return digests


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
