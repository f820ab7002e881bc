"""Decide what each message of a batch may write, against what is stored: one look for the batch.

Conditions are settled here (create if none exists, update if unchanged, references that say what to look
for), and whose resource it is: an institution changes its own, nobody else's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kangshu import records
from kangshu.app.errors import say
from kangshu.app.messages.model import Criterion, Interaction, Prepared, Refusal
from kangshu.app.messages.reading_fhir import FhirRefusedError, stranger
from kangshu.intake.messages import MessageFormat
from kangshu.mapping import Subject, patient_of
from kangshu.standards import fhir
from kangshu.storage.database import Connection


class TogetherError(Exception):
    """Messages of one batch that are about the same resource: one can be decided when the other is stored."""


@dataclass(kw_only=True, slots=True, eq=False)
class Decided:
    """What is known of one message's resources, and what becomes of them."""

    persons: dict[str, int | None] = field(default_factory=dict[str, "int | None"])
    """Of Patients that earlier messages brought, by their id."""
    settled: set[str] = field(default_factory=set[str])
    """Patients (by the id they would have had) who are known already and tell nothing new."""
    strangers: dict[str, Subject] = field(default_factory=dict[str, Subject])
    """Persons of whom only the id of a Patient is known that has not come yet."""
    about: dict[int, int | None] = field(default_factory=dict[int, "int | None"])
    """Whom a draft (by its place) is about, where a reference that says what to look for told it."""
    left_out: set[int] = field(default_factory=set[int])
    """Drafts that are not written: known already, and brought along only."""
    institutions: dict[int, str] = field(default_factory=dict[int, str])
    expected: dict[int, int] = field(default_factory=dict[int, int])
    deletions: list[tuple[str, str, int | None, int | None, str]] = field(
        default_factory=list[tuple[str, str, "int | None", "int | None", str]]
    )
    existing: dict[int, tuple[str, str, int | None]] = field(
        default_factory=dict[int, "tuple[str, str, int | None]"]
    )
    """Acts (by their place) that found the resource which they would have created: type, id, version."""
    refusal: Refusal | None = None
    status: int = 200
    issues: Sequence[fhir.Issue] = ()


async def decide(connection: Connection, batch: Sequence[Prepared]) -> list[Decided]:
    """Return the decision for each message; two statements at most, whatever the batch.

    Raises:
        TogetherError: these messages cannot be decided together; one by one they can.
    """
    found = await _look_up(connection, batch)
    headers = await _headers(connection, batch, found)
    shared = _Shared(headers=headers, found=found)
    decided = [_Decision(prepared, shared).make() for prepared in batch]
    await _leave_newer(connection, batch, decided)
    return decided


async def recall(connection: Connection, prepared: Prepared) -> Decided:
    """Return where the resources of a request are that was carried out before, as it is repeated now."""
    found = await _look_up(connection, [prepared], lock=False)
    wanted = {(act.type, act.id): None for act in prepared.interactions}
    wanted |= {(kind, one): None for (kind, _), ids in found.items() for one in ids}
    headers = await records.read_headers(connection, requests=list(wanted))
    known = {(one.type, one.id): one for one in headers if one is not None and not one.deleted}
    decided = Decided()
    for number, act in enumerate(prepared.interactions):
        ids = [act.id, *(found.get((act.type, act.if_none_exist), ()) if act.if_none_exist else ())]
        header = next((one for id_ in ids if (one := known.get((act.type, id_)))), None)
        if header is not None:
            decided.existing[number] = (header.type, header.id, header.version)
    return decided


@dataclass(kw_only=True, slots=True, eq=False)
class _Shared:
    """What the messages of a batch are decided by, and what the earlier ones of them will have done."""

    headers: Mapping[tuple[str, str], records.ResourceHeader]
    found: Mapping[Criterion, Sequence[str]]
    fresh: dict[Criterion, str] = field(default_factory=dict[Criterion, str])
    """Ids of what earlier messages of the batch create, by the condition under which they do."""
    touched: dict[tuple[str, str], Prepared] = field(default_factory=dict[tuple[str, str], Prepared])
    written: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """What earlier messages of the batch write: who only brings it along writes nothing over it."""


