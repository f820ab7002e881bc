"""The institutions within reach, and a page for each: what it is, what arrived, how good it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.responses import Response

from kangshu.console.charts import heat
from kangshu.console.errors import PageNotFoundError
from kangshu.console.formats import number
from kangshu.console.pages.receipts import dataset_titles, reason_row
from kangshu.console.paging import numbered_page
from kangshu.console.reach import find_own_institution, own_codes, own_institutions
from kangshu.console.visits import Visit, page
from kangshu.directory import Institution, division_path, list_divisions
from kangshu.intake import (
    SenderCount,
    StandingCount,
    list_sender_counts,
    list_standing,
    list_top_reasons,
)
from kangshu.kernel.periods import Period
from kangshu.security.principals import Permission
from kangshu.standards.identifiers import DivisionLevel, division_prefix
from kangshu.storage.database import Connection

_PER_PAGE = 50
_MONTHS = 12
_TOP_REASONS = 12
_SPAN_MOST = 24  # arbitrary: no file reports for more than two years
_TABLES = {
    "level": "hospital_grade",
    "type": "institution_type",
    "economic_type": "org_economic",
    "host": "org_host",
}


@dataclass(frozen=True, kw_only=True)
class InstitutionRow:
    """One institution of the list, with what arrived from it this month."""

    code: str
    name: str
    division: str
    level: str
    type: str
    files: int
    rows: int
    rejected: int
    last_arrival: datetime | None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Rows of one data set in one month, with a shade.

    `covered` says that a file which counts in an earlier month spans this one too: no gap.
    """

    rows: int
    heat: int
    covered: bool = False


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """What stands of one data set, month by month."""

    dataset: str
    title: str
    cells: tuple[Cell, ...]
    rows: int
    rejected: int


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Data sets by month."""

    months: tuple[str, ...]
    rows: tuple[MatrixRow, ...]


async def show_institutions(visit: Visit) -> Response:
    """List the institutions within reach."""
    filters = {name: visit.query.get(name, "").strip() for name in ("name", "division", "level", "reporting")}
    sees_receipts = visit.staff.may(Permission.SEE_RECEIPTS)
    async with visit.services.database.connection() as connection:
        institutions = await own_institutions(visit, connection)
        senders = await _senders(visit, connection) if sees_receipts else {}
        divisions = {
            division.prefix: division.name
            for level in (DivisionLevel.CITY, DivisionLevel.COUNTY)
            for division in await list_divisions(connection, level=level)
        }
    found = [one for one in institutions if _fits(one, filters, senders)]
    part = numbered_page(
        found, path="/console/institutions", query=filters, asked=visit.query.get("page"), size=_PER_PAGE
    )
    return visit.page(
        "institutions.html",
        institutions=[_row(visit, one, senders.get(one.code), divisions) for one in part.items],
        sees_receipts=sees_receipts,
        filters=filters,
        filtered=any(filters.values()),
        division_choices=division_choices(institutions, divisions),
        level_choices=level_choices(visit, institutions),
        newer=part.newer,
        older=part.older,
        first=part.first,
        last=part.last,
        total=part.total,
    )


async def show_institution(visit: Visit) -> Response:
    """Show one institution."""
    code = visit.request.path_params["code"]
    sees_receipts = visit.staff.may(Permission.SEE_RECEIPTS)
    async with visit.services.database.connection() as connection:
        institution = await find_own_institution(visit, connection, code=code)
        if institution is None:
            raise PageNotFoundError
        path = await division_path(connection, code=institution.division_code)
        standing = await list_standing(connection, institutions=[code]) if sees_receipts else []
        reasons = (
            await list_top_reasons(connection, institutions=[code], limit=_TOP_REASONS)
            if sees_receipts
            else []
        )
    datasets = visit.services.pack.datasets
    return visit.page(
        "institution.html",
        institution=institution,
        provisional=institution.provisional,
        division_path=" ".join(division.name for division in path),
        sees_receipts=sees_receipts,
        facts=_facts(visit, institution),
        last_arrival=max((one.last_arrival for one in standing), default=None),
        dataset_count=len({one.dataset for one in standing}),
        clinical_count=sum(
            one.category != "sample" and one.category != "directory" for one in datasets.values()
        ),
        rows_total=sum(one.rows for one in standing),
        rejected_total=sum(one.rejected for one in standing),
        matrix=matrix(standing, titles=dataset_titles(visit)),
        reasons=[reason_row(visit, reason, datasets.get(dataset)) for dataset, reason in reasons],
    )


def matrix(standing: Sequence[StandingCount], *, titles: Mapping[str, str]) -> Matrix:
    """Return what stands by data set and month, for the last months that have anything.

    A file for a longer span counts in the month with which it begins.
    """
    months = sorted({month for one in standing for month in _months_of(one.period)})[-_MONTHS:]
    covered = {(one.dataset, month) for one in standing for month in _months_of(one.period)}
    rows: Counter[tuple[str, str]] = Counter()
    totals: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for one in standing:
        rows[one.dataset, _months_of(one.period)[0]] += one.accepted
        totals[one.dataset] += one.rows
        rejected[one.dataset] += one.rejected
    return Matrix(
        months=tuple(months),
        rows=tuple(
            MatrixRow(
                dataset=dataset,
                title=titles.get(dataset, dataset),
                cells=_cells(
                    [rows[dataset, month] for month in months],
                    covered=[(dataset, month) in covered for month in months],
                ),
                rows=totals[dataset],
                rejected=rejected[dataset],
            )
            for dataset in sorted(totals, key=lambda name: (-totals[name], name))
        ),
    )


def _cells(counts: Sequence[int], *, covered: Sequence[bool]) -> tuple[Cell, ...]:
    """Shade each data set on its own scale: a hole in a small one must be as plain as in a large one."""
    highest = max(counts, default=0)
    return tuple(
        Cell(rows=count, heat=heat(count, highest) or int(inside), covered=inside)
        for count, inside in zip(counts, covered, strict=True)
    )


def _months_of(label: str) -> list[str]:
    """Return the months of a period; a label that is no period stands for the month it begins with."""
    try:
        period = Period.parse(label)
    except ValueError:
        return [label[:7]]
    months = [period.start.replace(day=1)]
    while (
        len(months) < _SPAN_MOST and (month := (months[-1] + timedelta(days=31)).replace(day=1)) < period.end
    ):
        months.append(month)
    return [f"{month:%Y-%m}" for month in months]


async def _senders(visit: Visit, connection: Connection) -> dict[str, SenderCount]:
    today = visit.now.astimezone(visit.services.zone).date()
    counts = await list_sender_counts(
        connection, since=today.replace(day=1), institutions=await own_codes(visit, connection)
    )
    return {count.institution: count for count in counts}


def _fits(institution: Institution, filters: Mapping[str, str], senders: Mapping[str, SenderCount]) -> bool:
    text = filters["name"].casefold()
    if text and not any(
        text in (value or "").casefold()
        for value in (institution.name, institution.short_name, institution.code)
    ):
        return False
    if filters["division"] and not _prefix(institution.division_code).startswith(
        _prefix(filters["division"])
    ):
        return False
    if filters["level"] and institution.level != filters["level"]:
        return False
    sender = senders.get(institution.code)
    reporting = sender is not None and sender.files > 0
    return not filters["reporting"] or (filters["reporting"] == "yes") is reporting


def _row(
    visit: Visit, institution: Institution, sender: SenderCount | None, divisions: Mapping[str, str]
) -> InstitutionRow:
    return InstitutionRow(
        code=institution.code,
        name=institution.name,
        division=_division_name(institution.division_code, divisions),
        level=meaning(visit, "level", institution.level),
        type=meaning(visit, "type", institution.type),
        files=sender.files if sender else 0,
        rows=sender.rows if sender else 0,
        rejected=sender.rejected if sender else 0,
        last_arrival=sender.last_arrival if sender else None,
    )


def _division_name(code: str | None, divisions: Mapping[str, str]) -> str:
    prefix = _prefix(code)
    return divisions.get(prefix[:6]) or divisions.get(prefix[:4]) or code or "—"


def division_choices(
    institutions: Sequence[Institution], divisions: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return the divisions that hold any of the institutions, the inner ones set in under the outer."""
    prefixes = [_prefix(one.division_code) for one in institutions]
    held = {prefix[:length] for prefix in prefixes for length in (4, 6)}
    return [
        (prefix.ljust(6, "0"), name if len(prefix) == 4 else f"　{name}")
        for prefix, name in sorted(divisions.items())
        if prefix in held
    ]


