"""An institution's quality: what to mend first, in which rows, by when, and what it is worth in points."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from starlette.responses import Response

from kangshu.console.acts import EXPORT, note
from kangshu.console.charts import Day, DayColumns, day_columns
from kangshu.console.errors import PageNotFoundError
from kangshu.console.exporting import csv_answer, csv_lines, csv_stream
from kangshu.console.fix_list import (
    HOME,
    TASKS,
    Fix,
    dataset_title,
    finding_words,
    list_fixes,
    task_row,
)
from kangshu.console.paging import address, numbered_page
from kangshu.console.reach import find_own_institution, names, own_codes
from kangshu.console.visits import Visit, page
from kangshu.directory import Institution
from kangshu.intake import ReceiptNotFoundError, get_receipt
from kangshu.kernel.periods import Period
from kangshu.quality import Cell, FindingCount, add_up, finding_rows, list_findings, list_months, list_tallies
from kangshu.quality.plausibility import Suspects, add_months, find_suspects, list_cell_findings
from kangshu.quality.rectifying import (
    Notice,
    Task,
    TaskFilter,
    count_unread,
    list_notices,
    list_tasks,
    local_day,
    mark_read,
    stand,
)
from kangshu.quality.scoring import InstitutionScore, Ranked, band_of, institution_scores, ranking
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_MONTHS = 12
_PER_PAGE = 50
_FILES_SHOWN = 30
_RANGES_SHOWN = 300  # arbitrary: more is for the download
_TASKS_SHOWN = 50
_FIXES_SHOWN = 60
_NOTICES_SHOWN = 3
_FIRST_MONTH = date(1900, 1, 1)
_STATES = {
    "missing": "fixes.state_missing",
    "incomplete": "fixes.state_incomplete",
    "late": "fixes.state_late",
}
_EXPORT_MOST = 1_000_000  # rows: more than a spreadsheet holds


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An institution of the list to choose from."""

    code: str
    name: str
    place: int
    total: float
    change: float | None
    arrived: str
    tasks: int
    overdue: int
    href: str


@dataclass(frozen=True, kw_only=True)
class CellRow:
    """A data set's score in the month."""

    dataset: str
    title: str
    total: float
    rows: int
    rejected: int
    part: float
    state: str
    missing: bool
    lost: float


@dataclass(frozen=True, kw_only=True)
class MonthRow:
    """A figure of one month, for a chart and the table beside it."""

    month: str
    href: str
    value: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class NoticeRow:
    """A notice in the visitor's words."""

    id: int
    text: str
    about: str
    href: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """The rows of a finding in one file, as ranges of their numbers."""

    file: int
    name: str
    href: str
    rows: int
    ranges: str
    more: int


async def show_own(visit: Visit) -> Response:
    """Lead to one's own institution; who reaches over several chooses one."""
    codes = sorted(visit.staff.institutions)
    if len(codes) == 1 and not visit.staff.region_wide:
        return visit.go(address(f"{HOME}/{codes[0]}", {"month": visit.query.get("month")}))
    async with visit.services.database.connection() as connection:
        reach = await own_codes(visit, connection)
        months = await list_months(connection, institutions=reach)
        month = _month(visit, months)
        ranked = await ranking(
            connection, pack=visit.services.pack, month=month, now=local_day(visit.now), among=reach
        )
        tasks = await list_tasks(connection, narrow=TaskFilter(institutions=reach, month=month), limit=10_000)
        called = await names(connection, (one.institution for one in ranked))
    text = visit.query.get("name", "").strip()
    found = [one for one in _listed(visit, ranked, tasks, called) if _fits(one, text)]
    words = {"month": f"{month:%Y-%m}", "name": text}
    part = numbered_page(found, path=HOME, query=words, asked=visit.query.get("page"), size=_PER_PAGE)
    return visit.page(
        "quality_institutions.html",
        rows=part.items,
        first=part.first,
        last=part.last,
        total=part.total,
        newer=part.newer,
        older=part.older,
        month=f"{month:%Y-%m}",
        month_choices=_month_choices(months, month),
        text=text,
    )


