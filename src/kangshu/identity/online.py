"""Link the subjects of messages to persons as they arrive: few of them, in their order, in few statements.

The rules are those of the bulk `Linker`, each subject decided after the one before it. Besides, messages
tell news: what a later message says of a number that the person held before is shown from then on, and
what it replaces is kept as an event. Latin names that differ in one letter count as not comparable where
no birth date can be compared, for such are slips; Chinese names of two or three characters give no such
hint.

One look-up, decisions in memory, and one or two statements that store what is new; where another
connection stored the same first, back to the savepoint and once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from kangshu.identity import store
from kangshu.identity.errors import LinkingBusyError
from kangshu.identity.evidence import NOBODY, REASONS, newcomer
from kangshu.identity.keeping import (
    NO_ENTRY,
    Event,
    News,
    Person,
    Weighing,
    keep,
    known_person,
    resolved,
)
from kangshu.identity.linkage import Account, LinkageModel, Registration, Verdict
from kangshu.identity.matching import (
    Asked,
    Decision,
    Found,
    ask,
    decide,
    half_of,
    look_up,
    registration_of,
    weigh,
)
from kangshu.identity.model import EventKind, IdentifierKind, ReviewReason
from kangshu.identity.normalising import NAME_PREFIX, UNKNOWN_DAY
from kangshu.identity.rules import RESIDENT, Known, Rules, Telling
from kangshu.identity.subjects import Told, ToldIdentifier, name_key_of, read_subject
from kangshu.kernel.texts import load_catalogue
from kangshu.mapping import Subject
from kangshu.security.keys import Keys
from kangshu.security.sealing import digest_many, open_many
from kangshu.storage.database import Connection, Record

# As in `linking`.
HOLDERS_MOST = 100
_ROUNDS = 10
# Arbitrary: shorter names differ in one letter too easily.
_NEAR_LENGTH_LEAST = 5
_DEMOGRAPHIC = int(IdentifierKind.DEMOGRAPHIC)
_OWN_KINDS = (int(IdentifierKind.LOCAL_NUMBER), _DEMOGRAPHIC)

say = load_catalogue(__package__ or __name__)


async def link_claims(
    connection: Connection,
    *,
    keys: Keys,
    claims: Sequence[Subject],
    now: datetime,
    origin: int | None,
    actor: str,
    random: Callable[[int], bytes],
    correct: bool = True,
    model: LinkageModel | None = None,
) -> list[int | None]:
    """Return the person of each subject, creating those whom nobody knows; None where too little is told.

    The subjects take effect in their order, as if each came alone. All that is stored lies in the caller's
    transaction (READ COMMITTED). Without `correct`, for subjects that are no news, known facts stay as
    they are and only unknown ones are filled, as with files. A number of someone who was merged leads to
    the one who holds it; `persons_meaning` tells who means the same human.

    With a `model`, who would become a new person is weighed against whom the index knows: linked to the one
    that it must be, with an account, or a new person with a review entry where it may be one. Without, new
    persons wait to be compared (`match_newcomers`).

    Raises:
        LinkingBusyError: others changed the same persons in every round.
    """
    batch = Batch.of(claims, keys=keys)
    for _ in range(_ROUNDS):
        rules = await _load(connection, batch, keys)
        if model is not None:
            await _load_candidates(connection, rules, batch, claims, keys=keys, model=model)
        persons = [rules.decide(batch.telling(row), correct=correct) for row in range(len(claims))]
        news = News(
            newcomers=[cast("Person", person) for person in rules.newcomers],
            touched=[person for person in rules.persons.values() if person.touched],
            holdings=rules.holdings,
            settlements=rules.settlements,
            reviews=rules.reviews,
            events=rules.events,
            identifiers=batch.identifiers,
            digests=batch.digests,
            profiles=rules.profiles,
            keys=rules.keys,
            weighings=rules.weighings,
            review_weighings=rules.review_weighings,
            compared=model is not None,
        )
        try:
            ids = await keep(connection, news, keys=keys, random=random, now=now, origin=origin, actor=actor)
        except store.CollisionError:
            continue
        return [None if person == NOBODY else resolved(person, ids) for person in persons]
    raise LinkingBusyError(say["linking_busy"])


@dataclass(kw_only=True, eq=False)
class Batch:
    """The subjects in normal form; identifiers by slot, each different one once."""

    subjects: list[Told]
    names: list[int]
    identifiers: list[ToldIdentifier]
    slots: dict[str, int]
    digests: list[bytes]

    @classmethod
    def of(cls, claims: Sequence[Subject], *, keys: Keys) -> Batch:
        """Return the batch of these subjects, with all digests that are needed in any case."""
        subjects = [read_subject(claim) for claim in claims]
        identifiers = {one.text: one for told in subjects for one in told.identifiers}
        named = dict.fromkeys(told.name_key for told in subjects if told.name_key)
        digests = digest_many(keys.lookup_key, [*identifiers, *(NAME_PREFIX + name for name in named)])
        halves = {name: half_of(one) for name, one in zip(named, digests[len(identifiers) :], strict=True)}
        return cls(
            subjects=subjects,
            names=[halves[told.name_key] if told.name_key else 0 for told in subjects],
            identifiers=list(identifiers.values()),
            slots={text: slot for slot, text in enumerate(identifiers)},
            digests=digests[: len(identifiers)],
        )

    def add(self, identifiers: Sequence[ToldIdentifier], *, keys: Keys) -> None:
        """Give more identifiers a slot, those that have none."""
        new = {one.text: one for one in identifiers if one.text not in self.slots}
        self.slots.update({text: len(self.slots) + place for place, text in enumerate(new)})
        self.identifiers += new.values()
        self.digests += digest_many(keys.lookup_key, list(new))

    def telling(self, row: int) -> Telling:
        """Return a subject as the rules take it."""
        told = self.subjects[row]
        slots = [(int(one.kind), self.slots[one.text]) for one in told.identifiers]
        by_number = bool(slots) and slots[0][0] == RESIDENT
        return Telling(
            row=row,
            name=self.names[row],
            birth=told.birth,
            number_birth=told.number_birth,
            resident=half_of(self.digests[slots[0][1]]) if by_number else 0,
            sex=told.sex,
            phone=1 if told.phone else 0,
            identifiers=[(kind, slot, slot) for kind, slot in slots],
        )


async def _load(connection: Connection, batch: Batch, keys: Keys) -> _OnlineRules:
    """Return the rules with all that is known of whom the batch speaks."""
    rules = _OnlineRules(batch, keys)
    if batch.digests:
        await _load_holders(connection, rules, batch, start=0)
    told = Counter(one.text for subject in batch.subjects for one in subject.identifiers)
    crowded = {
        text
        for text, times in told.items()
        if len(rules.holders.get(batch.slots[text], ())) + times > HOLDERS_MOST
    }
    if crowded:
        # Numbers that say nothing: who has no other is known by name.
        bare = [
            demographic
            for subject in batch.subjects
            if all(one.text in crowded for one in subject.identifiers)
            and (demographic := subject.demographic)
        ]
        start = len(batch.digests)
        batch.add(bare, keys=keys)
        if start < len(batch.digests):
            await _load_holders(connection, rules, batch, start=start)
    return rules


async def _load_candidates(
    connection: Connection,
    rules: _OnlineRules,
    batch: Batch,
    claims: Sequence[Subject],
    *,
    keys: Keys,
    model: LinkageModel,
) -> None:
    """Give the rules whom the claims that bring something new may tell of."""
    records: dict[int, Registration] = {}
    for row in range(len(claims)):
        told = batch.subjects[row]
        claim = batch.telling(row)
        useful = rules.useful(claim, told)
        if useful.identifiers and not rules.is_no_news(useful):
            left = {slot for _, slot, _ in useful.identifiers}
            useless = frozenset(
                one.value for one in told.identifiers if one.value and batch.slots[one.text] not in left
            )
            records[row] = registration_of(claims[row], useless=useless)
    different = list(dict.fromkeys(records.values()))
    asked = dict(zip(different, ask(model, keys, different), strict=True))
    found, persons = await look_up(connection, keys=keys, asked=list(asked.values()))
    for one in persons:
        rules.person(one)
    rules.weigh_by(model, found, {row: asked[record] for row, record in records.items()})


async def _load_holders(connection: Connection, rules: _OnlineRules, batch: Batch, *, start: int) -> None:
    found = await store.find_known(connection, digests=batch.digests[start:], limit=HOLDERS_MOST)
    for row in found:
        rules.add_holder(
            start + row["slot"], rules.person(row), disputed=row["disputed"], variant=row["variant"]
        )
    merged = {row["survivor"] for row in found if row["survivor"]}
    if not merged:
        return
    for row in await store.read_facts(connection, persons=sorted(merged - rules.persons.keys())):
        rules.person(row)
    for slot in {start + row["slot"] for row in found}:
        rules.stand_for_merged(slot, cast("dict[int, Known]", rules.persons))


class _OnlineRules(Rules):
    """The rules on subjects of messages, with what messages may do besides: correct what is known."""

    def __init__(self, batch: Batch, keys: Keys) -> None:
        super().__init__()
        self._batch = batch
        self._keys = keys
        self.persons: dict[int, Person] = {}
        self.events: list[Event] = []
        self.profiles: list[tuple[Asked, int]] = []
        self.keys: list[tuple[int, int, int]] = []
        self.weighings: list[Weighing] = []
        self.review_weighings: dict[int, int] = {}
        self._model: LinkageModel | None = None
        self._found = Found()
        self._asked: dict[int, Asked] = {}
        self._decision = Decision()

    def weigh_by(self, model: LinkageModel, found: Found, asked: dict[int, Asked]) -> None:
        """Weigh who would be new, by the claims' rows, against whom was found."""
        self._model, self._found, self._asked = model, found, asked

    def person(self, row: Record) -> Person:
        """Return the person in a row of the store, always the same one."""
        number = row["id"]
        if number not in self.persons:
            self.persons[number] = known_person(row)
        return self.persons[number]

    def make_person(self, number: int) -> Known:
        """Return a new person of whom nothing is known."""
        return Person(id=number)

    def decide(self, claim: Telling, *, correct: bool) -> int:
        """Return the number of the claim's person, or `NOBODY`."""
        told = self._batch.subjects[claim.row]
        person = self._settled(claim)
        held = correct and self._holders_of_own(claim)
        if person is None:
            claim = self.useful(claim, told)
            if not claim.identifiers:
                return NOBODY
            person = self._taken(claim)
            self._take_values(person, claim, told)
        if held and person.id in held:
            self._correct(person, claim, told)
        return person.id

    def agreement(self, claim: Telling, person: Known) -> int:
        """Return how many of name and birth date are equal; a slip in a Latin name is no contradiction."""
        score = super().agreement(claim, person)
        return 0 if score < 0 and self._nearly_named(claim, cast("Person", person)) else score

    def is_no_news(self, claim: Telling) -> bool:
        """Whether somebody holds all of the claim's identifiers and nothing that it tells is unknown."""
        person = super()._find(claim)
        return person is not None and (
            (not claim.name or claim.name in (person.name, person.former_name))
            and (claim.birth == UNKNOWN_DAY or person.birth != UNKNOWN_DAY)
            and (not claim.sex or person.has_sex)
            and (not claim.phone or person.has_phone)
            and all(
                any(holder.person is person and holder.variant is not None for holder in self.holders[slot])
                for _, slot, _ in claim.identifiers
                if slot in self.holders
            )
            and all(slot in self.holders for _, slot, _ in claim.identifiers)
        )

    def _taken(self, claim: Telling) -> Person:
        """Return whose the claim is, having learnt from it and from how it was weighed."""
        self._decision = Decision()
        held, reviewed = len(self.holdings), len(self.reviews)
        person = cast("Person", self.take(claim))
        asked = self._asked.get(claim.row)
        if asked is None:
            return person
        decision = self._decision
        entries = tuple(entry for entry, *_ in self.holdings[held:])
        if decision.link and entries:
            account = decision.link[1]
            self.weighings.append(Weighing(person=person.id, other=None, account=account, entries=entries))
        for other, account in decision.possible:
            self._review_weighed(person, other, account, reviewed)
        new, keys = self._found.learn(asked, person.id, person.root)
        if new:
            self.profiles.append((asked, person.id))
            self.keys += keys
        return person

    def _find(self, claim: Telling) -> Known | None:
        """Return whom the rules name, else whom the weights do."""
        known = super()._find(claim)
        asked = self._asked.get(claim.row)
        if known is not None or asked is None or self._model is None:
            return known
        weighed: dict[int, Account] = {}
        for root in self._found.candidates(asked):
            account = weigh(self._model, asked.profile, self._found.profiles.get(root, ()))
            if account is None:
                continue
            person = self._standing(root)
            rival = claim.resident and person.resident not in (0, claim.resident)
            if rival and account.verdict is Verdict.LINK:
                account = replace(account, verdict=Verdict.POSSIBLE)
            weighed[root] = account
        self._decision = decide(self._model, weighed)
        return self._standing(self._decision.link[0]) if self._decision.link else None

    def _standing(self, root: int) -> Known:
        return self.newcomers[newcomer(root)] if root < NOBODY else self.persons[root]

    def _review_weighed(self, person: Person, other: int, account: Account, start: int) -> None:
        """Ask for a review of two persons that may be one; who shares a number is reviewed already."""
        self.weighings.append(Weighing(person=person.id, other=other, account=account))
        place = len(self.weighings) - 1
        for number in range(start, len(self.reviews)):
            if self._standing_of(self.reviews[number][2]) == other:
                self.review_weighings.setdefault(number, place)
                return
        reason = REASONS.index(ReviewReason.POSSIBLE_MATCH)
        self.review_weighings[len(self.reviews)] = place
        self.reviews.append((NO_ENTRY, person.id, other, reason))

    def _standing_of(self, person: int) -> int:
        return person if person < NOBODY else self.persons[person].root

    def _settled(self, claim: Telling) -> Person | None:
        """Return the person of a claim about which nothing is left to do, as `deciding.settle` does."""
        if not claim.identifiers or len(claim.identifiers) > 1 + (claim.identifiers[0][0] == RESIDENT):
            return None
        kind, slot, _ = claim.identifiers[-1]
        holders = self.holders.get(slot, ())
        if len(holders) != 1 or (kind == RESIDENT and len(claim.identifiers) > 1):
            return None
        person = cast("Person", holders[0].person)
        fits = (
            claim.resident in (0, person.resident)
            and (not claim.name or person.name)
            and (claim.birth == UNKNOWN_DAY or person.birth != UNKNOWN_DAY)
            and (not claim.sex or person.has_sex)
            and (not claim.phone or person.has_phone)
        )
        return person if fits and Rules.agreement(self, claim, person) >= 0 else None

    def useful(self, claim: Telling, told: Told) -> Telling:
        """Return the claim without numbers that say nothing, as too many different people have them."""
        useless = {
            place
            for place, (kind, slot, _) in enumerate(claim.identifiers)
            if kind != _DEMOGRAPHIC and self._count(slot) >= HOLDERS_MOST
        }
        if not useless:
            return claim
        numberless = 0 in useless and claim.identifiers[0][0] == RESIDENT
        left = [
            one
            for place, one in enumerate(claim.identifiers)
            if place not in useless and not (numberless and one[0] == RESIDENT)
        ]
        demographic = None if left else told.demographic
        slot = self._batch.slots.get(demographic.text) if demographic else None
        if slot is not None:
            left = [(_DEMOGRAPHIC, slot, slot)]
        return Telling(
            row=claim.row,
            name=claim.name,
            birth=claim.birth,
            number_birth=UNKNOWN_DAY if numberless else claim.number_birth,
            resident=0 if numberless else claim.resident,
            sex=claim.sex,
            phone=claim.phone,
            identifiers=left,
        )

    def _count(self, slot: int) -> int:
        return sum(holder.variant is not None for holder in self.holders.get(slot, ()))

    def _holders_of_own(self, claim: Telling) -> set[int]:
        """Return who held one of the claim's local numbers before."""
        return {
            holder.person.id
            for kind, slot, _ in claim.identifiers
            if kind in _OWN_KINDS
            for holder in self.holders.get(slot, ())
            if holder.variant is not None
        }

    def _take_values(self, person: Person, claim: Telling, told: Told) -> None:
        """Keep the values of what the rules just learnt."""
        if person.name_claim == claim.row and (claim.name or person.name_value is None):
            person.name_value = told.name
        if person.sex_claim == claim.row:
            person.sex = told.sex
        if person.phone_claim == claim.row:
            person.phone_value = told.phone
        if person.changed and person.id >= 0:
            person.touched = True
            self.events.append(Event(person=person.id, kind=EventKind.COMPLETED))
        person.changed = False

    def _correct(self, person: Person, claim: Telling, told: Told) -> None:
        """Show what the claim tells from now on, and keep what it replaces.

        Who owns a resident number was born on the day that it tells, whatever else is said.
        """
        event = Event(person=person.id, kind=EventKind.CORRECTED)
        replaced = False
        if claim.name and person.name and claim.name != person.name:
            event.name, replaced = person.name_value, True
            person.former_name, person.name, person.name_value = person.name, claim.name, told.name
        if (
            UNKNOWN_DAY not in (claim.birth, person.birth)
            and claim.birth != person.birth
            and not person.resident
        ):
            event.birth, replaced = person.birth, True
            person.former_birth, person.birth = person.birth, claim.birth
        if claim.sex and person.sex and claim.sex != person.sex:
            event.sex, replaced = person.sex, True
            person.sex = claim.sex
        if told.phone and person.phone_value and told.phone != self._open(person.phone_value):
            event.phone, replaced = person.phone_value, True
            person.phone_value = told.phone
        if replaced:
            person.touched = True
            self.events.append(event)

    def _nearly_named(self, claim: Telling, person: Person) -> bool:
        if not claim.name or not person.name or UNKNOWN_DAY not in (claim.birth, person.birth):
            return False
        if claim.sex and person.sex and claim.sex != person.sex:
            return False
        name = self._batch.subjects[claim.row].name_key
        if not _is_latin(name) or not person.name_value:
            return False
        return differ_in_one(name or "", name_key_of(self._open(person.name_value)) or "")

    def _open(self, value: bytes | str) -> str:
        return value if isinstance(value, str) else open_many(self._keys, [value])[0]


def differ_in_one(name: str, other: str) -> bool:
    """Return whether two Latin names differ in one letter, left out, put in, exchanged or swapped.

    >>> differ_in_one("JONSMITH", "JOHNSMITH"), differ_in_one("JONES", "JASON")
    (True, False)
    """
    if min(len(name), len(other)) < _NEAR_LENGTH_LEAST or not (_is_latin(name) and _is_latin(other)):
        return False
    if len(name) > len(other):
        name, other = other, name
    start = next((place for place, letter in enumerate(name) if letter != other[place]), len(name))
    if len(other) - len(name) > 1:
        return False
    if len(other) > len(name):
        return name[start:] == other[start + 1 :]
    swapped = name[start + 1 : start + 2] + name[start : start + 1] + name[start + 2 :]
    return name[start + 1 :] == other[start + 1 :] or swapped == other[start:]


def _is_latin(name: str | None) -> bool:
    return bool(name) and name.isascii() and name.isalpha()
