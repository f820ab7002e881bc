"""Who assigns the numbers by which persons are known, in each notation in which senders name them.

`authorities.toml` of the region pack lists them: OIDs of WS/T 500, namespaces of HL7 v2 (CX.4), systems of
FHIR, type codes of HL7 table 0203. What is not listed is the number of whoever the sender names, else of
the sender itself.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kangshu.mapping.model import IdentifierKind, SubjectIdentifier

RESIDENT_SYSTEM = "urn:oid:2.16.156.10011.1.3"
_DOCUMENT_PREFIX = "urn:kangshu:document:"
_INSTITUTION_PREFIX = "urn:kangshu:institution:"
_PATIENT_SUFFIX = ":patient"
_OID = re.compile(r"^[0-2](\.(0|[1-9][0-9]*))+$")


@dataclass(frozen=True, kw_only=True)
class Authorities:
    """The pack's table of assigning authorities."""

    by_name: Mapping[str, tuple[IdentifierKind, str | None]] = field(
        default_factory=dict[str, tuple[IdentifierKind, "str | None"]]
    )
    """Namespaces, OIDs and systems (in capitals) that mean something of their own."""
    by_type: Mapping[str, tuple[IdentifierKind, str | None]] = field(
        default_factory=dict[str, tuple[IdentifierKind, "str | None"]]
    )
    """Type codes (HL7 table 0203, and what senders write in its place, in capitals)."""
    ignored: frozenset[str] = frozenset()
    """Type codes of numbers that do not name a person: a visit, a bed, a card of a household."""
    oids: Mapping[str, str] = field(default_factory=dict[str, str])
    """The OIDs of issuers, where they have one beside their name."""
    assigned_by: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """The only senders (applications, facilities) that may tell an issuer's numbers, where that is bound."""
    strict: bool = False
    """Whether numbers of authorities that are not listed are refused."""

    def resolve(
        self, *, value: str, authority: str | None, type_code: str | None, sender: str
    ) -> SubjectIdentifier | None:
        """Return what kind of identifier `value` is, or None where it names no person.

        `authority` is a namespace, an OID, or a FHIR system; `sender` is the institution that sent it.
        """
        value = value.strip()
        code = (type_code or "").strip().upper()
        if not value or code in self.ignored:
            return None
        name = plain_authority(authority)
        found = self.by_name.get(name.upper()) if name else None
        found = found or self._own(name) or (self.by_type.get(code) if code else None)
        kind, issuer = found or (IdentifierKind.LOCAL_NUMBER, name or sender)
        if kind is IdentifierKind.LOCAL_NUMBER and issuer is None:
            issuer = name or sender
        return SubjectIdentifier(kind=kind, issuer=issuer, value=value)

    def system_of(self, identifier: SubjectIdentifier) -> str:
        """Return the FHIR system of an identifier; `resolve` leads back."""
        if identifier.kind is IdentifierKind.RESIDENT_NUMBER:
            return RESIDENT_SYSTEM
        issuer = identifier.issuer or ""
        if identifier.kind is IdentifierKind.DOCUMENT:
            return f"{_DOCUMENT_PREFIX}{issuer}"
        if ":" in issuer:
            return issuer
        return (
            f"urn:oid:{issuer}" if _OID.match(issuer) else f"{_INSTITUTION_PREFIX}{issuer}{_PATIENT_SUFFIX}"
        )

    def admits(self, identifier: SubjectIdentifier, *, senders: Collection[str]) -> bool:
        """Return whether one of `senders` (facility, application) may tell this number.

        Only a strict table refuses: what nobody listed, and what another sender assigns.
        """
        issuer = identifier.issuer
        if not self.strict or identifier.kind is not IdentifierKind.LOCAL_NUMBER or issuer is None:
            return True
        if issuer.upper() not in self.by_name:
            return False
        bound = self.assigned_by.get(issuer)
        return bound is None or not bound.isdisjoint(senders)

    def _own(self, name: str) -> tuple[IdentifierKind, str | None] | None:
        """Read the systems that `system_of` writes."""
        if name.startswith(_DOCUMENT_PREFIX):
            return IdentifierKind.DOCUMENT, name.removeprefix(_DOCUMENT_PREFIX)
        if name.startswith(_INSTITUTION_PREFIX) and name.endswith(_PATIENT_SUFFIX):
            issuer = name.removeprefix(_INSTITUTION_PREFIX).removesuffix(_PATIENT_SUFFIX)
            return IdentifierKind.LOCAL_NUMBER, issuer
        return None


def plain_authority(authority: str | None) -> str:
    """Return an authority's name without the wrapping that FHIR gives an OID."""
    return (authority or "").strip().removeprefix("urn:oid:")


def load_authorities(path: Path) -> Authorities:
    """Return the table in the file at `path`, which the pack's loader has checked."""
    content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    by_name: dict[str, tuple[IdentifierKind, str | None]] = {}
    by_type: dict[str, tuple[IdentifierKind, str | None]] = {}
    oids: dict[str, str] = {}
    assigned_by: dict[str, frozenset[str]] = {}
    for entry in content.get("authority", []):
        meaning = (IdentifierKind(entry["kind"]), entry.get("issuer"))
        by_name.update({plain_authority(name).upper(): meaning for name in entry.get("names", [])})
        by_type.update({code.upper(): meaning for code in entry.get("types", [])})
        if issuer := entry.get("issuer"):
            oids.update((issuer, name) for name in entry.get("names", []) if _OID.match(name))
            if "assigned_by" in entry:
                assigned_by[issuer] = frozenset(entry["assigned_by"])
    ignored = frozenset(code.upper() for code in content.get("ignored_types", []))
    return Authorities(
        by_name=by_name,
        by_type=by_type,
        ignored=ignored,
        oids=oids,
        assigned_by=assigned_by,
        strict=bool(content.get("strict", False)),
    )
