"""`quality score`, `quality circular`: the month's scores and ranking, and its circular as a file."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from kangshu import directory
from kangshu.app.commands.quality import quality
from kangshu.app.errors import UsageError, say
from kangshu.app.platform import Platform, open_platform
from kangshu.app.presenting import out, present, print_facts, print_table
from kangshu.app.program import Json, home_of, run
from kangshu.declarations import Pack
from kangshu.intake import ZONE
from kangshu.kernel.periods import Period
from kangshu.kernel.texts import Text
from kangshu.quality.circular import (
    Circular,
    find_circular,
    issue_circular,
    make_circular,
    write_pdf,
    write_xlsx,
)
from kangshu.quality.plausibility import add_months
from kangshu.quality.scoring import Ranked, band_of, comparable, ranking, refresh_scores
from kangshu.storage.database import Connection

# Whoever sits at the machine: the command line knows no accounts.
_ACTOR = "command-line"
_COLUMNS = ("place", "institution", "name", "total", "change", "climbed", "coverage", "rows", "rejected")

Month = Annotated[str, typer.Option(help="月份 / the month, 2026-03")]


@quality.command("score")
def score_command(
    context: typer.Context,
    month: Month,
    division: Annotated[str | None, typer.Option(help="只排该行政区划 / only this division")] = None,
    kind: Annotated[
        str | None, typer.Option("--type", help="只排该类机构（WS 218 代码开头）/ only this type")
    ] = None,
    level: Annotated[str | None, typer.Option(help="只排该等级 / only this level")] = None,
    dataset: Annotated[str | None, typer.Option(help="只按一个数据集 / by one data set alone")] = None,
    as_json: Json = False,
) -> None:
    """计算当月得分与排名 / the scores and the ranking of a month, computed anew."""
    found = run(_score(home_of(context), month, division, kind, level, dataset), as_json=as_json)

    def show() -> None:
        print_facts({name: value for name, value in found.items() if name != "scores"})
        print_table(_COLUMNS, [tuple(one[name] for name in _COLUMNS) for one in found["scores"]])

    present(found, as_json=as_json, show=show)


@quality.command("circular")
def circular_command(
    context: typer.Context,
    month: Month,
    target: Annotated[Path, typer.Option("--out", help="输出文件 .xlsx 或 .pdf / the file to write")],
    issue: Annotated[
        bool, typer.Option("--issue", help="发布，发布后不再改动 / issue it; it then stays as it is")
    ] = False,
    fonts: Annotated[
        Path | None, typer.Option(help="中文字体所在目录（PDF）/ folder of Noto Sans CJK, for a PDF")
    ] = None,
    as_json: Json = False,
) -> None:
    """生成当月通报 / write the month's circular; the issued one where there is one."""
    found = run(_circular(home_of(context), month, target, issue, fonts), as_json=as_json)
    present(found, as_json=as_json, show=lambda: out.print(f"[bold]{target}[/]"))


async def _score(
    home: Path,
    month: str,
    division: str | None,
    kind: str | None,
    level: str | None,
    dataset: str | None,
) -> dict[str, Any]:
    first = month_of(month)
    async with open_platform(home) as platform:
        if dataset is not None and dataset not in platform.pack.datasets:
            raise UsageError(say("no_such_dataset", name=dataset))
        today = _today(platform)
        async with platform.database.transaction() as connection:
            # The month before as well, for the change: findings may have come since it was kept.
            await refresh_scores(
                connection, pack=platform.pack, first=add_months(first, -1), last=first, now=today
            )
            among = await _among(connection, division, kind, level)
            places = await ranking(
                connection, pack=platform.pack, month=first, now=today, among=among, dataset=dataset
            )
            names = await directory.names_of(connection, codes=[one.institution for one in places])
    return _document(first, places, names, platform.pack)


async def _among(
    connection: Connection, division: str | None, kind: str | None, level: str | None
) -> frozenset[str] | None:
    try:
        return await comparable(connection, division=division, kind=kind, level=level)
    except ValueError:
        raise UsageError(say["no_such_division"]) from None


def _document(month: date, places: list[Ranked], names: dict[str, str], pack: Pack) -> dict[str, Any]:
    hundredths = [round(one.total * 100) for one in places]
    return {
        "month": f"{month:%Y-%m}",
        "institutions": len(places),
        "mean": sum(hundredths) // len(places) / 100 if places else None,
        "expected": sum(one.score.expected for one in places),
        "arrived": sum(one.score.arrived for one in places),
        "scores": [_entry(one, names, pack) for one in places],
    }


def _entry(one: Ranked, names: dict[str, str], pack: Pack) -> dict[str, Any]:
    band = band_of(one.total, bands=pack.quality.score.bands)
    return {
        "place": one.place,
        "tied": one.tied,
        "institution": one.institution,
        "name": names.get(one.institution, one.institution),
        "total": one.total,
        "band": band.name if band else None,
        "change": one.change,
        "climbed": one.climbed,
        "coverage": None if one.coverage is None else round(one.coverage, 4),
        "expected": one.score.expected,
        "arrived": one.score.arrived,
        "rows": one.score.rows,
        "rejected": one.score.rejected,
        "dimensions": {dimension.value: points for dimension, points in one.score.by_dimension.items()},
    }


async def _circular(home: Path, month: str, target: Path, issue: bool, fonts: Path | None) -> dict[str, Any]:
    first = month_of(month)
    if target.suffix not in (".xlsx", ".pdf"):
        raise UsageError(say["circular_form"])
    async with open_platform(home) as platform, platform.database.transaction() as connection:
        circular = await _find_or_make(platform, connection, first)
        if issue:
            circular = await issue_circular(
                connection,
                circular=circular,
                now=platform.clock.now(),
                actor=_ACTOR,
                actor_name=_ACTOR,
            )
        data = await asyncio.to_thread(_written, circular, target.suffix, fonts)
        # Before the commit: a circular whose file cannot be written is not issued.
        await asyncio.to_thread(target.write_bytes, data)
    return {
        "month": f"{first:%Y-%m}",
        "file": str(target),
        "bytes": len(data),
        "issued": circular.issue is not None,
        "institutions": circular.headline.institutions,
        "mean": circular.headline.mean,
    }


async def _find_or_make(platform: Platform, connection: Connection, month: date) -> Circular:
    issued = await find_circular(connection, month=month)
    return issued or await make_circular(
        connection,
        pack=platform.pack,
        month=month,
        now=platform.clock.now(),
        region=_region(platform),
    )


def _region(platform: Platform) -> Text:
    name = platform.settings.region_name
    return Text(zh=name, en=name) if name else platform.pack.title


def _written(circular: Circular, suffix: str, fonts: Path | None) -> bytes:
    return write_pdf(circular, font_path=fonts) if suffix == ".pdf" else write_xlsx(circular)


def month_of(text: str) -> date:
    """Return the first day of the month that a command names.

    Raises:
        UsageError: it is no month.
    """
    try:
        period = Period.parse(text)
    except ValueError:
        raise UsageError(say["no_such_month"]) from None
    if period.label != text or len(text) != len("2026-03"):
        raise UsageError(say["no_such_month"])
    return period.start


def _today(platform: Platform) -> date:
    now: datetime = platform.clock.now()
    return now.astimezone(ZoneInfo(ZONE)).date()
