"""The group commit: what arrives while a transaction is under way becomes the next one.

Messages are read as they arrive and stored in the order in which they came. A sender hears of a message
when its transaction is committed, never before.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kangshu import mapping
from kangshu.app.errors import say
from kangshu.app.messages.answering import answer_fhir, answer_message
from kangshu.app.messages.deciding import recall
from kangshu.app.messages.ids import id_maker
from kangshu.app.messages.model import Arrival, Outcome, Prepared, Refusal
from kangshu.app.messages.querying import answer_query, is_query
from kangshu.app.messages.reading import format_of, read
from kangshu.app.messages.room import Room
from kangshu.app.messages.storing import store_batch
from kangshu.app.messages.tools import Tools
from kangshu.declarations import BASE_PACK, Pack
from kangshu.identity import LinkageModel
from kangshu.intake.messages import MessageFormat, MessageResult, MessageState
from kangshu.kernel.clock import Clock
from kangshu.mapping.cda import load_cda
from kangshu.mapping.hl7v2 import load_hl7v2
from kangshu.mapping.rows import RowMapper
from kangshu.records import FhirAnswer, FhirRequest
from kangshu.security.keys import Keys
from kangshu.security.principals import Principal
from kangshu.storage.database import Database
from kangshu.storage.errors import DatabaseUnavailableError, StorageFullError

_BATCH_MOST = 64
_BATCH_BYTES = 1 << 20  # arbitrary: what is in a transaction with a large message waits for it
_ROOM_MESSAGES, _ROOM_BYTES = 2000, 4 << 20
"""What is in the lane at most; who brings more waits until there is room (back-pressure).

