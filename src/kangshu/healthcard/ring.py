"""The keys of health cards, by kind and version, and how they lie in the database: sealed, never in clear.

`root` makes card ids, `code` makes and opens dynamic codes, `sign` (SM2) signs codes that are checked
offline. Cards are found by the digest of their id, so a new root changes none; a code key that was replaced
still opens codes until the last of them is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kangshu.healthcard.errors import CardKeysError
from kangshu.kernel.texts import load_catalogue
from kangshu.security.keys import Keys
from kangshu.security.sm import (
    hmac_sm3,
    sm2_keypair,
    sm2_public_key,
    sm4_gcm_decrypt,
    sm4_gcm_encrypt,
)

say = load_catalogue(__package__ or __name__)

_NONCE = 12


class KeyKind(StrEnum):
    """What a key is for."""

    ROOT = "root"
    CODE = "code"
    SIGN = "sign"


SIZES = {KeyKind.ROOT: 16, KeyKind.CODE: 16, KeyKind.SIGN: 32}


@dataclass(frozen=True, kw_only=True, slots=True)
class CardKey:
    """One version of a key; `good_until` is None while it is the one that makes new things."""

    kind: KeyKind
    version: int
    value: bytes = field(repr=False)
    good_until: datetime | None = None
    public: bytes = b""
    """The public half of an SM2 key."""


@dataclass(frozen=True, kw_only=True)
class Ring:
    """All keys that still count, the newest of each kind first."""

    roots: tuple[CardKey, ...]
    codes: tuple[CardKey, ...]
    signs: tuple[CardKey, ...]

    @classmethod
    def of(cls, keys: Sequence[CardKey]) -> Ring:
        """Return the ring of these keys."""

        def kind(wanted: KeyKind) -> tuple[CardKey, ...]:
            found = [key for key in keys if key.kind is wanted]
            return tuple(sorted(found, key=lambda key: -key.version))

        return cls(roots=kind(KeyKind.ROOT), codes=kind(KeyKind.CODE), signs=kind(KeyKind.SIGN))

    @property
    def is_whole(self) -> bool:
        """Whether there is a key of every kind."""
        return bool(self.roots and self.codes and self.signs)

    def code_keys(self, now: datetime) -> list[bytes]:
        """Return the keys that codes may have been made with, the newest first."""
        return [key.value for key in self.codes if key.good_until is None or now < key.good_until]


class Vault:
    """Seals what this package keeps: keys of cards, holders, other codes.

    SM4-GCM under keys derived from the installation's: a value that was changed, or put beside another
    digest, does not open.
    """

    def __init__(self, keys: Keys) -> None:
        self._holders = hmac_sm3(keys.data_key, b"kangshu-healthcard-holder-1")[:16]
        self._keys = hmac_sm3(keys.data_key, b"kangshu-healthcard-key-1")[:16]

    def seal(self, data: bytes, *, beside: bytes, nonce: bytes) -> bytes:
        """Return the data sealed; only the same `beside` opens them. `nonce` is 12 fresh random bytes."""
        return nonce + sm4_gcm_encrypt(self._holders, data, nonce=nonce, associated=beside)

    def open(self, sealed: bytes, *, beside: bytes) -> bytes:
        """Return the data.

        Raises:
            CardKeysError: they were changed, exchanged, or sealed under other keys.
        """
        return _open(self._holders, sealed, beside)

    def seal_key(self, key: CardKey, *, nonce: bytes) -> bytes:
        """Return a card key sealed for the database."""
        return nonce + sm4_gcm_encrypt(
            self._keys, key.value, nonce=nonce, associated=_label(key.kind, key.version)
        )

    def open_key(self, *, kind: KeyKind, version: int, sealed: bytes, good_until: datetime | None) -> CardKey:
        """Return the card key.

        Raises:
            CardKeysError: as for `open`.
        """
        value = _open(self._keys, sealed, _label(kind, version))
        public = sm2_public_key(value) if kind is KeyKind.SIGN else b""
        return CardKey(kind=kind, version=version, value=value, good_until=good_until, public=public)


def new_key(kind: KeyKind, *, version: int, random: Callable[[int], bytes]) -> CardKey:
    """Return a new key of unpredictable bytes."""
    if kind is KeyKind.SIGN:
        private, public = sm2_keypair(random)
        return CardKey(kind=kind, version=version, value=private, public=public)
    return CardKey(kind=kind, version=version, value=random(SIZES[kind]))


def _open(key: bytes, sealed: bytes, beside: bytes) -> bytes:
    try:
        return sm4_gcm_decrypt(key, sealed[_NONCE:], nonce=sealed[:_NONCE], associated=beside)
    except ValueError:
        # The chained error could lead to the bytes, so it ends here.
        raise CardKeysError(say["keys_unreadable"]) from None


def _label(kind: KeyKind, version: int) -> bytes:
    return f"{kind}:{version}".encode()
