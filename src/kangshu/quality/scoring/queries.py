"""Reads of scores: computed from what was found, or as they were kept."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date

from kangshu import directory
from kangshu.declarations import Pack
from kangshu.quality.coverage import coverage
from kangshu.quality.model import Cell
from kangshu.quality.plausibility import CellFinding, add_months, list_cell_findings
from kangshu.quality.queries import list_tallies
from kangshu.quality.reconciling import Balance, list_balances
from kangshu.quality.scoring import store
from kangshu.quality.scoring.formulas import CellScorer, score_institution, score_missing
from kangshu.quality.scoring.model import CellScore, InstitutionScore, Ranked
from kangshu.quality.scoring.placing import rank
from kangshu.quality.scoring.shares import (
    Combination,
    EmrCoefficient,
    IndicatorValue,
    ShareCount,
    ShareKind,
    add_shares,
    coefficients,
)
from kangshu.quality.scoring.sheets import SheetCount, add_sheets
from kangshu.security.principals import Reach
from kangshu.storage.database import Connection

_PAGE = 10_000


async def scores(
    connection: Connection,
    *,
    pack: Pack,
    first: date,
    last: date,
    now: date,
    institutions: Sequence[str] | None = None,
) -> list[CellScore]:
    """Return the scores of all cells of the months `first` to `last`, computed from what was found.

    Cells that are expected and did not arrive are among them. The latest month first, then by data set and
    institution. A data set that the pack no longer has is left out.
    """
    span = {"first": first, "last": last, "institutions": institutions}
    tallies = await list_tallies(connection, **span)
    faults: dict[Cell, list[CellFinding]] = {}
    for fault in await list_cell_findings(connection, **span):
        faults.setdefault(fault.cell, []).append(fault)
    expected = {one.cell: one for one in await coverage(connection, pack=pack, now=now, **span)}
    scorers: dict[str, CellScorer] = {}
    scored: list[CellScore] = []
    for tally in tallies:
        dataset = pack.datasets.get(tally.cell.dataset)
        if dataset is None:
            continue
        scorer = scorers.get(dataset.name) or CellScorer(settings=pack.quality.score, dataset=dataset)
        scorers[dataset.name] = scorer
        scored.append(
            scorer.score(
                tally=tally,
                cell_findings=faults.get(tally.cell, ()),
                coverage=expected.pop(tally.cell, None),
            )
        )
    scored += [score_missing(settings=pack.quality.score, coverage=one) for one in expected.values()]
    return sorted(
        scored,
        key=lambda one: (-one.cell.month.toordinal(), one.cell.dataset, one.cell.institution),
    )


async def institution_scores(
    connection: Connection,
    *,
    pack: Pack,
    first: date,
    last: date,
    now: date,
    institutions: Sequence[str] | None = None,
) -> list[InstitutionScore]:
    """Return the scores of institutions with their cells, latest month first."""
    return score_institutions(
        await scores(connection, pack=pack, first=first, last=last, now=now, institutions=institutions)
    )


def score_institutions(cells: Iterable[CellScore]) -> list[InstitutionScore]:
    """Return the scores of the institutions and months of `cells`, the latest month first."""
    grouped: dict[tuple[date, str], list[CellScore]] = {}
    for cell in cells:
        grouped.setdefault((cell.cell.month, cell.cell.institution), []).append(cell)
    scored = [score for own in grouped.values() if (score := score_institution(own))]
    return sorted(scored, key=lambda one: (-one.month.toordinal(), one.institution))


async def kept_scores(
    connection: Connection,
    *,
    pack: Pack,
    first: date,
    last: date,
    now: date,
    institutions: Sequence[str] | None = None,
) -> list[InstitutionScore]:
    """Return the scores of institutions as they were kept; a month not yet kept is computed."""
    kept = await store.list_scored_months(connection, first=first, last=last, digest=digest_of(pack))
    found: list[InstitutionScore] = []
    for month in months_between(first, last):
        found += (
            await store.list_institution_scores(
                connection, first=month, last=month, institutions=institutions
            )
            if month in kept
            else await institution_scores(
                connection, pack=pack, first=month, last=month, now=now, institutions=institutions
            )
        )
    return sorted(found, key=lambda one: (-one.month.toordinal(), one.institution))


async def kept_cells(
    connection: Connection,
    *,
    pack: Pack,
    first: date,
    last: date,
    now: date,
    institutions: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
) -> list[CellScore]:
    """Return the scores of cells as they were kept; a month not yet kept is computed."""
    kept = await store.list_scored_months(connection, first=first, last=last, digest=digest_of(pack))
    found: list[CellScore] = []
    for month in months_between(first, last):
        if month in kept:
            found += await store.list_cell_scores(
                connection, first=month, last=month, institutions=institutions, datasets=datasets
            )
            continue
        computed = await scores(
            connection, pack=pack, first=month, last=month, now=now, institutions=institutions
        )
        found += [one for one in computed if datasets is None or one.cell.dataset in datasets]
    return sorted(
        found, key=lambda one: (-one.cell.month.toordinal(), one.cell.dataset, one.cell.institution)
    )


async def ranking(
    connection: Connection,
    *,
    pack: Pack,
    month: date,
    now: date,
    among: Collection[str] | None = None,
    dataset: str | None = None,
) -> list[Ranked]:
    """Return the ranking of a month with the change from the month before, the best first.

    `among` narrows it to these institutions, `dataset` to their scores of one data set.
    """
    first = add_months(month, -1)
    span = {
        "pack": pack,
        "first": first,
        "last": month,
        "now": now,
        "institutions": None if among is None else sorted(among),
    }
    if dataset is None:
        found = await kept_scores(connection, **span)
    else:
        found = score_institutions(await kept_cells(connection, datasets=[dataset], **span))
    return rank(
        [one for one in found if one.month == month],
        previous=[one for one in found if one.month == first],
        among=among,
    )


async def comparable(
    connection: Connection, *, division: str | None = None, kind: str | None = None, level: str | None = None
) -> frozenset[str] | None:
    """Return the institutions to be ranked with each other; None, which means all, without a filter.

    `division` is a division code, `kind` the beginning of a WS 218 type, `level` a code of hospital_grade.

    Raises:
        ValueError: `division` is no division code.
    """
    if not (division or kind or level):
        return None
    within = [Reach.division(division) if division else Reach.region()]
    found: set[str] = set()
    offset = 0
    while True:
        page = await directory.list_institutions(connection, within=within, limit=_PAGE, offset=offset)
        offset += len(page)
        found |= {
            one.code
            for one in page
            if (one.type or "").startswith(kind or "") and (not level or one.level == level)
        }
        if len(page) < _PAGE:
            return frozenset(found)


async def sheet_scores(
    connection: Connection, *, first: date, last: date, institutions: Sequence[str] | None = None
) -> list[SheetCount]:
    """Return what scoring sheets say of institutions and months: one count for each sheet."""
    return add_sheets(await store.list_sheets(connection, first=first, last=last, institutions=institutions))


async def indicators(
    connection: Connection,
    *,
    pack: Pack,
    first: date,
    last: date,
    institutions: Sequence[str] | None = None,
    together: bool = False,
) -> list[IndicatorValue]:
    """Return the declared indicators by month and institution, in the pack's order.

    With `together` there is one value over all institutions, and of these over those alone that gave both
    figures where an indicator compares two.
    """
    counts = await store.add_up_shares(
        connection, kind=ShareKind.INDICATOR, first=first, last=last, institutions=institutions
    )
    values: dict[tuple[date, str, str], list[float]] = {}
    for one in add_shares(counts) if together else counts:
        values[one.month, one.institution, one.name] = [one.good, one.total]
    compared = [one for one in pack.quality.indicators if one.reconciliation]
    pairs = {one.reconciliation for one in compared}
    for balance in await _balances(connection, pack, pairs, first, last, institutions):
        for indicator in compared:
            if indicator.reconciliation == balance.id:
                key = balance.month, "" if together else balance.institution, indicator.id
                kept = values.setdefault(key, [0.0, 0.0])
                kept[0] += balance.left or 0.0
                kept[1] += balance.right or 0.0
    return _in_order(pack, values)


async def _balances(
    connection: Connection,
    pack: Pack,
    ids: Collection[str],
    first: date,
    last: date,
    institutions: Sequence[str] | None,
) -> list[Balance]:
    """Return the balances that have something to divide by; what did not arrive counts as none."""
    if not ids:
        return []
    found = await list_balances(connection, pack=pack, first=first, last=last, institutions=institutions)
    return [one for one in found if one.id in ids and one.right]


def _in_order(pack: Pack, values: Mapping[tuple[date, str, str], Sequence[float]]) -> list[IndicatorValue]:
    places = {indicator.id: place for place, indicator in enumerate(pack.quality.indicators)}
    declared = {indicator.id: indicator for indicator in pack.quality.indicators}
    known = sorted(
        (key for key in values if key[2] in places),
        key=lambda key: (-key[0].toordinal(), key[1], places[key[2]]),
    )
    return [
        IndicatorValue(
            indicator=declared[name],
            month=month,
            institution=institution,
            good=values[month, institution, name][0],
            total=values[month, institution, name][1],
        )
        for month, institution, name in known
    ]


async def emr_index(
    connection: Connection,
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None = None,
    combination: Combination = Combination.MEAN,
    together: bool = False,
) -> list[EmrCoefficient]:
    """Return the coefficient of each item of the EMR data-quality index by month and institution."""
    counts: list[ShareCount] = await store.add_up_shares(
        connection, kind=ShareKind.EMR, first=first, last=last, institutions=institutions
    )
    return coefficients(add_shares(counts) if together else counts, combination=combination)


def digest_of(pack: Pack) -> str:
    """Return a digest of what the pack says about scores; what was kept under another holds no longer."""
    settings = pack.quality.score
    said = (
        sorted(settings.dimensions.items()),
        sorted(settings.datasets.items()),
        (settings.other_datasets, settings.warning_weight),
        pack.quality.expectations,
        [
            (name, [(rule.id, rule.dimension, rule.scope) for rule in dataset.rules], len(dataset.fields))
            for name, dataset in sorted(pack.datasets.items())
        ],
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()


def months_between(first: date, last: date) -> list[date]:
    """Return the first days of the months from that of `first` to that of `last`."""
    months: list[date] = []
    month = first.replace(day=1)
    while month <= last:
        months.append(month)
        month = add_months(month, 1)
    return months
