"""Store resources as versions, and documents as they were sent, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kangshu.records.content import digest_of, encode, pack
from kangshu.records.errors import VersionConflictError, say
from kangshu.records.model import Document, Outcome, Stored, Write
from kangshu.records.store import (
    NewVersion,
    list_document_versions,
    list_headers,
    put,
    put_documents,
    put_later,
    take_locks,
)
from kangshu.records.summary import EMPTY, NUMBERS, header_of
from kangshu.storage.database import Connection, Record

_NO_CONTENT = b""
_DOCUMENT_TRIES = 5


async def store(connection: Connection, *, writes: Sequence[Write], now: datetime) -> list[Stored]:
    """Store `writes` in the caller's transaction and return what became of each, in their order.

    Versions of a resource count from 1 without gap. The same content about the same person again is
    `unchanged` and makes none. Several writes of one resource take effect one after the other. Two
    transactions that store the same resources wait for each other.

    Raises:
        VersionConflictError: an `expected_version` is not the stored one, or what `must_be_new` is there;
            nothing of the call is stored, and the transaction can go on.
    """
    if not writes:
        return []
    moment = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as precise as FHIR shows it
    if any(one.expected_version is not None or one.must_be_new for one in writes):
        async with connection.transaction():
            return await _store(connection, writes, moment)
    return await _store(connection, writes, moment)


async def lock_criteria(connection: Connection, *, criteria: Iterable[str]) -> None:
    """Hold the right to create what these criteria describe, until the end of the transaction.

    Whoever looks up by identifiers and creates what is not there takes it before looking, with the same
    words for the same criterion; otherwise two of them create it twice.
    """
    await take_locks(connection, criteria=criteria)


async def store_documents(
    connection: Connection, *, documents: Sequence[Document], now: datetime
) -> list[int]:
    """Keep `documents` as they were sent and return the version under which each is kept.

    A document that is there already, to the byte, is not stored again. Another one under the same id
    becomes its next version.
    """
    digests = [digest_of(one.content) for one in documents]
    wanted = dict.fromkeys((one.id, digest) for one, digest in zip(documents, digests, strict=True))
    rows = {
        (one.id, digest): _document_row(one, digest) for one, digest in zip(documents, digests, strict=True)
    }
    known: dict[tuple[str, bytes], int] = {}
    for _ in range(_DOCUMENT_TRIES + len(wanted)):
        missing = [key for key in wanted if key not in known]
        if not missing:
            break
        # One version of an id at a time: each counts on from the one before.
        first = {id_: (id_, digest) for id_, digest in reversed(missing)}
        await put_documents(connection, [rows[first[id_]] for id_ in sorted(first)], now=now)
        known |= await list_document_versions(
            connection, ids=[id_ for id_, _ in missing], digests=[digest for _, digest in missing]
        )
    return [known[(one.id, digest)] for one, digest in zip(documents, digests, strict=True)]


def _document_row(document: Document, digest: bytes) -> tuple[object, ...]:
    return (
        document.id,
        document.person,
        document.institution,
        document.message,
        document.media_type,
        len(document.content),
        digest,
        pack(document.content),
    )


@dataclass(kw_only=True, slots=True)
class _Chain:
    """The writes of one resource: its versions, each unlike the one before, and who asked for each."""

    versions: list[NewVersion] = field(default_factory=list[NewVersion])
    askers: list[list[int]] = field(default_factory=list[list[int]])

    def add(self, place: int, version: NewVersion) -> None:
        last = self.versions[-1] if self.versions else None
        if last and version.deleted:
            version.person, version.institution = last.person, last.institution
        if last and last.digest == version.digest and last.person == version.person:
            self.askers[-1].append(place)
            return
        self.versions.append(version)
        self.askers.append([place])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Base:
    """What stands after the first version of a chain was stored, or found to change nothing."""

    version: int
    before: int | None
    was_there: bool
    updated_at: datetime
    changed: bool


async def _store(connection: Connection, writes: Sequence[Write], now: datetime) -> list[Stored]:
    chains: dict[tuple[str, str], _Chain] = {}
    for place, write in enumerate(writes):
        chains.setdefault((write.id, write.type), _Chain()).add(place, _version(write))
    results: dict[int, Stored] = {}
    while chains:
        bases = await _put_first(connection, chains, now)
        further = [chain.versions[1:] for key, chain in chains.items() if key in bases and chain.versions[1:]]
        if further:
            await put_later(connection, further, now=now)
        conflicts: list[int] = []
        for key, chain in chains.items():
            conflicts += _settle(writes, chain, bases.get(key), now, results)
        if conflicts:
            raise _conflict(writes, conflicts)
        # What began with the deletion of nothing has stored nothing yet.
        chains = {key: _rest(chain) for key, chain in chains.items() if key not in bases}
        chains = {key: chain for key, chain in chains.items() if chain.versions}
    return [results[place] for place in range(len(writes))]


async def _put_first(
    connection: Connection, chains: dict[tuple[str, str], _Chain], now: datetime
) -> dict[tuple[str, str], _Base]:
    firsts = [chains[key].versions[0] for key in sorted(chains)]
    changed = {(row["id"], row["type"]): row for row in await put(connection, firsts, now=now)}
    bases = {key: _changed(row, now) for key, row in changed.items()}
    unchanged = [(type_, id_) for id_, type_ in chains if (id_, type_) not in bases]
    if unchanged:
        for row in await list_headers(connection, requests=unchanged):
            bases[(row["id"], row["type"])] = _unchanged(row)
    return bases


def _changed(row: Record, now: datetime) -> _Base:
    return _Base(
        version=row["version"],
        before=row["before"],
        was_there=row["before"] is not None and not row["was_deleted"],
        updated_at=now,
        changed=True,
    )


def _unchanged(row: Record) -> _Base:
    return _Base(
        version=row["version"],
        before=row["version"],
        was_there=not row["deleted"],
        updated_at=row["updated_at"],
        changed=False,
    )


def _settle(
    writes: Sequence[Write], chain: _Chain, base: _Base | None, now: datetime, results: dict[int, Stored]
) -> list[int]:
    """Note what became of each write of a chain, and return those whose conditions did not hold."""
    conflicts: list[int] = []
    there = base.was_there if base else False
    version = (base.before or 0) if base else 0
    # A deletion of nothing stores nothing, and what follows it waits for its turn.
    steps = range(len(chain.versions)) if base else range(1)
    for step in steps:
        deleted = chain.versions[step].deleted
        for number, place in enumerate(chain.askers[step]):
            write = writes[place]
            wrong = write.expected_version is not None and (not there or write.expected_version != version)
            if wrong or (write.must_be_new and there):
                conflicts.append(place)
            changes = number == 0 and base is not None and (step > 0 or base.changed)
            outcome = _outcome(changes=changes, deleted=deleted, there=there)
            version += changes
            there = not deleted if base else False
            updated_at = now if base is None or changes or step > 0 or base.changed else base.updated_at
            results[place] = Stored(
                type=write.type, id=write.id, version=version, outcome=outcome, updated_at=updated_at
            )
    return conflicts


def _outcome(*, changes: bool, deleted: bool, there: bool) -> Outcome:
    if not changes:
        return Outcome.UNCHANGED
    if deleted:
        return Outcome.DELETED
    return Outcome.UPDATED if there else Outcome.CREATED


def _rest(chain: _Chain) -> _Chain:
    return _Chain(versions=chain.versions[1:], askers=chain.askers[1:])


def _conflict(writes: Sequence[Write], conflicts: Sequence[int]) -> VersionConflictError:
    first = writes[min(conflicts)]
    return VersionConflictError(
        say["version_conflict"], place=f"{first.type}/{first.id}", conflicts=sorted(conflicts)
    )


def _version(write: Write) -> NewVersion:
    if write.action == "delete":
        header, data, digest = EMPTY, _NO_CONTENT, _NO_CONTENT
    else:
        header = header_of(write.type, write.resource)
        data = encode(write.resource)
        digest = digest_of(data)
    return NewVersion(
        id=write.id,
        type=write.type,
        person=write.person,
        institution=write.institution,
        message=write.message,
        deleted=write.action == "delete",
        kind=None if header.kind is None else NUMBERS[header.kind],
        at=header.at,
        until=header.until,
        marks=header.marks,
        digest=digest,
        content=pack(data) if data else data,
        identifiers=header.identifiers,
    )
