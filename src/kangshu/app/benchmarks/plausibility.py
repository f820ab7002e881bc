"""How much of what is wrong is found, and how much of what is found is wrong: months as a whole, and rows."""

from __future__ import annotations

import asyncio
import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from kangshu.app.benchmarks.model import Measurement, Stage
from kangshu.app.benchmarks.simulated_lake import SimulatedLake, fill_lake
from kangshu.app.benchmarks.surroundings import Watch, fresh_folder, fresh_platform, machine
from kangshu.app.platform import Platform
from kangshu.declarations import Pack, functions_sql, load_pack
from kangshu.intake import FileRejectedError, examine
from kangshu.lake import Segment, live_segments
from kangshu.quality import Cell
from kangshu.quality.coverage import CoverageState, coverage
from kangshu.quality.plausibility import judge_cells, list_cell_findings, measure_cells
from kangshu.quality.scanning import compile_scan, run_scan
from kangshu.simulation import AnomalyRows, RegionWithoutFiles, simulate
from kangshu.standards.tables import TableError

pc: Any = pyarrow.compute  # makes its functions at import, where no checker sees them

SEED = 20_262
"""The seed that is reported; rules were adjusted with others."""

MONTHS = 14
_START = date(2025, 1, 1)
_SHARE = 0.1  # of months that are wrong: more than in life, so that each kind is seen often enough
_WARM = 3  # months from which on something is usual
_LEAST_SHARE, _LEAST_ROWS = 0.3, 50  # of a cell, from which on an anomaly is large enough to be seen in it
_OVER = date(2030, 1, 1)
_CAME_TOO_LITTLE = (CoverageState.MISSING, CoverageState.INCOMPLETE)
_ORPHAN = "orphan"
_ROW_RESIDENTS, _ROW_MONTHS = 4_000, 2
_AFTER_ALL = datetime(2027, 1, 1)  # noqa: DTZ001 - rows hold the region's wall-clock time


async def plausible_months(size: int, stage: Stage) -> Measurement:
    """Simulate a region of `size` residents with wrong months, judge it, and compare with the truth."""
    with fresh_folder() as folder:
        few = min(size, _ROW_RESIDENTS)
        stage(f"{few:,} residents, errors of rows")
        rows = await asyncio.to_thread(find_row_errors, folder / "rows", residents=few, seed=SEED)
        async with fresh_platform(folder) as platform:
            region = RegionWithoutFiles(
                residents=size,
                months=MONTHS,
                seed=SEED,
                pack=platform.pack,
                start=_START,
                anomalies=_SHARE,
            )
            stage(f"{size:,} residents, {MONTHS} months")
            filled = await fill_lake(platform, region)
            stage(f"{filled.rows:,} rows measured and judged")
            with Watch(platform.home) as watch:
                await judge_all(platform, filled)
            found = await compare(platform, filled)
            stage("orphans")
            orphans = await find_orphans(platform, filled)
    assert watch.use is not None, "the watch has ended"
    return Measurement(
        value=round(found.recall, 3),
        unit="recall of wrong months",
        peak_mib=watch.use.peak_mib,
        conditions={
            "precision": round(found.precision, 3),
            "recall_by_kind": found.by_kind(),
            "cells": found.cells,
            "cells_by_rule": found.by_rule(),
            "false_cells": found.false,
            "recall_by_rules_alone": round(found.recall_by_rules, 3),
            "cells_that_coverage_calls_missing_or_incomplete": found.by_coverage(),
            "side_effects": found.induced,
            "row_errors": rows.told(),
            "orphans": orphans,
            "rows": filled.rows,
            "months": MONTHS,
            "seed": SEED,
            "seconds_to_measure_and_judge": round(watch.use.seconds, 2),
            "large_enough": f"{_LEAST_SHARE:.0%} of a cell and {_LEAST_ROWS} rows, from month {_WARM + 1} on",
            **machine(),
        },
    )


