"""`kangshu quality tables`: ask a pack's check set of a folder of tables; nothing is stored."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu.app.commands.quality import quality
from kangshu.app.errors import UsageError, say
from kangshu.app.presenting import EXIT_DONE, EXIT_REJECTED, out, present, print_table
from kangshu.app.program import Json, guard
from kangshu.declarations import BASE_PACK, load_pack
from kangshu.quality.checksets import (
    Report,
    State,
    answer_facts,
    check_declared,
    load_checkset,
    report_html,
    run_checks,
)

_MOST_SHOWN = 60


@quality.command("tables")
def tables_command(
    folder: Path,
    pack: Annotated[
        str, typer.Option("--pack", help="区域包名或目录 / name or folder of a pack with checks")
    ] = "omop",
    html: Annotated[Path | None, typer.Option(help="HTML 报告 / write a report")] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="视为今天的日期 / the day that counts as today (YYYY-MM-DD)")
    ] = None,
    threads: Annotated[int, typer.Option(help="线程 / threads")] = 2,
    memory_mib: Annotated[int, typer.Option("--memory-mib", help="内存上限 / bound of memory")] = 1024,
    as_json: Json = False,
) -> None:
    """检查一个文件夹的表 / ask the declared checks of a folder of tables (Parquet, CSV, Excel)."""

    def work() -> Report:
        place = _pack_folder(pack)
        loaded = load_pack(place)
        checkset = load_checkset(folder=place, pack=loaded)
        check_declared(checkset, pack=loaded)
        with tempfile.TemporaryDirectory(prefix="kangshu-") as scratch:
            return run_checks(
                folder,
                checkset=checkset,
                pack=loaded,
                as_of=_day(as_of),
                scratch=Path(scratch),
                threads=threads,
                memory_mib=memory_mib,
            )

    report = guard(work, as_json=as_json)
    if html:
        html.write_text(report_html(report), encoding="utf-8")
    failed = report.count(State.FAILED)
    present(
        _facts(report),
        as_json=as_json,
        show=lambda: _show(report),
        status=EXIT_REJECTED if failed else EXIT_DONE,
    )


def _facts(report: Report) -> dict[str, Any]:
    return {
        "checkset": report.checkset.name,
        "edition": report.checkset.edition,
        "checks": len(report.answers),
        **{str(state).replace("-", "_"): report.count(state) for state in State},
        "rows": dict(report.rows),
        "unknown_files": len(report.unknown),
        "seconds": round(sum(report.seconds.values()), 3),
        "answers": [answer_facts(answer) for answer in report.answers],
    }


def _show(report: Report) -> None:
    checkset = report.checkset
    out.print(f"[bold]{checkset.title.zh}[/] {checkset.title.en} · {checkset.edition}")
    out.print(
        f"表 tables {len(report.rows)} · 行 rows {sum(report.rows.values()):,} · "
        f"检查 checks {len(report.answers):,} · "
        f"通过 passed {report.count(State.PASSED):,} · 未通过 failed {report.count(State.FAILED):,} · "
        f"不适用 nothing to judge {report.count(State.NOT_APPLICABLE):,} · "
        f"未运行 not run {report.count(State.NOT_RUN):,}"
    )
    chosen = [one for one in report.answers if one.state in (State.FAILED, State.NOT_RUN)]
    rows = [
        (
            one.check.name,
            f"{one.check.table}.{one.check.field}".rstrip("."),
            one.violated,
            one.denominator,
            str(one.state) if one.share is None else f"{100 * one.share:.2f} / {one.check.threshold:g}",
        )
        for one in chosen[:_MOST_SHOWN]
    ]
    print_table(("检查 check", "对象 about", "不符 wrong", "总数 of", "占比/允许 % of"), rows)
    if len(chosen) > len(rows):
        out.print(f"… 另有 {len(chosen) - len(rows):,} 项，见 --json 或 --html / more in --json or --html")


def _pack_folder(pack: str) -> Path:
    """Return the folder of a built-in pack by its name, else the folder that is named."""
    built_in = BASE_PACK.parent / pack
    if pack.isidentifier() and (built_in / "pack.toml").is_file():
        return built_in
    if not Path(pack).is_dir():
        raise UsageError(say("no_such_path", path=pack))
    return Path(pack)


def _day(text: str | None) -> date:
    if text is None:
        return datetime.now(tz=UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(say("no_such_day"), place="--as-of") from None