async def show_institution(visit: Visit) -> Response:
    """Show what an institution must mend first."""
    today = local_day(visit.now)
    pack = visit.services.pack
    async with visit.services.database.connection() as connection:
        institution = await _institution(visit, connection)
        codes = [institution.code]
        months = await list_months(connection, institutions=codes)
        month = _month(visit, months)
        standings = await stand(connection, pack=pack, month=month, now=visit.now, institutions=codes)
        history = await institution_scores(
            connection,
            pack=pack,
            first=add_months(month, 1 - _MONTHS),
            last=month,
            now=today,
            institutions=codes,
        )
        ranked = await ranking(connection, pack=pack, month=month, now=today)
        tasks = await list_tasks(connection, narrow=TaskFilter(institutions=codes), limit=_TASKS_SHOWN)
        notices = await list_notices(connection, codes=codes, limit=_NOTICES_SHOWN)
        unread = await count_unread(connection, codes=codes)
    history = _since_first(history)
    score = next((one for one in history if one.month == month), None)
    place = next((one for one in ranked if one.institution == institution.code), None)
    fixes = list_fixes(visit, standings=standings, score=score, tasks=tasks)
    called = {institution.code: institution.label}
    rows = [task_row(visit, one, today=today, names=called) for one in tasks]
    before = next((one for one in history if one.month == add_months(month, -1)), None)
    return visit.page(
        "quality_institution.html",
        institution=institution,
        own=institution.code in visit.staff.institutions,
        month=f"{month:%Y-%m}",
        month_choices=_month_choices(months, month),
        score=score,
        band=_band(visit, score),
        change=score.total - before.total if score and before else None,
        place=place,
        ranked=len(ranked),
        fixes=fixes[:_FIXES_SHOWN],
        fixes_more=max(0, len(fixes) - _FIXES_SHOWN),
        recoverable=sum(one.points for one in fixes),
        cells=_cell_rows(visit, score, fixes),
        tasks=[one for one in rows if one.task.is_open],
        closed=[one for one in rows if not one.task.is_open and one.task.cell.month == month],
        notices=[_notice_row(visit, one, tasks) for one in notices],
        unread=unread,
        chart=_score_chart(institution, history, month),
        history=[_month_row(institution, one) for one in history],
        wrong=sum(one.figures.wrong for one in standings),
        today=today,
        back=visit.here,
    )


async def export_fixes(visit: Visit) -> Response:
    """Send the list as CSV."""
    today = local_day(visit.now)
    async with visit.services.database.transaction() as connection:
        institution = await _institution(visit, connection)
        codes = [institution.code]
        month = _month(visit, await list_months(connection, institutions=codes))
        standings = await stand(
            connection, pack=visit.services.pack, month=month, now=visit.now, institutions=codes
        )
        scores = await institution_scores(
            connection,
            pack=visit.services.pack,
            first=month,
            last=month,
            now=today,
            institutions=codes,
        )
        tasks = await list_tasks(connection, narrow=TaskFilter(institutions=codes, month=month))
        await note(
            connection,
            visit,
            EXPORT,
            resource="quality-fixes",
            institution=institution.code,
            detail={"month": f"{month:%Y-%m}"},
        )
    fixes = list_fixes(visit, standings=standings, score=scores[0] if scores else None, tasks=tasks)
    columns = (
        "place",
        "dataset",
        "rule",
        "fields",
        "message",
        "severity",
        "rows",
        "points",
        "deadline",
        "task",
    )
    heading = [visit.say(f"export.fix_{name}") for name in columns]
    lines = [_fix_cells(visit, place, one) for place, one in enumerate(fixes, 1)]
    return csv_answer(f"quality-{institution.code}-{month:%Y-%m}.csv", [heading, *lines])


async def show_finding(visit: Visit) -> Response:
    """Show a finding's rows by file, and how it went month by month."""
    async with visit.services.database.connection() as connection:
        institution = await _institution(visit, connection)
        cell, rule, field = _asked(visit, institution)
        history = await _history(connection, cell, rule, field)
        counts = [
            one
            for one in await list_findings(connection, **_one_month(cell), rule=rule)
            if one.field == field
        ]
        shown = counts[:_FILES_SHOWN]
        files = [await _file_rows(visit, connection, one) for one in shown]
        about_cell = [
            one for one in await list_cell_findings(connection, **_one_month(cell)) if one.rule == rule
        ]
        tallies = await list_tallies(connection, **_one_month(cell))
        tasks = await list_tasks(
            connection,
            narrow=TaskFilter(institutions=[cell.institution], datasets=[cell.dataset], month=cell.month),
        )
        if about_cell and not counts:
            found = await _suspects(visit, cell, rule)
            files = await _suspect_files(visit, connection, cell, found)
    label, title, message = finding_words(visit, dataset=cell.dataset, rule=rule, field=field)
    rows = sum(one.rows for one in counts)
    today = local_day(visit.now)
    called = {institution.code: institution.label}
    return visit.page(
        "quality_finding.html",
        institution=institution,
        cell=cell,
        month=f"{cell.month:%Y-%m}",
        dataset_title=dataset_title(visit, cell.dataset),
        rule=rule,
        label=label,
        fields_title=title,
        message=message,
        severity=counts[0].severity if counts else about_cell[0].severity if about_cell else None,
        rows=rows,
        cell_rows=sum(one.rows for one in tallies),
        files=files,
        file_count=len(counts) or len(files),
        figures=_figures(about_cell[0].figures) if about_cell else [],
        suspects=bool(about_cell) and not counts,
        tasks=[task_row(visit, one, today=today, names=called) for one in tasks if one.is_open],
        today=today,
        history=history,
        chart=_history_chart(history),
        csv=address(f"{HOME}/{institution.code}/rows.csv", dict(visit.query)) if counts else "",
        rule_href=f"/console/datasets/{cell.dataset}#rule-{rule}" if label == rule else "",
        back=address(f"{HOME}/{institution.code}", {"month": f"{cell.month:%Y-%m}"}),
    )


