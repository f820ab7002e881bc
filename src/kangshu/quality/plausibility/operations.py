"""Measure cells in the lake and judge what was measured; both keep what they find, and only what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date

import pyarrow as pa

from kangshu import directory
from kangshu.declarations import Dataset, Measure, Pack, cell_names, functions_sql
from kangshu.lake import LakeEngine
from kangshu.quality.model import Cell
from kangshu.quality.plausibility import store
from kangshu.quality.plausibility.judging import judge_figures
from kangshu.quality.plausibility.locating import locate
from kangshu.quality.plausibility.model import (
    ROWS,
    CellFigures,
    CellFinding,
    cell_rules,
    judged_months,
    kind_of,
    measures_of,
    tidy,
    touched_months,
)
from kangshu.quality.plausibility.statements import (
    INSTITUTION,
    KIND,
    MONTH,
    compared_months,
    measuring_sql,
    read_back,
)
from kangshu.storage.database import Connection, Database


async def measure_cells(
    database: Database,
    engine: LakeEngine,
    *,
    pack: Pack,
    dataset: str,
    institutions: Sequence[str] | None,
    months: Sequence[date],
) -> list[Cell]:
    """Measure the cells of `dataset` in these months and keep the figures; return the cells that changed.

    `institutions` None means all. Later months whose measures look back at these are measured as well. A
    cell whose rows are all gone is forgotten with its findings, and is among those that changed.

    Raises:
        LakeError: what the lake's engine raises, see `LakeEngine.query`.
    """
    declared = pack.dataset(dataset)
    measures = measured(pack, declared)
    wanted = touched_months(months, measures)
    if not wanted or (institutions is not None and not institutions):
        return []
    async with database.connection() as connection:
        places, segments = await locate(
            connection, dataset=dataset, institutions=institutions, months=read_back(measures, wanted)
        )
    statement = measuring_sql(
        table=engine.table_sql(dataset=declared, segments=segments),
        measures=measures,
        places=places,
        months=wanted,
        institutions=institutions,
    )
    figures = await asyncio.to_thread(
        _measure, engine, statement, pack, dataset, [one.name for one in measures]
    )
    async with database.transaction() as connection:
        gone = await store.drop_figures(
            connection,
            dataset=dataset,
            months=wanted,
            institutions=institutions,
            kept=[one.cell for one in figures],
        )
        changed = await store.put_figures(connection, cells=figures)
    return sorted([*gone, *changed])


async def judge_cells(connection: Connection, *, pack: Pack, dataset: str, months: Sequence[date]) -> None:
    """Ask the rules about cells of all cells of `dataset` in these months and keep what they find.

    Later months that are compared with these are judged anew as well: what is usual may have changed.
    A month that is not over is judged like any other: whoever warns does so when the data are due.

    Raises:
        duckdb.Error: a rule could not be computed; rules were bound when the pack was loaded.
    """
    declared = pack.dataset(dataset)
    rules = cell_rules(declared)
    if not months:
        return
    last = await store.find_last_month(connection, dataset=dataset)
    wanted = judged_months(months, last=last)
    findings: list[CellFinding] = []
    if rules:
        names = list(dict.fromkeys(name for rule in rules for _, name in cell_names(rule.sql)))
        table = await store.figures_table(
            connection, dataset=dataset, months=compared_months(wanted), measures=names or [ROWS.name]
        )
        table = await _with_kinds(connection, table)
        findings = await asyncio.to_thread(judge_figures, table, pack=pack, dataset=declared, months=wanted)
    await store.replace_findings(connection, dataset=dataset, months=wanted, findings=findings)


def measured(pack: Pack, dataset: Dataset) -> tuple[Measure, ...]:
    """Return what is measured of a cell; of the monthly return also the statistics that expectations name."""
    measures = measures_of(dataset)
    if dataset.name != "institution_month":
        return measures
    known = {measure.name for measure in measures}
    named = dict.fromkeys(one.statistic for one in pack.quality.expectations if one.statistic)
    statistics = [dataset.field(name) for name in named if name not in known]
    return (
        *measures,
        *(Measure(name=one.name, title=one.title, sql=f'max("{one.name}")') for one in statistics),
    )


def _measure(
    engine: LakeEngine, statement: str, pack: Pack, dataset: str, names: Sequence[str]
) -> list[CellFigures]:
    found: list[CellFigures] = []
    for batch in engine.query(statement, functions=functions_sql(pack)):
        for row in batch.to_pylist():
            month, institution = row[MONTH], row[INSTITUTION]
            if month is None or institution is None:
                continue
            cell = Cell(month=month, dataset=dataset, institution=institution)
            figures = {name: value for name in names if (value := tidy(row[name])) is not None}
            found.append(CellFigures(cell=cell, figures=figures))
    return found


async def _with_kinds(connection: Connection, table: pa.Table) -> pa.Table:
    codes = table[INSTITUTION].unique().to_pylist()
    known = await directory.institutions_by_code(connection, codes=codes)
    kinds = {one.code: kind_of(type_code=one.type, level=one.level) for one in known}
    column = pa.array([kinds.get(code) for code in table[INSTITUTION].to_pylist()], pa.string())
    return table.append_column(KIND, column)
