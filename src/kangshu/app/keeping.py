"""`backup` and `restore`: everything that must not be lost, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kangshu import lake
from kangshu.app.errors import UsageError, say
from kangshu.app.platform import make_home, open_platform
from kangshu.app.settings import load_settings
from kangshu.storage import backup
from kangshu.storage.database import Connection

# The spool holds files that were acknowledged but not yet taken in; inbox and scratch hold nothing to keep.
_FOLDERS = ("settings.toml", "rejects", "spool")
# The audit anchor must not be newer than the tables, so the keys go first.
_EARLY_FOLDERS = ("keys",)


async def back_up(home: Path, file: Path) -> dict[str, Any]:
    """Write a backup of the platform in `home` and return its figures.

    Raises:
        UsageError: the folder of `file` does not exist.
    """
    if not file.resolve().parent.is_dir():
        raise UsageError(say("no_such_path", path=file.parent))
    async with open_platform(home) as platform:
        done = await backup.backup(
            platform.database,
            home=home,
            out=file,
            now=platform.clock.now(),
            folders=_FOLDERS,
            early_folders=_EARLY_FOLDERS,
            live_files=_lake_files,
        )
    return {"file": str(file), **asdict(done)}


async def restore_home(home: Path, file: Path) -> dict[str, Any]:
    """Restore a backup into an empty home and return its figures."""
    make_home(home)
    settings = load_settings(home)
    done = await backup.restore(file, home=home, url=settings.database_url or None)
    return {"home": str(home), **asdict(done)}


async def _lake_files(connection: Connection) -> Sequence[str]:
    """Return the lake's files that the manifest names, relative to the home."""
    return [f"lake/{one.path}" for one in await lake.live_segments(connection)]
