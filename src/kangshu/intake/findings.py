"""What the checks found in one file: rows by number, by check, institution and month."""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as default
from datetime import date
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.declarations import Severity
from kangshu.intake.model import ReasonCount
from kangshu.kernel.periods import Period

Rows = npt.NDArray[np.int64]
UnitKey = tuple[str | None, date | None]
"""An institution and the first day of a month, each as far as a row tells it."""

_NO_MONTH = np.int64(-(1 << 40))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found in a file's rows of one institution and month (质量问题).

    `rule` is the declared rule's id, or the kind of a field's check (`required`, `type`, `domain` ...);
    `field` names the field, or is empty. `rows` are the rows' numbers in the file, ascending, each once.
    `month` is the first day of the month that the rows count for.
    """

    rule: str
    field: str
    severity: Severity
    institution: str
    month: date
    rows: Rows = default(repr=False)


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many rows of a file belong to one institution and month; `rows` = accepted + `rejected`."""

    institution: str
    month: date
    rows: int
    rejected: int

    @property
    def accepted(self) -> int:
        """Rows that passed."""
        return self.rows - self.rejected


@dataclass(frozen=True, kw_only=True)
class Examined:
    """All that was found in a file: `filled` counts for each field the accepted rows that have a value."""

    shares: tuple[Share, ...]
    findings: tuple[Finding, ...]
    filled: Mapping[str, int]

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(share.rows for share in self.shares)

    @property
    def rejected(self) -> int:
        """Rows that were refused."""
        return sum(share.rejected for share in self.shares)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """The rows of a batch that one check found: by number in the file, and by the unit they belong to."""

    rule: str
    field: str
    severity: Severity
    rows: Rows
    units: Rows


@dataclass(frozen=True, kw_only=True)
class BatchUnits:
    """To which institution and month each row of a batch belongs: `of` are places in `keys`."""

    keys: tuple[UnitKey, ...]
    of: Rows

    @classmethod
    def read(cls, institutions: pa.Array | None, moments: pa.Array | None, *, rows: int) -> BatchUnits:
        """Return the units of typed columns; a column that the file does not have is None."""
        names, codes = _institution_codes(institutions, rows)
        months = _months(moments, rows)
        joined = codes * np.int64(1 << 20) + np.where(months == _NO_MONTH, -(1 << 19), months)
        if rows and (joined == joined[0]).all():
            first, of = np.zeros(1, np.int64), np.zeros(rows, np.int64)
        else:
            _, first, of = np.unique(joined, return_index=True, return_inverse=True)
        keys = tuple((names[codes[place]], _first_day(months[place])) for place in first)
        return cls(keys=keys, of=of.astype(np.int64))

    def counted(self, chosen: npt.NDArray[np.bool_]) -> dict[UnitKey, int]:
        """Return how many of the chosen rows each unit has."""
        counts = np.bincount(self.of[chosen], minlength=len(self.keys))
        return {key: int(count) for key, count in zip(self.keys, counts, strict=True) if count}


class Findings(Protocol):
    """What a checked batch tells (`checking.CheckedBatch`)."""

    @property
    def good(self) -> pa.Table: ...

    @property
    def marks(self) -> tuple[Mark, ...]: ...

    @property
    def units(self) -> tuple[UnitKey, ...]: ...

    @property
    def unit_rows(self) -> Mapping[UnitKey, int]: ...

    @property
    def unit_rejected(self) -> Mapping[UnitKey, int]: ...


