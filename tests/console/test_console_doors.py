"""Who gets in, what every answer carries, and what is shown when something goes wrong."""

from __future__ import annotations

import re

import pytest
from console_world import ACCOUNTS, HOSPITAL, ORIGIN, PASSWORD, Site

from kangshu.audit import list_entries
from kangshu.kernel.texts import Text
from kangshu.storage.errors import DatabaseUnavailableError

pytestmark = pytest.mark.database

PAGES = {
    "/console/": None,
    "/console/receipts": {"centre", "city", "statistics", "hospital", "admin"},
    "/console/upload": {"centre", "city", "hospital"},
    "/console/institutions": None,
    f"/console/institutions/{HOSPITAL}": None,
    "/console/datasets": None,
    "/console/datasets/lab_result": None,
    "/console/codes": None,
    "/console/persons": {"centre", "city", "doctor", "doctor2", "hospital", "desk"},
    "/console/reviews": {"centre", "city"},
    "/console/audit": {"auditor"},
    "/console/account": None,
}
ELSEWHERE = {"doctor2", "city"}
"""Whose reach does not include the hospital of the table above."""


@pytest.mark.parametrize("account", [name for name, *_ in ACCOUNTS])
def test_each_role_opens_its_pages_and_no_others(site_run, account: str):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in(account)
        home = await browser.get("/console/")

        for path, allowed in PAGES.items():
            answer = await browser.get(path)
            wanted = 200 if allowed is None or account in allowed else 403
            if path.endswith(HOSPITAL) and account in ELSEWHERE:
                wanted = 404  # out of reach looks like not there

            assert answer.status_code == wanted, path
            in_menu = f'href="{path}"' in home.text
            assert in_menu or wanted != 200 or path.count("/") > 2, f"{path} is open but not in the menu"
            assert not in_menu or wanted == 200, f"{path} is in the menu but not open"

    site_run(scenario)


def test_nobody_sees_a_page_without_signing_in_and_is_led_back_to_it(site_run):
    async def scenario(site: Site) -> None:
        browser = site.browser()

        page = await browser.get("/console/receipts?state=rejected")
        answer = await browser.post(
            "/console/sign-in",
            {"name": "centre", "password": PASSWORD, "next": _next(page.text)},
            follow=False,
        )

        assert "登录管理端" in page.text
        assert answer.headers["location"] == "/console/receipts?state=rejected"

    site_run(scenario)


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example/console/",
        "/console/../elsewhere",
        "/elsewhere",
        "/console//evil.example",
    ],
)
def test_signing_in_leads_only_to_our_own_pages(site_run, address: str):
    async def scenario(site: Site) -> None:
        answer = await site.browser().post(
            "/console/sign-in", {"name": "centre", "password": PASSWORD, "next": address}, follow=False
        )

        assert answer.headers["location"] in ("/console/", "/console/../elsewhere")
        assert "evil" not in answer.headers["location"]

    site_run(scenario)


def test_a_wrong_name_a_wrong_password_and_a_locked_account_look_the_same(site_run):
    async def scenario(site: Site) -> None:
        browser = site.browser()

        nobody = await browser.sign_in("nobody", "Wrong-password-1")
        wrong = await browser.sign_in("desk", "Wrong-password-1")
        for _ in range(5):
            await browser.sign_in("desk", "Wrong-password-1")
        locked = await browser.sign_in("desk")

        texts = {_without_moving_parts(page.text) for page in (nobody, wrong, locked)}
        assert {page.status_code for page in (nobody, wrong, locked)} == {401}
        assert len(texts) == 1

    site_run(scenario)


