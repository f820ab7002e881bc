"""Check a file's batches against its declaration: good rows typed, bad rows with reasons.

Cells are typed and checked column by column (`columns`), rules row by row in DuckDB (`compiling`).
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field as default
from datetime import datetime

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kangshu.declarations import Dataset, Pack, Role, Rule, Severity, functions_sql
from kangshu.intake.columns import Mask, Rows, build_lists, check_column, one_array, positions_of
from kangshu.intake.compiling import CheckPlan, RuleQueries, RuleQuery, compile_rules
from kangshu.intake.findings import BatchUnits, Mark, UnitKey
from kangshu.standards.tables import Batch, RowFault

# What a rule may come upon in a row that it cannot be computed for: an overflow, an impossible conversion.
_CANNOT_COMPUTE = (duckdb.DataError, duckdb.InvalidInputException)
_NOBODYS: UnitKey = (None, None)
# Below this share of different persons, rules about the person are asked once for each.
_FEW_PERSONS = 0.7


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One reason why one row is refused: the row's number in the file, the check's code and the field."""

    row: int
    code: str
    field: str
    repeat: int = 1


@dataclass(frozen=True, kw_only=True)
class CheckedBatch:
    """What became of one batch: `good` has `_row`, `_claim` and the typed fields of the accepted rows.

    `_claim` is equal where two rows of the batch say the same about who they belong to. `marks` are all
    findings, also the warnings in accepted rows, by places in `units`; `unit_rows` and `unit_rejected` count.
    """

    good: pa.Table
    failures: tuple[Failure, ...]
    rejected: int
    warned: Counter[str] = default(default_factory=Counter)
    marks: tuple[Mark, ...] = ()
    units: tuple[UnitKey, ...] = ()
    unit_rows: Mapping[UnitKey, int] = default(default_factory=dict[UnitKey, int])
    unit_rejected: Mapping[UnitKey, int] = default(default_factory=dict[UnitKey, int])


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the rules say about a batch: the rows that break each rule, and hashes of claim and keys."""

    broken: Sequence[tuple[Rule, Rows]]
    claims: pa.Array
    keys: Sequence[np.ndarray]


class CheckEngine:
    """A DuckDB in this process that knows the pack's functions. One file at a time, one thread at a time."""

    def __init__(self, *, pack: Pack, memory_mib: int = 768) -> None:
        self._connection = duckdb.connect(":memory:")
        # A second thread gains nothing on one batch (measured); reading and writing have the other core.
        self._connection.execute("SET threads = 1")
        self._connection.execute(f"SET memory_limit = '{memory_mib}MiB'")
        self._connection.execute("SET preserve_insertion_order = true")
        # On a busy machine a statement may take two seconds, and DuckDB would draw on our standard output.
        self._connection.execute("SET enable_progress_bar = false")
        # The optimiser would make a join of every short IN list: 70 ms a statement, whatever its rows.
        self._connection.execute("SET disabled_optimizers = 'in_clause'")
        self._functions = functions_sql(pack)
        if self._functions:
            self._connection.execute(self._functions)
        # Planning a front page's rules takes longer than checking a thousand rows, hence once only. The data
        # set is kept beside its statements, so that nothing else comes to have its identity.
        self._judges: dict[int, tuple[Dataset, RowJudge]] = {}

    def judge(self, plan: CheckPlan, *, received_at: datetime | None) -> RowJudge:
        """Return who judges rows of the plan's data set in a file that arrived at `received_at`."""
        dataset = plan.dataset
        known = self._judges.get(id(dataset))
        if known is None:
            queries = compile_rules(dataset=dataset, functions=self._functions)
            known = self._judges[id(dataset)] = (dataset, RowJudge(self._connection, queries, plan.schema))
        known[1].set_arrival(received_at)
        return known[1]

    def close(self) -> None:
        """Let the engine's memory go."""
        self._connection.close()