async def judge_all(platform: Platform, filled: SimulatedLake) -> None:
    """Measure and judge every cell of the lake."""
    for dataset in filled.datasets:
        await measure_cells(
            platform.database,
            platform.engine,
            pack=platform.pack,
            dataset=dataset,
            institutions=None,
            months=filled.months,
        )
        async with platform.database.transaction() as connection:
            await judge_cells(connection, pack=platform.pack, dataset=dataset, months=filled.months)


@dataclass
class Found:
    """What was found of what is wrong, cell by cell.

    A flagged cell is right where the truth names it, a side effect where it names another data set of the
    institution's month (or the month before, which copies are compared with), and false else.
    """

    truth: dict[Cell, AnomalyRows]
    flagged: dict[Cell, set[str]]
    silent: set[Cell]
    empty: set[Cell]
    months: Sequence[date]
    cells: int
    false: int = field(init=False)
    induced: int = field(init=False)

    def __post_init__(self) -> None:
        wrong = {(cell.institution, cell.month) for cell in self.truth}
        others = [cell for cell in self.flagged if cell not in self.truth]
        self.induced = sum((cell.institution, cell.month) in wrong for cell in others)
        self.false = len(others) - self.induced

    @property
    def recall(self) -> float:
        """The share of wrong cells, large enough to be seen, that were found."""
        large = [cell for cell in self.truth if self._is_large(cell)]
        return sum(map(self._is_found, large)) / len(large) if large else 1.0

    @property
    def recall_by_rules(self) -> float:
        """The same without what coverage alone says: a month that is missing has no figures to judge."""
        large = [cell for cell in self.truth if self._is_large(cell)]
        return sum(cell in self.flagged for cell in large) / len(large) if large else 1.0

    def by_coverage(self) -> str:
        """Return how many cells coverage called missing or incomplete rightly, as a side effect, and not."""
        wrong = {(cell.institution, cell.month) for cell in self.truth}
        right = sum(cell in self.truth for cell in self.silent)
        near = sum((cell.institution, cell.month) in wrong for cell in self.silent - self.truth.keys())
        empty = sum(cell in self.empty for cell in self.silent - self.truth.keys())
        others = len(self.silent) - right - near
        return f"{right} right, {near} side effect, {others} other (of all not right {empty} empty by chance)"

    @property
    def precision(self) -> float:
        """The share of flagged cells that are wrong; side effects are left out."""
        right = sum(cell in self.truth for cell in self.flagged)
        return right / (right + self.false) if right + self.false else 1.0

    def by_kind(self) -> dict[str, str]:
        """Return for each kind how many of the large cells were found, and how many of all."""
        told: dict[str, str] = {}
        for kind in sorted({one.kind for one in self.truth.values()}):
            cells = [cell for cell, one in self.truth.items() if one.kind == kind]
            large = [cell for cell in cells if self._is_large(cell)]
            told[kind] = (
                f"{sum(map(self._is_found, large))} of {len(large)} large, "
                f"{sum(map(self._is_found, cells))} of {len(cells)} all"
            )
        return told

    def by_rule(self) -> dict[str, str]:
        """Return for each rule how many cells it flagged rightly, as a side effect, and falsely."""
        wrong = {(cell.institution, cell.month) for cell in self.truth}
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for cell, rules in self.flagged.items():
            near = (cell.institution, cell.month) in wrong
            word = "right" if cell in self.truth else "side effect" if near else "false"
            for rule in rules:
                counts[rule][word] += 1
        return {
            rule: ", ".join(f"{count} {word}" for word, count in sorted(words.items(), reverse=True))
            for rule, words in sorted(counts.items())
        }

    def _is_found(self, cell: Cell) -> bool:
        return cell in self.flagged or cell in self.silent

    def _is_large(self, cell: Cell) -> bool:
        told = self.truth[cell]
        return (
            told.of >= _LEAST_ROWS
            and told.rows >= _LEAST_SHARE * told.of
            and cell.month >= self.months[_WARM]
        )