class _Decision:
    def __init__(self, prepared: Prepared, shared: _Shared) -> None:
        self._prepared, self._shared = prepared, shared
        self._decided = Decided()
        self._fresh: dict[Criterion, str] = {}

    def make(self) -> Decided:
        prepared, decided = self._prepared, self._decided
        assert prepared.mapped is not None, "only what can be taken in is decided"
        _turn_back(prepared)
        try:
            for number, act in enumerate(prepared.interactions):
                self._act(number, act)
            self._point_at_existing()
            self._find_patients()
        except FhirRefusedError as error:
            decided.refusal = Refusal(code="AE", place=error.place, text=error.text)
            decided.status, decided.issues = error.status, error.issues
            return decided
        self._shared.fresh.update(self._fresh)
        self._shared.touched.update(
            {(act.type, act.id): prepared for act in prepared.interactions if act.method != "create"}
        )
        for number, draft in enumerate(prepared.mapped.drafts):
            key = (draft.type, draft.id)
            header = self._shared.headers.get(key)
            there = key in self._shared.written or (header is not None and not header.deleted)
            if there and f"{draft.type}/{draft.id}" in prepared.contexts:
                decided.left_out.add(number)
            else:
                self._shared.written.add(key)
        return decided

    def _act(self, number: int, act: Interaction) -> None:
        if act.method == "create":
            self._create(number, act)
            return
        header = self._shared.headers.get((act.type, act.id))
        self._keep_apart(act)
        if header is not None:
            self._require_own(header)
        if act.if_match is not None and (header is None or header.version != act.if_match):
            raise FhirRefusedError([_issue("fhir_version_differs", "If-Match", code="conflict")], status=412)
        there = header is not None and not header.deleted
        if act.method == "delete":
            if header is not None and there:
                self._decided.deletions.append(
                    (act.type, act.id, header.version, header.person, header.institution)
                )
            return
        if not there and not act.upsert:
            raise FhirRefusedError([_issue("fhir_not_there", act.type, code="not-found")], status=404)
        if header is not None and act.draft is not None:
            self._decided.institutions[act.draft] = header.institution
            if act.if_match is not None:
                self._decided.expected[act.draft] = header.version

    def _keep_apart(self, act: Interaction) -> None:
        """Of two messages about one resource, only plain updates of one sender are decided at once."""
        earlier = self._shared.touched.get((act.type, act.id))
        if earlier is None:
            return
        is_plain = act.method == "update" and act.if_match is None
        acts = (one for one in earlier.interactions if (one.type, one.id) == (act.type, act.id))
        if (
            not is_plain
            or earlier.sender != self._prepared.sender
            or any(one.method == "delete" for one in acts)
        ):
            raise TogetherError

    def _create(self, number: int, act: Interaction) -> None:
        if not act.if_none_exist:
            return
        criterion: Criterion = (act.type, act.if_none_exist)
        ids = self._shared.found.get(criterion, ())
        if len(ids) > 1:
            raise FhirRefusedError(
                [_issue("fhir_several", "If-None-Exist", code="multiple-matches")], status=412
            )
        if ids:
            header = self._shared.headers.get((act.type, ids[0]))
            if header is not None and act.type == "Patient":
                # What is not stored tells nothing of the person either.
                self._decided.settled.add(act.id)
                self._decided.persons[act.id] = header.person
            self._leave(number, act, ids[0], header.version if header else None)
        elif fresh := self._fresh.get(criterion) or self._shared.fresh.get(criterion):
            self._leave(number, act, fresh, 1)
        else:
            self._fresh[criterion] = act.id

    def _leave(self, number: int, act: Interaction, existing: str, version: int | None) -> None:
        self._decided.existing[number] = (act.type, existing, version)
        if act.draft is not None:
            self._decided.left_out.add(act.draft)

    def _require_own(self, header: records.ResourceHeader) -> None:
        principal = self._prepared.arrival.principal
        if header.institution == self._prepared.sender or (principal is not None and principal.region_wide):
            return
        raise FhirRefusedError([_issue("fhir_not_yours", header.type, code="forbidden")], status=403)

    def _point_at_existing(self) -> None:
        """Let references in this message lead to what was found in place of what would have been created."""
        prepared, decided = self._prepared, self._decided
        assert prepared.mapped is not None, "only what can be taken in is decided"
        moved = {
            f"{act.type}/{act.id}": f"{kind}/{identity}"
            for number, (kind, identity, _) in decided.existing.items()
            for act in (prepared.interactions[number],)
        }
        if not moved and not prepared.conditional:
            return
        for number, draft in enumerate(prepared.mapped.drafts):
            for holder, key in fhir.references(draft.resource):
                literal = holder[key]
                if literal in moved:
                    prepared.turned.append((holder, dict(holder)))
                    holder[key] = moved[literal]
                elif literal in prepared.conditional:
                    prepared.turned.append((holder, dict(holder)))
                    self._resolve(number, holder, key, prepared.conditional[literal])

    def _resolve(self, number: int, holder: dict[str, Any], key: str, criterion: Criterion) -> None:
        """A reference that says what to look for leads there.

        At a FHIR door it must find one; out of a file it stays as the business number it gave.
        """
        ids = self._shared.found.get(criterion, ())
        if len(ids) == 1:
            holder[key] = f"{criterion[0]}/{ids[0]}"
            return
        if self._prepared.request is not None:
            issue = _issue(
                "fhir_several" if ids else "fhir_nothing_found",
                "reference",
                code="multiple-matches" if ids else "not-found",
            )
            raise FhirRefusedError([issue], status=412)
        system, value = criterion[1][0]
        del holder[key]
        holder["type"] = criterion[0]
        holder["identifier"] = {"system": system, "value": value} if system else {"value": value}

    def _find_patients(self) -> None:
        """Find out whom drafts are about that do not bring their Patient along."""
        prepared, decided = self._prepared, self._decided
        assert prepared.mapped is not None, "only what can be taken in is decided"
        for number, draft in enumerate(prepared.mapped.drafts):
            patient = draft.patient
            if patient is None and prepared.conditional and (patient := patient_of(draft.resource)):
                header = self._shared.headers.get(("Patient", patient))
                if header is not None:
                    decided.about[number] = header.person
                continue
            if patient is None or patient in prepared.subjects or patient in decided.persons:
                continue
            header = self._shared.headers.get(("Patient", patient))
            if header is not None:
                decided.persons[patient] = header.person
            elif prepared.request is not None:
                place = _place_of(draft.resource, f"Patient/{patient}")
                raise FhirRefusedError([_issue("fhir_patient_unknown", place, code="not-found")])
            elif prepared.arrival.format is MessageFormat.FHIR:
                decided.strangers[patient] = stranger(patient, sender=prepared.sender)


