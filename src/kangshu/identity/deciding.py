"""Decide for each claim whose it is, and what of it is new: pure, on columns.

The rules, as a person would apply them, claim by claim:

1. The claim's identifiers are tried from the strongest to the weakest. Each has *holders*: persons to
   whom it was given before. A holder *agrees* with the claim when name or birth date are equal, or when
   neither can be compared; otherwise the two *contradict*. The best agreeing holder is the person
   (both equal before one equal before none comparable; then the earlier holder).
2. A holder found by anything but the resident number is passed over where the claim tells one resident
   number and the holder owns another.
3. Nobody found: a new person.
4. The person becomes a holder of every identifier of the claim that it does not hold yet. Where others
   hold it already, a review entry is due. What is not known of the person is filled from the claim.
5. A resident number tells a birth date. Who was born on another day holds it only as *disputed* (a
   mother's number on her newborn's card, a slip in the date) and does not own it. A claim that agrees by
   name and in which number and date fit settles the dispute, and the date.

A claim is *settled* from the start where its weakest identifier has one holder, who agrees, owns the
resident number that the claim tells (if it tells one), and of whom the claim tells nothing new. Settled
claims are taken against what was known before the call, all others in a fixed order, the best-documented
first, so that the order of the rows does not matter. Most open claims have no part in any other's
matter; they are decided as columns. The rest, where several claims of one call speak about the same
identifier or person, go one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kangshu.identity.model import IdentifierKind, ReviewReason
from kangshu.identity.normalising import UNKNOWN_DAY

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NOBODY = -1
_RESIDENT = int(IdentifierKind.RESIDENT_NUMBER)


def newcomer(number: Any) -> Any:
    """Return the stand-in for the id of new person `number`; applied twice it gives back its argument."""
    return -2 - number


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the claims say, one entry per claim; 0 and `UNKNOWN_DAY` are unknown.

    `name`, `resident` and `phone` are the first eight bytes of their digests, as numbers.
    """

    name: Ints
    birth: Ints
    number_birth: Ints
    resident: Ints
    sex: Ints
    phone: Ints

    def take(self, rows: Ints | Flags) -> Evidence:
        return Evidence(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class Identifiers:
    """The claims' identifiers: each entry says that claim `claim` tells the identifier in `slot`.

    `digests` are the different identifiers of all claims, 16 bytes each (`V16`); slots number them.
    """

    claim: Ints
    kind: Ints
    slot: Ints
    digests: npt.NDArray[np.void]

    def take(self, entries: Ints | Flags) -> Identifiers:
        return replace(self, claim=self.claim[entries], kind=self.kind[entries], slot=self.slot[entries])

    def of_claims(self, rows: Ints) -> Identifiers:
        """Return the entries of these claims, which are numbered anew in the order of `rows`."""
        place = np.full(int(max(rows.max(initial=-1), self.claim.max(initial=-1))) + 1, -1)
        place[rows] = np.arange(len(rows))
        chosen = self.take(place[self.claim] >= 0)
        return replace(chosen, claim=place[chosen.claim])


@dataclass(frozen=True, kw_only=True)
class Holders:
    """Who holds which identifier: `person` is holder number `variant` of the identifier in `slot`."""

    slot: Ints
    variant: Ints
    person: Ints
    disputed: Flags

    def take(self, entries: Ints | Flags) -> Holders:
        return Holders(**{name: getattr(self, name)[entries] for name in self.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class Persons:
    """What is known of the holders, ascending by `person`; `seen` marks the version that was read."""

    person: Ints
    name: Ints
    birth: Ints
    resident: Ints
    has_sex: Flags
    has_phone: Flags
    seen: Ints

    def take(self, rows: Ints) -> Persons:
        return Persons(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def rows(self, persons: Ints) -> Ints:
        """Return where these persons stand here; every one must."""
        return np.searchsorted(self.person, persons)


@dataclass(kw_only=True)
class Decisions:
    """Whose each claim is (a person id or `newcomer(n)`), and what is to be stored.

    Lists of rows, each a tuple of numbers; `claim` is where a value comes from (-1: from none).
    """

    person: Ints
    newcomers: list[tuple[Ints, ...]] = field(default_factory=list[tuple[Ints, ...]])
    """claims of the name, the sex and the phone, birth, resident"""
    holdings: list[tuple[Ints, ...]] = field(default_factory=list[tuple[Ints, ...]])
    """entry of the identifiers, variant, person, disputed"""
    changes: list[tuple[Ints, ...]] = field(default_factory=list[tuple[Ints, ...]])
    """person, seen, claims of the name, the sex and the phone, birth, resident (0: as it was)"""
    settlements: list[tuple[Ints, ...]] = field(default_factory=list[tuple[Ints, ...]])
    """entry, variant: no longer disputed"""
    reviews: list[tuple[Ints, ...]] = field(default_factory=list[tuple[Ints, ...]])
    """entry, person, other person, reason"""

    @property
    def anything_to_store(self) -> bool:
        return any(len(rows) and len(rows[0]) for part in self._parts() for rows in part)

    def _parts(self) -> tuple[list[tuple[Ints, ...]], ...]:
        return self.newcomers, self.holdings, self.changes, self.settlements, self.reviews


def agreement(claims: Evidence, persons: Persons, *, of: Ints | Flags, at: Ints) -> Ints:
    """Return how far claims `of` agree with the persons at rows `at` (rule 1): 2, 1, 0; -1 contradicts."""
    name, other_name = claims.name[of], persons.name[at]
    birth, other_birth = claims.birth[of], persons.birth[at]
    names = (name != 0) & (other_name != 0)
    births = (birth != UNKNOWN_DAY) & (other_birth != UNKNOWN_DAY)
    equal = (names & (name == other_name)).astype(np.int64) + (births & (birth == other_birth))
    return np.where((equal == 0) & (names | births), -1, equal)


def settle(
    claims: Evidence,
    *,
    named: Flags,
    phoned: Flags,
    identifiers: Identifiers,
    holders: Holders,
    persons: Persons,
) -> tuple[Ints, Flags]:
    """Return the person of each settled claim (else `NOBODY`), and which claims may yet be by their names.

    `identifiers` are the weakest ones of the claims for which they decide. The names' digests are dear and
    mostly not needed, as birth dates agree: where `claims.name` is 0 although the claim is `named`, the
    name counts as not looked at, and the claim is settled only by its birth date. Of phones it is enough
    to know which claims have one (`phoned`).
    """
    size = len(claims.name)
    person = np.full(size, NOBODY, dtype=np.int64)
    hopeful = np.zeros(size, dtype=np.bool_)
    only = _only_holders(identifiers, holders)
    entries = np.flatnonzero(only[identifiers.slot] != NOBODY)
    rows, holder = identifiers.claim[entries], only[identifiers.slot[entries]]
    at = persons.rows(holder)
    number = claims.resident[rows]
    fits = (number == 0) | (number == persons.resident[at])
    fits &= ~named[rows] | (persons.name[at] != 0)
    fits &= (claims.birth[rows] == UNKNOWN_DAY) | (persons.birth[at] != UNKNOWN_DAY)
    fits &= (claims.sex[rows] == 0) | persons.has_sex[at]
    fits &= ~phoned[rows] | persons.has_phone[at]
    unread = named[rows] & (claims.name[rows] == 0)
    agrees = agreement(claims, persons, of=rows, at=at) >= np.where(unread, 1, 0)
    person[rows[fits & agrees]] = holder[fits & agrees]
    hopeful[rows[fits & ~agrees & unread]] = True
    return person, hopeful


def overused(identifiers: Identifiers, holders: Holders, *, limit: int) -> Flags:
    """Return which slots hold an identifier that says nothing: more than `limit` holders and claims have it.

    Such are numbers that a program fills in where none is known. Beyond the limit they would also make
    the comparison of everybody with everybody.
    """
    size = len(identifiers.digests)
    claims = np.bincount(identifiers.slot, minlength=size)
    return (claims > 0) & (claims + np.bincount(holders.slot, minlength=size) > limit)


def decide(claims: Evidence, identifiers: Identifiers, holders: Holders, persons: Persons) -> Decisions:
    """Return whose each claim is and what is to be stored. Every claim has an identifier."""
    decisions = Decisions(person=np.full(len(claims.name), NOBODY, dtype=np.int64))
    alone = ~_entangled(len(claims.name), identifiers, holders, persons)
    fresh, joined = _simple(alone, claims, identifiers, holders, persons)
    _add_newcomers(decisions, fresh, claims, identifiers)
    _join(decisions, joined, claims, identifiers, holders, persons)
    rest = np.flatnonzero(decisions.person == NOBODY)
    if len(rest):
        _OneByOne(claims, identifiers, holders, persons, decisions).decide(rest)
    return decisions


def _entangled(size: int, identifiers: Identifiers, holders: Holders, persons: Persons) -> Flags:
    """Return which claims share an identifier, or a holder of one, with another claim."""
    told = np.bincount(identifiers.slot, minlength=len(identifiers.digests))
    shared = np.bincount(identifiers.claim, weights=told[identifiers.slot] > 1, minlength=size) > 0

    claim, holder = _pairs(identifiers, holders)
    width = max(len(persons.person), 1)
    pairs = np.unique(claim * width + persons.rows(holder))
    crowded = np.bincount(pairs % width, minlength=width)[pairs % width] > 1
    return shared | (np.bincount(pairs // width, weights=crowded, minlength=size) > 0)


def _pairs(identifiers: Identifiers, holders: Holders) -> tuple[Ints, Ints]:
    """Return claim and person for each identifier of a claim and each of its holders."""
    order = np.argsort(holders.slot, kind="stable")
    slots = np.arange(len(identifiers.digests) + 1)
    bounds = np.searchsorted(holders.slot[order], slots)
    count = (bounds[1:] - bounds[:-1])[identifiers.slot]
    start = np.repeat(bounds[identifiers.slot] - (np.cumsum(count) - count), count)
    return np.repeat(identifiers.claim, count), holders.person[order][start + np.arange(len(start))]


def _only_holders(identifiers: Identifiers, holders: Holders) -> Ints:
    """Return for each slot the person that alone holds it, else `NOBODY`."""
    only = np.full(len(identifiers.digests), NOBODY, dtype=np.int64)
    only[holders.slot] = holders.person
    only[np.bincount(holders.slot, minlength=len(only)) > 1] = NOBODY
    return only


def _simple(
    alone: Flags, claims: Evidence, identifiers: Identifiers, holders: Holders, persons: Persons
) -> tuple[Ints, Ints]:
    """Return those of the claims of which nobody knows anything, and those that simply join one person."""
    size = len(alone)
    least, most = _person_range(size, identifiers, holders)
    fresh = np.flatnonzero(alone & (most == NOBODY))
    several = np.bincount(holders.slot, minlength=len(identifiers.digests)) > 1
    contested = np.bincount(identifiers.claim, weights=several[identifiers.slot], minlength=size) > 0
    joined = np.flatnonzero(alone & (least == most) & ~contested)
    at = persons.rows(least[joined])
    number, owned = claims.resident[joined], persons.resident[at]
    known = _tells_held_number(size, identifiers, holders)[joined]
    good = agreement(claims, persons, of=joined, at=at) >= 0
    good &= (number == 0) | (number == owned) | (~known & (owned == 0))
    # A dispute about the birth date, to be settled or to be noted (rule 5).
    good &= (number == 0) | (owned != 0) | ~_differ(claims.birth[joined], persons.birth[at])
    return fresh, joined[good]


def _tells_held_number(size: int, identifiers: Identifiers, holders: Holders) -> Flags:
    """Return which claims tell a resident number that somebody holds."""
    held = _held(identifiers, holders) & (identifiers.kind == _RESIDENT)
    return np.bincount(identifiers.claim, weights=held, minlength=size) > 0


def _held(identifiers: Identifiers, holders: Holders) -> Flags:
    """Return for each entry whether somebody holds the identifier."""
    return (np.bincount(holders.slot, minlength=len(identifiers.digests)) > 0)[identifiers.slot]


def _person_range(size: int, identifiers: Identifiers, holders: Holders) -> tuple[Ints, Ints]:
    """Return the least and the greatest id among the holders of each claim's identifiers.

    Claims without any have `NOBODY` as the greatest.
    """
    claim, holder = _pairs(identifiers, holders)
    least = np.full(size, np.iinfo(np.int64).max)
    most = np.full(size, NOBODY, dtype=np.int64)
    np.minimum.at(least, claim, holder)
    np.maximum.at(most, claim, holder)
    return least, most


def _add_newcomers(decisions: Decisions, rows: Ints, claims: Evidence, identifiers: Identifiers) -> None:
    numbers = np.arange(len(rows), dtype=np.int64)
    decisions.person[rows] = newcomer(numbers)
    birth, number_birth = claims.birth[rows], claims.number_birth[rows]
    disputed = _differ(birth, number_birth)
    decisions.newcomers.append(
        (
            rows,
            np.where(claims.sex[rows] != 0, rows, -1),
            np.where(claims.phone[rows] != 0, rows, -1),
            np.where(birth == UNKNOWN_DAY, number_birth, birth),
            np.where(disputed, 0, claims.resident[rows]),
        )
    )
    chosen = np.zeros(len(claims.name), dtype=np.bool_)
    chosen[rows] = True
    mine = np.flatnonzero(chosen[identifiers.claim])
    claim = identifiers.claim[mine]
    unfit = (identifiers.kind[mine] == _RESIDENT) & _differ(claims.birth[claim], claims.number_birth[claim])
    decisions.holdings.append(
        (mine, np.zeros(len(mine), np.int64), decisions.person[claim], unfit.astype(np.int64))
    )


def _join(
    decisions: Decisions,
    rows: Ints,
    claims: Evidence,
    identifiers: Identifiers,
    holders: Holders,
    persons: Persons,
) -> None:
    """Give each claim to the one person that holds any of its identifiers, and the person the others."""
    least, _ = _person_range(len(claims.name), identifiers, holders)
    person = least[rows]
    at = persons.rows(person)
    decisions.person[rows] = person
    number, number_birth = claims.resident[rows], claims.number_birth[rows]
    birth, owned = persons.birth[at].copy(), persons.resident[at]
    for source in (claims.birth[rows], number_birth):
        birth = np.where(birth == UNKNOWN_DAY, source, birth)
    disputed = _differ(birth, number_birth)
    gains_number = (number != 0) & (owned == 0) & ~disputed
    gains_birth = birth != persons.birth[at]
    name = np.where((claims.name[rows] != 0) & (persons.name[at] == 0), rows, -1)
    sex = np.where((claims.sex[rows] != 0) & ~persons.has_sex[at], rows, -1)
    phone = np.where((claims.phone[rows] != 0) & ~persons.has_phone[at], rows, -1)
    changed = gains_number | gains_birth | (name >= 0) | (sex >= 0) | (phone >= 0)
    columns = (person, persons.seen[at], name, sex, phone, birth, np.where(gains_number, number, 0))
    decisions.changes.append(tuple(column[changed] for column in columns))

    chosen = np.zeros(len(claims.name), dtype=np.bool_)
    chosen[rows] = True
    mine = np.flatnonzero(chosen[identifiers.claim] & ~_held(identifiers, holders))
    disputes = np.zeros(len(claims.name), dtype=np.bool_)
    disputes[rows] = disputed
    claim = identifiers.claim[mine]
    unfit = (identifiers.kind[mine] == _RESIDENT) & disputes[claim]
    decisions.holdings.append(
        (mine, np.zeros(len(mine), np.int64), decisions.person[claim], unfit.astype(np.int64))
    )


def _differ(day: Ints, other: Ints) -> Flags:
    return (day != UNKNOWN_DAY) & (other != UNKNOWN_DAY) & (day != other)


def halves(digests: npt.NDArray[np.void]) -> tuple[Ints, Ints]:
    """Return the two halves of 16-byte digests as numbers (big-endian)."""
    pairs = digests.view(">i8").reshape(-1, 2).astype(np.int64)
    return pairs[:, 0], pairs[:, 1]


@dataclass(kw_only=True, eq=False)
class _Person:
    """A person while claims about it are decided one by one."""

    id: int
    seen: int = 0
    name: int = 0
    birth: int = int(UNKNOWN_DAY)
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


class _OneByOne:
    """The rules applied to one claim after the other, each seeing what the earlier ones changed."""

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
        if person.birth == UNKNOWN_DAY:
            person.birth = claim.birth if claim.birth != UNKNOWN_DAY else claim.number_birth
            person.changed |= person.birth != UNKNOWN_DAY
        if claim.sex and not person.has_sex:
            person.has_sex, person.sex_claim, person.changed = True, claim.row, True
        if claim.phone and not person.has_phone:
            person.has_phone, person.phone_claim, person.changed = True, claim.row, True
        if (
            claim.resident
            and not person.resident
            and claim.birth == claim.number_birth
            and claim.name == person.name != 0
        ):
            self._settle(person, claim)

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
            disputed = kind == _RESIDENT and person.birth not in (UNKNOWN_DAY, claim.number_birth)
            if kind == _RESIDENT and not disputed and not person.resident:
                person.resident, person.changed = claim.resident, True
            self._holdings.append((entry, len(holders), person.id, disputed))
            if holders and holders[0].person.id not in noted:
                other = holders[0].person
                noted.add(other.id)
                self._reviews.append((entry, person.id, other.id, int(_reason(claim, other))))
            holders.append(_Holder(person=person, disputed=disputed))

    def _report(self) -> None:
        decisions = self._decisions
        new = self._newcomers
        decisions.newcomers.append(
            _columns([(p.name_claim, p.sex_claim, p.phone_claim, p.birth, p.resident) for p in new], 5)
        )
        decisions.holdings.append(_columns(self._holdings, 4))
        changes = [
            (p.id, p.seen, p.name_claim, p.sex_claim, p.phone_claim, p.birth, p.resident)
            for p in self._persons.values()
            if p.changed
        ]
        decisions.changes.append(_columns(changes, 7))
        decisions.settlements.append(_columns(self._settlements, 2))
        decisions.reviews.append(_columns(self._reviews, 4))


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


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> tuple[Ints, ...]:
    table = np.array(rows, dtype=np.int64).reshape(len(rows), width)
    return tuple(np.ascontiguousarray(table[:, place]) for place in range(width))
