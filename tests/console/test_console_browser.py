"""The console in a real browser: by mouse, by keyboard, on a phone."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from console_life import DIASTOLIC, DOCUMENT, EARLIER_DOCUMENT, GLUCOSE, LETTER, SYSTOLIC, live
from console_messages import Replayer, keep, live_messages
from console_world import (
    HOSPITAL,
    PASSWORD,
    SECOND_HOSPITAL,
    csv_bytes,
    doors,
    drug_rows,
    lab_rows,
    open_world,
    residents,
    send,
    settle,
    visit_rows,
)

CHROMIUM = os.environ.get("KANGSHU_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.database,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: install it or set KANGSHU_CHROMIUM"),
]

PEOPLE = residents(8)
MAN = PEOPLE[0]
PAGES = (
    "/console/",
    "/console/receipts",
    "/console/receipts/2",
    "/console/messages",
    "/console/messages/2",
    "/console/upload",
    "/console/institutions",
    f"/console/institutions/{HOSPITAL}",
    f"/console/quality/institution/{HOSPITAL}",
    "/console/quality/institution",
    "/console/quality/tasks",
    "/console/quality/reconciliations",
    f"/console/quality/reconciliations/RC006/{HOSPITAL}?month=2026-01",
    "/console/catalogue",
    "/console/catalogue?text=unit",
    "/console/catalogue/lab_result",
    "/console/catalogue/lab_result/unit",
    "/console/datasets",
    "/console/datasets/front_page",
    "/console/codes",
    "/console/codes/sex",
    "/console/quality",
    "/console/quality/circulars",
    "/console/quality/circulars/2026-01",
    "/console/persons",
    "/console/reviews",
    "/console/account",
    "/console/audit",
)
CHECK = """() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const say = (text, node) => faults.push(text + ": " + node.outerHTML.slice(0, 120));
  if (all("h1").length !== 1) faults.push("not one h1");
  for (const name of ["main", "header"]) if (!document.querySelector(name)) faults.push("no " + name);
  const ids = all("[id]").map((node) => node.id);
  for (const id of new Set(ids))
    if (ids.filter((one) => one === id).length > 1) faults.push("id twice: " + id);
  for (const node of all("input:not([type=hidden]), select, textarea"))
    if (!node.labels.length && !node.ariaLabel) say("no label", node);
  for (const node of all("a, button"))
    if (!node.hidden && !node.textContent.trim() && !node.ariaLabel && !node.closest("svg"))
      say("no name", node);
  for (const name of ["aria-labelledby", "aria-describedby"])
    for (const node of all("[" + name + "]"))
      for (const id of node.getAttribute(name).split(" "))
        if (!document.getElementById(id)) say("names nothing", node);
  for (const node of all("svg"))
    if (node.getAttribute("aria-hidden") !== "true" && node.getAttribute("role") !== "img")
      say("picture", node);
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) faults.push("wider than the window by " + wide);
  return faults;
}"""


class LiveClock:
    """The moment it is, for a browser does not wait for a test's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class LiveSite:
    """The doors on a port of this machine, in a thread of their own."""

    def __init__(self, *, home: Path, database_url: str, keys: Any) -> None:
        self._home, self._database_url, self._keys = home, database_url, keys
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server: uvicorn.Server | None = None
        self.person = 0
        """The number of the resident who has everything."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(60), "the doors open within a minute"

    def stop(self) -> None:
        if self._server:
            self._server.should_exit = True
        self._thread.join(20)
        self._listener.close()

    async def _run(self) -> None:
        clock: Any = LiveClock()
        world = open_world(home=self._home, database_url=self._database_url, keys=self._keys, clock=clock)
        async with world as platform:
            await settle(platform)
            day = datetime.now(UTC).date() - timedelta(days=3)
            for rows, name, institution in (
                (lab_rows(PEOPLE, institution=HOSPITAL, day=day, wrong_every=20), "lab", HOSPITAL),
                (visit_rows(PEOPLE, institution=SECOND_HOSPITAL, day=day), "visit", SECOND_HOSPITAL),
                (drug_rows(PEOPLE, institution=SECOND_HOSPITAL, day=day), "drug", SECOND_HOSPITAL),
            ):
                await send(platform, csv_bytes(rows), name=f"{name}_{day}.csv", institution=institution)
            await keep(platform, *live_messages(datetime.now(UTC)))
            self.person = await live(platform, MAN, today=datetime.now(UTC).date())
            app, _ = doors(platform, replay=Replayer())
            config = uvicorn.Config(app, log_config=None, access_log=False)
            self._server = uvicorn.Server(config)
            self._ready.set()
            await self._server.serve(sockets=[self._listener])


@pytest.fixture
def live_site(database_url: str, tmp_path: Path, keys: Any) -> Iterator[LiveSite]:
    site = LiveSite(home=tmp_path, database_url=database_url, keys=keys)
    site.start()
    yield site
    site.stop()


@pytest.fixture
def chromium(live_site: LiveSite) -> Iterator[Any]:
    # After the site: the driver keeps a loop in this thread, and the database's fixtures need one too.
    with playwright.sync_playwright() as driver:
        flags = [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
        ]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


class Tab:
    """A tab that notes what the page asks for and complains about."""

    def __init__(
        self, browser: Any, origin: str, *, width: int = 1440, height: int = 1000, **options: Any
    ) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": height}, base_url=origin, locale="zh-CN", **options
        )
        self.page = context.new_page()
        self.page.set_default_timeout(20_000)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on(
            "console", lambda line: self.complaints.append(line.text) if line.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def sign_in(self, name: str, language: str = "zh") -> None:
        self.page.goto(f"/console/sign-in?lang={language}")
        self.page.fill("#name", name)
        self.page.fill("#password", PASSWORD)
        self.page.click("#sign-in button[type=submit]")
        self.page.wait_for_url(lambda address: "sign-in" not in address)


def test_from_the_demo_account_to_a_receipt_and_a_residents_record(chromium, live_site, tmp_path: Path):
    tab = Tab(chromium, live_site.origin)
    page = tab.page
    today = date.today()
    file = tmp_path / f"门诊_{today}.csv"
    file.write_bytes(csv_bytes(visit_rows(PEOPLE, institution=HOSPITAL, day=today - timedelta(days=1))))

    page.goto("/console/")
    page.click("[data-fill][data-name=centre]")
    page.click("#sign-in button[type=submit]")
    page.wait_for_url("**/console/")
    assert page.inner_text("h1") == "区域总览"
    assert page.locator("svg[role=img] .accepted").count() >= 1

    page.click("text=上传数据 >> nth=0")
    page.set_input_files("#file", file)
    page.click("form[data-upload] button[type=submit]")
    page.wait_for_url("**/console/receipts/*")
    assert "全部入库" in page.inner_text("main")

    page.keyboard.press("g")
    page.keyboard.press("p")
    page.wait_for_url("**/console/persons")
    page.fill("#number", MAN.number)
    page.keyboard.press("Enter")
    page.click("td .button")
    page.check("input[name=purpose][value=quality]")
    page.click("text=打开档案 >> nth=-1")
    page.wait_for_selector(".timeline .entry")
    record = page.inner_text("main")
    assert "糖化血红蛋白" in record
    assert "南屏区人民医院" in record
    assert MAN.number not in page.content()

    page.click("text=显示完整标识")
    page.wait_for_selector("text=隐藏标识")
    assert MAN.number in page.content()
    page.click(".entry summary >> nth=0")
    assert page.is_visible(".entry[open] .entry-fields")

    assert tab.complaints == []
    assert all(address.startswith(live_site.origin) for address in tab.asked)
    assert not any(MAN.number in address or MAN.number[6:14] in address for address in tab.asked)


def test_the_keyboard_reaches_pages_search_and_help(chromium, live_site):
    tab = Tab(chromium, live_site.origin)
    page = tab.page
    tab.sign_in("centre")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/console/receipts")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "institution"
    page.keyboard.type("gd?")
    assert page.input_value("#institution") == "gd?"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")
    assert tab.complaints == []


@pytest.mark.parametrize(("width", "language"), [(1440, "zh"), (390, "zh"), (390, "en")])
def test_every_page_fits_its_window_and_names_its_parts(chromium, live_site, width: int, language: str):
    faults: dict[str, list[str]] = {}
    for account in ("centre", "auditor"):
        tab = Tab(chromium, live_site.origin, width=width, height=844)
        tab.sign_in(account, language)
        for path in PAGES:
            if (path == "/console/audit") == (account == "auditor"):
                tab.page.goto(path)
                faults[path] = tab.page.evaluate(CHECK)
        assert tab.complaints == []

    assert {path: found for path, found in faults.items() if found} == {}


@pytest.mark.parametrize(("width", "language"), [(1440, "zh"), (390, "zh"), (390, "en")])
def test_every_page_of_a_record_fits_its_window_and_names_its_parts(
    chromium, live_site, width: int, language: str
):
    tab = Tab(chromium, live_site.origin, width=width, height=844)
    page = tab.page
    tab.sign_in("doctor", language)
    record = f"/console/persons/{live_site.person}"
    page.goto(record)
    page.check("input[name=purpose][value=treatment]")
    page.click("form[action$='/open'] button[type=submit]")
    page.wait_for_selector(".timeline .entry")

    faults: dict[str, list[str]] = {}
    for path in (
        "",
        "?kind=laboratory&year=2026",
        f"/trend?code={GLUCOSE}",
        f"/trend?code={SYSTOLIC}&code={DIASTOLIC}",
        "/entries/Observation/obs-corrected",
        f"/entries/DocumentReference/{LETTER}",
        f"/documents/{DOCUMENT}",
        f"/documents/{EARLIER_DOCUMENT}",
    ):
        page.goto(record + path)
        for summary in page.query_selector_all("main summary"):
            summary.click()
        faults[path] = page.evaluate(CHECK)

    assert {path: found for path, found in faults.items() if found} == {}
    assert tab.complaints == []
    assert all(address.startswith(live_site.origin) for address in tab.asked)


def test_from_a_result_to_its_course_and_from_a_visit_to_its_document(chromium, live_site):
    tab = Tab(chromium, live_site.origin)
    page = tab.page
    tab.sign_in("doctor")
    page.goto(f"/console/persons/{live_site.person}")
    page.check("input[name=purpose][value=treatment]")
    page.click("form[action$='/open'] button[type=submit]")

    page.click(".kinds >> text=检验")
    page.wait_for_url("**kind=laboratory**")
    page.click(".entry-row:has-text('空腹血糖'):has-text('已更正') .entry-open")
    page.wait_for_url("**/trend?**")
    assert page.locator(".trend-mark").count() == 13
    assert page.locator(".chart .band").count() == 1
    page.click("tbody a >> nth=0")
    page.wait_for_url("**/entries/Observation/obs-corrected")
    assert "9.6" in page.inner_text(".is-changed del >> nth=0")

    page.click("text=返回档案")
    page.click(".entry-row:not(.is-void) .entry-open--text")
    page.wait_for_url(f"**/documents/{DOCUMENT}")
    assert MAN.name not in page.content()
    page.click("text=显示完整标识")
    page.wait_for_selector("text=下载原文")
    assert page.url.endswith(f"/documents/{DOCUMENT}")
    with page.expect_download() as download:
        page.click("text=下载原文")
    assert download.value.suggested_filename == f"document-{DOCUMENT}.xml"
    assert MAN.name.encode("gb18030") in Path(download.value.path()).read_bytes()
    assert tab.complaints == []


def test_on_a_phone_the_menu_opens_and_closes(chromium, live_site):
    tab = Tab(chromium, live_site.origin, width=390, height=844, has_touch=True)
    page = tab.page
    tab.sign_in("centre")

    assert not page.is_visible("#nav")
    page.click(".nav-button")
    assert page.is_visible("#nav")
    page.click("#nav >> text=接收回执")
    page.wait_for_url("**/console/receipts")
    assert not page.is_visible("#nav")


@pytest.mark.parametrize("width", [1440, 390])
def test_from_a_refused_message_to_its_text_and_another_try(chromium, live_site, width: int):
    tab = Tab(chromium, live_site.origin, width=width, height=844)
    page = tab.page
    tab.sign_in("hospital")

    page.goto("/console/messages")
    page.select_option("#state", "refused")
    page.click(".filters button[type=submit]")
    page.wait_for_url("**state=refused**")
    page.click("tbody .row-link >> nth=0")
    page.wait_for_selector(".body-lines .is-marked")
    assert "虚构" not in page.content()

    page.click("text=查看原文")
    page.wait_for_url("**/body")
    assert "虚构^人物" in page.inner_text(".body-lines .is-marked")
    page.click("text=遮盖")
    page.wait_for_selector("text=数值已遮盖")
    assert "虚构" not in page.content()
    page.click("main button:has-text('重新处理')")
    page.wait_for_selector(".flash .notice")

    assert "接收 1 条" in page.inner_text(".flash")
    assert tab.complaints == []
    assert all(address.startswith(live_site.origin) for address in tab.asked)


def test_the_pages_work_without_the_script(chromium, live_site, tmp_path: Path):
    tab = Tab(chromium, live_site.origin, java_script_enabled=False)
    page = tab.page
    tab.sign_in("centre")
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n" + secrets.token_hex(8))

    page.goto("/console/upload")
    page.set_input_files("#file", file)
    page.click("form[data-upload] button[type=submit]")
    page.wait_for_url("**/console/receipts/*")

    assert "整份文件未被接收" in page.inner_text("main")
