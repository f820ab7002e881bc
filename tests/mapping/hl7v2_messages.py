"""HL7 v2 messages for tests, segment by segment. All people, institutions and numbers are made up."""

from __future__ import annotations

import hashlib
from typing import Any

from kangshu.declarations import BASE_PACK
from kangshu.mapping import Mapped, load_authorities
from kangshu.mapping.hl7v2 import load_hl7v2
from kangshu.standards import fhir, hl7v2

AUTHORITIES = load_authorities(BASE_PACK / "authorities.toml")
MAPPING = load_hl7v2(BASE_PACK / "hl7v2", authorities=AUTHORITIES)
PATIENT = "PID|1||P1^^^^PI~990101198001011238^^^^NI||张^三||19800101|M"
VISIT = "PV1|1|I|03^0301^12||||D1^李^四||||||||||||V1"


def make_id(type: str, key: str) -> str:  # noqa: A002 - the protocol's word
    """Return an id that follows from the key, short enough to read in a failure."""
    return hashlib.blake2b(f"{type}|{key}".encode(), digest_size=8).hexdigest()


def written(kind: str, *segments: str, control: str = "M1", application: str = "HIS") -> bytes:
    """Return a message of the type `kind` (`ADT^A01`) with `segments` after its header."""
    header = (
        f"MSH|^~\\&|{application}|H0001|KS|KS|20240105083000||{kind}|{control}|P|2.5.1||||||UNICODE UTF-8"
    )
    return "\r".join((header, *segments)).encode()


def mapped(kind: str, *segments: str, control: str = "M1", sender: str = "H0001") -> Mapped:
    """Return what a message becomes; every resource must be good FHIR."""
    message = hl7v2.parse(written(kind, *segments, control=control))
    result = MAPPING.apply(message, sender=sender, make_id=make_id)
    for draft in result.drafts:
        errors = [one for one in fhir.validate(draft.resource) if one.severity in ("fatal", "error")]
        assert not errors, (draft.type, [(one.expression, one.text.en) for one in errors])
    return result


def resources(result: Mapped, kind: str) -> list[Any]:
    """Return the resources of one type."""
    return [draft.resource for draft in result.drafts if draft.type == kind]


def only(result: Mapped, kind: str) -> Any:
    """Return the one resource of a type."""
    (resource,) = resources(result, kind)
    return resource


def noted(result: Mapped) -> set[str]:
    """Return the places of the notes."""
    return {note.place for note in result.notes}