class RowJudge:
    """Asks a data set's rules about the rows of typed columns."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, queries: RuleQueries, schema: pa.Schema) -> None:
        self._rows = _Question(engine, queries.rows, schema)
        self._persons = _Question(engine, queries.persons, schema) if queries.persons.rules else None
        self._momentary = _Question(engine, queries.momentary, schema) if queries.momentary.rules else None

    def set_arrival(self, received_at: datetime | None) -> None:
        """Tell the rules when the file arrived: the region's wall-clock time, without zone."""
        if self._momentary:
            self._momentary.set_arrival(received_at)

    def ask(self, columns: Mapping[str, pa.Array], numbers: pa.Array) -> Answers:
        """Return what the rules say of the rows; a field that `columns` does not have is null in all."""
        answer = self._rows.ask(columns, numbers)
        assert answer["_row"].equals(pa.chunked_array([numbers])), "DuckDB keeps the order of the rows"
        claims = one_array(answer["_claim"])
        broken = list(self._rows.broken(answer))
        if self._persons:
            broken += _ask_persons(self._persons, columns, numbers, claims)
        if self._momentary:
            broken += self._momentary.broken(self._momentary.ask(columns, numbers))
        keys = [
            one_array(answer[name]).to_numpy() for name in answer.column_names if name.startswith("_unique")
        ]
        return Answers(broken=broken, claims=claims, keys=keys)


