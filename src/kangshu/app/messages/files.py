"""Messages out of files: HL7 v2 (also batches), FHIR resources, Bundles and NDJSON, CDA documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from kangshu.app.errors import say
from kangshu.app.messages.lane import MessageLane
from kangshu.app.messages.model import Arrival, Outcome
from kangshu.app.messages.reading import format_of
from kangshu.intake.messages import MessageFormat, MessageState
from kangshu.kernel.errors import KangshuError
from kangshu.kernel.texts import Text
from kangshu.standards import fhir, hl7v2

_SNIFFED_BYTES = 4096
_FILE_MOST_BYTES = 512 << 20  # read whole; larger ones are better sent in parts
_BATCH_MESSAGES = 500
_BATCH_BYTES = 8 << 20
_TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".parquet", ".zip", ".gz")


@dataclass(slots=True)
class MessageFigures:
    """What became of the messages of one or more files."""

    files: int = 0
    messages: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    resources: int = 0
    rejections: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    notes: int = 0

    def refuse(self, file: str, place: str | None, reason: Text) -> None:
        """Count a message that was not taken in, and say why."""
        self.rejected += 1
        self.rejections.append({"file": file, "place": place, "reason": reason.zh, "reason_en": reason.en})


def message_format(path: Path) -> MessageFormat | None:
    """Return the format of the messages in a file, or None where it holds none (a table, a picture)."""
    if path.suffix.lower() in _TABLES:
        return None
    try:
        with path.open("rb") as stream:
            head = stream.read(_SNIFFED_BYTES)
    except OSError:
        return None
    return format_of(head)


async def take_message_file(
    lane: MessageLane,
    path: Path,
    *,
    figures: MessageFigures,
    sender: str | None,
    received_by: str,
    received_at: datetime,
    name: str | None = None,
    listen: Callable[[Outcome], None] | None = None,
) -> None:
    """Take in every message of a file, in order; `figures` grow. One batch is stored while the next is read.

    Raises:
        DatabaseUnavailableError: the messages from here on were not stored.
    """
    shown = name or str(path)
    figures.files += 1
    if path.stat().st_size > _FILE_MOST_BYTES:
        figures.messages += 1
        figures.refuse(shown, None, say("message_file_large", most=_FILE_MOST_BYTES >> 20))
        return
    data = await asyncio.to_thread(path.read_bytes)
    kind = format_of(data[:_SNIFFED_BYTES])
    if kind is None:
        figures.messages += 1
        figures.refuse(shown, None, say["message_unrecognised"])
        return
    pieces = _pieces(data, kind)
    arrivals = (
        (
            place,
            Arrival(
                body=body,
                format=kind,
                channel="file",
                received_at=received_at,
                received_by=received_by,
                sender=sender,
                peer=Path(shown).name[-120:],
            ),
        )
        for place, body in pieces
    )
    try:
        await _take(lane, arrivals, figures, shown, listen)
    except KangshuError as error:
        if not isinstance(error, (hl7v2.Hl7Error, fhir.FhirError)):
            raise
        figures.messages += 1
        figures.refuse(shown, error.place, error.text)


async def _take(
    lane: MessageLane,
    arrivals: Iterator[tuple[str, Arrival]],
    figures: MessageFigures,
    shown: str,
    listen: Callable[[Outcome], None] | None,
) -> None:
    storing: asyncio.Task[list[Outcome]] | None = None
    places: Sequence[str] = ()
    while batch := list(_bounded(arrivals)):
        prepared = await asyncio.to_thread(lane.read_many, [arrival for _, arrival in batch])
        if storing is not None:
            _count(figures, shown, places, await storing, listen)
        storing = asyncio.create_task(lane.store_many(prepared))
        places = [place for place, _ in batch]
    if storing is not None:
        _count(figures, shown, places, await storing, listen)


def _bounded(arrivals: Iterator[tuple[str, Arrival]]) -> Iterator[tuple[str, Arrival]]:
    size = 0
    for place, arrival in islice(arrivals, _BATCH_MESSAGES):
        yield place, arrival
        size += len(arrival.body)
        if size > _BATCH_BYTES:
            return


def _count(
    figures: MessageFigures,
    shown: str,
    places: Sequence[str],
    outcomes: Sequence[Outcome],
    listen: Callable[[Outcome], None] | None,
) -> None:
    for place, outcome in zip(places, outcomes, strict=True):
        result = outcome.result
        figures.messages += 1
        figures.notes += len(result.notes)
        if result.state is MessageState.ACCEPTED:
            figures.accepted += 1
            figures.resources += len(result.resources)
        elif result.state is MessageState.DUPLICATE:
            figures.duplicate += 1
        else:
            where = " · ".join(part for part in (place, result.place or "") if part)
            figures.refuse(shown, where or None, result.reason or say["message_fault"])
        if listen:
            listen(outcome)


def _pieces(data: bytes, kind: MessageFormat) -> Iterator[tuple[str, bytes]]:
    if kind is MessageFormat.HL7V2:
        for piece in hl7v2.split(data):
            yield piece.place, piece.data
    elif kind is MessageFormat.FHIR and fhir.looks_like(data) == "ndjson":
        for piece in fhir.split_ndjson(data):
            yield piece.place, piece.data
    else:
        yield "", data
