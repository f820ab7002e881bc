"""A small synthetic region for the tests of the doors: places, accounts, files that were really taken in.

Nobody in it exists: division codes begin with 99, which no real place has. The fixture
`site_run` opens it.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from kangshu import api, console, directory
from kangshu.app.cards import Offices
from kangshu.app.pipeline import Senders
from kangshu.app.platform import Platform
from kangshu.app.settings import Settings
from kangshu.app.subscriptions import listeners, refusal_listeners
from kangshu.app.whereabouts import LakeWhereabouts
from kangshu.declarations import BASE_PACK, Pack, load_pack
from kangshu.identity import Linker, default_model
from kangshu.intake import IntakeServices, Receipt, describe_file, get_receipt, take_in
from kangshu.kernel.texts import Text
from kangshu.lake import Engine
from kangshu.mapping import load_authorities
from kangshu.mapping.rows import RowMapper
from kangshu.security.keys import Keys
from kangshu.security.operations import create_account
from kangshu.security.principals import Principal, Reach, Role
from kangshu.standards.identifiers import resident_check_digit
from kangshu.storage.database import Database

PASSWORD = "Riverbank-2026"
ORIGIN = "http://console.test"
NOW = datetime(2026, 3, 18, 2, 30, tzinfo=UTC)  # 10:30 on a Wednesday in the region
CITIES = (("990100", "云泽市"), ("990200", "澜川市"), ("990300", "青阳市"))
COUNTIES = (
    ("990101", "990100", "桐山区"),
    ("990102", "990100", "临泽县"),
    ("990201", "990200", "南屏区"),
    ("990202", "990200", "白河县"),
    ("990301", "990300", "清源区"),
)
HOSPITAL = "99010100000000010A1000"
SECOND_HOSPITAL = "99020100000000030A1000"
ACCOUNTS: tuple[tuple[str, str, Role, str], ...] = (
    ("centre", "周业务", Role.CENTRE_STAFF, "region"),
    ("city", "吴市级", Role.CENTRE_STAFF, "division:990200"),
    ("statistics", "郑统计", Role.STATISTICIAN, "region"),
    ("doctor", "冯医生", Role.CLINICIAN, f"institution:{HOSPITAL}"),
    ("doctor2", "陈医生", Role.CLINICIAN, f"institution:{SECOND_HOSPITAL}"),
    ("hospital", "褚信息", Role.INSTITUTION_IT, f"institution:{HOSPITAL}"),
    ("desk", "卫窗口", Role.DESK, "region"),
    ("auditor", "蒋审计", Role.AUDITOR, "region"),
    ("admin", "沈管理", Role.ADMINISTRATOR, "region"),
)
LAB_ITEMS = (
    ("GLU", "空腹血糖", "mmol/L", 3.9, 6.1),
    ("HBA1C", "糖化血红蛋白", "%", 4.0, 6.0),
    ("TC", "总胆固醇", "mmol/L", 2.8, 5.2),
    ("TG", "甘油三酯", "mmol/L", 0.5, 1.7),
    ("CREA", "肌酐", "μmol/L", 57, 111),
    ("ALT", "丙氨酸氨基转移酶", "U/L", 9, 50),
)
_FAMILY = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨"
_GIVEN = ("伟", "秀英", "娜", "敏", "静", "建国", "丽", "强", "磊", "洋", "艳", "桂兰", "子涵", "浩然")


@dataclass(frozen=True, kw_only=True)
class Resident:
    """A synthetic resident."""

    number: str
    name: str
    sex: str
    birth_date: date
    phone: str


@dataclass(kw_only=True)
class MovingClock:
    """A clock that tests move."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment


def residents(count: int, *, seed: int = 7) -> list[Resident]:
    """Return synthetic residents, the same for the same seed."""
    chance = np.random.default_rng(seed)
    return [_resident(index, chance) for index in range(count)]


def _resident(index: int, chance: np.random.Generator) -> Resident:
    county = COUNTIES[index % len(COUNTIES)][0]
    born = date(1938, 1, 1) + timedelta(days=int(chance.integers(0, 28_000)))
    sex = "1" if chance.random() < 0.5 else "2"
    order = int(chance.integers(0, 49)) * 2 + (1 if sex == "1" else 0)
    head = f"{county}{born:%Y%m%d}{index % 10}{order:02d}"
    return Resident(
        number=head + resident_check_digit(head),
        name=_FAMILY[int(chance.integers(len(_FAMILY)))] + _GIVEN[int(chance.integers(len(_GIVEN)))],
        sex=sex,
        birth_date=born,
        phone=f"1990000{index:04d}",
    )


