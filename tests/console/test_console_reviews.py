"""The review pages: queue, two persons side by side, opinions, samples, undoing. Everybody is synthetic."""

from __future__ import annotations

from typing import Any

import pytest
from console_reviews import PEOPLE, SECOND_REVIEWER, SERIAL, fill
from console_world import Site

from kangshu.audit import list_for_person
from kangshu.identity import list_reviews, persons_meaning

pytestmark = pytest.mark.database


async def meaning(site: Site, person: int) -> tuple[int, ...]:
    async with site.platform.database.connection() as connection:
        return (await persons_meaning(connection, persons=[person]))[person]


async def entry_of(site: Site, persons: set[int]) -> int:
    async with site.platform.database.connection() as connection:
        return next(one.id for one in await list_reviews(connection) if {one.person, one.other} == persons)


def test_the_queue_tells_no_name_and_is_exported(site_run):
    async def scenario(site: Site) -> None:
        await fill(site.platform)
        browser = await site.signed_in("centre")
        page = (await browser.get("/console/reviews")).text
        assert "信息矛盾" in page
        assert "疑似重复" in page
        sheet = (await browser.get("/console/reviews.csv")).text
        assert len(sheet.strip().splitlines()) == 3
        for text in (page, sheet):
            assert SERIAL not in text
            assert not any(str(one.name) in text for one in PEOPLE)

    site_run(scenario)


def test_two_persons_stand_side_by_side_with_weights_and_the_look_is_on_record(site_run):
    async def scenario(site: Site) -> None:
        persons = await fill(site.platform)
        number = await entry_of(site, {persons[0], persons[1]})
        browser = await site.signed_in("centre")

        page = (await browser.get(f"/console/reviews/{number}")).text

        assert SERIAL in page
        assert "<mark>琪</mark>" in page
        assert 'class="for"' in page
        assert 'data-key="s"' in page
        async with site.platform.database.connection() as connection:
            for person in persons[:2]:
                entries = await list_for_person(connection, person=person)
                assert entries[0].action == "review.open"
        assert not any(SERIAL in address for address in browser.addresses)

    site_run(scenario)


def test_one_reviewer_merges_who_have_no_records_and_goes_on(site_run):
    async def scenario(site: Site) -> None:
        persons = await fill(site.platform)
        number = await entry_of(site, {persons[0], persons[1]})
        browser = await site.signed_in("centre")

        answer = await browser.post(
            f"/console/reviews/{number}", {"say": "same", "survivor": str(persons[1]), "note": "同"}
        )

        assert "已记录判定" in answer.text
        assert await meaning(site, persons[0]) == (persons[1], persons[0])
        past = (await browser.get(f"/console/linkage/persons/{persons[1]}")).text
        assert "合并" in past
        merge = past.split('name="merge" value="')[1].split('"')[0]
        await browser.post(f"/console/linkage/persons/{persons[1]}/undo", {"merge": merge})
        assert await meaning(site, persons[0]) == (persons[0],)

    site_run(scenario)


def test_two_reviewers_are_needed_where_both_have_records(site_run):
    async def scenario(site: Site) -> None:
        persons = await fill(site.platform)
        number = await entry_of(site, {persons[0], persons[1]})
        site.app.routes[0].app.state.services = _with_records(site.app.routes[0].app.state.services)
        first, second = await site.signed_in("centre"), await site.signed_in(SECOND_REVIEWER)

        page = await first.get(f"/console/reviews/{number}")
        assert "两名审核员" in page.text
        answer = await first.post(f"/console/reviews/{number}", {"say": "same"})
        assert "等待另一名审核员" in answer.text
        assert len(await meaning(site, persons[0])) == 1
        again = await first.post(f"/console/reviews/{number}", {"say": "same"})
        assert again.status_code == 409
        assert "待您复核" in (await second.get("/console/reviews?second=1")).text
        await second.post(f"/console/reviews/{number}", {"say": "same"})
        assert len(await meaning(site, persons[0])) == 2

    site_run(scenario)


