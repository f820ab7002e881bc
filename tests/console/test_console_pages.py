"""What the pages about arrivals, institutions and declarations show."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime

import pytest
from console_world import HOSPITAL, SECOND_HOSPITAL, Site, csv_bytes, lab_rows, residents, send, visit_rows

from kangshu.console.pages.institutions import matrix
from kangshu.intake import StandingCount

pytestmark = pytest.mark.database

YESTERDAY = datetime(2026, 3, 17, 3, 0, tzinfo=UTC)
DAY = date(2026, 3, 16)


async def _arrivals(site: Site) -> list[int]:
    """One good file, one with refused rows, its copy, and one that fits nothing."""
    people = residents(12)
    visits = csv_bytes(visit_rows(people, institution=HOSPITAL, day=DAY))
    labs = csv_bytes(
        lab_rows(people, institution=SECOND_HOSPITAL, day=DAY, wrong_every=9), encoding="gb18030"
    )
    return [
        await send(site.platform, visits, name="门诊_2026-03-16.csv", institution=HOSPITAL, now=YESTERDAY),
        await send(site.platform, labs, name="检验_2026-03-16.csv", institution=SECOND_HOSPITAL),
        await send(site.platform, labs, name="检验_2026-03-16.csv", institution=SECOND_HOSPITAL),
        await send(site.platform, b"a,b\n1,2\n", name="=cmd.csv", institution=HOSPITAL),
    ]


def test_the_overview_counts_what_arrived_today_this_month_and_by_division(site_run):
    async def scenario(site: Site) -> None:
        await _arrivals(site)
        browser = await site.signed_in("centre")

        text = _text((await browser.get("/console/")).text)

        assert "机构 10 本月已报送 2 家" in text
        assert "今日到达 72 行 3 个文件" in text
        assert "本月到达 84 行 4 个文件" in text
        assert "本月退回 8 行 退回率 9.5%" in text
        assert "居民 12 人" in text
        assert "云泽市 12 0% 1 / 4" in text
        assert "澜川市 72 11.1% 1 / 4" in text
        assert "本月无报送的机构 8 家" in text

    site_run(scenario)


def test_the_overview_of_an_institution_is_about_itself_alone(site_run):
    async def scenario(site: Site) -> None:
        await _arrivals(site)
        browser = await site.signed_in("hospital")

        page = (await browser.get("/console/")).text
        text = _text(page)

        assert "机构 1 本月已报送 1 家" in text
        assert "本月到达 12 行" in text
        assert "居民 12 人" not in text
        assert "南屏区人民医院" not in page

    site_run(scenario)


def test_an_empty_region_has_pages_too(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        for path in (
            "/console/",
            "/console/receipts",
            "/console/institutions",
            f"/console/institutions/{HOSPITAL}",
        ):
            assert (await browser.get(path)).status_code == 200
        assert "近 31 天没有文件到达" in (await browser.get("/console/")).text

    site_run(scenario)


def test_receipts_are_filtered_by_institution_data_set_state_and_day(site_run):
    async def scenario(site: Site) -> None:
        visits, labs, copy, nothing = await _arrivals(site)
        browser = await site.signed_in("centre")

        async def listed(query: str) -> set[int]:
            page = (await browser.get(f"/console/receipts?{query}")).text
            return {
                int(number)
                for number in re.findall(r'class="code"[^>]*><a href="/console/receipts/(\d+)"', page)
            }

        assert await listed("") == {visits, labs, copy, nothing}
        assert await listed(f"institution={SECOND_HOSPITAL}") == {labs, copy}
        assert await listed("institution=桐山区人民") == {visits, nothing}
        assert await listed("dataset=lab_result") == {labs, copy}
        assert await listed("state=rejected") == {nothing}
        assert await listed("state=duplicate") == {copy}
        assert await listed("day=2026-03-17") == {visits}
        assert await listed(f"before={labs}") == {visits}
        assert await listed("institution=nowhere") == set()

    site_run(scenario)


def test_receipts_are_exported_for_a_spreadsheet_without_formulas(site_run):
    async def scenario(site: Site) -> None:
        await _arrivals(site)
        browser = await site.signed_in("centre")

        answer = await browser.get("/console/receipts.csv?institution=桐山区人民")
        rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))

        assert answer.content.startswith(b"\xef\xbb\xbf")
        assert rows[0][:3] == ["回执号", "文件名", "机构代码"]
        assert [row[1] for row in rows[1:]] == ["'=cmd.csv", "门诊_2026-03-16.csv"]
        assert rows[2][3] == "桐山区人民医院"

    site_run(scenario)


def test_a_receipt_tells_what_became_of_the_file_and_why(site_run):
    async def scenario(site: Site) -> None:
        _, labs, copy, nothing = await _arrivals(site)
        browser = await site.signed_in("centre")

        partly = _text((await browser.get(f"/console/receipts/{labs}")).text)
        again = _text((await browser.get(f"/console/receipts/{copy}")).text)
        refused = _text((await browser.get(f"/console/receipts/{nothing}")).text)
        english = _text((await browser.get(f"/console/receipts/{labs}?lang=en")).text)

        assert "已入库，但有 8 行被退回" in partly
        assert "值域检查 异常标志" in partly
        assert "GB18030" in partly
        assert f"内容与回执 {labs} 完全相同" in again
        assert "整份文件未被接收 标题行与任何已声明的数据集都不相符" in refused
        assert "Taken in, but 8 rows were returned" in english

    site_run(scenario)


def test_the_returned_rows_can_be_downloaded_and_hold_no_value(site_run):
    async def scenario(site: Site) -> None:
        _, labs, *_ = await _arrivals(site)
        browser = await site.signed_in("centre")

        answer = await browser.get(f"/console/receipts/{labs}/rejects.csv")
        other = await browser.get(f"/console/receipts/{labs - 1}/rejects.csv")

        assert answer.status_code == 200
        assert "attachment" in answer.headers["content-disposition"]
        for person in residents(12):
            assert person.number not in answer.text
            assert person.name not in answer.text
        assert other.status_code == 404

    site_run(scenario)


def test_another_institutions_receipt_looks_like_none(site_run):
    async def scenario(site: Site) -> None:
        _, labs, *_ = await _arrivals(site)
        browser = await site.signed_in("hospital")

        for path in ("", "/state", "/rejects.csv"):
            there = await browser.get(f"/console/receipts/{labs}{path}")
            missing = await browser.get(f"/console/receipts/999999{path}")

            assert there.status_code == missing.status_code == 404
        for wrong in ("0x1", "-1", "1" * 40, "x"):
            assert (await browser.get(f"/console/receipts/{wrong}")).status_code == 404

    site_run(scenario)


def test_a_waiting_page_can_ask_for_the_state_alone(site_run):
    async def scenario(site: Site) -> None:
        _, labs, *_ = await _arrivals(site)
        browser = await site.signed_in("centre")

        assert (await browser.get(f"/console/receipts/{labs}/state")).json() == {"state": "committed"}

    site_run(scenario)


def test_institutions_are_found_by_name_division_grade_and_silence(site_run):
    async def scenario(site: Site) -> None:
        await _arrivals(site)
        browser = await site.signed_in("centre")

        async def listed(query: str) -> int:
            page = (await browser.get(f"/console/institutions?{query}")).text
            return len(re.findall(r'class="row-link" href="/console/institutions/', page))

        assert await listed("") == 10
        assert await listed("name=人民医院") == 5
        assert await listed("division=990100") == 4
        assert await listed("division=990101") == 2
        assert await listed("level=3") == 3
        assert await listed("reporting=yes") == 2
        assert await listed("reporting=silent") == 8
        assert await listed("name=没有这家") == 0

    site_run(scenario)


def test_an_institutions_page_shows_its_months_its_rates_and_its_reasons(site_run):
    async def scenario(site: Site) -> None:
        await _arrivals(site)
        browser = await site.signed_in("centre")

        text = _text((await browser.get(f"/console/institutions/{SECOND_HOSPITAL}")).text)

        assert "南屏区人民医院" in text
        assert "云泽省 澜川市 南屏区" in text
        assert "数据集 2026-03 退回率 检验结果 64 11.1%" in text
        assert "值域检查 异常标志" in text
        assert (await browser.get("/console/institutions/nobody")).status_code == 404

    site_run(scenario)


def test_every_data_set_and_every_code_table_has_a_page_in_both_languages(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("auditor")
        pack = site.platform.pack
        paths = [f"/console/datasets/{name}" for name in pack.datasets]
        paths += [f"/console/codes/{name}" for name in pack.codes]

        for language in ("zh", "en"):
            for path in paths:
                assert (await browser.get(f"{path}?lang={language}")).status_code == 200, path
        assert (await browser.get("/console/datasets/none")).status_code == 404
        assert (await browser.get("/console/codes/none")).status_code == 404

    site_run(scenario)


def test_a_data_sets_page_shows_fields_value_sets_and_rules(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        page = (await browser.get("/console/datasets/front_page")).text
        template = await browser.get("/console/datasets/front_page/template.xlsx")

        assert page.count('<tr id="field-') == 135
        assert page.count('<tr id="rule-') == len(site.platform.pack.datasets["front_page"].rules)
        assert 'id="field-patient_name"' in page
        assert "A11" in page
        assert template.content.startswith(b"PK")
        assert 'filename="front_page.xlsx"' in template.headers["content-disposition"]

    site_run(scenario)


def test_codes_are_searched_by_code_and_title_and_come_in_pages(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        found = (await browser.get("/console/codes/sex?text=女")).text
        first = (await browser.get("/console/codes/icd10")).text
        second = (await browser.get("/console/codes/icd10?page=2")).text

        assert found.count('<th scope="row" class="code">') == 1
        assert first.count('<th scope="row" class="code">') == 200
        assert "page=2" in first
        assert first != second

    site_run(scenario)


def test_what_people_type_is_shown_as_text_and_never_as_markup(site_run):
    async def scenario(site: Site) -> None:
        await send(
            site.platform, b"a,b\n1,2\n", name='<img src=x onerror="alert(1)">.csv', institution=HOSPITAL
        )
        browser = await site.signed_in("centre")

        pages = [
            await browser.get("/console/receipts"),
            await browser.get('/console/receipts?institution="><script>alert(1)</script>'),
            await browser.get("/console/institutions?name=<script>alert(1)</script>"),
        ]

        for page in pages:
            assert "<script>alert" not in page.text
            assert "<img" not in page.text

    site_run(scenario)


def _text(html: str) -> str:
    """The words of a page, one space between them."""
    words = re.sub(r"<(script|style|svg|title)\b.*?</\1>|<[^>]+>", " ", html, flags=re.S)
    return " ".join(words.split())


def test_a_file_for_several_months_leaves_no_gap_in_the_table():
    def standing(dataset: str, period: str, rows: int) -> StandingCount:
        return StandingCount(
            institution=HOSPITAL,
            dataset=dataset,
            period=period,
            rows=rows,
            accepted=rows,
            rejected=0,
            warnings=0,
            last_arrival=YESTERDAY,
        )

    table = matrix(
        [
            standing("lab_result", "2026-01", 10),
            standing("lab_result", "2026-03", 10),
            standing("operation", "2026-01..2026-02", 3),
        ],
        titles={},
    )

    assert table.months == ("2026-01", "2026-02", "2026-03")
    lab, operation = ([(cell.rows, cell.covered) for cell in row.cells] for row in table.rows)
    assert lab == [(10, True), (0, False), (10, True)]
    assert operation == [(3, True), (0, True), (0, False)]
