"""One's own account: password and second factor; the audit page for those who watch."""

from __future__ import annotations

import re
from datetime import timedelta

import pyotp
import pytest
from console_world import PASSWORD, Site

from kangshu.audit import seal

pytestmark = pytest.mark.database

NEW_PASSWORD = "Mountain-2027"


def test_a_changed_password_ends_the_other_sessions_and_keeps_this_one(site_run):
    async def scenario(site: Site) -> None:
        here, there = await site.signed_in("centre"), await site.signed_in("centre")

        page = await here.post(
            "/console/account/password", {"present": PASSWORD, "new": NEW_PASSWORD, "again": NEW_PASSWORD}
        )

        assert "密码已更改" in page.text
        assert "/console/sign-in" in str((await there.get("/console/")).url)
        assert (await site.browser().sign_in("centre")).status_code == 401
        assert (await site.browser().sign_in("centre", NEW_PASSWORD)).status_code == 200

    site_run(scenario)


@pytest.mark.parametrize(
    ("present", "new", "again", "text"),
    [
        (PASSWORD, NEW_PASSWORD, "Mountain-2028", "两次输入的新密码不一致"),
        ("wrong", NEW_PASSWORD, NEW_PASSWORD, "登录"),
        (PASSWORD, "short", "short", "密码"),
        (PASSWORD, "centre-Password-1", "centre-Password-1", "账户名"),
    ],
)
def test_a_password_is_not_changed_without_proof_or_to_a_weak_one(site_run, present, new, again, text):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        page = await browser.post(
            "/console/account/password", {"present": present, "new": new, "again": again}
        )

        assert page.status_code == 422
        assert text in page.text
        assert (await site.browser().sign_in("centre")).status_code == 200

    site_run(scenario)


def test_a_second_factor_is_scanned_confirmed_and_then_demanded(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        shown = await browser.post("/console/account/otp")
        secret = re.search(r'class="code secret">([A-Z2-7]+)<', shown.text)
        assert secret is not None
        wrong = await browser.post("/console/account/otp/confirm", {"otp": "000000"})
        right = await browser.post(
            "/console/account/otp/confirm", {"otp": pyotp.TOTP(secret[1]).at(site.clock.moment)}
        )
        site.clock.moment += timedelta(minutes=2)
        without = await site.browser().sign_in("centre")
        with_code = await site.browser().sign_in("centre", otp=pyotp.TOTP(secret[1]).at(site.clock.moment))

        assert "<svg" in shown.text
        assert " style=" not in shown.text
        assert wrong.status_code == 422
        assert "已启用" in right.text
        assert without.status_code == 401
        assert with_code.status_code == 200

    site_run(scenario)


def test_the_account_page_tells_roles_reach_and_permissions(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("doctor")

        page = (await browser.get("/console/account")).text

        assert "冯医生" in page
        assert "99010100000000010A1000" in page
        assert "检索居民" in page

    site_run(scenario)


def test_an_auditor_lists_entries_and_verifies_the_chain(site_run):
    async def scenario(site: Site) -> None:
        await site.browser().sign_in("centre", "Wrong-password-1")
        await site.browser().sign_in("never-was", "Wrong-password-1")
        browser = await site.signed_in("auditor")

        page = (await browser.get("/console/audit")).text
        mine = (await browser.get("/console/audit?actor=auditor&action=console.sign-in")).text
        verified = (await browser.post("/console/audit/verify")).text

        assert "周业务" in page
        assert "未知账户" in page
        assert "never-was" not in page
        assert "staff:centre" not in mine
        assert "审计链完整" in verified

    site_run(scenario)


def test_an_auditor_sees_that_the_chain_was_changed(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("auditor")
        platform = site.platform
        await seal(
            platform.database, keys=platform.keys, anchor=platform.home / "anchor", now=site.clock.moment
        )
        async with platform.database.transaction() as connection:
            await connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER ALL")
            await connection.execute("UPDATE audit_entry SET actor_name = '别人'")

        page = (await browser.post("/console/audit/verify")).text

        assert "审计链异常" in page

    site_run(scenario)


def test_audit_entries_come_in_pages(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("statistics")
        for _ in range(105):
            await browser.http.get("/console/audit")
        auditor = await site.signed_in("auditor")
        platform = site.platform
        await seal(
            platform.database, keys=platform.keys, anchor=platform.home / "anchor", now=site.clock.moment
        )

        first = (await auditor.get("/console/audit?action=console.refused")).text
        older = re.search(r'rel="next" href="([^"]+)"', first)
        assert older is not None
        second = (await auditor.get(older[1].replace("&amp;", "&"))).text

        assert first.count('class="num code"') == 100
        assert second.count('class="num code"') == 5

    site_run(scenario)
