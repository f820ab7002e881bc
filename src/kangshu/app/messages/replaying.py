"""Try kept messages again after a fix: of a declaration, of the directory, of this program."""

from __future__ import annotations

from collections.abc import Sequence

from kangshu.app.messages.lane import MessageLane
from kangshu.app.messages.model import Arrival
from kangshu.intake.messages import MessageState, ReplayOutcome, StoredBody, open_for_replay
from kangshu.security.principals import Principal
from kangshu.storage.database import Database


class Replays:
    """Tries messages again; see `intake.messages.ReplayMessages`."""

    def __init__(self, database: Database, lane: MessageLane) -> None:
        self._database, self._lane = database, lane

    async def __call__(self, *, messages: Sequence[int], principal: Principal) -> ReplayOutcome:
        """Try these messages again, one after the other in the order in which they came."""
        now = self._lane.tools.clock.now()
        async with self._database.transaction() as connection:
            kept = await open_for_replay(connection, principal=principal, messages=messages, now=now)
        accepted = 0
        for stored in kept:
            (outcome,) = await self._lane.store_many(self._lane.read_many([_again(stored, principal)]))
            accepted += outcome.result.state in (MessageState.ACCEPTED, MessageState.DUPLICATE)
        return ReplayOutcome(
            accepted=accepted, refused=len(kept) - accepted, left=len(set(messages)) - len(kept)
        )


def _again(stored: StoredBody, principal: Principal) -> Arrival:
    message = stored.message
    return Arrival(
        body=stored.body,
        format=message.format,
        channel=message.channel,
        received_at=message.received_at,
        received_by=principal.id,
        sender=message.sender or None,
        peer=message.peer,
        replays=message.id,
    )
