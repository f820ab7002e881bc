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
5. A resident number has one owner, and tells the owner's birth date. Who was born on another day, or
   comes after the owner, holds it only as *disputed* (a mother's number on her newborn's card, a slip in
   the date). Two who tell it so, and have different names, are not found by it, though born on one day:
   they may be twins. While nobody owns it, a claim that agrees by name and in which number and date fit
   settles the dispute, and the date.

6. A holder that was merged into another stands for both: whichever agrees better is the person, the holder
   itself first. Merged persons are no cause for a review of each other.

What a message corrected (`online`) leaves the value before it behind: who tells that still agrees.

A claim is *settled* from the start where its weakest identifier has one holder, who agrees, owns the
resident number that the claim tells (if it tells one), and of whom the claim tells nothing new. Settled
claims are taken against what was known before the call, all others in a fixed order, the best-documented
first, so that the order of the rows does not matter. Most open claims have no part in any other's
matter; they are decided as columns. The rest, where several claims of one call speak about the same
identifier or person, go one by one.
"""

from __future__ import annotations

import numpy as np

from kangshu.identity.evidence import (
    NOBODY,
    Decisions,
    Evidence,
    Flags,
    Holders,
    Identifiers,
    Ints,
    Persons,
    agreement,
    differ,
    newcomer,
)
from kangshu.identity.model import IdentifierKind
from kangshu.identity.normalising import UNKNOWN_DAY
from kangshu.identity.turns import decide_in_turn

_RESIDENT = int(IdentifierKind.RESIDENT_NUMBER)


def settle(
    claims: Evidence,
    *,
    named: Flags,
    identifiers: Identifiers,
    holders: Holders,
    persons: Persons,
) -> tuple[Ints, Flags]:
    """Return the person of each settled claim (else `NOBODY`), and which claims may yet be by their names.

    `identifiers` are the weakest ones of the claims for which they decide. The names' digests are dear and
    mostly not needed, as birth dates agree: where `claims.name` is 0 although the claim is `named`, the
    name counts as not looked at, and the claim is settled only by its birth date.
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
    fits &= (claims.phone[rows] == 0) | persons.has_phone[at]
    unread = named[rows] & (claims.name[rows] == 0)
    agrees = agreement(claims, persons, of=rows, at=at) >= np.where(unread, 1, 0)
    person[rows[fits & agrees]] = holder[fits & agrees]
    hopeful[rows[fits & ~agrees & unread]] = True
    return person, hopeful


def overused(claims: Evidence, identifiers: Identifiers, holders: Holders, *, limit: int) -> Flags:
    """Return which slots hold an identifier that says nothing, as too many different people have it.

    Such are numbers that a program fills in where none is known. Beyond `limit` holders and pairs of name
    and birth date they would also make everybody be compared with everybody. Who has a demographic
    identifier agrees by name, so it stays.
    """
    size = len(identifiers.digests)
    told = identifiers.take(identifiers.kind != int(IdentifierKind.DEMOGRAPHIC))
    held = np.bincount(holders.slot[~holders.stands_in], minlength=size)
    crowded = np.bincount(told.slot, minlength=size) + held > limit
    entries = np.flatnonzero(crowded[told.slot])
    rows = told.claim[entries]
    facts = np.stack([told.slot[entries], claims.name[rows], claims.birth[rows]], axis=1)
    people = np.bincount(np.unique(facts, axis=0)[:, 0], minlength=size)
    return (people > 0) & (people + held > limit)


def decide(claims: Evidence, identifiers: Identifiers, holders: Holders, persons: Persons) -> Decisions:
    """Return whose each claim is and what is to be stored. Every claim has an identifier."""
    decisions = Decisions(person=np.full(len(claims.name), NOBODY, dtype=np.int64))
    alone = ~_entangled(len(claims.name), identifiers, holders, persons)
    fresh, joined = _simple(alone, claims, identifiers, holders, persons)
    _add_newcomers(decisions, fresh, claims, identifiers)
    _join(decisions, joined, claims, identifiers, holders, persons)
    rest = np.flatnonzero(decisions.person == NOBODY)
    if len(rest):
        decide_in_turn(rest, claims, identifiers, holders, persons, decisions)
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
    good &= (number == 0) | (owned != 0) | ~differ(claims.birth[joined], persons.birth[at])
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
    disputed = differ(birth, number_birth)
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
    unfit = (identifiers.kind[mine] == _RESIDENT) & differ(claims.birth[claim], claims.number_birth[claim])
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
    disputed = differ(birth, number_birth)
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
