"""Turn messages' resources into rows and rows into resources, by declarations compiled once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, TypeAlias

from kangshu.declarations import PATIENT, Dataset, Obligation, Pack, Role, UnknownDatasetError
from kangshu.kernel.texts import Text, load_catalogue
from kangshu.mapping.authorities import Authorities
from kangshu.mapping.model import Note
from kangshu.mapping.rows.blocks import Block
from kangshu.mapping.rows.codecs import Codecs
from kangshu.mapping.rows.model import DatasetRow
from kangshu.mapping.rows.paths import Context
from kangshu.mapping.rows.patients import PatientCodec

say = load_catalogue(__package__ or __name__)

# One message is told once what it lacks for a data set, not for each of its hundred results.
_MOST_NOTES = 20
_MOST_KEPT_NOTES = 500

_Found: TypeAlias = tuple[tuple[str, ...], tuple[int, ...]]
"""References to the resources that a link leads to, and the place of each among its like, from 1."""
_NOTHING: _Found = ((), ())
_UNKNOWN: Any = object()


class RowMapper:
    """The mapping of every data set of a pack that has one."""

    def __init__(self, pack: Pack, authorities: Authorities) -> None:
        codecs = Codecs(pack)
        numbers = iter(range(1 << 20))
        self._plans: dict[str, _Plan] = {}
        signatures: dict[Any, int] = {}
        for dataset in pack.datasets.values():
            if dataset.fhir:
                plan = _Plan(dataset, codecs=codecs, authorities=authorities, numbers=numbers)
                plan.patient_number = signatures.setdefault(plan.patient.signature, len(signatures))
                self._plans[dataset.name] = plan
        self._by_anchor: dict[str, list[_Plan]] = {}
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
        message = _Message(resources, context, institution=institution)
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

    def _choose(self, datasets: Sequence[str]) -> dict[str, list[_Plan]]:
        chosen: dict[str, list[_Plan]] = {}
        for name in datasets:
            plan = self._plan(name)
            chosen.setdefault(plan.anchor.type, []).append(plan)
        return chosen

    def _plan(self, name: str) -> _Plan:
        if name not in self._plans:
            raise UnknownDatasetError(name=name, known=tuple(self._plans))
        return self._plans[name]


class _Message:
    """The resources of one message, found by reference and by what they refer to; parts read before."""

    def __init__(
        self,
        resources: Sequence[Mapping[str, Any]],
        context: Sequence[Mapping[str, Any]],
        *,
        institution: str,
    ) -> None:
        self.context = Context(institution)
        self.by_reference: dict[str, Mapping[str, Any]] = {}
        self.by_type: dict[str, list[Mapping[str, Any]]] = {}
        self.parts: dict[tuple[int, str], dict[str, Any]] = {}
        self.shared: dict[Any, _Shared | None] = {}
        self._ordinals: dict[str, dict[int, int]] = {}
        self._back: dict[tuple[str, str], dict[str, _Found]] = {}
        for group in (resources, context):
            for resource in group:
                kind = str(resource.get("resourceType", ""))
                self.by_reference.setdefault(f"{kind}/{resource.get('id')}", resource)
                self.by_type.setdefault(kind, []).append(resource)

    def ordinal(self, resource: Mapping[str, Any]) -> int:
        """Return the place of a resource among those of its type, from 1."""
        kind = str(resource.get("resourceType", ""))
        if kind not in self._ordinals:
            self._ordinals[kind] = {id(one): place for place, one in enumerate(self.by_type[kind], start=1)}
        return self._ordinals[kind][id(resource)]

    def referring(self, block: Block, target: str) -> _Found:
        """Return the resources of the block's type that refer to `target`, and in which place, from 1."""
        key = (block.type, block.refers_key)
        index = self._back.get(key)
        if index is None:
            index = self._back[key] = self._index(block)
        return index.get(target, _NOTHING)

    def _index(self, block: Block) -> dict[str, _Found]:
        index: dict[str, list[tuple[str, int]]] = {}
        assert block.refers is not None, "only blocks that refer to their parent are looked for so"
        for resource in self.by_type.get(block.type, ()):
            own = f"{block.type}/{resource.get('id')}"
            for place, target in enumerate(block.refers(resource, self.context), start=1):
                if isinstance(target, str):
                    index.setdefault(target, []).append((own, place))
        return {target: _found(pairs) for target, pairs in index.items()}


