"""Reference pages of the declared data sets and code tables."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from starlette.responses import Response

from kangshu.console.errors import PageNotFoundError
from kangshu.console.paging import numbered_page
from kangshu.console.visits import Visit, page
from kangshu.declarations import CodeTable, Dataset, Field, FieldType
from kangshu.security.principals import Permission

_CATEGORIES = ("clinical", "registry", "directory", "sample")
_CODES_PER_PAGE = 200
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@dataclass(frozen=True, kw_only=True)
class FieldRow:
    """One field as the page shows it."""

    field: Field
    title: str
    other_title: str
    type: str
    values: str
    note: str
    table: CodeTable | None


@dataclass(frozen=True, kw_only=True)
class DatasetGroup:
    """The data sets of one category."""

    name: str
    title: str
    datasets: tuple[Dataset, ...]


async def show_datasets(visit: Visit) -> Response:
    """List every data set, by category."""
    pack = visit.services.pack
    by_category: defaultdict[str, list[Dataset]] = defaultdict(list)
    for dataset in pack.datasets.values():
        by_category[dataset.category].append(dataset)
    known = [name for name in _CATEGORIES if name in by_category]
    groups = [
        DatasetGroup(name=name, title=visit.say(f"category.{name}"), datasets=tuple(by_category[name]))
        for name in known
    ]
    return visit.page(
        "datasets.html", groups=groups, pack_title=visit.own(pack.title), pack_edition=pack.edition
    )


async def show_dataset(visit: Visit) -> Response:
    """Show one data set: its fields with their values, and its rules."""
    dataset = _dataset(visit)
    event = dataset.field(dataset.event_time) if dataset.event_time else None
    return visit.page(
        "dataset.html",
        dataset=dataset,
        fields=[_field_row(visit, field) for field in dataset.fields],
        any_codes=any(field.code for field in dataset.fields),
        key_titles=visit.join(visit.own(dataset.field(name).title) for name in dataset.key) or "—",
        event_title=visit.own(event.title) if event else "—",
    )


async def download_template(visit: Visit) -> Response:
    """Send the Excel template of a data set."""
    dataset = _dataset(visit)
    workbook = await asyncio.to_thread(visit.services.write_template, dataset)
    return Response(
        workbook,
        media_type=_XLSX,
        headers={"Content-Disposition": f'attachment; filename="{dataset.name}.xlsx"'},
    )


async def show_codes(visit: Visit) -> Response:
    """List every code table and the data sets that use it."""
    pack = visit.services.pack
    users: defaultdict[str, list[str]] = defaultdict(list)
    for dataset in pack.datasets.values():
        for name in sorted({field.value_set for field in dataset.fields if field.value_set}):
            users[name].append(visit.own(dataset.title))
    tables = [{"table": table, "used_by": users[table.name]} for table in pack.codes.values()]
    return visit.page("codes.html", tables=tables)


async def show_code_table(visit: Visit) -> Response:
    """Show one code table, or the entries of it that hold a text."""
    name = visit.request.path_params["name"]
    table = visit.services.pack.codes.get(name)
    if table is None:
        raise PageNotFoundError
    text = visit.query.get("text", "").strip()
    wanted = text.casefold()
    codes = [
        entry
        for entry in table.codes
        if wanted in entry.code.casefold()
        or wanted in entry.title.zh.casefold()
        or wanted in entry.title.en.casefold()
    ]
    part = numbered_page(
        codes,
        path=f"/console/codes/{name}",
        query={"text": text},
        asked=visit.query.get("page"),
        size=_CODES_PER_PAGE,
    )
    return visit.page(
        "code_table.html",
        table=table,
        text=text,
        codes=part.items,
        newer=part.newer,
        older=part.older,
        first=part.first,
        last=part.last,
        total=part.total,
    )


def _dataset(visit: Visit) -> Dataset:
    dataset = visit.services.pack.datasets.get(visit.request.path_params["name"])
    if dataset is None:
        raise PageNotFoundError
    return dataset


def _field_row(visit: Visit, field: Field) -> FieldRow:
    other = field.title.en if visit.language == "zh" else field.title.zh
    return FieldRow(
        field=field,
        title=visit.own(field.title),
        other_title=other if other != visit.own(field.title) else "",
        type=type_text(visit, field),
        values=_values_text(visit, field),
        note=visit.own(field.note),
        table=visit.services.pack.codes.get(field.value_set) if field.value_set else None,
    )


def type_text(visit: Visit, field: Field) -> str:
    """Return the type as people write it: 字符 ..40, 小数 10,2, with ×40 for a repeated field."""
    text = visit.say(f"type.{field.type}")
    if field.length and field.type is FieldType.DECIMAL:
        text += f" {field.length},{field.scale or 0}"
    elif field.length:
        text += f" {field.length}" if field.exact_length else f" ≤{field.length}"
    return f"{text} ×{field.repeat}" if field.repeat > 1 else text


def _values_text(visit: Visit, field: Field) -> str:
    parts: list[str] = []
    if field.minimum is not None or field.maximum is not None:
        low = "" if field.minimum is None else f"{field.minimum:g}"
        high = "" if field.maximum is None else f"{field.maximum:g}"
        parts.append(f"{low} – {high}" if low and high else (f"≥ {low}" if low else f"≤ {high}"))
    if field.unit:
        parts.append(visit.say("field.unit", unit=field.unit))
    if field.pattern:
        parts.append(field.pattern)
    return visit.join(parts)


routes = [
    page("/datasets", show_datasets, may=Permission.SEE_DECLARATIONS),
    page("/datasets/{name}/template.xlsx", download_template, may=Permission.SEE_DECLARATIONS),
    page("/datasets/{name}", show_dataset, may=Permission.SEE_DECLARATIONS),
    page("/codes", show_codes, may=Permission.SEE_DECLARATIONS),
    page("/codes/{name}", show_code_table, may=Permission.SEE_DECLARATIONS),
]
