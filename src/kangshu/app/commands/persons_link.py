"""`persons link`, `persons match`: say who is who in a table, or among the index's new persons."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.csv as pcsv
import typer

from kangshu.app.commands.persons import persons_app
from kangshu.app.matching import match_waiting
from kangshu.app.platform import open_platform
from kangshu.app.presenting import present
from kangshu.app.program import Json, guard, home_of, run
from kangshu.identity import linkage


@persons_app.command("link")
def link_command(
    file: Annotated[Path, typer.Argument(help="人员表，CSV 或 Parquet / a table of persons, CSV or Parquet")],
    to: Annotated[Path, typer.Option("--out", help="结果 CSV：记录号与人员号 / CSV of record and person")],
    reviews: Annotated[
        Path | None, typer.Option(help="疑似同一人的记录对 CSV / CSV of pairs that a human should look at")
    ] = None,
    as_json: Json = False,
) -> None:
    """对一张人员表做匹配，写出谁与谁是同一人 / say which records of a table are one person."""
    present(guard(lambda: _link(file, to, reviews), as_json=as_json), as_json=as_json)


def _link(file: Path, to: Path, reviews: Path | None) -> dict[str, Any]:
    table = linkage.read_table(file)
    begun = time.perf_counter()
    persons = linkage.prepare_table(table)
    linked = linkage.link_persons(persons)
    seconds = time.perf_counter() - begun
    names = linkage.record_names(table)
    clusters = linked.clusters.sort_by("record")
    pcsv.write_csv(pa.table({"record": names, "person": names.take(clusters["cluster"])}), to)
    if reviews is not None:
        told = {name: names.take(linked.reviews[name]) for name in ("one", "other")}
        pcsv.write_csv(pa.table({**told, "bits": linked.reviews["weight"]}), reviews)
    return {
        "records": table.num_rows,
        "persons": len(clusters["cluster"].unique()),
        "reviews": linked.reviews.num_rows,
        "model": "default" if persons.chinese else "learnt from the table",
        "seconds": round(seconds, 2),
        "roles": {one.column: one.role.value for one in persons.roles},
        "out": str(to),
    }


@persons_app.command("match")
def match_command(context: typer.Context, as_json: Json = False) -> None:
    """把尚未比对的新建居民与全体比对 / compare the new persons who wait with everybody in the index."""
    present(run(_match(home_of(context)), as_json=as_json), as_json=as_json)


async def _match(home: Path) -> dict[str, Any]:
    async with open_platform(home) as platform:
        begun = time.perf_counter()
        done = await match_waiting(platform)
        return {
            "persons": done.persons,
            "merged": done.merged,
            "reviews": done.reviews,
            "seconds": round(time.perf_counter() - begun, 2),
        }
