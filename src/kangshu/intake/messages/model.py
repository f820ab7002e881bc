"""A message that arrived and what became of it; frozen values, and what others promise to do with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from kangshu.kernel.texts import Text
from kangshu.mapping import Note
from kangshu.security.principals import Principal
from kangshu.standards.identifiers import is_resident_number

DIGEST_BYTES = 16
_NAME_MOST = 128  # arbitrary: HL7 allows a control id 20 characters, later 199; far longer ones are digested
_RESIDENT_NUMBER = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)", re.ASCII)


class MessageFormat(StrEnum):
    """In which language a message is written."""

    HL7V2 = "hl7v2"
    FHIR = "fhir"
    CDA = "cda"
    UNKNOWN = "unknown"  # bytes that no format claims; kept as refused


class MessageState(StrEnum):
    """What became of a message; only an accepted one had an effect."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # the sender must correct it, or the platform learn to read it
    CONFLICT = "conflict"  # its control id was accepted with another content
    DUPLICATE = "duplicate"  # only in results: it was accepted before, and counts once
    SUPERSEDED = "superseded"  # only when shown: refused, and accepted since with a corrected content


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageKey:
    """What makes a message one of its kind: who sent it, under which control id, with which content.

    `control_id` is None (or empty) where the format has none: then the digest alone tells. Programs of one
    sender that count for themselves are told apart by `application` (MSH-3).
    """

    sender: str
    control_id: str | None
    digest: bytes
    application: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """An earlier message that decides about a new one.

    `accepted` with the same content: the new one is a repeat. `accepted` with another content: the new one
    is a conflict. `refused` (always the same content): the new one may try again. `kept_as` is the number
    under which this very content is kept already, whatever came of it.
    """

    message: int
    state: MessageState
    same_content: bool
    kept_as: int | None
    place: str | None
    reason: Text | None
    resources: int
    repeats: int

    @property
    def acknowledged(self) -> int:
        """How often it was answered so far."""
        return 1 + self.repeats


@dataclass(frozen=True, kw_only=True, slots=True)
class NewMessage:
    """A message to be kept, with what became of it.

    `persons` are the numbers of the residents concerned, `resources` how many resources it made. `state` is
    accepted, refused or conflict; for the latter two `place` (in the sender's notation) and `reason` tell
    why.
    """

    sender: str
    control_id: str | None
    digest: bytes
    format: MessageFormat
    type: str
    version: str
    channel: str
    received_at: datetime
    received_by: str
    state: MessageState
    body: bytes = field(repr=False)
    application: str = ""
    peer: str = ""
    place: str | None = None
    reason: Text | None = None
    persons: tuple[int, ...] = ()
    resources: int = 0

    @property
    def key(self) -> MessageKey:
        """What makes it one of its kind."""
        return MessageKey(
            sender=self.sender,
            control_id=self.control_id,
            digest=self.digest,
            application=self.application,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A message as it is on record, without its bytes.

    `superseded_by` is the accepted message under the same control id that made a refused one obsolete.
    `body_kept` is false where the bytes were pruned.
    """

    id: int
    sender: str
    application: str
    control_id: str
    digest: bytes
    format: MessageFormat
    type: str
    version: str
    channel: str
    state: MessageState
    place: str | None
    reason: Text | None
    persons: tuple[int, ...]
    resources: int
    bytes: int
    received_at: datetime
    received_by: str
    peer: str
    repeats: int
    last_repeat_at: datetime | None
    replays: int
    last_replay_at: datetime | None
    superseded_by: int | None
    body_kept: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredBody:
    """The bytes of one message as they arrived, with what is on record about it."""

    message: Message
    body: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageFilter:
    """Which messages are meant; what is None does not narrow. Received from `since` on and before `until`.

    `institutions` are senders. `search` is the beginning of a control id, `control_id` a whole one.
    """

    institutions: Sequence[str] | None = None
    state: MessageState | None = None
    format: MessageFormat | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    control_id: str | None = None
    search: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageCount:
    """How many messages came, and how many repeats of them; what was not asked for is None."""

    messages: int
    repeats: int
    day: date | None = None
    sender: str | None = None
    format: MessageFormat | None = None
    state: MessageState | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruning:
    """That bodies were removed because their time was over."""

    id: int
    pruned_at: datetime
    before: datetime
    bodies: int
    bytes: int
    stored_bytes: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageResult:
    """What the platform answers about one message: after the commit, never before.

    `answer` is for the sender's machine: an ER7 acknowledgement for HL7 v2, JSON for the others.
    """

    message: int | None
    state: MessageState
    place: str | None
    reason: Text | None
    notes: tuple[Note, ...]
    answer: bytes = field(repr=False)
    resources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayOutcome:
    """What came of messages that were tried again. `left` were not refused any more, or have no bytes."""

    accepted: int
    refused: int
    left: int = 0


class TakeMessage(Protocol):
    """Takes one message in and answers when that is committed."""

    async def __call__(
        self,
        *,
        body: bytes,
        format: MessageFormat | None,  # noqa: A002 - the word of the standards
        channel: str,
        principal: Principal | None,
        sender: str | None = None,
        peer: str = "",
    ) -> MessageResult:
        """Return what became of `body`; a format of None is found out by content."""
        ...


class ReplayMessages(Protocol):
    """Tries refused messages again, in the order of their numbers, on behalf of somebody."""

    async def __call__(self, *, messages: Sequence[int], principal: Principal) -> ReplayOutcome:
        """Return how many were accepted now and how many were refused again."""
        ...


def digest_of(body: bytes) -> bytes:
    """Return the digest by which equal contents are known: BLAKE2b, 16 bytes."""
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()


def kept_name(text: str | None, *, most: int = _NAME_MOST) -> str:
    """Return a name out of a message as it is kept, compared and shown.

    Senders put anything there. What is too long, does not print, or holds a resident's number is replaced
    by a digest, so that different names stay different and nobody's number is in the lists.

    >>> kept_name("MSG00001"), kept_name(None)
    ('MSG00001', '')
    """
    if not text:
        return ""
    if len(text) <= most and text.isprintable() and not (len(text) >= 18 and _names_resident(text)):
        return text
    return "~" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=15).hexdigest()


def _names_resident(text: str) -> bool:
    return any(is_resident_number(found) for found in _RESIDENT_NUMBER.findall(text))
