"""Numbers that name people, organisations and places: their shape, check digit and what they tell.

| number | standard |
|---|---|
| 居民身份证号码, 18 digits; 15 until 1999 | GB 11643-1999 |
| 统一社会信用代码, 18 places | GB 32100-2015 |
| 组织机构代码, 9 places | GB 11714-1997 |
| 卫生机构代码, 22 places: organisation 9, division 6, economy 2, type 4, management 1 | WS 218 |
| 行政区划代码, 2, 4, 6, 9 or 12 digits | GB/T 2260, GB/T 10114 |
| 护照, 港澳台通行证, 居住证, 永久居留证, 出生医学证明 | the issuers' own |

A number that passes is well formed. Whether it was ever issued, and to whom, nobody can tell from it.
No error here ever quotes the number.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Literal

_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_RESIDENT_CHECKS = "10X98765432"
_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # no I O S V Z, which look like digits
_CREDIT_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))
_CENTENARIANS = frozenset({"996", "997", "998", "999"})

_RESIDENT = re.compile(r"[1-9]\d{16}[\dX]", re.ASCII)
_OLD_RESIDENT = re.compile(r"[1-9]\d{14}", re.ASCII)
_ORGANISATION = re.compile(r"[0-9A-Z]{8}[0-9X]", re.ASCII)
_CREDIT = re.compile(rf"[{_CREDIT_ALPHABET}]{{2}}\d{{6}}[{_CREDIT_ALPHABET}]{{10}}", re.ASCII)
_INSTITUTION = re.compile(r"([0-9A-Z]{8}[0-9X])(\d{6})(\d{2})([A-Z]\d{3})(\d)", re.ASCII)
_DIVISION = re.compile(r"[1-9]\d(?:\d\d(?:\d\d(?:\d{3}(?:\d{3})?)?)?)?", re.ASCII)
_SEPARATORS = re.compile(r"[\s\-‐-―−·.]+")

Sex = Literal["1", "2"]  # GB/T 2261.1: 1 male, 2 female


def normalise(text: str) -> str:
    """Return the number as the standards write it: half-width, capitals, without spaces and hyphens.

    >>> normalise("１１０１０１ 19000307-001x")
    '11010119000307001X'
    """
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", text)).upper()


@dataclass(frozen=True, kw_only=True)
class ResidentNumber:
    """A well-formed 18-place resident number (居民身份证号码); its digits stay out of `repr`.

    Residence permits of people from Hong Kong, Macau and Taiwan (81, 82, 83) and the foreigners'
    permanent residence card of 2023 (9) have the same form and are read as well.
    """

    number: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _RESIDENT.fullmatch(self.number):
            raise ValueError("a resident number is 17 digits and a check digit or X")
        if self.number[17] != resident_check_digit(self.number[:17]):
            raise ValueError("the check digit of the resident number is wrong")
        if not _is_day(self.number[6:14]):
            raise ValueError("the resident number holds a birth date that does not exist")

    @classmethod
    def parse(cls, text: str) -> ResidentNumber:
        """Return the number that `text` states; 15-digit numbers are upgraded.

        Raises:
            ValueError: it is not a resident number; the message says why, without the number.
        """
        number = normalise(text)
        return cls(number=upgrade_resident_number(number) if _OLD_RESIDENT.fullmatch(number) else number)

    @property
    def division_code(self) -> str:
        """The county where the number was first issued; not where the person lives."""
        return self.number[:6]

    @property
    def birth_date(self) -> date:
        """The day of birth as registered."""
        return date(int(self.number[6:10]), int(self.number[10:12]), int(self.number[12:14]))

    @property
    def sex(self) -> Sex:
        """The sex as registered: odd serial numbers are men's."""
        return "1" if int(self.number[16]) % 2 else "2"


def is_resident_number(text: str) -> bool:
    """Return whether `text`, once normalised, is a well-formed resident number of 15 or 18 places."""
    try:
        ResidentNumber.parse(text)
    except ValueError:
        return False
    return True