def csv_bytes(rows: Sequence[dict[str, Any]], *, encoding: str = "utf-8") -> bytes:
    """Return rows as a CSV file with English headings."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(encoding)


def lab_rows(
    people: Iterable[Resident], *, institution: str, day: date, wrong_every: int = 0, items: int = 6
) -> list[dict[str, Any]]:
    """Return laboratory results; with `wrong_every` each such row breaks a rule."""
    rows: list[dict[str, Any]] = []
    chance = np.random.default_rng(day.toordinal())
    for person in people:
        for place, (code, name, unit, low, high) in enumerate(LAB_ITEMS[:items], 1):
            value = round(float(chance.normal((low + high) / 2, (high - low) / 2.2)), 2)
            flag = "H" if value > high else "L" if value < low else "N"
            rows.append(
                {
                    **_person_fields(person, institution),
                    "report_number": f"L{day:%Y%m%d}{person.number[6:17]}",
                    "item_number": place,
                    "visit_number": f"O{day:%Y%m%d}{person.number[6:17]}",
                    "reported_at": f"{day:%Y-%m-%d} 10:{place + 10}:00",
                    "item_code": code,
                    "item_name": name,
                    "value_text": f"{max(value, 0.1):g}",
                    "value_number": f"{max(value, 0.1):g}",
                    "unit": unit,
                    "reference_low": low,
                    "reference_high": high,
                    "flag": "Z" if wrong_every and len(rows) % wrong_every == 0 else flag,
                }
            )
    return rows


def visit_rows(people: Iterable[Resident], *, institution: str, day: date) -> list[dict[str, Any]]:
    """Return outpatient visits."""
    kinds = (
        ("I10.x00", "原发性高血压"),
        ("E11.900", "2型糖尿病"),
        ("J06.900", "急性上呼吸道感染"),
        ("K29.500", "慢性胃炎"),
    )
    return [
        {
            **_person_fields(person, institution),
            "visit_number": f"O{day:%Y%m%d}{person.number[6:17]}",
            "visited_at": f"{day:%Y-%m-%d} 09:{index % 50 + 10}:00",
            "visit_type": "1",
            "department_code": "03",
            "doctor_name": "韩医生",
            "chief_complaint": "头晕两天",
            "diagnosis_code": kinds[index % 4][0],
            "diagnosis_name": kinds[index % 4][1],
            "payment": "01",
            "total_cost": f"{80 + index * 3.5:.2f}",
        }
        for index, person in enumerate(people)
    ]


def drug_rows(people: Iterable[Resident], *, institution: str, day: date) -> list[dict[str, Any]]:
    """Return prescription items."""
    return [
        {
            **_person_fields(person, institution),
            "prescription_number": f"P{day:%Y%m%d}{person.number[6:17]}",
            "item_number": place,
            "visit_number": f"O{day:%Y%m%d}{person.number[6:17]}",
            "prescribed_at": f"{day:%Y-%m-%d} 11:05:00",
            "drug_code": code,
            "drug_name": name,
            "quantity": 2,
        }
        for person in people
        for place, (code, name) in enumerate(
            (("C08CA01", "苯磺酸氨氯地平片"), ("A10BA02", "盐酸二甲双胍片")), 1
        )
    ]


def _person_fields(person: Resident, institution: str) -> dict[str, Any]:
    return {
        "institution_code": institution,
        "resident_number": person.number,
        "patient_number": f"P{person.number[6:17]}",
        "patient_name": person.name,
        "sex": person.sex,
        "birth_date": person.birth_date.isoformat(),
        "phone": person.phone,
    }


def institution_rows(each: int = 2) -> list[dict[str, Any]]:
    """Return institutions: in each county one hospital and some primary units."""
    rows: list[dict[str, Any]] = []
    for order, (county, _, name) in enumerate(COUNTIES, 1):
        for place in range(each):
            number, kind = (order * 10, "A1000") if place == 0 else (order * 1000 + place, "B1000")
            rows.append(
                {
                    "institution_code": f"{county}{number:011d}{kind}",
                    "name": f"{name}人民医院" if place == 0 else f"{name}第{place}社区卫生服务中心",
                    "division_code": county,
                    "level": "3" if place == 0 and order % 2 else "2" if place == 0 else "1",
                    "type": "A100" if place == 0 else "B100",
                    "economic_type": "11",
                    "beds": 1200 // order if place == 0 else 20,
                    "staff": 1800 // order if place == 0 else 36,
                    "vendor": "本地厂商甲" if place % 2 else "本地厂商乙",
                }
            )
    return rows


@pytest.fixture
def site_run(database_url: str, tmp_path: Path, keys: Any) -> Callable[..., Any]:
    """Run `async fn(site)` against console and machine doors over a region with places and accounts."""

    def run_with_site(work: Callable[[Site], Awaitable[Any]], **options: Any) -> Any:
        async def scenario() -> Any:
            clock = MovingClock(moment=NOW)
            async with open_world(
                home=tmp_path, database_url=database_url, keys=keys, clock=clock
            ) as platform:
                await settle(platform)
                app, submitted = doors(platform, **options)
                return await work(Site(platform=platform, clock=clock, app=app, submitted=submitted))

        return asyncio.run(scenario())

    return run_with_site


_pack: list[Pack] = []


def base_pack() -> Pack:
    """Return the base pack, loaded once for a test run."""
    if not _pack:
        _pack.append(load_pack())
    return _pack[0]


_rows: list[RowMapper] = []


def base_rows() -> RowMapper:
    """Return the base pack's mapping of rows, compiled once for a test run."""
    if not _rows:
        _rows.append(RowMapper(base_pack(), load_authorities(BASE_PACK / "authorities.toml")))
    return _rows[0]


