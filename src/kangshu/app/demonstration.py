"""The demonstration's accounts, one for each kind of work; their passwords are public on purpose."""

from __future__ import annotations

from dataclasses import dataclass

from kangshu import directory
from kangshu.app.platform import Platform
from kangshu.kernel.texts import Text
from kangshu.security import operations as security
from kangshu.security.errors import AccountExistsError
from kangshu.security.principals import Reach, Role

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
