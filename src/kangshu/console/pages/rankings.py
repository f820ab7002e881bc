"""The ranking of institutions by the quality of a month: in the region, a division, a type or a level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from starlette.responses import Response

from kangshu.console.acts import EXPORT, note
from kangshu.console.errors import PageNotFoundError
from kangshu.console.exporting import csv_answer, xlsx_answer
from kangshu.console.formats import share
from kangshu.console.pages.institutions import division_choices, level_choices, meaning
from kangshu.console.paging import address, numbered_page
from kangshu.console.reach import own_codes, own_institutions
from kangshu.console.visits import Visit, page
from kangshu.declarations import Band, Dimension
from kangshu.directory import Institution, list_divisions, names_of
from kangshu.kernel.periods import Period
from kangshu.quality import list_months
from kangshu.quality.plausibility import add_months
from kangshu.quality.rectifying import local_day
from kangshu.quality.scoring import Ranked, band_of, comparable, ranking
from kangshu.security.principals import Permission
from kangshu.standards.identifiers import DivisionLevel
from kangshu.storage.database import Connection

HOME = "/console/quality"
_PER_PAGE = 100
_TYPE_PLACES = 2  # of a WS 218 code: A1 general hospitals, B1 community centres


@dataclass(frozen=True, kw_only=True)
class RankingFilters:
    """Who is ranked, and by what, as the form gave it; empty means everybody and everything."""

    month: date
    division: str = ""
    kind: str = ""
    level: str = ""
    dataset: str = ""

    @property
    def words(self) -> dict[str, str]:
        """The filters as words of an address."""
        return {"month": f"{self.month:%Y-%m}", **self.narrowing}

    @property
    def narrowing(self) -> dict[str, str]:
        """Those that leave somebody or something out."""
        return {"division": self.division, "kind": self.kind, "level": self.level, "dataset": self.dataset}


@dataclass(frozen=True, kw_only=True)
class RankRow:
    """One line of the ranking; `before` is the score of the month before."""

    place: int
    tied: bool
    code: str
    name: str
    level: str
    href: str
    total: float
    before: float | None
    change: float | None
    climbed: int | None
    band: str
    tone: str
    expected: int
    arrived: int
    rows: int
    rejected: int
    points: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A figure with the width of its bar, in percent."""

    title: str
    value: float
    width: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A ranking as the page and the exports need it: all places, and those within the visitor's reach."""

    months: Sequence[date]
    whole: Sequence[Ranked]
    shown: Sequence[Ranked]
    names: Mapping[str, str]
    institutions: Mapping[str, Institution]
    choices: Mapping[str, list[tuple[str, str]]]


async def show_ranking(visit: Visit) -> Response:
    """Show who stands where, how that changed, and what did not arrive."""
    async with visit.services.database.connection() as connection:
        filters = await _filters(visit, connection)
        found = await _find(visit, connection, filters)
    dimensions = _dimensions(found.whole)
    part = numbered_page(
        found.shown, path=HOME, query=filters.words, asked=visit.query.get("page"), size=_PER_PAGE
    )
    return visit.page(
        "rankings.html",
        filters=filters,
        narrowed=any(filters.narrowing.values()),
        everyone=address(HOME, {"month": f"{filters.month:%Y-%m}"}),
        rows=[_row(visit, one, found, dimensions, filters) for one in part.items],
        dimensions=[visit.say(f"dimension.{one}") for one in dimensions],
        first=part.first,
        last=part.last,
        total=part.total,
        whole=len(found.whole),
        own_only=len(found.shown) < len(found.whole),
        newer=part.newer,
        older=part.older,
        mean=_mean([one.total for one in found.whole]),
        expected=sum(one.score.expected for one in found.whole),
        arrived=sum(one.score.arrived for one in found.whole),
        arrived_rows=sum(one.score.rows for one in found.whole),
        rejected_rows=sum(one.score.rejected for one in found.whole),
        bands=_band_bars(visit, found.whole),
        means=_dimension_bars(visit, found.whole, dimensions),
        month_choices=[(f"{month:%Y-%m}", f"{month:%Y-%m}") for month in found.months],
        csv=address(f"{HOME}/ranking.csv", filters.words),
        xlsx=address(f"{HOME}/ranking.xlsx", filters.words),
        division_choices=found.choices["division"],
        kind_choices=found.choices["kind"],
        level_choices=found.choices["level"],
        dataset_choices=found.choices["dataset"],
    )


