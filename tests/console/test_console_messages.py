"""The pages of messages: what each role sees, that bodies are guarded, that refused ones are tried again."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from console_messages import WHY, Replayer, keep, message, refused
from console_world import NOW, SECOND_HOSPITAL, Site

from kangshu.audit import Outcome, list_entries, list_for_person
from kangshu.console.pages.messages import body_lines
from kangshu.intake.messages import (
    BODY_READ,
    MessageFormat,
    MessageState,
    get_message,
    note_repeats,
    prune_bodies,
)

pytestmark = pytest.mark.database


def test_the_list_tells_of_each_message_what_became_of_it_and_why(site_run):
    async def scenario(site: Site):
        numbers = await keep(
            site.platform,
            message(1),
            refused(2),
            message(3, state=MessageState.CONFLICT, place="MSH-10", reason=WHY, sender=SECOND_HOSPITAL),
            message(4, format=MessageFormat.CDA, type="C0002", control_id=None, channel="http"),
        )
        async with site.platform.database.transaction() as connection:
            await note_repeats(connection, messages=[numbers[0]] * 3, now=NOW)
        browser = await site.signed_in("centre")
        return (await browser.get("/console/messages")).text, (
            await browser.get("/console/messages?lang=en")
        ).text

    zh, en = site_run(scenario)

    for words in (
        "ADT^A01",
        "K1",
        "桐山区人民医院",
        "南屏区人民医院",
        "已接收",
        "已退回",
        "控制号冲突",
        "PID-3",
    ):
        assert words in zh
    assert "患者标识必填" in zh
    assert "又发 3 次" in zh
    assert "共享文档 CDA" in zh
    assert "无控制号" in zh
    assert "虚构" not in zh
    assert "a patient identifier is required" in en
    assert "sent again: 3" in en


def test_filters_narrow_the_list(site_run):
    async def scenario(site: Site):
        await keep(
            site.platform,
            message(1),
            refused(2, type="ORU^R01"),
            message(3, sender=SECOND_HOSPITAL, format=MessageFormat.FHIR),
            message(4, received_at=NOW - timedelta(days=3)),
        )
        browser = await site.signed_in("centre")

        async def listed(query: str) -> list[str]:
            page = (await browser.get(f"/console/messages?{query}")).text
            return re.findall(r'class="under file-name">(K\d)', page)

        return [
            await listed(query)
            for query in (
                "",
                "state=refused",
                "state=nonsense",
                "format=fhir",
                "type=ORU%5ER01",
                "search=K4",
                "search=K",
                f"institution={SECOND_HOSPITAL}",
                "institution=南屏",
                "institution=nowhere",
                "first=2026-03-18",
                "last=2026-03-17",
                "first=nonsense&last=9999-12-31",
                "before=1",
                "before=999999999999999999999",
            )
        ]

    everything = ["K1", "K2", "K3", "K4"]
    assert site_run(scenario) == [
        everything, ["K2"], everything, ["K3"], ["K2"], ["K4"], everything, ["K3"], ["K3"], [],
        ["K1", "K2", "K3"], ["K4"], everything, ["K2", "K3", "K4"], everything,
    ]  # fmt: skip


def test_long_lists_are_paged(site_run):
    async def scenario(site: Site):
        await keep(site.platform, *(message(number) for number in range(120)))
        browser = await site.signed_in("centre")
        path, pages = "/console/messages?search=K", []
        while path:
            page = (await browser.get(path)).text
            pages.append(re.findall(r'class="under file-name">(K\d+)', page))
            older = re.search(r'rel="next" href="([^"]+)"', page)
            path = older[1].replace("&amp;", "&") if older else ""
        return pages

    pages = site_run(scenario)

    assert [len(page) for page in pages] == [50, 50, 20]
    assert [one for page in pages for one in page] == [f"K{number}" for number in range(120)]


def test_everybody_sees_the_messages_within_reach_only(site_run):
    async def scenario(site: Site):
        own, other, nameless = await keep(
            site.platform, message(1), message(2, sender=SECOND_HOSPITAL), refused(3, sender="")
        )
        found = {}
        for name in ("centre", "city", "hospital"):
            browser = await site.signed_in(name)
            listed = (await browser.get("/console/messages")).text
            found[name] = (
                sorted(re.findall(r'class="under file-name">(K\d)', listed)),
                [
                    (await browser.get(f"/console/messages/{number}")).status_code
                    for number in (own, other, nameless)
                ],
                (await browser.post(f"/console/messages/{other}/body")).status_code,
            )
        return found

    assert site_run(scenario) == {
        "centre": (["K1", "K2", "K3"], [200, 200, 200], 200),
        "city": (["K2"], [404, 200, 404], 200),
        "hospital": (["K1"], [200, 404, 404], 404),
    }


@pytest.mark.parametrize("name", ["doctor", "desk", "auditor", "statistics"])
def test_the_pages_are_closed_to_other_roles(site_run, name):
    async def scenario(site: Site):
        (number,) = await keep(site.platform, message(1))
        browser = await site.signed_in(name)
        menu = (await browser.get("/console/account")).text
        answers = [
            (await browser.get(path)).status_code
            for path in ("/console/messages", f"/console/messages/{number}")
        ]
        answers.append((await browser.post(f"/console/messages/{number}/body")).status_code)
        answers.append((await browser.post("/console/messages/replay")).status_code)
        return answers, 'href="/console/messages"' in menu

    assert site_run(scenario) == ([403, 403, 403, 403], False)


def test_a_message_shows_its_shape_and_marks_the_place_of_the_reason(site_run):
    async def scenario(site: Site):
        (number,) = await keep(site.platform, refused(2))
        browser = await site.signed_in("hospital")
        return (await browser.get(f"/console/messages/{number}")).text

    page = site_run(scenario)

    assert "患者标识必填（位置：PID-3）" in page
    assert re.search(r'<li class="is-marked"><code>PID\|0\|\|x000000', page)
    assert "查看原文" in page
    assert "虚构" not in page
    assert "19800101" not in page


def test_the_body_is_shown_to_who_may_and_the_look_is_on_record(site_run):
    async def scenario(site: Site):
        (number,) = await keep(site.platform, message(1, persons=(41, 42)))
        browser = await site.signed_in("hospital")
        page = await browser.post(f"/console/messages/{number}/body")
        again = await browser.get(f"/console/messages/{number}")
        async with site.platform.database.connection() as connection:
            looks = [await list_for_person(connection, person=person) for person in (41, 42)]
        auditor = await site.signed_in("auditor")
        trail = (await auditor.get(f"/console/audit?action={BODY_READ}")).text
        return number, page, again.text, looks, trail

    number, page, again, looks, trail = site_run(scenario)

    assert "虚构^人物1" in page.text
    assert page.headers["cache-control"] == "no-store"
    assert "本次查看已记入审计链" in page.text
    assert "虚构" not in again, "the next look asks again"
    for found in looks:
        assert [(one.actor, one.purpose, one.resource) for one in found] == [
            ("staff:hospital", "quality", f"message/{number}")
        ]
    assert "查看报文原文" in trail


def test_an_administrator_sees_masked_messages_and_opens_none(site_run):
    async def scenario(site: Site):
        (number,) = await keep(site.platform, message(1))
        browser = await site.signed_in("admin")
        page = await browser.get(f"/console/messages/{number}")
        refusal = await browser.post(f"/console/messages/{number}/body")
        async with site.platform.database.connection() as connection:
            return (
                page,
                refusal,
                await list_entries(connection, action=BODY_READ),
                await list_entries(connection, action="console.refused"),
            )

    page, refusal, looks, refusals = site_run(scenario)

    assert page.status_code == 200
    assert "查看原文" not in page.text
    assert refusal.status_code == 403
    assert "虚构" not in page.text + refusal.text
    assert looks == []
    assert [one.outcome for one in refusals] == [Outcome.REFUSED]


def test_a_body_opens_with_a_form_of_ours_only(site_run):
    async def scenario(site: Site):
        (number,) = await keep(site.platform, message(1))
        browser = await site.signed_in("centre")
        path = f"/console/messages/{number}/body"
        return [
            (await browser.http.get(path)).status_code,
            (await browser.http.post(path)).status_code,
            (await browser.post(path, headers={"Origin": "http://elsewhere.test"})).status_code,
            (await browser.post(path, {"csrf": "0" * 64})).status_code,
        ]

    assert site_run(scenario) == [405, 403, 403, 403]


def test_what_a_message_holds_is_text_and_never_markup(site_run):
    body = b"MSH|^~\\&|<script>alert(1)</script>\rPID|1||<img src=x onerror=alert(2)>\x00\x1b[31m"

    async def scenario(site: Site):
        (number,) = await keep(
            site.platform,
            refused(1, body=body, control_id="<b>K</b>", type="<i>", place="<u>", application="<script>"),
        )
        browser = await site.signed_in("centre")
        pages = [await browser.get("/console/messages"), await browser.get(f"/console/messages/{number}")]
        pages.append(await browser.post(f"/console/messages/{number}/body"))
        return [page.text for page in pages]

    for page in site_run(scenario):
        main = page.split("<main", 1)[1]
        assert "<script>" not in main
        assert "<img" not in main
        assert "<b>K" not in main
        assert "\x00" not in main
        assert "\x1b" not in main


def test_a_pruned_message_says_so_and_is_not_tried_again(site_run):
    async def scenario(site: Site):
        (number,) = await keep(site.platform, refused(1, received_at=NOW - timedelta(days=200)))
        await prune_bodies(site.platform.database, before=NOW - timedelta(days=180), now=NOW)
        browser = await site.signed_in("centre")
        page = await browser.get(f"/console/messages/{number}")
        listed = await browser.get("/console/messages")
        body = await browser.post(f"/console/messages/{number}/body")
        return page.text, listed.text, body.status_code

    page, listed, body = site_run(scenario, replay=Replayer())

    assert "原文已清除" in page
    assert f"{'/replay'}" not in page
    assert 'action="/console/messages/replay"' not in listed
    assert body == 404


def test_one_message_is_tried_again_and_the_page_tells_what_came_of_it(site_run):
    replayer = Replayer()

    async def scenario(site: Site):
        (number,) = await keep(site.platform, refused(1))
        browser = await site.signed_in("hospital")
        page = await browser.post(f"/console/messages/{number}/replay")
        again = await browser.get(f"/console/messages/{number}")
        return number, page.text, again.text

    number, page, again = site_run(scenario, replay=replayer)

    assert replayer.asked == [[number]]
    assert replayer.by == ["staff:hospital"]
    assert "接收 1 条，仍退回 0 条" in page
    assert "接收 1 条" not in again, "told once"


def test_all_refused_messages_of_a_filter_are_tried_again_the_oldest_first(site_run):
    replayer = Replayer()

    async def scenario(site: Site):
        one, two, _, _, four = await keep(
            site.platform,
            refused(1),
            refused(2),
            refused(3, sender=SECOND_HOSPITAL),
            message(5),
            refused(4, type="ORU^R01"),
        )
        browser = await site.signed_in("hospital")
        listed = (await browser.get("/console/messages")).text
        page = await browser.post("/console/messages/replay", {"type": "ADT^A01", "state": "refused"})
        everything = await browser.post("/console/messages/replay", {})
        nothing = await browser.post("/console/messages/replay", {"search": "none"})
        return (one, two, four), listed, page, everything, nothing.text

    (one, two, four), listed, page, everything, nothing = site_run(scenario, replay=replayer)

    assert "重新处理其中 3 条退回消息" in listed
    assert replayer.asked == [[two, one], [four, two, one]]
    assert str(page.url).endswith("/console/messages?state=refused&type=ADT%5EA01")
    assert "接收 2 条，仍退回 1 条" in everything.text
    assert "接收 0 条" in nothing


def test_without_a_way_to_replay_nothing_offers_it(site_run):
    async def scenario(site: Site):
        (number,) = await keep(site.platform, refused(1))
        browser = await site.signed_in("centre")
        pages = [await browser.get("/console/messages"), await browser.get(f"/console/messages/{number}")]
        answer = await browser.post(f"/console/messages/{number}/replay")
        return "".join(page.text for page in pages), answer.status_code

    pages, status = site_run(scenario)

    assert "/replay" not in pages
    assert status == 404


def test_the_figures_count_what_is_within_reach(site_run):
    async def scenario(site: Site):
        await keep(
            site.platform,
            message(1),
            message(2),
            refused(3),
            refused(4, sender=SECOND_HOSPITAL),
            message(5, received_at=NOW - timedelta(days=30)),
        )
        found = {}
        for name in ("centre", "hospital"):
            page = (await (await site.signed_in(name)).get("/console/messages")).text
            values = re.findall(r'figure-value">(?:<a[^>]*>)?([\d,+]+)', page)
            found[name] = values
        return found

    assert site_run(scenario) == {"centre": ["2", "0", "2", "2", "0"], "hospital": ["2", "0", "1", "1", "0"]}


@pytest.mark.parametrize("number", ["0", "999", "-1", "x", "9" * 30])
def test_numbers_that_name_no_message_are_not_found(site_run, number):
    async def scenario(site: Site):
        browser = await site.signed_in("centre")
        return (await browser.get(f"/console/messages/{number}")).status_code

    assert site_run(scenario) == 404


def test_a_refused_message_that_was_corrected_leads_to_the_accepted_one(site_run):
    async def scenario(site: Site):
        (wrong,) = await keep(site.platform, refused(1))
        (right,) = await keep(site.platform, message(1, body=b"MSH|^~\\&|corrected", digest=b"x" * 16))
        browser = await site.signed_in("centre")
        page = await browser.get(f"/console/messages/{wrong}")
        async with site.platform.database.connection() as connection:
            return right, page.text, await get_message(connection, message=wrong)

    right, page, shown = site_run(scenario, replay=Replayer())

    assert shown.state is MessageState.SUPERSEDED
    assert f'href="/console/messages/{right}"' in page
    assert "/replay" not in page


@pytest.mark.parametrize(
    ("place", "marked"),
    [
        ("PID-3", 1),
        ("OBX[2]-5", 3),
        ("OBX", 2),
        ("OBX[9]-5", None),
        ("OBX[0]-5", None),
        ("ZZZ-1", None),
        ("Patient.birthDate", None),
        (None, None),
    ],
)
def test_the_segment_that_a_place_names_is_marked(place, marked):
    shown: Any = type("Shown", (), {"place": place, "format": MessageFormat.HL7V2})()

    lines = body_lines("MSH|\nPID|\nOBX|1\nOBX|2\n", message=shown)

    assert [line.text for line in lines] == ["MSH|", "PID|", "OBX|1", "OBX|2"]
    assert [number for number, line in enumerate(lines) if line.marked] == (
        [] if marked is None else [marked]
    )
