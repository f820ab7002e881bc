"""Messages out of files: HL7 v2 (also batches), FHIR resources, Bundles and NDJSON, CDA documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from kangshu.app.errors import say
from kangshu.app.messages.dealing import Team, open_team
from kangshu.app.messages.lane import MessageLane
from kangshu.app.messages.model import Arrival
from kangshu.app.messages.reading import format_of
from kangshu.app.platform import Platform
from kangshu.intake.messages import MessageFormat, MessageResult, MessageState
from kangshu.kernel.texts import Text
from kangshu.standards import fhir, hl7v2

_SNIFFED_BYTES = 4096
_FILE_MOST_BYTES = 512 << 20  # read whole; larger ones are better sent in parts
_SHARED_FROM_BYTES = 4 << 20  # less is done before a further process has started
_MESSAGES_MOST = 1_000_000  # arbitrary, of one file
_REFUSED_MOST = 10_000  # arbitrary: a file with more of them is another thing than it looks like
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


@dataclass(frozen=True, slots=True)
class MessageFile:
    """A file of messages, and who sent it."""

    path: Path
    sender: str | None
    received_by: str
    received_at: datetime
    name: str = ""

    @property
    def shown(self) -> str:
        return self.name or str(self.path)


class _Mark(NamedTuple):
    """Where a message stands."""

    shown: str
    place: str


async def take_message_files(
    platform: Platform,
    lane: MessageLane,
    files: Sequence[MessageFile],
    *,
    figures: MessageFigures,
    hands: int = 1,
    advance: Callable[[], None] = lambda: None,
    listen: Callable[[MessageResult], None] | None = None,
) -> None:
    """Take in every message of the files, in order; `figures` grow. `hands` processes share the work.

    Raises:
        DatabaseUnavailableError: messages were not stored; all that was counted was.
    """

    def told(mark: object, result: MessageResult) -> None:
        assert isinstance(mark, _Mark), "put in so"
        _count(figures, mark, result)
        if listen:
            listen(result)

    large = sum(_size(file.path) for file in files) >= _SHARED_FROM_BYTES
    async with open_team(lane, home=platform.home, hands=hands if large else 1, told=told) as team:
        for file in files:
            figures.files += 1
            try:
                await _put(team, file, figures)
            except OSError:
                figures.messages += 1
                figures.refuse(file.shown, None, say("file_unreadable"))
            advance()


async def _put(team: Team, file: MessageFile, figures: MessageFigures) -> None:
    """Hand in the messages of one file; what cannot be taken apart is refused as a whole, from there on."""
    if _size(file.path) > _FILE_MOST_BYTES:
        figures.messages += 1
        figures.refuse(file.shown, None, say("message_file_large", most=_FILE_MOST_BYTES >> 20))
        return
    data = await asyncio.to_thread(file.path.read_bytes)
    kind = format_of(data[:_SNIFFED_BYTES])
    if kind is None:
        figures.messages += 1
        figures.refuse(file.shown, None, say["message_unrecognised"])
        return
    pieces = _pieces(data, kind)
    handed, refused_before = 0, figures.rejected
    while True:
        try:
            place, body = next(pieces)
        except StopIteration:
            return
        except (hl7v2.Hl7Error, fhir.FhirError) as error:
            figures.messages += 1
            figures.refuse(file.shown, error.place, error.text)
            return
        if too_many := _too_many(handed, figures.rejected - refused_before):
            figures.messages += 1
            figures.refuse(file.shown, place or None, too_many)
            return
        handed += 1
        arrival = Arrival(
            body=body,
            format=kind,
            channel="file",
            received_at=file.received_at,
            received_by=file.received_by,
            sender=file.sender,
            peer=Path(file.shown).name[-120:],
        )
        await team.put(_Mark(file.shown, place), arrival)


def _too_many(messages: int, refused: int) -> Text | None:
    """Return why the rest of a file is not read, if so: bytes that look like messages are made easily."""
    if messages >= _MESSAGES_MOST:
        return say("message_file_many", most=_MESSAGES_MOST)
    if refused > _REFUSED_MOST:
        return say("message_file_refused", most=_REFUSED_MOST)
    return None


def _count(figures: MessageFigures, mark: _Mark, result: MessageResult) -> None:
    figures.messages += 1
    figures.notes += len(result.notes)
    if result.state is MessageState.ACCEPTED:
        figures.accepted += 1
        figures.resources += len(result.resources)
    elif result.state is MessageState.DUPLICATE:
        figures.duplicate += 1
    else:
        where = " · ".join(part for part in (mark.place, result.place or "") if part)
        figures.refuse(mark.shown, where or None, result.reason or say["message_fault"])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _pieces(data: bytes, kind: MessageFormat) -> Iterator[tuple[str, bytes]]:
    if kind is MessageFormat.HL7V2:
        for piece in hl7v2.split(data):
            yield piece.place, piece.data
    elif kind is MessageFormat.FHIR and fhir.looks_like(data) == "ndjson":
        for piece in fhir.split_ndjson(data):
            yield piece.place, piece.data
    else:
        yield "", data
