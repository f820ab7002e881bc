"""May this be read, by whom, for what: no grant, no read.

`grant_read` weighs role, purpose and reach, writes its decision to the audit, and only then gives an
`AccessGrant` or refuses; `grant_reads` does so for many at once. Nothing else can make a grant. In an
emergency a clinician may break the glass with a reason; that is flagged. Where a person was, consent learns
from the `Whereabouts` it is given.
"""

from kangshu.consent.errors import (
    AccessRefusedError,
    ConsentError,
    ReasonMissingError,
    WhereaboutsUnknownError,
)
from kangshu.consent.model import AccessGrant, Purpose, purpose_title
from kangshu.consent.operations import (
    ReadRequest,
    UnlinkedRead,
    Whereabouts,
    allow_unlinked,
    grant_read,
    grant_reads,
)
from kangshu.consent.policy import purposes_for

__all__ = [
    "AccessGrant",
    "AccessRefusedError",
    "ConsentError",
    "Purpose",
    "ReadRequest",
    "ReasonMissingError",
    "UnlinkedRead",
    "Whereabouts",
    "WhereaboutsUnknownError",
    "allow_unlinked",
    "grant_read",
    "grant_reads",
    "purpose_title",
    "purposes_for",
]
