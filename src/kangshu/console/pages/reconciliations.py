"""Reconciliations: figures that should agree, by institution and month, down to the rows behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from starlette.responses import Response

from kangshu.console.acts import EXPORT, note
from kangshu.console.charts import TrendChart, TrendValue, trend_chart
from kangshu.console.errors import PageNotFoundError
from kangshu.console.exporting import csv_answer, csv_lines, csv_stream, xlsx_answer
from kangshu.console.formats import number
from kangshu.console.paging import NumberedPage, address, numbered_page
from kangshu.console.reach import choices, find_own_institution, matching_codes, names, own_codes
from kangshu.console.visits import Visit, page
from kangshu.declarations import Reconciliation
from kangshu.intake import Receipt, ReceiptNotFoundError, get_receipt
from kangshu.quality.reconciling import (
    DIFFERING,
    MESSAGES,
    MOST_PLACES,
    Balance,
    FileRows,
    Partner,
    RowPlace,
    Side,
    SideRows,
    State,
    differing_rows,
    get_reconciliation,
    list_balances,
    list_months,
)
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_PER_PAGE = 50
_TREND_MONTHS = 13
_PLACES = 200
_EXPORT_MOST = 100_000  # arbitrary: more than Excel opens with pleasure
_FILES_SHOWN = 30
_PATH = "/console/quality/reconciliations"
_PARTNERS = (Partner.NONE, Partner.ELSEWHERE, Partner.UNEQUAL, Partner.SAME, Partner.UNKNOWN)
_TONES = {
    State.WITHIN: "ok",
    State.OVER: "bad",
    State.LEFT_MISSING: "warn",
    State.RIGHT_MISSING: "warn",
    State.BOTH_MISSING: "warn",
}


@dataclass(frozen=True, kw_only=True)
class ReconciliationFilters:
    """What the list is narrowed to and how it is sorted, as the address says."""

    month: str = ""
    institution: str = ""
    differing: bool = False
    sort: str = ""

    @property
    def words(self) -> dict[str, str]:
        """The filters as words of an address."""
        return {
            "month": self.month,
            "institution": self.institution,
            "differing": "yes" if self.differing else "",
            "sort": self.sort,
        }


@dataclass(frozen=True, kw_only=True)
class BalanceCell:
    """A balance as a cell shows it; `tone` is empty where nothing was computed."""

    tone: str
    difference: str
    share: str
    title: str
    href: str


@dataclass(frozen=True, kw_only=True)
class InstitutionBalances:
    """One institution's balances, in the order of the pairs; None where neither side has anything."""

    code: str
    name: str
    cells: tuple[BalanceCell | None, ...]
    differing: int


@dataclass(frozen=True, kw_only=True)
class PairSummary:
    """How one pair stands over all institutions of the list."""

    pair: Reconciliation
    compared: int
    within: int
    over: int
    missing: int
    left: float
    right: float
    href: str


@dataclass(frozen=True, kw_only=True)
class OwnBalance:
    """A balance of the one institution that the page is about."""

    pair: Reconciliation
    balance: Balance
    tone: str
    href: str


@dataclass(frozen=True, kw_only=True)
class PlaceGroup:
    """Rows of one file that find the same on the other side; `rows` are empty for rows out of messages."""

    file: int
    partner: Partner
    rows: tuple[int, ...]
    count: int


@dataclass(frozen=True, kw_only=True)
class FileLine:
    """A file with rows behind the figure; `href` leads to its receipt where the visitor may see it."""

    file: int
    name: str
    href: str
    rows: int
    partners: Mapping[Partner, int]


@dataclass(frozen=True, kw_only=True)
class SideView:
    """One side of a balance as the page shows it."""

    side: Side
    title: str
    dataset_title: str
    figure: float | None
    told: SideRows
    files: tuple[FileLine, ...]
    files_more: int
    groups: tuple[PlaceGroup, ...]
    names: Mapping[int, FileLine]
    partners: tuple[tuple[Partner, int], ...]
    next: str
    export: str


