"""What must be mended first, in which rows, by when: from a bad file to a closed task, over the doors."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from console_world import HOSPITAL, SECOND_HOSPITAL, Browser, Site, csv_bytes, lab_rows, residents, send
from hypothesis import given
from hypothesis import strategies as st

from kangshu.app.assessing import assess_waiting
from kangshu.app.notices import subscribers
from kangshu.console.fix_list import weight_shares
from kangshu.console.pages.institution_quality import ranges
from kangshu.quality import Cell
from kangshu.quality.rectifying import TaskFilter, escalate_due, list_task_events, list_tasks
from kangshu.quality.scoring import CellScore, InstitutionScore
from kangshu.storage.outbox import Dispatcher

PEOPLE = residents(40)
DAY = date(2026, 2, 10)
NAME = "lab_2026-02.csv"
HOME = f"/console/quality/institution/{HOSPITAL}"


async def send_lab(site: Site, *, wrong_every: int = 0, institution: str = HOSPITAL) -> int:
    """Send a month's laboratory results, in which every so manieth row is wrong, and assess them."""
    rows = lab_rows(PEOPLE, institution=institution, day=DAY, wrong_every=wrong_every)
    file = await send(
        site.platform,
        csv_bytes(rows),
        name=NAME,
        institution=institution,
        dataset="lab_result",
        now=site.clock.now(),
    )
    await assess_waiting(site.platform)
    return file


async def deliver(site: Site) -> None:
    """Deliver what was announced to the console's notices."""
    dispatcher = Dispatcher(site.platform.database, subscribers(with_mail=False), site.clock)
    while await dispatcher.deliver():
        pass


async def lab_task(site: Site, institution: str = HOSPITAL) -> Any:
    """Return the task about the laboratory results."""
    narrow = TaskFilter(institutions=[institution], datasets=["lab_result"])
    async with site.platform.database.connection() as connection:
        (task,) = await list_tasks(connection, narrow=narrow)
        return task


async def act(browser: Browser, task: Any, step: str, **fields: str) -> Any:
    """Press a button of a task's page."""
    page = await browser.get(f"/console/quality/tasks/{task.id}")
    version = re.search(r'name="version" value="(\d+)"', page.text)
    return await browser.post(
        f"/console/quality/tasks/{task.id}/{step}",
        {"version": version[1] if version else str(task.version), **fields},
    )


@pytest.mark.database
def test_from_a_bad_file_to_a_closed_task_with_its_times(site_run):
    async def scenario(site: Site) -> None:
        centre, hospital = await site.signed_in("centre"), await site.signed_in("hospital")
        opened_at = site.clock.moment
        file = await send_lab(site, wrong_every=4)
        answer = await centre.post("/console/quality/tasks/review", {"month": "2026-02"})
        assert "已按预警等级核对" in answer.text
        await deliver(site)
        task = await lab_task(site)
        assert task.grade == "red"

        page = await hospital.get("/console/quality/institution?month=2026-02")
        assert str(page.url).endswith(f"{HOME}?month=2026-02")
        assert "条未读通知" in page.text
        assert re.search(r'class="count"[^>]*>\d+<', page.text)
        assert "“异常标志”应取自代码表" in page.text
        rows = await hospital.get(f"{HOME}/finding?month=2026-02&dataset=lab_result&rule=domain&field=flag")
        assert NAME in rows.text
        assert "2, 6, 10, 14" in rows.text
        assert f"/console/receipts/{file}" in rows.text

        site.clock.moment += timedelta(hours=3)
        hospital = await site.signed_in("hospital")  # sessions end after half an hour
        await act(hospital, task, "acknowledge", note="信息科已安排")
        site.clock.moment += timedelta(hours=21)
        await send_lab(site)
        await deliver(site)

        ended = await lab_task(site)
        assert (ended.state, ended.closed_as) == ("closed", "cured")
        assert ended.acknowledged_at - opened_at == timedelta(hours=3)
        assert ended.closed_at - opened_at == timedelta(hours=24)
        hospital, centre = await site.signed_in("hospital"), await site.signed_in("centre")
        told = (await hospital.get(f"/console/quality/tasks/{task.id}")).text
        assert told.index("销号") < told.index("收到新文件") < told.index("信息科已安排")
        assert "60 → <span" in told
        assert "有错的行 60 → 0" in told
        loop = await centre.get("/console/quality/tasks?month=2026-02")
        assert "3.0 <small>小时" in loop.text
        assert "24.0 <small>小时" in loop.text
        assert "检验结果" in (await hospital.get(f"{HOME}?month=2026-02")).text
        async with site.platform.database.connection() as connection:
            events = await list_task_events(connection, task=task.id)
        assert [event.act for event in events] == ["open", "acknowledge", "submit", "close"]

    site_run(scenario)


