"""What can go wrong with health cards. That a code is not accepted is no error: `Scan.refusal` tells it.

KangshuError
  HealthCardError
    SettingsError         incorrect    correct the declaration `healthcard.toml` at the place named
    ApplicationError      incorrect    correct the field named by `place`
    GuardianNeededError   incorrect    a minor applies through the card of a guardian
    HolderDiffersError    conflict     the document has a card under another name: a person must look
    CardUnknownError      not found    name a card that exists
    CardStateError        conflict     the card's state does not allow it: look at the card
    FamilyFullError       conflict     the holder has as many family cards as are allowed
    BindingTakenError     conflict     the code belongs to another card: unbind it there first
    BindingUnknownError   not found    name a binding that exists
    CardBusyError         busy         others kept changing the same card: try again later
    CardKeysError         fault        the card keys in the database do not open with this installation's keys
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind


class HealthCardError(KangshuError):
    """The root of this package's failures."""


class SettingsError(HealthCardError):
    """Correct the declaration at the place named."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class ApplicationError(HealthCardError):
    """Correct the field named by `place`."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class GuardianNeededError(HealthCardError):
    """Apply through the card of a guardian who is of age."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class HolderDiffersError(HealthCardError):
    """The document has a card under another name; doors open to guessing answer as for an unknown card."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class CardUnknownError(HealthCardError):
    """Name a card that exists."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class CardStateError(HealthCardError):
    """Look at the card: its state does not allow this."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class FamilyFullError(HealthCardError):
    """End another family card first."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class BindingTakenError(HealthCardError):
    """Unbind the code from its other card first."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class BindingUnknownError(HealthCardError):
    """Name a binding that exists."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class CardBusyError(HealthCardError):
    """Try again later: others kept changing the same card."""

    kind: ClassVar[Kind] = Kind.BUSY


class CardKeysError(HealthCardError):
    """Restore the keys that belong to this database."""

    kind: ClassVar[Kind] = Kind.FAULT
