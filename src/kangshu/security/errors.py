"""What can go wrong with who you are, what you may do, and the keys.

SecurityError
  SignInRefusedError      forbidden    name, password or second factor do not fit, or the account is locked
  NotPermittedError       forbidden    your role does not include this
  ClientRefusedError      forbidden    the machine's id, secret or scope does not fit
  SignatureRefusedError   forbidden    a signed request's headers, moment, nonce or signature do not fit
  PasswordTooWeakError    incorrect    choose another password
  AccountRefusedError     incorrect    the account's or client's details are not acceptable
  AccountExistsError      conflict     choose another name
  AccountUnknownError     not found    name an account or client that exists
  KeysUnreadableError     unavailable  the key file is missing, damaged or open to others
  SealBrokenError         fault        stored ciphertext does not open to what was stored
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import Text


class SecurityError(KangshuError):
    """Anything this package refuses."""


class SignInRefusedError(SecurityError):
    """Sign in again with the right proofs, or wait; the text never says which proof was wrong."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN


class NotPermittedError(SecurityError):
    """Ask an administrator for the role, or somebody who has it to do this."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN


class ClientRefusedError(SecurityError):
    """Use the machine's own id and secret, and ask only for scopes it was given."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN


class SignatureRefusedError(SecurityError):
    """Sign the request anew; `word` says in one word what did not fit: header, time, signature or replay."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN

    def __init__(self, text: Text, *, word: str, place: str | None = None) -> None:
        super().__init__(text, place=place)
        self.word = word


class PasswordTooWeakError(SecurityError):
    """Choose another password; the text says what it must have."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class AccountRefusedError(SecurityError):
    """Correct what the text names: a name, a role, a reach, a scope."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class AccountExistsError(SecurityError):
    """Choose another name: this one is taken."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class AccountUnknownError(SecurityError):
    """Name an account or a machine client that exists."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class KeysUnreadableError(SecurityError):
    """Put the key file back from a backup or mend its permissions; data sealed with it needs it."""

    kind: ClassVar[Kind] = Kind.UNAVAILABLE


class SealBrokenError(SecurityError):
    """Stored ciphertext was changed, or sealed under other keys; restore it or the keys from a backup."""

    kind: ClassVar[Kind] = Kind.FAULT
