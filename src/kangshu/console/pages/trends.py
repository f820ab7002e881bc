"""All values of a laboratory item or vital sign over time: a picture with its reference band, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from kangshu.console.charts import TrendChart, TrendValue, trend_chart
from kangshu.console.errors import PageNotFoundError
from kangshu.console.openings import Access, enter_record, frame_of, know
from kangshu.console.reach import names
from kangshu.console.record_reading import reader_of
from kangshu.console.timeline import TREND_CODES, Badge, ShownMeasure, Writer
from kangshu.console.visits import Visit, page
from kangshu.records import Measure, Trend, TrendPoint, trend
from kangshu.security.principals import Permission

_POINTS_MOST = 500
_CODE_MOST = 300


@dataclass(frozen=True, kw_only=True)
class TrendRow:
    """One value in the table."""

    at: datetime
    measure: ShownMeasure
    badge: Badge | None
    institution: str
    history: str | None


@dataclass(frozen=True, kw_only=True)
class TrendSeries:
    """The values of one item in one unit: values in other units are no neighbours in a picture."""

    title: str
    code: str
    unit: str
    chart: TrendChart | None
    summary: str
    rows: tuple[TrendRow, ...]
    complete: bool


async def show_trend(visit: Visit) -> Response:
    """Show the items that the address names, each with all of its values."""
    codes = list(dict.fromkeys(visit.request.query_params.getlist("code")))[:TREND_CODES]
    if not codes or any(not code or len(code) > _CODE_MOST for code in codes):
        raise PageNotFoundError
    access = await enter_record(visit)
    if isinstance(access, Response):
        return access
    known = await know(visit, access)
    trends = [await _read(visit, access, code) for code in codes]
    async with visit.services.database.connection() as connection:
        places = {point.institution for one in trends for point in one.points}
        institution_names = await names(connection, places)
    writer = Writer(reader_of(visit, access, known, institution_names))
    series = [made for one in trends for made in _series(visit, one, writer)]
    return visit.page(
        "trend.html",
        frame=frame_of(visit, access, known),
        series=series,
        title=visit.join(dict.fromkeys(one.title for one in series)),
    )


async def _read(visit: Visit, access: Access, code: str) -> Trend:
    services = visit.services
    return await trend(
        services.database,
        services.engine,
        grant=access.grant,
        pack=services.pack,
        rows=services.rows,
        persons=access.persons,
        code=code,
        now=visit.now,
        limit=_POINTS_MOST,
    )


def _series(visit: Visit, told: Trend, writer: Writer) -> list[TrendSeries]:
    """Return one series for each unit; that of the newest value comes first."""
    by_unit: dict[str, list[TrendPoint]] = {}
    for point in reversed(told.points):
        by_unit.setdefault(point.unit or "", []).append(point)
    title = writer.reader.mask(told.title or told.code)
    return [
        _one_series(visit, told, title, unit, list(reversed(points)), writer)
        for unit, points in by_unit.items()
    ]


def _one_series(
    visit: Visit, told: Trend, title: str, unit: str, points: Sequence[TrendPoint], writer: Writer
) -> TrendSeries:
    rows = [_row(point, writer) for point in points]
    numbers = [point.number for point in points]
    return TrendSeries(
        title=title,
        code=told.code,
        unit=unit,
        chart=trend_chart([_value(point, row) for point, row in zip(points, rows, strict=True)]),
        summary=visit.say(
            "trend.summary",
            count=len(points),
            first=points[0].at.date().isoformat(),
            last=points[-1].at.date().isoformat(),
            lowest=f"{min(numbers):f}",
            highest=f"{max(numbers):f}",
            latest=f"{points[-1].number:f}",
            unit=unit,
        ),
        rows=tuple(reversed(rows)),
        complete=told.complete,
    )


def _row(point: TrendPoint, writer: Writer) -> TrendRow:
    measure = Measure(
        value=f"{point.number:f}",
        number=point.number,
        unit=point.unit,
        low=point.low,
        high=point.high,
        flag=point.flag,
    )
    kind, _, id_ = point.reference.partition("/")
    return TrendRow(
        at=point.at,
        measure=writer.measure(measure),
        badge=writer.badge(point.state),
        institution=writer.reader.place(point.institution),
        history=writer.reader.history(kind, id_) if point.source == "record" else None,
    )


def _value(point: TrendPoint, row: TrendRow) -> TrendValue:
    measure = row.measure
    words = (f"{point.at:%Y-%m-%d}", measure.value, measure.unit, measure.flag)
    return TrendValue(
        at=point.at,
        number=float(point.number),
        low=None if point.low is None else float(point.low),
        high=None if point.high is None else float(point.high),
        side=measure.side,
        tentative=row.badge is not None,
        title=" ".join(word for word in words if word),
    )


routes = [page("/persons/{id}/trend", show_trend, may=Permission.READ_RECORDS)]
