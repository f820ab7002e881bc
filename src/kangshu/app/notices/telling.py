"""Hear what quality announces: keep a notice for the console, queue mail and hook for who has a contact."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from kangshu import directory
from kangshu.app.notices.jobs import HOOK_JOB, MAIL_JOB
from kangshu.quality.rectifying import TASK_ESCALATED, TOPICS, Way, keep_notices, list_ways
from kangshu.standards.identifiers import DivisionLevel
from kangshu.storage import jobs
from kangshu.storage.database import Connection
from kangshu.storage.outbox import Announcement, Handler

_JOB_OF = {Way.MAIL: MAIL_JOB, Way.HOOK: HOOK_JOB}
_PLACES = 6
_BODIES = (DivisionLevel.COUNTY, DivisionLevel.CITY, DivisionLevel.PROVINCE)


def subscribers(*, with_mail: bool) -> Mapping[str, Handler]:
    """Return who hears of tasks; `with_mail` tells whether there is a mail server."""
    ways = frozenset(Way) if with_mail else frozenset({Way.HOOK})

    async def tell(connection: Connection, announcement: Announcement) -> None:
        await _tell(connection, announcement, ways)

    return dict.fromkeys(TOPICS, tell)


async def _tell(connection: Connection, announcement: Announcement, ways: frozenset[Way]) -> None:
    told = announcement.payload
    codes = [told["institution"]]
    if announcement.topic == TASK_ESCALATED:
        codes += await _bodies(connection, told["institution"], level=told["escalations"])
    notices = await keep_notices(
        connection,
        codes=codes,
        task=told["task"],
        event=told["event"],
        topic=announcement.topic,
        at=datetime.fromisoformat(told["at"]),
    )
    known = await list_ways(connection, codes=[notice.code for notice in notices])
    for notice in notices:
        for way in sorted(known.get(notice.code, frozenset()) & ways):
            kind = _JOB_OF[way]
            await jobs.enqueue(
                connection, kind=kind, payload={"notice": notice.id}, unique_key=f"{kind}/{notice.id}"
            )


async def _bodies(connection: Connection, institution: str, *, level: int) -> list[str]:
    """Return the body that is told at this level: the county's first, then the city's, the province's."""
    divisions = await directory.divisions_of(connection, codes=[institution])
    path = await directory.division_path(connection, code=divisions.get(institution))
    bodies = [one.prefix.ljust(_PLACES, "0") for body in _BODIES for one in path if one.level is body]
    return [bodies[min(level, len(bodies)) - 1]] if bodies else []