def resident_check_digit(first_17: str) -> str:
    """Return the 18th place of a resident number (ISO 7064, MOD 11-2).

    >>> resident_check_digit("11010519491231002")  # the example of GB 11643-1999
    'X'

    Raises:
        ValueError: not 17 digits.
    """
    if not re.fullmatch(r"[0-9]{17}", first_17):
        raise ValueError("the check digit is computed from 17 digits")
    total = sum(weight * int(digit) for weight, digit in zip(_RESIDENT_WEIGHTS, first_17, strict=True))
    return _RESIDENT_CHECKS[total % 11]


def upgrade_resident_number(number: str) -> str:
    """Return the 18-place form of a 15-digit number.

    The century is the 20th, except for the serials 996 to 999, which were kept for people already
    over a hundred: theirs is the 19th.

    >>> upgrade_resident_number("110105491231002")
    '11010519491231002X'

    Raises:
        ValueError: not 15 digits; whether the birth date exists is `ResidentNumber`'s business.
    """
    if not _OLD_RESIDENT.fullmatch(number):
        raise ValueError("an old resident number is 15 digits")
    century = "18" if number[12:] in _CENTENARIANS else "19"
    first_17 = number[:6] + century + number[6:]
    return first_17 + resident_check_digit(first_17)


def is_organisation_code(text: str) -> bool:
    """Return whether `text` is a well-formed organisation code (GB 11714), hyphen or not."""
    code = normalise(text)
    return bool(_ORGANISATION.fullmatch(code)) and code[8] == organisation_check_digit(code[:8])


def organisation_check_digit(first_8: str) -> str:
    """Return the ninth place of an organisation code.

    >>> organisation_check_digit("D2143569")  # the example of GB 11714-1997
    'X'

    Raises:
        ValueError: not eight digits and capital letters.
    """
    if not re.fullmatch(r"[0-9A-Z]{8}", first_8):
        raise ValueError("the check digit is computed from eight digits and capital letters")
    total = sum(weight * int(place, 36) for weight, place in zip(_ORGANISATION_WEIGHTS, first_8, strict=True))
    return "0123456789X"[-total % 11]


def is_credit_code(text: str) -> bool:
    """Return whether `text` is a well-formed unified social credit code (GB 32100).

    Its places 9 to 17 are the organisation code; those are checked too.
    """
    code = normalise(text)
    return (
        bool(_CREDIT.fullmatch(code))
        and code[17] == credit_check_character(code[:17])
        and is_organisation_code(code[8:17])
    )


def credit_check_character(first_17: str) -> str:
    """Return the 18th place of a unified social credit code.

    Raises:
        ValueError: not 17 characters of the standard's alphabet.
    """
    if len(first_17) != 17 or not set(first_17) <= set(_CREDIT_ALPHABET):
        raise ValueError("the check character is computed from 17 places of the standard's alphabet")
    total = sum(
        weight * _CREDIT_ALPHABET.index(place)
        for weight, place in zip(_CREDIT_WEIGHTS, first_17, strict=True)
    )
    return _CREDIT_ALPHABET[-total % 31]


@dataclass(frozen=True, kw_only=True)
class InstitutionCode:
    """A well-formed 22-place code of a health institution and what its places tell."""

    code: str

    def __post_init__(self) -> None:
        if not _INSTITUTION.fullmatch(self.code):
            raise ValueError(
                "an institution code is organisation 9, division 6, economy 2, type 4, management 1"
            )
        if not is_organisation_code(self.code[:9]):
            raise ValueError("the check digit of the organisation code is wrong")

    @property
    def organisation_code(self) -> str:
        """The organisation code (GB 11714)."""
        return self.code[:9]

    @property
    def division_code(self) -> str:
        """The county (GB/T 2260)."""
        return self.code[9:15]

    @property
    def economic_type(self) -> str:
        """The economic type (GB/T 12402)."""
        return self.code[15:17]

    @property
    def type(self) -> str:
        """The kind of institution (WS 218), for example `A100`."""
        return self.code[17:21]

    @property
    def management_type(self) -> str:
        """1 not for profit, 2 for profit, 9 other."""
        return self.code[21]


class DivisionLevel(StrEnum):
    """How deep a division lies."""

    PROVINCE = "province"
    CITY = "city"
    COUNTY = "county"
    TOWNSHIP = "township"
    VILLAGE = "village"


_LEVELS = {
    2: DivisionLevel.PROVINCE,
    4: DivisionLevel.CITY,
    6: DivisionLevel.COUNTY,
    9: DivisionLevel.TOWNSHIP,
    12: DivisionLevel.VILLAGE,
}


