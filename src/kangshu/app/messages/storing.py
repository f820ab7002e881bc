"""Store a batch of messages in one transaction: who they are about, what they say, that they came.

The steps stand in `_Batch.store`, one call each, in their order; every step takes the whole batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from kangshu import directory, identity, lake, records
from kangshu.app.errors import say
from kangshu.app.messages.deciding import Decided, decide
from kangshu.app.messages.model import Outcome, Prepared, Refusal
from kangshu.app.messages.tools import Tools
from kangshu.audit import AuditEntry, record
from kangshu.intake.messages import (
    Known,
    MessageKey,
    MessageNotFoundError,
    MessageRaceError,
    MessageResult,
    MessageSettledError,
    MessageState,
    NewMessage,
    find_known,
    finish_replay,
    note_repeats,
    record_messages,
)
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.mapping import Draft, Subject, mother_told_by
from kangshu.mapping.rows import DatasetRow
from kangshu.storage.database import Connection, Database
from kangshu.storage.errors import DatabaseUnavailableError, StorageFullError

log = structlog.get_logger(__name__)

_TRIES = 8
_FIRST_PAUSE_SECONDS = 0.005
_KNOWN_SENDERS_MOST = 10_000  # arbitrary: anybody may call himself anything
_DUPLICATE_KEY = "205"  # of table 0357
_PASSING = frozenset({Kind.UNAVAILABLE, Kind.BUSY, Kind.INTERRUPTED})
"""Failures that are no message's fault: it is not refused for them but sent again."""


async def store_batch(
    database: Database, tools: Tools, batch: Sequence[Prepared], *, known_senders: set[str]
) -> list[Outcome]:
    """Store `batch` and return what became of each, in order; committed when this returns.

    A message that makes the transaction fail is refused alone: the others are stored without it.
    `known_senders` are institutions known to be in the directory; it grows.

    Raises:
        DatabaseUnavailableError: nothing was stored, or nobody knows; the senders must repeat.
        StorageFullError: nothing was stored.
        KangshuError: of the kinds unavailable, busy, interrupted: what is not stored must be repeated.
        MessageSettledError: the kept message that this is a further attempt at is not refused any more.
    """
    parts = list(_up_to_merges(batch))
    if len(parts) > 1:
        return [
            outcome
            for part in parts
            for outcome in await store_batch(database, tools, part, known_senders=known_senders)
        ]
    try:
        return await _store(database, tools, batch, known_senders)
    except (DatabaseUnavailableError, StorageFullError, MessageSettledError, MessageNotFoundError):
        raise
    except Exception as error:
        if len(batch) == 1:
            if isinstance(error, KangshuError) and error.kind in _PASSING:
                raise
            log.error("message could not be stored", type=batch[0].type, error=type(error).__name__)
            if batch[0].refusal is not None:
                raise
            text = error.text if isinstance(error, KangshuError) else say["message_fault"]
            place = error.place if isinstance(error, KangshuError) else None
            batch[0].refusal = Refusal(code="AE", place=place, text=text)
            batch[0].mapped = None
            return await _store(database, tools, batch, known_senders)
    found: list[Outcome] = []
    for prepared in batch:
        found += await store_batch(database, tools, [prepared], known_senders=known_senders)
    return found


def _up_to_merges(batch: Sequence[Prepared]) -> Iterator[Sequence[Prepared]]:
    """Yield the batch in parts that end with a merge: whom a later message is about, the merge may decide."""
    start = 0
    for place, prepared in enumerate(batch, 1):
        if place == len(batch) or (prepared.mapped is not None and prepared.mapped.merges):
            yield batch[start:place]
            start = place


async def _store(
    database: Database, tools: Tools, batch: Sequence[Prepared], known_senders: set[str]
) -> list[Outcome]:
    registered: set[str] = set()

    async def work(connection: Connection) -> list[Outcome]:
        registered.clear()
        return await _Batch(tools, batch, known_senders, registered).store(connection)

    for attempt in range(_TRIES):
        try:
            outcomes = await database.run(work)
            if len(known_senders) > _KNOWN_SENDERS_MOST:
                known_senders.clear()
            known_senders |= registered
            return outcomes
        except (MessageRaceError, records.VersionConflictError):
            if attempt == _TRIES - 1:
                raise
            await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
    raise AssertionError("the last try returns or raises")


