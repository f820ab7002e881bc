"""`datasets`: what is declared; `check`: the self-test that an institution runs at home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from kangshu.app.clock import SystemClock
from kangshu.app.errors import UsageError, say
from kangshu.app.presenting import EXIT_DONE, EXIT_REJECTED, out, present, print_table
from kangshu.app.program import Json, app, guard
from kangshu.declarations import BASE_PACK, Dataset, Pack, UnknownDatasetError, load_pack
from kangshu.declarations.reference import reference_pages
from kangshu.intake import ZONE
from kangshu.intake.template import template_workbook
from kangshu.quality.selftest import check_file, report_html

datasets_app = typer.Typer(help="数据集 / the declared data sets", no_args_is_help=True)
app.add_typer(datasets_app, name="datasets")

PackFolder = Annotated[
    Path | None, typer.Option("--pack", envvar="KANGSHU_PACK", help="区域包目录 / folder of the region pack")
]


@datasets_app.command("list")
def list_command(pack: PackFolder = None, as_json: Json = False) -> None:
    """列出数据集 / list the data sets."""
    loaded = guard(lambda: load_pack(pack), as_json=as_json)
    rows = [
        {
            "name": one.name,
            "title": one.title.zh,
            "title_en": one.title.en,
            "edition": one.edition,
            "category": one.category,
            "fields": len(one.fields),
            "rules": len(one.rules),
        }
        for one in loaded.datasets.values()
    ]
    columns = ("name", "title", "title_en", "edition", "category", "fields", "rules")
    present(
        {"pack": loaded.name, "edition": loaded.edition, "datasets": rows},
        as_json=as_json,
        show=lambda: print_table(columns, [tuple(row[name] for name in columns) for row in rows]),
    )


@datasets_app.command("show")
def show_command(name: str, pack: PackFolder = None, as_json: Json = False) -> None:
    """显示一个数据集 / show one data set."""
    dataset = guard(lambda: _dataset(load_pack(pack), name), as_json=as_json)
    result = {
        "name": dataset.name,
        "title": dataset.title.zh,
        "title_en": dataset.title.en,
        "edition": dataset.edition,
        "source": dataset.source,
        "key": dataset.key,
        "event_time": dataset.event_time,
        "fields": [_field_facts(field) for field in dataset.fields],
        "rules": [_rule_facts(rule) for rule in dataset.rules],
    }

    def show() -> None:
        out.print(f"[bold]{dataset.title.zh}[/] {dataset.title.en} · {dataset.edition} · {dataset.source}")
        out.print(f"{dataset.description.zh}\n{dataset.description.en}\n")
        columns = ("code", "title", "name", "type", "length", "obligation", "value_set")
        print_table(columns, [tuple(one[key] or "" for key in columns) for one in result["fields"]])
        rows = [(one["id"], one["severity"], one["message"]) for one in result["rules"]]
        print_table(("rule", "severity", "要求 demands"), rows)

    present(result, as_json=as_json, show=show)


@datasets_app.command("template")
def template_command(
    name: str,
    out_file: Annotated[Path, typer.Option("--out", help="XLSX 文件 / the workbook to write")],
    pack: PackFolder = None,
    as_json: Json = False,
) -> None:
    """生成填报模板 / write an Excel workbook with headings, drop-downs, notes and an example row."""

    def write() -> dict[str, Any]:
        loaded = load_pack(pack)
        content = template_workbook(dataset=_dataset(loaded, name), pack=loaded)
        out_file.write_bytes(content)
        return {"file": str(out_file), "bytes": len(content)}

    present(guard(write, as_json=as_json), as_json=as_json)


@datasets_app.command("check")
def check_pack_command(pack: PackFolder = None, as_json: Json = False) -> None:
    """检查区域包 / check every declaration of the pack."""
    loaded = guard(lambda: load_pack(pack), as_json=as_json)
    result = {
        "datasets": len(loaded.datasets),
        "fields": sum(len(one.fields) for one in loaded.datasets.values()),
        "rules": sum(len(one.rules) for one in loaded.datasets.values()),
        "measures": sum(len(one.measures) for one in loaded.datasets.values()),
        "code_tables": len(loaded.codes),
        "expectations": len(loaded.quality.expectations),
        "scorings": len(loaded.quality.scorings),
        "indicators": len(loaded.quality.indicators),
        "emr_items": len(loaded.quality.emr_items),
        "reconciliations": len(loaded.quality.reconciliations),
        "grades": len(loaded.quality.grades),
    }
    present(result, as_json=as_json)


@datasets_app.command("reference")
def reference_command(
    folder: Annotated[Path, typer.Option("--out", help="目录 / the folder of the pages")] = Path(
        "docs/reference"
    ),
    check: Annotated[bool, typer.Option("--check", help="只核对 / only compare")] = False,
    pack: PackFolder = None,
    as_json: Json = False,
) -> None:
    """生成参考页 / write the reference pages of data sets and quality from their declarations."""
    pages = guard(lambda: reference_pages(load_pack(pack)), as_json=as_json)
    if check:
        stale = [name for name, text in pages.items() if _read(folder / name) != text]
        stale += [one.name for one in folder.glob("datasets/*.md") if f"datasets/{one.name}" not in pages]
        if stale:
            guard(lambda: _stale(folder), as_json=as_json)
    else:
        for name, text in pages.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    present({"folder": str(folder), "pages": len(pages)}, as_json=as_json)


@app.command("check")
def check_command(
    path: Path,
    dataset: Annotated[str, typer.Option(help="数据集 / the data set")],
    institution: Annotated[
        str | None, typer.Option(help="机构代码 / whose file it is, where its rows do not say")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="HTML 报告 / write a report")] = None,
    pack: PackFolder = None,
    as_json: Json = False,
) -> None:
    """自测 / check a file at home; no server, database or network is needed."""

    def work() -> dict[str, Any]:
        if not path.is_file():
            raise UsageError(say("no_such_path", path=path))
        loaded = load_pack(pack)
        _dataset(loaded, dataset)
        test = check_file(
            path=path,
            pack=loaded,
            received_at=SystemClock().now().astimezone(ZoneInfo(ZONE)).replace(tzinfo=None),
            dataset=dataset,
            institution=institution,
        )
        if html:
            html.write_text(report_html(test), encoding="utf-8")
        return test.document()

    report = guard(work, as_json=as_json)

    def show() -> None:
        total = report["scores"]["total"]
        out.print(
            f"得分 score {'—' if total is None else f'{total:.2f}'} · 行 rows {report['rows']:,} · "
            f"通过 accepted {report['accepted']:,} · 退回 rejected {report['rejected']:,}"
        )
        rows = [
            (
                f"{one['points']:.2f}",
                one["rule"],
                one["severity"],
                one["title"],
                one["rows"],
                one["message"],
                ", ".join(map(str, one["first_rows"])),
            )
            for one in report["findings"]
        ]
        heads = (
            "加分 points",
            "规则 rule",
            "级别",
            "字段 field",
            "行数 rows",
            "怎么改 what to do",
            "行号 at rows",
        )
        print_table(heads, rows)

    failed = any(one["severity"] == "error" for one in report["findings"])
    present(report, as_json=as_json, show=show, status=EXIT_REJECTED if failed else EXIT_DONE)


def _dataset(pack: Pack, name: str) -> Dataset:
    if name not in pack.datasets:
        raise UnknownDatasetError(name=name, known=tuple(pack.datasets))
    return pack.datasets[name]


def _stale(folder: Path) -> None:
    raise UsageError(say("reference_stale"), place=str(folder))


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _field_facts(field: Any) -> dict[str, Any]:
    return {
        "name": field.name,
        "code": field.code,
        "title": field.title.zh,
        "title_en": field.title.en,
        "type": str(field.type),
        "length": field.length,
        "scale": field.scale,
        "obligation": str(field.obligation),
        "value_set": field.value_set,
        "unit": field.unit,
        "repeat": field.repeat,
        "privacy": str(field.privacy),
        "data_element": field.data_element,
    }


def _rule_facts(rule: Any) -> dict[str, Any]:
    return {
        "id": rule.id,
        "severity": str(rule.severity),
        "dimension": str(rule.dimension),
        "scope": str(rule.scope),
        "fields": rule.fields,
        "sql": rule.sql,
        "unique": rule.unique,
        "message": rule.message.zh,
        "message_en": rule.message.en,
    }


__all__ = ["BASE_PACK"]