class _Question:
    """One statement over a table `batch` that changes beneath it, so that it is planned once."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, query: RuleQuery, schema: pa.Schema) -> None:
        self.rules = query.rules
        self.names = [field.name for field in query.fields]
        self._query = query
        self._schema = pa.schema([*(schema.field(name) for name in self.names), ("_row", pa.int64())])
        self._connection = engine.cursor()  # one name `batch` and one variable for each statement
        self._feed = _Feed(self._schema.empty_table())
        self._connection.register("batch", self._feed)
        self._statement = query.sql
        if not query.momentary:
            self._connection.execute(f"PREPARE question AS {query.sql}")
            self._statement = "EXECUTE question"

    def set_arrival(self, received_at: datetime | None) -> None:
        moment = f"TIMESTAMP '{received_at:%Y-%m-%d %H:%M:%S}'" if received_at else "NULL::TIMESTAMP"
        self._connection.execute(f"SET VARIABLE received_at = {moment}")

    def ask(self, columns: Mapping[str, pa.Array], numbers: pa.Array) -> pa.Table:
        """Return the answers, a row for each row."""
        rows = len(numbers)
        arrays = [
            columns[name] if name in columns else pa.nulls(rows, self._schema.field(name).type)
            for name in self.names
        ]
        self._feed.table = pa.Table.from_arrays([*arrays, numbers], schema=self._schema)
        try:
            with suppress(*_CANNOT_COMPUTE):
                return self._connection.execute(self._statement).to_arrow_table()
            return self._connection.execute(self._query.careful_sql).to_arrow_table()
        finally:
            self._feed.table = self._schema.empty_table()

    def broken(self, answer: pa.Table) -> Iterator[tuple[Rule, Rows]]:
        """Yield the rules that some row breaks, and those rows by position."""
        for rule in self.rules:
            verdict = one_array(answer[rule.id])
            if verdict.false_count:
                yield rule, np.flatnonzero(~verdict.fill_null(True).to_numpy(zero_copy_only=False))


def _ask_persons(
    question: _Question, columns: Mapping[str, pa.Array], numbers: pa.Array, claims: pa.Array
) -> Iterator[tuple[Rule, Rows]]:
    """Ask what depends on the person alone once for each different claim, where that saves something."""
    encoded = claims.dictionary_encode()
    different = len(encoded.dictionary)
    if different > _FEW_PERSONS * len(claims):
        yield from question.broken(question.ask(columns, numbers))
        return
    codes = encoded.indices.to_numpy()
    first = np.empty(different, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of equal codes the last one written stays
    chosen = pa.array(first)
    asked = {name: columns[name].take(chosen) for name in question.names if name in columns}
    for rule, hits in question.broken(question.ask(asked, chosen)):
        yield rule, positions_of(codes, hits, different)


class _Feed:
    """A table that DuckDB knows by one name while its rows change."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_schema__(self) -> object:
        return self.table.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class FileCheck:
    """The check of one file, batch after batch; it remembers the keys that must occur once.

    `received_at` is the region's wall-clock time without zone, for rules about dates in the future.
    """

    def __init__(self, *, engine: CheckEngine, plan: CheckPlan, received_at: datetime | None) -> None:
        self._plan = plan
        self._seen = [SeenKeys() for _ in plan.unique]
        self._judge = engine.judge(plan, received_at=received_at)
        dataset = plan.dataset
        sender = None if dataset.category == "directory" else dataset.with_role(Role.INSTITUTION)
        self._institution = sender.name if sender else ""

    def check(self, batch: Batch) -> CheckedBatch:
        """Return what became of the batch's rows, unreadable ones among the rejected."""
        unreadable = [Failure(row=fault.row, code="ragged", field="") for fault in batch.ragged]
        unreadable += [self._unreadable(fault) for fault in batch.faults]
        lost = _unreadable_marks(unreadable)
        table = batch.table
        numbers = one_array(table["_row"])
        if not table.num_rows:
            return CheckedBatch(
                good=self._empty(),
                failures=tuple(unreadable),
                rejected=lost.rows,
                marks=lost.marks,
                units=(_NOBODYS,),
                unit_rows={_NOBODYS: lost.rows},
                unit_rejected={_NOBODYS: lost.rows},
            )
        tally = _Tally(numbers.to_numpy())
        columns = self._check_columns(table, tally)
        answers = self._judge.ask(columns, numbers)
        for rule, rows in answers.broken:
            if rule.severity is Severity.ERROR:
                tally.add(rows, code=rule.id, field=rule.fields[0] if rule.fields else "")
        self._refuse_repeats(answers.keys, tally)
        good = pa.table({"_row": numbers, **columns, "_claim": answers.claims})
        warnings = list(_warnings(answers.broken, tally.bad))
        units = BatchUnits.read(
            columns.get(self._institution),
            columns.get(self._plan.dataset.event_time or ""),
            rows=len(numbers),
        )
        keys, marks = _marks(tally, warnings, units, lost)
        return CheckedBatch(
            good=good.filter(pa.array(~tally.bad)) if tally.failures else good,
            failures=(*unreadable, *tally.failures),
            rejected=lost.rows + int(np.count_nonzero(tally.bad)),
            warned=Counter({rule.id: len(rows) for rule, rows in warnings}),
            marks=marks,
            units=keys,
            unit_rows=_with_lost(units.counted(np.ones(len(numbers), bool)), lost.rows),
            unit_rejected=_with_lost(units.counted(tally.bad), lost.rows),
        )

    def _unreadable(self, fault: RowFault) -> Failure:
        """Name the field of an unreadable cell, where the file's column is one of the data set's."""
        for column in self._plan.columns:
            if column.position == fault.column:
                return Failure(row=fault.row, code=fault.kind, field=column.field.name, repeat=column.repeat)
        return Failure(row=fault.row, code=fault.kind, field="")

    def _empty(self) -> pa.Table:
        schema = self._plan.schema
        sent = {column.field.name for column in self._plan.columns}
        fields = [schema.field(one.name) for one in self._plan.dataset.fields if one.name in sent]
        return pa.schema([("_row", pa.int64()), *fields, ("_claim", pa.uint64())]).empty_table()

    def _check_columns(self, table: pa.Table, tally: _Tally) -> dict[str, pa.Array]:
        """Return the typed columns of the fields that the file has, in the data set's order."""
        typed: dict[str, dict[int, pa.Array]] = {}
        for plan in self._plan.columns:
            values, faults = check_column(plan, table[f"c{plan.position}"])
            typed.setdefault(plan.field.name, {})[plan.repeat] = values
            for fault in faults:
                tally.add(fault.rows, code=fault.kind, field=plan.field.name, repeat=plan.repeat)
        columns: dict[str, pa.Array] = {}
        for field in self._plan.dataset.fields:
            if (values := typed.get(field.name)) is None:
                continue
            kind = self._plan.schema.field(field.name).type
            columns[field.name] = build_lists(values, kind.value_type) if field.repeat > 1 else values[1]
        return columns

    def _refuse_repeats(self, keys: Sequence[np.ndarray], tally: _Tally) -> None:
        """Of good rows with the same key the first in the file stays."""
        for rule, seen, hashes in zip(self._plan.unique, self._seen, keys, strict=True):
            good = np.flatnonzero(~tally.bad)
            repeated = seen.add(hashes if len(good) == len(hashes) else hashes[good])
            tally.add(good[repeated], code=rule.id, field=rule.unique[0])


