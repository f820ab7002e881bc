"""A resident's record: found without naming anybody in an address, opened for a purpose, on record."""

from __future__ import annotations

import re
from datetime import date, timedelta

import httpx
import pytest
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

pytestmark = pytest.mark.database

PEOPLE = residents(6)
MAN = PEOPLE[0]
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
        await browser.get(f"/console/persons/{person}?dataset=lab_result")

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
        assert "21 条，来自 2 家机构" in page
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
            return (await browser.get(f"{path}?{query}")).text.count('<details class="entry">')

        first = (await browser.get(f"{path}?size=15")).text
        older = re.search(r'rel="next" href="([^"]+)"', first)

        assert await entries("") == 21
        assert await entries("dataset=lab_result") == 18
        assert await entries(f"institution={SECOND_HOSPITAL}") == 3
        assert await entries("first=2026-01-10&last=2026-01-12") == 6
        assert await entries("first=2026-02-01") == 3
        assert await entries("first=nonsense&before=nonsense&size=nonsense") == 21
        assert first.count('<details class="entry">') == 15
        assert older is not None
        assert (await browser.get(older[1].replace("&amp;", "&"))).text.count('<details class="entry">') == 6

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