@pytest.mark.database
def test_a_hospital_that_only_says_that_it_sent_learns_at_once_that_nothing_came(site_run):
    async def scenario(site: Site) -> None:
        centre, hospital = await site.signed_in("centre"), await site.signed_in("hospital")
        await send_lab(site, wrong_every=4)
        await centre.post("/console/quality/tasks/review", {"month": "2026-02"})
        task = await lab_task(site)

        page = await act(hospital, task, "submit")

        assert "没有收到新文件" in page.text
        assert (await lab_task(site)).state == "rechecked"
        page = await act(centre, task, "return", note="请上报新文件", deadline="2026-03-30")
        assert "请上报新文件" in page.text
        assert (await lab_task(site)).deadline == date(2026, 3, 30)
        page = await act(centre, task, "close", note="")
        assert page.status_code == 422
        page = await act(centre, task, "close", note="机构系统停用")
        assert "中心认可" in page.text

    site_run(scenario)


@pytest.mark.database
def test_another_institution_finds_nothing_and_may_do_nothing(site_run):
    async def scenario(site: Site) -> None:
        centre, hospital = await site.signed_in("centre"), await site.signed_in("hospital")
        await send_lab(site, wrong_every=4, institution=SECOND_HOSPITAL)
        await centre.post("/console/quality/tasks/review", {"month": "2026-02"})
        task = await lab_task(site, SECOND_HOSPITAL)
        other = HOME.replace(HOSPITAL, SECOND_HOSPITAL)

        for path in (
            other,
            f"{other}/fixes.csv?month=2026-02",
            f"{other}/finding?month=2026-02&dataset=lab_result&rule=domain&field=flag",
            f"{other}/rows.csv?month=2026-02&dataset=lab_result&rule=domain&field=flag",
            f"/console/quality/tasks/{task.id}",
            "/console/quality/tasks/0",
            "/console/quality/tasks/99999999999999999999",
            "/console/quality/tasks/x",
            "/console/quality/institution/nobody",
        ):
            assert (await hospital.get(path)).status_code == 404, path
        assert (await hospital.post(f"{other}/read", {"upto": "1"})).status_code == 404
        assert (await centre.post(f"{other}/read", {"upto": "1"})).status_code == 404
        for step in ("acknowledge", "submit", "return", "close", "open", "nonsense"):
            answer = await hospital.post(
                f"/console/quality/tasks/{task.id}/{step}", {"version": "1", "note": "不足"}
            )
            assert answer.status_code == 404, step
        assert str(task.id) not in (await hospital.get("/console/quality/tasks")).text.split("<tbody")[1]
        city = await site.signed_in("city")  # SECOND_HOSPITAL lies in this city
        assert (await city.get(f"/console/quality/tasks/{task.id}")).status_code == 200
        assert await lab_task(site, SECOND_HOSPITAL) == task

    site_run(scenario)


@pytest.mark.database
def test_each_step_needs_its_right(site_run):
    async def scenario(site: Site) -> None:
        centre, hospital = await site.signed_in("centre"), await site.signed_in("hospital")
        statistics, doctor = await site.signed_in("statistics"), await site.signed_in("doctor")
        await send_lab(site, wrong_every=4)
        assert (await hospital.post("/console/quality/tasks/review", {"month": "2026-02"})).status_code == 403
        await centre.post("/console/quality/tasks/review", {"month": "2026-02"})
        task = await lab_task(site)

        page = await hospital.get(f"/console/quality/tasks/{task.id}")
        assert f"/console/quality/tasks/{task.id}/close" not in page.text
        assert f"/console/quality/tasks/{task.id}/acknowledge" in page.text
        managing = await centre.get(f"/console/quality/tasks/{task.id}")
        assert f"/console/quality/tasks/{task.id}/close" in managing.text
        for answer in ("acknowledge", "submit"):  # the institution's to give
            assert f"/console/quality/tasks/{task.id}/{answer}" not in managing.text
        assert (await act(hospital, task, "close", note="可接受")).status_code == 403
        assert (await act(statistics, task, "acknowledge")).status_code == 403
        assert "没有需要您办理的步骤" in (await statistics.get(f"/console/quality/tasks/{task.id}")).text
        assert (await doctor.get("/console/quality/tasks")).status_code == 403
        assert (await act(hospital, task, "acknowledge")).status_code == 200
        stale = await hospital.post(f"/console/quality/tasks/{task.id}/submit", {"version": "1"})
        assert stale.status_code == 409
        assert "刚被他人处理过" in stale.text

    site_run(scenario)


