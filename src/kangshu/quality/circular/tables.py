"""A circular as sentences and tables: what the page, the spreadsheet and the PDF all show; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kangshu.declarations import Dimension
from kangshu.kernel.texts import Language
from kangshu.quality.circular.errors import say
from kangshu.quality.circular.model import Circular, RankLine

NONE = "—"
Value = str | int | float | None


class Shape(StrEnum):
    """How a value is written."""

    TEXT = "text"
    COUNT = "count"
    POINTS = "points"
    CHANGE = "change"
    STEPS = "steps"
    SHARE = "share"
    FIGURE = "figure"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value and how it is written; a share is cut to hundredths of a percent, as scores are."""

    value: Value
    shape: Shape

    @property
    def text(self) -> str:
        """The value as people read it, in every form of the circular."""
        return shown(self.value, self.shape)

    @property
    def numeric(self) -> bool:
        """Whether it stands to the right."""
        return self.shape is not Shape.TEXT


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: `key` names it in every language; `widths` are the columns' shares of the width."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    widths: tuple[float, ...]
    note: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns stand to the right."""
        return tuple(
            bool(self.rows) and all(row[place].numeric for row in self.rows)
            for place in range(len(self.columns))
        )


def shown(value: Value, shape: Shape) -> str:
    """Return a value as people read it.

    >>> shown(0.98765, Shape.SHARE), shown(-1.5, Shape.CHANGE), shown(1234567, Shape.COUNT)
    ('98.76%', '-1.50', '1,234,567')
    """
    if value is None:
        return NONE
    if isinstance(value, str):
        return value
    if shape is Shape.SHARE:
        return f"{cut_share(value) * 100:.2f}%"
    if shape is Shape.POINTS:
        return f"{value:.2f}"
    if shape is Shape.CHANGE:
        return f"{value:+.2f}" if value else "0.00"
    if shape is Shape.STEPS:
        return f"{int(value):+d}" if value else "0"
    if shape is Shape.FIGURE and isinstance(value, float) and not value.is_integer():
        return f"{value:,.2f}"
    return f"{int(value):,}"


def cut_share(value: float) -> float:
    """Return a share cut to four decimals, so that 100 % means all; what is a decimal already stays."""
    return int(round(value * 10_000, 4)) / 10_000


def title_of(circular: Circular, *, language: Language) -> str:
    """Return what the circular is called."""
    return say("title", region=circular.region.in_(language)).in_(language)


def subtitle_of(circular: Circular, *, language: Language) -> str:
    """Return the month in words."""
    month = circular.month
    return say("subtitle", year=month.year, month=month.month).in_(language)


def status_of(circular: Circular, *, language: Language) -> str:
    """Return whether it is a draft, and as of when its figures are."""
    key = "issued" if circular.issue else "draft"
    return say(key, day=circular.as_of.isoformat()).in_(language)


def summary_of(circular: Circular, *, language: Language) -> list[str]:
    """Return the month in sentences."""
    head, loop = circular.headline, circular.loop
    sentences: list[str] = []
    if head.mean is not None:
        sentences.append(
            say(
                "summary_score",
                institutions=shown(head.institutions, Shape.COUNT),
                mean=shown(head.mean, Shape.POINTS),
                change=_change(head.change, language),
            ).in_(language)
        )
    if head.rows:
        sentences.append(
            say(
                "summary_rows",
                rows=shown(head.rows, Shape.COUNT),
                accepted=shown(head.accepted, Shape.COUNT),
                rejected=shown(head.rejected, Shape.COUNT),
                share=shown(head.accepted / head.rows, Shape.SHARE),
            ).in_(language)
        )
    if head.expected:
        sentences.append(
            say(
                "summary_coverage",
                expected=shown(head.expected, Shape.COUNT),
                arrived=shown(head.arrived, Shape.COUNT),
                share=shown(head.arrived / head.expected, Shape.SHARE),
            ).in_(language)
        )
    if loop:
        sentences.append(
            say(
                "summary_loop",
                tasks=shown(loop.tasks, Shape.COUNT),
                closed=shown(loop.closed, Shape.COUNT),
                cleared=shown(loop.cleared, Shape.COUNT),
                share=shown(loop.cleared_rate, Shape.SHARE),
            ).in_(language)
        )
    return sentences or [say["summary_none"].in_(language)]


def tables_of(circular: Circular, *, language: Language, most: int | None = None) -> list[Table]:
    """Return the circular's tables in their order; those with nothing to say are left out.

    With `most`, the full ranking ends after so many institutions and says where the rest is.
    """
    made = (
        _headline(circular, language),
        _dimensions(circular, language),
        _places("best", circular.best, language),
        _places("worst", circular.worst, language),
        _findings(circular, language),
        _coverage(circular, language),
        _sheets(circular, language),
        _indicators(circular, language),
        _emr(circular, language),
        _balances(circular, language),
        _loop(circular, language),
        _ranking(circular, language, most),
    )
    return [table for table in made if table.rows]


def _change(change: float | None, language: Language) -> str:
    if change is None:
        return ""
    if not change:
        return say["summary_same"].in_(language)
    direction = say["summary_up" if change > 0 else "summary_down"].in_(language)
    return say("summary_change", direction=direction, points=shown(abs(change), Shape.POINTS)).in_(language)


def _headline(circular: Circular, language: Language) -> Table:
    head = circular.headline
    return _facts(
        "headline",
        language,
        [
            ("fact_institutions", _count(head.institutions)),
            ("fact_mean", _points(head.mean)),
            ("fact_change", _cell(head.change, Shape.CHANGE)),
            ("fact_files", _count(head.files)),
            ("fact_rows", _count(head.rows)),
            ("fact_accepted", _count(head.accepted)),
            ("fact_rejected", _count(head.rejected)),
            ("fact_accepted_share", _share(head.accepted, head.rows)),
            ("fact_due", _count(head.expected)),
            ("fact_arrived", _count(head.arrived)),
            ("fact_coverage", _share(head.arrived, head.expected)),
        ],
    )


def _dimensions(circular: Circular, language: Language) -> Table:
    means = circular.by_dimension
    return _table(
        "dimensions",
        language,
        {"dimension": 3, "mean": 1},
        [
            (_text(say[f"dimension_{one}"].in_(language)), _points(means[one]))
            for one in Dimension
            if one in means
        ],
    )


def _places(key: str, lines: Sequence[RankLine], language: Language) -> Table:
    columns = {"place": 1.0, "name": 5.0, "score": 1.4, "change": 1.4, "climbed": 1.4, "coverage": 1.6}
    rows = [
        (
            _count(line.place),
            _text(line.name),
            *_scored(line),
            _share(line.arrived, line.expected),
        )
        for line in lines
    ]
    return _table(key, language, columns, rows)


def _ranking(circular: Circular, language: Language, most: int | None) -> Table:
    columns = {"place": 1.0, "code": 4.6, "name": 4.4, "score": 1.3, "change": 1.3, "climbed": 1.3}
    columns |= {"due": 1.0, "arrived": 1.0, "rows": 1.8, "rejected": 1.5}
    dimensions = [one for one in Dimension if one in circular.by_dimension]
    lines = circular.ranking[:most]
    rows = [
        (
            _count(line.place),
            _text(line.institution),
            _text(line.name),
            *_scored(line),
            _count(line.expected),
            _count(line.arrived),
            _count(line.rows),
            _count(line.rejected),
            *(_points(line.by_dimension.get(one)) for one in dimensions),
        )
        for line in lines
    ]
    table = _table("ranking", language, columns, rows, note="note_ranking")
    left = len(circular.ranking) - len(lines)
    more = say("note_more", shown=len(lines), left=left).in_(language) if left else ""
    return replace(
        table,
        columns=(*table.columns, *(say[f"dimension_{one}"].in_(language) for one in dimensions)),
        widths=(*table.widths, *(1.4 for _ in dimensions)),
        note=f"{more} {table.note}".strip(),
    )


def _scored(line: RankLine) -> tuple[Cell, ...]:
    return _points(line.total), _cell(line.change, Shape.CHANGE), _cell(line.climbed, Shape.STEPS)


def _findings(circular: Circular, language: Language) -> Table:
    columns = {"dataset": 2.6, "rule": 1.6, "fields": 3.0, "severity": 1.1, "dimension": 1.4}
    columns |= {"rows": 1.6, "institutions": 1.3, "message": 6.0}
    return _table(
        "findings",
        language,
        columns,
        [
            (
                _text(line.dataset_title.in_(language)),
                _text(_rule_words(line.rule, language)),
                _text(line.title.in_(language)),
                _text(say[f"severity_{line.severity}"].in_(language)),
                _text(say[f"dimension_{line.dimension}"].in_(language)),
                _count(line.rows),
                _count(line.institutions),
                _text(line.message.in_(language)),
            )
            for line in circular.findings
        ],
        note="note_findings",
    )


def _rule_words(rule: str, language: Language) -> str:
    """Return a rule's id, or the words for a check that every data set has."""
    key = f"check_{rule}"
    return say[key].in_(language) if key in say else rule


