"""The SQL of indicators and EMR items over accepted rows, and what its answers mean; the engine is passed in.

A row counts for the month of its file's unit: the only one, or that of its own event, or the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from kangshu.declarations import EmrItem, QualityIndicator
from kangshu.intake import Share
from kangshu.quality.scoring.shares import AmongRows, Aspect, AspectCount, Unit

_KEY = ("_file", "_institution", "_month")
_MONTH = "CAST(date_trunc('month', _at) AS DATE) AS _month"

FileUnit = tuple[int, Unit]


class Units:
    """To which unit of its file a row belongs."""

    def __init__(self, shares: Mapping[int, Sequence[Share]]) -> None:
        self._months: dict[tuple[int, str], list[date]] = {}
        for file, own in shares.items():
            for share in own:
                self._months.setdefault((file, share.institution), []).append(share.month)

    def find(self, *, file: int, institution: str | None, month: date | None) -> FileUnit | None:
        """Return the unit; None where the file has no such institution."""
        months = self._months.get((file, institution or ""))
        if not months:
            return None
        own = month if month is not None and month in months else max(months)
        return file, (institution or "", own)


def aspects_of(item: EmrItem) -> dict[Aspect, str]:
    """Return the predicates that an item asks of its rows."""
    predicates = {
        Aspect.CONSISTENCY: item.consistency,
        Aspect.REQUIRED: item.required,
        Aspect.EXPECTED: item.expected,
        Aspect.TIMELINESS: item.timeliness,
    }
    return {aspect: predicate for aspect, predicate in predicates.items() if predicate}


def emr_sql(*, items: Sequence[EmrItem], table: str, files: Sequence[int]) -> str | None:
    """Return one statement that counts the rows that meet each aspect of each item; None where none asks."""
    predicates = [predicate for item in items for predicate in aspects_of(item).values()]
    if not predicates or not files:
        return None
    counts = ", ".join(
        f"count(*) FILTER (WHERE ({predicate})) AS n{number}" for number, predicate in enumerate(predicates)
    )
    return (
        f"SELECT _file, _institution, {_MONTH}, count(*) AS _rows, {counts}"
        f" FROM {table} AS kept WHERE {_of_files(files)} GROUP BY 1, 2, 3"
    )


def read_emr(
    batches: Iterable[pa.RecordBatch], *, items: Sequence[EmrItem], units: Units
) -> dict[int, list[AspectCount]]:
    """Return the counts of `emr_sql` by file."""
    asked = [(item.id, aspect) for item in items for aspect in aspects_of(item)]
    sums: dict[tuple[FileUnit, str, Aspect], list[int]] = {}
    for row in _rows(batches):
        unit = _unit(units, row)
        if unit is None:
            continue
        for number, (item, aspect) in enumerate(asked):
            kept = sums.setdefault((unit, item, aspect), [0, 0])
            kept[0] += row[f"n{number}"]
            kept[1] += row["_rows"]
    found: dict[int, list[AspectCount]] = {}
    for ((file, unit), item, aspect), (good, total) in sums.items():
        found.setdefault(file, []).append(
            AspectCount(item=item, aspect=aspect, unit=unit, good=good, total=total)
        )
    return found


def among_sql(*, indicators: Sequence[QualityIndicator], table: str, files: Sequence[int]) -> str | None:
    """Return one statement that names the rows that indicators are about; None where none has a predicate."""
    chosen = narrowed(indicators)
    if not chosen or not files:
        return None
    flags = ", ".join(f"coalesce(({one.among}), false) AS n{number}" for number, one in enumerate(chosen))
    any_flag = " OR ".join(f"n{number}" for number in range(len(chosen)))
    return (
        f"SELECT * FROM (SELECT _file, _institution, {_MONTH}, _row, {flags}"
        f" FROM {table} AS kept WHERE {_of_files(files)}) AS flagged WHERE {any_flag}"
    )


def read_among(
    batches: Iterable[pa.RecordBatch], *, indicators: Sequence[QualityIndicator], units: Units
) -> dict[int, list[AmongRows]]:
    """Return the rows of `among_sql` by file."""
    chosen = narrowed(indicators)
    parts: dict[tuple[FileUnit, str], list[np.ndarray]] = {}
    for batch in batches:
        table = pa.Table.from_batches([batch])
        numbers = table["_row"].to_numpy()
        for unit, places in _by_unit(table, units):
            for number, indicator in enumerate(chosen):
                flags = table[f"n{number}"].to_numpy()[places]
                parts.setdefault((unit, indicator.id), []).append(numbers[places][flags])
    found: dict[int, list[AmongRows]] = {}
    for ((file, unit), indicator), arrays in parts.items():
        rows = np.sort(np.concatenate(arrays))
        found.setdefault(file, []).append(AmongRows(indicator=indicator, unit=unit, rows=rows))
    return found


def narrowed(indicators: Iterable[QualityIndicator]) -> list[QualityIndicator]:
    """Return the indicators that are about some of the accepted rows."""
    return [one for one in indicators if one.among and not one.scoring and not one.reconciliation]


def _by_unit(table: pa.Table, units: Units) -> Iterator[tuple[FileUnit, np.ndarray]]:
    """Yield the places of a batch's rows by the unit that they belong to."""
    keys = table.select(_KEY)
    grouped = pa.TableGroupBy(
        keys.append_column("place", pa.array(np.arange(table.num_rows))), list(_KEY), use_threads=False
    ).aggregate([("place", "list")])
    for row in _rows(grouped.to_batches()):
        unit = _unit(units, row)
        if unit is not None:
            yield unit, np.asarray(row["place_list"], np.int64)


def _unit(units: Units, row: Mapping[str, Any]) -> FileUnit | None:
    return units.find(file=row["_file"], institution=row["_institution"], month=row["_month"])


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()


def _of_files(files: Sequence[int]) -> str:
    return f"_file IN ({', '.join(str(int(file)) for file in files)})"
