"""The rules of linking as a person would apply them: plain Python, one claim at a time, no database.

Written from the text of the rules, to be compared with what the columns and the SQL do. Everybody here is
synthetic; the division code 990101 belongs to no real place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa

from kangshu.security.sealing import digest_many

UNKNOWN_NAMES = ("无名氏",)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim whose values are in normal form already."""

    resident: str | None = None
    passport: str | None = None
    institution: str | None = None
    local: str | None = None
    name: str | None = None
    birth: date | None = None
    sex: str | None = None
    phone: str | None = None

    @property
    def known_name(self) -> str | None:
        return None if self.name in UNKNOWN_NAMES else self.name

    @property
    def number_birth(self) -> date | None:
        digits = self.resident and self.resident[6:14]
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])) if digits else None

    @property
    def identifiers(self) -> list[str]:
        """The identifiers as the texts whose digests are stored, strongest first."""
        found = []
        if self.resident:
            found.append(f"1::{self.resident}")
        if self.passport:
            found.append(f"2:03:{self.passport}")
        if self.local and self.institution:
            found.append(f"3:{self.institution}:{self.local}")
        return found or self.demographic

    @property
    def demographic(self) -> list[str]:
        if not (self.institution and self.known_name and self.birth and self.sex in ("1", "2")):
            return []
        days = (self.birth - date(1970, 1, 1)).days
        return [f"4:{self.institution}:{self.known_name}:{days}:{self.sex}"]


@dataclass(eq=False)
class Person:
    name: str | None = None
    birth: date | None = None
    owned: str | None = None
    sex: str | None = None
    phone: str | None = None
    former_name: str | None = None
    former_birth: date | None = None
    corrections: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def facts(self) -> tuple[Any, ...]:
        return self.name, self.birth, self.owned, self.sex, self.phone


@dataclass(eq=False)
class Holding:
    person: Person
    disputed: bool