async def show_reconciliations(visit: Visit) -> Response:
    """Show how the figures of a month stand to each other, for each institution and pair."""
    asked = _filters(visit)
    async with visit.services.database.connection() as connection:
        codes = await matching_codes(visit, connection, text=asked.institution)
        months = await list_months(connection, institutions=codes)
        filters = _settled(asked, months)
        balances = await _month_balances(visit, connection, filters, codes)
        offered = await choices(visit, connection)
        called = await names(connection, {one.institution for one in balances})
    pairs = visit.services.pack.quality.reconciliations
    rows = _rows(visit, balances, pairs, called, filters)
    only = rows[0] if len({one.institution for one in balances}) == 1 and rows else None
    part: NumberedPage[InstitutionBalances] = numbered_page(
        rows, path=_PATH, query=filters.words, asked=visit.query.get("page"), size=_PER_PAGE
    )
    computed = [one.computed_at for one in balances if one.computed_at]
    return visit.page(
        "reconciliations.html",
        filters=filters,
        query=address("", filters.words),
        sole=offered.only is not None,
        month_choices=[(f"{month:%Y-%m}", f"{month:%Y-%m}") for month in months],
        institution_choices=offered.pairs,
        pairs=_summaries(pairs, balances, filters),
        sorted_href=lambda sort: address(_PATH, {**filters.words, "sort": sort}),
        rows=part,
        only=only,
        own=_own_balances(pairs, balances, filters) if only else [],
        counts={state: sum(one.state is state for one in balances) for state in State},
        compared=len(balances),
        differing=sum(one.state.differs for one in balances),
        **_words(visit),
        computed_at=max(computed, default=None),
        oldest_at=min(computed, default=None),
    )


async def export_csv(visit: Visit) -> Response:
    """Send the balances of the month as CSV."""
    return csv_answer("reconciliations.csv", await _export_rows(visit))


async def export_xlsx(visit: Visit) -> Response:
    """Send the balances of the month as a workbook."""
    rows = await _export_rows(visit)
    return xlsx_answer("reconciliations.xlsx", rows, title=visit.say("nav.reconciliations"))


async def show_reconciliation(visit: Visit) -> Response:
    """Show one pair of an institution: both figures by month, and the rows behind those of one month."""
    pair, month = _pair(visit), _month_of(visit.query.get("month", ""))
    if month is None:
        raise PageNotFoundError
    async with visit.services.database.connection() as connection:
        institution = await find_own_institution(
            visit, connection, code=visit.request.path_params["institution"]
        )
        if institution is None:
            raise PageNotFoundError
        history = await list_balances(
            connection,
            pack=visit.services.pack,
            first=_back(month, _TREND_MONTHS - 1),
            last=month,
            institutions=[institution.code],
            ids=[pair.id],
        )
    balance = next((one for one in history if one.month == month), None)
    chosen = _partner(visit.query.get("partner", ""))
    path = f"{_PATH}/{pair.id}/{institution.code}"
    sides = [
        await _side_view(visit, pair, institution.code, month, side, balance, chosen, path) for side in Side
    ]
    return visit.page(
        "reconciliation.html",
        **_words(visit),
        pair=pair,
        institution=institution,
        month=month,
        balance=balance,
        tone=_TONES[balance.state] if balance else "",
        history=list(reversed(history)),
        tones=_TONES,
        chart=_chart(visit, history),
        sides=sides,
        chosen=chosen,
        has_key=bool(pair.left.key) and len(pair.left.key) == len(pair.right.key),
        here=lambda **words: address(path, {"month": f"{month:%Y-%m}", **words}),
        first=address(path, {"month": f"{month:%Y-%m}", "partner": visit.query.get("partner", "")})
        if visit.query.get("after")
        else "",
        back=address(_PATH, {"month": f"{month:%Y-%m}"}),
    )


