"""Gather a month's figures into a circular."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime

from kangshu import directory
from kangshu.declarations import Dimension, Pack, Severity
from kangshu.kernel.texts import Text
from kangshu.quality.circular import store
from kangshu.quality.circular.model import (
    BalanceLine,
    BandLine,
    Circular,
    CoverageLine,
    FindingLine,
    Headline,
    ItemLine,
    LoopLine,
    RankLine,
    ShareLine,
    SheetLine,
)
from kangshu.quality.coverage import Coverage, CoverageState, coverage
from kangshu.quality.plausibility import add_months
from kangshu.quality.reconciling import Balance, State, list_balances
from kangshu.quality.rectifying import TaskFilter, local_day, loop_figures
from kangshu.quality.scoring import (
    InstitutionScore,
    Ranked,
    SheetCount,
    add_sheets,
    emr_index,
    indicators,
    kept_scores,
    message_of,
    rank,
    sheet_scores,
    title_of,
)
from kangshu.storage.database import Connection

_MOST_FREQUENT = 20


async def make_circular(
    connection: Connection, *, pack: Pack, month: date, now: datetime, region: Text
) -> Circular:
    """Return the circular of `month` (its first day) as of `now`: a draft; `region` is the region's name."""
    today = local_day(now)
    first = add_months(month, -1)
    scores = await kept_scores(connection, pack=pack, first=first, last=month, now=today)
    places = rank(
        [one for one in scores if one.month == month],
        previous=[one for one in scores if one.month == first],
    )
    names = await directory.names_of(connection, codes=[one.institution for one in places])
    covered = await coverage(connection, pack=pack, first=month, last=month, now=today)
    tasks, _ = await loop_figures(connection, now=now, narrow=TaskFilter(month=month))
    sums = await store.add_up_month(connection, month=month)
    return Circular(
        month=month,
        region=region,
        as_of=today,
        headline=Headline(
            institutions=len(places),
            expected=sum(one.score.expected for one in places),
            arrived=sum(one.score.arrived for one in places),
            files=sums["files"],
            rows=sums["rows"],
            rejected=sums["rejected"],
            mean=_mean([one.total for one in places]),
            mean_before=_mean([one.total for one in scores if one.month == first]),
        ),
        by_dimension=_dimension_means([one.score for one in places]),
        ranking=tuple(_rank_line(one, names) for one in places),
        findings=await _findings(connection, pack, month),
        coverage=_coverage_lines(pack, covered),
        sheets=_sheet_lines(pack, await sheet_scores(connection, first=month, last=month)),
        indicators=tuple(
            ShareLine(
                id=one.indicator.id,
                title=one.indicator.title,
                good=one.good,
                total=one.total,
                share=one.share,
            )
            for one in await indicators(connection, pack=pack, first=month, last=month, together=True)
        ),
        emr=await _emr_lines(connection, pack, month),
        balances=_balance_lines(pack, await list_balances(connection, pack=pack, first=month, last=month)),
        loop=LoopLine(
            tasks=tasks.tasks,
            closed=tasks.closed,
            cleared=tasks.cleared,
            overdue=tasks.overdue,
            escalated=tasks.escalated,
        )
        if tasks.tasks
        else None,
    )


def _rank_line(one: Ranked, names: dict[str, str]) -> RankLine:
    score = one.score
    return RankLine(
        place=one.place,
        tied=one.tied,
        institution=one.institution,
        name=names.get(one.institution, one.institution),
        total=one.total,
        change=one.change,
        climbed=one.climbed,
        expected=score.expected,
        arrived=score.arrived,
        rows=score.rows,
        rejected=score.rejected,
        by_dimension=dict(score.by_dimension),
    )


