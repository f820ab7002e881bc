"""Check a file's batches with DuckDB against its declaration: good rows typed, bad rows with their reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.declarations import Pack, Rule, functions_sql
from kangshu.intake.compiling import Check, CheckPlan
from kangshu.standards.tables import Batch


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
    warned: Counter[str] = field(default_factory=Counter)


class CheckEngine:
    """A DuckDB in this process that knows the pack's functions. One file at a time, one thread at a time."""

    def __init__(self, *, pack: Pack, threads: int = 2, memory_mib: int = 768) -> None:
        self._connection = duckdb.connect(":memory:")
        self._connection.execute(f"SET threads = {threads}")
        self._connection.execute(f"SET memory_limit = '{memory_mib}MiB'")
        self._connection.execute("SET preserve_insertion_order = true")
        if functions := functions_sql(pack):
            self._connection.execute(functions)
        self._prepared: set[str] = set()

    def prepare(self, plan: CheckPlan) -> None:
        """Make the code lists that the plan looks up."""
        for statement in plan.prepare:
            if statement not in self._prepared:
                self._connection.execute(statement)
                self._prepared.add(statement)

    def select(self, plan: CheckPlan, table: pa.Table) -> pa.Table:
        """Return the plan's selection over `table`, in the order of its rows."""
        self._connection.register("batch", table)
        try:
            return self._connection.execute(plan.select).to_arrow_table()
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
    """The check of one file, batch after batch; it remembers the keys that must occur once."""

    def __init__(self, *, engine: CheckEngine, plan: CheckPlan) -> None:
        self._engine = engine
        self._plan = plan
        self._seen = [SeenKeys() for _ in plan.unique]
        engine.prepare(plan)

    def check(self, batch: Batch) -> CheckedBatch:
        """Return what became of the batch's rows, unreadable ones among the rejected."""
        failures = [Failure(row=fault.row, code=_fault_code(fault), field="") for fault in batch.ragged]
        rejected = len(batch.ragged)
        if not batch.table.num_rows:
            return CheckedBatch(good=self._empty(batch), failures=tuple(failures), rejected=rejected)
        checked = self._engine.select(self._plan, batch.table)
        passed = checked["_ok"]
        if not pc.all(passed).as_py():
            bad = checked.filter(pc.invert(passed))["_row"].combine_chunks()
            failures += self._explain(batch.table, bad)
            rejected += len(bad)
            checked = checked.filter(passed)
        checked, twice = self._drop_repeats(checked)
        failures += twice
        rejected += len({failure.row for failure in twice})
        return CheckedBatch(
            good=checked,
            failures=tuple(failures),
            rejected=rejected,
            warned=_count_bits(checked["_warned"], self._plan.warnings),
        )

    def _empty(self, batch: Batch) -> pa.Table:
        return self._engine.select(self._plan, batch.table)

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


def _fault_code(fault: object) -> str:
    return "ragged" if getattr(fault, "expected", None) is not None else "broken_row"


def _count_bits(warned: pa.ChunkedArray, warnings: Sequence[Check]) -> Counter[str]:
    counts: Counter[str] = Counter()
    bits = warned.to_numpy()
    if bits.any():
        for number, check in enumerate(warnings):
            hits = int(np.count_nonzero(bits & (1 << number)))
            if hits:
                counts[check.code] += hits
    return counts