async def export_rows(visit: Visit) -> Response:
    """Send the numbers of a finding's rows as CSV: file, row; never a value."""
    async with visit.services.database.transaction() as connection:
        institution = await _institution(visit, connection)
        cell, rule, field = _asked(visit, institution)
        counts = [
            one
            for one in await list_findings(connection, **_one_month(cell), rule=rule)
            if one.field == field
        ]
        if not counts:
            raise PageNotFoundError
        await note(
            connection,
            visit,
            EXPORT,
            resource="quality-rows",
            institution=cell.institution,
            detail={"month": f"{cell.month:%Y-%m}", "dataset": cell.dataset, "rule": rule, "field": field},
        )
    return csv_stream(f"rows-{cell.dataset}-{cell.month:%Y-%m}.csv", _row_lines(visit, counts, rule, field))


async def read_notices(visit: Visit) -> Response:
    """Mark one's own institution's notices as read."""
    code = visit.request.path_params["code"]
    upto = visit.form.get("upto", "")
    if code not in visit.staff.institutions or not (upto.isascii() and upto.isdigit() and len(upto) < 19):
        raise PageNotFoundError
    async with visit.services.database.transaction() as connection:
        await mark_read(connection, codes=[code], upto=int(upto), principal=visit.staff, now=visit.now)
    return visit.go(f"{HOME}/{code}")


def ranges(rows: np.ndarray, *, most: int) -> tuple[str, int]:
    """Return ascending row numbers as ranges (`2-5, 9`), and how many ranges more there are than `most`.

    >>> ranges(np.array([2, 3, 4, 9, 11, 12]), most=2)
    ('2-4, 9', 1)
    """
    if not len(rows):
        return "", 0
    breaks = np.flatnonzero(np.diff(rows) != 1)
    firsts = rows[np.concatenate([[0], breaks + 1])]
    lasts = rows[np.concatenate([breaks, [len(rows) - 1]])]
    pairs = zip(firsts[:most].tolist(), lasts[:most].tolist(), strict=True)
    told = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in pairs)
    return told, max(0, len(firsts) - most)


async def _institution(visit: Visit, connection: Connection) -> Institution:
    code = visit.request.path_params["code"]
    institution = await find_own_institution(visit, connection, code=code)
    if institution is None:
        raise PageNotFoundError
    return institution


def _month(visit: Visit, months: Sequence[date]) -> date:
    """Return the month that is asked for; without one the last whole month, or the latest there is."""
    asked = _parsed(visit.query.get("month", ""))
    if asked is not None:
        return asked
    last = add_months(local_day(visit.now).replace(day=1), -1)
    return (
        last
        if last in months or not months
        else max((one for one in months if one <= last), default=months[0])
    )


def _parsed(text: str) -> date | None:
    try:
        period = Period.parse(text)
    except ValueError:
        return None
    whole = Period.month(year=period.start.year, month=period.start.month)
    return period.start if period == whole and period.start >= _FIRST_MONTH else None


def _month_choices(months: Sequence[date], chosen: date) -> list[tuple[str, str]]:
    return [(f"{one:%Y-%m}", f"{one:%Y-%m}") for one in sorted({*months, chosen}, reverse=True)]


def _listed(
    visit: Visit, ranked: Sequence[Ranked], tasks: Sequence[Task], called: dict[str, str]
) -> list[Listed]:
    """Return the institutions, the worst first: they are looked for."""
    today = local_day(visit.now)
    return [
        Listed(
            code=one.institution,
            name=called.get(one.institution, one.institution),
            place=one.place,
            total=one.total,
            change=one.change,
            arrived=f"{one.score.arrived}/{one.score.expected}" if one.score.expected else "—",
            tasks=sum(task.is_open for task in tasks if task.cell.institution == one.institution),
            overdue=sum(task.is_overdue(today) for task in tasks if task.cell.institution == one.institution),
            href=address(f"{HOME}/{one.institution}", {"month": f"{one.score.month:%Y-%m}"}),
        )
        for one in reversed(ranked)
    ]


