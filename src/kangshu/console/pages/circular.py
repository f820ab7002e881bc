"""Monthly circulars (通报): the list, the circular as a page, its files, and issuing it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from starlette.responses import Response

from kangshu.console.acts import EXPORT, note
from kangshu.console.errors import PageNotFoundError
from kangshu.console.pages.rankings import month_of
from kangshu.console.reach import own_codes
from kangshu.console.visits import Visit, page
from kangshu.quality import list_months
from kangshu.quality.circular import (
    Circular,
    Issue,
    find_circular,
    issue_circular,
    list_issues,
    make_circular,
    status_of,
    subtitle_of,
    summary_of,
    tables_of,
    title_of,
    write_pdf,
    write_xlsx,
)
from kangshu.quality.rectifying import local_day
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

HOME = "/console/quality/circulars"
_MOST_RANKED = 500
"""Institutions of the full ranking on the page; the spreadsheet has all."""

_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

_DRAFT_DAYS = 2 * 366


@dataclass(frozen=True, kw_only=True)
class CircularRow:
    """One month of the list."""

    month: str
    href: str
    issue: Issue | None
    over: bool


async def show_circulars(visit: Visit) -> Response:
    """List the months with their circulars: issued, or as drafts for those who look after the region."""
    async with visit.services.database.connection() as connection:
        issues = {one.month: one for one in await list_issues(connection)}
        kept = await list_months(connection) if visit.staff.region_wide else []
    current = local_day(visit.now).replace(day=1)
    # Registers hold rows of many years ago; nobody writes a circular about these any more.
    months = {month for month in kept if (current - month).days < _DRAFT_DAYS}
    return visit.page(
        "circulars.html",
        rows=[
            CircularRow(
                month=f"{month:%Y-%m}",
                href=f"{HOME}/{month:%Y-%m}",
                issue=issues.get(month),
                over=month < current,
            )
            for month in sorted(months | issues.keys(), reverse=True)
        ],
        drafts=visit.staff.region_wide,
    )


async def show_circular(visit: Visit) -> Response:
    """Show a month's circular as a page to read and to print."""
    async with visit.services.database.connection() as connection:
        circular = await _circular(visit, connection)
    month = f"{circular.month:%Y-%m}"
    return visit.page(
        "circular.html",
        month=month,
        href=f"{HOME}/{month}",
        title=title_of(circular, language=visit.language),
        subtitle=subtitle_of(circular, language=visit.language),
        as_of=status_of(circular, language=visit.language),
        issue=circular.issue,
        summary=summary_of(circular, language=visit.language),
        tables=tables_of(circular, language=visit.language, most=_MOST_RANKED),
        own_only=not circular.whole,
        may_issue=visit.staff.may(Permission.MANAGE_QUALITY) and visit.staff.region_wide,
        over=circular.month < local_day(visit.now).replace(day=1),
    )


async def send_pdf(visit: Visit) -> Response:
    """Send the circular as a PDF."""
    circular = await _exported(visit)
    # Setting a page takes a core and some 300 MiB.
    async with visit.request.app.state.reading:
        data = await asyncio.to_thread(
            write_pdf, circular, font_path=visit.services.fonts, language=visit.language
        )
    return _file(data, circular, "pdf", "application/pdf")


async def send_xlsx(visit: Visit) -> Response:
    """Send the circular as a spreadsheet."""
    circular = await _exported(visit)
    data = await asyncio.to_thread(write_xlsx, circular, language=visit.language)
    return _file(data, circular, "xlsx", _XLSX)


async def issue(visit: Visit) -> Response:
    """Issue the month's circular; from then on it stays as it is."""
    if not visit.staff.region_wide:
        raise PageNotFoundError  # as the draft is to this visitor
    month = month_of(visit.request.path_params["month"])
    async with visit.services.database.transaction() as connection:
        draft = await _draft(visit, connection, month)
        await issue_circular(
            connection,
            circular=draft,
            now=visit.now,
            actor=visit.staff.id,
            actor_name=visit.staff.name,
        )
    return visit.go(f"{HOME}/{month:%Y-%m}", flash="flash.circular_issued")


async def _exported(visit: Visit) -> Circular:
    async with visit.services.database.transaction() as connection:
        circular = await _circular(visit, connection)
        await note(connection, visit, EXPORT, resource=f"circular/{circular.month:%Y-%m}")
    return circular


async def _circular(visit: Visit, connection: Connection) -> Circular:
    """Return the issued circular, or the draft; to whom the region is not open, of the ranking only what is.

    Raises:
        PageNotFoundError: it is no month, or a draft that is not open to this visitor.
    """
    month = month_of(visit.request.path_params["month"])
    circular = await find_circular(connection, month=month)
    if circular is None:
        if not visit.staff.region_wide:
            raise PageNotFoundError
        return await _draft(visit, connection, month)
    return _within(circular, await own_codes(visit, connection))


async def _draft(visit: Visit, connection: Connection, month: date) -> Circular:
    return await make_circular(
        connection,
        pack=visit.services.pack,
        month=month,
        now=visit.now,
        region=visit.services.region,
    )


def _within(circular: Circular, codes: Sequence[str] | None) -> Circular:
    if codes is None:
        return circular
    own = frozenset(codes)
    return replace(
        circular, whole=False, ranking=tuple(line for line in circular.ranking if line.institution in own)
    )


def _file(data: bytes, circular: Circular, ending: str, media_type: str) -> Response:
    name = f"circular-{circular.month:%Y-%m}.{ending}"
    return Response(
        data, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


routes = [
    page("/quality/circulars", show_circulars, may=Permission.SEE_QUALITY),
    page("/quality/circulars/{month}.pdf", send_pdf, may=Permission.SEE_QUALITY),
    page("/quality/circulars/{month}.xlsx", send_xlsx, may=Permission.SEE_QUALITY),
    page("/quality/circulars/{month}", show_circular, may=Permission.SEE_QUALITY),
    page("/quality/circulars/{month}/issue", issue, may=Permission.MANAGE_QUALITY, method="POST"),
]
