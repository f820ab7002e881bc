"""What linking left for a human to judge: the queue, two persons side by side with why, opinions, figures.

Whoever judges must see names and numbers, so they are shown in clear, and each look is on record with both
persons. Who works for a part of the region opens only entries whose both persons an institution there knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from kangshu import identity
from kangshu.console.acts import REVIEW_OPEN, REVIEW_SAY, note
from kangshu.console.errors import PageNotFoundError
from kangshu.console.exporting import csv_answer
from kangshu.console.paging import address
from kangshu.console.reach import names, own_codes
from kangshu.console.side_by_side import identifier_rows, present, whole
from kangshu.console.visits import Visit, page
from kangshu.identity import Decided, IdentifierKind, QueueEntry
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_PER_PAGE = 50
_EXPORT_MOST = 2000
_LOOK_AHEAD = 100
_NOTE_LENGTH = 500
_DAYS = 30
_PERIODS = ("7", "30", "90", "365")


@dataclass(frozen=True, kw_only=True)
class ReviewRow:
    """One entry in the visitor's words."""

    id: int
    reason: str
    tone: str
    identifier: str
    persons: tuple[int, int]
    receipt: int | None
    at: datetime
    value: float
    weight: float | None
    opinions: int
    mine: bool


class Records:
    """Tells which persons have clinical records, by who sent any."""

    def __init__(self, visit: Visit) -> None:
        self._whereabouts = visit.services.whereabouts

    async def __call__(self, connection: Connection, *, persons: Sequence[int]) -> set[int]:
        """Return those of the persons of whom any institution sent something."""
        return {one for one in persons if await self._whereabouts.institutions_of(connection, person=one)}


async def show_reviews(visit: Visit) -> Response:
    """List the open entries, the most valuable decision first."""
    second = visit.query.get("second") == "1"
    async with visit.services.database.transaction() as connection:
        found = await identity.review_queue(
            connection,
            actor=visit.staff.id,
            second=second,
            after=visit.query.get("after"),
            limit=_PER_PAGE + 1,
        )
        called = await _names(connection, found)
        open_count = await identity.count_open_reviews(connection)
    shown = found[:_PER_PAGE]
    filters = {"second": "1" if second else ""}
    more = len(found) > _PER_PAGE
    return visit.page(
        "reviews.html",
        reviews=[_row(visit, entry, called) for entry in shown],
        value_most=max((entry.value for entry in shown), default=1.0) or 1.0,
        open_count=open_count,
        second=second,
        newer=address("/console/reviews", filters) if visit.query.get("after") else None,
        older=address("/console/reviews", {**filters, "after": shown[-1].cursor}) if more else None,
    )


async def export_reviews(visit: Visit) -> Response:
    """Send the queue as CSV: numbers of persons and figures, nobody's name."""
    rows: list[Sequence[object]] = []
    after: str | None = None
    async with visit.services.database.transaction() as connection:
        while len(rows) < _EXPORT_MOST:
            found = await identity.review_queue(connection, actor=visit.staff.id, after=after, limit=200)
            called = await _names(connection, found)
            rows += [_cells(visit, _row(visit, entry, called)) for entry in found]
            if not found:
                break
            after = found[-1].cursor
    titles = ("number", "reason", "identifier", "person_one", "person_other", "value", "weight", "opinions")
    headings = [visit.say(f"review.export_{title}") for title in (*titles, "found_at")]
    return csv_answer("reviews.csv", [headings, *rows])


async def show_review(visit: Visit) -> Response:
    """Show the two persons of an entry side by side, and what speaks for and against their being one."""
    number = _id(visit)
    async with visit.services.database.transaction() as connection:
        entry = await identity.get_review(connection, review=number)
        found = await identity.explain(
            connection,
            keys=visit.services.keys,
            one=entry.person,
            other=entry.other,
            model=visit.services.linkage,
        )
        codes = await own_codes(visit, connection)
        require_reach(found, codes)
        for person in (entry.person, entry.other):
            await note(connection, visit, REVIEW_OPEN, resource=f"review/{number}", person=person)
        opinions = await identity.list_opinions(connection, review=number)
        two = await identity.needs_two(connection, entry=entry, records=Records(visit))
        called = await names(connection, _issuers(found))
    return visit.page(
        "review.html",
        entry=entry,
        reason=visit.say(f"review.{entry.reason.name.lower()}"),
        contradiction=entry.reason.name == "CONTRADICTION",
        identifier=_identifier(visit, entry, called),
        pair=present(visit, found),
        sides=[identifier_rows(visit, side, called) for side in (found.one, found.other)],
        opinions=opinions,
        mine=any(one.actor == visit.staff.id for one in opinions),
        two=two,
        open=entry.state is identity.ReviewState.OPEN,
        survivor=next((one.survivor for one in opinions if one.survivor), min(entry.person, entry.other)),
        note_length=_NOTE_LENGTH,
    )


async def take_opinion(visit: Visit) -> Response:
    """Take what the visitor says of an entry, and lead to the next one."""
    number = _id(visit)
    said = visit.form.get("say")
    if said not in ("same", "different"):
        raise PageNotFoundError
    async with visit.services.database.transaction() as connection:
        entry = await identity.get_review(connection, review=number)
        codes = await own_codes(visit, connection)
        if codes is not None:
            found = await identity.explain(
                connection,
                keys=visit.services.keys,
                one=entry.person,
                other=entry.other,
                model=visit.services.linkage,
            )
            require_reach(found, codes)
        answer = await identity.give_opinion(
            connection,
            review=number,
            same=said == "same",
            actor=visit.staff.id,
            now=visit.now,
            survivor=whole(visit.form.get("survivor")) if said == "same" else None,
            note=visit.form.get("note", "").strip()[:_NOTE_LENGTH],
            records=Records(visit),
        )
        for person in (entry.person, entry.other):
            await note(
                connection,
                visit,
                REVIEW_SAY,
                resource=f"review/{number}",
                person=person,
                detail={"said": said, "waits": answer.waits, "merge": answer.merge and answer.merge.id},
            )
        following = await _next(visit, connection, after=number)
    flash = "flash.review_waits" if answer.waits else "flash.review_decided"
    return visit.go(f"/console/reviews/{following}" if following else "/console/reviews", flash=flash)


