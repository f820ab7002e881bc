"""Assess what arrived: rules over the lake, figures of months, reconciliations, and what was to be mended.

    intake commits a file -> what the check on arrival found is kept in the same transaction (app.pipeline)
    -> job: rules of scope region over the file's rows (quality.scanning) -> cells measured and judged
    (quality.plausibility) -> figures held against each other (quality.reconciling) -> scores
    (quality.scoring) -> tasks re-checked (quality.rectifying)

A new file costs its own rows, and those of its institution's neighbouring months that look at them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from kangshu import lake, quality
from kangshu.app.pipeline import queue_assessment
from kangshu.app.platform import Platform
from kangshu.declarations import Dataset, Rule, Scope, functions_sql
from kangshu.intake import Finding, Share, last_month, month_of
from kangshu.lake import FileSource, FileState, LakeEngine, LakeFile
from kangshu.quality import Waiting
from kangshu.quality.plausibility import judge_cells, measure_cells
from kangshu.quality.reconciling import reconcile_files
from kangshu.quality.rectifying import local_day, recheck
from kangshu.quality.scanning import Scanned, compile_scan, run_scan
from kangshu.quality.scoring import refresh_figures, refresh_scores
from kangshu.storage import jobs
from kangshu.storage.database import Connection

_MOST_FILES = 1000


async def assess_job(platform: Platform, job: jobs.Job) -> None:
    """Do one queued assessment."""
    await assess_dataset(platform, dataset=job.payload["dataset"])


async def assess_waiting(platform: Platform) -> int:
    """Assess all that waits; return how many files were looked at."""
    async with platform.database.connection() as connection:
        names = await quality.datasets_waiting(connection)
    return sum([await assess_dataset(platform, dataset=name) for name in names])


async def assess_everything(platform: Platform, *, datasets: Sequence[str] | None = None) -> int:
    """Look at all that the lake holds anew, as after a change of rules; return how many files."""
    async with platform.database.transaction() as connection:
        for name in platform.pack.datasets if datasets is None else datasets:
            files = await quality.files_kept(connection, dataset=name)
            await quality.expect_files(connection, dataset=name, files=files)
    await expect_message_rows(platform)
    return await assess_waiting(platform)


async def expect_message_rows(platform: Platform) -> None:
    """Note the files made of messages whose rows are not those that were looked at last."""
    async with platform.database.transaction() as connection:
        for name in await lake.count_rows(connection):
            changed = await _changed_message_files(connection, name)
            await quality.expect_files(connection, dataset=name, files=changed)
            if changed:
                await queue_assessment(connection, dataset=name)


async def assess_dataset(platform: Platform, *, dataset: str) -> int:
    """Assess the files of a data set that wait; return how many there were."""
    declared = platform.pack.datasets.get(dataset)
    count = 0
    while True:
        async with platform.database.connection() as connection:
            waiting = await quality.next_waiting(connection, dataset=dataset)
        if waiting is None:
            return count
        if declared is not None:
            await _assess(platform, declared, waiting)
        async with platform.database.transaction() as connection:
            await quality.settle(connection, waiting=waiting)
        count += len(waiting.files)


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """What the rules over the lake say of some files, by file."""

    rules: tuple[str, ...]
    shares: Mapping[int, Sequence[Share]]
    findings: Mapping[int, Sequence[Finding]]


async def _assess(platform: Platform, dataset: Dataset, waiting: Waiting) -> None:
    async with platform.database.connection() as connection:
        found = await lake.list_files(connection, files=waiting.files, limit=_MOST_FILES)
    live = [file for file in found if file.state is FileState.LIVE]
    sent = [file for file in live if file.source is FileSource.FILE]
    told = [file for file in live if file.source is FileSource.MESSAGE]
    now = platform.clock.now()
    for files, rules in ((sent, _region_rules(dataset)), (told, _all_rules(dataset))):
        if not files or not rules:
            continue
        looked = await _look(platform, platform.compute, dataset, files, rules)
        async with platform.database.transaction() as connection:
            await quality.replace_region_findings(
                connection,
                dataset=dataset,
                files=[file.id for file in files],
                rules=looked.rules,
                findings=looked.findings,
                shares=looked.shares if files is told else None,
                received_at=now if files is told else None,
            )
    await _follow_up(platform, dataset, waiting)


async def _follow_up(platform: Platform, dataset: Dataset, waiting: Waiting) -> None:
    """Measure, judge and hold against each other what the files are a part of; look at open tasks again."""
    async with platform.database.connection() as connection:
        cells = await quality.cells_of(connection, files=waiting.files)
    months = sorted({cell.month for cell in cells})
    if cells:
        await measure_cells(
            platform.database,
            platform.compute,
            pack=platform.pack,
            dataset=dataset.name,
            institutions=sorted({cell.institution for cell in cells}),
            months=months,
        )
        async with platform.database.transaction() as connection:
            await judge_cells(connection, pack=platform.pack, dataset=dataset.name, months=months)
    await refresh_figures(
        platform.database, platform.compute, pack=platform.pack, dataset=dataset.name, files=waiting.files
    )
    await reconcile_files(
        platform.database,
        platform.compute,
        pack=platform.pack,
        dataset=dataset.name,
        files=waiting.files,
        now=platform.clock.now(),
    )
    now = platform.clock.now()
    if cells:
        async with platform.database.transaction() as connection:
            await refresh_scores(
                connection,
                pack=platform.pack,
                first=months[0],
                last=months[-1],
                now=local_day(now),
                institutions=sorted({cell.institution for cell in cells}),
            )
    async with platform.database.connection() as connection:
        await recheck(connection, pack=platform.pack, now=now, files=waiting.files, cells=cells)


async def _look(
    platform: Platform,
    engine: LakeEngine,
    dataset: Dataset,
    files: Sequence[LakeFile],
    rules: Sequence[Rule],
) -> _Looked:
    pack = platform.pack
    tables = await _tables(platform, engine, dataset, rules)
    async with platform.database.connection() as connection:
        segments = await lake.live_segments(
            connection, dataset=dataset.name, files=[file.id for file in files]
        )
    own = engine.table_sql(dataset=dataset, segments=segments)
    wanted = ", ".join(str(file.id) for file in files)
    scan = compile_scan(
        pack=pack,
        dataset=dataset,
        rules=rules,
        table=tables.__getitem__,
        source=f"(SELECT * FROM {own} AS rows_of_files WHERE _file IN ({wanted}))",
    )
    scanned = await asyncio.to_thread(run_scan, engine, scan, functions=functions_sql(pack))
    return await asyncio.to_thread(_by_file, scanned, files, rules)


async def _tables(
    platform: Platform, engine: LakeEngine, dataset: Dataset, rules: Sequence[Rule]
) -> dict[str, str]:
    """Return what to read for the data set as a whole, and for each that its rules look at."""
    found: dict[str, str] = {}
    async with platform.database.connection() as connection:
        for name in sorted({dataset.name} | {look.dataset for rule in rules for look in rule.looks}):
            segments = await lake.live_segments(connection, dataset=name)
            found[name] = engine.table_sql(dataset=platform.pack.dataset(name), segments=segments)
    return found


def _by_file(scanned: Scanned, files: Sequence[LakeFile], rules: Sequence[Rule]) -> _Looked:
    places = {file.id: _Months.of(file) for file in files}
    shares: defaultdict[int, defaultdict[tuple[str, date], int]] = defaultdict(lambda: defaultdict(int))
    for row in scanned.totals.to_pylist():
        month = places[row["_file"]].settle(row["month"])
        shares[row["_file"]][row["_institution"], month] += row["rows"]
    findings: defaultdict[int, list[Finding]] = defaultdict(list)
    for found in scanned.findings():
        rule = found.rule
        findings[found.file].append(
            Finding(
                rule=rule.id,
                field=rule.fields[0] if rule.fields else "",
                severity=rule.severity,
                institution=found.institution,
                month=places[found.file].settle(found.month),
                rows=found.rows,
            )
        )
    return _Looked(
        rules=tuple(rule.id for rule in rules),
        shares={
            file: [
                Share(institution=institution, month=month, rows=rows, rejected=0)
                for (institution, month), rows in own.items()
            ]
            for file, own in shares.items()
        },
        findings={file: quality.merge_findings(own) for file, own in findings.items()},
    )


@dataclass(frozen=True, kw_only=True)
class _Months:
    """To which month a file's rows count: its period's, else their own event's, else the period's last."""

    whole: date | None
    last: date

    @classmethod
    def of(cls, file: LakeFile) -> _Months:
        if file.period is None:
            return cls(whole=None, last=file.committed_at.date().replace(day=1))
        return cls(whole=month_of(file.period), last=last_month(file.period))

    def settle(self, month: date | None) -> date:
        return self.whole or month or self.last


def _region_rules(dataset: Dataset) -> list[Rule]:
    return [rule for rule in dataset.rules if rule.scope is Scope.REGION]


def _all_rules(dataset: Dataset) -> list[Rule]:
    """Return the rules for rows that no check on arrival has seen."""
    return [rule for rule in dataset.rules if rule.scope in (Scope.ROW, Scope.REGION)]


async def _changed_message_files(connection: Connection, dataset: str) -> list[int]:
    found = await lake.count_message_rows(connection, dataset=dataset)
    kept = await quality.rows_kept(connection, files=sorted(found))
    return [file for file, rows in sorted(found.items()) if rows != kept.get(file, 0)]
