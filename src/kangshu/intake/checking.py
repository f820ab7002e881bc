"""Check a file's batches with DuckDB against its declaration: good rows typed, bad rows with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as default
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.declarations import Pack, Rule, functions_sql
from kangshu.intake.compiling import Check, CheckPlan
from kangshu.standards.tables import Batch, RowFault


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One reason why one row is refused: the row's number in the file, the check's code and the field."""

    row: int
    code: str
    field: str
    repeat: int = 1


@dataclass(frozen=True, kw_only=True)
class CheckedBatch:
    """What became of one batch: `good` has `_row`, `_claim` and the typed fields of the accepted rows."""

    good: pa.Table
    failures: tuple[Failure, ...]
    rejected: int
    warned: Counter[str] = default(default_factory=Counter)


class CheckEngine:
    """A DuckDB in this process that knows the pack's functions. One file at a time, one thread at a time."""

    def __init__(self, *, pack: Pack, memory_mib: int = 768) -> None:
        self._connection = duckdb.connect(":memory:")
        # A second thread gains nothing on one batch (measured); reading and writing have the other core.
        self._connection.execute("SET threads = 1")
        self._connection.execute(f"SET memory_limit = '{memory_mib}MiB'")
        self._connection.execute("SET preserve_insertion_order = true")
        # The optimiser would make a join of every short IN list: 70 ms a statement, whatever its rows.
        self._connection.execute("SET disabled_optimizers = 'in_clause'")
        if functions := functions_sql(pack):
            self._connection.execute(functions)
        self._prepared: set[str] = set()

    def prepare(self, plan: CheckPlan, *, received_at: datetime | None) -> None:
        """Make the code lists that the plan looks up, and tell the rules when the file arrived."""
        moment = f"TIMESTAMP '{received_at:%Y-%m-%d %H:%M:%S}'" if received_at else "NULL::TIMESTAMP"
        self._connection.execute(f"SET VARIABLE received_at = {moment}")
        for statement in plan.prepare:
            if statement not in self._prepared:
                self._connection.execute(statement)
                self._prepared.add(statement)

    def select(self, plan: CheckPlan, table: pa.Table, checks: Sequence[Check]) -> pa.Table:
        """Return the plan's selection over `table`, in the order of its rows."""
        self._connection.register("batch", table)
        try:
            return self._connection.execute(plan.select(checks)).to_arrow_table()
        finally:
            self._connection.unregister("batch")

    def explain(self, plan: CheckPlan, table: pa.Table, rows: pa.Array) -> list[tuple[int, list[int]]]:
        """Return for each of `rows` the positions of the checks that it fails."""
        self._connection.register("batch", table)
        self._connection.register("bad_rows", pa.table({"_row": rows}))
        try:
            return self._connection.execute(plan.explain).fetchall()
        finally:
            self._connection.unregister("batch")
            self._connection.unregister("bad_rows")

    def close(self) -> None:
        """Let the engine's memory go."""
        self._connection.close()


