"""What may be asked of the catalogue: figures of data sets and columns, where they come from, a search."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from kangshu.declarations import Pack, Privacy
from kangshu.quality.catalogue import store
from kangshu.quality.catalogue.model import (
    EMPTY,
    ColumnFigures,
    DatasetFigures,
    Entry,
    MonthFill,
    Source,
    SourceFile,
)
from kangshu.quality.catalogue.searching import catalogue_of
from kangshu.storage.database import Connection

_ROWS = ""
"""The column under which rows are counted."""
_MOST_FILES = 200


async def search(
    connection: Connection,
    *,
    pack: Pack,
    text: str = "",
    category: str = "",
    privacy: Privacy | None = None,
    datasets: Sequence[str] | None = None,
    institutions: Sequence[str] | None = None,
    offset: int = 0,
    limit: int = 100,
) -> tuple[int, list[Entry]]:
    """Return how many columns `text` finds, and a page of them with their figures, the nearest first.

    Words are looked for in titles and names in both languages, aliases, the standard's codes, data elements
    and value sets. `institutions` are those whose rows are counted (None: the region's).
    """
    found = catalogue_of(pack).find(text=text, category=category, privacy=privacy, datasets=datasets)
    page = found[max(0, offset) : max(0, offset) + limit]
    figures = await column_figures(
        connection, pack=pack, datasets={column.dataset.name for column in page}, institutions=institutions
    )
    return len(found), [Entry(column=one, figures=figures.get(one.key, EMPTY)) for one in page]


async def column_figures(
    connection: Connection,
    *,
    pack: Pack,
    datasets: Iterable[str],
    institutions: Sequence[str] | None = None,
) -> dict[tuple[str, str], ColumnFigures]:
    """Return the figures of every declared column of `datasets`, by data set and column, with all months.

    With `institutions` only their rows count, and how many values differ is not told: that is counted for
    the region as a whole.
    """
    names = sorted({name for name in datasets if name in pack.datasets})
    months, arrivals = await _months(connection, datasets=names, institutions=institutions)
    different: dict[tuple[str, str], tuple[int, bool]] = {}
    if institutions is None:
        for row in await store.list_different(connection, datasets=names):
            different[row["dataset"], row["column_name"]] = row["different"], row["exact"]
    found: dict[tuple[str, str], ColumnFigures] = {}
    for name in names:
        rows = months[name][_ROWS]
        for field in pack.dataset(name).fields:
            filled = months[name][field.name]
            total, key = sum(filled.values()), (name, field.name)
            count, is_exact = different.get(key, (None, True))
            found[key] = ColumnFigures(
                rows=sum(rows.values()),
                filled=total,
                # An estimate may be a little more than there are values.
                different=None if count is None else min(count, total),
                is_exact=is_exact,
                last_arrival=arrivals.get(key),
                months=tuple(
                    MonthFill(month=month, rows=count, filled=min(filled.get(month, 0), count))
                    for month, count in sorted(rows.items())
                ),
            )
    return found


async def dataset_figures(
    connection: Connection, *, pack: Pack, institutions: Sequence[str] | None = None
) -> dict[str, DatasetFigures]:
    """Return the figures of every declared data set, with all months; of `institutions` alone if told.

    Of `institutions` a file that holds rows of several of them counts for each.
    """
    names = sorted(pack.datasets)
    months, _ = await _months(connection, datasets=names, institutions=institutions)
    rows = await store.sum_sources(connection, datasets=names, institutions=institutions)
    given = {row["dataset"]: row for row in rows}
    refreshed = await store.list_refreshed(connection)
    return {
        name: _dataset_figures(
            months[name],
            columns=[field.name for field in pack.dataset(name).fields],
            given=given.get(name),
            whole=institutions is None,
            refreshed_at=refreshed[name][1] if name in refreshed else None,
        )
        for name in names
    }


async def list_sources(
    connection: Connection,
    *,
    dataset: str,
    column: str | None = None,
    institutions: Sequence[str] | None = None,
) -> list[Source]:
    """Return what each institution gave of a data set, or of one column, the most rows first."""
    if column is not None:
        rows = await store.list_column_sources(
            connection, dataset=dataset, column=column, institutions=institutions
        )
        return [_source(row, filled=row["filled"]) for row in rows]
    rows = await store.list_sources(connection, datasets=[dataset], institutions=institutions)
    return [_source(row) for row in rows]


async def list_source_files(
    connection: Connection,
    *,
    dataset: str,
    column: str,
    institutions: Sequence[str] | None = None,
    limit: int = 50,
) -> list[SourceFile]:
    """Return the latest files that have rows of a data set, at most `limit` (200)."""
    rows = await store.list_column_files(
        connection,
        dataset=dataset,
        column=column,
        institutions=institutions,
        limit=min(max(1, limit), _MOST_FILES),
    )
    return [SourceFile(**dict(row)) for row in rows]


async def _months(
    connection: Connection, *, datasets: Sequence[str], institutions: Sequence[str] | None
) -> tuple[defaultdict[str, defaultdict[str, dict[date, int]]], dict[tuple[str, str], datetime]]:
    """Return by data set, column and month how many rows have a value, and when the last such file came."""
    months: defaultdict[str, defaultdict[str, dict[date, int]]] = defaultdict(lambda: defaultdict(dict))
    arrivals: dict[tuple[str, str], datetime] = {}
    for row in await store.list_months(connection, datasets=datasets, institutions=institutions):
        key = row["dataset"], row["column_name"]
        months[key[0]][key[1]][row["month"]] = row["filled"]
        if (arrived := row["last_arrival"]) is not None:
            arrivals[key] = max(arrivals.get(key, arrived), arrived)
    return months, arrivals


def _dataset_figures(
    months: Mapping[str, Mapping[date, int]],
    *,
    columns: Sequence[str],
    given: Mapping[str, Any] | None,
    whole: bool,
    refreshed_at: datetime | None,
) -> DatasetFigures:
    rows = months.get(_ROWS, {})
    known = [months.get(name, {}) for name in columns]
    total = sum(rows.values())
    return DatasetFigures(
        rows=total,
        message_rows=given["message_rows"] if given else 0,
        files=given["whole_files" if whole else "files"] if given else 0,
        institutions=given["institutions"] if given else 0,
        cells=total * len(columns),
        filled=sum(sum(filled.values()) for filled in known),
        last_arrival=given["last_arrival"] if given else None,
        refreshed_at=refreshed_at,
        months=tuple(
            MonthFill(
                month=month,
                rows=count * len(columns),
                filled=sum(filled.get(month, 0) for filled in known),
            )
            for month, count in sorted(rows.items())
        ),
    )


def _source(row: Mapping[str, object], *, filled: int | None = None) -> Source:
    kept = ("institution", "files", "rows", "message_rows", "last_arrival")
    return Source(**{name: row[name] for name in kept}, filled=filled)  # pyright: ignore[reportArgumentType]
