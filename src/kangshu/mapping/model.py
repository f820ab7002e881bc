"""What a message becomes: drafts of resources, the persons it tells of, and what was left aside; frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, TypeAlias

from kangshu.kernel.texts import Text

MakeId: TypeAlias = Callable[[str, str], str]
"""`make_id(type, key)` gives the id of the resource that `key` names, the same for the same key, and such
that nobody can guess it without the platform's key. `key` names sender and business number
(`"H0001|visit|V123"`)."""


class IdentifierKind(StrEnum):
    """In whose range a person's identifier is unique."""

    RESIDENT_NUMBER = "resident-number"  # the state's: 居民身份证号码
    DOCUMENT = "document"  # a passport, a permit: the issuer is a code of id_document
    LOCAL_NUMBER = "local-number"  # the issuer is an institution's code or another assigning authority


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectIdentifier:
    """One identifier by which a message knows a person. `issuer` is None for the resident number."""

    kind: IdentifierKind
    issuer: str | None
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A person as one message tells of him; what is not told is None. `sex` is a code of GB/T 2261.1."""

    institution: str
    identifiers: tuple[SubjectIdentifier, ...] = field(repr=False)
    name: str | None = field(default=None, repr=False)
    birth_date: date | None = field(default=None, repr=False)
    sex: str | None = None
    phone: str | None = field(default=None, repr=False)
    address: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """One resource that a message makes: FHIR R4 as plain values, without `meta.versionId`.

    References to other drafts are written as `Type/id` already. `patient` is the id of the Patient that it
    is about, whether this message brings that Patient or an earlier one did; None where it is about nobody.
    """

    type: str
    id: str
    resource: Mapping[str, Any] = field(repr=False)
    patient: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """The sender says that two of its persons are one (A40): `absorbed` is from now on `survivor`."""

    survivor: Subject
    absorbed: Subject


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """Something that was taken in but not mapped, or not as it should be. No value is part of the text."""

    place: str
    text: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapped:
    """Everything that one message or document becomes.

    The first Patient among the drafts is the one whom the message is about. `order_key` names the patient
    in the sender's own terms: messages with one key take effect one after the other.
    """

    drafts: tuple[Draft, ...]
    merges: tuple[Merge, ...] = ()
    notes: tuple[Note, ...] = ()
    order_key: str = ""
