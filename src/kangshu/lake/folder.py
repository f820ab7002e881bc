"""The lake's folder: where files lie, whose they are, and which are left over from a dead process.

    lake/incoming/<owner>-<n>.parquet           being written
    lake/segments/<dataset>/<owner>-<n>.parquet written whole; in the manifest or about to be
    lake/temp/<owner>/                          DuckDB's spilled sorts
    lake/owners/<owner>.lock                    locked by the process as long as it lives

The lock goes with the process, however it ends. So a file that no manifest names and whose owner's lock
is free is left over for certain, and can go at once; nobody has to guess from its age.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

_INCOMING, _SEGMENTS, _TEMP, _OWNERS = "incoming", "segments", "temp", "owners"


@dataclass
class _Owner:
    """This process in one lake: its name, and the descriptor that holds its lock."""

    name: str
    descriptor: int
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))


_owners: dict[tuple[int, Path], _Owner] = {}
_owners_guard = threading.Lock()


def lake_folder(home: Path) -> Path:
    """Return the lake's folder in `home`, made where it is not there yet, closed to other users."""
    lake = home.resolve() / "lake"
    lake.mkdir(mode=0o700, parents=True, exist_ok=True)
    for part in (_INCOMING, _SEGMENTS, _TEMP, _OWNERS):
        (lake / part).mkdir(mode=0o700, exist_ok=True)
    return lake


def new_segment_path(*, home: Path, dataset: str) -> Path:
    """Return where the next segment of `dataset` will lie: a name of this process that never was before."""
    lake = lake_folder(home)
    folder = lake / _SEGMENTS / dataset
    if not folder.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)
    owner = _owner_of(lake)
    return folder / f"{owner.name}-{next(owner.numbers)}.parquet"


def incoming_path(path: Path) -> Path:
    """Return where the segment that will be `path` is written until it is whole."""
    return path.parents[2] / _INCOMING / path.name


def temp_folder(lake: Path) -> Path:
    """Return this process's own folder for spilled sorts."""
    folder = lake / _TEMP / _owner_of(lake).name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def relative(path: Path) -> str:
    """Return the manifest's name of a segment: its path in the lake's folder."""
    return "/".join(path.parts[-3:])


def sync_folder(folder: Path) -> None:
    """Bring the folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_parquet(lake: Path) -> list[Path]:
    """Return every Parquet file of the lake, in the manifest or not."""
    return [*(lake / _INCOMING).glob("*.parquet"), *(lake / _SEGMENTS).glob("*/*.parquet")]


def is_left_over(path: Path, *, older_than: float) -> bool:
    """Tell whether the process that made `path` is gone, or the file is from before `older_than`.

    `older_than` is in seconds since 1970. It covers lakes on file systems where locks mean nothing and
    processes that failed to clean up and live on.
    """
    owner = path.name.rsplit("-", 1)[0]
    if not _is_alive(path.parents[1 if path.parent.name == _INCOMING else 2] / _OWNERS / f"{owner}.lock"):
        return True
    try:
        return path.stat().st_mtime < older_than
    except FileNotFoundError:
        return False


def sweep_owners(lake: Path) -> None:
    """Remove the locks and temporary folders of processes that are gone."""
    for folder in (lake / _TEMP).iterdir():
        if not _is_alive(lake / _OWNERS / f"{folder.name}.lock"):
            shutil.rmtree(folder, ignore_errors=True)
    for lock in (lake / _OWNERS).glob("*.lock"):
        if not _is_alive(lock):
            lock.unlink(missing_ok=True)


def _owner_of(lake: Path) -> _Owner:
    key = (os.getpid(), lake)  # a forked child is another owner
    with _owners_guard:
        if key not in _owners:
            _owners[key] = _make_owner(lake)
        return _owners[key]


def _make_owner(lake: Path) -> _Owner:
    while True:
        name = f"{os.getpid()}-{uuid4().hex[:16]}"
        path = lake / _OWNERS / f"{name}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # A sweep may have found the lock still free in between and removed the file: then take a new name.
        if _lock(descriptor) and path.exists():
            return _Owner(name=name, descriptor=descriptor)
        os.close(descriptor)


def _is_alive(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
