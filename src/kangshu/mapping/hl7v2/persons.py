"""Read the numbers by which a message knows a person (CX), with the authority that assigned them."""

from __future__ import annotations

from kangshu.mapping import SubjectIdentifier
from kangshu.mapping.hl7v2.values import Moment, Repetition, text_at


def person_number(repetition: Repetition, moment: Moment) -> SubjectIdentifier | None:
    """Return the number, or None where it names no person: a bed, a visit, a word that means none.

    Of an authority's namespace and universal id the one counts that the pack knows, else the namespace.
    """
    value = text_at(repetition, 0)
    if not value.strip("0") or value.strip("-. ") == "" or value.upper() in moment.no_numbers:
        return None
    namespace, universal = text_at(repetition, 3), text_at(repetition, 3, 1)
    authorities = moment.authorities
    if (
        universal
        and namespace.upper() not in authorities.by_name
        and universal.upper() in authorities.by_name
    ):
        namespace = universal
    return authorities.resolve(
        value=value,
        authority=namespace or universal,
        type_code=text_at(repetition, 4),
        sender=moment.sender,
    )