def _fits(row: Listed, text: str) -> bool:
    return text.casefold() in row.name.casefold() or text.casefold() in row.code.casefold()


def _band(visit: Visit, score: InstitutionScore | None) -> str:
    if score is None:
        return ""
    band = band_of(score.total, bands=visit.services.pack.quality.score.bands)
    return visit.own(band.title) if band else ""


def _cell_rows(visit: Visit, score: InstitutionScore | None, fixes: Sequence[Fix]) -> list[CellRow]:
    """Return the month's data sets, those that cost most points first."""
    if score is None:
        return []
    counted = {cell.cell for cell in score.cells if cell.expected} or {
        cell.cell for cell in score.cells if cell.arrived
    }
    whole = sum(cell.weight for cell in score.cells if cell.cell in counted)
    rows = [
        CellRow(
            dataset=cell.cell.dataset,
            title=dataset_title(visit, cell.cell.dataset),
            total=cell.total,
            rows=cell.rows,
            rejected=cell.rejected,
            part=100 * cell.weight / whole if cell.cell in counted and whole else 0.0,
            state=visit.say(_STATES[cell.state]) if cell.state in _STATES else "",
            missing=not cell.arrived,
            lost=(100 - cell.total) * cell.weight / whole if cell.cell in counted and whole else 0.0,
        )
        for cell in score.cells
        if cell.arrived or cell.expected
    ]
    return sorted(rows, key=lambda one: (-one.lost, one.dataset))


def _score_chart(
    institution: Institution, history: Sequence[InstitutionScore], month: date
) -> DayColumns | None:
    known = {one.month: one for one in history}
    if len(known) < 2:
        return None
    months = [add_months(month, shift) for shift in range(1 - _MONTHS, 1)]
    first = min(known)
    return day_columns(
        [
            Day(
                label=f"{one:%y-%m}",
                title=f"{one:%Y-%m} · {known[one].total:.2f}" if one in known else f"{one:%Y-%m}",
                accepted=round(known[one].total) if one in known else 0,
                rejected=0,
                href=address(f"{HOME}/{institution.code}", {"month": f"{one:%Y-%m}"}),
            )
            for one in months
            if one >= first
        ],
        height=160,
    )


def _notice_row(visit: Visit, notice: Notice, tasks: Sequence[Task]) -> NoticeRow:
    cell = next((one.cell for one in tasks if one.id == notice.task), None)
    about = f"{dataset_title(visit, cell.dataset)} {cell.month:%Y-%m}" if cell else ""
    return NoticeRow(
        id=notice.id,
        text=visit.say(f"notices.{notice.topic}", task=notice.task),
        about=about,
        href=f"{TASKS}/{notice.task}",
        at=notice.at,
    )


def _since_first(history: Sequence[InstitutionScore]) -> list[InstitutionScore]:
    """Return the scores from the first month on of which anything arrived; before it nobody sent here."""
    first = min((one.month for one in history if one.rows), default=None)
    return [one for one in history if first is None or one.month >= first]


def _month_row(institution: Institution, score: InstitutionScore) -> MonthRow:
    month = f"{score.month:%Y-%m}"
    return MonthRow(
        month=month,
        href=address(f"{HOME}/{institution.code}", {"month": month}),
        value=score.total,
        rows=score.rows,
    )


def _fix_cells(visit: Visit, place: int, fix: Fix) -> list[object]:
    return [
        place,
        fix.dataset_title,
        fix.label,
        fix.title,
        fix.message,
        visit.say(f"severity.{fix.severity}"),
        fix.rows or None,
        round(fix.points, 4),
        fix.task.deadline.isoformat() if fix.task else None,
        fix.task.id if fix.task else None,
    ]


def _asked(visit: Visit, institution: Institution) -> tuple[Cell, str, str]:
    """Return the finding that the address names.

    Raises:
        PageNotFoundError: it names none.
    """
    month = _parsed(visit.query.get("month", ""))
    dataset, rule = visit.query.get("dataset", ""), visit.query.get("rule", "")
    field = visit.query.get("field", "")
    if month is None or not rule or not all(one.isprintable() for one in (dataset, rule, field)):
        raise PageNotFoundError
    return Cell(month=month, dataset=dataset, institution=institution.code), rule, field