@dataclass
class Region:
    """All persons, and who holds what."""

    lookup_key: bytes
    holders_most: int = 100
    persons: list[Person] = field(default_factory=list)
    holdings: dict[str, list[Holding]] = field(default_factory=dict)
    reviews: list[tuple[Person, Person, str]] = field(default_factory=list)
    told_before: dict[Claim, Person | None] = field(default_factory=dict)

    def link(self, claims: list[Claim]) -> list[Person | None]:
        """Return whose each claim is; one told in an earlier call of the same file has the same answer."""
        new = [claim for claim in claims if claim not in self.told_before]
        answers = iter(self.link_new(new))
        found = [self.told_before[claim] if claim in self.told_before else next(answers) for claim in claims]
        self.told_before.update(zip(claims, found, strict=True))
        return found

    def link_new(self, claims: list[Claim]) -> list[Person | None]:
        found = {row: self.settled(claim) for row, claim in enumerate(claims)}
        waiting = [row for row in found if found[row] is None and claims[row].identifiers]
        told = {row: self.useful(claims, row, waiting) for row in waiting}
        for row in sorted(waiting, key=lambda row: self.rank(claims[row], told[row])):
            if told[row]:
                found[row] = self.decide(claims[row], told[row])
        return [found[row] for row in range(len(claims))]

    def tell(self, claim: Claim) -> Person | None:
        """Return whose the claim of a message is, which is news of whom its number was known for."""
        own = [text for text in claim.identifiers if text[0] in "34"]
        before = [holding.person for text in own for holding in self.holdings.get(text, [])]
        (person,) = self.link_new([claim])
        if person in before:
            self.correct(person, claim)
        return person

    def correct(self, person: Person, claim: Claim) -> None:
        told = (claim.known_name, claim.sex, None if person.owned else claim.birth, claim.phone)
        shown = (person.name, person.sex, person.birth, person.phone)
        pairs = zip(told, shown, strict=True)
        replaced = tuple(old if new and old and new != old else None for new, old in pairs)
        name, sex, birth, phone = replaced
        if name:
            person.former_name, person.name = name, claim.known_name
        if birth:
            person.former_birth, person.birth = birth, claim.birth
        person.sex = claim.sex if sex else person.sex
        person.phone = claim.phone if phone else person.phone
        if any(replaced):
            person.corrections.append(replaced)

    def settled(self, claim: Claim) -> Person | None:
        weaker = [text for text in claim.identifiers if not text.startswith("1:")]
        if not claim.identifiers or len(weaker) > 1:
            return None
        holders = self.holdings.get(claim.identifiers[-1], [])
        if len(holders) != 1:
            return None
        person = holders[0].person
        tells_news = (
            (claim.known_name and not person.name)
            or (claim.birth and not person.birth)
            or (claim.sex and not person.sex)
            or (claim.phone and not person.phone)
        )
        fits = claim.resident in (None, person.owned) and agreement(claim, person) >= 0
        return person if fits and not tells_news else None

    def useful(self, claims: list[Claim], row: int, waiting: list[int]) -> list[str]:
        def overused(text: str) -> bool:
            if text.startswith("4:"):
                return False
            sharing = [claims[other] for other in waiting if text in claims[other].identifiers]
            people = {(claim.known_name, claim.birth) for claim in sharing}
            return len(people) + len(self.holdings.get(text, [])) > self.holders_most

        kept = [text for text in claims[row].identifiers if not overused(text)]
        return kept or claims[row].demographic

    def rank(self, claim: Claim, told: list[str]) -> tuple[Any, ...]:
        number = told and told[0].startswith("1:")
        digests = digest_many(self.lookup_key, told)
        name = claim.known_name
        (name_digest,) = digest_many(self.lookup_key, [f"name:{name}"])
        return (
            told[0][0] if told else "9",
            bool(number and claim.birth and claim.birth != claim.number_birth),
            -len(told),
            -(bool(name) + bool(claim.birth)),
            digests,
            int.from_bytes(name_digest[:8], signed=True) if name else 0,
            claim.birth or date(1, 1, 1),
            -int(claim.sex or 0),
            -int(claim.phone or 0),
        )

    def decide(self, claim: Claim, told: list[str]) -> Person:
        resident = claim.resident if told[0].startswith("1:") else None
        person = self.find(claim, told, resident)
        if person is None:
            person = Person()
            self.persons.append(person)
        self.learn(person, claim, resident)
        self.hold(person, claim, told, resident)
        return person

    def find(self, claim: Claim, told: list[str], resident: str | None) -> Person | None:
        for text in told:
            fitting = [
                holding.person
                for holding in self.holdings.get(text, [])
                if not (text == told[0] and is_borrowed(claim, holding))
                and (text.startswith("1:") or not resident or holding.person.owned in (None, resident))
            ]
            fitting = [person for person in fitting if agreement(claim, person) >= 0]
            if fitting:
                return max(fitting, key=lambda person: agreement(claim, person))
        return None

    def learn(self, person: Person, claim: Claim, resident: str | None) -> None:
        person.name = person.name or claim.known_name
        rival = self.owner(resident) not in (None, person)
        if not person.birth:
            person.birth = claim.birth or (claim.number_birth if resident and not rival else None)
        person.sex = person.sex or claim.sex
        person.phone = person.phone or claim.phone
        believed = claim.birth == claim.number_birth and person.name and claim.known_name == person.name
        if resident and not person.owned and not rival and believed:
            person.birth = claim.birth
            for holding in self.holdings.get(f"1::{resident}", []):
                if holding.person is person:
                    holding.disputed, person.owned = False, resident

    def hold(self, person: Person, claim: Claim, told: list[str], resident: str | None) -> None:
        noted: list[Person] = []
        for text in told:
            holdings = self.holdings.setdefault(text, [])
            if person in [holding.person for holding in holdings]:
                continue
            disputed = False
            if text.startswith("1:"):
                disputed = self.owner(resident) is not None or person.birth not in (None, claim.number_birth)
                person.owned = person.owned or (None if disputed else resident)
            if holdings and holdings[0].person not in noted:
                other = holdings[0].person
                noted.append(other)
                rival = resident and other.owned not in (None, resident)
                contradiction = rival or agreement(claim, other) < 0
                self.reviews.append((person, other, "contradiction" if contradiction else "duplicate"))
            holdings.append(Holding(person, disputed))

    def owner(self, resident: str | None) -> Person | None:
        holders = self.holdings.get(f"1::{resident}", [])
        return next((holding.person for holding in holders if holding.person.owned == resident), None)


def is_borrowed(claim: Claim, holding: Holding) -> bool:
    """Whether claim and holder tell somebody else's number and have different names, as twins do."""
    names = (holding.person.name, holding.person.former_name)
    unfit = claim.birth and claim.number_birth and claim.birth != claim.number_birth
    differ = claim.known_name and holding.person.name and claim.known_name not in names
    return bool(holding.disputed and unfit and differ)


def agreement(claim: Claim, person: Person) -> int:
    pairs = [
        (claim.known_name, person.name, person.former_name),
        (claim.birth, person.birth, person.former_birth),
    ]
    compared = [told in (known, former) for told, known, former in pairs if told and known]
    return -1 if compared and not any(compared) else sum(compared)


def table(claims: list[Claim]) -> pa.Table:
    """Return the claims as the linker takes them."""

    def column(values: list[Any], kind: pa.DataType | None = None) -> pa.Array:
        return pa.array(values, kind or pa.string())

    return pa.table(
        {
            "resident_number": column([claim.resident for claim in claims]),
            "document_type": column(["03" if claim.passport else None for claim in claims]),
            "document_number": column([claim.passport for claim in claims]),
            "institution": column([claim.institution for claim in claims]),
            "local_number": column([claim.local for claim in claims]),
            "name": column([claim.name for claim in claims]),
            "birth_date": column([claim.birth for claim in claims], pa.date32()),
            "sex": column([claim.sex for claim in claims]),
            "phone": column([claim.phone for claim in claims]),
        }
    )
