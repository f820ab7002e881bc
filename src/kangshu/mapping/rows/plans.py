"""One data set's mapping, compiled: a resource with what it is linked with becomes a row, a row resources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

from kangshu.declarations import PATIENT, Dataset, Obligation, Role
from kangshu.kernel.texts import Text, load_catalogue
from kangshu.mapping.authorities import Authorities
from kangshu.mapping.model import Note
from kangshu.mapping.rows.blocks import Block
from kangshu.mapping.rows.codecs import Codecs
from kangshu.mapping.rows.messages import Found, Message, Shared, candidates
from kangshu.mapping.rows.model import DatasetRow
from kangshu.mapping.rows.paths import Context
from kangshu.mapping.rows.patients import PatientCodec

say = load_catalogue(__package__ or __name__)

_MOST_KEPT_NOTES = 500
_UNKNOWN: Any = object()


class Plan:
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

    def make_row(self, resource: Mapping[str, Any], message: Message, notes: list[Note]) -> DatasetRow | None:
        """Return the row of an anchor; None where it is none of this data set's, or is not complete."""
        anchor, context = self.anchor, message.context
        if anchor.is_conditional and not anchor.when(resource, context):
            return None
        own = f"{anchor.type}/{resource.get('id')}"
        context.reference = own
        patient = own if anchor.type == "Patient" else _patient_of(anchor, resource)
        near: dict[str, Found] = {}
        marks: list[Any] = [self.number, patient]
        for block in self._near:
            if block.is_plain:
                named = resource.get(block.plain_reference)
                reference = named.get("reference") if isinstance(named, dict) else None
                marks.append(reference if isinstance(reference, str) else None)
            else:
                found = candidates(block, patient or "" if block.under_patient else own, resource, message)
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
        near: Mapping[str, Found],
        message: Message,
    ) -> Shared | None:
        """Follow every link; None where one of them shows that the row is another data set's."""
        chosen: dict[str, str] = {}
        linked: list[tuple[Block, Sequence[str]]] = []
        for block in self.links:
            if block.name in near:
                references = near[block.name][0]
            elif block.parent == self.anchor.name:
                references = candidates(block, message.context.reference, resource, message)[0]
            elif block.parent in chosen:
                parent = chosen[block.parent]
                references = candidates(block, parent, message.by_reference[parent], message)[0]
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
        return Shared(values, chosen)

    def _add_anchored(
        self, values: dict[str, Any], shared: Shared, near: Mapping[str, Found], message: Message
    ) -> None:
        """Add the fields of linked resources that depend on which of them the anchor is."""
        for block in reversed(self._anchored):
            reference = shared.chosen.get(block.name)
            if reference is None:
                continue
            if block.depends_on_anchor:
                block.read_fresh(message.by_reference[reference], message.context, values)
            if block.positions and block.name in near:
                references, places = near[block.name]
                for name in block.positions:
                    values[name] = places[references.index(reference)]

    def _one_part(self, block: Block, reference: str, message: Message) -> dict[str, Any]:
        key = (block.number, reference)
        part = message.parts.get(key)
        if part is None:
            part = message.parts[key] = block.read(message.by_reference[reference], message.context)
        return part

    def _patient_part(self, patient: str, message: Message) -> dict[str, Any]:
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
