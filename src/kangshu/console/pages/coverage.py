"""Coverage: whether what should have arrived has, complete and in time; and months that are implausible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from starlette.responses import Response

from kangshu.console.acts import EXPORT, note
from kangshu.console.charts import TrendChart, TrendValue, trend_chart
from kangshu.console.errors import PageNotFoundError
from kangshu.console.exporting import csv_answer
from kangshu.console.formats import number, percent
from kangshu.console.pages.institutions import division_choices, meaning
from kangshu.console.pages.rankings import asked_month
from kangshu.console.paging import address, numbered_page
from kangshu.console.reach import find_own_institution, own_institutions
from kangshu.console.visits import Visit, page
from kangshu.declarations import CellView, Dataset, Measure, Rule, cell_names
from kangshu.directory import Institution, list_divisions
from kangshu.quality import find_rule, list_months
from kangshu.quality.coverage import Coverage, CoverageState, coverage
from kangshu.quality.plausibility import (
    CellFigures,
    CellFinding,
    add_months,
    find_suspects,
    list_cell_figures,
    list_cell_findings,
    measures_of,
)
from kangshu.security.principals import Permission
from kangshu.standards.identifiers import DivisionLevel, division_prefix
from kangshu.storage.database import Connection

HOME = "/console/quality/coverage"
_PER_PAGE = 50
_FINDINGS_SHOWN = 100
_MONTHS = 12
_CHART_MONTHS = 25  # two years back and the month itself: last year's season is in the picture
_SUSPECTS = 500
_TYPE_PLACES = 2  # of a WS 218 code: A1 general hospitals, B1 community centres
_LOOKS = {
    CoverageState.ON_TIME: ("ok", "check"),
    CoverageState.LATE: ("warn", "clock"),
    CoverageState.INCOMPLETE: ("orange", "alarm"),
    CoverageState.MISSING: ("bad", "cross"),
    CoverageState.NOT_DUE: ("", "dot"),
}


@dataclass(frozen=True, kw_only=True)
class CoverageFilters:
    """What the table is narrowed to, as the form gave it; empty means everything."""

    month: date
    division: str = ""
    kind: str = ""
    state: str = ""

    @property
    def words(self) -> dict[str, str]:
        """The filters as words of an address."""
        return {"month": f"{self.month:%Y-%m}", **self.narrowing}

    @property
    def narrowing(self) -> dict[str, str]:
        """Those that leave somebody out."""
        return {"division": self.division, "kind": self.kind, "state": self.state}


@dataclass(frozen=True, kw_only=True)
class CoverageCell:
    """One cell of the table: a word, a mark and a tone, and all that is known in its title."""

    state: str
    tone: str
    sign: str
    word: str
    title: str
    href: str


@dataclass(frozen=True, kw_only=True)
class CoverageRow:
    """One institution (or month) with its cells in the order of the columns; None where nothing is owed."""

    name: str
    code: str
    href: str
    cells: tuple[CoverageCell | None, ...]


@dataclass(frozen=True, kw_only=True)
class StateCount:
    """How many cells are in a state."""

    state: str
    tone: str
    sign: str
    count: int


@dataclass(frozen=True, kw_only=True)
class FigurePair:
    """A figure that decided, in words."""

    title: str
    value: str


@dataclass(frozen=True, kw_only=True)
class FindingRow:
    """A month that is implausible: what was found, by which figures, and where to look."""

    month: str
    institution: str
    institution_name: str
    dataset: str
    dataset_title: str
    rule: str
    severity: str
    message: str
    figures: tuple[FigurePair, ...]
    href: str


@dataclass(frozen=True, kw_only=True)
class MeasureMonth:
    """One month of a measure's table."""

    month: str
    value: str
    flagged: bool


@dataclass(frozen=True, kw_only=True)
class MeasureSeries:
    """A measure over months: its chart, and the same figures as a table."""

    name: str
    title: str
    summary: str
    chart: TrendChart | None
    rows: tuple[MeasureMonth, ...]
    decisive: bool

    @property
    def by_month(self) -> dict[str, MeasureMonth]:
        """The figures by month."""
        return {row.month: row for row in self.rows}


