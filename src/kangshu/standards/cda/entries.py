"""The coded entries of a section: clinical statements with their relationships, as a tree of values."""

from __future__ import annotations

from collections.abc import Mapping

from kangshu.standards.cda import parties, values
from kangshu.standards.cda.model import Code, Entry, Party, Period, Product, Reference, Value
from kangshu.standards.cda.reading import V3, Element
from kangshu.standards.cda.values import SDTC, attribute, child, local

STATEMENTS = frozenset(
    {
        "observation",
        "organizer",
        "act",
        "procedure",
        "substanceAdministration",
        "supply",
        "encounter",
        "observationMedia",
        "regionOfInterest",
    }
)
_STATEMENT_TAGS = {f"{V3}{name}": name for name in STATEMENTS}
_PARTIES = frozenset({"author", "performer", "participant", "informant", "subject", "specimen"})
_SIMPLE = frozenset(
    {
        "templateId",
        "id",
        "code",
        "statusCode",
        "text",
        "methodCode",
        "routeCode",
        "doseQuantity",
        "rateQuantity",
        "administrationUnitCode",
        "repeatNumber",
        "quantity",
        "priorityCode",
    }
)
_PRODUCTS = ("manufacturedLabeledDrug", "manufacturedMaterial")


def entries(section: Element, place: str, references: Mapping[str, str]) -> tuple[Entry, ...]:
    """Return the entries of a section in their order."""
    found: list[Entry] = []
    for number, holder in enumerate(section.iterchildren(f"{V3}entry"), start=1):
        found.extend(_statements(holder, f"{place}/entry[{number}]", references))
    return tuple(found)


def _statements(holder: Element, place: str, references: Mapping[str, str]) -> list[Entry]:
    return [
        _entry(one, name, f"{place}/{name}", references, holder)
        for one in holder.iterchildren()
        if (name := _STATEMENT_TAGS.get(one.tag))
    ]


def _entry(element: Element, kind: str, place: str, references: Mapping[str, str], holder: Element) -> Entry:
    found = _Parts(place, references)
    held: dict[str, Element] = {}
    for part in element.iterchildren():
        name = local(part)
        held.setdefault(name, part)
        found.take(part, name)
    return Entry(
        kind=kind,
        place=place,
        mood=element.get("moodCode"),
        class_code=element.get("classCode"),
        negated=element.get("negationInd") == "true",
        link=holder.get("typeCode"),
        templates=values.templates(element) if "templateId" in held else (),
        ids=values.identifiers(element) if "id" in held else (),
        code=values.code(held.get("code"), references),
        status=attribute(held.get("statusCode"), "code"),
        times=tuple(found.times),
        values=tuple(found.values),
        text=_text(held.get("text"), references),
        interpretations=tuple(found.interpretations),
        method=values.code(held.get("methodCode"), references),
        sites=tuple(found.sites),
        route=values.code(held.get("routeCode"), references),
        dose=values.quantity_or_range(held.get("doseQuantity")),
        rate=values.quantity_or_range(held.get("rateQuantity")),
        form=values.code(held.get("administrationUnitCode"), references),
        repeats=attribute(held.get("repeatNumber"), "value"),
        quantity=values.quantity(held.get("quantity")),
        product=found.product,
        priority=values.code(held.get("priorityCode"), references),
        references=tuple(found.references),
        parties=tuple(found.parties),
        children=tuple(found.children),
    )


class _Parts:
    """What hangs below one statement, gathered child by child."""

    def __init__(self, place: str, references: Mapping[str, str]) -> None:
        self.times: list[Period] = []
        self.values: list[Value] = []
        self.interpretations: list[Code] = []
        self.sites: list[Code] = []
        self.references: list[Reference] = []
        self.parties: list[Party] = []
        self.children: list[Entry] = []
        self.product: Product | None = None
        self._place = place
        self._references = references
        self._counts: dict[str, int] = {}

    def take(self, part: Element, name: str) -> None:
        if name == "effectiveTime":
            if found := values.period(part):
                self.times.append(found)
        elif name == "value":
            if (said := values.value(part, self._references)) is not None:
                self.values.append(said)
        elif name == "referenceRange":
            self._take_reference(part)
        elif name in _SIMPLE:
            pass  # read once, by name
        elif name in ("interpretationCode", "targetSiteCode", "approachSiteCode"):
            if code := values.code(part, self._references):
                (self.interpretations if name == "interpretationCode" else self.sites).append(code)
        elif name in ("consumable", "product"):
            self.product = self.product or _product(part, self._references)
        elif name in _PARTIES:
            self.parties.append(parties.party(part, name))
        else:
            # Relationships, and whatever else holds statements: their names are misspelt in the wild.
            number = self._counts[name] = self._counts.get(name, 0) + 1
            self.children.extend(_statements(part, f"{self._place}/{name}[{number}]", self._references))

    def _take_reference(self, part: Element) -> None:
        for inner in part.iterchildren(f"{V3}observationRange"):
            text = values.line(values.whole_text(child(inner, "text"))) or None
            held = child(inner, "value")
            said = None if held is None else values.value(held, self._references)
            if text or said is not None:
                self.references.append(Reference(text=text, value=said))


def _text(held: Element | None, references: Mapping[str, str]) -> str | None:
    if held is None or held.get("representation") == "B64":
        return None
    return values.whole_text(held) or values.referenced(held, references) or None


def _product(holder: Element, references: Mapping[str, str]) -> Product | None:
    made = child(holder, "manufacturedProduct")
    if made is None:
        return None
    for kind in _PRODUCTS:
        thing = child(made, kind)
        if thing is None:
            continue
        maker = child(made, "manufacturerOrganization")
        if maker is None:
            maker = child(holder, "manufacturerOrganization")
        return Product(
            kind=kind,
            code=values.code(child(thing, "code"), references),
            name=_product_name(thing),
            lot=_lot(thing),
            manufacturer=None
            if maker is None
            else values.line(values.whole_text(child(maker, "name"))) or None,
            templates=values.templates(made),
        )
    return None


def _product_name(thing: Element) -> str | None:
    held = child(thing, "name")
    return None if held is None or held.get("nullFlavor") else values.line(values.whole_text(held)) or None


def _lot(thing: Element) -> str | None:
    held = child(thing, "lotNumberText")
    if held is None:
        held = thing.find(f"{SDTC}lotNumberText")
    return None if held is None or held.get("nullFlavor") else values.line(values.whole_text(held)) or None