class FindingsTally:
    """Adds up what is found in a file's batches.

    A row belongs to the month of the file's period if that lies within one month, else to that of its own
    event, else to the last month of the period; one that names no institution belongs to the sender.
    """

    def __init__(self) -> None:
        self._rows: Counter[UnitKey] = Counter()
        self._rejected: Counter[UnitKey] = Counter()
        self._marks: defaultdict[tuple[str, str, Severity, UnitKey], list[Rows]] = defaultdict(list)
        self._filled: Counter[str] = Counter()

    def add(self, batch: Findings) -> None:
        """Note what was found in a batch, and count its rows and the values of its accepted ones."""
        self._rows.update(batch.unit_rows)
        self._rejected.update(batch.unit_rejected)
        for mark in batch.marks:
            for place in np.unique(mark.units).tolist():
                rows = mark.rows[mark.units == place]
                self._marks[mark.rule, mark.field, mark.severity, batch.units[place]].append(rows)
        for name in batch.good.column_names:
            if not name.startswith("_"):
                self._filled[name] += batch.good.num_rows - batch.good[name].null_count

    def examined(self, *, sender: str, period: Period) -> Examined:
        """Return the whole, once the file was read to its end and its period is known."""
        settle = _Settled(sender, period)
        rows, rejected = settle.counter(self._rows), settle.counter(self._rejected)
        found: defaultdict[tuple[str, str, Severity, str, date], list[Rows]] = defaultdict(list)
        for (rule, name, severity, key), parts in self._marks.items():
            found[rule, name, severity, *settle.key(key)] += parts
        return Examined(
            shares=tuple(
                Share(institution=key[0], month=key[1], rows=count, rejected=rejected[key])
                for key, count in sorted(rows.items())
                if count
            ),
            findings=tuple(
                Finding(
                    rule=rule,
                    field=name,
                    severity=severity,
                    institution=institution,
                    month=month,
                    rows=np.unique(np.concatenate(parts)),
                )
                for (rule, name, severity, institution, month), parts in sorted(
                    found.items(), key=lambda one: one[0]
                )
            ),
            filled=dict(self._filled),
        )


def reasons_of(examined: Examined) -> Iterator[ReasonCount]:
    """Yield how many rows of the file each check found, institutions and months taken together."""
    counts: Counter[tuple[str, str, Severity]] = Counter()
    for finding in examined.findings:
        counts[finding.rule, finding.field, finding.severity] += len(finding.rows)
    for (rule, name, severity), rows in counts.items():
        yield ReasonCount(rule=rule, field=name, severity=severity.value, rows=rows)


class _Settled:
    """Puts what rows leave open: the sender, and the month by the file's period."""

    def __init__(self, sender: str, period: Period) -> None:
        self._sender = sender
        self._month = month_of(period)
        self._last = last_month(period)

    def key(self, key: UnitKey) -> tuple[str, date]:
        institution, month = key
        return institution or self._sender, self._month or month or self._last

    def counter(self, counts: Mapping[UnitKey, int]) -> Counter[tuple[str, date]]:
        settled: Counter[tuple[str, date]] = Counter()
        for key, count in counts.items():
            settled[self.key(key)] += count
        return settled


def month_of(period: Period) -> date | None:
    """Return the first day of the month in which the whole period lies, or None."""
    first = period.start.replace(day=1)
    return first if last_month(period) == first else None


def last_month(period: Period) -> date:
    """Return the first day of the period's last month."""
    return date.fromordinal(period.end.toordinal() - 1).replace(day=1)


def _institution_codes(column: pa.Array | None, rows: int) -> tuple[list[str | None], Rows]:
    if column is None:
        return [None], np.zeros(rows, np.int64)
    encoded = column.dictionary_encode()
    names: list[str | None] = [None, *encoded.dictionary.to_pylist()]
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return names, codes + 1


def _months(column: pa.Array | None, rows: int) -> Rows:
    """Return months since January 1970."""
    if column is None:
        return np.full(rows, _NO_MONTH)
    days = pc.cast(column, pa.date32(), safe=False).to_numpy(zero_copy_only=False)
    months = days.astype("datetime64[M]").astype(np.int64)
    # Years that nobody can mean would not fit a key; such a row counts for the file's month.
    return np.where(np.isnat(days) | (np.abs(months) > 12_000), _NO_MONTH, months)


def _first_day(month: np.int64) -> date | None:
    return None if month == _NO_MONTH else date(1970 + int(month) // 12, int(month) % 12 + 1, 1)