async def show_coverage(visit: Visit) -> Response:
    """Show what became of every data set that every institution owes for a month, and what is implausible."""
    async with visit.services.database.connection() as connection:
        filters = await _filters(visit, connection)
        institutions, codes = await _chosen(visit, connection, filters)
        covered = await _cover(visit, connection, codes, first=filters.month, last=filters.month)
        findings = await list_cell_findings(
            connection, first=filters.month, last=filters.month, institutions=codes
        )
        months = await list_months(connection, institutions=codes)
        divisions = await _division_names(connection)
        everybody = await own_institutions(visit, connection)
    names = {one.code: one.label for one in everybody}
    shown = _narrowed(covered, filters)
    datasets = _columns(visit, covered)
    part = numbered_page(
        _in_order({one.cell.institution for one in shown}, institutions),
        path=HOME,
        query=filters.words,
        asked=visit.query.get("page"),
        size=_PER_PAGE,
    )
    by_cell = {(one.cell.institution, one.cell.dataset): one for one in covered}
    return visit.page(
        "coverage.html",
        filters=filters,
        narrowed=any(filters.narrowing.values()),
        everyone=address(HOME, {"month": f"{filters.month:%Y-%m}"}),
        columns=[visit.own(dataset.title) for dataset in datasets],
        rows=[_row(visit, code, names, by_cell, datasets, filters.month) for code in part.items],
        part=part,
        states=_states(covered),
        expected=sum(one.state is not CoverageState.NOT_DUE for one in covered),
        findings=[_finding_row(visit, one, names) for one in findings[:_FINDINGS_SHOWN]],
        findings_total=len(findings),
        month_choices=[
            (f"{month:%Y-%m}", f"{month:%Y-%m}") for month in sorted({*months, filters.month}, reverse=True)
        ],
        division_choices=division_choices(everybody, divisions),
        kind_choices=_kind_choices(visit, everybody),
        state_choices=[(state.value, visit.say(f"coverage_state.{state}")) for state in CoverageState],
        csv=address(f"{HOME}.csv", filters.words),
        findings_csv=address(f"{HOME}/findings.csv", filters.words),
    )


async def show_institution(visit: Visit) -> Response:
    """Show what became of everything that one institution owes, month by month."""
    async with visit.services.database.connection() as connection:
        institution = await _own(visit, connection)
        last = await asked_month(visit, connection)
        # Before anybody sent anything, nobody was missing.
        began = min(await list_months(connection), default=last)
        first = min(max(add_months(last, 1 - _MONTHS), began), last)
        covered = await _cover(visit, connection, [institution.code], first=first, last=last)
        findings = await list_cell_findings(
            connection, first=first, last=last, institutions=[institution.code]
        )
        months = await list_months(connection, institutions=[institution.code])
    names = {institution.code: institution.label}
    datasets = _columns(visit, covered)
    by_cell = {(one.cell.month, one.cell.dataset): one for one in covered}
    return visit.page(
        "coverage_institution.html",
        institution=institution,
        month=f"{last:%Y-%m}",
        months=[f"{month:%Y-%m}" for month in _months(first, last)],
        rows=[
            CoverageRow(
                name=visit.own(dataset.title),
                code=dataset.name,
                href=_cell_address(institution.code, dataset.name, last),
                cells=tuple(
                    _cell(visit, by_cell.get((month, dataset.name))) for month in _months(first, last)
                ),
            )
            for dataset in datasets
        ],
        states=_states(covered),
        findings=[_finding_row(visit, one, names) for one in findings[:_FINDINGS_SHOWN]],
        findings_total=len(findings),
        month_choices=[
            (f"{month:%Y-%m}", f"{month:%Y-%m}") for month in sorted({*months, last}, reverse=True)
        ],
        here=f"{HOME}/{institution.code}",
    )