@pytest.mark.database
def test_lists_go_out_as_csv_with_numbers_of_rows_and_no_values(site_run):
    async def scenario(site: Site) -> None:
        centre, hospital = await site.signed_in("centre"), await site.signed_in("hospital")
        await send_lab(site, wrong_every=4)
        await centre.post("/console/quality/tasks/review", {"month": "2026-02"})
        words = "month=2026-02&dataset=lab_result&rule=domain&field=flag"

        rows = _table((await hospital.get(f"{HOME}/rows.csv?{words}")).text)
        fixes = _table((await hospital.get(f"{HOME}/fixes.csv?month=2026-02")).text)
        tasks = _table((await centre.get("/console/quality/tasks.csv?month=2026-02&state=open")).text)

        assert rows[0] == ["文件名", "回执号", "行号"]
        assert [int(row[2]) for row in rows[1:]] == list(range(2, 242, 4))
        assert fixes[0][:3] == ["次序", "数据集", "规则"]
        points = [float(row[7]) for row in fixes[1:]]
        assert points == sorted(points, reverse=True)
        assert any(row[6] == "60" for row in fixes)
        assert any(row[2] == "值域检查" for row in fixes)
        assert not {"required", "type", "domain", "ragged"} & {row[2] for row in fixes}
        assert any(row[3] == "检验结果" and row[5] == "红色预警" for row in tasks)
        assert PEOPLE[0].number not in str([rows, fixes, tasks])
        assert (await hospital.get(f"{HOME}/rows.csv?month=2026-02&dataset=x&rule=y")).status_code == 404
        assert (await hospital.get(f"{HOME}/finding?month=no&dataset=x&rule=y")).status_code == 404
        assert (await hospital.get(f"{HOME}/finding?month=2026-02&dataset=x&rule=y")).status_code == 200

    site_run(scenario)


@pytest.mark.database
def test_notices_are_read_by_those_whom_they_are_for(site_run):
    async def scenario(site: Site) -> None:
        centre, hospital = await site.signed_in("centre"), await site.signed_in("hospital")
        await send_lab(site, wrong_every=4)
        await centre.post("/console/quality/tasks/review", {"month": "2026-02"})
        await deliver(site)

        page = await centre.get(HOME)
        assert f"{HOME}/read" not in page.text
        page = await hospital.get(HOME)
        found = re.search(r'name="upto" value="(\d+)"', page.text)
        assert found
        page = await hospital.post(f"{HOME}/read", {"upto": found[1]})
        assert "未读通知" not in page.text
        assert 'class="count"' not in page.text
        site.clock.moment = datetime(2026, 5, 30, tzinfo=UTC)
        async with site.platform.database.transaction() as connection:
            await escalate_due(connection, now=site.clock.moment)
        await deliver(site)
        hospital = await site.signed_in("hospital")
        assert "逾期，已上报" in (await hospital.get(HOME)).text

    site_run(scenario)


@pytest.mark.database
def test_pages_bear_a_region_without_data_and_words_that_make_no_sense(site_run):
    async def scenario(site: Site) -> None:
        centre = await site.signed_in("centre")

        for path in (
            "/console/quality/institution",
            HOME,
            f"{HOME}?month=0001-01",
            f"{HOME}?month=9999-12",
            f"{HOME}?month=2026",
            "/console/quality/tasks?month=x&state=y&grade=%00&before=z&institution=%25&overdue=maybe",
            "/console/quality/institution?name=%00&page=-1&month=2026-13",
            "/console/quality/tasks?lang=en",
            f"{HOME}?lang=en",
        ):
            assert (await centre.get(path)).status_code == 200, path
        assert (await centre.post("/console/quality/tasks/review", {"month": "2026-1"})).status_code == 404

    site_run(scenario)


@given(rows=st.lists(st.integers(1, 400), unique=True).map(sorted), most=st.integers(1, 50))
def test_ranges_name_every_row_once_until_there_are_too_many(rows: list[int], most: int):
    told, more = ranges(np.array(rows, np.int64), most=most)

    named: list[int] = []
    for part in told.split(", ") if told else []:
        first, _, last = part.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == rows[: len(named)]
    assert (more == 0) == (len(named) == len(rows))


def test_the_parts_of_an_institution_s_total_are_one_together():
    cells = tuple(
        CellScore(
            cell=Cell(month=DAY.replace(day=1), dataset=name, institution=HOSPITAL),
            total=50.0,
            rows=10,
            expected=expected,
            weight=weight,
        )
        for name, expected, weight in (("a", True, 3.0), ("b", True, 1.0), ("c", False, 9.0))
    )
    score = InstitutionScore(
        institution=HOSPITAL,
        month=DAY.replace(day=1),
        total=50.0,
        by_dimension={},
        cells=cells,
        expected=2,
        arrived=2,
        rows=30,
        rejected=0,
    )

    assert {cell.dataset: part for cell, part in weight_shares(score).items()} == {"a": 0.75, "b": 0.25}
    assert weight_shares(None) == {}


def _table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
