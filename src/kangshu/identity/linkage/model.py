"""A linkage model: how much each agreement and disagreement of two records weighs, and what follows.

Fellegi and Sunter (1969): the weight of a level is log2(m / u), m its share among pairs of one person, u
among pairs of two; the weights of independent comparisons add up to the odds. A rare value that agrees says
more than a common one: where a level has a `term`, u is the value's own frequency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import log2

from kangshu.identity.linkage.conditions import Condition


@dataclass(frozen=True, kw_only=True)
class Level:
    """One degree of agreement; `fixed` weights are set by hand, not learnt from data."""

    name: str
    condition: Condition
    m: float
    u: float
    term: str | None = None
    """The column whose frequency in `LinkageModel.terms` takes the place of u; both records tell the same
    value in it wherever the condition holds."""
    fixed: bool = False

    @property
    def weight(self) -> float:
        """Bits, before any term frequency."""
        return log2(self.m / self.u)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How one thing is compared: the first level that holds counts, else the `otherwise`.

    Where `known` does not hold, nothing is said and the weight is 0.
    """

    name: str
    known: Condition
    levels: tuple[Level, ...]
    otherwise: Level
    """Its condition is not asked."""


@dataclass(frozen=True, kw_only=True)
class Cap:
    """These comparisons together say at most `most` bits: in a family, surname, phone and flat are one."""

    comparisons: tuple[str, ...]
    most: float


class Verdict(StrEnum):
    """What two records are to each other."""

    LINK = "link"
    POSSIBLE = "possible"  # a human should look
    DIFFERENT = "different"


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What overrules the weight where the condition holds; the strictest of all that hold counts."""

    name: str
    condition: Condition
    verdict: Verdict
    """DIFFERENT is a veto; POSSIBLE lets what would be linked go to a human."""


@dataclass(frozen=True, kw_only=True)
class BlockingKey:
    """Pairs that tell the same in all these columns are compared; a record that lacks one has no such key."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LinkageModel:
    """All that a decision depends on. Two models with the same `version` decide alike.

    `prior` are the log2 odds that any two records of the table are one person, before anything is compared (u
    is the share among any two, too); a pair's weight is the prior and all its comparisons. `terms` gives
    frequencies (0 to 1) by column and value; a value that lacks has `rare[column]`.
    """

    name: str
    version: str
    """Digest (SM3, hex) of everything else."""
    comparisons: tuple[Comparison, ...]
    keys: tuple[BlockingKey, ...]
    prior: float
    link_at: float
    review_at: float
    margin: float
    """One record with two persons within so many bits of each other goes to a human."""
    caps: tuple[Cap, ...] = ()
    guards: tuple[Guard, ...] = ()
    terms: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False)
    rare: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one comparison says of a pair. No value of a record is in it."""

    comparison: str
    level: str
    """`unknown` where one of them does not tell it."""
    weight: float
    """Bits, after term frequency and caps: the parts and the prior add up to the pair's weight."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Why two records are taken for one person, or not."""

    weight: float
    prior: float
    parts: tuple[Part, ...]
    guards: tuple[str, ...]
    verdict: Verdict
    model: str
    """Version of the model."""

    @property
    def probability(self) -> float:
        """The weight as a probability; 1.0 from about 53 bits on, so decide by the weight."""
        return 1 / (1 + 2 ** -max(-1000.0, min(1000.0, self.weight)))
