"""Guess what each column of a foreign table tells of a person: by its heading, then by its values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc


class Role(StrEnum):
    """What a column tells."""

    RECORD = "record"  # the row's own id: never compared
    TRUTH = "truth"  # who it truly is: never looked at in linking
    IGNORED = "ignored"  # says nothing of a person
    GIVEN_NAME = "given_name"
    SURNAME = "surname"
    NAME = "name"
    BIRTH_DATE = "birth_date"
    BIRTH_DAY = "birth_day"
    BIRTH_MONTH = "birth_month"
    BIRTH_YEAR = "birth_year"
    SEX = "sex"
    RESIDENT_NUMBER = "resident_number"
    NUMBER = "number"
    PHONE = "phone"
    EMAIL = "email"
    ADDRESS = "address"
    PLACE = "place"
    CODE = "code"
    CATEGORY = "category"
    INSTITUTION = "institution"
    LOCAL_NUMBER = "local_number"
    DOCUMENT_TYPE = "document_type"


@dataclass(frozen=True, kw_only=True)
class ColumnRole:
    """The role a column was given."""

    column: str
    role: Role


# The first that is found in the heading (lower case, words parted by one blank) counts; the order matters.
_HEADINGS: tuple[tuple[Role, str], ...] = (
    (Role.IGNORED, r"\bexpected\b|\btest case\b|\bresult\b|\bcluster\b|\bgroup\b|备注|\bcomment"),
    (Role.SURNAME, r"\bsurname|\blast( ?name)?\b|\bfamily( ?name)?\b|\blname\b|^姓$|姓氏"),
    (Role.GIVEN_NAME, r"\bgiven|\bfirst( ?name)?\b|\bforename|\bfname\b|^名$|名字"),
    (Role.SURNAME, r"\bmaiden|\bmother s name"),
    (Role.CATEGORY, r"\bsuffix|\brace\b|\bethnic|民族|\bprefix\b|\btitle\b|\bmarital|婚姻"),
    (Role.EMAIL, r"\be ?mail"),
    (Role.PHONE, r"\bphone|\btel\b|\btelephone|\bmobile|电话|手机"),
    (Role.DOCUMENT_TYPE, r"\bdocument type|证件类型|证件类别"),
    (Role.RESIDENT_NUMBER, r"\bresident number|\bid ?card|身份证"),
    (
        Role.NUMBER,
        r"\bssn\b|\bsoc|\bnhs\b|\bmrn\b|\bpassport|\bdocument number|\binsurance|\bmedicare|证件号",
    ),
    (Role.LOCAL_NUMBER, r"\blocal number|\bpatient (number|id|no)\b|病案号|就诊号|患者编号"),
    (Role.INSTITUTION, r"\binstitution|\bhospital|\bfacility|机构"),
    (Role.BIRTH_DATE, r"\bbirth ?date|\bdate of birth|\bdob\b|\bborn\b|出生日期|生日"),
    (Role.BIRTH_YEAR, r"^(birth )?year( of birth)?$|^by$|^yob$"),
    (Role.BIRTH_MONTH, r"^(birth )?month( of birth)?$|^bm$"),
    (Role.BIRTH_DAY, r"^(birth )?day( of birth)?$|^bd$"),
    (Role.SEX, r"\bsex\b|\bgender|性别"),
    (Role.CODE, r"\bpost ?code|\bzip|\bstreet (number|no)\b|\bhouse (number|no)\b|邮编"),
    (Role.PLACE, r"\bcity|\btown|\bsuburb|\bcounty|\bstate\b|\bprovince|\bcountry|\bbirth ?place|\bregion"),
    (Role.ADDRESS, r"\baddress|\bstreet|\broad|地址|住址"),
    (Role.NAME, r"\bname\b|\bfull name|姓名"),
)
_RECORD_HEADINGS = ("record_id", "rec_id", "unique_id", "record", "id")
_SAMPLE = 5000
_ID_HEADING = re.compile(r"(^|\b)(id|uuid|index|row|no|seq)$")


def guess_roles(table: pa.Table, *, truth: Sequence[str] = ()) -> tuple[ColumnRole, ...]:
    """Return a role for every column of the table (all texts), in order; those of `truth` stay unseen."""
    record = record_column(table, truth=truth)
    return tuple(
        ColumnRole(
            column=column,
            role=(
                Role.TRUTH
                if column in truth
                else Role.RECORD
                if column == record
                else _role(column, table[column])
            ),
        )
        for column in table.column_names
    )


def record_column(table: pa.Table, *, truth: Sequence[str] = ()) -> str:
    """Return the column that names the rows: one of `_RECORD_HEADINGS`, else the first."""
    headings = {column.lower(): column for column in table.column_names if column not in truth}
    for heading in _RECORD_HEADINGS:
        if heading in headings:
            return headings[heading]
    return next((column for column in table.column_names if column not in truth), "")


def _role(column: str, values: pa.ChunkedArray) -> Role:
    heading = " ".join(re.sub(r"([a-z])([A-Z])", r"\1 \2", column).lower().replace("_", " ").split())
    heading = re.sub(r"[^\w ]+", " ", heading).strip()
    sample = _sample(values)
    if not sample or len(set(sample)) < 2:
        return Role.IGNORED
    for role, pattern in _HEADINGS:
        if re.search(pattern, heading):
            return role
    if _ID_HEADING.search(heading):
        return Role.IGNORED
    return _role_of_values(sample)


def _sample(values: pa.ChunkedArray) -> list[str]:
    step = max(1, len(values) // _SAMPLE)
    sample = pc.cast(values.take(pa.array(range(0, len(values), step))), pa.string()).to_pylist()
    return [text.strip() for text in sample if text and text.strip()]


_DATE = re.compile(r"(1[89]|20)\d\d[-/.]?[01]\d[-/.]?[0-3]\d|[0-3]?\d[-/.][01]?\d[-/.](1[89]|20)\d\d")


def _role_of_values(sample: Sequence[str]) -> Role:
    """Return the role that most values look like."""

    def share(pattern: str | re.Pattern[str]) -> float:
        return sum(1 for text in sample if re.fullmatch(pattern, text)) / len(sample)

    if share(r"\d{17}[\dXx]|\d{15}") > 0.5:
        return Role.RESIDENT_NUMBER
    if share(_DATE) > 0.5:
        return Role.BIRTH_DATE
    if share(r"[^@\s]+@[^@\s]+") > 0.5:
        return Role.EMAIL
    if share(r"\+?[\d ()-]{7,16}") > 0.5:
        return Role.NUMBER
    if share(r"[\u3400-\u9fff·]{2,5}") > 0.5:
        return Role.NAME
    distinct = len(set(sample))
    if distinct <= 20 and distinct * 10 <= len(sample):
        return Role.CATEGORY
    if share(r"[\d.\-/]+") > 0.5:
        return Role.CODE
    return Role.ADDRESS
