"""What the base pack declares about quality as a whole: complete, in order, and in two languages."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from kangshu.declarations import Dimension, Look, QualitySettings, Scope, load_pack

POINTS = {"A": 4.0, "B": 2.0, "C": 1.0, "D": 0.5}


def quality() -> QualitySettings:
    return load_pack().quality


def test_the_front_page_is_scored_by_the_76_items_of_2016():
    (sheet,) = quality().scorings
    items = [item for group in sheet.groups for item in group.items]

    assert len(items) == 76
    assert all(item.points == POINTS[item.kind] for item in items)
    assert Counter(item.kind for item in items) == {"A": 10, "B": 14, "C": 10, "D": 42}
    assert [len(group.items) for group in sheet.groups] == [27, 9, 29, 11]
    assert [group.points for group in sheet.groups] == [18, 26, 50, 6]
    assert sum(group.points for group in sheet.groups) == 100
    # The items of a group need not add up to what the group can lose.
    assert [sum(item.points for item in group.items) for group in sheet.groups] == [24, 17, 49, 9]
    assert [(band.name, band.least) for band in sheet.bands] == [
        ("excellent", 97),
        ("good", 90),
        ("middle", 75),
        ("poor", 0),
    ]


def test_every_item_of_the_sheet_can_lose_its_points():
    front_page = load_pack().dataset("front_page")
    (sheet,) = quality().scorings

    asked = {name for group in sheet.groups for item in group.items for name in item.fields}
    rules = {name for group in sheet.groups for item in group.items for name in item.rules}

    assert asked <= {field.name for field in front_page.fields}
    assert rules <= {rule.id for rule in front_page.rules}
    assert len(asked) > 100
    assert all(item.fields for group in sheet.groups for item in group.items)


def test_the_ten_indicators_are_there_in_their_order():
    assert [one.id for one in quality().indicators] == [f"QI{n:02d}" for n in range(1, 11)]
    assert quality().indicators[9].reconciliation == "FP048"
    assert quality().indicators[7].band == "excellent"


def test_all_seven_dimensions_weigh_something():
    assert set(quality().score.dimensions) == set(Dimension)
    assert all(quality().score.dimensions.values())
    assert sum(quality().score.dimensions.values()) == 100


def test_what_is_expected_every_month_weighs_something_in_the_score():
    assert {one.dataset for one in quality().expectations} <= set(quality().score.datasets)


def test_the_more_serious_grade_is_reached_later_and_gives_less_time():
    grades = quality().grades

    assert [grade.name for grade in grades] == ["red", "orange", "yellow"]
    for worse, better in pairwise(grades):
        assert (worse.score_below or 0) < (better.score_below or 0)
        assert (worse.share_at_least or 0) > (better.share_at_least or 0)
        assert (worse.missing_days or 0) > (better.missing_days or 0)
        assert worse.days < better.days
    assert all(grade.days <= 31 for grade in grades), "cleared within the month"


def test_front_pages_are_held_against_the_discharges_within_one_percent():
    pair = next(one for one in quality().reconciliations if one.id == "FP048")

    assert (pair.left.dataset, pair.right.dataset) == ("front_page", "institution_month")
    assert (pair.relative, pair.absolute) == (0.01, 0)


def test_everything_about_quality_has_a_title_in_two_languages():
    settings, pack = quality(), load_pack()
    titles = [
        *(band.title for band in settings.score.bands),
        *(text for one in settings.scorings for text in (one.title, *(band.title for band in one.bands))),
        *(group.title for one in settings.scorings for group in one.groups),
        *(item.title for one in settings.scorings for group in one.groups for item in group.items),
        *(one.title for one in settings.indicators),
        *(item.title for item in settings.emr_items),
        *(text for one in settings.reconciliations for text in (one.title, one.message)),
        *(side.title for one in settings.reconciliations for side in (one.left, one.right)),
        *(grade.title for grade in settings.grades),
        *(measure.title for dataset in pack.datasets.values() for measure in dataset.measures),
    ]

    assert not [title for title in titles if not title.zh or not title.en or title.zh == title.en]
    assert not [title for title in titles if re.search(r"[一-鿿]", title.en)]


def test_every_clinical_set_is_looked_at_over_files_data_sets_and_months():
    for dataset in load_pack().datasets.values():
        if dataset.category in ("directory", "sample") or not dataset.about_persons:
            continue
        scopes = {rule.scope for rule in dataset.rules}
        dimensions = {rule.dimension for rule in dataset.rules}

        assert {Scope.ROW, Scope.FILE, Scope.REGION, Scope.CELL} <= scopes, dataset.name
        assert {Dimension.LINKAGE, Dimension.UNIQUENESS, Dimension.PLAUSIBILITY} <= dimensions, dataset.name


@pytest.mark.parametrize("scope", [Scope.REGION, Scope.CELL])
def test_rules_that_can_be_wrong_about_a_good_row_only_warn(scope: Scope):
    """What is missing elsewhere may be the other sender's fault; such rules do not count as errors."""
    errors = {
        rule.id[2:]
        for dataset in load_pack().datasets.values()
        if dataset.category != "sample"
        for rule in dataset.rules
        if rule.scope is scope and rule.severity == "error"
    }

    assert errors <= {"062", "064"}


def test_looks_are_joined_on_something_and_named_once():
    looks: list[tuple[str, Look]] = [
        (rule.id, look)
        for dataset in load_pack().datasets.values()
        for rule in dataset.rules
        for look in rule.looks
    ]

    assert looks
    assert all(look.on for _, look in looks)
    assert len({(rule, look.name) for rule, look in looks}) == len(looks)
