"""What can be wrong around the platform.

KangshuError
├── SettingsError        the operator must correct the setting
├── UsageError           the caller must correct the command or its input as a whole
└── EnvironmentFaultError     the operator must repair the machine (port taken, folder not writable)
"""

from __future__ import annotations

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue("kangshu.app")


class SettingsError(KangshuError):
    """A setting is unknown or has a wrong value."""

    kind = Kind.INCORRECT


class UsageError(KangshuError):
    """The command's words or its input as a whole are wrong."""

    kind = Kind.INCORRECT


class EnvironmentFaultError(KangshuError):
    """Something outside the program must be repaired first."""

    kind = Kind.UNAVAILABLE
