"""From codes, quantities, numbers and times of a document to those of FHIR, only where that is safe."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from kangshu.mapping.authorities import Authorities
from kangshu.mapping.cda.model import CodeSystem, Declarations, Meaning, Number
from kangshu.standards import cda

UCUM = "http://unitsofmeasure.org"

_OID = re.compile(r"[0-2](\.(0|[1-9]\d*))+")
_FHIR_CODE = re.compile(r"\S+( \S+)*")
_MOST_CODE = 100
_MOST_TEXT = 4_000  # of a display or a title; arbitrary, beyond it a text belongs into the document


class Coder:
    """Speaks for one document: its sender's numbers, the pack's systems, the zone of times without one."""

    def __init__(
        self, declarations: Declarations, authorities: Authorities, *, sender: str, zone: str
    ) -> None:
        self._declarations = declarations
        self._authorities = authorities
        self._sender = sender
        self._zone = zone

    def system(self, oid: str | None) -> CodeSystem | None:
        """Return the declared system of an OID."""
        return self._declarations.systems_by_oid.get(oid or "")

    def coding(self, code: cda.Code, *, systems: frozenset[str] = frozenset()) -> dict[str, str] | None:
        """Return the Coding of a code, or None where its system is not said, not allowed, or not its own.

        `systems` are names of the systems of which it must be one; any where there are none.
        """
        if not code.code or not code.system or not _is_code(code.code):
            return None
        declared = self.system(code.system)
        if declared is None:
            if systems or not _OID.fullmatch(code.system):
                return None
            uri = f"urn:oid:{code.system}"
        else:
            if systems and declared.name not in systems:
                return None
            if declared.shape and not declared.shape.fullmatch(code.code):
                return None
            uri = declared.uri
        found = {"system": uri, "code": code.code}
        if code.display:
            found["display"] = code.display[:_MOST_TEXT]
        return found

    def concept(
        self, code: cda.Code | None, *, systems: frozenset[str] = frozenset(), text: str | None = None
    ) -> dict[str, Any] | None:
        """Return the CodeableConcept of a code and its translations, or None where nothing is left.

        `text` is what a person reads, where the document says it elsewhere.
        """
        if code is None:
            return {"text": text[:_MOST_TEXT]} if text else None
        codings: list[dict[str, str]] = []
        for one in (code, *code.translations):
            found = self.coding(one, systems=systems)
            if found and found not in codings:
                codings.append(found)
        read = (
            text
            or code.original_text
            or code.display
            or next((c["display"] for c in codings if "display" in c), None)
        )
        concept: dict[str, Any] = {}
        if codings:
            concept["coding"] = codings
        if read:
            concept["text"] = read[:_MOST_TEXT]
        return concept or None

    def quantity(self, quantity: cda.Quantity, *, unit: str | None = None) -> dict[str, Any] | None:
        """Return the Quantity of a number that has a unit; `unit` where it is said elsewhere."""
        if quantity.value is None or quantity.money:
            return None
        said = quantity.unit or unit
        if not said:
            return None
        found: dict[str, Any] = {"value": quantity.value, "unit": said}
        if code := self.ucum(said):
            found |= {"system": UCUM, "code": code}
        return found

    def ucum(self, unit: str) -> str | None:
        """Return the UCUM code of a unit as senders write it, or None."""
        units = self._declarations.units
        return units.get(unit.strip()) or (units.get(unit.strip().lower()) if len(unit.strip()) > 1 else None)

    def number(self, identifier: cda.Identifier) -> Number | None:
        """Return what is declared of an identifier's root."""
        return self._declarations.numbers.get(identifier.root or "")

    def identifier(self, identifier: cda.Identifier, *, range: str = "") -> dict[str, str] | None:  # noqa: A002 - of numbers
        """Return the Identifier of a number that is unique under its root, or in `range` of this sender."""
        extension = identifier.extension
        if range and extension:
            return {"system": f"urn:kangshu:institution:{self._sender}:{range}", "value": extension}
        system = urn(identifier.root)
        if not extension:
            return {"system": "urn:ietf:rfc:3986", "value": system} if system else None
        return {"system": system, "value": extension} if system else {"value": extension}

    def person_identifier(self, identifier: cda.Identifier, *, everywhere: bool) -> dict[str, Any] | None:
        """Return the Identifier of a person's number: of the whole country, or of this institution alone."""
        value = identifier.extension
        if not value:
            return None
        authority = identifier.root if everywhere else None
        number = self.number(identifier)
        type_code = number.type if number and number.type else None
        resolved = self._authorities.resolve(
            value=value, authority=authority, type_code=None if authority else type_code, sender=self._sender
        )
        if resolved is None:
            return None
        found: dict[str, Any] = {"system": self._authorities.system_of(resolved), "value": resolved.value}
        if type_code:
            found["type"] = {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": type_code}]
            }
        return found

    def time(self, text: str | None) -> str | None:
        """Return a time as a FHIR dateTime, or None."""
        return cda.fhir_time(text, zone=self._zone)

    def instant(self, text: str | None) -> str | None:
        """Return a time as a FHIR instant, or None."""
        return cda.fhir_instant(text, zone=self._zone)

    def period(self, period: cda.Period | None) -> dict[str, str] | None:
        """Return a Period; what is a point of time begins then. An end before the start is left out."""
        if period is None:
            return None
        start, end = self.time(period.start), self.time(period.high)
        found: dict[str, str] = {}
        if start:
            found["start"] = start
        if end and not (start and before(end, start)):
            found["end"] = end
        return found or None

    def dated(self, name: str, period: cda.Period | None) -> dict[str, Any]:
        """Return `nameDateTime` or `namePeriod`, whichever fits; nothing where no time is said."""
        if period is None:
            return {}
        if period.high and period.high != period.start:
            found = self.period(period)
            return {f"{name}Period": found} if found else {}
        at = self.time(period.start)
        return {f"{name}DateTime": at} if at else {}

    def party(self, party: cda.Party) -> dict[str, Any] | None:
        """Return a reference that names a person or an organisation without pointing at a resource."""
        name = party.name.full if party.name else ""
        if not name and party.organization:
            return self.organization(party.organization)
        found: dict[str, Any] = {}
        if name:
            found["display"] = name[:_MOST_TEXT]
        for one in party.ids:
            if one.extension and (identifier := self.identifier(one)):
                found["identifier"] = identifier
                break
        return found or None

    def organization(self, organization: cda.Organization | None) -> dict[str, Any] | None:
        """Return a reference that names the innermost organisation of a chain."""
        if organization is None:
            return None
        for one in organization.chain():
            found: dict[str, Any] = {"display": one.name[:_MOST_TEXT]} if one.name else {}
            for number in one.ids:
                if number.extension and (identifier := self.identifier(number)):
                    found["identifier"] = identifier
                    break
            if found:
                return found
        return None

    def department(self, organization: cda.Organization | None) -> str | None:
        """Return the name of the department in a chain, by the root of its number."""
        for one in organization.chain() if organization else ():
            numbers = (self.number(number) for number in one.ids)
            if one.name and any(number and number.meaning is Meaning.DEPARTMENT for number in numbers):
                return one.name
        return None


def _is_code(text: str) -> bool:
    """Return whether a text can be a code; Chinese characters are what somebody wrote in a code's place."""
    return len(text) <= _MOST_CODE and text.isascii() and _FHIR_CODE.fullmatch(text) is not None


def before(one: str, other: str) -> bool:
    """Return whether a FHIR dateTime lies before another, as far as both are told."""
    if "T" in one and "T" in other:
        return _moment(one) < _moment(other)
    length = min(len(one.partition("T")[0]), len(other.partition("T")[0]))
    return one[:length] < other[:length]


def _moment(text: str) -> datetime:
    # Python reads six digits of a second and no more.
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", re.sub(r"\.(\d{1,5})(?!\d)", _six, text)))


def _six(found: re.Match[str]) -> str:
    return "." + found[1].ljust(6, "0")


def urn(root: str | None) -> str | None:
    """Return an OID or a UUID as a URI, or None where it is neither."""
    root = (root or "").strip()
    if _OID.fullmatch(root):
        return f"urn:oid:{root}"
    try:
        return f"urn:uuid:{UUID(root)}" if len(root) in (32, 36) else None
    except ValueError:
        return None
