"""`quality reconcile`: figures held against each other; `quality catalogue ...`: what the lake holds."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu.app.commands.quality import quality
from kangshu.app.errors import UsageError, say
from kangshu.app.platform import open_platform
from kangshu.app.presenting import EXIT_DONE, EXIT_REJECTED, err, out, present, print_table
from kangshu.app.program import Json, home_of, run
from kangshu.declarations import Reconciliation, UnknownDatasetError
from kangshu.directory import names_of
from kangshu.quality import catalogue
from kangshu.quality.catalogue import Column, ColumnFigures
from kangshu.quality.reconciling import Balance, reconcile

_MOST_SHOWN = 100
_MOST_FOUND = 1000

catalogue_app = typer.Typer(help="数据资产目录 / the catalogue of data", no_args_is_help=True)
quality.add_typer(catalogue_app, name="catalogue")


@quality.command("reconcile")
def reconcile_command(
    context: typer.Context,
    month: Annotated[str, typer.Option("--month", help="月份 / month, YYYY-MM")],
    until: Annotated[
        str | None, typer.Option("--until", help="至该月 / up to this month, YYYY-MM (default: the same)")
    ] = None,
    institution: Annotated[
        list[str] | None, typer.Option("--institution", help="机构代码 / only these institutions")
    ] = None,
    pair: Annotated[list[str] | None, typer.Option("--pair", help="对账编号 / only these pairs")] = None,
    as_json: Json = False,
) -> None:
    """对账：逐机构逐月比对两侧数字 / hold declared pairs of figures against each other."""
    result = run(
        _reconcile(home_of(context), month, until or month, institution or None, pair or None),
        as_json=as_json,
    )
    status = EXIT_REJECTED if result["differing"] else EXIT_DONE
    present(result, as_json=as_json, show=lambda: _show_balances(result), status=status)


async def _reconcile(
    home: Path, month: str, until: str, institutions: list[str] | None, ids: list[str] | None
) -> dict[str, Any]:
    first, last = _month(month), _month(until)
    if last < first:
        raise UsageError(say("months_reversed"))
    async with open_platform(home) as platform:
        pairs = {one.id: one for one in platform.pack.quality.reconciliations}
        for id_ in ids or ():
            if id_ not in pairs:
                raise UsageError(say("unknown_pair", name=id_[:40], known=", ".join(pairs)))
        balances = await reconcile(
            platform.database,
            platform.engine,
            pack=platform.pack,
            first=first,
            last=last,
            now=platform.clock.now(),
            institutions=institutions,
            ids=ids,
        )
        async with platform.database.connection() as connection:
            called = await names_of(connection, codes={one.institution for one in balances})
    return {
        "month": f"{first:%Y-%m}",
        "until": f"{last:%Y-%m}",
        "pairs": len(ids or pairs),
        "balances": [_balance(one, pairs[one.id], called) for one in balances],
        "differing": sum(one.state.differs for one in balances),
    }


def _balance(one: Balance, pair: Reconciliation, called: dict[str, str]) -> dict[str, Any]:
    return {
        "id": one.id,
        "title": pair.title.zh,
        "title_en": pair.title.en,
        "institution": one.institution,
        "institution_name": called.get(one.institution, ""),
        "month": f"{one.month:%Y-%m}",
        "left": one.left,
        "right": one.right,
        "difference": one.difference,
        "share": one.share,
        "allowed": one.allowed,
        "state": one.state.value,
    }


def _show_balances(result: dict[str, Any]) -> None:
    rows = [one for one in result["balances"] if one["state"] != "within"]
    out.print(
        f"比对 held against each other {len(result['balances']):,} · 不一致 differing {result['differing']:,}"
    )
    names = ("id", "title", "institution_name", "month", "left", "right", "difference", "state")
    print_table(names, [tuple(one[name] for name in names) for one in rows[:_MOST_SHOWN]])
    if len(rows) > _MOST_SHOWN:
        err.print(f"… {len(rows) - _MOST_SHOWN:,} 更多 more: --json")


@catalogue_app.command("refresh")
def refresh_command(
    context: typer.Context,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="数据集 / only these data sets")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="没有变化的也重算 / also what has not changed")
    ] = False,
    as_json: Json = False,
) -> None:
    """统计数据湖：消息来的行、不同值个数 / count in the lake what files alone do not tell."""
    result = run(_refresh(home_of(context), dataset or None, force), as_json=as_json)

    def show() -> None:
        names = ("dataset", "skipped", "message_rows", "files_added", "files_removed", "columns")
        print_table(names, [tuple(one[name] for name in names) for one in result["datasets"]])

    present(result, as_json=as_json, show=show)


async def _refresh(home: Path, datasets: list[str] | None, force: bool) -> dict[str, Any]:
    async with open_platform(home) as platform:
        for name in datasets or ():
            if name not in platform.pack.datasets:
                raise UnknownDatasetError(name=name, known=tuple(platform.pack.datasets))
        done = await catalogue.refresh(
            platform.database,
            platform.engine,
            pack=platform.pack,
            now=platform.clock.now(),
            datasets=datasets,
            force=force,
        )
    return {
        "datasets": [
            {
                "dataset": one.dataset,
                "skipped": one.skipped,
                "message_rows": one.message_rows,
                "files_added": one.files_added,
                "files_removed": one.files_removed,
                "columns": one.columns,
            }
            for one in done
        ]
    }


@catalogue_app.command("search")
def search_command(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="检索词 / words")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=_MOST_FOUND, help="至多 / at most")] = 50,
    as_json: Json = False,
) -> None:
    """检索数据项：名称、别名、代码、数据元 / find columns by title, name, alias, code or data element."""
    result = run(_search(home_of(context), text, limit), as_json=as_json)

    def show() -> None:
        names = ("dataset", "column", "title", "rows", "fill_rate", "different", "last_arrival")
        print_table(names, [tuple(one[name] for name in names) for one in result["columns"]])
        out.print(f"{len(result['columns']):,} / {result['found']:,}")

    present(result, as_json=as_json, show=show)


async def _search(home: Path, text: str, limit: int) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.connection() as connection:
        count, entries = await catalogue.search(connection, pack=platform.pack, text=text, limit=limit)
    return {"found": count, "columns": [_column(one.column, one.figures) for one in entries]}


@catalogue_app.command("show")
def show_command(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="数据集 / the data set")],
    column: Annotated[str, typer.Argument(help="字段 / the column")],
    as_json: Json = False,
) -> None:
    """一个数据项的来龙去脉 / one column: what it is, how full, from where, used for what."""
    result = run(_show(home_of(context), dataset, column), as_json=as_json)

    def show() -> None:
        out.print(f"[bold]{result['title']}[/] {result['dataset']}.{result['column']}")
        facts = ("rows", "filled", "fill_rate", "different", "last_arrival", "source", "data_element")
        print_table(("", ""), [(name, str(result[name] or "")) for name in facts])
        print_table(
            ("来源 lane", "place", "by way of"),
            [(one["lane"], one["place"], one["through"]) for one in result["feeds"]],
        )
        print_table(
            ("用途 use", "id", "title"), [(one["kind"], one["id"], one["title"]) for one in result["uses"]]
        )
        print_table(
            ("机构 institution", "rows", "filled"),
            [(one["institution"], one["rows"], one["filled"]) for one in result["sources"][:_MOST_SHOWN]],
        )

    present(result, as_json=as_json, show=show)


async def _show(home: Path, dataset: str, column: str) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.connection() as connection:
        found = catalogue.catalogue_of(platform.pack).find_column(dataset=dataset, column=column)
        if found is None:
            raise UsageError(say("unknown_column", dataset=dataset[:40], column=column[:40]))
        figures = await catalogue.column_figures(connection, pack=platform.pack, datasets=[dataset])
        sources = await catalogue.list_sources(connection, dataset=dataset, column=column)
    told = figures[found.key]
    return {
        **_column(found, told),
        "edition": found.dataset.edition,
        "source": found.dataset.source,
        "data_element": found.field.data_element,
        "value_set": found.field.value_set,
        "privacy": found.field.privacy.value,
        "months": [
            {"month": f"{one.month:%Y-%m}", "rows": one.rows, "filled": one.filled} for one in told.months
        ],
        "feeds": [
            {
                "lane": one.lane.value,
                "place": one.place,
                "through": one.through,
                "messages": list(one.messages),
            }
            for one in found.feeds
        ],
        "uses": [
            {"kind": one.kind.value, "id": one.id, "title": one.title.zh, "title_en": one.title.en}
            for one in found.uses
        ],
        "sources": [
            {
                "institution": one.institution,
                "files": one.files,
                "rows": one.rows,
                "message_rows": one.message_rows,
                "filled": one.filled,
            }
            for one in sources
        ],
    }


def _column(column: Column, figures: ColumnFigures) -> dict[str, Any]:
    arrived = figures.last_arrival
    return {
        "dataset": column.dataset.name,
        "column": column.field.name,
        "title": column.field.title.zh,
        "title_en": column.field.title.en,
        "type": column.field.type.value,
        "rows": figures.rows,
        "filled": figures.filled,
        "fill_rate": figures.rate,
        "different": figures.different,
        "different_exact": figures.is_exact,
        "last_arrival": arrived.isoformat(timespec="seconds") if arrived else None,
    }


def _month(text: str) -> date:
    try:
        if len(text) == len("2026-03"):
            return date.fromisoformat(f"{text}-01")
    except ValueError:
        pass
    raise UsageError(say("bad_month", text=text[:20]))
