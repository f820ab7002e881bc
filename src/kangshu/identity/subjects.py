"""Bring the subjects of messages to the form in which claims are compared, one value at a time.

The columns of `normalising` give the same; they cost much for a single value, and these much for a
million. What is not plain (neither ASCII nor Chinese characters) goes through the columns here too. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from operator import mul

import pyarrow as pa

from kangshu.identity import normalising, policy
from kangshu.identity.model import IdentifierKind
from kangshu.identity.normalising import UNKNOWN_DAY, identifier_text
from kangshu.mapping import IdentifierKind as ToldKind
from kangshu.mapping import Subject, SubjectIdentifier
from kangshu.standards.identifiers import DocumentKind, read_document_number, upgrade_resident_number

# Arbitrary: longer than any number or name that means somebody; what is longer is not one.
NUMBER_LENGTH_MOST = 200
NAME_LENGTH_MOST = 200
# Arbitrary: nobody has so many; a message that lists more is cut, not refused.
IDENTIFIERS_MOST = 64

_EPOCH = 719_163  # 1970-01-01 as an ordinal
_PLAIN = re.compile(r"[\x20-\x7e]*")
_PLAIN_NAME = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]+")
_SIMPLE_NAME = re.compile(r"[\x20-\x7e\u3400-\u9fff\U00020000-\U0003ffff\u00b7\u2022\u2027\u30fb]*")
_DOTS = re.compile("[\u2022\u2027\u30fb.]")
_LETTER = re.compile(r"[A-Z\u3400-\u9fff\U00020000-\U0003ffff]")
_SEPARATORS = re.compile(r"[ \-.]+")
_TELLS = re.compile(r"[1-9A-Za-z]")
_COUNTRY = re.compile(r"^ *(\+|00)86")
_NOT_DIGITS = re.compile(r"[^0-9]+")
_BLANKS = re.compile(" +")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_WEIGHTS_OF_ZERO = ord("0") * sum(_WEIGHTS)
_CHECKS = "10X98765432"
_RESIDENT = re.compile(r"[1-9][0-9]{16}[0-9X]|[1-9][0-9]{14}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldIdentifier:
    """One identifier in normal form; `text` is what its digest is taken of.

    `birth` is the day that a resident number tells.
    """

    kind: IdentifierKind
    issuer: str | None
    value: str | None = field(repr=False)
    text: str = field(repr=False)
    birth: int = field(default=UNKNOWN_DAY, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What one subject tells, in normal form; `identifiers` are the strongest first.

    `number_birth` is the day that the first resident number tells.
    """

    institution: str | None
    identifiers: tuple[ToldIdentifier, ...] = field(repr=False)
    number_birth: int
    name: str | None = field(repr=False)
    name_key: str | None = field(repr=False)
    birth: int
    sex: int
    phone: str | None = field(repr=False)

    @property
    def demographic(self) -> ToldIdentifier | None:
        """What identifies where no number does: name, birth date and sex at one institution."""
        if not (self.institution and self.name_key and self.sex) or self.birth == UNKNOWN_DAY:
            return None
        text = identifier_text(
            IdentifierKind.DEMOGRAPHIC, self.institution, f"{self.name_key}:{self.birth}:{self.sex}"
        )
        return ToldIdentifier(kind=IdentifierKind.DEMOGRAPHIC, issuer=self.institution, value=None, text=text)


def read_subject(subject: Subject) -> Told:
    """Return what the subject tells; what cannot be what it should be is not told."""
    institution = issuer_of(subject.institution)
    found: dict[str, ToldIdentifier] = {}
    for one in subject.identifiers[:IDENTIFIERS_MOST]:
        for told in read_identifier(one, institution=institution):
            found.setdefault(told.text, told)
    identifiers = tuple(sorted(found.values(), key=_kind_of) if len(found) > 1 else found.values())
    name = display_name(subject.name)
    told = Told(
        institution=institution,
        identifiers=identifiers,
        number_birth=identifiers[0].birth if identifiers else UNKNOWN_DAY,
        name=name,
        name_key=name_key_of(name),
        birth=subject.birth_date.toordinal() - _EPOCH if subject.birth_date else UNKNOWN_DAY,
        sex=int(subject.sex) if subject.sex in ("1", "2") else 0,
        phone=phone_of(subject.phone),
    )
    if not identifiers and (demographic := told.demographic):
        return replace(told, identifiers=(demographic,))
    return told


def _kind_of(identifier: ToldIdentifier) -> int:
    return identifier.kind


def read_identifier(identifier: SubjectIdentifier, *, institution: str | None) -> list[ToldIdentifier]:
    """Return the identifier in normal form (a permit may carry a resident number), or none."""
    text = identifier.value
    if not text or len(text) > NUMBER_LENGTH_MOST:
        return []
    if identifier.kind is ToldKind.RESIDENT_NUMBER:
        return _resident(number_of(text))
    if identifier.kind is ToldKind.DOCUMENT:
        return _document(identifier.issuer, number_of(text))
    issuer = issuer_of(identifier.issuer) or institution
    value = local_number_of(text)
    if value is None or issuer is None:
        return []
    return [_told(IdentifierKind.LOCAL_NUMBER, issuer, value)]


