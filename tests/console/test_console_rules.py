"""The pages of rules: those declared, what they found, what a new one would find. All people are made up."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from datetime import date

import pytest
from console_world import (
    HOSPITAL,
    SECOND_HOSPITAL,
    Site,
    csv_bytes,
    drug_rows,
    lab_rows,
    residents,
    send,
    visit_rows,
)
from hypothesis import given
from hypothesis import strategies as st

from kangshu import audit
from kangshu.console.pages.rules import TrialForm
from kangshu.kernel.texts import Text

DAY = date(2026, 3, 16)
TRY = "/console/quality/rules/try"
PEOPLE = residents(10)
words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)


def _text(html: str) -> str:
    bare = re.sub(r"<(script|style|svg|datalist).*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


async def _arrivals(site: Site) -> None:
    for hospital, people in ((HOSPITAL, PEOPLE[:6]), (SECOND_HOSPITAL, PEOPLE[6:])):
        labs = csv_bytes(lab_rows(people, institution=hospital, day=DAY))
        await send(site.platform, labs, name=f"检验_{hospital[:6]}.csv", institution=hospital)
    visits = csv_bytes(visit_rows(PEOPLE[:3], institution=HOSPITAL, day=DAY))
    await send(site.platform, visits, name="门诊.csv", institution=HOSPITAL)
    drugs = csv_bytes(drug_rows(PEOPLE[:6], institution=HOSPITAL, day=DAY))
    await send(site.platform, drugs, name="处方.csv", institution=HOSPITAL)


@pytest.mark.database
def test_the_list_is_narrowed_by_set_dimension_scope_severity_and_words(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("statistics")

        everything = await browser.get("/console/quality/rules")
        some = await browser.get(
            "/console/quality/rules?dataset=lab_result&dimension=linkage&scope=region&severity=warning"
        )
        named = await browser.get("/console/quality/rules?text=resident_number_VALID(father")
        nonsense = await browser.get("/console/quality/rules?dataset=nobody&dimension=beauty&page=999999")

        total = sum(len(one.rules) for one in site.platform.pack.datasets.values())
        assert f"{total} 条规则" in _text(everything.text)
        assert "LR061" in some.text
        assert "LR065" in some.text
        assert "LR064" not in some.text, "an error"
        assert "front_page/FP0" not in some.text
        assert "BI009" in named.text
        assert "1 条规则" in _text(named.text)
        assert f"{total} 条规则" in _text(nonsense.text)

    site_run(scenario)


@pytest.mark.database
def test_the_list_is_exported_as_it_is_narrowed(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        answer = await browser.get("/console/quality/rules.csv?dataset=front_page&scope=cell")
        rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))

        cells = [rule for rule in site.platform.pack.datasets["front_page"].rules if rule.scope == "cell"]
        assert [row[1] for row in rows[1:]] == [rule.id for rule in cells]

    site_run(scenario)


@pytest.mark.database
def test_a_rule_shows_what_it_asks_of_which_rows(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("hospital")

        region = _text((await browser.get("/console/quality/rules/lab_result/LR065")).text)
        cell = _text((await browser.get("/console/quality/rules/lab_result/LR085?lang=en")).text)
        file = _text((await browser.get("/console/quality/rules/lab_result/LR005?lang=zh")).text)
        missing = await browser.get("/console/quality/rules/lab_result/LR999")
        elsewhere = await browser.get("/console/quality/rules/nobody/LR065")

        assert "report.rows &gt; 0 or not reported_at between reports.first and reports.last" in region
        assert "first = min(reported_at)" in region
        assert "版本 2026" in region
        assert "digit_unevenness(last_digit(value_number))" in cell
        assert "whole month" in cell
        assert "institution_code, report_number, item_number 的组合在文件内唯一" in file
        assert "试算" not in region, "not an institution's business"
        assert missing.status_code == 404
        assert elsewhere.status_code == 404

    site_run(scenario)


@pytest.mark.database
def test_a_rule_that_is_tried_tells_files_and_rows_and_never_values(site_run):
    async def scenario(site: Site) -> None:
        await _arrivals(site)
        browser = await site.signed_in("centre")

        answer = await browser.post(
            TRY,
            {
                "dataset": "lab_result",
                "sql": "item_number <> 3",
                "severity": "warning",
                "dimension": "validity",
            },
        )
        text = _text(answer.text)

        assert answer.status_code == 200
        assert "样本行数 60 2 个文件 不满足的行 10 16.7% 机构数 2 / 2" in text
        assert "检验_990101.csv 行号 4, 10, 16, 22, 28, 34" in text
        assert "检验_990201.csv 行号 4, 10, 16, 22" in text
        assert "sql = &#34;item_number &lt;&gt; 3&#34;" in answer.text
        assert not [person for person in PEOPLE if person.name in text or person.number in text]

    site_run(scenario)


@pytest.mark.database
def test_a_rule_with_looks_sees_rows_of_other_data_sets(site_run):
    async def scenario(site: Site) -> None:
        await _arrivals(site)
        browser = await site.signed_in("centre")
        pair = '["visit_number", "visit_number"]'
        look = f'[[rule.look]]\nname = "visit"\ndataset = "outpatient_visit"\non = [{pair}]'

        answer = await browser.post(
            TRY,
            {
                "dataset": "prescription_item",
                "sql": "visit.rows = 1",
                "applies": "item_number = 2",
                "looks": look.replace("\n", "\r\n"),
                "severity": "error",
                "dimension": "linkage",
            },
        )
        text = _text(answer.text)

        assert "样本行数 12 1 个文件 适用的行 6 50.0% 不满足的行 3 50.0%" in text
        assert "处方.csv 行号 9, 11, 13" in text

    site_run(scenario)


@pytest.mark.database
def test_who_has_a_part_of_the_region_tries_rules_on_that_part(site_run):
    async def scenario(site: Site) -> None:
        await _arrivals(site)
        browser = await site.signed_in("city")
        look = '[[rule.look]]\nname = "visits"\ndataset = "outpatient_visit"\non = [["1", "1"]]'
        fields = {"dataset": "lab_result", "severity": "warning", "dimension": "linkage"}

        own = _text((await browser.post(TRY, {**fields, "sql": "item_number <> 3"})).text)
        looked = _text((await browser.post(TRY, {**fields, "sql": "visits.rows > 0", "looks": look})).text)
        empty = _text(
            (await browser.post(TRY, {**fields, "dataset": "outpatient_visit", "sql": "false"})).text
        )

        assert "样本行数 24 1 个文件 不满足的行 4" in own
        assert "检验_990101" not in own
        assert "不满足的行 24" in looked, "visits lie elsewhere, as if there were none"
        assert "没有可试算的文件" in empty

    site_run(scenario)


@pytest.mark.database
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"sql": "item_nummer > 3"}, "见下方第 6 行"),
        ({"sql": "item_number >"}, "见下方第 6 行"),
        ({"sql": "item_number"}, "应得出真或假"),
        ({"sql": "item_number in (select 1)"}, "子查询"),
        ({"sql": "true); DROP TABLE x; SELECT (true"}, "SELECT"),
        ({"sql": "exists(from read_csv('/etc/passwd'))"}, "子查询"),
        ({"sql": "getenv('HOME') = ''"}, "getenv"),
        ({"sql": "error(patient_name) is null"}, "error"),
        ({"sql": "item_number > 3", "looks": "[[rule.look]\n"}, "TOML"),
        ({"sql": "item_number > 3", "looks": '[[rule]]\nid = "x"'}, "恰好有一条规则"),
        (
            {
                "sql": "item_number > 3",
                "looks": '[[rule.look]]\nname = "x"\ndataset = "y"\non = [["1", "1"]]',
            },
            "y",
        ),
        ({"sql": "item_number > 3", "severity": "fatal"}, "见下方第 3 行"),
        ({"sql": "item_number > 3", "dataset": "nobody"}, "请选择数据集"),
        ({"sql": "1 = 1 or " * 600 + "true"}, "最多 4000 个字符"),
        ({"sql": "item_number > 3", "looks": 'severity = "error"'}, "见下方第"),
    ],
)
def test_a_wrong_rule_is_refused_with_place_and_reason(site_run, fields, reason):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")
        usual = {"dataset": "lab_result", "severity": "warning", "dimension": "validity"}

        answer = await browser.post(TRY, usual | fields)

        assert answer.status_code == 422
        assert "未能试算" in answer.text
        assert reason in answer.text

    site_run(scenario)


@pytest.mark.database
def test_what_cannot_be_computed_is_told_without_a_value(site_run):
    async def scenario(site: Site) -> None:
        await _arrivals(site)
        browser = await site.signed_in("centre")
        fields = {"dataset": "lab_result", "severity": "warning", "dimension": "validity"}

        unlike = await browser.post(TRY, {**fields, "sql": "patient_name::INTEGER > 0"})
        endless = await browser.post(TRY, {**fields, "sql": "list_sum(range(item_number * 300000000)) > 0"})

        assert "不满足的行 60" in _text(unlike.text), "a row that cannot be judged does not meet the rule"
        assert not [person for person in PEOPLE if person.name in unlike.text]
        assert endless.status_code == 422
        assert "未能试算" in endless.text

    site_run(scenario)


@pytest.mark.database
def test_only_who_manages_quality_tries_rules_and_it_is_on_record(site_run):
    async def scenario(site: Site) -> None:
        await _arrivals(site)
        hospital = await site.signed_in("hospital")
        centre = await site.signed_in("centre")
        fields = {"dataset": "lab_result", "severity": "warning", "dimension": "validity", "sql": "false"}

        looked, tried = await hospital.get(TRY), await hospital.post(TRY, fields)
        await centre.post(TRY, fields)

        assert (looked.status_code, tried.status_code) == (403, 403)
        async with site.platform.database.connection() as connection:
            recorded = await audit.list_entries(connection, action="quality.rule-try")
        assert [one.resource for one in recorded] == ["lab_result"]
        assert "false" not in str(recorded[0].detail), "not the rule's text: it may name somebody"

    site_run(scenario)


@pytest.mark.database
def test_a_declared_rule_is_where_a_change_begins(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("centre")

        page = (await browser.get(f"{TRY}?dataset=front_page&rule=FP047")).text

        assert "alike.rows &lt; 100" in page
        assert "daily_low = &#34;quantile_cont(" in page
        assert 'value="FP047"' in page

    site_run(scenario)


@given(sql=words, applies=words, message=words, id_=words)
def test_whatever_is_written_stands_in_the_text_as_it_was_written(sql, applies, message, id_):
    form = TrialForm.of({"sql": sql, "applies": applies, "message": message, "id": id_})

    (rule,) = tomllib.loads(form.toml(Text(zh=form.message, en="x")))["rule"]

    assert _plain(rule["sql"]) == _plain(form.sql)
    assert _plain(rule.get("applies", "")) == _plain(form.applies)
    assert _plain(rule["message"]) == _plain(form.message)


def _plain(text: str) -> str:
    """Return a text without what no text of a form should hold, and without the ends that TOML gives it."""
    return "".join(one if one in "\n\t" or (one >= " " and one != "\x7f") else " " for one in text).strip()


def test_a_form_has_bounds():
    assert TrialForm(sql="x" * 4001).too_long() == "sql"
    assert TrialForm(looks="x" * 8001).too_long() == "looks"
    assert TrialForm(sql="x" * 4000).too_long() is None
