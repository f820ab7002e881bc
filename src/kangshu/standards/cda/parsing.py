"""Bytes to a `Document`: the header read field by field, the body section by section."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from kangshu.standards.cda import entries, narrative, parties, values
from kangshu.standards.cda.errors import IncompleteHeaderError, say
from kangshu.standards.cda.model import (
    Code,
    Document,
    Identifier,
    Media,
    Party,
    Patient,
    Period,
    Plain,
    RelatedDocument,
    Section,
    Visit,
)
from kangshu.standards.cda.reading import LIMITS, V3, Element, Limits, read_tree
from kangshu.standards.cda.values import SDTC, attribute, child, children

_ROOT = "ClinicalDocument"
_VERSION = re.compile(r"-?\d{1,9}")
_SIGNERS = ("legalAuthenticator", "authenticator")
_OTHERS = ("informant", "dataEnterer", "informationRecipient", "participant")


def parse(data: bytes, *, limits: Limits = LIMITS) -> Document:
    """Return the document in `data`; a second patient (a record of a group) is not read.

    Raises:
        CdaError: it is not a whole, well-formed clinical document, or it goes beyond `limits`.
    """
    readable = read_tree(data, limits=limits)
    root = readable.root
    references = narrative.NarrativeReferences(root)
    code = _code(root)
    return Document(
        identifier=_id(root),
        type=code,
        title=values.line(values.whole_text(child(root, "title"))) or code.title,
        patient=_patient(root),
        set_id=_set_id(root),
        version=_version(root),
        realm=attribute(child(root, "realmCode"), "code"),
        templates=values.templates(root),
        time=attribute(child(root, "effectiveTime"), "value"),
        confidentiality=values.code(child(root, "confidentialityCode")),
        language=attribute(child(root, "languageCode"), "code"),
        custodian=parties.organization(
            root.find(f"{V3}custodian/{V3}assignedCustodian/{V3}representedCustodianOrganization")
        ),
        authors=_parties(root, ("author",)),
        signers=_parties(root, _SIGNERS),
        parties=_parties(root, _OTHERS),
        visit=_visit(root),
        services=_services(root),
        orders=_orders(root),
        related=_related(root),
        sections=_sections(root, references),
        body=_unstructured(root),
        charset=readable.charset,
        charset_note=readable.charset_note,
        size=len(data),
        # FHIR states the digest of an attachment as SHA-1; nobody's safety rests on it.
        sha1=hashlib.sha1(data, usedforsecurity=False).digest(),
        sha256=hashlib.sha256(data).digest(),
    )


def _id(root: Element) -> Identifier:
    held = child(root, "id")
    found = None if held is None or held.get("nullFlavor") else values.identifier(held)
    if not found or not found.key:
        raise IncompleteHeaderError(say("no_id"), place=f"{_ROOT}/id")
    return found


def _code(root: Element) -> Code:
    found = values.code(child(root, "code"))
    if not found or not (found.code or found.translations):
        raise IncompleteHeaderError(say("no_code"), place=f"{_ROOT}/code")
    return found


def _set_id(root: Element) -> Identifier | None:
    held = child(root, "setId")
    found = None if held is None else values.identifier(held)
    return found if found and found.key else None


def _version(element: Element) -> int | None:
    said = attribute(child(element, "versionNumber"), "value") or ""
    return int(said) if _VERSION.fullmatch(said) else None


def _parties(root: Element, names: tuple[str, ...]) -> tuple[Party, ...]:
    return tuple(parties.party(one, name) for name in names for one in children(root, name))


def _patient(root: Element) -> Patient:
    role = root.find(f"{V3}recordTarget/{V3}patientRole")
    if role is None or role.get("nullFlavor"):
        raise IncompleteHeaderError(say("no_patient"), place=f"{_ROOT}/recordTarget/patientRole")
    person = child(role, "patient")
    if person is None:
        person = role.makeelement(f"{V3}patient")
    kind = child(role, "patientType")
    work = child(person, "occupation")
    return Patient(
        ids=values.identifiers(role),
        person_ids=values.identifiers(person),
        names=values.names(person),
        sex=values.code(child(person, "administrativeGenderCode")),
        birth_time=attribute(child(person, "birthTime"), "value"),
        age=values.quantity(child(person, "age")),
        deceased=_deceased(person),
        deceased_time=attribute(person.find(f"{SDTC}deceasedTime"), "value"),
        marital_status=values.code(child(person, "maritalStatusCode")),
        ethnic_group=values.code(child(person, "ethnicGroupCode")),
        race=values.code(child(person, "raceCode")),
        occupation=None if work is None else values.code(child(work, "occupationCode")),
        nationality=values.code(child(person, "nationality")),
        languages=_languages(person),
        telecoms=values.telecoms(role),
        addresses=values.addresses(role),
        # As the schema writes it, and as templates do.
        type=None if kind is None else values.code(next(iter(kind.iterchildren()), None)),
        provider=parties.organization(child(role, "providerOrganization")),
    )


def _deceased(person: Element) -> bool | None:
    said = attribute(person.find(f"{SDTC}deceasedInd"), "value")
    return {"true": True, "false": False}.get(said or "")


def _languages(person: Element) -> tuple[str, ...]:
    found = (
        attribute(child(one, "languageCode"), "code") for one in children(person, "languageCommunication")
    )
    return tuple(code for code in found if code)


def _visit(root: Element) -> Visit | None:
    held = root.find(f"{V3}componentOf/{V3}encompassingEncounter")
    if held is None:
        return None
    facility = held.find(f"{V3}location/{V3}healthCareFacility")
    place = None if facility is None else facility.find(f"{V3}location/{V3}name")
    return Visit(
        ids=values.identifiers(held),
        code=values.code(child(held, "code")),
        time=values.period(child(held, "effectiveTime")),
        discharge=values.code(child(held, "dischargeDispositionCode"))
        or values.code(held.find(f"{SDTC}dischargeDispositionCode")),
        location=None
        if facility is None
        else parties.organization(child(facility, "serviceProviderOrganization")),
        facility=values.line(values.whole_text(place)) or None,
        parties=tuple(
            parties.party(one, name)
            for name in ("responsibleParty", "encounterParticipant")
            for one in children(held, name)
        ),
    )


def _services(root: Element) -> tuple[Period, ...]:
    return tuple(
        found
        for one in children(root, "documentationOf")
        if (found := values.period(one.find(f"{V3}serviceEvent/{V3}effectiveTime")))
    )


def _orders(root: Element) -> tuple[Identifier, ...]:
    found: list[Identifier] = []
    for one in children(root, "inFulfillmentOf"):
        order = child(one, "order")
        if order is not None:
            found.extend(values.identifiers(order))
    return tuple(found)


def _related(root: Element) -> tuple[RelatedDocument, ...]:
    """Return the earlier documents that are really named: templates leave the elements in, empty."""
    found: list[RelatedDocument] = []
    for one in children(root, "relatedDocument"):
        parent = child(one, "parentDocument")
        if parent is None:
            continue
        ids, set_id = values.identifiers(parent), _set_id(parent)
        if ids or set_id:
            found.append(
                RelatedDocument(
                    type=one.get("typeCode") or "", ids=ids, set_id=set_id, version=_version(parent)
                )
            )
    return tuple(found)


def _sections(root: Element, references: Mapping[str, str]) -> tuple[Section, ...]:
    """Return the sections; some templates hang them on the document itself, without a structured body."""
    found: list[Section] = []
    bodies = 0
    for component in root.iterchildren(f"{V3}component"):
        bodies += 1
        for body in component.iterchildren(f"{V3}structuredBody"):
            found.extend(_within(body, f"{_ROOT}/component[{bodies}]/structuredBody", references))
        for one in component.iterchildren(f"{V3}section"):
            found.append(_section(one, f"{_ROOT}/component[{bodies}]/section", references))
    if not bodies:
        raise IncompleteHeaderError(say("no_body"), place=f"{_ROOT}/component")
    return tuple(found)


def _within(holder: Element, place: str, references: Mapping[str, str]) -> list[Section]:
    return [
        _section(one, f"{place}/component[{number}]/section", references)
        for number, component in enumerate(holder.iterchildren(f"{V3}component"), start=1)
        for one in component.iterchildren(f"{V3}section")
    ]


def _section(element: Element, place: str, references: Mapping[str, str]) -> Section:
    return Section(
        place=place,
        code=values.code(child(element, "code"), references),
        title=values.line(values.whole_text(child(element, "title"))) or None,
        templates=values.templates(element),
        narrative=narrative.blocks(child(element, "text")),
        entries=entries.entries(element, place, references),
        sections=tuple(_within(element, place, references)),
    )


def _unstructured(root: Element) -> Media | Plain | None:
    held = root.find(f"{V3}component/{V3}nonXMLBody/{V3}text")
    return None if held is None else values.text_or_media(held, {})
