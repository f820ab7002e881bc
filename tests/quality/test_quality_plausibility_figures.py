"""Rules about cells over made-up series: what is a drop, what is the season, and when nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plausibility_made_up import MAY, PACK, RESULT, cell_rule, figures_table, months_before

from kangshu.declarations import Rule
from kangshu.quality.plausibility import CellFinding, judge_figures

counts = st.integers(min_value=1, max_value=100_000)


def judged(
    rule: str | Rule,
    series: dict[str, Sequence[float | None]],
    *,
    months: Sequence[date] = (MAY,),
    kinds: dict[str, str] | None = None,
) -> list[CellFinding]:
    declared = rule if isinstance(rule, Rule) else cell_rule("RT999", rule)
    dataset = replace(RESULT, rules=(declared,))
    return judge_figures(figures_table(series, kinds=kinds), pack=PACK, dataset=dataset, months=months)


def test_a_third_of_the_usual_month_is_found_with_the_figures_that_decided():
    found = judged("now.rows >= 0.5 * usual.rows", {"A": [9900, 9700, 9800, 9800, 3120]})

    assert [dict(one.figures) for one in found] == [{"now.rows": 3120, "usual.rows": 9800}]
    assert found[0].cell.institution == "A"
    assert found[0].cell.month == MAY


def test_a_usual_month_is_no_finding():
    assert judged("now.rows >= 0.5 * usual.rows", {"A": [9900, 9700, 9800, 9800, 7000]}) == []


def test_with_fewer_than_three_months_before_nothing_is_usual_and_the_rule_holds():
    assert judged("now.rows >= 0.5 * usual.rows", {"A": [9900, 9700, 10]}) == []
    assert judged("now.rows >= 0.5 * usual.rows", {"A": [9900, None, 9700, None, 10]}) == []


def test_months_longer_ago_than_six_are_not_usual_any_more():
    series = [50, 50, 50, 9000, 9000, 9000, 9000, 9000, 9000, 4000]

    assert [one.figures["usual.rows"] for one in judged("now.rows >= 0.5 * usual.rows", {"A": series})] == [
        9000
    ]


def test_the_month_before_is_the_month_before_and_not_the_last_that_was_sent():
    assert judged("now.rows >= before.rows", {"A": [500, None, 10]}) == []
    assert len(judged("now.rows >= before.rows", {"A": [None, 500, 10]})) == 1


def test_last_year_is_the_same_month():
    series = [100, *[900] * 11, 90]

    assert judged("now.rows >= 0.8 * last_year.rows", {"A": series}) == []
    assert len(judged("now.rows >= last_year.rows", {"A": series})) == 1


def test_five_peers_of_a_kind_are_needed():
    series: dict[str, Sequence[float | None]] = {name: [100] for name in "ABCD"}
    series["E"] = [1000]
    rule = "now.rows <= 2 * peers.rows"

    assert judged(rule, series, kinds={name: "A1/2" for name in "ABCD"} | {"E": "C2/1"}) == []
    assert [one.cell.institution for one in judged(rule, series, kinds=dict.fromkeys("ABCDE", "A1/2"))] == [
        "E"
    ]


def test_an_institution_whose_kind_is_not_known_has_no_peers():
    assert judged("now.rows <= 2 * peers.rows", {name: [100] for name in "ABCDE"} | {"F": [10_000]}) == []


def test_the_spread_is_how_far_months_usually_lie_from_the_usual():
    rule = "abs(now.rows - usual.rows) <= 6 * spread.rows"

    steady = judged(rule, {"A": [100, 101, 99, 100, 102, 98, 120]})
    restless = judged(rule, {"A": [60, 140, 80, 120, 70, 130, 120]})

    assert [dict(one.figures) for one in steady] == [{"now.rows": 120, "usual.rows": 100, "spread.rows": 1}]
    assert restless == []


def test_a_rule_that_is_null_holds():
    assert judged("usual.rows < 100 OR now.rows >= 0.5 * usual.rows", {"A": [30, 30, 30, 1]}) == []
    assert judged("usual.rows < 100 OR now.rows >= 0.5 * usual.rows", {"A": [30, 1]}) == []
    assert len(judged("usual.rows < 100 OR now.rows >= 0.5 * usual.rows", {"A": [300, 300, 300, 1]})) == 1


def test_several_months_are_judged_each_by_its_own_past():
    series = [100, 100, 100, 30, 100, 20]

    found = judged("now.rows >= 0.5 * usual.rows", {"A": series}, months=months_before(MAY, 6))

    assert [one.cell.month.month for one in found] == [3, 5]


def test_a_cell_without_figures_is_not_judged():
    assert judged("now.rows >= 0.5 * usual.rows", {"A": [100, 100, 100, None]}) == []


def test_the_rules_read_no_file():
    with pytest.raises(Exception, match=r"(?i)disabled|permission|not allowed|forbidden"):
        judged("now.rows >= (SELECT count(*) FROM read_csv('/etc/passwd'))", {"A": [1, 2, 3, 4]})


@given(past=st.lists(counts, min_size=3, max_size=6), now=counts)
def test_a_drop_below_half_of_the_median_is_found_and_nothing_else(past: list[int], now: int):
    middle = sorted(past)
    median = (middle[(len(past) - 1) // 2] + middle[len(past) // 2]) / 2

    found = judged("now.rows >= 0.5 * usual.rows", {"A": [*past, now]})

    assert bool(found) == (now < 0.5 * median)


@given(past=st.lists(counts, min_size=3, max_size=6), now=counts, more=counts)
def test_more_rows_never_bring_a_drop_about(past: list[int], now: int, more: int):
    rule = "now.rows >= 0.5 * usual.rows"

    assert len(judged(rule, {"A": [*past, now + more]})) <= len(judged(rule, {"A": [*past, now]}))
