"""A message on its way: what arrived, what reading it gave, what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from kangshu.intake.messages import MessageFormat, MessageResult
from kangshu.kernel.errors import KangshuError
from kangshu.kernel.texts import Text
from kangshu.mapping import Mapped, Note, Subject
from kangshu.mapping.rows import DatasetRow
from kangshu.records import FhirAnswer, FhirRequest
from kangshu.security.principals import Principal
from kangshu.standards import hl7v2

Identifiers: TypeAlias = tuple[tuple[str | None, str], ...]
"""Business numbers (system, value) all of which a resource must have; no system means any."""
Criterion: TypeAlias = tuple[str, Identifiers]
"""A type, and the numbers of what is looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """One message as it came in. `sender` is given where the channel knows who sends."""

    body: bytes = field(repr=False)
    format: MessageFormat
    channel: str
    received_at: datetime
    received_by: str
    sender: str | None = None
    principal: Principal | None = None
    peer: str = ""
    replays: int | None = None
    """The kept message that this is a further attempt at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why a message is not taken in. `code` is the acknowledgement's: AE, or AR for what is no message."""

    code: str
    place: str | None
    text: Text
    error_code: str | None = None
    """Of table 0357, for ERR; None where it follows from the place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interaction:
    """One act of a FHIR request; `draft` is the place of its resource among the message's drafts."""

    method: str  # create, update, delete
    type: str
    id: str
    draft: int | None
    if_match: int | None = None
    if_none_exist: Identifiers = ()
    upsert: bool = False
    """Whether an id that is not known yet is welcome."""


@dataclass(kw_only=True, slots=True, eq=False)
class Prepared:
    """A message that was read, ready for a transaction, or refused already."""

    arrival: Arrival
    digest: bytes
    sender: str = ""
    control_id: str | None = None
    application: str = ""
    type: str = ""
    version: str = ""
    refusal: Refusal | None = None
    mapped: Mapped | None = None
    subjects: Mapping[str, Subject] = field(default_factory=dict[str, Subject], repr=False)
    """The persons told of, by the id of their Patient."""
    named: Mapping[int, Subject] = field(default_factory=dict[int, Subject], repr=False)
    """Persons whom a draft (by its place) names by a number alone."""
    contexts: frozenset[str] = frozenset()
    """Drafts (`Type/id`) that are brought along only: stored where nothing is known under their id."""
    interactions: Sequence[Interaction] = ()
    conditional: Mapping[str, Criterion] = field(default_factory=dict[str, Criterion])
    """References that say what to look for (`Practitioner?identifier=...`), read."""
    turned: list[tuple[dict[str, Any], dict[str, Any]]] = field(
        default_factory=list[tuple[dict[str, Any], dict[str, Any]]], repr=False
    )
    """References that an attempt to store turned elsewhere, and what they were before."""
    rows: Sequence[DatasetRow] = field(default=(), repr=False)
    """What the drafts say as rows of data sets, where they came together."""
    row_notes: list[Note] = field(default_factory=list[Note])
    """Why some of them are no rows."""
    documents: Sequence[tuple[str, bytes]] = field(default=(), repr=False)
    hl7: hl7v2.Message | None = field(default=None, repr=False)
    request: FhirRequest | None = None
    failure: KangshuError | None = None
    """What reading ran into, for doors that tell more of it than an acknowledgement does."""
    repeatable: bool = False
    """Whether an equal message is another one: a FHIR create without a request id."""

    @property
    def notes(self) -> Sequence[Note]:
        return self.mapped.notes if self.mapped else ()


@dataclass(kw_only=True, slots=True, eq=False)
class Outcome:
    """What became of one message."""

    result: MessageResult
    answer: FhirAnswer | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