@dataclass(slots=True)
class _Shared:
    """What all anchors with the same links have in common: fields, and the resource each link leads to."""

    values: dict[str, Any]
    chosen: dict[str, str]


class _Plan:
    """One data set's mapping, compiled."""

    def __init__(
        self, dataset: Dataset, *, codecs: Codecs, authorities: Authorities, numbers: Iterable[int]
    ) -> None:
        number = iter(numbers)
        blocks = [Block(one, number=next(number), dataset=dataset, codecs=codecs) for one in dataset.fhir]
        self.name = dataset.name
        self.number = blocks[0].number
        self.title = dataset.title
        self.anchor, self.links = blocks[0], tuple(blocks[1:])
        nearest = (blocks[0].name, PATIENT)
        self._near = tuple(block for block in self.links if block.parent in nearest)
        self._anchored = tuple(block for block in self.links if block.positions or block.depends_on_anchor)
        self.messages = dataset.fhir[0].messages
        self.patient = PatientCodec(dataset, authorities=authorities, codecs=codecs)
        self.patient_number = 0
        institution = dataset.with_role(Role.INSTITUTION)
        self.institution = institution.name if institution else None
        self.required = frozenset(
            field.name
            for field in dataset.fields
            if field.obligation is Obligation.REQUIRED and field.name != self.institution
        )
        self.one_of = dataset.fhir[0].one_of
        self.event_time = dataset.event_time
        mapped = {name for block in blocks for name in block.field_names()} | set(self.patient.fields)
        self.mapped = frozenset(mapped | ({self.institution} if self.institution else set()))
        self._titles = {field.name: field.title for field in dataset.fields}
        self._notes: dict[frozenset[str], Note] = {}
        self._has_patient = bool(self.patient.fields)

    # From resources to a row

    def make_row(
        self, resource: Mapping[str, Any], message: _Message, notes: list[Note]
    ) -> DatasetRow | None:
        """Return the row of an anchor; None where it is none of this data set's, or is not complete."""
        anchor, context = self.anchor, message.context
        if anchor.is_conditional and not anchor.when(resource, context):
            return None
        own = f"{anchor.type}/{resource.get('id')}"
        context.reference = own
        patient = own if anchor.type == "Patient" else _patient_of(anchor, resource)
        near: dict[str, _Found] = {}
        marks: list[Any] = [self.number, patient]
        for block in self._near:
            if block.is_plain:
                named = resource.get(block.plain_reference)
                reference = named.get("reference") if isinstance(named, dict) else None
                marks.append(reference if isinstance(reference, str) else None)
            else:
                found = _candidates(block, patient or "" if block.under_patient else own, resource, message)
                near[block.name] = found
                marks.append(found[0])
        key = tuple(marks)
        shared = message.shared.get(key, _UNKNOWN)
        if shared is _UNKNOWN:
            shared = message.shared[key] = self._share(resource, patient, near, message)
        if shared is None:
            return None
        if anchor.withdrawn is not None and anchor.withdrawn(resource, context):
            return self._row(resource, None, patient=patient)
        values = dict(shared.values)
        if self._anchored:
            self._add_anchored(values, shared, near, message)
        if anchor.ordinals:
            place = message.ordinal(resource)
            values.update(dict.fromkeys(anchor.ordinals, place))
        values.update(anchor.read(resource, context))
        if context.misfits:
            self._note_misfits(context, values, notes)
        if not self.required <= values.keys() or (self.one_of and values.keys().isdisjoint(self.one_of)):
            notes.append(self._incomplete(values))
            return None
        return self._row(resource, values, patient=patient)

    def _share(
        self,
        resource: Mapping[str, Any],
        patient: str | None,
        near: Mapping[str, _Found],
        message: _Message,
    ) -> _Shared | None:
        """Follow every link; None where one of them shows that the row is another data set's."""
        chosen: dict[str, str] = {}
        linked: list[tuple[Block, Sequence[str]]] = []
        for block in self.links:
            if block.name in near:
                references = near[block.name][0]
            elif block.parent == self.anchor.name:
                references = _candidates(block, message.context.reference, resource, message)[0]
            elif block.parent in chosen:
                parent = chosen[block.parent]
                references = _candidates(block, parent, message.by_reference[parent], message)[0]
            else:
                continue
            fitting = references
            if block.is_conditional:
                fitting = [
                    one for one in references if block.when(message.by_reference[one], message.context)
                ]
            if references and not fitting and block.decides:
                return None
            if fitting:
                chosen[block.name] = fitting[0]
                linked.append((block, fitting if block.each else fitting[:1]))
        values: dict[str, Any] = {}
        if patient is not None and self._has_patient:
            values.update(self._patient_part(patient, message))
        for block, references in reversed(linked):
            parts = [self._one_part(block, reference, message) for reference in references]
            values.update(_lists(parts) if block.each else parts[0])
        if self.institution:
            values[self.institution] = message.context.institution
        return _Shared(values, chosen)

    def _add_anchored(
        self, values: dict[str, Any], shared: _Shared, near: Mapping[str, _Found], message: _Message
    ) -> None:
        """Add the fields of linked resources that depend on which of them the anchor is."""
        for block in reversed(self._anchored):
            reference = shared.chosen.get(block.name)
            if reference is None:
                continue
            block.read_fresh(message.by_reference[reference], message.context, values)
            if block.positions and block.name in near:
                references, places = near[block.name]
                for name in block.positions:
                    values[name] = places[references.index(reference)]

    def _one_part(self, block: Block, reference: str, message: _Message) -> dict[str, Any]:
        key = (block.number, reference)
        part = message.parts.get(key)
        if part is None:
            part = message.parts[key] = block.read(message.by_reference[reference], message.context)
        return part

    def _patient_part(self, patient: str, message: _Message) -> dict[str, Any]:
        key = (-1 - self.patient_number, patient)
        part = message.parts.get(key)
        if part is None:
            found = message.by_reference.get(patient)
            part = self.patient.read(found, message.context) if found else {}
            message.parts[key] = part
        return part

    def _row(
        self, resource: Mapping[str, Any], values: dict[str, Any] | None, *, patient: str | None
    ) -> DatasetRow:
        at = values.get(self.event_time) if values and self.event_time else None
        if at is not None and not isinstance(at, datetime):
            at = datetime.combine(at, time()) if isinstance(at, date) else None
        return DatasetRow(
            dataset=self.name,
            values=values,
            resource_type=self.anchor.type,
            resource_id=str(resource.get("id")),
            at=at,
            patient=patient[8:] if patient and patient.startswith("Patient/") else None,
        )

    def _incomplete(self, values: Mapping[str, Any]) -> Note:
        missing = self.required.difference(values)
        note = self._notes.get(missing)
        if note is None:
            if len(self._notes) > _MOST_KEPT_NOTES:
                self._notes.clear()
            note = self._notes[missing] = self._write_note(missing)
        return note

    def _write_note(self, missing: frozenset[str]) -> Note:
        titles = [title for name, title in self._titles.items() if name in (missing or self.one_of)]
        return Note(
            place=self.anchor.type,
            text=say(
                "incomplete",
                title=self.title.zh,
                title_en=self.title.en,
                fields="、".join(title.zh for title in titles),
                fields_en=", ".join(title.en for title in titles),
            ),
        )

    def _note_misfits(self, context: Context, values: Mapping[str, Any], notes: list[Note]) -> None:
        left_out = [name for name in context.misfits if name not in values]
        titles = [self._titles.get(name, Text(zh=name, en=name)) for name in left_out]
        context.misfits.clear()
        if not titles:
            return
        text = say(
            "misfit",
            title=self.title.zh,
            title_en=self.title.en,
            fields="、".join(title.zh for title in titles),
            fields_en=", ".join(title.en for title in titles),
        )
        notes.append(Note(place=self.anchor.type, text=text))

    # From a row to resources

    def make_resources(
        self, values: Mapping[str, Any], *, institution: str, key: str, patient: str, linked: bool
    ) -> list[dict[str, Any]]:
        context = Context(institution)
        if self.anchor.type == "Patient":
            made = self.patient.write(values, patient=patient, institution=institution)
        else:
            made = {"resourceType": self.anchor.type, "id": key}
        context.reference = f"{self.anchor.type}/{made['id']}"
        about = f"Patient/{patient}"
        self.anchor.write(values, made, context)
        if self.anchor.write_patient and self._has_patient:
            self.anchor.write_patient(made, about, context)
        if not linked:
            return [made]
        resources = [made]
        reached: dict[str, dict[str, Any]] = {self.anchor.name: made}
        for block in self.links:
            parent = {} if block.under_patient else reached.get(block.parent or "")
            if parent is None:
                continue
            for part, identity in _portions(block, values, key):
                other: dict[str, Any] = {"resourceType": block.type, "id": identity}
                if not block.write(part, other, context):
                    continue
                if block.write_patient and self._has_patient:
                    block.write_patient(other, about, context)
                _link(block, parent, other, context)
                reached[block.name] = other
                resources.append(other)
        if self._has_patient and self.anchor.type != "Patient":
            resources.append(self.patient.write(values, patient=patient, institution=institution))
        return resources


