"""Fixtures for the tests of the console: a small region behind real doors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from console_world import MovingClock, Site, doors, open_world, settle

NOW = datetime(2026, 3, 18, 2, 30, tzinfo=UTC)  # 10:30 on a Wednesday in the region


@pytest.fixture
def site_run(database_url: str, tmp_path: Path, keys: Any) -> Callable[..., Any]:
    """Run `async fn(site)` against console and machine doors over a region with places and accounts."""

    def run_with_site(work: Callable[[Site], Awaitable[Any]], **options: Any) -> Any:
        async def scenario() -> Any:
            clock = MovingClock(moment=NOW)
            async with open_world(
                home=tmp_path, database_url=database_url, keys=keys, clock=clock
            ) as platform:
                await settle(platform)
                app, submitted = doors(platform, **options)
                return await work(Site(platform=platform, clock=clock, app=app, submitted=submitted))

        return asyncio.run(scenario())

    return run_with_site
