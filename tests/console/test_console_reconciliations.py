"""Figures held against each other: the list, one pair, its rows, what is sent; all people are made up."""

from __future__ import annotations

import csv
import io
import re
from datetime import date
from typing import Any

import pytest
from console_world import HOSPITAL, SECOND_HOSPITAL, Site, csv_bytes, drug_rows, residents, send, visit_rows

from kangshu.console.pages.reconciliations import figure, share_text, signed
from kangshu.lake import StagedRow, flush_staged, stage_rows
from kangshu.quality.reconciling import Balance, State, reconcile

PEOPLE = residents(6)
DAY = date(2026, 3, 10)
MARCH = date(2026, 3, 1)
LIST = "/console/quality/reconciliations"
ONE = f"{LIST}/RC008/{HOSPITAL}"


def charge_rows(numbers: list[str], *, institution: str, category: str = "09") -> list[dict[str, Any]]:
    """Return charges for these visits."""
    return [
        {
            "institution_code": institution,
            "patient_number": f"P{place}",
            "patient_name": "合成人",
            "charge_number": f"F{place}",
            "visit_number": number,
            "charged_at": f"{DAY:%Y-%m-%d} 11:30:00",
            "category": category,
            "item_code": "250403005",
            "item_name": "药费",
            "unit_price": "8.00",
            "quantity": "1",
            "amount": "8.00",
        }
        for place, number in enumerate(numbers)
    ]


def month_rows(institution: str, *, visits: int) -> list[dict[str, Any]]:
    return [{"institution_code": institution, "month": "2026-03-01", "visits": visits, "discharges": 0}]


async def arrivals(site: Site) -> None:
    """Visits that agree and that do not; twelve prescription rows of six visits, four visits charged."""
    drugs = drug_rows(PEOPLE, institution=HOSPITAL, day=DAY)
    visits = list(dict.fromkeys(row["visit_number"] for row in drugs))
    for rows, name, institution in (
        (visit_rows(PEOPLE, institution=HOSPITAL, day=DAY), "visit", HOSPITAL),
        (month_rows(HOSPITAL, visits=6), "month", HOSPITAL),
        (drugs, "drug", HOSPITAL),
        (charge_rows([*visits[:4], "X1"], institution=HOSPITAL), "charge", HOSPITAL),
        (visit_rows(PEOPLE, institution=SECOND_HOSPITAL, day=DAY), "visit2", SECOND_HOSPITAL),
        (month_rows(SECOND_HOSPITAL, visits=60), "month2", SECOND_HOSPITAL),
    ):
        await send(site.platform, csv_bytes(rows), name=f"{name}_2026-03.csv", institution=institution)
    await compute(site)


