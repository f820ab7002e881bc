"""How cells stand now: their score, rows, findings with what each is worth, and what has not arrived."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from kangshu.declarations import Dimension, Pack, Severity
from kangshu.quality.coverage import Coverage, coverage
from kangshu.quality.model import Cell, CellTally
from kangshu.quality.plausibility import CellFinding, list_cell_findings
from kangshu.quality.queries import list_tallies
from kangshu.quality.rectifying import store
from kangshu.quality.rectifying.judging import local_day
from kangshu.quality.rectifying.model import Figures, Standing, StandingFinding
from kangshu.quality.scoring import CellScorer, rounded_points
from kangshu.storage.database import Connection, Record

_AT_ONCE = 200
"""Institutions whose findings are in memory at the same time."""

_MISSING = "missing"


async def stand(
    connection: Connection,
    *,
    pack: Pack,
    month: date,
    now: datetime,
    institutions: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
) -> list[Standing]:
    """Return how the cells of a month stand, by cell; also those that are due and have not arrived."""
    today = local_day(now)
    covered = {
        one.cell: one
        for one in await coverage(
            connection, pack=pack, first=month, last=month, now=today, institutions=_list(institutions)
        )
        if datasets is None or one.cell.dataset in datasets
    }
    tallies = [
        one
        for one in await list_tallies(
            connection, first=month, last=month, institutions=_list(institutions), datasets=_list(datasets)
        )
        if one.cell.dataset in pack.datasets
    ]
    by_institution: defaultdict[str, list[CellTally]] = defaultdict(list)
    for tally in tallies:
        by_institution[tally.cell.institution].append(tally)
    scorers = {
        name: CellScorer(settings=pack.quality.score, dataset=pack.datasets[name])
        for name in {tally.cell.dataset for tally in tallies}
    }
    standings: list[Standing] = []
    codes = sorted(by_institution)
    for start in range(0, len(codes), _AT_ONCE):
        part = codes[start : start + _AT_ONCE]
        found = await store.add_up_findings(connection, month=month, institutions=part, datasets=datasets)
        about_cells = await list_cell_findings(
            connection, first=month, last=month, institutions=part, datasets=_list(datasets)
        )
        own = [tally for code in part for tally in by_institution[code]]
        # Thousands of cells take a while; others are served meanwhile.
        standings += await asyncio.to_thread(_standings, scorers, own, found, about_cells, covered)
    arrived = {tally.cell for tally in tallies}
    standings += [
        Standing(
            cell=one.cell,
            figures=Figures(score=None, rows=0, rejected=0, wrong=0),
            missing_since=one.due if one.state == _MISSING else None,
        )
        for one in covered.values()
        if one.cell not in arrived
    ]
    return sorted(standings, key=lambda one: one.cell)


def _standings(
    scorers: Mapping[str, CellScorer],
    tallies: Sequence[CellTally],
    found: Sequence[Record],
    about_cells: Sequence[CellFinding],
    covered: Mapping[Cell, Coverage],
) -> list[Standing]:
    rows: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for row in found:
        rows[row["dataset"], row["institution"]].append(row)
    wholes: defaultdict[Cell, list[CellFinding]] = defaultdict(list)
    for one in about_cells:
        wholes[one.cell].append(one)
    return [
        _standing(
            scorers[tally.cell.dataset],
            tally,
            rows[tally.cell.dataset, tally.cell.institution],
            wholes[tally.cell],
            covered.get(tally.cell),
        )
        for tally in tallies
    ]


def _standing(
    scorer: CellScorer,
    tally: CellTally,
    found: Sequence[Record],
    about_cell: Sequence[CellFinding],
    covered: Coverage | None,
) -> Standing:
    score = scorer.score(tally=tally, cell_findings=about_cell, coverage=covered)
    findings = [_finding(scorer, tally, row, about_cell, covered) for row in found]
    findings += [
        StandingFinding(
            rule=one.rule,
            field="",
            severity=one.severity,
            rows=0,
            points=rounded_points(
                scorer.cell_points(finding=one, tally=tally, cell_findings=about_cell, coverage=covered)
            ),
        )
        for one in about_cell
    ]
    return Standing(
        cell=tally.cell,
        figures=Figures(
            score=score.total, rows=tally.rows, rejected=tally.rejected, wrong=tally.whole.errors
        ),
        findings=tuple(sorted(findings, key=_by_worth)),
        last_arrival=tally.last_arrival,
    )


def _finding(
    scorer: CellScorer,
    tally: CellTally,
    row: Record,
    about_cell: Sequence[CellFinding],
    covered: Coverage | None,
) -> StandingFinding:
    severity = Severity(row["severity"])
    points = scorer.points(
        dimension=Dimension(row["dimension"]),
        severity=severity,
        sole=row["sole"],
        tally=tally,
        cell_findings=about_cell,
        coverage=covered,
    )
    return StandingFinding(
        rule=row["rule"],
        field=row["field"],
        severity=severity,
        rows=row["rows"],
        points=rounded_points(points),
    )


def _by_worth(finding: StandingFinding) -> tuple[float, int, str, str]:
    return -finding.points, -finding.rows, finding.rule, finding.field


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)
