# pyright: reportMissingImports=false
# The peers are an optional extra: where they are not installed, their types are unknown.
"""The benchmark's twenty rules as users of pointblank and of pandera write them, over polars."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

from kangshu.app.benchmarks.surroundings import Watch

PEERS = ("pointblank", "pandera")
HOW_TO_GET = "pip install 'kangshu[bench]'"

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_MARKS = ("", "-", "—")


@dataclass(frozen=True, kw_only=True)
class PeerRun:
    """How a peer did: rows a second for reading and asking, and how many rows break each rule."""

    version: str
    rows: int
    rows_per_second: int
    cpu_seconds: float
    peak_mib: int
    counts: Mapping[str, int]


def missing_peers() -> tuple[str, ...]:
    """Return which of them are not installed."""
    return tuple(name for name in (*PEERS, "polars") if util.find_spec(name) is None)


def run_peer(name: str, files: Sequence[str]) -> PeerRun:
    """Return what the peer says of the rows of the Parquet `files`; for a process of its own."""
    warnings.simplefilter("ignore")
    ask: Callable[[Any, Mapping[str, Any]], Mapping[str, int]]
    ask = _ask_pointblank if name == "pointblank" else _ask_pandera
    import polars as pl

    rules = _rules(pl)
    with Watch() as watch:
        table = pl.read_parquet(list(files))
        counts = ask(table, rules)
    assert watch.use
    return PeerRun(
        version=metadata.version(name),
        rows=table.height,
        rows_per_second=round(table.height / watch.use.seconds),
        cpu_seconds=round(watch.use.cpu_seconds, 2),
        peak_mib=watch.use.peak_mib,
        counts={rule: count for rule, count in counts.items() if count},
    )


def _ask_pointblank(table: Any, rules: Mapping[str, Any]) -> Mapping[str, int]:
    import pointblank

    plan = pointblank.Validate(data=table)
    for rule in rules.values():
        plan = plan.col_vals_expr(expr=rule)
    plan = plan.interrogate(get_first_n=None, collect_extracts=True)
    failed = plan.n_failed()
    assert isinstance(failed, dict), "of all steps at once pointblank tells a table"
    return {rule_id: int(failed[step] or 0) for step, rule_id in enumerate(rules, 1)}


def _ask_pandera(table: Any, rules: Mapping[str, Any]) -> Mapping[str, int]:
    from pandera.errors import SchemaErrors
    from pandera.polars import Check, DataFrameSchema

    checks = [Check(_verdict(rule), name=rule_id) for rule_id, rule in rules.items()]
    schema = DataFrameSchema(checks=checks)
    counts = dict.fromkeys(rules, 0)
    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as errors:
        for error in errors.schema_errors:
            found: Any = error.check_output
            counts[str(getattr(error.check, "name", ""))] = int((~found.to_series(0).fill_null(True)).sum())
    return counts


def _verdict(rule: Any) -> Callable[[Any], Any]:
    return lambda data: data.lazyframe.select(rule)


def _rules(pl: Any) -> Mapping[str, Any]:
    """Return the rules as expressions that are true where a row is right or nothing is known."""
    col = pl.col

    def given(name: str) -> Any:
        return col(name).is_not_null() & ~col(name).is_in(_MARKS)

    number = col("resident_number")
    digits = [number.str.slice(place, 1).cast(pl.Int32, strict=False) for place in range(17)]
    rest = pl.sum_horizontal(*(weight * digit for weight, digit in zip(_WEIGHTS, digits, strict=True))) % 11
    check = rest.replace_strict(dict(enumerate("10X98765432")), return_dtype=pl.String)
    right = number.str.contains(r"^[1-9]\d{9}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{3}[\dXx]$") & (
        check == number.str.slice(17, 1).str.to_uppercase()
    )

    def day_number(name: str) -> Any:
        when = col(name).dt
        return when.year().cast(pl.Int64) * 10_000 + when.month().cast(pl.Int64) * 100 + when.day()

    born = number.str.slice(6, 8).cast(pl.Int64, strict=False)
    sexed = (
        number.str.slice(16, 1).cast(pl.Int32, strict=False) % 2
        == col("sex").cast(pl.Int32, strict=False) % 2
    )
    value, low, high, flag = (
        col(name) for name in ("value_number", "reference_low", "reference_high", "flag")
    )
    age = (day_number("reported_at") - day_number("birth_date")) // 10_000
    key = pl.struct("_file", "institution_code", "report_number", "item_number")
    moment = col("reported_at")
    rules = {
        "LB01": ~given("resident_number") | right,
        "LB02": born == day_number("birth_date"),
        "LB03": pl.when(col("sex").is_in(("1", "2"))).then(sexed),
        "LB04": given("document_type") == given("document_number"),
        "LB05": given("value_text") | value.is_not_null(),
        "LB06": low <= high,
        "LB07": pl.when(flag == "N")
        .then((value >= pl.coalesce(low, value)) & (value <= pl.coalesce(high, value)))
        .when(flag == "H")
        .then(value > high)
        .when(flag == "L")
        .then(value < low),
        "LB08": value.is_null() | given("unit"),
        "LB09": moment >= col("birth_date").cast(pl.Datetime),
        "LB10": col("item_code").str.contains(r"^\d{9}$"),
        "LB11": value >= 0,
        "LB12": pl.when(col("item_code") == "250306001")
        .then(value.is_between(0.5, 50))
        .when(col("item_code") == "250101001")
        .then(value.is_between(1, 300))
        .otherwise(value < 100_000),
        "LB13": col("sex").is_in(("0", "1", "2", "9")),
        "LB14": flag.is_in(("N", "H", "L", "A")),
        "LB15": col("institution_code").str.len_chars() == 22,
        "LB16": col("value_text").cast(pl.Decimal(18, 6), strict=False) == value,
        "LB17": (moment >= pl.datetime(2020, 1, 1)) & (moment < pl.datetime(2027, 1, 1)),
        "LB18": age.is_between(0, 120),
        "LB19": col("report_number").str.contains(r"^L20\d{2}(0[1-9]|1[0-2])\d{10}$"),
        "LB20": key.is_first_distinct(),
    }
    return {rule_id: rule.fill_null(True) for rule_id, rule in rules.items()}