async def go_on(visit: Visit) -> Response:
    """Lead to the most valuable entry of which the visitor said nothing, other than the one that was open."""
    async with visit.services.database.transaction() as connection:
        following = await _next(visit, connection, after=whole(visit.query.get("after")))
    return visit.go(f"/console/reviews/{following}" if following else "/console/reviews")


async def show_statistics(visit: Visit) -> Response:
    """Show what was decided, how long it took, and how far the weights agree with the reviewers."""
    asked = visit.query.get("days", "")
    days = int(asked) if asked in _PERIODS else _DAYS
    async with visit.services.database.connection() as connection:
        found = await identity.review_statistics(
            connection, since=visit.now - timedelta(days=days), until=visit.now + timedelta(seconds=1)
        )
    return visit.page(
        "review_statistics.html",
        found=found,
        days=str(days),
        periods=[(one, visit.say("review.days", count=one)) for one in _PERIODS],
        tables=[
            _table(visit, "reason", [(visit.say(f"review.{reason.name.lower()}"), one)
                                     for reason, one in found.by_reason.items()]),
            _table(visit, "weight", [(f"{floor:+d} … {floor + identity.BAND_BITS:+d}", one)
                                     for floor, one in found.by_weight.items()]),
            _table(visit, "actor", list(found.by_actor.items())),
        ],
    )  # fmt: skip


def require_reach(found: identity.Explanation, codes: Sequence[str] | None) -> None:
    """Do nothing if an institution within reach knows each of the two; None reaches everywhere.

    Raises:
        PageNotFoundError: none does, which looks as if there were no such entry.
    """
    if codes is None:
        return
    own = set(codes)
    for side in (found.one, found.other):
        if not any(one.issuer in own for one in side.identifiers):
            raise PageNotFoundError


@dataclass(frozen=True, kw_only=True)
class DecisionTable:
    """Decisions by something; `heading` says by what."""

    heading: str
    lead: str
    rows: list[tuple[str, Decided]]


def _table(visit: Visit, by: str, rows: list[tuple[str, Decided]]) -> DecisionTable:
    return DecisionTable(
        heading=visit.say(f"review.by_{by}"), lead=visit.say(f"review.by_{by}_lead"), rows=rows
    )


async def _next(visit: Visit, connection: Connection, *, after: int | None) -> int | None:
    queue = await identity.review_queue(connection, actor=visit.staff.id, limit=_LOOK_AHEAD)
    open_ones = [entry.review.id for entry in queue if not entry.mine]
    if after in open_ones:
        place = open_ones.index(after)
        open_ones = [*open_ones[place + 1 :], *open_ones[:place]]
    return open_ones[0] if open_ones else None


async def _names(connection: Connection, found: Sequence[QueueEntry]) -> dict[str, str]:
    local = (one.review.issuer for one in found if one.review.kind is IdentifierKind.LOCAL_NUMBER)
    return await names(connection, local)


def _issuers(found: identity.Explanation) -> list[str | None]:
    return [one.issuer for side in (found.one, found.other) for one in side.identifiers]


def _identifier(visit: Visit, review: identity.Review, called: dict[str, str]) -> str:
    if review.kind is None:
        return visit.say("review.no_identifier")
    kind = visit.say(f"identifier.{review.kind.name.lower()}")
    issuer = called.get(review.issuer or "")
    return f"{kind} · {issuer}" if issuer else kind


def _row(visit: Visit, entry: QueueEntry, called: dict[str, str]) -> ReviewRow:
    review = entry.review
    return ReviewRow(
        id=review.id,
        reason=visit.say(f"review.{review.reason.name.lower()}"),
        tone="bad" if review.reason.name == "CONTRADICTION" else "warn",
        identifier=_identifier(visit, review, called),
        persons=(review.person, review.other),
        receipt=review.origin,
        at=review.created_at,
        value=entry.value,
        weight=entry.weight,
        opinions=entry.opinions,
        mine=entry.mine,
    )


def _cells(visit: Visit, row: ReviewRow) -> list[Any]:
    at = row.at.astimezone(visit.services.zone).isoformat(sep=" ", timespec="seconds")
    weight = None if row.weight is None else round(row.weight, 2)
    return [row.id, row.reason, row.identifier, *row.persons, round(row.value, 3), weight, row.opinions, at]


def _id(visit: Visit) -> int:
    number = whole(visit.request.path_params["id"])
    if number is None:
        raise PageNotFoundError
    return number


routes = [
    page("/reviews", show_reviews, may=Permission.REVIEW_PERSONS),
    page("/reviews.csv", export_reviews, may=Permission.REVIEW_PERSONS),
    page("/reviews/next", go_on, may=Permission.REVIEW_PERSONS),
    page("/reviews/statistics", show_statistics, may=Permission.REVIEW_PERSONS),
    page("/reviews/{id}", show_review, may=Permission.REVIEW_PERSONS),
    page("/reviews/{id}", take_opinion, may=Permission.REVIEW_PERSONS, method="POST"),
]