class FileCheck:
    """The check of one file, batch after batch; it remembers the keys that must occur once.

    `received_at` is the region's wall-clock time without zone, for rules about dates in the future.
    """

    def __init__(self, *, engine: CheckEngine, plan: CheckPlan, received_at: datetime | None) -> None:
        self._engine = engine
        self._plan = plan
        self._seen = [SeenKeys() for _ in plan.unique]
        engine.prepare(plan, received_at=received_at)

    def check(self, batch: Batch) -> CheckedBatch:
        """Return what became of the batch's rows, unreadable ones among the rejected."""
        failures = [Failure(row=fault.row, code="ragged", field="") for fault in batch.ragged]
        failures += [self._fault(fault) for fault in batch.faults]
        rejected = len(failures)
        table, checks = batch.table, self._plan.checks
        checked = self._engine.select(self._plan, table, open_checks(table, checks))
        good = self._assemble(table, checked)
        passed = checked["_ok"]
        if not pc.all(passed, min_count=0).as_py():
            bad = checked.filter(pc.invert(passed))["_row"].combine_chunks()
            failures += self._explain(table, bad)
            rejected += len(bad)
            good = good.filter(passed)
        good, twice = self._drop_repeats(good)
        failures += twice
        rejected += len({failure.row for failure in twice})
        return CheckedBatch(
            good=good,
            failures=tuple(failures),
            rejected=rejected,
            warned=_count_bits(good["_warned"], self._plan.warnings),
        )

    def _fault(self, fault: RowFault) -> Failure:
        """Name the field of an unreadable cell, where the file's column is one of the data set's."""
        for column in self._plan.recognition.columns:
            if column.position == fault.column:
                name, repeat = column.field.name, column.repeat
                return Failure(row=fault.row, code=fault.kind, field=name, repeat=repeat)
        return Failure(row=fault.row, code=fault.kind, field="")

    def _assemble(self, table: pa.Table, checked: pa.Table) -> pa.Table:
        """Put each field's column beside the row numbers: strings as read, the rest as computed."""
        assert checked["_row"].equals(table["_row"]), "DuckDB keeps the order of the rows"
        recognition = self._plan.recognition
        positions = {column.field.name: column.position for column in recognition.columns}
        columns: dict[str, pa.ChunkedArray] = {"_row": checked["_row"]}
        for one in recognition.dataset.fields:
            if one.name in self._plan.computed:
                columns[one.name] = checked[one.name]
            elif one.name in positions:
                columns[one.name] = table[f"c{positions[one.name]}"]
        columns |= {name: checked[name] for name in checked.column_names if name.startswith("_")}
        return pa.table(columns)

    def _explain(self, table: pa.Table, rows: pa.Array) -> list[Failure]:
        failures: list[Failure] = []
        for row, failed in self._engine.explain(self._plan, table, rows):
            for position in failed:
                check = self._plan.checks[position]
                failures.append(
                    Failure(row=row, code=check.code, field=check.field_name, repeat=check.repeat)
                )
        return failures

    def _drop_repeats(self, checked: pa.Table) -> tuple[pa.Table, list[Failure]]:
        """Of good rows with the same key the first in the file stays."""
        failures: list[Failure] = []
        for number, (rule, seen) in enumerate(zip(self._plan.unique, self._seen, strict=True)):
            repeated = seen.add(checked[f"_unique{number}"].to_numpy())
            if not repeated.any():
                continue
            rows = checked["_row"].to_numpy()[repeated]
            failures += [_repeat_failure(int(row), rule) for row in rows]
            checked = checked.filter(pa.array(~repeated))
        return checked, failures


def open_checks(table: pa.Table, checks: Sequence[Check]) -> list[Check]:
    """Return the checks that a batch's columns do not settle as a whole.

    A column without nulls needs no look at each row to know that it is filled, nor one whose
    longest cell is short enough to know its length.
    """
    facts: dict[int, tuple[int, int]] = {}
    undecided: list[Check] = []
    for check in checks:
        if check.kind not in ("required", "length"):
            undecided.append(check)
            continue
        if check.position not in facts:
            facts[check.position] = _facts(table[f"c{check.position}"])
        nulls, longest = facts[check.position]
        assert check.field is not None
        settled = nulls == 0 if check.kind == "required" else longest <= (check.field.length or 0)
        if not settled:
            undecided.append(check)
    return undecided


def _facts(column: pa.ChunkedArray) -> tuple[int, int]:
    """Return a string column's nulls and the bytes of its longest cell."""
    longest = 0
    for chunk in column.chunks:
        if len(chunk):
            offsets = np.frombuffer(chunk.buffers()[1], np.int32, len(chunk) + 1, chunk.offset * 4)
            longest = max(longest, int(np.diff(offsets).max()))
    return column.null_count, longest


class SeenKeys:
    """Hashes of the keys met so far, in sorted runs that are merged as they grow.

    A key is a 64-bit hash: among ten million keys two different ones are taken for the same with a
    chance of three in a million. Memory is 8 bytes a key.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Return for each key whether it was met before, here or earlier in `keys`; remember all."""
        distinct, first = np.unique(keys, return_index=True)
        repeated = np.ones(len(keys), dtype=bool)
        repeated[first] = False
        fresh = np.ones(len(distinct), dtype=bool)
        for run in self._runs:
            found = np.searchsorted(run, distinct)
            found[found == len(run)] = 0
            known = run[found] == distinct
            fresh &= ~known
            repeated[first[known]] = True
        self._remember(distinct[fresh])
        return repeated

    def _remember(self, keys: np.ndarray) -> None:
        if not len(keys):
            return
        self._runs.append(keys)
        while len(self._runs) > 1 and len(self._runs[-1]) * 2 >= len(self._runs[-2]):
            last = self._runs.pop()
            merged = np.concatenate([self._runs.pop(), last])
            merged.sort(kind="stable")
            self._runs.append(merged)


def _repeat_failure(row: int, rule: Rule) -> Failure:
    return Failure(row=row, code=rule.id, field=rule.unique[0])


def _count_bits(warned: pa.ChunkedArray, warnings: Sequence[Check]) -> Counter[str]:
    counts: Counter[str] = Counter()
    bits = warned.to_numpy()
    if bits.any():
        for number, check in enumerate(warnings):
            hits = int(np.count_nonzero(bits & (1 << number)))
            if hits:
                counts[check.code] += hits
    return counts