async def compare(platform: Platform, filled: SimulatedLake) -> Found:
    """Hold what was found in all months against the truth."""
    first, last = filled.months[0], filled.months[-1]
    async with platform.database.connection() as connection:
        findings = await list_cell_findings(connection, first=first, last=last)
        covered = await coverage(connection, pack=platform.pack, first=first, last=last, now=_OVER)
    flagged: dict[Cell, set[str]] = defaultdict(set)
    for finding in findings:
        flagged[finding.cell].add(finding.rule)
    return Found(
        truth=_cells(filled.anomalies),
        flagged=dict(flagged),
        silent={one.cell for one in covered if one.state in _CAME_TOO_LITTLE},
        empty={one.cell for one in covered if not one.rows},
        months=filled.months,
        cells=len(covered),
    )


def _cells(anomalies: Iterable[AnomalyRows]) -> dict[Cell, AnomalyRows]:
    return {
        Cell(
            month=date.fromisoformat(f"{one.month}-01"), dataset=one.dataset, institution=one.institution
        ): one
        for one in anomalies
    }


async def find_orphans(platform: Platform, filled: SimulatedLake) -> dict[str, str]:
    """Ask the rules that find orphans of the lake; return for each what it found of what was put in.

    A row that finds nobody because the visit or report itself was rejected is an orphan too, though nobody
    made it one.
    """
    async with platform.database.connection() as connection:
        segments = await live_segments(connection)
    told: dict[str, str] = {}
    for name, tables in sorted(filled.errors.items()):
        errors = pa.concat_tables(tables)
        orphans = errors.filter(pc.equal(errors["kind"], _ORPHAN))
        for rule_id in orphans["rule"].unique().to_pylist():
            put = set(zip(orphans["file"].to_pylist(), orphans["row"].to_pylist(), strict=True))
            found = await asyncio.to_thread(_ask_region, platform, segments, name, rule_id)
            others = [link for place, link in found.items() if place not in put]
            false = _unexplained(others, filled)
            told[rule_id] = (
                f"{len(put & found.keys())} of {len(put)}, {len(others) - false} whose target was rejected, "
                f"{false} false"
            )
    return told


def _unexplained(links: Sequence[tuple[str, str]], filled: SimulatedLake) -> int:
    """Return how many rows name something that was neither rejected nor may be what lost its own number."""
    unknown = Counter(link for link in links if link not in filled.rejected)
    by_institution = Counter(institution for institution, _ in unknown)
    return sum(
        count
        for (institution, _), count in unknown.items()
        if by_institution[institution] > filled.unnamed[institution]
    )


def _ask_region(
    platform: Platform, segments: Sequence[Segment], name: str, rule_id: str
) -> dict[tuple[int, int], tuple[str, str]]:
    """Return the places of the rows that break the rule, each with its institution and the number named."""
    dataset = platform.pack.dataset(name)
    rule = next(one for one in dataset.rules if one.id == rule_id)

    def table(wanted: str) -> str:
        held = [one for one in segments if one.dataset == wanted]
        return platform.engine.table_sql(dataset=platform.pack.dataset(wanted), segments=held)

    functions = functions_sql(platform.pack)
    scan = compile_scan(pack=platform.pack, dataset=dataset, rules=[rule], table=table, source=table(name))
    places = {
        (one.file, row)
        for one in run_scan(platform.engine, scan, functions=functions).findings()
        for row in one.rows.tolist()
    }
    files = ", ".join(str(file) for file in sorted({file for file, _ in places})) or "0"
    rows = platform.engine.query(
        f"SELECT _file, _row, _institution, {rule.fields[0]} AS link FROM {table(name)} AS rows_ "
        f"WHERE _file IN ({files})"
    )
    return {
        (row["_file"], row["_row"]): (row["_institution"], row["link"])
        for batch in rows
        for row in batch.to_pylist()
        if (row["_file"], row["_row"]) in places
    }


