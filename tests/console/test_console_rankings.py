"""Rankings and circulars in the console: who sees what, what is exported, what was issued stays."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from console_rankings import FEBRUARY, fill
from console_world import HOSPITAL, NOW, SECOND_HOSPITAL, Site, base_pack
from python_calamine import CalamineWorkbook

from kangshu.audit import list_entries
from kangshu.quality.circular import ISSUE_CIRCULAR
from kangshu.quality.rectifying import local_day
from kangshu.quality.scoring import ranking

pytestmark = pytest.mark.database

CIRCULAR = "/console/quality/circulars/2026-02"


async def _places(site: Site) -> list[Any]:
    async with site.platform.database.connection() as connection:
        return await ranking(connection, pack=base_pack(), month=FEBRUARY, now=local_day(NOW))


def _cells(page: str) -> list[str]:
    return [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", page, re.S)]


def test_the_ranking_shows_the_latest_month_that_is_over_and_leads_to_each_institution(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        places = await _places(site)
        browser = await site.signed_in("centre")

        page = (await browser.get("/console/quality")).text

        shown = re.findall(r'href="/console/quality/institution/(\w+)\?month=2026-02"', page)
        assert shown == [one.institution for one in places]
        for one in places:
            assert f"{one.total:.2f}" in page

    site_run(work)


def test_an_institution_sees_its_own_place_among_all_and_no_other(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        places = await _places(site)
        own = next(one for one in places if one.institution == HOSPITAL)
        browser = await site.signed_in("hospital")

        page = (await browser.get("/console/quality?month=2026-02")).text
        csv = (await browser.get("/console/quality/ranking.csv?month=2026-02")).text

        assert f"<b>{own.place}</b>" in page
        assert SECOND_HOSPITAL not in page
        assert [line.split(",")[1] for line in csv.splitlines()[1:]] == [HOSPITAL]

    site_run(work)


def test_a_city_ranks_its_own(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        browser = await site.signed_in("city")

        csv = (await browser.get("/console/quality/ranking.csv?month=2026-02")).text

        lines = [line.split(",") for line in csv.splitlines()[1:]]
        assert lines[0][0] == "1"
        assert {line[1][:4] for line in lines} == {"9902"}

    site_run(work)


def test_filters_narrow_who_is_compared(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        browser = await site.signed_in("centre")

        by_level = (await browser.get("/console/quality/ranking.csv?month=2026-02&level=3")).text
        by_kind = (await browser.get("/console/quality/ranking.csv?month=2026-02&kind=B1")).text
        by_place = (await browser.get("/console/quality/ranking.csv?month=2026-02&division=990101")).text
        by_data = (await browser.get("/console/quality?month=2026-02&dataset=front_page")).text

        assert len(by_level.splitlines()) == 1 + 3
        assert all(line.split(",")[1][17:19] == "B1" for line in by_kind.splitlines()[1:])
        assert all(line.split(",")[1].startswith("990101") for line in by_place.splitlines()[1:])
        assert 'value="front_page" selected' in by_data

    site_run(work)


def test_the_spreadsheet_of_the_ranking_has_the_numbers_of_the_page(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        places = await _places(site)
        browser = await site.signed_in("statistics")

        answer = await browser.get("/console/quality/ranking.xlsx?month=2026-02")

        rows = CalamineWorkbook.from_filelike(io.BytesIO(answer.content)).get_sheet_by_index(0).to_python()
        assert [(row[0], row[1], row[4]) for row in rows[1:]] == [
            (one.place, one.institution, one.total) for one in places
        ]

    site_run(work)


@pytest.mark.parametrize("path", ["?month=nonsense", "?month=2026", "?month=9999-12", "?division=x"])
def test_a_month_or_division_that_is_none_is_not_found(site_run, path: str):
    async def work(site: Site) -> None:
        browser = await site.signed_in("centre")

        assert (await browser.get(f"/console/quality{path}")).status_code == 404

    site_run(work)


def test_an_empty_region_has_pages_that_say_so(site_run):
    async def work(site: Site) -> None:
        browser = await site.signed_in("centre")

        ranked = await browser.get("/console/quality?month=2020-01&dataset=imaging")
        listed = await browser.get("/console/quality/circulars")
        drafted = await browser.get("/console/quality/circulars/2020-01")

        assert (ranked.status_code, listed.status_code, drafted.status_code) == (200, 200, 200)
        assert "还没有通报" in listed.text

    site_run(work)


def test_an_issued_circular_stays_as_it_was_and_goes_on_record(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        browser = await site.signed_in("centre")
        draft = await browser.get(CIRCULAR)
        assert "草稿" in draft.text

        issued = await browser.post(f"{CIRCULAR}/issue")
        await fill(site.platform, months=[FEBRUARY], each=1)
        later = await browser.get(CIRCULAR)
        again = await browser.post(f"{CIRCULAR}/issue")

        assert "通报已发布" in issued.text
        assert _cells(later.text) == _cells(draft.text)
        assert again.status_code == 409
        async with site.platform.database.connection() as connection:
            acts = await list_entries(connection, action=ISSUE_CIRCULAR, limit=5)
        assert [entry.resource for entry in acts] == ["circular/2026-02"]

    site_run(work)


def test_an_institution_sees_an_issued_circular_with_its_own_line_only(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        hospital = await site.signed_in("hospital")
        assert (await hospital.get(CIRCULAR)).status_code == 404
        centre = await site.signed_in("centre")
        await centre.get(CIRCULAR)
        await centre.post(f"{CIRCULAR}/issue")

        page = (await hospital.get(CIRCULAR)).text
        data = (await hospital.get(f"{CIRCULAR}.xlsx")).content

        assert HOSPITAL in page
        assert SECOND_HOSPITAL not in page
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(data))
        cells = [
            str(cell)
            for name in workbook.sheet_names
            for row in workbook.get_sheet_by_name(name).to_python()
            for cell in row
        ]
        assert HOSPITAL in cells
        assert SECOND_HOSPITAL not in cells

    site_run(work)


def test_who_may_not_manage_quality_cannot_issue(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        for name, status in (("statistics", 403), ("hospital", 403), ("city", 404)):
            browser = await site.signed_in(name)

            assert (await browser.post(f"{CIRCULAR}/issue")).status_code == status

    site_run(work)


def test_a_running_month_has_no_button_and_is_not_issued(site_run):
    async def work(site: Site) -> None:
        browser = await site.signed_in("centre")

        page = await browser.get("/console/quality/circulars/2026-03")
        answer = await browser.post("/console/quality/circulars/2026-03/issue")

        assert "/2026-03/issue" not in page.text
        assert answer.status_code == 409

    site_run(work)


def test_the_pdf_is_one_or_says_what_to_install(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        browser = await site.signed_in("centre")

        answer = await browser.get(f"{CIRCULAR}.pdf")

        if answer.status_code == 200:
            assert answer.content.startswith(b"%PDF-")
            assert answer.headers["content-type"] == "application/pdf"
        else:
            assert answer.status_code == 503
            assert "kangshu[pdf]" in answer.text or "fonts-noto-cjk" in answer.text

    site_run(work)
