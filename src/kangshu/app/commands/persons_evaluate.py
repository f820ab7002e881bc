"""`persons evaluate`, `persons train`: link any table of persons, and learn how much agreements weigh."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu.app.commands.persons import persons_app
from kangshu.app.errors import UsageError, say
from kangshu.app.presenting import out, present, print_facts, print_table
from kangshu.app.program import Json, run
from kangshu.identity import linkage


@persons_app.command("evaluate")
def evaluate_command(
    file: Annotated[Path, typer.Argument(help="人员表，CSV 或 Parquet / a table of persons, CSV or Parquet")],
    truth: Annotated[
        Path | None,
        typer.Option(help="真值：每行一对记录号的 CSV / the truth: a CSV with two record ids a line"),
    ] = None,
    truth_column: Annotated[
        str | None,
        typer.Option(help="真值：表中标明同一人的列 / the truth: the column that names the true person"),
    ] = None,
    seed: Annotated[int, typer.Option(help="抽样种子 / seed of the sample that is learnt from")] = 0,
    as_json: Json = False,
) -> None:
    """对任意人员表做匹配并与真值比较，自动识别各列含义 / link any table and compare with the truth."""
    facts = run(_evaluate(file, truth, truth_column, seed), as_json=as_json)

    def show() -> None:
        print_facts({name: _fine(value) for name, value in facts.items() if name != "roles"})
        print_table(("column", "role"), list(facts["roles"].items()), title="roles")

    present(facts, as_json=as_json, show=show)


def _fine(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value


async def _evaluate(file: Path, truth: Path | None, column: str | None, seed: int) -> dict[str, Any]:
    if (truth is None) == (column is None):
        raise UsageError(say("one_truth"))
    table = linkage.read_table(file)
    hidden = (column,) if column is not None else ()
    if column is not None and column not in table.column_names:
        raise UsageError(say("no_such_column"))
    pairs = None if truth is None else linkage.read_table(truth)
    if pairs is not None and pairs.num_columns < 2:
        raise UsageError(say("truth_pairs"))
    begun = time.perf_counter()
    persons = linkage.prepare_table(table, truth=hidden)
    linked = linkage.link_persons(persons, seed=seed)
    seconds = time.perf_counter() - begun
    if pairs is not None:
        found = linkage.evaluate_pairs(linked.clusters, linkage.record_names(table), pairs)
    else:
        found = linkage.evaluate_column(linked.clusters, table[str(column)])
    return _facts(found, persons, linked, seconds)


def _facts(
    found: linkage.Evaluation, persons: linkage.PersonTable, linked: linkage.Linkage, seconds: float
) -> dict[str, Any]:
    return {
        "records": found.records,
        "pairs_true": found.pairs_true,
        "pairs_found": found.pairs_found,
        "precision": found.precision,
        "recall": found.recall,
        "f1": found.f1,
        "clusters": found.clusters,
        "clusters_mixed": found.clusters_mixed,
        "compared": linked.compared,
        "reviews": linked.reviews.num_rows,
        "model": "default" if persons.chinese else "learnt from the table",
        "seconds": seconds,
        "roles": {one.column: one.role.value for one in persons.roles},
    }


@persons_app.command("train")
def train_command(
    file: Annotated[Path, typer.Argument(help="人员表，CSV 或 Parquet / a table of persons, CSV or Parquet")],
    to: Annotated[Path, typer.Option("--out", help="新模型写入的文件 / where the new model goes")],
    model: Annotated[
        Path | None, typer.Option(help="作为起点的模型，缺省为随产品模型 / the model to start from")
    ] = None,
    trainer: Annotated[str, typer.Option(help="own | splink")] = "own",
    seed: Annotated[int, typer.Option(help="抽样种子 / seed of the sample that is learnt from")] = 0,
    as_json: Json = False,
) -> None:
    """用一张人员表训练匹配模型，无需真值 / learn a linkage model from a table, without any truth."""
    facts = run(_train(file, to, model, trainer, seed), as_json=as_json)

    def show() -> None:
        print_facts({name: _fine(value) for name, value in facts.items() if name != "weights"})
        print_table(("comparison", "level", "m", "u", "bits"), facts["weights"])
        out.print(str(to))

    present(facts, as_json=as_json, show=show)


async def _train(file: Path, to: Path, model: Path | None, trainer: str, seed: int) -> dict[str, Any]:
    persons = linkage.prepare_table(linkage.read_table(file))
    start = persons.model if model is None else linkage.load_model(model.read_bytes())
    begun = time.perf_counter()
    trained = linkage.train(start, profiles=persons.profiles, trainer=trainer, seed=seed)
    seconds = time.perf_counter() - begun
    to.write_bytes(linkage.dump_model(trained))
    return {
        "model": trained.name,
        "version": trained.version,
        "prior": trained.prior,
        "trainer": trainer,
        "seconds": seconds,
        "weights": [
            [comparison.name, level.name, f"{level.m:.6f}", f"{level.u:.8f}", f"{level.weight:+.2f}"]
            for comparison in trained.comparisons
            for level in (*comparison.levels, comparison.otherwise)
        ],
    }
