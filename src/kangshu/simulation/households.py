"""Households: who lives with whom, how old they are, where; before anybody has a name.

A household is one of eleven kinds (a single, a couple, parents with children, three generations,
grandparents with a grandchild ...). Ages follow from the age of the woman in the middle; the shares
were set so that the age pyramid comes out like that of a Chinese province in the 2020 census.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kangshu.simulation.region import Region
from kangshu.simulation.streams import Draw, Flags, Ints, Stream, chances, spread, stream

YEAR = 365.25
MAN, WOMAN, FIRST_CHILD, SECOND_CHILD, GRANDFATHER, GRANDMOTHER = range(6)


@dataclass(frozen=True)
class _Kind:
    """How often, who is there, and the age of the woman (or the single) in years: from, to, mode."""

    share: float
    couple: bool
    children: int
    grandparents: int
    ages: tuple[float, float, float]
    married: bool = True


_KINDS = (
    _Kind(8.5, False, 0, 0, (62, 96, 70), married=False),
    _Kind(14.5, False, 0, 0, (19, 63, 26), married=False),
    _Kind(13.5, True, 0, 0, (58, 88, 63)),
    _Kind(15.0, True, 0, 0, (23, 63, 57)),
    _Kind(20.5, True, 1, 0, (22, 60, 47)),
    _Kind(11.5, True, 2, 0, (26, 57, 40)),
    _Kind(4.0, False, 1, 0, (23, 56, 41), married=False),
    _Kind(4.0, True, 1, 1, (23, 53, 38)),
    _Kind(3.5, True, 1, 2, (23, 48, 34)),
    _Kind(3.0, True, 2, 2, (25, 47, 34)),
    _Kind(2.0, True, 1, 0, (50, 70, 60)),  # grandparents with a grandchild
)
GRANDPARENTS_WITH_CHILD = len(_KINDS) - 1


@dataclass(frozen=True, kw_only=True)
class Households:
    """All members in the order of their households, with the places where the households live.

    `birth_day` counts days since 1970-01-01. `mother`, `father` and `spouse` are numbers of members,
    -1 where there is none in the household. `twin_of` names the elder twin. `town` and `moves_to` are
    by household; `move_day` is far in the future for those who stay.
    """

    count: int
    kind: Ints
    town: Ints
    moves_to: Ints
    move_day: Ints
    registered_county: Ints
    household: Ints
    slot: Ints
    sex: Ints
    birth_day: Ints
    mother: Ints
    father: Ints
    spouse: Ints
    twin_of: Ints
    married: Flags


NEVER = np.int32(2**31 - 1)


def build_households(*, residents: int, seed: int, region: Region, start: int, end: int) -> Households:
    """Return households with together exactly `residents` members, all born before day `start`."""
    random = stream(seed, "households")
    kind = Draw(spread([kind.share for kind in _KINDS]))(random, 0, residents)
    sizes = np.array([(2 if kind.couple else 1) + kind.children + kind.grandparents for kind in _KINDS])
    count = int(np.searchsorted(np.cumsum(sizes[kind]), residents)) + 1
    kind = kind[:count]
    slots = _slots(random, kind, start)
    present = np.concatenate([np.flatnonzero(births > -1_000_000) for births, _ in slots])
    slot = np.repeat(np.arange(6), [int((births > -1_000_000).sum()) for births, _ in slots])
    order = np.argsort(present * 8 + slot, kind="stable")[:residents]
    household, slot = present[order], slot[order]
    birth = np.stack([births for births, _ in slots], axis=1)[household, slot]
    sex = np.stack([sexes for _, sexes in slots], axis=1)[household, slot]
    member = np.full((count, 6), -1, dtype=np.int64)
    member[household, slot] = np.arange(len(household))
    return _with_relations(random, region, kind, household, slot, sex, birth, member, start=start, end=end)


def _slots(random: Stream, kind: Ints, start: int) -> list[tuple[Ints, Ints]]:
    """Return birth day (far below zero: nobody) and sex of the six possible members of each household."""
    count = len(kind)
    nobody = np.full(count, -9_999_999, dtype=np.int64)
    low, high, mode = np.array([entry.ages for entry in _KINDS]).T
    age = random.triangular(low[kind], mode[kind], high[kind])
    middle = (start - age * YEAR).astype(np.int64)
    couple = np.array([entry.couple for entry in _KINDS])[kind]
    alone_man = ~couple & chances(random, np.where(kind == 0, 0.33, np.where(kind == 6, 0.25, 0.55)))
    older = np.clip(random.normal(1.8, 2.7, count), -4, 11)
    man_age = np.maximum(age + older, np.where(couple, 22.1, 0))
    man = np.where(couple, (start - man_age * YEAR).astype(np.int64), np.where(alone_man, middle, nobody))
    woman = np.where(couple | ~alone_man, middle, nobody)
    children = np.array([entry.children for entry in _KINDS])[kind]
    first, second = _children(random, kind, middle, start)
    grandparents = np.array([entry.grandparents for entry in _KINDS])[kind]
    grandmother = man - (np.clip(random.normal(25.5, 3.2, count), 19, 38) * YEAR).astype(np.int64)
    grandfather = grandmother - (np.clip(random.normal(2, 2.6, count), -3, 9) * YEAR).astype(np.int64)
    only_she = chances(random, np.full(count, 0.7))
    has_grandfather = (grandparents == 2) | ((grandparents == 1) & ~only_she)
    has_grandmother = (grandparents == 2) | ((grandparents == 1) & only_she)
    return [
        (man, np.full(count, 1)),
        (woman, np.full(count, 2)),
        (np.where(children >= 1, first, nobody), 1 + (random.random(count) > 0.524)),
        (np.where(children == 2, second, nobody), 1 + (random.random(count) > 0.53)),
        (np.where(has_grandfather, grandfather, nobody), np.full(count, 1)),
        (np.where(has_grandmother, grandmother, nobody), np.full(count, 2)),
    ]


def _children(random: Stream, kind: Ints, mother: Ints, start: int) -> tuple[Ints, Ints]:
    count = len(kind)
    at_birth = np.clip(random.normal(26.8, 3.9, count), 20, 42)
    first = mother + (at_birth * YEAR).astype(np.int64)
    grandchild = start - (random.uniform(1, 15, count) * YEAR).astype(np.int64)
    first = np.where(kind == GRANDPARENTS_WITH_CHILD, grandchild, first)
    recent = start - random.integers(1, 1_100, count)
    first = np.where(first >= start, np.maximum(recent, mother + int(19 * YEAR)), first)
    first = np.minimum(first, start - 1)
    apart = random.integers(480, 2_600, count)
    second = np.where(first + apart < start, first + apart, first - apart)
    second = np.where(second < mother + int(18.5 * YEAR), first, second)
    twins = random.random(count) < 0.011
    return first, np.where(twins, first, second)


def _with_relations(
    random: Stream,
    region: Region,
    kind: Ints,
    household: Ints,
    slot: Ints,
    sex: Ints,
    birth: Ints,
    member: Ints,
    *,
    start: int,
    end: int,
) -> Households:
    own = member[household]
    child = (slot == FIRST_CHILD) | (slot == SECOND_CHILD)
    with_parents = child & (kind[household] != GRANDPARENTS_WITH_CHILD)
    couple = np.array([entry.married for entry in _KINDS])[kind][household]
    nobody = np.int64(-1)
    spouse = np.select(
        [slot == MAN, slot == WOMAN, slot == GRANDFATHER, slot == GRANDMOTHER],
        [own[:, WOMAN], own[:, MAN], own[:, GRANDMOTHER], own[:, GRANDFATHER]],
        nobody,
    )
    mother = np.select([with_parents, slot == MAN], [own[:, WOMAN], own[:, GRANDMOTHER]], nobody)
    father = np.select([with_parents, slot == MAN], [own[:, MAN], own[:, GRANDFATHER]], nobody)
    elder = own[:, FIRST_CHILD]
    same_day = birth == np.where(elder >= 0, birth[elder], -1)
    count = len(kind)
    towns = len(region.town_county)
    draw_town = Draw(region.town_weights)
    town = draw_town(random, 0, count).astype(np.int64)
    moving = random.random(count) < 0.018
    away = random.random(count) < 0.13
    return Households(
        count=count,
        kind=kind,
        town=town,
        moves_to=np.where(moving, random.integers(0, towns, count), town),
        move_day=np.where(moving, random.integers(start, max(start + 1, end), count), NEVER).astype(np.int32),
        registered_county=region.town_county[np.where(away, random.integers(0, towns, count), town)],
        household=household,
        slot=slot,
        sex=sex.astype(np.int8),
        birth_day=birth.astype(np.int32),
        mother=mother,
        father=father,
        spouse=np.where(couple | (slot >= GRANDFATHER), spouse, nobody),
        twin_of=np.where((slot == SECOND_CHILD) & same_day, elder, nobody),
        married=couple & (slot <= WOMAN),
    )