async def export_places(visit: Visit) -> Response:
    """Send the places of the rows on one side: file, row, what it finds on the other side; never a value."""
    pair, month = _pair(visit), _month_of(visit.query.get("month", ""))
    side = Side(visit.query["side"]) if visit.query.get("side") in set(Side) else None
    if month is None or side is None:
        raise PageNotFoundError
    async with visit.services.database.transaction() as connection:
        institution = await find_own_institution(
            visit, connection, code=visit.request.path_params["institution"]
        )
        if institution is None:
            raise PageNotFoundError
        await note(
            connection,
            visit,
            EXPORT,
            resource=f"reconciliation/{pair.id}",
            institution=institution.code,
            detail={"month": f"{month:%Y-%m}", "side": side.value},
        )
    chosen = _partner(visit.query.get("partner", ""))
    lines = _place_lines(visit, pair, institution.code, month, side, chosen)
    return csv_stream(f"{pair.id}-{side.value}-{month:%Y-%m}.csv", lines)


# --- the list ---


def _filters(visit: Visit) -> ReconciliationFilters:
    query = visit.query
    month = query.get("month", "")
    known = {pair.id for pair in visit.services.pack.quality.reconciliations} | {"name"}
    return ReconciliationFilters(
        month=month if _month_of(month) else "",
        institution=query.get("institution", "").strip()[:100],
        differing=query.get("differing") == "yes",
        sort=query.get("sort", "") if query.get("sort") in known else "",
    )


def _settled(filters: ReconciliationFilters, months: Sequence[date]) -> ReconciliationFilters:
    """Return the filters with the latest month where none was asked for."""
    month = filters.month or (f"{months[0]:%Y-%m}" if months else "")
    return ReconciliationFilters(
        month=month, institution=filters.institution, differing=filters.differing, sort=filters.sort
    )


async def _month_balances(
    visit: Visit, connection: Connection, filters: ReconciliationFilters, codes: list[str] | None
) -> list[Balance]:
    month = _month_of(filters.month)
    if month is None:
        return []
    return await list_balances(
        connection, pack=visit.services.pack, first=month, last=month, institutions=codes
    )


def _rows(
    visit: Visit,
    balances: Sequence[Balance],
    pairs: Sequence[Reconciliation],
    called: Mapping[str, str],
    filters: ReconciliationFilters,
) -> list[InstitutionBalances]:
    by_code: dict[str, dict[str, Balance]] = {}
    for one in balances:
        by_code.setdefault(one.institution, {})[one.id] = one
    codes = [
        code
        for code, own in by_code.items()
        if not filters.differing or any(one.state.differs for one in own.values())
    ]
    codes.sort(key=lambda code: (called.get(code, code), code))
    if filters.sort != "name":
        codes.sort(key=lambda code: _rank(by_code[code], filters.sort))
    return [
        InstitutionBalances(
            code=code,
            name=called.get(code, code),
            cells=tuple(_cell(visit, pair, by_code[code].get(pair.id)) for pair in pairs),
            differing=sum(one.state.differs for one in by_code[code].values()),
        )
        for code in codes
    ]


def _rank(own: Mapping[str, Balance], sort: str) -> tuple[float, ...]:
    """Return what ascending order puts worst first: by one pair, else by how many differ and how far."""
    if sort:
        one = own.get(sort)
        return (1.0,) if one is None else (0.0, *map(float, one.rank))
    apart = max((abs(one.share or 0.0) for one in own.values() if one.state.differs), default=0.0)
    return (-float(sum(one.state.differs for one in own.values())), -apart)


def _cell(visit: Visit, pair: Reconciliation, one: Balance | None) -> BalanceCell | None:
    if one is None:
        return None
    state = visit.say(f"balance_state.{one.state}")
    figures = visit.say(
        "reconciliations.cell",
        left=visit.own(pair.left.title),
        left_figure=figure(one.left),
        right=visit.own(pair.right.title),
        right_figure=figure(one.right),
        state=state,
    )
    missing = one.difference is None and one.state is not State.WITHIN
    return BalanceCell(
        tone=_TONES[one.state],
        difference=state if missing else signed(one.difference),
        share="" if missing else share_text(one),
        title=figures,
        href=_drill(one),
    )