@asynccontextmanager
async def open_world(
    *, home: Path, database_url: str, keys: Keys, clock: MovingClock
) -> AsyncIterator[Platform]:
    """Open a platform on a test's database."""
    pack = base_pack()
    async with await Database.open(database_url) as database:
        engine = Engine(home, threads=2, memory_mib=256)
        try:
            yield Platform(
                home=home,
                settings=Settings(region_name="云泽省（合成）"),
                pack=pack,
                keys=keys,
                database=database,
                engine=engine,
                intake=IntakeServices(
                    database=database,
                    pack=pack,
                    home=home,
                    clock=clock,
                    make_linker=lambda file_id: Linker(keys, random=secrets.token_bytes, origin=file_id),
                    senders=Senders(),
                    listeners=listeners(pack),
                    refusal_listeners=refusal_listeners(pack),
                ),
                clock=clock,
                linkage=default_model(),
            )
        finally:
            engine.close()


async def settle(platform: Platform, *, each: int = 2) -> None:
    """Put places and accounts on record."""
    async with platform.database.transaction() as connection:
        await directory.load_divisions(
            connection,
            rows=[
                {"division_code": "990000", "name": "云泽省"},
                *({"division_code": code, "name": name, "parent_code": "990000"} for code, name in CITIES),
                *(
                    {"division_code": code, "name": name, "parent_code": city}
                    for code, city, name in COUNTIES
                ),
            ],
        )
        await directory.load_institutions(connection, rows=institution_rows(each))
    for name, title, role, reach in ACCOUNTS:
        async with platform.database.transaction() as connection:
            await create_account(
                connection,
                name=name,
                title=title,
                password=PASSWORD,
                roles=[role],
                reaches=[Reach.parse(reach)],
                now=platform.clock.now(),
            )


