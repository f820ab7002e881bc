"""Where the rows of cells lie: the files that hold them, and the segments of the lake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from kangshu import lake
from kangshu.lake import Segment
from kangshu.quality.plausibility import store
from kangshu.quality.plausibility.model import FilePlace
from kangshu.storage.database import Connection


async def locate(
    connection: Connection, *, dataset: str, institutions: Sequence[str] | None, months: Sequence[date]
) -> tuple[list[FilePlace], list[Segment]]:
    """Return the files that hold rows of these cells, and the segments in which they lie."""
    places = await store.list_places(connection, dataset=dataset, institutions=institutions, months=months)
    runs = {place.run for place in places}
    segments = await lake.live_segments(connection, dataset=dataset)
    return places, [segment for segment in segments if segment.run in runs]