A message of many small parts needs about a hundred times its bytes until it is stored.
"""


@dataclass(slots=True, eq=False)
class _Waiting:
    prepared: Prepared
    size: int
    done: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def open_tools(
    *,
    pack: Pack,
    folder: Path | None,
    keys: Keys,
    clock: Clock,
    linkage: LinkageModel,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Tools:
    """Return what the lane works with; the mappings declared in the pack's folder are compiled here.

    A pack that declares no mapping of a kind takes the built-in one.

    Raises:
        DeclarationError: a mapping is declared wrongly.
    """
    authorities = mapping.load_authorities(_part(folder, "authorities.toml"))
    return Tools(
        pack=pack,
        keys=keys,
        clock=clock,
        random=random,
        linkage=linkage,
        make_id=id_maker(keys),
        authorities=authorities,
        hl7v2=load_hl7v2(_part(folder, "hl7v2"), authorities=authorities),
        cda=load_cda(_part(folder, "cda"), authorities=authorities),
        rows=RowMapper(pack, authorities),
    )


def _part(folder: Path | None, name: str) -> Path:
    own = folder / name if folder else None
    return own if own is not None and own.exists() else BASE_PACK / name


class MessageLane:
    """Takes messages from all doors of one process and stores them, in order, many in one transaction."""

    def __init__(self, database: Database, tools: Tools, *, may_query: Callable[[Arrival], bool]) -> None:
        self._database, self._tools = database, tools
        self._may_query = may_query
        self._waiting: deque[_Waiting] = deque()
        self._room = Room(messages=_ROOM_MESSAGES, size=_ROOM_BYTES)
        self._worker: asyncio.Task[None] | None = None
        self._known_senders: set[str] = set()

    @property
    def tools(self) -> Tools:
        return self._tools

    async def take(
        self,
        *,
        body: bytes,
        format: MessageFormat | None,  # noqa: A002 - the protocol's word
        channel: str,
        principal: Principal | None,
        sender: str | None = None,
        peer: str = "",
    ) -> MessageResult:
        """Take one message in and return what became of it, with the acknowledgement; see `TakeMessage`.

        Raises:
            DatabaseUnavailableError: it was not stored, or nobody knows: no acknowledgement may be sent.
            KangshuError: of the kinds unavailable, busy, interrupted; it was not stored: as above.
        """
        arrival = Arrival(
            body=body,
            format=format or format_of(body) or MessageFormat.HL7V2,
            channel=channel,
            received_at=self._tools.clock.now(),
            received_by=principal.id if principal else f"{channel}:{peer}".rstrip(":"),
            sender=sender,
            principal=principal,
            peer=peer,
        )
        prepared = await self._admit(arrival)
        if is_query(prepared) and prepared.refusal is None:
            try:
                allowed = self._may_query(arrival)
                return await answer_query(self._database, self._tools, prepared, allowed=allowed)
            finally:
                self._room.leave(len(body))
        return answer_message(prepared, await self._store(prepared), clock=self._tools.clock)

    async def write_fhir(self, request: FhirRequest, *, principal: Principal) -> FhirAnswer:
        """Carry out what a FHIR client asks to be written; see `take` for what it raises."""
        sender = min(principal.institutions, default="") or "CENTRE"
        arrival = Arrival(
            body=request.body,
            format=MessageFormat.FHIR,
            channel="fhir",
            received_at=self._tools.clock.now(),
            received_by=principal.id,
            sender=sender,
            principal=principal,
        )
        prepared = await self._admit(arrival, request)
        outcome = await self._store(prepared)
        if outcome.result.state is MessageState.DUPLICATE:
            async with self._database.connection() as connection:
                outcome.extra = {**outcome.extra, "decided": await recall(connection, prepared)}
        return answer_fhir(prepared, outcome)

    def read_many(self, arrivals: Sequence[Arrival]) -> list[Prepared]:
        """Read what came together out of a file; it can be done in a thread."""
        found = [read(arrival, self._tools) for arrival in arrivals]
        for prepared in found:
            if is_query(prepared) and prepared.refusal is None:
                # Nobody waits for the answer.
                prepared.refusal = Refusal(code="AR", place="MSH-9", text=say["query_in_file"])
        return found

    async def store_many(self, prepared: Sequence[Prepared]) -> list[Outcome]:
        """Store what came together in one transaction, beside what the doors bring."""
        return await store_batch(self._database, self._tools, prepared, known_senders=self._known_senders)

    async def _admit(self, arrival: Arrival, request: FhirRequest | None = None) -> Prepared:
        """Wait for room and read the message; who calls sees to it that it leaves the room again."""
        await self._room.enter(len(arrival.body))
        try:
            return read(arrival, self._tools, request=request)
        except BaseException:
            self._room.leave(len(arrival.body))
            raise

    async def _store(self, prepared: Prepared) -> Outcome:
        """Let a message wait for its transaction; it leaves the room after that, whoever still asks."""
        waiting = _Waiting(prepared, len(prepared.arrival.body))
        waiting.done.add_done_callback(lambda _: self._room.leave(waiting.size))
        self._waiting.append(waiting)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        # The caller may go (a connection that breaks); the message is stored all the same.
        return await asyncio.shield(waiting.done)

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._store_batch(self._next_batch())
        finally:
            self._worker = None

    def _next_batch(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        size = batch[0].size
        while self._waiting and len(batch) < _BATCH_MOST and size + self._waiting[0].size <= _BATCH_BYTES:
            size += self._waiting[0].size
            batch.append(self._waiting.popleft())
        return batch

    def _behind(self, batch: Sequence[_Waiting], error: Exception) -> list[_Waiting]:
        """Take what waits behind messages that were not stored out of the line, and return it.

        It will be sent again, after them: stored now, it would be overtaken by what came before it.
        """
        if isinstance(error, (DatabaseUnavailableError, StorageFullError)):
            self._room.turn_away(error)
            behind = list(self._waiting)
        else:
            senders = {waiting.prepared.sender for waiting in batch}
            behind = [waiting for waiting in self._waiting if waiting.prepared.sender in senders]
        gone = set(map(id, behind))
        self._waiting = deque(waiting for waiting in self._waiting if id(waiting) not in gone)
        return behind

    async def _store_batch(self, batch: Sequence[_Waiting]) -> None:
        try:
            outcomes = await store_batch(
                self._database,
                self._tools,
                [waiting.prepared for waiting in batch],
                known_senders=self._known_senders,
            )
        except Exception as error:  # noqa: BLE001 - each sender is told, by its own door
            for waiting in (*batch, *self._behind(batch, error)):
                if not waiting.done.done():
                    waiting.done.set_exception(error)
                    waiting.done.exception()  # a caller who has gone is no defect to report
            return
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if not waiting.done.done():
                waiting.done.set_result(outcome)
