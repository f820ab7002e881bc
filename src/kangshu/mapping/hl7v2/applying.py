"""Walk through a message segment by segment and build what the plans say."""

from __future__ import annotations

import marshal
from typing import Any

from kangshu.mapping import (
    Authorities,
    Draft,
    IdentifierKind,
    MakeId,
    Mapped,
    MappingError,
    Merge,
    Note,
    SubjectIdentifier,
    subject_of,
)
from kangshu.mapping.hl7v2.compiling import Continued, MessagePlan, Plans, RowRun, SegmentPlan
from kangshu.mapping.hl7v2.errors import say
from kangshu.mapping.hl7v2.persons import person_number
from kangshu.mapping.hl7v2.values import Building, Moment, Scope, text_at, valued
from kangshu.standards.hl7v2 import Message, Segment

_RESULT = "OBX"
"""What closes the opening of a group: an ORC or OBR after it begins the next order."""
_NOTE = "NTE"
_ABOUT = {
    "AllergyIntolerance": "patient",
    "Condition": "subject",
    "Coverage": "beneficiary",
    "DiagnosticReport": "subject",
    "DocumentReference": "subject",
    "Encounter": "subject",
    "Immunization": "patient",
    "MedicationAdministration": "subject",
    "MedicationDispense": "subject",
    "MedicationRequest": "subject",
    "Observation": "subject",
    "Procedure": "subject",
    "RelatedPerson": "patient",
    "ServiceRequest": "subject",
    "Specimen": "subject",
}
"""Where resources say whom they are about."""
_NOTHING_WITHOUT = frozenset(_ABOUT) - {
    "DiagnosticReport", "DocumentReference", "Encounter", "MedicationDispense", "Observation", "Specimen",
}  # fmt: skip
_OWN_NUMBERS = ("PI", "MR")
_BARE = 2
"""What a new resource has: its type and its id."""
_REMEMBERED_MOST = 20_000


