"""What must be done from time to time: seal the audit chain, merge small segments, sweep what was left."""

from __future__ import annotations

from datetime import timedelta

from kangshu import audit, healthcard, intake, lake, quality
from kangshu.app.cards import Offices
from kangshu.app.platform import Platform
from kangshu.intake import messages
from kangshu.quality import catalogue, rectifying, scoring
from kangshu.storage import jobs

_REVIEWED_DAYS = 100  # arbitrary: older months are closed; `kangshu quality review` opens them again


async def settle(platform: Platform) -> None:
    """Seal what was recorded, bring messages' rows to the lake, merge the small segments that are many."""
    await seal_audit(platform)
    await bring_messages_to_lake(platform)
    await merge_segments(platform)


async def seal_audit(platform: Platform) -> None:
    """Give every recorded act its place in the audit chain."""
    await audit.seal(platform.database, keys=platform.keys, anchor=platform.anchor, now=platform.clock.now())


async def merge_segments(platform: Platform) -> None:
    """Merge what the lake's plan names, data set by data set, and remove what was merged long ago."""
    async with platform.database.connection() as connection:
        names = await lake.count_rows(connection)
    for name in names:
        await lake.compact(platform.database, platform.engine, dataset=name)
    await clear_merged(platform)


async def merge_dataset(platform: Platform, job: jobs.Job) -> None:
    """Do one queued merge."""
    await lake.compact(platform.database, platform.engine, dataset=job.payload["dataset"])


async def clear_merged(platform: Platform) -> None:
    """Remove the files of segments that were merged longer ago than any reader may need them."""
    await lake.delete_retired(platform.database, platform.engine)


async def sweep(platform: Platform) -> None:
    """Remove what dead processes left: bytes that no receipt and lake files that no manifest names."""
    await intake.sweep(platform.intake)
    async with platform.database.transaction() as connection:
        await lake.sweep_orphans(platform.home, connection, now=platform.clock.now())


async def bring_messages_to_lake(platform: Platform) -> None:
    """Let the rows that messages brought since the last time be counted by the statistics."""
    await lake.flush_staged(platform.database, platform.engine, pack=platform.pack)


async def watch_deadlines(platform: Platform) -> None:
    """Tell the next higher body of what was not mended in time; warn of months whose data did not come."""
    now = platform.clock.now()
    async with platform.database.connection() as connection:
        await rectifying.escalate_due(connection, now=now)
        months = [
            month
            for month in await quality.list_months(connection)
            if 0 < (rectifying.local_day(now) - month).days < _REVIEWED_DAYS
        ]
    for month in months:
        async with platform.database.transaction() as connection:
            # What has arrived in time, and what is late, changes with the day.
            await scoring.refresh_scores(
                connection, pack=platform.pack, first=month, last=month, now=rectifying.local_day(now)
            )
        async with platform.database.connection() as connection:
            await rectifying.review_month(connection, pack=platform.pack, month=month, now=now)


async def refresh_catalogue(platform: Platform) -> None:
    """Count in the lake what the catalogue cannot know from files."""
    await catalogue.refresh(platform.database, platform.compute, pack=platform.pack, now=platform.clock.now())


async def prune_messages(platform: Platform) -> None:
    """Remove the bytes of messages whose time is over; that they were removed stays on record."""
    now = platform.clock.now()
    before = now - timedelta(days=platform.settings.message_days)
    await messages.prune_bodies(platform.database, before=before, now=now)


async def fold_counts(platform: Platform) -> None:
    """Add up what was counted of messages, so that counting stays quick."""
    await messages.fold_counts(platform.database)


async def keep_cards(platform: Platform, offices: Offices) -> None:
    """Let temporary cards expire whose time is over, and clear away what scans left behind."""
    office = await offices()
    async with platform.database.transaction() as connection:
        await healthcard.maintain(connection, office=office, now=platform.clock.now())
