"""Hold the figures of cells against what is usual: one statement over small tables, apart from the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import duckdb
import pyarrow as pa

from kangshu.declarations import Dataset, Pack, Rule, cell_names, functions_sql
from kangshu.quality.model import Cell
from kangshu.quality.plausibility.model import CellFinding, cell_rules, tidy
from kangshu.quality.plausibility.statements import FIGURES, INSTITUTION, KIND, MONTH, judging_sql


def judge_figures(
    table: pa.Table, *, pack: Pack, dataset: Dataset, months: Sequence[date]
) -> list[CellFinding]:
    """Return what the rules about cells of `dataset` find in the figures of `table` in these months.

    `table` has `_month`, `_institution`, `_kind` (what makes peers, or NULL) and a column of doubles for each
    measure that the rules name, also over the months that these are compared with.
    """
    rules = cell_rules(dataset)
    if not rules or not table.num_rows:
        return []
    names = [name for name in table.column_names if name not in (MONTH, INSTITUTION, KIND)]
    with duckdb.connect(":memory:", config={"python_enable_replacements": False}) as engine:
        engine.execute("SET enable_progress_bar = false")
        engine.execute(functions_sql(pack) or "SELECT 1")
        engine.register(FIGURES, table)
        # SQL that comes from a region pack reads nothing but this table.
        engine.execute("SET enable_external_access = false")
        engine.execute("SET lock_configuration = true")
        broken = engine.execute(judging_sql(measures=names, rules=rules, months=months)).to_arrow_table()
    return [
        _finding(row, rule, dataset)
        for row in broken.to_pylist()
        for place, rule in enumerate(rules)
        if row[f"broken_{place}"]
    ]


def _finding(row: Mapping[str, object], rule: Rule, dataset: Dataset) -> CellFinding:
    month, institution = row[MONTH], row[INSTITUTION]
    assert isinstance(month, date), "the figures' keys are never NULL"
    assert isinstance(institution, str), "the figures' keys are never NULL"
    named = (f"{view}.{name}" for view, name in cell_names(rule.sql))
    figures = {name: value for name in named if isinstance(value := row[name], float)}
    return CellFinding(
        cell=Cell(month=month, dataset=dataset.name, institution=institution),
        rule=rule.id,
        severity=rule.severity,
        dimension=rule.dimension,
        figures={name: known for name, value in figures.items() if (known := tidy(value)) is not None},
    )