class Memory:
    """What segments became, by their words: bounded, forgotten as a whole when it is full."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], bytes] = {}
        self.get = self._known.get

    def keep(self, mark: tuple[str, ...], part: dict[str, Any]) -> None:
        """Keep a part of a resource, if it is of plain values."""
        try:
            data = marshal.dumps(part)
        except ValueError:  # an exact decimal
            return
        if len(self._known) >= _REMEMBERED_MOST:
            self._known.clear()
        self._known[mark] = data


class Run:
    """The mapping of one message."""

    def __init__(
        self,
        plans: Plans,
        plan: MessagePlan,
        *,
        message: Message,
        sender: str,
        authorities: Authorities,
        make_id: MakeId,
        memory: Memory,
    ) -> None:
        self._plans, self._plan = plans, plan
        self._memory = memory
        self._make_id = make_id
        self._authorities = authorities
        self._root = Scope("message", None)
        self._moment = Moment(
            message=message,
            sender=sender,
            authorities=authorities,
            scope=self._root,
            width=plans.width,
            no_numbers=plans.no_numbers,
        )
        self._built: dict[tuple[str, str], Building] = {}
        self._counts: dict[str, int] = {}
        self._absorbed: list[tuple[Building | None, Segment, dict[str, Any]]] = []
        self._strangers: set[str] = set()

    def mapped(self) -> Mapped:
        """Return what the message becomes.

        Raises:
            MappingError: something is missing without which it says nothing.
        """
        before = ""
        for segment, scope in self._scoped(self._moment.message):
            self._segment(segment, scope, before)
            if segment.name != _NOTE:
                before = segment.name
        return self._finish()

    def _scoped(self, message: Message) -> list[tuple[Segment, Scope]]:
        """Put every segment into its group, all of them first: conditions and keys look ahead."""
        opens, groups = self._plan.opens, self._plan.groups
        open_scopes: list[Scope] = [self._root]
        depths = [0]
        found: list[tuple[Segment, Scope]] = []
        for segment in message.segments:
            name = segment.name
            depth = opens.get(name, 0)
            scope = open_scopes[-1]
            if depth:
                while depths[-1] > depth:
                    open_scopes.pop()
                    depths.pop()
                scope = open_scopes[-1]
                if depths[-1] < depth or name in scope.first or scope.told:
                    if depths[-1] == depth:
                        open_scopes.pop()
                        depths.pop()
                    scope = Scope(groups[depth - 1].name, open_scopes[-1])
                    open_scopes.append(scope)
                    depths.append(depth)
            elif name == _RESULT:
                scope.told = True
            if name not in scope.first:
                scope.first[name] = segment
            found.append((segment, scope))
        return found

    def _segment(self, segment: Segment, scope: Scope, before: str) -> None:
        moment = self._moment
        uses = self._plan.uses.get(segment.name)
        if uses is None:
            self._strange(segment, scope)
            return
        moment.enter(segment, scope)
        for use in uses:
            if use.after and before not in use.after:
                continue
            if use.test is None or use.test(moment):
                self._apply(use.plan, segment)
        self._note_unknown(segment)

    def _strange(self, segment: Segment, scope: Scope) -> None:
        name = segment.name
        if name == "MRG" and self._plan.merge == "MRG":
            self._moment.enter(segment, scope)
            self._absorb(segment)
        elif name not in self._plans.ignored and name not in self._strangers:
            self._strangers.add(name)
            self._moment.enter(segment, scope)
            self._moment.note("segment", say["segment_not_mapped"])

    def _note_unknown(self, segment: Segment) -> None:
        known = self._plan.known[segment.name]
        moment = self._moment
        fields = moment.fields
        for number in [number for number, field in enumerate(fields) if field and number not in known]:
            if number and any(map(valued, fields[number])):
                moment.field = number
                moment.note("not_mapped", say["not_mapped"])

    def _apply(self, plan: SegmentPlan, segment: Segment) -> None:
        moment = self._moment
        moment.field = 0
        if plan.needs and not self._needed(plan.needs):
            return
        lines = plan.continues if plan.continues is not None and plan.continues.test(moment) else None
        if lines is not None and self._continues(plan, lines):
            return
        building = self._target(plan, segment)
        if building is None:
            return
        if lines is not None and building.map == plan.name:
            building.same = lines.same(moment) or ("",)
        if plan.alone and len(building.resource) == _BARE:
            self._recall(plan, segment, building.resource)
        else:
            self._fill(plan.steps, building.resource)

    def _recall(self, plan: SegmentPlan, segment: Segment, resource: dict[str, Any]) -> None:
        """Fill a new resource, its first part out of memory where this very segment came before.

        The patient comes with every message, mostly in the same words.
        """
        moment, memory = self._moment, self._memory
        event = moment.message.event
        mark = (plan.name, moment.sender, moment.message.type, event, segment.raw, moment.message.charset)
        kept = memory.get(mark)
        if kept is not None:
            resource.update(marshal.loads(kept))  # noqa: S302 - written by us, never leaves the process
        else:
            noted = len(moment.notes)
            part: dict[str, Any] = {}
            self._fill(plan.alone, part)
            resource.update(part)
            if len(moment.notes) == noted:
                memory.keep(mark, part)
        self._fill(plan.others, resource)

    def _needed(self, numbers: tuple[int, ...]) -> bool:
        fields = self._moment.fields
        for number in numbers:  # noqa: SIM110 - a generator costs more than what it looks at
            if fields[number] and any(map(valued, fields[number])):
                return True
        return False

    def _fill(self, steps: tuple[tuple[int, RowRun], ...], resource: dict[str, Any]) -> None:
        moment = self._moment
        fields = moment.fields
        fresh: dict[str, Any] = {}
        for number, run in steps:
            repetitions = fields[number]
            if repetitions or not number:
                moment.field = number
                run(moment, repetitions, resource, fresh)

    def _continues(self, plan: SegmentPlan, continued: Continued) -> bool:
        """Add a further line of a text to the resource that its first line began."""
        moment = self._moment
        standing = moment.scope.resources.get(plan.resource)
        if standing is None or standing.map != plan.name or not standing.same:
            return False
        same = continued.same(moment)
        if same != standing.same and any(same):
            return False
        texts = [continued.text(one, moment) or "" for one in moment.fields[continued.field]] or [""]
        standing.lines.extend(texts)
        return True

    def _target(self, plan: SegmentPlan, segment: Segment) -> Building | None:
        """Return the resource that the plan fills: the one that stands, or a new one."""
        moment = self._moment
        if plan.into == "current":
            standing = moment.scope.current(plan.resource)
            if standing is None:
                moment.note("nothing_to_extend", say["nothing_to_extend"])
            return standing
        if plan.into == "either":
            standing = moment.scope.resources.get(plan.resource)
            if standing is not None:
                return standing
        return self._begin(plan, segment)

    def _begin(self, plan: SegmentPlan, segment: Segment) -> Building:
        moment = self._moment
        if len(self._built) >= self._plans.resources_most:
            raise MappingError(say("too_many", most=self._plans.resources_most), place=segment.name)
        kind = plan.resource
        key = self._key(plan, segment)
        if plan.numbered:
            count = self._counts[key] = self._counts.get(key, 0) + 1
            if count > 1:
                key = f"{key}#{count}"
        made = self._make_id(kind, key)
        patient = moment.scope.current("Patient")
        about = made if kind == "Patient" else patient.id if patient else None
        building = Building(kind, made, key.partition("|")[2], about, plan.name, plan.finish)
        self._built.pop((kind, made), None)
        self._built[(kind, made)] = building
        moment.scope.resources[kind] = building
        moment.made[kind] = building
        return building

    def _key(self, plan: SegmentPlan, segment: Segment) -> str:
        """Return what the resource is known by: a business key, else this message and the place in it."""
        moment = self._moment
        start = f"{moment.sender}|{plan.resource.lower()}|"
        if plan.person:
            return start + self._person_key(plan, segment)
        for read in plan.keys:
            if key := read(moment):
                return start + key
        return f"{start}{moment.message.control_id}|{segment.name}[{segment.occurrence}]"

    def _person_key(self, plan: SegmentPlan, segment: Segment) -> str:
        """Return the patient's number with its authority: the institution's own before all others.

        Raises:
            MappingError: there is no number at all.
        """
        best: tuple[int, SubjectIdentifier] | None = None
        moment = self._moment
        for number in plan.person:
            for repetition in moment.fields[number]:
                found = person_number(repetition, moment)
                if found is None:
                    continue
                typed = text_at(repetition, 4).upper() in _OWN_NUMBERS
                rank = 0 if typed else 1 if found.kind is IdentifierKind.LOCAL_NUMBER else 2
                if best is None or rank < best[0]:
                    best = (rank, found)
        if best is None:
            raise MappingError(say["no_patient_number"], place=segment.place(plan.person[0]))
        return f"{self._authorities.system_of(best[1])}|{best[1].value}"

    def _absorb(self, segment: Segment) -> None:
        plan = self._plans.absorbed
        assert plan is not None, "a merge is declared with its map"
        resource: dict[str, Any] = {"resourceType": plan.resource}
        self._fill(plan.steps, resource)
        self._absorbed.append((self._moment.scope.current("Patient"), segment, resource))

    def _finish(self) -> Mapped:
        moment = self._moment
        moment.scope, moment.segment, moment.field = self._root, moment.message.header, 0
        patients = [one for one in self._built.values() if one.kind == "Patient"]
        if not patients and self._plan.patient == "required":
            raise MappingError(say["no_patient"], place="PID")
        self._note_default(bool(patients))
        kept = [one for one in self._built.values() if self._complete(one, patients)]
        drafts = tuple(
            Draft(type=one.kind, id=one.id, resource=one.resource, patient=one.patient) for one in kept
        )
        return Mapped(
            drafts=drafts,
            merges=self._merges(patients),
            notes=tuple(moment.notes.values()),
            order_key=f"{moment.sender}|{patients[0].key}" if patients else "",
        )

    def _note_default(self, with_patient: bool) -> None:
        if self._plan.default and with_patient:
            self._moment.field = 9
            self._moment.note("message", say["message_not_mapped"])
            self._moment.field = 0

    def _complete(self, one: Building, patients: list[Building]) -> bool:
        if one.patient is None and patients:
            one.patient = patients[0].id  # an appointment stands before its patient
        about = _ABOUT.get(one.kind)
        if about is not None and about not in one.resource:
            if one.patient is not None:
                one.resource[about] = {"reference": f"Patient/{one.patient}"}
            elif one.kind in _NOTHING_WITHOUT:
                self._moment.note(one.kind, say("nobody", kind=one.kind))
                return False
        return all(finish(one, self._moment) for finish in one.finish)

    def _merges(self, patients: list[Building]) -> tuple[Merge, ...]:
        if self._plan.merge == "PID":
            pairs = [(patients[0], one.resource, "PID") for one in patients[1:]]
        else:
            pairs = [(one, told, segment.place(1)) for one, segment, told in self._absorbed]
            if self._plan.merge == "MRG" and not pairs:
                raise MappingError(say["no_prior_number"], place="MRG")
        sender, authorities = self._moment.sender, self._authorities
        merges: list[Merge] = []
        for patient, told, place in pairs:
            if patient is None:
                raise MappingError(say["no_patient"], place="PID")
            survivor = subject_of(patient.resource, sender=sender, authorities=authorities)
            absorbed = subject_of(told, sender=sender, authorities=authorities)
            if not absorbed.identifiers:
                raise MappingError(say["no_prior_number"], place=place)
            if set(absorbed.identifiers) <= set(survivor.identifiers):
                self._moment.notes[("MRG", 1, "same")] = Note(place=place, text=say["merge_of_one"])
            else:
                merges.append(Merge(survivor=survivor, absorbed=absorbed))
        return tuple(merges)
