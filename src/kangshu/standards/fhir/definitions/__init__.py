"""The definitions of FHIR R4 4.0.1 as values: types, elements, code lists, rules, search parameters.

The data beside this module are made from the official definitions by `scripts/fhir_definitions.py`.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec


class TypeUse(msgspec.Struct, frozen=True, kw_only=True):
    """A type that an element may have. `targets` are the types that a reference may lead to; empty: any."""

    code: str
    profile: str = ""  # a narrower type with the same name in JSON: SimpleQuantity
    targets: tuple[str, ...] = ()


class Element(msgspec.Struct, frozen=True, kw_only=True):
    """One element of a type. `name` ends with `[x]` where the type is part of the name in JSON."""

    name: str
    min: int = 0
    max: str = "1"
    types: tuple[TypeUse, ...] = ()
    inner: str = ""  # the backbone type (`Patient.contact`) that holds its elements
    inner_of: str = ""  # the same, where it is that of another element
    codes: str = ""  # the value set of a required binding
    rules: tuple[str, ...] = ()
    attribute: bool = False  # an attribute in XML
    summary: bool = False
    resource_id: bool = False

    @property
    def is_list(self) -> bool:
        """Whether JSON writes it as a list."""
        return self.max not in ("0", "1")

    def names(self) -> dict[str, TypeUse]:
        """Return the names that it has in JSON, with the type that each stands for."""
        if not self.name.endswith("[x]"):
            return {self.name: self.types[0] if self.types else TypeUse(code=self.inner_of)}
        stem = self.name.removesuffix("[x]")
        return {stem + one.code[0].upper() + one.code[1:]: one for one in self.types}


class TypeDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A primitive, complex, backbone or resource type with all its elements, inherited ones too."""

    kind: str
    base: str = ""
    abstract: bool = False
    rules: tuple[str, ...] = ()
    pattern: str = ""
    elements: tuple[Element, ...] = ()


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """An invariant: what it demands in words and as a FHIRPath expression."""

    severity: str
    human: str
    expression: str


class Definitions(msgspec.Struct, frozen=True, kw_only=True):
    """All of one release. `codes` holds value sets as system -> codes, `open` those nobody can list."""

    release: str
    types: dict[str, TypeDefinition]
    rules: dict[str, Rule]
    codes: dict[str, dict[str, tuple[str, ...]]]
    open: frozenset[str]


class SearchParameter(msgspec.Struct, frozen=True, kw_only=True):
    """A search parameter of one type: its kind (`token`, `date` ...), and the FHIRPath of its values."""

    type: str
    expression: str = ""
    targets: tuple[str, ...] = ()
    components: tuple[tuple[str, str], ...] = ()


class SearchDefinitions(msgspec.Struct, frozen=True, kw_only=True):
    """The search parameters of each type, and those that tie a type to the Patient compartment."""

    release: str
    parameters: dict[str, dict[str, SearchParameter]]
    patient_compartment: dict[str, tuple[str, ...]]


@cache
def definitions() -> Definitions:
    """Return the types, rules and code lists of R4."""
    return msgspec.json.decode(_unpacked("r4.json.gz"), type=Definitions)


@cache
def search_definitions() -> SearchDefinitions:
    """Return the search parameters of R4."""
    return msgspec.json.decode(_unpacked("search.json.gz"), type=SearchDefinitions)


def search_parameters(*, type: str) -> Mapping[str, SearchParameter]:  # noqa: A002 - FHIR's own word
    """Return the search parameters of a resource type by name, those of every resource among them."""
    of = search_definitions().parameters
    inherited = {} if type not in RESOURCE_TYPES else of.get("Resource", {}) | _domain_parameters(type)
    return inherited | of.get(type, {})


def patient_parameters(*, type: str) -> tuple[str, ...]:  # noqa: A002 - FHIR's own word
    """Return the search parameters by which a resource of this type is about a patient, if it ever is."""
    return search_definitions().patient_compartment.get(type, ())


def _domain_parameters(name: str) -> dict[str, SearchParameter]:
    is_domain = definitions().types[name].base == "DomainResource"
    return search_definitions().parameters.get("DomainResource", {}) if is_domain else {}


def _unpacked(name: str) -> bytes:
    return gzip.decompress(resources.files(__name__).joinpath(name).read_bytes())


RESOURCE_TYPES: frozenset[str] = frozenset(
    name for name, one in definitions().types.items() if one.kind == "resource" and not one.abstract
)