def _summaries(
    pairs: Sequence[Reconciliation], balances: Sequence[Balance], filters: ReconciliationFilters
) -> list[PairSummary]:
    found: list[PairSummary] = []
    for pair in pairs:
        own = [one for one in balances if one.id == pair.id]
        over = sum(one.state is State.OVER for one in own)
        within = sum(one.state is State.WITHIN for one in own)
        found.append(
            PairSummary(
                pair=pair,
                compared=len(own),
                within=within,
                over=over,
                missing=len(own) - within - over,
                left=sum(one.left or 0 for one in own),
                right=sum(one.right or 0 for one in own),
                href=address(_PATH, {**filters.words, "sort": pair.id}),
            )
        )
    return found


def _own_balances(
    pairs: Sequence[Reconciliation], balances: Sequence[Balance], filters: ReconciliationFilters
) -> list[OwnBalance]:
    by_id = {one.id: one for one in balances}
    found = [
        OwnBalance(pair=pair, balance=one, tone=_TONES[one.state], href=_drill(one))
        for pair in pairs
        if (one := by_id.get(pair.id)) and (one.state.differs or not filters.differing)
    ]
    return sorted(found, key=lambda one: (not one.balance.state.differs, one.balance.rank))


def _drill(one: Balance) -> str:
    return address(f"{_PATH}/{one.id}/{one.institution}", {"month": f"{one.month:%Y-%m}"})


async def _export_rows(visit: Visit) -> list[list[object]]:
    asked = _filters(visit)
    async with visit.services.database.transaction() as connection:
        codes = await matching_codes(visit, connection, text=asked.institution)
        filters = _settled(asked, await list_months(connection, institutions=codes))
        balances = await _month_balances(visit, connection, filters, codes)
        called = await names(connection, {one.institution for one in balances})
        await note(connection, visit, EXPORT, resource="reconciliations", detail={"filters": filters.words})
    pairs = {pair.id: pair for pair in visit.services.pack.quality.reconciliations}
    columns = (
        "month",
        "institution",
        "institution_name",
        "reconciliation",
        "title",
        "left_title",
        "left",
        "right_title",
        "right",
        "difference",
        "difference_percent",
        "allowed",
        "state",
        "computed_at",
    )
    rows: list[list[object]] = [[visit.say(f"export.{name}") for name in columns]]
    for one in balances:
        if filters.differing and not one.state.differs:
            continue
        pair = pairs[one.id]
        rows.append(
            [
                f"{one.month:%Y-%m}",
                one.institution,
                called.get(one.institution, ""),
                one.id,
                visit.own(pair.title),
                visit.own(pair.left.title),
                _plain(one.left),
                visit.own(pair.right.title),
                _plain(one.right),
                _plain(one.difference),
                None if one.share is None else round(100 * one.share, 2),
                _plain(one.allowed),
                visit.say(f"balance_state.{one.state}"),
                _local(visit, one.computed_at),
            ]
        )
    return rows


# --- one pair of an institution ---


async def _side_view(
    visit: Visit,
    pair: Reconciliation,
    institution: str,
    month: date,
    side: Side,
    balance: Balance | None,
    chosen: Partner | None,
    path: str,
) -> SideView:
    services = visit.services
    declared = pair.left if side is Side.LEFT else pair.right
    after = _place(visit.query.get("after", "")) if visit.query.get("side") == side.value else None
    told = await differing_rows(
        services.database,
        services.engine,
        pack=services.pack,
        reconciliation=pair.id,
        institution=institution,
        month=month,
        side=side,
        partners=[chosen] if chosen else DIFFERING,
        after=after,
        limit=_PLACES,
    )
    shown = {place.file for place in told.places} | {one.file for one in told.files[:_FILES_SHOWN]}
    receipts = await _receipts(visit, sorted(file for file in shown if file < MESSAGES))
    lines = {one.file: _file_line(visit, one, receipts.get(one.file)) for one in told.files}
    words = {"month": f"{month:%Y-%m}", "side": side.value, "partner": chosen.value if chosen else ""}
    return SideView(
        side=side,
        title=visit.own(declared.title),
        dataset_title=visit.own(services.pack.dataset(declared.dataset).title),
        figure=None if balance is None else (balance.left if side is Side.LEFT else balance.right),
        told=told,
        files=tuple(lines[one.file] for one in told.files[:_FILES_SHOWN]),
        files_more=max(0, len(told.files) - _FILES_SHOWN),
        groups=tuple(_groups(told.places)),
        names=lines,
        partners=tuple((one, told.partners[one]) for one in _PARTNERS if told.partners.get(one)),
        next=address(path, {**words, "after": f"{told.next[0]}~{told.next[1]}"}) if told.next else "",
        export=address(f"{path}/rows.csv", words),
    )


