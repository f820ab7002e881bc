"""Who did what to whose data: recorded with the act, sealed into a chain that shows any later change.

Everybody writes here with `record`, in the transaction of the act itself. A background task calls `seal`
about once a second; `verify` walks the chain. Reading is `list_for_person` and `list_entries`.
"""

from kangshu.audit.errors import AuditBrokenError, AuditError
from kangshu.audit.model import AuditEntry, Outcome, RecordedEntry
from kangshu.audit.operations import record
from kangshu.audit.queries import list_entries, list_for_person
from kangshu.audit.sealing import accept_break, seal
from kangshu.audit.verification import Verification, verify

__all__ = [
    "AuditBrokenError",
    "AuditEntry",
    "AuditError",
    "Outcome",
    "RecordedEntry",
    "Verification",
    "accept_break",
    "list_entries",
    "list_for_person",
    "record",
    "seal",
    "verify",
]
