"""Compare the persons whom files created with everybody else, as a job after the commit."""

from __future__ import annotations

import secrets

from kangshu import identity
from kangshu.app.platform import Platform
from kangshu.storage import jobs
from kangshu.storage.database import Connection

_ACTOR = "person-matching"


async def match_job(platform: Platform, job: jobs.Job) -> None:
    """Do one queued comparison; `job` tells nothing more."""
    await match_waiting(platform)


async def match_waiting(platform: Platform) -> identity.Compared:
    """Compare all who wait, some hundred in each transaction; return what became of them."""
    persons = merged = reviews = 0
    while True:
        done = await platform.database.run(lambda connection: _match_some(platform, connection))
        persons, merged, reviews = persons + done.persons, merged + done.merged, reviews + done.reviews
        if not done.more:
            return identity.Compared(persons=persons, merged=merged, reviews=reviews, more=False)


async def _match_some(platform: Platform, connection: Connection) -> identity.Compared:
    return await identity.match_newcomers(
        connection,
        keys=platform.keys,
        model=platform.linkage,
        actor=_ACTOR,
        now=platform.clock.now(),
        random=secrets.token_bytes,
    )
