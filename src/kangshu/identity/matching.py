"""Weigh one record against whom the index knows under its blocking keys, and decide: link, possible, new.

A person is compared by all profiles that records left of it and of who was merged into it. The best one
counts; but who is vetoed by another of them is at most possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from kangshu.identity import store
from kangshu.identity.accounts import Match
from kangshu.identity.linkage import (
    Account,
    LinkageModel,
    Registration,
    Verdict,
    default_model,
    key_texts,
    prepare_one,
    score,
)
from kangshu.identity.linkage.conditions import Profile
from kangshu.identity.subjects import IDENTIFIERS_MOST, NUMBER_LENGTH_MOST, number_of
from kangshu.mapping import IdentifierKind as ToldKind
from kangshu.mapping import Subject
from kangshu.security.keys import Keys
from kangshu.security.sealing import digest_many, open_many
from kangshu.storage.database import Connection, Record

# All arbitrary. A key with more holders says little, and comparing them all would take too long; a person
# with more different profiles is no clearer for one more; a human looks at the best few.
HOLDERS_MOST = 48
PROFILES_MOST = 8
POSSIBLE_MOST = 3
MATCHES_MOST = 100
_ADDRESS_LENGTH_MOST = 500

_KEY_PREFIX, _PROFILE_PREFIX = "key:", "profile:"
_STRICTNESS = {Verdict.LINK: 0, Verdict.POSSIBLE: 1, Verdict.DIFFERENT: 2}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Asked:
    """One record ready to be compared: its profile, as it is stored, and the digests of its blocking keys."""

    profile: Profile = field(repr=False)
    text: str = field(repr=False)
    digest: int
    keys: tuple[int, ...]


@dataclass(kw_only=True, eq=False, slots=True)
class Found:
    """Who is known under the keys that were asked for; it grows while claims are decided.

    `variants` are the next free variants of the keys that anybody holds, None where too many do.
    `holders` are persons, `roots` for whom each of them stands, `profiles` what is known of a root.
    """

    variants: dict[int, int | None] = field(default_factory=dict[int, "int | None"])
    holders: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    roots: dict[int, int] = field(default_factory=dict[int, int])
    profiles: dict[int, list[Profile]] = field(default_factory=dict[int, list[Profile]])

    def candidates(self, asked: Asked) -> list[int]:
        """Return the roots that share a key with the record, those that share most first."""
        shared: dict[int, int] = {}
        for key in asked.keys:
            for person in self.holders.get(key, ()):
                root = self.roots[person]
                shared[root] = shared.get(root, 0) + 1
        return sorted(shared, key=lambda root: (-shared[root], root))[:MATCHES_MOST]

    def learn(self, asked: Asked, person: int, root: int) -> tuple[bool, list[tuple[int, int, int]]]:
        """Add the record to a person; return whether its profile is new and its keys that are to be stored.

        A key is its digest, its variant and the person.
        """
        self.roots[person] = root
        known = self.profiles.setdefault(root, [])
        new = asked.profile not in known and len(known) < PROFILES_MOST
        if not new:
            return False, []
        known.append(asked.profile)
        added: list[tuple[int, int, int]] = []
        for key in asked.keys:
            variant = self.variants.get(key, 0)
            holders = self.holders.setdefault(key, [])
            if variant is None or any(self.roots.get(one) == root for one in holders):
                continue
            added.append((key, variant, person))
            holders.append(person)
            self.variants[key] = variant + 1 if variant + 1 < HOLDERS_MOST else None
        return True, added


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What follows for a record that no number tells of: the person it is linked to, or who it may be."""

    link: tuple[int, Account] | None = None
    possible: tuple[tuple[int, Account], ...] = ()


def registration_of(subject: Subject, *, useless: frozenset[str] = frozenset()) -> Registration:
    """Return what a subject tells as a record to be compared, without numbers that say nothing.

    A resident number is kept as it was told: also one with a slip is evidence.
    """
    numbers: dict[ToldKind, tuple[str | None, str]] = {}
    for one in subject.identifiers[:IDENTIFIERS_MOST]:
        value = one.value
        if one.kind in numbers or not value or len(value) > NUMBER_LENGTH_MOST or number_of(value) in useless:
            continue
        numbers[one.kind] = (one.issuer, value)
    _, resident = numbers.get(ToldKind.RESIDENT_NUMBER, (None, None))
    kind, document = numbers.get(ToldKind.DOCUMENT, (None, None))
    issuer, local = numbers.get(ToldKind.LOCAL_NUMBER, (None, None))
    address = subject.address
    return Registration(
        name=subject.name,
        sex=subject.sex,
        birth_date=subject.birth_date,
        resident_number=resident,
        document_type=kind,
        document_number=document,
        phone=subject.phone,
        address=address if address and len(address) <= _ADDRESS_LENGTH_MOST else None,
        institution=issuer or subject.institution,
        local_number=local,
    )


