"""A resident's record: found without naming anybody in an address, opened for a purpose, on record."""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise

import httpx
import pytest
from console_life import (
    DIASTOLIC,
    DOCUMENT,
    GLUCOSE,
    LETTER,
    SYSTOLIC,
    live,
    observation,
    person_of,
    write,
)
from console_world import (
    HOSPITAL,
    ORIGIN,
    SECOND_HOSPITAL,
    Browser,
    Site,
    csv_bytes,
    drug_rows,
    lab_rows,
    residents,
    send,
    visit_rows,
)

from kangshu.audit import list_entries, list_for_person
from kangshu.identity import merge_persons, undo_merge
from kangshu.records import store

pytestmark = pytest.mark.database

PEOPLE = residents(6)
MAN = PEOPLE[0]
ENTRY = '<details class="entry">'
TODAY = date(2026, 3, 18)
MANY_DAYS = [date(2026, 1, 5) + timedelta(days=7 * week) for week in range(3)]


async def _records(site: Site) -> None:
    for day in MANY_DAYS:
        labs = lab_rows(PEOPLE, institution=HOSPITAL, day=day)
        await send(site.platform, csv_bytes(labs), name=f"lab_{day}.csv", institution=HOSPITAL)
    seen = visit_rows(PEOPLE[:3], institution=SECOND_HOSPITAL, day=date(2026, 2, 20))
    await send(site.platform, csv_bytes(seen), name="visit_2026-02-20.csv", institution=SECOND_HOSPITAL)
    drugs = drug_rows(PEOPLE[:3], institution=SECOND_HOSPITAL, day=date(2026, 2, 20))
    await send(site.platform, csv_bytes(drugs), name="drug_2026-02-20.csv", institution=SECOND_HOSPITAL)


async def _find(browser: Browser, **words: str) -> tuple[httpx.Response, list[int]]:
    page = await browser.post("/console/persons", words)
    return page, [int(one) for one in re.findall(r'href="/console/persons/(\d+)"', page.text)]


async def _open(browser: Browser, person: int, purpose: str, reason: str = "") -> httpx.Response:
    return await browser.post(f"/console/persons/{person}/open", {"purpose": purpose, "reason": reason})