async def show_cell(visit: Visit) -> Response:
    """Show one data set of an institution's month: how it stands, what is implausible, its measures."""
    dataset = visit.services.pack.datasets.get(visit.request.path_params["dataset"])
    if dataset is None:
        raise PageNotFoundError
    async with visit.services.database.connection() as connection:
        institution = await _own(visit, connection)
        month = await asked_month(visit, connection)
        codes = [institution.code]
        covered = await _cover(visit, connection, codes, first=month, last=month)
        first = add_months(month, 1 - _CHART_MONTHS)
        figures = await list_cell_figures(
            connection, first=first, last=month, institutions=codes, datasets=[dataset.name]
        )
        findings = await list_cell_findings(
            connection, first=first, last=month, institutions=codes, datasets=[dataset.name]
        )
    own = [one for one in findings if one.cell.month == month]
    series = _series(visit, dataset, figures, findings, month)
    drawn = sum(one.decisive or one.name == "rows" for one in series)
    named = {institution.code: institution.label}
    return visit.page(
        "coverage_cell.html",
        institution=institution,
        dataset=dataset,
        dataset_title=visit.own(dataset.title),
        month=f"{month:%Y-%m}",
        here=_cell_address(institution.code, dataset.name, month),
        covered=next((one for one in covered if one.cell.dataset == dataset.name), None),
        look=_LOOKS,
        findings=[_finding_row(visit, one, named) for one in own],
        suspects=await _suspects(visit, dataset, own),
        series=series[:drawn],
        others=series[drawn:],
        other_months=sorted({row.month for one in series[drawn:] for row in one.rows}, reverse=True),
    )


async def export_coverage(visit: Visit) -> Response:
    """Send the whole table as CSV, a line for each cell."""
    async with visit.services.database.transaction() as connection:
        filters = await _filters(visit, connection)
        institutions, codes = await _chosen(visit, connection, filters)
        covered = await _cover(visit, connection, codes, first=filters.month, last=filters.month)
        await note(connection, visit, EXPORT, resource="quality-coverage", detail={"filters": filters.words})
    names = {one.code: one.label for one in institutions}
    heads = (
        "month", "institution", "institution_name", "dataset", "dataset_title", "state", "rows",
        "expected_rows", "basis", "due_on", "first_arrival", "last_arrival", "timeliness",
    )  # fmt: skip
    lines: list[Sequence[object]] = [[visit.say(f"export.{name}") for name in heads]]
    lines += [_line(visit, one, names) for one in _narrowed(covered, filters)]
    return csv_answer(f"coverage-{filters.month:%Y-%m}.csv", lines)


async def export_findings(visit: Visit) -> Response:
    """Send what is implausible as CSV, with the figures that decided."""
    async with visit.services.database.transaction() as connection:
        filters = await _filters(visit, connection)
        institutions, codes = await _chosen(visit, connection, filters)
        findings = await list_cell_findings(
            connection, first=filters.month, last=filters.month, institutions=codes
        )
        await note(
            connection, visit, EXPORT, resource="quality-plausibility", detail={"filters": filters.words}
        )
    names = {one.code: one.label for one in institutions}
    heads = ("month", "institution", "institution_name", "dataset", "dataset_title", "rule", "message")
    lines: list[Sequence[object]] = [[*(visit.say(f"export.{name}") for name in (*heads, "figures"))]]
    for row in (_finding_row(visit, one, names) for one in findings):
        told = "; ".join(f"{pair.title} {pair.value}" for pair in row.figures)
        lines.append(
            [
                row.month,
                row.institution,
                row.institution_name,
                row.dataset,
                row.dataset_title,
                row.rule,
                row.message,
                told,
            ]
        )
    return csv_answer(f"implausible-{filters.month:%Y-%m}.csv", lines)


# --- what is asked for -------------------------------------------------------------------------------


async def _filters(visit: Visit, connection: Connection) -> CoverageFilters:
    state = visit.query.get("state", "")
    return CoverageFilters(
        month=await asked_month(visit, connection),
        division=visit.query.get("division", "").strip()[:20],
        kind=visit.query.get("kind", "").strip()[:_TYPE_PLACES],
        state=state if state in set(CoverageState) else "",
    )


async def _chosen(
    visit: Visit, connection: Connection, filters: CoverageFilters
) -> tuple[list[Institution], list[str] | None]:
    """Return the institutions within reach that the filters name, and their codes, None for the region."""
    everybody = await own_institutions(visit, connection)
    found = [one for one in everybody if _fits(one, filters)]
    whole = visit.staff.region_wide and not filters.division and not filters.kind
    return found, None if whole else [one.code for one in found]


def _fits(institution: Institution, filters: CoverageFilters) -> bool:
    if filters.kind and not (institution.type or "").startswith(filters.kind):
        return False
    if not filters.division:
        return True
    inside, place = _prefix(filters.division), _prefix(institution.division_code)
    return bool(inside) and place.startswith(inside)


