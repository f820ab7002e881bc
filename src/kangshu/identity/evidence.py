"""Claims, holders and persons as columns of numbers: what decisions are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kangshu.identity.model import ReviewReason
from kangshu.identity.normalising import UNKNOWN_DAY

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Digests = npt.NDArray[np.void]
Rows = list[tuple[Ints, ...]]

NOBODY = -1
STANDS_IN = 2**15
"""The variant of those who hold nothing themselves: after every other."""
REASONS = tuple(ReviewReason)


def newcomer(number: Any) -> Any:
    """Return the stand-in for the id of new person `number`; applied twice it gives back its argument."""
    return -2 - number


def resolved(persons: Ints, ids: Ints) -> Ints:
    """Return the persons with the stand-ins of new ones replaced by their ids."""
    real = persons.copy()
    new = persons < NOBODY
    real[new] = ids[newcomer(persons[new])]
    return real


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the claims say, one entry per claim; 0 and `UNKNOWN_DAY` are unknown.

    `name` and `resident` are the first eight bytes of their digests, `phone` its digits, all as numbers.
    """

    name: Ints
    birth: Ints
    number_birth: Ints
    resident: Ints
    sex: Ints
    phone: Ints

    def take(self, rows: Ints) -> Evidence:
        """Return the evidence of these claims."""
        return Evidence(**_taken(self, rows))


@dataclass(frozen=True, kw_only=True)
class Identifiers:
    """The claims' identifiers: each entry says that claim `claim` tells the identifier in `slot`.

    `digests` are the different identifiers of all claims, 16 bytes each (`V16`); slots number them.
    """

    claim: Ints
    kind: Ints
    slot: Ints
    digests: Digests

    def take(self, entries: Ints | Flags) -> Identifiers:
        """Return these entries; claims and slots keep their numbers."""
        return replace(self, claim=self.claim[entries], kind=self.kind[entries], slot=self.slot[entries])

    def of_claims(self, rows: Ints) -> Identifiers:
        """Return the entries of these claims, which are numbered anew in the order of `rows`."""
        place = np.full(int(max(rows.max(initial=-1), self.claim.max(initial=-1))) + 1, -1)
        place[rows] = np.arange(len(rows))
        chosen = self.take(place[self.claim] >= 0)
        return replace(chosen, claim=place[chosen.claim])

    def digests_of(self, entries: Ints) -> Digests:
        """Return the digest of each of these entries."""
        return self.digests[self.slot[entries]]


@dataclass(frozen=True, kw_only=True)
class Holders:
    """Who holds which identifier: `person` is holder number `variant` of the identifier in `slot`.

    Where `stands_in`, the person holds nothing but survived a merge with a holder, and the claim may as
    well be its.
    """

    slot: Ints
    variant: Ints
    person: Ints
    disputed: Flags
    stands_in: Flags

    @classmethod
    def none(cls) -> Holders:
        """Return no holders."""
        none = np.empty(0, dtype=np.int64)
        flags = none.astype(np.bool_)
        return cls(slot=none, variant=none, person=none, disputed=flags, stands_in=flags)

    def and_(self, other: Holders) -> Holders:
        """Return both."""
        return Holders(**_joined(self, other))

    def with_survivors(self, persons: Persons) -> Holders:
        """Return the holders and, where one was merged, its survivor standing beside it.

        A survivor that holds the identifier itself needs nobody to stand in. `persons` are all holders.
        """
        survivor = persons.survivor[persons.rows(self.person)]
        merged = np.flatnonzero(survivor)
        if not len(merged):
            return self
        held = set(zip(self.slot.tolist(), self.person.tolist(), strict=True))
        told = zip(self.slot[merged].tolist(), survivor[merged].tolist(), strict=True)
        pairs = [pair for pair in dict.fromkeys(told) if pair not in held]
        slot, person = columns_of(pairs, 2)
        return self.and_(
            Holders(
                slot=slot,
                variant=np.full(len(pairs), STANDS_IN, dtype=np.int64),
                person=person,
                disputed=np.zeros(len(pairs), dtype=np.bool_),
                stands_in=np.ones(len(pairs), dtype=np.bool_),
            )
        )


