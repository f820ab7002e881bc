"""A clinical document (HL7 CDA release 2) as values: header, narrative, coded entries; frozen, no XML left.

Texts are plain: whitespace is put in order, markup is gone. What the document does not say is None or empty.
Times are as sent (`20200101080000+0800`); `times` reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeAlias

from kangshu.kernel.texts import Text

EntryKind: TypeAlias = Literal[
    "observation",
    "organizer",
    "act",
    "procedure",
    "substanceAdministration",
    "supply",
    "encounter",
    "observationMedia",
    "regionOfInterest",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Identifier:
    """An instance identifier (II): `root` is an OID or a UUID, `extension` the number within it."""

    root: str | None = None
    extension: str | None = field(default=None, repr=False)
    assigner: str | None = None

    @property
    def key(self) -> str:
        """The identifier as one text, for comparing; empty where nothing is said."""
        if self.extension:
            return f"{self.root or ''}^{self.extension}"
        return self.root or ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """A coded value (CD, CE, CV, CS): `system` is an OID."""

    code: str | None = None
    system: str | None = None
    system_name: str | None = None
    display: str | None = field(default=None, repr=False)
    original_text: str | None = field(default=None, repr=False)
    null_flavor: str | None = None
    translations: tuple[Code, ...] = ()
    qualifiers: tuple[str, ...] = ()
    """Displays of the qualifiers' names (`门急诊诊断`)."""

    @property
    def title(self) -> str:
        """What a person reads: the display, else the sender's own words, else the code."""
        return self.display or self.original_text or self.code or ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A number with its unit (PQ, INT, REAL, MO); `text` is the number as sent, for what is no number."""

    value: Decimal | None = field(default=None, repr=False)
    unit: str | None = None
    text: str | None = field(default=None, repr=False)
    translations: tuple[Quantity, ...] = ()
    money: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantityRange:
    """An interval of quantities (IVL_PQ)."""

    low: Quantity | None = None
    high: Quantity | None = None
    low_closed: bool = True
    high_closed: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """A time or an interval of time (TS, IVL_TS, PIVL_TS, EIVL_TS); `width` and `every` are durations."""

    at: str | None = None
    low: str | None = None
    high: str | None = None
    width: Quantity | None = None
    every: Quantity | None = None
    event: str | None = None

    @property
    def start(self) -> str | None:
        """The beginning, or the time itself."""
        return self.low or self.at


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    """A text (ST, ED)."""

    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """A yes or no (BL)."""

    value: bool = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Media:
    """Encapsulated data (ED) that is not read as text, or a link to it that is never followed."""

    media_type: str | None = None
    base64: str | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)


Value: TypeAlias = Code | Quantity | QuantityRange | Period | Plain | Flag | Media


@dataclass(frozen=True, kw_only=True, slots=True)
class Name:
    """A person's name: in parts, or as one piece of text."""

    text: str | None = field(default=None, repr=False)
    family: str | None = field(default=None, repr=False)
    given: tuple[str, ...] = field(default=(), repr=False)
    prefix: tuple[str, ...] = field(default=(), repr=False)
    suffix: tuple[str, ...] = field(default=(), repr=False)
    use: str | None = None

    @property
    def full(self) -> str:
        """The name as one reads it: Chinese names without a space."""
        if self.text:
            return self.text
        parts = [*self.prefix, *self.given, self.family or "", *self.suffix]
        if not (self.family or "").isascii():
            return "".join([self.family or "", *self.given])
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A postal address; `parts` pairs the element's name (`city`, `streetName`) with its text."""

    parts: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    text: str | None = field(default=None, repr=False)
    use: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Telecom:
    """A telephone number or another address (`tel:`, `mailto:`), as sent."""

    value: str = field(repr=False)
    use: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Organization:
    """An institution, a department, a ward; `whole` is what it is part of."""

    ids: tuple[Identifier, ...] = ()
    name: str | None = None
    code: Code | None = None
    telecoms: tuple[Telecom, ...] = ()
    addresses: tuple[Address, ...] = ()
    whole: Organization | None = None

    def chain(self) -> Iterator[Organization]:
        """Yield this and everything that it is part of, from the inside out."""
        current: Organization | None = self
        while current is not None:
            yield current
            current = current.whole


