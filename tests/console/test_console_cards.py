"""The pages of health cards: figures, the window, one screen of codes; everybody in them is synthetic."""

from __future__ import annotations

import re

import httpx
import pytest
from console_world import HOSPITAL, SECOND_HOSPITAL, Browser, Resident, Site, residents

from kangshu.app.cards import Offices
from kangshu.app.cards_demo import make_cards
from kangshu.audit import list_entries
from kangshu.console.rendering import say
from kangshu.healthcard import Caller, EventKind, Refusal, Status, Use, find_card, record_uses

pytestmark = pytest.mark.database

PEOPLE: list[Resident] = [one for one in residents(40) if one.birth_date.year < 2000]


async def issue(browser: Browser, person: Resident) -> httpx.Response:
    return await browser.post(
        "/console/cards/window/register",
        {
            "name": person.name,
            "document_type": "01",
            "number": person.number,
            "phone": person.phone,
            "checked": "1",
        },
    )


async def card_of(site: Site, person: Resident):
    office = await Offices(site.platform)()
    async with site.platform.database.connection() as connection:
        return await find_card(connection, office=office, document_type="01", document_number=person.number)


def test_a_card_is_issued_at_the_window_and_its_page_is_masked(site_run):
    async def scenario(site: Site) -> None:
        browser, person = await site.signed_in("desk"), PEOPLE[0]

        page = await issue(browser, person)
        again = await issue(browser, person)

        assert "已发卡" in page.text
        assert "此证件已有卡" in again.text
        for secret in (person.number, person.name, person.phone):
            assert secret not in page.text
            assert not any(secret in address for address in browser.addresses)

    site_run(scenario)


def test_loss_and_its_lifting_phone_family_and_cancellation_are_done_at_the_window(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("desk")
        await issue(browser, PEOPLE[1])
        at = str((await issue(browser, PEOPLE[0])).url.path)

        async def act(name: str, **fields: str) -> str:
            return (await browser.post(f"{at}/{name}", fields)).text

        assert "挂失" in await act("loss", reason="手机遗失")
        lost = await card_of(site, PEOPLE[0])
        assert "解除挂失" in await act("lift", reason="找到了")
        await act("phone", phone="19900009999")
        family = await act("family", member=PEOPLE[1].number, relation="10")
        bound = await act("bind", system="insurance", value="C990100000001", issuer="")
        await act("cancel", reason="本人申请")
        gone = await card_of(site, PEOPLE[0])

        assert lost is not None
        assert lost.status is Status.LOST
        assert "没有亲属卡" not in family
        assert "C990100000001" not in bound
        assert gone is not None
        assert gone.status is Status.CANCELLED

    site_run(scenario)


def test_an_act_that_the_state_does_not_allow_is_answered_on_the_page(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("desk")
        at = str((await issue(browser, PEOPLE[0])).url.path)

        await browser.post(f"{at}/cancel", {"reason": "本人申请"})
        answer = await browser.post(f"{at}/phone", {"phone": "19900009999"})
        unknown = await browser.post(f"{at}/family", {"member": PEOPLE[5].number, "relation": "10"})
        nothing = await browser.post(f"{at}/nothing", {})

        assert answer.status_code == unknown.status_code == 422
        assert nothing.status_code == 404

    site_run(scenario)


def test_a_card_opens_only_to_whom_found_it_and_the_search_is_on_record_without_its_words(site_run):
    async def scenario(site: Site) -> None:
        desk, centre = await site.signed_in("desk"), await site.signed_in("centre")
        at = str((await issue(desk, PEOPLE[0])).url.path)

        unfound = await centre.get(at)
        search = {"document_type": "01", "number": PEOPLE[0].number}
        found = await centre.post("/console/cards/window/search", search)
        other = await centre.post(
            "/console/cards/window/search", {"document_type": "01", "number": PEOPLE[3].number}
        )

        assert unfound.status_code == 404
        assert found.status_code == 200
        assert other.status_code == 404
        async with site.platform.database.connection() as connection:
            entries = await list_entries(connection, action="console.card-search")
        assert [entry.detail["found"] for entry in entries] == [0, 1]
        assert PEOPLE[0].number not in repr(entries)

    site_run(scenario)


def test_one_screen_shows_a_fresh_code_and_what_is_bound_to_it(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("desk")
        at = str((await issue(browser, PEOPLE[0])).url.path)
        await browser.post(f"{at}/bind", {"system": "insurance", "value": "C990100000001", "issuer": ""})

        page = (await browser.post(f"{at}/screen")).text

        assert re.search(r'<div class="card-code"[^>]*><svg', page)
        assert "医保电子凭证" in page
        assert "300 秒" in page
        assert "C990100000001" not in page

    site_run(scenario)


def test_figures_are_those_of_the_visitors_institutions_and_can_be_exported(site_run):
    async def scenario(site: Site) -> None:
        desk = await site.signed_in("desk")
        await issue(desk, PEOPLE[0])
        card, office = await card_of(site, PEOPLE[0]), await Offices(site.platform)()
        assert card is not None
        for institution in (HOSPITAL, SECOND_HOSPITAL):
            async with site.platform.database.transaction() as connection:
                await record_uses(
                    connection,
                    office=office,
                    uses=[Use(scene="register", used_at=site.clock.moment, card=card.id)],
                    caller=Caller(actor="machine:kc-1", actor_name="kc-1", institution=institution),
                    now=site.clock.moment,
                )

        own = await site.signed_in("hospital")
        page = (await own.get("/console/cards")).text
        everything = (await (await site.signed_in("centre")).get("/console/cards")).text
        exported = (await own.get("/console/cards/export?days=7")).text

        assert "桐山区人民医院" in page
        assert "南屏区人民医院" not in page
        assert "南屏区人民医院" in everything
        assert HOSPITAL in exported
        assert SECOND_HOSPITAL not in exported
        assert (await (await site.signed_in("doctor")).get("/console/cards")).status_code == 403

    site_run(scenario)


def test_the_demonstration_has_cards_of_every_kind_and_makes_them_once(site_run):
    async def scenario(site: Site) -> None:
        made = await make_cards(site.platform)
        again = await make_cards(site.platform)
        page = (await (await site.signed_in("centre")).get("/console/cards")).text

        assert made == again > 0
        for word in ("二维码过期", "码已在别处使用", "卡已挂失", "伪造、篡改或外地码"):
            assert word in page
        assert "没有用卡记录" not in page

    site_run(scenario)


@pytest.mark.parametrize("key", [f"cards.refusal_{one.value.replace('-', '_')}" for one in Refusal])
def test_every_refusal_has_its_words(key):
    assert say[key].zh


@pytest.mark.parametrize(
    "key",
    [f"card_window.event_{one.value.replace('-', '_')}" for one in EventKind]
    + [f"card_window.status_{one.value}" for one in Status],
)
def test_every_event_and_state_has_its_words(key):
    assert say[key].en