class Browser:
    """A browser of one member of the staff: keeps cookies, sends forms as pages do."""

    def __init__(self, app: Any) -> None:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url=ORIGIN)
        self.addresses: list[str] = []
        """Every address that was asked for or redirected to."""

    async def get(self, path: str, **more: Any) -> httpx.Response:
        """Open a page, following redirects."""
        response = await self.http.get(path, follow_redirects=True, **more)
        self._remember(response)
        return response

    async def post(
        self, path: str, fields: dict[str, str] | None = None, *, follow: bool = True, **more: Any
    ) -> httpx.Response:
        """Send a form of the page that is open, with its token and our origin."""
        headers = {"Origin": ORIGIN, **more.pop("headers", {})}
        data = {"csrf": await self.token(), **(fields or {})}
        response = await self.http.post(path, data=data, headers=headers, follow_redirects=follow, **more)
        self._remember(response)
        return response

    async def sign_in(self, name: str, password: str = PASSWORD, **more: str) -> httpx.Response:
        """Sign in and open the first page."""
        response = await self.http.post(
            "/console/sign-in",
            data={"name": name, "password": password, **more},
            headers={"Origin": ORIGIN},
            follow_redirects=True,
        )
        self._remember(response)
        return response

    async def token(self) -> str:
        """Return the form token of this session, from a page that everybody may open."""
        page = await self.http.get("/console/account")
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
        return found[1] if found else ""

    def _remember(self, response: httpx.Response) -> None:
        for one in (*response.history, response):
            self.addresses.append(str(one.request.url))
            self.addresses.append(one.headers.get("location", ""))


@dataclass(frozen=True, kw_only=True)
class Site:
    """The doors over a small region, and browsers to try them."""

    platform: Platform
    clock: MovingClock
    app: Starlette
    submitted: list[str]

    def browser(self) -> Browser:
        """Return a browser of its own."""
        return Browser(self.app)

    async def signed_in(self, name: str) -> Browser:
        """Return a browser in which `name` is signed in."""
        browser = self.browser()
        response = await browser.sign_in(name)
        assert response.status_code == 200, "the account can sign in"
        return browser


def doors(
    platform: Platform, *, upload_limit_bytes: int = 1 << 20, replay: Any = None
) -> tuple[Starlette, list[str]]:
    """Return console and machine doors over `platform`; uploads are taken in at once."""
    submitted: list[str] = []

    async def submit(
        *,
        file: Path,
        name: str,
        dataset: str | None,
        institution: str | None,
        period: str | None,
        principal: Principal,
    ) -> Receipt:
        submitted.append(name)
        arrival = describe_file(
            path=file,
            name=name,
            now=platform.clock.now(),
            received_by=principal.name,
            institution=institution,
            dataset=dataset,
            period=period,
        )
        receipt_id = await take_in(platform.intake, arrival)
        file.unlink()
        async with platform.database.connection() as connection:
            return await get_receipt(connection, receipt_id=receipt_id)

    shared: dict[str, Any] = {
        "database": platform.database,
        "keys": platform.keys,
        "pack": platform.pack,
        "clock": platform.clock,
        "random": secrets.token_bytes,
        "submit_upload": submit,
        "card_office": Offices(platform),
        "lake_home": platform.home,
        "inbox": platform.home / "inbox",
        "upload_limit_bytes": upload_limit_bytes,
    }
    pages = console.build(
        console.Services(
            engine=platform.engine,
            whereabouts=LakeWhereabouts(platform),
            rows=base_rows(),
            write_template=lambda dataset: b"PK" + dataset.name.encode(),
            anchor=platform.home / "anchor",
            replay=replay,
            region=Text(zh="云泽省（合成）", en="Yunze (synthetic)"),
            demo_accounts=(
                console.DemoAccount(name="centre", password=PASSWORD, title=Text(zh="业务员", en="staff")),
            ),
            **shared,
        )
    )
    machine = api.build(
        api.Services(
            version="test",
            take_message=_no_lane,
            write_fhir=_no_lane,
            read_fhir=_no_lane,
            whereabouts=LakeWhereabouts(platform),
            **shared,
        )
    )
    return Starlette(routes=[Mount("/console", app=pages), Mount("/", app=machine)]), submitted


async def _no_lane(*_: Any, **__: Any) -> Any:
    """This world has no message lane; the tests of the lane open their own."""
    raise AssertionError("no test of these pages sends messages")


async def send(
    platform: Platform,
    content: bytes,
    *,
    name: str,
    institution: str | None = None,
    dataset: str | None = None,
    now: datetime | None = None,
) -> int:
    """Take a file in and return its receipt's number."""
    path = platform.home / "incoming" / name
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    await asyncio.to_thread(path.write_bytes, content)
    arrival = describe_file(
        path=path,
        now=now or platform.clock.now(),
        received_by="合成报送",
        institution=institution,
        dataset=dataset,
    )
    return await take_in(platform.intake, arrival)
