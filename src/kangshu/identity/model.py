"""Persons, what they are known by, and what a human should look at; frozen and pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum, StrEnum


class IdentifierKind(IntEnum):
    """What a person is known by, the strongest first; the numbers are stored."""

    RESIDENT_NUMBER = 1  # 居民身份证号码
    DOCUMENT = 2  # passport, permit: type and number
    LOCAL_NUMBER = 3  # the institution's own number
    DEMOGRAPHIC = 4  # name, birth date and sex at one institution, where nothing better was sent


class ReviewReason(StrEnum):
    """Why two persons hold the same identifier."""

    CONTRADICTION = "contradiction"  # name and birth date differ, or they own different resident numbers
    POSSIBLE_DUPLICATE = "possible-duplicate"  # nothing speaks against their being one person


class ReviewState(StrEnum):
    """What became of a review entry."""

    OPEN = "open"
    DIFFERENT = "different"
    SAME = "same"


class EventKind(IntEnum):
    """What happened to a person; the numbers are stored."""

    COMPLETED = 1  # a fact that was not known was filled, or a disputed one settled
    REVIEWED = 2


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


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """One identifier that a person holds. `issuer` is an institution code or a document type."""

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


@dataclass(frozen=True, kw_only=True)
class Review:
    """Two persons that hold one identifier: a human should say whether they are one."""

    id: int
    person: int
    other: int
    kind: IdentifierKind
    issuer: str | None
    reason: ReviewReason
    state: ReviewState
    origin: int | None
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened to a person after its creation.

    Creation is told by the person, and the arrival of an identifier by the identifier.
    """

    id: int
    at: datetime
    kind: EventKind
    person: int
    other: int | None
    actor: str
    origin: int | None


@dataclass(frozen=True, kw_only=True)
class DayCount:
    """How many persons were created on one day (in the time zone of the clock that counted)."""

    day: date
    persons: int
