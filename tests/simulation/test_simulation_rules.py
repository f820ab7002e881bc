"""Rows without injected errors obey the declarations: every field, every code, every rule.

The rules are asked here directly of DuckDB, without the platform's own lane.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kangshu.declarations import (
    Dataset,
    Field,
    FieldType,
    Obligation,
    Pack,
    Scope,
    duckdb_type,
    functions_sql,
)
from kangshu.simulation.blocks import Block
from kangshu.simulation.front_page import REPEAT
from kangshu.simulation.world import GROUPS, World, build_world, month_blocks, standing_blocks

# A person without any number is no error: such people exist. That is all these rules find.
NO_NUMBER = {"DE005", "DG005", "ER005", "IM005", "LP005", "OP005", "OV005", "PI005", "RS005"}
MONTHS = 3


@pytest.fixture(scope="module")
def small_world() -> World:
    return build_world(residents=12_000, months=MONTHS, seed=3, start=date(2026, 1, 1))


@pytest.fixture(scope="module")
def blocks(small_world: World) -> list[Block]:
    made = list(standing_blocks(small_world))
    for month in range(MONTHS):
        for group in GROUPS:
            made.extend(month_blocks(small_world, month, group))
    return made


def _columns_of(field: Field, block: Block) -> list[str]:
    if field.repeat > 1:
        return [name for name in block.columns if name.startswith(field.name + REPEAT)]
    return [field.name] if field.name in block.columns else []


def _typed(block: Block, dataset: Dataset) -> tuple[pa.Table, str]:
    """Return the block's columns and the select list that types them as the lane would."""
    raw: dict[str, Any] = {}
    wanted = ["row_number() OVER () AS _row"]
    for field in dataset.fields:
        names = _columns_of(field, block)
        kind = duckdb_type(field)
        raw.update({name: block.columns[name] for name in names})
        if not names:
            wanted.append(f'NULL::{kind} AS "{field.name}"')
        elif field.repeat > 1:
            cells = ", ".join(f'"{name}"' for name in names)
            wanted.append(
                f'CASE WHEN coalesce({cells}) IS NOT NULL THEN [{cells}]::{kind} END AS "{field.name}"'
            )
        elif field.type is FieldType.STRING:
            wanted.append(f'"{field.name}"')
        else:
            cell = f'"{field.name}"'
            wanted.append(f"CASE WHEN {cell}::VARCHAR <> '-' THEN {cell}::{kind} END AS {cell}")
    return pa.table(raw), ", ".join(wanted)


def test_every_rule_of_the_pack_holds_on_every_clean_row(blocks: list[Block], pack: Pack) -> None:
    broken: Counter[str] = Counter()
    with duckdb.connect(":memory:") as engine:
        engine.execute(functions_sql(pack))
        engine.execute("SET VARIABLE received_at = TIMESTAMP '2027-01-01'")
        for block in blocks:
            dataset = pack.datasets[block.dataset]
            rules = [rule for rule in dataset.rules if rule.sql and rule.scope is Scope.ROW]
            if not rules:
                continue
            table, wanted = _typed(block, dataset)
            engine.register("block", table)
            counts = ", ".join(f"count(*) FILTER (WHERE ({rule.sql}) IS FALSE)" for rule in rules)
            found = engine.execute(f"SELECT {counts} FROM (SELECT {wanted} FROM block)").fetchone()
            assert found is not None
            broken.update({rule.id: count for rule, count in zip(rules, found, strict=True) if count})

    assert {rule: count for rule, count in broken.items() if rule not in NO_NUMBER} == {}


def test_keys_are_unique_over_the_whole_period(blocks: list[Block], pack: Pack) -> None:
    seen: dict[str, Counter[tuple[Any, ...]]] = {}
    for block in blocks:
        for rule in pack.datasets[block.dataset].rules:
            if rule.unique and rule.scope is Scope.FILE:
                keys = zip(*(block.columns[name].to_pylist() for name in rule.unique), strict=True)
                seen.setdefault(rule.id, Counter()).update(keys)

    assert {rule: keys.most_common(1) for rule, keys in seen.items() if max(keys.values()) > 1} == {}


