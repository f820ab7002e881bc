"""Reads of coverage: what became of every cell that the pack expects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from kangshu import directory
from kangshu.declarations import Expectation, Pack
from kangshu.directory import Institution
from kangshu.intake import ZONE
from kangshu.quality.coverage import store
from kangshu.quality.coverage.model import Arrived, Coverage, assess, expected_rows
from kangshu.quality.coverage.store import History, Key
from kangshu.quality.model import Cell
from kangshu.quality.plausibility import add_months, list_cell_figures
from kangshu.security.principals import Reach
from kangshu.storage.database import Connection

STATISTICS = "institution_month"
"""The data set in which an institution reports figures of its month."""

_PAGE = 10_000
_NOTHING = Arrived()
_UNKNOWN = History(last_year=None, usual=None)


async def coverage(
    connection: Connection,
    *,
    pack: Pack,
    first: date,
    last: date,
    now: date,
    institutions: Sequence[str] | None = None,
    zone: str = ZONE,
) -> list[Coverage]:
    """Return what became of every expected cell of the months `first` to `last`, both included.

    Expected is what `Pack.quality.expectations` asks of the institutions that the directory lists and that
    were open in the month; `institutions` None means all. Newest month first, then by data set and
    institution. Days are those of `zone`; `now` is today there.
    """
    expectations = pack.quality.expectations
    months = list(_months(first, last))
    listed = await _listed(connection, institutions)
    if not expectations or not months or not listed:
        return []
    whom = {"datasets": sorted({one.dataset for one in expectations}), "institutions": institutions}
    arrived = await store.list_arrived(connection, first=months[0], last=months[-1], zone=zone, **whom)
    history = await store.list_history(connection, months=months, **whom)
    reported = await _reported(
        connection, expectations, first=months[0], last=months[-1], institutions=institutions
    )
    found: dict[Key, Coverage] = {}
    for key, expectation in _owed(expectations, listed, months):
        if key in found:
            continue
        month, dataset, institution = key
        past = history.get(key, _UNKNOWN)
        found[key] = assess(
            cell=Cell(month=month, dataset=dataset, institution=institution),
            expectation=expectation,
            expected=expected_rows(
                reported=reported.get((month, institution, expectation.statistic)),
                last_year=past.last_year,
                usual=past.usual,
            ),
            arrived=arrived.get(key, _NOTHING),
            now=now,
        )
    return [found[key] for month in reversed(months) for key in sorted(_of(found, month))]


def expects(expectation: Expectation, institution: Institution) -> bool:
    """Return whether the pack expects the data set of `institution`; one that nobody listed owes nothing."""
    kind, level = institution.type or "", institution.level or ""
    return (
        not institution.provisional
        and (not expectation.types or kind.startswith(expectation.types))
        and (not expectation.levels or level in expectation.levels)
    )


def _owed(
    expectations: Sequence[Expectation], listed: Sequence[Institution], months: Sequence[date]
) -> Iterator[tuple[Key, Expectation]]:
    """Yield every cell that somebody owes with what is asked; of several expectations the first counts."""
    for expectation in expectations:
        owing = [institution for institution in listed if expects(expectation, institution)]
        for month in months:
            for institution in owing:
                if _is_open(institution, month):
                    yield (month, expectation.dataset, institution.code), expectation


def _of(found: Iterable[Key], month: date) -> list[Key]:
    return [key for key in found if key[0] == month]


async def _listed(connection: Connection, institutions: Sequence[str] | None) -> list[Institution]:
    if institutions is not None:
        return await directory.institutions_by_code(connection, codes=institutions)
    found: list[Institution] = []
    while True:
        page = await directory.list_institutions(
            connection, within=[Reach.region()], limit=_PAGE, offset=len(found)
        )
        found += page
        if len(page) < _PAGE:
            return found


async def _reported(
    connection: Connection,
    expectations: Sequence[Expectation],
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None,
) -> dict[tuple[date, str, str], float]:
    """Return the figures that institutions reported, by month, institution and name of the statistic."""
    names = {one.statistic for one in expectations if one.statistic}
    if not names:
        return {}
    told = await list_cell_figures(
        connection, first=first, last=last, institutions=institutions, datasets=[STATISTICS]
    )
    return {
        (one.cell.month, one.cell.institution, name): one.figures[name]
        for one in told
        for name in names & one.figures.keys()
    }


def _is_open(institution: Institution, month: date) -> bool:
    return institution.opened_on is None or institution.opened_on < add_months(month, 1)


def _months(first: date, last: date) -> Iterator[date]:
    month = first.replace(day=1)
    while month <= last:
        yield month
        month = add_months(month, 1)
