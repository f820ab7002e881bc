"""What can go wrong with the audit chain.

KangshuError
  AuditError
    AuditBrokenError   what is there does not fit the anchor: nothing was sealed, the evidence is kept
"""

from __future__ import annotations

from kangshu.kernel.errors import KangshuError, Kind


class AuditError(KangshuError):
    """The root of this package's failures."""


class AuditBrokenError(AuditError):
    """The chain was tampered with or its anchor is lost; sealing stops until an administrator has looked.

    Entries go on being recorded. `audit verify` says what is wrong; `accept_break` goes on from there.
    """

    kind = Kind.CONFLICT