async def _receipts(visit: Visit, files: Sequence[int]) -> dict[int, Receipt]:
    """Return the receipts that the visitor may see; the sender of a file may be another institution."""
    found: dict[int, Receipt] = {}
    async with visit.services.database.connection() as connection:
        codes = await own_codes(visit, connection)
        for file in files:
            try:
                found[file] = await get_receipt(connection, receipt_id=file, institutions=codes)
            except ReceiptNotFoundError:
                continue
    return found


def _file_line(visit: Visit, one: FileRows, receipt: Receipt | None) -> FileLine:
    if one.from_messages:
        name, href = visit.say("reconciliation.messages"), ""
    elif receipt is None:
        name, href = visit.say("reconciliation.file", number=one.file), ""
    else:
        name = receipt.name
        href = f"/console/receipts/{one.file}" if visit.staff.may(Permission.SEE_RECEIPTS) else ""
    return FileLine(file=one.file, name=name, href=href, rows=one.rows, partners=one.partners)


def _groups(places: Sequence[RowPlace]) -> list[PlaceGroup]:
    """Return the rows of each file that find the same, together; those from messages have no number."""
    grouped: dict[tuple[int, Partner], list[int]] = {}
    for place in places:
        grouped.setdefault((min(place.file, MESSAGES), place.partner), []).append(place.row)
    return [
        PlaceGroup(file=file, partner=partner, rows=() if file == MESSAGES else tuple(rows), count=len(rows))
        for (file, partner), rows in grouped.items()
    ]


async def _place_lines(
    visit: Visit, pair: Reconciliation, institution: str, month: date, side: Side, chosen: Partner | None
) -> AsyncIterator[bytes]:
    yield csv_lines([[visit.say(f"export.{name}") for name in ("side", "file", "row", "partner")]])
    after: tuple[int, int] | None = None
    services, sent = visit.services, 0
    while sent < _EXPORT_MOST:
        told = await differing_rows(
            services.database,
            services.engine,
            pack=services.pack,
            reconciliation=pair.id,
            institution=institution,
            month=month,
            side=side,
            partners=[chosen] if chosen else DIFFERING,
            after=after,
            limit=MOST_PLACES,
        )
        declared = pair.left if side is Side.LEFT else pair.right
        yield csv_lines(
            [
                visit.own(declared.title),
                visit.say("reconciliation.messages") if place.file >= MESSAGES else place.file,
                "" if place.file >= MESSAGES else place.row,
                visit.say(f"partner.{place.partner}"),
            ]
            for place in told.places
        )
        after, sent = told.next, sent + len(told.places)
        if after is None:
            return


def _chart(visit: Visit, history: Sequence[Balance]) -> TrendChart | None:
    """Return the left figure by month, in front of what the right one allows."""
    return trend_chart(
        [
            TrendValue(
                at=datetime.combine(one.month, time()),
                number=one.left,
                low=None if one.right is None else one.right - one.allowed,
                high=None if one.right is None else one.right + one.allowed,
                side="" if one.within else "high" if (one.difference or 0) > 0 else "low",
                tentative=one.right is None,
                title=f"{one.month:%Y-%m} {figure(one.left)} / {figure(one.right)}",
            )
            for one in history
            if one.left is not None
        ]
    )


def _pair(visit: Visit) -> Reconciliation:
    return get_reconciliation(visit.services.pack, reconciliation=visit.request.path_params["pair"])


