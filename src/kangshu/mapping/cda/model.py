"""What the declarations of the document mapping say; frozen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kangshu.kernel.texts import Text


class Meaning(StrEnum):
    """What a number names whose root is declared."""

    PERSON = "person"  # a person, wherever the number is used: resident number, health card
    PATIENT = "patient"  # a person in one institution: medical record number
    VISIT = "visit"
    ORDER = "order"
    REPORT = "report"
    SPECIMEN = "specimen"
    STAFF = "staff"
    INSTITUTION = "institution"
    DEPARTMENT = "department"
    IGNORED = "ignored"  # known, and of no use here


class Becomes(StrEnum):
    """What an entry becomes."""

    CONDITION = "condition"
    ALLERGY = "allergy"
    ALLERGY_FLAG = "allergy-flag"
    OBSERVATION = "observation"
    COMPONENTS = "components"
    LABORATORY = "laboratory"
    PANEL = "panel"
    MEDICATION_REQUEST = "medication-request"
    MEDICATION_STATEMENT = "medication-statement"
    ORDERED_DRUG = "ordered-drug"
    IMMUNIZATION = "immunization"
    PROCEDURE = "procedure"
    ENCOUNTER = "encounter"


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One root of identifiers: what its numbers name. `visit` is the class of visits that they name."""

    root: str
    meaning: Meaning
    type: str | None = None
    visit: str | None = None


@dataclass(frozen=True, kw_only=True)
class CodeSystem:
    """A code system under one name: its OIDs in documents, its URI in FHIR, the shape of its codes."""

    name: str
    uri: str
    oids: tuple[str, ...]
    shape: re.Pattern[str] | None = None


@dataclass(frozen=True, kw_only=True)
class DocumentClass:
    """One class of documents. `report` makes it a report; `ends`: the visit is over when it is written."""

    code: str
    system: str
    title: Text
    template: str | None = None
    visit: str | None = None
    report: str | None = None
    ends: bool = False


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a class of documents becomes a DiagnosticReport: which data elements say what."""

    name: str
    category: str
    category_title: str
    kind: tuple[str, ...] = ()
    conclusion: tuple[str, ...] = ()
    conclusion_words: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    findings_words: tuple[str, ...] = ()
    department: tuple[str, ...] = ()
    institution: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule: which entries become what.

    An entry is meant when every selection that is given holds: its kind, the code of its data element, a
    template that it or the entry around it claims, the section, the class of document, its mood. `unless` are
    words in its title that exclude it (`鉴别`: a diagnosis that is being ruled out).
    """

    name: str
    becomes: Becomes
    kinds: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    templates: frozenset[str] = frozenset()
    within: frozenset[str] = frozenset()
    sections: frozenset[str] = frozenset()
    not_sections: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()
    not_documents: frozenset[str] = frozenset()
    moods: frozenset[str] = frozenset()
    unless: tuple[str, ...] = ()
    systems: frozenset[str] = frozenset()
    """Names of the code systems of which the value (or the code of a procedure) must be."""
    category: str | None = None
    status: str | None = None
    coding: Mapping[str, str] | None = None
    """The coding that a resource has besides the data element's own."""
    units: tuple[str, ...] = ()
    """UCUM codes in which the value may be; the first is the data element's own."""
    members: tuple[str, ...] = ()
    """Names of the rules whose entries together make one (blood pressure)."""
    products: frozenset[str] = frozenset()
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Codes of the data elements that say more about the entry, by what they say."""
    part_words: tuple[str, ...] = ()
    part_codes: frozenset[str] = frozenset()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Words by which a text tells a status: `cancelled = ["取消", "作废"]`."""
    provisional: tuple[str, ...] = ()
    """Words in the title of a diagnosis that is not yet certain."""
    roles: tuple[str, ...] = ()
    """Words in the title of a diagnosis that tell its part (`出院诊断`, `主要诊断`)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What holds for all documents."""

    zone: str = "+08:00"
    visit_time_words: tuple[str, ...] = ()
    """Titles of `encompassingEncounter/code` that mean the visit's time; other titles mean other times."""
    most_entries: int = 20_000


@dataclass(frozen=True, kw_only=True)
class Declarations:
    """Everything that the folder of a pack declares about documents."""

    settings: Settings
    numbers: Mapping[str, Number]
    systems: Mapping[str, CodeSystem]
    systems_by_oid: Mapping[str, CodeSystem]
    sexes: Mapping[tuple[str, str], str]
    visit_classes: Mapping[tuple[str, str], str]
    units: Mapping[str, str]
    """UCUM codes by what senders write, as declared and in lower case."""
    classes: Mapping[tuple[str, str], DocumentClass]
    reports: Mapping[str, Report]
    rules: tuple[Rule, ...]
