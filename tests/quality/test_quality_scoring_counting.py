"""The SQL of indicators and EMR items: what the base pack declares can be computed over the lake."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from scoring_made_up import HOSPITAL, MARCH

from kangshu.declarations import functions_sql, load_pack
from kangshu.intake import Share
from kangshu.lake import Engine
from kangshu.quality.scoring.counting import Units, among_sql, emr_sql, read_among, read_emr

PACK = load_pack()
NAMES = sorted({one.dataset for one in (*PACK.quality.indicators, *PACK.quality.emr_items)})


@pytest.mark.parametrize("name", NAMES)
def test_what_the_pack_declares_can_be_asked_of_the_lake(name: str, tmp_path: Path):
    indicators = [one for one in PACK.quality.indicators if one.dataset == name]
    items = [one for one in PACK.quality.emr_items if one.dataset == name]
    units = Units({1: [Share(institution=HOSPITAL, month=MARCH, rows=1, rejected=0)]})

    with Engine(tmp_path, threads=1, memory_mib=256) as engine:
        table = engine.table_sql(dataset=PACK.dataset(name), segments=[])
        functions = functions_sql(PACK)
        if among := among_sql(indicators=indicators, table=table, files=[1]):
            batches = engine.query(among, functions=functions)
            assert read_among(batches, indicators=indicators, units=units) == {}
        if emr := emr_sql(items=items, table=table, files=[1]):
            assert read_emr(engine.query(emr, functions=functions), items=items, units=units) == {}


def test_a_row_counts_for_its_files_only_month_for_its_own_or_for_the_last():
    january = date(2026, 1, 1)
    units = Units(
        {
            1: [Share(institution="a", month=MARCH, rows=1, rejected=0)],
            2: [Share(institution="a", month=month, rows=1, rejected=0) for month in (january, MARCH)],
        }
    )

    assert units.find(file=1, institution="a", month=january) == (1, ("a", MARCH))
    assert units.find(file=2, institution="a", month=january) == (2, ("a", january))
    assert units.find(file=2, institution="a", month=None) == (2, ("a", MARCH))
    assert units.find(file=2, institution="b", month=january) is None