def test_a_resident_is_found_by_number_name_and_birth_date_or_local_number(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("centre")

        _, by_number = await _find(browser, number=MAN.number)
        _, by_name = await _find(browser, name=MAN.name, birth_date=MAN.birth_date.isoformat())
        _, by_local = await _find(browser, institution=HOSPITAL, local_number=f"P{MAN.number[6:17]}")
        nobody, none = await _find(browser, number="990102196805121016")
        little, _ = await _find(browser, institution=HOSPITAL)

        assert len(by_number) == 1
        assert by_number == by_name == by_local
        assert none == []
        assert "没有找到居民" in nobody.text
        assert little.status_code == 422

    site_run(scenario)


def test_what_is_found_is_masked_and_no_address_names_anybody(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("centre")

        page, [person] = await _find(browser, number=MAN.number)
        record = await _open(browser, person, "quality")
        await browser.get(f"/console/persons/{person}?kind=laboratory")

        for html in (page.text, record.text):
            assert MAN.number not in html
            assert MAN.name not in html
            assert MAN.phone not in html
            assert MAN.birth_date.isoformat() not in html
        assert f"{MAN.number[:3]}***********{MAN.number[-4:]}" in record.text
        for address in browser.addresses:
            assert MAN.number not in address
            assert MAN.number[6:14] not in address
        for cookie in browser.http.cookies.jar:
            assert MAN.number not in (cookie.value or "")

    site_run(scenario)


def test_a_record_opens_only_for_a_stated_purpose(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("doctor")
        _, [person] = await _find(browser, number=MAN.number)

        asked = await browser.get(f"/console/persons/{person}")
        wrong = await _open(browser, person, "curiosity")
        record = await _open(browser, person, "treatment")

        assert "调阅目的" in asked.text
        assert "空腹血糖" not in asked.text
        assert wrong.status_code == 422
        assert "空腹血糖" in record.text

    site_run(scenario)


def test_the_record_shows_all_rows_from_all_institutions_by_date(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("doctor")
        _, [person] = await _find(browser, number=MAN.number)

        page = (await _open(browser, person, "treatment")).text
        days = re.findall(r'<h3><time datetime="([0-9-]+)"', page)

        assert days == ["2026-02-20", "2026-01-19", "2026-01-12", "2026-01-05"]
        assert "22 条，来自 2 家机构" in page
        assert "南屏区人民医院" in page
        assert "苯磺酸氨氯地平片" in page
        assert "mmol/L" in page

    site_run(scenario)


def test_a_record_is_filtered_and_paged(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("doctor")
        _, [person] = await _find(browser, number=MAN.number)
        await _open(browser, person, "treatment")
        path = f"/console/persons/{person}"

        async def entries(query: str) -> int:
            return (await browser.get(f"{path}?{query}")).text.count(ENTRY)

        first = (await browser.get(f"{path}?size=15")).text
        older = re.search(r'rel="next" href="([^"]+)"', first)

        assert await entries("") == 22
        assert await entries("kind=laboratory") == 18
        assert await entries("kind=diagnosis") == 1
        assert await entries(f"institution={SECOND_HOSPITAL}") == 4
        assert await entries(f"institution={SECOND_HOSPITAL}&kind=laboratory") == 0
        assert await entries("year=2026") == 22
        assert await entries("year=2025") == 0
        assert await entries("institution=%00") == 22
        assert await entries("kind=nonsense&year=20x6&before=nonsense&size=nonsense") == 22
        assert first.count(ENTRY) == 15
        assert older is not None
        assert (await browser.get(older[1].replace("&amp;", "&"))).text.count(ENTRY) == 7

    site_run(scenario)


def test_each_choice_tells_how_many_entries_it_would_give(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("doctor")
        _, [person] = await _find(browser, number=MAN.number)
        await _open(browser, person, "treatment")
        path = f"/console/persons/{person}"

        def kinds(page: str) -> dict[str, int]:
            found = re.findall(r'class="kind-link[^"]*">(\S+) <span>(\d+)</span>', page)
            return {title: int(count) for title, count in found}

        whole = (await browser.get(path)).text
        filtered = (await browser.get(f"{path}?kind=laboratory&institution={SECOND_HOSPITAL}")).text

        assert kinds(whole) == {"全部": 22, "就诊": 1, "诊断": 1, "检验": 18, "用药": 2}
        assert "桐山区人民医院 (18)" in whole
        assert "<b>2026</b><small>22</small>" in whole
        # The kinds are those of the institution, the institutions those of the kind.
        assert kinds(filtered) == {"全部": 4, "就诊": 1, "诊断": 1, "检验": 0, "用药": 2}
        assert "桐山区人民医院 (18)" in filtered
        assert "没有符合筛选条件的记录" in filtered

    site_run(scenario)


def test_out_of_reach_means_no_record_unless_the_glass_is_broken(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        stranger = PEOPLE[5]  # was never at the second hospital
        browser = await site.signed_in("doctor2")
        _, [person] = await _find(browser, number=stranger.number)

        refused = await _open(browser, person, "treatment")
        speechless = await _open(browser, person, "emergency")
        broken = await _open(browser, person, "emergency", "昏迷送诊，无法联系家属")

        assert refused.status_code == 403
        assert "空腹血糖" not in refused.text
        assert speechless.status_code == 422
        assert broken.status_code == 200
        assert "purpose--alarm" in broken.text
        assert "空腹血糖" in broken.text
        async with site.platform.database.connection() as connection:
            trail = await list_for_person(connection, person=person)
        assert [(entry.purpose, entry.outcome) for entry in trail] == [
            ("emergency", "done"),
            ("emergency", "refused"),
            ("treatment", "refused"),
        ]
        assert trail[0].detail["emergency"] is True

    site_run(scenario)


def test_identifiers_are_shown_on_request_and_that_is_on_record(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("doctor")
        _, [person] = await _find(browser, number=MAN.number)
        await _open(browser, person, "treatment")

        shown = await browser.post(f"/console/persons/{person}/reveal")
        hidden = await browser.post(f"/console/persons/{person}/hide")

        assert MAN.number in shown.text
        assert MAN.name in shown.text
        assert MAN.number not in hidden.text
        async with site.platform.database.connection() as connection:
            reveals = await list_entries(connection, action="person.reveal")
        assert [(entry.person, entry.actor, entry.purpose) for entry in reveals] == [
            (person, "staff:doctor", "treatment")
        ]

    site_run(scenario)


def test_the_page_shows_who_has_looked(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        doctor, centre = await site.signed_in("doctor"), await site.signed_in("centre")
        _, [person] = await _find(doctor, number=MAN.number)
        await _open(doctor, person, "treatment")
        site.clock.moment += timedelta(minutes=5)

        page = (await _open(centre, person, "quality")).text
        looks = re.findall(r"<li><b>([^<]+)</b>", page)

        assert looks == ["周业务", "冯医生"]

    site_run(scenario)


def test_a_purpose_holds_for_half_an_hour_and_for_one_session_and_one_person(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser, other = await site.signed_in("doctor"), await site.signed_in("doctor")
        _, [person] = await _find(browser, number=MAN.number)
        _, [second] = await _find(browser, number=PEOPLE[1].number)
        await _open(browser, person, "treatment")
        sealed = browser.http.cookies[f"kangshu_open_{person}"]

        other.http.cookies.set(f"kangshu_open_{person}", sealed, domain="console.test", path="/console")
        browser.http.cookies.set(f"kangshu_open_{second}", sealed, domain="console.test", path="/console")
        stolen = await other.get(f"/console/persons/{person}")
        turned = await browser.get(f"/console/persons/{second}")
        site.clock.moment += timedelta(minutes=20)
        still = await browser.get(f"/console/persons/{person}")
        site.clock.moment += timedelta(minutes=11)
        over = await browser.get(f"/console/persons/{person}")

        assert "空腹血糖" not in stolen.text
        assert "空腹血糖" not in turned.text
        assert "空腹血糖" in still.text
        assert "空腹血糖" not in over.text

    site_run(scenario)


def test_closing_a_record_asks_for_the_purpose_again(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("doctor")
        _, [person] = await _find(browser, number=MAN.number)
        await _open(browser, person, "treatment")

        await browser.post(f"/console/persons/{person}/close")
        page = await browser.get(f"/console/persons/{person}")

        assert "空腹血糖" not in page.text

    site_run(scenario)


def test_a_search_is_on_record_and_what_was_searched_for_is_not(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("desk")
        await _find(browser, number=MAN.number)

        async with site.platform.database.connection() as connection:
            [search] = await list_entries(connection, action="person.search")

        assert search.detail == {"by": ["number"], "found": 1}
        assert MAN.number not in repr(search)

    site_run(scenario)


def test_a_search_is_forgotten_on_request_and_with_its_session(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("desk")
        await _find(browser, number=MAN.number)

        again = await browser.get("/console/persons")
        await browser.post("/console/persons/clear")
        cleared = await browser.get("/console/persons")

        assert 'class="button button--small" href="/console/persons/' in again.text
        assert 'href="/console/persons/' not in cleared.text

    site_run(scenario)


def test_a_person_that_does_not_exist_is_not_found(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("doctor")

        for wrong in ("424242", "abc", "9" * 30):
            assert (await browser.get(f"/console/persons/{wrong}")).status_code == 404

    site_run(scenario)


def test_no_answer_is_kept_by_the_browser(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        browser = await site.signed_in("doctor")
        _, [person] = await _find(browser, number=MAN.number)
        record = await _open(browser, person, "treatment")

        assert record.headers["cache-control"] == "no-store"
        assert str(record.url) == f"{ORIGIN}/console/persons/{person}"

    site_run(scenario)


def test_contradictions_are_listed_for_review(site_run):
    async def scenario(site: Site) -> None:
        await _records(site)
        rows = visit_rows([MAN], institution=HOSPITAL, day=date(2026, 3, 1))
        rows[0] |= {"patient_name": "完全不同", "birth_date": "1990-01-01"}
        await send(site.platform, csv_bytes(rows), name="visit_2026-03-01.csv", institution=HOSPITAL)
        browser = await site.signed_in("centre")

        page = await browser.get("/console/reviews")

        assert "信息矛盾" in page.text

    site_run(scenario)


async def _whole_life(site: Site) -> tuple[Browser, int]:
    """Return a doctor who has opened the record of somebody who has everything."""
    await _records(site)
    person = await live(site.platform, MAN, today=TODAY)
    browser = await site.signed_in("doctor")
    await _open(browser, person, "treatment")
    return browser, person


def test_both_lanes_stand_on_one_page(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)

        page = (await browser.get(f"/console/persons/{person}")).text

        for title in (
            "门诊 · 内分泌科",
            "2型糖尿病",
            "糖化血红蛋白",
            "上腹部 CT 平扫",
            "盐酸二甲双胍片 0.5g",
        ):
            assert title in page
        for title in (
            "腹腔镜下胆囊切除术",
            "流感病毒裂解疫苗",
            "青霉素",
            "出院小结",
            "血压",
            "苯磺酸氨氯地平片",
        ):
            assert title in page
        assert "危急偏低" in page
        assert MAN.name not in page  # though a report calls him by it

    site_run(scenario)


def test_what_does_not_hold_is_struck_through_and_never_hidden(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)

        page = (await browser.get(f"/console/persons/{person}")).text
        rows = [" ".join(row.split()) for row in page.split('<div class="entry-row')[1:]]

        def row(title: str) -> str:
            return next(one for one in rows if f'entry-name">{title}' in one)

        assert row("急性阑尾炎").startswith("is-void")
        assert "录入错误，已撤销" in row("急性阑尾炎")
        assert row("急诊").startswith("is-void")
        assert "已取消" in row("急诊")
        assert "初步" in row("C 反应蛋白")
        assert "计划中" in row("预约 · 内分泌科复诊")
        assert "已取消" in row("23 价肺炎球菌多糖疫苗")
        assert "已被替换" in " ".join(one for one in rows if "出院小结" in one)
        assert any("已更正" in one and "6.9" in one for one in rows)

    site_run(scenario)


def test_allergies_stand_above_whatever_is_filtered(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)

        page = (await browser.get(f"/console/persons/{person}?kind=visit")).text

        assert re.search(r'class="alerts".*?青霉素 <span>皮疹；呼吸困难</span>', page, re.S)

    site_run(scenario)


def test_an_entry_leads_to_its_message_and_row_only_where_the_reader_may_go(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)
        staff = await site.signed_in("centre")
        await _open(staff, person, "quality")

        doctors = (await browser.get(f"/console/persons/{person}")).text
        centres = (await staff.get(f"/console/persons/{person}")).text

        assert "消息 7000" in doctors
        assert 'href="/console/messages/7000"' not in doctors
        assert 'href="/console/messages/7000"' in centres
        assert re.search(r'href="/console/receipts/\d+">回执 \d+</a>，第 \d+ 行', centres)

    site_run(scenario)


def test_a_merged_person_shows_both_records_and_says_which_number_was_absorbed(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)
        other = await person_of(site.platform, PEOPLE[1])
        alone = (await browser.get(f"/console/persons/{person}")).text
        async with site.platform.database.transaction() as connection:
            merge = await merge_persons(
                connection,
                survivor=person,
                absorbed=other,
                actor="staff:test",
                reason="同一人",
                now=site.clock.moment,
            )

        both = (await browser.get(f"/console/persons/{person}")).text
        async with site.platform.database.transaction() as connection:
            assert merge is not None
            await undo_merge(connection, merge=merge.id, actor="staff:test", now=site.clock.moment)
        again = (await browser.get(f"/console/persons/{person}")).text

        assert "已并入此档案" not in alone
        assert f"居民编号 {other} 已并入此档案" in both
        assert f"登记于居民编号 {other}" in both
        assert _total(both) == _total(alone) + 22
        assert _total(again) == _total(alone)

    site_run(scenario)


def test_the_address_of_somebody_absorbed_leads_to_the_survivor(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)
        other = await person_of(site.platform, PEOPLE[1])
        await _open(browser, other, "treatment")
        async with site.platform.database.transaction() as connection:
            await merge_persons(
                connection,
                survivor=person,
                absorbed=other,
                actor="staff:test",
                reason="",
                now=site.clock.moment,
            )
        stranger = await site.signed_in("centre")

        opened = await browser.get(f"/console/persons/{other}")
        asked = await stranger.get(f"/console/persons/{other}")
        below = await browser.get(f"/console/persons/{other}/trend?code={GLUCOSE}")

        assert str(opened.url).endswith(f"/console/persons/{person}")
        assert "已并入此档案" in opened.text
        assert str(asked.url).endswith(f"/console/persons/{person}")
        assert "调阅目的" in asked.text
        assert str(below.url).endswith(f"/console/persons/{person}")

    site_run(scenario)


def test_who_looked_at_an_absorbed_number_looked_at_this_person(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)
        other = await person_of(site.platform, PEOPLE[1])
        staff = await site.signed_in("centre")
        await _open(staff, other, "quality")
        async with site.platform.database.transaction() as connection:
            await merge_persons(
                connection,
                survivor=person,
                absorbed=other,
                actor="staff:test",
                reason="",
                now=site.clock.moment,
            )

        page = (await browser.get(f"/console/persons/{person}")).text

        assert set(re.findall(r"<li><b>([^<]+)</b>", page)) == {"周业务", "冯医生"}

    site_run(scenario)


# --- values over time ---


def test_a_result_opens_all_values_of_its_item_with_picture_and_table(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)

        page = (await browser.get(f"/console/persons/{person}/trend?code={GLUCOSE}")).text

        assert "空腹血糖" in page
        assert page.count("trend-mark") >= 13
        assert page.count('<th scope="row"') == 13
        assert 'class="band"' in page
        assert "最低 5.2，最高 9.1，最近 6.9 mmol/L" in page
        assert "高于参考范围" in page
        assert "已更正" in page
        assert MAN.name not in page

    site_run(scenario)


def test_values_in_different_units_are_no_neighbours_in_a_picture(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)
        other = observation(GLUCOSE, "空腹血糖", "112", TODAY - timedelta(days=1), unit="mg/dL")
        async with site.platform.database.transaction() as connection:
            await store(connection, writes=[write(other, "mg", person=person)], now=site.clock.moment)

        page = (await browser.get(f"/console/persons/{person}/trend?code={GLUCOSE}")).text

        assert page.count('class="chart chart--trend"') == 2
        assert page.index("mg/dL") < page.index("mmol/L")

    site_run(scenario)


def test_the_parts_of_a_measurement_stand_below_each_other(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)

        page = (await browser.get(f"/console/persons/{person}/trend?code={SYSTOLIC}&code={DIASTOLIC}")).text

        assert page.count('class="chart chart--trend"') == 2
        assert "<h1>收缩压、舒张压</h1>" in page

    site_run(scenario)


def test_an_item_without_values_says_so_and_no_item_is_no_page(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)
        path = f"/console/persons/{person}/trend"

        assert "没有可比较的数值结果" in (await browser.get(f"{path}?code=none")).text
        assert (await browser.get(path)).status_code == 404
        assert (await browser.get(f"{path}?code={'x' * 301}")).status_code == 404

    site_run(scenario)


# --- versions ---


def test_an_entry_shows_what_was_corrected_and_by_which_message(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)

        page = (await browser.get(f"/console/persons/{person}/entries/Observation/obs-corrected")).text

        assert page.index("第 2 版") < page.index("第 1 版")
        assert "消息 7201" in page
        assert re.search(r"is-changed.*?6\.9 mmol/L.*?原为 <del>9\.6 mmol/L", page, re.S)

    site_run(scenario)


def test_a_letter_that_came_in_a_message_is_read_there(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)

        page = (await browser.get(f"/console/persons/{person}/entries/DocumentReference/{LETTER}")).text

        assert "本次随访：一般情况良好。" in page

    site_run(scenario)


def test_entries_of_somebody_else_and_of_nobody_look_like_none(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)
        other = await person_of(site.platform, PEOPLE[1])
        theirs = observation(GLUCOSE, "空腹血糖", "5", TODAY)
        async with site.platform.database.transaction() as connection:
            await store(connection, writes=[write(theirs, "theirs", person=other)], now=site.clock.moment)
        path = f"/console/persons/{person}/entries"

        for wrong in ("Observation/theirs", "Observation/none", "Nonsense/x", "Observation/%00"):
            assert (await browser.get(f"{path}/{wrong}")).status_code == 404, wrong

    site_run(scenario)


@pytest.mark.parametrize("page", ["trend?code=1", "entries/Observation/obs-0", "documents/doc-summary-2"])
def test_no_page_of_a_record_opens_without_a_purpose_or_out_of_reach(site_run, page: str):
    async def scenario(site: Site) -> None:
        _, person = await _whole_life(site)
        unasked, stranger = await site.signed_in("doctor"), await site.signed_in("doctor2")
        alone = await person_of(site.platform, PEOPLE[5])  # was never at the second hospital
        await _open(stranger, alone, "treatment")

        asked = await unasked.get(f"/console/persons/{person}/{page}")

        assert str(asked.url).endswith(f"/console/persons/{person}")
        assert "调阅目的" in asked.text
        assert (
            await stranger.get(f"/console/persons/{alone}/{page}")
        ).url.path == f"/console/persons/{alone}"

    site_run(scenario)


def test_every_page_of_a_record_is_on_record(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)

        async def looks() -> int:
            async with site.platform.database.connection() as connection:
                return len(await list_entries(connection, action="person.read"))

        counts = [await looks()]
        for page in (f"trend?code={GLUCOSE}", "entries/Observation/obs-0", f"documents/{DOCUMENT}"):
            await browser.get(f"/console/persons/{person}/{page}")
            counts.append(await looks())

        assert [later - earlier for earlier, later in pairwise(counts)] == [1, 1, 1]

    site_run(scenario)


def test_identifiers_are_shown_where_the_reader_is_and_nowhere_else(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await _whole_life(site)
        path = f"/console/persons/{person}"

        there = await browser.post(f"{path}/reveal", {"back": f"{path}/trend?code={GLUCOSE}"})
        elsewhere = await browser.post(f"{path}/hide", {"back": "https://elsewhere.test/"})
        neighbour = await browser.post(f"{path}/hide", {"back": f"{path}0/trend"})

        assert str(there.url).endswith(f"/trend?code={GLUCOSE}")
        assert MAN.name in there.text
        assert elsewhere.url.path == neighbour.url.path == path

    site_run(scenario)


def _total(page: str) -> int:
    found = re.search(r"(\d+) 条，来自 \d+ 家机构", page)
    assert found is not None
    return int(found[1])
