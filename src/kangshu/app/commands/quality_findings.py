"""`quality findings`: what was found, by data set and rule, over months and institutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu import quality as engine
from kangshu.app.commands.quality import quality
from kangshu.app.errors import UsageError, say
from kangshu.app.platform import Platform, open_platform
from kangshu.app.presenting import out, present, print_table
from kangshu.app.program import Json, home_of, run
from kangshu.declarations import UnknownDatasetError
from kangshu.intake import last_month, reason_text
from kangshu.kernel.periods import Period
from kangshu.quality import FindingCount

_FIRST, _LAST = date(1, 1, 1), date(9999, 12, 1)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Which findings are wanted; None is all."""

    institutions: Sequence[str] | None
    datasets: Sequence[str] | None
    first: date
    last: date


@quality.command("findings")
def findings_command(
    context: typer.Context,
    institution: Annotated[list[str] | None, typer.Option(help="机构代码 / the institution's code")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="数据集 / the data set")] = None,
    period: Annotated[
        str | None, typer.Option(help="期间，缺省为全部 / 2026, 2026-03 or 2026-01..2026-03; by default all")
    ] = None,
    as_json: Json = False,
) -> None:
    """按数据集和规则汇总问题 / add up what was found, by data set and rule; without any value."""
    first, last = _months(period) if period else (_FIRST, _LAST)
    asked = _Asked(institutions=institution, datasets=dataset, first=first, last=last)
    found = run(_findings(home_of(context), asked), as_json=as_json)

    def show() -> None:
        rows = [
            (
                one["dataset"],
                one["rule"],
                one["severity"],
                one["dimension"],
                one["rows"],
                one["of"],
                one["message"],
            )
            for one in found
        ]
        columns = ("数据集 data set", "规则 rule", "级别", "维度 dimension", "行 rows", "总数 of", "怎么改")
        print_table(columns, rows)
        out.print(f"合计 {len(found)} 项 / findings of {len(found)} rules")

    present({"findings": found}, as_json=as_json, show=show)


async def _findings(home: Path, asked: _Asked) -> list[dict[str, Any]]:
    async with open_platform(home) as platform:
        known = platform.pack.datasets
        for name in asked.datasets or ():
            if name not in known:
                raise UnknownDatasetError(name=name, known=tuple(known))
        return await _add_up(platform, asked)


async def _add_up(platform: Platform, asked: _Asked) -> list[dict[str, Any]]:
    """Return a record for each data set, rule and field with rows, those with most rows first."""
    narrow: dict[str, Any] = {
        "first": asked.first,
        "last": asked.last,
        "institutions": asked.institutions,
        "datasets": asked.datasets,
    }
    async with platform.database.connection() as connection:
        findings = await engine.list_findings(connection, **narrow)
        tallies = await engine.list_tallies(connection, **narrow)
    rows: dict[str, int] = {}
    for tally in tallies:
        rows[tally.cell.dataset] = rows.get(tally.cell.dataset, 0) + tally.rows
    sums: dict[tuple[str, str, str], tuple[FindingCount, int]] = {}
    for one in findings:
        key = one.cell.dataset, one.rule, one.field
        sums[key] = one, sums[key][1] + one.rows if key in sums else one.rows
    told = [_record(platform, one, number, rows[one.cell.dataset]) for one, number in sums.values()]
    return sorted(told, key=lambda one: (one["dataset"], -one["rows"], one["rule"]))


def _record(platform: Platform, one: FindingCount, rows: int, of: int) -> dict[str, Any]:
    dataset = platform.pack.datasets.get(one.cell.dataset)
    text = reason_text(rule=one.rule, field=one.field, dataset=dataset)
    return {
        "dataset": one.cell.dataset,
        "rule": one.rule,
        "field": one.field,
        "severity": str(one.severity),
        "dimension": str(one.dimension),
        "origin": str(one.origin),
        "rows": rows,
        "of": of,
        "message": text.zh,
        "message_en": text.en,
    }


def _months(label: str) -> tuple[date, date]:
    try:
        period = Period.parse(label)
    except ValueError:
        raise UsageError(say("no_such_period")) from None
    return period.start.replace(day=1), last_month(period)