async def _own(visit: Visit, connection: Connection) -> Institution:
    code = visit.request.path_params["code"]
    found = await find_own_institution(visit, connection, code=code)
    if found is None:
        raise PageNotFoundError
    return found


async def _cover(
    visit: Visit, connection: Connection, codes: list[str] | None, *, first: date, last: date
) -> list[Coverage]:
    today = visit.now.astimezone(visit.services.zone).date()
    return await coverage(
        connection, pack=visit.services.pack, first=first, last=last, now=today, institutions=codes
    )


async def _division_names(connection: Connection) -> dict[str, str]:
    return {
        division.prefix: division.name
        for level in (DivisionLevel.CITY, DivisionLevel.COUNTY)
        for division in await list_divisions(connection, level=level)
    }


def _narrowed(covered: Sequence[Coverage], filters: CoverageFilters) -> list[Coverage]:
    """Return the cells of those institutions of which any is in the state asked for."""
    if not filters.state:
        return list(covered)
    wanted = {one.cell.institution for one in covered if one.state == filters.state}
    return [one for one in covered if one.cell.institution in wanted]


# --- what is shown -----------------------------------------------------------------------------------


def _columns(visit: Visit, covered: Iterable[Coverage]) -> list[Dataset]:
    """Return the data sets that are expected of anybody, as the pack lists its expectations."""
    there = {one.cell.dataset for one in covered}
    order = dict.fromkeys(one.dataset for one in visit.services.pack.quality.expectations)
    return [visit.services.pack.datasets[name] for name in order if name in there]


def _in_order(codes: set[str], institutions: Sequence[Institution]) -> list[str]:
    """Return the codes as the directory has them, by division."""
    return [one.code for one in institutions if one.code in codes]


def _row(
    visit: Visit,
    code: str,
    names: Mapping[str, str],
    by_cell: Mapping[tuple[str, str], Coverage],
    datasets: Sequence[Dataset],
    month: date,
) -> CoverageRow:
    return CoverageRow(
        name=names.get(code, code),
        code=code,
        href=address(f"{HOME}/{code}", {"month": f"{month:%Y-%m}"}),
        cells=tuple(_cell(visit, by_cell.get((code, dataset.name))) for dataset in datasets),
    )


def _cell(visit: Visit, one: Coverage | None) -> CoverageCell | None:
    if one is None:
        return None
    tone, sign = _LOOKS[one.state]
    return CoverageCell(
        state=one.state.value,
        tone=tone,
        sign=sign,
        word=_word(visit, one),
        title=_title(visit, one),
        href=_cell_address(one.cell.institution, one.cell.dataset, one.cell.month),
    )


def _word(visit: Visit, one: Coverage) -> str:
    """Return the state in a word, with the share that is there or the days that it is late."""
    word = visit.say(f"coverage_short.{one.state}")
    if one.state is CoverageState.INCOMPLETE and one.expected_rows:
        return f"{word} {min(99, int(100 * one.rows / one.expected_rows))}%"
    if one.state is CoverageState.LATE and one.last_arrival:
        days = (one.last_arrival.astimezone(visit.services.zone).date() - one.due).days
        return f"{word} {visit.say('coverage.days', days=days)}" if days > 0 else word
    return word


def _title(visit: Visit, one: Coverage) -> str:
    parts = [
        visit.say(f"coverage_state.{one.state}"),
        visit.say("coverage.rows_told", rows=number(one.rows)),
    ]
    if one.expected_rows is not None and one.basis:
        parts.append(
            visit.say(
                "coverage.expected_told",
                rows=number(round(one.expected_rows)),
                basis=visit.say(f"coverage_basis.{one.basis}"),
            )
        )
    parts.append(visit.say("coverage.due_told", day=one.due.isoformat()))
    return visit.say("frame.list_separator").join(parts)


def _states(covered: Sequence[Coverage]) -> list[StateCount]:
    counts = Counter(one.state for one in covered)
    return [
        StateCount(state=state.value, tone=_LOOKS[state][0], sign=_LOOKS[state][1], count=counts[state])
        for state in CoverageState
    ]


