"""Rankings of institutions (排名): equal scores share a place, 1, 2, 2, 4; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from kangshu.quality.scoring.model import InstitutionScore, Ranked


def rank(
    scores: Iterable[InstitutionScore],
    *,
    previous: Iterable[InstitutionScore] = (),
    among: Collection[str] | None = None,
) -> list[Ranked]:
    """Return the institutions by score, the best first; equal ones by code.

    `among` narrows the ranking to these institutions, for this month and the one before (`previous`). Scores
    are compared as they are published, with two decimals: who reads the same figure sees the same place.
    """
    now = _chosen(scores, among)
    before = _places(_chosen(previous, among))
    places = _places(now)
    holders = Counter(place for place, _ in places.values())
    ranked = [
        Ranked(
            place=places[score.institution][0],
            tied=holders[places[score.institution][0]] > 1,
            score=score,
            change=_difference(score.total, before[score.institution][1])
            if score.institution in before
            else None,
            climbed=before[score.institution][0] - places[score.institution][0]
            if score.institution in before
            else None,
        )
        for score in now
    ]
    return sorted(ranked, key=lambda one: (one.place, one.institution))


def _chosen(scores: Iterable[InstitutionScore], among: Collection[str] | None) -> list[InstitutionScore]:
    wanted = None if among is None else frozenset(among)
    return [score for score in scores if wanted is None or score.institution in wanted]


def _places(scores: Iterable[InstitutionScore]) -> dict[str, tuple[int, float]]:
    ordered = sorted(scores, key=lambda score: -score.total)
    places: dict[str, tuple[int, float]] = {}
    place, last = 0, -1.0
    for number, score in enumerate(ordered, start=1):
        if score.total != last:
            place, last = number, score.total
        places[score.institution] = (place, score.total)
    return places


def _difference(now: float, before: float) -> float:
    return (round(now * 100) - round(before * 100)) / 100
