"""Places, institutions, departments and populations, as the centre lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from kangshu.kernel.texts import Text
from kangshu.standards.identifiers import DivisionLevel, division_level, division_prefix

HEALTH_INFORMATION_CENTRE = "P918"  # WS 218: 卫生统计信息中心
TOWNSHIP_CENTRE_TYPES = ("B1", "C1", "C2")  # 社区卫生服务中心, 街道卫生院, 乡镇卫生院
VILLAGE_UNIT_TYPES = ("B2", "D6")  # 社区卫生服务站, 村卫生室


@dataclass(frozen=True, kw_only=True)
class Division:
    """An administrative division. `code` is as listed, with or without trailing zeros."""

    code: str
    name: str
    parent: str | None = None

    def __post_init__(self) -> None:
        division_prefix(self.code)

    @property
    def prefix(self) -> str:
        """The digits with which every code inside begins; the division's one identity."""
        return division_prefix(self.code)

    @property
    def level(self) -> DivisionLevel:
        """Province, city, county, township or village."""
        return division_level(self.code)


@dataclass(frozen=True, kw_only=True)
class Institution:
    """An institution of the region.

    `type` is a code of WS 218, `level` of hospital_grade. A `provisional` one has sent data but is on no
    list yet: what is known of it comes from its code, and its code stands for its name.
    """

    code: str
    name: str
    short_name: str | None = None
    division_code: str | None = None
    level: str | None = None
    type: str | None = None
    economic_type: str | None = None
    host: str | None = None
    opened_on: date | None = None
    beds: int | None = None
    staff: int | None = None
    vendor: str | None = None
    provisional: bool = False
    first_seen_at: datetime | None = None

    @property
    def label(self) -> str:
        """The shortest name that people know it by."""
        return self.short_name or self.name

    @property
    def is_centre(self) -> bool:
        """Whether this is a health information centre, which reports for all."""
        return self.type == HEALTH_INFORMATION_CENTRE

    @property
    def is_village_unit(self) -> bool:
        """Whether this is a station or village clinic, for which its township's centre may report."""
        return (self.type or "")[:2] in VILLAGE_UNIT_TYPES


@dataclass(frozen=True, kw_only=True)
class Department:
    """A department (诊疗科目)."""

    code: str
    title: Text
    parent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Population:
    """How many people of a sex and age group lived in a division at the end of a year.

    `age_to` is inclusive and `None` for the highest group.
    """

    division_code: str
    year: int
    sex: str
    age_from: int
    age_to: int | None
    residents: int
