"""Receipts: what arrived, what became of it, and why rows were refused."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from kangshu.console.acts import EXPORT, REJECTS, note
from kangshu.console.errors import PageNotFoundError, say
from kangshu.console.paging import address
from kangshu.console.reach import choices, matching_codes, names, own_receipt
from kangshu.console.visits import Visit, page
from kangshu.declarations import Dataset
from kangshu.intake import (
    FileState,
    ReasonCount,
    Receipt,
    list_reasons,
    list_receipts,
    reason_text,
    rejects_path,
)
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_PER_PAGE = 50
_EXPORT_PAGE = 500
_EXPORT_MOST = 100_000  # arbitrary: more than Excel opens with pleasure
_OPEN = frozenset({FileState.RECEIVED, FileState.WORKING, FileState.FAILED})
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, kw_only=True)
class ReceiptFilters:
    """What the list is narrowed to, as the form gave it; empty means everything."""

    institution: str = ""
    dataset: str = ""
    state: str = ""
    day: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> ReceiptFilters:
        """Return the filters in the words of an address; what makes no sense is left out."""
        state = query.get("state", "")
        return cls(
            institution=query.get("institution", "").strip(),
            dataset=query.get("dataset", ""),
            state=state if state in set(FileState) else "",
            day=query.get("day", "") if _day(query.get("day", "")) else "",
        )

    @property
    def words(self) -> dict[str, str]:
        """The filters as words of an address."""
        return {
            "institution": self.institution,
            "dataset": self.dataset,
            "state": self.state,
            "day": self.day,
        }


@dataclass(frozen=True, kw_only=True)
class ReasonRow:
    """Why rows of a file were refused or marked, in words."""

    severity: str
    label: str
    field_title: str
    message: str
    rows: int
    href: str
    dataset_title: str


async def show_receipts(visit: Visit) -> Response:
    """List receipts within the visitor's reach, newest first."""
    filters = ReceiptFilters.of(visit.query)
    async with visit.services.database.connection() as connection:
        codes = await matching_codes(visit, connection, text=filters.institution)
        found = await _find(
            connection, codes, filters, before=_number(visit.query.get("before")), limit=_PER_PAGE + 1
        )
        institution_names = await names(connection, (receipt.institution for receipt in found))
        offered = await choices(visit, connection)
    shown = found[:_PER_PAGE]
    older = {**filters.words, "before": str(shown[-1].id)} if len(found) > _PER_PAGE else None
    return visit.page(
        "receipts.html",
        receipts=shown,
        filters=filters,
        query=address("", filters.words),
        institution_names=institution_names,
        institution_choices=offered.pairs,
        dataset_titles=dataset_titles(visit),
        dataset_choices=dataset_choices(visit),
        state_choices=[(state.value, visit.say(f"state.{state}")) for state in FileState],
        newer=address("/console/receipts", filters.words) if visit.query.get("before") else None,
        older=address("/console/receipts", older) if older else None,
    )


async def show_receipt(visit: Visit) -> Response:
    """Show what became of one file."""
    async with visit.services.database.connection() as connection:
        receipt = await own_receipt(visit, connection, receipt_id=_id(visit))
        reasons = await list_reasons(connection, receipt_id=receipt.id)
        institution_names = await names(connection, [receipt.institution])
    dataset = visit.services.pack.datasets.get(receipt.dataset or "")
    took = receipt.finished_at - receipt.received_at if receipt.finished_at else None
    return visit.page(
        "receipt.html",
        receipt=receipt,
        open=receipt.state in _OPEN,
        dataset=dataset,
        about_persons=dataset is not None and dataset.about_persons,
        institution_name=institution_names.get(receipt.institution or "", receipt.institution),
        reasons=[reason_row(visit, reason, dataset) for reason in reasons],
        has_rejects=_may_download(visit) and _has_rejects(visit, receipt),
        seconds=f"{took.total_seconds():.1f}" if took else None,
    )


async def tell_state(visit: Visit) -> Response:
    """Tell the state alone, for a page that waits for it."""
    async with visit.services.database.connection() as connection:
        receipt = await own_receipt(visit, connection, receipt_id=_id(visit))
    return JSONResponse({"state": receipt.state})


async def download_rejects(visit: Visit) -> Response:
    """Send the list of refused rows: row number, field, rule and reason, never a value."""
    async with visit.services.database.transaction() as connection:
        receipt = await own_receipt(visit, connection, receipt_id=_id(visit))
        if not _has_rejects(visit, receipt):
            raise PageNotFoundError
        await note(
            connection, visit, REJECTS, resource=f"receipt/{receipt.id}", institution=receipt.institution
        )
    return FileResponse(
        rejects_path(visit.services.lake_home, receipt.id),
        media_type="text/csv; charset=utf-8",
        filename=f"rejects-{receipt.id}.csv",
    )


async def export_receipts(visit: Visit) -> Response:
    """Send the receipts of the list as CSV, for a spreadsheet."""
    filters = ReceiptFilters.of(visit.query)
    async with visit.services.database.transaction() as connection:
        codes = await matching_codes(visit, connection, text=filters.institution)
        await note(connection, visit, EXPORT, resource="receipts", detail={"filters": filters.words})
    return StreamingResponse(
        _csv_lines(visit, codes, filters),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="receipts.csv"'},
    )