def test_signing_out_ends_the_session_on_the_server(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")
        session = browser.http.cookies["kangshu_session"]

        await browser.post("/console/sign-out")
        browser.http.cookies.set("kangshu_session", session, domain="console.test", path="/console")
        page = await browser.get("/console/receipts")

        assert str(page.url).startswith(f"{ORIGIN}/console/sign-in")

    site_run(scenario)


def test_an_idle_session_ends_after_half_an_hour(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        site.clock.moment = site.clock.moment.replace(hour=3, minute=1)
        page = await browser.get("/console/")

        assert "/console/sign-in" in str(page.url)
        assert "登录已过期" in page.text

    site_run(scenario)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_form_from_another_site_does_nothing(site_run, headers: dict[str, str]):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        answer = await browser.http.post(
            "/console/sign-out", data={"csrf": await browser.token()}, headers=headers
        )

        assert answer.status_code == 403
        assert (await browser.get("/console/")).status_code == 200

    site_run(scenario)


def test_a_form_needs_the_token_of_its_own_session(site_run):
    async def scenario(site: Site) -> None:
        browser, other = await site.signed_in("centre"), await site.signed_in("centre")

        for token in ("", "0" * 64, await other.token()):
            answer = await browser.http.post(
                "/console/sign-out", data={"csrf": token}, headers={"Origin": ORIGIN}
            )

            assert answer.status_code == 403

    site_run(scenario)


def test_every_answer_is_dressed(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        for path in (
            "/console/",
            "/console/sign-in",
            "/console/nothing",
            "/console/audit",
            "/console/receipts.csv",
        ):
            headers = (await browser.http.get(path)).headers

            assert "default-src 'none'" in headers["content-security-policy"], path
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert headers["referrer-policy"] == "same-origin"

    site_run(scenario)


def test_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(site_run):
    async def scenario(site: Site) -> None:
        answer = await site.browser().post(
            "/console/sign-in", {"name": "centre", "password": PASSWORD}, follow=False
        )

        cookie = next(
            value for value in answer.headers.get_list("set-cookie") if value.startswith("kangshu_session=")
        )
        assert {"HttpOnly", "SameSite=strict", "Path=/console"} <= {
            part.strip() for part in cookie.split(";")
        }

    site_run(scenario)


def test_the_language_is_chinese_until_somebody_switches(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        chinese = await browser.get("/console/")
        english = await browser.get("/console/?lang=en")
        later = await browser.get("/console/datasets")

        assert '<html lang="zh-CN">' in chinese.text
        assert '<html lang="en">' in english.text
        assert "Regional overview" in english.text
        assert '<html lang="en">' in later.text

    site_run(scenario)


def test_a_refused_page_is_on_record_and_says_what_to_do(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("statistics")

        page = await browser.get("/console/persons")

        assert page.status_code == 403
        assert "您无权查看此页" in page.text
        async with site.platform.database.connection() as connection:
            entries = await list_entries(connection, actor="staff:statistics", action="console.refused")
        assert [entry.resource for entry in entries] == ["/persons"]

    site_run(scenario)


def test_a_database_that_is_away_gives_a_page_that_opens_by_itself(site_run, monkeypatch):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        def away(*_: object) -> None:
            raise DatabaseUnavailableError(Text(zh="数据库无法连接", en="the database is away"))

        with monkeypatch.context() as patch:
            patch.setattr(site.platform.database, "connection", away)
            down = await browser.get("/console/receipts")
        up = await browser.get("/console/receipts")

        assert down.status_code == 503
        assert 'http-equiv="refresh"' in down.text
        assert down.headers["retry-after"] == "10"
        assert up.status_code == 200

    site_run(scenario)


def test_a_fault_of_ours_shows_nothing_of_itself(site_run, monkeypatch):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("secret detail 990102196805121016")

        monkeypatch.setattr(site.platform.database, "connection", broken)
        page = await browser.get("/console/receipts")

        assert page.status_code == 500
        assert "secret" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]

    site_run(scenario)


def test_static_files_are_kept_and_nothing_else_is_sent(site_run):
    async def scenario(site: Site) -> None:
        browser = site.browser()
        page = await browser.get("/console/sign-in")
        style = re.search(r'href="(/console/static/console\.css\?v=[0-9a-f]+)"', page.text)

        assert style is not None
        answer = await browser.get(style[1])
        outside = await browser.get("/console/static/..%2Fsite.py")

        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].startswith("text/css")
        assert outside.status_code == 404

    site_run(scenario)


def _next(html: str) -> str:
    found = re.search(r'name="next" value="([^"]*)"', html)
    assert found is not None
    return found[1].replace("&amp;", "&")


def _without_moving_parts(html: str) -> str:
    return re.sub(r'value="(nobody|desk)"', "", re.sub(r"\d{2}:\d{2}:\d{2}", "", html))