async def export_csv(visit: Visit) -> Response:
    """Send the whole ranking as CSV."""
    filters, lines = await _export(visit)
    return csv_answer(f"ranking-{filters.month:%Y-%m}.csv", lines)


async def export_xlsx(visit: Visit) -> Response:
    """Send the whole ranking as XLSX."""
    filters, lines = await _export(visit)
    return xlsx_answer(
        f"ranking-{filters.month:%Y-%m}.xlsx",
        lines,
        title=f"{visit.say('nav.rankings')} {filters.month:%Y-%m}",
    )


async def _export(visit: Visit) -> tuple[RankingFilters, list[list[object]]]:
    async with visit.services.database.transaction() as connection:
        filters = await _filters(visit, connection)
        found = await _find(visit, connection, filters)
        await note(connection, visit, EXPORT, resource="quality-ranking", detail={"filters": filters.words})
    dimensions = _dimensions(found.whole)
    columns = ("place", "institution", "institution_name", "level", "score", "change", "climbed")
    figures = ("due", "arrived", "rows", "rejected")
    heads = [visit.say(f"export.{name}") for name in (*columns, *figures)]
    lines: list[list[object]] = [[*heads, *(visit.say(f"dimension.{one}") for one in dimensions)]]
    for one in found.shown:
        row = _row(visit, one, found, dimensions, filters)
        said = (row.place, row.code, row.name, row.level, row.total, row.change, row.climbed)
        lines.append([*said, row.expected, row.arrived, row.rows, row.rejected, *row.points])
    return filters, lines


async def _filters(visit: Visit, connection: Connection) -> RankingFilters:
    return RankingFilters(
        month=await asked_month(visit, connection),
        division=_word(visit, "division"),
        kind=_word(visit, "kind"),
        level=_word(visit, "level"),
        dataset=name if (name := _word(visit, "dataset")) in visit.services.pack.datasets else "",
    )


async def asked_month(visit: Visit, connection: Connection) -> date:
    """Return the month that the address names, or the latest one that is over and has data.

    Raises:
        PageNotFoundError: what it names is no month.
    """
    if text := visit.query.get("month", ""):
        return month_of(text)
    months = await list_months(connection)
    current = local_day(visit.now).replace(day=1)
    return next((month for month in months if month < current), add_months(current, -1))


def month_of(text: str) -> date:
    """Return the first day of the month written as 2026-03.

    Raises:
        PageNotFoundError: it is no month.
    """
    try:
        period = Period.parse(text)
    except ValueError:
        raise PageNotFoundError from None
    # A century of room on both sides, since months around it are looked at too.
    if f"{period.start:%Y-%m}" != text or not 1900 < period.start.year < 2200:
        raise PageNotFoundError
    return period.start


async def _find(visit: Visit, connection: Connection, filters: RankingFilters) -> _Found:
    """Return the ranking among those whom the filters name.

    Who looks after a region or a division ranks what lies within; an institution has its place among all,
    and sees no other's.
    """
    own = await own_codes(visit, connection)
    institutions = {one.code: one for one in await own_institutions(visit, connection)}
    try:
        among = await comparable(
            connection, division=filters.division, kind=filters.kind, level=filters.level
        )
    except ValueError:
        raise PageNotFoundError from None
    if own is not None and visit.staff.divisions:
        among = frozenset(own) if among is None else among & frozenset(own)
    whole = await ranking(
        connection,
        pack=visit.services.pack,
        month=filters.month,
        now=local_day(visit.now),
        among=among,
        dataset=filters.dataset or None,
    )
    within = None if own is None else frozenset(own)
    shown = [one for one in whole if within is None or one.institution in within]
    months = await list_months(connection, institutions=own)
    return _Found(
        months=sorted({*months, filters.month}, reverse=True),
        whole=whole,
        shown=shown,
        names=await names_of(connection, codes=[one.institution for one in shown]),
        institutions=institutions,
        choices=await _choices(visit, connection, list(institutions.values())),
    )