def reason_row(visit: Visit, reason: ReasonCount, dataset: Dataset | None) -> ReasonRow:
    """Return a reason in the visitor's words, with the way to its rule or field."""
    declared = dataset is not None and any(rule.id == reason.rule for rule in dataset.rules)
    field = next((one for one in dataset.fields if one.name == reason.field), None) if dataset else None
    anchor = f"rule-{reason.rule}" if declared else (f"field-{field.name}" if field else "")
    return ReasonRow(
        severity=reason.severity,
        label=reason.rule if declared else _check_title(visit, reason.rule),
        field_title=visit.own(field.title) if field else reason.field.removeprefix("#"),
        message=visit.own(reason_text(rule=reason.rule, field=reason.field, dataset=dataset)),
        rows=reason.rows,
        href=f"/console/datasets/{dataset.name}#{anchor}" if dataset and anchor else "",
        dataset_title=visit.own(dataset.title) if dataset else "",
    )


def dataset_titles(visit: Visit) -> dict[str, str]:
    """Return the title of each data set in the visitor's language."""
    return {name: visit.own(dataset.title) for name, dataset in visit.services.pack.datasets.items()}


def dataset_choices(visit: Visit) -> list[tuple[str, str]]:
    """Return the data sets that institutions report, for a list to choose from."""
    return [
        (name, visit.own(dataset.title))
        for name, dataset in visit.services.pack.datasets.items()
        if dataset.category != "sample"
    ]


async def _find(
    connection: Connection,
    codes: list[str] | None,
    filters: ReceiptFilters,
    *,
    before: int | None,
    limit: int,
) -> list[Receipt]:
    return await list_receipts(
        connection,
        institutions=codes,
        dataset=filters.dataset or None,
        state=filters.state or None,
        day=_day(filters.day),
        before=before,
        limit=limit,
    )


async def _csv_lines(visit: Visit, codes: list[str] | None, filters: ReceiptFilters) -> AsyncIterator[bytes]:
    """Yield the file page by page; the mark in front tells Excel that it is UTF-8."""
    columns = ("receipt", "file", "institution", "institution_name", "dataset", "period", "state", "format")
    figures = ("bytes", "rows", "accepted", "rejected", "warnings", "received_at", "finished_at")
    yield "\ufeff".encode() + _csv_line([visit.say(f"export.{name}") for name in (*columns, *figures)])
    before: int | None = None
    sent = 0
    while sent < _EXPORT_MOST:
        async with visit.services.database.connection() as connection:
            receipts = await _find(connection, codes, filters, before=before, limit=_EXPORT_PAGE)
            called = await names(connection, (receipt.institution for receipt in receipts))
        yield b"".join(_csv_line(_cells(visit, called, receipt)) for receipt in receipts)
        if len(receipts) < _EXPORT_PAGE:
            return
        before, sent = receipts[-1].id, sent + len(receipts)


def _cells(visit: Visit, called: Mapping[str, str], receipt: Receipt) -> list[object]:
    zone = visit.services.zone
    finished = receipt.finished_at
    return [
        receipt.id,
        receipt.name,
        receipt.institution,
        called.get(receipt.institution or "", ""),
        receipt.dataset,
        receipt.period,
        visit.say(f"state.{receipt.state}"),
        receipt.format,
        receipt.bytes,
        receipt.rows,
        receipt.accepted,
        receipt.rejected,
        receipt.warnings,
        receipt.received_at.astimezone(zone).isoformat(sep=" ", timespec="seconds"),
        finished.astimezone(zone).isoformat(sep=" ", timespec="seconds") if finished else None,
    ]


def _csv_line(cells: Sequence[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow([_harmless(cell) for cell in cells])
    return line.getvalue().encode()


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would take for a formula is led by an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def _check_title(visit: Visit, check: str) -> str:
    """Return what a check that no rule declares is called."""
    key = f"check.{check}"
    return visit.say(key) if key in say else check


def _may_download(visit: Visit) -> bool:
    return visit.staff.may(Permission.DOWNLOAD_REJECTS)


def _has_rejects(visit: Visit, receipt: Receipt) -> bool:
    return receipt.rejected > 0 and rejects_path(visit.services.lake_home, receipt.id).is_file()


def _id(visit: Visit) -> int:
    number = _number(visit.request.path_params["id"])
    if number is None:
        raise PageNotFoundError
    return number


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


routes = [
    page("/receipts", show_receipts, may=Permission.SEE_RECEIPTS),
    page("/receipts.csv", export_receipts, may=Permission.SEE_RECEIPTS),
    page("/receipts/{id}", show_receipt, may=Permission.SEE_RECEIPTS),
    page("/receipts/{id}/state", tell_state, may=Permission.SEE_RECEIPTS),
    page("/receipts/{id}/rejects.csv", download_rejects, may=Permission.DOWNLOAD_REJECTS),
]
