"""`backup` and `restore`: everything that must not be lost, in one file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from kangshu.app.platform import make_home, open_platform
from kangshu.app.settings import load_settings
from kangshu.storage import backup, embedded
from kangshu.storage.database import Database

# The spool holds files that were acknowledged but not yet taken in; the inbox and scratch hold nothing to keep.
KEPT_FOLDERS = ("keys", "lake", "rejects", "spool")
KEPT_FILES = ("settings.toml",)


async def back_up(home: Path, file: Path) -> dict[str, Any]:
    """Write a backup of the platform in `home` and return its figures."""
    async with open_platform(home) as platform:
        done = await backup.backup(
            home=home, database=platform.database, out=file, folders=KEPT_FOLDERS, files=KEPT_FILES
        )
    return {"file": str(file), "bytes": file.stat().st_size, "entries": done.entries}


async def restore_home(home: Path, file: Path) -> dict[str, Any]:
    """Restore a backup into an empty home and return its figures."""
    make_home(home)
    settings = load_settings(home)
    url = settings.database_url or await asyncio.to_thread(embedded.start, home)
    async with await Database.open(url) as database:
        done = await backup.restore(home=home, database=database, source=file)
    return {"home": str(home), "entries": done.entries}
