"""What records hand out and take in: writes, sealed resources and documents, the timeline; frozen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from email.utils import format_datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from kangshu.consent import AccessGrant
from kangshu.kernel.texts import Text
from kangshu.lake import PersonRow
from kangshu.records.content import splice, unpack
from kangshu.records.errors import GrantMissingError, ResourceDeletedError, say
from kangshu.records.moments import LOCAL

Criterion: TypeAlias = tuple[str, tuple[tuple[str | None, str], ...]]
"""A type, and identifiers (system, value) all of which a resource must have; no system means any."""

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")


class Kind(StrEnum):
    """What an entry of the timeline is, in the order in which pages list them."""

    VISIT = "visit"
    DIAGNOSIS = "diagnosis"
    LABORATORY = "laboratory"
    EXAMINATION = "examination"
    PRESCRIPTION = "prescription"
    OPERATION = "operation"
    IMMUNIZATION = "immunization"
    ALLERGY = "allergy"
    DOCUMENT = "document"
    VITAL_SIGN = "vital-sign"
    OTHER = "other"


def kind_title(kind: Kind) -> Text:
    """Return what the kind is called."""
    return say[f"kind_{kind.value.replace('-', '_')}"]


class State(StrEnum):
    """Whether what an entry says holds."""

    VALID = "valid"
    PLANNED = "planned"  # ordered, booked, not yet begun
    PRELIMINARY = "preliminary"
    CORRECTED = "corrected"  # it replaces what was said before
    CANCELLED = "cancelled"  # it did not, or does not, take place
    WITHDRAWN = "withdrawn"  # entered in error: it was never true
    REPLACED = "replaced"  # a later document takes its place


def state_title(state: State) -> Text:
    """Return what the state is called."""
    return say[f"state_{state.value}"]


class Outcome(StrEnum):
    """What became of a write."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """A resource to store, or to delete.

    `person` is whom it is about, None where it is about nobody; `institution` who sent it; `message` the
    message that brought it. With `expected_version` the stored version must be that one; with
    `must_be_new` there must be none that is not deleted.
    """

    type: str
    id: str
    resource: Mapping[str, Any] = field(repr=False)
    person: int | None
    institution: str
    message: int | None
    action: Literal["put", "delete"] = "put"
    expected_version: int | None = None
    must_be_new: bool = False

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id) or not _TYPE.fullmatch(self.type):
            raise ValueError("a resource has a type and an id as FHIR writes them")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What became of a write; for `unchanged` the version and time that stand."""

    type: str
    id: str
    version: int
    outcome: Outcome
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceHeader:
    """What a resource is known by, without its content."""

    type: str
    id: str
    version: int
    person: int | None
    institution: str
    deleted: bool
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedResource:
    """One version of a resource; its content opens with a grant for the person whom it is about."""

    type: str
    id: str
    version: int
    person: int | None
    institution: str
    message: int | None
    deleted: bool
    updated_at: datetime
    same_person: frozenset[int] = frozenset()
    """Further numbers of the person: a grant for any of them opens it too."""
    _content: bytes = field(repr=False)

    @property
    def etag(self) -> str:
        """The version as HTTP's `ETag`."""
        return f'W/"{self.version}"'

    @property
    def last_modified(self) -> str:
        """The time as HTTP's `Last-Modified`."""
        return format_datetime(self.updated_at.astimezone(UTC), usegmt=True)

    def open(self, *, grant: AccessGrant | None, now: datetime) -> bytes:
        """Return the resource as JSON, with its id, version and time.

        Raises:
            GrantMissingError: it is about a person and there is no grant.
            AccessRefusedError: the grant is for somebody else, or over.
            ResourceDeletedError: this version says that it was deleted.
            ContentDamagedError: what is stored cannot be read.
        """
        require(grant, person=self.person, same_person=self.same_person, now=now)
        if self.deleted:
            raise ResourceDeletedError(say["resource_deleted"])
        return splice(
            type=self.type,
            id=self.id,
            version=self.version,
            updated_at=self.updated_at,
            data=unpack(self._content),
        )


