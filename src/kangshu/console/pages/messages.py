"""Messages: what arrived one by one, why some were refused, and trying those again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from starlette.responses import Response

from kangshu.consent import Purpose
from kangshu.console.errors import PageNotFoundError, say
from kangshu.console.paging import address
from kangshu.console.reach import choices, matching_codes, names, own_codes
from kangshu.console.visits import Visit, page
from kangshu.intake.messages import (
    Message,
    MessageFilter,
    MessageFormat,
    MessageState,
    ReplayMessages,
    count_found,
    count_messages,
    get_message,
    list_messages,
    list_replayable,
    open_body,
    open_masked,
    readable_body,
)
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_PATH = "/console/messages"
_PER_PAGE = 50
_COUNT_MOST = 10_000  # more are waiting than anybody counts
_REPLAY_MOST = 1000  # in one go, so that the answer comes within the browser's patience
_SHOWN_MOST = 64 << 10  # characters of a body on a page
_DAYS = 7
_OUTCOME = "kangshu_replayed"
_WORD_MOST = 200
_SHOWN_STATES = (
    MessageState.ACCEPTED,
    MessageState.REFUSED,
    MessageState.CONFLICT,
    MessageState.SUPERSEDED,
)
_HL7_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d{1,4})\])?(?:-|$)")


@dataclass(frozen=True, kw_only=True)
class MessageFilters:
    """What the list is narrowed to, as the form gave it; empty means everything."""

    institution: str = ""
    state: str = ""
    format: str = ""
    type: str = ""
    search: str = ""
    first: str = ""
    last: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> MessageFilters:
        """Return the filters in the words of an address or form; what makes no sense is left out."""
        words = {name: query.get(name, "").strip()[:_WORD_MOST] for name in cls.__dataclass_fields__}
        words["state"] = words["state"] if words["state"] in _SHOWN_STATES else ""
        words["format"] = words["format"] if words["format"] in set(MessageFormat) else ""
        for name in ("first", "last"):
            words[name] = words[name] if _day(words[name]) else ""
        return cls(**words)

    @property
    def words(self) -> dict[str, str]:
        """The filters as words of an address."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def wanted(self, visit: Visit, codes: Sequence[str] | None) -> MessageFilter:
        """Return the filters as intake takes them, within `codes`."""
        first, last, zone = _day(self.first), _day(self.last), visit.services.zone
        return MessageFilter(
            institutions=codes,
            state=MessageState(self.state) if self.state else None,
            format=MessageFormat(self.format) if self.format else None,
            type=self.type or None,
            search=self.search or None,
            since=datetime.combine(first, time(), zone) if first else None,
            until=datetime.combine(last + timedelta(days=1), time(), zone) if last else None,
        )


@dataclass(frozen=True, kw_only=True)
class MessageFigures:
    """How many messages came of late, and what waits."""

    accepted: int
    refused: int
    conflicts: int
    repeats: int
    waiting: int
    waiting_more: bool


@dataclass(frozen=True, kw_only=True)
class BodyLine:
    """A line of a message; `marked` where the reason points at it."""

    text: str
    marked: bool


async def show_messages(visit: Visit) -> Response:
    """List messages within the visitor's reach, newest first."""
    filters = MessageFilters.of(visit.query)
    async with visit.services.database.connection() as connection:
        codes = await matching_codes(visit, connection, text=filters.institution)
        wanted = filters.wanted(visit, codes)
        found = await list_messages(
            connection, wanted=wanted, before=_number(visit.query.get("before")), limit=_PER_PAGE + 1
        )
        figures = await _figures(visit, connection)
        replayable = await _count_replayable(visit, connection, filters, wanted)
        institution_names = await names(connection, (message.sender for message in found))
        offered = await choices(visit, connection)
    shown = found[:_PER_PAGE]
    older = {**filters.words, "before": str(shown[-1].id)} if len(found) > _PER_PAGE else None
    response = visit.page(
        "messages.html",
        messages=shown,
        filters=filters,
        query=address("", filters.words),
        figures=figures,
        replayable=replayable,
        replay_most=_REPLAY_MOST,
        outcome=visit.pocket(_OUTCOME),
        institution_names=institution_names,
        institution_choices=offered.pairs,
        state_choices=[(state.value, visit.say(f"message_state.{state}")) for state in _SHOWN_STATES],
        format_choices=[(one.value, visit.say(f"message_format.{one}")) for one in MessageFormat],
        channel_titles=_ChannelTitles(visit),
        newer=address(_PATH, filters.words) if visit.query.get("before") else None,
        older=address(_PATH, older) if older else None,
    )
    return _told(visit, response)


async def show_message(visit: Visit) -> Response:
    """Show what became of a message, and its shape with every value masked."""
    async with visit.services.database.connection() as connection:
        message = await _own(visit, connection)
        shape = await open_masked(connection, principal=visit.staff, message=message.id, most=_SHOWN_MOST)
        institution_names = await names(connection, [message.sender])
    return _message_page(visit, message, institution_names, text=shape, masked=True)


async def show_body(visit: Visit) -> Response:
    """Show a message as it was sent, and put that on record; the next look asks again."""
    async with visit.services.database.transaction() as connection:
        opened = await open_body(
            connection,
            principal=visit.staff,
            message=_id(visit),
            now=visit.now,
            purpose=Purpose.QUALITY.value,
            institutions=await own_codes(visit, connection),
        )
        institution_names = await names(connection, [opened.message.sender])
    text = readable_body(opened.body, most=_SHOWN_MOST)
    return _message_page(visit, opened.message, institution_names, text=text, masked=False)


