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
from kangshu.app.messages.model import Interaction, Prepared, Refusal
from kangshu.app.messages.reading_fhir import FhirRefusedError
from kangshu.standards import fhir
from kangshu.storage.database import Connection

_Criterion = tuple[str, tuple[tuple[str | None, str], ...]]


@dataclass(kw_only=True, slots=True, eq=False)
class Decided:
    """What is known of one message's resources, and what becomes of them."""

    persons: dict[str, int | None] = field(default_factory=dict[str, "int | None"])
    """Of Patients that earlier messages brought, by their id."""
    left_out: set[int] = field(default_factory=set[int])
    """Drafts that are not written: known already, and brought along only."""
    institutions: dict[int, str] = field(default_factory=dict[int, str])
    expected: dict[int, int] = field(default_factory=dict[int, int])
    deletions: list[tuple[str, str, int | None, int | None, str]] = field(
        default_factory=list[tuple[str, str, "int | None", "int | None", str]]
    )
    existing: dict[int, tuple[str, str, int]] = field(default_factory=dict[int, tuple[str, str, int]])
    """Acts (by their place) that found the resource which they would have created: type, id, version."""
    before: dict[int, int] = field(default_factory=dict[int, int])
    """Acts (by their place) whose resource was there, with its version."""
    refusal: Refusal | None = None
    status: int = 200
    issues: Sequence[fhir.Issue] = ()


async def decide(connection: Connection, batch: Sequence[Prepared]) -> list[Decided]:
    """Return the decision for each message; two statements at most, whatever the batch."""
    found = await _look_up(connection, batch)
    headers = await _headers(connection, batch, found)
    fresh: dict[_Criterion, tuple[str, str]] = {}
    decided = [_Decision(prepared, headers, found, fresh).make() for prepared in batch]
    await _leave_newer(connection, batch, decided)
    return decided


class _Decision:
    def __init__(
        self,
        prepared: Prepared,
        headers: Mapping[tuple[str, str], Any],
        found: Mapping[_Criterion, Sequence[str]],
        fresh: dict[_Criterion, tuple[str, str]],
    ) -> None:
        self._prepared = prepared
        self._headers, self._found, self._fresh = headers, found, fresh
        self._decided = Decided()

    def make(self) -> Decided:
        prepared, decided = self._prepared, self._decided
        assert prepared.mapped is not None, "only what can be taken in is decided"
        try:
            for number, act in enumerate(prepared.interactions):
                self._act(number, act)
            self._point_at_existing()
        except FhirRefusedError as error:
            decided.refusal = Refusal(code="AE", place=error.place, text=error.text)
            decided.status, decided.issues = error.status, error.issues
            return decided
        for number, draft in enumerate(prepared.mapped.drafts):
            header = self._headers.get((draft.type, draft.id))
            if header is not None and f"{draft.type}/{draft.id}" in prepared.contexts and not header.deleted:
                decided.left_out.add(number)
            if draft.patient and draft.patient not in prepared.subjects:
                patient = self._headers.get(("Patient", draft.patient))
                decided.persons[draft.patient] = patient.person if patient else None
        return decided

    def _act(self, number: int, act: Interaction) -> None:
        header = self._headers.get((act.type, act.id))
        there = header is not None and not header.deleted
        if act.method == "create":
            self._create(number, act)
            return
        if header is not None:
            self._require_own(header)
        if act.if_match is not None and (header is None or header.version != act.if_match):
            raise FhirRefusedError([_issue("fhir_version_differs", "If-Match", code="conflict")], status=412)
        if act.method == "delete":
            if header is not None and there:
                self._decided.before[number] = header.version
                self._decided.deletions.append(
                    (act.type, act.id, header.version, header.person, header.institution)
                )
            return
        if not there and not act.upsert:
            raise FhirRefusedError(
                [_issue("fhir_not_there", f"{act.type}/{act.id}", code="not-found")], status=404
            )
        if header is not None and act.draft is not None:
            self._decided.before[number] = header.version
            self._decided.institutions[act.draft] = header.institution
            if act.if_match is not None:
                self._decided.expected[act.draft] = header.version

    def _create(self, number: int, act: Interaction) -> None:
        if not act.if_none_exist:
            return
        criterion: _Criterion = (act.type, act.if_none_exist)
        ids = self._found.get(criterion, ())
        if len(ids) > 1:
            raise FhirRefusedError(
                [_issue("fhir_several", "If-None-Exist", code="multiple-matches")], status=412
            )
        if ids:
            header = self._headers.get((act.type, ids[0]))
            version = header.version if header else 1
            self._leave(number, act, ids[0], version)
        elif criterion in self._fresh:
            self._leave(number, act, self._fresh[criterion][1], 1)
        else:
            self._fresh[criterion] = (act.type, act.id)

    def _leave(self, number: int, act: Interaction, existing: str, version: int) -> None:
        self._decided.existing[number] = (act.type, existing, version)
        if act.draft is not None:
            self._decided.left_out.add(act.draft)

    def _require_own(self, header: Any) -> None:
        principal = self._prepared.arrival.principal
        if header.institution == self._prepared.sender or (principal is not None and principal.region_wide):
            return
        raise FhirRefusedError([_issue("fhir_not_yours", f"{header.type}", code="forbidden")], status=403)

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
        for draft in prepared.mapped.drafts:
            for holder, key in fhir.references(draft.resource):
                literal = holder[key]
                if literal in moved:
                    holder[key] = moved[literal]
                elif isinstance(literal, str) and literal in prepared.conditional:
                    self._resolve(holder, key, prepared.conditional[literal])

    def _resolve(self, holder: dict[str, Any], key: str, criterion: _Criterion) -> None:
        """A reference that says what to look for leads there, or stays as the business number it gave."""
        ids = self._found.get(criterion, ())
        if len(ids) == 1:
            holder[key] = f"{criterion[0]}/{ids[0]}"
            return
        system, value = criterion[1][0]
        del holder[key]
        holder["type"] = criterion[0]
        holder["identifier"] = {"system": system, "value": value} if system else {"value": value}


async def _look_up(connection: Connection, batch: Sequence[Prepared]) -> dict[_Criterion, Sequence[str]]:
    wanted: dict[_Criterion, None] = {}
    for prepared in batch:
        for act in prepared.interactions:
            if act.if_none_exist:
                wanted[(act.type, act.if_none_exist)] = None
        for criterion in prepared.conditional.values():
            wanted[criterion] = None
    if not wanted:
        return {}
    creating = sorted(
        f"{act.type}|{act.if_none_exist}"
        for prepared in batch
        for act in prepared.interactions
        if act.if_none_exist
    )
    if creating:
        await records.lock_criteria(connection, criteria=creating)
    criteria = list(wanted)
    found = await records.find_by_identifiers(connection, criteria=criteria)
    return dict(zip(criteria, found, strict=True))


async def _headers(
    connection: Connection, batch: Sequence[Prepared], found: Mapping[_Criterion, Sequence[str]]
) -> dict[tuple[str, str], Any]:
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
