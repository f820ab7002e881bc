"""Rankings: ties, changes, and who is compared with whom. All institutions are fictional."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st
from scoring_made_up import MARCH

from kangshu.quality.scoring import InstitutionScore, rank

FEBRUARY = date(2026, 2, 1)


def _score(institution: str, total: float, *, month: date = MARCH) -> InstitutionScore:
    return InstitutionScore(
        institution=institution,
        month=month,
        total=total,
        by_dimension={},
        expected=1,
        arrived=1,
        rows=1,
        rejected=0,
    )


def test_equal_scores_share_a_place_and_the_next_is_as_many_lower():
    ranked = rank([_score("d", 70), _score("b", 90), _score("c", 90), _score("a", 95.5)])

    assert [(one.place, one.institution, one.tied) for one in ranked] == [
        (1, "a", False),
        (2, "b", True),
        (2, "c", True),
        (4, "d", False),
    ]


def test_a_change_is_told_in_points_and_in_places():
    ranked = rank(
        [_score("a", 80.1), _score("b", 90)],
        previous=[_score("a", 79.9, month=FEBRUARY), _score("b", 70, month=FEBRUARY)],
    )

    assert [(one.institution, one.change, one.climbed) for one in ranked] == [("b", 20.0, 1), ("a", 0.2, -1)]


def test_who_had_no_score_the_month_before_has_no_change():
    (only,) = rank([_score("a", 80)])

    assert (only.change, only.climbed) == (None, None)


def test_among_some_the_places_are_theirs_in_both_months():
    scores = [_score("a", 99), _score("b", 80), _score("c", 70)]
    previous = [_score("a", 99), _score("b", 60), _score("c", 65)]

    ranked = rank(scores, previous=previous, among={"b", "c"})

    assert [(one.place, one.institution, one.climbed) for one in ranked] == [(1, "b", 1), (2, "c", -1)]


def test_an_empty_month_has_no_ranking():
    assert rank([]) == []


totals = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 10_000), max_size=12)


@given(scores=totals, order=st.randoms(use_true_random=False))
def test_the_order_of_what_comes_in_does_not_matter(scores: dict[str, int], order):
    made = [_score(name, hundredths / 100) for name, hundredths in scores.items()]
    shuffled = list(made)
    order.shuffle(shuffled)

    assert rank(made) == rank(shuffled)


@given(scores=totals)
def test_a_place_is_one_more_than_the_number_of_better_ones(scores: dict[str, int]):
    ranked = rank([_score(name, hundredths / 100) for name, hundredths in scores.items()])

    for one in ranked:
        assert one.place == 1 + sum(other.total > one.total for other in ranked)
        assert one.tied == (sum(other.total == one.total for other in ranked) > 1)