@dataclass(frozen=True, kw_only=True, slots=True)
class Party:
    """Who took part: a person (or a device), a role, an organisation, a time."""

    role: str = ""
    """Where the document names it: `author`, `legalAuthenticator`, `participant` ..."""
    type: str | None = None
    """The participation's type code (`AUT`, `PPRF`, `CSM`)."""
    ids: tuple[Identifier, ...] = ()
    code: Code | None = None
    name: Name | None = None
    thing: Code | None = None
    """What plays the role where it is no person: a substance, a device, a place."""
    thing_name: str | None = field(default=None, repr=False)
    organization: Organization | None = None
    time: Period | None = None
    telecoms: tuple[Telecom, ...] = ()
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """Whom the document is about: `ids` are an institution's numbers, `person_ids` the person's own."""

    ids: tuple[Identifier, ...] = field(default=(), repr=False)
    person_ids: tuple[Identifier, ...] = field(default=(), repr=False)
    names: tuple[Name, ...] = field(default=(), repr=False)
    sex: Code | None = None
    birth_time: str | None = field(default=None, repr=False)
    age: Quantity | None = None
    deceased: bool | None = None
    deceased_time: str | None = None
    marital_status: Code | None = None
    ethnic_group: Code | None = None
    race: Code | None = None
    occupation: Code | None = None
    nationality: Code | None = None
    languages: tuple[str, ...] = ()
    telecoms: tuple[Telecom, ...] = field(default=(), repr=False)
    addresses: tuple[Address, ...] = field(default=(), repr=False)
    type: Code | None = None
    """Out-patient, in-patient ... (`patientType` of the Chinese schema)."""
    provider: Organization | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """The encounter in which the document came about (`encompassingEncounter`)."""

    ids: tuple[Identifier, ...] = ()
    code: Code | None = None
    time: Period | None = None
    discharge: Code | None = None
    location: Organization | None = None
    facility: str | None = None
    parties: tuple[Party, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RelatedDocument:
    """An earlier document: `RPLC` replaced by this one, `APND` added to, `XFRM` transformed."""

    type: str
    ids: tuple[Identifier, ...] = ()
    set_id: Identifier | None = None
    version: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """What was given: a drug, a vaccine, a material."""

    kind: str
    """`manufacturedLabeledDrug` or `manufacturedMaterial`."""
    code: Code | None = None
    name: str | None = field(default=None, repr=False)
    lot: str | None = None
    manufacturer: str | None = None
    templates: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What a person reads."""
        return self.name or (self.code.title if self.code else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A reference range of an observation."""

    text: str | None = None
    value: Value | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One clinical statement with what hangs below it; `place` is its path in the document."""

    kind: str
    place: str
    mood: str | None = None
    class_code: str | None = None
    negated: bool = False
    link: str | None = None
    """The type code of the relationship to what stands above (`COMP`, `MFST`, `RSON`)."""
    templates: tuple[str, ...] = ()
    ids: tuple[Identifier, ...] = ()
    code: Code | None = None
    status: str | None = None
    times: tuple[Period, ...] = ()
    values: tuple[Value, ...] = field(default=(), repr=False)
    text: str | None = field(default=None, repr=False)
    interpretations: tuple[Code, ...] = ()
    method: Code | None = None
    sites: tuple[Code, ...] = ()
    route: Code | None = None
    dose: Quantity | QuantityRange | None = None
    rate: Quantity | QuantityRange | None = None
    form: Code | None = None
    repeats: str | None = None
    quantity: Quantity | None = None
    product: Product | None = None
    priority: Code | None = None
    references: tuple[Reference, ...] = ()
    parties: tuple[Party, ...] = ()
    children: tuple[Entry, ...] = ()

    @property
    def value(self) -> Value | None:
        """The first value."""
        return self.values[0] if self.values else None

    @property
    def time(self) -> Period | None:
        """The first time that is no repetition."""
        return next((time for time in self.times if not time.every and not time.event), None)

    def walk(self) -> Iterator[Entry]:
        """Yield this entry and all below it, from the top down."""
        waiting: list[Entry] = [self]
        while waiting:
            entry = waiting.pop()
            yield entry
            waiting.extend(reversed(entry.children))


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """Text; a line break is `\\n`."""

    text: str = field(repr=False)
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True, kw_only=True, slots=True)
class ListBlock:
    """A list; each item is made of blocks."""

    items: tuple[tuple[Block, ...], ...] = field(repr=False)
    ordered: bool = False
    caption: str = ""
    kind: Literal["list"] = "list"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One cell of a table; `columns` and `rows` are how many it spans."""

    text: str = field(repr=False)
    heading: bool = False
    columns: int = 1
    rows: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with heading rows and rows."""

    head: tuple[tuple[Cell, ...], ...] = field(repr=False)
    rows: tuple[tuple[Cell, ...], ...] = field(repr=False)
    caption: str = ""
    kind: Literal["table"] = "table"


Block: TypeAlias = Paragraph | ListBlock | Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A section of the body with its narrative, its coded entries and its sub-sections."""

    place: str
    code: Code | None = None
    title: str | None = None
    templates: tuple[str, ...] = ()
    narrative: tuple[Block, ...] = field(default=(), repr=False)
    entries: tuple[Entry, ...] = ()
    sections: tuple[Section, ...] = ()

    def walk(self) -> Iterator[Section]:
        """Yield this section and all below it, from the top down."""
        waiting: list[Section] = [self]
        while waiting:
            section = waiting.pop()
            yield section
            waiting.extend(reversed(section.sections))


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One clinical document."""

    identifier: Identifier
    type: Code
    """The class: a code of WS/T 500 (`C0007`) or of LOINC."""
    title: str
    patient: Patient = field(repr=False)
    set_id: Identifier | None = None
    version: int | None = None
    realm: str | None = None
    templates: tuple[str, ...] = ()
    time: str | None = None
    confidentiality: Code | None = None
    language: str | None = None
    custodian: Organization | None = None
    authors: tuple[Party, ...] = ()
    signers: tuple[Party, ...] = ()
    """Legal authenticator and authenticators."""
    parties: tuple[Party, ...] = ()
    """Informants, data enterers, information recipients and other participants."""
    visit: Visit | None = None
    services: tuple[Period, ...] = ()
    """When what is documented happened (`documentationOf/serviceEvent`)."""
    orders: tuple[Identifier, ...] = ()
    related: tuple[RelatedDocument, ...] = ()
    sections: tuple[Section, ...] = ()
    body: Media | Plain | None = None
    """A body that is not structured: a scan, a PDF, plain text."""
    charset: str = "utf-8"
    charset_note: Text | None = None
    """Said where the declared encoding was not that of the bytes."""
    size: int = 0
    sha1: bytes = field(default=b"", repr=False)
    sha256: bytes = field(default=b"", repr=False)
    """Digests of the bytes as sent."""

    @property
    def id(self) -> str:
        """The identifier as one text, which names the document among its sender's."""
        return self.identifier.key

    @property
    def code(self) -> str:
        """The code of the class; empty where the class has translations only."""
        return self.type.code or next((one.code for one in self.type.translations if one.code), "")

    @property
    def custodian_id(self) -> str:
        """The number of the institution that keeps the document; empty where it is not said."""
        ids = self.custodian.ids if self.custodian else ()
        return next((one.extension for one in ids if one.extension), "")

    @property
    def custodian_name(self) -> str:
        """The name of the institution that keeps the document; empty where it is not said."""
        return (self.custodian.name if self.custodian else None) or ""

    def all_sections(self) -> Iterator[Section]:
        """Yield every section from the top down."""
        for section in self.sections:
            yield from section.walk()
