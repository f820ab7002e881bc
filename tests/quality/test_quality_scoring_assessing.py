"""The common report about a file: the same at home and on the platform. All figures are made up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

from hypothesis import given
from hypothesis import strategies as st
from scoring_made_up import DATASET, examined, finding, pack
from test_quality_scoring_sheets import SHEET

from kangshu.intake import Examined
from kangshu.quality.scoring import assess_file


def _document(found: Examined) -> dict:
    return assess_file(dataset=DATASET, pack=pack(SHEET), examined=found).document()


def test_a_report_tells_what_to_mend_first_and_what_it_is_worth():
    document = _document(
        examined(
            finding("C1", range(1, 31)),
            finding("K2", [40, 41]),
            finding("type", [5, 50], field="day"),
            rows=100,
        )
    )

    assert document == {
        "dataset": "visit",
        "edition": "1",
        "rows": 100,
        "accepted": 69,
        "rejected": 31,
        "scores": {
            "total": 87.17,
            "dimensions": {"completeness": 70.0, "validity": 98.0, "consistency": 99.4},
            "sheets": {
                "sheet": {
                    "title": "评分表",
                    "title_en": "评分表",
                    "mean": 99.95,
                    "bands": {"excellent": 100, "good": 0, "below": 0},
                }
            },
        },
        "findings": [
            {
                "rule": "C1",
                "field": "name",
                "title": "姓名",
                "title_en": "Name",
                "severity": "error",
                "dimension": "completeness",
                "rows": 30,
                "share": 0.3,
                "message": "mend C1",
                "message_en": "mend C1",
                "first_rows": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
                "points": 12.0,
            },
            {
                "rule": "type",
                "field": "day",
                "title": "日期",
                "title_en": "Day",
                "severity": "error",
                "dimension": "validity",
                "rows": 2,
                "share": 0.02,
                "message": "“日期”应为真实存在的日期，如 2026-03-01",
                "message_en": "Day must be a date that exists, such as 2026-03-01",
                "first_rows": [5, 50],
                "points": 0.6667,
            },
            {
                "rule": "K2",
                "field": "",
                "title": "K2",
                "title_en": "K2",
                "severity": "warning",
                "dimension": "consistency",
                "rows": 2,
                "share": 0.02,
                "message": "mend K2",
                "message_en": "mend K2",
                "first_rows": [40, 41],
                "points": 0.16,
            },
        ],
    }


def test_rules_that_look_beyond_the_file_are_not_in_the_report():
    with_region = _document(examined(finding("L1", [1, 2]), finding("C1", [3]), rows=10))

    assert with_region == _document(examined(finding("C1", [3]), rows=10))
    assert "linkage" not in with_region["scores"]["dimensions"]


def test_a_file_of_several_months_and_institutions_is_reported_as_a_whole():
    april = date(2026, 4, 1)
    parts = Examined(
        shares=(
            *examined(rows=4).shares,
            *examined(rows=6, month=april).shares,
            *examined(rows=5, institution="99000101599010211A1002").shares,
        ),
        findings=(finding("K2", [1, 2]), finding("K2", [7], month=april)),
        filled={},
    )

    (only,) = _document(parts)["findings"]

    assert (only["rows"], only["first_rows"], only["share"]) == (3, [1, 2, 7], 0.2)


def test_a_file_without_rows_has_a_report():
    document = _document(Examined(shares=(), findings=(), filled={}))

    assert (document["rows"], document["scores"]["total"], document["findings"]) == (0, 0.0, [])


def test_a_finding_of_a_field_that_is_no_more_is_named_by_its_check():
    old = finding("domain", [1], field="gone")

    (only,) = _document(examined(old, rows=2))["findings"]

    assert (only["title"], only["message"]) == ("domain", "domain")


checks = st.dictionaries(
    st.sampled_from(["C1", "C2", "K1", "K2", "type", "required", "ragged"]),
    st.sets(st.integers(1, 50), min_size=1),
)


@given(rows=checks, order=st.randoms(use_true_random=False))
def test_two_reports_about_one_file_are_equal_byte_for_byte(rows: dict[str, set[int]], order):
    found = examined(*(finding(name, members, field="day") for name, members in rows.items()), rows=50)
    shuffled = list(found.findings)
    order.shuffle(shuffled)

    once = json.dumps(_document(found))
    again = json.dumps(_document(replace(found, findings=tuple(shuffled), filled={"day": 3})))

    assert once == again


@given(rows=checks)
def test_findings_are_ordered_by_what_they_are_worth(rows: dict[str, set[int]]):
    found = examined(*(finding(name, members, field="day") for name, members in rows.items()), rows=50)

    findings = _document(found)["findings"]

    assert findings == sorted(findings, key=lambda one: (-one["points"], -one["rows"]))
    assert sum(one["points"] for one in findings) <= 100 + 1e-3
    assert {one["rule"] for one in findings} == set(rows)
