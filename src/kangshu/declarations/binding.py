"""Bind every piece of SQL of a pack to what it may name, so that a wrong one is found before any row is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import duckdb

from kangshu.declarations.errors import DeclarationError, say
from kangshu.declarations.model import Dataset, Pack, Rule, Scope
from kangshu.declarations.quality import CellView, Look, Measure, Reconciliation, ReconciliationSide
from kangshu.declarations.quality_loading import OWN_ROW, ROWS
from kangshu.declarations.typing import SYSTEM_COLUMNS, duckdb_type
from kangshu.kernel.texts import Text

# What answers differently each time, tells about the machine, or fails on purpose has no place in a rule.
_FORBIDDEN_FUNCTIONS = frozenset(
    {
        *("now", "today", "get_current_timestamp", "get_current_time", "transaction_timestamp"),
        *("random", "setseed", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "nextval", "currval"),
        *("getvariable", "current_setting", "getenv", "error", "write_log", "version", "in_search_path"),
        *("current_database", "current_schema", "current_schemas", "current_user", "current_query"),
        *("current_connection_id", "current_transaction_id", "txid_current"),
    }
)
_FORBIDDEN_NAMES = frozenset(
    {
        *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
        *("current_user", "session_user", "current_role", "current_catalog", "current_schema"),
    }
)
_NUMBERS = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
)


def check_pack(pack: Pack, *, functions_path: Path, quality_folder: Path) -> None:
    """Refuse the first piece of SQL that does not bind to what it may name.

    Raises:
        DeclarationError: with the place and DuckDB's reason.
    """
    with duckdb.connect(":memory:") as engine:
        try:
            engine.execute(pack.functions or "SELECT 1")
        except duckdb.Error as error:
            text = say("functions_sql", reason=_first_line(error))
            raise DeclarationError(text, path=functions_path, line=1) from error
        binder = _Binder(engine, pack)
        for dataset in pack.datasets.values():
            for rule in dataset.rules:
                binder.claim_rule(dataset, rule)
            for measure in dataset.measures:
                binder.claim_measure(dataset, measure)
        binder.claim_settings(quality_folder)
        binder.settle()


def check_rule(pack: Pack, *, dataset: Dataset, rule: Rule) -> None:
    """Refuse a single rule of `dataset` whose SQL does not bind; `dataset` may be one that has it not yet.

    Raises:
        DeclarationError: with the place and DuckDB's reason.
    """
    with duckdb.connect(":memory:") as engine:
        engine.execute(pack.functions or "SELECT 1")
        binder = _Binder(engine, pack)
        binder.claim_rule(dataset, rule)
        binder.settle()


class _Shape(StrEnum):
    """What an expression may be."""

    PREDICATE = "predicate"  # true or false of one row
    VALUE = "value"  # anything of one row
    SPREAD = "spread"  # true or false of one row, windows allowed
    AGGREGATE = "aggregate"  # anything of many rows
    FIGURE = "figure"  # a number of many rows


@dataclass
class _Claim:
    """A piece of SQL, what it may name (`source` stands after FROM) and where it was written."""

    sql: str
    source: str
    shape: _Shape
    key: str
    path: Path
    line: int
    type: str = field(default="", init=False)

    def refused(self, reason: str) -> DeclarationError:
        return DeclarationError(say("wrong_sql", key=self.key, reason=reason), path=self.path, line=self.line)


class _Binder:
    """Collects the pieces of a pack, then binds them together, as many as can be in one statement."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, pack: Pack) -> None:
        self._engine = engine
        self._pack = pack
        self._tables: set[str] = set()
        self._claims: list[_Claim] = []
        self._pairs: list[tuple[_Claim, _Claim]] = []

    def claim_rule(self, dataset: Dataset, rule: Rule) -> None:
        path = Path(dataset.path)
        rows = self._rows(dataset) if rule.scope is Scope.ROW else self._lake(dataset)

        def claim(sql: str, source: str, shape: _Shape, key: str) -> None:
            self._claim(sql, source=source, shape=shape, key=key, path=path, line=rule.line)

        claim(rule.applies, rows, _Shape.PREDICATE, "applies")
        claim(rule.suspects, self._marked(dataset), _Shape.SPREAD, "suspects")
        if rule.scope is Scope.REGION:
            for look in rule.looks:
                self._claim_look(dataset, look, path)
            claim(rule.sql, self._with_looks(dataset, rule.looks), _Shape.SPREAD, "sql")
        elif rule.scope is Scope.CELL:
            claim(rule.sql, self._cells(dataset), _Shape.PREDICATE, "sql")
        else:
            claim(rule.sql, rows, _Shape.PREDICATE, "sql")

    def claim_measure(self, dataset: Dataset, measure: Measure) -> None:
        rows, path, line = self._lake(dataset), Path(dataset.path), measure.line
        self._claim(measure.sql, source=rows, shape=_Shape.FIGURE, key="sql", path=path, line=line)
        for sql in measure.fingerprint:
            self._claim(sql, source=rows, shape=_Shape.VALUE, key="fingerprint", path=path, line=line)

    def claim_settings(self, folder: Path) -> None:
        settings = self._pack.quality
        for one in settings.indicators:
            self._claim_predicate(one.dataset, one.among, "among", folder / "indicators.toml", one.line)
        for item in settings.emr_items:
            for key in ("consistency", "required", "expected", "timeliness"):
                sql = cast(str, getattr(item, key))
                self._claim_predicate(item.dataset, sql, key, folder / "emr.toml", item.line)
        for pair in settings.reconciliations:
            self._claim_reconciliation(pair, folder / "reconciliations.toml")

    def settle(self) -> None:
        """Bind all that was claimed.

        Raises:
            DeclarationError: one does not bind.
        """
        self._look_inside()
        groups: dict[tuple[str, _Shape], list[_Claim]] = {}
        for claim in self._claims:
            groups.setdefault((claim.source, claim.shape), []).append(claim)
        for members in groups.values():
            try:
                self._bind(members)
            except duckdb.Error:
                for member in members:
                    self._bind_one(member)
        for own, their in self._pairs:
            if _family(own.type) != _family(their.type):
                raise own.refused(f"{own.type} = {their.type}")

    # --- what may be named ---------------------------------------------------------------------------

    def _rows(self, dataset: Dataset) -> str:
        """Return the rows of a file as the check sees them."""
        return self._table(f"rows.{dataset.name}", _columns(dataset))

    def _lake(self, dataset: Dataset) -> str:
        """Return the rows of the lake, which also know where they are from."""
        return self._table(f"lake.{dataset.name}", [*SYSTEM_COLUMNS, *_columns(dataset)])

    def _marked(self, dataset: Dataset) -> str:
        """Return the rows of the lake with a mark for each fingerprint: whether the row was there before."""
        marks = [(one.name, "BOOLEAN") for one in dataset.measures if one.fingerprint]
        return self._table(f"marked.{dataset.name}", [*SYSTEM_COLUMNS, *_columns(dataset), *marks])

    def _cells(self, dataset: Dataset) -> str:
        names = [ROWS, *(measure.name for measure in dataset.measures)]
        table = self._table(f"cells.{dataset.name}", [(name, "DOUBLE") for name in names])
        return ", ".join(f"{table} AS {_quoted(view)}" for view in CellView)

    def _with_looks(self, dataset: Dataset, looks: Sequence[Look]) -> str:
        """Return the rows of the lake with a structure for each look: `name.low` is the look's alone."""
        own = self._lake(dataset)
        if not looks:
            return own
        parts = [f"{own} AS own_rows"]
        for look in looks:
            terms = [f'count(*) AS "{ROWS}"', *(f"({sql}) AS {_quoted(name)}" for name, sql in look.take)]
            theirs = self._lake(self._pack.datasets[look.dataset])
            parts.append(
                f"(SELECT struct_ AS {_quoted(look.name)} "
                f"FROM (SELECT {', '.join(terms)} FROM {theirs}) AS struct_) AS {_quoted('of ' + look.name)}"
            )
        return ", ".join(parts)

    def _table(self, name: str, columns: Iterable[tuple[str, str]]) -> str:
        quoted = _quoted(name)
        if name not in self._tables:
            self._tables.add(name)
            shape = ", ".join(f"{_quoted(column)} {kind}" for column, kind in columns)
            self._engine.execute(f"CREATE TABLE {quoted} ({shape})")
        return quoted

    # --- what is claimed -----------------------------------------------------------------------------

    def _claim_look(self, dataset: Dataset, look: Look, path: Path) -> None:
        other = self._pack.datasets.get(look.dataset)
        if other is None:
            text = say("unknown_dataset", name=look.dataset, known=", ".join(self._pack.datasets))
            raise DeclarationError(text, path=path, line=look.line)
        own, theirs = self._lake(dataset), self._lake(other)
        name = f"look {look.name}."

        def claim(sql: str, source: str, shape: _Shape, key: str) -> _Claim:
            return self._claim(sql, source=source, shape=shape, key=name + key, path=path, line=look.line)

        for own_sql, their_sql in look.on:
            first = claim(own_sql, own, _Shape.VALUE, "on")
            second = claim(their_sql, theirs, _Shape.VALUE, "on")
            self._pairs.append((first, second))
        for taken, sql in look.take:
            claim(sql, theirs, _Shape.AGGREGATE, f"take.{taken}")
        # `here` is one structured column: what is written bare is the other row's.
        here = f"(SELECT {OWN_ROW} FROM {own} AS {OWN_ROW}) AS own_rows"
        claim(look.where, f"{theirs}, {here}", _Shape.PREDICATE, "where")

    def _claim_reconciliation(self, pair: Reconciliation, path: Path) -> None:
        keys = [self._claim_side(side, f"{name}.", path, pair.line) for name, side in pair_sides(pair)]
        if pair.left.key and pair.right.key:
            self._pairs.extend(zip(*keys, strict=True))

    def _claim_side(self, side: ReconciliationSide, name: str, path: Path, line: int) -> list[_Claim]:
        rows = self._lake(self._pack.datasets[side.dataset])

        def claim(sql: str, shape: _Shape, key: str) -> _Claim:
            return self._claim(sql, source=rows, shape=shape, key=name + key, path=path, line=line)

        claim(side.value, _Shape.FIGURE, "value")
        claim(f"year({side.month}) > 0", _Shape.PREDICATE, "month")
        claim(side.where, _Shape.PREDICATE, "where")
        return [claim(sql, _Shape.VALUE, "key") for sql in side.key]

    def _claim_predicate(self, dataset: str, sql: str, key: str, path: Path, line: int) -> None:
        rows = self._lake(self._pack.datasets[dataset])
        self._claim(sql, source=rows, shape=_Shape.PREDICATE, key=key, path=path, line=line)

    def _claim(self, sql: str, *, source: str, shape: _Shape, key: str, path: Path, line: int) -> _Claim:
        claim = _Claim(sql=sql, source=source, shape=shape, key=key, path=path, line=line)
        if sql:
            self._claims.append(claim)
        return claim

    # --- how it is bound -----------------------------------------------------------------------------

    def _look_inside(self) -> None:
        """Refuse what is not one plain expression: a subquery, two statements, a function of the moment."""
        texts = [f"SELECT ({claim.sql})" for claim in self._claims]
        parsed = self._engine.execute("SELECT json_serialize_sql(x) FROM (SELECT unnest(?) AS x)", [texts])
        for claim, (answer,) in zip(self._claims, parsed.fetchall(), strict=True):
            try:
                tree = json.loads(answer)
            except RecursionError:
                raise DeclarationError(say("too_deep"), path=claim.path, line=claim.line) from None
            if tree["error"]:
                raise claim.refused(" ".join(str(tree["error_message"]).split()))
            if reason := _unfit(tree["statements"], windows=claim.shape is _Shape.SPREAD):
                raise DeclarationError(reason, path=claim.path, line=claim.line)

    def _bind(self, claims: Sequence[_Claim]) -> None:
        for claim, kind in zip(claims, self._describe(claims), strict=True):
            claim.type = kind
            if claim.shape in (_Shape.PREDICATE, _Shape.SPREAD) and kind != "BOOLEAN":
                raise DeclarationError(say("rule_type", type=kind), path=claim.path, line=claim.line)
            if claim.shape is _Shape.FIGURE and not kind.startswith(_NUMBERS):
                raise DeclarationError(say("figure_type", type=kind), path=claim.path, line=claim.line)

    def _bind_one(self, claim: _Claim) -> None:
        try:
            self._bind([claim])
        except duckdb.Error as error:
            raise claim.refused(_first_line(error)) from error

    def _describe(self, claims: Sequence[_Claim]) -> list[str]:
        """Return the expressions' types; the statement takes only what their shape allows."""
        source, shape = claims[0].source, claims[0].shape
        terms = [f"({claim.sql})" for claim in claims]
        if shape is _Shape.PREDICATE or shape is _Shape.VALUE:
            test = "" if shape is _Shape.PREDICATE else " IS NULL"
            # Neither aggregates nor windows may stand in WHERE.
            tail = f"WHERE {' AND '.join(term + test for term in terms)}"
            kept: list[str] = []
        elif shape is _Shape.SPREAD:
            # A column beside it: an aggregate that is no window would fold the rows.
            kept, tail = ["_row"], ""
        else:
            kept, tail = ["_institution"], "GROUP BY _institution"
        found = self._engine.execute(f"DESCRIBE SELECT {', '.join([*kept, *terms])} FROM {source} {tail}")
        return [str(row[1]) for row in found.fetchall()[len(kept) :]]


