"""What can go wrong in the lake.

KangshuError
└── LakeError
    ├── LakeFullError          the lake's disk is full: make room, try again; nothing was half stored
    │                          (a storage.StorageFullError too, so one `except` serves both)
    ├── FileCommittedError     the file is in the lake already: look at its receipt
    ├── FileNotLiveError       there is no such live file: somebody replaced it already, look again
    ├── SegmentLostError       a file that the manifest names is missing or damaged: restore a backup
    ├── CompactionLostError    the runs changed under the compaction: try again, nothing was changed
    ├── QueryRefusedError      it is not one SELECT that the engine understands: correct the rule or statement
    ├── QueryFailedError       the engine could not compute it: see the kind of failure, correct the statement
    ├── QueryStoppedError      it took longer than it may: ask for less
    └── EngineMissingError     the engine is not installed here: install what it says, or choose DuckDB
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue
from kangshu.storage.errors import StorageFullError

say = load_catalogue(__package__ or __name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LakeError(KangshuError):
    """The root of this package's failures."""


class LakeFullError(LakeError, StorageFullError):
    """The disk of the lake is full; what was being written is gone, everything else stands."""

    kind = Kind.UNAVAILABLE


class FileCommittedError(LakeError):
    """A file of this number is on record already, live or superseded."""

    kind = Kind.CONFLICT


class FileNotLiveError(LakeError):
    """No live file has this number: it never was, or another file replaced it."""

    kind = Kind.CONFLICT


class SegmentLostError(LakeError):
    """A segment that the manifest names cannot be read; `place` is its path in the lake."""

    kind = Kind.FAULT


class CompactionLostError(LakeError):
    """The runs to be merged are no longer the live ones; the manifest was left alone."""

    kind = Kind.INTERRUPTED


class QueryRefusedError(LakeError):
    """The SQL is not one SELECT, names what is not there, or uses what the engine has not."""

    kind = Kind.INCORRECT


class QueryFailedError(LakeError):
    """The engine gave up while computing; the text names the kind of failure and no value."""

    kind = Kind.INCORRECT


class QueryStoppedError(LakeError):
    """The statement took longer than the caller allowed and was stopped; nothing was changed."""

    kind = Kind.INCORRECT


class EngineMissingError(LakeError):
    """What the chosen engine needs is not installed; the text says how to get it."""

    kind = Kind.UNAVAILABLE


@contextmanager
def naming_disk_faults(place: str) -> Iterator[None]:
    """Turn a full disk into `LakeFullError`, whichever library met it; other failures pass."""
    try:
        yield
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        if is_disk_full(error):
            raise LakeFullError(say["full"], place=place) from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Tell whether `error` says that there is no room left on the disk."""
    if isinstance(error, OSError) and not isinstance(error, pa.ArrowInvalid):
        return error.errno in _FULL
    if isinstance(error, duckdb.OutOfMemoryException):
        # DuckDB's word for a temporary folder that may not grow any more.
        return "max_temp_directory_size" in str(error)
    return "No space left" in str(error) or "Disk quota" in str(error)
