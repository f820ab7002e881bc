"""Which files the rules over the lake must look at: new ones, and those whose rows look at what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from kangshu.declarations import Dataset, Pack, Scope
from kangshu.intake import Share
from kangshu.quality import store
from kangshu.storage.database import Connection

_MOST_FILES = 400  # arbitrary: in one statement; what is over waits for the next


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Files of a data set to be looked at; `turns` take them off the list again."""

    dataset: str
    files: tuple[int, ...]
    turns: tuple[int, ...]


async def expect_assessment(
    connection: Connection,
    *,
    pack: Pack,
    dataset: Dataset,
    file: int,
    shares: Sequence[Share],
    replaces: Sequence[int] = (),
) -> list[str]:
    """Note that a file came in the place of others: its rows are to be looked at, and what looks at them.

    These are the rows of the same institutions in the months from the one before to the one after; rules that
    look further see the change at the next full assessment. Returns the data sets with work to do.
    """
    await store.put_pending(connection, dataset=dataset.name, files=[file, *replaces])
    lookers = _lookers(pack, dataset) if shares else []
    if not lookers or dataset.category == "directory":
        return [dataset.name]
    months = [share.month for share in shares]
    related = await store.put_related_pending(
        connection,
        datasets=lookers,
        institutions=sorted({share.institution for share in shares}),
        first=_month_before(min(months)),
        last=_month_after(max(months)),
    )
    return sorted({dataset.name, *related})


async def expect_files(connection: Connection, *, dataset: str, files: Sequence[int]) -> None:
    """Note that files of a data set are to be looked at (again)."""
    if files:
        await store.put_pending(connection, dataset=dataset, files=files)


async def next_waiting(connection: Connection, *, dataset: str) -> Waiting | None:
    """Return files of a data set to look at now, or None where none wait."""
    found = await store.list_pending(connection, dataset=dataset, limit=_MOST_FILES)
    if not found:
        return None
    return Waiting(
        dataset=dataset, files=tuple(file for file, _ in found), turns=tuple(turn for _, turn in found)
    )


async def datasets_waiting(connection: Connection) -> list[str]:
    """Return the data sets of which files wait to be looked at."""
    return await store.list_pending_datasets(connection)


async def settle(connection: Connection, *, waiting: Waiting) -> None:
    """Take what was looked at off the list, but for files that were named again meanwhile."""
    await store.delete_pending(connection, dataset=waiting.dataset, turns=waiting.turns)


async def rows_kept(connection: Connection, *, files: Sequence[int]) -> Mapping[int, int]:
    """Return how many rows of each file are kept; files of which nothing is kept are left out."""
    return await store.list_kept_rows(connection, files=files)


async def files_kept(connection: Connection, *, dataset: str) -> list[int]:
    """Return the files of a data set of which something is kept."""
    return await store.list_files_kept(connection, dataset=dataset)


def _lookers(pack: Pack, dataset: Dataset) -> list[str]:
    """Return the data sets whose rules look at rows of `dataset`; rules without looks look at their own."""
    return sorted(
        name
        for name, looker in pack.datasets.items()
        for rule in looker.rules
        if rule.scope is Scope.REGION and dataset.name in ({look.dataset for look in rule.looks} or {name})
    )


def _month_before(month: date) -> date:
    return date(month.year - (month.month == 1), (month.month - 2) % 12 + 1, 1)


def _month_after(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