def test_required_fields_are_filled_and_codes_are_in_their_sets(blocks: list[Block], pack: Pack) -> None:
    wrong: set[tuple[str, str, str]] = set()
    for block in blocks:
        dataset = pack.datasets[block.dataset]
        for field in dataset.fields:
            names = _columns_of(field, block)
            if field.obligation is Obligation.REQUIRED and (not names or block.columns[names[0]].null_count):
                wrong.add((dataset.name, field.name, "required"))
            for name in names:
                wrong |= {
                    (dataset.name, name, fault)
                    for fault in _faults(field, block.columns[name], dataset, pack)
                }

    assert wrong == set()


def _faults(field: Field, column: Any, dataset: Dataset, pack: Pack) -> list[str]:
    faults: list[str] = []
    if field.value_set and pack.codes[field.value_set].complete:
        known = {*pack.codes[field.value_set].titles(), *dataset.absent_marks, None}
        faults += [
            f"code {code}" for code in column.cast(pa.string()).unique().to_pylist() if code not in known
        ]
    if field.type is FieldType.STRING and field.length and len(column):
        longest = pc.max(pc.utf8_length(column)).as_py()
        if longest is not None and longest > field.length:
            faults.append(f"length {longest}")
    return faults


def test_every_declared_data_set_of_institutions_is_sent(blocks: list[Block], pack: Pack) -> None:
    sent = {block.dataset for block in blocks}
    declared = {name for name, dataset in pack.datasets.items() if dataset.category != "sample"}

    assert sent == declared


def test_the_charges_of_visits_and_stays_add_up(blocks: list[Block]) -> None:
    charged: Counter[tuple[str, str]] = Counter()
    for block in blocks:
        if block.dataset == "charge_item":
            keys = zip(
                block.columns["institution_code"].to_pylist(),
                block.columns["visit_number"].to_pylist(),
                strict=True,
            )
            for key, amount in zip(keys, block.columns["amount"].to_pylist(), strict=True):
                charged[key] += int(amount * 100)
    totals = Counter(charged.values())
    for block in blocks:
        if block.dataset == "outpatient_visit":
            for code, visit, cost in zip(
                block.columns["institution_code"].to_pylist(),
                block.columns["visit_number"].to_pylist(),
                block.columns["total_cost"].to_pylist(),
                strict=True,
            ):
                assert charged[code, visit] == int(cost * 100)
        if block.dataset == "front_page":
            assert all(totals[int(cost * 100)] for cost in block.columns["total_cost"].to_pylist())


def test_the_monthly_return_counts_the_front_pages(blocks: list[Block]) -> None:
    pages: Counter[tuple[str, int]] = Counter()
    told: Counter[tuple[str, int]] = Counter()
    for block in blocks:
        codes = block.columns["institution_code"].to_pylist() if "institution_code" in block.columns else []
        if block.dataset == "front_page":
            days = block.columns["discharged_at"].to_pylist()
            pages.update((code, day.month) for code, day in zip(codes, days, strict=True))
        if block.dataset == "institution_month":
            months = block.columns["month"].to_pylist()
            for code, month, count in zip(
                codes, months, block.columns["discharges"].to_pylist(), strict=True
            ):
                told[code, month.month] += count

    assert +told == pages


def test_laboratory_flags_say_where_a_value_lies(blocks: list[Block]) -> None:
    flags: Counter[str] = Counter()
    for block in blocks:
        if block.dataset == "lab_result":
            flags.update(block.columns["flag"].to_pylist())
    share = {flag: count / flags.total() for flag, count in flags.items()}

    assert 0.65 < share["N"] < 0.9
    assert all(share[flag] > 0.003 for flag in "HLA")


def test_what_diabetes_does_shows_in_the_laboratory(small_world: World, blocks: list[Block]) -> None:
    population = small_world.population
    high = {True: [0, 0], False: [0, 0]}
    for block in blocks:
        if block.dataset != "lab_result":
            continue
        for person, item, flag in zip(
            block.persons,
            block.columns["item_code"].to_pylist(),
            block.columns["flag"].to_pylist(),
            strict=True,
        ):
            if item == "14771-0":  # fasting glucose
                counts = high[bool((population.chronic[person] >> 1) & 1)]
                counts[0] += flag == "H"
                counts[1] += 1

    assert high[True][0] / high[True][1] > 3 * high[False][0] / high[False][1]
