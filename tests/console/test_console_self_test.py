"""The self-test page: the same report as at home, and no trace of the file; everybody in it is made up."""

from __future__ import annotations

from datetime import date

import httpx
import pytest
from console_world import HOSPITAL, ORIGIN, Browser, Site, csv_bytes, residents, visit_rows

pytestmark = pytest.mark.database

ROWS = visit_rows(residents(5), institution=HOSPITAL, day=date(2026, 3, 16))


async def _check(browser: Browser, content: bytes, *, answer: str = "page", **fields: str) -> httpx.Response:
    return await browser.http.post(
        "/console/quality/check",
        data={"csrf": await browser.token(), "answer": answer, **fields},
        files={"file": ("门诊_2026-03-16.csv", content)},
        headers={"Origin": ORIGIN},
    )


def _wrong() -> bytes:
    rows = [dict(row) for row in ROWS]
    rows[1]["visited_at"] = "秘密"
    return csv_bytes(rows)


def test_a_good_file_has_nothing_to_mend_and_leaves_no_trace(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        page = await _check(browser, csv_bytes(ROWS))

        assert page.status_code == 200
        assert "可以接收" in page.text
        assert list((site.platform.home / "inbox").iterdir()) == []
        async with site.platform.database.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM quality_unit") == 0
            assert await connection.fetchval("SELECT count(*) FROM intake_file") == 0

    site_run(scenario)


def test_a_wrong_cell_is_named_by_row_and_field_and_never_shown(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        page = await _check(browser, _wrong(), dataset="outpatient_visit")
        report = await _check(browser, _wrong(), answer="report")

        assert "秘密" not in page.text
        assert "秘密" not in report.text
        assert "改好可加分" in page.text
        assert report.headers["content-disposition"].startswith("attachment")
        assert "自测报告" in report.text

    site_run(scenario)


def test_a_file_that_is_no_table_is_refused_with_a_reason(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        page = await _check(browser, b"\x00\x01\x02")

        assert 400 <= page.status_code < 500
        assert "无法检查" in page.text
        assert list((site.platform.home / "inbox").iterdir()) == []

    site_run(scenario)


def test_who_may_not_send_data_may_not_use_it(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("auditor")

        assert (await _check(browser, csv_bytes(ROWS))).status_code == 403

    site_run(scenario)