def _with_records(services: Any) -> Any:
    from dataclasses import replace

    class Everywhere:
        async def institutions_of(self, connection: Any, *, person: int) -> set[str]:
            return {"A"}

    return replace(services, whereabouts=Everywhere())


def test_links_are_drawn_looked_at_and_estimated(site_run):
    async def scenario(site: Site) -> None:
        await fill(site.platform)
        browser = await site.signed_in("centre")
        assert "尚未抽取" in (await browser.get("/console/linkage")).text
        assert "已抽取" in (await browser.post("/console/linkage", {"size": "20"})).text
        page = (await browser.get("/console/linkage/1")).text
        assert "当时的依据" in page
        done = await browser.post("/console/linkage/1", {"verdict": "wrong", "note": "双胞胎"})
        assert "100.00" in done.text  # one of one; the interval says how little that is
        assert "2.50% 至 100.00%" in done.text
        assert "误并" in (await browser.get("/console/linkage.csv")).text
        assert (await browser.post("/console/linkage/1", {"verdict": "maybe"})).status_code == 404
        assert (await browser.get("/console/linkage/99")).status_code == 404

    site_run(scenario)


def test_identifiers_are_taken_out_and_put_back_on_a_page(site_run):
    async def scenario(site: Site) -> None:
        person = (await fill(site.platform))[0]
        browser = await site.signed_in("centre")
        place = f"/console/linkage/persons/{person}"
        page = (await browser.get(place)).text
        box = page.split('name="take.')[2].split('"')[0]

        page = (await browser.post(f"{place}/split", {f"take.{box}": "1", "reason": "错并"})).text

        assert "拆出标识" in page
        split = page.split('name="split" value="')[1].split('"')[0]
        assert "已撤销" in (await browser.post(f"{place}/undo", {"split": split})).text
        assert (await browser.post(f"{place}/split", {"reason": "x"})).status_code in (400, 422)
        for wrong in ({"merge": "999"}, {"split": "999"}, {}):
            assert (await browser.post(f"{place}/undo", wrong)).status_code == 404

    site_run(scenario)


def test_who_works_for_a_part_of_the_region_opens_only_what_is_known_there(site_run):
    async def scenario(site: Site) -> None:
        persons = await fill(site.platform)
        browser = await site.signed_in("city")  # of the second hospital
        strangers = await entry_of(site, {persons[0], persons[2]})
        assert (await browser.get(f"/console/reviews/{strangers}")).status_code == 404
        answer = await browser.post(f"/console/reviews/{strangers}", {"say": "different"})
        assert answer.status_code == 404
        known = await entry_of(site, {persons[0], persons[1]})
        assert (await browser.get(f"/console/reviews/{known}")).status_code == 200
        assert (await browser.get("/console/linkage")).status_code == 403
        assert (await browser.get(f"/console/linkage/persons/{persons[0]}")).status_code == 403

    site_run(scenario)


def test_figures_and_the_way_on_are_there(site_run):
    async def scenario(site: Site) -> None:
        persons = await fill(site.platform)
        number = await entry_of(site, {persons[0], persons[2]})
        browser = await site.signed_in("centre")
        await browser.post(f"/console/reviews/{number}", {"say": "different", "note": "两人"})
        assert "不是同一人" in (await browser.get("/console/reviews/statistics?days=7")).text
        assert (await browser.get("/console/reviews/statistics?days=x")).status_code == 200
        assert (await browser.get("/console/reviews/next")).status_code == 200
        closed = (await browser.get(f"/console/reviews/{number}")).text
        assert "已判为不同的人" in closed
        for wrong in ("0", "99", "x", "9" * 30):
            assert (await browser.get(f"/console/reviews/{wrong}")).status_code == 404
        assert (await browser.post(f"/console/reviews/{number}", {"say": "perhaps"})).status_code == 404

    site_run(scenario)
