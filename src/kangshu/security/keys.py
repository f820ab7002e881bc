"""The platform's own keys: made once, kept in one file of the home that only its owner can read.

Who loses the file loses every sealed identifier, so `backup` carries it. Who can read it can read
them all, so a file that others may open is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

from kangshu.kernel.texts import load_catalogue
from kangshu.security.errors import KeysUnreadableError
from kangshu.security.sm import sm2_keypair, sm2_public_key

say = load_catalogue(__package__ or __name__)

FILE_NAME = "keys.json"
_SIZES = {"data_key": 16, "lookup_key": 32, "anchor_key": 32, "session_key": 32, "sm2_private": 32}


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of one installation; none of them appears in `repr`, logs or errors."""

    data_key: bytes = field(repr=False)
    """SM4: seals identifiers and secrets at rest (16 bytes)."""
    lookup_key: bytes = field(repr=False)
    """HMAC-SM3: digests by which identifiers are found (32 bytes)."""
    anchor_key: bytes = field(repr=False)
    """HMAC-SM3: authenticates the head of the audit chain (32 bytes)."""
    session_key: bytes = field(repr=False)
    """HMAC-SM3: form tokens of signed-in people (32 bytes)."""
    sm2_private: bytes = field(repr=False)
    """SM2: signs what leaves the platform (32 bytes)."""
    sm2_public: bytes
    """SM2: lets others check those signatures (64 bytes)."""

    def __post_init__(self) -> None:
        for name, size in _SIZES.items():
            if len(getattr(self, name)) != size:
                raise ValueError(f"{name} has {size} bytes")
        if sm2_public_key(self.sm2_private) != self.sm2_public:
            raise ValueError("the SM2 keys are not a pair")


def make(*, random: Callable[[int], bytes]) -> Keys:
    """Return new keys. `random(n)` gives n unpredictable bytes (`secrets.token_bytes`)."""
    private, public = sm2_keypair(random)
    return Keys(
        data_key=random(16),
        lookup_key=random(32),
        anchor_key=random(32),
        session_key=random(32),
        sm2_private=private,
        sm2_public=public,
    )


def load_or_create(directory: Path, *, random: Callable[[int], bytes]) -> Keys:
    """Return the keys kept in `directory`; the first caller makes them, also among several processes.

    Raises:
        KeysUnreadableError: the file is damaged or open to other users.
    """
    path = directory / FILE_NAME
    if not path.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_once(path, make(random=random), suffix=random(8).hex())
    return load(directory)


def load(directory: Path) -> Keys:
    """Return the keys kept in `directory`.

    Raises:
        KeysUnreadableError: the file is missing, damaged or open to other users.
    """
    path = directory / FILE_NAME
    try:
        if path.stat().st_mode & 0o077:
            raise KeysUnreadableError(say("keys_exposed"), place=FILE_NAME)
        return _parse(path.read_text(encoding="ascii"))
    except FileNotFoundError as error:
        raise KeysUnreadableError(say("keys_missing"), place=FILE_NAME) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        # The chained error could quote the file, so it ends here.
        raise KeysUnreadableError(say("keys_damaged"), place=FILE_NAME) from None


def _parse(text: str) -> Keys:
    document = json.loads(text)
    return Keys(**{entry.name: bytes.fromhex(document[entry.name]) for entry in fields(Keys)})


def _write_once(path: Path, keys: Keys, *, suffix: str) -> None:
    """Write the file whole or not at all; a file that another process finished first is kept."""
    draft = path.with_name(f"{path.name}.{suffix}")
    document = {"version": 1, **{entry.name: getattr(keys, entry.name).hex() for entry in fields(Keys)}}
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename, refuses to replace
        except FileExistsError:
            return
        _sync_directory(path.parent)
    finally:
        draft.unlink()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
