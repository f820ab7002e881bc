"""The first page: what arrived, from whom, how good it was, and who is silent."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from kangshu.console.charts import BarRow, Day, bar_rows, day_columns
from kangshu.console.formats import number, weekday
from kangshu.console.overview_figures import Figures, FiguresCache
from kangshu.console.pages.receipts import dataset_titles
from kangshu.console.reach import names, own_codes
from kangshu.console.visits import Visit, page
from kangshu.intake import DayCount, list_receipts
from kangshu.security.principals import Permission, ReachKind

_LATEST = 8
_SILENT = 8


@dataclass(frozen=True, kw_only=True)
class DivisionRow:
    """One division with its bar; without a code, the institutions that lie in none."""

    code: str | None
    name: str
    institutions: int
    reporting: int
    rows: int
    rejected: int
    bar: BarRow


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """One data set with its bar."""

    name: str
    title: str
    institutions: int
    accepted: int
    rejected: int
    bar: BarRow


async def show_overview(visit: Visit) -> Response:
    """Show the figures within the visitor's reach."""
    cache: FiguresCache = visit.request.app.state.figures
    figures = await cache.get(visit)
    sees_receipts = visit.staff.may(Permission.SEE_RECEIPTS)
    async with visit.services.database.connection() as connection:
        latest = (
            await list_receipts(connection, institutions=await own_codes(visit, connection), limit=_LATEST)
            if sees_receipts
            else []
        )
        institution_names = await names(connection, (receipt.institution for receipt in latest))
    return visit.page(
        "overview.html",
        scope_text=scope_text(visit),
        may_upload=visit.staff.may(Permission.SUBMIT_DATA),
        sees_receipts=sees_receipts,
        figures=figures,
        days=figures.days,
        any_days=any(day.files for day in figures.days),
        day_chart=day_columns([_day(visit, day, linked=sees_receipts) for day in figures.days]),
        day_summary=_day_summary(visit, figures),
        divisions=_division_rows(visit, figures),
        datasets=_dataset_rows(visit, figures),
        latest=latest,
        institution_names=institution_names,
        dataset_titles=dataset_titles(visit),
        silent=figures.silent[:_SILENT],
        silent_count=len(figures.silent),
    )


def scope_text(visit: Visit) -> str:
    """Return how far the visitor's figures reach."""
    if visit.staff.region_wide:
        return visit.say("overview.scope_region")
    kinds = {reach.kind for reach in visit.staff.reaches}
    if kinds <= {ReachKind.INSTITUTION, ReachKind.DEPARTMENT}:
        return visit.say("overview.scope_institution")
    return visit.say("overview.scope_division")


def _day(visit: Visit, day: DayCount, *, linked: bool) -> Day:
    label = f"{day.day.month}/{day.day.day}" if visit.language == "zh" else f"{day.day:%-d %b}"
    title = visit.say(
        "overview.day_title",
        day=f"{day.day.isoformat()} {weekday(day.day, language=visit.language)}",
        accepted=number(day.accepted),
        rejected=number(day.rejected),
        files=number(day.files),
    )
    href = f"/console/receipts?day={day.day.isoformat()}" if linked else ""
    return Day(label=label, title=title, accepted=day.accepted, rejected=day.rejected, href=href)


def _day_summary(visit: Visit, figures: Figures) -> str:
    busiest = max(figures.days, key=lambda day: day.rows)
    return visit.say(
        "overview.day_summary",
        first=figures.days[0].day.isoformat(),
        last=figures.days[-1].day.isoformat(),
        accepted=number(sum(day.accepted for day in figures.days)),
        rejected=number(sum(day.rejected for day in figures.days)),
        busiest=busiest.day.isoformat(),
        most=number(busiest.rows),
    )


def _division_rows(visit: Visit, figures: Figures) -> list[DivisionRow]:
    bars = bar_rows([(one.accepted, one.rejected) for one in figures.divisions])
    return [
        DivisionRow(
            code=one.code,
            name=one.name or visit.say("overview.elsewhere"),
            institutions=one.institutions,
            reporting=one.reporting,
            rows=one.rows,
            rejected=one.rejected,
            bar=bar,
        )
        for one, bar in zip(figures.divisions, bars, strict=True)
    ]


def _dataset_rows(visit: Visit, figures: Figures) -> list[DatasetRow]:
    titles = dataset_titles(visit)
    bars = bar_rows([(one.accepted, one.rejected) for one in figures.datasets])
    return [
        DatasetRow(
            name=one.dataset,
            title=titles.get(one.dataset, one.dataset),
            institutions=one.institutions,
            accepted=one.accepted,
            rejected=one.rejected,
            bar=bar,
        )
        for one, bar in zip(figures.datasets, bars, strict=True)
    ]


routes = [page("/", show_overview, may=Permission.SEE_OVERVIEW)]