def division_prefix(code: str) -> str:
    """Return the digits that every division inside `code` begins with (and `code` itself).

    >>> division_prefix("430000"), division_prefix("430100"), division_prefix("430102001000")
    ('43', '4301', '430102001')

    Raises:
        ValueError: not 2, 4, 6, 9 or 12 digits that name a place.
    """
    if not _DIVISION.fullmatch(code):
        raise ValueError("a division code has 2, 4, 6, 9 or 12 digits")
    prefix = code
    for length, zeros in ((12, "000"), (9, "000"), (6, "00"), (4, "00")):
        if len(prefix) == length and prefix.endswith(zeros):
            prefix = prefix[: -len(zeros)]
    return prefix


def division_level(code: str) -> DivisionLevel:
    """Return how deep the division lies; trailing zeros do not count.

    Raises:
        ValueError: not a division code.
    """
    return _LEVELS[len(division_prefix(code))]


def division_within(code: str, outer: str) -> bool:
    """Return whether the division `code` lies in `outer` or is the same.

    Raises:
        ValueError: one of them is not a division code.
    """
    return division_prefix(code).startswith(division_prefix(outer))


class DocumentKind(StrEnum):
    """Kinds of identity document (CV02.01.101; 08 to 10 as electronic health cards add them)."""

    RESIDENT_CARD = "01"
    HOUSEHOLD_BOOK = "02"
    PASSPORT = "03"
    OFFICER_CARD = "04"
    DRIVING_LICENCE = "05"
    HONG_KONG_MACAU_PERMIT = "06"
    TAIWAN_PERMIT = "07"
    BIRTH_CERTIFICATE = "08"
    RESIDENCE_PERMIT = "09"
    PERMANENT_RESIDENCE = "10"
    OTHER = "99"


# Passports: China's are E, D, G, P or S (and EA.. since 2018) with eight or seven digits; abroad everything
# from five to twelve places occurs. Permits carry a count of issues in two further digits that
# changes at renewal while the first part stays the person's.
_SHAPES = {
    DocumentKind.PASSPORT: re.compile(r"(?=.*\d)[A-Z0-9]{5,12}", re.ASCII),
    DocumentKind.HONG_KONG_MACAU_PERMIT: re.compile(r"([HM]\d{8})(?:\d{2})?", re.ASCII),
    DocumentKind.TAIWAN_PERMIT: re.compile(r"(\d{8})(?:\d{2})?(?:\([A-Z]\))?", re.ASCII),
    DocumentKind.BIRTH_CERTIFICATE: re.compile(r"[A-Z]\d{9}", re.ASCII),
    DocumentKind.PERMANENT_RESIDENCE: re.compile(r"[A-Z]{3}\d{12}", re.ASCII),
    DocumentKind.HOUSEHOLD_BOOK: re.compile(r"[A-Z0-9]{4,20}", re.ASCII),
    DocumentKind.OFFICER_CARD: re.compile(r"[一-鿿]{0,4}字?第?[A-Z0-9]{4,12}号?"),
    DocumentKind.OTHER: re.compile(r"[^\s]{4,40}"),
}
_RESIDENT_FORM = frozenset(
    {
        DocumentKind.RESIDENT_CARD,
        DocumentKind.DRIVING_LICENCE,
        DocumentKind.RESIDENCE_PERMIT,
        DocumentKind.PERMANENT_RESIDENCE,
    }
)


def read_document_number(kind: DocumentKind, text: str) -> str | None:
    """Return the lasting part of a document's number in its standard form, or `None` if it cannot be one.

    Kinds that carry a resident number are checked and given as 18 places; permits for Hong Kong,
    Macau and Taiwan lose the count of issues, which changes at every renewal.

    >>> read_document_number(DocumentKind.HONG_KONG_MACAU_PERMIT, "h12345678 01")
    'H12345678'
    """
    number = normalise(text)
    if kind in _RESIDENT_FORM and is_resident_number(number):
        return ResidentNumber.parse(number).number
    shape = _SHAPES.get(kind)
    found = shape.fullmatch(number) if shape else None
    if not found:
        return None
    return found[1] if found.re.groups else number


def _is_day(digits: str) -> bool:
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year >= 1800
    except ValueError:
        return False
