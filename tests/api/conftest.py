"""Fixtures for the tests of the machine doors: the same small region that the console's tests use."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "console"))

from console_world import MovingClock, Site, doors, open_world, settle


@pytest.fixture
def site_run(database_url: str, tmp_path: Path, keys: Any) -> Callable[..., Any]:
    """Run `async fn(site)` against the machine doors over a region with places and accounts."""

    def run_with_site(work: Callable[[Site], Awaitable[Any]], **options: Any) -> Any:
        async def scenario() -> Any:
            clock = MovingClock(moment=datetime(2026, 3, 18, 2, 30, tzinfo=UTC))
            async with open_world(
                home=tmp_path, database_url=database_url, keys=keys, clock=clock
            ) as platform:
                await settle(platform)
                app, submitted = doors(platform, **options)
                return await work(Site(platform=platform, clock=clock, app=app, submitted=submitted))

        return asyncio.run(scenario())

    return run_with_site
