"""Learn a model's weights with Splink 5 (the extra `linkage`), on DuckDB or on a Spark session.

Our comparisons become its levels and its m and u come back, so that the result says every weight itself.
Splink (MIT): Linacre and others, Ministry of Justice.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any as Anything

import pyarrow as pa
from splink import Linker, SettingsCreator, block_on
from splink.internals.duckdb.database_api import DuckDBAPI

from kangshu.identity.linkage.conditions import Condition
from kangshu.identity.linkage.documents import say, versioned
from kangshu.identity.linkage.errors import TrainingFailedError
from kangshu.identity.linkage.model import BlockingKey, Comparison, Level, LinkageModel
from kangshu.identity.linkage.scoring import columns_of
from kangshu.identity.linkage.training import with_prior, with_terms

_SAMPLED = 1_000_000.0
# Each key trains the comparisons that it does not look at; beyond so many keys little is learnt.
_MOST_SESSIONS = 6
_MOST_BLOCKED = 5_000_000.0
_ONE, _OTHER = "one_side", "other_side"
_SIDES = re.compile(rf"\b({_ONE}|{_OTHER})\.(\w+)")
_ENDING = {_ONE: "_l", _OTHER: "_r"}


def train_splink(
    model: LinkageModel, *, profiles: pa.Table, seed: int, threads: int = 2, spark: Anything = None
) -> LinkageModel:
    """Return the model with m, u and prior learnt by Splink; what is fixed or was never seen stays.

    With `spark` (a SparkSession) it is learnt there, else in DuckDB with so many threads. Our conditions are
    SQL that both understand, but for the edit distances: Spark needs Splink's jar for those.

    Raises:
        TrainingFailedError: Splink found nothing to learn from.
    """
    logging.getLogger("splink").setLevel(logging.ERROR)  # it tells of data in its notices
    model = with_terms(model, profiles)
    try:
        trained = _trained(model, profiles, seed, threads, spark)
    except Exception as error:  # noqa: BLE001 - whatever Splink and its engines raise; the text may hold values
        raise TrainingFailedError(say("splink_failed", reason=type(error).__name__)) from None
    # Splink's own prior is that of the last key asked; ours is counted over all pairs.
    return versioned(with_prior(trained, profiles=profiles, seed=seed, threads=threads))


def _trained(
    model: LinkageModel, profiles: pa.Table, seed: int, threads: int, spark: Anything
) -> LinkageModel:
    there = [column for column in ("record", *columns_of(model)) if column in profiles.column_names]
    linker = Linker(
        _registered(profiles.select(there), threads, spark),
        settings=SettingsCreator(
            link_type="dedupe_only",
            unique_id_column_name="record",
            comparisons=[_told(comparison) for comparison in model.comparisons],
            blocking_rules_to_generate_predictions=[block_on(*key.columns) for key in model.keys],
            probability_two_random_records_match=1 / (1 + 2**-model.prior),
            retain_intermediate_calculation_columns=False,
        ),
    )
    linker.training.estimate_u_using_random_sampling(
        max_pairs=_SAMPLED, seed=None if spark is not None else seed + 1
    )
    sessions = sum(_session(linker, key) for key in model.keys[:_MOST_SESSIONS])
    if not sessions:
        raise TrainingFailedError(say("nothing_to_learn"))
    return _learnt(model, linker.misc.save_model_to_json(None))


def _session(linker: Linker, key: BlockingKey) -> bool:
    """Learn from the pairs of one key the comparisons that do not look at it; tell whether it could."""
    # A session that fails leaves Splink 5.0 without the comparisons that it had put aside.
    before = linker._settings_obj.core_model_settings.copy()
    try:
        linker.training.estimate_parameters_using_expectation_maximisation(
            _rule(key), max_pairs=_MOST_BLOCKED, record_sample_proportion=1.0
        )
    except Exception:  # noqa: BLE001 - a key with too few pairs teaches nothing; another may
        linker._settings_obj.core_model_settings = before
        return False
    return True


def _registered(profiles: pa.Table, threads: int, spark: Anything) -> Anything:
    if spark is not None:
        from splink.internals.spark.database_api import SparkAPI

        return SparkAPI(spark_session=spark).register(spark.createDataFrame(profiles), table_name="persons")
    interface = DuckDBAPI(connection=":memory:")
    interface._con.execute(f"SET threads = {int(threads)}")
    return interface.register(profiles, table_name="persons")


def _rule(key: BlockingKey) -> str:
    return " AND ".join(f"l.{column} = r.{column}" for column in key.columns)


def _told(comparison: Comparison) -> dict[str, Anything]:
    levels: list[dict[str, Anything]] = [
        {
            "sql_condition": f"NOT {_sql(comparison.known)}",
            "label_for_charts": "unknown",
            "is_null_level": True,
        }
    ]
    levels += [_told_level(level, _sql(level.condition)) for level in comparison.levels]
    levels.append(_told_level(comparison.otherwise, "ELSE"))
    return {"output_column_name": comparison.name, "comparison_levels": levels}


def _told_level(level: Level, sql: str) -> dict[str, Anything]:
    told: dict[str, Anything] = {
        "sql_condition": sql,
        "label_for_charts": level.name,
        "m_probability": level.m,
        "u_probability": level.u,
    }
    if level.fixed:
        told |= {"fix_m_probability": True, "fix_u_probability": True}
    return told


def _sql(condition: Condition) -> str:
    return _SIDES.sub(lambda found: found[2] + _ENDING[found[1]], condition.sql(_ONE, _OTHER))


def _learnt(model: LinkageModel, told: Mapping[str, Anything]) -> LinkageModel:
    by_name = {one["output_column_name"]: one["comparison_levels"] for one in told["comparisons"]}
    return replace(
        model,
        comparisons=tuple(_learnt_comparison(one, by_name[one.name]) for one in model.comparisons),
    )


def _learnt_comparison(comparison: Comparison, told: Sequence[Mapping[str, Anything]]) -> Comparison:
    shares = {one.get("label_for_charts"): one for one in told}
    return replace(
        comparison,
        levels=tuple(_learnt_level(one, shares.get(one.name, {})) for one in comparison.levels),
        otherwise=_learnt_level(comparison.otherwise, shares.get(comparison.otherwise.name, {})),
    )


def _learnt_level(level: Level, told: Mapping[str, Anything]) -> Level:
    if level.fixed:
        return level
    return replace(
        level, m=_share(told.get("m_probability"), level.m), u=_share(told.get("u_probability"), level.u)
    )


def _share(told: Anything, believed: float) -> float:
    """Return what was learnt, or where Splink never saw the level what was believed before."""
    if not isinstance(told, (int, float)) or not isfinite(told) or not 0 < told <= 1:
        return believed
    return min(max(float(told), 1e-12), 1.0)
