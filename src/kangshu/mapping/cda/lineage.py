"""Which entries of clinical documents become which FHIR resources: where data come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kangshu.mapping.cda.loading import load_declarations
from kangshu.mapping.cda.model import Becomes

_RESOURCES: Mapping[Becomes, str] = {
    Becomes.CONDITION: "Condition",
    Becomes.ALLERGY: "AllergyIntolerance",
    Becomes.ALLERGY_FLAG: "AllergyIntolerance",
    Becomes.OBSERVATION: "Observation",
    Becomes.COMPONENTS: "Observation",
    Becomes.LABORATORY: "Observation",
    Becomes.PANEL: "DiagnosticReport",
    Becomes.MEDICATION_REQUEST: "MedicationRequest",
    Becomes.MEDICATION_STATEMENT: "MedicationStatement",
    Becomes.ORDERED_DRUG: "MedicationRequest",
    Becomes.IMMUNIZATION: "Immunization",
    Becomes.PROCEDURE: "Procedure",
    Becomes.ENCOUNTER: "Encounter",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CdaSource:
    """A rule whose entries become a resource, with the codes of the data elements that it reads."""

    rule: str
    resource: str
    elements: frozenset[str]


def list_cda_sources(folder: Path) -> tuple[CdaSource, ...]:
    """Return what the rules in `folder` make of documents, in their order.

    Raises:
        DeclarationError: a declaration is wrong.
    """
    return tuple(
        CdaSource(
            rule=rule.name,
            resource=_RESOURCES[rule.becomes],
            elements=rule.codes.union(*rule.parts.values(), rule.part_codes),
        )
        for rule in load_declarations(folder).rules
    )