async def _choices(
    visit: Visit, connection: Connection, institutions: Sequence[Institution]
) -> dict[str, list[tuple[str, str]]]:
    divisions = {
        division.prefix: division.name
        for level in (DivisionLevel.CITY, DivisionLevel.COUNTY)
        for division in await list_divisions(connection, level=level)
    }
    kinds = sorted({one.type[:_TYPE_PLACES] for one in institutions if one.type})
    expected = {one.dataset for one in visit.services.pack.quality.expectations}
    datasets = visit.services.pack.datasets
    return {
        "division": division_choices(institutions, divisions),
        "kind": [(kind, meaning(visit, "type", kind)) for kind in kinds],
        "level": level_choices(visit, institutions),
        "dataset": [(name, visit.own(datasets[name].title)) for name in sorted(expected) if name in datasets],
    }


def _row(
    visit: Visit, one: Ranked, found: _Found, dimensions: Sequence[Dimension], filters: RankingFilters
) -> RankRow:
    bands = sorted(visit.services.pack.quality.score.bands, key=lambda band: -band.least)
    band = band_of(one.total, bands=bands)
    institution = found.institutions.get(one.institution)
    return RankRow(
        place=one.place,
        tied=one.tied,
        code=one.institution,
        name=found.names.get(one.institution, one.institution),
        level=meaning(visit, "level", institution.level) if institution else "",
        href=address(f"{HOME}/institution/{one.institution}", {"month": f"{filters.month:%Y-%m}"}),
        total=one.total,
        before=None if one.change is None else round(one.total - one.change, 2),
        change=one.change,
        climbed=one.climbed,
        band=visit.own(band.title) if band else "",
        tone=_tone(band, bands),
        expected=one.score.expected,
        arrived=one.score.arrived,
        rows=one.score.rows,
        rejected=one.score.rejected,
        points=tuple(one.score.by_dimension.get(dimension) for dimension in dimensions),
    )


def _tone(band: Band | None, bands: Sequence[Band]) -> str:
    """The best band is good, the lowest (or none) is bad, those between say neither."""
    if band is None or (len(bands) > 1 and band == bands[-1]):
        return "bad" if bands else ""
    return "ok" if band == bands[0] else ""


def _band_bars(visit: Visit, places: Sequence[Ranked]) -> list[Bar]:
    """Return how many institutions lie in each band, the best first."""
    bands = sorted(visit.services.pack.quality.score.bands, key=lambda band: -band.least)
    upper, bars = None, []
    for band in bands:
        count = sum(band_of(one.total, bands=bands) == band for one in places)
        span = visit.say("rankings.from", least=f"{band.least:g}") if upper is None else ""
        span = span or visit.say("rankings.span", least=f"{band.least:g}", upper=f"{upper:g}")
        bars.append(Bar(title=visit.own(band.title), value=count, width=share(count, len(places)), note=span))
        upper = band.least
    below = sum(band_of(one.total, bands=bands) is None for one in places)
    if below and upper is not None:
        title = visit.say("rankings.below")
        note_text = visit.say("rankings.under", upper=f"{upper:g}")
        bars.append(Bar(title=title, value=below, width=share(below, len(places)), note=note_text))
    return bars


def _dimension_bars(visit: Visit, places: Sequence[Ranked], dimensions: Sequence[Dimension]) -> list[Bar]:
    bars: list[Bar] = []
    for dimension in dimensions:
        known = [one.score.by_dimension[dimension] for one in places if dimension in one.score.by_dimension]
        mean = _mean(known)
        if mean is not None:
            bars.append(Bar(title=visit.say(f"dimension.{dimension}"), value=mean, width=mean))
    return bars


def _dimensions(places: Sequence[Ranked]) -> list[Dimension]:
    return [one for one in Dimension if any(one in place.score.by_dimension for place in places)]


def _mean(totals: Sequence[float]) -> float | None:
    """Return the mean of published scores, cut to two decimals as they are."""
    return sum(round(total * 100) for total in totals) // len(totals) / 100 if totals else None


def _word(visit: Visit, name: str) -> str:
    return visit.query.get(name, "").strip()[:40]


routes = [
    page("/quality", show_ranking, may=Permission.SEE_QUALITY),
    page("/quality/ranking.csv", export_csv, may=Permission.SEE_QUALITY),
    page("/quality/ranking.xlsx", export_xlsx, may=Permission.SEE_QUALITY),
]