def _finding_row(visit: Visit, one: CellFinding, names: Mapping[str, str]) -> FindingRow:
    dataset = visit.services.pack.datasets.get(one.cell.dataset)
    rule = find_rule(dataset=dataset, rule=one.rule) if dataset else None
    return FindingRow(
        month=f"{one.cell.month:%Y-%m}",
        institution=one.cell.institution,
        institution_name=names.get(one.cell.institution, one.cell.institution),
        dataset=one.cell.dataset,
        dataset_title=visit.own(dataset.title) if dataset else one.cell.dataset,
        rule=one.rule,
        severity=one.severity.value,
        message=visit.own(rule.message) if rule else one.rule,
        figures=_figures(visit, one, dataset, rule),
        href=_cell_address(one.cell.institution, one.cell.dataset, one.cell.month),
    )


def _figures(
    visit: Visit, one: CellFinding, dataset: Dataset | None, rule: Rule | None
) -> tuple[FigurePair, ...]:
    """Return the figures that decided, in the order in which the rule names them."""
    measures = {measure.name: measure for measure in measures_of(dataset)} if dataset else {}
    named = [f"{view}.{name}" for view, name in cell_names(rule.sql)] if rule else []
    order = [name for name in dict.fromkeys((*named, *one.figures)) if name in one.figures]
    pairs = [(*name.split(".", 1), one.figures[name]) for name in order]
    return tuple(
        FigurePair(
            title=f"{visit.say(f'cell_view.{view}')} {_measure_title(visit, measures.get(name)) or name}",
            value=figure_text(value, share=_is_share(measures.get(name))),
        )
        for view, name, value in pairs
    )


def _is_share(measure: Measure | None) -> bool:
    return measure is not None and measure.share_of is not None


def _measure_title(visit: Visit, measure: Measure | None) -> str:
    """Return what a measure is called; a share says of what."""
    if measure is None or measure.share_of is None:
        return visit.own(measure.title) if measure else ""
    return visit.say("coverage.share_title", title=visit.own(measure.title), of=visit.own(measure.share_of))


def figure_text(value: float, *, share: bool = False) -> str:
    """Return a figure of a cell for people: counts whole, shares as per cent.

    >>> figure_text(3120.0), figure_text(12.5), figure_text(0.33333, share=True)
    ('3,120', '12.5', '33.3%')
    """
    if share:
        return percent(value, 1)
    if value == int(value) and abs(value) < 1e15:
        return number(int(value))
    return f"{value:,.4g}" if abs(value) >= 1 else f"{value:.3g}"


def _series(
    visit: Visit,
    dataset: Dataset,
    figures: Sequence[CellFigures],
    findings: Sequence[CellFinding],
    month: date,
) -> list[MeasureSeries]:
    """Return the measures, those that decided a finding first, then the rows."""
    flagged = {(one.cell.month, name) for one in findings if (name := _decider(dataset, one))}
    usual = {
        name.split(".", 1)[1]: value
        for one in findings
        if one.cell.month == month
        for name, value in one.figures.items()
        if name.startswith("usual.")
    }
    made = [
        _one_series(visit, measure, figures, flagged, usual.get(measure.name))
        for measure in measures_of(dataset)
    ]
    there = [one for one in made if one.rows]
    return sorted(there, key=lambda one: (not one.decisive, one.name != "rows"))


def _decider(dataset: Dataset, finding: CellFinding) -> str:
    """Return the measure whose figure of the month a rule names first: what it is about."""
    rule = find_rule(dataset=dataset, rule=finding.rule)
    named = cell_names(rule.sql) if rule else ()
    return next((name for view, name in named if view is CellView.NOW), "")


