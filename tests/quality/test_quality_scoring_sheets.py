"""Scoring sheets: items, groups and bands, row by row. All figures are made up."""

from __future__ import annotations

from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scoring_made_up import DATASET, HOSPITAL, MARCH, finding, text

from kangshu.declarations import Band, Scoring, ScoringGroup, ScoringItem, load_pack
from kangshu.intake import Share
from kangshu.quality.scoring import SheetCount, add_sheets, count_sheet, row_points

SHEET = Scoring(
    name="sheet",
    title=text("评分表"),
    dataset="visit",
    source="made up",
    groups=(
        ScoringGroup(
            title=text("甲"),
            points=5,
            items=(
                ScoringItem(title=text("一"), points=4, rules=("K1",), fields=("name",)),
                ScoringItem(title=text("二"), points=2, rules=("K2",)),
            ),
        ),
        ScoringGroup(
            title=text("乙"),
            points=95,
            items=(ScoringItem(title=text("三"), points=0.5, fields=("day",)),),
        ),
    ),
    bands=(
        Band(name="good", title=text("良"), least=90),
        Band(name="excellent", title=text("优"), least=97),
    ),
)


def _share(rows: int, *, month: date = MARCH) -> Share:
    return Share(institution=HOSPITAL, month=month, rows=rows, rejected=0)


def _points(*findings) -> dict[int, float]:
    rows, left = row_points(scoring=SHEET, dataset=DATASET, findings=findings)
    return {int(row): points / 1000 for row, points in zip(rows, left, strict=True)}


def test_a_row_loses_each_item_once_and_a_group_no_more_than_its_points():
    points = _points(
        finding("K1", [1, 2, 3]),
        finding("required", [1], field="name"),  # the same item as K1
        finding("K2", [2]),  # 4 + 2 of a group of 5
        finding("type", [3], field="day"),
    )

    assert points == {1: 96.0, 2: 95.0, 3: 95.5}


def test_a_declared_rule_counts_by_its_name_and_not_by_its_field():
    assert _points(finding("C1", [1], field="name")) == {1: 100.0}


def test_a_row_that_cannot_be_read_has_no_points():
    assert _points(finding("ragged", [7])) == {7: 0.0}


def test_the_sheet_of_a_month_counts_rows_sums_bands_and_items():
    findings = [finding("K1", [1, 2]), finding("K2", [2]), finding("ragged", [3])]

    (count,) = count_sheet(scoring=SHEET, dataset=DATASET, shares=[_share(5)], findings=findings)

    assert count == SheetCount(
        scoring="sheet",
        institution=HOSPITAL,
        month=MARCH,
        rows=5,
        thousandths=96_000 + 95_000 + 0 + 2 * 100_000,
        bands=(2, 2, 1),
        items=(2, 1, 0),
    )
    assert count.mean == 78.2


def test_a_month_without_rows_has_no_mean():
    (count,) = count_sheet(scoring=SHEET, dataset=DATASET, shares=[_share(0)], findings=[])

    assert (count.mean, count.bands) == (None, (0, 0, 0))


def test_each_month_of_a_file_has_its_own_count():
    april = date(2026, 4, 1)

    counts = count_sheet(
        scoring=SHEET,
        dataset=DATASET,
        shares=[_share(2), _share(1, month=april)],
        findings=[finding("K1", [3], month=april)],
    )

    assert [(count.month, count.rows, count.mean) for count in counts] == [
        (MARCH, 2, 100.0),
        (april, 1, 96.0),
    ]


checks = st.dictionaries(
    st.sampled_from(["K1", "K2", "C1", "ragged", "required"]), st.sets(st.integers(1, 30), min_size=1)
)


@given(rows=checks, cut=st.integers(0, 30))
def test_counts_of_two_files_add_up_to_those_of_one(rows: dict[str, set[int]], cut: int):
    def count(first: int, last: int) -> list[SheetCount]:
        found = [
            finding(name, chosen, field="name" if name == "required" else "")
            for name, members in rows.items()
            if (chosen := {row for row in members if first <= row <= last})
        ]
        share = _share(last - first + 1)
        return count_sheet(scoring=SHEET, dataset=DATASET, shares=[share], findings=found)

    assert add_sheets([*count(1, cut), *count(cut + 1, 30)]) == count(1, 30)


@given(rows=checks)
def test_a_sheet_computed_row_by_row_is_the_same(rows: dict[str, set[int]]):
    found = [
        finding(name, members, field="name" if name == "required" else "") for name, members in rows.items()
    ]

    (count,) = count_sheet(scoring=SHEET, dataset=DATASET, shares=[_share(30)], findings=found)

    points: list[float] = []
    for row in range(1, 31):
        names = {name for name, members in rows.items() if row in members}
        lost = 4 * bool(names & {"K1", "required"}) + 2 * ("K2" in names)
        points.append(0.0 if "ragged" in names else 100 - min(lost, 5))
    assert count.thousandths == sum(points) * 1000
    assert count.bands == (
        sum(point >= 97 for point in points),
        sum(90 <= point < 97 for point in points),
        sum(point < 90 for point in points),
    )


def test_the_front_pages_sheet_has_its_76_items_and_100_points():
    pack = load_pack()
    (sheet,) = [one for one in pack.quality.scorings if one.dataset == "front_page"]
    dataset = pack.dataset("front_page")
    groups = {group.title.zh: (group.points, len(group.items)) for group in sheet.groups}
    checks = [(rule, "") for group in sheet.groups for item in group.items for rule in item.rules]
    checks += [("required", field) for group in sheet.groups for item in group.items for field in item.fields]
    everything = [finding(rule, [1], field=field or "x") for rule, field in sorted(set(checks))]

    rows, left = row_points(scoring=sheet, dataset=dataset, findings=everything)
    (count,) = count_sheet(scoring=sheet, dataset=dataset, shares=[_share(2)], findings=everything)

    assert sum(items for _, items in groups.values()) == 76
    assert sum(points for points, _ in groups.values()) == 100
    # Each item that can be found fault with loses its points; a group ends at its own.
    worst = sum(
        min(group.points, sum(item.points for item in group.items if item.rules or item.fields))
        for group in sheet.groups
    )
    assert (rows.tolist(), left.tolist()) == ([1], [round((100 - worst) * 1000)])
    assert count.thousandths == round((200 - worst) * 1000)
    assert sum(count.items) == sum(
        bool(item.rules or item.fields) for group in sheet.groups for item in group.items
    )


def test_many_rows_are_judged_as_columns():
    rows = np.arange(1, 1_000_001)
    one = finding("K1", [1])

    left = row_points(scoring=SHEET, dataset=DATASET, findings=[type(one)(**{**vars(one), "rows": rows})])[1]

    assert left.sum() == 96_000 * 1_000_000