async def _findings(connection: Connection, pack: Pack, month: date) -> tuple[FindingLine, ...]:
    lines: list[FindingLine] = []
    for row in await store.list_frequent(connection, month=month, limit=_MOST_FREQUENT):
        dataset = pack.datasets.get(row["dataset"])
        if dataset is None:
            continue
        about = {"dataset": dataset, "rule": row["rule"], "field": row["field"]}
        lines.append(
            FindingLine(
                dataset=dataset.name,
                dataset_title=dataset.title,
                rule=row["rule"],
                title=title_of(**about),
                message=message_of(**about),
                severity=Severity(row["severity"]),
                dimension=Dimension(row["dimension"]),
                rows=row["rows"],
                institutions=row["institutions"],
            )
        )
    return tuple(lines)


def _coverage_lines(pack: Pack, covered: Iterable[Coverage]) -> tuple[CoverageLine, ...]:
    states: dict[str, Counter[CoverageState]] = {}
    for one in covered:
        states.setdefault(one.cell.dataset, Counter())[one.state] += 1
    lines = (
        CoverageLine(
            dataset=name,
            title=pack.datasets[name].title,
            expected=counts.total() - counts[CoverageState.NOT_DUE],
            on_time=counts[CoverageState.ON_TIME],
            late=counts[CoverageState.LATE],
            incomplete=counts[CoverageState.INCOMPLETE],
            missing=counts[CoverageState.MISSING],
        )
        for name, counts in sorted(states.items())
        if name in pack.datasets
    )
    return tuple(line for line in lines if line.expected)


def _sheet_lines(pack: Pack, counts: Iterable[SheetCount]) -> tuple[SheetLine, ...]:
    everywhere = add_sheets(
        SheetCount(
            scoring=one.scoring,
            institution="",
            month=one.month,
            rows=one.rows,
            thousandths=one.thousandths,
            bands=one.bands,
            items=one.items,
        )
        for one in counts
    )
    declared = {scoring.name: scoring for scoring in pack.quality.scorings}
    return tuple(
        SheetLine(
            title=declared[one.scoring].title,
            rows=one.rows,
            mean=one.mean,
            bands=tuple(
                BandLine(title=band.title, rows=rows)
                for band, rows in zip(
                    sorted(declared[one.scoring].bands, key=lambda band: -band.least), one.bands, strict=False
                )
            ),
        )
        for one in everywhere
        if one.scoring in declared and one.mean is not None
    )


async def _emr_lines(connection: Connection, pack: Pack, month: date) -> tuple[ItemLine, ...]:
    titles = {item.id: item.title for item in pack.quality.emr_items}
    found = await emr_index(connection, first=month, last=month, together=True)
    return tuple(
        ItemLine(item=one.item, title=titles[one.item], rows=one.rows, coefficient=one.coefficient)
        for one in found
        if one.item in titles
    )


def _balance_lines(pack: Pack, balances: Iterable[Balance]) -> tuple[BalanceLine, ...]:
    grouped: dict[str, list[Balance]] = {}
    for one in balances:
        grouped.setdefault(one.id, []).append(one)
    return tuple(
        _balance_line(pair.id, pair.title, grouped[pair.id])
        for pair in pack.quality.reconciliations
        if pair.id in grouped
    )


def _balance_line(name: str, title: Text, balances: Sequence[Balance]) -> BalanceLine:
    both = [(one.left, one.right) for one in balances if one.left is not None and one.right is not None]
    within = sum(one.within for one in balances)
    over = sum(one.state is State.OVER for one in balances)
    return BalanceLine(
        id=name,
        title=title,
        institutions=len(balances),
        within=within,
        over=over,
        missing=len(balances) - within - over,
        left=sum(left for left, _ in both),
        right=sum(right for _, right in both),
    )


def _dimension_means(scores: Sequence[InstitutionScore]) -> dict[Dimension, float]:
    means = {
        dimension: _mean([one.by_dimension[dimension] for one in scores if dimension in one.by_dimension])
        for dimension in Dimension
    }
    return {dimension: mean for dimension, mean in means.items() if mean is not None}


def _mean(totals: Sequence[float]) -> float | None:
    """Return the mean of published scores, cut to two decimals as they are."""
    return sum(round(total * 100) for total in totals) // len(totals) / 100 if totals else None