def _one_series(
    visit: Visit,
    measure: Measure,
    figures: Sequence[CellFigures],
    flagged: set[tuple[date, str]],
    usual: float | None,
) -> MeasureSeries:
    name, title, share = measure.name, _measure_title(visit, measure), _is_share(measure)
    scale = 100 if share else 1  # a chart of shares has per cent on its axis
    expected = None if usual is None else usual * scale
    known = [(one.cell.month, one.figures[name]) for one in figures if name in one.figures]
    values = [
        TrendValue(
            at=datetime(month.year, month.month, 1),  # noqa: DTZ001 - a month has no zone
            number=float(f"{value * scale:.4g}"),
            low=expected,
            high=expected,
            side=_side(value, usual) if (month, name) in flagged else "",
            tentative=False,
            title=f"{month:%Y-%m} {figure_text(value, share=share)}",
        )
        for month, value in known
    ]
    return MeasureSeries(
        name=name,
        title=title,
        summary=visit.say("coverage.series_told", title=title, months=len(known)),
        chart=trend_chart(values, height=170) if len(values) > 1 else None,
        rows=tuple(
            MeasureMonth(
                month=f"{month:%Y-%m}",
                value=figure_text(value, share=share),
                flagged=(month, name) in flagged,
            )
            for month, value in reversed(known)
        ),
        decisive=any(measure == name for _, measure in flagged),
    )


def _side(value: float, usual: float | None) -> str:
    return "low" if usual is not None and value < usual else "high"


async def _suspects(
    visit: Visit, dataset: Dataset, findings: Sequence[CellFinding]
) -> list[tuple[Rule, int, list[tuple[int, str]]]]:
    """Return for each finding that points at rows how many they are, and the first of them by file."""
    told: list[tuple[Rule, int, list[tuple[int, str]]]] = []
    for one in findings:
        rule = find_rule(dataset=dataset, rule=one.rule)
        if rule is None or not rule.suspects:
            continue
        found = await find_suspects(
            visit.services.database,
            visit.services.engine,
            pack=visit.services.pack,
            cell=one.cell,
            rule=one.rule,
            limit=_SUSPECTS,
        )
        by_file: dict[int, list[int]] = {}
        for file, row in found.places:
            by_file.setdefault(file, []).append(row)
        told.append((rule, found.rows, [(file, _spans(rows)) for file, rows in by_file.items()]))
    return told


def _spans(rows: Sequence[int]) -> str:
    """Return row numbers with neighbours drawn together.

    >>> _spans([2, 3, 4, 9, 11, 12])
    '2-4, 9, 11-12'
    """
    spans: list[list[int]] = []
    for row in rows:
        if spans and row == spans[-1][1] + 1:
            spans[-1][1] = row
        else:
            spans.append([row, row])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)


def _line(visit: Visit, one: Coverage, names: Mapping[str, str]) -> list[object]:
    dataset = visit.services.pack.datasets.get(one.cell.dataset)
    zone = visit.services.zone

    def moment(at: datetime | None) -> str | None:
        return at.astimezone(zone).isoformat(sep=" ", timespec="seconds") if at else None

    return [
        f"{one.cell.month:%Y-%m}",
        one.cell.institution,
        names.get(one.cell.institution, ""),
        one.cell.dataset,
        visit.own(dataset.title) if dataset else "",
        visit.say(f"coverage_state.{one.state}"),
        one.rows,
        None if one.expected_rows is None else round(one.expected_rows),
        visit.say(f"coverage_basis.{one.basis}") if one.basis else None,
        one.due.isoformat(),
        moment(one.first_arrival),
        moment(one.last_arrival),
        None if one.timeliness is None else round(one.timeliness, 3),
    ]


def _kind_choices(visit: Visit, institutions: Sequence[Institution]) -> list[tuple[str, str]]:
    kinds = sorted({one.type[:_TYPE_PLACES] for one in institutions if one.type})
    return [(kind, meaning(visit, "type", kind)) for kind in kinds]


def _cell_address(institution: str, dataset: str, month: date) -> str:
    return f"{HOME}/{institution}/{dataset}?month={month:%Y-%m}"


def _months(first: date, last: date) -> list[date]:
    months = [first]
    while months[-1] < last:
        months.append(add_months(months[-1], 1))
    return months


def _prefix(code: str | None) -> str:
    try:
        return division_prefix(code or "")
    except ValueError:
        return ""


routes = [
    page("/quality/coverage", show_coverage, may=Permission.SEE_QUALITY),
    page("/quality/coverage.csv", export_coverage, may=Permission.SEE_QUALITY),
    page("/quality/coverage/findings.csv", export_findings, may=Permission.SEE_QUALITY),
    page("/quality/coverage/{code}", show_institution, may=Permission.SEE_QUALITY),
    page("/quality/coverage/{code}/{dataset}", show_cell, may=Permission.SEE_QUALITY),
]
