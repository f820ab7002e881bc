"""Turn messages' resources into rows and rows into resources, by declarations compiled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kangshu.declarations import Pack, UnknownDatasetError
from kangshu.mapping.authorities import Authorities
from kangshu.mapping.model import Note
from kangshu.mapping.rows.codecs import Codecs
from kangshu.mapping.rows.messages import Message
from kangshu.mapping.rows.model import DatasetRow
from kangshu.mapping.rows.plans import Plan

# One message is told once what it lacks for a data set, not for each of its hundred results.
_MOST_NOTES = 20


class RowMapper:
    """The mapping of every data set of a pack that has one."""

    def __init__(self, pack: Pack, authorities: Authorities) -> None:
        codecs = Codecs(pack)
        numbers = iter(range(1 << 20))
        self._plans: dict[str, Plan] = {}
        signatures: dict[Any, int] = {}
        for dataset in pack.datasets.values():
            if dataset.fhir:
                plan = Plan(dataset, codecs=codecs, authorities=authorities, numbers=numbers)
                plan.patient_number = signatures.setdefault(plan.patient.signature, len(signatures))
                self._plans[dataset.name] = plan
        self._by_anchor: dict[str, list[Plan]] = {}
        for plan in self._plans.values():
            if plan.messages:
                self._by_anchor.setdefault(plan.anchor.type, []).append(plan)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the data sets that have a mapping."""
        return tuple(self._plans)

    def to_rows(
        self,
        resources: Sequence[Mapping[str, Any]],
        *,
        institution: str,
        context: Sequence[Mapping[str, Any]] = (),
        datasets: Sequence[str] | None = None,
        notes: list[Note] | None = None,
    ) -> list[DatasetRow]:
        """Return the rows that the resources of one message give, in the order of the resources.

        `institution` is the sender's code. `context` are resources from elsewhere that those of the message
        may refer to (a Patient on record); they give no rows of their own. `datasets` asks for rows of these
        alone, also of such as messages do not fill by themselves. A row without a required field is not made;
        what was left out, and why, is added to `notes`.
        """
        message = Message(resources, context, institution=institution)
        chosen = self._by_anchor if datasets is None else self._choose(datasets)
        rows: list[DatasetRow] = []
        told: list[Note] = []
        for resource in resources:
            for plan in chosen.get(str(resource.get("resourceType", "")), ()):
                row = plan.make_row(resource, message, told)
                if row is not None:
                    rows.append(row)
        if notes is not None:
            notes.extend(list(dict.fromkeys(told))[:_MOST_NOTES])
        return rows

    def to_resources(
        self,
        *,
        dataset: str,
        values: Mapping[str, Any],
        institution: str,
        key: str,
        patient: str,
        linked: bool = True,
    ) -> list[dict[str, Any]]:
        """Return the FHIR resources that a row is, the anchor first; none where the data set has no mapping.

        `values` are Python values by field, as the lake gives them. `key` becomes the id of the first
        resource and the start of the others' (letters, digits, `-` and `.`, at most 40), `patient` is the id
        of the Patient. With `linked` False only the first resource is made, quicker, without its
        references but that to the Patient.
        """
        plan = self._plans.get(dataset)
        if plan is None:
            return []
        return plan.make_resources(values, institution=institution, key=key, patient=patient, linked=linked)

    def to_withdrawals(self, *, resource_type: str, resource_id: str) -> list[DatasetRow]:
        """Return what takes back every row that this resource may have given, for one that was deleted."""
        return [
            DatasetRow(
                dataset=plan.name,
                values=None,
                resource_type=resource_type,
                resource_id=resource_id,
                at=None,
            )
            for plan in self._by_anchor.get(resource_type, ())
        ]

    def mapped_fields(self, dataset: str) -> frozenset[str]:
        """Return the fields of `dataset` that have a place in its resources.

        Raises:
            UnknownDatasetError: it has no mapping.
        """
        return self._plan(dataset).mapped

    def _choose(self, datasets: Sequence[str]) -> dict[str, list[Plan]]:
        chosen: dict[str, list[Plan]] = {}
        for name in datasets:
            plan = self._plan(name)
            chosen.setdefault(plan.anchor.type, []).append(plan)
        return chosen

    def _plan(self, name: str) -> Plan:
        if name not in self._plans:
            raise UnknownDatasetError(name=name, known=tuple(self._plans))
        return self._plans[name]
