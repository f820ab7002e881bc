"""How long to wait before the next attempt, and what to write down about the last one."""

from __future__ import annotations

import errno
from datetime import timedelta

import asyncpg

from kangshu.kernel.errors import KangshuError, Kind

REPAIR_PAUSE = timedelta(seconds=30)
"""How long to wait when the environment has to be repaired first; such attempts do not count."""

_LONGEST = timedelta(hours=1)


def pause_after(attempts: int) -> timedelta:
    """Return the pause after so many failed attempts: 2, 4, 8 ... seconds, at most an hour.

    >>> pause_after(3).total_seconds()
    8.0
    """
    return min(timedelta(seconds=2 ** min(attempts, 12)), _LONGEST)


def needs_repair(error: BaseException) -> bool:
    """Tell whether the failure is the environment's (database down, disk full) and no fault of the work."""
    if isinstance(error, KangshuError):
        return error.kind is Kind.UNAVAILABLE
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, (asyncpg.DiskFullError, asyncpg.PostgresConnectionError))


def describe(error: BaseException) -> str:
    """Return what may be kept about a failure: its class, and its sentence only where that is ours.

    Messages of foreign exceptions quote values, and those may be somebody's.
    """
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, KangshuError) else name
