"""How institutions send: headings, format, encoding, file names, how often; by institution number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kangshu.declarations import Dataset, Field
from kangshu.simulation.errors import MIDDLE_DOTS, PROFILE_ORDER, PROFILES, Profile
from kangshu.simulation.front_page import REPEAT
from kangshu.simulation.region import Kind, Region
from kangshu.simulation.streams import Flags, Floats, Ints

XLSX_ROWS = 3_000
"""A workbook with more rows is sent as CSV instead."""

_MOST_XLSX = 12  # workbooks are slow to write; a handful of senders is enough to show them


@dataclass(frozen=True, kw_only=True)
class Style:
    """One vendor's way of exporting.

    `headings` is `zh`, `en` or `code` (the standard's field codes, English names where there are none);
    `page_codes` names the columns of front pages by code whatever the other data sets have. `form` is
    `csv`, `xlsx` or `parquet`. `quoted` puts every text into quotes.
    """

    name: str
    headings: str
    form: str = "csv"
    encoding: str = "utf-8"
    delimiter: str = ","
    line_end: str = "\n"
    quoted: bool = False
    packed: bool = False
    chinese_names: bool = False
    line_breaks: bool = True
    page_codes: bool = False

    @property
    def suffix(self) -> str:
        """The ending of file names."""
        plain = {"csv": ".csv", "xlsx": ".xlsx", "parquet": ".parquet"}[self.form]
        if self.form == "csv" and self.delimiter != ",":
            plain = ".txt"
        return f"{plain}.zip" if self.packed else plain

    @property
    def legacy(self) -> bool:
        """Whether the system behind it knows GBK only."""
        return self.encoding == "gb18030"


STYLES = {
    style.name: style
    for style in (
        Style(
            name="windows",
            headings="zh",
            encoding="utf-8-sig",
            quoted=True,
            chinese_names=True,
            page_codes=True,
        ),
        Style(name="plain", headings="en", line_breaks=False),
        Style(
            name="gb",
            headings="zh",
            encoding="gb18030",
            line_end="\r\n",
            chinese_names=True,
            line_breaks=False,
        ),
        Style(name="codes", headings="code", quoted=True),
        Style(name="pipe", headings="zh", delimiter="|", line_breaks=False, page_codes=True),
        Style(name="tab", headings="en", delimiter="\t", line_end="\r\n", line_breaks=False),
        Style(name="packed", headings="zh", encoding="gb18030", quoted=True, packed=True, chinese_names=True),
        Style(name="parquet", headings="en", form="parquet"),
        Style(name="workbook", headings="zh", form="xlsx", chinese_names=True),
        Style(name="old codes", headings="code", encoding="gb18030", line_end="\r\n", quoted=True),
    )
}

_OF_HOSPITALS = (
    "codes",
    "windows",
    "gb",
    "pipe",
    "plain",
    "parquet",
    "packed",
    "tab",
    "old codes",
    "codes",
    "windows",
)
_OF_PRIMARY_CARE = ("workbook", "windows", "gb", "plain", "packed", "pipe", "tab", "windows", "gb", "codes")

SMALL = frozenset({"birth", "death", "operation", "immunization", "resident", "institution_month"})
"""Data sets with few rows: sent less often."""


@dataclass(frozen=True, kw_only=True)
class Senders:
    """The habits of every institution."""

    styles: list[Style]
    profiles: list[Profile]
    rates: Floats
    dots: Ints
    legacy: Flags
    text: Flags

    @classmethod
    def of(cls, region: Region) -> Senders:
        """Return habits that depend on the place in the directory alone."""
        kinds = region.institutions.kinds
        styles: list[Style] = []
        workbooks = hospitals = primary = 0
        for number in range(len(kinds)):
            if kinds[number] in (Kind.COMMUNITY, Kind.TOWNSHIP):
                name = _OF_PRIMARY_CARE[primary % len(_OF_PRIMARY_CARE)]
                primary += 1
                workbooks += name == "workbook"
                name = "windows" if name == "workbook" and workbooks > _MOST_XLSX else name
            else:
                name = _OF_HOSPITALS[hospitals % len(_OF_HOSPITALS)]
                hospitals += 1
            styles.append(STYLES[name])
        profiles = [PROFILES[PROFILE_ORDER[number % len(PROFILE_ORDER)]] for number in range(len(kinds))]
        return cls(
            styles=styles,
            profiles=profiles,
            rates=np.array([profile.rows for profile in profiles]),
            dots=np.arange(len(kinds)) * 5 % len(MIDDLE_DOTS),
            legacy=np.array([style.legacy for style in styles]),
            text=np.array([style.form == "csv" for style in styles]),
        )


def months_per_file(kind: Kind, dataset: str, months: int) -> int:
    """Return how many months go into one file: large senders send monthly, small ones once."""
    if kind == Kind.TERTIARY:
        wanted = 3 if dataset in SMALL else 1
    elif kind in (Kind.SECONDARY, Kind.CHINESE_MEDICINE, Kind.MATERNAL):
        wanted = 12 if dataset in SMALL else 3
    else:
        wanted = 12
    return min(wanted, months)


def heading_of(field: Field, style: Style, dataset: Dataset, repeat: int) -> str:
    """Return the heading of the `repeat`-th column of `field` (from 1)."""
    codes = style.headings == "code" or (style.page_codes and dataset.name == "front_page")
    if codes and field.code:
        return field.code.replace("x01", f"x{repeat:02d}", 1) if field.repeat > 1 else field.code
    if style.headings == "zh":
        return f"{field.title.zh}{repeat}" if field.repeat > 1 and repeat > 1 else field.title.zh
    return f"{field.name}_{repeat}" if field.repeat > 1 and repeat > 1 else field.name


def field_of(column: str) -> tuple[str, int]:
    """Return the field and the repeat that the block's column is."""
    name, _, repeat = column.partition(REPEAT)
    return name, int(repeat or 1)
