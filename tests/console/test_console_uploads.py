"""Files that people upload: taken in, known again, refused with a reason."""

from __future__ import annotations

from datetime import date

import httpx
import pytest
from console_world import HOSPITAL, ORIGIN, SECOND_HOSPITAL, Browser, Site, csv_bytes, residents, visit_rows

pytestmark = pytest.mark.database

ROWS = visit_rows(residents(5), institution=HOSPITAL, day=date(2026, 3, 16))
FILE = csv_bytes(ROWS)


async def _upload(
    browser: Browser, content: bytes, *, name: str = "门诊_2026-03-16.csv", json: bool = False, **fields: str
) -> httpx.Response:
    headers = {"Origin": ORIGIN} | ({"Accept": "application/json"} if json else {})
    return await browser.http.post(
        "/console/upload",
        data={"csrf": await browser.token(), **fields},
        files={"file": (name, content)},
        headers=headers,
        follow_redirects=True,
    )


def test_an_upload_leads_to_its_receipt(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        page = await _upload(browser, FILE)

        assert "/console/receipts/" in str(page.url)
        assert "全部入库" in page.text
        assert "桐山区人民医院" in page.text
        assert list((site.platform.home / "inbox").iterdir()) == []

    site_run(scenario)


def test_a_script_is_told_where_the_receipt_is(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        answer = await _upload(browser, FILE, json=True)

        assert answer.status_code == 202
        assert answer.json()["href"].startswith("/console/receipts/")

    site_run(scenario)


def test_the_same_file_again_is_a_duplicate(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")
        await _upload(browser, FILE)

        page = await _upload(browser, FILE)

        assert "重复文件，未再次入库" in page.text

    site_run(scenario)


@pytest.mark.parametrize(
    ("fields", "content", "text"),
    [
        ({"institution": SECOND_HOSPITAL}, FILE, "该机构不存在或不在您的数据范围内"),
        ({"dataset": "no_such"}, FILE, "没有这个数据集"),
        ({"period": "March"}, FILE, "数据期间应写作"),
        ({}, b"", "文件是空的"),
        ({}, b"x" * (1 << 20) + b"y", "文件超过大小上限"),
    ],
)
def test_an_upload_that_cannot_be_taken_says_why_and_leaves_nothing(site_run, fields, content, text):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        page = await _upload(browser, content, **fields)

        assert page.status_code == 422
        assert text in page.text
        assert site.submitted == []
        assert list((site.platform.home / "inbox").iterdir()) == []

    site_run(scenario)


def test_a_file_that_fits_nothing_has_a_receipt_that_says_so(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        page = await _upload(browser, b"a,b\n1,2\n", name="x.csv")

        assert "整份文件未被接收" in page.text

    site_run(scenario)


def test_an_upload_needs_our_own_form(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        for token in ("", "0" * 64):
            answer = await browser.http.post(
                "/console/upload",
                data={"csrf": token},
                files={"file": ("a.csv", FILE)},
                headers={"Origin": ORIGIN},
            )
            assert answer.status_code == 403
        foreign = await browser.http.post(
            "/console/upload", data={"csrf": await browser.token()}, files={"file": ("a.csv", FILE)}
        )

        assert foreign.status_code == 403
        assert site.submitted == []

    site_run(scenario)
