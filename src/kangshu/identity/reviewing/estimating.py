"""How often automatic links are wrong, from those that somebody looked at: an interval that holds for sure.

Clopper and Pearson (Biometrika 26, 1934): the rates at which what was seen would just not be too unlikely.
The interval covers the true rate in at least so many of a hundred samples as its level says, whatever the
rate is; so none wrong of 300 still leaves room for 1.2 per cent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, lgamma, log

LEVEL = 0.95
METHOD = "Clopper-Pearson"
_HALVINGS = 60


@dataclass(frozen=True, kw_only=True)
class FalseLinkEstimate:
    """The share of wrong links among automatic ones (0 to 1), by a random sample of them.

    Links by rules (the same number) are not among them: nothing was weighed there.
    """

    links: int
    """How many there are to draw from."""
    drawn: int
    right: int
    wrong: int
    unsure: int
    rate: float | None
    """Wrong of those that are right or wrong; None where nobody looked."""
    low: float
    high: float
    """The bounds; whoever is not sure counts as right below and as wrong above."""
    level: float = LEVEL
    method: str = METHOD


def estimate_false_links(*, links: int, drawn: int, right: int, wrong: int, unsure: int) -> FalseLinkEstimate:
    """Return the estimate; nobody looked: anything is possible."""
    checked = right + wrong + unsure
    low, _ = interval(wrong, checked)
    _, high = interval(wrong + unsure, checked)
    sure = right + wrong
    return FalseLinkEstimate(
        links=links,
        drawn=drawn,
        right=right,
        wrong=wrong,
        unsure=unsure,
        rate=wrong / sure if sure else None,
        low=low,
        high=high,
    )


def interval(wrong: int, checked: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the bounds of the rate of which `wrong` of `checked` is a sample.

    >>> [round(bound, 4) for bound in interval(0, 300)], [round(bound, 4) for bound in interval(5, 100)]
    ([0.0, 0.0122], [0.0164, 0.1128])
    """
    if not 0 <= wrong <= checked:
        raise ValueError("more wrong than checked")
    if checked == 0:
        return 0.0, 1.0
    rest = (1 - level) / 2
    low = 0.0 if wrong == 0 else _where(lambda rate: 1 - _at_most(wrong - 1, checked, rate) >= rest)
    high = 1.0 if wrong == checked else _where(lambda rate: _at_most(wrong, checked, rate) <= rest)
    return low, high


def _where(holds: Callable[[float], bool]) -> float:
    """Return from which rate on the condition holds."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _at_most(wrong: int, checked: int, rate: float) -> float:
    """Return how likely at most so many are wrong at this rate."""
    if rate <= 0:
        return 1.0
    if rate >= 1:
        return 1.0 if wrong >= checked else 0.0
    ways = lgamma(checked + 1)
    terms = (
        ways
        - lgamma(count + 1)
        - lgamma(checked - count + 1)
        + count * log(rate)
        + (checked - count) * log(1 - rate)
        for count in range(wrong + 1)
    )
    return min(1.0, sum(exp(term) for term in terms))
