"""What may be asked about findings and cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from kangshu.declarations import Dimension, Severity
from kangshu.intake import Finding, Share
from kangshu.quality import places, store
from kangshu.quality.model import Cell, CellTally, DimensionTally, FindingCount, Origin
from kangshu.storage.database import Connection, Record


async def list_tallies(
    connection: Connection,
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
) -> list[CellTally]:
    """Return the cells of the months from `first` to `last`, both included, the latest month first.

    `institutions` and `datasets` narrow them; None takes all.
    """
    narrow = {"first": first, "last": last, "institutions": institutions, "datasets": datasets}
    units = await store.add_up_units(connection, **narrow)
    tallies: defaultdict[Cell, dict[str, DimensionTally]] = defaultdict(dict)
    for row in await store.add_up_tallies(connection, **narrow):
        tallies[_cell(row)][row["dimension"]] = DimensionTally(errors=row["errors"], warnings=row["warnings"])
    return [_tally(row, tallies[_cell(row)]) for row in units]


async def list_findings(
    connection: Connection,
    *,
    first: date,
    last: date,
    institutions: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    file: int | None = None,
    rule: str | None = None,
) -> list[FindingCount]:
    """Return findings by file, the latest month first, in each the one with most rows first."""
    rows = await store.list_findings(
        connection,
        first=first,
        last=last,
        institutions=institutions,
        datasets=datasets,
        file=file,
        rule=rule,
    )
    return [_count(row) for row in rows]


async def finding_rows(
    connection: Connection, *, file: int, institution: str, month: date, rule: str, field: str
) -> np.ndarray:
    """Return the numbers of the rows in which a check found something, ascending; none where it did not."""
    data = await store.select_places(
        connection, file=file, institution=institution, month=month, rule=rule, field=field
    )
    return np.empty(0, np.int64) if data is None else places.decode(data)


async def file_findings(
    connection: Connection, *, file: int, origin: Origin | None = None
) -> tuple[list[Share], list[Finding]]:
    """Return all that is kept of a file, its rows by number: what its scores can be computed from again."""
    shares = [
        Share(institution=row["institution"], month=row["month"], rows=row["rows"], rejected=row["rejected"])
        for row in await store.select_units(connection, files=[file])
    ]
    found = await store.select_findings(connection, files=[file], origin=origin.value if origin else None)
    return shares, [findings_of(row) for row in found]


async def cells_of(connection: Connection, *, files: Sequence[int]) -> list[Cell]:
    """Return the cells in which these files have rows, in order."""
    return sorted({_cell(row) for row in await store.select_units(connection, files=files)})


async def list_months(connection: Connection, *, institutions: Sequence[str] | None = None) -> list[date]:
    """Return the months of which something is kept, the latest first."""
    return await store.list_months(connection, institutions=institutions)


def add_up(findings: Iterable[FindingCount]) -> list[FindingCount]:
    """Return findings over files: one for each cell, check and field, its file 0; order is kept by rows."""
    sums: dict[tuple[Cell, str, str], FindingCount] = {}
    for one in findings:
        key = one.cell, one.rule, one.field
        known = sums.get(key)
        sums[key] = (
            replace(known, rows=known.rows + one.rows, sole=known.sole + one.sole)
            if known
            else replace(one, file=0)
        )
    return sorted(sums.values(), key=lambda one: (-one.cell.month.toordinal(), -one.rows, one.cell, one.rule))


def merge_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with those of one check, institution and month put together."""
    grouped: defaultdict[tuple[str, str, Severity, str, date], list[np.ndarray]] = defaultdict(list)
    for one in findings:
        grouped[one.rule, one.field, one.severity, one.institution, one.month].append(one.rows)
    return [
        Finding(
            rule=rule,
            field=field,
            severity=severity,
            institution=institution,
            month=month,
            rows=np.unique(np.concatenate(parts)),
        )
        for (rule, field, severity, institution, month), parts in sorted(
            grouped.items(), key=lambda one: one[0]
        )
    ]


def findings_of(row: Record) -> Finding:
    """Return a stored finding with its rows."""
    return Finding(
        rule=row["rule"],
        field=row["field"],
        severity=Severity(row["severity"]),
        institution=row["institution"],
        month=row["month"],
        rows=places.decode(row["places"]),
    )


def _cell(row: Record) -> Cell:
    return Cell(month=row["month"], dataset=row["dataset"], institution=row["institution"])


def _count(row: Record) -> FindingCount:
    return FindingCount(
        cell=_cell(row),
        file=row["file_id"],
        rule=row["rule"],
        field=row["field"],
        origin=Origin(row["origin"]),
        severity=Severity(row["severity"]),
        dimension=Dimension(row["dimension"]),
        rows=row["rows"],
        sole=row["sole"],
    )


def _tally(row: Record, tallies: dict[str, DimensionTally]) -> CellTally:
    return CellTally(
        cell=_cell(row),
        rows=row["rows"],
        rejected=row["rejected"],
        files=row["files"],
        last_arrival=row["last_arrival"],
        whole=tallies.get("", DimensionTally()),
        by_dimension={Dimension(name): tally for name, tally in tallies.items() if name},
    )