@dataclass(frozen=True, kw_only=True)
class Persons:
    """What is known of the holders, ascending by `person`; `seen` is the revision that was read.

    The former name and birth date are those that a message replaced last; `survivor` is the person into
    whom this one was merged, 0 for none.
    """

    person: Ints
    name: Ints
    former_name: Ints
    birth: Ints
    former_birth: Ints
    resident: Ints
    survivor: Ints
    has_sex: Flags
    has_phone: Flags
    seen: Ints

    @classmethod
    def none(cls) -> Persons:
        """Return no persons."""
        none = np.empty(0, dtype=np.int64)
        flags = none.astype(np.bool_)
        return cls(
            person=none,
            name=none,
            former_name=none,
            birth=none,
            former_birth=none,
            resident=none,
            survivor=none,
            has_sex=flags,
            has_phone=flags,
            seen=none,
        )

    def and_(self, other: Persons) -> Persons:
        """Return both, ascending; nobody may be in both."""
        both = Persons(**_joined(self, other))
        return Persons(**_taken(both, np.argsort(both.person)))

    def rows(self, persons: Ints) -> Ints:
        """Return where these persons stand here; every one must."""
        return np.searchsorted(self.person, persons)


@dataclass(kw_only=True)
class Decisions:
    """Whose each claim is (a person id or `newcomer(n)`), and what is to be stored.

    The rest are lists of rows, as columns; `claims` are those from which a value is taken (-1: none).
    """

    person: Ints
    newcomers: Rows = field(default_factory=Rows)
    """claims of the name, the sex and the phone, birth, resident"""
    holdings: Rows = field(default_factory=Rows)
    """entry of the identifiers, variant, person, disputed"""
    changes: Rows = field(default_factory=Rows)
    """person, seen, claims of the name, the sex and the phone, birth, resident (0: as it was)"""
    settlements: Rows = field(default_factory=Rows)
    """entry, variant: no longer disputed"""
    reviews: Rows = field(default_factory=Rows)
    """entry, person, other person, reason (its place in `REASONS`)"""

    @property
    def anything_to_store(self) -> bool:
        """Whether the claims tell anything that is not stored."""
        parts = (self.newcomers, self.holdings, self.changes, self.settlements, self.reviews)
        return any(len(rows[0]) for part in parts for rows in part)


def gathered(rows: Rows, width: int) -> tuple[Ints, ...]:
    """Return the columns of several lists of rows as one."""
    if not rows:
        return (np.empty(0, dtype=np.int64),) * width
    return tuple(np.concatenate([part[place] for part in rows]) for place in range(width))


def columns_of(rows: Sequence[tuple[int, ...]], width: int) -> tuple[Ints, ...]:
    """Return rows as columns."""
    table = np.array(rows, dtype=np.int64).reshape(len(rows), width)
    return tuple(np.ascontiguousarray(table[:, place]) for place in range(width))


def halves(digests: Digests) -> tuple[Ints, Ints]:
    """Return the two halves of 16-byte digests as numbers (big-endian)."""
    pairs = digests.view(">i8").reshape(-1, 2).astype(np.int64)
    return pairs[:, 0], pairs[:, 1]


def index_order(digests: Digests) -> Ints:
    """Return the order in which PostgreSQL sorts these digests.

    Whoever looks up or inserts in this order shares the index's pages between neighbours; and two writers
    who both keep it cannot wait for each other.
    """
    return np.argsort(digests.view(">u8").reshape(-1, 2)[:, 0], kind="stable")


def agreement(claims: Evidence, persons: Persons, *, of: Ints, at: Ints) -> Ints:
    """Return how many of name and birth date are equal between claims `of` and the persons at rows `at`.

    0 where neither can be compared; -1 where something can, and differs, and nothing is equal. What a
    message replaced last counts as equal too.
    """
    name, other_name = claims.name[of], persons.name[at]
    birth, other_birth = claims.birth[of], persons.birth[at]
    names = (name != 0) & (other_name != 0)
    births = (birth != UNKNOWN_DAY) & (other_birth != UNKNOWN_DAY)
    same_name = (name == other_name) | (name == persons.former_name[at])
    same_birth = (birth == other_birth) | (birth == persons.former_birth[at])
    equal = (names & same_name).astype(np.int64) + (births & same_birth)
    return np.where((equal == 0) & (names | births), -1, equal)


def differ(day: Ints, other: Ints) -> Flags:
    """Return where both days are known and not the same."""
    return (day != UNKNOWN_DAY) & (other != UNKNOWN_DAY) & (day != other)


def _taken(columns: Any, rows: Ints) -> dict[str, Any]:
    return {name: column[rows] for name, column in vars(columns).items()}


def _joined(one: Any, other: Any) -> dict[str, Any]:
    return {name: np.concatenate([column, getattr(other, name)]) for name, column in vars(one).items()}