@dataclass(kw_only=True, slots=True, eq=False)
class _Item:
    """One message of the batch on its way through the transaction."""

    prepared: Prepared
    state: MessageState = MessageState.ACCEPTED
    message: int | None = None
    same_as: int | None = None
    """The place in the batch of the equal message before this one."""
    decided: Decided | None = None
    persons: dict[str, int | None] = field(default_factory=dict[str, "int | None"])
    named: dict[int, int | None] = field(default_factory=dict[int, "int | None"])
    stored: Sequence[records.Stored] = ()
    merged: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    refusal: Refusal | None = None
    """Why what is stored does not let it in; that may be another answer at the next attempt."""


class _Batch:
    def __init__(
        self, tools: Tools, batch: Sequence[Prepared], known_senders: set[str], registered: set[str]
    ) -> None:
        self._tools = tools
        self._items = [_Item(prepared=prepared) for prepared in batch]
        self._known_senders, self._registered = known_senders, registered
        self._now = tools.clock.now()

    async def store(self, connection: Connection) -> list[Outcome]:
        await self._register_senders(connection)
        await self._find_repeats(connection)
        await self._decide(connection)
        await self._link(connection)
        await self._record(connection)
        await self._store_resources(connection)
        await self._stage_rows(connection)
        await self._merge(connection)
        await self._audit(connection)
        return [self._outcome(item) for item in self._items]

    def _accepted(self) -> Iterator[_Item]:
        return (item for item in self._items if item.state is MessageState.ACCEPTED)

    async def _register_senders(self, connection: Connection) -> None:
        for code in sorted({item.prepared.sender for item in self._items} - self._known_senders - {""}):
            await directory.ensure_provisional(connection, code=code, now=self._now)
            self._registered.add(code)  # known to the next batch when that is committed

    async def _find_repeats(self, connection: Connection) -> None:
        keyed = [item for item in self._items if not item.prepared.repeatable]
        first: dict[MessageKey, int] = {}
        claimed: dict[tuple[str, str, str], bytes] = {}
        places = {id(item): place for place, item in enumerate(self._items)}
        keys = [_key(item.prepared) for item in keyed]
        known = await find_known(connection, keys=keys) if keys else []
        for item, key, before in zip(keyed, keys, known, strict=True):
            if item.prepared.refusal is not None:
                item.state = MessageState.REFUSED
            if before is not None and item.prepared.arrival.replays is None:
                self._meet_known(item, before)
            if item.message is not None:
                continue
            if (earlier := first.get(key)) is not None:
                item.same_as, item.state = earlier, MessageState.DUPLICATE
            elif item.state is MessageState.ACCEPTED:
                control = (key.sender, key.application, key.control_id or "")
                if key.control_id and claimed.setdefault(control, key.digest) != key.digest:
                    item.state = MessageState.CONFLICT
                else:
                    first[key] = places[id(item)]
        for item in self._items:
            if item.prepared.refusal is not None and item.state is MessageState.ACCEPTED:
                item.state = MessageState.REFUSED

    def _meet_known(self, item: _Item, before: Known) -> None:
        if before.state is MessageState.ACCEPTED and before.same_content:
            item.state, item.message = MessageState.DUPLICATE, before.message
        elif before.state is MessageState.ACCEPTED and item.state is MessageState.ACCEPTED:
            item.state = MessageState.CONFLICT

    async def _decide(self, connection: Connection) -> None:
        items = list(self._accepted())
        decided = await decide(connection, [item.prepared for item in items])
        for item, one in zip(items, decided, strict=True):
            item.decided = one
            if one.refusal is not None:
                item.refusal, item.state = one.refusal, MessageState.REFUSED
        for item in self._items:
            if item.same_as is not None and (first := self._items[item.same_as]).refusal is not None:
                item.state, item.refusal, item.decided = first.state, first.refusal, first.decided

    async def _link(self, connection: Connection) -> None:
        claims: list[Subject] = []
        takers: list[tuple[_Item, str | int]] = []
        for item in self._accepted():
            assert item.decided is not None, "accepted"
            for patient, subject in (*item.prepared.subjects.items(), *item.decided.strangers.items()):
                if patient not in item.decided.settled:
                    claims.append(subject)
                    takers.append((item, patient))
            for number, subject in item.prepared.named.items():
                if number not in item.decided.about:
                    claims.append(subject)
                    takers.append((item, number))
        if not claims:
            return
        linked = await identity.link_claims(
            connection,
            keys=self._tools.keys,
            claims=claims,
            now=self._now,
            origin=None,
            actor="message-lane",
            random=self._tools.random,
            model=self._tools.linkage,
        )
        for (item, taker), person in zip(takers, linked, strict=True):
            if isinstance(taker, str):
                item.persons[taker] = person
            else:
                item.named[taker] = person
        if mothers := [one for item in self._accepted() for one in self._mothers(item)]:
            await identity.note_mothers(
                connection, keys=self._tools.keys, mothers=mothers, now=self._now, random=self._tools.random
            )

    def _mothers(self, item: _Item) -> Iterator[identity.ToldMother]:
        prepared = item.prepared
        for draft in prepared.mapped.drafts if prepared.mapped else ():
            if draft.type not in ("Patient", "RelatedPerson"):
                continue
            told = mother_told_by(draft.resource, sender=prepared.sender, authorities=self._tools.authorities)
            child = item.persons.get(draft.patient or "")
            if told is not None and child is not None:
                yield identity.ToldMother(
                    child=child,
                    institution=prepared.sender,
                    identifiers=told.identifiers,
                    name=told.name,
                )

    async def _record(self, connection: Connection) -> None:
        new = [
            item for item in self._items if item.message is None and item.state is not MessageState.DUPLICATE
        ]
        replays = [item for item in new if item.prepared.arrival.replays is not None]
        fresh = [item for item in new if item.prepared.arrival.replays is None]
        if fresh:
            ids = await record_messages(connection, messages=[self._entry(item) for item in fresh])
            for item, message in zip(fresh, ids, strict=True):
                item.message = message
        for item in replays:
            entry = self._entry(item)
            item.message = item.prepared.arrival.replays
            assert item.message is not None, "chosen by it"
            await finish_replay(connection, message=item.message, outcome=entry, now=self._now)
        repeats = [item for item in self._items if item.state is MessageState.DUPLICATE]
        for item in repeats:
            if item.message is None and item.same_as is not None:
                item.message = self._items[item.same_as].message
        if counted := [item.message for item in repeats if item.message is not None]:
            await note_repeats(connection, messages=counted, now=self._now)

    def _entry(self, item: _Item) -> NewMessage:
        prepared, arrival = item.prepared, item.prepared.arrival
        refusal = self._refusal(item)
        return NewMessage(
            sender=prepared.sender,
            control_id=prepared.control_id,
            application=prepared.application,
            digest=prepared.digest if not prepared.repeatable else self._tools.random(len(prepared.digest)),
            format=arrival.format,
            type=prepared.type,
            version=prepared.version,
            channel=arrival.channel,
            received_at=arrival.received_at,
            received_by=arrival.received_by,
            peer=arrival.peer,
            state=item.state,
            place=refusal.place if refusal else None,
            reason=refusal.text if refusal else None,
            persons=tuple(sorted({one for one in self._persons(item) if one is not None})),
            resources=len(prepared.mapped.drafts) if prepared.mapped and not refusal else 0,
            body=arrival.body,
        )

    def _refusal(self, item: _Item) -> Refusal | None:
        if item.state is MessageState.CONFLICT:
            place = _control_place(item.prepared)
            return Refusal(code="AE", place=place, text=say["message_conflict"], error_code=_DUPLICATE_KEY)
        return (item.refusal or item.prepared.refusal) if item.state is MessageState.REFUSED else None

    def _persons(self, item: _Item) -> Iterator[int | None]:
        yield from item.persons.values()
        yield from item.named.values()
        if item.decided:
            yield from item.decided.persons.values()
            yield from item.decided.about.values()

    def _person_of(self, item: _Item, number: int, draft: Draft) -> int | None:
        if item.decided and number in item.decided.about:
            return item.decided.about[number]
        if number in item.named:
            return item.named[number]
        if draft.patient is None:
            return None
        if draft.patient in item.persons:
            return item.persons[draft.patient]
        return item.decided.persons.get(draft.patient) if item.decided else None

    async def _store_resources(self, connection: Connection) -> None:
        writes: list[records.Write] = []
        shares: list[tuple[_Item, int]] = []
        documents: list[records.Document] = []
        for item in self._accepted():
            made = list(self._writes(item))
            writes += made
            shares.append((item, len(made)))
            documents += self._documents(item)
        stored = await records.store(connection, writes=writes, now=self._now) if writes else []
        at = 0
        for item, count in shares:
            item.stored = stored[at : at + count]
            at += count
        if documents:
            await records.store_documents(connection, documents=documents, now=self._now)
        if replacements := [one for item, _ in shares for one in self._replacements(item)]:
            await records.supersede(connection, replacements=replacements, now=self._now)

    def _writes(self, item: _Item) -> Iterator[records.Write]:
        prepared, decided = item.prepared, item.decided
        assert prepared.mapped is not None, "accepted"
        assert decided is not None, "accepted"
        for number, draft in enumerate(prepared.mapped.drafts):
            if number in decided.left_out:
                continue
            yield records.Write(
                type=draft.type,
                id=draft.id,
                resource=draft.resource,
                person=self._person_of(item, number, draft),
                institution=decided.institutions.get(number, prepared.sender),
                message=item.message,
                expected_version=decided.expected.get(number),
            )
        for kind, identity_, expected, person, institution in decided.deletions:
            yield records.Write(
                type=kind,
                id=identity_,
                resource={},
                person=person,
                institution=institution,
                message=item.message,
                action="delete",
                expected_version=expected,
            )

    def _replacements(self, item: _Item) -> Iterator[records.Replacement]:
        if item.prepared.mapped is None or item.message is None:
            return
        for draft in item.prepared.mapped.drafts:
            if draft.type == "DocumentReference":
                found = records.replacement_of(
                    draft.resource,
                    message=item.message,
                    institution=item.prepared.sender,
                    persons=[one for one in self._persons(item) if one is not None],
                )
                if found:
                    yield found

    def _documents(self, item: _Item) -> Iterator[records.Document]:
        for identity_, body in item.prepared.documents:
            yield records.Document(
                id=identity_,
                content=body,
                media_type="text/xml",
                person=next((one for one in item.persons.values() if one is not None), None),
                institution=item.prepared.sender,
                message=item.message,
            )

    async def _stage_rows(self, connection: Connection) -> None:
        alone = [item for item in self._accepted() if item.prepared.request is not None]
        context = await self._context(connection, alone)
        staged = [row for item in self._accepted() for row in self._rows_of(item, context)]
        if staged:
            await lake.stage_rows(connection, rows=staged)

    async def _context(
        self, connection: Connection, items: Sequence[_Item]
    ) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the Patients and visits to which resources that came alone refer: rows tell of both."""
        wanted: dict[tuple[str, str], None] = {}
        for item in items:
            for draft in item.prepared.mapped.drafts if item.prepared.mapped else ():
                if draft.patient and draft.patient not in item.prepared.subjects:
                    wanted[("Patient", draft.patient)] = None
                visit = draft.resource.get("encounter")
                literal = str(visit.get("reference", "")) if isinstance(visit, dict) else ""
                if literal.startswith("Encounter/"):
                    wanted[("Encounter", literal.removeprefix("Encounter/"))] = None
        return await records.read_context(connection, requests=list(wanted)) if wanted else {}

    def _rows_of(
        self, item: _Item, context: dict[tuple[str, str], dict[str, Any]]
    ) -> Iterator[lake.StagedRow]:
        prepared, decided = item.prepared, item.decided
        assert prepared.mapped is not None, "accepted"
        assert item.message is not None, "recorded"
        drafts = prepared.mapped.drafts
        rows: Sequence[DatasetRow] = prepared.rows
        if prepared.request is not None and drafts:
            known = [one for key, one in context.items() if key[1] not in prepared.subjects]
            rows = self._tools.rows.to_rows(
                [draft.resource for draft in drafts],
                institution=prepared.sender,
                context=known,
                notes=prepared.row_notes,
            )
        people = {
            f"{draft.type}/{draft.id}": self._person_of(item, number, draft)
            for number, draft in enumerate(drafts)
        }
        left = decided.left_out if decided else set[int]()
        silent = prepared.contexts | {f"{drafts[one].type}/{drafts[one].id}" for one in left}
        for row in rows:
            if row.key not in silent:
                yield self._staged(item, row, people.get(row.key))
        for kind, identity_, _, person, _ in decided.deletions if decided else ():
            for row in self._tools.rows.to_withdrawals(resource_type=kind, resource_id=identity_):
                yield self._staged(item, row, person)

    def _staged(self, item: _Item, row: DatasetRow, person: int | None) -> lake.StagedRow:
        assert item.message is not None, "recorded"
        return lake.StagedRow(
            dataset=row.dataset,
            institution=item.prepared.sender,
            person=person,
            at=row.at,
            values=row.values,
            key=row.key,
            message=item.message,
        )

    async def _merge(self, connection: Connection) -> None:
        for item in self._accepted():
            mapped = item.prepared.mapped
            for merge in mapped.merges if mapped else ():
                survivor, absorbed = await identity.link_claims(
                    connection,
                    keys=self._tools.keys,
                    claims=[merge.survivor, merge.absorbed],
                    now=self._now,
                    origin=None,
                    actor="message-lane",
                    random=self._tools.random,
                )
                if survivor is None or absorbed is None or survivor == absorbed:
                    continue
                if await identity.merge_persons(
                    connection,
                    survivor=survivor,
                    absorbed=absorbed,
                    actor=item.prepared.sender,
                    reason=f"message/{item.message}",
                    now=self._now,
                ):
                    item.merged.append((survivor, absorbed))

    async def _audit(self, connection: Connection) -> None:
        entries = [self._trace(item) for item in self._items]
        entries += [self._trace_merge(item, *merged) for item in self._accepted() for merged in item.merged]
        await record(connection, entries=entries)

    def _trace_merge(self, item: _Item, survivor: int, absorbed: int) -> AuditEntry:
        return AuditEntry(
            at=self._now,
            actor=item.prepared.arrival.received_by,
            actor_name=item.prepared.arrival.received_by,
            action="person.merge",
            person=survivor,
            resource=f"person/{absorbed}",
            institution=item.prepared.sender or None,
            detail={"message": item.message},
        )

    def _trace(self, item: _Item) -> AuditEntry:
        arrival, prepared = item.prepared.arrival, item.prepared
        person = next((one for one in self._persons(item) if one is not None), None)
        return AuditEntry(
            at=self._now,
            actor=arrival.received_by,
            actor_name=arrival.received_by,
            action="message.replay" if arrival.replays else "message.take",
            person=person,
            resource=f"message/{item.message}" if item.message is not None else None,
            institution=prepared.sender or None,
            outcome="done" if item.state in (MessageState.ACCEPTED, MessageState.DUPLICATE) else "refused",
            detail={
                "channel": arrival.channel,
                "type": prepared.type,
                "state": item.state.value,
                "resources": len(item.stored),
            },
        )

    def _outcome(self, item: _Item) -> Outcome:
        refusal = self._refusal(item)
        result = MessageResult(
            message=item.message,
            state=item.state,
            place=refusal.place if refusal else None,
            reason=refusal.text if refusal else None,
            notes=(*item.prepared.notes, *item.prepared.row_notes),
            answer=b"",
            resources=tuple(f"{one.type}/{one.id}" for one in item.stored),
        )
        outcome = Outcome(result=result)
        outcome.extra = {
            "refusal": refusal,
            "stored": item.stored,
            "decided": item.decided,
            "persons": [one for one in self._persons(item) if one is not None],
        }
        return outcome


def _key(prepared: Prepared) -> MessageKey:
    return MessageKey(
        sender=prepared.sender,
        control_id=prepared.control_id,
        digest=prepared.digest,
        application=prepared.application,
    )


def _control_place(prepared: Prepared) -> str:
    return "MSH-10" if prepared.hl7 is not None else "X-Request-Id"


__all__ = ["store_batch"]