def _turn_back(prepared: Prepared) -> None:
    """Undo what an earlier attempt did to references: the transaction was undone, and may end otherwise."""
    for holder, before in reversed(prepared.turned):
        holder.clear()
        holder.update(before)
    prepared.turned.clear()


def _place_of(resource: Mapping[str, Any], literal: str) -> str:
    kind = resource["resourceType"]
    for name, value in resource.items():
        if isinstance(value, dict) and value.get("reference") == literal:
            return f"{kind}.{name}"
    return kind


async def _look_up(
    connection: Connection, batch: Sequence[Prepared], *, lock: bool = True
) -> dict[Criterion, Sequence[str]]:
    wanted: dict[Criterion, None] = {}
    for prepared in batch:
        for act in prepared.interactions:
            if act.if_none_exist:
                wanted[(act.type, act.if_none_exist)] = None
        for criterion in prepared.conditional.values():
            wanted[criterion] = None
    if not wanted:
        return {}
    # By their values alone: one client may name the system of a number and another leave it out.
    creating = sorted(
        {
            f"{act.type}|{value}"
            for prepared in batch
            for act in prepared.interactions
            for _, value in act.if_none_exist
        }
    )
    if creating and lock:
        await records.lock_criteria(connection, criteria=creating)
    criteria = list(wanted)
    found = await records.find_by_identifiers(connection, criteria=criteria)
    return dict(zip(criteria, found, strict=True))


async def _headers(
    connection: Connection, batch: Sequence[Prepared], found: Mapping[Criterion, Sequence[str]]
) -> dict[tuple[str, str], records.ResourceHeader]:
    wanted: dict[tuple[str, str], None] = {}
    for prepared in batch:
        assert prepared.mapped is not None, "only what can be taken in is decided"
        for key in sorted(prepared.contexts):
            kind, _, identity = key.partition("/")
            wanted[(kind, identity)] = None
        for act in prepared.interactions:
            if act.method != "create":
                wanted[(act.type, act.id)] = None
        for draft in prepared.mapped.drafts:
            if draft.patient and draft.patient not in prepared.subjects:
                wanted[("Patient", draft.patient)] = None
    for kind, ids in ((criterion[0], ids) for criterion, ids in found.items()):
        wanted.update({(kind, identity): None for identity in ids})
    if not wanted:
        return {}
    requests = list(wanted)
    headers = await records.read_headers(connection, requests=requests)
    return {request: one for request, one in zip(requests, headers, strict=True) if one is not None}


async def _leave_newer(connection: Connection, batch: Sequence[Prepared], decided: Sequence[Decided]) -> None:
    """Let a replay, which comes late, write nothing over what later messages said."""
    for prepared, one in zip(batch, decided, strict=True):
        replays = prepared.arrival.replays
        if replays is None or prepared.mapped is None or one.refusal is not None:
            continue
        drafts = prepared.mapped.drafts
        requests = [(draft.type, draft.id) for draft in drafts]
        stored = await records.read_many(connection, requests=requests)
        for number, there in enumerate(stored):
            if there is not None and there.message is not None and there.message > replays:
                one.left_out.add(number)


def _issue(key: str, place: str, *, code: str) -> fhir.Issue:
    return fhir.Issue(severity=fhir.Severity.ERROR, code=code, expression=place, text=say[key])
