"""The catalogue of data: what the lake holds, how full, from where, for what; counts only, never a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from starlette.responses import Response

from kangshu.console.acts import EXPORT, note
from kangshu.console.charts import Day, DayColumns, day_columns
from kangshu.console.errors import PageNotFoundError
from kangshu.console.exporting import csv_answer, xlsx_answer
from kangshu.console.formats import number, percent
from kangshu.console.lineage import Node, Picture, Spark, lineage_picture, spark
from kangshu.console.pages.datasets import type_text
from kangshu.console.paging import address, numbered_page
from kangshu.console.reach import names, own_codes
from kangshu.console.visits import Visit, page
from kangshu.declarations import Dataset, Privacy
from kangshu.quality.catalogue import (
    Catalogue,
    Column,
    ColumnFigures,
    DatasetFigures,
    Lane,
    MonthFill,
    Source,
    Use,
    UseKind,
    catalogue_of,
    column_figures,
    dataset_figures,
    list_source_files,
    list_sources,
)
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_PER_PAGE = 50
_MONTHS = 13
_SOURCES = 20
_FILES = 15
_NODES = 6
_CATEGORIES = ("clinical", "registry", "directory", "sample")
_PATH = "/console/catalogue"
_NOTHING = ColumnFigures()


@dataclass(frozen=True, kw_only=True)
class CatalogueFilters:
    """What the catalogue is narrowed to, as the address says."""

    text: str = ""
    category: str = ""
    privacy: Privacy | None = None

    @property
    def words(self) -> dict[str, str]:
        """The filters as words of an address."""
        return {"text": self.text, "category": self.category, "privacy": self.privacy or ""}

    @property
    def of_columns(self) -> bool:
        """Whether single columns are asked for, not data sets."""
        return bool(self.text or self.privacy)


@dataclass(frozen=True, kw_only=True)
class Facet:
    """A choice that narrows the list: how many columns it leaves, and the way there (or back)."""

    title: str
    count: int
    href: str
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class DatasetLine:
    """One data set of the list."""

    dataset: Dataset
    figures: DatasetFigures
    spark: Spark | None


@dataclass(frozen=True, kw_only=True)
class ColumnLine:
    """One column of a list."""

    column: Column
    figures: ColumnFigures
    type: str
    href: str
    spark: Spark | None
    trend: str


@dataclass(frozen=True, kw_only=True)
class UseLine:
    """What uses a column, in words."""

    kind: UseKind
    id: str
    title: str
    href: str


@dataclass(frozen=True, kw_only=True)
class SourceLine:
    """What one institution gave."""

    source: Source
    name: str


async def show_catalogue(visit: Visit) -> Response:
    """Show the data sets, or the columns that a search finds."""
    filters, catalogue = _filters(visit), catalogue_of(visit.services.pack)
    found = catalogue.find(text=filters.text, category=filters.category, privacy=filters.privacy)
    part = numbered_page(
        found, path=_PATH, query=filters.words, asked=visit.query.get("page"), size=_PER_PAGE
    )
    async with visit.services.database.connection() as connection:
        codes = await own_codes(visit, connection)
        datasets = await dataset_figures(connection, pack=visit.services.pack, institutions=codes)
        figures = await _figures(visit, connection, part.items, codes) if filters.of_columns else {}
    lines = _dataset_lines(visit, datasets, filters)
    refreshed = [one.refreshed_at for one in datasets.values() if one.refreshed_at]
    return visit.page(
        "catalogue.html",
        filters=filters,
        query=address("", filters.words),
        whole=codes is None,
        groups=[
            (name, visit.say(f"category.{name}"), own)
            for name in _CATEGORIES
            if (own := [line for line in lines if line.dataset.category == name])
        ],
        columns=[_column_line(visit, one, figures.get(one.key, _NOTHING)) for one in part.items]
        if filters.of_columns
        else [],
        part=part,
        facets=_facets(visit, catalogue, filters),
        rows=sum(one.rows for one in datasets.values()),
        held=sum(one.rows > 0 for one in datasets.values()),
        column_count=len(catalogue.find()),
        files=sum(one.files for one in datasets.values()),
        message_rows=sum(one.message_rows for one in datasets.values()),
        refreshed_at=min(refreshed, default=None),
    )


async def show_dataset(visit: Visit) -> Response:
    """Show a data set: its columns with how full they are, its months, who gave it."""
    dataset, pack = _dataset(visit), visit.services.pack
    columns = catalogue_of(pack).columns(dataset.name)
    async with visit.services.database.connection() as connection:
        codes = await own_codes(visit, connection)
        total = (await dataset_figures(connection, pack=pack, institutions=codes))[dataset.name]
        figures = await _figures(visit, connection, columns, codes)
        sources = await list_sources(connection, dataset=dataset.name, institutions=codes)
        called = await names(connection, (one.institution for one in sources[:_SOURCES]))
    months = total.months[-_MONTHS:]
    return visit.page(
        "catalogue_dataset.html",
        dataset=dataset,
        total=total,
        whole=codes is None,
        columns=[_column_line(visit, one, figures.get(one.key, _NOTHING)) for one in columns],
        chart=_rows_chart(months, columns=len(columns)),
        months=list(reversed(months)),
        column_count=len(columns),
        sources=[
            SourceLine(source=one, name=called.get(one.institution, one.institution))
            for one in sources[:_SOURCES]
        ],
        sources_more=max(0, len(sources) - _SOURCES),
    )


async def show_column(visit: Visit) -> Response:
    """Show a column: what it is, how full, from where, and what it feeds."""
    column = _column(visit)
    dataset, field = column.dataset, column.field
    async with visit.services.database.connection() as connection:
        codes = await own_codes(visit, connection)
        figures = (await _figures(visit, connection, [column], codes)).get(column.key, _NOTHING)
        sources = await list_sources(connection, dataset=dataset.name, column=field.name, institutions=codes)
        files = await list_source_files(
            connection, dataset=dataset.name, column=field.name, institutions=codes, limit=_FILES
        )
        shown = {one.institution for one in (*sources[:_SOURCES], *files)}
        called = await names(connection, shown)
    uses = _use_lines(visit, column.uses)
    months = figures.months[-_MONTHS:]
    return visit.page(
        "catalogue_column.html",
        column=column,
        dataset=dataset,
        field=field,
        type=type_text(visit, field),
        table=visit.services.pack.codes.get(field.value_set or ""),
        figures=figures,
        whole=codes is None,
        picture=_picture(visit, column, figures, sources, uses),
        chart=_fill_chart(months),
        months=list(reversed(months)),
        lanes=[(lane, own) for lane in Lane if (own := [f for f in column.feeds if f.lane is lane])],
        uses=[(kind, own) for kind in UseKind if (own := [use for use in uses if use.kind is kind])],
        sources=[
            SourceLine(source=one, name=called.get(one.institution, one.institution))
            for one in sources[:_SOURCES]
        ],
        sources_more=max(0, len(sources) - _SOURCES),
        files=[(one, called.get(one.institution, one.institution)) for one in files],
        sees_receipts=visit.staff.may(Permission.SEE_RECEIPTS),
    )


async def export_csv(visit: Visit) -> Response:
    """Send the columns that are found as CSV."""
    return csv_answer("catalogue.csv", await _export_rows(visit, None))


async def export_xlsx(visit: Visit) -> Response:
    """Send the columns that are found as a workbook."""
    return xlsx_answer("catalogue.xlsx", await _export_rows(visit, None), title=visit.say("nav.catalogue"))


async def export_dataset_csv(visit: Visit) -> Response:
    """Send the columns of a data set as CSV."""
    dataset = _dataset(visit)
    return csv_answer(f"catalogue-{dataset.name}.csv", await _export_rows(visit, dataset))


async def export_dataset_xlsx(visit: Visit) -> Response:
    """Send the columns of a data set as a workbook."""
    dataset = _dataset(visit)
    rows = await _export_rows(visit, dataset)
    return xlsx_answer(f"catalogue-{dataset.name}.xlsx", rows, title=visit.own(dataset.title))


# --- lists ---


def _filters(visit: Visit) -> CatalogueFilters:
    query = visit.query
    privacy = query.get("privacy", "")
    return CatalogueFilters(
        text=query.get("text", "").strip()[:100],
        category=query.get("category", "") if query.get("category") in _CATEGORIES else "",
        privacy=Privacy(privacy) if privacy in set(Privacy) else None,
    )


async def _figures(
    visit: Visit, connection: Connection, columns: Iterable[Column], codes: list[str] | None
) -> dict[tuple[str, str], ColumnFigures]:
    return await column_figures(
        connection,
        pack=visit.services.pack,
        datasets={column.dataset.name for column in columns},
        institutions=codes,
    )


def _dataset_lines(
    visit: Visit, figures: Mapping[str, DatasetFigures], filters: CatalogueFilters
) -> list[DatasetLine]:
    return [
        DatasetLine(
            dataset=dataset,
            figures=figures[name],
            spark=spark([month.rows for month in _run(figures[name].months)]),
        )
        for name, dataset in visit.services.pack.datasets.items()
        if not filters.category or dataset.category == filters.category
    ]


def _facets(visit: Visit, catalogue: Catalogue, filters: CatalogueFilters) -> list[tuple[str, list[Facet]]]:
    """Return the choices with what each would leave of the present search, the other choice kept."""
    by_category = Counter(
        column.dataset.category for column in catalogue.find(text=filters.text, privacy=filters.privacy)
    )
    by_privacy = Counter(
        column.field.privacy for column in catalogue.find(text=filters.text, category=filters.category)
    )
    categories = [
        Facet(
            title=visit.say(f"category.{name}"),
            count=by_category[name],
            href=address(_PATH, {**filters.words, "category": "" if filters.category == name else name}),
            chosen=filters.category == name,
        )
        for name in _CATEGORIES
        if by_category[name] or filters.category == name
    ]
    classes = [
        Facet(
            title=_privacy_title(visit, one),
            count=by_privacy[one],
            href=address(_PATH, {**filters.words, "privacy": "" if filters.privacy is one else one.value}),
            chosen=filters.privacy is one,
        )
        for one in Privacy
        if by_privacy[one] or filters.privacy is one
    ]
    return [
        (visit.say("catalogue.by_category"), categories),
        (visit.say("catalogue.by_privacy"), classes),
    ]


def _privacy_title(visit: Visit, privacy: Privacy) -> str:
    return visit.say("catalogue.not_personal" if privacy is Privacy.NONE else f"privacy.{privacy}")


def _column_line(visit: Visit, column: Column, figures: ColumnFigures) -> ColumnLine:
    months = _run(figures.months)
    first, last = (months[0], months[-1]) if months else (None, None)
    return ColumnLine(
        column=column,
        figures=figures,
        type=type_text(visit, column.field),
        href=f"{_PATH}/{column.dataset.name}/{column.field.name}",
        spark=spark([month.rate for month in months], highest=1.0),
        trend=visit.say(
            "catalogue.trend_text",
            first=f"{first.month:%Y-%m}",
            first_rate=percent(first.filled, first.rows),
            last=f"{last.month:%Y-%m}",
            last_rate=percent(last.filled, last.rows),
        )
        if first and last
        else "",
    )


def _run(months: Sequence[MonthFill]) -> list[MonthFill]:
    """Return the last months in a row; those without anything are there too."""
    if not months:
        return []
    known = {month.month: month for month in months}
    last = max(known)
    run = [_back(last, count) for count in range(_MONTHS - 1, -1, -1)]
    return [
        known.get(month, MonthFill(month=month, rows=0, filled=0)) for month in run if month >= min(known)
    ]


def _back(month: date, count: int) -> date:
    place = max(12, month.year * 12 + month.month - 1 - count)
    return date(place // 12, place % 12 + 1, 1)


async def _export_rows(visit: Visit, dataset: Dataset | None) -> list[list[object]]:
    filters, pack = _filters(visit), visit.services.pack
    catalogue = catalogue_of(pack)
    if dataset is None:
        columns = catalogue.find(text=filters.text, category=filters.category, privacy=filters.privacy)
    else:
        columns = list(catalogue.columns(dataset.name))
    async with visit.services.database.transaction() as connection:
        codes = await own_codes(visit, connection)
        figures = await _figures(visit, connection, columns, codes)
        await note(
            connection, visit, EXPORT, resource=f"catalogue/{dataset.name}" if dataset else "catalogue"
        )
    heads = (
        "dataset",
        "dataset_title",
        "column",
        "title",
        "title_en",
        "code",
        "type",
        "obligation",
        "privacy",
        "data_element",
        "value_set",
        "edition",
        "source",
        "rows",
        "filled",
        "fill_percent",
        "different",
        "different_exact",
        "last_arrival",
        "uses",
    )
    rows: list[list[object]] = [[visit.say(f"export.{name}") for name in heads]]
    rows += [_export_row(visit, one, figures.get(one.key, _NOTHING)) for one in columns]
    return rows


def _export_row(visit: Visit, column: Column, figures: ColumnFigures) -> list[object]:
    dataset, field = column.dataset, column.field
    arrived = figures.last_arrival
    return [
        dataset.name,
        visit.own(dataset.title),
        field.name,
        field.title.zh,
        field.title.en,
        field.code,
        type_text(visit, field),
        visit.say(f"obligation.{field.obligation}"),
        _privacy_title(visit, field.privacy),
        field.data_element,
        field.value_set,
        dataset.edition,
        dataset.source,
        figures.rows,
        figures.filled,
        None if figures.rate is None else round(100 * figures.rate, 2),
        figures.different,
        None
        if figures.different is None
        else visit.say("catalogue.yes" if figures.is_exact else "catalogue.no"),
        arrived.astimezone(visit.services.zone).strftime("%Y-%m-%d %H:%M") if arrived else None,
        len(column.uses),
    ]


# --- one data set, one column ---


def _dataset(visit: Visit) -> Dataset:
    dataset = visit.services.pack.datasets.get(visit.request.path_params["dataset"])
    if dataset is None:
        raise PageNotFoundError
    return dataset


def _column(visit: Visit) -> Column:
    dataset = _dataset(visit)
    found = catalogue_of(visit.services.pack).find_column(
        dataset=dataset.name, column=visit.request.path_params["column"]
    )
    if found is None:
        raise PageNotFoundError
    return found


def _rows_chart(months: Sequence[MonthFill], *, columns: int) -> DayColumns | None:
    if not months:
        return None
    return day_columns(
        [
            Day(
                label=f"{one.month:%Y-%m}",
                title=f"{one.month:%Y-%m}: {number(one.rows // max(1, columns))}",
                accepted=one.rows // max(1, columns),
                rejected=0,
                href="",
            )
            for one in months
        ],
        height=200,
    )


def _fill_chart(months: Sequence[MonthFill]) -> DayColumns | None:
    """Return the fill of a column by month, in whole per cent from 0 to 100."""
    if not months:
        return None
    return day_columns(
        [
            Day(
                label=f"{one.month:%Y-%m}",
                title=f"{one.month:%Y-%m} {percent(one.filled, one.rows)}",
                accepted=round(100 * (one.rate or 0)),
                rejected=0,
                href="",
            )
            for one in months
        ],
        height=200,
    )


def _use_lines(visit: Visit, uses: Sequence[Use]) -> list[UseLine]:
    return [
        UseLine(kind=use.kind, id=use.id, title=visit.own(use.title), href=_use_href(visit, use))
        for use in uses
    ]


def _use_href(visit: Visit, use: Use) -> str:
    if use.kind in (UseKind.RULE, UseKind.LOOK):
        return f"/console/datasets/{use.dataset}#rule-{use.id}"
    if use.kind is UseKind.RECONCILIATION and visit.staff.may(Permission.SEE_QUALITY):
        return address("/console/quality/reconciliations", {"sort": use.id})
    return ""


def _picture(
    visit: Visit,
    column: Column,
    figures: ColumnFigures,
    sources: Sequence[Source],
    uses: Sequence[UseLine],
) -> Picture:
    """Return what feeds the column, the column, and what it is used for."""
    message_rows = sum(one.message_rows for one in sources)
    files = sum(one.files for one in sources)
    feeds = [
        Node(
            title=visit.say("catalogue.from_files", files=number(files)),
            note=visit.say("catalogue.from_institutions", count=number(len(sources))),
            href="#sources",
        )
    ]
    for lane in (Lane.HL7V2, Lane.CDA, Lane.FHIR):
        places = [feed.place for feed in column.feeds if feed.lane is lane]
        if places:
            feeds.append(
                Node(title=visit.say(f"lane.{lane}"), note=_few(visit, places, count=2), href="#feeds")
            )
    if len(feeds) > 1:
        feeds.insert(
            1, Node(title=visit.say("catalogue.from_messages", rows=number(message_rows)), href="#feeds")
        )
    targets: list[Node] = []
    for kind in UseKind:
        own = [use for use in uses if use.kind is kind]
        if own:
            told = [use.id or use.title for use in own]
            targets.append(
                Node(
                    title=visit.say("catalogue.used_by", kind=visit.say(f"use.{kind}"), count=len(own)),
                    note=_few(visit, told, count=3),
                    href=f"#use-{kind}",
                )
            )
    centre = Node(title=visit.own(column.field.title), note=percent(figures.filled, figures.rows))
    return lineage_picture(feeds=feeds[:_NODES], centre=centre, uses=targets)


def _few(visit: Visit, words: Sequence[str], *, count: int) -> str:
    told = visit.join(words[:count])
    return visit.say("catalogue.and_more", told=told, count=len(words)) if len(words) > count else told


routes = [
    page("/catalogue", show_catalogue, may=Permission.SEE_DECLARATIONS),
    page("/catalogue.csv", export_csv, may=Permission.SEE_DECLARATIONS),
    page("/catalogue.xlsx", export_xlsx, may=Permission.SEE_DECLARATIONS),
    page("/catalogue/{dataset}.csv", export_dataset_csv, may=Permission.SEE_DECLARATIONS),
    page("/catalogue/{dataset}.xlsx", export_dataset_xlsx, may=Permission.SEE_DECLARATIONS),
    page("/catalogue/{dataset}", show_dataset, may=Permission.SEE_DECLARATIONS),
    page("/catalogue/{dataset}/{column}", show_column, may=Permission.SEE_DECLARATIONS),
]