async def compute(site: Site) -> None:
    platform = site.platform
    await reconcile(
        platform.database,
        platform.engine,
        pack=platform.pack,
        first=MARCH,
        last=MARCH,
        now=platform.clock.now(),
    )


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.mark.database
def test_the_list_shows_each_institution_with_what_differs_first(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("centre")

        page = (await browser.get(LIST)).text
        told = text_of(page).partition("机构 × 对账项 差额")[2]

        assert told.index("南屏区人民医院") < told.index("桐山区人民医院")
        assert "−54" in told
        assert "−90.0%" in told
        assert f"{LIST}/RC001/{SECOND_HOSPITAL}?month=2026-03" in page

    site_run(scenario)


@pytest.mark.database
def test_only_what_differs_is_shown_on_demand_and_sorted_by_a_pair(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("centre")

        by_pair = text_of((await browser.get(f"{LIST}?sort=RC008")).text).partition("差额及其")[2]
        own = text_of((await browser.get(f"{LIST}?differing=yes&institution={HOSPITAL}")).text)

        assert by_pair.index("桐山区人民医院") < by_pair.index("南屏区人民医院")
        assert "采集的就诊与月报总诊疗人次" not in own, "6 visits, 6 reported"
        assert "有诊断的门急诊与就诊记录" in own

    site_run(scenario)


@pytest.mark.database
def test_an_institution_sees_itself_alone(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("hospital")

        page = (await browser.get(LIST)).text
        other = await browser.get(f"{LIST}/RC001/{SECOND_HOSPITAL}?month=2026-03")
        rows = await browser.get(f"{LIST}/RC001/{SECOND_HOSPITAL}/rows.csv?month=2026-03&side=left")
        sent = (await browser.get(f"{LIST}.csv?institution={SECOND_HOSPITAL}")).text

        assert "桐山区人民医院" in page
        assert "南屏区" not in page
        assert SECOND_HOSPITAL not in page + sent
        assert (other.status_code, rows.status_code) == (404, 404)

    site_run(scenario)


@pytest.mark.database
def test_whoever_may_not_see_quality_sees_no_figures(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("doctor")

        for path in (LIST, f"{LIST}.csv", f"{LIST}.xlsx", f"{ONE}?month=2026-03"):
            assert (await browser.get(path)).status_code == 403

    site_run(scenario)


@pytest.mark.database
def test_a_pair_leads_to_the_rows_of_both_sides_and_never_to_a_value(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("hospital")

        page = (await browser.get(f"{ONE}?month=2026-03")).text
        told = text_of(page)
        matching = text_of((await browser.get(f"{ONE}?month=2026-03&partner=same")).text)

        assert "有处方的就诊 6" in told
        assert "有药费的就诊 5" in told
        assert "drug_2026-03.csv" in told
        assert told.count("没有对应的行") >= 2
        assert "10、11、12、13" in told
        assert "2、3、4、5、6、7、8、9" in matching
        for person in PEOPLE:
            assert person.number not in page
            assert person.name not in page
        assert "O2026" not in page, "no visit number"

    site_run(scenario)


@pytest.mark.database
def test_the_places_are_sent_as_a_list_with_every_row_to_be_checked(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("hospital")

        left = await browser.get(f"{ONE}/rows.csv?month=2026-03&side=left")
        right = await browser.get(f"{ONE}/rows.csv?month=2026-03&side=right&partner=none")
        lines = list(csv.reader(io.StringIO(left.text.lstrip("\ufeff"))))

        assert [line[2] for line in lines[1:]] == ["10", "11", "12", "13"]
        assert {line[3] for line in lines[1:]} == {"没有对应的行"}
        assert right.text.count("\n") == 2
        for wrong in ("side=middle&month=2026-03", "side=left&month=2026-13", "side=left"):
            assert (await browser.get(f"{ONE}/rows.csv?{wrong}")).status_code == 404

    site_run(scenario)


@pytest.mark.database
def test_the_list_is_sent_as_csv_and_as_a_workbook_with_the_same_figures(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("centre")

        sent = await browser.get(f"{LIST}.csv?month=2026-03")
        book = await browser.get(f"{LIST}.xlsx?month=2026-03&differing=yes")
        rows = list(csv.DictReader(io.StringIO(sent.text.lstrip("\ufeff"))))

        (visits,) = [row for row in rows if row["对账编号"] == "RC001" and row["机构代码"] == SECOND_HOSPITAL]
        assert (visits["待核数"], visits["对照数"], visits["差额"], visits["状态"]) == (
            "6",
            "60",
            "-54",
            "超出容差",
        )
        assert book.content.startswith(b"PK")

    site_run(scenario)


@pytest.mark.database
def test_rows_from_messages_are_told_apart_and_have_no_row_number(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        platform = site.platform
        at = platform.clock.now().replace(tzinfo=None)
        row = StagedRow(
            dataset="prescription_item",
            institution=HOSPITAL,
            person=None,
            at=at,
            values={"visit_number": "M1", "institution_code": HOSPITAL, "prescribed_at": at},
            key="MedicationRequest/1",
            message=1,
        )
        async with platform.database.transaction() as connection:
            await stage_rows(connection, rows=[row])
        await flush_staged(platform.database, platform.engine, pack=platform.pack)
        await compute(site)
        browser = await site.signed_in("hospital")

        told = text_of((await browser.get(f"{ONE}?month=2026-03")).text)
        sent = (await browser.get(f"{ONE}/rows.csv?month=2026-03&side=left")).text

        assert "有处方的就诊 7" in told
        assert "由交换消息产生，没有文件行号" in told
        assert "交换消息,," in sent
        assert str(1 << 62) not in told + sent

    site_run(scenario)


@pytest.mark.database
@pytest.mark.parametrize(
    "path",
    [
        f"{LIST}?month=nonsense&sort=x&page=-1",
        f"{LIST}?month=9999-12&institution=%27%3B--",
        f"{LIST}?institution={'a' * 5000}",
        f"{ONE}?month=2026-03&partner=x&side=left&after=99999999999999999999~1",
        f"{ONE}?month=2026-03&side=left&after=1~0",
        f"{ONE}?month=0001-01",
        f"{ONE}?month=9999-12",
    ],
)
def test_whatever_an_address_says_is_answered(site_run, path: str):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("centre")

        assert (await browser.get(path)).status_code == 200

    site_run(scenario)


@pytest.mark.database
def test_an_unknown_pair_month_or_institution_is_not_found(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        for path in (
            f"{LIST}/RC999/{HOSPITAL}?month=2026-03",
            f"{ONE}?month=",
            f"{LIST}/RC001/nowhere?month=2026-03",
        ):
            assert (await browser.get(path)).status_code == 404
        assert "还没有对账结果" in (await browser.get(LIST)).text

    site_run(scenario)


def test_differences_are_written_with_their_sign_and_share():
    told = Balance(
        id="R",
        institution="H",
        month=MARCH,
        left=96.0,
        right=100.0,
        allowed=1.0,
        state=State.OVER,
    )

    assert (figure(1234.5), signed(told.difference), share_text(told)) == ("1,234.50", "−4", "−4.0%")
    assert signed(0.0) == "0"
