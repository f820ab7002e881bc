"""What the declarations of the HL7 v2 mapping say, in the terms of the published v2-to-FHIR guide; frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where in the pack something is declared, for the error that refuses it."""

    path: Path
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a segment or data type map: which field, on what condition, becomes which attribute.

    Of `constant`, `reference` and the field itself exactly one gives the value; a constant or a reference
    beside a field is given where the field is valued.
    """

    fhir: str
    field: str | None = None
    condition: str | None = None
    map: str | None = None
    table: str | None = None
    constant: Any = None
    reference: str | None = None
    units: str | None = None
    numbers: str | None = None
    """The range in which a number is unique when nobody is named as its authority: `visit`, `order`."""
    join: str | None = None
    strict: bool = False
    """Whether a value that cannot be read refuses the message instead of leaving a note."""
    origin: Origin


@dataclass(frozen=True, kw_only=True, slots=True)
class Continuation:
    """Lines of one text that a sender spreads over several segments: the later ones continue the first."""

    condition: str
    same: tuple[str, ...]
    field: str
    fhir: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentMap:
    """What a segment becomes: `PID[Patient]`. `into` says whether it starts a resource or adds to one."""

    name: str
    segment: str
    resource: str
    into: str
    key: tuple[str, ...]
    person: tuple[str, ...]
    needs: tuple[str, ...]
    finish: tuple[str, ...]
    ignore: tuple[str, ...]
    numbered: bool
    continues: Continuation | None
    rows: tuple[Row, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True, slots=True)
class DatatypeMap:
    """What a data type becomes: `CX[Identifier]`. Of `requires` one attribute must come about."""

    name: str
    rows: tuple[Row, ...]
    requires: tuple[str, ...]
    finish: tuple[str, ...]
    same_as: str | None
    origin: Origin


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """The target of a vocabulary map's entry."""

    code: str
    system: str | None = None
    display: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class VocabularyMap:
    """A vocabulary map: from the codes of an HL7 table, and what senders write in their place, to FHIR's.

    `open` maps leave codes that they do not list as they are, without a note.
    """

    name: str
    codes: Mapping[str, Code]
    default: Code | None
    open: bool
    origin: Origin


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A segment group: it begins anew with any of `opens` that it holds already."""

    name: str
    opens: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """A segment map's place in a message map."""

    map: str
    after: frozenset[str]
    condition: str | None
    origin: Origin


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageMap:
    """Which segments of a message become what. `events` are `ADT^A01`, `ADT^*` or `*`."""

    name: str
    events: tuple[str, ...]
    groups: tuple[Group, ...]
    uses: tuple[Use, ...]
    merge: str | None
    patient: str
    """`required`, `optional`, or `none`: whether the message is nothing without a patient."""
    origin: Origin


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What holds for all maps. In the templates `{sender}`, `{name}` and `{numbers}` are filled in."""

    zone: str = "+08:00"
    local_codes: str = "urn:kangshu:institution:{sender}:code"
    named_codes: str = "urn:kangshu:institution:{sender}:code:{name}"
    numbers: str = "urn:kangshu:institution:{sender}:{numbers}"
    ignored_segments: frozenset[str] = frozenset()
    no_numbers: frozenset[str] = frozenset()
    """What stands in the place of a patient's number without being one."""
    resources_most: int = 10_000


@dataclass(frozen=True, kw_only=True)
class Declarations:
    """Everything that the folder of a pack declares about HL7 v2."""

    settings: Settings
    systems: Mapping[str, str]
    vocabularies: Mapping[str, VocabularyMap]
    datatypes: Mapping[str, DatatypeMap]
    segments: Mapping[str, SegmentMap]
    messages: tuple[MessageMap, ...] = field(default=())
