"""Which fields of HL7 v2 messages become which elements of FHIR resources: where data come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kangshu.mapping.hl7v2.loading import read_declarations


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
        (row.field, segment.resource, row.fhir): Hl7v2Source(
            field=row.field,
            resource=segment.resource,
            attribute=row.fhir,
            messages=tuple(dict.fromkeys(used[name])),
        )
        for name, segment in declared.segments.items()
        for row in segment.rows
        if row.field and name in used
    }
    return tuple(found.values())
