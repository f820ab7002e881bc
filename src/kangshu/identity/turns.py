"""Decide claims one after the other, where several of them speak about the same identifier or person.

The rules are those of `deciding`, each claim seeing what the earlier ones changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kangshu.identity.evidence import (
    REASONS,
    Decisions,
    Evidence,
    Holders,
    Identifiers,
    Ints,
    Persons,
    columns_of,
    newcomer,
)
from kangshu.identity.model import IdentifierKind, ReviewReason
from kangshu.identity.normalising import UNKNOWN_DAY

_RESIDENT = int(IdentifierKind.RESIDENT_NUMBER)


def decide_in_turn(
    rows: Ints,
    claims: Evidence,
    identifiers: Identifiers,
    holders: Holders,
    persons: Persons,
    decisions: Decisions,
) -> None:
    """Decide the claims at `rows`, the best-documented first, and add the outcome to `decisions`."""
    _Turns(claims, identifiers, holders, persons, decisions).decide(rows)


@dataclass(kw_only=True, eq=False)
class _Person:
    """A person while claims about it are decided one by one."""

    id: int
    seen: int = 0
    name: int = 0
    birth: int = UNKNOWN_DAY
    resident: int = 0
    has_sex: bool = False
    has_phone: bool = False
    name_claim: int = -1
    sex_claim: int = -1
    phone_claim: int = -1
    changed: bool = False


@dataclass(kw_only=True, eq=False)
class _Holder:
    person: _Person
    disputed: bool


@dataclass(kw_only=True, eq=False)
class _Claim:
    row: int
    name: int
    birth: int
    number_birth: int
    resident: int
    sex: int
    phone: int
    identifiers: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    """kind, slot, entry of the identifiers; strongest first"""
    digests: list[bytes] = field(default_factory=list[bytes])

    @property
    def rank(self) -> tuple[Any, ...]:
        """The best-documented claims first; equal only for claims that say the same."""
        known = (self.name != 0) + (self.birth != UNKNOWN_DAY)
        unfit = self.resident != 0 and self.birth not in (UNKNOWN_DAY, self.number_birth)
        kinds = [kind for kind, _, _ in self.identifiers]
        return (
            kinds[0],
            unfit,
            -len(kinds),
            -known,
            self.digests,
            self.name,
            self.birth,
            -self.sex,
            -self.phone,
        )


class _Turns:
    """The persons and holders that the claims speak about, as they change from turn to turn."""

    def __init__(
        self,
        claims: Evidence,
        identifiers: Identifiers,
        holders: Holders,
        persons: Persons,
        decisions: Decisions,
    ) -> None:
        self._claims = claims
        self._identifiers = identifiers
        self._decisions = decisions
        self._persons: dict[int, _Person] = {}
        self._holders: dict[int, list[_Holder]] = {}
        self._known_holders = holders
        self._known_persons = persons
        self._first_newcomer = sum(len(rows[0]) for rows in decisions.newcomers)
        self._newcomers: list[_Person] = []
        self._holdings: list[tuple[int, int, int, int]] = []
        self._settlements: list[tuple[int, int]] = []
        self._reviews: list[tuple[int, int, int, int]] = []

    def decide(self, rows: Ints) -> None:
        """Decide the claims at `rows` and add the outcome to the decisions."""
        for claim in sorted(self._load(rows), key=lambda claim: claim.rank):
            person = self._find(claim) or self._make()
            self._learn(person, claim)
            self._hold(person, claim)
            self._decisions.person[claim.row] = person.id
        self._report()

    def _load(self, rows: Ints) -> list[_Claim]:
        claims = self._claims
        loaded = {
            int(row): _Claim(
                row=int(row),
                name=int(claims.name[row]),
                birth=int(claims.birth[row]),
                number_birth=int(claims.number_birth[row]),
                resident=int(claims.resident[row]),
                sex=int(claims.sex[row]),
                phone=int(claims.phone[row]),
            )
            for row in rows
        }
        identifiers = self._identifiers
        chosen = np.zeros(len(claims.name), dtype=np.bool_)
        chosen[rows] = True
        mine = np.flatnonzero(chosen[identifiers.claim])
        for entry in mine[np.argsort(identifiers.kind[mine], kind="stable")].tolist():
            slot, claim = int(identifiers.slot[entry]), loaded[int(identifiers.claim[entry])]
            claim.identifiers.append((int(identifiers.kind[entry]), slot, entry))
            claim.digests.append(identifiers.digests[slot].tobytes())
        self._load_holders(identifiers.slot[mine])
        return list(loaded.values())

    def _load_holders(self, slots: Ints) -> None:
        held = self._known_holders
        hits = np.flatnonzero(np.isin(held.slot, slots))
        for hit in hits[np.argsort(held.variant[hits], kind="stable")].tolist():
            person = self._load_person(int(held.person[hit]))
            holder = _Holder(person=person, disputed=bool(held.disputed[hit]))
            self._holders.setdefault(int(held.slot[hit]), []).append(holder)

    def _load_person(self, person: int) -> _Person:
        if person not in self._persons:
            known = self._known_persons
            at = int(known.rows(np.array([person]))[0])
            self._persons[person] = _Person(
                id=person,
                seen=int(known.seen[at]),
                name=int(known.name[at]),
                birth=int(known.birth[at]),
                resident=int(known.resident[at]),
                has_sex=bool(known.has_sex[at]),
                has_phone=bool(known.has_phone[at]),
            )
        return self._persons[person]

    def _find(self, claim: _Claim) -> _Person | None:
        for kind, slot, _ in claim.identifiers:
            best, best_score = None, -1
            for holder in self._holders.get(slot, ()):
                person = holder.person
                if kind != _RESIDENT and claim.resident and person.resident not in (0, claim.resident):
                    continue
                score = _agreement(claim, person)
                if score > best_score:
                    best, best_score = person, score
            if best:
                return best
        return None

    def _make(self) -> _Person:
        person = _Person(id=newcomer(self._first_newcomer + len(self._newcomers)))
        self._newcomers.append(person)
        return person

    def _learn(self, person: _Person, claim: _Claim) -> None:
        """Fill what is not known of the person, and believe number, date and name that confirm each other."""
        if claim.name and not person.name:
            person.name, person.name_claim, person.changed = claim.name, claim.row, True
        elif person.id < 0 and person.name_claim < 0:
            person.name_claim = claim.row  # "no name" is shown too until a name is known
        rival = self._another_owns_number(person, claim)
        if person.birth == UNKNOWN_DAY:
            told = UNKNOWN_DAY if rival else claim.number_birth
            person.birth = claim.birth if claim.birth != UNKNOWN_DAY else told
            person.changed |= person.birth != UNKNOWN_DAY
        if claim.sex and not person.has_sex:
            person.has_sex, person.sex_claim, person.changed = True, claim.row, True
        if claim.phone and not person.has_phone:
            person.has_phone, person.phone_claim, person.changed = True, claim.row, True
        if (
            claim.resident
            and not (person.resident or rival)
            and claim.birth == claim.number_birth
            and claim.name == person.name != 0
        ):
            self._settle(person, claim)

    def _another_owns_number(self, person: _Person, claim: _Claim) -> bool:
        if not claim.resident:
            return False
        holders = self._holders.get(claim.identifiers[0][1], ())
        return any(
            holder.person is not person and holder.person.resident == claim.resident for holder in holders
        )

    def _settle(self, person: _Person, claim: _Claim) -> None:
        if person.birth != claim.birth:
            person.birth, person.changed = claim.birth, True
        _, slot, entry = claim.identifiers[0]
        for variant, holder in enumerate(self._holders.get(slot, ())):
            if holder.person is person:
                holder.disputed = False
                person.resident, person.changed = claim.resident, True
                self._settlements.append((entry, variant))

    def _hold(self, person: _Person, claim: _Claim) -> None:
        """Make the person a holder of all identifiers of the claim; note whom that concerns."""
        noted: set[int] = set()
        for kind, slot, entry in claim.identifiers:
            holders = self._holders.setdefault(slot, [])
            if any(holder.person is person for holder in holders):
                continue
            disputed = kind == _RESIDENT and (
                person.birth not in (UNKNOWN_DAY, claim.number_birth)
                or self._another_owns_number(person, claim)
            )
            if kind == _RESIDENT and not disputed and not person.resident:
                person.resident, person.changed = claim.resident, True
            self._holdings.append((entry, len(holders), person.id, disputed))
            if holders and holders[0].person.id not in noted:
                other = holders[0].person
                noted.add(other.id)
                self._reviews.append((entry, person.id, other.id, REASONS.index(_reason(claim, other))))
            holders.append(_Holder(person=person, disputed=disputed))

    def _report(self) -> None:
        decisions = self._decisions
        new = self._newcomers
        decisions.newcomers.append(
            columns_of([(p.name_claim, p.sex_claim, p.phone_claim, p.birth, p.resident) for p in new], 5)
        )
        decisions.holdings.append(columns_of(self._holdings, 4))
        changes = [
            (p.id, p.seen, p.name_claim, p.sex_claim, p.phone_claim, p.birth, p.resident)
            for p in self._persons.values()
            if p.changed
        ]
        decisions.changes.append(columns_of(changes, 7))
        decisions.settlements.append(columns_of(self._settlements, 2))
        decisions.reviews.append(columns_of(self._reviews, 4))


def _agreement(claim: _Claim, person: _Person) -> int:
    names = claim.name != 0 and person.name != 0
    births = UNKNOWN_DAY not in (claim.birth, person.birth)
    equal = (names and claim.name == person.name) + (births and claim.birth == person.birth)
    return -1 if not equal and (names or births) else equal


def _reason(claim: _Claim, other: _Person) -> ReviewReason:
    """Say why two persons hold one identifier: the claim contradicts the other, or could be the other's."""
    rival = claim.resident and other.resident not in (0, claim.resident)
    if rival or _agreement(claim, other) < 0:
        return ReviewReason.CONTRADICTION
    return ReviewReason.POSSIBLE_DUPLICATE
