"""Scores of cells and institutions: by hand, and the laws that they keep. All figures are made up."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scoring_made_up import (
    DATASET,
    HOSPITAL,
    MARCH,
    RULES,
    SETTINGS,
    arrival,
    cell,
    fault,
    finding,
    tally,
    tally_of,
)

from kangshu.declarations import Dimension, Scope, ScoreSettings, Severity
from kangshu.intake import Finding
from kangshu.quality.coverage import CoverageState
from kangshu.quality.model import FindingCount, Origin
from kangshu.quality.scoring import (
    CellScore,
    CellScorer,
    band_of,
    points_of,
    score_cell,
    score_institution,
    score_missing,
)
from kangshu.quality.weighing import weigh

_ROWS = 40
_SCORER = CellScorer(settings=SETTINGS, dataset=DATASET)

found = st.dictionaries(
    st.sampled_from([rule.id for rule in RULES if rule.scope is not Scope.CELL] + ["required", "type"]),
    st.sets(st.integers(1, _ROWS), min_size=1),
)


def _findings(rows: dict[str, set[int]]) -> list[Finding]:
    return [finding(name, members, field="name") for name, members in sorted(rows.items())]


def test_the_example_in_the_readme_is_right():

    score = score_cell(
        settings=SETTINGS,
        dataset=DATASET,
        tally=tally(
            rows=200,
            rejected=14,
            dimensions={
                Dimension.COMPLETENESS: (10, 20),
                Dimension.VALIDITY: (4, 0),
                Dimension.LINKAGE: (0, 50),
            },
        ),
        cell_findings=[fault("P1")],
        coverage=arrival(timeliness=0.5, state=CoverageState.LATE),
    )

    assert score.by_dimension == {
        Dimension.COMPLETENESS: 92.0,
        Dimension.VALIDITY: 98.0,
        Dimension.CONSISTENCY: 100.0,
        Dimension.TIMELINESS: 50.0,
        Dimension.LINKAGE: 92.5,
        Dimension.PLAUSIBILITY: 85.0,
    }
    assert score.total == 90.6


def test_a_score_is_cut_so_that_one_hundred_means_that_nothing_is_wrong():
    nearly = score_cell(
        settings=SETTINGS,
        dataset=DATASET,
        tally=tally(rows=10_000_000, dimensions={Dimension.VALIDITY: (1, 0)}),
    )

    assert nearly.total == 99.99
    assert nearly.by_dimension[Dimension.VALIDITY] == 99.99


def test_a_cell_without_rows_has_no_points():
    assert score_cell(settings=SETTINGS, dataset=DATASET, tally=tally(rows=0)).total == 0


def test_dimensions_without_a_rule_or_check_are_not_judged():
    score = score_cell(settings=SETTINGS, dataset=DATASET, tally=tally(rows=10))

    assert Dimension.TIMELINESS not in score.by_dimension
    assert Dimension.UNIQUENESS not in score.by_dimension
    assert score.total == 100


def test_where_the_settings_name_no_dimension_all_weigh_the_same():
    counts = {Dimension.VALIDITY: (5, 0)}

    score = score_cell(settings=ScoreSettings(), dataset=DATASET, tally=tally(rows=10, dimensions=counts))

    assert score.total == 90  # five dimensions, one of them at 50


def test_two_broken_rules_about_the_cell_take_the_dimension_down_rule_by_rule():
    faults = [fault("P1"), fault("P2")]

    score = _SCORER.score(tally=tally(rows=10), cell_findings=faults)

    assert score.by_dimension[Dimension.PLAUSIBILITY] == 35.0  # (2 - 1 - 0.3) / 2
    points = _SCORER.cell_points(finding=faults[1], tally=tally(rows=10), cell_findings=faults)
    assert points == Fraction(5, 90) * 100 / 2


def test_what_mending_is_worth_does_not_count_rows_that_stay_wrong_otherwise():
    findings = [finding("C1", [1, 2, 3]), finding("required", [3, 4], field="name")]
    weighed = weigh(findings, dataset=DATASET)
    counted = tally_of(findings, rows=10)

    counts = [
        FindingCount(
            cell=cell(),
            file=1,
            rule=one.rule,
            field=one.field,
            origin=Origin.ARRIVAL,
            severity=one.severity,
            dimension=dimension,
            rows=len(one.rows),
            sole=sole,
        )
        for one, dimension, sole in zip(weighed.findings, weighed.dimensions, weighed.sole, strict=True)
    ]

    points = [points_of(count, counted, settings=SETTINGS, dataset=DATASET) for count in counts]
    assert points == [6.6667, 3.3333]  # 30/90 of 2/10 and of 1/10


def test_a_finding_of_timeliness_is_worth_nothing_where_the_calendar_measures_it():
    points = _SCORER.points(
        dimension=Dimension.TIMELINESS,
        severity=Severity.ERROR,
        sole=5,
        tally=tally(rows=10),
        coverage=arrival(timeliness=0.0),
    )

    assert points == 0


@given(rows=found)
def test_a_score_lies_between_nothing_and_one_hundred(rows: dict[str, set[int]]):
    score = _SCORER.score(tally=tally_of(_findings(rows), rows=_ROWS))

    assert 0 <= score.total <= 100
    assert all(0 <= points <= 100 for points in score.by_dimension.values())
    assert (score.total == 100) == (not rows)


@given(rows=found, data=st.data())
def test_mending_a_finding_never_lowers_the_score_and_brings_at_least_what_it_is_worth(
    rows: dict[str, set[int]], data: st.DataObject
):
    findings = _findings(rows)
    before = _SCORER.share(tally=tally_of(findings, rows=_ROWS))
    for number, mended in enumerate(weigh(findings, dataset=DATASET).sole):
        left = findings[:number] + findings[number + 1 :]
        worth = _SCORER.points(
            dimension=weigh(findings, dataset=DATASET).dimensions[number],
            severity=findings[number].severity,
            sole=mended,
            tally=tally_of(findings, rows=_ROWS),
        )

        gained = 100 * (_SCORER.share(tally=tally_of(left, rows=_ROWS)) - before)

        assert gained >= worth >= 0


@given(parts=st.lists(st.sampled_from(["C1", "K1", "C2", "L1", "type", ""]), min_size=_ROWS, max_size=_ROWS))
def test_where_no_row_is_wrong_twice_the_points_of_all_findings_are_what_is_missing_to_one_hundred(
    parts: list[str],
):
    rows: dict[str, set[int]] = {}
    for number, name in enumerate(parts, start=1):
        if name:
            rows.setdefault(name, set()).add(number)
    findings = _findings(rows)
    weighed = weigh(findings, dataset=DATASET)
    whole = tally_of(findings, rows=_ROWS)

    worth = sum(
        (
            _SCORER.points(dimension=dimension, severity=one.severity, sole=sole, tally=whole)
            for one, dimension, sole in zip(findings, weighed.dimensions, weighed.sole, strict=True)
        ),
        Fraction(0),
    )

    assert worth == 100 * (1 - _SCORER.share(tally=whole))


@given(rows=found)
def test_a_score_computed_again_from_places_alone_is_the_same(rows: dict[str, set[int]]):
    findings = _findings(rows)

    stored = _SCORER.score(tally=tally_of(findings, rows=_ROWS))

    # By hand: rows as sets, shares as fractions, nothing of the code under test.
    weights = {Dimension(name): Fraction(str(weight)) for name, weight in SETTINGS.dimensions.items()}
    total, weight_sum = Fraction(0), Fraction(0)
    dimension_of = {rule.id: rule.dimension for rule in RULES} | {
        "required": Dimension.COMPLETENESS,
        "type": Dimension.VALIDITY,
    }
    for dimension in _SCORER.dimensions:
        wrong: set[int] = set()
        marked: set[int] = set()
        for one in findings:
            if dimension_of[one.rule] is dimension:
                (wrong if one.severity is Severity.ERROR else marked).update(one.rows.tolist())
        rate = 1 - (len(wrong) + Fraction(3, 10) * len(marked - wrong)) / _ROWS
        total += weights[dimension] * rate
        weight_sum += weights[dimension]
    assert stored.total == int(total / weight_sum * 10_000) / 100


@given(rows=found, seed=st.permutations(range(10)))
def test_the_order_of_findings_does_not_matter(rows: dict[str, set[int]], seed: list[int]):
    findings = _findings(rows)
    shuffled = [findings[place] for place in seed if place < len(findings)]

    assert _SCORER.score(tally=tally_of(findings, rows=_ROWS)) == _SCORER.score(
        tally=tally_of(shuffled, rows=_ROWS)
    )


def _scored(dataset: str, total: float, *, weight: float = 1.0, expected: bool = True, rows: int = 5):
    return CellScore(
        cell=cell(dataset=dataset),
        total=total,
        rows=rows,
        expected=expected,
        weight=weight,
        by_dimension={Dimension.VALIDITY: total} if rows else {},
    )


def test_an_institution_is_the_weighted_mean_of_what_is_expected_of_it():
    score = score_institution(
        [
            _scored("front_page", 90.0, weight=3),
            _scored("visit", 80.0),
            _scored("birth", 0.0, rows=0),
            _scored("extra", 10.0, expected=False),
        ]
    )

    assert score is not None
    assert score.total == 70.0  # (3 * 90 + 80 + 0) / 5
    assert score.by_dimension == {Dimension.VALIDITY: 87.5}  # of what arrived
    assert (score.expected, score.arrived, score.coverage) == (3, 2, 2 / 3)
    assert (score.institution, score.month) == (HOSPITAL, MARCH)


def test_an_institution_of_which_nothing_is_expected_is_judged_by_what_it_sent():
    score = score_institution([_scored("extra", 10.0, expected=False)])

    assert score is not None
    assert (score.total, score.coverage) == (10.0, None)


def test_an_institution_with_nothing_has_no_score():
    early = arrival(state=CoverageState.NOT_DUE, timeliness=None)

    assert score_institution([]) is None
    assert score_institution([score_missing(settings=SETTINGS, coverage=early)]) is None


def test_what_should_have_come_and_did_not_is_nothing():
    missing = score_missing(settings=SETTINGS, coverage=arrival(state=CoverageState.MISSING))

    score = score_institution([missing])

    assert score is not None
    assert (score.total, score.coverage, score.by_dimension) == (0.0, 0.0, {})


def test_bands_begin_where_they_say():
    titles = [
        band.name if (band := band_of(total, bands=SETTINGS.bands)) else None
        for total in (100, 95, 94.99, 80, 79.99)
    ]

    assert titles == ["excellent", "excellent", "good", "good", None]


def test_row_numbers_of_any_size_are_counted():
    far = np.array([1, 1 << 40], np.int64)
    one = Finding(
        rule="C1", field="name", severity=Severity.ERROR, institution=HOSPITAL, month=MARCH, rows=far
    )

    assert tally_of([one], rows=4).by_dimension[Dimension.COMPLETENESS].errors == 2