def _coverage(circular: Circular, language: Language) -> Table:
    columns = {"dataset": 4.0, "due": 1.2, "on_time": 1.2, "late": 1.2, "incomplete": 1.2, "missing": 1.2}
    return _table(
        "coverage",
        language,
        {**columns, "coverage": 1.5},
        [
            (
                _text(line.title.in_(language)),
                _count(line.expected),
                _count(line.on_time),
                _count(line.late),
                _count(line.incomplete),
                _count(line.missing),
                _share(line.arrived, line.expected),
            )
            for line in circular.coverage
        ],
    )


def _sheets(circular: Circular, language: Language) -> Table:
    rows = [
        (
            _text(sheet.title.in_(language)),
            _points(sheet.mean),
            _text(band.title.in_(language)),
            _count(band.rows),
            _share(band.rows, sheet.rows),
        )
        for sheet in circular.sheets
        for band in sheet.bands
    ]
    columns = {"sheet": 5.0, "mean": 1.3, "band": 1.6, "rows": 1.5, "share": 1.5}
    return _table("sheets", language, columns, rows)


def _indicators(circular: Circular, language: Language) -> Table:
    return _table(
        "indicators",
        language,
        {"indicator": 6.0, "numerator": 1.6, "denominator": 1.6, "share": 1.6},
        [
            (
                _text(line.title.in_(language)),
                _cell(line.good, Shape.FIGURE),
                _cell(line.total, Shape.FIGURE),
                _cell(line.share, Shape.SHARE),
            )
            for line in circular.indicators
        ],
    )


