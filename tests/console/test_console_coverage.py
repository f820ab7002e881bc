"""Coverage in the console: states in words, implausible months with their figures, reach, exports."""

from __future__ import annotations

import csv
import io
import re
from datetime import date

import pytest
from console_rankings import FEBRUARY, fill
from console_world import HOSPITAL, NOW, SECOND_HOSPITAL, Site, base_pack

from kangshu.audit import list_entries
from kangshu.quality.coverage import coverage
from kangshu.quality.plausibility import add_months, judge_cells
from kangshu.quality.rectifying import local_day

pytestmark = pytest.mark.database

PAGE = "/console/quality/coverage"
STATES = {"按时": "on-time", "迟报": "late", "不全": "incomplete", "缺报": "missing", "未到期": "not-due"}


async def drop(site: Site, *, institution: str = HOSPITAL) -> None:
    """Measure visits of five months, of which the last has a fifth of the usual rows, and judge it."""
    async with site.platform.database.transaction() as connection:
        for back, rows in enumerate((200, 1010, 1000, 990, 1000)):
            await connection.execute(
                "INSERT INTO quality_measure VALUES ($1, 'outpatient_visit', $2, $3)",
                add_months(FEBRUARY, -back),
                institution,
                {"rows": rows, "doctors": 40},
            )
        await judge_cells(connection, pack=base_pack(), dataset="outpatient_visit", months=[FEBRUARY])


def rows_of(answer: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.removeprefix("\ufeff"))))[1:]


def test_every_expected_cell_is_told_in_a_word_and_the_export_has_the_same(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        async with site.platform.database.connection() as connection:
            covered = await coverage(
                connection, pack=base_pack(), first=FEBRUARY, last=FEBRUARY, now=local_day(NOW)
            )
        browser = await site.signed_in("centre")

        page = (await browser.get(f"{PAGE}?month=2026-02")).text
        lines = rows_of((await browser.get(f"{PAGE}.csv?month=2026-02")).text)

        assert len(re.findall(r'<td class="cover(?! cover--none)', page)) == len(covered)
        assert {(line[1], line[3]): STATES[line[5]] for line in lines} == {
            (one.cell.institution, one.cell.dataset): one.state for one in covered
        }
        assert {one.state for one in covered} >= {"on-time", "late", "missing"}

    site_run(work)


def test_the_table_is_narrowed_by_division_type_and_state(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        browser = await site.signed_in("centre")

        async def institutions(words: str) -> set[str]:
            answer = await browser.get(f"{PAGE}.csv?month=2026-02&{words}")
            return {line[1] for line in rows_of(answer.text)}

        assert all(code.startswith("9902") for code in await institutions("division=990200"))
        assert all(code[17:19] == "B1" for code in await institutions("kind=B1"))
        missing = await browser.get(f"{PAGE}.csv?month=2026-02&state=missing")
        by_institution: dict[str, set[str]] = {}
        for line in rows_of(missing.text):
            by_institution.setdefault(line[1], set()).add(line[5])
        assert by_institution
        assert all("缺报" in states for states in by_institution.values())
        assert await institutions("division=x") == set()

    site_run(work)


def test_an_implausible_month_is_told_with_the_figures_that_decided(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        await drop(site)
        browser = await site.signed_in("centre")

        page = (await browser.get(f"{PAGE}?month=2026-02")).text
        cell = (await browser.get(f"{PAGE}/{HOSPITAL}/outpatient_visit?month=2026-02")).text
        exported = rows_of((await browser.get(f"{PAGE}/findings.csv?month=2026-02")).text)

        assert "OV081" in page
        for figure in ("<dt>本月 行数</dt><dd>200</dd>", "<dt>通常 行数</dt><dd>1,000</dd>"):
            assert figure in page
            assert figure in cell
        assert re.search(r"<b>200</b>", cell)
        assert [(line[1], line[5]) for line in exported] == [(HOSPITAL, "OV081")]
        assert "本月 行数 200" in exported[0][7]

    site_run(work)


def test_a_share_is_told_as_per_cent_and_of_what(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        async with site.platform.database.transaction() as connection:
            for back, share in enumerate((0.0312, 0.00004, 0.0, 1.0)):
                await connection.execute(
                    "INSERT INTO quality_measure VALUES ($1, 'outpatient_visit', $2, $3)",
                    add_months(FEBRUARY, -back),
                    HOSPITAL,
                    {"rows": 1000, "midnight": share},
                )
        browser = await site.signed_in("centre")

        page = (await browser.get(f"{PAGE}/{HOSPITAL}/outpatient_visit?month=2026-02")).text

        assert "时间恰为零点的行占比（占本月全部行）" in page
        for value in ("3.1%", "&lt;0.01%", "0%", "100%"):
            assert re.search(rf"<td[^>]*>{re.escape(value)}</td>", page), value
        assert "0.0312" not in page

    site_run(work)


def test_an_institution_sees_itself_month_by_month_and_nobody_else(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        await drop(site, institution=SECOND_HOSPITAL)
        browser = await site.signed_in("hospital")

        page = (await browser.get(f"{PAGE}?month=2026-02")).text
        own = await browser.get(f"{PAGE}/{HOSPITAL}?month=2026-02")
        lines = rows_of((await browser.get(f"{PAGE}.csv?month=2026-02")).text)
        findings = rows_of((await browser.get(f"{PAGE}/findings.csv?month=2026-02")).text)

        assert own.status_code == 200
        assert re.findall(r'scope="col">(2026-\d\d)<', own.text) == ["2026-01", "2026-02"]
        assert SECOND_HOSPITAL not in page
        assert {line[1] for line in lines} == {HOSPITAL}
        assert findings == []
        for path in (f"/{SECOND_HOSPITAL}", f"/{SECOND_HOSPITAL}/outpatient_visit", "/nobody"):
            assert (await browser.get(f"{PAGE}{path}?month=2026-02")).status_code == 404

    site_run(work)


@pytest.mark.parametrize(
    "path", ["?month=2026-13", f"/{HOSPITAL}?month=x", f"/{HOSPITAL}/nothing?month=2026-02"]
)
def test_what_does_not_exist_is_not_found(site_run, path: str):
    async def work(site: Site) -> None:
        browser = await site.signed_in("centre")

        assert (await browser.get(PAGE + path)).status_code == 404

    site_run(work)


def test_without_data_the_pages_say_so(site_run):
    async def work(site: Site) -> None:
        browser = await site.signed_in("centre")

        page = await browser.get(PAGE)
        cell = await browser.get(f"{PAGE}/{HOSPITAL}/lab_result?month=2025-05")

        assert page.status_code == cell.status_code == 200
        assert "没有发现不合常理之处" in page.text

    site_run(work)


def test_those_without_the_right_see_nothing_and_exports_are_on_record(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform, months=[FEBRUARY])
        desk, centre = await site.signed_in("desk"), await site.signed_in("centre")

        assert (await desk.get(PAGE)).status_code == 403
        await centre.get(f"{PAGE}.csv?month=2026-02")
        async with site.platform.database.connection() as connection:
            entries = await list_entries(connection, limit=20)
        assert "quality-coverage" in {entry.resource for entry in entries}

    site_run(work)


def test_the_due_day_is_that_of_the_pack(site_run):
    async def work(site: Site) -> None:
        await fill(site.platform)
        browser = await site.signed_in("centre")

        lines = rows_of((await browser.get(f"{PAGE}.csv?month=2026-02")).text)

        due = {line[3]: date.fromisoformat(line[9]) for line in lines}
        assert due["front_page"] == date(2026, 3, 10)

    site_run(work)
