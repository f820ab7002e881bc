"""Remember when rows arrived, so that a later correction does not make them late."""

from __future__ import annotations

from collections.abc import Sequence

from kangshu.quality.coverage import store
from kangshu.storage.database import Connection


async def note_arrival(connection: Connection, *, file: int, replaces: Sequence[int] = ()) -> None:
    """Remember when the rows of `file` arrived, and that from then on those of `replaces` stand no longer.

    To be called in the transaction that commits the file, after its units are recorded. What is not noted is
    not lost: it counts as arrived when the file that stands did.
    """
    await store.insert_arrivals(connection, file=file, replaces=replaces)
