"""Why two persons of the index are, or are not, taken for one: computed now, beside what was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kangshu.identity import store as index
from kangshu.identity.accounts import StoredAccount, accounts_between
from kangshu.identity.apart import are_apart
from kangshu.identity.errors import PersonUnknownError
from kangshu.identity.linkage import Account, LinkageModel, score
from kangshu.identity.linkage.conditions import Profile
from kangshu.identity.linkage.declared import default_model
from kangshu.identity.linkage.profiles import Registration, prepare_one
from kangshu.identity.model import Identifier, IdentifierKind, PersonSummary
from kangshu.identity.queries import list_alone, list_identifiers_of
from kangshu.kernel.texts import load_catalogue
from kangshu.security.keys import Keys
from kangshu.storage.database import Connection

say = load_catalogue("kangshu.identity")


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is known of one of the two itself, whatever was merged with it."""

    person: PersonSummary = field(repr=False)
    identifiers: tuple[Identifier, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The two as they are now, what the model makes of them, and what was decided before."""

    one: Side
    other: Side
    account: Account
    """Computed now, with the model `model`."""
    model: LinkageModel = field(repr=False)
    stored: tuple[StoredAccount, ...]
    """Kept when they were linked, merged or given to a reviewer; the newest first."""
    same: bool
    """They mean one human now."""
    apart: bool
    """A human said that they are two: no program merges them."""


async def explain(
    connection: Connection, *, keys: Keys, one: int, other: int, model: LinkageModel | None = None
) -> Explanation:
    """Return what speaks for and against two persons being one, by the model (the one that ships).

    Each is taken by itself: what was merged into it is not looked at, so that a merge can be explained.

    Raises:
        PersonUnknownError: there is no such person.
    """
    sides = await _sides(connection, keys, [one, other])
    model = model or default_model()
    groups = await _groups(connection, [one, other])
    return Explanation(
        one=sides[one],
        other=sides[other],
        account=score(model, profile_of(sides[one]), profile_of(sides[other])),
        model=model,
        stored=tuple(await accounts_between(connection, one=one, other=other)),
        same=groups[one][0] == groups[other][0],
        apart=await are_apart(connection, some=groups[one], others=groups[other]),
    )


def profile_of(side: Side) -> Profile:
    """Return what is compared of a person."""
    return prepare_one(registration_of(side))


def registration_of(side: Side) -> Registration:
    """Return the person as one record: its facts, with the first of each kind of its identifiers."""
    person = side.person
    first = {one.kind: one for one in reversed(side.identifiers)}
    paper, local = first.get(IdentifierKind.DOCUMENT), first.get(IdentifierKind.LOCAL_NUMBER)
    number = first.get(IdentifierKind.RESIDENT_NUMBER)
    return Registration(
        name=person.name,
        sex=person.sex,
        birth_date=person.birth_date,
        resident_number=person.resident_number or (number.value if number else None),
        document_type=paper.issuer if paper else None,
        document_number=paper.value if paper else None,
        phone=person.phone,
        institution=local.issuer if local else None,
        local_number=local.value if local else None,
    )


async def _sides(connection: Connection, keys: Keys, persons: Sequence[int]) -> dict[int, Side]:
    found = {one.id: one for one in await list_alone(connection, keys=keys, persons=sorted(set(persons)))}
    if len(found) < len(set(persons)):
        raise PersonUnknownError(say["person_unknown"])
    held = await list_identifiers_of(connection, keys=keys, groups=[[person] for person in sorted(found)])
    return {person: Side(person=found[person], identifiers=tuple(held[person])) for person in sorted(found)}


async def _groups(connection: Connection, persons: Sequence[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for row in await index.read_groups(connection, persons=persons):
        group = groups.setdefault(row["id"], [row["survivor"]])
        if row["member"] is not None:
            group.append(row["member"])
    return groups