@dataclass
class RowErrors:
    """Errors put into rows of files, and what the check found: by kind, and beyond what was put in."""

    put: Counter[str] = field(default_factory=Counter[str])
    found: Counter[str] = field(default_factory=Counter[str])
    false: Counter[str] = field(default_factory=Counter[str])
    without_number: Counter[str] = field(default_factory=Counter[str])
    clean_rows: int = 0

    def told(self) -> dict[str, Any]:
        """Return the counts for people to read."""
        return {
            "found_of_put_in": {kind: f"{self.found[kind]} of {self.put[kind]}" for kind in sorted(self.put)},
            "clean_rows": self.clean_rows,
            "false_findings_on_clean_rows": dict(self.false),
            "true_findings_of_people_without_any_number": sum(self.without_number.values()),
        }


def find_row_errors(folder: Path, *, residents: int, seed: int) -> RowErrors:
    """Simulate files, examine each as an institution would at home, and compare with the truth.

    Of the errors, those count for which the truth names a rule of rows or of files; a rule over the region is
    asked in the lake and not here. People without any number exist: that a rule says so is true.
    """
    pack = load_pack()
    simulate(out=folder, residents=residents, months=_ROW_MONTHS, seed=seed, pack=pack)
    asked = {
        rule.id for dataset in pack.datasets.values() for rule in dataset.rules if rule.scope != "region"
    }
    wrong: dict[str, dict[int, list[Mapping[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for error in _read(folder, "errors.csv"):
        wrong[error["file"]][int(error["row"])].append(error)
    persons = _persons_without_number(folder)
    compared = RowErrors()
    for file in _read(folder, "files.csv"):
        if file["fate"] not in ("committed", "superseded"):
            continue
        found = _examined(folder / "submissions" / file["file"], file, pack)
        _compare_file(compared, found, wrong[file["file"]], persons.get(file["file"], set()), asked)
        compared.clean_rows += int(file["rows"]) - len(wrong[file["file"]])
    return compared


def _compare_file(
    compared: RowErrors,
    found: Mapping[int, set[str]],
    wrong: Mapping[int, list[Mapping[str, str]]],
    numberless: set[int],
    asked: set[str],
) -> None:
    checks = {"required", "domain", "type", "length", "ragged"}
    for row, errors in wrong.items():
        for error in errors:
            if error["rule"] in asked or error["rule"] in checks:
                compared.put[error["kind"]] += 1
                compared.found[error["kind"]] += error["rule"] in found.get(row, set())
    for row, rules in found.items():
        if row in wrong:
            continue
        target = compared.without_number if row in numberless else compared.false
        target.update(rules)


def _examined(path: Path, file: Mapping[str, str], pack: Pack) -> dict[int, set[str]]:
    """Return the checks that each row of the file fails, warnings among them."""
    try:
        examination = examine(
            path=path,
            name=path.name,
            pack=pack,
            received_at=_AFTER_ALL,
            scratch=path.parent,
            dataset=file["dataset"],
            institution=file["institution"],
        )
    except (TableError, FileRejectedError):
        return {}
    found: dict[int, set[str]] = defaultdict(set)
    for finding in examination.examined.findings:
        for row in finding.rows.tolist():
            found[row].add(finding.rule)
    return found


def _persons_without_number(folder: Path) -> dict[str, set[int]]:
    """Return by file the rows about people who have no number of any kind, or had none yet: newborns."""
    numberless = {
        row["person"]
        for row in _read(folder, "persons.csv")
        if row["named_on"] or not (row["resident_number"] or row["document_number"])
    }
    found: dict[str, set[int]] = defaultdict(set)
    for row in _read(folder, "records.csv"):
        if row["person"] in numberless:
            found[row["file"]].add(int(row["row"]))
    return found


def _read(folder: Path, name: str) -> Iterable[Mapping[str, str]]:
    with (folder / "truth" / name).open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)
