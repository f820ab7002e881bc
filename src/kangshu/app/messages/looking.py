"""Reads by id, many at once: who asks in the same moment shares one look-up and one commit of the audit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from kangshu import records
from kangshu.consent import ConsentError, Purpose, ReadRequest, Whereabouts, grant_reads
from kangshu.kernel.clock import Clock
from kangshu.records import FhirAnswer, FhirLook
from kangshu.security.principals import Principal
from kangshu.storage.database import Connection, Database

_BATCH_MOST = 64
_BATCHES_AT_ONCE = 2  # one waits for the disk while the other is answered


@dataclass(slots=True, eq=False)
class _Waiting:
    look: FhirLook
    principal: Principal
    purpose: Purpose
    reason: str
    done: asyncio.Future[FhirAnswer] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class ReadLane:
    """Answers reads of single resources; see `records.ReadFhir`."""

    def __init__(self, database: Database, *, clock: Clock, whereabouts: Whereabouts) -> None:
        self._database, self._clock, self._whereabouts = database, clock, whereabouts
        self._waiting: deque[_Waiting] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    async def __call__(
        self, look: FhirLook, *, principal: Principal, purpose: Purpose, reason: str = ""
    ) -> FhirAnswer:
        """Return the resource, authorised and on record."""
        waiting = _Waiting(look, principal, purpose, reason)
        self._waiting.append(waiting)
        if len(self._workers) < _BATCHES_AT_ONCE:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return await asyncio.shield(waiting.done)

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH_MOST, len(self._waiting)))]
            try:
                async with self._database.connection() as connection:
                    await self._answer(connection, batch)
            except Exception as error:  # noqa: BLE001 - each caller is told, by its own door
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(error)
                        waiting.done.exception()  # a caller who has gone is no defect to report

    async def _answer(self, connection: Connection, batch: Sequence[_Waiting]) -> None:
        now = self._clock.now()
        found = await _read(connection, [one.look for one in batch])
        asked = [
            (waiting, sealed)
            for waiting, sealed in zip(batch, found, strict=True)
            if sealed is not None and sealed.person is not None
        ]
        requests = [
            ReadRequest(
                principal=waiting.principal,
                person=sealed.person,
                purpose=waiting.purpose,
                reason=waiting.reason,
                known_institutions=frozenset({sealed.institution}),
            )
            for waiting, sealed in asked
        ]
        grants = await grant_reads(connection, requests=requests, now=now, whereabouts=self._whereabouts)
        granted = {id(waiting): grant for (waiting, _), grant in zip(asked, grants, strict=True)}
        for waiting, sealed in zip(batch, found, strict=True):
            grant = granted.get(id(waiting))
            if isinstance(grant, ConsentError):
                waiting.done.set_exception(grant)
                waiting.done.exception()
            elif sealed is None:
                waiting.done.set_result(FhirAnswer(status=404, body=b""))
            elif sealed.deleted:
                waiting.done.set_result(
                    FhirAnswer(status=410, body=b"", type=sealed.type, id=sealed.id, version=sealed.version)
                )
            else:
                waiting.done.set_result(
                    FhirAnswer(
                        status=200,
                        body=sealed.open(grant=grant, now=now),
                        type=sealed.type,
                        id=sealed.id,
                        version=sealed.version,
                        updated_at=sealed.updated_at,
                    )
                )


async def _read(connection: Connection, looks: Sequence[FhirLook]) -> list[records.SealedResource | None]:
    """Return present versions in one look-up; earlier ones, which few ask for, one by one."""
    present = [(look.type, look.id) for look in looks if look.version is None]
    found = dict(zip(present, await records.read_many(connection, requests=present), strict=True))
    sealed: list[records.SealedResource | None] = []
    for look in looks:
        if look.version is None:
            sealed.append(found[(look.type, look.id)])
            continue
        try:
            version = await records.read_version(connection, type=look.type, id=look.id, version=look.version)
        except records.ResourceUnknownError:
            sealed.append(None)
        else:
            sealed.append(version)
    return sealed