def issuer_of(text: str | None) -> str | None:
    """Return the issuer as it is stored: PostgreSQL takes no NUL in text, nor half a surrogate pair."""
    if not text or len(text) > NUMBER_LENGTH_MOST:
        return None
    text = text.replace("\0", "")
    return _encodable(text) or None


def number_of(text: str) -> str | None:
    """Return a number as `normalising.numbers_of` does."""
    if not _PLAIN.fullmatch(text):
        return _by_column(normalising.numbers_of, text)
    tidy = _SEPARATORS.sub("", text).upper()
    return tidy if _TELLS.search(tidy) and tidy not in policy.UNKNOWN_NUMBERS else None


def local_number_of(text: str) -> str | None:
    """Return an institution's own number as `normalising.local_numbers_of` does."""
    if not _PLAIN.fullmatch(text):
        return _by_column(normalising.local_numbers_of, text)
    tidy = text.strip(" ")
    return tidy if _TELLS.search(tidy) and tidy.upper() not in policy.UNKNOWN_NUMBERS else None


def display_name(text: str | None) -> str | None:
    """Return a name for the eye as `normalising.display_names` does; none that no name could be."""
    if not text or len(text) > NAME_LENGTH_MOST:
        return None
    if _SIMPLE_NAME.fullmatch(text):
        return _BLANKS.sub(" ", text).strip(" ") or None
    return _by_column(normalising.display_names, text)


def name_key_of(name: str | None) -> str | None:
    """Return the form in which a name is compared, as `normalising.fold_names` does."""
    if name is None:
        return None
    if not _PLAIN_NAME.fullmatch(name):
        if not _SIMPLE_NAME.fullmatch(name):
            return _by_column(normalising.fold_names, name)
        name = _DOTS.sub("·", name.upper().replace(" ", "")).strip("·")
        if "?" in name or not _LETTER.search(name):
            return None
    return None if name in policy.UNKNOWN_NAMES else name


def name_parts_of(name: str | None) -> list[str]:
    """Return the folded parts of a name that is written with blanks, none where it is not."""
    if name is None or " " not in name:
        return []
    keys = [name_key_of(part) for part in name.split(" ")[:8]]  # arbitrary: more parts than names have
    return list(dict.fromkeys(key for key in keys if key))


def phone_of(text: str | None) -> str | None:
    """Return a phone number as `normalising.phones_of` does."""
    if not text or len(text) > NUMBER_LENGTH_MOST:
        return None
    if not _PLAIN.fullmatch(text):
        return _by_column(normalising.phones_of, text)
    digits = _NOT_DIGITS.sub("", _COUNTRY.sub("", text))
    return digits if len(digits) >= 5 else None


def _resident(number: str | None) -> list[ToldIdentifier]:
    if number is None or not _RESIDENT.fullmatch(number):
        return []
    value = upgrade_resident_number(number) if len(number) == 15 else number
    birth = _read_resident(value)
    return [] if birth == UNKNOWN_DAY else [_told(IdentifierKind.RESIDENT_NUMBER, None, value, birth=birth)]


def _read_resident(number: str) -> int:
    """Return the day of birth that a resident number of 18 places tells, if it is one at all.

    `standards.identifiers.ResidentNumber` says the same; this costs a quarter.
    """
    codes = number.encode()
    if _CHECKS[(sum(map(mul, _WEIGHTS, codes)) - _WEIGHTS_OF_ZERO) % 11] != number[17]:
        return UNKNOWN_DAY
    year, month, day = int(number[6:10]), int(number[10:12]), int(number[12:14])
    try:
        return date(year, month, day).toordinal() - _EPOCH if year >= 1800 else UNKNOWN_DAY
    except ValueError:
        return UNKNOWN_DAY


def _document(kind: str | None, number: str | None) -> list[ToldIdentifier]:
    if number is None:
        return []
    if kind is None or kind in policy.RESIDENT_NUMBER_DOCUMENTS:
        found = _resident(number)
        if found or kind is None:
            return found
    if kind not in policy.STRONG_DOCUMENTS:
        return []
    value = read_document_number(DocumentKind(kind), number)
    return [_told(IdentifierKind.DOCUMENT, str(kind), value)] if value else []


def _told(
    kind: IdentifierKind, issuer: str | None, value: str, *, birth: int = UNKNOWN_DAY
) -> ToldIdentifier:
    text = identifier_text(kind, issuer or "", value)
    return ToldIdentifier(kind=kind, issuer=issuer, value=value, text=text, birth=birth)


def _by_column(column: Callable[[pa.Array], pa.Array], text: str) -> str | None:
    text = _encodable(text)
    return column(pa.array([text], pa.string()))[0].as_py() if text else None


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode(errors="ignore").decode()
