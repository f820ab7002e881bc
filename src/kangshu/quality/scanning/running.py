"""Run a scan, and tell what it found: totals, counts, and the rows that break each rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kangshu.declarations import Rule
from kangshu.lake import LakeEngine, QueryFailedError
from kangshu.quality.scanning.compiling import Scan
from kangshu.quality.scanning.masks import has_bit, places_of_bits, words_for

_Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FoundRows:
    """The rows of one file, institution and month that break one rule: numbers in the file, ascending."""

    file: int
    institution: str
    month: date | None
    rule: Rule
    rows: _Int64s = field(repr=False)


def run_scan(engine: LakeEngine, scan: Scan, *, functions: str) -> Scanned:
    """Return what `scan` finds with `engine`; `functions` are the pack's (`functions_sql`).

    A rule that cannot be computed for some row makes the scan go again with care: such rows break it.

    Raises:
        LakeError: the engine could not do it.
    """
    try:
        return Scanned(scan, list(engine.query(scan.sql, functions=functions)))
    except QueryFailedError:
        pass
    return Scanned(scan, list(engine.query(scan.careful_sql, functions=functions)))


class Scanned:
    """What a scan found.

    Everything follows from its groups: rows of one file, institution and month that break the same rules.
    A month is its first day, NULL where a row has no time.
    """

    def __init__(self, scan: Scan, batches: list[pa.RecordBatch]) -> None:
        self.scan = scan
        table = pa.Table.from_batches(batches) if batches else _no_groups(scan)
        lists = table["_rows"].combine_chunks()
        if isinstance(lists, pa.ChunkedArray):
            lists = lists.chunk(0) if lists.num_chunks else pa.array([], pa.list_(pa.int64()))
        self.histogram = table.drop_columns(["_rows"])
        """How many `rows` of a `_file`, `_institution` and `month` have the same words `m0` ..., `a0` ..."""
        self._words = [_numbers(table[f"m{word}"]) for word in range(scan.words)]
        self._counts = _numbers(table["rows"])
        self._sizes = _numbers(pa.chunked_array([lists.value_lengths().fill_null(0)]))
        self._flat = _numbers(pa.chunked_array([lists.flatten()]))
        self._units = _Units(table)

    @cached_property
    def totals(self) -> pa.Table:
        """`_file`, `_institution`, `month`, `rows` and those `failing`, which break any rule.

        For rules that say where they apply, `applied.` with the rule's id has the rows that they are about.
        """
        applied = [_numbers(self.histogram[f"a{word}"]) for word in range(self._applied_words)]
        columns = {
            "rows": self._units.add_up(self._counts),
            "failing": self._units.add_up(np.where(np.any(self._words, axis=0), self._counts, 0)),
        }
        for number, rule in enumerate(self.scan.applied):
            chosen = np.where(has_bit(applied, number), self._counts, 0)
            columns[f"applied.{rule.id}"] = self._units.add_up(chosen)
        units = self._units.columns
        return pa.table({**units, **{name: pa.array(values) for name, values in columns.items()}})

    @cached_property
    def failing(self) -> pa.Table:
        """The rows that break any rule: `_file`, `_row`, `_institution`, `month`, and the words `m0` ..."""
        groups = np.repeat(np.arange(len(self._sizes)), self._sizes)
        taken = self.histogram.select(["_file", "_institution", "month"]).take(pa.array(groups))
        words = {f"m{number}": pa.array(word[groups]) for number, word in enumerate(self._words)}
        return pa.table(
            {
                "_file": taken["_file"],
                "_row": pa.array(self._flat),
                "_institution": taken["_institution"],
                "month": taken["month"],
                **words,
            }
        )

    def counts(self) -> pa.Table:
        """Return `_institution`, `month`, `rule` and `rows` for each rule that rows there break."""
        units = self._units.columns
        parts: list[pa.Table] = []
        for number, rule in enumerate(self.scan.rules):
            rows = self._units.add_up(np.where(has_bit(self._words, number), self._counts, 0))
            found = np.flatnonzero(rows)
            if len(found):
                chosen = {name: units[name].take(pa.array(found)) for name in ("_institution", "month")}
                ids = pa.array(np.full(len(found), rule.id, dtype=object), pa.string())
                parts.append(pa.table({**chosen, "rule": ids, "rows": pa.array(rows[found])}))
        if not parts:
            return _COUNTS.empty_table()
        added = (
            pa.concat_tables(parts).group_by(["_institution", "month", "rule"]).aggregate([("rows", "sum")])
        )
        ordered = added.sort_by(
            [("_institution", "ascending"), ("month", "ascending"), ("rule", "ascending")]
        )
        return ordered.rename_columns({"rows_sum": "rows"}).select(_COUNTS.names)

    def findings(self) -> Iterator[FoundRows]:
        """Yield what was found by file, institution and month, and within these in the order of the rules."""
        ends = np.cumsum(self._sizes)
        with_rows = np.flatnonzero(self._sizes)
        if not len(with_rows):
            return
        order = with_rows[np.argsort(self._units.codes[with_rows], kind="stable")]
        codes = self._units.codes[order]
        units, starts = np.unique(codes, return_index=True)
        # Unit by unit: at no time is more than one unit's rows in memory twice.
        for code, groups in zip(units.tolist(), np.split(order, starts[1:]), strict=True):
            sizes = self._sizes[groups]
            rows = np.concatenate([self._flat[ends[one] - self._sizes[one] : ends[one]] for one in groups])
            ascending = np.argsort(rows)
            group = np.repeat(groups, sizes)[ascending]
            file, institution, month = self._units.name(code)
            broken = [word[group] for word in self._words]
            for number, places in places_of_bits(broken, count=len(self.scan.rules)):
                rule = self.scan.rules[number]
                yield FoundRows(
                    file=file,
                    institution=institution,
                    month=month,
                    rule=rule,
                    rows=rows[ascending[places]],
                )

    @property
    def _applied_words(self) -> int:
        return words_for(len(self.scan.applied)) if self.scan.applied else 0


class _Units:
    """The files, institutions and months of groups, each told by one number; in that order."""

    def __init__(self, table: pa.Table) -> None:
        named = table.select(["_file", "_institution", "month"])
        order = named.append_column("_place", pa.array(np.arange(len(named))))
        order = order.sort_by([("_file", "ascending"), ("_institution", "ascending"), ("month", "ascending")])
        places = _numbers(order["_place"])
        kept = order.select(named.column_names)
        first = np.ones(len(kept), bool)
        for name in kept.column_names:
            # Nulls get a code of their own.
            codes = kept[name].combine_chunks().dictionary_encode("encode")
            codes = codes.chunk(0) if isinstance(codes, pa.ChunkedArray) else codes
            numbers = codes.indices.to_numpy(zero_copy_only=False)
            same = numbers[1:] == numbers[:-1]
            first[1:] = ~same if name == "_file" else first[1:] | ~same
        self.codes = np.empty(len(kept), np.int64)
        self.codes[places] = np.cumsum(first) - 1
        self._names = kept.filter(pa.array(first))
        self._lists = [self._names[name].to_pylist() for name in kept.column_names]

    @property
    def columns(self) -> dict[str, pa.ChunkedArray]:
        """`_file`, `_institution` and `month` of each."""
        return {name: self._names[name] for name in self._names.column_names}

    def name(self, code: int) -> tuple[int, str, date | None]:
        """Return the file, the institution and the month of the unit with this number."""
        file, institution, month = (values[code] for values in self._lists)
        return file, institution, month

    def add_up(self, values: _Int64s) -> _Int64s:
        """Return for each unit the sum of its groups' values."""
        sums = np.zeros(len(self._names), np.int64)
        np.add.at(sums, self.codes, values)
        return sums


def _numbers(column: pa.ChunkedArray) -> _Int64s:
    return np.asarray(column.to_numpy(), np.int64)


_COUNTS = pa.schema(
    [("_institution", pa.string()), ("month", pa.date32()), ("rule", pa.string()), ("rows", pa.int64())]
)


def _no_groups(scan: Scan) -> pa.Table:
    words = [f"m{number}" for number in range(scan.words)]
    if scan.applied:
        words += [f"a{number}" for number in range(words_for(len(scan.applied)))]
    schema = pa.schema(
        [
            ("_file", pa.int64()),
            ("_institution", pa.string()),
            ("month", pa.date32()),
            *((word, pa.int64()) for word in words),
            ("rows", pa.int64()),
            ("_rows", pa.list_(pa.int64())),
        ]
    )
    return schema.empty_table()