def _emr(circular: Circular, language: Language) -> Table:
    return _table(
        "emr",
        language,
        {"item": 6.0, "rows": 1.6, "coefficient": 1.6},
        [
            (_text(line.title.in_(language)), _count(line.rows), _points(line.coefficient))
            for line in circular.emr
        ],
    )


def _balances(circular: Circular, language: Language) -> Table:
    columns = {"pair": 4.6, "institutions": 1.3, "within": 1.2, "over": 1.2, "absent": 1.2}
    return _table(
        "balances",
        language,
        {**columns, "left": 2.0, "right": 2.0},
        [
            (
                _text(line.title.in_(language)),
                _count(line.institutions),
                _count(line.within),
                _count(line.over),
                _count(line.missing),
                _cell(line.left, Shape.FIGURE),
                _cell(line.right, Shape.FIGURE),
            )
            for line in circular.balances
        ],
    )


def _loop(circular: Circular, language: Language) -> Table:
    loop = circular.loop
    if loop is None:
        return _facts("loop", language, [])
    return _facts(
        "loop",
        language,
        [
            ("fact_tasks", _count(loop.tasks)),
            ("fact_closed", _count(loop.closed)),
            ("fact_cleared", _count(loop.cleared)),
            ("fact_cleared_rate", _share(loop.cleared, loop.tasks)),
            ("fact_overdue", _count(loop.overdue)),
            ("fact_escalated", _count(loop.escalated)),
        ],
    )


def _facts(key: str, language: Language, facts: Sequence[tuple[str, Cell]]) -> Table:
    rows = [(_text(say[name].in_(language)), cell) for name, cell in facts]
    return _table(key, language, {"item": 3.0, "value": 1.0}, rows)


def _table(
    key: str,
    language: Language,
    columns: dict[str, float],
    rows: Sequence[tuple[Cell, ...]],
    *,
    note: str = "",
) -> Table:
    return Table(
        key=key,
        title=say[f"part_{key}"].in_(language),
        columns=tuple(say[f"column_{name}"].in_(language) for name in columns),
        rows=tuple(rows),
        widths=tuple(columns.values()),
        note=say[note].in_(language) if note else "",
    )


def _cell(value: Value, shape: Shape) -> Cell:
    return Cell(value=value, shape=shape)


def _text(value: str) -> Cell:
    return Cell(value=value, shape=Shape.TEXT)


def _count(value: int) -> Cell:
    return Cell(value=value, shape=Shape.COUNT)


def _points(value: float | None) -> Cell:
    return Cell(value=value, shape=Shape.POINTS)


def _share(part: float, whole: float) -> Cell:
    return Cell(value=part / whole if whole else None, shape=Shape.SHARE)
