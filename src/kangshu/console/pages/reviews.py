"""What linking left for a human to judge: two persons that hold one identifier. Read-only for now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from kangshu.console.reach import names
from kangshu.console.visits import Visit, page
from kangshu.identity import IdentifierKind, Review, ReviewState, list_reviews
from kangshu.security.principals import Permission

_PER_PAGE = 50


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


async def show_reviews(visit: Visit) -> Response:
    """List the open entries, newest first."""
    before = visit.query.get("before", "")
    async with visit.services.database.connection() as connection:
        found = await list_reviews(
            connection,
            state=ReviewState.OPEN,
            before=int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None,
            limit=_PER_PAGE + 1,
        )
        local = (one.issuer for one in found if one.kind is IdentifierKind.LOCAL_NUMBER)
        institution_names = await names(connection, local)
    shown = found[:_PER_PAGE]
    return visit.page(
        "reviews.html",
        reviews=[_row(visit, review, institution_names) for review in shown],
        newer="/console/reviews" if before else None,
        older=f"/console/reviews?before={shown[-1].id}" if len(found) > _PER_PAGE else None,
    )


def _row(visit: Visit, review: Review, institution_names: dict[str, str]) -> ReviewRow:
    identifier = visit.say(f"identifier.{review.kind.name.lower()}")
    issuer = institution_names.get(review.issuer or "")
    return ReviewRow(
        id=review.id,
        reason=visit.say(f"review.{review.reason.name.lower()}"),
        tone="bad" if review.reason.name == "CONTRADICTION" else "warn",
        identifier=f"{identifier} · {issuer}" if issuer else identifier,
        persons=(review.person, review.other),
        receipt=review.origin,
        at=review.created_at,
    )


routes = [page("/reviews", show_reviews, may=Permission.REVIEW_PERSONS)]