async def replay_one(visit: Visit) -> Response:
    """Try one refused message again."""
    replay = _replay(visit)
    async with visit.services.database.connection() as connection:
        message = await _own(visit, connection)
    outcome = await replay(messages=[message.id], principal=visit.staff)
    response = visit.go(f"{_PATH}/{message.id}")
    _keep_outcome(visit, response, accepted=outcome.accepted, refused=outcome.refused, left=outcome.left)
    return response


async def replay_many(visit: Visit) -> Response:
    """Try the refused messages of a filter again, the oldest first, so many as go in one go."""
    replay = _replay(visit)
    filters = MessageFilters.of(visit.form)
    async with visit.services.database.connection() as connection:
        codes = await matching_codes(visit, connection, text=filters.institution)
        numbers = await list_replayable(connection, wanted=filters.wanted(visit, codes), limit=_REPLAY_MOST)
    response = visit.go(address(_PATH, filters.words))
    if numbers:
        outcome = await replay(messages=numbers, principal=visit.staff)
        accepted, refused, left = outcome.accepted, outcome.refused, outcome.left
    else:
        accepted = refused = left = 0
    _keep_outcome(visit, response, accepted=accepted, refused=refused, left=left)
    return response


def body_lines(text: str, *, message: Message) -> list[BodyLine]:
    """Return the lines of a message; the segment at which it was refused is marked."""
    lines = text.rstrip("\n").split("\n")
    place = _HL7_PLACE.match(message.place or "") if message.format is MessageFormat.HL7V2 else None
    if place is None:
        return [BodyLine(text=line, marked=False) for line in lines]
    of_name = [number for number, line in enumerate(lines) if line.lstrip("\v\ufeff ").startswith(place[1])]
    chosen = int(place[2] or 1) - 1
    marked = of_name[chosen] if 0 <= chosen < len(of_name) else None
    return [BodyLine(text=line, marked=number == marked) for number, line in enumerate(lines)]


def _message_page(
    visit: Visit, message: Message, institution_names: Mapping[str, str], *, text: str | None, masked: bool
) -> Response:
    may = visit.staff.may
    response = visit.page(
        "message.html",
        message=message,
        institution_name=institution_names.get(message.sender, message.sender or None),
        channel=_ChannelTitles(visit).get(message.channel),
        lines=body_lines(text, message=message) if text is not None else None,
        cut=text is not None and len(text) >= _SHOWN_MOST,
        masked=masked,
        may_open=masked and message.body_kept and may(Permission.READ_RECORDS),
        may_find=may(Permission.FIND_PERSONS),
        may_replay=_may_replay(visit) and message.state is MessageState.REFUSED and message.body_kept,
        outcome=visit.pocket(_OUTCOME),
    )
    return _told(visit, response)


async def _figures(visit: Visit, connection: Connection) -> MessageFigures:
    codes = await own_codes(visit, connection)
    today = visit.now.astimezone(visit.services.zone).date()
    counts = await count_messages(
        connection, by=["state"], institutions=codes, first=today - timedelta(days=_DAYS - 1)
    )
    of_state = {count.state: count for count in counts}
    waiting = await count_found(
        connection,
        wanted=MessageFilter(institutions=codes, state=MessageState.REFUSED),
        most=_COUNT_MOST,
    )

    def came(state: MessageState) -> int:
        return of_state[state].messages if state in of_state else 0

    return MessageFigures(
        accepted=came(MessageState.ACCEPTED),
        refused=came(MessageState.REFUSED),
        conflicts=came(MessageState.CONFLICT),
        repeats=sum(count.repeats for count in counts),
        waiting=waiting,
        waiting_more=waiting >= _COUNT_MOST,
    )


async def _count_replayable(
    visit: Visit, connection: Connection, filters: MessageFilters, wanted: MessageFilter
) -> int:
    """Return how many of the listed messages can be tried again, as far as one go reaches."""
    if not _may_replay(visit) or filters.state not in ("", MessageState.REFUSED):
        return 0
    return len(await list_replayable(connection, wanted=wanted, limit=_REPLAY_MOST))


def _may_replay(visit: Visit) -> bool:
    return visit.services.replay is not None and visit.staff.may(Permission.SUBMIT_MESSAGES)


def _replay(visit: Visit) -> ReplayMessages:
    if visit.services.replay is None:
        raise PageNotFoundError
    return visit.services.replay


def _keep_outcome(visit: Visit, response: Response, *, accepted: int, refused: int, left: int) -> None:
    """Let the next page tell what came of it."""
    outcome = {"accepted": accepted, "refused": refused, "left": left}
    visit.put_pocket(response, _OUTCOME, outcome, minutes=1, path=_PATH)


def _told(visit: Visit, response: Response) -> Response:
    """The outcome is told once."""
    if _OUTCOME in visit.request.cookies:
        response.delete_cookie(_OUTCOME, path=_PATH)
    return response


class _ChannelTitles:
    """What the ways are called by which messages come; one that is new stands for itself."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def get(self, channel: str) -> str:
        key = f"channel.{channel}"
        return self._visit.say(key) if key in say else channel


async def _own(visit: Visit, connection: Connection) -> Message:
    codes = await own_codes(visit, connection)
    return await get_message(connection, message=_id(visit), institutions=codes)


def _id(visit: Visit) -> int:
    number = _number(visit.request.path_params["id"])
    if number is None:
        raise PageNotFoundError
    return number


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day < date.max else None  # the day after it is asked for


routes = [
    page("/messages", show_messages, may=Permission.SEE_MESSAGES),
    page("/messages/replay", replay_many, may=Permission.SUBMIT_MESSAGES, method="POST"),
    page("/messages/{id}", show_message, may=Permission.SEE_MESSAGES),
    page("/messages/{id}/body", show_body, may=Permission.SEE_MESSAGES, method="POST"),
    page("/messages/{id}/replay", replay_one, may=Permission.SUBMIT_MESSAGES, method="POST"),
]
