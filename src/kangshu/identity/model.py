"""Persons, what they are known by, and what a human should look at; frozen and pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum, StrEnum

from kangshu.mapping import SubjectIdentifier


class IdentifierKind(IntEnum):
    """What a person is known by, the strongest first; the numbers are stored."""

    RESIDENT_NUMBER = 1  # 居民身份证号码
    DOCUMENT = 2  # passport, permit: type and number
    LOCAL_NUMBER = 3  # the institution's own number
    DEMOGRAPHIC = 4  # name, birth date and sex at one institution, where nothing better was sent


class ReviewReason(StrEnum):
    """Why a human should look at two persons: the first two hold the same identifier."""

    CONTRADICTION = "contradiction"  # name and birth date differ, or they own different resident numbers
    POSSIBLE_DUPLICATE = "possible-duplicate"  # nothing speaks against their being one person
    POSSIBLE_MATCH = "possible-match"  # no identifier in common, but what they tell is alike: see the account


class ReviewState(StrEnum):
    """What became of a review entry."""

    OPEN = "open"
    DIFFERENT = "different"
    SAME = "same"


class EventKind(IntEnum):
    """What happened to a person; the numbers are stored."""

    COMPLETED = 1  # a fact that was not known was filled, or a disputed one settled
    REVIEWED = 2
    CORRECTED = 3  # a message told something else than before: the event says what was
    MERGED = 4
    SPLIT = 5  # a merge was undone
    LINKED = 6  # a record was taken for this person by what it tells: see the account
    SEPARATED = 7  # identifiers were taken out of a person into a new one
    REUNITED = 8  # that was undone


@dataclass(frozen=True, kw_only=True)
class PersonSummary:
    """One person in clear text; showing it unmasked, or at all, is the door's decision."""

    id: int
    name: str | None = field(repr=False)
    sex: str | None
    birth_date: date | None = field(repr=False)
    resident_number: str | None = field(repr=False)
    """The number that the person owns; a disputed one is only among the identifiers."""
    phone: str | None = field(repr=False)
    created_at: datetime
    origin: int | None
    """The file that first told of the person, where it came in a file."""
    absorbed: tuple[int, ...] = ()
    """Persons that were merged into this one; what it lacks itself is shown from them."""


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """One identifier that a person holds.

    `issuer` is an institution code, another assigning authority, or a document type.
    """

    kind: IdentifierKind
    issuer: str | None
    value: str | None = field(repr=False)
    """The number; none for `DEMOGRAPHIC`."""
    variant: int
    """0 for the first holder; others hold it beside somebody else."""
    disputed: bool
    """A resident number that tells another birth date than the person's."""
    seen_at: datetime
    origin: int | None
    """The file that told it."""
    person: int
    """Who holds it: the person asked for, or one that was merged with it."""
    key: str = ""
    """Names this holding, and tells nothing of the number: what `split_person` takes."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """Two persons that hold one identifier, or tell alike: a human should say whether they are one."""

    id: int
    person: int
    other: int
    kind: IdentifierKind | None
    """None where they have no identifier in common (`POSSIBLE_MATCH`)."""
    issuer: str | None
    reason: ReviewReason
    state: ReviewState
    origin: int | None
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    account: int | None = None
    """The weighing of the two, where one is kept: `get_account`."""


@dataclass(frozen=True, kw_only=True)
class FormerFacts:
    """What a message replaced; None: not replaced."""

    name: str | None = field(default=None, repr=False)
    sex: str | None = None
    birth_date: date | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened to a person after its creation.

    Creation is told by the person, and the arrival of an identifier by the identifier. `former` are the
    facts that were shown before a correction, where the keys were given to open them.
    """

    id: int
    at: datetime
    kind: EventKind
    person: int
    other: int | None
    actor: str
    origin: int | None
    former: FormerFacts | None = None
    reason: str | None = None
    weight: float | None = None
    """Bits, where a program decided."""
    model: str | None = None
    """The version of the model by which it decided."""
    operation: int | None = None
    """The merge or the split."""


@dataclass(frozen=True, kw_only=True)
class PersonMerge:
    """A decision that two persons are one; `survivor` stands for both until it is undone.

    Both stood at the ends of their chains then: who had been merged into `absorbed` came with it.
    """

    id: int
    survivor: int
    absorbed: int
    at: datetime
    actor: str
    reason: str
    origin: int | None
    undone_at: datetime | None
    undone_by: str | None
    weight: float | None = None
    """Bits, where a program merged them."""
    model: str | None = None
    """The version of the model by which it did."""


@dataclass(frozen=True, kw_only=True)
class PersonSplit:
    """A decision that some identifiers of `person` are somebody else's, for whom `created` was made.

    Once undone, `created` means the same human as `person`.
    """

    id: int
    person: int
    created: int
    at: datetime
    actor: str
    reason: str
    identifiers: int
    """How many were taken out."""
    undone_at: datetime | None
    undone_by: str | None


@dataclass(frozen=True, kw_only=True)
class ToldMother:
    """How a message knows the mother of the person `child`: numbers, a name, or both."""

    child: int
    institution: str
    identifiers: tuple[SubjectIdentifier, ...] = field(default=(), repr=False)
    name: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Mother:
    """A person's mother, as told with the child; her name is what the index knows of her, else what was told.

    `person` is she herself, where the index knows who holds the number.
    """

    person: int | None
    name: str | None = field(repr=False)
    identifiers: tuple[SubjectIdentifier, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One answer to a search by demographics."""

    person: PersonSummary
    identifiers: tuple[Identifier, ...]
    mother: Mother | None


@dataclass(frozen=True, kw_only=True)
class DayCount:
    """How many persons were created on one day (in the time zone of the clock that counted)."""

    day: date
    persons: int
