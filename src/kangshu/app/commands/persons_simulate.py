"""`persons simulate`: write registrations with heavy errors, and the truth, to try linking by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu.app.commands.persons import persons_app
from kangshu.app.errors import UsageError, say
from kangshu.app.presenting import present
from kangshu.app.program import Json, guard


@persons_app.command("simulate")
def simulate_command(
    out: Annotated[Path, typer.Option("--out", help="输出目录 / folder to write into")],
    records: Annotated[
        int, typer.Option(min=100, max=20_000_000, help="登记条数 / registrations")
    ] = 1_000_000,
    seed: Annotated[int, typer.Option(min=0, help="随机种子 / seed")] = 20260101,
    as_json: Json = False,
) -> None:
    """模拟带大量错误的居民登记及其真相 / write registrations full of errors, and who is who (synthetic)."""
    present(guard(lambda: _simulate(out, records, seed), as_json=as_json), as_json=as_json)


def _simulate(out: Path, records: int, seed: int) -> dict[str, Any]:
    if out.exists() and any(out.iterdir()):
        raise UsageError(say("out_not_empty", path=out))
    # Heavy with numbers: loaded only to simulate.
    import pyarrow.parquet as pq

    from kangshu.simulation import simulate_registrations

    made = simulate_registrations(records=records, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(made.table, out / "registrations.parquet")
    pq.write_table(made.truth, out / "truth.parquet")
    return {
        "out": str(out),
        "records": made.table.num_rows,
        "persons": len(made.truth["person"].unique()),
        "seed": seed,
        "files": ["registrations.parquet", "truth.parquet"],
    }
