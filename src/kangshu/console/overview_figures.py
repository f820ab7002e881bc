"""The figures of the first page: what arrived, what stands, who is silent; kept for a moment.

Counting takes longer the more files there are. So that a thousand visitors do not count a thousand
times, a result is kept for ten times as long as it took to make, at most half a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from time import perf_counter

from kangshu.console.reach import own_codes, own_institutions
from kangshu.console.visits import Visit
from kangshu.directory import Division, Institution, list_divisions
from kangshu.identity import count_persons
from kangshu.intake import (
    DatasetCount,
    DayCount,
    SenderCount,
    list_dataset_counts,
    list_days,
    list_sender_counts,
)
from kangshu.standards.identifiers import DivisionLevel, division_prefix
from kangshu.storage.database import Connection

DAYS = 31
_KEEP_FACTOR = 10
_KEEP_MOST = timedelta(seconds=30)
_KEPT_MOST = 200  # arbitrary: more reaches than this are seldom looked at within half a minute


@dataclass(frozen=True, kw_only=True)
class DivisionFigures:
    """What arrived this month from the institutions of one division.

    `code` and `name` are None for the institutions that lie in none of the divisions shown (a provincial
    hospital, a place that nobody has listed): the figures add up to the region's.
    """

    code: str | None
    name: str | None
    institutions: int
    reporting: int
    rows: int
    accepted: int
    rejected: int


@dataclass(frozen=True, kw_only=True)
class SilentInstitution:
    """An institution from which nothing arrived this month."""

    code: str
    name: str
    last_arrival: datetime | None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Everything that the first page counts, for one reach."""

    institutions: int
    reporting: int
    files_today: int
    rows_today: int
    files_month: int
    rows_month: int
    rejected_month: int
    persons: int | None
    days: tuple[DayCount, ...]
    divisions: tuple[DivisionFigures, ...]
    datasets: tuple[DatasetCount, ...]
    silent: tuple[SilentInstitution, ...]

    @property
    def rows_standing(self) -> int:
        """Rows in the lake that count today."""
        return sum(dataset.accepted for dataset in self.datasets)


class FiguresCache:
    """Keeps figures by reach; belongs to one process."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], tuple[datetime, date, Figures]] = {}

    async def get(self, visit: Visit) -> Figures:
        """Return the figures of the visitor's reach, counted now or a moment ago."""
        reach = tuple(sorted(str(one) for one in visit.staff.reaches))
        today = visit.now.astimezone(visit.services.zone).date()
        kept = self._kept.get(reach)
        if kept is not None and visit.now < kept[0] and today == kept[1]:
            return kept[2]
        begun = perf_counter()
        async with visit.services.database.connection() as connection:
            figures = await _count(visit, connection, today=today)
        keep = min(_KEEP_MOST, timedelta(seconds=(perf_counter() - begun) * _KEEP_FACTOR))
        if len(self._kept) >= _KEPT_MOST:
            self._kept.clear()
        self._kept[reach] = (visit.now + keep, today, figures)
        return figures


async def _count(visit: Visit, connection: Connection, *, today: date) -> Figures:
    codes = await own_codes(visit, connection)
    month = today.replace(day=1)
    first = min(month, today - timedelta(days=DAYS - 1))
    days = await list_days(connection, first=first, institutions=codes)
    senders = await list_sender_counts(connection, since=month, institutions=codes)
    institutions = await own_institutions(visit, connection)
    by_code = {sender.institution: sender for sender in senders}
    this_month = [day for day in days if day.day >= month]
    divisions = await _divisions(visit, connection)
    return Figures(
        institutions=len(institutions),
        reporting=sum(sender.files > 0 for sender in senders),
        files_today=sum(day.files for day in days if day.day == today),
        rows_today=sum(day.rows for day in days if day.day == today),
        files_month=sum(day.files for day in this_month),
        rows_month=sum(day.rows for day in this_month),
        rejected_month=sum(day.rejected for day in this_month),
        persons=await count_persons(connection) if visit.staff.region_wide else None,
        days=_every_day(days, today=today),
        divisions=_by_division(divisions, institutions, by_code),
        datasets=tuple(await list_dataset_counts(connection, institutions=codes)),
        silent=_silent(institutions, by_code),
    )


def _every_day(days: Sequence[DayCount], *, today: date) -> tuple[DayCount, ...]:
    """Return the last days without a gap: on a day without arrivals there is a zero, not a hole."""
    by_day = {day.day: day for day in days}
    wanted = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    return tuple(
        by_day.get(day) or DayCount(day=day, files=0, rows=0, accepted=0, rejected=0) for day in wanted
    )


async def _divisions(visit: Visit, connection: Connection) -> list[Division]:
    """Return the outermost level of divisions within reach that has more than one member."""
    within = visit.staff.divisions[0] if visit.staff.divisions and not visit.staff.region_wide else None
    last: list[Division] = []
    for level in (DivisionLevel.CITY, DivisionLevel.COUNTY, DivisionLevel.TOWNSHIP):
        found = await list_divisions(connection, within=within, level=level)
        if len(found) > 1:
            return found
        last = found or last
    return last


def _by_division(
    divisions: Sequence[Division], institutions: Sequence[Institution], senders: dict[str, SenderCount]
) -> tuple[DivisionFigures, ...]:
    """Return the figures of each division that has institutions, and of those that lie in none."""
    rest = list(institutions)
    found: list[DivisionFigures] = []
    for division in divisions:
        inside = [one for one in rest if _lies_in(one.division_code, division.prefix)]
        rest = [one for one in rest if not _lies_in(one.division_code, division.prefix)]
        if inside:
            found.append(_figures_of(inside, senders, code=division.code, name=division.name))
    if rest:
        found.append(_figures_of(rest, senders, code=None, name=None))
    return tuple(found)


def _figures_of(
    institutions: Sequence[Institution],
    senders: dict[str, SenderCount],
    *,
    code: str | None,
    name: str | None,
) -> DivisionFigures:
    counts = [senders[one.code] for one in institutions if one.code in senders]
    return DivisionFigures(
        code=code,
        name=name,
        institutions=len(institutions),
        reporting=sum(count.files > 0 for count in counts),
        rows=sum(count.rows for count in counts),
        accepted=sum(count.accepted for count in counts),
        rejected=sum(count.rejected for count in counts),
    )


def _lies_in(code: str | None, prefix: str) -> bool:
    try:
        return bool(code) and division_prefix(code or "").startswith(prefix)
    except ValueError:
        return False


def _silent(
    institutions: Sequence[Institution], senders: dict[str, SenderCount]
) -> tuple[SilentInstitution, ...]:
    """Return who sent nothing this month, those that used to send first, the latest of them on top.

    An information centre sends lists, not cases: it is not missed. Nor is a village clinic that never
    sent anything itself, for its township's centre reports for it.
    """
    silent = [
        SilentInstitution(
            code=one.code,
            name=one.label,
            last_arrival=senders[one.code].last_arrival if one.code in senders else None,
        )
        for one in institutions
        if not one.is_centre
        and not (one.is_village_unit and one.code not in senders)
        and (one.code not in senders or senders[one.code].files == 0)
    ]
    return tuple(
        sorted(silent, key=lambda one: (one.last_arrival is None, -_seconds(one.last_arrival), one.code))
    )


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
