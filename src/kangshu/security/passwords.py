"""Passwords: what they must be like, and their Argon2id hashes.

Hashing costs about twenty milliseconds of a whole core on purpose, so the async functions run it in
a thread and the event loop goes on.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from kangshu.kernel.texts import load_catalogue
from kangshu.security.errors import PasswordTooWeakError
from kangshu.security.policy import PASSWORD_KINDS, PASSWORD_MAXIMUM, PASSWORD_MINIMUM

say = load_catalogue(__package__ or __name__)

# Argon2id with 19 MiB, two passes, one lane: the OWASP password storage cheat sheet's second choice; the
# first (46 MiB, one pass) would let a flood of sign-ins take more memory at the same cost.
_HASHER = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19 * 1024, parallelism=1),))
_PRESENT_FORM = "$argon2id$v=19$m=19456,t=2,p=1$"


def check_password(password: str, *, account_name: str) -> None:
    """Do nothing if the password is good enough (GB/T 22239: 8 places, three of four kinds).

    Raises:
        PasswordTooWeakError: it is not; the text says what is missing.
    """
    if not PASSWORD_MINIMUM <= len(password) <= PASSWORD_MAXIMUM:
        raise PasswordTooWeakError(say("password_short", minimum=PASSWORD_MINIMUM, maximum=PASSWORD_MAXIMUM))
    kinds = {_kind(character) for character in password}
    if len(kinds) < PASSWORD_KINDS:
        raise PasswordTooWeakError(say["password_plain"])
    if account_name.casefold() in password.casefold():
        raise PasswordTooWeakError(say["password_holds_name"])


async def hash_password(password: str) -> str:
    """Return the Argon2id hash of `password`, with its parameters and a fresh salt in it."""
    return await asyncio.to_thread(_HASHER.hash, password)


async def verify_password(password: str, *, stored: str | None) -> bool:
    """Return whether `password` is the one that `stored` was made of.

    With `None` (nobody of that name) the answer is no and takes as long, so that the time does not
    tell which names exist.
    """
    return await asyncio.to_thread(_verify, password, stored)


def needs_new_hash(stored: str) -> bool:
    """Return whether `stored` was made with other parameters than those in use today."""
    return not stored.startswith(_PRESENT_FORM)


def _verify(password: str, stored: str | None) -> bool:
    try:
        fits = _HASHER.verify(password[:PASSWORD_MAXIMUM], stored or _nobodys_hash())
    except UnknownHashError:  # a hash that was damaged fits nothing
        return False
    return fits and stored is not None and len(password) <= PASSWORD_MAXIMUM


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _HASHER.hash("the password of nobody")


def _kind(character: str) -> str:
    if character.isdigit():
        return "digit"
    if character.isupper():
        return "capital"
    return "small" if character.islower() else "other"
