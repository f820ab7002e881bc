"""Decide claims one after the other: the rules of `deciding` in plain Python, each claim seeing what the
earlier ones changed.

Files use it where several claims of a call speak about one identifier or person, messages for every claim.
Of persons and claims only the ids and numbers are seen here, never a name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kangshu.identity.evidence import REASONS, newcomer
from kangshu.identity.model import IdentifierKind, ReviewReason
from kangshu.identity.normalising import UNKNOWN_DAY

RESIDENT = int(IdentifierKind.RESIDENT_NUMBER)


@dataclass(kw_only=True, eq=False, slots=True)
class Known:
    """A person while claims about it are decided; 0 and `UNKNOWN_DAY` are unknown.

    `survivor` is the person into whom it was merged, 0 for none. The `*_claim` are rows of claims from
    which a fact is taken, -1 where none is.
    """

    id: int
    seen: int = 0
    name: int = 0
    former_name: int = 0
    birth: int = UNKNOWN_DAY
    former_birth: int = UNKNOWN_DAY
    resident: int = 0
    survivor: int = 0
    has_sex: bool = False
    has_phone: bool = False
    name_claim: int = -1
    sex_claim: int = -1
    phone_claim: int = -1
    changed: bool = False

    @property
    def root(self) -> int:
        """The person that stands for this one and all who were merged with it."""
        return self.survivor or self.id


@dataclass(kw_only=True, eq=False, slots=True)
class Holder:
    """One who holds an identifier; a survivor that only stands for a holder has no variant of its own."""

    person: Known
    disputed: bool
    variant: int | None


@dataclass(kw_only=True, eq=False, slots=True)
class Telling:
    """One claim as numbers; `identifiers` are kind, slot and entry of each, strongest first.

    `resident` is the first half of the digest of the first resident number, which is then the first
    identifier too; `number_birth` is the day that it tells.
    """

    row: int
    name: int
    birth: int
    number_birth: int
    resident: int
    sex: int
    phone: int
    identifiers: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])


class Rules:
    """The persons and holders of whom the claims speak, as they change from turn to turn.

    What is new gathers in `newcomers`, `holdings` (entry, variant, person, disputed), `settlements`
    (entry, variant) and `reviews` (entry, person, other, place of the reason in `REASONS`).
    """

    def __init__(self, *, first_newcomer: int = 0) -> None:
        self.holders: dict[int, list[Holder]] = {}
        self.newcomers: list[Known] = []
        self.holdings: list[tuple[int, int, int, int]] = []
        self.settlements: list[tuple[int, int]] = []
        self.reviews: list[tuple[int, int, int, int]] = []
        self._first_newcomer = first_newcomer

    def add_holder(self, slot: int, person: Known, *, disputed: bool, variant: int | None) -> None:
        """Take note of who holds the identifier in `slot`, in ascending order of variants."""
        self.holders.setdefault(slot, []).append(Holder(person=person, disputed=disputed, variant=variant))

    def stand_for_merged(self, slot: int, survivors: dict[int, Known]) -> None:
        """Let the survivors of merged holders of this identifier stand beside them, after all holders."""
        holders = self.holders[slot]
        present = {holder.person.id for holder in holders}
        for merged in [holder.person for holder in holders if holder.person.survivor]:
            if merged.survivor not in present:
                present.add(merged.survivor)
                self.add_holder(slot, survivors[merged.survivor], disputed=False, variant=None)

    def take(self, claim: Telling) -> Known:
        """Return whose the claim is, having learnt from it."""
        person = self._find(claim) or self._make()
        self._learn(person, claim)
        self._hold(person, claim)
        return person

    def agreement(self, claim: Telling, person: Known) -> int:
        """Return how many of name and birth date are equal, as `evidence.agreement` does."""
        names = claim.name != 0 and person.name != 0
        births = UNKNOWN_DAY not in (claim.birth, person.birth)
        equal = (names and claim.name in (person.name, person.former_name)) + (
            births and claim.birth in (person.birth, person.former_birth)
        )
        return -1 if not equal and (names or births) else equal

    def make_person(self, number: int) -> Known:
        """Return a new person of whom nothing is known."""
        return Known(id=number)

    def _find(self, claim: Telling) -> Known | None:
        for place, (kind, slot, _) in enumerate(claim.identifiers):
            by_number = kind == RESIDENT and not place
            best, best_score = None, -1
            for holder in self.holders.get(slot, ()):
                person = holder.person
                if not by_number and claim.resident and person.resident not in (0, claim.resident):
                    continue
                if by_number and holder.disputed and self._is_borrowed(claim, person):
                    continue
                score = self.agreement(claim, person)
                if score > best_score:
                    best, best_score = person, score
            if best:
                return best
        return None

    def _is_borrowed(self, claim: Telling, person: Known) -> bool:
        """Whether both tell somebody else's number and have different names: twins under their mother's.

        That they were born on the same day says nothing then.
        """
        borrowed = UNKNOWN_DAY not in (claim.birth, claim.number_birth) and claim.birth != claim.number_birth
        known = 0 not in (claim.name, person.name)
        return borrowed and known and claim.name not in (person.name, person.former_name)

    def _make(self) -> Known:
        person = self.make_person(newcomer(self._first_newcomer + len(self.newcomers)))
        self.newcomers.append(person)
        return person

    def _learn(self, person: Known, claim: Telling) -> None:
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

    def _another_owns_number(self, person: Known, claim: Telling) -> bool:
        if not claim.resident:
            return False
        holders = self.holders.get(claim.identifiers[0][1], ())
        return any(
            holder.person is not person and holder.person.resident == claim.resident for holder in holders
        )

    def _settle(self, person: Known, claim: Telling) -> None:
        if person.birth != claim.birth:
            person.birth, person.changed = claim.birth, True
        _, slot, entry = claim.identifiers[0]
        for holder in self.holders.get(slot, ()):
            if holder.person is person and holder.variant is not None:
                holder.disputed = False
                person.resident, person.changed = claim.resident, True
                self.settlements.append((entry, holder.variant))

    def _hold(self, person: Known, claim: Telling) -> None:
        """Make the person a holder of all identifiers of the claim; note whom that concerns."""
        noted: set[int] = set()
        for place, (kind, slot, entry) in enumerate(claim.identifiers):
            holders = self.holders.setdefault(slot, [])
            real = [holder for holder in holders if holder.variant is not None]
            if any(holder.person is person for holder in real):
                continue
            disputed = kind == RESIDENT and (
                place > 0
                or person.birth not in (UNKNOWN_DAY, claim.number_birth)
                or self._another_owns_number(person, claim)
            )
            if kind == RESIDENT and not disputed and not person.resident:
                person.resident, person.changed = claim.resident, True
            variant = (real[-1].variant or 0) + 1 if real else 0
            self.holdings.append((entry, variant, person.id, disputed))
            if real:
                self._note(claim, entry, person, real[0].person, noted)
            holders.insert(len(real), Holder(person=person, disputed=disputed, variant=variant))

    def _note(self, claim: Telling, entry: int, person: Known, other: Known, noted: set[int]) -> None:
        """Ask for a review of two persons who hold one identifier, unless they were merged."""
        if other.id in noted or other.root == person.root:
            return
        noted.add(other.id)
        self.reviews.append((entry, person.id, other.id, REASONS.index(self._reason(claim, other))))

    def _reason(self, claim: Telling, other: Known) -> ReviewReason:
        """Say why two persons hold one identifier: the claim contradicts the other, or could be his."""
        rival = claim.resident and other.resident not in (0, claim.resident)
        if rival or self.agreement(claim, other) < 0:
            return ReviewReason.CONTRADICTION
        return ReviewReason.POSSIBLE_DUPLICATE