def require(
    grant: AccessGrant | None, *, person: int | None, same_person: frozenset[int], now: datetime
) -> None:
    """Do nothing if what is about `person` may be opened with `grant`.

    Raises:
        GrantMissingError: there is no grant.
        AccessRefusedError: the grant is for somebody else, or over.
    """
    if person is None:
        return
    if grant is None:
        raise GrantMissingError(say["grant_missing"])
    grant.require(person=grant.person if grant.person in same_person else person, now=now)


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document to keep as it was sent."""

    id: str
    content: bytes = field(repr=False)
    media_type: str
    person: int | None
    institution: str
    message: int | None

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError("a document has an id as FHIR writes one")


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedDocument:
    """A document as it was sent; it opens with a grant for the person whom it is about."""

    id: str
    version: int
    media_type: str
    person: int | None
    institution: str
    message: int | None
    stored_at: datetime
    size: int
    same_person: frozenset[int] = frozenset()
    _content: bytes = field(repr=False)

    def open(self, *, grant: AccessGrant | None, now: datetime) -> bytes:
        """Return the bytes that were sent.

        Raises:
            GrantMissingError: it is about a person and there is no grant.
            AccessRefusedError: the grant is for somebody else, or over.
            ContentDamagedError: what is stored cannot be read.
        """
        require(grant, person=self.person, same_person=self.same_person, now=now)
        return unpack(self._content)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourcePage:
    """A page of resources. `next` leads to the following one and is None on the last.

    `total` is the number on all pages, where it was asked for.
    """

    resources: tuple[SealedResource, ...]
    total: int | None
    next: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryPage:
    """Versions of a resource, the newest first; `next` is the version to pass as `before`."""

    versions: tuple[SealedResource, ...]
    next: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A value with what is usual: a laboratory result, a vital sign, or a part of one.

    `value` is as people read it, without its unit; `number` the same where it is one (not where it was
    sent as `<0.1`). `flag` is a code of HL7 table 0078 (`H`, `L`, `A`; None: not said).
    """

    title: str | None = None
    code: str | None = None
    value: str | None = None
    number: Decimal | None = None
    unit: str | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    usual: str | None = None
    flag: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Detail:
    """A further fact of an entry. `key` is a word of the catalogue (`detail_title`)."""

    key: str
    value: str


def detail_title(key: str) -> Text:
    """Return what a detail is called."""
    return say[f"detail_{key}"]


def word_title(word: str) -> Text | None:
    """Return what a code of FHIR or HL7 means where senders often give no name for it, such as `EMER`.

    It knows classes of visits, flags of results and categories of diagnoses; None for anything else.
    """
    return say.get(f"word_{word}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What people want to see of a resource at first sight; nothing in it is worked out."""

    kind: Kind
    title: str | None
    code: str | None = None
    system: str | None = None
    measure: Measure = Measure()
    parts: tuple[Measure, ...] = ()
    status: str | None = None
    state: State = State.VALID
    details: tuple[Detail, ...] = ()
    document: str | None = None
    visit: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineEntry:
    """One thing that happened to a person: a stored resource, or a row that came in bulk.

    `at` is local time without zone, None where no time was told; with `whole_day` only the day is known.
    `title` is what was sent, None where nothing was. `status` is FHIR's word, `state` what it means.
    `reference` names the resource (`Encounter/...`) or the row; `document` the document to show; `visit` the
    visit that a stored resource says it belongs to (`Encounter/...`). `message` brought the present version.
    """

    kind: Kind
    at: datetime | None
    whole_day: bool
    institution: str
    person: int
    title: str | None
    code: str | None
    system: str | None
    value: str | None
    number: Decimal | None
    unit: str | None
    low: Decimal | None
    high: Decimal | None
    usual: str | None
    flag: str | None
    parts: tuple[Measure, ...]
    status: str | None
    state: State
    details: tuple[Detail, ...]
    source: Literal["record", "row"]
    reference: str
    version: int | None = None
    message: int | None = None
    document: str | None = None
    visit: str | None = None
    dataset: str | None = None
    row: PersonRow | None = field(default=None, repr=False)

    @property
    def corrected(self) -> bool:
        """Whether it replaces what was said before."""
        return self.state is State.CORRECTED

    @property
    def cancelled(self) -> bool:
        """Whether it does not hold: it did not take place, or was entered in error."""
        return self.state in (State.CANCELLED, State.WITHDRAWN)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attached:
    """A text that stands in a resource itself: a report or a letter that came in a message."""

    title: str | None
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryVersion:
    """One version of what a timeline shows. `entry` is None where this version says that it was deleted."""

    version: int
    stored_at: datetime
    institution: str
    person: int | None
    message: int | None
    entry: TimelineEntry | None
    attached: tuple[Attached, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelinePage:
    """A page of a person's timeline, newest first, undated entries last.

    `kinds`, `institutions` and `years` count the entries that fit the filter, on whatever page, `total` all
    of them; the newest year comes first, and what has no date is in none. `next` is what to pass as `before`
    for the following page, None on the last.
    """

    entries: tuple[TimelineEntry, ...]
    total: int
    kinds: Mapping[Kind, int]
    institutions: Mapping[str, int]
    years: Mapping[int, int]
    next: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendPoint:
    """One numeric value of a laboratory item or vital sign, with the reference range that came with it."""

    at: datetime
    number: Decimal
    unit: str | None
    low: Decimal | None
    high: Decimal | None
    flag: str | None
    state: State
    institution: str
    source: Literal["record", "row"]
    reference: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trend:
    """The values of one item over time, the oldest first.

    `complete` is False where there are more than were asked for; then these are the newest.
    """

    code: str
    title: str | None
    points: tuple[TrendPoint, ...]
    complete: bool


def day_bounds(since: date | None, until: date | None) -> tuple[datetime | None, datetime | None]:
    """Return the moments at which the half-open span of days begins and ends here."""
    moments = [
        None if day is None else datetime(day.year, day.month, day.day, tzinfo=LOCAL)
        for day in (since, until)
    ]
    return moments[0], moments[1]
