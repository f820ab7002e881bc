"""What must be done from time to time: seal the audit chain, merge small segments, sweep what was left."""

from __future__ import annotations

from kangshu import audit, intake, lake
from kangshu.app.platform import Platform
from kangshu.storage import jobs


async def settle(platform: Platform) -> None:
    """Seal what was recorded and merge the small segments that have become many."""
    await seal_audit(platform)
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
