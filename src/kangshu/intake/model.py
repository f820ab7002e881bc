"""What arrived and what became of it; frozen values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path

from kangshu.kernel.periods import Period
from kangshu.kernel.texts import Text


class FileState(StrEnum):
    """What became of a file; `committed` is wholly in, every other state is wholly out."""

    RECEIVED = "received"  # kept, waiting
    WORKING = "working"
    COMMITTED = "committed"
    DUPLICATE = "duplicate"  # the same bytes stand already
    REJECTED = "rejected"  # the sender must correct it
    SUPERSEDED = "superseded"  # a corrected file took its place
    FAILED = "failed"  # the platform failed; it will try again


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A file at the door: where its bytes lie and what the sender says of it."""

    path: Path
    name: str
    bytes: int
    digest: bytes
    received_by: str
    received_at: datetime
    institution: str | None = None
    dataset: str | None = None
    period: str | None = None
    part: str = ""
    spooled: bool = False


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The platform's answer about one file. `reason` and `place` tell why it was not taken in."""

    id: int
    name: str
    state: FileState
    bytes: int
    received_at: datetime
    received_by: str
    dataset: str | None = None
    institution: str | None = None
    period: str | None = None
    format: str | None = None
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    warnings: int = 0
    unlinked: int = 0
    persons_created: int = 0
    reason: Text | None = None
    place: str | None = None
    duplicate_of: int | None = None
    supersedes: int | None = None
    superseded_by: int | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ReasonCount:
    """How many rows of a file one check refused (`error`) or marked (`warning`)."""

    rule: str
    field: str
    severity: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The figures of a file that was read to its end."""

    dataset: str
    institution: str
    period: Period
    format: str
    rows: int
    accepted: int
    rejected: int
    warnings: int
    unlinked: int
    persons_created: int
    reasons: tuple[ReasonCount, ...]


_SPAN = re.compile(
    r"(?<!\d)(20\d{2})-?(0[1-9]|1[0-2])(?:-|_|至|~)+(20\d{2})-?(0[1-9]|1[0-2])(?!\d)", re.ASCII
)
_DAY = re.compile(r"(?<!\d)(20\d{2})[-_年]?(0[1-9]|1[0-2])[-_月]?(0[1-9]|[12]\d|3[01])日?(?!\d)", re.ASCII)
_MONTH = re.compile(r"(?<!\d)(20\d{2})[-_年]?(0[1-9]|1[0-2])月?(?!\d)", re.ASCII)
_QUARTER = re.compile(r"(?<!\d)(20\d{2})[-_]?[Qq]([1-4])(?!\d)", re.ASCII)
_YEAR = re.compile(r"(?<!\d)(20\d{2})年?(?!\d)", re.ASCII)
_PART = re.compile(r"(?:part|第|_p)[-_]?(\d{1,4})(?:部分)?(?=\D|$)", re.IGNORECASE | re.ASCII)
_SHARE = 0.9  # arbitrary: a tenth of the rows may lie outside the period that names a file
_NAME_MOST = 200  # arbitrary: enough to find the file by
_FIRST_DAY, _LAST_DAY = date(1800, 1, 1), date(2199, 12, 31)  # others say "unknown" or are slips


def kept_name(name: str) -> str:
    """Return a file's name as it is kept and shown: no folders, nothing that does not print.

    Names come from strangers' machines and hold anything, even halves of characters; a name is
    never used as a path.
    """
    bare = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(character for character in bare if character.isprintable())[-_NAME_MOST:] or "file"


def period_in_name(name: str) -> Period | None:
    """Return the period that a file's name tells, such as `front_page_2026-03.csv`, if it tells one."""
    label = _label_in(name)
    try:
        return Period.parse(label) if label else None
    except ValueError:  # 31 February, or a span that ends before it begins
        return None


def _label_in(name: str) -> str | None:
    if found := _SPAN.search(name):
        return f"{found[1]}-{found[2]}..{found[3]}-{found[4]}"
    if found := _QUARTER.search(name):
        last = int(found[2]) * 3
        return f"{found[1]}-{last - 2:02d}..{found[1]}-{last:02d}"
    if found := _DAY.search(name):
        return f"{found[1]}-{found[2]}-{found[3]}"
    if found := _MONTH.search(name):
        return f"{found[1]}-{found[2]}"
    found = _YEAR.search(name)
    return found[1] if found else None


def part_in_name(name: str) -> str:
    """Return the part that a file's name tells (`..._part2.csv`), or nothing."""
    found = _PART.search(name)
    return found[1].lstrip("0") or "0" if found else ""


def period_of_days(days: Mapping[date, int]) -> Period | None:
    """Return the smallest day, month, year or run of months in which nearly all rows lie.

    `days` counts rows by the day of their event. A few rows with a far-off date do not stretch the
    period: a corrected file must find its predecessor by it.
    """
    days = {day: rows for day, rows in days.items() if _FIRST_DAY <= day <= _LAST_DAY}
    if not days:
        return None
    enough = _SHARE * sum(days.values())
    for width in (10, 7, 4):
        counts: dict[str, int] = {}
        for day, rows in days.items():
            label = day.isoformat()[:width]
            counts[label] = counts.get(label, 0) + rows
        label, rows = max(counts.items(), key=lambda item: (item[1], item[0]))
        if rows >= enough:
            return Period.parse(label)
    return Period.around(first=min(days), last=max(days))
