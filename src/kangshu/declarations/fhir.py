"""What a data set's `[[fhir]]` blocks say: which resources a row is, where in them a field lies; frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kangshu.declarations.paths import FhirPath


class FhirTest(StrEnum):
    """How a condition judges the values at its path."""

    IN = "in"
    NOT_IN = "not in"
    EXISTS = "exists"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class FhirCondition:
    """A condition on a resource: a value at `path` is (none is) one of `values`, or there is (no) value."""

    path: FhirPath
    test: FhirTest
    values: frozenset[str] = frozenset()
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FhirConstant:
    """A value that the resource always has when it is written from a row."""

    path: FhirPath
    value: str | bool | int
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FhirTerm:
    """One place in which a field lies. All that `writes` are written; the first that reads something counts.

    `path` is empty where the codec needs none. `given` and `absent` name another field of the row that must
    be there, or must not, for the term to be written.
    """

    path: FhirPath
    codec: str = ""
    argument: str = ""
    reads: bool = True
    writes: bool = True
    given: str | None = None
    absent: str | None = None
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FhirField:
    """The places of one field of the data set in one resource."""

    name: str
    terms: tuple[FhirTerm, ...]
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class FhirResource:
    """One resource of those that a row is; the first of a data set is the anchor: each one is a row.

    The others are linked: `referred` are paths in the resource `parent` that refer to this one, `refers` a
    path in this one that refers to the parent; `patient` is the parent of what refers to the Patient alone.
    `each` means that there may be several; their fields are lists. `when` are conditions without which the
    resource is none of this data set's; for a linked one that `decides`, neither is the row. `withdrawn`
    tells of a row that no longer holds; of the fields in `one_of` at least one must be there. Data sets with
    `messages` receive rows from messages; the others are mapped so that their rows show as resources.
    """

    type: str
    name: str
    parent: str | None = None
    referred: tuple[FhirPath, ...] = ()
    refers: FhirPath | None = None
    each: bool = False
    decides: bool = False
    when: tuple[FhirCondition, ...] = ()
    withdrawn: tuple[FhirCondition, ...] = ()
    one_of: tuple[str, ...] = ()
    messages: bool = True
    constants: tuple[FhirConstant, ...] = ()
    fields: tuple[FhirField, ...] = ()
    line: int = 0
    texts: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """How the author wrote the links, for the reference page."""


@dataclass(frozen=True, kw_only=True)
class FhirCodes:
    """How codes of one of our tables are written in FHIR: `pairs` both ways, `also` only read.

    Of several codes with one meaning in FHIR, the first is what is read. A code that has no pair is not
    written there, and one that is not listed is not read.
    """

    name: str
    pairs: Mapping[str, str]
    also: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class FhirSettings:
    """What all mappings of a pack share: the time zone of moments that carry none, systems, code maps."""

    zone: str = "+08:00"
    systems: Mapping[str, str] = field(default_factory=dict[str, str])
    codes: Mapping[str, FhirCodes] = field(default_factory=dict[str, FhirCodes])