def level_choices(visit: Visit, institutions: Sequence[Institution]) -> list[tuple[str, str]]:
    """Return the levels that any of the institutions has."""
    levels = sorted({one.level for one in institutions if one.level})
    return [(level, meaning(visit, "level", level)) for level in levels]


def _facts(visit: Visit, institution: Institution) -> list[tuple[str, str]]:
    values = {
        "level": meaning(visit, "level", institution.level),
        "type": meaning(visit, "type", institution.type),
        "economic_type": meaning(visit, "economic_type", institution.economic_type),
        "host": meaning(visit, "host", institution.host),
        "division": institution.division_code or "",
        "opened_on": institution.opened_on.isoformat() if institution.opened_on else "",
        "beds": number(institution.beds) if institution.beds is not None else "",
        "staff": number(institution.staff) if institution.staff is not None else "",
        "vendor": institution.vendor or "",
    }
    return [(visit.say(f"place.{name}"), value) for name, value in values.items() if value]


def meaning(visit: Visit, field: str, code: str | None) -> str:
    """Return the title of a code; an unknown one stands for itself."""
    table = visit.services.pack.codes.get(_TABLES[field])
    title = table.titles().get(code or "") if table else None
    return visit.own(title) if title else (code or "")


def _prefix(code: str | None) -> str:
    try:
        return division_prefix(code or "")
    except ValueError:
        return ""


routes = [
    page("/institutions", show_institutions, may=Permission.SEE_DIRECTORY),
    page("/institutions/{code}", show_institution, may=Permission.SEE_DIRECTORY),
]
