"""What people may change: who may read for which purpose, and for how long.

An administrator, an auditor and a statistician may for none. Only clinicians break the glass: nobody's
life hangs on a table of receipts.
"""

from __future__ import annotations

from datetime import timedelta

from kangshu.consent.model import Purpose
from kangshu.security.principals import Permission, Principal, PrincipalKind, Role

ROLE_PURPOSES: dict[Role, tuple[Purpose, ...]] = {
    Role.CLINICIAN: (Purpose.TREATMENT, Purpose.EMERGENCY),
    Role.INSTITUTION_IT: (Purpose.QUALITY,),
    Role.CENTRE_STAFF: (Purpose.QUALITY, Purpose.RESIDENT_REQUEST, Purpose.ADMINISTRATION),
    Role.DESK: (Purpose.RESIDENT_REQUEST,),
}
KIND_PURPOSES: dict[PrincipalKind, tuple[Purpose, ...]] = {
    PrincipalKind.STAFF: (),
    PrincipalKind.MACHINE: (Purpose.TREATMENT,),
    PrincipalKind.SYSTEM: (Purpose.QUALITY, Purpose.RESIDENT_REQUEST, Purpose.ADMINISTRATION),
}

GRANT_TIME = timedelta(minutes=30)  # a session's idle time: who comes back later states the purpose again
REASON_MINIMUM = 4
REASON_MAXIMUM = 500


def purposes_for(principal: Principal) -> tuple[Purpose, ...]:
    """Return the purposes for which the principal may read at all, in the order to offer them."""
    if not principal.may(Permission.READ_RECORDS):
        return ()
    allowed = {*KIND_PURPOSES[principal.kind]}
    for role in principal.roles:
        allowed.update(ROLE_PURPOSES.get(role, ()))
    if not principal.may(Permission.BREAK_GLASS):
        allowed.discard(Purpose.EMERGENCY)
    return tuple(purpose for purpose in Purpose if purpose in allowed)
