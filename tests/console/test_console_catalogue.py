"""The catalogue's pages: what the lake holds, found by words, without a value; all people are made up."""

from __future__ import annotations

import csv
import io
import re
from datetime import date

import pytest
from console_world import HOSPITAL, SECOND_HOSPITAL, Site, csv_bytes, lab_rows, residents, send

from kangshu.console.lineage import Node, cut, lineage_picture, spark
from kangshu.quality.catalogue import refresh

PEOPLE = residents(5)
ROOT = "/console/catalogue"


async def arrivals(site: Site) -> None:
    """Thirty rows of one hospital in March, twelve of another in February; the lake is counted."""
    for institution, day, items in (
        (HOSPITAL, date(2026, 3, 10), 6),
        (SECOND_HOSPITAL, date(2026, 2, 10), 3),
    ):
        rows = lab_rows(PEOPLE[: 5 if items == 6 else 4], institution=institution, day=day, items=items)
        if items == 3:
            for row in rows:
                row["unit"] = ""
        await send(site.platform, csv_bytes(rows), name=f"lab_{day:%Y-%m}.csv", institution=institution)
    platform = site.platform
    await refresh(platform.database, platform.engine, pack=platform.pack, now=platform.clock.now())


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.mark.database
def test_the_catalogue_tells_what_is_held_of_each_data_set(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("centre")

        told = text_of((await browser.get(ROOT)).text)

        assert "检验结果 lab_result" in told
        assert re.search(r"lab_result · \S+ 42 ", told)
        assert "入库行数 42" in told

    site_run(scenario)


@pytest.mark.database
def test_a_search_finds_columns_in_either_language_with_their_fill(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("centre")

        zh = text_of((await browser.get(f"{ROOT}?text=计量单位")).text)
        en = text_of((await browser.get(f"{ROOT}?text=unit&category=clinical&lang=en")).text)
        nothing = text_of((await browser.get(f"{ROOT}?text=没有这样的词")).text)

        assert "计量单位 unit" in zh
        assert "71.4%" in zh, "30 of 42 rows"
        assert "Laboratory result" in en
        assert "没有这样的数据项" in text_of((await browser.get(f"{ROOT}?text=没有这样的词&lang=zh")).text)
        assert nothing

    site_run(scenario)


@pytest.mark.database
def test_a_data_set_shows_columns_months_and_institutions(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("centre")

        told = text_of((await browser.get(f"{ROOT}/lab_result")).text)

        assert "42 其中来自消息 0" in told
        assert "2026-03 30" in told
        assert "2026-02 12" in told
        assert "桐山区人民医院 30" in told

    site_run(scenario)


@pytest.mark.database
def test_a_column_shows_from_where_it_comes_and_what_it_feeds(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("centre")

        page = (await browser.get(f"{ROOT}/lab_result/value_number")).text
        told = text_of(page)

        assert "OBX-5" in told
        assert "DE04.30.015.00 · laboratory-item" in told
        assert "LR009" in told
        assert "来源机构" in told
        assert "南屏区人民医院" in told
        assert '<svg class="lineage"' in page
        assert "/console/receipts/" in page

    site_run(scenario)


@pytest.mark.database
def test_an_institution_sees_its_own_counts_alone(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("hospital")

        pages = [
            (await browser.get(path)).text
            for path in (
                ROOT,
                f"{ROOT}?text=unit",
                f"{ROOT}/lab_result",
                f"{ROOT}/lab_result/unit",
                f"{ROOT}.csv?text=unit",
            )
        ]

        assert all(SECOND_HOSPITAL not in page and "南屏区" not in page for page in pages)
        assert "只统计本单位的数据" in pages[0]
        assert "入库行数 30" in text_of(pages[0])
        assert "≈" not in pages[2] + pages[3], "different values are counted for the region"

    site_run(scenario)


@pytest.mark.database
def test_no_page_and_no_file_holds_a_value(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("centre")

        for path in (
            ROOT,
            f"{ROOT}/lab_result",
            f"{ROOT}/lab_result/patient_name",
            f"{ROOT}/lab_result/resident_number",
            f"{ROOT}/lab_result.csv",
        ):
            page = (await browser.get(path)).text
            for person in PEOPLE:
                assert person.number not in page
                assert person.name not in page

    site_run(scenario)


@pytest.mark.database
def test_the_columns_are_sent_as_csv_and_as_a_workbook(site_run):
    async def scenario(site: Site) -> None:
        await arrivals(site)
        browser = await site.signed_in("centre")

        sent = await browser.get(f"{ROOT}/lab_result.csv")
        whole = await browser.get(f"{ROOT}.csv")
        book = await browser.get(f"{ROOT}/lab_result.xlsx")
        rows = {row["字段名"]: row for row in csv.DictReader(io.StringIO(sent.text.lstrip("\ufeff")))}

        assert (rows["unit"]["行数"], rows["unit"]["有值行数"], rows["unit"]["填充率（%）"]) == (
            "42",
            "30",
            "71.43",
        )
        assert whole.text.count("\n") == 1 + sum(
            len(one.fields) for one in site.platform.pack.datasets.values()
        )
        assert book.content.startswith(b"PK")
        assert (await browser.get(f"{ROOT}.xlsx")).status_code == 200

    site_run(scenario)


@pytest.mark.database
@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{ROOT}?text=%00&category=x&privacy=x&page=0", 200),
        (f"{ROOT}?text={'a' * 3000}", 200),
        (f"{ROOT}/nothing", 404),
        (f"{ROOT}/lab_result/nothing", 404),
        (f"{ROOT}/nothing.csv", 404),
        (f"{ROOT}/front_page/discharged_at", 200),
    ],
)
def test_whatever_an_address_says_is_answered(site_run, path: str, status: int):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        assert (await browser.get(path)).status_code == status

    site_run(scenario)


def test_a_picture_has_a_line_for_each_thing_and_room_for_all():
    feeds, uses = [Node(title="文件")] * 3, [Node(title="规则")] * 8

    picture = lineage_picture(feeds=feeds, centre=Node(title="数值"), uses=uses)

    assert len(picture.links) == len(picture.boxes) == 11
    assert all(box.y >= 0 and box.y + box.height <= picture.height for box in picture.boxes)
    assert all(box.x + box.width <= picture.width for box in picture.boxes)


def test_small_lines_need_two_points_and_texts_are_cut_to_fit():
    assert spark([1.0]) is None
    assert spark([None, None, 3.0]) is None
    line = spark([0.0, None, 1.0], highest=1.0)
    assert line
    assert line.points == "1.5,18.5 98.5,1.5"
    assert cut("很长很长的名称" * 10, cells=10) == "很长很长…"
