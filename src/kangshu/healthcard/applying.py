"""What an application says, checked and in normal form, before anybody is asked about it. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from kangshu.healthcard.model import Application
from kangshu.healthcard.numbering import NUMBER_BYTES_MOST
from kangshu.security.sm import sm3
from kangshu.standards.identifiers import DocumentKind, ResidentNumber, read_document_number

LOCAL = "99"
"""The kind under which an institution's own number stands in a temporary card's id (其他)."""

_NAME_MOST = 50
_ADDRESS_MOST = 200
_LOCAL_MOST = 64
_DOTS = re.compile("[·•‧・･.．]")
_BLANKS = re.compile(r"\s+")
_PHONE = re.compile(r"\+?[0-9][0-9\-]{4,19}", re.ASCII)
_NATION = re.compile(r"[0-9]{2}", re.ASCII)
_RELATION = re.compile(r"[0-9]{1,2}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Fault(StrEnum):
    """What is wrong with an application; the value is the text's key."""

    NAME = "name_missing"
    DOCUMENT = "document_unreadable"
    DOCUMENT_MISSING = "document_missing"
    FIELD = "field_wrong"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrong:
    """A fault and the field that has it."""

    fault: Fault
    place: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """An application in normal form; `kind` and `number` name the document or stand for the local number."""

    application: Application = field(repr=False)
    name: str = field(repr=False)
    kind: str
    number: str = field(repr=False)
    local_number: str | None = field(repr=False)
    sex: str | None
    birth_date: date | None = field(repr=False)
    phone: str | None = field(repr=False)

    @property
    def resident(self) -> bool:
        """Whether the document is a resident card."""
        return self.kind == DocumentKind.RESIDENT_CARD

    @property
    def documented(self) -> bool:
        """Whether a document stands behind it, not an institution's number."""
        return self.local_number is None


def read_application(application: Application, *, institution: str | None) -> Applied | Wrong:
    """Return the application in normal form, or what is wrong with it."""
    name = tidy_name(application.name)
    if not name or len(name) > _NAME_MOST:
        return Wrong(fault=Fault.NAME, place="name")
    if wrong := _wrong_field(application):
        return Wrong(fault=Fault.FIELD, place=wrong)
    found = _document(application, institution)
    if isinstance(found, Wrong):
        return found
    kind, number, local = found
    sex, birth = application.sex, application.birth_date
    if kind == DocumentKind.RESIDENT_CARD:
        # The number tells both, and nobody wears another birthday than his number's.
        told = ResidentNumber.parse(number)
        if birth is not None and birth != told.birth_date:
            return Wrong(fault=Fault.FIELD, place="birth_date")
        sex, birth = sex or told.sex, told.birth_date
    return Applied(
        application=application,
        name=name,
        kind=kind,
        number=number,
        local_number=local,
        sex=sex,
        birth_date=birth,
        phone=tidy_phone(application.phone),
    )


def tidy_name(name: str) -> str:
    """Return a name for the eye: one form of width and blank, one middle dot."""
    text = unicodedata.normalize("NFKC", name) if name.isprintable() else ""
    return _BLANKS.sub(" ", _DOTS.sub("·", text) if not text.isascii() else text).strip(" ·")


def same_name(one: str, other: str) -> bool:
    """Return whether two names are one but for case, blanks and the form of the middle dot."""
    return _folded(one) == _folded(other)


def tidy_phone(text: str | None) -> str | None:
    """Return a telephone number without blanks, or None where it cannot be one."""
    if not text or len(text) > 40:
        return None
    phone = re.sub(r"[\s()]", "", unicodedata.normalize("NFKC", text))
    return phone if _PHONE.fullmatch(phone) else None


def is_relation(text: str) -> bool:
    """Return whether the text has the form of a code of GB/T 4761."""
    return _RELATION.fullmatch(text) is not None


def age_at(birth: date, today: date) -> int:
    """Return completed years."""
    return today.year - birth.year - ((today.month, today.day) < (birth.month, birth.day))


def _folded(name: str) -> str:
    return _DOTS.sub("", tidy_name(name)).replace(" ", "").casefold()


def _wrong_field(application: Application) -> str | None:
    checks = {
        "sex": application.sex in (None, "0", "1", "2", "9"),
        "nation": application.nation is None or _NATION.fullmatch(application.nation) is not None,
        "phone": not application.phone or tidy_phone(application.phone) is not None,
        "address": application.address is None
        or (len(application.address) <= _ADDRESS_MOST and not _CONTROL.search(application.address)),
        "relation": application.relation is None or is_relation(application.relation),
        "birth_date": application.birth_date is None or application.birth_date.year >= 1800,
    }
    return next((place for place, fits in checks.items() if not fits), None)


def _document(application: Application, institution: str | None) -> tuple[str, str, str | None] | Wrong:
    if application.document_number and application.document_number.strip():
        return _documented(application.document_type, application.document_number)
    local = (application.local_number or "").strip()
    if not (application.temporary and institution and local):
        return Wrong(fault=Fault.DOCUMENT_MISSING, place="document_number")
    if len(local) > _LOCAL_MOST or _CONTROL.search(local):
        return Wrong(fault=Fault.FIELD, place="local_number")
    # Institutions number alike; a digest of both fits into a card id and is nobody else's.
    return LOCAL, sm3(f"{institution}:{local}".encode("utf-8", "replace")).hex().upper()[:28], local


def _documented(kind: str | None, text: str) -> tuple[str, str, str | None] | Wrong:
    try:
        known = DocumentKind(kind or "")
    except ValueError:
        return Wrong(fault=Fault.FIELD, place="document_type")
    number = read_document_number(known, text) if len(text) <= 100 else None
    if number is None or len(number.encode("utf-8", "replace")) > NUMBER_BYTES_MOST:
        return Wrong(fault=Fault.DOCUMENT, place="document_number")
    return str(known), number, None