def _candidates(block: Block, own: str, resource: Mapping[str, Any], message: _Message) -> _Found:
    """Return what a link leads to from the parent `own`: what the parent names, else what names it."""
    known = message.by_reference
    if block.plain_reference:
        named = resource.get(block.plain_reference)
        reference = named.get("reference") if isinstance(named, dict) else None
        if isinstance(reference, str) and reference in known and reference.startswith(block.start):
            return (reference,), (1,)
    else:
        for references in block.references:
            found = [
                (reference, place)
                for place, reference in enumerate(references(resource, message.context), start=1)
                if isinstance(reference, str) and reference in known and reference.startswith(block.start)
            ]
            if found:
                return _found(found)
    return message.referring(block, own) if block.refers is not None else _NOTHING


def _found(pairs: Sequence[tuple[str, int]]) -> _Found:
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def _patient_of(anchor: Block, resource: Mapping[str, Any]) -> str | None:
    if not anchor.patient_path:
        return None
    named = resource.get(anchor.patient_path[0].name)
    reference = named.get("reference") if isinstance(named, dict) else None
    return reference if isinstance(reference, str) else None


def _lists(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields of several resources as lists in step; nothing follows the last value of a list."""
    lists: dict[str, list[Any]] = {}
    for place, part in enumerate(parts):
        for name, value in part.items():
            held = lists.setdefault(name, [])
            held.extend([None] * (place - len(held)))
            held.append(value)
    return dict(lists)


def _portions(block: Block, values: Mapping[str, Any], key: str) -> list[tuple[Mapping[str, Any], str]]:
    """Return what each resource of the block is written from, and its id."""
    if not block.each:
        return [(values, f"{key}-{block.name}")]
    lists = {name: held for name in block.field_names() if (held := values.get(name))}
    count = max((len(held) for held in lists.values()), default=0)
    return [
        (
            {name: held[place] for name, held in lists.items() if place < len(held)},
            f"{key}-{block.name}-{place + 1}",
        )
        for place in range(count)
    ]


def _link(block: Block, parent: dict[str, Any], other: dict[str, Any], context: Context) -> None:
    for put in block.links:
        put(parent, f"{other['resourceType']}/{other['id']}", context)
    if block.back_link and not block.under_patient:
        block.back_link(other, f"{parent['resourceType']}/{parent['id']}", context)