def _partner(text: str) -> Partner | None:
    return Partner(text) if text in set(Partner) else None


def _place(text: str) -> tuple[int, int] | None:
    file, _, row = text.partition("~")
    fits = all(part.isascii() and part.isdigit() and len(part) < 20 for part in (file, row))
    return (int(file), int(row)) if fits and int(file) < 1 << 63 and int(row) < 1 << 63 else None


def _month_of(text: str) -> date | None:
    try:
        return date.fromisoformat(f"{text}-01") if len(text) == len("2026-03") else None
    except ValueError:
        return None


def _back(month: date, count: int) -> date:
    place = month.year * 12 + month.month - 1 - count
    return date(max(1, place // 12), place % 12 + 1, 1)


# --- figures in words ---


def _words(visit: Visit) -> dict[str, Any]:
    """Return how templates write figures."""
    return {
        "figure": figure,
        "signed": signed,
        "share_text": share_text,
        "tolerance": lambda pair: _tolerance(visit, pair),
        "state_text": lambda one: _state_text(visit, one),
        "side_text": lambda one, value: (
            visit.say("reconciliations.no_figure") if value is None and one.state.differs else figure(value)
        ),
        "allowed_text": lambda one: figure(_allowed(one)),
    }


def _state_text(visit: Visit, one: Balance) -> str:
    """Return the result in words; which side is missing shows where its figure stands."""
    missing = one.state.differs and one.difference is None
    return visit.say("reconciliations.missing" if missing else f"balance_state.{one.state}")


def _allowed(one: Balance) -> float:
    """Return how far the figures may differ: whole where both are whole, which decides the same."""
    whole = all(side is None or side == int(side) for side in (one.left, one.right))
    return float(int(one.allowed)) if whole else one.allowed


def _tolerance(visit: Visit, pair: Reconciliation) -> str:
    """Return a pair's tolerance in words: ±2%, at least 5."""
    parts: list[str] = []
    if pair.relative:
        parts.append(f"±{100 * pair.relative:g}%")
    if pair.absolute:
        told = figure(pair.absolute)
        parts.append(visit.say("reconciliations.at_least", figure=told) if parts else f"±{told}")
    return " ".join(parts) or visit.say("reconciliations.exact")


def figure(value: float | None) -> str:
    """Return a figure as people read it: whole where it is whole, else with two places.

    >>> figure(1234.0), figure(0.5), figure(None)
    ('1,234', '0.50', '—')
    """
    if value is None:
        return "—"
    return number(int(value)) if value == int(value) else f"{value:,.2f}"


def signed(value: float | None) -> str:
    """Return a difference with its sign; a true minus, as wide as the plus.

    >>> signed(12.0), signed(-3.5), signed(0.0), signed(None)
    ('+12', '−3.50', '0', '0')
    """
    if not value:
        return "0"
    return ("+" if value > 0 else "−") + figure(abs(value))


def share_text(one: Balance) -> str:
    """Return a difference in per cent of the right figure, with its sign; empty where there is none."""
    if one.share is None or not one.difference:
        return ""
    share = 100 * one.share
    text = f"{abs(share):,.1f}" if abs(share) >= 0.05 else "<0.1"
    return ("+" if share > 0 else "−") + f"{text}%"


def _plain(value: float | None) -> float | int | None:
    return None if value is None else int(value) if value == int(value) else round(value, 4)


def _local(visit: Visit, moment: datetime | None) -> str:
    return moment.astimezone(visit.services.zone).strftime("%Y-%m-%d %H:%M") if moment else ""


routes = [
    page("/quality/reconciliations", show_reconciliations, may=Permission.SEE_QUALITY),
    page("/quality/reconciliations.csv", export_csv, may=Permission.SEE_QUALITY),
    page("/quality/reconciliations.xlsx", export_xlsx, may=Permission.SEE_QUALITY),
    page("/quality/reconciliations/{pair}/{institution}", show_reconciliation, may=Permission.SEE_QUALITY),
    page("/quality/reconciliations/{pair}/{institution}/rows.csv", export_places, may=Permission.SEE_QUALITY),
]
