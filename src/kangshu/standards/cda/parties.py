"""People, devices and organisations that take part in a document or an entry."""

from __future__ import annotations

from kangshu.standards.cda import values
from kangshu.standards.cda.model import Organization, Party
from kangshu.standards.cda.reading import Element
from kangshu.standards.cda.values import attribute, child, children, local

_ROLES = (
    "assignedAuthor",
    "assignedEntity",
    "associatedEntity",
    "relatedEntity",
    "relatedSubject",
    "participantRole",
    "specimenRole",
    "intendedRecipient",
    "responsibleParty",
)
_PERSONS = ("assignedPerson", "associatedPerson", "relatedPerson", "informationRecipient", "subject")
_THINGS = ("playingEntity", "playingDevice", "assignedAuthoringDevice", "specimenPlayingEntity")
_ORGANIZATIONS = (
    "representedOrganization",
    "representedOrganiztion",  # as a template in use has it
    "scopingOrganization",
    "receivedOrganization",
    "scopingEntity",
)
_MOST_LEVELS = 12


def party(element: Element, role: str) -> Party:
    """Return who takes part by a participation element; every piece of it may be missing."""
    holder = _role(element)
    person = _first(holder, _PERSONS)
    thing = _first(holder, _THINGS)
    if person is None and thing is not None and thing.get("classCode") == "PSN":
        person, thing = thing, None
    name = None if person is None else values.name(child(person, "name"))
    return Party(
        role=role,
        type=attribute(element, "typeCode"),
        ids=values.identifiers(holder),
        code=values.code(child(holder, "code")) or values.code(child(element, "functionCode")),
        name=name,
        thing=None if thing is None else values.code(child(thing, "code")),
        thing_name=None if thing is None else _thing_name(thing),
        organization=_organization_of(holder),
        time=values.period(child(element, "time")),
        telecoms=values.telecoms(holder),
        addresses=values.addresses(holder),
    )


def organization(element: Element | None) -> Organization | None:
    """Return an organisation with what it is part of, or None where nothing is said."""
    return _organization(element, levels=_MOST_LEVELS)


def _organization(element: Element | None, *, levels: int) -> Organization | None:
    if element is None or not levels:
        return None
    part = child(element, "asOrganizationPartOf")
    whole = None if part is None else _organization(child(part, "wholeOrganization"), levels=levels - 1)
    name = child(element, "name")
    found = Organization(
        ids=values.identifiers(element),
        name=None if name is None else values.line("".join(name.itertext())) or None,
        code=values.code(child(element, "code")) or values.code(child(element, "standardIndustryClassCode")),
        telecoms=values.telecoms(element),
        addresses=values.addresses(element),
        whole=whole,
    )
    if found.ids or found.name or found.code:
        return found
    return whole


def _role(element: Element) -> Element:
    """Return the role within a participation; a misspelt one is known by what plays it."""
    found = _first(element, _ROLES)
    if found is not None:
        return found
    for one in element.iterchildren():
        if _first(one, (*_PERSONS, *_THINGS)) is not None:
            return one
    return element


def _first(element: Element, names: tuple[str, ...]) -> Element | None:
    return next((found for name in names if (found := child(element, name)) is not None), None)


def _thing_name(thing: Element) -> str | None:
    for name in ("name", "desc", "softwareName", "manufacturerModelName"):
        for one in children(thing, name):
            if text := values.line("".join(one.itertext())):
                return text
    return None


def _organization_of(holder: Element) -> Organization | None:
    for name in _ORGANIZATIONS:
        if found := organization(child(holder, name)):
            return found
    return organization(holder) if local(holder) in ("representedCustodianOrganization",) else None
