"""Names of fictional people: surnames at their real frequencies, given names by generation and sex.

Names that give software trouble are part of it: two-character surnames, names of up to a dozen
characters with a middle dot, characters outside the old code pages, Latin names of foreigners.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from kangshu.simulation import tables
from kangshu.simulation.columns import Column, chosen, constant, joined, picked, text
from kangshu.simulation.streams import Draw, Flags, Ints, Stream, chances

DOT = "·"


@cache
def _surnames() -> tuple[Column, Draw]:
    found = re.findall(r"([^\d]+)(\d+)", tables.values("names")["surnames"])
    return text([name for name, _ in found]), Draw(np.array([float(weight) for _, weight in found]))


class _Pool:
    """The given names of one sex, all generations: one vocabulary of first and of second characters."""

    def __init__(self, sex: str) -> None:
        generations: list[dict[str, Any]] = tables.values("names")["generation"]
        self.born = np.array([generation["born"][1] for generation in generations])
        characters = sorted({c for g in generations for c in g[sex]})
        whole = sorted({name for g in generations for name in g[f"popular_{sex}"].split()})
        self.characters = text(characters)
        self.whole = text(whole)
        self.single = np.array([generation["single"] for generation in generations])
        self.popular = np.array([generation["popular_share"] for generation in generations])
        self.draw_character = Draw(_ranks([list(g[sex]) for g in generations], characters, 0.75))
        self.draw_whole = Draw(_ranks([g[f"popular_{sex}"].split() for g in generations], whole, 0.7))
        self.rare = text(list(tables.values("names")["rare"][sex]))


def _ranks(lists: Sequence[Sequence[str]], vocabulary: Sequence[str], exponent: float) -> Any:
    """Return Zipf weights: the entry at rank r of a list weighs r^-exponent in that generation."""
    place = {name: number for number, name in enumerate(vocabulary)}
    weights = np.zeros((len(lists), len(vocabulary)))
    for row, names in enumerate(lists):
        for rank, name in enumerate(names, start=1):
            weights[row, place[name]] += rank**-exponent
    return weights


@cache
def _pool(sex: str) -> _Pool:
    return _Pool(sex)


def draw_surnames(random: Stream, count: int) -> Ints:
    """Return `count` positions in the list of surnames."""
    return _surnames()[1](random, 0, count)


def surname_texts() -> Column:
    """Return the list of surnames."""
    return _surnames()[0]


def given_names(random: Stream, *, sex: Ints, birth_year: Ints, twin_of: Ints | None = None) -> Column:
    """Return a given name for each person of `sex` (1 man, 2 woman) born in `birth_year`.

    `twin_of` names for each person the row of an earlier-born twin, or -1; a twin's name shares
    its first character with the other's.
    """
    men = _given(random, "men", birth_year, twin_of)
    women = _given(random, "women", birth_year, twin_of)
    return chosen(sex == 1, men, women)


def _given(random: Stream, sex: str, birth_year: Ints, twin_of: Ints | None) -> Column:
    pool = _pool(sex)
    count = len(birth_year)
    generation = np.minimum(np.searchsorted(pool.born, birth_year, side="right"), len(pool.born) - 1)
    first = pool.draw_character(random, generation)
    second = pool.draw_character(random, generation)
    single = chances(random, pool.single[generation])
    popular = chances(random, pool.popular[generation])
    if twin_of is not None:
        twins = twin_of >= 0
        first[twins] = first[twin_of[twins]]
        paired = twins.copy()
        paired[twin_of[twins]] = True
        single &= ~paired
        popular &= ~paired
    given = _compose(pool, first, second, single, popular, random, generation)
    rare = random.random(count) < tables.values("names")["rare"]["share"]
    if rare.any():
        other = picked(pool.rare, random.integers(0, len(pool.rare), count))
        given = chosen(rare, other, given)
    return given


def _compose(
    pool: _Pool, first: Ints, second: Ints, single: Flags, popular: Flags, random: Stream, generation: Ints
) -> Column:
    opening = picked(pool.characters, first)
    closing = chosen(single, constant("", len(first)), picked(pool.characters, second))
    made = joined(opening, closing)
    return chosen(popular, picked(pool.whole, pool.draw_whole(random, generation)), made)


def dotted_names(random: Stream, sex: Ints) -> Column:
    """Return names of two parts with a middle dot, as Uyghur or Kazakh names are written in Chinese."""
    source = tables.values("names")["dotted"]
    men, women = text(source["men"].split()), text(source["women"].split())
    count = len(sex)
    own = chosen(
        sex == 1,
        picked(men, random.integers(0, len(men), count)),
        picked(women, random.integers(0, len(women), count)),
    )
    return joined(own, picked(men, random.integers(0, len(men), count)), separator=DOT)


def tibetan_names(random: Stream, sex: Ints) -> Column:
    """Return Tibetan names, which have no family name."""
    source = tables.values("names")["tibetan"]
    return _of_two_lists(random, sex, source["men"].split(), source["women"].split())


def foreign_names(random: Stream, sex: Ints) -> Column:
    """Return names of foreigners as their passports give them."""
    source = tables.values("names")["foreign"]
    return _of_two_lists(random, sex, source["men"].split("|"), source["women"].split("|"))


def _of_two_lists(random: Stream, sex: Ints, men: Sequence[str], women: Sequence[str]) -> Column:
    count = len(sex)
    return chosen(
        sex == 1,
        picked(text(men), random.integers(0, len(men), count)),
        picked(text(women), random.integers(0, len(women), count)),
    )


def staff_names(random: Stream, *, women_share: float, count: int) -> Column:
    """Return names of people of working age."""
    sex = np.where(random.random(count) < women_share, 2, 1)
    given = given_names(random, sex=sex, birth_year=random.integers(1966, 1998, count))
    return joined(picked(surname_texts(), draw_surnames(random, count)), given)
