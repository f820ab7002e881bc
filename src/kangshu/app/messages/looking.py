"""Reads by id, many at once: who asks in the same moment shares one look-up and one commit of the audit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kangshu import records
from kangshu.consent import (
    AccessGrant,
    ConsentError,
    Purpose,
    ReadRequest,
    UnlinkedRead,
    Whereabouts,
    allow_unlinked,
    grant_reads,
)
from kangshu.kernel.clock import Clock
from kangshu.records import FhirAnswer, FhirLook
from kangshu.security.principals import Principal
from kangshu.storage.database import Connection, Database

_BATCH_MOST = 64
_BATCHES_AT_ONCE = 2  # one waits for the disk while the other is answered
_DOCUMENTS = "Binary"


@dataclass(slots=True, eq=False)
class _Waiting:
    look: FhirLook
    principal: Principal
    purpose: Purpose
    reason: str
    done: asyncio.Future[FhirAnswer] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def what(self) -> str:
        version = f"/_history/{self.look.version}" if self.look.version else ""
        return f"{self.look.type}/{self.look.id}{version}"

    def answer(self, answer: FhirAnswer | Exception) -> None:
        if self.done.done():  # the caller is gone
            return
        if isinstance(answer, Exception):
            self.done.set_exception(answer)
            self.done.exception()  # a caller who has gone is no defect to report
        else:
            self.done.set_result(answer)


_Sealed = records.SealedResource | records.SealedDocument


class ReadLane:
    """Answers reads of single resources; see `records.ReadFhir`."""

    def __init__(self, database: Database, *, clock: Clock, whereabouts: Whereabouts) -> None:
        self._database, self._clock, self._whereabouts = database, clock, whereabouts
        self._waiting: deque[_Waiting] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._working = 0

    async def __call__(
        self, look: FhirLook, *, principal: Principal, purpose: Purpose, reason: str = ""
    ) -> FhirAnswer:
        """Return the resource, authorised and on record."""
        waiting = _Waiting(look, principal, purpose, reason)
        self._waiting.append(waiting)
        if self._working < _BATCHES_AT_ONCE:
            self._working += 1
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)  # the loop itself holds tasks loosely
            worker.add_done_callback(self._workers.discard)
        return await asyncio.shield(waiting.done)

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH_MOST, len(self._waiting)))]
                await self._work_on(batch)
        finally:
            # In the same turn in which nobody was found waiting: who comes later finds this worker gone.
            self._working -= 1

    async def _work_on(self, batch: Sequence[_Waiting]) -> None:
        try:
            async with self._database.connection() as connection:
                await self._answer(connection, batch)
        except Exception as error:  # noqa: BLE001 - each caller is told, by its own door
            for waiting in batch:
                waiting.answer(error)

    async def _answer(self, connection: Connection, batch: Sequence[_Waiting]) -> None:
        now = self._clock.now()
        found = list(zip(batch, await _read(connection, batch), strict=True))
        grants = await self._grants(connection, found, now)
        for waiting, sealed in found:
            granted = grants.get(id(waiting))
            if sealed is None:
                waiting.answer(FhirAnswer(status=404, body=b""))
            elif isinstance(granted, ConsentError):
                waiting.answer(granted)
            else:
                waiting.answer(_opened(sealed, granted, now))

    async def _grants(
        self, connection: Connection, found: Sequence[tuple[_Waiting, _Sealed | None]], now: datetime
    ) -> dict[int, AccessGrant | ConsentError | None]:
        """Return the grant for each read, by its identity, or why there is none; both are on record."""
        linked: list[_Waiting] = []
        unlinked: list[_Waiting] = []
        requests: list[ReadRequest] = []
        others: list[UnlinkedRead] = []
        for waiting, sealed in found:
            if sealed is None:
                continue
            if sealed.person is not None:
                linked.append(waiting)
                requests.append(
                    ReadRequest(
                        principal=waiting.principal,
                        person=sealed.person,
                        purpose=waiting.purpose,
                        reason=waiting.reason,
                        known_institutions=frozenset({sealed.institution}),
                        what=waiting.what,
                    )
                )
            elif records.may_concern_persons(type=waiting.look.type):
                unlinked.append(waiting)
                others.append(
                    UnlinkedRead(
                        principal=waiting.principal,
                        institution=sealed.institution,
                        purpose=waiting.purpose,
                        reason=waiting.reason,
                        what=waiting.what,
                    )
                )
        grants = await grant_reads(connection, requests=requests, now=now, whereabouts=self._whereabouts)
        allowed = await allow_unlinked(connection, requests=others, now=now)
        return {
            **{id(waiting): one for waiting, one in zip(linked, grants, strict=True)},
            **{id(waiting): one for waiting, one in zip(unlinked, allowed, strict=True)},
        }


def _opened(sealed: _Sealed, grant: AccessGrant | None, now: datetime) -> FhirAnswer | Exception:
    if isinstance(sealed, records.SealedDocument):
        return FhirAnswer(
            status=200,
            body=sealed.open(grant=grant, now=now),
            type=_DOCUMENTS,
            id=sealed.id,
            version=sealed.version,
            updated_at=sealed.stored_at,
            media_type=sealed.media_type,
        )
    if sealed.deleted:
        return FhirAnswer(status=410, body=b"", type=sealed.type, id=sealed.id, version=sealed.version)
    try:
        body = sealed.open(grant=grant, now=now)
    except records.ContentDamagedError as error:  # the others of the batch are whole
        return error
    return FhirAnswer(
        status=200,
        body=body,
        type=sealed.type,
        id=sealed.id,
        version=sealed.version,
        updated_at=sealed.updated_at,
    )


async def _read(connection: Connection, batch: Sequence[_Waiting]) -> list[_Sealed | None]:
    """Return present versions in one look-up; documents and earlier versions, which few ask for, singly."""
    present = dict.fromkeys((one.look.type, one.look.id) for one in batch if one.look.version is None)
    wanted = list(present)
    found = dict(zip(wanted, await records.read_many(connection, requests=wanted), strict=True))
    sealed: list[_Sealed | None] = []
    for waiting in batch:
        look = waiting.look
        if look.type == _DOCUMENTS:
            document = await _document(connection, look)
            sealed.append(document or found.get((look.type, look.id)))
        elif look.version is None:
            sealed.append(found[(look.type, look.id)])
        else:
            sealed.append(await _version(connection, look))
    return sealed


async def _document(connection: Connection, look: FhirLook) -> records.SealedDocument | None:
    try:
        return await records.read_document(connection, id=look.id, version=look.version)
    except records.DocumentUnknownError:
        return None


async def _version(connection: Connection, look: FhirLook) -> records.SealedResource | None:
    assert look.version is not None, "asked for"
    try:
        return await records.read_version(connection, type=look.type, id=look.id, version=look.version)
    except records.ResourceUnknownError:
        return None