def ask(model: LinkageModel, keys: Keys, registrations: Iterable[Registration]) -> list[Asked]:
    """Return the records ready to be compared."""
    return asked_of(model, keys, [prepare_one(one) for one in registrations])


def asked_of(model: LinkageModel, keys: Keys, profiles: Sequence[Profile]) -> list[Asked]:
    """Return profiles ready to be compared."""
    told = [{name: value for name, value in one.items() if value is not None} for one in profiles]
    texts = [orjson.dumps(one, option=orjson.OPT_SORT_KEYS).decode() for one in told]
    found = [tuple(dict.fromkeys(key_texts(model, profile))) for profile in told]
    wanted = [_PROFILE_PREFIX + text for text in texts]
    wanted += [_KEY_PREFIX + text for mine in found for text in mine]
    digests = iter([half_of(one) for one in digest_many(keys.lookup_key, wanted)])
    own = [next(digests) for _ in texts]
    return [
        Asked(profile=profile, text=text, digest=digest, keys=tuple(next(digests) for _ in mine))
        for profile, text, digest, mine in zip(told, texts, own, found, strict=True)
    ]


def half_of(digest: bytes) -> int:
    """Return the first half of a digest as the number that is stored."""
    return int.from_bytes(digest[:8], signed=True)


async def look_up(
    connection: Connection, *, keys: Keys, asked: Sequence[Asked]
) -> tuple[Found, list[Record]]:
    """Return who is known under the keys of these records, and the rows that tell of those persons."""
    digests = list(dict.fromkeys(key for one in asked for key in one.keys))
    found = Found()
    if not digests:
        return found, []
    rows = await store.find_candidates(
        connection, digests=digests, holders=HOLDERS_MOST, profiles=PROFILES_MOST
    )
    persons = [row for row in rows if row["slot"] is None]
    for row in rows:
        if row["slot"] is not None:
            key, holders = digests[row["slot"]], row["persons"]
            found.variants[key] = row["variant"] if holders is not None else None
            found.holders[key] = holders or []
    sealed = [row["sealed"] for row in persons if row["sealed"] is not None]
    opened = iter(open_many(keys, sealed))
    for row in persons:
        found.roots[row["persons"][0]] = row["id"]
        known = found.profiles.setdefault(row["id"], [])
        if row["sealed"] is not None:
            known.append(orjson.loads(next(opened)))
    return found, persons


def weigh(model: LinkageModel, profile: Profile, others: Sequence[Profile]) -> Account | None:
    """Return what the model makes of a record and a person of whom these profiles are known."""
    if not others:
        return None
    accounts = [score(model, profile, other) for other in others]
    if len(accounts) == 1:
        return accounts[0]
    best = min(accounts, key=lambda one: (_STRICTNESS[one.verdict], -one.weight))
    vetoes = {name for one in accounts for name in one.guards} & _vetoes(model)
    if best.verdict is Verdict.LINK and vetoes:
        guards = tuple(dict.fromkeys((*best.guards, *sorted(vetoes))))
        return replace(best, verdict=Verdict.POSSIBLE, guards=guards)
    return best


def decide(model: LinkageModel, weighed: Mapping[int, Account]) -> Decision:
    """Return what follows for a record, given what it is to each person."""
    vetoes = _vetoes(model)
    order = sorted(
        (
            (person, account)
            for person, account in weighed.items()
            if account.verdict is not Verdict.DIFFERENT or not vetoes.intersection(account.guards)
        ),
        key=lambda one: (-one[1].weight, one[0]),
    )
    if not order:
        return Decision()
    best = order[0]
    rivals = [one for one in order[1:] if one[1].weight > best[1].weight - model.margin]
    if best[1].verdict is Verdict.LINK and not rivals:
        return Decision(link=best)
    possible = [one for one in order if one[1].verdict is not Verdict.DIFFERENT]
    return Decision(
        possible=tuple(
            (person, replace(account, verdict=Verdict.POSSIBLE))
            for person, account in possible[:POSSIBLE_MOST]
        )
    )


async def match_subject(
    connection: Connection, *, keys: Keys, subject: Subject, limit: int, model: LinkageModel | None = None
) -> list[Match]:
    """Return whom the subject may tell of, the heaviest first; nothing is stored.

    Persons are those who stand for all that were merged into them. Those who are different by weight or by
    a veto are not among them. `limit` is at most 100.
    """
    model = model or default_model()
    asked = ask(model, keys, [registration_of(subject)])[0]
    found, _ = await look_up(connection, keys=keys, asked=[asked])
    matches = [
        Match(person=root, account=account)
        for root in found.candidates(asked)
        if (account := weigh(model, asked.profile, found.profiles.get(root, ())))
        and account.verdict is not Verdict.DIFFERENT
    ]
    matches.sort(key=lambda one: (-one.account.weight, one.person))
    return matches[: min(max(limit, 1), MATCHES_MOST)]


def _vetoes(model: LinkageModel) -> frozenset[str]:
    return frozenset(guard.name for guard in model.guards if guard.verdict is Verdict.DIFFERENT)
