"""Keep scores, sheets and shares, so that pages need not compute them; each at the cost of what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date

from kangshu import lake
from kangshu.declarations import Dataset, Pack, functions_sql
from kangshu.intake import Finding, Share
from kangshu.lake import LakeEngine
from kangshu.quality.queries import file_findings
from kangshu.quality.scoring import store
from kangshu.quality.scoring.counting import Units, among_sql, emr_sql, narrowed, read_among, read_emr
from kangshu.quality.scoring.queries import digest_of, months_between, score_institutions, scores
from kangshu.quality.scoring.shares import AmongRows, AspectCount, ShareCount, count_emr, count_indicators
from kangshu.quality.scoring.sheets import SheetCount, count_sheet
from kangshu.storage.database import Connection, Database

_MOST_FILES = 200


async def refresh_scores(
    connection: Connection,
    *,
    pack: Pack,
    first: date,
    last: date,
    now: date,
    institutions: Sequence[str] | None = None,
) -> None:
    """Compute the scores of these months anew and keep them; `institutions` None means all.

    To be called in a transaction, after whatever they follow from has changed: tallies, findings about cells,
    coverage (which changes with the day), or the pack. A month that was not kept yet, or by other
    declarations, is computed as a whole.
    """
    months = months_between(first, last)
    digest = digest_of(pack)
    await store.lock_months(connection, months=months)
    kept = await store.list_scored_months(connection, first=months[0], last=months[-1], digest=digest)
    for month in months:
        narrow = institutions if month in kept else None
        cells = await scores(connection, pack=pack, first=month, last=month, now=now, institutions=narrow)
        await store.replace_scores(
            connection,
            month=month,
            institutions=narrow,
            cells=cells,
            totals=score_institutions(cells),
        )
        if narrow is None:
            await store.put_scored_month(connection, month=month, scored_at=now, digest=digest)


async def refresh_figures(
    database: Database, engine: LakeEngine, *, pack: Pack, dataset: str, files: Sequence[int]
) -> None:
    """Count sheets, indicators and EMR items over these files of `dataset` anew and keep the counts.

    It costs the rows of these files. To be called after their findings were kept.

    Raises:
        LakeError: what the lake's engine raises, see `LakeEngine.query`.
    """
    declared = pack.dataset(dataset)
    if not _is_counted(pack, declared):
        return
    for start in range(0, len(files), _MOST_FILES):
        await _refresh_some(database, engine, pack, declared, files[start : start + _MOST_FILES])


async def _refresh_some(
    database: Database, engine: LakeEngine, pack: Pack, dataset: Dataset, files: Sequence[int]
) -> None:
    shares: dict[int, list[Share]] = {}
    findings: dict[int, list[Finding]] = {}
    async with database.connection() as connection:
        for file in files:
            shares[file], findings[file] = await file_findings(connection, file=file)
        segments = await lake.live_segments(connection, dataset=dataset.name, files=files)
    table = engine.table_sql(dataset=dataset, segments=segments)
    among, aspects = await asyncio.to_thread(_ask, engine, pack, dataset, table, shares)
    counted = await asyncio.to_thread(_count, pack, dataset, shares, findings, among, aspects)
    async with database.transaction() as connection:
        await store.replace_figures(connection, files=files, sheets=counted[0], shares=counted[1])


def _ask(
    engine: LakeEngine,
    pack: Pack,
    dataset: Dataset,
    table: str,
    shares: Mapping[int, Sequence[Share]],
) -> tuple[dict[int, list[AmongRows]], dict[int, list[AspectCount]]]:
    """Ask the lake's rows what the declarations ask of them."""
    units, files, functions = Units(shares), sorted(shares), functions_sql(pack)
    indicators = [one for one in pack.quality.indicators if one.dataset == dataset.name]
    items = [one for one in pack.quality.emr_items if one.dataset == dataset.name]
    among, aspects = {}, {}
    if narrowed(indicators) and (statement := among_sql(indicators=indicators, table=table, files=files)):
        among = read_among(engine.query(statement, functions=functions), indicators=indicators, units=units)
    if statement := emr_sql(items=items, table=table, files=files):
        aspects = read_emr(engine.query(statement, functions=functions), items=items, units=units)
    return among, aspects


def _count(
    pack: Pack,
    dataset: Dataset,
    shares: Mapping[int, Sequence[Share]],
    findings: Mapping[int, Sequence[Finding]],
    among: Mapping[int, Sequence[AmongRows]],
    aspects: Mapping[int, Sequence[AspectCount]],
) -> tuple[list[tuple[int, SheetCount]], list[tuple[int, ShareCount]]]:
    sheets: list[tuple[int, SheetCount]] = []
    counts: list[tuple[int, ShareCount]] = []
    settings = pack.quality
    for file, own in shares.items():
        counted = [
            count
            for scoring in settings.scorings
            if scoring.dataset == dataset.name
            for count in count_sheet(scoring=scoring, dataset=dataset, shares=own, findings=findings[file])
        ]
        sheets += [(file, one) for one in counted]
        indicated = count_indicators(
            indicators=settings.indicators,
            scorings=settings.scorings,
            dataset=dataset,
            shares=own,
            findings=findings[file],
            sheets=counted,
            among=among.get(file, ()),
        )
        graded = count_emr(
            items=settings.emr_items,
            dataset=dataset,
            shares=own,
            findings=findings[file],
            aspects=aspects.get(file, ()),
        )
        counts += [(file, one) for one in (*indicated, *graded)]
    return sheets, counts


def _is_counted(pack: Pack, dataset: Dataset) -> bool:
    asked = (*pack.quality.scorings, *pack.quality.indicators, *pack.quality.emr_items)
    return any(one.dataset == dataset.name for one in asked)
