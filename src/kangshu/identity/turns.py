"""Decide claims one after the other, where several of them speak about the same identifier or person.

The rules themselves are `rules`; here columns become what they work on, and their outcome columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kangshu.identity.evidence import (
    Decisions,
    Evidence,
    Holders,
    Identifiers,
    Ints,
    Persons,
    columns_of,
)
from kangshu.identity.normalising import UNKNOWN_DAY
from kangshu.identity.rules import Known, Rules, Telling


def decide_in_turn(
    rows: Ints,
    claims: Evidence,
    identifiers: Identifiers,
    holders: Holders,
    persons: Persons,
    decisions: Decisions,
) -> None:
    """Decide the claims at `rows`, the best-documented first, and add the outcome to `decisions`."""
    rules = Rules(first_newcomer=sum(len(rows[0]) for rows in decisions.newcomers))
    tellings = _load_claims(rows, claims, identifiers)
    known = _load_holders(rules, tellings, holders, persons)
    for claim in sorted(tellings, key=lambda claim: _rank(claim, identifiers)):
        decisions.person[claim.row] = rules.take(claim).id
    _report(rules, known, decisions)


def _load_claims(rows: Ints, claims: Evidence, identifiers: Identifiers) -> list[Telling]:
    loaded = {
        int(row): Telling(
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
    chosen = np.zeros(len(claims.name), dtype=np.bool_)
    chosen[rows] = True
    mine = np.flatnonzero(chosen[identifiers.claim])
    for entry in mine[np.argsort(identifiers.kind[mine], kind="stable")].tolist():
        claim = loaded[int(identifiers.claim[entry])]
        claim.identifiers.append((int(identifiers.kind[entry]), int(identifiers.slot[entry]), entry))
    return list(loaded.values())


def _load_holders(
    rules: Rules, tellings: list[Telling], holders: Holders, persons: Persons
) -> dict[int, Known]:
    """Give the rules who holds what the claims tell, and return those persons."""
    slots = {slot for claim in tellings for _, slot, _ in claim.identifiers}
    hits = np.flatnonzero(np.isin(holders.slot, np.fromiter(slots, np.int64, len(slots))))
    hits = hits[np.argsort(holders.variant[hits], kind="stable")]
    people = np.unique(holders.person[hits])
    known = {
        int(person): _load_person(persons, int(at))
        for person, at in zip(people, persons.rows(people), strict=True)
    }
    for hit in hits.tolist():
        stands_in = bool(holders.stands_in[hit])
        rules.add_holder(
            int(holders.slot[hit]),
            known[int(holders.person[hit])],
            disputed=bool(holders.disputed[hit]),
            variant=None if stands_in else int(holders.variant[hit]),
        )
    return known


def _load_person(persons: Persons, at: int) -> Known:
    return Known(
        id=int(persons.person[at]),
        seen=int(persons.seen[at]),
        name=int(persons.name[at]),
        former_name=int(persons.former_name[at]),
        birth=int(persons.birth[at]),
        former_birth=int(persons.former_birth[at]),
        resident=int(persons.resident[at]),
        survivor=int(persons.survivor[at]),
        has_sex=bool(persons.has_sex[at]),
        has_phone=bool(persons.has_phone[at]),
    )


def _rank(claim: Telling, identifiers: Identifiers) -> tuple[Any, ...]:
    """The best-documented claims first; equal only for claims that say the same."""
    known = (claim.name != 0) + (claim.birth != UNKNOWN_DAY)
    unfit = claim.resident != 0 and claim.birth not in (UNKNOWN_DAY, claim.number_birth)
    return (
        claim.identifiers[0][0],
        unfit,
        -len(claim.identifiers),
        -known,
        [identifiers.digests[slot].tobytes() for _, slot, _ in claim.identifiers],
        claim.name,
        claim.birth,
        -claim.sex,
        -claim.phone,
    )


def _report(rules: Rules, known: dict[int, Known], decisions: Decisions) -> None:
    newcomers = [(p.name_claim, p.sex_claim, p.phone_claim, p.birth, p.resident) for p in rules.newcomers]
    changes = [
        (p.id, p.seen, p.name_claim, p.sex_claim, p.phone_claim, p.birth, p.resident)
        for p in known.values()
        if p.changed
    ]
    decisions.newcomers.append(columns_of(newcomers, 5))
    decisions.holdings.append(columns_of(rules.holdings, 4))
    decisions.changes.append(columns_of(changes, 7))
    decisions.settlements.append(columns_of(rules.settlements, 2))
    decisions.reviews.append(columns_of(rules.reviews, 4))
