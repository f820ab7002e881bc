"""The demonstration: when its files are told to have arrived, and its accounts with public passwords."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from kangshu import directory
from kangshu.app.files import institution_of_folder
from kangshu.app.platform import Platform
from kangshu.intake import ZONE, period_in_name
from kangshu.kernel.texts import Text
from kangshu.security import operations as security
from kangshu.security.errors import AccountExistsError
from kangshu.security.principals import Reach, Role

_LATEST_DAYS = 21  # arbitrary: the slowest institution needs three weeks
_MESSAGES_BY = time(23, 59)
_PASSWORD = "Kangshu-Demo-2026"  # noqa: S105 - a demonstration's password, shown on its sign-in page


@dataclass(frozen=True, kw_only=True)
class DemoPerson:
    """One demo account."""

    name: str
    title: Text
    role: Role
    at_hospital: bool = False
    password: str = _PASSWORD


PEOPLE = (
    DemoPerson(
        name="centre",
        title=Text(zh="中心业务员", en="centre staff"),
        role=Role.CENTRE_STAFF,
    ),
    DemoPerson(
        name="statistics",
        title=Text(zh="统计员", en="statistician"),
        role=Role.STATISTICIAN,
    ),
    DemoPerson(
        name="doctor",
        title=Text(zh="医院医生", en="clinician of a hospital"),
        role=Role.CLINICIAN,
        at_hospital=True,
    ),
    DemoPerson(
        name="hospital",
        title=Text(zh="医院信息科", en="hospital's IT"),
        role=Role.INSTITUTION_IT,
        at_hospital=True,
    ),
    DemoPerson(name="auditor", title=Text(zh="审计员", en="auditor"), role=Role.AUDITOR),
    DemoPerson(name="admin", title=Text(zh="系统管理员", en="administrator"), role=Role.ADMINISTRATOR),
)


async def make_accounts(platform: Platform) -> list[DemoPerson]:
    """Make the accounts that are not there yet; those of a hospital at the region's largest."""
    async with platform.database.connection() as connection:
        institutions = await directory.list_institutions(connection, within=[Reach.region()], limit=500)
    hospital = max(institutions, key=lambda one: (one.beds or 0, one.code)).code if institutions else ""
    for person in PEOPLE:
        reach = Reach.institution(hospital) if person.at_hospital and hospital else Reach.region()
        try:
            async with platform.database.transaction() as connection:
                await security.create_account(
                    connection,
                    name=person.name,
                    title=person.title.zh,
                    password=person.password,
                    roles=[person.role],
                    reaches=[reach],
                    now=platform.clock.now(),
                )
        except AccountExistsError:
            continue
    return list(PEOPLE)


def first_month(today: date, *, months: int) -> date:
    """Return the first day of the simulated span, whose last month is the one before this month."""
    index = today.year * 12 + today.month - 1 - months
    return date(index // 12, index % 12 + 1, 1)


def told_arrivals(region: Path) -> dict[Path, date]:
    """Return the day on which each data-set file of a simulated region comes, as its truth tells."""
    with (region / "truth" / "files.csv").open(encoding="utf-8", newline="") as stream:
        return {
            region / "submissions" / row["file"]: date.fromisoformat(row["arrived"])
            for row in csv.DictReader(stream)
            if row["arrived"]
        }


def arrival_of(
    path: Path, *, now: datetime, start: date, told: Mapping[Path, date] | None = None
) -> datetime:
    """Return when a file of the demonstration is told to have arrived: some days after its period.

    `told` are the days that are known (`told_arrivals`). Of other files the day follows from the file's name,
    and the hour always does, so the same region always tells the same story; none lies after `now`. Files
    without a period of their own, such as the directory, come first. Messages come on their day, and those of
    one institution in the order of their files' names.
    """
    if institution_of_folder(path) != path.parent.name and (spoken := period_in_name(path.name)):
        return min(datetime.combine(spoken.start, _MESSAGES_BY, tzinfo=ZoneInfo(ZONE)), now)
    mark = zlib.crc32(f"{path.parent.name}/{path.name}".encode())
    hour = time(8 + mark % 9, mark // 9 % 60)
    if told and path in told:
        return min(datetime.combine(told[path], hour, tzinfo=ZoneInfo(ZONE)), now)
    period = period_in_name(path.name)
    day = period.end if period and period.end > start else start
    latest = max((now.date() - day).days, 0)
    moment = datetime.combine(day, hour, tzinfo=ZoneInfo(ZONE))
    return min(moment + timedelta(days=mark // 540 % (min(latest, _LATEST_DAYS) + 1)), now)