def _one_month(cell: Cell) -> dict[str, Any]:
    return {
        "first": cell.month,
        "last": cell.month,
        "institutions": [cell.institution],
        "datasets": [cell.dataset],
    }


async def _file_rows(visit: Visit, connection: Connection, count: FindingCount) -> FileRows:
    found = await finding_rows(
        connection,
        file=count.file,
        institution=count.cell.institution,
        month=count.cell.month,
        rule=count.rule,
        field=count.field,
    )
    name, href = await _file(visit, connection, count.file)
    told, more = ranges(found, most=_RANGES_SHOWN)
    return FileRows(file=count.file, name=name, href=href, rows=count.rows, ranges=told, more=more)


async def _file(visit: Visit, connection: Connection, file: int) -> tuple[str, str]:
    """Return what a file is called, and its receipt's page if that lies within reach."""
    try:
        receipt = await get_receipt(connection, receipt_id=file)
    except ReceiptNotFoundError:  # rows that came in messages have no file of the sender's
        return visit.say("finding.messages"), ""
    codes = await own_codes(visit, connection)
    within = codes is None or receipt.institution in codes
    return receipt.name, f"/console/receipts/{file}" if within else ""


async def _suspects(visit: Visit, cell: Cell, rule: str) -> Suspects:
    if cell.dataset not in visit.services.pack.datasets:
        return Suspects(rows=0, places=())
    return await find_suspects(
        visit.services.database, visit.services.engine, pack=visit.services.pack, cell=cell, rule=rule
    )


async def _suspect_files(
    visit: Visit, connection: Connection, cell: Cell, suspects: Suspects
) -> list[FileRows]:
    by_file: dict[int, list[int]] = {}
    for file, row in suspects.places:
        by_file.setdefault(file, []).append(row)
    rows: list[FileRows] = []
    for file, numbers in list(by_file.items())[:_FILES_SHOWN]:
        name, href = await _file(visit, connection, file)
        told, more = ranges(np.unique(np.array(numbers, np.int64)), most=_RANGES_SHOWN)
        rows.append(FileRows(file=file, name=name, href=href, rows=len(numbers), ranges=told, more=more))
    return rows


async def _history(connection: Connection, cell: Cell, rule: str, field: str) -> list[tuple[str, int, int]]:
    """Return month, rows found and all rows, for the months before and with the cell's."""
    span = {
        **_one_month(cell),
        "first": add_months(cell.month, 1 - _MONTHS),
        "last": cell.month,
    }
    found = {
        one.cell.month: one.rows
        for one in add_up(await list_findings(connection, **span, rule=rule))
        if one.field == field
    }
    tallies = await list_tallies(connection, **span)
    return [(f"{one.cell.month:%Y-%m}", found.get(one.cell.month, 0), one.rows) for one in reversed(tallies)]


def _history_chart(history: Sequence[tuple[str, int, int]]) -> DayColumns | None:
    if len(history) < 2:
        return None
    return day_columns(
        [
            Day(
                label=month[2:],
                title=f"{month} · {found:,}",
                accepted=0,
                rejected=found,
                href="",
            )
            for month, found, _ in history
        ],
        height=140,
    )


def _figures(figures: Any) -> list[tuple[str, str]]:
    return [(name, f"{value:,.6g}") for name, value in sorted(figures.items())]


async def _row_lines(
    visit: Visit, counts: Sequence[FindingCount], rule: str, field: str
) -> AsyncIterator[bytes]:
    yield csv_lines([[visit.say(f"export.{name}") for name in ("file", "receipt", "row")]])
    sent = 0
    for count in counts:
        async with visit.services.database.connection() as connection:
            found = await finding_rows(
                connection,
                file=count.file,
                institution=count.cell.institution,
                month=count.cell.month,
                rule=rule,
                field=field,
            )
            name, href = await _file(visit, connection, count.file)
        kept = found[: max(0, _EXPORT_MOST - sent)].tolist()
        sent += len(kept)
        receipt = count.file if href else None
        yield csv_lines([name, receipt, row] for row in kept)
        if sent >= _EXPORT_MOST:
            return


routes = [
    page("/quality/institution", show_own, may=Permission.SEE_QUALITY),
    page("/quality/institution/{code}", show_institution, may=Permission.SEE_QUALITY),
    page("/quality/institution/{code}/fixes.csv", export_fixes, may=Permission.SEE_QUALITY),
    page("/quality/institution/{code}/finding", show_finding, may=Permission.SEE_QUALITY),
    page("/quality/institution/{code}/rows.csv", export_rows, may=Permission.SEE_QUALITY),
    page("/quality/institution/{code}/read", read_notices, may=Permission.SEE_QUALITY, method="POST"),
]