def pair_sides(pair: Reconciliation) -> tuple[tuple[str, ReconciliationSide], ...]:
    """Return both sides of a reconciliation with their names."""
    return (("left", pair.left), ("right", pair.right))


def _unfit(statements: list[dict[str, Any]], *, windows: bool) -> Text | None:
    """Return why a parsed `SELECT (expression)` is not one plain expression, or None where it is."""
    if len(statements) != 1:
        return say("one_expression")
    node = statements[0]["node"]
    plain = node["type"] == "SELECT_NODE" and len(node["select_list"]) == 1 and not node["modifiers"]
    if not plain or node["from_table"]["type"] != "EMPTY" or node["where_clause"]:
        return say("one_expression")
    for part in _walk(node["select_list"][0]):
        if part.get("class") == "SUBQUERY":
            return say("no_subquery")
        if part.get("class") == "WINDOW" and not windows:
            return say("no_window")
        function = str(part.get("function_name", "")).lower()
        name = ".".join(part.get("column_names", [])).lower()
        if function in _FORBIDDEN_FUNCTIONS or name in _FORBIDDEN_NAMES:
            return say("forbidden_function", name=function or name)
    return None


def _walk(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield cast(dict[str, Any], part)
            waiting.extend(cast(dict[str, Any], part).values())
        elif isinstance(part, list):
            waiting.extend(cast(list[Any], part))


def _columns(dataset: Dataset) -> list[tuple[str, str]]:
    return [(one.name, duckdb_type(one)) for one in dataset.fields]


def _family(kind: str) -> str:
    """Return what kinds of values can be equal: numbers of all types are one family."""
    return "number" if kind.startswith(_NUMBERS) else kind


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
