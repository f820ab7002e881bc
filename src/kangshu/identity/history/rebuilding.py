"""Make the index anew out of what happened, and say where it differs from what it is."""

from __future__ import annotations

from dataclasses import dataclass

from kangshu.identity.history import store
from kangshu.storage.database import Connection


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """The index beside its past, counted before anything was mended."""

    persons: int
    holdings: int
    """Identifiers as often as somebody holds them, by the events."""
    merges: int
    """Those that hold."""
    unexplained: int
    """Holdings of which no event tells."""
    missing: int
    """Holdings that events tell of and that are gone; their numbers cannot be brought back."""
    misplaced: int
    """Holdings that are with somebody else than the events say."""
    misled: int
    """Persons that mean somebody else than the merges say."""
    unknown: int
    """Persons that events name and that are gone."""
    mended: bool = False

    @property
    def agrees(self) -> bool:
        """Whether the index is what its events make of it."""
        return not (self.unexplained or self.missing or self.misplaced or self.misled or self.unknown)


async def check_index(connection: Connection) -> Rebuilt:
    """Return how the index differs from what its events make of it; changes nothing.

    Call it in a transaction that sees one moment (`snapshot=True`), else arrivals look like differences.
    """
    await store.fold(connection)
    return Rebuilt(**await store.compare(connection))


async def rebuild_index(connection: Connection) -> Rebuilt:
    """Give every holding to whom the events give it, and let every person mean whom the merges say.

    Nobody else changes the index meanwhile. What is missing or unexplained stays so, and is counted.
    """
    await store.take_whole(connection)
    await store.fold(connection)
    found = await store.compare(connection)
    moved = await store.moved_persons(connection)
    await store.apply(connection)
    if moved:
        await store.own_numbers(connection, persons=moved)
    return Rebuilt(**found, mended=True)
