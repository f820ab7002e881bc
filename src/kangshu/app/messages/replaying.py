"""Try kept messages again after a fix: of a declaration, of the directory, of this program."""

from __future__ import annotations

from collections.abc import Sequence

from kangshu.app.messages.lane import MessageLane
from kangshu.app.messages.model import Arrival
from kangshu.intake.messages import (
    MessageNotFoundError,
    MessageSettledError,
    MessageState,
    ReplayOutcome,
    StoredBody,
    open_for_replay,
)
from kangshu.security.principals import Principal
from kangshu.storage.database import Database


class Replays:
    """Tries messages again; see `intake.messages.ReplayMessages`."""

    def __init__(self, database: Database, lane: MessageLane) -> None:
        self._database, self._lane = database, lane

    async def __call__(self, *, messages: Sequence[int], principal: Principal) -> ReplayOutcome:
        """Try these messages again, one after the other in the order in which they came.

        What later messages have said since stands: a replay fills what is missing and overwrites nothing
        newer (see `deciding`). A message that was settled meanwhile is left.
        """
        accepted = refused = 0
        waiting = set(messages)
        while kept := await self._open(waiting, principal):
            for stored in kept:
                waiting.discard(stored.message.id)
                state = await self._try(stored, principal)
                accepted += state in (MessageState.ACCEPTED, MessageState.DUPLICATE)
                refused += state in (MessageState.REFUSED, MessageState.CONFLICT)
        return ReplayOutcome(accepted=accepted, refused=refused, left=len(set(messages)) - accepted - refused)

    async def _open(self, messages: set[int], principal: Principal) -> Sequence[StoredBody]:
        """Return the first of the messages that can be tried again: as many as fit into memory."""
        if not messages:
            return ()
        async with self._database.transaction() as connection:
            return await open_for_replay(
                connection, principal=principal, messages=sorted(messages), now=self._lane.tools.clock.now()
            )

    async def _try(self, stored: StoredBody, principal: Principal) -> MessageState | None:
        try:
            (outcome,) = await self._lane.store_many(self._lane.read_many([_again(stored, principal)]))
        except (MessageSettledError, MessageNotFoundError):
            return None  # somebody else was quicker
        return outcome.result.state


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
