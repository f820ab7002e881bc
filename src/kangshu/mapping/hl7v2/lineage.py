"""Which fields of HL7 v2 messages become which elements of FHIR resources: where data come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kangshu.mapping.hl7v2.loading import read_declarations
from kangshu.mapping.hl7v2.model import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Hl7v2Source:
    """A field of a segment (`OBX-3`) that becomes an attribute of a resource, and in which messages."""

    field: str
    resource: str
    attribute: str
    messages: tuple[str, ...]


def list_hl7v2_sources(folder: Path) -> tuple[Hl7v2Source, ...]:
    """Return what the declarations in `folder` map, in their order; constants and references are no sources.

    Raises:
        DeclarationError: a declaration is wrong.
    """
    declared = read_declarations(folder)
    used: dict[str, list[str]] = {}
    for message in declared.messages:
        for use in message.uses:
            used.setdefault(use.map, []).extend(message.events)
    found = {
        (field, segment.resource, attribute): Hl7v2Source(
            field=field,
            resource=segment.resource,
            attribute=attribute,
            messages=tuple(dict.fromkeys(used[name])),
        )
        for name, segment in declared.segments.items()
        for row in segment.rows
        for field, attribute in _fields(row)
        if name in used
    }
    return tuple(found.values())


def _fields(row: Row) -> Iterator[tuple[str, str]]:
    """Yield the fields that a row reads and the attributes they become; a quantity's unit has its own."""
    if row.units and row.fhir.endswith("Quantity"):
        yield row.units, f"{row.fhir}.unit"
        yield row.units, f"{row.fhir}.code"
        if row.field:
            yield row.field, f"{row.fhir}.value"
    elif row.field:
        yield row.field, row.fhir
