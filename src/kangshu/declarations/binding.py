"""Bind every rule's SQL to its data set's fields, so that a wrong one is found before any row is."""

from __future__ import annotations

from pathlib import Path

import duckdb

from kangshu.declarations.errors import DeclarationError, say
from kangshu.declarations.model import Dataset, Pack, Rule, Scope
from kangshu.declarations.typing import duckdb_type


def check_rules(pack: Pack, *, functions_path: Path) -> None:
    """Refuse the first rule whose predicate does not bind to its data set's typed fields.

    Rules of scope `region` look at more than one data set and are bound by the quality engine.

    Raises:
        DeclarationError: with the place and DuckDB's reason.
    """
    with duckdb.connect(":memory:") as engine:
        try:
            engine.execute(pack.functions or "SELECT 1")
        except duckdb.Error as error:
            text = say("functions_sql", reason=_first_line(error))
            raise DeclarationError(text, path=functions_path, line=1) from error
        for dataset in pack.datasets.values():
            _check_dataset(engine, dataset)


def _check_dataset(engine: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    columns = ", ".join(f'"{field.name}" {duckdb_type(field)}' for field in dataset.fields)
    engine.execute(f'CREATE TEMP TABLE "{dataset.name}" ({columns})')
    rules = [rule for rule in dataset.rules if rule.sql and rule.scope is not Scope.REGION]
    try:
        _bind(engine, dataset, rules)
    except duckdb.Error:
        for rule in rules:
            _bind_one(engine, dataset, rule)


def _bind(engine: duckdb.DuckDBPyConnection, dataset: Dataset, rules: list[Rule]) -> None:
    if not rules:
        return
    predicates = ", ".join(f"({rule.sql})" for rule in rules)
    types = engine.execute(f'DESCRIBE SELECT {predicates} FROM "{dataset.name}"').fetchall()
    for rule, described in zip(rules, types, strict=True):
        if described[1] != "BOOLEAN":
            text = say("rule_type", type=described[1])
            raise DeclarationError(text, path=Path(dataset.path), line=rule.line)


def _bind_one(engine: duckdb.DuckDBPyConnection, dataset: Dataset, rule: Rule) -> None:
    try:
        _bind(engine, dataset, [rule])
    except duckdb.Error as error:
        text = say("rule_sql", reason=_first_line(error))
        raise DeclarationError(text, path=Path(dataset.path), line=rule.line) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