@dataclass(frozen=True, kw_only=True)
class _Lost:
    """Rows that could not be read, and why."""

    rows: int
    marks: tuple[Mark, ...]


class _Tally:
    """The rows of a batch that are refused, and why."""

    def __init__(self, numbers: npt.NDArray[np.int64]) -> None:
        self.numbers = numbers
        self.bad: Mask = np.zeros(len(numbers), bool)
        self.failures: list[Failure] = []
        self.hits: list[tuple[str, str, Rows]] = []

    def add(self, rows: Rows, *, code: str, field: str, repeat: int = 1) -> None:
        """Refuse the rows at these positions."""
        if not len(rows):
            return
        self.bad[rows] = True
        self.hits.append((code, field, rows))
        self.failures += [
            Failure(row=row, code=code, field=field, repeat=repeat) for row in self.numbers[rows].tolist()
        ]


class SeenKeys:
    """Hashes of the keys met so far, in sorted runs that are merged as they grow.

    A key is a 64-bit hash: among ten million keys two different ones are taken for the same with a
    chance of three in a million. Memory is 8 bytes a key.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Return for each key whether it was met before, here or earlier in `keys`; remember all."""
        ordered = np.sort(keys)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        known = [run[_places(run, ordered)] == ordered for run in self._runs]
        met = np.logical_or.reduce(known) if known else np.zeros(len(ordered), bool)
        repeated = np.zeros(len(keys), bool)
        if met.any():
            repeated |= np.isin(keys, ordered[met])
        if len(twice):
            repeated |= _behind_first(keys, twice)
        fresh = ordered[~met]
        self._remember(fresh if not len(twice) else np.unique(fresh))
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


def _places(run: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return where in a sorted run each key would stand."""
    return np.minimum(np.searchsorted(run, keys), len(run) - 1)


def _behind_first(keys: np.ndarray, twice: np.ndarray) -> np.ndarray:
    """Return which keys are among `twice` and not the first of their kind."""
    several = np.flatnonzero(np.isin(keys, twice))
    _, first = np.unique(keys[several], return_index=True)
    behind = np.zeros(len(keys), bool)
    behind[np.delete(several, first)] = True
    return behind


def _warnings(broken: Sequence[tuple[Rule, Rows]], bad: Mask) -> Iterator[tuple[Rule, Rows]]:
    """Yield each warning that accepted rows raise, and those rows by position."""
    for rule, rows in broken:
        if rule.severity is Severity.WARNING and len(kept := rows[~bad[rows]]):
            yield rule, kept


def _unreadable_marks(failures: Sequence[Failure]) -> _Lost:
    """Return the rows that could not be read: whose they are is not known."""
    found: dict[tuple[str, str], list[int]] = {}
    for failure in failures:
        found.setdefault((failure.code, failure.field), []).append(failure.row)
    return _Lost(
        rows=len({one.row for one in failures}),
        marks=tuple(
            Mark(
                rule=code,
                field=field,
                severity=Severity.ERROR,
                rows=np.array(rows, np.int64),
                units=np.zeros(len(rows), np.int64),
            )
            for (code, field), rows in found.items()
        ),
    )


def _marks(
    tally: _Tally, warnings: Sequence[tuple[Rule, Rows]], units: BatchUnits, lost: _Lost
) -> tuple[tuple[UnitKey, ...], tuple[Mark, ...]]:
    """Return all findings of a batch and the units they name; rows that are lost belong to the first one."""
    errors = ((code, field, Severity.ERROR, rows) for code, field, rows in tally.hits)
    warned = (
        (rule.id, rule.fields[0] if rule.fields else "", Severity.WARNING, rows) for rule, rows in warnings
    )
    marks = tuple(
        Mark(rule=code, field=field, severity=severity, rows=tally.numbers[rows], units=units.of[rows] + 1)
        for code, field, severity, rows in (*errors, *warned)
    )
    return (_NOBODYS, *units.keys), (*lost.marks, *marks)


def _with_lost(counts: dict[UnitKey, int], rows: int) -> dict[UnitKey, int]:
    return {**counts, _NOBODYS: counts.get(_NOBODYS, 0) + rows} if rows else counts
